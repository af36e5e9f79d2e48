#!/usr/bin/python3 -B
"""The receiver examples of etc/receivers are configurations that rsyslog and syslog-ng accept.

Each is read by the daemon of Debian in its checking mode; certificates that the examples name are made
here and put in their place, nothing else is changed. A broken copy must be refused, so that the check
is known to look.
"""
import glob
import os
import subprocess

import harness
import receivers
from harness import ROOT, check

FOLDER = os.path.join(ROOT, "etc", "receivers")


def certificate(rig):
    for name in ("ca", "siem"):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                        "ec_paramgen_curve:P-256", "-nodes", "-days", "1", "-subj", f"/CN={name}",
                        "-keyout", rig.path(f"{name}.key"), "-out", rig.path(f"{name}.pem")],
                       check=True, capture_output=True, timeout=60)


def verdict(rig, name, text):
    """Exit code and messages of the daemon that the file is for."""
    for folder in ("/etc/rsyslog.d/tls", "/etc/syslog-ng/tls"):
        text = text.replace(folder, rig.dir)
    path = rig.path(name)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    libraries = receivers.shell("receivers_libraries", receivers.FETCHED).strip()
    daemon, module = (("rsyslogd", "imtcp.so") if name.startswith("rsyslog") else
                      ("syslog-ng", "libaffile.so"))
    modules = os.path.dirname(glob.glob(f"{receivers.FETCHED}/usr/lib/**/{module}",
                                        recursive=True)[0])
    options = (["-N1", "-f", path, "-M", modules] if daemon == "rsyslogd" else
               ["--syntax-only", "--no-caps", "-f", path, "--module-path", modules])
    done = subprocess.run([f"{receivers.FETCHED}/usr/sbin/{daemon}", *options], text=True,
                          capture_output=True, timeout=120 * harness.SLOW,
                          env=dict(os.environ, LD_LIBRARY_PATH=libraries))
    return done.returncode, done.stdout + done.stderr


def test(rig):
    receivers.fetch()
    certificate(rig)
    names = sorted(os.listdir(FOLDER))
    check(len(names) >= 5, f"examples: {names}")
    for name in names:
        with open(os.path.join(FOLDER, name), encoding="utf-8") as file:
            text = file.read()
        code, said = verdict(rig, name, text)
        check(code == 0, f"{name} is refused: {said}")
        broken = text.replace("sls", "sls }", 1) if name.startswith("syslog") else text + "input(\n"
        check(verdict(rig, "rsyslog-broken" if name.startswith("rsyslog") else "syslog-broken",
                      broken)[0] != 0, f"a broken {name} is accepted")
        print(f"{name}: accepted")


harness.main(test)
