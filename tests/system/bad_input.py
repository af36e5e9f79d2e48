#!/usr/bin/python3 -B
"""Whatever is wrong outside, the relay says one clear sentence and loses nothing.

Wrong key, unknown logstore, skewed clock, ports that refuse, names that do not resolve: the relay
keeps trying, and as soon as the trouble is mended every log arrives. A spool that it may not write,
a spool that another relay owns, a configuration with a typing error: it refuses with the exit code
for it. Truncated, corrupted and lying bodies: nothing of them reaches the spool, and nothing is lost.
"""
import json
import os
import re
import signal

import harness
import oracle
from harness import KEY, Rig, check, free_port, wait_until

LOGS = 2000
NOBODY = 65534
SKEW = "any:skew=7200:0"
# Each breaks an answer in its own way, a few times; then the same bytes come whole.
BROKEN = ("pull:truncate:3", "pull:corrupt:3", "pull:rawsize=+7:2", "pull:rawsize=-7:2",
          "pull:drop=body:2", "pull:drop=answer:2", "pull:empty-error:1", "pull:html:1")


def sentence(text, *wanted):
    """One line that names the program and everything wanted."""
    lines = [line for line in text.strip().split("\n") if line]
    check(len(lines) == 1, f"not one sentence but {len(lines)}: {text!r}")
    check(lines[0].startswith("sls-relay: "), f"does not say who speaks: {lines[0]!r}")
    for word in wanted:
        check(re.search(word, lines[0]), f"/{word}/ is not in: {lines[0]!r}")


def stays(relay, pattern):
    """The relay says the pattern and goes on."""
    relay.wait_line(pattern, 30)
    check(relay.running(), "the relay gave up instead of trying again")


def arrives(rig, relay):
    """Everything at the service is spooled exactly once and acknowledged; TERM ends with 0."""
    rig.wait_drained(LOGS)
    check(relay.stop() == 0, "TERM did not end the relay with exit 0")
    marks = [(f["shard"], harness.cursor_number(f["cursor"]), f["index"]) for f in rig.cat()]
    check(len(marks) == len(set(marks)), "a log is in the spool twice")
    check(set(marks) == oracle.Reader(rig.sim_port).marks(), "the spool is not what the service has")


def mended(rig, sink, **changes):
    """A relay on the same spool with the right settings brings everything."""
    arrives(rig, rig.start_relay(rig.config(sink.port, **changes), name="mended"))


def wrong_key(rig):
    rig.start_sim("--generate", str(LOGS))
    sink = rig.start_sink("--discard")
    relay = rig.start_relay(rig.config(sink.port, source__access_key_secret="wrongSecret"))
    stays(relay, r"(?i)signature|access key")
    source = wait_until("status names the trouble", lambda: [
        s for s in (rig.status() or {}).get("sources", []) if s["last_error"]], 60)[0]
    check(source["state"] == "credentials" and source["logstore"] == harness.LOGSTORE,
          f"status says of the source: {source}")
    check("wrongSecret" not in str(source), "the secret is in the status")
    check("credentials for" in rig.spool("status").stdout, "no sentence about the source")
    check(relay.stop() == 0, "TERM during back-off did not end the relay with exit 0")
    check(not relay.said("wrongSecret"), "the secret is in a diagnostic")
    mended(rig, sink)


def unknown_key_id(rig):
    rig.start_sim("--generate", str(LOGS))
    sink = rig.start_sink("--discard")
    relay = rig.start_relay(rig.config(sink.port, source__access_key_id="noSuchKey"))
    stays(relay, r"(?i)unauthorized|access key")
    check(relay.stop() == 0, "TERM during back-off did not end the relay with exit 0")
    check(not relay.said(KEY[1]), "the secret is in a diagnostic")
    mended(rig, sink)


def unknown_logstore(rig):
    rig.start_sim("--generate", str(LOGS))
    sink = rig.start_sink("--discard")
    relay = rig.start_relay(rig.config(sink.port, source__logstores=["no-such-store"]))
    stays(relay, r"no-such-store")
    check(relay.stop() == 0, "TERM during back-off did not end the relay with exit 0")
    mended(rig, sink)


def skewed_clock(rig):
    rig.start_sim("--generate", str(LOGS), "--fault", SKEW)
    sink = rig.start_sink("--discard")
    relay = rig.start_relay(rig.config(sink.port))
    relay.wait_line(r"(?i)clock", 30)
    rig.wait_drained(LOGS)
    check(relay.stop() == 0, "TERM did not end the relay with exit 0")
    check(rig.status()["frames"] == LOGS, "not every log exactly once")


def siem_refuses(rig):
    rig.start_sim("--generate", str(LOGS))
    port = free_port()
    relay = rig.start_relay(rig.config(port))
    rig.wait_spooled(LOGS)
    stays(relay, str(port))
    target = wait_until("the status tells of the refusal",
                        lambda: next((t for t in rig.status()["targets"] if t["last_error"]), None))
    check(target["backlog_frames"] == LOGS, f"backlog {target['backlog_frames']}, not {LOGS}")
    rig.start_sink("--discard", port=port)
    arrives(rig, relay)


def siem_has_no_address(rig):
    rig.start_sim("--generate", str(LOGS))
    sink = rig.start_sink("--discard")
    config = rig.config(sink.port, targets__0__host="no-such-host.invalid")
    relay = rig.start_relay(config)
    rig.wait_spooled(LOGS)
    stays(relay, "no-such-host.invalid")
    check(relay.stop() == 0, "TERM during back-off did not end the relay with exit 0")
    probe = rig.run("sls-relay", "-c", config, "--test-connection", code=69)
    check("no-such-host.invalid" in probe.stdout + probe.stderr, "the probe does not name the host")
    mended(rig, sink)


def service_refuses(rig):
    rig.sim_port = free_port()
    sink = rig.start_sink("--discard")
    relay = rig.start_relay(rig.config(sink.port))
    stays(relay, str(rig.sim_port))
    rig.start_sim("--generate", str(LOGS), port=rig.sim_port)
    arrives(rig, relay)


def service_has_no_address(rig):
    rig.start_sim("--generate", str(LOGS))
    sink = rig.start_sink("--discard")
    config = rig.config(sink.port, source__endpoint="http://no-such-host.invalid",
                        source__connect_to=None)
    relay = rig.start_relay(config)
    stays(relay, "no-such-host.invalid")
    check(relay.stop() == 0, "TERM during back-off did not end the relay with exit 0")
    mended(rig, sink)


def spool_below_a_file(rig):
    with open(rig.path("a-file"), "w", encoding="utf-8"):
        pass
    config = rig.config(None, spool__path=rig.path("a-file/spool"))
    done = rig.run("sls-relay", "-c", config, code=None)
    check(done.returncode in (73, 74, 77), f"exit {done.returncode}: {done.stderr}")
    sentence(done.stderr, "a-file/spool")


def spool_not_ours(rig):
    """A spool that only its owner may write: as root, another user; else, no write permission."""
    rig.start_sim("--generate", str(LOGS))
    sink = rig.start_sink("--discard")
    relay = rig.start_relay(rig.config(sink.port))
    rig.wait_drained(LOGS)
    check(relay.stop() == 0, "TERM did not end the relay with exit 0")
    config = rig.config(sink.port, name="other.json")
    for folder, _, files in os.walk(rig.path("spool")):
        os.chmod(folder, 0o555)
        for name in files:
            os.chmod(os.path.join(folder, name), 0o444)
    os.chmod(rig.dir, 0o755)

    def become_nobody():
        if os.getuid() == 0:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
    if os.getuid() == 0:
        os.chown(config, NOBODY, NOBODY)
        # The programs' own folder may be closed to others: take the relay along.
        copy = rig.path("sls-relay")
        with open(rig.tool("sls-relay"), "rb") as file, open(copy, "wb") as out:
            out.write(file.read())
        os.chmod(copy, 0o755)
        other = rig.start("other", [copy, "-c", config], preexec=become_nobody,
                          env=harness.clean_env())
    else:
        other = rig.start_relay(config, name="other")
    code = other.wait()
    check(code in (73, 77), f"exit {code}, not 77 or 73")
    sentence("\n".join(other.lines), "spool", "(?i)permission|may not|read-only")
    for folder, _, files in os.walk(rig.path("spool")):
        os.chmod(folder, 0o755)
        for name in files:
            os.chmod(os.path.join(folder, name), 0o644)
    check(rig.status()["frames"] == LOGS, "the refused relay changed the spool")


def second_relay(rig):
    rig.start_sim("--generate", str(LOGS))
    sink = rig.start_sink("--discard")
    config = rig.config(sink.port)
    first = rig.start_relay(config)
    rig.wait_spooled(1)
    done = rig.run("sls-relay", "-c", config, code=75)
    sentence(done.stderr, "spool")
    arrives(rig, first)


def port_taken(rig):
    """The address of the page is another process's: the same exit code from all three listeners."""
    rig.start_sim()
    taken = f"127.0.0.1:{rig.sim_port}"
    done = rig.run("sls-relay", "-c", rig.config(9), "--set", f"metrics.listen={taken}", code=75)
    last = done.stderr.strip().split("\n")[-1]
    sentence(last, re.escape(f"metrics.listen {taken}"), "in use", "choose another")
    sim = rig.run("sls-sim", "--listen", taken, code=75)
    sink = rig.run("syslog-sink", "--listen", f"tcp://{taken}", code=75)
    for said in (sim.stderr, sink.stderr):
        check(taken in said and "choose another" in said, f"no sentence: {said!r}")


def log_file_impossible(rig):
    config = rig.config(9, log={"file": rig.path("no/such/folder.log")})
    sentence(rig.run("sls-relay", "-c", config, code=73).stderr, "no/such/folder.log", "may write")


def probe_names_the_step(rig):
    """What --test-connection says at the end stands alone in a journal: which step, of whom."""
    rig.start_sim()
    port = free_port()
    done = rig.run("sls-relay", "-c", rig.config(port), "--test-connection", code=69)
    sentence(done.stderr, "target siem: connect: ", f"port {port}: connection refused")


def broken_bodies(rig):
    """Every kind of broken answer a few times in a row, then good ones."""
    options = []
    for fault in BROKEN:
        options += ["--fault", fault]
    rig.start_sim("--generate", str(LOGS), *options)
    sink = rig.start_sink("--discard")
    relay = rig.start_relay(rig.config(sink.port))
    rig.wait_drained(LOGS)
    fired, ordered = rig.sim_get()["faults_fired"], sum(int(f[-1]) for f in BROKEN)
    check(fired == ordered, f"{fired} of {ordered} faults happened")
    check(relay.said(r"shard \d: .*lz4 body") and relay.said(r"shard \d: .*connection broke"),
          "no diagnostic tells of the broken bodies")
    arrives(rig, relay)


def judged_by_users(rig):
    """What the client and TLS find names its line, as the load does; at HUP, too."""
    sink = rig.start_sink("--discard")
    rig.start_sim("--generate", "1")
    path = rig.config(sink.port)
    relay = rig.start_relay(path)
    rig.wait_spooled(1)
    with open(path, encoding="utf-8") as file:
        config = json.load(file)
    with open(path, "w", encoding="utf-8") as file:
        config["source"]["signature"] = "v4"
        config["targets"][0].update(protocol="tls", tls={"ca_file": path})
        json.dump(config, file, indent=2)
    with open(path, encoding="utf-8") as file:
        lines = [line.strip().split(":")[0] for line in file]
    said = rig.run("sls-relay", "-c", path, "--check", code=78).stderr
    for key, words in (("signature", r"sls-relay: \$.source.signature, line %d of .*: is v4 but the region"),
                       ("ca_file", r"warning: \$.targets\[0\].tls.ca_file, line %d of .*: cannot use")):
        wanted = words % (lines.index(f'"{key}"') + 1)
        check(re.search(wanted, said), f"no {wanted!r} in {said!r}")
    relay.process.send_signal(signal.SIGHUP)
    relay.wait_line(r"error config: \$.source.signature, line \d+ of .*: is v4 but")
    check(relay.stop() == 0, "TERM did not end the relay with exit 0")
    # What only the start can judge: the same place in its one sentence.
    for key, value in (("spool__encryption_key_file", path), ("metrics", {"listen": "127.0.0.1.invalid:9464"})):
        done = rig.run("sls-relay", "-c", rig.config(9, **{key: value}), code=78)
        last = done.stderr.strip().split("\n")[-1]
        check(re.search(r"sls-relay: \$\.(spool\.encryption_key_file|metrics\.listen), line \d+: ", last),
              f"{key}: no line in {last!r}")


def wrong_configuration(rig):
    path = rig.config(9, source__projekt="typing-error")
    for mode in ([], ["--check"]):
        done = rig.run("sls-relay", "-c", path, *mode, code=78)
        said = done.stderr + done.stdout
        check("source.projekt" in said and "project" in said,
              f"names neither the key nor the nearest name: {said!r}")
        check(KEY[1] not in said, "the secret is in the refusal")
    # What only the formatter can judge comes in the same run, each with path and line.
    with open(path, encoding="utf-8") as file:
        settings = json.load(file)
    settings["format"] = {"filter": "status >=", "severity_rules": ["if a == 1 then err", "err"]}
    text = json.dumps(settings, indent=1)
    lines = text.split("\n")
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    for mode in ([], ["--check"]):
        said = rig.run("sls-relay", "-c", path, *mode, code=78).stderr
        for place, mark in (("$.source.projekt", '"projekt"'), ("$.format.filter", '"filter"'),
                            ("$.format.severity_rules[1]", '"err"')):
            line = 1 + next(i for i, one in enumerate(lines) if mark in one)
            check(f"sls-relay: {place}, line {line} of " in said,
                  f"not a line of its own for {place} in line {line}: {said!r}")
    with open(path, "w", encoding="utf-8") as file:
        file.write(json.dumps({"source": {}})[:-1])
    rig.run("sls-relay", "-c", path, "--check", code=78)
    rig.run("sls-relay", "-c", rig.path("absent.json"), code=66)
    rig.run("sls-relay", "--no-such-option", code=64)
    masked = rig.run("sls-relay", "-c", rig.config(9), "--print-config").stdout
    check(KEY[1] not in masked and json.loads(masked)["source"]["project"] == harness.PROJECT,
          "--print-config shows a secret or not the settings")


CASES = (wrong_key, unknown_key_id, unknown_logstore, skewed_clock, siem_refuses,
         siem_has_no_address, service_refuses, service_has_no_address, spool_below_a_file,
         spool_not_ours, second_relay, port_taken, log_file_impossible, probe_names_the_step,
         broken_bodies, judged_by_users, wrong_configuration)


def test(_):
    chosen = os.environ.get("SLSR_CASE")
    for case in CASES:
        if chosen and case.__name__ != chosen:
            continue
        print(f"-- {case.__name__}", flush=True)
        with Rig(case.__name__) as rig:
            case(rig)


harness.main(test)
