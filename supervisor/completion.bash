# Completion for bash: options come from --help, so that they are written down once. Installed under the name of each
# program; sourcing it once is enough for all.

_df2redis() {
    local word=${COMP_WORDS[COMP_CWORD]} commands='' asking=(--help)
    COMPREPLY=()
    [[ ${1##*/} != df2redis ]] || asking=(help options)
    if [[ $word == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$("$1" "${asking[@]}" 2>/dev/null | grep -oE -- '--[a-z][a-z-]*')" -- "$word")
        return
    fi
    if [[ ${1##*/} == df2redis && $COMP_CWORD -eq 1 ]]; then
        commands=$("$1" help commands 2>/dev/null)
    fi
    mapfile -t COMPREPLY < <(compgen -f -W "$commands" -- "$word")
}

complete -o filenames -F _df2redis df2redis dfreader dfparse rediswriter df2redis-check df2redis-monitor
