"""The real receivers of tests/lib/receivers.sh, as objects of a test."""
import os
import signal
import subprocess

from harness import ROOT, SLOW, check, free_port

LIBRARY = os.path.join(ROOT, "tests", "lib", "receivers.sh")
FETCHED = os.path.join(ROOT, "build", "receivers")


def shell(function, *arguments, seconds=120, **environment):
    """Calls a function of tests/lib/receivers.sh and returns what it printed."""
    run = subprocess.run(["bash", "-c", 'set -u; . "$1"; shift; "$@"', "receivers", LIBRARY, function,
                          *map(str, arguments)], stdin=subprocess.DEVNULL, capture_output=True,
                         text=True, timeout=seconds * SLOW, env={**os.environ, **environment})
    check(run.returncode == 0, f"{function}: {run.stderr.strip()}")
    return run.stdout


def fetch():
    if not os.path.exists(os.path.join(FETCHED, "complete-2")):
        root = [] if os.getuid() == 0 else ["sudo"]
        subprocess.run([*root, "apt-get", "-qq", "update"], stdin=subprocess.DEVNULL,
                       capture_output=True, check=False, timeout=300)
    shell("receivers_fetch", FETCHED, seconds=600)


class Receiver:
    """rsyslog or syslog-ng on a free port; tls: ((certificate, key), CA of the clients); driver: by
    which library rsyslog does TLS, ossl or gtls; tls_max: the newest TLS it knows, 1.1 or 1.2."""

    def __init__(self, rig, kind, tls=None, driver="ossl"):
        self.rig, self.kind, self.tls, self.driver = rig, kind, tls, driver
        self.tls_max = ""
        self.work, self.out = rig.path(kind), rig.path(kind + ".received")
        self.port = free_port()
        self.pid = None
        rig.at_end.callback(self.kill)

    def start(self):
        printed = shell(f"{self.kind}_start", FETCHED, self.work, self.port, self.out,
                        *([*self.tls[0], self.tls[1]] if self.tls else []),
                        RECEIVER_DRIVER=self.driver, RECEIVER_TLS_MAX=self.tls_max)
        self.pid = int(printed.split()[-1])

    def stop(self):
        pid, self.pid = self.pid, None
        shell("receiver_stop", pid)

    def kill(self):
        if self.pid is not None:
            os.kill(self.pid, signal.SIGKILL)

    def size(self):
        return os.path.getsize(self.out) if os.path.exists(self.out) else 0


def listening(port):
    """Does somebody listen on 127.0.0.1:port? Asks the kernel instead of connecting."""
    with open("/proc/net/tcp", encoding="ascii") as file:
        rows = [line.split() for line in file.readlines()[1:]]
    return any(row[1] in (f"0100007F:{port:04X}", f"00000000:{port:04X}") and row[3] == "0A"
               for row in rows)
