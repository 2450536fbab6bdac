# shellcheck shell=bash
# One run directory per task, locked by everything that runs for it, and what stands there for others to read.

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
        [[ $run_dir == /* || $run_dir == . ]] || run_dir=$PWD/$run_dir
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
    base=/run/df2redis
    control=$run_dir/control.sock
}

# ---- whose is it? ----

# A symbolic link that neither root nor we made is not followed.
is_foreign_link() { # path
    local owner
    [[ -L $1 ]] || return 1
    owner=$(stat -c %u -- "$1") || owner=
    [[ $owner != 0 && $owner != "$EUID" ]]
}

refuse_foreign_link() { # path
    ! is_foreign_link "$1" || die 1 "$1 is a symbolic link of another user"
}

# A directory in which only its owner can make files, in owner: false with the fault in fault.
look_at_dir() { # directory
    local mode
    read -r owner mode < <(stat -L -c '%u %a' -- "$1" 2>/dev/null) || return 1
    fault="others than its owner can write to $1"
    (((8#$mode & 8#22) == 0))
}

# The directory of all tasks: nobody else can put one of ours there.
check_base() {
    local owner fault="$base cannot be looked at"
    [[ -n $base && -e $base ]] || return 0
    refuse_foreign_link "$base"
    look_at_dir "$base" || die 1 "$fault"
    [[ $owner == "$EUID" || ($owner == 0 && $1 == root-too) ]] || die 1 "$base belongs to somebody else"
}

# What stands in a run directory was written by its owner, pids and links included. So questions are put as that user:
# then nothing is followed, written or signalled that the owner could not do alone. Of others than root only their own.
become_owner() {
    local owner fault="$run_dir cannot be looked at" group groups
    check_base root-too
    [[ -e $run_dir || -L $run_dir ]] || return 0
    refuse_foreign_link "$run_dir"
    [[ -d $run_dir ]] || die 1 "$run_dir is no directory"
    look_at_dir "$run_dir" || die 1 "$fault"
    [[ $owner != "$EUID" ]] || return 0
    [[ $EUID -eq 0 ]] || die 1 "$run_dir belongs to somebody else"
    cd -- "$run_dir" || die 1 "cannot enter $run_dir"
    read -r owner group < <(stat -c '%u %g' .) || die 1 "$fault"
    # To see whose a process is takes its group as well. None that the owner is not in.
    if groups=$(id -G "$owner" 2>/dev/null); then
        [[ " $groups " == *" $group "* ]] || group=${groups%% *}
    elif [[ $group -eq 0 ]]; then
        group=65534
    fi
    local -a again=(--run-dir . --task "$task" --timeout "${opt[timeout]}" "$command")
    [[ $command != list ]] || again=(--run-dir . --task "$task" status)
    [[ $json -eq 0 ]] || again+=(--json)
    [[ $raw -eq 0 ]] || again+=(--raw)
    [[ $log_format == auto ]] || again+=(--log-format "$log_format")
    [[ $final -eq 0 ]] || again+=(--final)
    [[ $command != cutover ]] || cutover_again
    [[ -z ${opt[max-ops]-} ]] || again+=(--max-ops "${opt[max-ops]}")
    [[ -z ${opt[max-bytes]-} ]] || again+=(--max-bytes "${opt[max-bytes]}")
    exec env -i PATH="$PATH" LC_ALL=C setpriv --reuid "$owner" --regid "$group" --clear-groups --no-new-privs \
        -- "$self" "${again[@]}"
}

make_run_dir() {
    local mode=700 owner fault why
    [[ $base == /run/* ]] && mode=755 # services of other users have theirs beside it
    # Another start may make it at the same time.
    [[ -z $base || -d $base ]] || why=$(mkdir -m "$mode" -- "$base" 2>&1) || [[ -d $base ]] || die 1 "cannot make $base: $why"
    check_base
    [[ -d $run_dir ]] || (umask 077 && mkdir -p -- "$run_dir") || die 1 "cannot make $run_dir"
    refuse_foreign_link "$run_dir"
    look_at_dir "$run_dir" || die 1 "$fault"
    [[ $owner == "$EUID" ]] || die 1 "$run_dir belongs to somebody else"
}

# flock with the status 99 where somebody else holds the lock. Whatever else it says is no answer.
try_lock() { # flock's arguments
    local st
    flock -E 99 "$@"
    st=$?
    [[ $st -eq 0 || $st -eq 99 ]] || die 1 "cannot lock $run_dir: flock ended with status $st"
    return "$st"
}

take_lock() {
    # A question to the task holds the lock for a moment.
    ! try_lock -w 0.5 9 || return 0
    supervisor=$(supervisor_pid) &&
        die 1 "task $task is running already (pid $supervisor; its run directory $run_dir is locked)"
    start_log
    end_orphans 30
    try_lock -w 2 9 || die 1 "task $task: its run directory $run_dir is locked by a process that does not end"
}

entered=0
enter_run_dir() {
    make_run_dir
    # One at a time: who waits for orphans to end must not be taken for one.
    exec 6>>"$run_dir/start.lock" || die 1 "cannot write to $run_dir"
    try_lock -n 6 || die 1 "task $task is running already (it is being started in $run_dir)"
    exec 9>>"$run_dir/lock" || die 1 "cannot write to $run_dir"
    # Children must not hold the lock of the start: they may outlive us, and the next start would be refused.
    take_lock 6>&-
    clear_run
    rm -f -- "$run_dir/progress" "$run_dir/status.json" "$run_dir/ready" "$run_dir/complete" "$run_dir/reached" "$run_dir/final" "$run_dir/ends" "$run_dir"/limit.*
    echo $$ >"$run_dir/pid"
    mkfifo -m 600 "$run_dir/idle.fifo" || die 1 "cannot write to $run_dir"
    exec 4<>"$run_dir/idle.fifo" || die 1 "cannot open $run_dir/idle.fifo"
    entered=1
    exec 6>&-
}

# What a run leaves behind.
clear_run() {
    rm -f -- "$control" "$run_dir"/*.fifo "$run_dir/writer.sock" "$run_dir"/*.pid
}

leave_run_dir() {
    clear_run
    rm -f -- "$run_dir/pid" "$run_dir/ready" "$run_dir/complete" "$run_dir/error" "$run_dir/reached" "$run_dir/final" "$run_dir"/limit.*
}

# A task that has ended leaves what status and list show. Both locks are held meanwhile: nobody starts it.
empty_run_dir() {
    [[ -d $run_dir && -e $run_dir/state ]] || die 1 "there is no task $task (no $run_dir/state)"
    exec 6>>"$run_dir/start.lock" 9>>"$run_dir/lock" || die 1 "cannot write to $run_dir"
    try_lock -n 6 || die 1 "task $task is being started"
    try_lock -w 0.5 9 || die 1 "task $task is running: stop it first"
    leave_run_dir
    rm -f -- "$run_dir"/{state,progress,status.json}{,.new} "$run_dir"/{summary,error,recent,recent.1,start.lock,lock,log,start.err,ends,cutover.lock} "$run_dir"/*.sock~
}

# ---- who holds the lock ----

is_locked() { [[ -e $run_dir/lock ]] && ! try_lock -n -s "$run_dir/lock" true; }

holds_lock() { [[ /proc/$1/fd/9 -ef $run_dir/lock ]]; }

# The pid of the supervisor, if it lives: the number alone may be another process's by now.
supervisor_pid() {
    local pid number
    [[ -r $run_dir/pid ]] && read -r pid <"$run_dir/pid" && decimal "$pid" 999999999 && [[ $number -ne $$ ]] &&
        holds_lock "$number" && echo "$number"
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
    local dir pid file name parent number
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
        [[ -r $file ]] || continue
        read -r pid <"$file"
        decimal "$pid" 999999999 || continue
        file=${file##*/}
        [[ -z ${orphans[$number]-} ]] || orphans[$number]=${file%.pid}
    done
}

kill_orphans() { # signal
    local pid
    find_orphans
    for pid in "${!orphans[@]}"; do
        log warn "orphan_killed name=${orphans[$pid]} pid=$pid signal=$1"
        kill "-$1" "$pid" 2>/dev/null
    done
}

# Let them end in order, the source first, so that what was read is applied and its position saved.
end_orphans() { # seconds
    local pid
    find_orphans
    for pid in "${!orphans[@]}"; do
        log warn "orphan name=${orphans[$pid]} pid=$pid note=\"left by a supervisor that is gone: ending it\""
    done
    ask 5 stop >/dev/null || kill_orphans TERM
    gone_within "$1" || kill_orphans TERM
    gone_within 2 || kill_orphans KILL
    gone_within 2
}

gone_within() { # seconds
    try_lock -s -w "$1" "$run_dir/lock" true 9>&-
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
    if ! {
        put_words task "$task" command "$command" phase "$phase" phase_since "$phase_since" started "$started" pid $$
        put_words restarts "$restarts" last_error "$last_error" last_status "$last_status" next_start "$next_start"
        put_words data_errors "${data_errors:-0}"
        put_words source "$source_url" target "$target_url" log_file "$log_file"
    } >"$run_dir/state.new" || ! put_in_place; then
        log warn "state_not_written note=\"status shows what was before\""
    fi
    tell_monitor
}

# Once more: a signal to the whole process group, as timeout sends it, may have ended mv.
put_in_place() {
    mv -f -- "$run_dir/state.new" "$run_dir/state" || mv -f -- "$run_dir/state.new" "$run_dir/state"
}

put_words() { # name value…
    while [[ $# -gt 0 ]]; do
        escape "$2"
        printf '%s=%s\n' "$1" "$escaped"
        shift 2
    done
}
