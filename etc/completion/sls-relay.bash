# bash completion for sls-relay(8): options, files, and the names of all settings behind --set.
# Installed as /usr/share/bash-completion/completions/sls-relay.

_sls_relay_settings() {
    # Places as --set takes them, out of the effective settings: targets.0.port= and so on.
    local -a where=()
    local i
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in -c | --config) where=(-c "${COMP_WORDS[i + 1]}") ;; esac
    done
    timeout 2 sls-relay "${where[@]}" --print-config 2>/dev/null | awk '
        function place(  i, text) {
            for (i = 1; i <= depth; i++) text = text (i > 1 ? "." : "") part[i]
            return text
        }
        {
            depth = int(match($0, /[^ ]/) / 2)
            line = substr($0, RSTART)
            if (line ~ /^[]}]/) next
            if (match(line, /^"[^"]*": /)) {
                part[depth] = substr(line, 2, RLENGTH - 4)
                value = substr(line, RLENGTH + 1)
            } else {
                part[depth] = count[depth]++ + 0
                value = line
            }
            count[depth + 1] = 0
            if (depth > 0 && value !~ /^[[{]$/) print place() "="
        }'
}

_sls_relay() {
    local word=${COMP_WORDS[COMP_CWORD]} last=${COMP_WORDS[COMP_CWORD - 1]}
    case $last in
    -c | --config | --preview-file)
        mapfile -t COMPREPLY < <(compgen -f -- "$word")
        return
        ;;
    --set)
        compopt -o nospace 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -W "$(_sls_relay_settings)" -- "$word")
        return
        ;;
    --preview) [[ $word != -* ]] && COMPREPLY=() && return ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W '--config --set --check --test-connection --print-config
        --preview --preview-file --help --version' -- "$word")
}

complete -F _sls_relay sls-relay
