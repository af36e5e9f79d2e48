#!/usr/bin/python3 -B
"""HUP while logs flow: targets change without a restart, and nothing is lost.

The target moves to another port, a second target is added and removed again, the diagnostics become
JSON; each time the relay says what changed. The service forgets the access
key; a new one in its file is in use after a HUP. A setting that needs a restart is named, a file with a
mistake changes nothing and its problem is said. USR1 reopens a log file that was moved away. At the end
every log has reached the first target's two sinks, in order.
"""
import json
import os
import signal

import harness
import oracle
from harness import check, judge_received, wait_until

LOGS = 6000


def test(rig):
    sim = rig.start_sim("--generate", f"{LOGS}@600", "--state", rig.path("sim.state"), shards=2)
    first = rig.start_sink("--output", rig.path("first"))
    log = rig.path("relay.log")
    with open(rig.path("secret"), "w", encoding="utf-8") as file:
        file.write(harness.KEY[1] + "\n")
    os.chmod(rig.path("secret"), 0o600)
    path = rig.config(first.port, log={"file": log}, source__access_key_secret=None,
                      source__access_key_secret_file=rig.path("secret"))
    relay = rig.start_relay(path)

    def said(words):
        try:
            with open(log, encoding="utf-8") as file:
                return [line for line in file if words in line]
        except FileNotFoundError:
            return []

    def change(**changes):
        with open(path, encoding="utf-8") as file:
            config = json.load(file)
        for key, value in changes.items():
            place = config
            *parents, last = key.split("__")
            for parent in parents:
                place = place[int(parent)] if isinstance(place, list) else place[parent]
            place[last] = value
        with open(path, "w", encoding="utf-8") as file:
            json.dump(config, file)
        relay.process.send_signal(signal.SIGHUP)

    wait_until("frames at the first sink", lambda: os.path.exists(rig.path("first"))
               and os.path.getsize(rig.path("first")) > 0)
    second = rig.start_sink("--output", rig.path("second"), name="second-sink")
    change(targets__0__port=second.port)
    wait_until("the target moves", lambda: said("target siem: settings changed"))
    wait_until("frames at the second sink", lambda: os.path.exists(rig.path("second"))
               and os.path.getsize(rig.path("second")) > 0)

    third = rig.start_sink("--output", rig.path("third"), name="third-sink")
    with open(path, encoding="utf-8") as file:
        targets = json.load(file)["targets"]
    change(targets=[*targets, {"name": "more", "host": "127.0.0.1", "port": third.port,
                               "settle": "200ms"}])
    wait_until("a second target", lambda: said("target more: added"))
    wait_until("its first frames", lambda: os.path.exists(rig.path("third"))
               and os.path.getsize(rig.path("third")) > 0)
    change(targets=targets)
    wait_until("it is gone", lambda: said("target more: removed"))
    wait_until("the spool forgets it", lambda: [t["name"] for t in rig.status()["targets"]] == ["siem"])

    def secret(text):
        with open(rig.path("secret"), "w", encoding="utf-8") as file:
            file.write(text + "\n")
    rig.wait_drained(LOGS)  # what is to be generated ends with the service
    sim.stop()
    rig.start_sim("--state", rig.path("sim.state"), shards=2, key=(harness.KEY[0], "newSecret"),
                  port=rig.sim_port)
    wait_until("the old key is refused", lambda: said("SignatureNotMatch"))
    check(not said("new credentials"), "new keys before there are any")
    secret("newSecret")
    relay.process.send_signal(signal.SIGHUP)
    wait_until("the new key is taken", lambda: said("new credentials from the settings"))
    wait_until("the service answers again", lambda: said("SLS answers again") or said("goes on after"))
    check(not said("newSecret") and not said("after a restart: source.access"), "said of the key")

    change(spool__max_size="3GiB")
    wait_until("what waits for a restart", lambda: said("after a restart: spool.max_size"))
    change(targets__0__port="no number")
    wait_until("a mistake is named", lambda: said("$.targets[0].port"))
    wait_until("nothing is changed", lambda: said("nothing is changed"))
    change(targets__0__port=second.port, log__format="json")
    wait_until("diagnostics as JSON", lambda: [x for x in said("settings reloaded") if x[0] == "{"])

    os.rename(log, log + ".old")
    relay.process.send_signal(signal.SIGUSR1)
    wait_until("a new log file", lambda: os.path.exists(log))

    rig.wait_drained(LOGS)
    check(relay.stop() == 0, "the relay left with an error")
    with open(rig.path("both"), "wb") as both:
        for name in ("first", "second"):
            with open(rig.path(name), "rb") as file:
                both.write(file.read())
    lines, twice = judge_received(rig.path("both"), oracle.Reader(rig.sim_port, key=(harness.KEY[0], "newSecret")).marks())
    print(f"{lines} lines over both sinks, {twice} repeats")


harness.main(test)
