#!/usr/bin/python3 -B
"""A real log file goes in through the vendor's own SDK and comes out byte for byte.

The package manager's log of this machine is uploaded, a log per line, by the npm package
@alicloud/log into the simulated service; the relay spools it and sends it to a sink. The field that
carried the line is cut out of each received frame: put together, they are the file again.
"""
import shutil
import sys

import harness
import sdk_modules
from harness import check

FILES = ("/var/log/dpkg.log", "/var/log/apt/history.log", "/var/log/alternatives.log")
FIELD = b"content="


def text_file():
    """The first real log file that has some lines of UTF-8."""
    for path in FILES:
        try:
            with open(path, encoding="utf-8", newline="") as file:
                data = file.read()
        except (OSError, UnicodeDecodeError):
            continue
        if data.count("\n") > 20 and "\r" not in data:
            return path
    print("no readable log file with more than 20 lines among " + ", ".join(FILES))
    sys.exit(77)


def test(rig):
    path = text_file()
    sdk_modules.install()
    rig.start_sim(shards=1)
    # A copy: the real one may grow while we look.
    copy = shutil.copy(path, rig.path("uploaded.log"))
    upload = rig.start("upload.js", ["node", sdk_modules.script("upload.js"), str(rig.sim_port), copy],
                       env=sdk_modules.environment())
    check(upload.wait(120) == 0, "the SDK could not upload")
    with open(copy, "rb") as file:
        original = file.read()
    lines = original.count(b"\n") + (not original.endswith(b"\n"))
    upload.wait_line(rf"uploaded {lines} lines", 5)

    received = rig.path("received")
    sink = rig.start_sink("--output", received)
    relay = rig.start_relay(rig.config(sink.port, format__provenance=False))
    rig.wait_drained(lines)
    check(relay.stop() == 0, "TERM did not end the relay with exit 0")
    check(sink.stop() == 0, "the sink did not end well")
    with open(received, "rb") as file:
        frames = file.read().split(b"\n")[:-1]
    check(len(frames) == lines, f"{len(frames)} frames for {lines} lines")
    strange = [f for f in frames if f.count(FIELD) < 1]
    check(not strange, f"a frame without the field: {strange[:1]}")
    back = b"\n".join(f.split(FIELD, 1)[1] for f in frames)
    if original.endswith(b"\n"):
        back += b"\n"
    check(back == original, "the relayed lines are not the file, byte for byte")
    raw = rig.spool("-o", "raw", "cat", text=False).stdout
    check(raw.split(b"\n")[:-1] == frames, "the spool holds other bytes than the sink received")
    print(f"{path}: {lines} lines, {len(original)} bytes, the same at the far end")


harness.main(test)
