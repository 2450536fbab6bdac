# shellcheck shell=bash
# A process beside the supervisor that asks the session how it is, keeps what it says for `status`, and tells systemd.
# It ends with its standard input, of which only the supervisor has the other end (descriptor 8).

notify_socket=${NOTIFY_SOCKET-}
watchdog=0 # seconds between two signs of life; 0: nobody asks
if [[ ${WATCHDOG_USEC-} =~ ^[1-9][0-9]{0,17}$ && ${WATCHDOG_PID:-$$} == "$$" ]]; then
    watchdog=$((WATCHDOG_USEC < 3000000 ? 1 : WATCHDOG_USEC / 3000000))
fi
# They are for us, not for the stages.
unset NOTIFY_SOCKET WATCHDOG_USEC WATCHDOG_PID

monitor_pid=
start_monitor() {
    exec 8> >(exec 4>&- 5>&- 9>&- && monitor)
    monitor_pid=$!
}

# One that somebody has killed.
check_monitor() {
    alive "$monitor_pid" || start_monitor
}

tell_monitor() {
    [[ -z $monitor_pid ]] || echo changed >&8
} 2>/dev/null

stop_monitor() {
    exec 8>&-
    wait "$monitor_pid" 2>/dev/null
    monitor_pid=
}

notify() { # NAME=VALUE…
    [[ -z $notify_socket ]] || NOTIFY_SOCKET=$notify_socket "$lib/dfnotify" "$@"
}

monitor() {
    local line rc tick=0.25 number
    trap '' INT TERM HUP PIPE
    announced=
    fed_next=0
    ready=0
    alarms_before=
    on_terminal=0
    [[ -n $log_file || ! -t 7 ]] || on_terminal=1
    while :; do
        read -r -t "$tick" line
        rc=$?
        [[ $rc -eq 0 || $rc -gt 128 ]] || break
        # Of several changes the last counts.
        while read -r -t 0; do read -r line || break 2; done
        look
        look_at_terminal
        # Often until it runs, then every second, more slowly with very many flows.
        tick=0.25
        [[ $ready -eq 1 ]] && decimal "$flows_seen" 65536 && tick=$((1 + number / 64))
    done
    # The last word, unless the supervisor was killed: the directory may be another's by now.
    ! alive $$ || look
    [[ $on_terminal -eq 0 ]] || printf '\r\e[K' >&7 2>/dev/null
}

# A terminal that is gone cannot be written to any more, and is none: the supervisor hears of it in case that the kernel
# has told it nothing, because it is not in the foreground.
look_at_terminal() {
    [[ $on_terminal -eq 1 && ! -t 7 ]] || return 0
    on_terminal=0
    kill -HUP $$
}

# On a terminal a line that changes; else a message every 10 seconds until the changes flow.
progress_at=0
show_progress() {
    if [[ $on_terminal -eq 1 ]]; then
        # A line that went on in the next one could not be wiped: what is longer than the terminal is wide is cut off.
        printf '\r\e[K\e[?7l%s\e[?7h' "$view_progress" >&7 2>/dev/null
    elif [[ $view_phase =~ ^(full-sync|verifying|catching-up)$ && $EPOCHSECONDS -ge $progress_at ]]; then
        [[ $progress_at -eq 0 ]] || log note "progress note=\"$view_progress\""
        progress_at=$((EPOCHSECONDS + 10))
    fi
}

# Values of the state file, and of the line that status.awk makes of everything.
value_of() { # name file: in value
    local line
    value=
    while IFS= read -r line; do [[ $line == "$1="* ]] && value=${line#*=}; done <"$2"
}

look() {
    local answer='' state=none
    value_of phase "$run_dir/state"
    case $value in
    running | stopping)
        if [[ -S $control ]]; then
            state=silent
            answer=$("$here/dfreader" --ask "$control" counters 2>/dev/null) && state=ok
        fi
        ;;
    esac
    describe sample "$state" up "$run_dir/status.json.new" <<<"$answer" >"$run_dir/progress.new" || :
    mv -f -- "$run_dir/progress.new" "$run_dir/progress" 2>/dev/null
    mv -f -- "$run_dir/status.json.new" "$run_dir/status.json" 2>/dev/null
    take_view
    show_progress
    tell_systemd "$state"
}

flows_seen=0
take_view() {
    local name value last='' delivered applied
    view_phase='' view_alarms='' view_text='' view_progress=''
    while IFS='=' read -r name value; do
        case $name in
        phase) view_phase=$value ;;
        alarms) view_alarms=$value ;;
        text) view_text=$value ;;
        progress) view_progress=$value ;;
        flows) flows_seen=$value ;;
        sample*) last=$name ;;
        esac
    done <"$run_dir/progress"
    case $view_phase in
    verifying | catching-up | streaming) [[ -e $run_dir/complete ]] || : >"$run_dir/complete" ;;&
    full-sync | verifying | catching-up | streaming) [[ -e $run_dir/ready ]] || : >"$run_dir/ready" ;;
    esac
    if [[ -n $last ]]; then
        read -r _ _ _ delivered applied _ <<<"$last"
        echo "$delivered $applied" >"$run_dir/reached"
    fi
    # What dfreader notices it logs itself.
    if [[ $view_alarms == *target-paused* && $alarms_before != *target-paused* ]]; then
        log warn "target_paused note=\"the target has taken nothing for 10 seconds\""
    elif [[ $view_alarms != *target-paused* && $alarms_before == *target-paused* ]]; then
        log warn "target_goes_on"
    fi
    alarms_before=$view_alarms
}

tell_systemd() { # did the session answer
    local -a words=()
    if [[ $ready -eq 0 && -e $run_dir/ready ]]; then
        ready=1
        words+=(READY=1)
    fi
    [[ -n $notify_socket ]] || return 0
    [[ $view_phase == stopping && $announced != stopping* ]] && words+=(STOPPING=1)
    if [[ $view_phase$view_text != "$announced" ]]; then
        words+=("STATUS=$view_text")
        announced=$view_phase$view_text
    fi
    # A session that does not answer is a supervised service that hangs.
    if [[ $watchdog -gt 0 && $1 != silent && $EPOCHSECONDS -ge $fed_next ]]; then
        words+=(WATCHDOG=1)
        fed_next=$((EPOCHSECONDS + watchdog))
    fi
    [[ ${#words[@]} -eq 0 ]] || notify "${words[@]}"
}

# Everything that is known of a task, in one of the forms of status.awk. Standard input: the session's answer.
describe() { # form, what the session said (ok, silent, none), what the lock says (up, orphaned, down), file for JSON
    local file files=()
    for file in "$run_dir/state" "$run_dir/progress"; do [[ -r $file ]] && files+=("$file"); done
    awk -v form="$1" -v asked="$2" -v lock="$3" -v json_file="${4-}" -v now="$EPOCHREALTIME" -v name="${task}" \
        -f "$lib/status.awk" -f "$lib/health.awk" -f "$lib/show.awk" -f "$lib/json.awk" "${files[@]}" -
}
