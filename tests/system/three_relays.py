#!/usr/bin/python3 -B
"""Three relays share 64 shards while they and the service die, freeze and lose the network.

Ten times at random a relay is killed with kill -9 and started again, frozen for longer than the
group's time-out, or cut off from the network; or the service is killed and comes back, or cut off from
everybody. Afterwards the three spools together hold every log. A log may be there twice only where a
relay had to begin again at the last checkpoint; such are counted. No shard stays without an owner for
longer than the time-out and two beats of who takes over.

SLSR_EVENTS (10), SLSR_SHARDS (64), SLSR_LOGS (20000), SLSR_TIMEOUT (3, seconds; frozen for two more:
SLSR_TIMEOUT=88 freezes for 90).
"""
import os
import random
import signal
import time

import fleet as fleets
import harness
import oracle
from harness import check, env_number


def kill_relay(fleet, luck):
    relay = luck.choice(fleet.relays)
    relay.program.kill()
    pause(luck.choice([0.1, 1, fleet.timeout_s + 1]))
    relay.start()
    return f"kill -9 of {relay.name}"


def freeze_relay(fleet, luck):
    relay = luck.choice(fleet.relays)
    relay.signal(signal.SIGSTOP)
    pause(fleet.timeout_s + 2)
    relay.signal(signal.SIGCONT)
    return f"{relay.name} frozen"


def cut_relay(fleet, luck):
    relay = luck.choice(fleet.relays)
    relay.pull_cable()
    pause(luck.choice([0.5, fleet.timeout_s + 2]))
    relay.plug_cable()
    return f"{relay.name} cut off"


def kill_service(fleet, luck):
    down = time.time()
    fleet.sim.kill()
    pause(luck.choice([0.1, 1, 2]))
    fleet.start_sim()
    fleet.outages.append((down, time.time()))
    return "kill -9 of the service"


def cut_service(fleet, luck):
    down = time.time()
    for relay in fleet.relays:
        relay.pull_cable()
    pause(luck.choice([0.5, 2]))
    for relay in fleet.relays:
        relay.plug_cable()
    fleet.outages.append((down, time.time()))
    return "the service cut off"


def pause(seconds):
    """How long a trouble lasts: part of the story, not a wait for anything."""
    time.sleep(seconds)


def test(rig):
    seed = env_number("SLSR_SEED", int(time.time()))
    luck = random.Random(seed)
    logs, events = env_number("SLSR_LOGS", 20000), env_number("SLSR_EVENTS", 10)
    shards = env_number("SLSR_SHARDS", 64)
    print(f"seed {seed}", flush=True)
    timeout_s = env_number("SLSR_TIMEOUT", 3)
    rate = max(logs // max(40, events * timeout_s // 2), 1)  # to go on for most of the test
    fleet = fleets.Fleet(rig, 3, shards, timeout_s=timeout_s,
                         sim=["--generate", f"{logs}@{rate}", "--seed", str(seed)],
                         source__fetch_interval="200ms")
    fleet.start()
    fleet.wait_settled()
    troubles = [kill_relay, freeze_relay, cut_relay, kill_service, cut_service]
    order = [troubles[i % len(troubles)] for i in range(events)]
    luck.shuffle(order)
    for number, trouble in enumerate(order, 1):
        began = time.monotonic()
        what = trouble(fleet, luck)
        fleet.wait_settled(90 + 2 * timeout_s)
        print(f"{number}: {what}; settled {time.monotonic() - began:.1f} s after its begin",
              flush=True)
    fleet.wait_checkpoints(logs)

    reader = oracle.Reader(fleets.PORT)
    expected = {(log.shard, log.cursor, log.index) for log in reader.logs()}
    check(len(expected) == logs, f"the service made {len(expected)} logs instead of {logs}")
    fleet.stop()
    marks, duplicates, strange = fleets.union(fleet)
    check(not expected - marks, f"{len(expected - marks)} of {logs} logs are in no spool, such as "
          f"{sorted(expected - marks)[:3]}")
    check(not marks - expected, f"logs that the service never had: {sorted(marks - expected)[:3]}")
    check(not strange, f"{len(strange)} duplicates without overlap, such as {strange[:3]}")
    longest, beats = fleets.ownership_gaps(fleet)
    print(f"{logs} logs in three spools, none missing, {duplicates} twice; a shard was without an "
          f"owner for {longest:.1f} s at most, {beats} beats after the time-out of "
          f"{fleet.timeout_s} s")
    check(beats <= 2, f"a shard was taken over only {beats} beats after the time-out")


if __name__ == "__main__":
    os.environ.setdefault("SLSR_SEED", str(int(time.time())))
    fleets.own_network()
    harness.main(test)
