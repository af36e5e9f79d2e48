#!/usr/bin/python3 -B
"""A SIEM's file is held against the spool; the spool is copied, exported, damaged and mended.

rsyslog itself writes the file of a replayed spool. From that file lines are taken out, doubled and
swapped; audit must name exactly these, and send what is missing. An export comes back by import with
every byte, a backup made under load is a sound spool, every verb that only looks leaves a copied spool
as it was, and repair names what a flipped byte has cost.

SLSR_AUDIT_LINES (20,000; the full size is 1,000,000) sets the size.
"""
import hashlib
import json
import os
import random
import shutil
import subprocess
import time

import harness
from harness import check, wait_until
from receivers import Receiver, fetch

LINES = harness.env_number("SLSR_AUDIT_LINES", 20000)
SEED = harness.env_number("SLSR_SEED", int(time.time()))


def mkspool(rig, name, frames, *more):
    subprocess.run([rig.tool("mkspool"), rig.path(name), str(frames), "3", "1700000000", "10",
                    "batch=500", *more], check=True, stdout=subprocess.DEVNULL)


def spool(rig, name, *arguments, **more):
    return rig.run("sls-spool", "-D", rig.path(name), *arguments, **more)


def count_lines(path):
    if not os.path.exists(path):
        return 0
    with open(path, "rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))


def rsyslog_file(rig):
    """What rsyslog wrote of a replay of all frames, as lines."""
    fetch()
    receiver = Receiver(rig, "rsyslog")
    receiver.start()
    port, path = receiver.port, receiver.out
    spool(rig, "spool", "replay", "--seq", "oldest..newest", "--to", f"tcp://127.0.0.1:{port}",
          "--yes", seconds=600)
    wait_until("rsyslog has written all", lambda: count_lines(path) >= LINES, 300, 0.5)
    with open(path, "rb") as file:
        return file.read().splitlines(keepends=True)


def ranges(answer, name):
    return {seq for a, b in answer[name]["ranges"] for seq in range(a, b + 1)}


def audit(rig, path, *more, code):
    began = time.monotonic()
    done = spool(rig, "spool", "-o", "json", "audit", path, *more, code=code)
    print(f"audit of {LINES} lines: {time.monotonic() - began:.2f} s")
    return json.loads(done.stdout.splitlines()[0])


def test_audit(rig, dice):
    lines = rsyslog_file(rig)
    good = audit(rig, rig.path("rsyslog.received"), code=0)
    check(good["matched"] == LINES and good["lines"] == LINES, f"a whole file is not whole: {good}")
    # Line i is frame i + 1. Places far enough apart that nobody touches another's.
    places = dice.sample(range(10, LINES - 10, 10), 60)
    gone, twice, swapped = places[:20], places[20:40], places[40:]
    bad = list(lines)
    shards = [line.split(b'shard="')[1].split(b'"')[0] for line in lines]
    swapped = [i for i in swapped if shards[i] == shards[i + 3]]
    for i in swapped:  # over a distance: both have to move for the shard to be in order
        bad[i], bad[i + 3] = bad[i + 3], bad[i]
    for i in twice:
        bad[i] = bad[i] * 2
    for i in gone:
        bad[i] = b""
    with open(rig.path("bad.log"), "wb") as file:
        file.write(b"no provenance here\n" + b"".join(bad))
    found = audit(rig, rig.path("bad.log"), code=1)
    check(ranges(found, "missing") == {i + 1 for i in gone}, f"missing: {found['missing']}")
    check(ranges(found, "duplicate") == {i + 1 for i in twice}, f"twice: {found['duplicate']}")
    check(ranges(found, "reordered") == {j + 1 for i in swapped for j in (i, i + 3)},
          f"reordered: {found['reordered']}, swapped {sorted(swapped)}")
    check(found["without_provenance"] == 1 and found["duplicate_lines"] == 20, f"{found}")
    sink = rig.start_sink("--output", rig.path("mended"))
    audit(rig, rig.path("bad.log"), "--replay", "--to", f"tcp://127.0.0.1:{sink.port}", code=0)
    wait_until("the missing ones arrive", lambda: count_lines(rig.path("mended")) == 20)
    with open(rig.path("mended"), "rb") as file:
        check(sorted(file) == sorted(lines[i] for i in gone), "other frames were sent")
    with open(rig.path("escaped.json"), "wb") as file:  # as a SIEM exports it
        for line in lines[:500]:
            file.write(json.dumps({"_raw": line.decode("utf-8", "replace")}).encode() + b"\n")
    part = audit(rig, rig.path("escaped.json"), "--seq", "1..500", code=0)
    check(part["matched"] == 500, f"escaped quotes: {part}")


def frames(rig, name):
    out = spool(rig, name, "-o", "jsonl", "cat").stdout.splitlines()
    kept = ("time", "project", "logstore", "shard", "cursor", "index", "frame", "frame_base64")
    return [[frame.get(key) for key in kept] for frame in map(json.loads, out)]


def import_in_part(rig):
    """What is said to have come in is in the spool, and the rest of the file completes it."""
    with open(rig.path("out.jsonl"), "rb") as file:
        lines = file.readlines()
    with open(rig.path("broken.jsonl"), "wb") as file:
        file.writelines(lines[:345] + [b"{\n"] + lines[345:])
    os.mkdir(rig.path("part"))
    done = spool(rig, "part", "import", rig.path("broken.jsonl"), code=64)
    check("345 frames came in and stay: go on behind line 345" in done.stderr and "line 346" in done.stderr,
          f"an import of a broken file: {done.stderr}")
    check(frames(rig, "part") == frames(rig, "hostile")[:345], "other frames than said came in")
    with open(rig.path("rest.jsonl"), "wb") as file:
        file.writelines(lines[345:])
    spool(rig, "part", "import", rig.path("rest.jsonl"))
    check(frames(rig, "part") == frames(rig, "hostile")[:900], "the rest does not complete it")


def test_bring(rig):
    mkspool(rig, "hostile", 1000, "hostile")
    spool(rig, "hostile", "export", "--seq", "1..900", "--output", rig.path("out.jsonl"))
    os.mkdir(rig.path("new"))
    spool(rig, "new", "import", rig.path("out.jsonl"))
    check(frames(rig, "new") == frames(rig, "hostile")[:900], "an import differs from its export")
    raw = spool(rig, "hostile", "-o", "octet", "export", "--seq", "7..9", text=False).stdout
    rest, messages = raw, []
    while rest:
        number, _, rest = rest.partition(b" ")
        messages.append(rest[:int(number)])
        rest = rest[int(number):]
    plain = spool(rig, "hostile", "-o", "raw", "export", "--seq", "7..9", text=False).stdout
    check(b"".join(m + b"\n" for m in messages) == plain, "octet and raw differ")
    done = spool(rig, "new", "import", rig.path("spool/ack.mdb"), code=64)
    check("line 1" in done.stderr and "import: 0" not in done.stderr,
          f"an import of nonsense: {done.stderr}")
    spool(rig, "none", "import", rig.path("spool/ack.mdb"), code=64)
    check(not os.path.exists(rig.path("none")), "an import of nonsense leaves a spool behind")
    import_in_part(rig)
    spool(rig, "hostile", "backup", rig.path("backup"))
    check(frames(rig, "backup") == frames(rig, "hostile"), "a backup differs")
    spool(rig, "backup", "verify", "--deep")
    check(spool(rig, "hostile", "backup", rig.path("backup"), code=73), "a backup over another")


def content(path):
    """Hash of all the spool's data: LMDB's -lock files are tables of readers, not content."""
    total = hashlib.sha256()
    for name in sorted(os.listdir(path)):
        if not name.endswith("-lock"):
            with open(os.path.join(path, name), "rb") as file:
                total.update(name.encode() + hashlib.sha256(file.read()).digest())
    return total.hexdigest()


def test_looks_only(rig):
    mkspool(rig, "looked", 2000, "targets", "size=200")
    before = content(rig.path("looked"))
    for words in (["status"], ["status", "--check", "--max-backlog", "9999"], ["list"], ["cat"],
                  ["tail"], ["shards"], ["targets"], ["gaps"], ["top"], ["shape"], ["stats"],
                  ["verify", "--deep"], ["readers"], ["export"], ["repair"], ["list", "--count"],
                  ["list", "--state", "pending"], ["cat", "-g", "user=u00"], ["replay", "--list"],
                  ["audit", rig.path("bad.log")], ["hold", "--seq", "-5", "--dry-run"],
                  ["seek", "-t", "siem", "oldest", "--dry-run"]):
        for form in ("text", "json"):
            done = spool(rig, "looked", "-o", form, *words, code=None)
            check(done.returncode in (0, 1), f"{words}: exit {done.returncode}, {done.stderr}")
            if form == "json" and words[0] not in ("tail",):
                text = done.stdout.strip()
                check(not text or text[0] in "[{0123456789", f"{words} -o json: {text[:80]}")
                if text:
                    json.loads(text)
        check(content(rig.path("looked")) == before, f"{words} changed the spool")


def flip(path, needle):
    with open(path, "r+b") as file:
        data = file.read()
        at = data.index(needle)
        file.seek(at)
        file.write(bytes([data[at] ^ 1]))


def test_repair(rig):
    shutil.copytree(rig.path("looked"), rig.path("broken"))
    segment = next(n for n in sorted(os.listdir(rig.path("broken"))) if n.endswith(".mdb")
                   and n.startswith("seg-"))
    check("sound: all 2000 frames" in spool(rig, "broken", "repair").stdout, "a sound spool needs no repair")
    flip(os.path.join(rig.path("broken"), segment), b" n=700|")
    spool(rig, "broken", "verify", code=2)
    plan = json.loads(spool(rig, "broken", "-o", "json", "repair", code=2).stdout)
    low, high = plan["ranges"][0]
    check(len(plan["ranges"]) == 1 and low <= 701 <= high and plan["lost_frames"] == high - low + 1,
          f"the plan is {plan}")
    spool(rig, "broken", "repair", "--apply")
    entry = json.loads(spool(rig, "broken", "-o", "jsonl", "gaps").stdout.splitlines()[-1])
    check(entry["kind"] == "repair" and (entry["from_seq"], entry["to_seq"]) == (low, high),
          f"the ledger has {entry}")
    check(int(spool(rig, "broken", "list", "--state", "skipped", "-t", "siem", "--count").stdout) ==
          high - low + 1, "the lost frames are not given up")


def test(rig):
    dice = random.Random(SEED)
    print(f"seed {SEED}")
    mkspool(rig, "spool", LINES, "size=300")
    test_audit(rig, dice)
    test_bring(rig)
    test_looks_only(rig)
    test_repair(rig)


harness.main(test)
