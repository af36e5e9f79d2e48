#!/usr/bin/python3 -B
"""Cost and memory of the relay over shards, targets and backlog.

    tests/bench/scale.py [--mb N] [--rows SHARDSxTARGETS,...] [--backlog GB,...] [--runs N]
                         [--fetch INTERVAL] [--work DIR [--prepare]] [--bin DIR] [--json FILE]

Every row is --runs runs of the whole pipeline (sls-sim serves prepared payloads over HTTP,
syslog-sink --discard receives): the median and the range of CPU-seconds of the relay alone per raw
GB until the last acknowledgement, and its largest resident set. --work keeps the payloads; --prepare
only makes them. Rows: 1, 4, 16, 64 and 256 shards with one target; 1, 2 and 4 targets with
four shards, per GB raw and, since each target is sent the whole stream, per GB sent; and with a
backlog that already lies in the spool undelivered (the target refuses connections). A shard that
has nothing more asks again after --fetch, by default that of the relay: the system tests' 50 ms are
four times as many questions, and the last acknowledgement comes a second after the last log.
"""
import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "system"))
import harness  # noqa: E402

TICK = os.sysconf("SC_CLK_TCK")


def cpu_of(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def peak_of(pid):
    """Largest (anonymous + file) resident set so far and the anonymous part now, in MB."""
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        text = file.read()
    return (int(re.search(r"VmHWM:\s+(\d+)", text).group(1)) / 1024,
            int(re.search(r"RssAnon:\s+(\d+)", text).group(1)) / 1024)


def corpus(bin_dir, work, mb):
    folder = os.path.join(work, f"payloads-{mb}")
    if not os.path.isdir(folder):
        os.makedirs(folder)
        text = subprocess.run([f"{bin_dir}/slsr-bench-format", "--write", folder, str(mb)],
                              check=True, capture_output=True, text=True).stdout
        with open(folder + ".count", "w", encoding="ascii") as file:
            file.write(text)
    with open(folder + ".count", encoding="ascii") as file:
        logs, raw = (int(n) for n in re.findall(r"\d+", file.read()))
    return folder, logs, raw


def target(number, port):
    return {"name": f"siem-{number}", "protocol": "tcp", "host": "127.0.0.1", "port": port,
            "settle": "200ms", "retry": {"initial": "50ms", "max": "500ms", "multiplier": 2}}


def run(bin_dir, work, mb, shards, targets, fetch):
    folder, logs, raw = corpus(bin_dir, work, max(1, mb // shards))
    logs, raw = logs * shards, raw * shards
    with harness.Rig("scale") as rig:
        rig.start_sim("--payloads", folder, shards=shards)
        sinks = [rig.start_sink("--discard", name=f"sink-{n}") for n in range(targets)]
        config = rig.config(9, format__provenance=False, spool__max_size="60GiB",
                            source__fetch_interval=fetch,
                            targets=[target(n, s.port) for n, s in enumerate(sinks)])
        relay = rig.start_relay(config)

        def drained():
            status = rig.status()
            return status and status["next_seq"] > logs and all(
                t["acked_seq"] >= logs for t in status["targets"])
        harness.wait_until("all delivered", drained, 900, 0.2)
        pid = relay.process.pid
        cost, (peak, anon) = cpu_of(pid), peak_of(pid)
        pulls = rig.sim_get()["calls"]["pull"]
        relay.stop()
    return {"shards": shards, "targets": targets, "cpu_s_per_raw_gb": cost / raw * 1e9,
            "peak_mb": peak, "anon_mb": anon, "pulls": pulls}


def backlog_run(bin_dir, work, mb, backlog_gb):
    """The same while `backlog_gb` raw GB lie undelivered for a target that is away."""
    folder, logs, raw = corpus(bin_dir, work, mb)
    shards = 1 + int(backlog_gb * 1000 / mb + 0.999)
    dead = harness.free_port()
    with harness.Rig("scale") as rig:
        rig.start_sim("--payloads", folder, shards=shards)
        config = rig.config(dead, format__provenance=False, spool__max_size="200GiB",
                            targets=[target(0, dead)])
        relay = rig.start_relay(config)
        pid = relay.process.pid

        def spooled(wanted):
            harness.wait_until("spooled", lambda: (rig.status() or {}).get("frames", 0) >= wanted,
                               1800, 0.2)
        spooled(logs * (shards - 1))
        before, at = cpu_of(pid), rig.status()["frames"]
        spooled(logs * shards)
        spool_cost = (cpu_of(pid) - before) / ((logs * shards - at) / logs * raw) * 1e9 \
            if logs * shards > at else float("nan")
        before = cpu_of(pid)
        rig.start_sink("--discard", port=dead)
        harness.wait_until("drained", lambda: all(
            t["acked_seq"] >= logs * shards for t in rig.status()["targets"]), 1800, 0.2)
        drain = (cpu_of(pid) - before) / (raw * shards) * 1e9
        peak, anon = peak_of(pid)
        relay.stop()
    return {"backlog_gb": backlog_gb, "spool_cpu_s_per_raw_gb": spool_cost,
            "drain_cpu_s_per_raw_gb": drain, "peak_mb": peak, "anon_mb": anon}


def median_of(runs, key):
    """The run in the middle by `key`, with the range of it."""
    runs = sorted(runs, key=lambda row: row[key])
    return runs[len(runs) // 2] | {"least": runs[0][key], "most": runs[-1][key]}


def measure(args, work):
    rows, backlogs = [], []
    print(f"{'shards':>6} {'targets':>7} {'CPU-s per raw GB':>17} {'range':>11} {'peak MB':>8} "
          f"{'anonymous MB':>13} {'pulls':>7}")
    for shards, targets in args.rows:
        row = median_of([run(args.bin, work, args.mb, shards, targets, args.fetch)
                         for _ in range(args.runs)], "cpu_s_per_raw_gb")
        rows.append(row)
        print(f"{shards:>6} {targets:>7} {row['cpu_s_per_raw_gb']:>17.2f} "
              f"{row['least']:>5.2f}-{row['most']:.2f}  {row['peak_mb']:>8.0f} "
              f"{row['anon_mb']:>13.0f} {row['pulls']:>7}", flush=True)
    print("backlog GB   spool   drain  (CPU-s per raw GB)   peak MB")
    for size in args.backlog:
        row = backlog_run(args.bin, work, args.mb, size)
        backlogs.append(row)
        print(f"{size:>10.0f} {row['spool_cpu_s_per_raw_gb']:>7.2f} "
              f"{row['drain_cpu_s_per_raw_gb']:>7.2f} {row['peak_mb']:>29.0f}", flush=True)
    return {"rows": rows, "backlogs": backlogs}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mb", type=int, default=1000, help="raw MB per run (1000)")
    parser.add_argument("--rows", default="1x1,4x1,16x1,64x1,256x1,4x2,4x4",
                        type=lambda text: [[int(n) for n in row.split("x")]
                                           for row in text.split(",") if row],
                        help="shards x targets (1x1,4x1,16x1,64x1,256x1,4x2,4x4)")
    parser.add_argument("--backlog", default="1,5",
                        type=lambda text: [float(n) for n in text.split(",") if n],
                        help="backlogs in raw GB, such as 1,5,20 (1,5)")
    parser.add_argument("--runs", type=int, default=1, help="runs of each row (1)")
    parser.add_argument("--fetch", default="200ms", metavar="INTERVAL",
                        help="source.fetch_interval of the rows (200ms)")
    parser.add_argument("--work", metavar="DIR", help="where to keep the payloads")
    parser.add_argument("--prepare", action="store_true", help="make the payloads, measure nothing")
    parser.add_argument("--bin", default=os.path.join(ROOT, "build", "bench", "bin"))
    parser.add_argument("--json", metavar="FILE")
    args = parser.parse_args()
    os.environ["SLSR_BIN"] = os.path.abspath(args.bin)
    print(f"{platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}")
    with tempfile.TemporaryDirectory(prefix="slsr-scale-") as own:
        work = args.work or own
        for shards in {shards for shards, _ in args.rows} | ({1} if args.backlog else set()):
            corpus(args.bin, work, max(1, args.mb // shards))
        if args.prepare:
            return
        result = measure(args, work)
    if args.json:
        with open(args.json, "w", encoding="utf-8") as file:
            json.dump(result, file, indent=1)
            file.write("\n")


if __name__ == "__main__":
    main()
