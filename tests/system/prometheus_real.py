#!/usr/bin/python3 -B
"""A real Prometheus reads the relay: metrics, alerts and every query of the dashboard.

Debian's prometheus is unpacked, not installed. promtool finds the text of /metrics and the alert
rules in order and runs the rules' unit tests. Then Prometheus scrapes a relay that delivers, loses
its sink and gets it back; every metric name of the interface is there, each dashboard query returns
data, the outage is an alert that is pending, and none remains when it is over.
"""
import glob
import json
import os
import re
import shutil
import subprocess
import urllib.parse
import urllib.request

import harness
from harness import ROOT, check, wait_until

PROMETHEUS = os.path.join(ROOT, "build", "prometheus")
NAMES = """pulled_logs_total pulled_raw_bytes_total pull_errors_total spooled_frames_total
spooled_bytes_total spool_frames spool_bytes spool_disk_bytes spool_full_ratio
spool_commit_seconds_bucket checkpoint_commits_total shard_lag_seconds shards_owned target_up
target_sent_frames_total target_acked_frames_total target_backlog_frames target_backlog_bytes
target_oldest_age_seconds target_reconnects_total target_resent_frames_total frames_dead_total
frames_dropped_total gaps_total build_info logstore_retention_seconds"""


def unpack():
    """Folder with prometheus and promtool."""
    folder = os.path.join(PROMETHEUS, "usr", "bin")
    if os.path.exists(os.path.join(folder, "promtool")):
        return folder
    shutil.rmtree(PROMETHEUS, ignore_errors=True)
    os.makedirs(PROMETHEUS)
    run = subprocess.run(["apt-get", "download", "prometheus"], cwd=PROMETHEUS, capture_output=True,
                         text=True, timeout=300)
    check(run.returncode == 0, f"apt-get download prometheus: {run.stderr}")
    subprocess.run(["dpkg", "-x", *glob.glob(os.path.join(PROMETHEUS, "*.deb")), PROMETHEUS],
                   check=True, timeout=120)
    return folder


def promtool(folder, *arguments, text=None, cwd=None):
    run = subprocess.run([os.path.join(folder, "promtool"), *arguments], input=text, cwd=cwd,
                         capture_output=True, text=True, timeout=300)
    check(run.returncode == 0, f"promtool {arguments}: {run.stdout}{run.stderr}")
    return run.stdout + run.stderr


def rules(rig, folder):
    shutil.copy(os.path.join(ROOT, "etc/sls-relay.rules.yml"), rig.path("rules.yml"))
    shutil.copy(os.path.join(ROOT, "tests/alerts/rules_test.yml"), rig.path("rules_test.yml"))
    promtool(folder, "check", "rules", rig.path("rules.yml"))
    promtool(folder, "test", "rules", rig.path("rules_test.yml"))
    with open(rig.path("rules.yml"), encoding="utf-8") as file:
        alerts = set(re.findall(r"alert: (\w+)", file.read()))
    with open(rig.path("rules_test.yml"), encoding="utf-8") as file:
        text = file.read()
    for alert in alerts:
        fires = len(re.findall(rf'labels: \'ALERTS{{alertname="{alert}"', text))
        silent = len(re.findall(rf'"{alert}".*\n.*\n\s*exp_samples: \[\]', text))
        check(fires > 0 and silent > 0, f"{alert}: {fires} cases fire, {silent} are silent")
    print(f"{len(alerts)} alerts tested")


def start_prometheus(rig, folder, port):
    listen = harness.free_port()
    with open(rig.path("prometheus.yml"), "w", encoding="utf-8") as file:
        json.dump({"global": {"scrape_interval": "500ms", "evaluation_interval": "500ms"},
                   "rule_files": [rig.path("rules.yml")],
                   "scrape_configs": [{"job_name": "sls-relay",
                                       "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}]},
                  file)
    rig.start("prometheus", [os.path.join(folder, "prometheus"),
                             "--config.file=" + rig.path("prometheus.yml"),
                             "--storage.tsdb.path=" + rig.path("tsdb"),
                             f"--web.listen-address=127.0.0.1:{listen}"])

    def ask(what, **query):
        url = f"http://127.0.0.1:{listen}/api/v1/{what}?" + urllib.parse.urlencode(query)
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                return json.load(answer)["data"]
        except OSError:
            return None
    return ask


def test(rig):
    folder = unpack()
    rules(rig, folder)
    rig.start_sim("--generate", "2000000@400", shards=2)
    sink = rig.start_sink("--discard")
    relay = rig.start_relay(rig.config(sink.port, metrics={"listen": "127.0.0.1:0"}))
    port = relay.wait_line(r"listening on http://127\.0\.0\.1:(\d+)/").group(1)
    ask = start_prometheus(rig, folder, port)

    def value(query):
        data = ask("query", query=query)
        return data["result"] if data and data["result"] else None
    wait_until("the first scrapes", lambda: value("rate(sls_relay_pulled_logs_total[5m]) > 0"), 120)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        text = answer.read().decode()
    promtool(folder, "check", "metrics", text=text)
    for name in NAMES.split():
        check(re.search(rf"^# TYPE sls_relay_{name.removesuffix('_bucket')} ", text, re.M),
              f"/metrics lacks {name}")

    wait_until("the logstore's retention", lambda: value("sls_relay_logstore_retention_seconds >= 86400"))

    sink.kill()
    pending = wait_until("the outage is a pending alert", lambda: [
        a for a in (ask("alerts") or {"alerts": []})["alerts"]
        if a["labels"]["alertname"] == "SlsRelayTargetDown"], 120)
    check(pending[0]["labels"]["target"] == "siem", f"{pending}")
    rig.start_sink("--discard", port=sink.port)
    wait_until("no alert any more", lambda: (ask("alerts") or {"alerts": 1})["alerts"] == [], 120)

    with open(os.path.join(ROOT, "etc/sls-relay.dashboard.json"), encoding="utf-8") as file:
        panels = json.load(file)["panels"]
    queries = [t["expr"] for panel in panels for t in panel["targets"]]
    for query in queries:
        wait_until(f"data for {query}", lambda: value(query), 60)
    check(value("increase(sls_relay_target_reconnects_total[5m]) > 0 or "
                "sls_relay_target_reconnects_total > 0"), "the lost connection is not counted")
    print(f"{len(queries)} queries of the dashboard return data")
    check(relay.stop() == 0, "the relay left with an error")


harness.main(test)
