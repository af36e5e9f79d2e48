#!/usr/bin/python3 -B
"""Whoever reaches the HTTP endpoint can only look, and at little.

A port alone listens on loopback. Other methods, other paths and endless headers are refused in a
sentence; two hundred idle connections take at most 64 descriptors, and logs flow meanwhile; when they
go, answers come again. No document holds a key or a piece of a frame, although the relay runs at level
debug with logs that carry a mark.
"""
import http.client
import socket

import harness
from harness import KEY, check, wait_until

DOCUMENTS = ("/", "/metrics", "/healthz", "/readyz", "/status", "/history")
MOST = 64  # connections at a time
LOGS = 2000


def ask(port, method, path, headers=None, body=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30 * harness.SLOW)
    try:
        connection.request(method, path, body=body, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def accepted(port):
    """How many connections to the port a process has taken; those that wait have no inode yet."""
    with open("/proc/net/tcp", encoding="ascii") as file:
        rows = [line.split() for line in file.readlines()[1:]]
    return sum(row[1].endswith(f":{port:04X}") and row[3] == "01" and row[9] != "0" for row in rows)


def refusals(port):
    for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
        status, text = ask(port, method, "/metrics", body=b"x" * 5000)
        check(status == 405 and b"only GET" in text, f"{method}: {status} {text[:200]!r}")
    for path in ("/../../etc/passwd", "//etc/passwd", "/status/../relay.json", "/%2e%2e/relay.json", "*"):
        status, text = ask(port, "GET", path)
        check(status in (400, 404) and b"root:" not in text, f"{path}: {status} {text[:200]!r}")
    try:
        status, _ = ask(port, "GET", "/status", {f"x-{n}": "y" * 1000 for n in range(64)})
        check(400 <= status < 500, f"64 KB of headers: {status}")
    except (http.client.HTTPException, OSError):
        pass  # closed without a word: as good


def nothing_secret(rig, port):
    """No document holds the key, or what stands in any of the newest frames behind its header."""
    texts = {path: ask(port, "GET", path)[1] for path in DOCUMENTS}
    pieces = {f["frame"].encode()[-40:] for f in rig.cat("-n", "200")}
    for path, text in texts.items():
        check(len(text) > 0, f"{path}: no answer")
        check(KEY[1].encode() not in text, f"{path} shows the secret")
        shown = [p for p in pieces if p in text]
        check(not shown, f"{path} shows a piece of a frame: {shown[:1]}")


def crowd(rig, port):
    """Idle connections by the hundred."""
    idle = [socket.create_connection(("127.0.0.1", port), 30) for _ in range(60)]
    # The rest waits in the kernel or is refused; a full queue must not hold us up.
    for _ in range(140):
        more = socket.socket()
        more.setblocking(False)
        more.connect_ex(("127.0.0.1", port))
        idle.append(more)
    rig.wait_drained(LOGS)
    most = accepted(port)
    check(most <= MOST, f"{most} of {len(idle)} idle connections were taken")
    for connection in idle:
        connection.close()
    wait_until("an answer when they are gone", lambda: healthy(port), 60)
    return most


def healthy(port):
    try:
        return ask(port, "GET", "/healthz")[0] == 200
    except (http.client.HTTPException, OSError):
        return False


def test(rig):
    rig.start_sim("--generate", f"{LOGS}@500")
    sink = rig.start_sink("--output", rig.path("received"))
    relay = rig.start_relay(rig.config(sink.port, metrics={"listen": "0"},
                                       log={"file": None, "level": "debug"}))
    found = relay.wait_line(r"metrics: listening on http://([0-9.]+):(\d+)/")
    check(found[1] == "127.0.0.1", f"a port alone listens on {found[1]}")
    port = int(found[2])
    refusals(port)
    most = crowd(rig, port)
    nothing_secret(rig, port)
    check(relay.stop() == 0, "TERM did not end the relay with exit 0")
    print(f"200 idle connections: {most} were taken at a time")


harness.main(test)
