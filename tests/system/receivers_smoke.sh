#!/bin/bash
# Do the real receivers of the other system tests work at all?
#
# Both daemons are started from unpacked packages, take three octet-counted frames (plain, with
# structured data and UTF-8, 60,000 bytes long) and write them byte for byte. They are stopped and
# started again on the same port: the second run appends. Usage: receivers_smoke.sh [PACKAGE-FOLDER]
set -u
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tests/lib/receivers.sh
. "$here/../lib/receivers.sh"

work=$(mktemp -d)
packages=${1:-$work/packages}
RECEIVER_PID=
trap '[ -z "$RECEIVER_PID" ] || receiver_stop "$RECEIVER_PID"; rm -rf "$work"' EXIT

fail() {
    printf 'receivers_smoke: %s\n' "$*" >&2
    for log in "$work"/*/log; do
        [ -e "$log" ] && printf -- '--- %s\n' "$log" >&2 && cat "$log" >&2
    done
    exit 1
}

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# send PORT RUN EXPECTED: appends what must be written to EXPECTED, sends the frames, finishes and
# waits until the receiver has closed.
send() {
    python3 - "$@" <<'EOF'
import socket
import sys

port, run, expected = int(sys.argv[1]), sys.argv[2].encode(), sys.argv[3]
head = b"<14>1 2026-01-02T03:04:05.000678Z h a - - "
messages = [head + b"- plain " + run,
            head + b'[id@32473 a="say \\"hi\\" \\\\ \\]"] \xe6\x97\xa5\xe5\xbf\x97 ' + run,
            head + b"- " + b"x" * 60000 + run]
with open(expected, "ab") as f:
    f.write(b"".join(m + b"\n" for m in messages))
with socket.create_connection(("127.0.0.1", port), timeout=30) as s:
    s.sendall(b"".join(b"%d %s" % (len(m), m) for m in messages))
    s.shutdown(socket.SHUT_WR)
    if s.recv(1) != b"":
        sys.exit("the receiver answered although syslog has no answers")
EOF
}

receivers_fetch "$packages" || fail "cannot fetch the packages"
receivers_fetch "$packages" || fail "fetching again must do nothing"

for kind in rsyslog syslogng; do
    port=$(free_port)
    for run in first second; do
        "${kind}_start" "$packages" "$work/$kind" "$port" "$work/$kind.out" >/dev/null ||
            fail "$kind does not start ($run)"
        send "$port" "$run" "$work/$kind.expected" || fail "$kind took no frames ($run)"
        receiver_stop "$RECEIVER_PID" || fail "$kind does not stop ($run)"
        RECEIVER_PID=
        cmp "$work/$kind.expected" "$work/$kind.out" || fail "$kind wrote something else ($run)"
    done
    printf 'receivers_smoke: %s ok\n' "$kind"
done
