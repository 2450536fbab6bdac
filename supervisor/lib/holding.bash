# shellcheck shell=bash
# The ends of a running task, and a dfhold that holds the writes of its source: for cutover. Descriptor 7 leads to
# dfhold, 8 comes from it: no other process may have them, as dfhold lets go when 7 is closed.

hold_pid=
hold_lapsed=0

# ---- how the task reaches its ends: written by the task, without passwords ----

# The options of both connections, as df2redis-check has them, before the stages' own are added.
ends=()
note_ends() {
    local selects=0 word
    check_end source "${source_args[@]}"
    check_end target "${target_args[@]}"
    for word in "${parser_args[@]}"; do
        [[ $word != --include=* && $word != --exclude=* ]] || selects=1
    done
    ends=("$PWD" "$config" "$source_url" "$target_url" "$selects" "$scans" "${check_args[@]}")
}

put_ends() {
    [[ ${#ends[@]} -gt 0 ]] || return 0
    (umask 077 && printf '%s\0' "${ends[@]}" >"$run_dir/ends") || log warn "ends_not_written note=\"there will be no cutover\""
}

ends_dir= selects=0
read_ends() {
    local -a said
    [[ -r $run_dir/ends ]] && mapfile -t -d '' said <"$run_dir/ends"
    [[ ${#said[@]} -ge 6 ]] || die 1 "task $task is none that replicates, or was started by an earlier version ($run_dir/ends)"
    ends_dir=${said[0]} config=${said[1]} source_url=${said[2]} target_url=${said[3]} selects=${said[4]} scans=${said[5]}
    check_args=("${said[@]:6}")
}

# A password that the task's stages have in their environment, into ours, from where programs take it.
take_secret() { # variable stage…
    local variable=$1 stage pid number entry
    shift
    unset "$variable"
    for stage in "$@"; do
        pid=
        [[ ! -r $run_dir/$stage.pid ]] || read -r pid <"$run_dir/$stage.pid"
        if ! decimal "$pid" 999999999 || ! holds_lock "$number"; then continue; fi
        while IFS= read -r -d '' entry; do
            [[ $entry != "$variable="* ]] || export "$variable=${entry#*=}"
        done <"/proc/$number/environ"
        return 0
    done
}

take_secrets() {
    take_secret DF2REDIS_SOURCE_PASSWORD dfreader-session dfreader
    take_secret DF2REDIS_SENTINEL_PASSWORD dfreader-session dfreader
    take_secret DF2REDIS_TARGET_PASSWORD rediswriter
}

# The options of one end, for dfhold.
hold_options() { # source or target
    local word
    hold_args=()
    for word in "${check_args[@]}"; do
        [[ $word != "--$1-"* || $word == "--$1-max-ops="* ]] || hold_args+=("$word")
    done
}

# ---- dfhold ----

run_hold() {
    cd -- "$ends_dir" || exit 1
    # In a session of its own: the terminal's Ctrl-C is for us, and we tell it.
    exec setsid "$lib/dfhold" "${hold_args[@]}" "$source_url"
}

start_hold() {
    local to from hold_args
    hold_options source
    coproc HOLD { run_hold 6>&-; }
    # shellcheck disable=SC2153 # set by coproc
    hold_pid=$HOLD_PID
    from=${HOLD[0]} to=${HOLD[1]}
    exec 7>&"$to" 8<&"$from"
    exec {to}>&- {from}<&-
}

# Its answer, in nodes and server, size: one text per line, and in hold_lapsed. False: it has ended, or says nothing for
# so many seconds.
nodes=()
server=
size=
ask_hold() { # seconds request…
    local patience=$1 line
    shift
    nodes=()
    printf '%s\n' "$*" >&7 2>/dev/null || return 1
    while IFS= read -r -t "$patience" -u 8 line; do
        case $line in
        node\ *) nodes+=("${line#node }") ;;
        server\ *) server=${line#server } ;;
        size\ *) size=${line#size keys=} ;;
        end\ *)
            hold_lapsed=${line#end lapsed=}
            return 0
            ;;
        esac
    done
    return 1
}

# The value of a name in such a line, in value.
word_of() { # name line
    value=
    [[ " $2 " =~ \ $1=([^ ]*)\  ]] && value=${BASH_REMATCH[1]}
}

# Let time pass. False: dfhold is gone.
hold_tick() { # seconds
    local line
    IFS= read -r -t "$1" -u 8 line
    [[ $? -gt 128 ]]
}

# Closing its input makes it let go.
end_hold() {
    [[ -n $hold_pid ]] || return 0
    exec 7>&- 8<&-
    wait "$hold_pid" 2>/dev/null
    hold_pid=
}

# What a target says of itself, the node's line in target_node, the other in target_server.
look_at_target() {
    local answer hold_args
    hold_options target
    answer=$(cd -- "$ends_dir" && echo look | "$lib/dfhold" --target "${hold_args[@]}" "$target_url" 6>&- 7>&- 8<&-) || return 1
    target_server=${answer%%$'\n'*}
    target_server=${target_server#server }
    target_node=${answer#*$'\n'}
    target_node=${target_node%%$'\n'*}
}
