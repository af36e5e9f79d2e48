"""Several relays that share the shards of one logstore, and what their consumer group did.

A Fleet runs in a network namespace of the test's own (`own_network` starts the test again inside one):
the service on one side, each relay in a namespace behind a cable of its own that can be pulled. What is
judged afterwards comes from the service's transcript of heartbeats and checkpoints and from the spools.
"""
import base64
import collections
import datetime
import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.parse

import harness
from harness import KEY, LOGSTORE, PROJECT, check, cursor_number, wait_until

GROUP = "relay"
PORT = 8090  # in a namespace of our own: nobody else is there


def own_network():
    """Goes on only inside a network namespace that ends with the test."""
    if os.environ.get("SLSR_OWN_NETWORK") == str(os.getppid()):
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        return
    if os.geteuid() != 0 or not shutil.which("unshare") or not shutil.which("ip"):
        print("needs root, unshare and ip for network namespaces")
        sys.exit(77)
    environment = dict(os.environ, SLSR_OWN_NETWORK=str(os.getpid()))
    done = subprocess.run(["unshare", "--net", sys.executable, "-B", *sys.argv], env=environment)
    sys.exit(done.returncode if done.returncode >= 0 else 1)


def moment(text):
    """"2026-11-24T18:33:40.627Z" as seconds."""
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def ip(*arguments):
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


class Relay:
    def __init__(self, fleet, number):
        self.fleet, self.number = fleet, number
        self.name = f"relay-{number}"
        self.space = f"slsr-{os.getpid()}-{number}"
        self.cable = f"cable{number}"
        self.spool = fleet.rig.path(f"spool-{number}")
        self.program = None
        ours, theirs = f"10.99.{number}.1", f"10.99.{number}.2"
        ip("netns", "add", self.space)
        fleet.rig.at_end.callback(subprocess.run, ["ip", "netns", "del", self.space],
                                  capture_output=True)
        ip("link", "add", self.cable, "type", "veth", "peer", "name", "eth0", "netns", self.space)
        ip("addr", "add", f"{ours}/24", "dev", self.cable)
        ip("link", "set", self.cable, "up")
        ip("-n", self.space, "addr", "add", f"{theirs}/24", "dev", "eth0")
        ip("-n", self.space, "link", "set", "eth0", "up")
        ip("-n", self.space, "link", "set", "lo", "up")
        self.config = fleet.rig.config(
            9, f"{self.name}.json", source__connect_to=f"{ours}:{PORT}", source__consumer=self.name,
            spool__path=self.spool, source__heartbeat_interval=f"{fleet.beat_ms}ms",
            source__heartbeat_timeout=f"{fleet.timeout_s}s", **fleet.settings)

    def start(self):
        argv = ["ip", "netns", "exec", self.space, *self.fleet.rig.relay_argv(self.config)]
        self.program = self.fleet.rig.start(self.name, argv, env=self.environment())

    def environment(self):
        return harness.clean_env()

    def pull_cable(self):
        ip("link", "set", self.cable, "down")

    def plug_cable(self):
        ip("link", "set", self.cable, "up")

    def signal(self, number):
        self.program.process.send_signal(number)

    def frames(self):
        """(mark, arrival in seconds) of every frame in the spool, in order."""
        out = self.fleet.rig.run("sls-spool", "-D", self.spool, "-o", "jsonl", "cat", seconds=300,
                                 code=None).stdout
        frames = [json.loads(line) for line in out.splitlines()]
        return [((f["shard"], cursor_number(f["cursor"]), f["index"]), moment(f["arrival"]))
                for f in frames]


class Fleet:
    relay_type = Relay

    def __init__(self, rig, relays, shards, beat_ms=500, timeout_s=3, sim=(), **settings):
        self.rig, self.shards, self.beat_ms, self.timeout_s = rig, shards, beat_ms, timeout_s
        self.settings = settings
        self.transcript = rig.path("transcript.jsonl")
        self.outages = []  # (down, up) of the service, in its own seconds
        self.sim_options = ["--state", rig.path("state"), "--transcript", self.transcript,
                            "--transcript-calls", "heartbeat,checkpoint,get_checkpoint", *sim]
        self.sim = None
        self.start_sim()
        self.relays = [self.relay_type(self, n) for n in range(1, relays + 1)]

    def start_sim(self):
        argv = [self.rig.tool("sls-sim"), "--listen", f"0.0.0.0:{PORT}", "--access-key", ":".join(KEY),
                "--project", PROJECT, "--logstore", f"{LOGSTORE}:{self.shards}", *self.sim_options]
        self.sim = self.rig.start("sls-sim", argv)
        self.sim.wait_line(r"listening on")
        self.rig.sim_port = PORT

    def start(self):
        for relay in self.relays:
            relay.start()

    def stats(self):
        return self.rig.sim_get()["logstores"][0]

    def settled(self):
        """The figures once every relay beats and every shard that can be is held, evenly."""
        for relay in self.relays:
            check(relay.program.running(), f"{relay.name} ended by itself")
        stats = self.stats()
        group = [g for g in stats["consumer_groups"] if g["group"] == GROUP]
        if not group:
            return None
        names = {c["consumer"] for c in group[0]["consumers"]
                 if c["silent_ms"] <= 2 * self.beat_ms + 1000}
        states = [s["consumer_groups"][GROUP]["state"] for s in stats["shards"]
                  if GROUP in s["consumer_groups"]]
        if names < {r.name for r in self.relays} or len(states) < len(stats["shards"]) or \
                any(s not in ("held", "over") for s in states):
            return None
        held = [c["held"] for c in group[0]["consumers"]]
        return stats if max(held) - min(held) <= 1 else None

    def wait_settled(self, seconds=90):
        return wait_until("all relays beat and all shards are held evenly", self.settled, seconds, 0.1)

    def wait_checkpoints(self, logs, seconds=180):
        """Until the service has made all logs and every checkpoint stands at the end."""
        def ask():
            stats = self.rig.sim_get()
            store = stats["logstores"][0]
            return store["logs"] >= logs and all(
                s["consumer_groups"].get(GROUP, {}).get("checkpoint_groups") == s["groups"]
                for s in store["shards"])
        wait_until("every checkpoint at its shard's end", ask, seconds, 0.2)

    def stop(self):
        for relay in self.relays:
            relay.program.expected = False
            relay.signal(signal.SIGTERM)
        for relay in self.relays:
            check(relay.program.wait(60) == 0, f"TERM did not end {relay.name} with exit 0")

    def lines(self):
        """The transcript, line by line."""
        with open(self.transcript, "rb") as file:
            yield from parsed(file)

    def events(self):
        """The transcript's lines as (at, call, query, request body, status, answer); the query names
        who asked (`consumer`) also where only the User-Agent does."""
        for line in self.lines():
            request, response = line["request"], line["response"]
            query = dict(urllib.parse.parse_qsl(request["query"]))
            agent = dict(request["headers"]).get("User-Agent", "")
            query.setdefault("consumer", agent.rpartition("/")[2])
            call = "get" if request["method"] == "GET" else query.get("type", "")
            yield (line["at"], call, query, body(request), response["status"], body(response))


def parsed(lines):
    for text in lines:
        try:
            yield json.loads(text)
        except ValueError:
            continue  # the line in which the service was killed


def body(message):
    data = bytes.fromhex(message["body_hex"])
    try:
        return json.loads(data) if data else None
    except ValueError:
        return None


def ownership_gaps(fleet):
    """How often each time-out of a holder cost more than two beats of who took over.

    A shard is attended whenever a heartbeat names it or is answered with it. Returns (the longest time
    unattended, the most beats that its next owner sent between the time-out and taking it)."""
    attended = {}
    beats = collections.defaultdict(list)  # consumer -> times of good heartbeats
    longest, most = 0.0, 0
    ups = [up for _, up in fleet.outages]
    for at, call, query, listed, status, answer in fleet.events():
        if call != "heartbeat" or status != 200:
            continue
        who = query["consumer"]
        for shard in set(listed or []) | set(answer or []):
            since = attended.get(shard)
            attended[shard] = at
            if since is None:
                continue
            # After an outage of the service everyone's time starts afresh, as it sees it.
            since = max([since] + [up for up in ups if since < up <= at])
            if at - since > fleet.timeout_s:
                late = [t for t in beats[who] if t > since + fleet.timeout_s] + [at]
                most = max(most, len(late))
            longest = max(longest, at - since)
        beats[who].append(at)
    return longest, most


def began(fleet):
    """shard -> [(when, cursor, who)]: every checkpoint that somebody was told to begin at. Who asked, not
    who held the shard by then: a consumer whose late heartbeat gave it away has begun all the same."""
    starts = collections.defaultdict(list)
    for at, call, query, _, status, answer in fleet.events():
        if call != "get" or status != 200 or not isinstance(answer, list):
            continue
        for item in answer:
            cursor = cursor_number(item["checkpoint"]) if item["checkpoint"] else 0
            starts[item["shard"]].append((at, cursor, query["consumer"]))
    return starts


def overlapped(starts, mark, first, again):
    """Was a log that `first` (relay, when) has spooled to be read by `again` once more? Two relays had
    to begin at or before it; one and the same only if another had the shard in between."""
    mine = [s for s in starts[mark[0]] if s[1] <= mark[1] and s[0] <= again[1] + 1]
    if first[0] != again[0]:
        return {first[0], again[0]} <= {s[2] for s in mine}
    return any(s[2] != first[0] and s[0] >= first[1] - 1 for s in mine)


def union(fleet):
    """All marks in the spools, how many of them are there again, and those without an overlap."""
    frames = []
    for relay in fleet.relays:
        frames += [(arrival, mark, relay.name) for mark, arrival in relay.frames()]
    frames.sort()
    starts = began(fleet)
    first, duplicates, strange = {}, 0, []
    for arrival, mark, name in frames:
        if mark not in first:
            first[mark] = (name, arrival)
            continue
        duplicates += 1
        if not overlapped(starts, mark, first[mark], (name, arrival)):
            strange.append((mark, first[mark], (name, arrival)))
    return set(first), duplicates, strange


def split(fleet, shard=None):
    fleet.rig.sim_post("/_sim/split", json.dumps({"logstore": LOGSTORE, **(
        {} if shard is None else {"shard": shard})}))


def merge(fleet, shard):
    fleet.rig.sim_post("/_sim/merge", json.dumps({"logstore": LOGSTORE, "shard": shard}))


def encode(number):
    return base64.b64encode(str(number).encode()).decode()
