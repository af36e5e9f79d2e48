#!/usr/bin/python3 -B
"""The ready profiles of etc/profiles are what docs/siem says.

Each passes --check with nothing but credentials from the environment, and makes of a fixed log group
(with line breaks, separators and quotes in its values) exactly the frames of
tests/vectors/profiles/NAME.txt. The preview of a filter that is wrong says where. A user's loop of
change and preview takes less than seconds, without a network.
SLSR_GOLDEN=write writes the files anew: look at the difference before it is kept.
"""
import os
import struct
import subprocess

import harness
from harness import check

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
GOLDEN = os.path.join(TOP, "tests", "vectors", "profiles")
CREDENTIALS = {"SLS_ENDPOINT": "https://cn-hangzhou.log.aliyuncs.com", "SLS_PROJECT": "demo",
               "SLS_LOGSTORE": "audit", "SLS_CG": "siem", "SLS_AK_ID": "LTAI0000000000000000",
               "SLS_AK_KEY": "no-such-secret"}
LOGS = [
    (1767323045, 123456789, [("level", "ERROR"), ("status", "503"), ("user", "alice"),
                             ("src_ip", "192.0.2.7"), ("src_port", "55123"), ("method", "GET"),
                             ("url", "/a?x=1&y=a|b"), ("action", "login failed"),
                             ("message", "first line\nsecond \"quoted\" = \\ line")]),
    (1767323046, 0, [("level", "info"), ("user", "bob\t| ] =x"), ("empty", ""),
                     ("forged", "x\n<14>1 2026-01-01T00:00:00Z evil app - - - gotcha")]),
    (1767323047, 0, [("code", "404"), ("message", "\u65e5\u5fd7 \u00fcber"), ("odd key=|", "v")]),
]


def varint(number):
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def field(number, data):
    return bytes([number << 3 | 2]) + varint(len(data)) + data


def pair(number, key, value):
    return field(number, field(1, key.encode()) + field(2, value.encode()))


def group():
    out = b""
    for time_s, time_ns, contents in LOGS:
        log = b"\x08" + varint(time_s) + b"".join(pair(2, k, v) for k, v in contents)
        if time_ns:
            log += b"\x25" + struct.pack("<I", time_ns)
        out += field(1, log)
    out += field(3, b"web") + field(4, b"10.0.0.1")
    out += pair(6, "__hostname__", "web-1") + pair(6, "__path__", "/var/log/app.log")
    return field(1, out)


def run(rig, config, *arguments):
    env = dict(harness.clean_env(), SLS_SPOOL=rig.path("spool"), **CREDENTIALS)
    done = subprocess.run([rig.tool("sls-relay"), "-c", config, *arguments], env=env, timeout=120,
                          capture_output=True)
    return done.returncode, done.stdout, done.stderr.decode()


def test(rig):
    sample = rig.path("sample.pb")
    with open(sample, "wb") as file:
        file.write(group())
    names = sorted(os.listdir(os.path.join(TOP, "etc", "profiles")))
    check(len(names) == 7, f"not seven profiles but {names}")
    for name in names:
        config = os.path.join(TOP, "etc", "profiles", name)
        code, out, said = run(rig, config, "--check")
        check(code == 0 and out == b"settings are fine\n" and said == "",
              f"{name}: --check ends with {code}: {said}")
        code, out, said = run(rig, config, "--preview-file", sample)
        check(code == 0, f"{name}: the preview ends with {code}: {said}")
        path = os.path.join(GOLDEN, name.replace(".json", ".txt"))
        if os.environ.get("SLSR_GOLDEN") == "write":
            with open(path, "wb") as file:
                file.write(out)
        with open(path, "rb") as file:
            golden = file.read()
        check(out == golden, f"{name}: other frames than the golden ones:\n{out.decode()}")
        check(out.count(b"\n") == len(LOGS), f"{name}: a log made more than one line")
        page = os.path.join(TOP, "docs", "siem", name.replace(".json", ".md"))
        check(os.path.exists(page), f"{name} has no page in docs/siem")
    config = os.path.join(TOP, "etc", "profiles", names[0])
    for key, text, words in (("filter", "status >= ", ("format.filter", "column 11")),
                             ("tag", "x${user|shout}", ("format.tag", "column 9", "shout"))):
        code, _, said = run(rig, config, "--set", f"format.{key}={text}", "--check")
        check(code == 78 and all(word in said for word in words),
              f"--check took a wrong {key}: {code} {said}")
    code, out, said = run(rig, config, "--set", "format.filter=status >= 500",
                          "--preview-file", sample)
    check(code == 0 and out.count(b"\n") == 1 and "leaves 2 logs out" in said,
          f"the filter's preview: {code} {said}")


harness.main(test)
