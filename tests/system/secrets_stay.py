#!/usr/bin/python3 -B
"""Keys are nowhere but in memory: not in diagnostics, answers, files, arguments or a core dump.

The relay runs at level debug with a key, a secret and a token that are easy to find. It meets a
wrong signature, an outage and a stop; --check, --print-config and --test-connection run as well.
Then every byte that the relay has written anywhere, what /proc shows to others, and the core that
an ABRT leaves are searched for the secrets. Last, other users' tricks: a log file or a spool lock
that is a symbolic link is refused, and what the relay makes is closed to strangers.
"""
import json
import os
import resource
import signal
import stat

import harness
from harness import check, wait_until

SECRET = "sEcReT-4f9d1c0b7a6e5d3c2b1a"
TOKEN = "tOkEn-0a1b2c3d4e5f60718293a4b5"


def search(path, where, *, token=True):
    """Fails when a secret stands in a file."""
    with open(path, "rb") as file:
        data = file.read()
    for name, text in (("secret", SECRET), ("token", TOKEN)) if token else (("secret", SECRET),):
        check(text.encode() not in data, f"the {name} stands in {where}")
    return len(data)


def search_tree(folder, leave_out):
    seen = 0
    for at, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(at, name)
            if path not in leave_out and not os.path.islink(path):
                seen += search(path, path)
    return seen


def with_core():
    resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def start(rig, config, folder, **more):
    return rig.start("sls-relay", rig.relay_argv(config), env=harness.clean_env(), cwd=folder,
                     **more)


def test(rig):
    sim = rig.start_sim("--generate", "2000", "--token", TOKEN, key=("testId", SECRET))
    sink = rig.start_sink("--output", rig.path("received"))
    log = rig.path("relay.log")
    config = rig.config(sink.port, source__access_key_secret=SECRET, source__security_token=TOKEN,
                        log={"file": log, "level": "debug"}, metrics={"listen": "127.0.0.1:0"})
    cwd = rig.path("cwd")
    os.mkdir(cwd)
    relay = start(rig, config, cwd, preexec=with_core)
    rig.wait_drained(2000)
    rig.sim_post("/_sim/faults", json.dumps(["pull:error=401/SignatureNotMatch:2"]))
    wait_until("a refused signature", lambda: b"ignature" in open(log, "rb").read(), 60)
    outputs = [rig.run("sls-relay", "-c", config, mode, code=None)
               for mode in ("--check", "--print-config", "--test-connection")]
    check("***" in outputs[1].stdout, "--print-config shows no mask")
    for done in outputs:
        check(SECRET not in done.stdout + done.stderr and TOKEN not in done.stdout + done.stderr,
              f"a secret in the output of {done.args}")
    for name in ("cmdline", "environ", "status", "maps"):
        search(f"/proc/{relay.process.pid}/{name}", "/proc/" + name)
    seen = search_tree(rig.dir, {config, sim.log})
    with open("/proc/sys/kernel/core_pattern", encoding="ascii") as file:
        pattern = file.read().strip()
    relay.expected = False
    relay.process.send_signal(signal.SIGABRT)
    relay.process.wait()
    core = [n for n in os.listdir(cwd) if n.startswith("core")]
    if pattern in ("core", "core.%p") and core:
        path = os.path.join(cwd, core[0])
        # The token lives for an hour and passes through libcurl's buffers: the key must not be there.
        print(f"core: {search(path, 'the core dump', token=False) >> 20} MiB searched")
        os.unlink(path)
    else:
        print(f"core dumps of this machine go elsewhere ({pattern}): not searched")
    print(f"{seen} bytes of files and diagnostics searched")
    strangers(rig, config, log)


def strangers(rig, config, log):
    spool = rig.path("spool")
    for at, folders, names in os.walk(spool):
        for name in folders + names:
            mode = os.stat(os.path.join(at, name)).st_mode
            check(not mode & stat.S_IRWXO, f"{name} in the spool is open to others: {oct(mode)}")
    check(not os.stat(log).st_mode & stat.S_IRWXO, "the log file is open to others")
    victim = rig.path("victim")
    with open(victim, "w", encoding="ascii") as file:
        file.write("mine\n")
    with open(config, encoding="utf-8") as file:
        settings = json.load(file)
    for what in ("log", "lock"):
        link = rig.path(what + "-link")
        if what == "log":
            settings["log"]["file"] = link
            os.symlink(victim, link)
        else:
            settings["log"]["file"] = None
            settings["spool"]["path"] = rig.path("other-spool")
            os.mkdir(settings["spool"]["path"], 0o700)
            os.symlink(victim, os.path.join(settings["spool"]["path"], "LOCK"))
        path = rig.path(what + ".json")
        with open(path, "w", encoding="utf-8") as file:
            json.dump(settings, file)
        os.chmod(path, 0o600)
        done = rig.run("sls-relay", "-c", path, code=None, seconds=60)
        check(done.returncode in (73, 74, 77), f"{what}: exit {done.returncode}: {done.stderr}")
        with open(victim, encoding="ascii") as file:
            check(file.read() == "mine\n", f"{what}: a file behind a link was written")
        print(f"{what} behind a link: {done.stderr.strip().splitlines()[-1]}")


if __name__ == "__main__":
    harness.main(test)
