#!/usr/bin/python3 -B
"""A real rsyslog and a real syslog-ng are each stopped and started twice while logs flow.

A service generates logs in four shards; the relay sends them to the receiver, which writes a file.
Twice, in the middle of the stream, the receiver gets TERM, stays away until a backlog has built up,
and comes back. In the end its file holds every log at least once, and the first occurrences are in
the order of their shard.
"""
import harness
import oracle
from harness import Rig, check, env_number, judge_received, wait_until
from receivers import Receiver, fetch

def siem_stopped(rig, kind, logs):
    # About ten seconds of logs, so that both stops fall into the stream.
    rig.start_sim("--generate", f"{logs}@{max(1, logs // 10)}")
    receiver = Receiver(rig, kind)
    receiver.start()
    relay = rig.start_relay(rig.config(receiver.port, targets__0__settle="1s"))
    for turn in range(2):
        before = receiver.size()
        rig.wait_spooled(logs * (2 * turn + 1) // 5)
        wait_until("frames arrive", lambda: receiver.size() > before)
        receiver.stop()
        down_at = rig.status()["frames"]
        check(down_at < logs, "all logs were spooled before the receiver could be stopped")
        status = rig.wait_spooled(min(logs, down_at + logs // 8))
        backlog = status["targets"][0]["backlog_frames"]
        check(backlog > 0, "no backlog although the receiver is down")
        check(relay.running(), "the relay ended because its receiver did")
        print(f"{kind}: stopped at {down_at} frames, back with a backlog of {backlog}")
        receiver.start()
    rig.wait_drained(logs)
    check(relay.stop() == 0, "TERM did not end the relay with exit 0")
    receiver.stop()
    expected = oracle.Reader(rig.sim_port).marks()
    check(len(expected) == logs, f"the service holds {len(expected)} logs, not {logs}")
    lines, twice = judge_received(receiver.out, expected)
    print(f"{kind}: {lines} lines for {logs} logs, {twice} repeats, order kept")


def test(_):
    logs = env_number("SLSR_LOGS", 200000)
    fetch()
    for kind in ("rsyslog", "syslogng"):
        with Rig("siem-" + kind) as rig:
            siem_stopped(rig, kind, logs)


if __name__ == "__main__":
    harness.main(test)
