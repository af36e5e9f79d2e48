# shellcheck shell=bash
# Real receivers for tests: rsyslog and syslog-ng, unpacked beside the system and run without
# privileges. To be sourced by bash.
#
#   receivers_fetch DIR                            packages and missing libraries into DIR
#   rsyslog_start DIR WORKDIR PORT FRAMEOUT [CERT KEY CA]    both start a daemon on 127.0.0.1:PORT
#   rsyslog_relp_start DIR WORKDIR PORT FRAMEOUT   the same by RELP (imrelp)
#   syslogng_start DIR WORKDIR PORT FRAMEOUT [CERT KEY CA]   that takes octet-counted frames (with TLS
#                                                  and client certificates of CA) and appends each + LF
#   receiver_stop PID                              TERM, waits for the end
#
# The two packages exclude each other on a machine, therefore they are unpacked and never installed.
# With RECEIVER_FIELDS set ("octet", "lf" or "bsd": what the frames are) a daemon writes what it has
# parsed instead, a JSON object a line: pri, time, host, app, procid, msgid, sd, msg. rsyslog tells
# the three apart by itself, syslog-ng has a source for each.
#
# RECEIVER_ADDRESS has rsyslog listen elsewhere: 0.0.0.0 inside a network namespace of the test.
#
# A start sets RECEIVER_PID and prints it; call it without $( ) so that the daemon stays a child of
# the calling shell. Diagnostics of a daemon: WORKDIR/log. `apt-get update` is the caller's business.

RECEIVER_MESSAGE_MAX=65536
RECEIVER_WAIT_S=30

receivers_say() {
    printf 'receivers: %s\n' "$*" >&2
}

# The packages to unpack for $1: itself and whatever apt would have to add to this machine for it.
receivers_closure() {
    printf '%s\n' "$1"
    apt-get -s -o Debug::NoLocking=1 install --no-install-recommends "$1" | awk '$1 == "Inst" {print $2}'
}

receivers_fetch() {
    local dir=$1 package deb
    [ -e "$dir/complete-2" ] && return 0
    mkdir -p "$dir/archives" || return 1
    dir=$(cd "$dir" && pwd) || return 1
    for package in rsyslog rsyslog-openssl rsyslog-gnutls rsyslog-relp syslog-ng-core; do
        if ! receivers_closure "$package" >"$dir/archives/$package.list"; then
            receivers_say "apt cannot resolve $package: run apt-get update"
            return 1
        fi
    done
    while IFS= read -r package; do
        if ! (cd "$dir/archives" && apt-get -q download "$package" >"$package.log" 2>&1); then
            receivers_say "cannot download $package: see $dir/archives/$package.log"
            return 1
        fi
    done < <(sort -u "$dir"/archives/*.list)
    for deb in "$dir"/archives/*.deb; do
        dpkg -x "$deb" "$dir" || return 1
    done
    rm -f "$dir"/archives/*.deb
    if [ ! -x "$dir/usr/sbin/rsyslogd" ] || [ ! -x "$dir/usr/sbin/syslog-ng" ]; then
        receivers_say "the packages did not hold the daemons: look into $dir"
        return 1
    fi
    : >"$dir/complete-2"
}

# Folders of DIR with shared libraries, joined by ':'.
receivers_libraries() {
    find "$1/usr/lib" "$1/lib" -maxdepth 3 -name '*.so*' -printf '%h\n' 2>/dev/null | sort -u | paste -sd:
}

# True when somebody listens on 127.0.0.1:$1 (or on all addresses). Asks the kernel instead of
# connecting: a connection of ours would show up in the receiver.
receivers_listening() {
    awk -v port="$(printf '%04X' "$1")" \
        '$4 == "0A" && ($2 == "0100007F:" port || $2 == "00000000:" port) {found = 1} END {exit !found}' \
        /proc/net/tcp
}

# receivers_await PID PORT WORKDIR
receivers_await() {
    local deadline=$((SECONDS + RECEIVER_WAIT_S))
    until receivers_listening "$2"; do
        if ! kill -0 "$1" 2>/dev/null || [ "$SECONDS" -ge "$deadline" ]; then
            receivers_say "the receiver does not listen on port $2; its diagnostics:"
            cat "$3/log" >&2
            kill -KILL "$1" 2>/dev/null
            return 1
        fi
        sleep 0.05
    done
    # shellcheck disable=SC2034  # the caller's
    RECEIVER_PID=$1
    printf '%s\n' "$1"
}

# The template of RECEIVER_FIELDS; the elements through rsyslog's own parser for them.
rsyslog_fields() {
    cat <<'EOF'
module(load="mmpstrucdata")
action(type="mmpstrucdata" sd_name.lowercase="off")
template(name="raw" type="list" option.jsonf="on") {
  property(outname="pri" name="pri" format="jsonf")
  property(outname="time" name="timereported" dateFormat="rfc3339" format="jsonf")
  property(outname="host" name="hostname" format="jsonf")
  property(outname="app" name="app-name" format="jsonf")
  property(outname="procid" name="procid" format="jsonf")
  property(outname="msgid" name="msgid" format="jsonf")
  property(outname="sd" name="$!rfc5424-sd" format="jsonf")
  property(outname="msg" name="msg" format="jsonf")
}
EOF
}

rsyslog_start() {
    local dir=$1 work=$2 port=$3 out=$4 modules libraries tls='' driver='' form input
    form='template(name="raw" type="string" string="%rawmsg%\n")'
    [ -z "${RECEIVER_FIELDS:-}" ] || form=$(rsyslog_fields)
    mkdir -p "$work" || return 1
    modules=$(dirname "$(find "$dir/usr/lib" -name imtcp.so -print -quit)")
    libraries=$(receivers_libraries "$dir")
    if [ $# -ge 7 ]; then
        tls="defaultNetstreamDriver=\"${RECEIVER_DRIVER:-ossl}\" defaultNetstreamDriverCertFile=\"$5\"
       defaultNetstreamDriverKeyFile=\"$6\" defaultNetstreamDriverCAFile=\"$7\""
        driver='StreamDriver.Name="'${RECEIVER_DRIVER:-ossl}'" StreamDriver.Mode="1" StreamDriver.AuthMode="x509/certvalid"'
        [ -z "${RECEIVER_TLS_MAX:-}" ] ||
            driver+=" gnutlsPriorityString=\"MinProtocol=TLSv1.1
MaxProtocol=TLSv$RECEIVER_TLS_MAX\""
    fi
    if [ -n "${RECEIVER_RELP:-}" ]; then
        input="module(load=\"imrelp\")
input(type=\"imrelp\" address=\"127.0.0.1\" port=\"$port\" maxDataSize=\"$RECEIVER_MESSAGE_MAX\")"
    else
        input="module(load=\"imtcp\" $driver)
input(type=\"imtcp\" address=\"${RECEIVER_ADDRESS:-127.0.0.1}\" port=\"$port\" supportOctetCountedFraming=\"on\")"
    fi
    cat >"$work/rsyslog.conf" <<EOF
global(workDirectory="$work" maxMessageSize="$RECEIVER_MESSAGE_MAX"
       parser.escapeControlCharactersOnReceive="off" $tls)
$input
$form
action(type="omfile" file="$out" template="raw")
EOF
    LD_LIBRARY_PATH=$libraries "$dir/usr/sbin/rsyslogd" -n -f "$work/rsyslog.conf" \
        -i "$work/pid" -M "$modules" >>"$work/log" 2>&1 </dev/null &
    receivers_await $! "$port" "$work"
}

rsyslog_relp_start() {
    local RECEIVER_RELP=1
    rsyslog_start "$@"
}

syslogng_start() {
    local dir=$1 work=$2 port=$3 out=$4 modules libraries version transport='transport("tcp")'
    # shellcheck disable=SC2016  # the daemon's macro
    local source form='$MSG\n'
    mkdir -p "$work" || return 1
    modules=$(dirname "$(find "$dir/usr/lib" -name libaffile.so -print -quit)")
    libraries=$(receivers_libraries "$dir")
    version=$(LD_LIBRARY_PATH=$libraries "$dir/usr/sbin/syslog-ng" --version \
        --module-path "$modules" 2>/dev/null | sed -n 's/^Config version: *//p')
    if [ $# -ge 7 ]; then
        transport="transport(\"tls\") tls(cert-file(\"$5\") key-file(\"$6\") ca-file(\"$7\") peer-verify(required-trusted)"
        case ${RECEIVER_TLS_MAX:-} in
        1.1) transport+=" ssl-options(no-tlsv12, no-tlsv13)" ;;
        1.2) transport+=" ssl-options(no-tlsv13)" ;;
        esac
        transport+=")"
    fi
    source="syslog(ip(\"127.0.0.1\") port($port) $transport flags(no-parse)"
    if [ -n "${RECEIVER_FIELDS:-}" ]; then
        # shellcheck disable=SC2016  # the daemon's macros
        form='$(format-json --leave-initial-dot pri=$PRI time=$S_ISODATE host=$HOST app=$PROGRAM procid=$PID msgid=$MSGID msg=$MSG --key .SDATA.*)\n'
        case $RECEIVER_FIELDS in
        octet) source="syslog(ip(\"127.0.0.1\") port($port) $transport" ;;
        lf) source="network(ip(\"127.0.0.1\") port($port) $transport flags(syslog-protocol)" ;;
        *) source="network(ip(\"127.0.0.1\") port($port) $transport time-zone(\"UTC\")" ;;
        esac
    fi
    cat >"$work/syslog-ng.conf" <<EOF
@version: ${version:-3.38}
options { keep-hostname(yes); keep-timestamp(yes); frac-digits(6); send-time-zone("UTC"); };
source s {
    $source
           log-msg-size($RECEIVER_MESSAGE_MAX));
};
destination d { file("$out" template("$form") template-escape(no) frac-digits(6) time-zone("UTC")); };
log { source(s); destination(d); };
EOF
    LD_LIBRARY_PATH=$libraries "$dir/usr/sbin/syslog-ng" -F --no-caps -f "$work/syslog-ng.conf" \
        --persist-file "$work/persist" --pidfile "$work/pid" --control "$work/control" \
        --module-path "$modules" >>"$work/log" 2>&1 </dev/null &
    receivers_await $! "$port" "$work"
}

# Works for any process; a child of this shell is reaped too. Returns 1 when it had to be killed.
receiver_stop() {
    local rc=0
    kill -TERM "$1" 2>/dev/null || return 0
    if ! timeout "$RECEIVER_WAIT_S" tail --pid="$1" -f /dev/null; then
        receivers_say "receiver $1 does not end on TERM: killed"
        kill -KILL "$1" 2>/dev/null
        rc=1
    fi
    wait "$1" 2>/dev/null
    return "$rc"
}
