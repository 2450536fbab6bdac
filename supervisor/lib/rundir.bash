# shellcheck shell=bash
# One run directory a task, locked by everything that runs for it, and what stands there for others to read.

# Where the directories of this user's tasks are.
default_base() {
    if [[ ${XDG_RUNTIME_DIR-} == /* ]]; then
        base=$XDG_RUNTIME_DIR/df2redis
    elif [[ $EUID -eq 0 && -d /run && -w /run ]]; then
        base=/run/df2redis
    else
        base=/tmp/df2redis-$EUID
    fi
}

choose_run_dir() {
    default_base
    run_dir=${opt[run-dir]-}
    if [[ -n $run_dir ]]; then
        [[ $run_dir == /* ]] || run_dir=$PWD/$run_dir
        base=
    else
        run_dir=$base/$task
    fi
    control=$run_dir/control.sock
}

# A question about a task may concern a service of the system, which has another environment than its administrator.
find_run_dir() {
    [[ -z ${opt[run-dir]-} && ! -e $run_dir/state && -e /run/df2redis/$task/state ]] || return 0
    run_dir=/run/df2redis/$task
    control=$run_dir/control.sock
}

make_run_dir() {
    local mode=700
    [[ $base == /run/* ]] && mode=755 # services of other users have theirs beside it
    [[ -z $base || -d $base ]] || mkdir -m "$mode" -- "$base" || die 1 "cannot make $base"
    [[ -z $base || (-O $base && ! -L $base) ]] || die 1 "$base belongs to somebody else"
    [[ -d $run_dir ]] || (umask 077 && mkdir -p -- "$run_dir") || die 1 "cannot make $run_dir"
    [[ -O $run_dir ]] || die 1 "$run_dir belongs to somebody else"
}

entered=0
enter_run_dir() {
    make_run_dir
    # One at a time: who waits for orphans to end must not be taken for one.
    exec 6>>"$run_dir/start.lock" || die 1 "cannot write to $run_dir"
    flock -n 6 || die 1 "task $task is running already (it is being started in $run_dir)"
    exec 9>>"$run_dir/lock" || die 1 "cannot write to $run_dir"
    # A question to the task holds the lock for a moment.
    if ! flock -w 0.5 9; then
        supervisor=$(supervisor_pid) &&
            die 1 "task $task is running already (pid $supervisor; its run directory $run_dir is locked)"
        start_log
        end_orphans 30
        flock -w 2 9 || die 1 "task $task: its run directory $run_dir is locked by a process that does not end"
    fi
    clear_run
    rm -f -- "$run_dir/progress" "$run_dir/ready" "$run_dir/complete" "$run_dir/final" "$run_dir"/limit.*
    echo $$ >"$run_dir/pid"
    entered=1
    exec 6>&-
}

# What a run leaves behind.
clear_run() {
    rm -f -- "$control" "$run_dir"/*.fifo "$run_dir/writer.sock" "$run_dir"/*.pid
}

leave_run_dir() {
    clear_run
    rm -f -- "$run_dir/pid" "$run_dir/ready" "$run_dir/complete" "$run_dir/error" "$run_dir/final" "$run_dir"/limit.*
}

# ---- who holds the lock ----

is_locked() { [[ -e $run_dir/lock ]] && ! flock -n -s "$run_dir/lock" true; }

holds_lock() { [[ /proc/$1/fd/9 -ef $run_dir/lock ]]; }

# The pid of the supervisor, if it lives: the number alone may be another process's by now.
supervisor_pid() {
    local pid
    [[ -r $run_dir/pid ]] && read -r pid <"$run_dir/pid" && [[ $pid =~ ^[0-9]+$ && $pid -ne $$ ]] && holds_lock "$pid" &&
        echo "$pid"
}

# The parent of a process, in parent. Its name may have blanks and parentheses.
parent_of() { # pid
    local line=
    IFS= read -r line 2>/dev/null <"/proc/$1/stat"
    line=${line##*) ? }
    parent=${line%% *}
}

# Processes of a supervisor that is gone, with their names, in orphans: pid -> name. Children of ours hold the lock's
# file for a moment, too.
find_orphans() {
    local dir pid file name parent
    declare -gA orphans=()
    for dir in /proc/[0-9]*; do
        pid=${dir#/proc/}
        if [[ $pid -ne $$ && $pid -ne $BASHPID ]] && holds_lock "$pid"; then
            parent_of "$pid"
            IFS= read -r name 2>/dev/null <"$dir/comm"
            [[ $parent == "$$" ]] || orphans[$pid]=$name
        fi
    done
    for file in "$run_dir"/*.pid; do
        [[ -r $file ]] && read -r pid <"$file" || pid=
        file=${file##*/}
        [[ -n $pid && -n ${orphans[$pid]-} ]] && orphans[$pid]=${file%.pid}
    done
}

kill_orphans() { # signal
    local pid
    find_orphans
    for pid in "${!orphans[@]}"; do
        log warn "orphan-killed name=${orphans[$pid]} pid=$pid signal=$1"
        kill "-$1" "$pid" 2>/dev/null
    done
}

# Let them end in order, the source first, so that what was read is applied and its position saved.
end_orphans() { # seconds
    local pid
    find_orphans
    for pid in "${!orphans[@]}"; do
        log warn "orphan name=${orphans[$pid]} pid=$pid msg=\"left by a supervisor that is gone: ending it\""
    done
    ask 5 stop >/dev/null || kill_orphans TERM
    gone_within "$1" || kill_orphans TERM
    gone_within 2 || kill_orphans KILL
    gone_within 2
}

gone_within() { # seconds
    flock -s -w "$1" "$run_dir/lock" true 9>&-
}

# ---- the state file: the supervisor's own view ----

phase=
phase_since=0
started=0
restarts=0
last_error=
last_status=
next_start= # while it pauses

put_state() { # phase
    [[ $entered -eq 1 ]] || return 0
    [[ $1 == "$phase" ]] || phase_since=$EPOCHSECONDS
    phase=$1
    {
        put_words task "$task" command "$command" phase "$phase" phase_since "$phase_since" started "$started" pid $$
        put_words restarts "$restarts" last_error "$last_error" last_status "$last_status" next_start "$next_start"
        put_words data_errors "${data_errors:-0}"
        put_words source "$source_url" target "$target_url" log_file "$log_file"
    } >"$run_dir/state.new" && mv -f -- "$run_dir/state.new" "$run_dir/state"
    tell_monitor
}

put_words() { # name value…
    while [[ $# -gt 0 ]]; do
        escape "$2"
        printf '%s=%s\n' "$1" "$escaped"
        shift 2
    done
}
