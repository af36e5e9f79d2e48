#!/usr/bin/python3 -B
"""The packages in a fresh Debian: install, check, run under a service manager's protocol, purge.

A debootstrap chroot of this machine's release gets both packages by dpkg -i. User, modes, conffile
and unit are looked at; sls-relay runs as its own user with a notify socket and a watchdog while
sls-sim feeds it and syslog-sink takes the frames; HUP and TERM are told to the listener, too. After
remove the configuration is still there, after purge the file system is what it was before.
Usage: chroot.py DIR-WITH-DEBS. Needs root and debootstrap; exit 77 says why it cannot run.
"""
import glob
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

DEADLINE = 120


def skip(why):
    print(f"package: skipped: {why}")
    sys.exit(77)


def check(condition, what):
    if not condition:
        print(f"package: FAILED: {what}")
        sys.exit(1)


def output(*argv):
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


def until(what, ask):
    end = time.monotonic() + DEADLINE
    while True:
        answer = ask()
        if answer:
            return answer
        check(time.monotonic() < end, f"waited in vain: {what}")
        time.sleep(0.1)


def mirror():
    """Where this machine's apt takes the release's main packages from."""
    release = re.search(r"^VERSION_CODENAME=(\w+)", open("/etc/os-release").read(), re.M).group(1)
    lines = output("apt-get", "indextargets", "--format", "$(SITE) $(RELEASE) $(CODENAME) $(COMPONENT)",
                   "Created-By: Packages").split("\n")
    for line in lines:
        words = line.split()
        if len(words) == 4 and words[3] == "main" and release in words[1:3]:
            return release, words[0]
    skip("apt knows no source for this release")


def depends(debs):
    names = set()
    for deb in debs:
        for part in output("dpkg-deb", "-f", deb, "Depends").strip().split(","):
            name = part.split("|")[0].split("(")[0].strip()
            if name and name != "libc6":
                names.add(name)
    return sorted(names)


def listing(root):
    """Everything in the chroot but what dpkg itself keeps books in."""
    found = set()
    for folder, dirs, files in os.walk(root):
        place = os.path.relpath(folder, root)
        if place.split("/")[0] in ("proc", "sys", "dev", "debs"):
            dirs.clear()
            continue
        if place in ("var/lib/dpkg", "var/log", "var/cache"):
            dirs.clear() if place != "var/log" else None
            continue
        for name in dirs + files:
            if not re.search(r"^(passwd|shadow|group|gshadow|subuid|subgid)-$", name):
                found.add(os.path.join(place, name))
    return found


class Chroot:
    def __init__(self, root):
        self.root = root

    def path(self, inside):
        return os.path.join(self.root, inside.lstrip("/"))

    def run(self, *argv, code=0, env=None):
        done = subprocess.run(["chroot", self.root, *argv], capture_output=True, text=True,
                              env=dict(PATH="/usr/sbin:/usr/bin:/sbin:/bin", LC_ALL="C",
                                       DEBIAN_FRONTEND="noninteractive", **(env or {})))
        check(code is None or done.returncode == code,
              f"{argv}: exit {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout + done.stderr

    def mode(self, inside):
        stat = os.stat(self.path(inside))
        return f"{stat.st_mode & 0o7777:o} {stat.st_uid} {stat.st_gid}"


def start(chroot, argv, log, **env):
    file = open(chroot.path(log), "wb")
    return subprocess.Popen(["chroot", *argv], stdin=subprocess.DEVNULL, stdout=file, stderr=file,
                            env=dict(PATH="/usr/sbin:/usr/bin", **env))


def port_of(chroot, log):
    def ask():
        found = re.search(r"listening on \S*?:(\d+)\b", open(chroot.path(log)).read())
        return found and found.group(1)
    return until(f"{log} listens", ask)


def service(chroot, programs):
    """Runs the relay as its unit would; programs collects what must be ended."""
    root = chroot.root
    programs.append(start(chroot, [root, "sls-sim", "--listen", "127.0.0.1:0", "--access-key", "id:key",
                                   "--project", "demo", "--logstore", "audit:2", "--generate", "500"],
                          "/tmp/sim.log"))
    programs.append(start(chroot, [root, "syslog-sink", "--listen", "tcp://127.0.0.1:0", "--discard"],
                          "/tmp/sink.log"))
    config = json.load(open(chroot.path("/etc/sls-relay/sls-relay.json")))
    config["source"].update(endpoint="http://sls.localhost", project="demo",
                            connect_to="127.0.0.1:" + port_of(chroot, "/tmp/sim.log"))
    config["targets"][0].update(host="127.0.0.1", port=int(port_of(chroot, "/tmp/sink.log")))
    config["spool"]["min_free_disk"] = "1MiB"
    config["metrics"]["listen"] = "127.0.0.1:0"
    with open(chroot.path("/etc/sls-relay/sls-relay.json"), "w") as file:
        json.dump(config, file)

    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.bind(chroot.path("/run/notify"))
    os.chmod(chroot.path("/run/notify"), 0o777)
    listener.settimeout(DEADLINE)
    heard = []

    def hear(word):
        """The next message that begins so; what came before it is of no interest any more."""
        while not any(message.startswith(word) for message in heard):
            try:
                heard.append(listener.recv(4096).decode())
            except TimeoutError:
                check(False, f"no {word} at the notify socket, heard {heard}; the relay: "
                      + open(chroot.path("/tmp/relay.log")).read())
        heard.clear()

    relay = start(chroot, ["--userspec=sls-relay:sls-relay", root, "sls-relay", "-c",
                           "/etc/sls-relay/sls-relay.json"], "/tmp/relay.log",
                  NOTIFY_SOCKET="/run/notify", WATCHDOG_USEC="4000000", SLS_AK_ID="id",
                  SLS_AK_KEY="key")
    programs.append(relay)
    hear("READY=1")
    hear("WATCHDOG=1")
    hear("STATUS=")

    def delivered():
        done = chroot.run("sls-spool", "-D", "/var/lib/sls-relay/spool", "-o", "json", "status",
                          code=None)
        return '"acked_seq":500' in done
    until("500 frames delivered", delivered)
    os.kill(relay.pid, signal.SIGHUP)
    hear("RELOADING=1")
    hear("READY=1")
    hear("WATCHDOG=1")
    os.kill(relay.pid, signal.SIGTERM)
    hear("STOPPING=1")
    check(relay.wait(DEADLINE) == 0, "the relay left with an error: "
          + open(chroot.path("/tmp/relay.log")).read())
    listener.close()
    os.unlink(chroot.path("/run/notify"))


def backlog(chroot):
    """A target that has taken nothing: the spool's frames are behind for it."""
    path = chroot.path("/etc/sls-relay/sls-relay.json")
    config = json.load(open(path))
    config["targets"].append(dict(config["targets"][0], name="later", host="127.0.0.1", port=9))
    with open(path, "w") as file:
        json.dump(config, file)
    relay = start(chroot, ["--userspec=sls-relay:sls-relay", chroot.root, "sls-relay"], "/tmp/relay.log",
                  SLS_AK_ID="id", SLS_AK_KEY="key")
    try:
        until("a backlog", lambda: re.search(r'"name":"later".*"backlog_frames":[1-9]', chroot.run(
            "sls-spool", "-o", "jsonl", "targets", code=None)))
    finally:
        relay.terminate()
        relay.wait(DEADLINE)


def installed(chroot):
    uid, gid = re.search(r"^sls-relay:x:(\d+):(\d+):", open(chroot.path("/etc/passwd")).read(),
                         re.M).groups()
    for place, mode in (("/var/lib/sls-relay", f"750 {uid} {gid}"), ("/etc/sls-relay", f"750 0 {gid}"),
                        ("/var/log/sls-relay", f"750 {uid} {gid}"),
                        ("/etc/sls-relay/sls-relay.json", f"640 0 {gid}")):
        check(chroot.mode(place) == mode, f"{place}: {chroot.mode(place)}, not {mode}")
    for program in ("sls-relay", "sls-spool", "sls-sim", "syslog-sink"):
        check(program in chroot.run(program, "--version"), f"{program} --version")
    for name in ("sls-relay", "sls-spool", "sls-sim", "syslog-sink"):
        for place in (f"bash-completion/completions/{name}", f"zsh/vendor-completions/_{name}"):
            check(os.path.exists(chroot.path("/usr/share/" + place)), f"{place} is missing")
    check("sls-relay.json" in chroot.run("dpkg-query", "-W", "-f", "${Conffiles}", "sls-relay"),
          "the configuration is no conffile")
    # as it is, it lacks nothing but the keys, which belong into files of their own
    said = chroot.run("sls-relay", "--check", code=78)
    check("access_key_id" in said and "access_key_secret" in said and said.count("\n") == 2, said)
    chroot.run("sls-relay", "--check", env={"SLS_AK_ID": "id", "SLS_AK_KEY": "key"})


def test(debs, root):
    chroot = Chroot(root)
    release, site = mirror()
    cache = os.path.abspath("build/debootstrap")
    os.makedirs(cache, exist_ok=True)
    made = subprocess.run(["debootstrap", "--variant=minbase", f"--cache-dir={cache}",
                           "--include=" + ",".join(depends(debs)), release, root, site],
                          capture_output=True, text=True)
    if made.returncode != 0:
        skip("debootstrap cannot make a chroot here: " + made.stdout[-300:] + made.stderr[-300:])
    os.chmod(root, 0o755)  # it is the "/" of the relay's own user
    before = listing(root)
    os.mkdir(chroot.path("/debs"))
    for deb in debs:
        shutil.copy(deb, chroot.path("/debs"))
    names = ["/debs/" + os.path.basename(deb) for deb in debs]
    chroot.run("dpkg", "-i", *names)
    installed(chroot)
    programs = []
    try:
        service(chroot, programs)
    finally:
        for program in programs:
            program.kill()
            program.wait()
    chroot.run("dpkg", "--force-confold", "-i", *names)  # an upgrade keeps what was edited
    check("sls.localhost" in open(chroot.path("/etc/sls-relay/sls-relay.json")).read(),
          "an upgrade overwrote the configuration")
    said = chroot.run("dpkg", "-r", "sls-relay", "sls-relay-dev-tools")
    check("not delivered" not in said, f"remove warns of nothing: {said}")
    chroot.run("dpkg", "-i", *names)
    backlog(chroot)
    said = chroot.run("dpkg", "-r", "sls-relay", "sls-relay-dev-tools")
    check("not delivered" in said and "later: " in said, f"remove does not warn: {said}")
    check(os.path.exists(chroot.path("/etc/sls-relay/sls-relay.json")), "remove took the configuration")
    check(os.path.isdir(chroot.path("/var/lib/sls-relay/spool")), "remove took the spool")
    said = chroot.run("dpkg", "-P", "sls-relay", "sls-relay-dev-tools")
    check("is deleted with frames" in said and "later: " in said, f"purge does not warn: {said}")
    shutil.rmtree(chroot.path("/debs"))
    for log in ("sim", "sink", "relay"):
        os.unlink(chroot.path(f"/tmp/{log}.log"))
    left = listing(root) - before
    check(not left, f"purge left {sorted(left)}")
    check("sls-relay" not in open(chroot.path("/etc/passwd")).read(), "purge left the user")


def main():
    if os.geteuid() != 0 or not shutil.which("debootstrap"):
        skip("needs root and debootstrap")
    debs = sorted(glob.glob(os.path.join(sys.argv[1], "*.deb")))
    check(len(debs) == 2, f"two packages expected in {sys.argv[1]}: {debs}")
    root = tempfile.mkdtemp(prefix="slsr-package-")
    began = time.monotonic()
    try:
        test(debs, root)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    print(f"package: ok ({time.monotonic() - began:.0f} s)")


main()
