# shellcheck shell=bash
# --log-file: dflog takes the messages of all stages, adds the time, and opens the file anew when told to.

log_file=${opt[log-file]-}
log_pid=

start_log() {
    trap '' PIPE # without dflog messages are lost, not we
    trap on_hangup HUP
    log_file=${opt[log-file]-}
    [[ -n $log_file ]] || return 0
    [[ $log_file == /* ]] || log_file=$PWD/$log_file
    : >>"$log_file" || die 1 "cannot write $log_file"
    exec 7>&2 2> >(exec "$here/dflog" "$log_file" 2>&7 7>&- 8>&- 9>&-) 7>&-
    log_pid=$!
}

on_hangup() {
    if [[ -n $log_pid ]]; then kill -HUP "$log_pid" 2>/dev/null; else on_signal; fi
}

# The last lines are written before we end.
stop_log() {
    [[ -n $log_pid ]] || return 0
    exec 2>/dev/null
    wait "$log_pid" 2>/dev/null
}
