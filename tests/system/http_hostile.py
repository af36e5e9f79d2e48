#!/usr/bin/python3 -B
"""The HTTP endpoint under people who do not mean well: bounded, and the relay's work goes on.

Ten thousand connections that say nothing, two hundred that send their request a byte at a time, request
lines and headers of megabytes, bodies without an end, other methods, pipelined requests, paths that want
to climb out, bytes that are no HTTP at all. After each, and during the first two, a plain client still
gets /metrics; the relay never has more than a few dozen connections nor more memory. In the end every log
has arrived. SLSR_IDLE sets the number of idle connections.
"""
import os
import re
import resource
import socket
import urllib.request

import harness
import oracle
from harness import SLOW, check, env_number, judge_received

LOGS = 20000
LORIS = 200
FILES_MAX = 160  # sockets of the endpoint, and what the relay has open anyway
GROWTH_MAX = 64 << 20
KNOWN = "relay.example"  # metrics.allowed_hosts


def connect(port):
    peer = socket.create_connection(("127.0.0.1", port), timeout=30 * SLOW)
    return peer


def ask(port, data):
    """Sends it all and reads to the end; what came, also when the other side broke it off."""
    got = b""
    with connect(port) as peer:
        try:
            peer.sendall(data)
        except OSError:
            pass
        try:
            while block := peer.recv(65536):
                got += block
        except ConnectionError:
            pass
    return got


def get(path, more=""):
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{more}\r\n".encode()


def code(answer):
    found = re.match(rb"HTTP/1\.[01] (\d{3}) ", answer)
    return int(found.group(1)) if found else 0


def memory(pid):
    with open(f"/proc/{pid}/statm", encoding="utf-8") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Scene:
    def __init__(self, relay):
        self.port = int(relay.wait_line(r"listening on http://127\.0\.0\.1:(\d+)/").group(1))
        self.pid = relay.process.pid
        self.well("nothing yet")
        self.memory = memory(self.pid)

    def well(self, after):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=60 * SLOW) as answer:
            check(b"sls_relay_pulled_logs_total" in answer.read(), f"no metrics after {after}")
        files = len(os.listdir(f"/proc/{self.pid}/fd"))
        check(files <= FILES_MAX, f"{files} open files after {after}")

    def small(self):
        grown = memory(self.pid) - self.memory
        check(SLOW > 1 or grown < GROWTH_MAX, f"{grown} bytes more than before")


def crowds(scene):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    wanted = min(env_number("SLSR_IDLE", 10000), hard - 100)
    idle = []
    for i in range(wanted):
        idle.append(connect(scene.port))
        if i % 1000 == 999:
            scene.well(f"{i + 1} idle connections")
    scene.well("all idle connections")
    for peer in idle:
        peer.close()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    loris = []
    for byte in b"GET /metrics HTTP/1.1\r\nX-Slow: aaaaaaaaaaaaaaaa":
        while len(loris) < LORIS:
            loris.append(connect(scene.port))
        alive = []
        for peer in loris:
            try:
                peer.sendall(bytes([byte]))
                alive.append(peer)
            except OSError:
                peer.close()  # pushed out: it comes again
        loris = alive
        scene.well("a byte of each slow client")
    for peer in loris:
        peer.close()
    print(f"{wanted} idle and {LORIS} slow connections")


def strangers(port):
    """A browser that was led to evil.example, whose address became ours, gets nothing to read."""
    for host, want in (("evil.example", 421), (f"evil.example:{port}", 421), ("localhost.evil.example", 421), ("", 421),
                       (f"127.0.0.1:{port}", 200), ("[::1]", 200), (f"LOCALHOST:{port}", 200), (KNOWN, 200),
                       (f"{KNOWN}:{port}", 200), (f"not-{KNOWN}", 421), (socket.gethostname(), 200)):
        for path in ("/", "/metrics", "/status", "/history", "/healthz", "/nothing"):
            answer = ask(port, get(path).replace(b"localhost", host.encode()))
            right = 404 if want == 200 and path == "/nothing" else want
            check(code(answer) == right, f"{path} of host {host!r}: {answer[:200]}")
            check(want == 200 or (answer.count(b"metrics.allowed_hosts") == 1 and len(answer) < 1000),
                  f"{path} of host {host!r}: {answer}")
    answer = ask(port, b"GET /healthz HTTP/1.0\r\n\r\n")
    check(code(answer) == 200, f"without Host: {answer[:200]}")


def requests(scene):
    port = scene.port
    check(code(ask(port, get("/" + "a" * (1 << 20)))) in (0, 400, 413, 414, 431), "a long request line")
    check(code(ask(port, get("/metrics", "X: " + "a" * (1 << 20) + "\r\n"))) in (0, 400, 413, 431), "a long header")
    check(code(ask(port, get("/metrics", "X: a\r\n" * 200000))) in (0, 400, 413, 431), "many headers")
    scene.well("long requests")
    for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"):
        answer = ask(port, f"{method} / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc"
                     .encode())
        check(code(answer) == 405 and b"Allow: GET, HEAD" in answer, f"{method}: {answer[:200]}")
    endless = "POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    check(code(ask(port, endless.encode() + b"10000\r\n" + (b"a" * 65536 + b"\r\n10000\r\n") * 64)) in (0, 405),
          "a body without an end")
    scene.well("other methods")

    strangers(port)

    head = ask(port, get("/healthz").replace(b"GET", b"HEAD"))
    whole = ask(port, get("/healthz"))
    check(code(head) == 200 and head.endswith(b"\r\n\r\n") and b"Content-Length: 3\r\n" in head and
          whole.endswith(b"\r\n\r\nok\n"), f"HEAD: {head}; GET: {whole}")
    many = ask(port, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" * 99 + get("/readyz"))
    check(len(re.findall(rb"HTTP/1\.1 200 ", many)) == 100, f"pipelined: {len(many)} bytes, {many.count(b'HTTP/1')} answers, {many[:200]}")

    for path in ("/../etc/passwd", "/..%2f..%2fetc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/metrics/../status",
                 "/metrics/", "//metrics", "/metrics%00", "/status?x=/../../etc/passwd#", "/page.js", "/.git/config",
                 "http://example.com/metrics/..", "*", "/\xff\xfe"):
        answer = ask(port, get(path))
        want = (200,) if path.startswith("/status?") else (0, 400, 404)
        check(code(answer) in want and b"root:" not in answer, f"{path}: {answer[:200]}")
    for garbage in (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500), b"\0" * 5000, b"\r\n" * 5000,
                    b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", os.urandom(5000), b"GET / HTTP/1.1\r\nHost"):
        with connect(port) as peer:
            peer.sendall(garbage)
            peer.shutdown(socket.SHUT_WR)
            try:
                answer = peer.recv(65536)
            except ConnectionError:
                answer = b""
            check(b"sls-relay" not in answer.split(b"\r\n\r\n")[0], f"{garbage[:20]}: {answer[:200]}")
    scene.well("garbage")


def test(rig):
    rig.start_sim("--generate", f"{LOGS}@1000", shards=2)
    sink = rig.start_sink("--output", rig.path("out"))
    relay = rig.start_relay(rig.config(sink.port, metrics={"listen": "127.0.0.1:0", "allowed_hosts": [KNOWN]}))
    rig.wait_spooled(100)
    scene = Scene(relay)
    crowds(scene)
    requests(scene)
    scene.small()
    rig.wait_drained(LOGS)
    check(relay.stop() == 0, "the relay left with an error")
    check(len(relay.said("metrics: ")) <= 1, "the endpoint's guests fill the diagnostics")
    judge_received(rig.path("out"), oracle.Reader(rig.sim_port).marks())


harness.main(test)
