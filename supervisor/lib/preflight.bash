# shellcheck shell=bash
# For cutover: what has to be so before it begins, and what it would do.

SAMPLE=50000 # keys that the last check compares, about, unless --last-check says otherwise

problems=() # "status text"
problem() { problems+=("$1 $2"); }

# By the line that status shows.
check_task_state() {
    local line one
    line=$(show_task line)
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
    compare 600 -q --rounds 1 --delay 300
    [[ $st -ne 3 ]] || compare 600 -q --rounds 1 --delay 2000 # a target that was behind for a moment differs in the same way twice
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
    session_word slots_open
    [[ ${value:-0} -eq 0 ]] || problem 75 "slots of the cluster are on their way: $value"
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
