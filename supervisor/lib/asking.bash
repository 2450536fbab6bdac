# shellcheck shell=bash
# Commands that look at tasks from outside: status, list, stop.

# Is the task running? In held: up, orphaned (its stages without their supervisor), down.
look_at_lock() {
    held=down
    is_locked || return 1
    held=orphaned
    supervisor=$(supervisor_pid) && held=up
    return 0
}

show_task() { # form
    local answer='' asked=none
    look_at_lock
    if [[ $held != down && -S $control ]]; then
        asked=silent
        answer=$(ask 3 status) && asked=ok
    fi
    describe "$1" "$asked" "$held" <<<"$answer"
}

status_command() {
    local form=text
    [[ $json -eq 1 ]] && form=json
    [[ ${#words[@]} -eq 1 ]] || die 2 "status takes no arguments (but --task or --run-dir)"
    if [[ ! -e $run_dir/state && $json -eq 0 ]]; then
        die 1 "task $task is not running (there is no $run_dir/state)"
    fi
    show_task "$form"
    exit $?
}

# One line a task, of those that have left a directory; status 0 where there are none, too.
list_command() {
    local dir form=line
    [[ $json -eq 1 ]] && form=json
    [[ ${#words[@]} -eq 1 && -z ${opt[run-dir]-} ]] || die 2 "list takes no arguments"
    for dir in "$base"/*/; do
        [[ -e ${dir}state ]] || continue
        run_dir=${dir%/}
        task=${run_dir##*/}
        control=$run_dir/control.sock
        show_task "$form"
    done
    exit 0
}

stop_command() {
    local limit=${opt[timeout]}
    [[ ${#words[@]} -eq 1 ]] || die 2 "stop takes no arguments (but --task, --run-dir and --timeout)"
    look_at_lock || die 1 "task $task is not running ($run_dir is not locked)"
    if [[ $held == orphaned ]]; then
        end_orphans "$limit" || die 1 "task $task does not end"
        exit 0
    fi
    kill -TERM "$supervisor" 2>/dev/null || die 1 "task $task: cannot signal its supervisor (pid $supervisor)"
    gone_within "$limit" && exit 0
    log warn "stop-timeout seconds=$limit msg=\"killing what is left\""
    # The second signal.
    kill -TERM "$supervisor" 2>/dev/null
    gone_within 5 || { kill_orphans KILL; gone_within 5; }
    exit 75
}
