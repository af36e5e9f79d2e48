#!/usr/bin/python3 -B
"""Three in the morning: is anything lost, how far behind, why is it not moving, how do I send that again?

A relay has two targets. One's receiver is down, the other was paused by a colleague, and a receiver's
file lacks some lines. Each of the four questions is answered by one command, and the answers are true.
With SLSR_TRANSCRIPT=docs/operations.md the test writes that page from what it has seen.
"""
import os
import re
import shlex
import subprocess

import harness
from harness import check, wait_until

LOGS = 6000

HEAD = """# Operations

What to type when something is wrong. Every answer below is what the programs printed in a run of
`tests/system/four_questions.py`, which also checks them and writes this page
(`SLSR_TRANSCRIPT=docs/operations.md`). The commands are those of `sls-spool(1)`; with the
configuration at its usual place no option says where the spool is.

The set-up is broken on purpose: `siem`'s receiver is down, `archive` was paused by somebody, and
the file of the receiver lacks lines that were delivered.

"""
TAIL = """
## By symptom

| what you see | ask | do |
|---|---|---|
| nothing arrives at the SIEM | `sls-spool status`: the target's sentence has the cause and since when | mend the receiver or the way to it; `flush -t T` ends the wait for the next try |
| `paused for ... by NAME` | `sls-spool gaps`: who, when, why | `resume -t T` |
| the backlog grows although the target is up | `top`: what comes in against what goes out | a faster receiver, or several (`servers`) |
| `spool full in ...` | `shape`, `status` | raise `spool.max_size`; give frames up with `skip` (one target) or `purge` |
| the same frame is refused again and again | `list --state dead`, `gaps` | mend the receiver's limit, then `requeue --state dead` |
| frames must not go out yet | | `hold SELECTORS`, later `release --state held` |
| `hold` or `skip`: nothing was ordered | its sentence: how many match, and where they stand | what was delivered has left; `requeue` or `replay` sends it again |
| an order has no effect | `status`: does a relay run? is the target paused? | orders stand in the spool until a relay runs; `resume -t T` |
| permission denied | | as root, or `sudo -u sls-relay sls-spool ...` |
| the SIEM lost its index | | `seek -t T "2026-01-02 03:00"`, or `replay` beside the live frames |
| lines are missing in the SIEM | `audit FILE` (needs `format.provenance`) | `audit FILE --replay -t T` |
| a replay was interrupted | `replay --list` | `replay --resume N` |
| `verify` reports damage | `repair`: what is lost | stop the relay, `repair --apply`, start it; `gaps` names the frames |
| a machine died | its disk, mounted read-only: `-D DIR status` | `-D DIR replay --to URL` from there, or `backup`, or `export` and `import` elsewhere |
| files grow and nobody knows why | `readers` | `readers --clear-stale`; end the process that is named |

An order is a record in the spool. It holds for a relay that runs, within a second, and for one that is
started later; `sls-spool gaps` has all of them with user and reason. `--dry-run` shows the plan only.
"""


class Page:
    def __init__(self, rig):
        self.rig, self.text = rig, HEAD

    def say(self, text):
        self.text += text + "\n\n"

    def run(self, *words, code=0):
        """One command into the page, and what it printed."""
        done = subprocess.run([self.rig.tool("sls-spool"), "-c", self.rig.path("relay.json"), *words],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, check=False,
                              env=harness.clean_env(), timeout=120 * harness.SLOW)
        said = done.stdout
        check(done.returncode == code and not harness.REPORT.search(said),
              f"sls-spool {words}: exit {done.returncode}: {said}")
        shown = " ".join(shlex.quote(w) if not w.startswith(self.rig.dir) else os.path.basename(w)
                         for w in words)
        body = said.replace(self.rig.dir + "/", "").rstrip("\n")
        body = "\n".join(line.rstrip() for line in body.splitlines())
        self.text += f"```\n$ sls-spool {shown}\n{body}\n```\n\n"
        return said


def break_things(rig, page):
    """Until the state of the story is there. The receiver's file with lines cut out is returned."""
    out = rig.path("siem.log")
    sink = rig.start_sink("--output", out)
    other = rig.start_sink("--discard", name="archive")
    retry = {"initial": "50ms", "max": "60s", "multiplier": 8}
    targets = [{"name": name, "protocol": "tcp", "host": "127.0.0.1", "port": port, "settle": "200ms",
                "retry": retry} for name, port in (("siem", sink.port), ("archive", other.port))]
    rig.start_sim("--generate", str(LOGS))
    relay = rig.start_relay(rig.config(sink.port, targets=targets))
    rig.wait_drained(LOGS)
    rig.wait_drained(LOGS, "archive")
    rig.spool("pause", "-t", "archive", "--reason", "new disk, ticket 4711")
    sink.stop()
    with open(out, "rb") as file:
        lines = file.readlines()
    short = rig.path("siem-export.log")
    with open(short, "wb") as file:
        file.writelines(lines[:1000] + lines[1012:])
    rig.spool("seek", "-t", "siem", "4001")  # the SIEM wants these again, and is down
    rig.spool("seek", "-t", "archive", "2001")
    wait_until("the source is read", lambda: all(s["state"] == "ok" for s in rig.status()["sources"]))
    wait_until("the cause is known", lambda: any(
        t["name"] == "siem" and "refused" in (t["last_error"] or "") and (t["next_retry_s"] or 0) > 3
        for t in rig.status()["targets"]))
    return relay, sink.port, short, lines[1000:1012]


def test(rig):
    page = Page(rig)
    relay, port, short, cut = break_things(rig, page)

    page.say("## Is anything lost?")
    page.say("In the relay, no: nothing was dropped or set aside, every checksum is right.")
    said = page.run("status")
    check("lost or set aside: nothing" in said, said)
    check("sound: " in page.run("verify"), "verify")
    page.say("In the SIEM, yes: twelve frames that it had taken are not in its file.")
    page.run("audit", short, code=1)

    page.say("## How far behind?")
    check("2000" in page.run("targets"), "targets")
    page.run("shape", "-t", "siem")

    page.say("## Why is it not moving?")
    page.say("The sentence of each target (above) begins with the cause: nobody listens at `siem`, and\n"
             "`archive` was paused. The ledger says by whom, when and why.")
    check(re.search(r"siem: .*refused.* for ", said) and "next try in" in said and
          re.search(r"archive: paused for \S+ s by \S+: new disk, ticket 4711, 4000 frames", said), said)
    said = page.run("gaps")
    check("pause" in said and "ticket 4711" in said, said)
    sink = rig.start_sink("--output", rig.path("again.log"), port=port, name="siem again")
    page.say("The receiver is mended, the disk is there. Nobody waits for the next try:")
    check("has taken it over" in page.run("flush", "-t", "siem"), "flush")
    check("has taken it over" in page.run("resume", "-t", "archive"), "resume")
    wait_until("all is taken", lambda: all(t["backlog_frames"] == 0 for t in rig.status()["targets"]))
    page.run("status")

    page.say("## How do I send that again?")
    page.say("What the file lacks, and nothing else:")
    said = page.run("audit", short, "--replay", "-t", "siem")
    check("replay: all 12 frames taken" in said, said)

    def arrived():
        with open(rig.path("again.log"), "rb") as file:
            return set(cut) <= set(file)
    wait_until("the missing lines arrive", arrived)
    page.say("Or by time, shard, sequence or text; the plan comes first. An interrupted replay goes on\n"
             "with `--resume`:")
    page.run("replay", "--seq", "1..500", "-t", "siem", "--rate", "2000/s")
    check(" done " in page.run("replay", "--list"), "list")
    page.say("Or by the relay itself, beside the live frames:")
    check("has taken it over" in page.run("requeue", "--seq", "501..600", "-t", "siem", "--reason",
                                          "index rebuilt"), "requeue")
    check(relay.stop() == 0 and sink.stop() == 0, "an end that was none")
    if os.environ.get("SLSR_TRANSCRIPT"):
        with open(os.environ["SLSR_TRANSCRIPT"], "w", encoding="utf-8") as file:
            file.write(page.text.rstrip("\n") + "\n" + TAIL)


harness.main(test)
