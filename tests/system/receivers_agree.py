#!/usr/bin/python3 -B
"""Real rsyslog and real syslog-ng read our headers as we wrote them, whatever the logs hold.

SLSR_LOGS (10,000) logs with hostile values become frames of each header format: RFC 5424 with octet
counting and with line feeds, RFC 3164. Host name, APP-NAME, PROCID, MSGID and two SD-PARAMs come from
the values. Both daemons parse the frames with their own parsers; each field must be the one that the
rules of docs/format.md give for the value, in the order that was sent, and no frame may be split,
joined or lost. SLSR_SEED is the luck.
"""
import datetime
import ipaddress
import json
import os
import random
import socket
import struct
import subprocess

import harness
from harness import Rig, check, env_number, wait_until
from receivers import Receiver, fetch

PARTS = ["\n", "\r\n", "\t", "\x00", "\x7f", "\x1b[31m", "\u4e2d", "\U0001f600", "||", "=", '"', "\\",
         "\\n", '\\"', "]", "[", " k=v", "<14>1 - ", "- ", ": ", "12 <13>1 ", "[x@1 a=\"b\"]", "@cee:",
         "{", "%", "\ufeff", "last message repeated 3 times"]
RAW = [b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xc0\xaf"]
EPOCH = 1767323045


def varint(number):
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def field(number, data):
    return bytes([number << 3 | 2]) + varint(len(data)) + data


def value(luck):
    kind = luck.randrange(5)
    if kind == 4:
        return luck.choice([b"2001:db8::1", b"192.0.2.1", b"web-1.example.com", b"a:b", b"::", b"-",
                            b"1:2:3:4:5:6:7:8:9", b":" * 40,
                            b"0000:0000:0000:0000:0000:ffff:255.255.255.255"])
    if kind == 0:
        return b""
    if kind == 1:
        return bytes(luck.randrange(97, 123) for _ in range(luck.randrange(1, 60)))
    out = b""
    for _ in range(luck.randrange(1, 12)):
        what = luck.randrange(4)
        if what == 0:
            out += luck.choice(RAW)
        elif what == 1:
            out += bytes([luck.randrange(256)])
        else:
            out += luck.choice(PARTS).encode()
    return out * (1 if luck.randrange(30) else 40)


def make_logs(count, luck):
    return [(EPOCH + n, luck.choice([0, luck.randrange(1, 10**9)]),
             {key: value(luck) for key in ("h", "a", "p", "m", "x", "y", "b")}) for n in range(count)]


def encode(logs):
    out = b""
    for time_s, time_ns, contents in logs:
        log = b"\x08" + varint(time_s)
        for key, data in contents.items():
            log += field(2, field(1, key.encode()) + field(2, data))
        if time_ns:
            log += b"\x25" + struct.pack("<I", time_ns)
        out += field(1, log)
    return field(1, out)


def name(data, most, fine):
    return "".join(chr(b) if fine(b) else "_" for b in data[:most]) or "-"


def printable(byte):
    return 33 <= byte <= 126


def word(byte):
    return byte < 128 and (chr(byte).isalnum() or chr(byte) in "-._")


def pid_3164(byte):
    return printable(byte) and chr(byte) not in ":[]"


def host(data):
    text = name(data, 255, lambda b: word(b) or b == ord(":"))
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return text.replace(":", "_")
    return text


def host_3164(data):
    return name(data, 255, word).rstrip("._-") or "unknown"


def cleaned(data):
    """newline escape, invalid_utf8 replace."""
    out = ""
    for char in data.decode("utf-8", "replace"):
        if char in "\n\r\t":
            out += {"\n": "\\n", "\r": "\\r", "\t": "\\t"}[char]
        elif ord(char) < 32 or ord(char) == 127:
            out += f"\\x{ord(char):02x}"
        else:
            out += char
    return out


def expected(log, form):
    time_s, time_ns, c = log
    time = datetime.datetime.fromtimestamp(time_s, datetime.timezone.utc)
    want = {"pri": "14"}
    if form == "bsd":
        want.update(time=time, host=host_3164(c["h"]), app=name(c["a"], 32, word),
                    procid=name(c["p"], 128, pid_3164))
        return want
    want.update(time=time + datetime.timedelta(microseconds=time_ns // 1000),
                host=host(c["h"]), app=name(c["a"], 48, printable),
                procid=name(c["p"], 128, printable), msgid=name(c["m"], 32, printable),
                sd={k: cleaned(c[k]) for k in ("x", "y") if c[k]})
    return want


def parsed(line, kind, form):
    """The daemon's line as the fields of `expected`."""
    got = json.loads(line)
    out = {key: got.get(key) or "-" for key in ("pri", "host", "app", "procid", "msgid")}
    out["time"] = datetime.datetime.fromisoformat(got["time"].replace("Z", "+00:00"))
    if form == "bsd":
        del out["msgid"]
        out["time"] = out["time"].replace(year=2026)
        return out
    if kind == "rsyslog":
        sd = json.loads(got["sd"]) if got.get("sd") else {}
        out["sd"] = sd.get("t@32473", {})
    else:
        sd = got.get("_SDATA", got.get(".SDATA", {}))
        out["sd"] = sd.get("t@32473", {})
    return out


def frames_of(rig, form, sample):
    settings = {"protocol": "rfc3164" if form == "bsd" else "rfc5424", "body": "template",
                "template": "m ${b}", "hostname": "${h}", "tag": "${a}", "procid": "${p}",
                "max_message_size": "60000"}
    if form != "bsd":
        settings.update(msgid="${m}", structured_data={"t@32473": {"x": "${x}", "y": "${y}"}})
    config = rig.path(f"{form}.json")
    with open(config, "w", encoding="utf-8") as file:
        json.dump({"format": settings, "spool": {"path": rig.path("spool")}}, file)
    done = subprocess.run([rig.tool("sls-relay"), "-c", config, "--preview-file", sample],
                          env=harness.clean_env(), capture_output=True, check=False, timeout=300)
    check(done.returncode == 0, done.stderr.decode())
    return done.stdout.split(b"\n")[:-1]


def send(port, frames, octet):
    stream = b"".join(b"%d %s" % (len(f), f) if octet else f + b"\n" for f in frames)
    with socket.create_connection(("127.0.0.1", port), timeout=120) as connection:
        connection.sendall(stream)
        connection.shutdown(socket.SHUT_WR)
        check(connection.recv(1) == b"", "the receiver answered although syslog has no answers")


def agree(kind, form, logs, sample):
    os.environ["RECEIVER_FIELDS"] = form
    with Rig(f"agree-{kind}-{form}") as rig:
        frames = frames_of(rig, form, sample)
        check(len(frames) == len(logs), f"{len(frames)} frames of {len(logs)} logs")
        receiver = Receiver(rig, kind)
        receiver.start()
        send(receiver.port, frames, form == "octet")

        def there():
            with open(receiver.out, "rb") as file:
                return file.read().count(b"\n") >= len(logs)
        wait_until("all frames are parsed",
                   lambda: os.path.exists(receiver.out) and there(), 120)
        receiver.stop()
        with open(receiver.out, encoding="utf-8") as file:
            lines = file.read().split("\n")[:-1]
        check(len(lines) == len(logs), f"{len(lines)} messages of {len(logs)} frames")
        wrong = []
        for line, frame, log in zip(lines, frames, logs):
            want, got = expected(log, form), parsed(line, kind, form)
            for key in want:
                if (key, kind, want[key]) == ("host", "syslogng", "-"):
                    want[key] = "localhost"  # the sender's name in place of the NILVALUE
                if want[key] != got[key]:
                    wrong.append(f"{key}: {got[key]!r} for {want[key]!r}\n  of {frame!r}\n  {line}")
        check(not wrong, f"{kind}, {form}: {len(wrong)} fields differ:\n" + "\n".join(wrong[:5]))
        print(f"{kind}, {form}: {len(lines)} frames, every header field and SD-PARAM as sent")


def test(rig):
    seed = env_number("SLSR_SEED", random.randrange(1 << 32))
    print(f"SLSR_SEED={seed}")
    logs = make_logs(env_number("SLSR_LOGS", 10000), random.Random(seed))
    sample = rig.path("sample.pb")
    with open(sample, "wb") as file:
        file.write(encode(logs))
    fetch()
    failures = []
    for kind in ("rsyslog", "syslogng"):
        for form in ("octet", "lf", "bsd"):
            try:
                agree(kind, form, logs, sample)
            except harness.Failed as error:
                failures.append(str(error))
    check(not failures, "\n".join(failures))


harness.main(test)
