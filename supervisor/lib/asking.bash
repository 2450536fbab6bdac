# shellcheck shell=bash
# Commands to tasks from outside: status, list, stop, limit.

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
    local dir form=line second=
    [[ $json -eq 1 ]] && form=json
    [[ ${#words[@]} -eq 1 && -z ${opt[run-dir]-} ]] || die 2 "list takes no arguments"
    [[ $base == /run/df2redis ]] || second=/run/df2redis
    for dir in "$base"/*/ ${second:+"$second"/*/}; do
        [[ -r ${dir}state ]] || continue
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
        [[ $final -eq 0 ]] || die 1 "task $task: its supervisor was gone: the positions stay (rediswriter --forget)"
        exit 0
    fi
    if [[ $final -eq 1 ]]; then : >"$run_dir/final" || die 1 "task $task: cannot write $run_dir/final"; fi
    kill -TERM "$supervisor" 2>/dev/null || die 1 "task $task: cannot signal its supervisor (pid $supervisor)"
    gone_within "$limit" && exit 0
    log warn "stop-timeout seconds=$limit msg=\"killing what is left\""
    # The second signal.
    kill -TERM "$supervisor" 2>/dev/null
    gone_within 5 || { kill_orphans KILL; gone_within 5; }
    exit 75
}

# A number with k, m or g, in bytes.
plain_size() {
    local n=${1%[kKmMgG]} unit=${1: -1}
    [[ $n =~ ^[0-9]{1,12}$ ]] || die 2 "$1: no size (a number with k, m or g)"
    case $unit in
    k | K) n=$((n * 1024)) ;;
    m | M) n=$((n * 1024 * 1024)) ;;
    g | G) n=$((n * 1024 * 1024 * 1024)) ;;
    esac
    echo "$n"
}

# They hold for the runs that follow, too, until the task ends.
limit_command() {
    local ops=${opt[max-ops]-} bytes=${opt[max-bytes]-} what=()
    [[ ${#words[@]} -eq 1 ]] || die 2 "limit takes no arguments (but --task, --run-dir, --max-ops and --max-bytes)"
    [[ -z $ops || $ops =~ ^[0-9]+$ ]] || die 2 "--max-ops $ops: no number"
    [[ -z $ops ]] || what+=("ops=$ops")
    if [[ -n $bytes ]]; then
        bytes=$(plain_size "$bytes") || exit 2
        what+=("bytes=$bytes")
    fi
    [[ ${#what[@]} -gt 0 ]] || die 2 "limit takes --max-ops N, --max-bytes SIZE or both"
    look_at_lock
    [[ $held == up ]] || die 1 "task $task is not running ($run_dir is not locked)"
    [[ -z $ops ]] || echo "$ops" >"$run_dir/limit.max-ops"
    [[ -z $bytes ]] || echo "$bytes" >"$run_dir/limit.max-bytes"
    [[ -S $control ]] || exit 0
    exec "$here/dfreader" --ask "$control" limit "${what[@]}"
}
