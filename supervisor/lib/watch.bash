# shellcheck shell=bash
# A plain pipeline shown as a task: its dfreader is asked every second, as that of a task is.

# The control socket of the pipeline: the one that is named, or the only one where dfreader puts it. In socket.
find_socket() { # path, or nothing
    local pid found=() place=/tmp/df2redis-$EUID
    [[ ${XDG_RUNTIME_DIR-} != /* ]] || place=$XDG_RUNTIME_DIR
    socket=$1
    if [[ -z $socket ]]; then
        for socket in "$place"/dfreader.*.sock; do
            pid=${socket##*/dfreader.}
            # One that was killed has left its socket.
            [[ ! -S $socket ]] || ! alive "${pid%.sock}" || found+=("$socket")
        done
        [[ ${#found[@]} -eq 1 ]] || die 1 "there are ${#found[@]} pipelines in $place: name the control socket of one (dfreader --control)"
        socket=${found[0]}
    fi
    [[ $socket == /* ]] || socket=$PWD/$socket
    [[ -S $socket ]] || die 1 "$socket is no control socket of a dfreader"
}

# What it says of itself: in reader_pid its pid, in source_url its source.
meet_reader() {
    local line
    line=$(control=$socket ask 3 status | grep '^session ') || die 1 "no dfreader answers at $socket"
    reader_pid=${line#* pid=}
    reader_pid=${reader_pid%% *}
    decimal "$reader_pid" 999999999 || die 1 "no dfreader answers at $socket"
    if [[ $line == *' source='* ]]; then
        source_url=${line#* source=}
        source_url=${source_url%% *}
    fi
}

# SIGTERM, which df2redis stop sends, stops the pipeline; Ctrl-C only ends this.
watch_command() {
    local socket reader_pid leave=0
    [[ ${#words[@]} -le 2 ]] || die 2 "watch takes a control socket, or nothing"
    find_socket "${words[1]-}"
    meet_reader
    started=$EPOCHSECONDS
    trap on_signal TERM HUP
    trap 'leave=1' INT
    enter_run_dir
    ln -s -- "$socket" "$control" || die 1 "cannot write to $run_dir"
    start_log
    put_state running
    start_monitor
    while [[ $leave -eq 0 && -S $control ]] && alive "$reader_pid"; do
        tick 0.2
        check_monitor
    done
    last_status=
    put_state stopped
    leave_run_dir
    stop_monitor
    stop_log
    exit 0
}
