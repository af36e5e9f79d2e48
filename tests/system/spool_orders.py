#!/usr/bin/python3 -B
"""An operator takes hold of a running relay through the spool alone.

A relay pulls and sends under load. It is paused, frames are held and skipped, it is resumed, and a
real receiver's file says what came and what did not. Released and requeued frames come later beside
the live traffic, a seek sends a stretch once more, a flush ends a long back-off, an order to a spool
without a relay waits for the next start. Every order stands in the ledger with who and why.
"""
import json
import os
import shutil

import harness
from harness import check, wait_until

LOGS = max(harness.env_number("SLSR_LOGS", 12000), 8000)
NEEDED = 4500  # frames that must still be to come when the target is paused
base = {}  # file -> size of what came before the story begins


def order(rig, *arguments, code=0):
    done = rig.spool("-o", "json", *arguments, code=code)
    return json.loads(done.stdout) if code == 0 else done


def target(rig, name="siem"):
    status = rig.status()
    return next((t for t in status["targets"] if t["name"] == name), None) if status else None


def wait_state(rig, state):
    wait_until(f"target is {state}", lambda: (target(rig) or {}).get("state") == state)


def received(path):
    """Provenance -> how often."""
    seen = {}
    with open(path, "rb") as file:
        file.seek(base.get(path, 0))
        for line in file:
            mark = harness.provenance(line)
            if mark is not None and line.endswith(b"\n"):
                seen[mark] = seen.get(mark, 0) + 1
    return seen


def marks(rig, *selectors):
    return [(f["shard"], harness.cursor_number(f["cursor"]), f["index"])
            for f in rig.cat(*selectors)]


def times(rig, sink_file, *selectors):
    """How often each of the selected frames arrived, as a sorted list of different counts."""
    seen = received(sink_file)
    return sorted({seen.get(mark, 0) for mark in marks(rig, *selectors)})


def wait_times(rig, sink_file, low, high, *selectors):
    wanted = marks(rig, *selectors)
    check(wanted, f"nothing is selected by {selectors}")

    def ask():
        seen = received(sink_file)
        return all(low <= seen.get(mark, 0) <= high for mark in wanted)
    wait_until(f"{len(wanted)} frames of {selectors} arrived {low}..{high} times", ask, 60, 0.2)


def begin_at(rig, out, acked):
    """On a slow machine nearly all had gone out before the pause: back to where enough is to come.
    Returns the last sequence that was taken; what the receiver has so far is left out of the counts."""
    wait_until("what was taken is in the file", lambda: len(received(out)) >= acked)
    if acked > LOGS - NEEDED:
        rig.wait_spooled(LOGS)
        order(rig, "seek", "-t", "siem", str(LOGS - NEEDED + 1), "--yes")
        wait_until("the seek is taken over", lambda: target(rig)["acked_seq"] == LOGS - NEEDED)
        acked = LOGS - NEEDED
    base[out] = os.path.getsize(out)
    return acked


def under_load(rig, sink, out):
    wait_until("traffic", lambda: (target(rig) or {}).get("acked_seq", 0) > 200)
    check(order(rig, "pause", "-t", "siem", "--reason", "change window", "--dry-run")["dry_run"],
          "a dry run should say that it is one")
    check(target(rig)["state"] != "paused", "a dry run paused the target")
    paused = order(rig, "pause", "-t", "siem", "--reason", "change window")
    check(paused["taken_over"], "the relay did not take the pause over")
    wait_state(rig, "paused")
    check("change window" in target(rig)["last_error"], "the reason of the pause is not shown")
    acked = begin_at(rig, out, target(rig)["acked_seq"])
    rig.wait_spooled(acked + 4000)
    check(target(rig)["acked_seq"] == acked, "frames went out while paused")
    first = acked + 1
    # Delivered frames are no business of hold: 100 of these 300 are.
    held = order(rig, "hold", "--seq", f"{first - 100}..{first + 199}", "--reason", "evidence")
    check(held["frames"] == 200 and held["from_seq"] == first, f"hold took other frames: {held}")
    skipped = order(rig, "skip", "--seq", f"{first + 500}..{first + 549}", "-t", "siem",
                    "--reason", "test data")
    check(skipped["frames"] == 50, f"skip took other frames: {skipped}")
    # A pattern: every hundredth sequence, as pieces of one frame.
    purged = order(rig, "purge", "--seq", f"{first + 1000}..{first + 1999}", "-g",
                   'index="7"', "--reason", "poison")
    lost = f"{first + 1000}..{first + 1999}"
    check(purged["frames"] == len(rig.cat("--seq", lost, "-g", 'index="7"')),
          f"purge took other frames: {purged}")
    for state, frames in (("held", 200), ("skipped", 50 + purged["frames"])):
        count = int(rig.spool("list", "--state", state, "--count", code=None).stdout or 0)
        check(count == frames, f"{count} frames are {state}, not {frames}")
    check(order(rig, "resume", "-t", "siem")["taken_over"], "the relay did not resume")
    rig.wait_drained(LOGS)
    check(times(rig, out, "--state", "held") == [0], "held frames arrived")
    check(times(rig, out, "--seq", f"{first + 500}..{first + 549}") == [0], "skipped frames arrived")
    wait_times(rig, out, 1, 1, "--state", "delivered", "--seq", f"{first}..{first + 3999}")
    return first


def after_load(rig, out, first):
    sent = target(rig)["sent_frames"]
    check(sent > 0, "nothing is counted as sent")
    order(rig, "release", "--state", "held")
    wait_times(rig, out, 1, 1, "--seq", f"{first}..{first + 199}")
    wait_until("nothing is pending", lambda: rig.spool("list", "--state", "pending", "--count",
                                                       code=None).returncode == 1)
    order(rig, "requeue", "--seq", f"{first + 500}..{first + 549}")
    wait_times(rig, out, 1, 1, "--seq", f"{first + 500}..{first + 549}")
    order(rig, "requeue", "--seq", f"{first + 10}..{first + 19}")  # delivered before
    wait_times(rig, out, 2, 2, "--seq", f"{first + 10}..{first + 19}")
    order(rig, "seek", "-t", "siem", str(first + 3000), "--yes")  # of a large run that is asked
    rig.wait_drained(LOGS)
    # Since the relay started: an order ends a delivery, not the count.
    wait_until("all that was sent is counted",
               lambda: target(rig)["sent_frames"] >= sent + LOGS - (first + 3000) + 1)
    wait_times(rig, out, 2, 2, "--seq", f"{first + 3000}..newest")
    check(times(rig, out, "--seq", f"{first + 2000}..{first + 2999}") == [1],
          "a seek sent frames before its position")


def back_off(rig, sink, out, config):
    """The receiver is away for so long that the relay waits a minute; flush ends the wait."""
    port = sink.port
    sink.stop()
    seq = rig.status()["newest_seq"] - 20
    order(rig, "seek", "-t", "siem", str(seq))
    wait_until("a long back-off", lambda: (target(rig)["next_retry_s"] or 0) > 20, 120)
    sink = rig.start_sink("--output", rig.path("out2"), port=port)
    check(order(rig, "flush", "-t", "siem")["taken_over"], "the relay did not take the flush over")
    wait_until("the rest is sent at once", lambda: target(rig)["backlog_frames"] == 0, 15)
    wait_times(rig, rig.path("out2"), 1, 1, "--seq", f"{seq}..newest")
    return sink


def without_relay(rig, config, out):
    """Orders wait in the spool, and on a copy that nobody serves."""
    copy = rig.path("copy")
    shutil.copytree(rig.path("spool"), copy)
    done = rig.run("sls-spool", "-D", copy, "hold", "--seq", "newest", code=1)
    check("1 delivered already" in done.stderr, f"all is delivered, nothing can be held: {done.stderr}")
    seq = rig.status()["newest_seq"] - 5
    answer = order(rig, "requeue", "--seq", f"{seq}..newest", "--reason", "lost in transit")
    check(not answer["taken_over"], "nobody runs, who took it over?")
    relay = rig.start_relay(config, name="sls-relay again")
    wait_times(rig, rig.path("out2"), 2, 2, "--seq", f"{seq}..newest")
    check(relay.stop() == 0, "TERM did not end the relay with exit 0")


def refusals(rig):
    for words, part in ((["skip", "--seq", "1", "-t", "siem"], "--reason"),
                        (["skip", "--seq", "1", "--reason", "x"], "without -t"),
                        (["hold"], "without selectors"),
                        (["pause", "-t", "sie"], "did you mean 'siem'"),
                        (["seek", "-t", "siem", "tomorrowish"], "seek to"),
                        (["seek", "-t", "siem", "99999999"], "the spool holds"),
                        (["hold", "--state", "hold"], "give pending"),
                        (["requeue", "--seq", "oldest..newest"], "--yes" if LOGS > 10000 else None),
                        (["relese", "--seq", "1"], "did you mean 'release'")):
        if part is None:
            continue  # a small run: there is nothing to confirm
        done = rig.spool(*words, code=64)
        check(part in done.stderr, f"{words}: {done.stderr}")


def ledger(rig):
    entries = [json.loads(line) for line in rig.spool("-o", "jsonl", "gaps").stdout.splitlines()]
    kinds = [e["kind"] for e in entries]
    check([e["id"] for e in entries] == list(range(1, len(entries) + 1)), "ids are not dense")
    if kinds[1] == "seek":  # begin_at
        del kinds[1], entries[1]
    check(kinds == ["pause", "hold", "skip", "purge", "resume", "release", "requeue", "requeue",
                    "seek", "seek", "flush", "requeue"], f"the ledger is {kinds}")
    check(entries[1]["text"] == "evidence" and entries[1]["frames"] == 200 and entries[1]["who"],
          f"the ledger's hold is {entries[1]}")


def test(rig):
    rig.start_sim("--generate", f"{LOGS}@3000")
    out = rig.path("out")
    sink = rig.start_sink("--output", out)
    config = rig.config(sink.port, spool__retention_time="1h",
                        targets__0__retry={"initial": "50ms", "max": "600s", "multiplier": 50})
    relay = rig.start_relay(config)
    first = under_load(rig, sink, out)
    refusals(rig)
    after_load(rig, out, first)
    sink = back_off(rig, sink, out, config)
    check(relay.stop() == 0, "TERM did not end the relay with exit 0")
    without_relay(rig, config, out)
    ledger(rig)
    rig.spool("verify")


harness.main(test)
