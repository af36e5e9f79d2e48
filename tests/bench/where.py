"""Where the relay's time goes: perf samples of a whole run, by stage (tools/bench --profile).

A sample belongs to a stage by the thread's name (shard, spool-writer, spool-early, send) and by
what runs: a library, a function of ours, or the system call that the kernel works for. Kernel work
in interrupts counts where it hits, so a stage may carry some of another's network or disk.
"""
import collections
import os
import re
import signal
import subprocess
import sys

CALLS = (("recv", "fetch"), ("sys_sendto", "send"), ("sys_sendmsg", "send"),
         ("pwrite", "commit: page cache"), ("writev", "commit: page cache"),
         ("fdatasync", "commit: sync"), ("fsync", "commit: sync"), ("sync_file_range", "commit: sync"),
         ("fallocate", "commit: blocks"), ("fadvise", "give pages back"), ("madvise", "map and give back"), ("munmap", "memory"),
         ("mremap", "memory"), ("sys_brk", "memory"), ("futex", "wait and wake"),
         ("sys_poll", "wait and wake"), ("asm_exc_page_fault", "page faults"))
ORDER = ("fetch", "lz4", "decode", "format", "tables and hash", "compress chunks", "commit: copy",
         "commit: page cache", "commit: sync", "commit: blocks", "give pages back", "read and verify",
         "map and give back", "send", "encrypt", "page faults", "memory", "wait and wake", "rest")


def record(path):
    """The words in front of a command line that make perf watch it."""
    return ["perf", "record", "-q", "-e", "cpu-clock", "-F", "1999", "-g", "-o", path, "--"]


def stop(process):
    """Ends the watched program, and waits until perf has written its file."""
    listed = f"/proc/{process.pid}/task/{process.pid}/children"
    with open(listed, encoding="ascii") as file:
        os.kill(int(file.read().split()[0]), signal.SIGTERM)
    process.wait(60)


def of_library(library, function, thread):
    if "lz4" in library:
        return ("lz4" if thread != "send" else "read and verify") if "decompress" in function else \
            "compress chunks"
    if "xxhash" in library:
        return "read and verify" if thread == "send" else "tables and hash"
    if "curl" in library:
        return "fetch"
    if "lmdb" in library:
        return "read and verify" if thread == "send" else "commit: copy"
    if "ssl" in library or "crypto" in library:
        return "encrypt" if thread == "send" else "fetch"
    if "libc" in library:
        return {"spool-writer": "commit: copy", "send": "read and verify",
                "shard": "fetch" if "memmove" in function else "rest"}.get(thread, "rest")
    return None


def of_ours(function):
    for pattern, stage in ((r"codec_|next_item|check_", "decode"),
                           (r"format_|keys_|kv_|json_|text_|header_|flat|put_|clean_|frame_close",
                            "format"),
                           (r"prepare_|chunk_write", "tables and hash"),
                           (r"load_|range_|chunk_|decode_table|slsr_range|give_pages",
                            "read and verify"),
                           (r"transport|evidence|stream|tcp_|octet|feed_|piece_", "send")):
        if re.match(pattern, function):
            return stage
    return None


def stage_of(thread, frames):
    """frames: [(function, object)], innermost first."""
    function, where = frames[0]
    if "kernel" not in where:
        return of_library(os.path.basename(where), function, thread) or of_ours(function) or "rest"
    kernel = " ".join(f for f, w in frames if "kernel" in w)
    for call, stage in CALLS:
        if call in kernel:
            return stage
    return "wait and wake" if "schedule" in kernel else "rest"


def stages(data, raw_bytes):
    """{stage: CPU-s per raw GB} of a file of perf. cpu-clock ticks 1999 times a second."""
    text = subprocess.run(["perf", "script", "-i", data, "-F", "comm,ip,sym,dso"], check=True,
                          capture_output=True, text=True).stdout
    counts = collections.Counter()
    for sample in text.split("\n\n"):
        lines = [line for line in sample.split("\n") if line.strip()]
        if len(lines) < 2:
            continue
        thread = re.split(r"[ :]", lines[0].strip())[0]
        frames = []
        for line in lines[1:]:
            found = re.match(r"\s*[0-9a-f]+ (.*) \((.*?)\)", line)
            if found:
                frames.append((found.group(1).split("+")[0], found.group(2)))
        if frames:
            counts[stage_of(thread, frames)] += 1
    return {stage: n / 1999 / raw_bytes * 1e9 for stage, n in counts.items()}


def show(columns, out=sys.stdout):
    kinds = list(columns)
    print(f"{'where the time goes':<22}" + "".join(f"{k:>8}" for k in kinds) +
          "   (CPU-s per raw GB)", file=out)
    for stage in ORDER:
        if any(stage in c for c in columns.values()):
            print(f"{stage:<22}" + "".join(f"{columns[k].get(stage, 0):>8.3f}" for k in kinds),
                  file=out)
    print(f"{'all':<22}" + "".join(f"{sum(columns[k].values()):>8.3f}" for k in kinds), file=out)
