"""The whole system that is tortured, and what it was seen to do.

Two relays in one consumer group, each in a network namespace of its own; two targets, syslog-sink and
a real rsyslog; a service that keeps its state. Logs are uploaded under a few keys all the time, and the
position that each target has taken is looked at all the time: what was seen as taken must not be sent
again, unless somebody ordered it.
"""
import collections
import json
import os
import random
import signal
import subprocess
import threading
import time

import fleet as fleets
import harness
import loss_table
import oracle
import receivers
import tlskit
from harness import LOGSTORE, check
from sim_smoke import field, varint

KEYS = 24
MEAN_LOGS = 20  # of an upload
DISK_BYTES = 2 << 30  # of each spool's file system, sparse
JUMP_S = 40000  # of the service's clock, to and fro
TARGETS = {"sink": "tls", "rsyslog": "tcp"}
# Every look for a frame that a receiver does not take lasts so long some ten times over.
SETTLE = "1s" if harness.SLOW == 1 else "2s"
# What an order allows to arrive again (or, with `apart`, out of turn, or not at all with `given_up`).
Frame = collections.namedtuple("Frame", "arrival relay seq mark text")
Order = collections.namedtuple("Order", "at verb first last again apart given_up")


def run(*argv):
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    check(done.returncode == 0, f"{' '.join(argv)}: {done.stderr.strip()}")


class Relay(fleets.Relay):
    """Its spool lies on a disk of its own, and its calls there fail while the switch says so."""

    def __init__(self, fleet, number):
        super().__init__(fleet, number)
        self.switch = fleet.rig.path(f"switch-{number}")
        self.filler = os.path.join(self.spool, "somebody-else")
        image = fleet.rig.path(f"disk-{number}")
        os.mkdir(self.spool, 0o700)
        with open(image, "wb") as file:
            file.truncate(DISK_BYTES)
        run("mkfs.ext4", "-q", "-F", "-m", "0", image)
        run("mount", "-o", "loop", image, self.spool)
        fleet.rig.at_end.callback(run, "umount", "-l", self.spool)
        os.chmod(self.spool, 0o700)

    def environment(self):
        preload = os.path.join(self.fleet.rig.bin, "spool-interpose.so")
        return harness.clean_env() | {
            "LD_PRELOAD": preload, "SLSR_IO_DIR": self.spool, "SLSR_IO_SWITCH": self.switch,
            "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"}

    def fail(self, text):
        """From now on; "" mends it."""
        fresh = self.switch + ".new"
        with open(fresh, "w", encoding="ascii") as file:
            file.write(text)
        os.replace(fresh, self.switch)


class Fleet(fleets.Fleet):
    """Its service has a clock that jumps; the transcript is read in the time of everybody else. Each line
    has two clocks, one of which does not jump: how far off the other was needs no guess."""
    relay_type = Relay

    def __init__(self, *arguments, **more):
        self.lives = []  # (size of the transcript, time) when the service was started
        super().__init__(*arguments, **more)

    def start_sim(self):
        size = os.path.getsize(self.transcript) if os.path.exists(self.transcript) else 0
        self.lives.append((size, time.time()))
        super().start_sim()

    def lines(self):
        ends = [size for size, _ in self.lives[1:]] + [None]
        with open(self.transcript, "rb") as file:
            for (size, began), end in zip(self.lives, ends):
                file.seek(size)
                life = file.read(None if end is None else end - size)
                for line in fleets.parsed(life.splitlines()):
                    off = line["at"] - began - line["t"]
                    yield line | {"at": line["at"] - round(off / JUMP_S) * JUMP_S}


class Writer(threading.Thread):
    """Uploads numbered logs under keys. What the service may have taken before it died is uploaded
    again, as a producer would; then that number is in the service twice."""

    def __init__(self, seed, rate):
        super().__init__(daemon=True)
        self.luck, self.pause_s = random.Random(f"writer {seed}"), MEAN_LOGS / rate
        self.keys = [f"{self.luck.getrandbits(128):032x}" for _ in range(KEYS)]
        self.counts = dict.fromkeys(self.keys, 0)
        self.over = threading.Event()
        self.error = None

    def group(self, key, logs):
        out = b""
        for _ in range(logs):
            text = f"key {key} number {self.counts[key]} end ".encode()
            text += b"x" * self.luck.randrange(600)
            self.counts[key] += 1
            pair = field(1, b"m") + field(2, text)
            out += field(1, b"\x08" + varint(int(time.time())) + field(2, pair))
        return out

    def upload(self, key, body):
        deadline = time.monotonic() + 120 * harness.SLOW
        while time.monotonic() < deadline:
            try:
                status, _, answer = oracle.Reader(fleets.PORT).call(
                    f"/logstores/{LOGSTORE}/shards/route", {"key": key}, method="POST", body=body,
                    kind="application/x-protobuf")
            except (OSError, oracle.http.client.HTTPException):
                time.sleep(0.1)
                continue
            if status == 200:
                return
            if status in (400, 403) and b"RequestTimeTooSkewed" not in answer:
                break
            time.sleep(0.1)
        self.error = "an upload was never taken"

    def run(self):
        while not self.over.wait(self.luck.uniform(0, 2 * self.pause_s)) and not self.error:
            key = self.luck.choice(self.keys)
            self.upload(key, self.group(key, self.luck.randrange(1, 2 * MEAN_LOGS)))


class Watch(threading.Thread):
    """Looks at every spool's targets, about twice a second."""

    def __init__(self, world):
        super().__init__(daemon=True)
        self.world, self.over, self.error = world, threading.Event(), None

    def run(self):
        while not self.over.wait(0.4):
            for relay in self.world.fleet.relays:
                try:
                    self.world.look(relay)
                    if relay.name in self.world.short_of_disk:
                        self.world.record(relay)
                except Exception as error:  # noqa: BLE001  told by the judge
                    self.error = f"status of {relay.name}: {error}"
                    return


class World:
    def __init__(self, rig, seed, rate):
        self.rig, self.seed = rig, seed
        self.lock = threading.Lock()
        self.seen = collections.defaultdict(list)    # (relay, target) -> [(when, acked)]
        self.orders = collections.defaultdict(list)  # the same -> [Order]
        # A spool without room gives delivered frames back: they are written down before and meanwhile.
        self.frames = collections.defaultdict(list)  # relay -> [Frame] in the order of the spool
        self.unseen = collections.Counter()          # relay -> frames that were gone too soon
        self.short_of_disk = set()
        os.environ["RECEIVER_ADDRESS"] = "0.0.0.0"
        self.kit = tlskit.Kit(rig.path("ca"))
        self.good_leaf = self.leaf("siem")
        self.sink = loss_table.Sink(rig, "tls", self.good_leaf)
        self.sink.host = "0.0.0.0"  # both relays come by cables of their own
        self.rsyslog = loss_table.Real(rig, "rsyslog", None)
        self.sink.stem, self.rsyslog.stem = "to-sink", "to-rsyslog"
        self.thawed = {"sink": 0.0, "rsyslog": 0.0}
        self.frozen = set()  # names of relays
        self.fleet = Fleet(rig, 2, 3, timeout_s=5, source__in_order=True,
                           source__fetch_interval="100ms", spool__retention_time="1d")
        self.writer, self.watch = Writer(seed, rate), Watch(self)

    def leaf(self, name, **more):
        return self.kit.leaf(name, san="IP:10.99.1.1,IP:10.99.2.1", **more)

    def receiver(self, target):
        return self.sink if target == "sink" else self.rsyslog

    def start(self):
        self.sink.start()
        self.rsyslog.start()
        for relay in self.fleet.relays:
            self.configure(relay)
        self.fleet.start()
        self.writer.start()
        self.watch.start()

    def configure(self, relay, **changes):
        """Writes the relay's configuration anew; changes are keys of every target."""
        with open(relay.config, encoding="utf-8") as file:
            config = json.load(file)
        config["format"]["hostname"] = relay.name
        config["log"] = {"level": "debug"}  # the judge counts every connection by its line
        config["targets"] = [
            {"name": name, "protocol": protocol, "host": f"10.99.{relay.number}.1",
             "port": self.receiver(name).port, "settle": SETTLE, "dead_timeout": "3s",
             "connect_timeout": "2s", "stall_timeout": "120s",
             "retry": {"initial": "50ms", "max": "1s", "multiplier": 2},
             **({"tls": {"ca_file": self.kit.ca}} if protocol == "tls" else {})} | changes
            for name, protocol in TARGETS.items()]
        with open(relay.config, "w", encoding="utf-8") as file:
            json.dump(config, file, indent=2)

    # --- what is seen and done to a spool ---

    def record(self, relay):
        """The frames that were not yet seen."""
        with self.lock:
            frames = self.frames[relay.name]
            following = frames[-1].seq + 1 if frames else 1
            done = self.rig.run("sls-spool", "-D", relay.spool, "-o", "jsonl", "cat", "--seq",
                                f"{following}..", seconds=300, code=None)
            check(done.returncode in (0, 1, 66), f"cat of {relay.name}: exit {done.returncode}: {done.stderr}")
            for line in done.stdout.splitlines():
                f = json.loads(line)
                self.unseen[relay.name] += f["seq"] - following
                following = f["seq"] + 1
                frames.append(Frame(fleets.moment(f["arrival"]), relay.name, f["seq"],
                                    (f["shard"], harness.cursor_number(f["cursor"]), f["index"]), f["frame"]))

    def status(self, relay):
        done = self.rig.run("sls-spool", "-D", relay.spool, "-o", "json", "status", code=None)
        return json.loads(done.stdout) if done.returncode == 0 else None

    def look(self, relay):
        with self.lock:  # no order may come between the look and its record
            status = self.status(relay)
            for target in status["targets"] if status else []:
                self.seen[relay.name, target["name"]].append((time.time(), target["acked_seq"]))
        return status

    def order(self, relay, target, verb, *words, first=0, last=0, again=0, apart=False,
              given_up=False):
        """One changing verb; it is recorded before it may have its effect. True if it had one."""
        with self.lock:
            self.orders[relay.name, target].append(
                Order(time.time(), verb, first, last, again, apart, given_up))
            selectors = ["--seq", f"{first}..{last}"] if first and verb != "seek" else []
            done = self.rig.run("sls-spool", "-D", relay.spool, verb, *selectors, "-t", target, *words,
                                code=None)
        check(done.returncode in (0, 1), f"{verb} on {relay.name}: exit {done.returncode}: {done.stderr}")
        return done.returncode == 0

    # --- the end ---

    def idle(self):
        for relay in self.fleet.relays:
            check(relay.program.running(), f"{relay.name} ended by itself")
            status = self.look(relay)
            if not status or {t["name"] for t in status["targets"]} != set(TARGETS):
                return False
            if any(t["acked_seq"] + 1 < status["next_seq"] for t in status["targets"]):
                return False
        return True

    def alive(self):
        for thread in (self.writer, self.watch):
            check(thread.error is None, thread.error)

    def finish(self):
        self.writer.over.set()
        self.writer.join()
        self.fleet.wait_checkpoints(1, 240)
        harness.wait_until("both targets have all of both spools", self.idle, 240, 0.3)
        self.watch.over.set()
        self.watch.join()
        self.alive()
        expected = oracle.Reader(fleets.PORT).marks()
        for relay in self.fleet.relays:
            self.record(relay)
            self.unseen[relay.name] += self.status(relay)["next_seq"] - 1 - len(self.frames[relay.name]) \
                - self.unseen[relay.name]
        self.fleet.stop()
        self.sink.stop()
        self.rsyslog.stop()
        return expected


def freeze(pid, on):
    os.kill(pid, signal.SIGSTOP if on else signal.SIGCONT)
