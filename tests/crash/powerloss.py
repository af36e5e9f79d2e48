#!/usr/bin/python3 -B
"""The power fails at a random moment, again and again.

The writer runs once with an interposer that writes down every change of the spool folder, every
barrier and every acknowledgement. From that log crash images are made: what a finished fsync,
fdatasync or O_DSYNC write covers is kept; of everything later each 4 KiB block is kept, lost or torn
at a sector of 512 bytes, independently, so that later writes survive earlier ones; files and names
that no fsync of their folder covers may be missing, and unlinked ones may be back. Every image must
open, hold everything acknowledged up to that moment, verify clean and go on.

The same with barriers that lie (SLSR_IO_NOSYNC) must lose something, or the harness is blind; that is
tested first. SLSR_IMAGES sets the number of images (500), SLSR_BATCHES the length of a run.
"""
import os
import shutil

from common import INTERPOSE, Failed, check, main, number, run, scratch, seed

BLOCK, SECTOR = 4096, 512
OPTIONS = ["batch=40", "frame=2500", f"max-size={10 << 20}"]


class Log:
    """The interposer's log: a list of (op, id, a, b, data)."""

    def __init__(self, path):
        self.entries = []
        with open(path, "rb") as file:
            while head := file.readline():
                op, ident, a, b, n = head.split()
                self.entries.append((op.decode(), int(ident), int(a), int(b), file.read(int(n))))


class File:
    def __init__(self):
        self.durable = bytearray()
        self.pending = []  # (offset, data) or (size,) for a truncation, in order

    def apply(self, change):
        if len(change) == 1:
            size = change[0]
            del self.durable[size:]
            self.durable.extend(bytes(size - len(self.durable)))
        else:
            write(self.durable, *change)

    def sync(self):
        for change in self.pending:
            self.apply(change)
        self.pending.clear()


def write(content, offset, data):
    if len(content) < offset:
        content.extend(bytes(offset - len(content)))
    content[offset:offset + len(data)] = data


class World:
    """The folder as the disk knows it for certain, and what may or may not have reached it."""

    def __init__(self, root):
        self.root = root
        self.files = {}
        self.names = {}  # certain: path -> id
        self.changes = []  # uncertain: ("add" | "drop" | "mkdir", path, id)
        self.folders = {root}
        self.said = b""

    def step(self, entry):
        op, ident, a, b, data = entry
        path = data.decode(errors="replace") if op in "COUNDM" else ""
        if op == "C":
            self.files[ident] = File()
            self.changes.append(("add", path, ident))
        elif op == "N":
            self.changes.append(("add", path, ident))
        elif op == "U":
            self.changes.append(("drop", path, ident))
        elif op == "M":
            self.changes.append(("mkdir", path, None))
        elif op == "W" and b:
            self.files[ident].apply((a, data))
        elif op == "W":
            self.files[ident].pending.append((a, data))
        elif op == "T":
            self.files[ident].pending.append((a,))
        elif op == "S":
            self.files[ident].sync()
        elif op == "D":
            left = []
            for change in self.changes:
                if os.path.dirname(change[1]) == path:
                    settle(change, self.names, self.folders)
                else:
                    left.append(change)
            self.changes = left
        elif op == "A":
            self.said += data

    def image(self, dice, home, interrupted):
        """Makes one possible disk below home. interrupted: the entry that was under way."""
        names, folders = dict(self.names), set(self.folders)
        mode = dice.random()  # some disks keep nearly all, some nearly nothing
        keep = 0.02 if mode < 0.2 else 0.98 if mode < 0.4 else dice.random()
        for change in self.changes:
            if dice.random() < keep:
                settle(change, names, folders)
        for path, ident in names.items():
            if os.path.dirname(path) not in folders or ident not in self.files:
                continue
            file = self.files[ident]
            content = bytearray(file.durable)
            pending = list(file.pending)
            if interrupted[0] == "W" and interrupted[1] == ident:
                pending.append((interrupted[2], interrupted[4]))
            for change in pending:
                if len(change) == 1:
                    if dice.random() < keep:
                        size = change[0]
                        del content[size:]
                        content.extend(bytes(size - len(content)))
                else:
                    survive(content, *change, dice, keep)
            target = home + path[len(self.root):]
            os.makedirs(os.path.dirname(target), exist_ok=True)
            with open(target, "wb") as out:
                out.write(content)


def settle(change, names, folders):
    kind, path, ident = change
    if kind == "add":
        names[path] = ident
    elif kind == "drop":
        if names.get(path) == ident:
            del names[path]
    else:
        folders.add(path)


def survive(content, offset, data, dice, keep):
    """Writes those blocks of one unsynced write that reached the disk; some of them torn."""
    at = 0
    while at < len(data):
        n = min(BLOCK - (offset + at) % BLOCK, len(data) - at)
        luck = dice.random()
        if luck < keep * 0.9:
            write(content, offset + at, data[at:at + n])
        elif luck < keep:
            for sector in range(at, at + n, SECTOR):
                if dice.random() < 0.5:
                    write(content, offset + sector, data[sector:min(sector + SECTOR, at + n)])
        elif dice.random() < 0.3 and offset + at + n > len(content):
            content.extend(bytes(offset + at + n - len(content)))  # the size alone arrived
        at += n


def record(folder, name, turn, batches, lying):
    """One run of the writer below the interposer: its log."""
    home = os.path.join(folder, name)
    os.makedirs(home)
    env = {"LD_PRELOAD": INTERPOSE, "SLSR_IO_DIR": home, "SLSR_IO_LOG": home + ".log"}
    if lying:
        env["SLSR_IO_NOSYNC"] = "1"
    code, text = run("write", os.path.join(home, "deep", "spool"), *OPTIONS, f"seed={turn}",
                     f"batches={batches}", env=env, out=home + ".said")
    check(code == 0, f"the recorded run failed, exit {code}: {text}")
    log = Log(home + ".log")
    kinds = {op: sum(e[0] == op for e in log.entries) for op in "CWSDUTA"}
    check(kinds["W"] > 20 and kinds["A"] > 20, f"the interposer saw too little: {kinds}")
    check(lying or kinds["S"] > 10, f"the interposer saw no barriers: {kinds}")
    shutil.rmtree(home)
    return log, kinds


def images(folder, name, dice, turn, count, batches, lying=False):
    """Judges count images of one run; the sentences of those that failed."""
    log, kinds = record(folder, name, turn, batches, lying)
    # A third of the cuts falls where files come into being: a small and tender part of the log.
    births = [i for i, e in enumerate(log.entries) if e[0] in "CM"]
    cuts = sorted(min(len(log.entries) - 1, dice.choice(births) + dice.randrange(1, 14))
                  if dice.random() < 0.34 else dice.randrange(1, len(log.entries))
                  for _ in range(count))
    root = os.path.join(folder, name)
    world, at, bad = World(root), 0, []
    for index, cut in enumerate(cuts):
        while at < cut:
            world.step(log.entries[at])
            at += 1
        home = os.path.join(folder, f"{name}-image")
        os.makedirs(home)
        world.image(dice, home, log.entries[cut])
        with open(home + ".said", "wb") as said:
            said.write(world.said)
        code, text = run("judge", os.path.join(home, "deep", "spool"), *OPTIONS,
                         f"acknowledged={home}.said")
        if code != 0:
            bad.append(f"image {index}, cut at entry {cut} ({log.entries[cut][0]}): "
                       f"{text.strip()} (exit {code})")
            if os.environ.get("SLSR_KEEP"):
                os.rename(home, f"{home}-bad-{index}")
        shutil.rmtree(home, ignore_errors=True)
    return bad, kinds


def test():
    dice, turn = seed()
    folder = scratch("power", fast=True)
    total, batches = number("SLSR_IMAGES", 500), number("SLSR_BATCHES", 60)
    lies, _ = images(folder, "lying", dice, turn, 40, batches, lying=True)
    check(any("LOST" in text or "not open" in text or "verify" in text for text in lies),
          "barriers that lie lose nothing: the harness is blind")
    print(f"barriers that lie: {len(lies)} of 40 images are broken, such as: {lies[-1]}")
    done, runs = 0, max(4, total // 125)
    for part in range(runs):
        count = (total - done) // (runs - part)
        bad, kinds = images(folder, f"run{part}", dice, turn + part, count, batches)
        if bad:
            raise Failed(f"{len(bad)} of {count} images: " + "; ".join(bad[:5]))
        done += count
    print(f"{done} images of {runs} runs (the last: {kinds}): all open, nothing acknowledged is lost")


if __name__ == "__main__":
    main(test)
