#!/usr/bin/python3 -B
"""Every way in which TLS can be refused is refused, with its own reason; every good way works.

Certificates of all kinds stand behind a syslog-sink, then a real rsyslog (by OpenSSL, and by GnuTLS) and
a real syslog-ng. A refused receiver gets no frame and the reason names the trouble; a receiver that refuses
us is told apart. Good ones take all logs, over TLS 1.2 and 1.3, resumed or not, and a certificate that
is renewed while the relay runs is used without a restart.
"""
import os
import re
import shutil
import ssl
import subprocess
import urllib.request

import harness
import oracle
import receivers
import tlskit
from harness import check, free_port, judge_received, wait_until


class World:
    def __init__(self, rig):
        self.rig = rig
        self.kit = tlskit.Kit(rig.path("ca"))
        self.other = tlskit.Kit(rig.path("other-ca"), "another CA")
        leaf = self.kit.leaf
        self.good = leaf("good")
        self.client = leaf("client", san="DNS:relay.example.com")
        self.stranger = self.other.leaf("stranger", san="DNS:relay.example.com")
        self.bad = {
            "wrong name": leaf("wrong", san="DNS:elsewhere.example,IP:127.0.0.2"),
            "has expired": leaf("expired", dates=("20200101000000Z", "20210101000000Z")),
            "not yet valid": leaf("future", dates=("20400101000000Z", "20410101000000Z")),
            "self-signed": self.kit.leaf("self", self_signed=True),
            "not meant for servers": leaf("purpose", use="clientAuth"),
            "unknown CA": self.other.leaf("foreign"),
        }
        self.revoked = leaf("revoked")
        self.kit.revoke(self.revoked[0])
        self.crl = self.kit.crl()
        self.number = 0

    def config(self, port, host="localhost", connect="60s", **tls):
        self.number += 1
        return self.rig.config(port, name=f"relay-{self.number}.json", targets__0__protocol="tls",
                               targets__0__host=host, targets__0__connect_timeout=connect,
                               targets__0__tls={"ca_file": self.kit.ca, **tls},
                               metrics={"listen": "127.0.0.1:0"})

    def probe(self, port, reason=None, host="localhost", **tls):
        """--test-connection: fine, or refused with that reason."""
        done = self.rig.run("sls-relay", "-c", self.config(port, host, **tls), "--test-connection",
                            code=None)
        text = done.stdout + done.stderr
        if reason is None:
            check(re.search(r"^ok +target siem: connect", text, re.M), f"not connected: {text}")
        else:
            check(reason in text, f"no word of \"{reason}\": {text}")


def sink(world, cert, *options, port=0):
    rig = world.rig
    program = rig.start("tls sink", [rig.tool("syslog-sink"), "--listen", f"tls://127.0.0.1:{port}",
                                     "--cert", cert[0], "--key", cert[1], *options])
    program.port = int(program.wait_line(r"listening on \S*?:(\d+)\b").group(1))
    return program


def refusals(world):
    for reason, cert in world.bad.items():
        server = sink(world, cert)
        world.probe(server.port, reason)
        # A pin stands for chain and name, whatever they are.
        world.probe(server.port, None, fingerprints=[tlskit.fingerprint(cert[0])])
        server.stop()
    server = sink(world, world.good)
    world.probe(server.port)
    world.probe(server.port, host="127.0.0.1")
    world.probe(server.port, "wrong name", server_name="siem.example.com")
    world.probe(server.port, None, host="127.0.0.1", server_name="localhost", min_version="1.3")
    world.probe(server.port, None, crl_file=world.crl)
    pins = [tlskit.fingerprint(world.client[0]), tlskit.fingerprint(world.good[0])]
    world.probe(server.port, None, fingerprints=pins)
    world.probe(server.port, "not one of tls.fingerprints", fingerprints=pins[:1])
    world.probe(server.port, "open to everybody", cert_file=world.client[0],
                key_file=open_to_all(world.client[1]))
    world.probe(server.port, "does not belong to", cert_file=world.client[0],
                key_file=world.good[1])
    server.stop()
    server = sink(world, world.revoked)
    world.probe(server.port)
    world.probe(server.port, "revoked", crl_file=world.crl)
    server.stop()
    server = sink(world, world.good, "--ca", world.kit.ca)
    world.probe(server.port, "demands a client certificate")
    world.probe(server.port, "refused our certificate", cert_file=world.stranger[0],
                key_file=world.stranger[1])
    world.probe(server.port, None, cert_file=world.client[0], key_file=world.client[1])
    server.stop()
    plain = world.rig.start_sink(name="plain sink")
    world.probe(plain.port, "during the TLS handshake", connect="1s")
    plain.stop()


def open_to_all(key):
    copy = key + ".open"
    shutil.copy(key, copy)
    os.chmod(copy, 0o644)
    return copy


def old_protocol(world):
    """A server that knows nothing newer than TLS 1.1, and one without 1.3."""
    port = free_port()
    for flags, reason, tls in ((["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"], "TLS is older than", {}),
                               (["-tls1_2"], "TLS is older than tls.min_version 1.3",
                                {"min_version": "1.3"}),
                               (["-tls1_2"], None, {})):
        server = world.rig.start("s_server", ["openssl", "s_server", "-accept", f"127.0.0.1:{port}",
                                              "-cert", world.good[0], "-key", world.good[1], "-www",
                                              *flags])
        wait_until("s_server listens", lambda: receivers.listening(port))
        world.probe(port, reason, **tls)
        server.kill()


def end_of(cert):
    """notAfter, seconds since 1970."""
    text = tlskit.openssl("x509", "-in", cert, "-noout", "-enddate")
    return ssl.cert_time_to_seconds(text.strip().split("=")[1])


def expiry_metric(relay):
    port = relay.wait_line(r"listening on http://127\.0\.0\.1:(\d+)/").group(1)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
        text = answer.read().decode()
    shown = re.search(r"^\S*target_certificate_expiry_timestamp_seconds\{.*\} (\S+)$", text, re.M)
    return shown and float(shown.group(1))


def renewed(world, logs):
    """The client certificate expires for the receiver; renewing the file is enough."""
    rig = world.rig
    cert, key = rig.path("own.pem"), rig.path("own.key")
    for source, copy in zip(world.stranger, (cert, key)):
        shutil.copy(source, copy)
    server = sink(world, world.good, "--ca", world.kit.ca, "--output", rig.path("received"))
    rig.start_sim("--generate", str(logs))
    relay = rig.start_relay(world.config(server.port, cert_file=cert, key_file=key,
                                         expiry_warning="60d"))
    relay.wait_line("refused our certificate")
    status = wait_until("a cause in the state", lambda: target(rig)["last_error"] and target(rig))
    check(status["acked_seq"] == 0, f"acknowledged without a connection: {status}")
    for source, copy in zip(world.client, (cert, key)):
        shutil.copy(source, copy + ".new")
        os.replace(copy + ".new", copy)
    rig.wait_drained(logs)
    relay.wait_line("TLS files have changed")
    check(relay.wait_line("our certificate expires in (29|30) days") and
          relay.wait_line("the receiver's certificate expires in (29|30) days"), "no warning")
    first = min(end_of(world.client[0]), end_of(world.good[0]))
    check(expiry_metric(relay) == first, f"{expiry_metric(relay)} is shown, {first} is the end")
    check(relay.stop() == 0, "TERM did not end the relay with exit 0")
    server.stop()
    _, twice = judge_received(rig.path("received"), oracle.Reader(rig.sim_port).marks())
    print(f"renewed without a restart: {logs} logs, {twice} repeats")


def target(rig):
    status = rig.status()
    return status["targets"][0] if status and status["targets"] else {"last_error": ""}


def real(rig, kind, logs):
    world = World(rig)
    receiver = receivers.Receiver(rig, kind, tls=(world.good, world.kit.ca))
    receiver.start()
    for reason in ("demands a client certificate", "refused our certificate"):
        tls = {"cert_file": world.stranger[0], "key_file": world.stranger[1]} \
            if "refused" in reason else {}
        world.probe(receiver.port, reason, **tls)
    own = {"cert_file": world.client[0], "key_file": world.client[1]}
    world.probe(receiver.port, "wrong name", server_name="siem.example.com", **own)
    world.probe(receiver.port, None, fingerprints=[tlskit.fingerprint(world.good[0])], **own)
    rig.start_sim("--generate", str(logs))
    for version in ("1.2", "1.3"):
        relay = rig.start_relay(world.config(receiver.port, min_version=version, **own))
        relay.wait_line("connected to")
        if version == "1.2":
            rig.wait_spooled(logs)
        rig.wait_drained(logs)
        check(relay.stop() == 0, "TERM did not end the relay with exit 0")
        check(not relay.said("close_notify"), "the receiver's end was not in order")
    receiver.stop()
    behind(world, receiver, own)
    lines, twice = judge_received(receiver.out, oracle.Reader(rig.sim_port).marks())
    print(f"{kind}: {lines} lines for {logs} logs, {twice} repeats")


def behind(world, receiver, own):
    """The real receiver with every certificate that is no good, and with an old TLS."""
    receiver.start()
    pins = [tlskit.fingerprint(world.client[0])]
    world.probe(receiver.port, "not one of tls.fingerprints", fingerprints=pins, **own)
    world.probe(receiver.port, None, crl_file=world.crl, **own)
    receiver.stop()
    for reason, cert in world.bad.items():
        receiver.tls = (cert, world.kit.ca)
        receiver.start()
        world.probe(receiver.port, reason, **own)
        receiver.stop()
    receiver.tls = (world.revoked, world.kit.ca)
    receiver.start()
    world.probe(receiver.port, None, **own)
    world.probe(receiver.port, "revoked", crl_file=world.crl, **own)
    receiver.stop()
    receiver.tls = (world.good, world.kit.ca)
    for newest, least, reason in (("1.1", "1.2", "TLS is older than"), ("1.2", "1.2", None),
                                  ("1.2", "1.3", "TLS is older than tls.min_version 1.3")):
        receiver.tls_max = newest
        receiver.start()
        world.probe(receiver.port, reason, min_version=least, **own)
        receiver.stop()


def gnutls(rig, proof, logs):
    """rsyslog by GnuTLS never sends close_notify: its FIN counts after three breaks, or at once."""
    world = World(rig)
    own = {"cert_file": world.client[0], "key_file": world.client[1]}
    receiver = receivers.Receiver(rig, "rsyslog", tls=(world.good, world.kit.ca), driver="gtls")
    receiver.start()
    world.probe(receiver.port, None, **own)
    world.probe(receiver.port, "wrong name", server_name="siem.example.com", **own)
    rig.start_sim("--generate", str(logs))
    relay = rig.start_relay(world.config(receiver.port, proof=proof, **own))
    rig.wait_drained(logs)
    said = bool(relay.said("without close_notify, so its FIN counts"))
    check(said == (proof == "close_notify"), f"tls.proof {proof}, but the alarm is {said}")
    check(relay.stop() == 0, "TERM did not end the relay with exit 0")
    receiver.stop()
    lines, twice = judge_received(receiver.out, oracle.Reader(rig.sim_port).marks())
    check(proof == "close_notify" or twice == 0, f"{twice} repeats without a break")
    print(f"rsyslog by GnuTLS, tls.proof {proof}: {lines} lines for {logs} logs, {twice} repeats")


def test(rig):
    logs = harness.env_number("SLSR_LOGS", 5000)
    version = subprocess.run(["openssl", "version"], capture_output=True, text=True, check=True)
    print(version.stdout.strip())
    world = World(rig)
    refusals(world)
    old_protocol(world)
    renewed(world, logs)
    receivers.fetch()
    for kind in ("rsyslog", "syslogng"):
        with harness.Rig("tls-" + kind) as own:
            real(own, kind, logs)
    for proof in ("close_notify", "fin"):
        with harness.Rig("tls-gnutls-" + proof) as own:
            gnutls(own, proof, logs)


if __name__ == "__main__":
    harness.main(test)
