# shellcheck shell=bash
# Messages of all stages go through dflog: with --log-file into that file, with the time, and opened anew when told to;
# of a service without, to where they went before. It keeps the first error of a run for us, which the stages tell
# nobody else. In a terminal, where somebody reads along, it is left out.

log_file=
log_pid=

start_log() {
    [[ -z $log_pid ]] || return 0
    trap '' PIPE # without dflog messages are lost, not we
    trap on_hangup HUP
    log_file=${opt[log-file]-}
    [[ -n $log_file || ! -t 2 ]] || return 0
    if [[ -n $log_file ]]; then
        [[ $log_file == /* ]] || log_file=$PWD/$log_file
        : >>"$log_file" || die 1 "cannot write $log_file"
    fi
    exec 2> >(exec 6>&- 8>&- 9>&- && exec "$here/dflog" -e "$run_dir/error" "${log_file:--}")
    log_pid=$!
}

# One that somebody has killed is missed: its messages are lost until then.
check_log() {
    [[ -z $log_pid ]] || alive "$log_pid" || { log_pid='' && start_log; }
}

on_hangup() {
    if [[ -n $log_file ]]; then kill -HUP "$log_pid" 2>/dev/null; else on_signal; fi
}

# The last lines are written before we end.
stop_log() {
    [[ -n $log_pid ]] || return 0
    exec 2>/dev/null
    wait "$log_pid" 2>/dev/null
}

# What that first error says, in words: in reason. Behind the name of the stage that ended first the one that said it is
# named, too, if it is another: a wrong password of the target is none of the source's.
first_error() {
    local line stage=
    reason=
    [[ -r $run_dir/error ]] && IFS= read -r line <"$run_dir/error" || return 0
    [[ $line != *" stage=df2redis "* ]] || return 0
    [[ ! $line =~ ^level=error\ stage=([a-z]+)\  || $first_fault == "${BASH_REMATCH[1]}"* ]] || stage=" ${BASH_REMATCH[1]}:"
    if [[ $line =~ \ (reason|msg|error|note)=\"(.*)\"$ || $line =~ \ (reason|msg|error|note)=\"([^\"]*)\" ]]; then
        reason=":$stage ${BASH_REMATCH[2]}"
    else
        reason=": ${line#level=error }"
    fi
}
