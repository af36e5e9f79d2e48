#!/usr/bin/python3 -B
"""The service's answers turn hostile one after another; the relay stays small, says why, loses nothing.

A proxy stands between the relay and the simulator and replaces single answers to pulls: a declared
size of a gigabyte, an lz4 bomb, a million empty log groups, a body without end, a header without
end, a cursor of ten kilobytes, a body that never goes on. After each, the true answer comes through
when the relay asks again. In the end every log is in the spool exactly once, and the relay has
never held more than a small multiple of an ordinary pull in memory.
"""
import http.client
import http.server
import re
import socketserver
import threading

import harness
import oracle
from harness import SLOW, check, env_number, wait_until

MEMORY_MB = 700  # anonymous peak; sanitizers multiply it
LOGS = 4000


def lz4_literals(data):
    """`data` as an lz4 block of literals only."""
    n = len(data)
    out = bytearray()
    if n < 15:
        out.append(n << 4)
    else:
        out.append(0xF0)
        n -= 15
        while n >= 255:
            out.append(255)
            n -= 255
        out.append(n)
    return bytes(out) + data


def zero_block(size):
    """lz4: a literal 0 and matches of distance 1, then five literals; decodes to `size` zeros."""
    out = bytearray([0x1F, 0, 1, 0])
    rest = size - 1 - 5 - 4 - 15
    out += b"\xff" * (rest // 255)
    out.append(rest % 255)
    return bytes(out) + b"\x50" + b"\0" * 5


class Proxy(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, sim_port):
        super().__init__(("127.0.0.1", 0), Handler)
        self.sim_port = sim_port
        self.plan = []
        self.lock = threading.Lock()
        self.done = []
        self.port = self.server_address[1]
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request, client_address):
        pass  # the relay hangs up on what it does not like

    def next_trick(self):
        with self.lock:
            if not self.plan:
                return None
            self.done.append(self.plan[0][0])
            return self.plan.pop(0)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def forward(self):
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        link = http.client.HTTPConnection("127.0.0.1", self.server.sim_port, timeout=60)
        link.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            link.putheader(name, value)
        link.endheaders(body or None)
        answer = link.getresponse()
        data = answer.read()
        self.send_response_only(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("connection", "content-length", "transfer-encoding"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
        link.close()

    def any_call(self):
        pull = self.command == "GET" and re.search(r"[?&]type=logs?(&|$)", self.path)
        trick = self.server.next_trick() if pull else None
        if trick is None:
            self.forward()
        else:
            trick[1](self)
            self.close_connection = True

    do_GET = do_POST = do_PUT = do_DELETE = any_call

    def pull_answer(self, body, raw_size, groups=1, cursor="MTAwMA==", length=None, **more):
        self.send_response_only(200)
        for name, value in (("Content-Type", "application/x-protobuf"),
                            ("x-log-requestid", "5DAAAAAAAAAAAAAAAAAAAAAA"),
                            ("x-log-cursor", cursor), ("x-log-count", str(groups)),
                            ("x-log-bodyrawsize", str(raw_size)), ("x-log-compresstype", "lz4"),
                            ("Content-Length", str(len(body) if length is None else length)),
                            *more.items()):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


def gigabyte(h):
    h.pull_answer(lz4_literals(b"\x0a\x00"), 1 << 30)


def wrong_bomb(h):
    """Says 4096, unpacks to 64 MiB."""
    h.pull_answer(zero_block(64 << 20), 4096)


def true_bomb(h):
    """Unpacks to exactly the 48 MiB that it declares; no log group among them."""
    h.pull_answer(zero_block(48 << 20), 48 << 20)


def empty_groups(h):
    """A million groups without a log where the header speaks of one."""
    data = b"\x0a\x00" * 1000000
    h.pull_answer(lz4_literals(data), len(data), groups=1)


def endless_body(h):
    h.pull_answer(b"", 1 << 20, length=1 << 40)
    block = b"\xff" * (1 << 16)
    for _ in range(1 << 16):  # 4 GiB at most: the relay hangs up long before
        h.wfile.write(block)


def endless_header(h):
    h.wfile.write(b"HTTP/1.1 200 OK\r\n")
    for n in range(1 << 20):
        h.wfile.write(b"x-log-more-%d: %s\r\n" % (n, b"a" * 1000))


def long_cursor(h):
    h.pull_answer(lz4_literals(b"\x0a\x00"), 2, cursor="A" * 10000)


def deep_junk(h):
    """Lengths that point far outside, nested."""
    data = b"\x0a\xff\xff\xff\xff\x0f" * 1000 + b"\x0a\x80"
    h.pull_answer(lz4_literals(data), len(data), groups=1000)


TRICKS = [gigabyte, wrong_bomb, true_bomb, empty_groups, endless_body, endless_header, long_cursor,
          deep_junk]


def anonymous_peak(pid):
    """VmHWM in MB: what the kernel saw at most."""
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return int(re.search(r"VmHWM:\s+(\d+)", file.read()).group(1)) / 1024


def test(rig):
    logs = env_number("SLSR_LOGS", LOGS)
    rig.start_sim("--generate", str(logs), shards=1)
    proxy = Proxy(rig.sim_port)
    proxy.plan = [(f.__name__, f) for f in TRICKS]
    real = rig.sim_port
    rig.sim_port = proxy.port
    sink = rig.start_sink("--output", rig.path("received"))
    relay = rig.start_relay(rig.config(sink.port, source__max_log_groups=10))
    rig.sim_port = real
    wait_until("all tricks were played", lambda: len(proxy.done) == len(TRICKS), 240)
    rig.wait_drained(logs)
    peak = anonymous_peak(relay.process.pid)
    check(relay.running(), "the relay ended")
    marks = [(f["shard"], harness.cursor_number(f["cursor"]), f["index"]) for f in rig.cat()]
    expected = oracle.Reader(rig.sim_port).marks()
    check(len(marks) == len(set(marks)) and set(marks) == set(expected),
          f"{len(marks)} frames, {len(set(marks))} distinct, {len(expected)} logs")
    said = len(relay.said(r"demo/audit shard 0"))
    check(0 < said <= 6 * len(TRICKS), f"{said} diagnostics about {len(TRICKS)} bad answers")
    check(SLOW > 1 or peak < MEMORY_MB, f"the relay held {peak:.0f} MB")
    check(relay.stop() == 0, "TERM did not end the relay with exit 0")
    print(f"{len(TRICKS)} hostile answers, peak {peak:.0f} MB, {said} diagnostics, "
          f"{len(marks)} frames exactly once")


if __name__ == "__main__":
    harness.main(test)
