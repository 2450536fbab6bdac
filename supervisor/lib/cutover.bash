# shellcheck shell=bash
# cutover: the clients of the source may be moved, at a moment when the target has everything. df2redis(1), CUTOVER.
# Until then every way out lets the source take writes again; so does a kill -9, after PAUSE_MS at most.

PAUSE_MS=2000  # of one CLIENT PAUSE; dfhold renews it four times as often
KEEP_MS=86400000 # --then keep

budget=5 hold=60 then_what=resume last_check=
cutover_begun= # µs: the pause was asked for
cutover_stopped=0
pause_is_all=0 # the source (Redis before 6.2) pauses reads as well, answers nothing then, and cannot be resumed

take_cutover_options() {
    local number
    [[ ${#words[@]} -eq 1 ]] || die 2 "cutover takes the name of a task"
    if ! decimal "${opt[budget]:-5}" 3600 || [[ $number -eq 0 ]]; then die 2 "--budget takes seconds, from 1 to 3600"; fi
    budget=$number
    decimal "${opt[hold]:-60}" 86400 || die 2 "--hold takes seconds, up to 86400"
    hold=$number
    then_what=${opt[then]:-resume}
    [[ $then_what == resume || $then_what == keep ]] || die 2 "--then is resume or keep"
    last_check=${opt[last-check]:-auto}
    [[ $last_check =~ ^(auto|none|[0-9]+(\.[0-9]+)?)$ ]] || die 2 "--last-check takes a percentage of the keys, or none"
}

# The options, for ourselves as another user (become_owner), in again.
cutover_again() {
    local name
    for name in budget last-check hold switch then; do
        [[ -z ${opt[$name]-} ]] || again+=("--$name" "${opt[$name]}")
    done
    [[ $plan -eq 0 ]] || again+=(--plan)
    [[ $pause_all -eq 0 ]] || again+=(--pause-all)
    [[ $reverse -eq 0 ]] || again+=(--reverse)
    [[ $force -eq 0 ]] || again+=(--force)
}

# ---- the pause ----

elapsed_ms() {
    local now
    now_us
    elapsed=$(((now - cutover_begun) / 1000))
}

in_budget() {
    elapsed_ms
    [[ $elapsed -lt $((budget * 1000)) ]]
}

# Nothing is lost by this: the task has been running all the time.
roll_back() { # status reason
    local elapsed
    elapsed_ms
    local left="within $PAUSE_MS ms"
    [[ $pause_is_all -eq 0 ]] || left="--budget $budget after the pause began"
    if ! ask_hold 10 resume || [[ $pause_is_all -eq 1 ]]; then
        log warn "pause_left note=\"the source takes writes again $left\""
    fi
    end_hold
    [[ $reverse_stopped -eq 0 ]] || log warn "task_is_stopped note=\"start it again with --resume: the source is no longer replicated\""
    log error "rolled_back paused_ms=$elapsed status=$1 error=\"$2\""
    exit "$1"
}

go_on_or_back() {
    [[ $cutover_stopped -eq 0 ]] || roll_back 5 "stopped by a signal"
    in_budget || roll_back 75 "not within --budget $budget: $1"
}

# Another session may be that of other masters, which nobody has paused.
same_session() {
    local was=$session_id
    identify_session
    [[ $session_id == "$was" ]] || roll_back 75 "the task has restarted"
}

identify_session() {
    session_word pid
    session_id=$value
    session_word epoch
    session_id+=.$value
}

# Until the target has what want says.
await_target() {
    local behind
    until ask_task && same_session && is_reached; do
        go_on_or_back "the target is ${behind:-?} positions behind"
        hold_tick 0.02 || roll_back 1 "the connection to the source was lost"
    done
    trouble
    [[ $trouble == "$trouble_before" ]] || roll_back 3 "the task has new problems: $trouble"
}

# What each master counts as changes since its last snapshot, and when that was, in counted.
count_changes() {
    local node
    counted=()
    for node in "${nodes[@]}"; do
        word_of saved "$node"
        counted+=("$value")
        word_of changes "$node"
        counted+=("$value")
    done
}

# Was something written since? By the counts before and those now; where there was a snapshot between, they tell nothing.
was_written() { # counts before
    local -a counted before=("$@")
    local i
    count_changes
    [[ ${#counted[@]} -eq ${#before[@]} ]] || return 0
    for ((i = 0; i < ${#counted[@]}; i += 2)); do
        [[ ${counted[i]} != "${before[i]}" || ${counted[i + 1]} == "${before[i + 1]}" ]] || return 0
    done
    return 1
}

pause_writes() {
    local ms=$PAUSE_MS
    [[ $pause_is_all -eq 0 ]] || ms=$((budget * 1000))
    now_us
    cutover_begun=$now
    ask_hold 30 pause "$ms" || roll_back 1 "the writes of the source could not be paused"
    log note "paused masters=${#nodes[@]}"
    want_positions || roll_back 1 "$fault"
}

# The masters are still masters, and have been paused all the time.
look_once() {
    local node
    ask_hold 10 look || roll_back 1 "the source does not answer"
    for node in "${nodes[@]}"; do
        word_of role "$node"
        [[ $value == master ]] || roll_back 75 "a master of the source has failed over"
    done
    [[ $hold_lapsed -eq 0 ]] || roll_back 75 "a renewal of the pause came too late: writes may have been let through"
}

# Once more: a source whose writes are paused does not change.
look_again() {
    local -a counted
    count_changes
    await_target
    elapsed_ms
    log note "target_has_all ms=$elapsed"
    look_once
    ! was_written "${counted[@]}" || roll_back 75 "the source was written to although it is paused"
    want_positions || roll_back 1 "$fault"
    await_target
}

check_last() {
    local st
    if [[ $last_check == none ]]; then
        look_once
        return
    fi
    go_on_or_back "the last check has not begun"
    compare "$(((budget * 1000 - elapsed) / 1000 + 1))" --rounds 2 --delay 200 -q
    go_on_or_back "the last check did not end (--last-check, --budget)"
    case $st in
    0) ;;
    3) roll_back 3 "source and target differ: df2redis check" ;;
    75 | 124 | 137) roll_back 75 "the last check did not end" ;;
    *) roll_back 1 "source and target could not be compared" ;;
    esac
    look_once
}

# ---- the clients are moved ----

run_switch() {
    trap - INT TERM HUP PIPE
    cd -- "$ends_dir" && exec timeout -k 1 "$((hold > 0 ? hold : 60))" sh -c "${opt[switch]}"
}

say_lost() {
    local how="they are still replicated"
    [[ $reverse_stopped -eq 0 ]] || how="they are not replicated: df2redis check"
    log warn "pause_lost note=\"the source takes writes again; $how\""
}

# With --switch its status decides; else the operator, or the time.
await_clients() {
    local end=$((SECONDS + hold)) pid st
    if [[ -n ${opt[switch]-} ]]; then
        run_switch 6>&- 7>&- 8<&- </dev/null &
        pid=$!
        while alive "$pid"; do
            hold_tick 0.05 || roll_back 1 "the connection to the source was lost while the clients were being moved"
        done
        wait "$pid"
        st=$?
        [[ $st -eq 0 ]] || roll_back 1 "--switch ended with status $st"
        return
    fi
    while [[ $cutover_stopped -eq 0 && $SECONDS -lt $end ]]; do
        hold_tick 0.2 || { say_lost; return; }
        [[ ! -t 0 ]] || ! read -r -t 0 || { read -r _; break; }
    done
}

finish() {
    local lapsed=0
    case $then_what in
    keep)
        ask_hold 10 keep "$KEEP_MS" || roll_back 1 "the source could not be kept paused"
        lapsed=$hold_lapsed
        log note "kept_paused hours=$((KEEP_MS / 3600000)) note=\"CLIENT UNPAUSE at the source ends it; then: df2redis stop --final $task\""
        ;;
    resume)
        ask_hold 10 resume || log warn "pause_left note=\"the source takes writes again within $PAUSE_MS ms\""
        lapsed=$hold_lapsed
        log note "resumed note=\"what clients still write to the source is replicated until: df2redis stop --final $task\""
        ;;
    esac
    [[ $lapsed -eq 0 ]] ||
        log warn "pause_lapsed note=\"for a moment the source may have taken writes; they are replicated\""
    end_hold
}

# Where the source answers nothing while it is paused, and cannot be resumed: the clients have what is left of it.
finish_pause_all() {
    elapsed_ms
    local left=$((budget * 1000 - elapsed))
    [[ $left -gt 0 ]] || roll_back 75 "not within --budget $budget"
    log note "move_the_clients_now paused_ms=$elapsed left_ms=$left note=\"then the source takes requests again\""
    [[ $hold -le $((left / 1000)) ]] || hold=$((left / 1000))
    await_clients
    end_hold
    exit 0
}

# ---- all of it ----

cutover_command() {
    local trouble trouble_before session_id fault elapsed clients
    take_cutover_options
    look_at_lock
    [[ $held == up ]] || die 1 "task $task is not running ($run_dir is not locked)"
    exec 6>>"$run_dir/cutover.lock" || die 1 "cannot write to $run_dir"
    try_lock -n 6 || die 1 "another cutover of task $task is running"
    ! wants_words || log_words=1
    trap '' PIPE
    trap cutover_stopped=1 INT TERM HUP
    read_ends
    [[ $scans -eq 0 ]] || die 1 "a task that reads by SCAN has no positions: there is no cutover"
    [[ $reverse -eq 0 ]] || take_reverse
    take_secrets
    start_hold
    preflight
    if [[ ${#problems[@]} -gt 0 ]]; then
        end_hold
        say_problems
        exit $?
    fi
    if [[ $plan -eq 1 ]]; then
        show_plan
        end_hold
        exit 0
    fi
    [[ $cutover_stopped -eq 0 ]] || { end_hold; exit 5; }
    trouble
    trouble_before=$trouble
    identify_session
    version_of "$server"
    log note "cutover source=\"$value\" clients=$clients"
    pause_writes
    if [[ $pause_is_all -eq 1 ]]; then
        await_target
        finish_pause_all
    fi
    look_again
    check_last
    turn_around
    in_budget || roll_back 75 "not within --budget $budget"
    log note "move_the_clients_now paused_ms=$elapsed${opt[switch]:+ note=\"by --switch\"}"
    await_clients
    [[ $reverse -eq 0 ]] || finish_reverse
    finish
    exit 0
}
