#!/usr/bin/python3 -B
"""The service is reached through real proxies, with and without a login.

Debian's tinyproxy (HTTP, CONNECT for https) and microsocks (SOCKS5) are unpacked, not installed, and run
with a login on loopback; names are resolved by the proxy where it is told to (socks5h). tinyproxy is also behind TLS
(https://), once with a certificate that nobody knows: then the login never leaves. Over each the relay pulls all logs.
With a wrong password it says which setting to look at and goes on by itself when the right one comes
with a restart. The password is in no diagnostic, no --print-config and no argument of the process.
"""
import glob
import os
import shutil
import subprocess

import connection_steps
import harness
import oracle
import tlskit
from harness import PROJECT, ROOT, check, judge_received, wait_until

FOLDER = os.path.join(ROOT, "build", "proxies")
LOGS = 400
USER, PASSWORD, WRONG = "relay", "Hush-Hush-9", "Wrong-Wrong-9"


def unpack():
    if not os.path.exists(os.path.join(FOLDER, "usr/bin/microsocks")):
        shutil.rmtree(FOLDER, ignore_errors=True)
        os.makedirs(FOLDER)
        run = subprocess.run(["apt-get", "download", "tinyproxy-bin", "microsocks"], cwd=FOLDER,
                             capture_output=True, text=True, timeout=300)
        check(run.returncode == 0, f"apt-get download: {run.stderr}")
        for deb in glob.glob(os.path.join(FOLDER, "*.deb")):
            subprocess.run(["dpkg", "-x", deb, FOLDER], check=True, timeout=120)
    return FOLDER


def listens(port):
    with open("/proc/net/tcp", encoding="utf-8") as file:
        return any(line.split()[1].endswith(f":{port:04X}") and line.split()[3] == "0A"
                   for line in file.readlines()[1:])


def start_proxies(rig, kit):
    folder, http, socks = unpack(), harness.free_port(), harness.free_port()
    with open(rig.path("tinyproxy.conf"), "w", encoding="utf-8") as file:
        file.write(f"Port {http}\nListen 127.0.0.1\nTimeout 60\nBasicAuth {USER} {PASSWORD}\n"
                   f'LogLevel Connect\nMaxClients 50\n')
    rig.start("tinyproxy", [os.path.join(folder, "usr/bin/tinyproxy"), "-d", "-c", rig.path("tinyproxy.conf")])
    rig.start("microsocks", [os.path.join(folder, "usr/bin/microsocks"), "-i", "127.0.0.1", "-p", str(socks),
                             "-u", USER, "-P", PASSWORD])
    for port in (http, socks):
        wait_until("the proxies listen", lambda p=port: listens(p))
    front = connection_steps.Front(http, *kit.leaf("proxy", "IP:127.0.0.1")[:2])
    return {"http": f"127.0.0.1:{http}", "https": f"127.0.0.1:{front.port}", "socks5": f"127.0.0.1:{socks}", "socks5h": f"127.0.0.1:{socks}"}


def hushed(rig, relay, path):
    with open(f"/proc/{relay.process.pid}/cmdline", "rb") as file:
        shown = file.read().decode()
    shown += rig.run("sls-relay", "-c", path, "--print-config").stdout + "\n".join(relay.lines)
    for word in (PASSWORD, WRONG):
        check(word not in shown, f"{word} is shown")


def unknown_front(rig, proxy):
    """A proxy that says it is ours, with a certificate of somebody else."""
    seen = []

    class Listening(connection_steps.Front):
        def carry(self, source, sink):
            seen.append(source)
            super().carry(source, sink)
    ours, theirs = tlskit.Kit(rig.path("ours")), tlskit.Kit(rig.path("theirs"), "another CA")
    front = Listening(int(proxy.rsplit(":", 1)[1]), *theirs.leaf("proxy", "IP:127.0.0.1")[:2])
    relay = rig.start_relay(rig.config(1, source__proxy=f"https://{USER}:{PASSWORD}@127.0.0.1:{front.port}",
                                       source__ca_file=ours.ca), name="unknown-proxy")
    relay.wait_line(r"TLS: .*source.ca_file")
    check(not seen, "something was sent to a proxy that is not ours")
    check(relay.stop() == 0, "an unknown proxy: TERM ends with an error")
    shutil.rmtree(rig.path("spool"), ignore_errors=True)


def test(rig):
    rig.start_sim("--generate", str(LOGS), shards=1)
    marks = oracle.Reader(rig.sim_port).marks()
    kit = tlskit.Kit(rig.path("ca"))
    front = connection_steps.Front(rig.sim_port, *kit.leaf("service", f"DNS:{PROJECT}.sls.localhost")[:2])
    proxies = start_proxies(rig, kit)
    unknown_front(rig, proxies["http"])
    runs = [(way, tls) for way in proxies for tls in (False, True)]
    for number, (way, tls) in enumerate(runs):
        out = rig.path(f"out-{number}")
        sink = rig.start_sink("--output", out)
        more = {"source__ca_file": kit.ca} if tls or way == "https" else {}
        if tls:
            more["source__endpoint"] = "https://sls.localhost"
        more["source__connect_to"] = f"127.0.0.1:{front.port if tls else rig.sim_port}"
        more["source__consumer_group"] = f"group-{number}"
        more["spool"] = {"path": rig.path("spool"), "min_free_disk": "1MiB"}
        shutil.rmtree(rig.path("spool"), ignore_errors=True)

        def config(password):
            return rig.config(sink.port, source__proxy=f"{way}://{USER}:{password}@{proxies[way]}", **more)
        path = config(WRONG)
        relay = rig.start_relay(path, name=f"wrong-{number}")
        relay.wait_line(r"proxy")
        hushed(rig, relay, path)
        check(relay.stop() == 0, f"{way}: with a wrong password TERM ends with an error")
        path = config(PASSWORD)
        done = rig.run("sls-relay", "-c", path, "--test-connection")
        check("FAILED" not in done.stdout and PASSWORD not in done.stdout + done.stderr, f"{way}: {done.stdout}")
        relay = rig.start_relay(path, name=f"right-{number}")
        rig.wait_drained(LOGS)
        hushed(rig, relay, path)
        check(relay.stop() == 0, f"{way}: the relay left with an error")
        sink.stop()
        judge_received(out, marks)
    print(f"{len(runs)} ways through proxies")


harness.main(test)
