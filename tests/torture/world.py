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
import threading
import time

import fleet as fleets
import harness
import loss_table
import oracle
import receivers
from harness import LOGSTORE, check
from sim_smoke import field, varint

KEYS = 24
TARGETS = ("sink", "rsyslog")
# What an order allows to arrive again (or, with `apart`, out of turn, or not at all with `given_up`).
Order = collections.namedtuple("Order", "at verb first last again apart given_up")


class Fleet(fleets.Fleet):
    """Its service has a clock that jumps; the transcript is read in the time of everybody else."""

    def __init__(self, *arguments, **more):
        self.offsets = [(0.0, 0)]  # since when the service's clock was off by so much
        super().__init__(*arguments, **more)

    def jump(self, offset):
        self.offsets.append((time.time(), offset))

    def events(self):
        ends = [at for at, _ in self.offsets[1:]] + [float("inf")]
        for at, *rest in super().events():
            real = [at - off for (since, off), end in zip(self.offsets, ends)
                    if since - 2 <= at - off <= end + 2]
            if real:
                yield (real[-1], *rest)


class Writer(threading.Thread):
    """Uploads numbered logs under keys. What the service may have taken before it died is uploaded
    again, as a producer would; then that number is in the service twice."""

    def __init__(self, seed):
        super().__init__(daemon=True)
        self.luck = random.Random(f"writer {seed}")
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
        while not self.over.wait(0.05) and not self.error:
            key = self.luck.choice(self.keys)
            self.upload(key, self.group(key, self.luck.randrange(1, 40)))


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
                except Exception as error:  # noqa: BLE001  told by the judge
                    self.error = f"status of {relay.name}: {error}"
                    return


class World:
    def __init__(self, rig, seed):
        self.rig, self.seed = rig, seed
        self.lock = threading.Lock()
        self.seen = collections.defaultdict(list)    # (relay, target) -> [(when, acked)]
        self.orders = collections.defaultdict(list)  # the same -> [Order]
        self.starts = collections.Counter()
        os.environ["RECEIVER_ADDRESS"] = "0.0.0.0"
        self.sink = loss_table.Sink(rig, "tcp", None, host="0.0.0.0")
        self.rsyslog = loss_table.Real(rig, "rsyslog", None)
        self.sink.stem, self.rsyslog.stem = "to-sink", "to-rsyslog"
        self.thawed = {"sink": 0.0, "rsyslog": 0.0}
        self.fleet = Fleet(rig, 2, 3, timeout_s=5, source__in_order=True,
                           source__fetch_interval="100ms", spool__retention_time="1d")
        self.writer, self.watch = Writer(seed), Watch(self)

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
        config["targets"] = [
            {"name": name, "protocol": "tcp", "host": f"10.99.{relay.number}.1",
             "port": self.receiver(name).port, "settle": "2s", "dead_timeout": "3s",
             "connect_timeout": "2s", "stall_timeout": "120s",
             "retry": {"initial": "50ms", "max": "1s", "multiplier": 2}} | changes
            for name in TARGETS]
        with open(relay.config, "w", encoding="utf-8") as file:
            json.dump(config, file, indent=2)

    # --- what is seen and done to a spool ---

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
        self.fleet.stop()
        self.sink.stop()
        self.rsyslog.stop()
        return expected


def freeze(pid, on):
    os.kill(pid, signal.SIGSTOP if on else signal.SIGCONT)
