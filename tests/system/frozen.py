#!/usr/bin/python3 -B
"""Processes that stand still inside a transaction of LMDB, the worst place that there is.

A relay is frozen while it stores positions: whoever gives an order hears of it after ten seconds,
nothing is ordered, what only looks still answers, and once it goes on the same order is taken over.
A tool is frozen while it gives an order: it is ended, and the relay and the next order go on.
Tools are frozen while they read, at full rate: the pages that their transaction pins cost at most
the segment that it lies in, and the books of positions stay small; once the tools are dead their slots are
given back and pages are used again.
"""
import json
import os
import shutil
import signal

import harness
from harness import check, wait_until

RATE = harness.env_number("SLSR_RATE", 20000)  # logs a second
BYTES = RATE * 1500  # of frames in each look; ten seconds of small commits, for these cost pages


def start_frozen(rig, name, argv, plan):
    """A program that will stop itself inside a transaction (tests/lib/freeze.c)."""
    env = {**harness.clean_env(), "LD_PRELOAD": rig.tool("spool-freeze.so"), "SLSR_FREEZE": plan}
    return rig.start(name, argv, env=env)


def stands_still(program):
    with open(f"/proc/{program.process.pid}/stat", encoding="ascii", errors="replace") as file:
        return file.read().rsplit(")", 1)[1].split()[0] == "T"


def orders(rig):
    sim = rig.start_sim("--generate", "200000@500", "--seed", "7")
    sink = rig.start_sink("--discard")
    config = rig.config(sink.port)
    relay = start_frozen(rig, "sls-relay", rig.relay_argv(config), "write:ack.mdb:12")
    wait_until("the relay stands still", lambda: stands_still(relay))
    check(rig.spool("status", code=None).returncode in (0, 1), "status does not answer")
    done = rig.spool("pause", "-t", "siem", "--reason", "test", code=75)
    check("locked for 10 s" in done.stderr and "frozen" in done.stderr and
          len(done.stderr.strip().splitlines()) == 2, f"not one sentence: {done.stderr}")
    check(rig.spool("-o", "json", "status", code=None).stdout.find('"state":"paused"') < 0,
          "an order that was given up paused the target")
    relay.process.send_signal(signal.SIGCONT)
    done = rig.spool("-o", "json", "pause", "-t", "siem", "--reason", "test")
    check(json.loads(done.stdout)["taken_over"], "the relay did not take the order over")
    rig.spool("resume", "-t", "siem")
    order_of_frozen(rig)
    for program in (relay, sink, sim):
        check(program.stop() == 0, f"TERM did not end {program.name} with exit 0")


def order_of_frozen(rig):
    pause = ["pause", "-t", "siem", "--reason", "test"]
    tool = start_frozen(rig, "pause", [rig.tool("sls-spool"), "-D", rig.path("spool"), *pause],
                        "write:ack.mdb:2")
    wait_until("the tool stands still", lambda: stands_still(tool))
    before = rig.status()["targets"][0]["acked_seq"]
    check(tool.wait(60) == -signal.SIGKILL, "a tool that stood still ended by itself")
    check(len(tool.said("it stood still for 10 s .* give 'pause' again")) == 1, f"said: {tool.lines}")
    done = rig.spool("-o", "json", *pause)
    check(json.loads(done.stdout)["taken_over"], "the relay did not take the next order over")
    rig.spool("resume", "-t", "siem")
    wait_until("positions are stored again", lambda: rig.status()["targets"][0]["acked_seq"] > before)


def readers(rig, program):
    """Slots of a program: file, transaction that it reads, whether it lives."""
    lines = rig.spool("-o", "jsonl", "readers").stdout.splitlines()
    return [slot for slot in map(json.loads, lines) if slot["pid"] == program.process.pid]


def freeze(rig, tool, plan, *words):
    """A tool that stands still inside a transaction, which the reader table shows."""
    program = start_frozen(rig, words[0], [*tool, *words], plan)
    wait_until(f"{words[0]} stands still", lambda: stands_still(program))
    slots = [slot for slot in readers(rig, program) if slot["transaction"]]
    check(len(slots) == 1 and slots[0]["file"].startswith(plan.split(":")[1]),
          f"{words[0]} pins something else: {slots}")
    return program


def segments(rig):
    """Names and lengths; the room that is set aside does not count."""
    folder = rig.path("spool")
    return {name: os.path.getsize(os.path.join(folder, name)) for name in sorted(os.listdir(folder))
            if name.startswith("seg-") and name.endswith(".mdb")}


def still(rig, sim):
    """Bytes of frames, of pages beside them, of the books while nothing comes in: else the files grow
    between two looks. The service is stopped for that long."""
    seen = []

    def ask():
        seen.append(rig.status())
        return len(seen) > 1 and seen[-1]["bytes"] == seen[-2]["bytes"] and \
            seen[-1]["targets"][0]["backlog_frames"] == 0
    sim.process.send_signal(signal.SIGSTOP)
    wait_until("nothing comes in", ask, every=0.3)
    frames = seen[-1]["bytes"]
    books = os.path.getsize(os.path.join(rig.path("spool"), "ack.mdb"))
    pages = sum(segments(rig).values()) - frames
    sim.process.send_signal(signal.SIGCONT)
    return frames, pages, books


def grow(rig, sim, what):
    """While more frames come in: pages beside the frames per byte of frames, growth of the books."""
    frames, pages, books = still(rig, sim)
    wait_until(f"{BYTES} bytes more", lambda: rig.status()["bytes"] >= frames + BYTES, 120, 0.2)
    after = still(rig, sim)
    share = (after[1] - pages) / (after[0] - frames)
    print(f"{what}: {after[0] - frames} bytes of frames, {100 * share:.2f} % pages beside them, books "
          f"{books} + {after[2] - books} bytes")
    return share, after[2] - books


def pages_used_again(rig, sim, tool):
    frozen = [freeze(rig, tool, "read:seg-:8", "tail", "-f"),
              freeze(rig, tool, "read:ack.mdb:1", "status")]
    pinned, books = grow(rig, sim, "two frozen readers")
    check(books > 0, "a frozen reader of the books pins nothing: the test sees nothing")
    for program in frozen:
        check(readers(rig, program), f"{program.name} was thrown out while it lives")
        program.kill()
    wait_until("their slots are given back",
               lambda: not any(readers(rig, program) for program in frozen))
    grow(rig, sim, "at first without them")  # the last transactions of theirs still count
    free, books = grow(rig, sim, "without them")
    check(books == 0, f"the books still grow, by {books} bytes")
    check(free * 2 < pinned, f"pages are not used again: {free} of {pinned}")


def at_most_a_segment(rig, _, tool):
    """The reader stays frozen: its segment ends as large as any, the next ones are not its."""
    limit = 32 * 1024 * 1024
    before = segments(rig)
    tail = freeze(rig, tool, "read:seg-:8", "tail", "-f")
    wait_until("three segments more", lambda: len(segments(rig).keys() - before.keys()) >= 3)
    check(any(slot["transaction"] for slot in readers(rig, tail)), "the reader is not frozen any more")
    check(max(segments(rig).values()) <= limit, f"a segment is too large: {segments(rig)}")
    tail.kill()


def frozen_readers(rig, max_size, rate, test):
    shutil.rmtree(rig.path("spool"), ignore_errors=True)
    sim = rig.start_sim("--generate", f"{rate * 600}@{rate}", "--seed", "7")
    sink = rig.start_sink("--discard")
    config = rig.config(sink.port, spool__max_size=max_size, spool__retention_size="100%")
    relay = rig.start_relay(config)
    wait_until("the first frames", lambda: (rig.status() or {}).get("frames", 0) > 1000)
    test(rig, sim, [rig.tool("sls-spool"), "-D", rig.path("spool")])
    for program in (relay, sink, sim):
        check(program.stop() == 0, f"TERM did not end {program.name} with exit 0")
    rig.spool("verify", "--deep")


def test(rig):
    orders(rig)
    frozen_readers(rig, "60GiB", RATE // 5, pages_used_again)
    frozen_readers(rig, "320MiB", RATE, at_most_a_segment)


harness.main(test)
