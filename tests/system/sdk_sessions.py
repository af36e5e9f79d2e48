#!/usr/bin/python3 -B
"""The vendor's SDKs find nothing strange about the simulated service.

Each of the two npm packages goes through a consumer group's whole life: project and logstore, upload,
cursors, pull, shards split and merged, group, heartbeats of two consumers, checkpoints, and the errors
on the way. The newer one does so with both versions of the signature and with a temporary key.
"""
import harness
import sdk_modules
from harness import KEY, check

TEMPORARY = ("tempId", "tempSecret", "temp/Token+of=an==hour")


def test(rig):
    sdk_modules.install()
    rig.start_sim("--sts-key", ":".join(TEMPORARY) + "@3600")
    temporary = {"SDK_KEY_ID": TEMPORARY[0], "SDK_KEY_SECRET": TEMPORARY[1], "SDK_TOKEN": TEMPORARY[2]}
    runs = [("log", {}), ("v4", {}), ("v1", {}), ("v4", temporary), ("log", temporary)]
    for sdk, key in runs:
        environment = dict(sdk_modules.environment(), **key)
        session = rig.start(f"session {sdk}", ["node", sdk_modules.script("session.js"),
                                               str(rig.sim_port), sdk], env=environment)
        check(session.wait(120) == 0, f"the session by {sdk} did not go through")
        print(session.lines[0], "with a temporary key" if key else f"with key {KEY[0]}")
    wrong = dict(sdk_modules.environment(), SDK_KEY_SECRET="not it")
    session = rig.start("wrong key", ["node", sdk_modules.script("session.js"), str(rig.sim_port),
                                      "v4"], env=wrong)
    check(session.wait(120) == 1 and session.said("SignatureNotMatch"), "a wrong secret was accepted")


harness.main(test)
