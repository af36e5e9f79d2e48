#!/usr/bin/python3 -B
"""Command lines and outputs as a hostile user gives them.

Every program names an unknown option with what was probably meant and a missing value, says when its help
cannot be written, and ends with the code for it; no odd byte of an argument reaches the terminal. Programs whose standard descriptors are closed keep them
out of the spool. An export into a pipe writes into the pipe, not in its place, and behind a link into the
file that it points at.
"""
import json
import os
import re
import stat
import subprocess

import harness
from harness import check

LOGS = 2000
FULL = "/dev/full"
VALUES = {"sls-relay": ["-c", "--config", "--set", "--preview-file"],
          "sls-spool": ["-D", "--seq", "--since", "--to", "--rate", "--reason", "--max-age"],
          "sls-sim": ["--listen", "--access-key", "--fault", "--state"],
          "syslog-sink": ["--listen", "--output", "--rate", "--cert"]}

TYPOS = {"sls-relay": (("--chekc", "--check"), ("--pritn-config", "--print-config"), ("--configg=s3cr3t", "--config")),
         "sls-spool": (("--sinec", "--since"), ("--versoin", "--version")),
         "sls-sim": (("--acces-key=id:s3cr3t", "--access-key"), ("--genrate", "--generate")),
         "syslog-sink": (("--litsen", "--listen"), ("--stirct", "--strict"))}


def sentence(done, program, *wanted):
    said = done.stderr.strip().splitlines()
    check(len(said) == 1 and said[0].startswith(program + ": "), f"{program}: not one sentence: {said}")
    for word in wanted:
        check(word in said[0], f"{word!r} is not in: {said[0]}")


def to_full(rig, program, *words):
    with open(FULL, "wb") as out:
        return subprocess.run([*rig.product(program), *words], stdin=subprocess.DEVNULL, stdout=out,
                              stderr=subprocess.PIPE, text=True, env=harness.clean_env(), check=False,
                              timeout=60 * harness.SLOW)


def usage(rig):
    for program, options in VALUES.items():
        sentence(rig.run(program, "--no-such-option", code=64), program, "--no-such-option", "help")
        sentence(rig.run(program, "-Z", code=64), program, "-Z", "help")
        for typed, meant in TYPOS[program]:
            done = rig.run(program, typed, code=64)
            sentence(done, program, f"unknown option '{typed.split('=')[0]}': did you mean '{meant}'?")
            check("s3cr3t" not in done.stderr, f"the value of {typed} is shown: {done.stderr}")
        sentence(rig.run(program, "--help=x", code=64), program, "'--help' takes no value")
        for option in options:
            sentence(rig.run(program, option, code=64), program, option, "help")
        for page in ("--help", "--version", "-h", "-V"):
            check(rig.run(program, page).stdout, f"{program} {page} says nothing")
            done = to_full(rig, program, page)
            check(done.returncode == 74, f"{program} {page}: exit {done.returncode} without room")
            sentence(done, program, "standard output")


def odd_values(rig):
    """Empty values, numbers that are none, bytes that would steer a terminal, what is given twice."""
    odd = b"a\xff\x1b[2Jb"
    listen, tcp = ["--listen", "127.0.0.1:0"], ["--listen", "tcp://127.0.0.1:0"]
    for program, words, wanted in (
            ("sls-relay", ["--preview", "-5"], "number of frames, not -5"),
            ("sls-relay", ["--preview-file", ""], "wants a file"),
            ("sls-relay", ["-c", ""], "wants a file"),
            ("sls-relay", [odd], "a??[2Jb"),
            ("sls-sim", [*listen, "--token", ""], "--token ''"),
            ("sls-sim", [*listen, "--logstore", "audit:1", "--logstore", "audit:2"], "given twice"),
            ("sls-sim", [*listen, "--project", odd], "a??[2Jb"),
            ("syslog-sink", [*tcp, "--output", ""], "--output '': give a file"),
            ("syslog-sink", [*tcp, "--framing", odd], "a??[2Jb"),
            ("sls-spool", [odd], r"a\xff\x1b[2Jb"),
            ("sls-spool", ["list", "-o", "raw", "-o", "json"], "'-o' was given twice")):
        sentence(rig.run(program, *words, code=64), program, wanted)
    sentence(rig.run("syslog-sink", *tcp, "--stats", rig.dir, code=73), "syslog-sink", rig.dir, "directory")
    sentence(rig.run("syslog-sink", "--listen", "tls://127.0.0.1:0", "--cert", rig.path("no"), "--key",
                     rig.path("no"), code=66), "syslog-sink", rig.path("no"), "No such file")
    done = rig.run("sls-relay", "-c", rig.config(9), "--set", odd + b"=1", "--check", code=78)
    sentence(done, "sls-relay", "--set wants PATH=VALUE")


def partners(rig):
    sentence(rig.run("sls-sim", "--listen", "127.0.0.1:0", "--load", rig.dir, code=66), "sls-sim", rig.dir,
             "directory")
    sentence(rig.run("syslog-sink", "--listen", "tcp://127.0.0.1:0", "--stats", rig.path("no/such"),
                     code=73), "syslog-sink", "no/such")


    for option in ("--cert", "--key", "--ca"):
        sentence(rig.run("syslog-sink", "--listen", "tcp://127.0.0.1:0", option, rig.path("none"), code=64),
                 "syslog-sink", f"{option} has no effect", "tls")


def relay_modes(rig):
    config = rig.config(9)
    sentence(rig.run("sls-relay", "-c", config, "--pre", code=64), "sls-relay", "'--preview'", "'--preview-file'")
    sentence(rig.run("sls-relay", "-c", config, "--check", "--print-config", code=64), "sls-relay",
             "two modes")
    rig.run("sls-relay", "-c", config, "--check", "--check")
    for number in ("0", "x", "99999999999999999999"):
        sentence(rig.run("sls-relay", "-c", config, "--preview", number, code=64), "sls-relay", number)
    sentence(rig.run("sls-relay", "-c", rig.dir, "--check", code=78), "sls-relay", rig.dir,
             "is a directory".capitalize(), "-c")
    for mode in ("--check", "--print-config"):
        done = to_full(rig, "sls-relay", "-c", config, mode)
        check(done.returncode == 74, f"{mode}: exit {done.returncode} without room: {done.stderr}")


def close_standard():
    for fd in (0, 1, 2):
        os.close(fd)


def closed_descriptors(rig):
    """A relay without 0, 1 and 2: no file of the spool gets such a number, or its diagnostics go there."""
    rig.start_sim("--generate", str(LOGS))
    sink = rig.start_sink("--discard")
    relay = rig.start("relay", rig.relay_argv(rig.config(sink.port)), env=harness.clean_env(),
                      preexec=close_standard)
    rig.wait_drained(LOGS)
    if not harness.VALGRIND:
        for fd in (0, 1, 2):
            place = os.readlink(f"/proc/{relay.process.pid}/fd/{fd}")
            check(place == "/dev/null", f"descriptor {fd} is {place}")
    done = subprocess.run([*rig.product("sls-spool"), "-D", rig.path("spool"), "status"], check=False,
                          preexec_fn=close_standard, env=harness.clean_env())
    check(done.returncode == 74, f"status without an output: exit {done.returncode}")
    check(relay.stop() == 0, "TERM did not end the relay with exit 0")
    rig.spool("verify", "--deep")


def exports(rig):
    """On the spool of the case before."""
    pipe = rig.path("pipe")
    os.mkfifo(pipe)
    with open(rig.path("read"), "wb") as file:
        reader = rig.start("reader", ["sh", "-c", 'cat "$1" >"$2"', "sh", pipe, file.name])
    rig.spool("export", "--output", pipe)
    check(reader.wait() == 0, "the reader failed")
    with open(rig.path("read"), "rb") as file:
        lines = file.readlines()
    check(len(lines) == LOGS and json.loads(lines[0])["seq"] == 1, f"{len(lines)} lines through the pipe")
    check(stat.S_ISFIFO(os.stat(pipe).st_mode), "the pipe was replaced by a file")
    done = rig.spool("export", "--output", "-")
    check(len(done.stdout.splitlines()) == LOGS, "- is not standard output")
    os.symlink("behind", rig.path("link"))
    done = rig.spool("export", "--output", rig.path("link"), code=73)
    sentence(done, "sls-spool", rig.path("link"), "it is a link")
    check(os.listdir(rig.dir).count("behind") == 0, "a link to nothing was followed")
    with open(rig.path("behind"), "wb") as file:
        file.write(b"before")
    rig.spool("export", "--output", rig.path("link"))
    check(os.readlink(rig.path("link")) == "behind", "the link was replaced")
    with open(rig.path("behind"), "rb") as file:
        check(len(file.readlines()) == LOGS, "the export is not in the file behind the link")
    sentence(rig.spool("export", "--output", "", code=64), "sls-spool", "--output")
    sentence(rig.spool("export", "--output", rig.dir, code=73), "sls-spool", "directory")
    sentence(rig.spool("list", "-t", "siemm", code=64), "sls-spool", "'siemm'", "did you mean 'siem'?")
    sentence(rig.spool("replay", "--seq", "1", "--to", "tcp://127.0.0.1:9", "--rate", "fast", code=64),
             "sls-spool", "'fast'", "500/s")
    sentence(rig.spool("skip", "--seq", "1", "-t", "siem", "--reason", "", code=64), "sls-spool", "say why")
    if os.getuid() == 0:
        full = rig.path("full")  # a device of our own: a wrong program replaces it
        os.mknod(full, 0o600 | stat.S_IFCHR, os.makedev(1, 7))
        sentence(rig.spool("export", "--output", full, code=74), "sls-spool", full, "No space left")
        check(stat.S_ISCHR(os.stat(full).st_mode), "the device was replaced by a file")
    check(not re.search(r"\.part$", " ".join(os.listdir(rig.dir)), re.M), "a part is left")


def test(rig):
    usage(rig)
    odd_values(rig)
    partners(rig)
    relay_modes(rig)
    closed_descriptors(rig)
    exports(rig)


harness.main(test)
