#!/usr/bin/python3 -B
"""The watchdog hears from a relay that gets on, however slowly, and not from one with a stuck thread.

The test is the service manager: it listens to the notify socket. First the sender's thread alone is
held by ptrace from one WATCHDOG=1 to the next, again and again: slow, but it moves, and the beats go
on. A target that an operator has paused is not stuck either. Then the thread stays held: the beats end,
STATUS= and /healthz name the thread, and both are well again when it is let go. Last the spool's disk
freezes (an ext4 of its own, where a loop device can be mounted): one of the spool's threads is named while the
main thread may hang itself. When the disk answers again every log arrives, in order.
"""
import ctypes
import os
import re
import socket
import subprocess
import urllib.error
import urllib.request

import harness
import oracle
from harness import SLOW, check, judge_received, wait_until

LOGS = 6000
SLOW_TURNS = 4
TURN_S = 8 * SLOW  # a thread is stuck after half of it, a beat comes each quarter
SEIZE, INTERRUPT, DETACH = 0x4206, 0x4207, 17
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
libc.ptrace.restype = ctypes.c_long


def ptrace(what, tid):
    check(libc.ptrace(what, tid, None, None) == 0,
          f"ptrace {what:#x} {tid}: {os.strerror(ctypes.get_errno())}")


class Held:
    """One thread that does not run as long as it is held."""

    def __init__(self, pid, name):
        def find():
            for tid in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{tid}/comm", encoding="utf-8") as file:
                    if file.read().strip() == name:
                        return int(tid)
            return None
        self.tid = wait_until(f"a thread {name}", find)

    def __enter__(self):
        ptrace(SEIZE, self.tid)
        ptrace(INTERRUPT, self.tid)
        os.waitpid(self.tid, 0x40000000)  # __WALL: until it has stopped
        return self

    def __exit__(self, *_):
        ptrace(DETACH, self.tid)


class Manager:
    """The notify socket of a service manager."""

    def __init__(self, rig):
        self.path = rig.path("notify")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.socket.settimeout(60 * SLOW)

    def next(self):
        try:
            return self.socket.recv(4096).decode()
        except TimeoutError:
            raise harness.Failed("the service manager hears nothing any more") from None

    def until(self, word, without=None):
        """The next message that begins so."""
        while True:
            message = self.next()
            check(without is None or not message.startswith(without),
                  f"{message} while waiting for {word}")
            if message.startswith(word):
                return message

    def forget(self):
        """What was sent until now."""
        self.socket.setblocking(False)
        try:
            while True:
                self.socket.recv(4096)
        except BlockingIOError:
            self.socket.settimeout(60 * SLOW)


def disk(rig):
    """The spool's folder on a file system of its own; False when that cannot be had here."""
    image, point = rig.path("disk.img"), rig.path("spool")
    os.mkdir(point)
    with open(image, "wb") as file:
        file.truncate(128 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "0", image], check=True)
    done = subprocess.run(["mount", "-o", "loop", image, point], capture_output=True, text=True,
                          check=False)
    if done.returncode != 0:
        print(f"no frozen disk here: {done.stderr.strip()}")
        return False
    rig.at_end.callback(subprocess.run, ["umount", "-l", point], check=False)
    return True


def health(port):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=30 * SLOW) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def age(port):
    """Seconds since the laziest thread got on."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30 * SLOW) as answer:
        return float(re.search(r"^sls_relay_progress_age_seconds (\S+)", answer.read().decode(),
                               re.M).group(1))


def stuck(manager, relay, port, name):
    status = manager.until("STATUS=thread ")
    check(re.search(f"thread {name} has made no progress", status), f"{name} is not named: {status}")
    check(status.removeprefix("STATUS=").split(" for ")[0] in "\n".join(relay.lines),
          f"no diagnostic for: {status}")
    code, text = health(port)
    check(code == 503 and re.search(f"thread {name} ", text), f"/healthz: {code} {text}")
    print(status)


def test(rig):
    frozen = os.geteuid() == 0 and disk(rig)
    manager = Manager(rig)
    rig.start_sim("--generate", f"{LOGS}@100", shards=2)
    sink = rig.start_sink("--output", rig.path("out"))
    path = rig.config(sink.port, metrics={"listen": "127.0.0.1:0"})
    relay = rig.start("sls-relay", rig.relay_argv(path),
                      env=dict(harness.clean_env(), NOTIFY_SOCKET=manager.path,
                               WATCHDOG_USEC=str(TURN_S * 1000000)))
    port = relay.wait_line(r"listening on http://127\.0\.0\.1:(\d+)/").group(1)
    pid = relay.process.pid
    manager.until("READY=1")
    rig.wait_spooled(100)

    sender = Held(pid, "send siem")
    manager.until("WATCHDOG=1")
    for _ in range(SLOW_TURNS):
        with sender:
            manager.until("WATCHDOG=1", without="STATUS=thread")
        wait_until("it moves", lambda: age(port) < 1)
    rig.spool("pause", "-t", "siem")
    for _ in range(3):  # three quarters of a turn: longer than what would be stuck
        manager.until("WATCHDOG=1", without="STATUS=thread")
    rig.spool("resume", "-t", "siem")
    check(not relay.said("no progress"), "a slow or paused target counts as stuck")

    with sender:
        stuck(manager, relay, port, "send siem")
        manager.forget()
        check(not relay.said("all threads get on again"), "well while it is held")
    relay.wait_line("all threads get on again")
    manager.until("WATCHDOG=1")
    check(health(port)[0] == 200, "/healthz is not well again")

    if frozen:
        manager.forget()
        subprocess.run(["fsfreeze", "-f", rig.path("spool")], check=True)
        try:
            stuck(manager, relay, port, "spool-(writer|keeper)")
        finally:
            subprocess.run(["fsfreeze", "-u", rig.path("spool")], check=True)
        relay.wait_line("all threads get on again", count=2)
        manager.until("WATCHDOG=1")
    rig.wait_drained(LOGS)  # meanwhile nobody reads the notify socket: that must hold nothing up
    check(relay.stop() == 0, "the relay left with an error")
    judge_received(rig.path("out"), oracle.Reader(rig.sim_port).marks())


harness.main(test)
