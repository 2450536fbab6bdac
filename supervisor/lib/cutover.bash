# shellcheck shell=bash
# cutover: the clients of the source may be moved, at a moment when the target has everything. df2redis(1), CUTOVER.
# Until then every way out lets the source take writes again; so does a kill -9, after PAUSE_MS at most.

PAUSE_MS=2000  # of one CLIENT PAUSE; dfhold renews it four times as often
KEEP_MS=86400000 # --then keep
SAMPLE=50000   # keys that the last check compares, about, unless --last-check says otherwise

budget=5 hold=60 then_what=resume last_check=
cutover_begun= # µs: the pause was asked for
cutover_stopped=0
pause_is_all=0 # the source (Redis before 6.2) pauses reads as well, answers nothing then, and cannot be resumed
declare -A want=() # flow -> position of the source that the target is to reach

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

# ---- what the task says ----

# The session's answer: session, the line's end; of each flow what is applied, and its master in a cluster. False: it
# does not answer.
session=
declare -A applied=() flow_replid=()
ask_task() {
    local answer line name value
    answer=$(ask 2 status) || return 1
    applied=() flow_replid=() session=
    while IFS= read -r line; do
        case $line in
        session\ *) session=${line#session } ;;
        flow\ *)
            word_of flow "$line"
            name=$value
            word_of applied "$line"
            applied[$name]=$value
            word_of replid "$line"
            [[ -z $value ]] || flow_replid[$name]=${value,,}
            ;;
        esac
    done <<<"$answer"
    [[ -n $session ]]
}

session_word() { # name
    word_of "$1" "$session"
}

# Data errors and the like, as one text that changes when there are more.
trouble() {
    local name text=
    for name in errors lost doubtful evicted; do
        session_word "$name"
        text+="$name=${value:-0} "
    done
    trouble=$text
}

# ---- which position of which master a flow is to reach ----

# The positions of dfhold's last answer, in want. False: some master has no flow, in fault.
want_positions() {
    local node
    want=()
    if [[ ${#flow_replid[@]} -eq 0 ]]; then
        want_of_server "${nodes[0]}"
        return
    fi
    for node in "${nodes[@]}"; do want_of_master "$node" || return; done
}

# The ids of a master, in replid and before.
replids_of() { # node
    word_of replid "$1"
    replid=${value,,}
    word_of replid2 "$1"
    before=${value,,}
}

# One server: the flows are its shards, or there is one.
want_of_server() { # node
    local replid before i list
    replids_of "$1"
    session_word replid
    value=${value,,}
    if [[ -z $value || ($value != "$replid" && $value != "$before") ]]; then
        fault="the source is not the master that the task follows"
        return 1
    fi
    word_of at "$1"
    IFS=, read -ra list <<<"$value"
    if [[ ${#list[@]} -ne ${#applied[@]} ]]; then
        fault="the source has ${#list[@]} flows, the task ${#applied[@]}"
        return 1
    fi
    for i in "${!list[@]}"; do want[$i]=${list[i]}; done
}

# A master of a cluster: one of the flows follows it.
want_of_master() { # node
    local replid before i
    replids_of "$1"
    for i in "${!flow_replid[@]}"; do
        [[ ${flow_replid[$i]} == "$replid" || ${flow_replid[$i]} == "$before" ]] || continue
        word_of at "$1"
        want[$i]=$value
        return 0
    done
    word_of address "$1"
    fault="no flow follows the master $value"
    return 1
}

# Has the target applied all of want? What is missing, in behind.
is_reached() {
    local flow
    behind=0
    for flow in "${!want[@]}"; do
        [[ ${applied[$flow]:-0} -ge ${want[$flow]} ]] || behind=$((behind + want[$flow] - ${applied[$flow]:-0}))
    done
    session_word slots_open # of a cluster: slots that are on their way from one flow to another
    [[ $behind -eq 0 && ${value:-0} -eq 0 ]]
}

# ---- before ----

problems=() # "status text"
problem() { problems+=("$1 $2"); }

# By the line that status shows.
check_task_state() {
    local line one
    line=$(show_task text | head -n 1)
    word_of command "$line"
    [[ $value == replicate ]] || die 1 "task $task does not replicate: there is nothing to switch over"
    word_of phase "$line"
    [[ $value == streaming ]] || problem 75 "the task is not streaming yet (phase $value)"
    word_of lag_seconds "$line"
    [[ ${value:-0} -le $((budget / 2)) ]] || problem 75 "the target is $value s behind: too far for --budget $budget"
    word_of health "$line"
    for one in ${value//,/ }; do
        case $one in
        ok) ;;
        data-errors | data-errors-before | not-carried-over | doubtful | evictions | verify-failed)
            [[ $force -eq 1 ]] || problem 3 "the task has a problem: $one (--force)" ;;
        *) problem 75 "the task has a problem: $one" ;;
        esac
    done
    return 0
}

check_source_state() {
    local node
    count_clients
    for node in "${nodes[@]}"; do
        word_of role "$node"
        [[ $value == master ]] && continue
        word_of address "$node"
        problem 1 "$value is no master: writes are paused at the master only, which is to be the source"
    done
    word_of pause "$server"
    if [[ $value == all ]]; then
        pause_is_all=1 last_check=none
        [[ $pause_all -eq 1 ]] ||
            problem 1 "the source can only pause reads and writes together, for the whole of --budget: --pause-all"
        [[ $budget -le 60 ]] || problem 1 "--budget $budget is too long for a pause that cannot be ended"
    fi
    want_positions || problem 75 "$fault"
}

check_target_state() {
    local used most
    look_at_target || { problem 75 "the target cannot be asked"; return; }
    word_of memory "$target_node"
    used=${value:-0}
    word_of max_memory "$target_node"
    most=${value:-0}
    [[ $most -eq 0 || $((used / 19)) -le $((most / 20)) ]] || problem 1 "the target is nearly full: $used of $most bytes"
}

choose_sample() {
    [[ $last_check == auto ]] || return 0
    if [[ $selects -eq 1 ]]; then
        problem 1 "the task selects keys, which the last check cannot: --last-check none"
        return
    fi
    ask_hold 30 size || { problem 75 "the source cannot be asked"; return; }
    last_check=100
    [[ $size -le $SAMPLE ]] || last_check=$((SAMPLE * 100 / size)).$(printf '%02d' $((SAMPLE * 10000 / size % 100)))
    [[ $last_check != 0.00 ]] || last_check=0.01
}

# Compare so many keys. Its status, in st.
compare() { # seconds option…
    local patience=$1 args=()
    shift
    [[ -z $config ]] || args=(-c "$config")
    (cd -- "$ends_dir" && exec timeout -k 1 "$patience" "$here/df2redis-check" "${args[@]}" "${check_args[@]}" --sample "$last_check" \
        "$@" "$source_url" "$target_url" >&2 6>&- 7>&- 8<&-)
    st=$?
}

check_before() {
    local st
    [[ $last_check != none && ${#problems[@]} -eq 0 ]] || return 0
    compare 600 -q --rounds 3 --delay 300
    [[ $st -ne 3 ]] || compare 600 -q # a target that was behind for a moment differs in the same way twice
    case $st in
    0 | 75) ;; # what keeps changing is being written
    3) problem 3 "source and target differ already: df2redis check" ;;
    *) problem 1 "source and target cannot be compared" ;;
    esac
}

preflight() {
    check_task_state
    ask_task || { problem 75 "the session does not answer"; return; }
    ask_hold 60 look || { problem 1 "the source cannot be asked"; return; }
    check_source_state
    check_target_state
    check_reverse
    choose_sample
    check_before
}

# The clients that are connected to the masters, ours too.
count_clients() {
    local node
    clients=0
    for node in "${nodes[@]}"; do
        word_of clients "$node"
        clients=$((clients + value))
    done
}

say_problems() {
    local one st=75
    for one in "${problems[@]}"; do
        log error "cutover_refused error=\"${one#* }\""
        [[ ${one%% *} == 75 ]] || st=1
    done
    return "$st"
}

# "redis 7.0.15" of such a line, in value.
version_of() { # line "server"
    local kind
    word_of kind "$1"
    kind=$value
    word_of version "$1"
    value="$kind $value"
}

show_plan() {
    local from to masters whose="the writes of" how=" (CLIENT PAUSE $PAUSE_MS WRITE, renewed)"
    version_of "$server"
    from=$value
    version_of "$target_server"
    to=$value
    word_of masters "$server"
    masters=$value
    [[ $pause_is_all -eq 0 ]] || { whose="reads and writes of"; how=; }
    printf '%s\n' "task $task: $source_url ($from) to $target_url ($to)" \
        "masters of the source: $masters, connected clients, ours included: $clients" \
        "1. pause $whose $masters master$([[ $masters -eq 1 ]] || echo s)$how, for at most $budget s" \
        "2. wait until the target has applied what the source has (flows: ${#want[@]}), twice"
    if [[ $last_check == none ]]; then echo "3. compare nothing"; else echo "3. compare $last_check % of the keys"; fi
    [[ $reverse -eq 0 ]] || echo "   end the task; $back_name replicates from the target to the source from then on"
    if [[ -n ${opt[switch]-} ]]; then
        printf '%s\n' "4. run: ${opt[switch]}"
    else
        echo "4. say that the clients may be moved, and keep the source paused for $hold s"
    fi
    if [[ $then_what == keep ]]; then echo "5. keep the source paused"; else echo "5. let the source take writes again"; fi
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

# With --switch its status decides; else the operator, or the time.
await_clients() {
    local end=$((SECONDS + hold)) pid st
    if [[ -n ${opt[switch]-} ]]; then
        (cd -- "$ends_dir" && exec timeout -k 1 "$((hold > 0 ? hold : 60))" sh -c "${opt[switch]}" 6>&- 7>&- 8<&-) &
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
        hold_tick 0.2 || { log warn "pause_lost note=\"the source takes writes again; they are still replicated\""; return; }
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
