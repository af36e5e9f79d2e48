# bash completion for syslog-sink(1).
# Installed as /usr/share/bash-completion/completions/syslog-sink.

_syslog_sink() {
    local word=${COMP_WORDS[COMP_CWORD]} last=${COMP_WORDS[COMP_CWORD - 1]}
    case $last in
    --cert | --key | --ca | --output | --stats)
        mapfile -t COMPREPLY < <(compgen -f -- "$word")
        return
        ;;
    --framing)
        mapfile -t COMPREPLY < <(compgen -W 'auto octet lf' -- "$word")
        return
        ;;
    --listen)
        compopt -o nospace 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -W 'tcp:// udp:// tls:// relp:// relp+tls://' -- "$word")
        return
        ;;
    --max-message)
        mapfile -t COMPREPLY < <(compgen -W '64KiB 1MiB' -- "$word")
        return
        ;;
    --expect | --rate | --die-after | --reset-after | --stall-after)
        COMPREPLY=()
        return
        ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W '--listen --cert --key --ca --framing --max-message --output
        --discard --stats --expect --strict --rate --die-after --reset-after --stall-after --help
        --version' -- "$word")
}

complete -F _syslog_sink syslog-sink
