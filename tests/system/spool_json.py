#!/usr/bin/python3 -B
"""What every verb prints with -o json and -o jsonl is what etc/sls-spool.schema.json says.

The manual page's part JSON is made from that schema (tests/lint/spool_json). A relay has run into all
states that have members of their own: a target that is down, one that is paused, held and dead frames,
bytes that are no UTF-8, a ledger, replay jobs that are done and stopped. ajv judges; a member that is
not in the schema fails, too, and so does one in the schema that nothing prints.
"""
import contextlib
import json
import os
import signal
import subprocess
import sys
import time

import harness
from harness import ROOT, check, wait_until

sys.path.insert(0, os.path.join(ROOT, "tests", "lib"))
import nodes  # noqa: E402

LOGS = 2000
LISTS = {"frame", "target", "shard", "ledger", "job", "shape", "reader"}  # arrays with -o json


def closed(schema):
    """The same, but refusing members that it does not name."""
    if isinstance(schema, dict):
        schema = {key: closed(value) for key, value in schema.items()}
        if schema.get("type") == "object" and "properties" in schema:
            schema["additionalProperties"] = False
    return [closed(item) for item in schema] if isinstance(schema, list) else schema


class Judge:
    def __init__(self, rig):
        self.rig, self.files, self.seen = rig, {}, {}
        with open(os.path.join(ROOT, "etc/sls-spool.schema.json"), encoding="utf-8") as file:
            self.schema = closed(json.load(file))

    def take(self, kind, *words, spool="spool", code=0):
        """One command in both forms; keeps what it printed for the verdict."""
        outputs = []
        for form in ("json", "jsonl"):
            done = self.rig.run("sls-spool", "-D", self.rig.path(spool), "-c",
                                self.rig.path("relay.json"), "-o", form, *words, code=code)
            lists = kind in LISTS and words[:2] != ("replay", "--stop")
            values = [json.loads(line) for line in done.stdout.splitlines()] if form == "jsonl" else \
                json.loads(done.stdout) if lists else [json.loads(done.stdout)]
            check(isinstance(values, list), f"{words}: no array")
            check(values, f"{words} -o {form}: nothing")
            outputs.append(values)
            for value in values:
                self.keep(kind, value)
        check(len(outputs[0]) == len(outputs[1]), f"{words}: json and jsonl have other numbers of objects")
        return outputs[0]

    def keep(self, kind, value):
        path = self.rig.path(f"out-{len(self.files)}.json")
        with open(path, "w", encoding="utf-8") as file:
            json.dump(value, file)
        self.files[path] = kind
        self.note(kind, value)

    def note(self, kind, value):
        """Which members were there with something in them."""
        self.seen.setdefault(kind, set()).update(k for k, v in value.items() if v is not None)
        for inner, name in (("targets", "target"), ("shards", "shard"), ("sources", "source")):
            if kind == "status":
                for item in value[inner]:
                    self.note(name, item)

    def judge(self, kind):
        path = self.rig.path(f"{kind}.schema.json")
        with open(path, "w", encoding="utf-8") as file:
            json.dump({"$ref": f"#/$defs/{kind}", "$defs": self.schema["$defs"]}, file)
        files = [name for name, what in self.files.items() if what == kind]
        env = dict(os.environ, NODE_PATH=os.path.join(nodes.install(), "node_modules"))
        done = subprocess.run(["node", os.path.join(ROOT, "tests/web/validate.js"), path, *files],
                              capture_output=True, text=True, env=env, timeout=300 * harness.SLOW)
        check(done.returncode == 0, f"ajv: {done.stderr}")
        for name, errors in json.loads(done.stdout).items():
            with open(name, encoding="utf-8") as file:
                check(errors == [], f"{kind}: ajv says {errors} of {file.read()[:600]}")
        return len(files)


def world(rig):
    """A relay with a target that is down and one that is paused, and a spool of hostile bytes."""
    sink = rig.start_sink("--output", rig.path("siem.log"))
    rig.start_sim("--generate", str(LOGS), shards=2)
    targets = [{"name": name, "protocol": "tcp", "host": "127.0.0.1", "port": port, "settle": "200ms",
                "retry": {"initial": "50ms", "max": "30s", "multiplier": 8}}
               for name, port in (("siem", sink.port), ("archive", harness.free_port()))]
    relay = rig.start_relay(rig.config(sink.port, targets=targets))
    rig.wait_drained(LOGS)
    rig.run("mkspool", rig.path("hostile"), "50", "2", "1700000000", "1000", "hostile", "targets")
    return sink, relay


def test(rig):
    judge = Judge(rig)
    sink, relay = world(rig)
    take = judge.take
    for words in (["list", "-n", "5"], ["cat", "-n", "+3"], ["tail"], ["export", "-n", "3"]):
        take("frame", *words)
        take("frame", *words, spool="hostile")
    wait_until("archive waits for its next try", lambda: any(
        t["next_retry_s"] for t in rig.status()["targets"]))
    take("target", "targets")
    kept = json.loads(rig.run("sls-spool", "-D", rig.path("spool"), "-o", "json", "hold", "--seq",
                              "1990..", "-t", "archive", "--reason", "look").stdout)
    judge.keep("order", kept)
    for words in (["pause", "-t", "archive", "--reason", "ticket"], ["flush", "-t", "archive"],
                  ["requeue", "--seq", "1..9", "-t", "siem"], ["skip", "--seq", "7", "-t", "archive",
                                                               "--reason", "x", "--dry-run"],
                  ["purge", "--seq", "8", "-t", "archive", "--dry-run"],
                  ["release", "--state", "held", "--dry-run"], ["resume", "-t", "siem"],
                  ["seek", "-t", "siem", "oldest", "--dry-run"]):
        take("order", *words)
    check(kept["taken_over"] and kept["frames"] > 0, f"order: {kept}")
    with open(rig.path("siem.log"), "rb") as file:
        lines = file.readlines()
    with open(rig.path("cut.log"), "wb") as file:
        file.writelines(lines[:100] + lines[110:] + lines[200:201] + [lines[5]])
    wait_until("siem has taken what was sent again",
               lambda: rig.status()["targets"][1]["resend_frames"] == 0)
    take("audit", "audit", rig.path("cut.log"), "-t", "siem", code=1)
    take("replay", "replay", "--seq", "1..20", "-t", "siem")
    take("replay", "replay", "--seq", "1..20", "--to", f"tcp://127.0.0.1:{sink.port}", "--dry-run")
    take("replay", "replay", "--seq", "1..20", "--to", f"tcp://127.0.0.1:{harness.free_port()}",
         "--timeout", "1", code=69)
    jobs = take("job", "replay", "--list")
    check({job["state"] for job in jobs} == {"done", "stopped"}, f"jobs: {jobs}")
    take("job", "replay", "--stop", str(jobs[0]["id"]))
    with frozen_reader(rig):
        take("reader", "readers", spool="big")
    for kind, *words in (("status", "status"), ("status", "status", "--check", "--max-backlog", "999999"),
                         ("target", "targets"), ("target", "targets", "-t", "siem"), ("shard", "shards"),
                         ("stats", "stats"), ("top", "top"), ("shape", "shape"), ("ledger", "gaps"),
                         ("verify", "verify"), ("verify", "verify", "--deep"), ("repair", "repair")):
        take(kind, *words)
        if kind in ("target", "shard", "shape", "top", "stats"):
            take(kind, *words, spool="hostile")
    take("import", "import", "--dry-run", export(rig))
    for form in ("json", "jsonl"):
        judge.keep("backup", json.loads(rig.spool("-o", form, "backup", rig.path(f"copy-{form}")).stdout))
    damaged(rig)
    take("verify", "verify", spool="broken", code=2)
    take("repair", "repair", spool="broken", code=2)
    check(relay.stop() == 0, "TERM did not end the relay with exit 0")
    take("status", "status")

    kinds = sorted(judge.schema["$defs"])
    print(f"{sum(judge.judge(kind) for kind in kinds if kind != 'source')} outputs of "
          f"{len(kinds)} kinds fit the schema")
    rare = {"ledger": {"project", "logstore", "shard", "from_cursor", "to_cursor"},  # of gaps
            "target": {"eta_s"}, "shard": {"lag_s"}, "source": {"last_error"}}
    for kind in kinds:
        never = set(judge.schema["$defs"][kind]["properties"]) - judge.seen.get(kind, set()) - rare.get(
            kind, set())
        check(not never, f"{kind}: nothing printed {sorted(never)}")


@contextlib.contextmanager
def frozen_reader(rig):
    """A verify that is stopped while it reads: its slot shows. Tried until it is caught there."""
    rig.run("mkspool", rig.path("big"), "100000", "2", "1700000000", "1000", "batch=500")
    for k in range(2000):
        reader = subprocess.Popen([rig.tool("sls-spool"), "-D", rig.path("big"), "verify", "--deep"],
                                  stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        try:
            time.sleep(0.0005 * (k % 200))  # the moment of the trouble; nothing is waited for
            reader.send_signal(signal.SIGSTOP)
            done = rig.run("sls-spool", "-D", rig.path("big"), "-o", "json", "readers")
            if json.loads(done.stdout):
                yield
                return
        finally:
            reader.kill()
            reader.wait()
    raise harness.Failed("no verify was caught while it read")


def export(rig):
    rig.spool("export", "-n", "5", "--output", rig.path("five.jsonl"))
    return rig.path("five.jsonl")


def damaged(rig):
    """A copy of the hostile spool with a byte of a frame changed."""
    subprocess.run(["cp", "-r", rig.path("hostile"), rig.path("broken")], check=True)
    name = next(n for n in os.listdir(rig.path("broken")) if n.startswith("seg-") and n.endswith(".mdb"))
    path = os.path.join(rig.path("broken"), name)
    with open(path, "r+b") as file:
        data = file.read()
        file.seek(0)
        file.write(data.replace(b"msg 22", b"msG 22"))


harness.main(test)
