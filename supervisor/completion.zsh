#compdef df2redis dfreader dfparse rediswriter df2redis-check df2redis-monitor
# Completion for zsh: options and commands come from the programs' own help, so that they are written down once.

_df2redis_help() {
    if [[ ${1:t} == df2redis ]]; then
        _call_program options $1 help options
    else
        _call_program options $1 --help
    fi
}

_df2redis() {
    local program=${words[1]}
    local -a found
    if [[ $PREFIX == -* ]]; then
        found=(${(fu)"$(_df2redis_help $program 2>/dev/null | grep -oE -- '--[a-z][a-z-]*')"})
        compadd -a found
        return
    fi
    if [[ ${program:t} == df2redis && $CURRENT -eq 2 ]]; then
        found=(${(fu)"$(_call_program commands $program help commands 2>/dev/null)"})
        compadd -a found
    fi
    _files
}

_df2redis "$@"
