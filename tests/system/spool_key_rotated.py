#!/usr/bin/python3 -B
"""An operator encrypts the spool and rotates its key.

Half of the logs are spooled with one key, half with a new one in front of it. No frame stands on the
disk in the clear. With both keys the tool shows every frame; with the new one alone it shows what
that one encrypted and says of the rest which setting lacks a key; verify says how much it could not
look into, and so tells when the old key may go.
"""
import json
import os
import re
import secrets
import shutil

import harness
from harness import check

LOGS = 4000
PLAIN = b"event_type="


def write_keys(rig, *keys):
    path = rig.path("keys")
    with open(path, "w", encoding="ascii") as file:
        file.write("".join(key + "\n" for key in keys))
    os.chmod(path, 0o600)
    return path


def verify(rig, *options):
    """(chunks, chunks that it could not look into); text and JSON say the same."""
    told = json.loads(rig.run("sls-spool", *options, "-o", "json", "verify").stdout)
    text = rig.run("sls-spool", *options, "verify").stdout
    note = f"\n{told['sealed_chunks']} chunks? encrypted with a key that is not at hand"
    check(bool(re.search(note, text)) == (told["sealed_chunks"] > 0), f"JSON and text disagree: {told}, {text!r}")
    return told["chunks"], told["sealed_chunks"]


def frames(rig, config, *selectors):
    return rig.run("sls-spool", "-c", config, "-o", "raw", "cat", *selectors,
                   text=False).stdout.count(PLAIN)


def test(rig):
    old, new = secrets.token_hex(32), secrets.token_hex(32)
    rig.start_sim("--generate", f"{LOGS}@2000")
    sink = rig.start_sink("--discard")
    config = rig.config(sink.port, spool__encryption_key_file=write_keys(rig, old))
    relay = rig.start_relay(config)
    rig.wait_spooled(LOGS // 4)
    check(relay.stop() == 0, "TERM did not end the relay with exit 0")
    first = rig.status()["newest_seq"]
    check(first < LOGS, "everything was spooled before the key could change")

    write_keys(rig, new, old)
    relay = rig.start_relay(config, name="rotated")
    rig.wait_drained(LOGS)
    check(relay.stop() == 0, "TERM did not end the relay with exit 0")
    for name in os.listdir(rig.path("spool")):
        with open(os.path.join(rig.path("spool"), name), "rb") as file:
            check(PLAIN not in file.read(), f"a frame stands in the clear in {name}")
    check(frames(rig, config) == LOGS, "both keys do not show every frame")
    check(verify(rig, "-c", config)[1] == 0, "verify lacks a key although both are there")

    write_keys(rig, new)
    check(frames(rig, config, "--seq", f"{first + 1}..") == LOGS - first,
          "the new key does not show what it encrypted")
    refused = rig.run("sls-spool", "-c", config, "cat", "--seq", f"1..{first}", code=78)
    check("encryption_key_file" in refused.stderr, f"no word on the setting: {refused.stderr!r}")
    chunks, sealed = verify(rig, "-c", config)
    check(0 < sealed < chunks, f"{sealed} of {chunks} chunks need the old key")
    check(verify(rig, "-D", rig.path("spool")) == (chunks, chunks), "without keys not all are sealed")
    # A copy is read with the keys of the configuration; an import puts nothing there in the clear.
    copy = rig.path("copy")
    shutil.copytree(rig.path("spool"), copy)
    os.remove(os.path.join(copy, "LOCK"))
    lines = rig.path("lines.jsonl")
    rig.run("sls-spool", "-c", config, "-D", copy, "export", "--seq", f"{first + 1}..{first + 10}", "--output", lines)
    rig.run("sls-spool", "-D", copy, "cat", "-n", "1", code=78)
    refused = rig.run("sls-spool", "-D", copy, "import", lines, code=78)
    check("encryption_key_file" in refused.stderr, f"import in the clear: {refused.stderr!r}")
    rig.run("sls-spool", "-c", config, "-D", copy, "import", lines)
    shown = rig.run("sls-spool", "-c", config, "-D", copy, "-o", "raw", "cat", "--seq", f"{LOGS + 1}..", text=False).stdout
    check(shown.count(PLAIN) == 10, f"imported: {shown!r}")
    for name in os.listdir(copy):
        with open(os.path.join(copy, name), "rb") as file:
            check(PLAIN not in file.read(), f"an imported frame stands in the clear in {name}")
    print(f"{first} frames with the old key, {LOGS - first} with the new one")


harness.main(test)
