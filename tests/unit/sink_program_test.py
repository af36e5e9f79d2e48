"""syslog-sink as a program: what its users rely on, over real sockets on 127.0.0.1.

Story: a sender hands frames over TCP, TLS and UDP; the sink stores them byte for byte, answers a
finished stream by closing its own side only when the file holds everything, counts what came twice
or in the wrong order, reports what no RFC allows, and dies, resets or stalls when it is told to.
"""
import base64
import fcntl
import json
import os
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import termios
import time
import unittest

SINK = None


def octet(*messages):
    return b"".join(b"%d %s" % (len(m), m) for m in messages)


def record(cursor, index):
    text = base64.b64encode(str(cursor).encode()).decode()
    return ('<14>1 - h a - - [slsRelay@32473 project="p" logstore="l" shard="0" cursor="%s" '
            'index="%d"] m' % (text, index)).encode()


class Sink:
    """Starts the program on free ports and knows its files."""

    def __init__(self, folder, *args, schemes=("tcp",)):
        self.output = os.path.join(folder, "out")
        self.stats_file = os.path.join(folder, "stats")
        self.errors = open(os.path.join(folder, "err"), "w+b")
        command = [SINK, "--stats", self.stats_file, *args]
        if "--discard" not in args:
            command += ["--output", self.output]
        for scheme in schemes:
            command += ["--listen", scheme + "://127.0.0.1:0"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.errors)
        self.ports = []
        for scheme in schemes:
            line = self.process.stdout.readline().decode()
            start = "syslog-sink: listening on %s://127.0.0.1:" % scheme
            assert line.startswith(start), (line, self.diagnostics())
            self.ports.append(int(line[len(start):]))

    def connect(self):
        s = socket.create_connection(("127.0.0.1", self.ports[0]), timeout=30)
        return s

    def send(self, data):
        """Sends, finishes, and waits until the sink has closed too."""
        with self.connect() as s:
            s.sendall(data)
            s.shutdown(socket.SHUT_WR)
            return s.recv(1)

    def written(self):
        with open(self.output, "rb") as f:
            return f.read()

    def await_size(self, size):
        while os.path.getsize(self.output) < size:
            assert self.process.poll() is None, self.diagnostics()
            os.sched_yield()

    def diagnostics(self):
        self.errors.flush()
        with open(self.errors.name, "rb") as f:
            return f.read().decode(errors="replace")

    def stop(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        return self.wait()

    def wait(self):
        code = self.process.wait(60)
        self.process.stdout.close()
        return code

    def stats(self):
        with open(self.stats_file) as f:
            return json.load(f)

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.errors.close()


def await_taken(peer):
    """Waits until the kernel at the other end has everything (SIOCOUTQ is 0)."""
    deadline = time.monotonic() + 60
    while struct.unpack("i", fcntl.ioctl(peer, termios.TIOCOUTQ, b"\0" * 4))[0] != 0:
        assert time.monotonic() < deadline, "the sink does not take what was sent"
        time.sleep(0.01)


class SinkTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def sink(self, *args, **more):
        s = Sink(self.folder.name, *args, **more)
        self.addCleanup(s.kill)
        return s

    def test_relp(self):
        with tempfile.TemporaryDirectory() as folder:
            sink = Sink(folder, schemes=("relp",))
            with sink.connect() as s:
                def say(data, answer):
                    s.sendall(data)
                    got = b""
                    while len(got) < len(answer):
                        more = s.recv(4096)
                        self.assertTrue(more, (got, answer))
                        got += more
                    self.assertEqual(got, answer)
                offer = b"relp_version=0\nrelp_software=x\ncommands=syslog"
                data = (b"200 OK\nrelp_version=0\nrelp_software=syslog-sink\ncommands=syslog")
                say(b"1 open %d %s\n" % (len(offer), offer), b"1 rsp %d %s\n" % (len(data), data))
                say(b"2 syslog 5 <1>ab\n3 syslog 6 <1>", b"2 rsp 6 200 OK\n")
                with open(sink.output, "rb") as file:
                    self.assertEqual(file.read(), b"<1>ab\n")  # 200 means: in the file
                say(b"c\nd\n4 syslog 0\n", b"3 rsp 6 200 OK\n4 rsp 6 200 OK\n")
                say(b"5 close 0\n", b"5 rsp 0\n0 serverclose 0\n")
                self.assertEqual(s.recv(1), b"")
            for bad in (b"x open 0\n", b"1 open 1 ab\n", b"1 syslog 1 a\n", b"1" * 80, b"1 O 0\n"):
                with sink.connect() as s:
                    s.sendall(bad)
                    self.assertEqual(s.recv(100), b"", bad)
            sink.stop()

    def test_close_proves_the_file(self):
        s = self.sink("--framing", "octet")
        messages = [b"<14>1 - h a - - - %d \n%s" % (i, b"x" * (i * 37 % 5000)) for i in range(3000)]
        self.assertEqual(s.send(octet(*messages)), b"")
        self.assertEqual(s.written(), b"".join(m + b"\n" for m in messages))
        self.assertEqual(s.stop(), 0)
        got = s.stats()
        self.assertEqual(got["messages"], 3000)
        self.assertEqual(got["bytes"], sum(map(len, messages)))
        self.assertEqual((got["connections"], got["violations"]), (1, 0))
        self.assertIsNone(got["lost"])

    def test_large_message(self):
        s = self.sink("--max-message", "4MiB")
        big = b"<14>1 - h a - - - " + b"y" * 3000000
        s.send(octet(b"<1>a", big, b"<1>b"))
        self.assertEqual(s.written(), b"<1>a\n" + big + b"\n<1>b\n")

    def test_lf_tail_and_cut_frame(self):
        s = self.sink("--strict")
        s.send(b"<14>1 - h a - - - one\n<14>1 - h a - - - two")
        self.assertEqual(s.written(), b"<14>1 - h a - - - one\n<14>1 - h a - - - two\n")
        s.send(b"21 <14>1 - h a - - - one50 <14>1 ")
        self.assertEqual(s.stop(), 0)
        self.assertEqual(s.stats()["messages"], 3)
        self.assertEqual(s.stats()["truncated"], 2)
        self.assertEqual(s.stats()["violations"], 2, s.diagnostics())

    def test_strict(self):
        s = self.sink("--strict")
        s.send(octet(b"<14>1 - h a - - - fine", b"<014>1 - h a - - m"))
        self.assertEqual(s.stop(), 0)
        self.assertEqual(s.stats()["violations"], 2)
        self.assertIn("syslog-sink: message 2: pri-zero at byte 1: ", s.diagnostics())
        self.assertIn("syslog-sink: message 2: sd-missing at byte 17: ", s.diagnostics())

    def test_provenance(self):
        s = self.sink("--discard", "--expect", "6")
        keys = [(10, 0), (10, 1), (12, 0), (11, 0), (10, 1)]
        s.send(octet(*(record(*k) for k in keys)))
        self.assertEqual(s.stop(), 0)
        got = s.stats()
        self.assertEqual((got["distinct"], got["duplicate"], got["reordered"], got["lost"]),
                         (4, 1, 1, 2))
        self.assertEqual(got["shards"][0]["project"], "p")

    def test_bad_framing_closes_that_connection_only(self):
        s = self.sink()
        with s.connect() as other:
            other.sendall(b"4 <1>a")
            with s.connect() as bad:
                bad.sendall(b"4 <1>bXX")
                self.assertEqual(bad.recv(1), b"")
            other.sendall(b"4 <1>c")
            other.shutdown(socket.SHUT_WR)
            self.assertEqual(other.recv(1), b"")
        self.assertEqual(sorted(s.written().split()), [b"<1>a", b"<1>b", b"<1>c"])
        self.assertEqual(s.stop(), 0)
        self.assertEqual(s.stats()["framing_errors"], 1)

    def test_udp(self):
        s = self.sink(schemes=("udp",))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as u:
            for i in range(20):
                u.sendto(b"<14>message %d" % i, ("127.0.0.1", s.ports[0]))
        self.assertEqual(s.stop(), 0)  # what has arrived is read before it leaves
        self.assertEqual(s.written(), b"".join(b"<14>message %d\n" % i for i in range(20)))

    def test_term_reads_what_has_arrived(self):
        s = self.sink()
        with s.connect() as c:
            c.sendall(octet(*[b"<14>%06d" % i for i in range(20000)]))
            await_taken(c)
            self.assertEqual(s.stop(), 0)
        self.assertEqual(s.stats()["messages"], 20000)
        self.assertEqual(len(s.written()), 20000 * 11)

    def test_die_after(self):
        s = self.sink("--die-after", "3")
        with s.connect() as c:
            c.sendall(b"4 <1>a")
            s.await_size(5)  # the first read is flushed before the next
            c.sendall(octet(b"<1>b", b"<1>c", b"<1>d"))
            self.assertEqual(s.wait(), 1)
        self.assertTrue(s.written().startswith(b"<1>a\n"))
        self.assertNotIn(b"<1>d", s.written())

    def test_reset_after(self):
        s = self.sink("--reset-after", "2")
        with s.connect() as c:
            c.sendall(octet(b"<1>a", b"<1>b", b"<1>c"))
            with self.assertRaises(ConnectionResetError):
                c.recv(1)
        self.assertEqual(s.written(), b"<1>a\n<1>b\n")

    def test_stall_after(self):
        s = self.sink("--stall-after", "2")
        with s.connect() as c:
            c.sendall(octet(b"<1>a", b"<1>b", b"<1>c"))
            s.await_size(10)
            c.shutdown(socket.SHUT_WR)
            with s.connect() as second:  # doors stay open, answers never come
                second.sendall(b"4 <1>d")
            s.process.send_signal(signal.SIGUSR1)
            self.assertEqual(s.stop(), 0)
        self.assertEqual(s.written(), b"<1>a\n<1>b\n")
        self.assertEqual(s.stats()["messages"], 2)

    def test_rate_loses_nothing(self):
        s = self.sink("--rate", "2000/s")
        messages = [b"<1>%d" % i for i in range(300)]
        s.send(octet(*messages))
        self.assertEqual(s.written().split(), messages)

    def certificate(self, name):
        key = os.path.join(self.folder.name, name + ".key")
        cert = os.path.join(self.folder.name, name + ".crt")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                        "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", cert, "-days",
                        "2", "-subj", "/CN=" + name, "-addext", "subjectAltName=IP:127.0.0.1"],
                       check=True, capture_output=True)
        return cert, key

    def test_tls(self):
        cert, key = self.certificate("server")
        client_cert, client_key = self.certificate("client")
        s = self.sink("--cert", cert, "--key", key, "--ca", client_cert, schemes=("tls",))
        context = ssl.create_default_context(cafile=cert)
        messages = [b"<14>1 - h a - - - %d %s" % (i, b"z" * 900) for i in range(2000)]
        with self.assertRaises((ssl.SSLError, ConnectionError)):  # no client certificate
            with context.wrap_socket(s.connect(), server_hostname="127.0.0.1") as refused:
                refused.recv(1)
        context.load_cert_chain(client_cert, client_key)
        with context.wrap_socket(s.connect(), server_hostname="127.0.0.1") as c:
            c.sendall(octet(*messages))
            raw = c.unwrap()  # our close_notify, then waits for the sink's
            raw.shutdown(socket.SHUT_WR)
            self.assertEqual(raw.recv(1), b"")
            raw.close()
        self.assertEqual(s.written(), b"".join(m + b"\n" for m in messages))
        self.assertEqual(s.stop(), 0)
        self.assertEqual(s.stats()["messages"], 2000)
        self.assertEqual(s.stats()["truncated"], 0)

    def test_usage(self):
        def run(*args):
            done = subprocess.run([SINK, *args], capture_output=True, timeout=60)
            return done.returncode, done.stderr.decode()

        for args in ([], ["--listen", "gopher://127.0.0.1:0"], ["--listen", "tcp://nowhere"],
                     ["--listen", "tls://127.0.0.1:0"], ["--listen", "tcp://h:0", "--rate", "0"],
                     ["--listen", "tcp://127.0.0.1:0", "--framing", "nul"], ["--bogus"],
                     ["--listen", "tcp://127.0.0.1:0", "--discard", "--output", "x"]):
            code, text = run(*args)
            self.assertEqual(code, 64, args)
            self.assertIn("syslog-sink: ", text.replace(SINK, "syslog-sink"))
        self.assertEqual(run("--help")[0], 0)
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            url = "tcp://127.0.0.1:%d" % taken.getsockname()[1]
            self.assertEqual(run("--listen", url)[0], 75)
        self.assertEqual(run("--listen", "tcp://127.0.0.1:0", "--output", "/nowhere/x")[0], 73)

    def test_reset_by_peer(self):
        s = self.sink()
        c = s.connect()
        c.sendall(b"4 <1>a")
        s.await_size(5)
        c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        c.close()
        s.send(b"4 <1>b")
        self.assertEqual(s.stop(), 0)
        self.assertEqual(s.written(), b"<1>a\n<1>b\n")


if __name__ == "__main__":
    SINK = os.path.abspath(sys.argv.pop(1))
    unittest.main()
