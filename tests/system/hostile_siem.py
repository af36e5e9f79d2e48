#!/usr/bin/python3 -B
"""The receiver is an enemy: it talks back without end, reads a byte a second, or is not TLS at all.

Three servers take the SIEM's place on one port, one after another: one floods every connection with
garbage, one reads almost nothing and keeps the connection open, one answers a TLS greeting with
plain text and an old-fashioned alert. The relay stays small and alive and names each trouble; what
it has spooled stays spooled. Then an honest receiver takes the port and gets every log, in order.
"""
import re
import socket
import threading
import time

import harness
import oracle
from harness import SLOW, check, env_number, judge_received, wait_until

MEMORY_MB = 500


class Server(threading.Thread):
    def __init__(self, port, behave):
        super().__init__(daemon=True)
        self.behave, self.met, self.open = behave, 0, True
        self.listener = socket.create_server(("127.0.0.1", port), reuse_port=False)
        self.peers = []
        self.start()

    def run(self):
        while self.open:
            try:
                peer, _ = self.listener.accept()
            except OSError:
                return
            self.met += 1
            self.peers.append(peer)
            threading.Thread(target=self.serve, args=(peer,), daemon=True).start()

    def serve(self, peer):
        try:
            self.behave(self, peer)
        except OSError:
            pass  # the relay hung up

    def close(self):
        self.open = False
        for one in [self.listener, *self.peers]:
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            one.close()


def flood(server, peer):
    block = bytes(range(256)) * 256
    while server.open:
        peer.sendall(block)


def crawl(server, peer):
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    while server.open:
        peer.recv(1)
        time.sleep(1)


def no_tls(server, peer):
    peer.recv(4096)
    peer.sendall(b"220 mail.example.com ESMTP\r\n" + bytes([21, 3, 0, 0, 2, 2, 40]))


def resident_peak(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return int(re.search(r"VmHWM:\s+(\d+)", file.read()).group(1)) / 1024


def siem(rig):
    status = rig.status()
    return status["targets"][0] if status and status["targets"] else None


def plain(rig, logs):
    rig.start_sim("--generate", str(logs))
    port = harness.free_port()
    server = Server(port, flood)
    relay = rig.start_relay(rig.config(port))
    wait_until("the flood was met again and again", lambda: server.met >= 3, 120)
    rig.wait_spooled(logs)
    flooded = siem(rig)["acked_seq"]
    server.close()
    server = wait_until("the port is free", lambda: try_server(port, crawl), 60)
    wait_until("the crawler was met", lambda: server.met >= 1, 120)
    wait_until("status tells of a backlog", lambda: siem(rig)["backlog_frames"] > 0, 60)
    peak = resident_peak(relay.process.pid)
    check(flooded == 0 and siem(rig)["acked_seq"] == 0, "frames count as taken by an enemy")
    server.close()
    sink = wait_until("an honest receiver", lambda: try_sink(rig, port), 60)
    rig.wait_drained(logs)
    check(relay.stop() == 0, "TERM did not end the relay with exit 0")
    sink.stop()
    lines, twice = judge_received(rig.path("received"), oracle.Reader(rig.sim_port).marks())
    check(SLOW > 1 or peak < MEMORY_MB, f"the relay held {peak:.0f} MB")
    print(f"plain: {lines} lines, {twice} repeats, peak {peak:.0f} MB")


def tls(rig, logs):
    rig.start_sim("--generate", str(logs))
    port = harness.free_port()
    server = Server(port, no_tls)
    relay = rig.start_relay(rig.config(port, targets__0__protocol="tls"))
    wait_until("greeted three times", lambda: server.met >= 3, 120)
    rig.wait_spooled(logs)
    said = wait_until("the cause is named", lambda: siem(rig)["last_error"], 60)
    check("tls" in said.lower() or "TLS" in said, f"no word of TLS in: {said}")
    check(siem(rig)["acked_seq"] == 0, "frames count as taken although TLS never came up")
    server.close()
    # The same port in plain text is still refused: no downgrade.
    sink = wait_until("a plain receiver", lambda: try_sink(rig, port), 60)
    before = len(relay.said("target siem"))
    time_out = time.monotonic() + 3
    wait_until("some seconds of plain text", lambda: time.monotonic() > time_out, 10)
    check(siem(rig)["acked_seq"] == 0, "frames went to a receiver without TLS")
    check(len(relay.said("target siem")) - before < 20, "every attempt is a diagnostic")
    check(relay.stop(60) == 0, "TERM did not end the relay with exit 0")
    sink.stop()
    with open(rig.path("received"), "rb") as file:
        check(b"slsRelay" not in file.read(), "frames in plain text at a receiver without TLS")
    print(f"tls: refused, said: {said}")


def try_server(port, behave):
    try:
        return Server(port, behave)
    except OSError:
        return None


def try_sink(rig, port):
    try:
        with socket.create_server(("127.0.0.1", port)):
            pass
    except OSError:
        return None
    return rig.start_sink("--output", rig.path("received"), port=port)


def test(_):
    logs = env_number("SLSR_LOGS", 30000)
    with harness.Rig("hostile-siem") as rig:
        plain(rig, logs)
    with harness.Rig("hostile-tls") as rig:
        tls(rig, min(logs, 5000))


if __name__ == "__main__":
    harness.main(test)
