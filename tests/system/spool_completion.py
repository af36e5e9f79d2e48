#!/usr/bin/python3 -B
"""The shells know the tool's verbs, options and the names in the spool at hand.

bash and zsh run the installed completions for real (zsh at a terminal, with the tabulator key): verbs,
targets, shards and jobs are those of the spool that -D names. What bash offers behind a verb is what the
tool accepts there, no option more and none less. Without zsh that part is left out, and said so.
"""
import os
import pty
import re
import select
import shutil
import subprocess
import time

import harness
from harness import check

FOLDER = os.path.join(harness.ROOT, "etc", "completion")
VERBS = ("status list cat tail shards targets gaps top shape audit hold release skip requeue purge pause "
         "resume flush seek replay export import backup verify repair readers stats").split()


def bash(rig, *lines):
    """What bash would offer behind each of these lines, the last word being under way."""
    ask = [f". {FOLDER}/sls-spool.bash", f"PATH={rig.bin}:$PATH",
           't() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=(); _sls_spool; '
           'echo "${COMPREPLY[*]}"; }', *("t sls-spool " + line for line in lines)]
    done = subprocess.run(["bash", "-c", "\n".join(ask)], capture_output=True, text=True,
                          check=False, timeout=120 * harness.SLOW)
    check(done.stderr == "", f"bash says {done.stderr}")
    return [line.split() for line in done.stdout.split("\n")[:-1]]


class Zsh:
    """An interactive zsh on a terminal of its own."""

    def __init__(self, rig):
        rc = rig.path("zdot")
        os.makedirs(rc, exist_ok=True)
        with open(os.path.join(rc, ".zshrc"), "w", encoding="utf-8") as file:
            file.write(f"fpath=({FOLDER} $fpath)\nPATH={rig.bin}:$PATH\nautoload -Uz compinit\n"
                       f"compinit -u -d {rc}/dump\nPROMPT='ready> '\nunsetopt beep\nbindkey -e\n"
                       "KEYTIMEOUT=1\n")
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ.update(ZDOTDIR=rc, TERM="dumb", COLUMNS="400")
            os.execvp("zsh", ["zsh", "-d", "-i"])
        self.text = ""
        self.wait("ready> ")

    def wait(self, pattern):
        deadline = time.monotonic() + 60 * harness.SLOW
        while not (found := re.search(pattern, self.text)):
            check(time.monotonic() < deadline, f"zsh does not say {pattern}: {self.text!r}")
            if select.select([self.fd], [], [], 1)[0]:
                self.text += os.read(self.fd, 65536).decode("utf-8", "replace")
        self.text = self.text[found.end():]
        return found

    def complete(self, line):
        """The line as it stands after the tabulator key."""
        # ^A and a word in front make it harmless; ^X^X brackets show where the answer is.
        os.write(self.fd, line.encode() + b"\t\x01print -r -- '<<'\x05 '>>'\r")
        found = self.wait(r"\r?\n<<(.*?) *>>")
        self.wait("ready> ")
        return found.group(1)

    def close(self):
        os.write(self.fd, b"\x15exit\r")
        os.close(self.fd)
        os.waitpid(self.pid, 0)


def options_of(rig):
    """Long options that the manual page knows, with whether they take a value."""
    with open(os.path.join(harness.ROOT, "docs", "man", "sls-spool.1"), encoding="utf-8") as file:
        text = file.read()
    names = set(re.findall(r"Fl -([a-z][a-z-]*)", text)) - {"help", "version"}
    done = rig.run("sls-spool", "status", "--help").stdout
    check("--since" in done, "--help")
    return sorted(names)


def accepted(rig, verb, name):
    """Does the tool take the option behind this verb? The spool is not even looked for."""
    for more in (["1"], []):
        done = rig.run("sls-spool", "-D", "/nonexistent", verb, f"--{name}", *more, code=None)
        if "means nothing to" in done.stderr:
            return False
        check("unknown option" not in done.stderr, f"the manual has --{name}: {done.stderr}")
    return True


def test_options(rig):
    names = options_of(rig)
    check(len(names) > 30, f"options of the manual: {names}")
    offered = bash(rig, *(f"{verb} -" for verb in VERBS))
    for verb, options in zip(VERBS, offered):
        mine = {option[2:] for option in options} - {"help", "version"}
        takes = {name for name in names if accepted(rig, verb, name)}
        check(mine == takes, f"{verb}: bash offers {sorted(mine - takes)} in vain and lacks "
              f"{sorted(takes - mine)}")


def test_bash(rig, spool):
    where = f"-D {spool}"
    said = bash(rig, f"{where} pause -t ''", f"{where} list -s ''", f"{where} replay --resume ''", "rel",
                f"{where} seek -t siem n", "list --state he", "''")
    check(said[0] == ["archive", "siem"] and said[1] == ["audit/0", "audit/1"] and said[2] == ["1"] and
          said[3] == ["release"] and said[4] == ["newest"] and said[5] == ["held"] and
          sorted(said[6]) == sorted(VERBS), f"bash offers {said}")


def test_zsh(rig, spool):
    zsh = Zsh(rig)
    for line, expected in ((f"sls-spool -D {spool} pause -t si", f"sls-spool -D {spool} pause -t siem"),
                           (f"sls-spool -D {spool} list -s a", f"sls-spool -D {spool} list -s audit/"),
                           (f"sls-spool -D {spool} replay --resume ",
                            f"sls-spool -D {spool} replay --resume 1"),
                           ("sls-spool rel", "sls-spool release"), ("sls-spool sha", "sls-spool sha"),
                           ("sls-spool list --state he", "sls-spool list --state held"),
                           ("sls-spool status --max-b", "sls-spool status --max-backlog")):
        got = zsh.complete(line)
        check(got == expected, f"zsh makes {got!r} of {line!r}")
    zsh.close()


def test(rig):
    spool = rig.path("spool")
    subprocess.run([rig.tool("mkspool"), spool, "100", "2", "1700000000", "10", "targets"], check=True,
                   stdout=subprocess.DEVNULL)
    sink = rig.start_sink("--discard")
    rig.spool("replay", "--seq", "1..5", "--to", f"tcp://127.0.0.1:{sink.port}")
    test_bash(rig, spool)
    test_options(rig)
    if shutil.which("zsh"):
        test_zsh(rig, spool)
    else:
        print("zsh is not installed: its completion was not run")


harness.main(test)
