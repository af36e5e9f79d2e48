# bash completion for sls-sim(1).
# Installed as /usr/share/bash-completion/completions/sls-sim.

_sls_sim() {
    local word=${COMP_WORDS[COMP_CWORD]} last=${COMP_WORDS[COMP_CWORD - 1]}
    local calls='pull heartbeat checkpoint get_checkpoint cursor shards group put any'
    local kinds='error= quota expired-token empty-error html skew= delay= late= hang drop truncate corrupt
        rawsize=+ no-cursor empty-cursor split merge rebalance'
    # Readline splits at colons: then the word before one is the call.
    if [[ $last == : && ${COMP_WORDS[COMP_CWORD - 3]} == --fault ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$kinds" -- "$word")
        return
    fi
    if [[ $word == : && ${COMP_WORDS[COMP_CWORD - 2]} == --fault ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$kinds")
        return
    fi
    case $last in
    --load | --state | --transcript)
        mapfile -t COMPREPLY < <(compgen -f -- "$word")
        return
        ;;
    --payloads)
        mapfile -t COMPREPLY < <(compgen -d -- "$word")
        return
        ;;
    --listen)
        mapfile -t COMPREPLY < <(compgen -W '127.0.0.1:8090' -- "$word")
        return
        ;;
    --fault)
        compopt -o nospace 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -S : -W "$calls" -- "$word")
        return
        ;;
    --transcript-calls)
        mapfile -t COMPREPLY < <(compgen -W "$calls" -- "$word")
        return
        ;;
    --quota)
        compopt -o nospace 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -S = -W 'read-bytes reads write-bytes writes' -- "$word")
        return
        ;;
    --access-key | --sts-key | --token | --project | --logstore | --generate | --seed | --retention | --clock)
        COMPREPLY=()
        return
        ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W '--listen --access-key --sts-key --token --project --logstore
        --generate --seed --load --payloads --state --retention --quota --clock --fault --transcript
        --transcript-calls --help --version' -- "$word")
}

complete -F _sls_sim sls-sim
