#!/usr/bin/python3 -B
"""An operator looks at a spool, selects from it, and sends parts again.

A spool of generated frames is made without any relay, hostile bytes included. Every selector is
compared with what it should select by arithmetic, every output form with the exact bytes, exit codes
with the interface. A replay goes to a receiver of a few lines that unpacks octet counting by itself;
a spool with a flipped byte must be told from a sound one, and a closed pipe is no failure.
"""
import base64
import datetime
import fcntl
import json
import os
import pty
import re
import shutil
import signal
import socket
import subprocess
import threading

import harness
from harness import check, wait_until

FIRST = 1700000000  # 2023-11-14 22:13:20 UTC, a Tuesday
FRAMES = 100
SHARDS = 3
UTC = datetime.timezone.utc
MEMBERS = {"seq", "time", "arrival", "project", "logstore", "shard", "cursor", "index", "bytes"}
FIGURES = {"frames", "bytes", "oldest_seq", "newest_seq", "next_seq", "disk_bytes", "targets",
           "shards"}
TARGET = {"name", "state", "acked_seq", "backlog_frames", "backlog_bytes", "oldest_age_s",
          "last_error", "next_retry_s", "rate_frames_s", "eta_s", "held_frames", "dead_frames",
          "resend_frames"}
SHARD = {"project", "logstore", "shard", "cursor", "checkpoint", "lag_s"}


def message(k, hostile=True):
    """The k-th frame as tests/lib/mkspool.c makes it."""
    at = datetime.datetime.fromtimestamp(FIRST + k, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    tail = b" \x1b[31mred\nline \xff end" if hostile and k % 7 == 0 else " é".encode()
    return f"<13>1 {at} host app - - - msg {k}".encode() + tail


def raw(numbers):
    return b"".join(message(k) + b"\n" for k in numbers)


def expect(rig, numbers, *selectors):
    """The selectors select frames `numbers` (from 0), in that order, byte for byte."""
    numbers = list(numbers)
    done = rig.spool("-o", "raw", "cat", *selectors, code=0 if numbers else 1, text=False)
    check(done.stdout == raw(numbers), f"cat {' '.join(selectors)}: {done.stdout.count(b'msg ')} "
          f"frames or others, not {len(numbers)}")
    if "-r" not in selectors:
        done = rig.spool("list", "--count", *selectors, code=0 if numbers else 1)
        check(done.stdout == f"{len(numbers)}\n", f"list --count {selectors}: {done.stdout}")


def test_sequences(rig):
    expect(rig, range(100))
    expect(rig, [7], "--seq", "8")
    expect(rig, range(7, 20), "--seq", "8..20")
    expect(rig, range(90, 100), "--seq", "91..")
    expect(rig, range(90, 100), "--seq", "91..5000")
    expect(rig, range(0, 5), "--seq", "..5")
    expect(rig, [0], "--seq", "oldest")
    expect(rig, [99], "--seq", "newest")
    expect(rig, range(97, 100), "--seq", "-3")
    expect(rig, range(95, 98), "--seq", "-5..-3")
    expect(rig, [], "--seq", "101..200")
    expect(rig, [], "--seq", "200")
    for bad in ("x", "5..2", "..", "", "1..x", "-", "1...5", "99999999999999999999"):
        rig.spool("cat", f"--seq={bad}", code=64)


def test_times(rig):
    def at(s):
        return f"@{FIRST + s}"

    expect(rig, range(10, 21), "-S", at(10), "-U", at(20))
    expect(rig, range(11, 20), "-S", at(10) + ".5", "-U", at(19) + ".999999999")
    expect(rig, range(98, 100), "--since", at(98))
    expect(rig, range(0, 3), "--until", at(2))
    expect(rig, [], "--since", "now")
    expect(rig, range(10, 100), "-S", "2023-11-14T22:13:30Z")
    expect(rig, range(10, 100), "-S", "2023-11-15 06:13:30+08:00")
    expect(rig, range(10, 12), "-S", "2023-11-14 22:13:30 UTC", "-U", "2023-11-14T22:13:31.5Z")
    expect(rig, range(100), "--by-arrival", "--since", "-1h", "--until", "now")
    expect(rig, [], "--by-arrival", "--until", "-1h")
    expect(rig, [], "--since", "yesterday")
    expect(rig, range(100), "--until", "yesterday")
    expect(rig, range(95, 100), "-S", at(90), "-n", "5")
    env = dict(harness.clean_env(), TZ="Asia/Shanghai")
    done = subprocess.run([rig.tool("sls-spool"), "-D", rig.path("spool"), "list", "--count", "-S",
                           "2023-11-15 06:13:30"], capture_output=True, env=env, timeout=60)
    check(done.stdout == b"90\n", f"local time of TZ: {done}")
    for bad in ("2023-02-30", "2023-11-14 25:00", "-2x", "@", "tomorrowish", "2023-11-14T22:13:30X"):
        rig.spool("cat", "--since", bad, code=64)
    rig.spool("cat", "-S", at(9), "-U", at(3), code=64)
    rig.spool("cat", "--by-arrival", code=64)


def test_filters(rig):
    def of(*shards):
        return [k for k in range(FRAMES) if k // 10 % SHARDS in shards]

    expect(rig, of(1), "-s", "1")
    expect(rig, of(0, 2), "-s", "0", "--shard", "audit/2")
    expect(rig, [], "-s", "other/1")
    expect(rig, of(1)[-3:], "-s", "1", "-n", "3")
    expect(rig, of(1)[:3], "-s", "1", "-n", "+3")
    expect(rig, of(1)[::-1], "-s", "1", "-r")
    expect(rig, of(1)[:-4:-1], "-s", "1", "-n", "3", "-r")
    expect(rig, [k for k in range(100) if k % 7 == 0], "-g", "red\\nline")
    expect(rig, [k for k in range(100) if k % 7], "-g", "RED", "-i", "-v")
    expect(rig, [3] + list(range(30, 40)), "-g", r"msg 3\d? ")
    rig.spool("cat", "-g", "(", code=64)
    rig.spool("cat", "-i", code=64)
    rig.spool("cat", "-s", "x", code=64)
    rig.spool("cat", "-n", "-1", code=64)


def test_forms(rig):
    lines = rig.spool("cat", "-o", "jsonl").stdout.splitlines()
    rows = [json.loads(line) for line in lines]
    check(rows == json.loads(rig.spool("cat", "-o", "json").stdout), "json and jsonl differ")
    check(json.loads(rig.spool("cat", "-o", "json", "--seq", "900", code=1).stdout) == [],
          "nothing as JSON is an empty array")
    for k, row in enumerate(rows):
        form = "frame_base64" if k % 7 == 0 else "frame"
        check(set(row) == MEMBERS | {form}, f"members of {row}")
        bytes_ = base64.b64decode(row[form]) if k % 7 == 0 else row[form].encode()
        check(bytes_ == message(k) and row["bytes"] == len(bytes_), f"bytes of {row}")
        time = datetime.datetime.fromisoformat(row["time"])
        check(time.timestamp() == FIRST + k, f"time of {row}")
        datetime.datetime.fromisoformat(row["arrival"])
        place = (row["seq"], row["project"], row["logstore"], row["shard"], row["index"])
        check(place == (k + 1, "project-a", "audit", k // 10 % SHARDS, k % 5), f"place of {row}")
        number = int(base64.b64decode(row["cursor"]))
        check(number == 100 + k % 10 // 5, f"cursor of {row}")
    table = rig.spool("list", text=False).stdout
    check(table.count(b"\n") == FRAMES + 1, "list: one line a frame and a heading")
    check(b"\x1b" not in table and b"\\x1b[31mred\\nline \\xff end" in table, "list escapes")
    check(rig.spool("cat", text=False).stdout == raw(range(FRAMES)), "cat into a pipe is exact")


def test_terminal(rig):
    """On a terminal an ESC in a message is shown, not obeyed."""
    ours, theirs = pty.openpty()
    with subprocess.Popen([rig.tool("sls-spool"), "-D", rig.path("spool"), "cat", "--seq", "1"],
                          stdout=theirs, stdin=subprocess.DEVNULL) as process:
        os.close(theirs)
        out = b""
        while True:
            try:
                part = os.read(ours, 4096)
            except OSError:  # how Linux tells that the other side closed
                break
            if not part:
                break
            out += part
    os.close(ours)
    check(process.returncode == 0 and b"\x1b" not in out and b"\\x1b[31m" in out, f"shown: {out}")


def test_patterns(rig):
    """Whole runs are passed by a text that each match must contain: never one too many."""
    texts = [message(k).decode("utf-8", "surrogateescape") for k in range(FRAMES)]
    for pattern in ("msg 1?5", "é?msg 5", "(?:msg) 7", "ms{1}g 1", "msg [5]", "ho*st app.*9", "zz?",
                    "é{0,1}$", "msg 1+", r"msg \d7", "(a|h)ost", "msg 5|msg 6", "ü?msg 3", r"app - \-",
                    "x*msg", "msg 2.", "(msg 3)?host", "^<13>1 2", "mſ?g", "hos(?=t)t", "é+", "Msg"):
        want = sum(re.search(pattern, text) is not None for text in texts)
        got = rig.spool("list", "--count", "-g", pattern, code=None)
        check(int(got.stdout or 0) == want, f"{pattern}: {got.stdout.strip()}, not {want}")


def test_figures(rig):
    status = json.loads(rig.spool("-o", "json", "status").stdout)
    check(FIGURES <= set(status), f"members of status: {sorted(status)}")
    place = [status[name] for name in ("frames", "oldest_seq", "newest_seq", "next_seq")]
    check(place == [100, 1, 100, 101] and status["live"] is False, f"status {status}")
    check(status["disk_bytes"] > 0, "a spool takes room")
    targets = {target["name"]: target for target in status["targets"]}
    check(set(targets) == {"siem", "archive"}, f"targets {targets}")
    for target in targets.values():
        check(TARGET <= set(target) and target["state"] == "stopped", f"target {target}")
    siem, archive = targets["siem"], targets["archive"]
    check((siem["acked_seq"], siem["backlog_frames"]) == (50, 50), f"siem {siem}")
    check(siem["backlog_bytes"] >= sum(len(message(k)) for k in range(50, 100)), f"siem {siem}")
    check(siem["oldest_age_s"] >= 0 and "refused" in siem["last_error"], f"siem {siem}")
    check((archive["acked_seq"], archive["backlog_frames"], archive["oldest_age_s"],
           archive["last_error"]) == (100, 0, None, None), f"archive {archive}")
    check([(s["logstore"], s["shard"], s["cursor"]) for s in status["shards"]] ==
          [("audit", n, "MTAy") for n in range(SHARDS)], f"shards {status['shards']}")
    check(all(set(s) == SHARD for s in status["shards"]), f"shards {status['shards']}")
    check(json.loads(rig.spool("-o", "json", "targets").stdout) == status["targets"], "targets")
    check(json.loads(rig.spool("-o", "json", "shards").stdout) == status["shards"], "shards")
    check(json.loads(rig.spool("-o", "jsonl", "status").stdout)["shards"] == status["shards"],
          "status on one line")
    stats = json.loads(rig.spool("-o", "json", "stats").stdout)
    check(abs(stats["average_frame_bytes"] * 100 - stats["bytes"]) < 1, f"stats {stats}")
    text = rig.spool("status").stdout
    check("siem: stopped: connection refused" in text and "50 frames" in text and
          "no relay running" in text and "\x1b" not in text, f"status text: {text}")
    check(all(s["lag_s"] is None for s in status["shards"]), f"nobody measures: {status['shards']}")
    check("unknown" in text and "unknown" in rig.spool("shards").stdout, f"lag: {text}")
    done = rig.spool("targets", "-t", "nobody", code=1)
    check(done.stderr == "sls-spool: no target nobody: known are archive, siem\n" or
          done.stderr == "sls-spool: no target nobody: known are siem, archive\n", done.stderr)
    rig.spool("status", "--check", code=64)
    rig.spool("status", "-o", "raw", code=64)


def test_check(rig):
    """A check passes while a relay, here its lock, is there and the backlog is small."""
    limits = ("status", "--check", "--max-backlog", "50", "--max-age", "1h")
    done = rig.spool(*limits, code=1)
    check("no relay is running" in done.stdout and "behind" not in done.stdout, f"{done.stdout}")
    done = rig.spool("-o", "json", *limits, code=1)
    check(json.loads(done.stdout)["live"] is False and "no relay" in done.stderr, f"{done}")
    with open(rig.path("spool/LOCK"), "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        check(rig.spool(*limits).stdout.startswith("ok: "), "a running relay and nothing behind")
        done = rig.spool("status", "--check", "--max-backlog", "49", code=1)
        check("50 frames behind, more than 49" in done.stdout and
              "no relay" not in done.stdout, f"{done.stdout}")
    man = rig.run("sls-spool", "--help").stdout
    check("backlog only" in man and "no relay runs" in man, "--help tells what --check judges")


def test_environment(rig):
    """The tool's own functions must not stand in for those that the configuration needs."""
    with open(rig.path("keys.json"), "w", encoding="utf-8") as file:
        json.dump({"targets": [{"name": "siem", "host": "127.0.0.1"}]}, file)
    env = dict(harness.clean_env(), SLS_AK_ID="id", SLS_AK_KEY="key", SLS_SPOOL=rig.path("spool"))
    done = subprocess.run([rig.tool("sls-spool"), "-c", rig.path("keys.json"), "-o", "json",
                           "status"], capture_output=True, env=env, timeout=60 * harness.SLOW)
    check(done.returncode == 0, f"with settings in the environment: {done}")
    check(json.loads(done.stdout)["frames"] == FRAMES, f"the spool of SLS_SPOOL: {done}")


def test_empty(rig):
    """Nothing selected: exit 1, and one sentence that says what there is."""
    for words in (("list", "--seq", "900"), ("cat", "-g", "no such text"), ("list", "--count", "-s",
                                                                            "77")):
        done = rig.spool(*words, code=1)
        check(done.stderr == "sls-spool: no frame matches; the spool holds 1..100\n", f"{done}")
    rig.run("mkspool", rig.path("one"), "1", "1", str(FIRST), "1000")
    one = ("-D", rig.path("one"))
    check("spool: 1 frame, " in rig.run("sls-spool", *one, "status").stdout, "one frame")
    done = rig.run("sls-spool", *one, "verify")
    check(done.stdout.startswith("sound: 1 segment, 1 chunk, 1 frame, ") and
          done.stdout.endswith(" 0 damages\n"), f"counted nouns: {done.stdout}")
    done = rig.run("sls-spool", *one, "targets", code=1)
    check("no target has registered" in done.stderr, f"{done.stderr}")


def test_usage(rig):
    def refused(words, *arguments, code=64):
        done = rig.run("sls-spool", *arguments, code=code)
        check(done.stderr.startswith("sls-spool: ") and words in done.stderr, f"{done.stderr}")

    spool = ("-D", rig.path("spool"))
    refused("hold without selectors", *spool, "hold")
    refused("did you mean 'status'?", *spool, "staus")
    refused("did you mean '--since'?", *spool, "list", "--sinec", "now")
    refused("means nothing to 'shards'", *spool, "shards", "--yes")
    refused("needs a value", *spool, "list", "--seq")
    refused("no command", *spool)
    refused("-o", *spool, "list", "-o", "xml")
    refused(rig.path("nowhere"), "-D", rig.path("nowhere"), "status", code=66)
    refused("", "-c", rig.path("nowhere.json"), "status", code=66)
    refused("no directory", "-D", rig.path("spool/LOCK"), "status", code=66)
    for twice in (("-c", "x"), ("-D", "x"), ("--to", "tcp://x"), ("-t", "x"), ("--seq", "1")):
        refused("given twice", *twice, *twice, "replay")
    refused("given twice", "-D", "x", "--directory=x", "status")
    if not os.path.exists("/etc/sls-relay/sls-relay.json"):
        refused("no configuration was loaded", *spool, "replay", "-t", "siem")
    refused("no such target", *spool, "-c", rig.config(9), "replay", "-t", "nobody")
    for bad in ("127.0.0.1:514", "http://127.0.0.1", "tcp://", "tcp://h:0", "gopher://h:1"):
        refused("--to", *spool, "replay", "--to", bad)
    check(rig.run("sls-spool", "--version").stdout.startswith("sls-spool "), "--version")
    help_ = rig.run("sls-spool", "--help").stdout
    check("replay" in help_ and "hold" in help_ and help_.count("\n") <= 45, "--help")
    with open(rig.path("bad.json"), "w", encoding="utf-8") as file:
        file.write('{"spool": {"pth": "/x"}}')
    refused("pth", "-c", rig.path("bad.json"), "status", code=78)
    with open(rig.path("good.json"), "w", encoding="utf-8") as file:
        json.dump({"spool": {"path": rig.path("spool")}}, file)
    check(rig.run("sls-spool", "-c", rig.path("good.json"), "list", "--count").stdout == "100\n",
          "the spool of a configuration")


def test_pipes(rig):
    """A reader that leaves ends us in silence; a full disk does not."""
    argv = [rig.tool("sls-spool"), "-D", rig.path("big"), "-o", "jsonl", "cat"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.readline()
        process.stdout.close()
        said = process.stderr.read()
    check(process.returncode == 0 and said == b"", f"closed pipe: {process.returncode} {said}")
    with open("/dev/full", "wb") as full:
        done = subprocess.run(argv, stdout=full, stderr=subprocess.PIPE, timeout=60, check=False)
    check(done.returncode == 74 and b"standard output" in done.stderr, f"full disk: {done}")


def test_outrun_export(rig):
    """Retention is faster than who reads the export: that is said, and is no success."""
    folder = rig.path("outrun")
    rig.run("mkspool", folder, "12000", "1", str(FIRST), "1000", "batch=500", "size=900",
            "full=10485760")
    status = json.loads(rig.run("sls-spool", "-D", folder, "-o", "json", "status").stdout)
    segments = sorted(name for name in os.listdir(folder) if re.fullmatch("seg-.*mdb", name))
    check(len(segments) > 5, f"segments: {segments}")
    argv = [rig.tool("sls-spool"), "-D", folder, "-o", "raw", "export"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        lines = process.stdout.readline().count(b"\n")  # it is in the first one, and waits for us
        for name in segments[:3]:
            os.unlink(os.path.join(folder, name))
        lines += process.stdout.read().count(b"\n")
        said = process.stderr.read().decode()
    missed = int(segments[3][4:20], 16) - int(segments[1][4:20], 16)
    check(lines == status["frames"] - missed and process.returncode == 2 and
          f"{missed} frames left the spool before they were read" in said,
          f"outrun: {lines} of {status['frames']}, {missed} gone, {process.returncode}: {said}")


def test_tail(rig):
    """tail -f shows what another process appends, and INT ends it with 0."""
    check(rig.spool("-o", "raw", "tail", "-n", "3", text=False).stdout == raw(range(97, 100)),
          "tail -n 3")
    shutil.copytree(rig.path("spool"), rig.path("grows"))
    os.remove(os.path.join(rig.path("grows"), "LOCK"))  # a copy is not written to until told so
    argv = [rig.tool("sls-spool"), "-D", rig.path("grows"), "-o", "jsonl", "tail", "-f", "-n", "2"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL) as process:
        try:
            rows = [json.loads(process.stdout.readline())["seq"] for _ in range(2)]
            rig.run("mkspool", rig.path("grows"), "30", "2", str(FIRST), "1000")
            rows += [json.loads(process.stdout.readline())["seq"] for _ in range(30)]
            process.send_signal(signal.SIGINT)
            check(process.wait(30 * harness.SLOW) == 0, f"tail -f: exit {process.returncode}")
        finally:
            process.kill()
    check(rows == list(range(99, 131)), f"tail -f: {rows}")
    # It stands still while the writer drops the oldest: what it came too late for is said.
    argv[2] = rig.path("narrow")
    rig.run("mkspool", argv[2], "30", "2", str(FIRST), "1000")
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          stdin=subprocess.DEVNULL) as process:
        try:
            rows = [json.loads(process.stdout.readline())["seq"] for _ in range(2)]
            process.send_signal(signal.SIGSTOP)
            rig.run("mkspool", argv[2], "60000", "2", str(FIRST), "1000", "batch=5000", "size=1000",
                    "full=33554432")
            process.send_signal(signal.SIGCONT)
            while rows[-1] != 60030:
                rows.append(json.loads(process.stdout.readline())["seq"])
            said = process.stderr.readline().decode()
        finally:
            process.kill()
    check(rows[:2] == [29, 30] and rows[2] > 31 and rows[2:] == list(range(rows[2], 60031)) and
          said.startswith(f"sls-spool: {rows[2] - 31} frames left the spool before they were"),
          f"tail -f behind a spool that was full: {rows[:3]}, {len(rows)}, {said}")


class Receiver:
    """Takes RFC 6587 octet counting and keeps the messages."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.data = b""
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        while True:
            try:
                peer, _ = self.listener.accept()
            except OSError:
                return
            with peer:
                while True:
                    part = peer.recv(65536)
                    if not part:
                        break
                    self.data += part

    def messages(self):
        out, data = [], self.data
        while data:
            length, _, data = data.partition(b" ")
            out.append(data[:int(length)])
            data = data[int(length):]
        return out


def replayed(rig, spool, numbers, *selectors, hostile=True):
    receiver = Receiver()
    want = [message(k, hostile) for k in numbers]
    done = rig.run("sls-spool", "-D", rig.path(spool), "replay", *selectors, "--to",
                   f"tcp://127.0.0.1:{receiver.port}", "--timeout", "20")
    wait_until(f"{len(want)} frames", lambda: len(receiver.data) >= sum(
        len(m) + len(str(len(m))) + 1 for m in want), 30)
    check(receiver.messages() == want, f"replay {selectors}: other frames arrived")
    check(f"{len(want)} frames" in done.stderr, f"replay {selectors}: {done.stderr}")
    receiver.listener.close()


def test_replay(rig):
    before = json.loads(rig.spool("-o", "json", "targets").stdout)
    replayed(rig, "spool", range(9, 20), "--seq", "10..20")
    replayed(rig, "spool", [k for k in range(FRAMES) if k // 10 % SHARDS == 1], "-s", "1")
    replayed(rig, "spool", range(10, 21), "-S", f"@{FIRST + 10}", "-U", f"@{FIRST + 20}")
    replayed(rig, "spool", range(96, 100), "-n", "4")
    replayed(rig, "spool", range(0, 4), "-n", "+4", "--rate", "1000/s")
    replayed(rig, "big", range(20000), "--yes", hostile=False)
    after = json.loads(rig.spool("-o", "json", "targets").stdout)
    for one, two in zip(before, after):
        check(one["acked_seq"] == two["acked_seq"], "a replay moved a target's position")
    closed = socket.create_server(("127.0.0.1", 0))
    url = f"tcp://127.0.0.1:{closed.getsockname()[1]}"
    closed.close()
    done = rig.spool("replay", "--seq", "5..9", "--to", url, "--timeout", "1", code=69)
    unreachable(done, url)
    big = ("-D", rig.path("big"), "replay", "--to", url)
    done = rig.run("sls-spool", *big, code=64)
    check("--yes" in done.stderr and "20000 frames" in done.stderr, f"unasked: {done.stderr}")
    done = rig.spool("replay", "--seq", "500", "--to", url, code=1)
    check(done.stderr.strip() != "", "a replay of nothing says so")
    rig.spool("replay", "--seq", "5", code=64)
    rig.spool("replay", "--seq", "5", "--to", url, "--rate", "fast", code=64)


def unreachable(done, url):
    """A plan and one sentence of the tool's own, nothing of the library's commentary."""
    lines = done.stderr.splitlines()
    check(len(lines) == 2 and lines[0].startswith("replay: 5 frames (seq 5..9)") and
          lines[1].startswith(f"sls-spool: cannot reach {url}, gave up after 1 s: ") and
          "refused" in lines[1] and "no frame was taken" in lines[1] and
          lines[1].endswith("--seq 5..9"), f"not reachable: {done.stderr}")


def test_datagrams(rig):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(30 * harness.SLOW)
        url = f"udp://127.0.0.1:{receiver.getsockname()[1]}"
        done = rig.spool("replay", "--seq", "5..9", "--to", url)
        check([receiver.recv(65536) for _ in range(5)] == [message(k) for k in range(4, 9)],
              "one datagram a frame")
        check(done.stderr.count("\n") == 2 and "all 5 frames taken" in done.stderr, done.stderr)
    done = rig.spool("replay", "--seq", "5..9", "--to", url, "--timeout", "1", code=69)
    unreachable(done, url)
    help_ = rig.run("sls-spool", "--help").stdout
    check("--to tcp://HOST[:PORT]) also tls, udp, relp" in help_, "--help names the transports")
    done = rig.spool("replay", "--seq", "5", "--to", "tcp://no-such-host.invalid", "--timeout", "1",
                     code=69)
    check("replay: 1 frame (seq 5..5)" in done.stderr and "port 514)" in done.stderr, done.stderr)


def test_too_long(rig):
    """What no datagram holds is never counted as taken, and holds up nothing: nor on a read-only disk."""
    rows = [json.loads(line) for line in rig.spool("export", "--seq", "2..7").stdout.splitlines()]
    rows[2]["frame"] += "x" * 70000
    with open(rig.path("long.jsonl"), "w", encoding="ascii") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    rig.run("sls-spool", "-D", rig.path("long"), "import", rig.path("long.jsonl"))
    read_only = ["sh", "-c", 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"',
                 rig.path("long")]
    apart = ["unshare", "--mount", *read_only]
    can = subprocess.run([*apart, "true"], capture_output=True, check=False).returncode == 0
    for before in ([], apart) if can else ([],):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
            receiver.bind(("127.0.0.1", 0))
            receiver.settimeout(30 * harness.SLOW)
            done = subprocess.run(
                [*before, rig.tool("sls-spool"), "-D", rig.path("long"), "-o", "json", "replay", "--to",
                 f"udp://127.0.0.1:{receiver.getsockname()[1]}", "--yes"],
                capture_output=True, text=True, timeout=60 * harness.SLOW, check=False)
            check(done.returncode == 2, f"one frame of six is too long: {done}")
            got = [receiver.recv(65536).decode() for _ in range(5)]
            check(got == [row["frame"] for row in rows[:2] + rows[3:]], f"the others: {got}")
        told = json.loads(done.stdout)
        check(told["taken"] == 5 and told["complete"] is False, f"told: {told}")
        check("frames taken" not in done.stderr and "1 of 6 frames cannot be taken" in done.stderr and
              "seq 3\n" in done.stderr, f"said: {done.stderr}")
        check((told["job"] is None) == bool(before), f"a job in a spool that is only read: {told}")
    job = json.loads(rig.run("sls-spool", "-D", rig.path("long"), "-o", "json", "replay",
                             "--list").stdout)[0]
    check(job["state"] == "done" and job["done"] == 5 and job["frames"] == 6, f"the job: {job}")
    if not can:
        print("a read-only disk needs the right to mount: not tried")


def test_stopped_replay(rig):
    """INT in the middle: the summary names a sequence; replay from there completes the rest."""
    receiver = Receiver()
    argv = [rig.tool("sls-spool"), "-D", rig.path("spool"), "replay", "--rate", "5/s", "--to",
            f"tcp://127.0.0.1:{receiver.port}"]
    with subprocess.Popen(argv, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL) as process:
        wait_until("the first frames", lambda: len(receiver.data) > 200, 30)
        process.send_signal(signal.SIGINT)
        said = process.stderr.read().decode()
    check(process.returncode == 75, f"stopped replay: exit {process.returncode}, {said}")
    rest = said.rpartition("--seq ")[2].strip()
    taken = int(rest.partition("..")[0]) - 1
    check(rest.endswith("..100") and 0 <= taken < 100, f"where to go on: {said}")
    check(receiver.messages()[:taken] == [message(k) for k in range(taken)], "what was taken")
    receiver.listener.close()
    replayed(rig, "spool", range(taken, 100), "--seq", rest)


def test_verify(rig):
    done = rig.spool("verify", "--deep")
    check(done.stdout.startswith("sound: ") and "100 frames" in done.stdout, f"{done.stdout}")
    shutil.copytree(rig.path("spool"), rig.path("broken"))
    broken = 0
    for folder, _, files in os.walk(rig.path("broken")):
        for name in files:
            path = os.path.join(folder, name)
            with open(path, "r+b") as file:
                data = file.read()
                # All copies: the tree leaves old pages behind, and those are not damage.
                changed = data.replace(b"host app - - - msg 42", b"hosT app - - - msg 42")
                if changed != data:
                    file.seek(0)
                    file.write(changed)
                    broken += 1
    check(broken == 1, f"the sample frame lies in {broken} files, not in one")
    spool = ("-D", rig.path("broken"))
    done = rig.run("sls-spool", *spool, "verify", code=2)
    check("damaged: " in done.stdout and done.stdout.count("\n") >= 2, f"verify: {done.stdout}")
    done = json.loads(rig.run("sls-spool", *spool, "-o", "json", "verify", code=2).stdout)
    check(done["damaged"] == len(done["damages"]) > 0, f"verify: {done}")
    done = rig.run("sls-spool", *spool, "-o", "raw", "cat", code=2, text=False)
    check(done.stderr.startswith(b"sls-spool: "), f"cat over damage: {done.stderr}")
    check(message(0) in done.stdout and message(99) in done.stdout and
          message(42) not in done.stdout, "cat passes over what is damaged, and only that")


def test_watch(rig):
    argv = [rig.tool("sls-spool"), "-D", rig.path("spool"), "-o", "jsonl", "status", "--watch"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL) as process:
        try:
            rows = [json.loads(process.stdout.readline()) for _ in range(2)]
            process.send_signal(signal.SIGTERM)
            check(process.wait(30 * harness.SLOW) == 0, "status --watch ends with 0")
        finally:
            process.kill()
    check(all(row["frames"] == FRAMES for row in rows), f"status --watch: {rows}")
    # Of a relay that has just been started: the spool is made while we look.
    argv[2] = rig.path("coming")
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          stdin=subprocess.DEVNULL) as process:
        try:
            said = process.stderr.readline().decode()
            check(f"no spool at {argv[2]} yet" in said, f"waiting: {said!r}")
            os.rename(rig.path("spool"), argv[2])
            check(json.loads(process.stdout.readline())["frames"] == FRAMES, "the spool that came")
            process.send_signal(signal.SIGTERM)
            check(process.wait(30 * harness.SLOW) == 0, "status --watch ends with 0")
        finally:
            process.kill()
    os.rename(argv[2], rig.path("spool"))
    argv[2] = rig.path("never")
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          stdin=subprocess.DEVNULL) as process:
        process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        check(process.wait(30 * harness.SLOW) == 66, "an interrupted wait ends with 66")


def test(rig):
    rig.run("mkspool", rig.path("spool"), str(FRAMES), str(SHARDS), str(FIRST), "1000", "hostile",
            "targets")
    rig.run("mkspool", rig.path("big"), "20000", "2", str(FIRST), "1000")
    only = os.environ.get("SLSR_ONLY")
    for name, part in list(globals().items()):
        if name.startswith("test_") and (not only or name == "test_" + only):
            part(rig)
            print(f"{name[5:]}: as it should be")


harness.main(test)
