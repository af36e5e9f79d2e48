#!/usr/bin/python3 -B
"""--test-connection goes towards the service and a target step by step, and names who it met.

The service stands behind TLS with a certificate of a test authority, the target is a TLS receiver of
the same. The table shows for both who the certificate names and how long it is good. Then the
authority is another one: that step fails with the reason and exit 69, the others still show.
"""
import re
import socket
import ssl
import threading

import harness
import tlskit
from harness import KEY, LOGSTORE, PROJECT, check


class Front(threading.Thread):
    """TLS in front of the simulator: every connection is carried over as it is."""

    def __init__(self, sim_port, cert, key):
        super().__init__(daemon=True)
        self.sim_port = sim_port
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(cert, key)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.start()

    def run(self):
        while True:
            peer, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(peer,), daemon=True).start()

    def serve(self, raw):
        try:
            with self.context.wrap_socket(raw, server_side=True) as peer, \
                    socket.create_connection(("127.0.0.1", self.sim_port)) as link:
                back = threading.Thread(target=self.carry, args=(link, peer), daemon=True)
                back.start()
                self.carry(peer, link)
                back.join(30)
        except OSError:
            pass  # refused, as it should be

    @staticmethod
    def carry(source, sink):
        try:
            while block := source.recv(65536):
                sink.sendall(block)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass


def test(rig):
    rig.start_sim("--generate", "100")
    kit, other = tlskit.Kit(rig.path("ca")), tlskit.Kit(rig.path("other-ca"), "another CA")
    host = f"{PROJECT}.sls.localhost"
    service = kit.leaf("service", f"DNS:{host}")
    receiver = kit.leaf("receiver")
    front = Front(rig.sim_port, *service[:2])
    sink = rig.start("syslog-sink", [rig.tool("syslog-sink"), "--listen", "tls://127.0.0.1:0",
                                     "--cert", receiver[0], "--key", receiver[1], "--discard"])
    port = int(sink.wait_line(r"listening on \S*?:(\d+)\b").group(1))

    def probe(ca, code):
        config = rig.config(port, source__endpoint="https://sls.localhost",
                            source__connect_to=f"127.0.0.1:{front.port}", source__ca_file=ca,
                            targets__0__protocol="tls",
                            targets__0__tls={"ca_file": kit.ca})
        return rig.run("sls-relay", "-c", config, "--test-connection", code=code).stdout

    good = probe(kit.ca, 0)
    print(good)
    for want in ("SLS: resolve", "SLS: connect", "SLS: TLS", "SLS connect, sign in, logstore",
                 LOGSTORE, "SLS: clock", "target siem: connect, TLS"):
        check(want in good, f"no step {want!r}")
    check(good.count("certificate of /CN=") == 2 and good.count(" days)") == 2,
          "a certificate is not named with its end")
    check(KEY[1] not in good, "the secret is in the table")
    # A bare address has no project in front when it is looked up: the relay connects to it itself.
    taker = rig.start_sink("--discard").port
    for endpoint in (f"http://127.0.0.1:{rig.sim_port}", f"HTTP://localhost:{rig.sim_port}/",
                     f"127.0.0.1:{front.port}"):
        config = rig.config(taker, source__endpoint=endpoint,
                            source__connect_to=None, source__ca_file=kit.ca)
        plain = endpoint.lower().startswith("http:")
        said = rig.run("sls-relay", "-c", config, "--test-connection", code=0 if plain else 69).stdout
        check(re.search(r"^ok       SLS: connect .* port \d+$", said, re.M), f"{endpoint}:\n{said}")
        check(("SLS: TLS" not in said) == plain, f"TLS or not, of {endpoint}:\n{said}")
    bad = probe(other.ca, 69)
    failed = [line for line in bad.splitlines() if line.startswith("FAILED")]
    check(any("SLS: TLS" in line for line in failed), f"TLS did not fail:\n{bad}")
    check("ok       target siem: connect, TLS" in bad, f"the target's step is missing:\n{bad}")


if __name__ == "__main__":
    harness.main(test)
