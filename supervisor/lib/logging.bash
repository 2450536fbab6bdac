# shellcheck shell=bash
# Messages of all stages go through dflog: with --log-file into that file, with the time, and opened anew when told to;
# of a service without, to where they went before. It keeps the first errors of a run for us, which the stages tell
# nobody else, and the last lines for df2redis-monitor. In a terminal, where somebody reads along, it is left out.
#
# Descriptors: 4 is what nobody writes to, 7 is where messages go, 5 where they went when we were started. 2 is what bash itself says, such as of
# children that a signal killed: none of that is for our users.

log_file=
log_pid=

# Messages go straight to a terminal: as words, or as the stages write them.
logs_to_terminal() { [[ -z ${opt[log-file]-} && -t 2 && $log_format != json ]]; }

start_log() {
    [[ -z $log_pid ]] || return 0
    trap '' PIPE # without dflog messages are lost, not we
    trap on_hangup HUP
    log_file=${opt[log-file]-}
    [[ $messages -eq 7 ]] || exec 5>&2
    if [[ -z $log_file && -t 5 && $log_format != json ]]; then
        [[ $log_format == logfmt ]] || log_words=1
        exec 7>&5
    else
        if [[ -n $log_file ]]; then
            [[ $log_file == /* ]] || log_file=$PWD/$log_file
            refuse_foreign_link "$log_file"
            : >>"$log_file" || die 1 "cannot write $log_file"
        fi
        exec 7> >(exec 2>&5 4>&- 5>&- 6>&- 8>&- 9>&- && exec "$lib/dflog" -f "$log_format" -e "$run_dir/error" -t "$run_dir/recent" -p $$ "${log_file:--}")
        log_pid=$!
    fi
    messages=7
    exec 2>/dev/null
}

# One that somebody has killed is missed: its messages are lost until then.
check_log() {
    [[ -z $log_pid ]] || alive "$log_pid" || { log_pid='' && start_log; }
}

# With a log file it is to be opened anew; without, the terminal is gone, or who read our messages: an orderly stop. That
# may be said several times (by the kernel, a shell, dflog, our monitor), and is never a second signal that kills.
on_hangup() {
    if [[ -n $log_file ]]; then
        kill -HUP "$log_pid" 2>/dev/null
    elif [[ $stopping -eq 0 ]]; then
        on_signal
    fi
}

# The last lines are written before we end.
stop_log() {
    [[ -n $log_pid ]] || return 0
    exec 7>&-
    wait "$log_pid" 2>/dev/null
}

# What the stage that is to blame said first, in words: in reason. Where it said nothing, what another did, with its name:
# a wrong password of the target is none of the source's.
explain() { # name of the stage
    local line said='' other='' stage=${1%%-*}
    reason=
    [[ -r $run_dir/error ]] || return 0
    while IFS= read -r line; do
        if [[ $line == "$stage: "* ]]; then # it could not begin
            reason=": ${line#*: }"
            return 0
        fi
        [[ $line =~ ^level=error\ stage=([a-z]+)\ (flow=([0-9]+)\ )? && ${BASH_REMATCH[1]} != df2redis ]] || continue
        : "${other:=$line}"
        [[ ${BASH_REMATCH[1]} == "$stage" && (-z ${BASH_REMATCH[3]} || $1 != *-[0-9]* || $1 == *-${BASH_REMATCH[3]}) ]] ||
            continue
        said=$line
        break
    done <"$run_dir/error"
    line=${said:-$other}
    [[ -n $line ]] || return 0
    [[ -n $said ]] || stage=${line#level=error stage=}
    [[ -n $said ]] && stage='' || stage=" ${stage%% *}:"
    if [[ $line =~ \ (error|reason|reply|note)=\"(([^\"\\]|\\.)*)\" ]]; then
        reason=":$stage ${BASH_REMATCH[2]}"
    else
        reason=":$stage ${line#level=error }"
    fi
}
