#!/usr/bin/python3 -B
"""The same corpus through the relay and through its peers, in one run: CPU and speed per phase.

    tests/bench/peers.py [--mb N] [--sync-mb N] [--bin DIR] [--json FILE] [--svg FILE]

Phases, each with CPU-seconds of the daemon alone per GB (10^9 bytes) of frames and MB/s of frames:

  spool    the target refuses connections: everything goes to the disk
  drain    the target is there: everything comes from the disk, nothing else is going on
  steady   the target is there from the beginning

The peers get finished frames over TCP (octet counting) and only store and forward them; the relay
pulls compressed log groups over HTTP, decodes and formats them as well, and syncs every batch.
rsyslog has a disk queue per action (with and without queue.syncQueueFiles), syslog-ng a reliable
disk buffer. The receiver is syslog-sink --discard for all of them. A phase is over when the
receiver has counted everything (drain, steady) or when the daemon has had everything and its CPU
time no longer moves (spool). Do not run anything else meanwhile.
"""
import argparse
import json
import math
import os
import platform
import re
import socket
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "system"))
import harness  # noqa: E402

LIBRARY = os.path.join(ROOT, "tests", "lib", "receivers.sh")
FETCHED = os.path.join(ROOT, "build", "receivers")
TICK = os.sysconf("SC_CLK_TCK")
FEEDER = """
import socket, sys
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
with open(sys.argv[2], "rb") as f:
    while True:
        block = f.read(1 << 20)
        if not block:
            break
        s.sendall(block)
s.shutdown(socket.SHUT_WR)
while s.recv(4096):
    pass
"""
RSYSLOG = """
global(workDirectory="{work}" maxMessageSize="65536" parser.escapeControlCharactersOnReceive="off")
module(load="imtcp")
input(type="imtcp" address="127.0.0.1" port="{port}" supportOctetCountedFraming="on")
template(name="raw" type="string" string="%rawmsg%")
action(type="omfwd" target="127.0.0.1" port="{target}" protocol="tcp" template="raw"
       TCP_Framing="octet-counted" action.resumeRetryCount="-1" action.resumeInterval="1"
       queue.type="Disk" queue.filename="q" queue.maxDiskSpace="40g" queue.size="100000000"
       queue.dequeueBatchSize="1024" queue.checkpointInterval="{checkpoint}"
       queue.syncQueueFiles="{sync}" queue.timeoutEnqueue="3600000")
"""
SYSLOGNG = """@version: {version}
options {{ time-reopen(1); stats-freq(0); }};
source s {{ syslog(ip("127.0.0.1") port({port}) transport("tcp") flags(no-parse)
                  log-msg-size(65536) log-iw-size(10000)); }};
destination d {{ syslog("127.0.0.1" port({target}) transport("tcp") template("$MSG")
    log-fifo-size(10000)
    disk-buffer(reliable(yes) disk-buf-size(8589934592) mem-buf-size(67108864) dir("{work}"))); }};
log {{ source(s); destination(d); flags(flow-control); }};
"""


def cpu_of(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def libraries():
    found = subprocess.run(["bash", "-c", f'. "{LIBRARY}"; receivers_libraries "{FETCHED}"'],
                           capture_output=True, text=True, check=True)
    return dict(os.environ, LD_LIBRARY_PATH=found.stdout.strip())


def listening(port):
    wanted = f"{port:04X}"
    with open("/proc/net/tcp", encoding="ascii") as file:
        return any(f.split()[1].endswith(":" + wanted) and f.split()[3] == "0A"
                   for f in file.readlines()[1:])


class Rsyslog:
    def __init__(self, rig, target, sync):
        self.port = harness.free_port()
        work = rig.path("rsyslog")
        os.makedirs(work)
        conf = rig.path("rsyslog.conf")
        with open(conf, "w", encoding="ascii") as file:
            file.write(RSYSLOG.format(work=work, port=self.port, target=target,
                                      sync="on" if sync else "off",
                                      checkpoint=1 if sync else 0))
        modules = os.path.dirname(subprocess.run(
            ["find", FETCHED + "/usr/lib", "-name", "imtcp.so"], capture_output=True, text=True,
            check=True).stdout.split()[0])
        self.program = rig.start("rsyslog", [FETCHED + "/usr/sbin/rsyslogd", "-n", "-f", conf, "-i",
                                             rig.path("pid"), "-M", modules], env=libraries())
        harness.wait_until("rsyslog listens", lambda: listening(self.port), 30)


class SyslogNg:
    def __init__(self, rig, target):
        self.port = harness.free_port()
        work = rig.path("syslog-ng")
        os.makedirs(work)
        env = libraries()
        modules = os.path.dirname(subprocess.run(
            ["find", FETCHED + "/usr/lib", "-name", "libaffile.so"], capture_output=True, text=True,
            check=True).stdout.split()[0])
        said = subprocess.run([FETCHED + "/usr/sbin/syslog-ng", "--version", "--module-path",
                               modules], env=env, capture_output=True, text=True, check=False)
        version = re.search(r"^Config version: *(\S+)", said.stdout, re.M)
        conf = rig.path("syslog-ng.conf")
        with open(conf, "w", encoding="ascii") as file:
            file.write(SYSLOGNG.format(version=version.group(1) if version else "3.38", work=work,
                                       port=self.port, target=target))
        self.program = rig.start(
            "syslog-ng", [FETCHED + "/usr/sbin/syslog-ng", "-F", "--no-caps", "-f", conf,
                          "--persist-file", rig.path("persist"), "--pidfile", rig.path("pid"),
                          "--control", rig.path("control"), "--module-path", modules], env=env)
        harness.wait_until("syslog-ng listens", lambda: listening(self.port), 30)


def received(rig):
    try:
        with open(rig.path("sink.json"), encoding="ascii") as file:
            return json.load(file)["messages"]
    except (OSError, ValueError):
        return 0


def settle_cpu(pid, quiet=2.0):
    """(CPU, moment of its last move) once the CPU time has stood still for `quiet` seconds."""
    last, since = cpu_of(pid), time.monotonic()
    while time.monotonic() - since < quiet:
        time.sleep(0.1)
        now = cpu_of(pid)
        if now > last + 1.5 / TICK:  # an idle daemon ticks a little
            last, since = now, time.monotonic()
    return last, since


def sink_on(rig, port):
    return rig.start_sink("--discard", "--stats", rig.path("sink.json"), port=port)


def finish(rig, pid, frames, began, before):
    harness.wait_until("the receiver has everything", lambda: received(rig) >= frames, 900, 0.1)
    return cpu_of(pid) - before, time.monotonic() - began


def feed(rig, port, blob):
    feeder = rig.start("feeder", [sys.executable, "-c", FEEDER, str(port), blob])
    feeder.expected = False
    return feeder


def peer_run(make, blob, frames):
    """{"spool": (cpu, wall), "drain": ..., "steady": ...} of one peer."""
    out = {}
    with harness.Rig("peer") as rig:
        port = harness.free_port()
        peer = make(rig, port)
        pid = peer.program.process.pid
        before, began = cpu_of(pid), time.monotonic()
        feed(rig, peer.port, blob).process.wait(timeout=1800)
        cpu, ended = settle_cpu(pid)
        out["spool"] = (cpu - before, ended - began)
        before, began = cpu_of(pid), time.monotonic()
        sink_on(rig, port)
        out["drain"] = finish(rig, pid, frames, began, before)
    with harness.Rig("peer") as rig:
        sink = sink_on(rig, 0)
        peer = make(rig, sink.port)
        pid = peer.program.process.pid
        before, began = cpu_of(pid), time.monotonic()
        feed(rig, peer.port, blob)
        out["steady"] = finish(rig, pid, frames, began, before)
    return out


def relay_run(payloads, logs):
    out = {}
    more = {"format__provenance": False, "spool__max_size": "40GiB"}
    with harness.Rig("relay") as rig:
        rig.start_sim("--payloads", payloads, shards=1)
        port = harness.free_port()
        began = time.monotonic()
        relay = rig.start_relay(rig.config(port, **more))
        harness.wait_until("all spooled", lambda: (rig.status() or {}).get("frames", 0) >= logs,
                           900, 0.1)
        pid, wall = relay.process.pid, time.monotonic() - began
        out["spool"] = (cpu_of(pid), wall)
        before, began = cpu_of(pid), time.monotonic()
        sink_on(rig, port)
        out["drain"] = finish(rig, pid, logs, began, before)
    with harness.Rig("relay") as rig:
        rig.start_sim("--payloads", payloads, shards=1)
        sink = sink_on(rig, 0)
        began = time.monotonic()
        relay = rig.start_relay(rig.config(sink.port, **more))
        out["steady"] = finish(rig, relay.process.pid, logs, began, 0)
    return out


def corpus(bin_dir, work, mb):
    """(folder of payloads, file of octet-counted frames, logs, bytes of frames)."""
    payloads, blob = os.path.join(work, f"payloads-{mb}"), os.path.join(work, f"frames-{mb}")
    os.makedirs(payloads)
    text = subprocess.run([f"{bin_dir}/slsr-bench-format", "--write", payloads, str(mb)], check=True,
                          capture_output=True, text=True).stdout
    logs = int(re.findall(r"\d+", text)[0])
    config = os.path.join(work, "preview.json")
    with open(config, "w", encoding="ascii") as file:
        json.dump({"format": {"hostname": "relay.example.com"}}, file)
    size = 0
    with open(blob, "wb") as out:
        for name in sorted(n for n in os.listdir(payloads) if n.endswith(".lz4")):
            lines = subprocess.run([f"{bin_dir}/sls-relay", "-c", config, "--preview-file",
                                    os.path.join(payloads, name)], check=True, capture_output=True,
                                   env=harness.clean_env()).stdout.splitlines()
            block = b"".join(b"%d %s" % (len(line), line) for line in lines)
            out.write(block)
            size += len(block)
    return payloads, blob, logs, size


SVG_STYLE = """<style>
text { fill: #1f2328; font: 13px sans-serif }
.title { font-size: 15px; font-weight: bold }
.ours { font-weight: bold }
.axis { stroke: #848d97; stroke-width: 1; opacity: .35 }
.spool { fill: #6e9bd1 } .drain { fill: #c79a3b } .steady { fill: #2f9e77 }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } }
</style>"""


def svg(path, rows):
    """Bars of all phases, CPU-seconds per GB of frames on a scale of powers of ten, the shorter the
    better. No background, so that it is read on a light page and on a dark one."""
    left, width, low, decades = 170, 480, -1, 4  # 0.1 to 1000

    def at(value):
        return width * (min(max(math.log10(max(value, 1e-9)), low), low + decades) - low) / decades
    height = 96 + 62 * len(rows)
    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 760 {height}" width="760" '
             f'height="{height}" role="img" aria-label="CPU of the relay and its peers">', SVG_STYLE,
             '<text x="16" y="24" class="title">CPU-seconds per GB of frames (less is better; each '
             'line is ten times the one before)</text>']
    for i, phase in enumerate(("spool", "drain", "steady")):
        words = {"spool": "target away", "drain": "catching up", "steady": "steady state"}[phase]
        lines.append(f'<rect x="{left + 150 * i}" y="38" width="12" height="12" class="{phase}"/>'
                     f'<text x="{left + 18 + 150 * i}" y="49">{words}</text>')
    for power in range(low, low + decades + 1):
        x = left + width * (power - low) / decades
        lines.append(f'<line x1="{x:.0f}" y1="62" x2="{x:.0f}" y2="{height - 26}" class="axis"/>'
                     f'<text x="{x:.0f}" y="{height - 8}" text-anchor="middle">{10 ** power:g}</text>')
    for i, row in enumerate(rows):
        y = 68 + 62 * i
        ours = ' class="ours"' if row["name"].startswith("sls-relay") else ""
        lines.append(f'<text x="16" y="{y + 30}"{ours}>{row["name"]}</text>')
        for k, phase in enumerate(("spool", "drain", "steady")):
            value, top = row[phase + "_cpu"], y + 17 * k
            lines.append(f'<rect x="{left}" y="{top}" width="{max(2, at(value)):.0f}" height="14" '
                         f'class="{phase}"/><text x="{left + 6 + at(value):.0f}" y="{top + 12}">'
                         f'{value:.3g}</text>')
    lines.append("</svg>\n")
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join(lines))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mb", type=int, default=200, help="raw MB of the corpus (200)")
    parser.add_argument("--sync-mb", type=int, default=4, help="the same for rsyslog with sync (4)")
    parser.add_argument("--bin", default=os.path.join(ROOT, "build", "bench", "bin"))
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--svg", metavar="FILE")
    args = parser.parse_args()
    os.environ["SLSR_BIN"] = os.path.abspath(args.bin)
    subprocess.run(["bash", "-c", f'. "{LIBRARY}"; receivers_fetch "{FETCHED}"'], check=True)
    rows = []
    with tempfile.TemporaryDirectory(prefix="slsr-peers-") as work:
        large, small = (corpus(args.bin, work, n) for n in (args.mb, args.sync_mb))
        for name, run, (payloads, blob, logs, size) in (
                ("sls-relay (synced)", lambda p, b, n: relay_run(p, n), large),
                ("rsyslog, sync off", lambda p, b, n: peer_run(
                    lambda r, t: Rsyslog(r, t, False), b, n), large),
                ("rsyslog, sync on", lambda p, b, n: peer_run(
                    lambda r, t: Rsyslog(r, t, True), b, n), small),
                ("syslog-ng, reliable", lambda p, b, n: peer_run(SyslogNg, b, n), large)):
            figures = run(payloads, blob, logs)
            row = {"name": name, "frames": logs, "bytes": size}
            for phase, (cpu, wall) in figures.items():
                row[phase + "_cpu"] = cpu / size * 1e9
                row[phase + "_mb_s"] = size / wall / 1e6
            rows.append(row)
            print(name, file=sys.stderr)
    print(f"{platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}")
    print(f"{'':<22}{'frames MB':>10}" + "".join(f"{p + ' CPU-s/GB':>17}{'MB/s':>8}"
                                                 for p in ("spool", "drain", "steady")))
    for row in rows:
        print(f"{row['name']:<22}{row['bytes'] / 1e6:>10.0f}" + "".join(
            f"{row[p + '_cpu']:>17.2f}{row[p + '_mb_s']:>8.0f}" for p in ("spool", "drain", "steady")))
    ours, peers = rows[0], rows[1:]
    print(f"best peer in the steady state: {min(r['steady_cpu'] for r in peers):.2f}, "
          f"{min(r['steady_cpu'] for r in peers) / ours['steady_cpu']:.1f} times ours")
    if args.svg:
        svg(args.svg, rows)
    if args.json:
        with open(args.json, "w", encoding="utf-8") as file:
            json.dump(rows, file, indent=1)
            file.write("\n")


if __name__ == "__main__":
    main()
