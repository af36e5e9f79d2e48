#!/usr/bin/python3 -B
"""Connections to the SIEM break in every way, again and again; nothing is lost.

Logs flow through the relay while its receiver is killed (a fast and a slow reader), resets
connections (between frames and inside one), is stopped for a while, or while the link is cut or
swallows everything for longer than any time-out. Receivers are syslog-sink, rsyslog and syslog-ng,
over tcp, tls and relp, at the level that `auto` means. In the end every log has arrived, in order
within its shard; repeats are counted, and each is one that the relay counted as sent again.

SLSR_BREAKS (2): breaks of each kind; 20 make the table of docs/delivery.md. SLSR_KINDS: some of them
only, such as "kill-fast/tls,blackhole/tcp". Everything runs in a network namespace of its own.
"""
import concurrent.futures
import contextlib
import os
import random
import signal
import socket
import struct
import subprocess
import sys
import threading

import harness
import oracle
import receivers
import tlskit
from harness import Rig, check, env_number, provenance, wait_until

BREAKS = env_number("SLSR_BREAKS", 2)
RATE = 3000
ROWS = 4  # at a time
SEED = env_number("SLSR_SEED", random.randrange(1 << 30))
HERE, THERE = "10.231.7.1", "10.231.7.2"
FAR = f"slsr-far-{os.getpid()}"


def ip(*argv, fine=False):
    done = subprocess.run(["ip", *argv], capture_output=True, text=True, check=False)
    check(fine or done.returncode == 0, f"ip {' '.join(argv)}: {done.stderr}")


class Far:
    """The receiver's host: a namespace at the other end of a cable."""

    def __enter__(self):
        ip("netns", "add", FAR)
        ip("link", "add", "near", "type", "veth", "peer", "name", "far", "netns", FAR)
        ip("addr", "add", HERE + "/30", "dev", "near")
        ip("link", "set", "near", "up")
        ip("-n", FAR, "addr", "add", THERE + "/30", "dev", "far")
        ip("-n", FAR, "link", "set", "far", "up")
        ip("-n", FAR, "link", "set", "lo", "up")
        return self

    def __exit__(self, *_):
        ip("link", "del", "near", fine=True)
        ip("netns", "del", FAR, fine=True)
        return False


class Sink:
    """syslog-sink; every life writes a file of its own, for a kill may cut a line in two."""
    stem = "out"  # of the files' names

    def __init__(self, rig, scheme, kit, options=(), host="127.0.0.1"):
        self.rig, self.scheme, self.kit, self.options, self.host = rig, scheme, kit, options, host
        self.files, self.port, self.program = [], 0, None

    def start(self, options=None):
        out = self.rig.path(f"{self.stem}-{len(self.files)}")
        self.files.append(out)
        argv = [self.rig.tool("syslog-sink"), "--listen", f"{self.scheme}://{self.host}:{self.port}",
                "--output", out, *(self.options if options is None else options)]
        if self.kit:
            cert, key = self.kit
            argv += ["--cert", cert, "--key", key]
        if self.host == THERE:
            argv = ["ip", "netns", "exec", FAR, *argv]
        self.program = self.rig.start(f"sink {len(self.files)}", argv)
        self.port = int(self.program.wait_line(r"listening on \S*?:(\d+)\b").group(1))

    def signal(self, number):
        self.program.process.send_signal(number)

    def kill(self):
        self.program.kill()

    def stop(self):
        self.program.stop()


class Real(receivers.Receiver):
    """A real daemon: killed as it is, a file per life."""
    stem = "out"

    def __init__(self, rig, kind, tls):
        super().__init__(rig, kind, tls)
        self.files = []

    def start(self, options=None):
        del options
        self.out = self.rig.path(f"{self.stem}-{len(self.files)}")
        self.files.append(self.out)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(self.work, "pid"))  # of the one that was killed
        super().start()

    def kill(self):
        pid, self.pid = self.pid, None
        if pid is None:
            return
        os.kill(pid, signal.SIGKILL)
        wait_until("the receiver is gone", lambda: not receivers.listening(self.port))


class Picky:
    """Reads octet-counted frames and resets each of the first connections inside one of them."""

    def __init__(self, rig, seed):
        self.files, self.random = [rig.path("out-0")], random.Random(seed)
        self.resets, self.limit = 0, 0
        self.lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.file = open(self.files[0], "ab", buffering=0)
        threading.Thread(target=self.serve, daemon=True).start()

    def start(self, options=None):
        pass

    def stop(self):
        self.listener.close()

    def serve(self):
        while True:
            try:
                conn, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.read, args=(conn,), daemon=True).start()

    def read(self, conn):
        data, taken, enough = b"", 0, self.random.randrange(100, 600)
        while True:
            try:
                more = conn.recv(65536)
            except OSError:
                return
            if not more:
                conn.close()
                return
            data += more
            while True:
                head, space, rest = data.partition(b" ")
                if not space or len(rest) < int(head):
                    break
                with self.lock:
                    self.file.write(rest[:int(head)] + b"\n")
                data, taken = rest[int(head):], taken + 1
                if taken >= enough and data and self.resets < self.limit:
                    self.resets += 1
                    conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    conn.close()
                    return


def lines_of(receiver):
    total = 0
    for path in receiver.files:
        if os.path.exists(path):
            total += os.path.getsize(path)
    return total


def judge(files, expected):
    """Lost, repeats, lines, over all lives of a receiver; order within a shard by first arrival."""
    seen, last, lines = set(), {}, 0
    for path in files:
        if not os.path.exists(path):
            continue
        with open(path, "rb") as file:
            for line in file:
                mark = provenance(line)
                if mark is None or not line.endswith(b"\n"):
                    continue  # a kill has cut it
                lines += 1
                if mark in seen:
                    continue
                seen.add(mark)
                check(mark[1:] > last.get(mark[0], (0, -1)), f"{mark} came after {last.get(mark[0])}")
                last[mark[0]] = mark[1:]
    return len(expected - seen), lines - len(seen), lines


class Run:
    def __init__(self, rig, kind, protocol, receiver, host, kit, leaf):
        self.rig, self.kind, self.receiver = rig, kind, receiver
        self.logs = RATE * 2 * (BREAKS + 1)
        self.random = random.Random(f"{SEED} {kind} {protocol}")
        receiver.start()
        rig.start_sim("--generate", f"{self.logs}@{RATE}")
        tls = {"ca_file": kit.ca, "cert_file": leaf[0], "key_file": leaf[1]} if leaf else {}
        config = rig.config(receiver.port, targets__0__protocol=protocol, targets__0__host=host,
                            targets__0__settle="1s", targets__0__dead_timeout="2s",
                            targets__0__stall_timeout="3s" if kind == "blackhole" else "120s",
                            targets__0__connect_timeout="2s", targets__0__tls=tls,
                            log={"level": "debug"})  # every connection is counted by its line
        self.relay = rig.start_relay(config)

    def target(self):
        status = self.rig.status()
        return status["targets"][0] if status and status["targets"] else {}

    def flows(self):
        """Some frames have arrived since now; how many is left to chance."""
        enough = lines_of(self.receiver) + self.random.randrange(1, 600000)
        wait_until("frames arrive", lambda: lines_of(self.receiver) > enough or self.idle(), 120)

    def idle(self):
        status = self.rig.status()
        return (status and status["next_seq"] > self.logs and
                status["targets"][0]["acked_seq"] + 1 >= status["next_seq"])

    def finish(self):
        self.rig.wait_drained(self.logs, seconds=300)
        target = self.target()
        check(self.relay.stop() == 0, "TERM did not end the relay with exit 0")
        self.receiver.stop()
        expected = oracle.Reader(self.rig.sim_port).marks()
        check(len(expected) == self.logs, f"{len(expected)} logs, not {self.logs}")
        lost, twice, _ = judge(self.receiver.files, expected)
        resent = target.get("resent_frames")
        check(lost == 0, f"{self.kind}: {lost} of {self.logs} logs were lost")
        if resent is not None:
            check(twice <= resent, f"{twice} repeats, but only {resent} frames were sent again")
        return self.logs, lost, twice


def kill(run, options=None):
    for _ in range(BREAKS):
        run.flows()
        run.receiver.kill()
        run.receiver.start(options)


def slow(run):
    kill(run)
    run.flows()
    run.receiver.kill()
    run.receiver.start(())


def reset(run):
    """The sink resets each connection after some messages; at last it does not any more."""
    for _ in range(BREAKS):
        connections = len(run.relay.said("reset by peer|closed by peer|connected to"))
        wait_until("a reset", lambda: len(run.relay.said(
            "reset by peer|closed by peer|connected to")) > connections or run.idle(), 120)
    run.receiver.kill()
    run.receiver.start(())


def inside(run):
    run.receiver.limit = BREAKS
    wait_until("all resets", lambda: run.receiver.resets >= BREAKS or run.idle(), 120)


def cut(run):
    """The cable is out; meanwhile the receiver dies and comes back."""
    for _ in range(BREAKS):
        run.flows()
        ip("-n", FAR, "link", "set", "far", "down")
        run.receiver.kill()
        ip("-n", FAR, "link", "set", "far", "up")
        run.receiver.start()


def swallow(on):
    """Both ends send to a station that does not exist: packets vanish, nobody hears why."""
    for where, peer, device in (((), THERE, "near"), (("-n", FAR), HERE, "far")):
        if on:
            ip(*where, "neigh", "replace", peer, "lladdr", "02:00:00:00:00:99", "dev", device, "nud",
               "permanent")
        else:
            ip(*where, "neigh", "del", peer, "dev", device)


def blackhole(run):
    """Longer than dead_timeout and stall_timeout."""
    for _ in range(BREAKS):
        run.flows()
        swallow(True)
        try:
            wait_until("a break by time-out", lambda: run.target().get("state") in (
                "backoff", "connecting"), 60)
            # The receiver's kernel may hold what it never will be asked for again.
            run.receiver.kill()
        finally:
            swallow(False)
        run.receiver.start()


def pause(run):
    """Stopped until its window closes, then let go, in turn with: stopped, then killed."""
    for turn in range(BREAKS):
        run.flows()
        run.receiver.signal(signal.SIGSTOP)
        before = run.rig.status()["next_seq"]
        run.rig.wait_spooled(min(run.logs, before + RATE))
        if turn % 2 == 0:
            run.receiver.signal(signal.SIGCONT)
        else:
            run.receiver.kill()
            run.receiver.start()


KINDS = {"kill-fast": kill, "kill-slow": slow, "reset": reset, "inside-a-frame": inside,
         "cut": cut, "blackhole": blackhole, "pause": pause, "rsyslog": kill, "syslogng": kill}
TABLE = ["kill-fast/tcp", "kill-fast/tls", "kill-fast/relp", "kill-fast/relp+tls", "kill-slow/tcp",
         "kill-slow/tls", "reset/tcp", "reset/tls", "inside-a-frame/tcp", "cut/tcp", "cut/tls",
         "blackhole/tcp", "blackhole/tls", "blackhole/relp", "pause/tcp", "pause/tls", "rsyslog/tcp",
         "rsyslog/tls", "syslogng/tcp", "syslogng/tls"]


def row(name):
    kind, protocol = name.split("/")
    with Rig("loss-" + name.replace("/", "-")) as rig:
        kit = tlskit.Kit(rig.path("ca"))
        leaf = kit.leaf("siem", san=f"DNS:localhost,IP:127.0.0.1,IP:{THERE}") \
            if "tls" in protocol else None
        host = THERE if kind in ("cut", "blackhole") else "127.0.0.1"
        if kind in ("rsyslog", "syslogng"):
            receiver = Real(rig, kind, (leaf, kit.ca) if leaf else None)
        elif kind == "inside-a-frame":
            receiver = Picky(rig, seed=BREAKS)
        else:
            options = {"kill-slow": ("--rate", f"{RATE // 2}/s"),
                       "reset": ("--reset-after", "1700")}.get(kind, ())
            receiver = Sink(rig, protocol, leaf, options, host)
        run = Run(rig, kind, protocol, receiver, host, kit, leaf)
        KINDS[kind](run)
        logs, lost, twice = run.finish()
        print(f"| {kind} | {protocol} | {BREAKS} | {logs} | {lost} | {twice} |", flush=True)


def test(_):
    wanted = os.environ.get("SLSR_KINDS")
    rows = wanted.split(",") if wanted else TABLE
    with contextlib.ExitStack() as stack:
        if any(r.startswith(("cut", "blackhole")) for r in rows):
            stack.enter_context(Far())
        print(f"seed {SEED}")
        print("| break | over | breaks | logs | lost | repeats |\n|---|---|---|---|---|---|")
        # The cable is one; everything else mostly waits, side by side.
        far = [name for name in rows if name.startswith(("cut", "blackhole"))]
        with concurrent.futures.ThreadPoolExecutor(ROWS) as pool:
            jobs = [pool.submit(lambda: [row(name) for name in far])]
            jobs += [pool.submit(row, name) for name in rows if name not in far]
            for job in concurrent.futures.as_completed(jobs):
                job.result()


def main():
    if "SLSR_APART" not in os.environ:
        if os.geteuid() != 0:
            print("loss-table: network namespaces need root")
            sys.exit(77)
        receivers.fetch()
        os.environ["SLSR_APART"] = "1"
        os.execvp("unshare", ["unshare", "--net", sys.executable, "-B", *sys.argv])
    ip("link", "set", "lo", "up")
    harness.main(test)


if __name__ == "__main__":
    main()
