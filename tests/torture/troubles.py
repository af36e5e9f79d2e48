"""What may go wrong. Each trouble is a generator: it begins, says what it is, and ends when asked for
more. While it lasts its subject (a relay, a cable, a receiver, the service) has no other trouble."""
import contextlib
import json
import os
import signal
import time

import fleet as fleets
from harness import LOGSTORE, check
from world import JUMP_S, TARGETS, Order, freeze

RELAYS = ("relay-1", "relay-2")
FAULTS = ["pull:error=500/InternalServerError:6", "any:error=503/ServerBusy:10", "pull:quota:10",
          "pull:truncate:3", "pull:rawsize=+5:3", "pull:no-cursor:3", "pull:empty-cursor:3",
          "pull:html:3", "pull:empty-error:3", "pull:drop=body:3", "pull:drop:3", "pull:hang:2",
          "pull:late=2500:3", "heartbeat:drop=answer:3", "heartbeat:hang:1", "heartbeat:late=4000:2",
          "heartbeat:error=500/InternalServerError:8", "checkpoint:drop=answer:3",
          "checkpoint:error=500/InternalServerError:5", "checkpoint:drop:3", "cursor:html:2",
          "get_checkpoint:error=500/InternalServerError:3", "get_checkpoint:drop=answer:3",
          "shards:error=500/InternalServerError:3", "shards:truncate:2", "pull:rebalance:1"]


def relay_of(world, name):
    return next(r for r in world.fleet.relays if r.name == name)


def ready(relay):
    """It has begun: before that HUP and TERM are for whoever starts it."""
    relay.program.wait_line(r"relay: spool ", 60)


def kill_relay(world, name, _):
    relay = relay_of(world, name)
    relay.program.kill()
    yield "kill -9"
    relay.start()


def end_relay(world, name, _):
    relay = relay_of(world, name)
    ready(relay)
    check(relay.program.stop(60) == 0, f"TERM did not end {name} with exit 0")
    yield "TERM"
    relay.start()


def freeze_relay(world, name, _):
    relay = relay_of(world, name)
    world.frozen.add(name)
    relay.signal(signal.SIGSTOP)
    yield "frozen"
    relay.signal(signal.SIGCONT)
    world.frozen.discard(name)


def reload_relay(world, name, luck):
    relay = relay_of(world, name)
    ready(relay)
    if luck.random() < 0.3:
        world.configure(relay, port="no number")
        what = "HUP with a mistake"
    else:
        change = luck.choice([{"settle": "3s"}, {"proof_interval": "3s"}, {"keepalive": "10s"},
                              {"rate_limit": {"messages": 3000}}])
        world.configure(relay, **change)
        what = f"HUP with {change}"
    relay.signal(signal.SIGHUP)
    yield what
    world.configure(relay)
    relay.signal(signal.SIGHUP)


def cut(world, name, _):
    relay = relay_of(world, name.replace("cable", "relay"))
    relay.pull_cable()
    yield "pulled"
    relay.plug_cable()


def swallow(world, name, luck):
    """Packets vanish, in one direction or in both, and nobody hears why."""
    relay = relay_of(world, name.replace("cable", "relay"))
    here = ("neigh", f"10.99.{relay.number}.2", "dev", relay.cable)
    there = ("-n", relay.space, "neigh", f"10.99.{relay.number}.1", "dev", "eth0")
    ways = luck.choice([[here], [there], [here, there]])

    def turn(way, verb, *more):
        at = way.index("neigh")
        fleets.ip(*way[:at], "neigh", verb, *way[at + 1:], *more)
    for way in ways:
        turn(way, "replace", "lladdr", "02:00:00:00:00:99", "nud", "permanent")
    yield f"swallows packets {len(ways)} ways"
    for way in ways:
        turn(way, "del")


def kill_service(world, _, luck):
    world.fleet.sim.kill()
    yield "kill -9"
    world.fleet.start_sim()


def freeze_service(world, _, luck):
    world.fleet.sim.process.send_signal(signal.SIGSTOP)
    yield "frozen"
    world.fleet.sim.process.send_signal(signal.SIGCONT)


def service_fault(world, _, luck):
    faults = luck.sample(FAULTS, luck.randrange(1, 4))
    world.rig.sim_post("/_sim/faults", json.dumps(faults))
    yield f"faults {faults}"
    world.rig.sim_post("/_sim/faults", json.dumps({"clear": True}))


def service_clock(world, _, luck):
    skew = luck.choice([-JUMP_S, JUMP_S])
    world.rig.sim_post("/_sim/clock", json.dumps({"skew_s": skew}))
    yield f"clock off by {skew} s"
    world.rig.sim_post("/_sim/clock", json.dumps({"skew_s": 0}))


def reshape(world, _, luck):
    """A split, or a merge when there are many."""
    shards = [s for s in world.fleet.stats()["shards"] if s["status"] == "readwrite"]
    if len(shards) < 7:
        shard = luck.choice(shards)["shard"]
        fleets.split(world.fleet, shard)
        yield f"split of shard {shard}"
        return
    for shard in luck.sample(shards, len(shards)):
        try:
            fleets.merge(world.fleet, shard["shard"])
        except OSError:
            continue  # it has no right neighbour
        yield f"merge at shard {shard['shard']}"
        return
    yield "no merge"


def expire(world, _, luck):
    world.rig.sim_post("/_sim/expire", json.dumps({"logstore": LOGSTORE, "group": fleets.GROUP}))
    yield "forgets all consumers"


def kill_receiver(world, name, _):
    """What a receiver had in memory when it was frozen may have settled meanwhile; that it dies with
    it is outside of what any sender can know (docs/delivery.md). So it lives for a while first."""
    receiver = world.receiver(name)
    if time.time() < world.thawed[name] + 5:
        yield "is let live, just thawed"
        return
    receiver.kill()
    yield "kill -9"
    receiver.start()


def freeze_receiver(world, name, _):
    receiver = world.receiver(name)
    pid = receiver.pid if name == "rsyslog" else receiver.program.process.pid
    freeze(pid, True)
    yield "frozen"
    freeze(pid, False)
    world.thawed[name] = time.time()


def reset_sink(world, _, luck):
    """It resets each connection after so many messages, in the middle of the stream."""
    if time.time() < world.thawed["sink"] + 5:
        yield "is let live, just thawed"
        return
    world.sink.kill()
    world.sink.start(("--reset-after", str(luck.randrange(200, 2000))))
    yield "resets connections"
    world.sink.kill()
    world.sink.start()


def certificate_ends(world, _, luck):
    """The sink's certificate is good for a moment only, and each connection for some messages; who comes
    back later meets one that has expired, until it is renewed."""
    if time.time() < world.thawed["sink"] + 5:
        yield "is let live, just thawed"
        return
    lasts = luck.randrange(1, 4)
    dates = [time.strftime("%Y%m%d%H%M%SZ", time.gmtime(time.time() + s)) for s in (-86400, lasts)]
    world.sink.kill()
    world.sink.kit = world.leaf("siem-soon", dates=dates)
    world.sink.start(("--reset-after", str(luck.randrange(50, 300))))
    yield f"certificate ends in {lasts} s"
    world.sink.kill()
    world.sink.kit = world.good_leaf
    world.sink.start()


# --- disks ---

def fill_disk(world, name, _):
    """Somebody else takes all that is free, to the last block."""
    relay = relay_of(world, name.replace("spool", "relay"))
    world.record(relay)
    world.short_of_disk.add(relay.name)
    fill(relay)
    yield "disk full"
    os.unlink(relay.filler)
    world.short_of_disk.discard(relay.name)


def fill(relay):
    free = os.statvfs(relay.spool)
    with open(relay.filler, "ab", buffering=0) as file:
        for size in (free.f_bavail * free.f_frsize - (1 << 20), 1 << 16, 1 << 12):
            with contextlib.suppress(OSError):
                while size > 0:
                    os.posix_fallocate(file.fileno(), os.fstat(file.fileno()).st_size, size)


def break_disk(world, name, luck):
    """Calls on the files of a running relay fail."""
    relay = relay_of(world, name)
    ready(relay)
    what, error = luck.choice(["write", "short", "sync", "open", "unlink"]), luck.choice(["EIO", "ENOSPC"])
    world.record(relay)
    world.short_of_disk.add(relay.name)
    relay.fail(f"{what}:{error}")
    yield f"each {what} fails with {error}"
    relay.fail("")
    world.short_of_disk.discard(relay.name)


# --- verbs of sls-spool; the relay they are given to may be dead, frozen or cut off meanwhile ---

def span(world, relay, luck, most):
    """A few frames near the end of the spool: (first, last), or None while there are none."""
    status = world.look(relay)
    if not status or status["next_seq"] < 2:
        return None
    last = status["next_seq"] - 1 - luck.randrange(most)
    return (max(1, last - luck.randrange(most)), last) if last >= 1 else None


def look_at_spool(world, name, luck):
    relay = relay_of(world, name.replace("eye", "relay"))
    words = luck.choice([["status"], ["list", "-n", "50"], ["tail"], ["shards"], ["targets"], ["stats"],
                         ["gaps"], ["shape"], ["verify"], ["top"], ["readers"],
                         ["cat", "-g", "number [0-9]*7 end", "--count"], ["status", "--check", "--max-age", "5"]])
    done = world.rig.run("sls-spool", "-D", relay.spool, *words, code=None)
    # 66: before the relay's first start there is none; 1: nothing matched, or behind
    check(done.returncode in (0, 1, 66), f"{words}: exit {done.returncode}: {done.stderr}")
    yield f"{' '.join(words)}: exit {done.returncode}"


def thaw(world, relay):
    """Before its time when something has to be ordered now."""
    if relay.name in world.frozen:
        relay.signal(signal.SIGCONT)
        world.frozen.discard(relay.name)


def order(world, name, luck):
    relay = relay_of(world, name.replace("spool", "relay"))
    if relay.name in world.frozen:
        yield "no order: a relay that is frozen inside a transaction holds it up, and we are to thaw it"
        return
    where, to = span(world, relay, luck, 60), luck.choice(list(TARGETS))
    if not where or not all(world.seen[relay.name, t] for t in TARGETS):
        yield "no frames yet"
        return
    first, last = where
    what = luck.choice(["pause", "hold", "requeue", "seek", "flush", "skip", "purge", "replay"])
    text = f"{what} {first}..{last} -t {to}"
    if what == "pause":
        world.order(relay, to, "pause")
        yield text
        thaw(world, relay)
        world.order(relay, to, "resume")
    elif what == "hold":
        world.order(relay, to, "hold", first=first, last=last, apart=True)
        yield text
        thaw(world, relay)
        world.order(relay, to, "release", first=first, last=last, again=1, apart=True)
    elif what == "requeue":
        world.order(relay, to, "requeue", first=first, last=last, again=3, apart=True)
        yield text
    elif what == "seek":
        # Back only: forward gives up what lies between.
        status = world.look(relay)
        first = min([first] + [t["acked_seq"] + 1 for t in status["targets"] if t["name"] == to])
        world.order(relay, to, "seek", str(first), first=first, last=status["newest_seq"] + 100000, again=1)
        yield f"seek {first} -t {to}"
    elif what == "flush":
        world.order(relay, to, "flush")
        yield text
    elif what in ("skip", "purge"):
        world.order(relay, to, what, "--reason", "torture", first=first, last=min(last, first + 5),
                    given_up=True)
        yield text
    else:
        done = replay(world, relay, to, first, last)
        yield f"{text}: exit {done}"


def replay(world, relay, to, first, last):
    world.orders[relay.name, to].append(Order(time.time(), "replay", first, last, 3, True, False))
    done = world.rig.run("sls-spool", "-c", relay.config, "replay", "--seq", f"{first}..{last}", "-t", to,
                         "--timeout", "5", "--yes", code=None)
    # 78: its configuration has a mistake just now
    check(done.returncode in (0, 1, 69, 74, 75, 78), f"replay: exit {done.returncode}: {done.stderr}")
    return done.returncode


RECEIVERS = ("sink", "rsyslog")
CABLES, SPOOLS, EYES = ("cable-1", "cable-2"), ("spool-1", "spool-2"), ("eye-1", "eye-2")
SERVICE = ("service",)
# (trouble, its possible subjects, how long it may last in seconds, weight)
ALL = [(kill_relay, RELAYS, 4, 4), (end_relay, RELAYS, 2, 1), (freeze_relay, RELAYS, 8, 2),
       (reload_relay, RELAYS, 3, 2), (cut, CABLES, 8, 3), (swallow, CABLES, 8, 2),
       (kill_service, SERVICE, 3, 2), (freeze_service, SERVICE, 6, 1), (service_fault, SERVICE, 5, 5),
       (service_clock, SERVICE, 3, 1), (reshape, SERVICE, 0, 3), (expire, SERVICE, 0, 1),
       (kill_receiver, RECEIVERS, 3, 5), (freeze_receiver, RECEIVERS, 6, 2),
       (reset_sink, ("sink",), 5, 2), (certificate_ends, ("sink",), 6, 2), (fill_disk, SPOOLS, 8, 2), (break_disk, RELAYS, 5, 2),
       (look_at_spool, EYES, 0, 4), (order, SPOOLS, 4, 5)]
