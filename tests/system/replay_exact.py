#!/usr/bin/python3 -B
"""An operator sends a stretch of the spool again: exactly that stretch arrives, no frame more.

A relay has spooled and delivered some thousand logs. A range of sequence numbers and a range of
event times are replayed to a second receiver, while the relay runs and after it has ended. What the
receiver got is compared byte for byte with what the spool holds for the range, and the range itself
with the times that the service gave to its logs.
"""
import harness
import oracle
from harness import check, env_number


def replayed(rig, name, *selectors):
    """Replays to a fresh sink and returns what it wrote."""
    path = rig.path(name)
    sink = rig.start_sink("--output", path, name=f"sink {name}")
    rig.spool("replay", *selectors, "--to", f"tcp://127.0.0.1:{sink.port}", "--yes")
    check(sink.stop() == 0, "the sink did not end well")
    with open(path, "rb") as file:
        return file.read()


def expect(rig, name, count, *selectors):
    wanted = rig.spool("-o", "raw", "cat", *selectors, text=False).stdout
    lines = wanted.count(b"\n")
    check(lines == count, f"{name}: cat selects {lines} frames, not {count}")
    got = replayed(rig, name, *selectors)
    check(got == wanted, f"{name}: {got.count(10)} frames arrived instead of {lines}, or others")
    print(f"{name}: {lines} frames, byte for byte")


def test(rig):
    logs = min(env_number("SLSR_LOGS", 20000), 20000)
    rig.start_sim("--generate", str(logs))
    sink = rig.start_sink("--discard")
    relay = rig.start_relay(rig.config(sink.port))
    rig.wait_drained(logs)

    moments = sorted(log.time * 10**9 + log.time_ns for log in oracle.Reader(rig.sim_port).logs())
    # Borders between two moments: no log lies on one, so "up to" needs no interpretation.
    gaps = [(a + b) // 2 for a, b in zip(moments, moments[1:]) if b - a > 1]
    check(len(gaps) > 3, "the generated logs have too few different times to select by")
    low, high = gaps[len(gaps) // 4], gaps[len(gaps) * 3 // 4]
    inside = sum(low < t < high for t in moments)
    check(0 < inside < logs, "the time range selects all or nothing")
    since, until = (f"@{t // 10**9}.{t % 10**9:09d}" for t in (low, high))
    first, last = logs // 3, logs // 3 + 1233
    for when in ("live", "dead"):
        expect(rig, f"{when}-sequence", last - first + 1, "--seq", f"{first}..{last}")
        expect(rig, f"{when}-time", inside, "--since", since, "--until", until)
        expect(rig, f"{when}-one", 1, "--seq", str(first))
        if when == "live":
            check(relay.running(), "the relay ended under a replay")
            check(relay.stop() == 0, "TERM did not end the relay with exit 0")
    nothing = rig.spool("replay", "--seq", f"{logs + 1000}..{logs + 2000}", "--to",
                        f"tcp://127.0.0.1:{sink.port}", "--yes", code=1)
    check(nothing.stderr.strip(), "a replay of nothing should say so")


harness.main(test)
