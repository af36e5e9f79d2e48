#!/usr/bin/python3 -B
"""Troubles on the way to the service end by themselves, and one sentence says what they were.

An STS token expires and the credentials file is replaced later; a key is rotated; the service's clock
runs away; quotas and 5xx answers come in storms; a proxy is half dead: it refuses, cuts answers in the
middle, hangs, answers with pages of its own. Logs keep coming meanwhile. The relay is never restarted,
says why it waits, recovers when the trouble is over, and its spool holds every log exactly once.
"""
import json
import os
import select
import socket
import threading

import harness
import oracle
from harness import KEY, Rig, check, wait_until

LOGS = 600
FEED = f"{LOGS}@150"  # logs appear for some seconds: before, during and after each trouble


def whole(rig, relay, secrets=()):
    rig.wait_drained(LOGS)
    check(relay.running(), "the relay has ended")
    check(relay.stop() == 0, "TERM did not end the relay with exit 0")
    marks = [(f["shard"], harness.cursor_number(f["cursor"]), f["index"]) for f in rig.cat()]
    check(len(marks) == len(set(marks)), "a log is in the spool twice")
    check(set(marks) == oracle.Reader(rig.sim_port).marks(), "the spool is not what the service has")
    for secret in secrets:
        check(not relay.said(secret), "a secret is in a diagnostic")


def write_keys(rig, key, secret, token=None):
    new = rig.path("keys.new")
    with open(new, "w", encoding="utf-8") as file:
        json.dump({"access_key_id": key, "access_key_secret": secret,
                   **({"security_token": token} if token else {})}, file)
    os.chmod(new, 0o600)
    os.rename(new, rig.path("keys.json"))


def relay_with_file(rig, sink):
    return rig.start_relay(rig.config(sink.port, source__access_key_id="", source__access_key_secret="",
                                      source__credentials_file=rig.path("keys.json")))


def set_key(rig, **key):
    rig.sim_post("/_sim/keys", json.dumps(key))


def expired_sts(rig):
    rig.start_sim("--generate", FEED)
    sink = rig.start_sink("--discard")
    set_key(rig, id="STS.one", secret="secretOne", token="tokenOne", expires_in_s=3600)
    write_keys(rig, "STS.one", "secretOne", "tokenOne")
    relay = relay_with_file(rig, sink)
    rig.wait_spooled(1)
    set_key(rig, id="STS.one", secret="secretOne", token="tokenOne", expires_in_s=0)
    relay.wait_line(r"SecurityToken|Unauthorized", 60)
    set_key(rig, id="STS.two", secret="secretTwo", token="tokenTwo", expires_in_s=3600)
    write_keys(rig, "STS.two", "secretTwo", "tokenTwo")
    relay.wait_line(r"new credentials", 60)
    whole(rig, relay, ("secretOne", "secretTwo", "tokenOne", "tokenTwo"))


def rotated_key_file(rig):
    """The new key is in the file before the old one is taken away: nobody should notice."""
    rig.start_sim("--generate", FEED)
    sink = rig.start_sink("--discard")
    write_keys(rig, *KEY)
    relay = relay_with_file(rig, sink)
    rig.wait_spooled(1)
    set_key(rig, id="newKey", secret="newSecret")
    write_keys(rig, "newKey", "newSecret")
    set_key(rig, id=KEY[0], remove=True)
    relay.wait_line(r"new credentials", 60)
    rig.wait_drained(LOGS)
    check(not relay.said(r" error "), "rotation in the right order caused an error")
    # the oracle reads with the old key
    set_key(rig, id=KEY[0], secret=KEY[1])
    whole(rig, relay, ("newSecret", KEY[1]))


def skewed_clock(rig):
    rig.start_sim("--generate", FEED)
    sink = rig.start_sink("--discard")
    relay = rig.start_relay(rig.config(sink.port))
    rig.wait_spooled(1)
    rig.sim_post("/_sim/clock", json.dumps({"skew_s": -1261}))
    relay.wait_line(r"clock is 2[01] min ahead of SLS", 60)
    rig.sim_post("/_sim/clock", json.dumps({"skew_s": 0}))
    whole(rig, relay)
    told = relay.said(r"clock is")
    check(len(told) <= 8, f"the clock was told {len(told)} times")


def quota_storm(rig):
    rig.start_sim("--generate", FEED, "--fault", "pull:quota:12")
    sink = rig.start_sink("--discard")
    relay = rig.start_relay(rig.config(sink.port))
    relay.wait_line(r"ReadQuotaExceed.*slows down", 60)
    whole(rig, relay)


def server_storm(rig):
    rig.start_sim("--generate", FEED)
    sink = rig.start_sink("--discard")
    relay = rig.start_relay(rig.config(sink.port))
    rig.wait_spooled(1)
    rig.sim_post("/_sim/faults", json.dumps(["any:error=503/ServerBusy:12", "any:empty-error:4",
                                             "any:html:4"]))
    relay.wait_line(r"ServerBusy", 60)
    whole(rig, relay)


class Proxy(threading.Thread):
    """An HTTP proxy that knows CONNECT only and is ill in turns until it is mended."""
    ILLS = ("refuse", "page", "close", "cut", "garbage")

    def __init__(self):
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.ill = True
        self.suffered = set()
        self.served = 0

    def run(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            ill = self.ILLS[self.served % len(self.ILLS)] if self.ill else None
            self.served += 1
            threading.Thread(target=self.serve, args=(client, ill), daemon=True).start()

    def serve(self, client, ill):
        with client:
            head = b""
            while b"\r\n\r\n" not in head:
                more = client.recv(4096)
                if not more:
                    return
                head += more
            if ill:
                self.suffered.add(ill)
            if ill == "refuse":
                return
            if ill == "page":
                page = b"<html>Bad gateway, says the proxy</html>"
                client.sendall(b"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\n"
                               b"Content-Length: %d\r\n\r\n" % len(page) + page)
                return
            host, port = head.split()[1].decode().rsplit(":", 1)
            with socket.create_connection((host, int(port))) as server:
                client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                self.relay(client, server, ill)

    @staticmethod
    def relay(client, server, ill):
        budget = {"close": 0, "cut": 120, "garbage": 1 << 30}.get(ill, 1 << 60)
        while True:
            ready, _, _ = select.select([client, server], [], [])
            for side in ready:
                data = side.recv(65536)
                if not data:
                    return
                if side is client:
                    server.sendall(data)
                    continue
                if ill == "garbage":
                    client.sendall(b"\x16\x03\x01 this is not HTTP\r\n\r\n")
                    return
                client.sendall(data[:budget])
                budget -= len(data)
                if budget <= 0:
                    return


def half_dead_proxy(rig):
    rig.start_sim("--generate", FEED)
    sink = rig.start_sink("--discard")
    proxy = Proxy()
    rig.at_end.callback(proxy.listener.close)
    proxy.start()
    relay = rig.start_relay(rig.config(sink.port, source__proxy=f"http://127.0.0.1:{proxy.port}"))
    wait_until("the proxy has been ill in every way",
               lambda: len(proxy.suffered) == len(Proxy.ILLS), 120)
    check(relay.said(r"proxy|connection broke|127\.0\.0\.1"), "no sentence tells of the proxy")
    proxy.ill = False
    whole(rig, relay)
    check(proxy.served > len(Proxy.ILLS), "the proxy was not used")


CASES = (expired_sts, rotated_key_file, skewed_clock, quota_storm, server_storm, half_dead_proxy)


def test(_):
    chosen = os.environ.get("SLSR_CASE")
    for case in CASES:
        if chosen and case.__name__ != chosen:
            continue
        print(f"-- {case.__name__}", flush=True)
        with Rig(case.__name__) as rig:
            case(rig)


harness.main(test)
