#!/usr/bin/python3 -B
"""Many shards over many relay processes on one simulated service.

    tests/scale/many_relays.py [--shards 1000] [--relays 20] [--fetch 1s] [--seconds 20] [--logs N@S]
                               [--json FILE]

All relays start at once in one consumer group. Measured: the time until every shard is held and no
relay has two more than another; then, over some seconds, the requests that the service got, by kind,
and the CPU and memory of the relays; then how long the group needs after one relay was killed, after it
came back, and how many shards changed hands for that. Ends 1 when an assignment does not settle or is
not even. Nothing else should run on the machine. SLSR_BIN chooses the programs.
"""
import argparse
import json
import os
import re
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "system"))
import harness  # noqa: E402
from harness import check, wait_until  # noqa: E402

GROUP = "relay"
TICK = os.sysconf("SC_CLK_TCK")


class Crowd:
    def __init__(self, rig, shards, relays, fetch="1s", timeout_s=30, beat="2s", logs=None, wait=300):
        self.rig, self.shards, self.wait_s = rig, shards, wait
        options = ["--generate", logs] if logs else []
        self.sim = rig.start_sim(*options, shards=shards)
        self.names = [f"relay-{n:02d}" for n in range(relays)]
        self.configs = {name: rig.config(
            9, f"{name}.json", source__consumer=name, spool__path=rig.path(f"spool-{name}"),
            source__fetch_interval=fetch, source__heartbeat_interval=beat,
            source__heartbeat_timeout=f"{timeout_s}s") for name in self.names}
        self.programs = {}

    def start(self, *names):
        for name in names or self.names:
            self.programs[name] = self.rig.start_relay(self.configs[name], name=name)

    def owners(self):
        """The owner of each shard; None while something is still on its way."""
        for name, program in self.programs.items():
            check(program.running(), f"{name} ended by itself")
        shards = self.rig.sim_get()["logstores"][0]["shards"]
        slots = [s["consumer_groups"].get(GROUP) for s in shards]
        if any(slot is None or slot["state"] != "held" for slot in slots):
            return None
        owners = [slot["holder"] for slot in slots]
        counts = [owners.count(name) for name in self.programs]
        even = sum(counts) == len(shards) and max(counts) - min(counts) <= 1
        return owners if even else None

    def settle(self):
        began = time.monotonic()
        owners = wait_until(f"{self.shards} shards held evenly by {len(self.programs)} relays",
                            self.owners, self.wait_s, 0.25)
        return time.monotonic() - began, owners


def cpu_s(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def memory_kib(pid):
    """Resident, proportional and private anonymous memory."""
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
        text = file.read()
    return [int(re.search(rf"^{name}:\s+(\d+) kB", text, re.M).group(1))
            for name in ("Rss", "Pss", "Anonymous")]


def observe(crowd, seconds):
    """What a settled crowd costs."""
    pids = [p.process.pid for p in crowd.programs.values()]
    before, cpu = crowd.rig.sim_get()["calls"], sum(cpu_s(pid) for pid in pids)
    sim_cpu, began = cpu_s(crowd.sim.process.pid), time.monotonic()
    time.sleep(seconds)  # the length of the measurement
    took = time.monotonic() - began
    after = crowd.rig.sim_get()["calls"]
    memory = [memory_kib(pid) for pid in pids]
    rss, pss, anonymous = (sum(m[i] for m in memory) for i in range(3))
    return {
        "requests_s": {k: round((after[k] - before[k]) / took, 1) for k in after if after[k] > before[k]},
        "requests_total_s": round(sum(after[k] - before[k] for k in after) / took, 1),
        "relays_cpu_percent": round(100 * (sum(cpu_s(pid) for pid in pids) - cpu) / took, 1),
        "sim_cpu_percent": round(100 * (cpu_s(crowd.sim.process.pid) - sim_cpu) / took, 1),
        "rss_mib": round(rss / 1024, 1), "pss_mib": round(pss / 1024, 1),
        "anonymous_mib": round(anonymous / 1024, 1),
        "pss_kib_per_shard": round(pss / crowd.shards, 1),
        "anonymous_kib_per_shard": round(anonymous / crowd.shards, 1),
        "threads": sum(len(os.listdir(f"/proc/{pid}/task")) for pid in pids),
    }


def run(rig, arguments):
    crowd = Crowd(rig, arguments.shards, arguments.relays, arguments.fetch, logs=arguments.logs)
    crowd.start()
    took, owners = crowd.settle()
    result = {"shards": arguments.shards, "relays": arguments.relays, "fetch_interval": arguments.fetch,
              "settle_s": round(took, 1), "shards_per_relay": [
                  min(owners.count(n) for n in crowd.names), max(owners.count(n) for n in crowd.names)]}
    result |= observe(crowd, arguments.seconds)
    gone = crowd.names[0]
    crowd.programs.pop(gone).kill()
    result["settle_after_kill_s"], fewer = (lambda t, o: (round(t, 1), o))(*crowd.settle())
    result["moved_after_kill"] = sum(a != b for a, b in zip(owners, fewer))
    crowd.start(gone)
    result["settle_after_return_s"], again = (lambda t, o: (round(t, 1), o))(*crowd.settle())
    result["moved_after_return"] = sum(a != b for a, b in zip(fewer, again))
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--shards", type=int, default=1000)
    parser.add_argument("--relays", type=int, default=20)
    parser.add_argument("--fetch", default="1s")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--logs", help="generate logs meanwhile: COUNT@PER_SECOND")
    parser.add_argument("--json")
    arguments = parser.parse_args()
    try:
        with harness.Rig("many-relays") as rig:
            result = run(rig, arguments)
    except harness.Failed as error:
        print(f"many-relays: FAILED: {error}")
        sys.exit(1)
    for key, value in result.items():
        print(f"{key:26} {value}")
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump(result, file, indent=2)


if __name__ == "__main__":
    main()
