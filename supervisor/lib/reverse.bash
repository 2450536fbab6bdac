# shellcheck shell=bash
# The way back of a cutover (--reverse): a task TASK-back that carries the changes of the target to the source, from the
# moment on at which both were equal. The task itself ends then, or each would carry back what the other has brought.

BACKLOG_LEAST=16777216 # bytes of its stream that the target is to keep until the task TASK-back reads it

back_name= back_dir= back_mark=
reverse_stopped=0 # the task

take_reverse() {
    local word where
    back_name=$task-back
    where=$(cd -- "$run_dir/.." && pwd) || die 1 "cannot enter $run_dir/.."
    back_dir=$where/$back_name
    [[ $then_what == resume ]] || die 2 "--then keep and --reverse exclude each other"
    [[ $selects -eq 0 ]] || die 1 "a task that selects keys has no way back"
    for word in "${check_args[@]}"; do
        [[ $word != --db-map=* && $word != --rename-prefix=* ]] || die 1 "a task that renames keys or databases has no way back"
    done
}

# A request to the target; its answer in answer.
ask_target() { # request…
    local hold_args
    hold_options target
    answer=$(cd -- "$ends_dir" && echo "$*" | "$lib/dfhold" --target "${hold_args[@]}" "$target_url" 6>&- 7>&- 8<&-)
}

is_single_redis() { # line "server"
    word_of kind "$1"
    [[ $value == redis || $value == valkey ]] || return 1
    word_of masters "$1"
    [[ $value == 1 ]]
}

check_reverse() {
    local answer
    [[ $reverse -eq 1 ]] || return 0
    if ! is_single_redis "$server" || ! is_single_redis "$target_server" || [[ ${#flow_replid[@]} -gt 0 || $pause_is_all -eq 1 ]]; then
        problem 1 "--reverse needs a single Redis (from 6.2) or Valkey at both ends"
        return
    fi
    [[ ! -e $back_dir/lock ]] || try_lock -n -s "$back_dir/lock" true || problem 1 "task $back_name is running"
    [[ $plan -eq 0 && ${#problems[@]} -eq 0 ]] || return 0
    if ! ask_target backlog; then
        problem 1 "the target does not keep its stream of changes"
        return
    fi
    word_of bytes "${answer%%$'\n'*}"
    [[ ${value:-0} -ge $BACKLOG_LEAST ]] ||
        problem 1 "the target keeps only $value bytes of its stream for --reverse: CONFIG SET repl-backlog-size 256mb there"
}

# In the pause, when both are equal: nothing but the clients writes to the target from here on.
turn_around() {
    local answer
    [[ $reverse -eq 1 ]] || return 0
    "$self" --run-dir "$run_dir" --task "$task" --timeout "$budget" stop 6>&- 7>&- 8<&- || roll_back 1 "the task does not end"
    reverse_stopped=1
    ask_target mark "df2redis-cutover:$task" || roll_back 1 "the target does not say how far its stream is"
    back_mark=${answer%%$'\n'*}
    look_once
    log note "task_ended note=\"$back_name begins where the target is now\""
}

# The clients have moved: who still waits at the source gets no answer, as nobody would carry over what it writes.
begin_reverse() {
    local replid offset
    word_of replid "$back_mark"
    replid=$value
    word_of offset "$back_mark"
    offset=$value
    ask_hold 10 kick || return 1
    [[ $hold_lapsed -eq 0 ]] || return 1 # it may have taken writes that nobody carries to the target
    ask_hold 10 resume || return 1
    ask_hold 10 save "$back_name" "$replid" "$offset" || return 1
    start_back || return 1
    await_back
}

# The options of both connections, exchanged.
start_back() {
    local word args=()
    for word in "${check_args[@]}"; do
        case $word in
        --*-max-ops=*) ;;
        --source-*) args+=("--target-${word#--source-}") ;;
        --target-*) args+=("--source-${word#--target-}") ;;
        esac
    done
    (umask 077 && mkdir -p -- "$back_dir") || return 1
    rm -f -- "$back_dir/state"
    (
        cd -- "$ends_dir" || exit 1
        to=${DF2REDIS_SOURCE_PASSWORD-} from=${DF2REDIS_TARGET_PASSWORD-}
        unset DF2REDIS_SOURCE_PASSWORD DF2REDIS_TARGET_PASSWORD
        [[ -z $from ]] || export DF2REDIS_SOURCE_PASSWORD=$from
        [[ -z $to ]] || export DF2REDIS_TARGET_PASSWORD=$to
        exec 6>&- 7>&- 8<&-
        trap - INT TERM HUP PIPE
        exec setsid "$self" --run-dir "$back_dir" --task "$back_name" --log-file "$back_dir/log" --restart --from-saved \
            "${args[@]}" replicate "$target_url" "$source_url" </dev/null >/dev/null 2>&1
    ) &
    back_pid=$!
}

await_back() {
    local end=$((SECONDS + 60)) line
    while [[ $SECONDS -lt $end ]]; do
        line=$("$self" --run-dir "$back_dir" --task "$back_name" --raw status 2>/dev/null)
        line=${line%%$'\n'*}
        word_of phase "$line"
        [[ $value != streaming ]] || return 0
        alive "$back_pid" || return 1
        sleep 0.1
    done
    return 1
}

finish_reverse() {
    if begin_reverse; then
        end_hold
        log note "resumed task=$back_name note=\"the source follows the target now; when it is no longer needed: df2redis stop --final $back_name\""
        exit 0
    fi
    [[ $hold_lapsed -eq 0 ]] ||
        log error "pause_lapsed note=\"the source may have taken writes that the target has not: df2redis check\""
    end_hold
    log error "no_way_back note=\"the clients may stay at the target; the source does not follow it (log: $back_dir/log)\""
    exit 3
}
