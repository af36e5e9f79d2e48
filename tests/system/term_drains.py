#!/usr/bin/python3 -B
"""TERM lets the relay settle what it holds; and a preview shows exactly what would be spooled.

Before the relay runs, --preview prints frames of a one-shard logstore and --preview-file those of a
pulled body on disk, plain and lz4; neither leaves a trace in the service's consumer group. Then the
relay pulls everything, gets TERM in the middle of sending and leaves with exit 0, every pulled log
in the spool and every acknowledged one at the sink; a second run sends the rest and nothing is lost.
"""
import json

import harness
import oracle
from harness import check, env_number, judge_received, wait_until


def previews(rig, config, reader):
    """Frames by preview: from the service, and from the body of one pull on disk."""
    by_service = rig.run("sls-relay", "-c", config, "--preview", "25", text=False).stdout
    plain = ["--set", "format.provenance=false"]
    bodies = []
    for accept, name in (("", "body.pb"), ("lz4", "body.lz4")):
        _, headers, body = reader.pull(0, reader.cursor(0), 10, accept)
        path = rig.path(name)
        with open(path, "wb") as file:
            file.write(body)
        if accept:
            check(headers.get("x-log-compresstype") == "lz4", "the service did not send lz4")
            with open(rig.path("body.json"), "w", encoding="utf-8") as file:
                json.dump({"rawsize": int(headers["x-log-bodyrawsize"])}, file)
        bodies.append(rig.run("sls-relay", "-c", config, *plain, "--preview-file", path,
                              text=False).stdout)
    check(bodies[0] == bodies[1], "preview of the plain and of the lz4 body differ")
    without = rig.run("sls-relay", "-c", config, *plain, "--preview", "5", text=False).stdout
    check(bodies[0].startswith(without), "preview from the service and from a file differ")
    status, _, answer = reader.call(f"/logstores/{harness.LOGSTORE}/consumergroups")
    check(status == 200 and json.loads(answer) == [], f"a preview joined a group: {answer!r}")
    return by_service


def test(rig):
    logs = min(env_number("SLSR_LOGS", 40000), 40000)
    rig.start_sim("--generate", str(logs), shards=1)
    received = rig.path("received")
    sink = rig.start_sink("--output", received, "--rate", f"{logs // 4}/s")
    config = rig.config(sink.port)
    reader = oracle.Reader(rig.sim_port)
    shown = previews(rig, config, reader)
    check(shown.count(b"\n") == 25, f"--preview 25 printed {shown.count(10)} frames")

    relay = rig.start_relay(config)
    wait_until("the first frames at the sink", lambda: _size(received) > 0)
    check(relay.stop(60) == 0, "TERM in the middle did not end the relay with exit 0")
    halfway = rig.status()
    held = halfway["frames"]
    acked = [t["acked_seq"] for t in halfway["targets"] if t["name"] == "siem"]
    check(acked and acked[0] <= held, f"acknowledged {acked} of {held}")
    with open(received, "rb") as file:
        there = sum(1 for _ in file)
    check(there >= acked[0], f"{acked[0]} frames are acknowledged, but the sink has {there}")
    print(f"TERM: {held} spooled, {acked[0]} acknowledged, {there} at the sink")

    first = rig.spool("-o", "raw", "cat", "--seq", "1..25", text=False).stdout
    check(first == shown, "the first frames of the spool are not those that --preview had shown")

    relay = rig.start_relay(config)
    relay.wait_line(r"relay: sls-relay ")  # from here on it listens to signals
    rig.wait_drained(logs)
    check(relay.stop() == 0, "TERM on an idle relay did not end it with exit 0")
    status = rig.status()
    check(status["frames"] == logs, f"{status['frames']} frames spooled for {logs} logs")
    check([t["backlog_frames"] for t in status["targets"]] == [0], "TERM left a backlog")
    expected = reader.marks()
    lines, twice = judge_received(received, expected)
    print(f"sink: {lines} lines, {twice} repeats")


def _size(path):
    try:
        with open(path, "rb") as file:
            return file.seek(0, 2)
    except FileNotFoundError:
        return 0


harness.main(test)
