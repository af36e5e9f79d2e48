"""What the system tests share: programs that are started, awaited, stopped and never left behind.

A test makes one Rig, which owns a temporary folder and every program started in it. Programs get
port 0 and say where they listen ("... listening on ..."); everything else is awaited by asking for
state with a deadline. When a test fails, the last diagnostics of each program are printed. Any
sanitizer report in any program's output fails the test.

Environment: SLSR_BIN (folder of the programs), SLSR_LOGS and SLSR_KILLS (size of the big tests),
SLSR_SEED (random moments), SLSR_SLOW (sanitizers: longer deadlines), SLSR_VALGRIND (relay and tool run
under memcheck; a finding fails the test), SLSR_KEEP (keep the folder).
"""
import base64
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
VALGRIND = bool(os.environ.get("SLSR_VALGRIND"))
SLOW = 10 if VALGRIND else 5 if os.environ.get("SLSR_SLOW") else 1
KEY = ("testId", "testSecret")
PROJECT = "demo"
LOGSTORE = "audit"
REPORT = re.compile(r"AddressSanitizer|ThreadSanitizer|LeakSanitizer|runtime error:")
FINDING = re.compile(r"Invalid |uninitialised|definitely lost|Mismatched|overlap|silly value")
# Parts and values of our RFC 5424 element, as format.provenance writes it.
PROVENANCE = re.compile(rb'\[slsRelay@32473 project="([^"]*)" logstore="([^"]*)" shard="(\d+)" '
                        rb'cursor="([^"]*)" index="(\d+)"')


class Failed(Exception):
    """What a test throws when the product did not do what it should."""


def check(condition, message):
    if not condition:
        raise Failed(message)


def bin_dir():
    given = os.environ.get("SLSR_BIN")
    for folder in [given] if given else ["build/gcc/bin", "build/bin"]:
        path = os.path.abspath(os.path.join(ROOT, folder))
        if os.path.exists(os.path.join(path, "sls-relay")):
            return path
    raise Failed(f"no programs in {given or 'build'}: build first (tools/check gcc)")


def wait_until(what, ask, seconds=60, every=0.05):
    """Asks until the answer is true and returns it; Failed with the last answer after `seconds`."""
    deadline = time.monotonic() + seconds * SLOW
    while True:
        answer = ask()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise Failed(f"waited {seconds * SLOW} s in vain: {what}")
        time.sleep(every)


class Program:
    """One running program; its output (both streams) is a file, which outlives us if it must."""

    def __init__(self, name, argv, log, env=None, preexec=None, cwd=None):
        self.name = name
        self.log = log
        self.expected = True  # to run: until we end it ourselves
        with open(log, "wb") as file:
            self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=file,
                                            stderr=subprocess.STDOUT, env=env, preexec_fn=preexec, cwd=cwd,
                                            start_new_session=True)

    @property
    def lines(self):
        with open(self.log, encoding="utf-8", errors="replace") as file:
            return file.read().split("\n")

    def wait_line(self, pattern, seconds=30, count=1):
        """The match of the count-th line that has the pattern; Failed when it ends without."""
        def ask():
            ended = not self.running()
            found = [m for m in (re.search(pattern, line) for line in self.lines) if m]
            if len(found) >= count:
                return found[count - 1]
            if ended:
                raise Failed(f"{self.name} ended without saying /{pattern}/")
            return None
        return wait_until(f"{self.name} says /{pattern}/", ask, seconds, 0.02)

    def said(self, pattern):
        return [line for line in self.lines if re.search(pattern, line)]

    def running(self):
        return self.process.poll() is None

    def wait(self, seconds=30):
        self.expected = False
        try:
            return self.process.wait(seconds * SLOW)
        except subprocess.TimeoutExpired:
            raise Failed(f"{self.name} still runs after {seconds * SLOW} s") from None

    def stop(self, seconds=30):
        """TERM and the exit code."""
        self.expected = False
        if self.running():
            self.process.send_signal(signal.SIGTERM)
        return self.wait(seconds)

    def kill(self):
        self.expected = False
        if self.running():
            self.process.kill()
        self.process.wait()


class Rig:
    def __init__(self, name):
        self.name = name
        self.bin = bin_dir()
        self.dir = tempfile.mkdtemp(prefix=f"slsr-{name}-")
        self.programs = []
        self.started = 0
        self.sim_port = None
        self.at_end = contextlib.ExitStack()

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        for program in reversed(self.programs):
            program.kill()
        self.at_end.close()
        reports = [p.name for p in self.programs if p.said(REPORT)] + self.findings()
        if kind is not None or reports:
            self.show()
        if not os.environ.get("SLSR_KEEP"):
            shutil.rmtree(self.dir, ignore_errors=True)
        else:
            print(f"kept {self.dir}")
        if reports and kind is None:
            raise Failed("report of sanitizer or valgrind in " + ", ".join(reports))
        return False

    def findings(self):
        """The files of valgrind that found something; shown at once."""
        found = []
        for name in sorted(os.listdir(self.dir)):
            if name.startswith("valgrind-"):
                with open(self.path(name), encoding="utf-8", errors="replace") as file:
                    text = file.read()
                if FINDING.search(text):
                    print(f"--- {name}\n{text[:6000]}")
                    found.append(name)
        return found

    def show(self):
        for program in self.programs:
            print(f"--- {program.name} (exit {program.process.returncode}), last lines")
            for line in program.lines[-40:]:
                print("    " + line[:400])
        sys.stdout.flush()

    def path(self, name):
        return os.path.join(self.dir, name)

    # --- programs ---

    def start(self, name, argv, **more):
        self.started += 1
        log = self.path(f"{self.started:02d}-{name.replace(' ', '-')}.log")
        program = Program(name, argv, log, **more)
        self.programs.append(program)
        return program

    def tool(self, name):
        return os.path.join(self.bin, name)

    def product(self, name):
        """How to start the relay or the tool."""
        if not VALGRIND or name not in ("sls-relay", "sls-spool"):
            return [self.tool(name)]
        return ["valgrind", "--quiet", "--leak-check=full", "--errors-for-leak-kinds=definite",
                "--error-exitcode=97", "--num-callers=25", f"--log-file={self.path('valgrind-%p')}",
                f"--suppressions={ROOT}/tests/lib/valgrind.supp",
                self.tool(name)]

    def start_sim(self, *options, shards=4, project=PROJECT, logstore=LOGSTORE, key=KEY,
                  port=0):
        argv = [self.tool("sls-sim"), "--listen", f"127.0.0.1:{port}", "--access-key", ":".join(key),
                "--project", project, "--logstore", f"{logstore}:{shards}", *options]
        sim = self.start("sls-sim", argv)
        self.sim_port = int(sim.wait_line(r"listening on \S*?:(\d+)\b").group(1))
        return sim

    def start_sink(self, *options, port=0, name="syslog-sink"):
        argv = [self.tool("syslog-sink"), "--listen", f"tcp://127.0.0.1:{port}", *options]
        sink = self.start(name, argv)
        sink.port = int(sink.wait_line(r"listening on \S*?:(\d+)\b").group(1))
        return sink

    def config(self, target_port, name="relay.json", **changes):
        """Writes a configuration and returns its path. changes: "source__project"=..."""
        config = {
            "source": {"endpoint": "http://sls.localhost",
                       "connect_to": f"127.0.0.1:{self.sim_port or 9}",
                       "project": PROJECT, "logstores": [LOGSTORE], "consumer_group": "relay",
                       "cursor_position": "begin", "access_key_id": KEY[0],
                       "access_key_secret": KEY[1], "heartbeat_interval": "1s",
                       "heartbeat_timeout": "10s", "fetch_interval": "50ms"},
            "format": {"provenance": True, "hostname": "relay.example.com"},
            "spool": {"path": self.path("spool"), "min_free_disk": "1MiB"},
            "targets": [{"name": "siem", "protocol": "tcp", "host": "127.0.0.1",
                         "port": target_port or 9, "settle": "200ms",
                         "retry": {"initial": "50ms", "max": "500ms", "multiplier": 2}}],
        }
        for key, value in changes.items():
            place = config
            *parents, last = key.split("__")
            for parent in parents:
                place = place[int(parent)] if isinstance(place, list) else place[parent]
            place[last] = value
        path = self.path(name)
        with open(path, "w", encoding="utf-8") as file:
            json.dump(config, file, indent=2)
        os.chmod(path, 0o600)
        return path

    def relay_argv(self, config, *options):
        return [*self.product("sls-relay"), "-c", config, *options]

    def start_relay(self, config, *options, name="sls-relay"):
        return self.start(name, self.relay_argv(config, *options), env=clean_env())

    def run(self, tool, *arguments, code=0, seconds=120, text=True):
        """Runs a program to its end; `code` None accepts any. Returns the CompletedProcess."""
        done = subprocess.run([*self.product(tool), *arguments], stdin=subprocess.DEVNULL,
                              capture_output=True, timeout=seconds * SLOW, env=clean_env())
        if REPORT.search(done.stderr.decode("utf-8", "replace")):
            raise Failed(f"sanitizer report in {tool}:\n{done.stderr.decode('utf-8', 'replace')}")
        if text:
            done.stdout = done.stdout.decode("utf-8", "replace")
            done.stderr = done.stderr.decode("utf-8", "replace")
        if code is not None and done.returncode != code:
            raise Failed(f"{tool} {' '.join(arguments)}: exit {done.returncode}, not {code}; "
                         f"stderr: {done.stderr}; stdout: {done.stdout[-400:]}")
        return done

    # --- state ---

    def sim_get(self, path="/_sim/stats"):
        url = f"http://127.0.0.1:{self.sim_port}{path}"
        with urllib.request.urlopen(url, timeout=10 * SLOW) as answer:
            return json.load(answer)

    def sim_post(self, path, body):
        request = urllib.request.Request(f"http://127.0.0.1:{self.sim_port}{path}",
                                         data=body.encode(), method="POST")
        with urllib.request.urlopen(request, timeout=10 * SLOW) as answer:
            return answer.read()

    def spool(self, *arguments, **more):
        return self.run("sls-spool", "-D", self.path("spool"), *arguments, **more)

    def status(self):
        """`sls-spool status` as a dict, or None while there is no spool yet. Asked in every wait,
        therefore the place to see that a program has ended behind our back."""
        for program in self.programs:
            check(program.running() or not program.expected,
                  f"{program.name} ended by itself, exit {program.process.returncode}")
        done = self.spool("-o", "json", "status", code=None)
        return json.loads(done.stdout) if done.returncode == 0 else None

    def wait_spooled(self, frames, seconds=120):
        def ask():
            status = self.status()
            return status if status and status["frames"] >= frames else None
        return wait_until(f"{frames} frames in the spool", ask, seconds, 0.2)

    def wait_drained(self, frames, target="siem", seconds=180):
        """All of `frames` spooled and acknowledged by the target."""
        def ask():
            status = self.status()
            if not status or status["next_seq"] <= frames:
                return None
            mine = [t for t in status["targets"] if t["name"] == target]
            return status if mine and mine[0]["acked_seq"] + 1 >= status["next_seq"] else None
        return wait_until(f"{frames} frames acknowledged by {target}", ask, seconds, 0.2)

    def cat(self, *selectors):
        """Frames of the spool, as the dicts of `cat -o jsonl`."""
        out = self.spool("-o", "jsonl", "cat", *selectors).stdout
        return [json.loads(line) for line in out.splitlines()]


def free_port():
    """A loopback port that refuses: bound once, then closed."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def clean_env():
    """The environment without settings that the relay would read."""
    return {k: v for k, v in os.environ.items() if not k.startswith("SLS_") and k != "SIEM"}


def cursor_number(cursor):
    if isinstance(cursor, str):
        cursor = cursor.encode()
    return int(base64.b64decode(cursor))


def provenance(line):
    """(shard, cursor number, index) of a frame that carries it, else None."""
    found = PROVENANCE.search(line)
    if not found:
        return None
    return int(found.group(3)), cursor_number(found.group(4)), int(found.group(5))


def judge_received(path, expected):
    """Checks a receiver's file against the expected set of provenances: all there, and the first
    occurrence of each in order within its shard. Returns (lines, duplicates)."""
    seen, last, lines = set(), {}, 0
    with open(path, "rb") as file:
        for line in file:
            mark = provenance(line)
            check(mark is not None, f"a received line without provenance: {line[:200]!r}")
            lines += 1
            if mark in seen:
                continue
            seen.add(mark)
            shard, place = mark[0], mark[1:]
            check(place > last.get(shard, (0, -1)),
                  f"shard {shard}: {place} arrived after {last.get(shard)}")
            last[shard] = place
    missing, strange = expected - seen, seen - expected
    check(not missing, f"{len(missing)} of {len(expected)} logs never arrived, such as "
          f"{sorted(missing)[:3]}")
    check(not strange, f"{len(strange)} logs arrived that were never pulled: {sorted(strange)[:3]}")
    return lines, lines - len(seen)


def env_number(name, default):
    return int(os.environ.get(name) or default)


def main(test):
    """Runs the test function of a script; its docstring's first line is the title."""
    name = os.path.splitext(os.path.basename(sys.argv[0]))[0].replace("_", "-")
    began = time.monotonic()
    try:
        with Rig(name) as rig:
            test(rig)
    except Failed as error:
        print(f"{name}: FAILED: {error}")
        sys.exit(1)
    except Exception:  # noqa: BLE001  a broken test is a failed test, with its place
        traceback.print_exc()
        print(f"{name}: FAILED")
        sys.exit(1)
    print(f"{name}: ok ({time.monotonic() - began:.1f} s)")
