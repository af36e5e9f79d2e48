# bash completion for sls-spool(1): verbs, options, and the names of the spool at hand.
# Installed as /usr/share/bash-completion/completions/sls-spool.

_sls_spool_ask() {
    # The spool of the words typed so far: -c FILE or -D DIR are passed on.
    local -a where=()
    local i
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
        -c | --config | -D | --directory) where+=("${COMP_WORDS[i]}" "${COMP_WORDS[i + 1]}") ;;
        esac
    done
    timeout 2 sls-spool "${where[@]}" "$@" 2>/dev/null
}

_sls_spool_targets() {
    _sls_spool_ask targets -o jsonl | sed -n 's/.*"name":"\([^"]*\)".*/\1/p'
}

_sls_spool_shards() {
    _sls_spool_ask shards -o jsonl | sed -n 's/.*"logstore":"\([^"]*\)","shard":\([0-9]*\).*/\1\/\2/p'
}

_sls_spool_jobs() {
    _sls_spool_ask replay --list -o jsonl | sed -n 's/.*"id":\([0-9]*\),.*/\1/p'
}

_sls_spool() {
    local verbs='status list cat tail shards targets gaps top shape audit hold release skip requeue purge'
    verbs+=' pause resume flush seek replay export import backup verify repair readers stats'
    local select='--since --until --by-arrival --seq --shard --target --state --grep --ignore-case'
    select+=' --invert --lines'
    local order='--dry-run --reason --yes'
    local send='--to --rate --timeout --yes'
    local word=${COMP_WORDS[COMP_CWORD]} last=${COMP_WORDS[COMP_CWORD - 1]} verb='' i options
    for ((i = 1; i < COMP_CWORD; i++)); do
        case " $verbs " in *" ${COMP_WORDS[i]} "*) verb=${COMP_WORDS[i]} && break ;; esac
    done
    case $last in
    -c | --config) mapfile -t COMPREPLY < <(compgen -f -- "$word") && return ;;
    -D | --directory) mapfile -t COMPREPLY < <(compgen -d -- "$word") && return ;;
    -o) mapfile -t COMPREPLY < <(compgen -W 'text json jsonl raw octet' -- "$word") && return ;;
    --output)
        [ "$verb" = export ] && mapfile -t COMPREPLY < <(compgen -f -- "$word") && return
        mapfile -t COMPREPLY < <(compgen -W 'text json jsonl raw' -- "$word") && return
        ;;
    -t | --target) mapfile -t COMPREPLY < <(compgen -W "$(_sls_spool_targets)" -- "$word") && return ;;
    -s | --shard) mapfile -t COMPREPLY < <(compgen -W "$(_sls_spool_shards)" -- "$word") && return ;;
    --resume | --stop) mapfile -t COMPREPLY < <(compgen -W "$(_sls_spool_jobs)" -- "$word") && return ;;
    --state)
        mapfile -t COMPREPLY < <(compgen -W 'pending delivered held dead skipped' -- "$word") && return
        ;;
    --seq) mapfile -t COMPREPLY < <(compgen -W 'oldest newest' -- "$word") && return ;;
    -S | --since | -U | --until)
        mapfile -t COMPREPLY < <(compgen -W 'now today yesterday' -- "$word") && return
        ;;
    esac
    if [ -z "$verb" ] && [[ $word != -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$verbs" -- "$word")
        return
    fi
    options='--config --directory --output --help --version'
    case $verb in
    status) options+=' --watch --check --max-age --max-backlog' ;;
    list | cat) options+=" $select --reverse --count" ;;
    tail) options+=" $select --follow" ;;
    targets | shape) options+=' --target' ;;
    gaps) options+=' --since --until --target' ;;
    audit) options+=" $select $send --replay --dry-run" ;;
    hold | release | skip | requeue | purge) options+=" $select $order" ;;
    pause | resume | flush | seek) options+=" --target $order" ;;
    replay) options+=" $select $send --dry-run --list --resume --stop" ;;
    export) options+=" $select" ;;
    import) options+=' --dry-run' ;;
    verify) options+=' --deep' ;;
    repair) options+=' --apply --yes' ;;
    readers) options+=' --clear-stale' ;;
    esac
    if [[ $word == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$options" -- "$word")
    elif [ "$verb" = seek ]; then
        mapfile -t COMPREPLY < <(compgen -W 'oldest newest' -- "$word")
    elif [ "$verb" = audit ] || [ "$verb" = import ]; then
        mapfile -t COMPREPLY < <(compgen -f -- "$word")
    elif [ "$verb" = backup ]; then
        mapfile -t COMPREPLY < <(compgen -d -- "$word")
    fi
}

complete -F _sls_spool sls-spool
