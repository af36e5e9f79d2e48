#!/usr/bin/python3 -B
"""The status sentence says what will be lost, and when.

Logs lie two hours old in the service; the relay has pulled a part of them when its rights are taken
away, and its target refuses connections. Status, JSON and page say when the service will begin to
delete what was not pulled, also after the relay has ended and while a new one has not pulled anything
yet. What is held is counted in the JSON, as text says it.
"""
import json
import re
import urllib.request

import harness
from harness import check, wait_until

TTL_S = 30 * 86400  # of the simulator's logstores
OLD_S = 7200
LOGS = 4000


def source(rig):
    status = rig.status()
    return status["sources"][0] if status and status["sources"] else {}


def lines(rig, *words):
    return [line for line in rig.spool("status", *words).stdout.splitlines() if "expires in SLS" in line]


def begin(rig):
    rig.start_sim("--generate", f"{LOGS}@{LOGS}", "--seed", "5", shards=2)
    rig.sim_post("/_sim/clock", json.dumps({"skew_s": -OLD_S}))
    wait_until("the logs are there", lambda: rig.sim_get()["generated_logs"] >= LOGS)
    rig.sim_post("/_sim/faults", json.dumps(["pull:delay=30:0"]))
    config = rig.config(harness.free_port(), source__max_log_groups=1,
                        metrics={"listen": "127.0.0.1:0"})
    relay = rig.start_relay(config)
    rig.wait_spooled(20)
    rig.sim_post("/_sim/faults", json.dumps(["pull:error=403/Unauthorized:0"]))
    return config, relay


def check_expiry(now, behind_s):
    check(now["retention_s"] == TTL_S, f"the time to live is not known: {now}")
    # the wide end is for slow machines: the age grows while the test runs
    check(behind_s - 60 <= now["oldest_unpulled_age_s"] < behind_s + 1800, f"age: {now}")
    check(now["expires_s"] == TTL_S - now["oldest_unpulled_age_s"], f"expiry: {now}")


def test(rig):
    config, relay = begin(rig)
    wait_until("the trouble is noted", lambda: source(rig).get("state") not in (None, "ok", "starting") and
               source(rig).get("expires_s") is not None)
    check(rig.status()["frames"] < LOGS, "all was pulled before the rights were taken away")
    check_expiry(source(rig), OLD_S)
    said = wait_until("both sentences", lambda: lines(rig) if len(lines(rig)) == 2 else None)
    check(said[0].startswith("source demo/audit: ") and said[1].startswith("siem: ") and
          all("expires in SLS in 29d2" in line for line in said), f"text: {said}")
    port = int(relay.wait_line(r"metrics.* on \S*?:(\d+)\b").group(1))
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10 * harness.SLOW) as page:
        text = page.read().decode()
    check(re.search(r"oldest unpulled data expires in SLS in <strong>\S", text), "not on the page")

    rig.spool("hold", "--seq", "3..9", "--reason", "test")
    mine = wait_until("the hold is counted", lambda: next(
        (t for t in rig.status()["targets"] if t["held_frames"] == 7), None))
    check(mine["dead_frames"] == 0 and mine["resend_frames"] == 0, f"figures: {mine}")
    check(", 7 held" in rig.spool("status").stdout, "held frames are not in the sentence")

    check(relay.stop() == 0, "TERM did not end the relay with exit 0")
    said = lines(rig)
    check(said and said[0].startswith("source demo/audit: no relay runs, oldest unpulled data expires"),
          f"without a relay: {said}")
    check_expiry(source(rig), OLD_S)
    # A new one has pulled nothing, and what was known before is still true.
    again = rig.start_relay(config)
    wait_until("the new relay has noted its source", lambda: source(rig).get("state") not in
               ("ok", "starting", "stopped"))
    check_expiry(source(rig), OLD_S)
    # Once all is pulled nothing waits, and nothing is said.
    rig.sim_post("/_sim/faults", json.dumps({"clear": True}))
    rig.wait_spooled(LOGS)
    wait_until("nothing waits any more", lambda: (source(rig).get("oldest_unpulled_age_s") or 999) < 100)
    check(not lines(rig), f"said without a reason: {lines(rig)}")
    check(again.stop() == 0, "TERM did not end the second relay with exit 0")


harness.main(test)
