#!/usr/bin/python3 -B
"""Connections to the SIEM break in every way, again and again; nothing is lost.

Logs flow through the relay while its receiver is killed (a fast and a slow reader, one with a queue
in memory), resets connections (between frames and inside one), is frozen, or while somebody on the
way resets a connection, the link is cut, swallows everything for longer than any time-out, or the
receiver's host is gone. Receivers are syslog-sink, rsyslog and syslog-ng, over tcp, tls and relp, at
the level that `auto` means; what only the network does is survived by `received` as well. In the end
every log has arrived, in order within its shard; repeats are counted, and each is one that the relay
counted as sent again. UDP promises nothing, but notices that the host has gone.

SLSR_BREAKS (2): breaks of each kind; 20 make the table of docs/delivery.md. SLSR_KINDS: some rows
only, such as "kill-fast/tls,cut/tcp@received". SLSR_PAUSE_S (1): how long a receiver is frozen.
SLSR_ROWS (4): rows at a time. SLSR_SETTLE (1s). Everything runs in a network namespace of its own.
"""
import concurrent.futures
import contextlib
import os
import random
import signal
import socket
import struct
import sys
import threading

import harness
import oracle
import receivers
import tlskit
from cable import Cable, Middlebox, ip
from harness import Rig, check, env_number, provenance, wait_until

BREAKS = env_number("SLSR_BREAKS", 2)
RATE = 3000
ROWS = env_number("SLSR_ROWS", 4)  # at a time
PAUSE_S = env_number("SLSR_PAUSE_S", 1)
SEED = env_number("SLSR_SEED", random.randrange(1 << 30))
SETTLE = os.environ.get("SLSR_SETTLE", "1s")
QUEUE_MS = 50
AUTO = {"tcp": "read", "tls": "proven", "relp": "confirmed", "relp+tls": "confirmed", "udp": "sent"}


class Sink:
    """syslog-sink; every life writes a file of its own, for a kill may cut a line in two."""
    stem = "out"  # of the files' names

    def __init__(self, rig, scheme, kit, options=(), cable=None):
        self.rig, self.scheme, self.kit, self.options, self.cable = rig, scheme, kit, options, cable
        self.host = cable.there if cable else "127.0.0.1"
        self.files, self.port, self.program = [], 0, None

    def start(self, options=None):
        out = self.rig.path(f"{self.stem}-{len(self.files)}")
        self.files.append(out)
        argv = [self.rig.tool("syslog-sink"), "--listen", f"{self.scheme}://{self.host}:{self.port}",
                "--output", out, *(self.options if options is None else options)]
        if self.kit:
            cert, key = self.kit
            argv += ["--cert", cert, "--key", key]
        if self.cable:
            argv = self.cable.over_there(argv)
        self.program = self.rig.start(f"sink {len(self.files)}", argv)
        self.port = int(self.program.wait_line(r"listening on \S*?:(\d+)\b").group(1))

    def signal(self, number):
        self.program.process.send_signal(number)

    def kill(self):
        self.program.kill()

    def stop(self):
        self.program.stop()


class Queueing(Sink):
    """Takes at once, writes QUEUE_MS later (queueing.py)."""

    def start(self, options=None):
        del options
        out = self.rig.path(f"{self.stem}-{len(self.files)}")
        self.files.append(out)
        script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "queueing.py")
        self.program = self.rig.start(f"queueing {len(self.files)}", [
            sys.executable, "-B", script, self.scheme, str(self.port), out, str(QUEUE_MS),
            *(self.kit or ())])
        self.port = int(self.program.wait_line(r"listening on \S*?:(\d+)\b").group(1))

    def stop(self):
        self.program.kill()  # all is settled: it has been written long ago


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
    """One row: a name such as "cut/tcp@received"."""

    def __init__(self, rig, name, receiver, cable, tls):
        self.rig, self.receiver, self.cable = rig, receiver, cable
        self.kind, self.protocol, self.level = parts_of(name)
        # What takes longer gets fewer logs a second, for they must not run out before the breaks do.
        seconds = 1 + PAUSE_S if self.kind == "pause" else 5 if self.kind in SLOW else 2
        self.rate = RATE if seconds < 5 else RATE // 2 if seconds < 10 else RATE // 10
        self.logs = self.rate * seconds * (BREAKS + 1)
        self.random = random.Random(f"{SEED} {name}")
        receiver.start()
        rig.start_sim("--generate", f"{self.logs}@{self.rate}")
        config = rig.config(receiver.port, targets__0__protocol=self.protocol,
                            targets__0__host=cable.there if cable else "127.0.0.1",
                            targets__0__settle=SETTLE, targets__0__dead_timeout="2s",
                            targets__0__stall_timeout="3s" if self.kind == "blackhole" else "120s",
                            targets__0__connect_timeout="2s", targets__0__tls=tls,
                            targets__0__delivery=self.level or "auto",
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

    def broken(self):
        """The relay has noticed, by its own time-outs; why."""
        def ask():
            target = self.target()
            return target if target.get("state") in ("backoff", "connecting") or self.idle() else None
        return wait_until("a break by time-out", ask, 60).get("cause")

    def reconnects(self):
        return self.target().get("reconnects", 0)

    def another_second(self):
        before = self.rig.status()["next_seq"]
        self.rig.wait_spooled(min(self.logs, before + self.rate))

    def finish(self):
        self.rig.wait_drained(self.logs, seconds=300)
        target = self.target()
        check(self.relay.stop() == 0, "TERM did not end the relay with exit 0")
        self.receiver.stop()
        expected = oracle.Reader(self.rig.sim_port).marks()
        check(len(expected) == self.logs, f"{len(expected)} logs, not {self.logs}")
        lost, twice, _ = judge(self.receiver.files, expected)
        resent = target.get("resent_frames")
        check(lost == 0 or self.protocol == "udp",
              f"{self.kind}: {lost} of {self.logs} logs were lost")
        check(twice <= resent, f"{twice} repeats, but only {resent} frames were sent again")
        return self.logs, lost, twice, resent


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
    """The cable is out; meanwhile the receiver dies and comes back. Only the cable with `received`:
    for a moment, and long enough to be noticed, in turn."""
    for turn in range(BREAKS):
        run.flows()
        run.cable.plug(False)
        if run.level != "received":
            run.receiver.kill()
        elif turn % 2 == 0:
            run.another_second()
        elif not run.idle():
            run.broken()
        run.cable.plug(True)
        if run.level != "received":
            run.receiver.start()


def blackhole(run):
    """Longer than dead_timeout and stall_timeout."""
    for _ in range(BREAKS):
        run.flows()
        run.cable.swallow(True)
        try:
            run.broken()
            # The receiver's kernel may hold what it never will be asked for again.
            if run.level != "received":
                run.receiver.kill()
        finally:
            run.cable.swallow(False)
        if run.level != "received":
            run.receiver.start()


def vanish(run):
    """The host is gone: no FIN, no reset, nobody answers for its address. It is back as new once the
    relay has noticed."""
    for _ in range(BREAKS):
        run.flows()
        before = run.reconnects()
        run.cable.plug(False)
        run.receiver.kill()
        if run.protocol == "udp":  # which "connects" again at once
            wait_until("a break", lambda n=before: run.reconnects() > n or run.idle())
        else:
            run.broken()
        run.cable.plug(True)
        run.receiver.start()
    word = "unreachable" if run.protocol == "udp" else "the path is dead|timed out|unreachable"
    check(run.relay.said(word), "no word of a host that is gone")


def rst(run):
    """Somebody on the way resets the connection, wherever in a frame."""
    box = Middlebox(run.cable, run.receiver.port)
    for _ in range(BREAKS):
        run.flows()
        before = run.reconnects()
        wait_until("a reset", lambda n=before: run.idle() or box.reset() or run.reconnects() > n, 120)
    box.close()
    check(run.relay.said("reset by peer"), "no word of a reset")


def pause(run):
    """Frozen until so many logs have piled up, for longer than `settle` too; then killed and let go, in
    turn. What the program has read and not yet written dies with it."""
    for turn in range(BREAKS):
        run.flows()
        run.receiver.signal(signal.SIGSTOP)
        before = run.rig.status()["next_seq"]
        run.rig.wait_spooled(min(run.logs, before + run.rate * PAUSE_S), seconds=120 + PAUSE_S)
        if turn % 2 == 0:
            run.receiver.kill()
            run.receiver.start()
        else:
            run.receiver.signal(signal.SIGCONT)


KINDS = {"kill-fast": kill, "kill-slow": slow, "queue": kill, "reset": reset, "inside-a-frame": inside,
         "rst": rst, "cut": cut, "blackhole": blackhole, "vanish": vanish, "pause": pause,
         "rsyslog": kill, "syslogng": kill}
CABLE = ("rst", "cut", "blackhole", "vanish")  # kinds that need one
SLOW = ("blackhole", "vanish")  # seconds for each break, until it is noticed
TABLE = ["kill-fast/tcp", "kill-fast/tls", "kill-fast/relp", "kill-fast/relp+tls", "kill-slow/tcp",
         "kill-slow/tls", "queue/tcp", "queue/tls", "queue/relp", "reset/tcp", "reset/tls",
         "inside-a-frame/tcp", "rst/tcp", "rst/tls", "rst/tcp@received", "rst/tls@received", "cut/tcp",
         "cut/tls", "cut/tcp@received", "cut/tls@received", "blackhole/tcp", "blackhole/tls",
         "blackhole/relp", "blackhole/tcp@received", "blackhole/tls@received", "vanish/tcp",
         "vanish/tls", "vanish/relp", "vanish/udp", "pause/tcp", "pause/tls", "rsyslog/tcp",
         "rsyslog/tls", "rsyslog/relp", "syslogng/tcp", "syslogng/tls"]


def parts_of(name):
    """(kind, protocol, level or None)"""
    kind, _, rest = name.partition("/")
    protocol, _, level = rest.partition("@")
    return kind, protocol, level or None


def receiver_of(rig, name, leaf, kit, cable):
    kind, protocol, _ = parts_of(name)
    if kind in ("rsyslog", "syslogng"):
        return Real(rig, kind + ("_relp" if protocol == "relp" else ""),
                    (leaf, kit.ca) if leaf else None)
    if kind == "inside-a-frame":
        return Picky(rig, seed=BREAKS)
    if kind == "queue":
        return Queueing(rig, protocol, leaf)
    options = {"kill-slow": ("--rate", f"{RATE // 2}/s"),
               "reset": ("--reset-after", "1700")}.get(kind, ())
    return Sink(rig, protocol, leaf, options, cable)


def row(number, name):
    kind, protocol, level = parts_of(name)
    with contextlib.ExitStack() as stack:
        cable = stack.enter_context(Cable(number)) if kind in CABLE else None
        rig = stack.enter_context(Rig("loss-" + name.replace("/", "-")))
        kit = tlskit.Kit(rig.path("ca"))
        names = "DNS:localhost,IP:127.0.0.1" + (f",IP:{cable.there}" if cable else "")
        leaf = kit.leaf("siem", san=names) if "tls" in protocol else None
        tls = {"ca_file": kit.ca, "cert_file": leaf[0], "key_file": leaf[1]} if leaf else {}
        receiver = receiver_of(rig, name, leaf, kit, cable)
        run = Run(rig, name, receiver, cable, tls)
        KINDS[kind](run)
        logs, lost, twice, resent = run.finish()
        print(f"| {kind} | {protocol} | {level or AUTO[protocol]} | {BREAKS} | {logs} | {lost} | "
              f"{twice} | {resent} |", flush=True)


def test(_):
    wanted = os.environ.get("SLSR_KINDS")
    rows = wanted.split(",") if wanted else TABLE
    print(f"seed {SEED}")
    print("| break | over | level | breaks | logs | lost | repeats | sent again |\n"
          "|---|---|---|---|---|---|---|---|")
    with concurrent.futures.ThreadPoolExecutor(ROWS) as pool:
        jobs = [pool.submit(row, number, name) for number, name in enumerate(rows)]
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
