"""The demonstration behind tools/quickstart: one outage of the receiver, survived.

A simulated service generates audit logs in four shards, the relay pulls, spools and sends them, a
receiver writes them to a file. In the middle the receiver is stopped for some seconds while logs
keep coming, then started again. At the end every log is compared by its provenance and a table is
printed. Exit 0 when nothing was lost. Programs are started as the system tests start them.
"""
import argparse
import os
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "system"))
import harness  # noqa: E402
import oracle  # noqa: E402

OUTAGE_S = 6


class Show:
    """Progress: one line that is rewritten on a terminal, else one line every two seconds."""

    def __init__(self, rig, logs):
        self.rig, self.logs = rig, logs
        self.peak = 0
        self.began = time.monotonic()
        self.last = -2.0
        self.status = None

    def look(self, phase):
        """Asks the spool how things stand, shows it and returns (spooled, delivered, backlog)."""
        status = self.rig.status() or {"frames": 0, "next_seq": 1, "targets": []}
        targets = [t for t in status["targets"] if t["name"] == "siem"]
        delivered = targets[0]["acked_seq"] if targets else 0
        spooled = status["next_seq"] - 1
        backlog = spooled - delivered
        self.peak = max(self.peak, backlog)
        now = time.monotonic() - self.began
        text = (f"{now:5.1f} s  {phase:<22} spooled {spooled:>7}  delivered {delivered:>7}"
                f"  backlog {backlog:>6}")
        if sys.stdout.isatty():
            print("\r" + text, end="\x1b[K", flush=True)
        elif now - self.last >= 2:
            self.last = now
            print(text, flush=True)
        return spooled, delivered, backlog

    def until(self, phase, enough, seconds=120):
        """Shows progress until enough(spooled, delivered, backlog)."""
        harness.wait_until(phase, lambda: enough(*self.look(phase)), seconds, 0.25)

    def say(self, text):
        print(("\n" if sys.stdout.isatty() else "") + text, flush=True)


def read_received(paths):
    """How often each provenance stands in the receiver's files."""
    count = {}
    for path in paths:
        with open(path, "rb") as file:
            for line in file:
                mark = harness.provenance(line)
                harness.check(mark is not None, f"a line without provenance: {line[:120]!r}")
                count[mark] = count.get(mark, 0) + 1
    return count


def table(rows):
    print()
    for name, value in rows:
        print(f"  {name:<28}{value:>10}")
    print()


def run(rig, logs, rate):
    print(f"programs: {rig.bin}   folder: {rig.dir}")
    print(f"a simulated service with 4 shards generates {logs} audit logs, {rate} a second")
    rig.start_sim("--generate", f"{logs}@{rate}")
    files = [rig.path("received-1.log"), rig.path("received-2.log")]
    sink = rig.start_sink("--output", files[0])
    config = rig.config(sink.port)
    relay = rig.start_relay(config)
    show = Show(rig, logs)
    show.until("relaying", lambda spooled, delivered, _: delivered > 0 and spooled >= logs // 4)

    show.say(">> the receiver goes down; logs keep coming")
    sink.stop()
    down = time.monotonic()
    show.until("receiver DOWN", lambda spooled, *_: time.monotonic() - down >= OUTAGE_S
               or spooled >= logs * 3 // 4)
    during = show.look("receiver DOWN")[2]
    show.say(f">> the receiver comes back after {time.monotonic() - down:.0f} s;"
             f" {during} frames wait in the spool")
    sink = rig.start_sink("--output", files[1], port=sink.port)
    show.until("catching up", lambda spooled, delivered, _: spooled >= logs and delivered >= logs)
    show.say(">> everything is delivered; comparing")

    expected = oracle.Reader(rig.sim_port).marks()
    count = read_received(files)
    lost = len(expected - set(count))
    strange = len(set(count) - expected)
    twice = sum(count.values()) - len(count)
    spooled = rig.status()["next_seq"] - 1
    table([("logs at the service", len(expected)), ("logs pulled and spooled", spooled),
           ("delivered", len(count)), ("lost", lost), ("duplicated", twice),
           ("backlog at its peak", show.peak)])
    return relay, config, lost == 0 and strange == 0 and spooled == len(expected)


def keep(rig, relay, config):
    """Leaves everything running and says how to look at it."""
    tool = os.path.join(rig.bin, "sls-spool")
    spool = rig.path("spool")
    print("the demo keeps running; look at it:")
    print(f"  {tool} -D {spool} status")
    print(f"  {tool} -D {spool} tail")
    print(f"  {tool} -D {spool} replay -S -1m --to tcp://127.0.0.1:PORT --yes")
    print(f"  configuration: {config}   diagnostics: {relay.log}")
    print("end it:")
    print(f"  kill {' '.join(str(p.process.pid) for p in rig.programs if p.running())}"
          f" && rm -r {rig.dir}")
    os.environ["SLSR_KEEP"] = "1"
    rig.programs.clear()


def main():
    parse = argparse.ArgumentParser(prog="quickstart")
    parse.add_argument("--keep", action="store_true")
    parse.add_argument("--logs", type=int, default=20000)
    parse.add_argument("--rate", type=int, default=800)
    options = parse.parse_args()
    os.environ.setdefault("SLSR_BIN", os.path.join("build", "bin"))
    # A TERM must clean up like Ctrl-C does.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        with harness.Rig("quickstart") as rig:
            relay, config, good = run(rig, options.logs, options.rate)
            if options.keep:
                keep(rig, relay, config)
            else:
                harness.check(relay.stop() == 0, "the relay did not end well")
    except harness.Failed as error:
        print(f"\nquickstart: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nquickstart: stopped", file=sys.stderr)
        return 130
    if not good:
        print("quickstart: logs were lost: this is a bug, please report it", file=sys.stderr)
        return 1
    print("The receiver was down in the middle; nothing was lost.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
