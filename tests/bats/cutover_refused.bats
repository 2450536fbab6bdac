#!/usr/bin/env bats
# df2redis cutover: what it refuses and rolls back, how it reaches the servers, the way back, and the run book.

load helper
load cutting
load certs

setup() { common_setup; }

teardown() {
    [[ -n ${BATS_TEST_COMPLETED-} ]] || tail -n 20 "$TMP"/*err >&2
    [[ -z ${TASK-} ]] || { df2redis stop --timeout 5 || true; } >/dev/null 2>&1
    [[ -z ${CLUSTER_PIDS-} ]] || stop_cluster
    common_teardown
}

# ---- what it refuses, and rolls back ----

@test "the target cannot follow within the budget: rolled back with status 75" {
    pair
    redis-cli -p "$TARGET" client pause 100000 write
    redis-cli -p "$SOURCE" incr a
    cutover --budget 1 --last-check none
    redis-cli -p "$TARGET" client unpause
    assert_status 75
    assert_output_has event=rolled_back
    assert_output_has "not within --budget 1"
    writable "$SOURCE"
}

@test "the sides differ: refused before the pause; in the last check: rolled back with status 3; --switch fails" {
    pair
    redis-cli -p "$TARGET" set extra 1
    cutover
    assert_status 1
    assert_output_has "differ already"
    [[ $output != *event=paused* ]]
    redis-cli -p "$TARGET" del extra

    # Between pause and last check somebody writes to the target.
    # One who is too late for that tries again.
    local tries
    for tries in 1 2 3 4 5; do
        begin_cutover --hold 0
        await_step paused
        kill -STOP "$CUTOVER"
        redis-cli -p "$TARGET" set extra 1
        kill -CONT "$CUTOVER"
        reap 20 "$CUTOVER"
        redis-cli -p "$TARGET" del extra
        [[ $status -ne 0 ]] && break
    done
    [[ $status -eq 3 ]] || fail "status $status: $(cat "$TMP/said.err")"
    grep -q 'event=rolled_back .*source and target differ' "$TMP/said.err"
    writable "$SOURCE"

    cutover --switch 'exit 7'
    assert_status 1
    assert_output_has "rolled_back"
    assert_output_has "--switch ended with status 7"
    writable "$SOURCE"
}

@test "refused: no task, no master, a task that selects keys, wrong options; two at a time" {
    run df2redis cutover none
    assert_status 1
    assert_output_has "not running"
    run df2redis cutover --budget 0
    assert_status 2
    run df2redis cutover --then never
    assert_status 2
    run df2redis status --plan
    assert_status 2

    start_source
    local master=$SOURCE
    start_source --replicaof 127.0.0.1 "$SOURCE"
    wait_until 10 eval "redis-cli -p $SOURCE info replication | grep -q master_link_status:up"
    start_target
    start_task "redis://127.0.0.1:$SOURCE" --exclude 'tmp:*'
    cutover
    assert_status 1
    assert_output_has "127.0.0.1:$SOURCE is no master"
    assert_output_has "the task selects keys"
    df2redis stop
    reap 10 "$TASK"

    start_task "redis://127.0.0.1:$master" --resume --exclude 'tmp:*' --on-full-resync flush
    redis-cli -p "$master" set tmp:1 1
    begin_cutover --last-check none --hold 60
    await_step move_the_clients_now
    cutover --last-check none
    assert_status 1
    assert_output_has "another cutover"
    kill -TERM "$CUTOVER"
    reap 10 "$CUTOVER"
    [[ $status -eq 0 ]]
}

@test "--plan says what would be done, and pauses nothing; --then keep leaves the source paused" {
    pair
    redis-cli -p "$SOURCE" mset a 1 b 2
    cutover --plan
    assert_status 0
    assert_output_has "1. pause the writes of 1 master"
    assert_output_has "3. compare 100 % of the keys"
    [[ $output != *event=* ]]
    writable "$SOURCE"
    cutover --hold 0 --then keep
    assert_status 0
    assert_output_has event=kept_paused
    never timeout 2.5 redis-cli -p "$SOURCE" set a 3
    [[ $(redis-cli -p "$SOURCE" get a) == 1 ]]
    redis-cli -p "$SOURCE" client unpause
    writable "$SOURCE"
    df2redis stop --final
    reap 10 "$TASK"
    [[ -z $(redis-cli -p "$TARGET" --scan --pattern 'df2redis*') ]]
    TASK=
}

@test "passwords come from the task" {
    start_source
    start_target
    redis-cli -p "$SOURCE" config set requirepass secret1 >/dev/null
    redis-cli -p "$TARGET" config set requirepass secret2 >/dev/null
    printf '%s\n' '[df2redis]' "source = redis://127.0.0.1:$SOURCE" "target = redis://127.0.0.1:$TARGET" \
        'target-password = secret2' 'no-verify = yes' 'no-mset = yes' >"$TMP/conf"
    DF2REDIS_SOURCE_PASSWORD=secret1 background df2redis -c "$TMP/conf" replicate 2>"$TMP/task.err"
    TASK=$!
    wait_until 15 shows 'phase=streaming .*health=ok'
    cutover --hold 0
    assert_status 0
    assert_output_has event=move_the_clients_now
    never grep -rq secret "$(RUN)"
}

@test "--reverse: from the moment of the cutover the source follows the target" {
    local i
    pair --appendonly no
    cutover --reverse --hold 0
    assert_status 1
    assert_output_has repl-backlog-size
    redis-cli -p "$TARGET" config set repl-backlog-size 64mb >/dev/null
    redis-cli -p "$TARGET" set counter 5 >/dev/null
    redis-cli -p "$SOURCE" set counter 5 >/dev/null
    # Rolled back: the task has ended, and resumes.
    cutover --reverse --switch 'exit 7'
    assert_status 1
    assert_output_has event=task_is_stopped
    writable "$SOURCE"
    reap 10 "$TASK"
    start_task "redis://127.0.0.1:$SOURCE" --resume
    start_writer "$SOURCE"
    cutover --reverse --switch "kill -USR1 $WRITER; sleep 0.3"
    assert_status 0
    [[ $(paused_ms) -le $((1000 * PATIENCE)) ]]
    reap 10 "$TASK"
    [[ $status -eq 0 ]]
    TASK=
    for ((i = 0; i < 50; i++)); do echo "INCR counter"; done | redis-cli -p "$TARGET" -n 0 >/dev/null
    redis-cli -p "$TARGET" -n 2 set other 1 >/dev/null
    end_writer
    # Each change of the target once, and nothing that the task had brought a second time.
    wait_until 15 equal "redis://127.0.0.1:$SOURCE"
    [[ $(redis-cli -p "$SOURCE" get counter) == 55 && $(redis-cli -p "$SOURCE" -n 2 get other) == 1 ]]
    df2redis status default-back | head -n 1 | grep -q 'phase=streaming .*health=ok'
    df2redis stop default-back --final
    [[ -z $(redis-cli -p "$SOURCE" --scan --pattern 'df2redis*') ]]
}

@test "a source over TLS, by the options of the task" {
    make_certs
    start_tls_redis server --repl-diskless-sync-delay 0
    SOURCE=$REDIS_PORT
    start_target
    cd "$CERTS" # a file's name counts where the task was started
    start_task "rediss://127.0.0.1:$TLS_PORT" --source-tls-ca ca.crt
    cd /
    cutover --hold 0
    assert_status 0
    assert_output_has event=move_the_clients_now
}

# A binary that is older, of those that "make check-versions" is given.
old_server() {
    local server
    for server in ${DF2REDIS_SERVERS:-}; do
        "$server" --version | grep -Eq 'v=([345]|6\.0)\.' && OLD=$server && return
    done
    return 1
}

@test "a Redis before 6.2 pauses everything, for the whole budget" {
    old_server || skip "no such server in DF2REDIS_SERVERS"
    REDIS_SERVER=$OLD start_source
    start_target
    start_task "redis://127.0.0.1:$SOURCE"
    cutover
    assert_status 1
    assert_output_has --pause-all
    start_writer "$SOURCE"
    cutover --pause-all --budget 3 --switch "kill -USR1 $WRITER"
    assert_status 0
    assert_output_has "move_the_clients_now"
    end_writer
    writable "$SOURCE" 4000
}

# ---- the run book ----

# The commands of df2redis(7), Switching over, in their order.
runbook() { sed -n '/^\.Ss Switching over/,/^\.Ss Backpressure/s/^\.Dl //p' "$REPO/man/df2redis.7"; }

# A HAProxy's socket: what it is told, and then the writer moves.
listen_for_orders() {
    background socat "UNIX-LISTEN:$TMP/haproxy.sock,fork" SYSTEM:"cat >>$TMP/orders" 2>"$TMP/socat.err"
    wait_until 5 test -S "$TMP/haproxy.sock"
}

@test "the run book of df2redis(7), step by step, with examples/move-clients.sh" {
    local line done=0
    start_source
    start_target
    redis-cli -p "$SOURCE" set a 1
    listen_for_orders
    cp "$REPO/examples/move-clients.sh" "$TMP/move-clients.sh"
    cd "$TMP"
    export SOCKET=$TMP/haproxy.sock
    while read -r line; do
        line=${line//10.0.0.5/127.0.0.1:$SOURCE}
        line=${line//10.0.0.9/127.0.0.1:$TARGET}
        case $line in
        *' replicate '*)
            # shellcheck disable=SC2086 # the words of the line
            background $line 2>"$TMP/task.err"
            TASK=$!
            wait_until 15 shows_streaming
            ;;
        *)
            run bash -c "$line"
            printf '%s\n' "$line" "$output" >>"$TMP/cutover.err"
            assert_status 0
            ;;
        esac
        case $line in
        *' status '*) assert_output_has 'phase=streaming' ;;
        *' check '*) assert_output_has ': equal' ;;
        *' --plan'*) assert_output_has '1. pause the writes' ;;
        *' --switch '*)
            assert_output_has 'event=move_the_clients_now'
            printf '%s\n' 'set server redis/source state maint' 'set server redis/target state ready' \
                'shutdown sessions server redis/source' | diff "$TMP/orders" -
            ;;
        *' --final'*) reap 10 "$TASK" && [[ $status -eq 0 ]] ;;
        *' remove '*) [[ ! -e $(RUN cache) ]] ;;
        esac
        done=$((done + 1))
    done < <(runbook)
    TASK=
    [[ $done -eq 7 ]] || fail "$done steps"
    [[ $(redis-cli -p "$TARGET" get a) == 1 ]]
}

shows_streaming() { df2redis status cache | grep -q 'phase=streaming .*health=ok'; }
