#!/usr/bin/env bats
# A connection to a Redis or Valkey that is lost is made again within the session: nothing is lost, nothing comes twice, no
# stage is started anew.

load helper
load psync
load watching

setup() { common_setup; }
teardown() {
    touch "$TMP/enough"
    common_teardown
}

# A source with data, a target, and a task between them.
start_pair() { # options of df2redis
    start_source
    scli eval 'for i=1,500 do redis.call("SET","key:"..i,i) redis.call("RPUSH","list:"..i%7,i) end' 0 >/dev/null
    scli -n 2 set other db >/dev/null
    start_target
    start_task "$@" replicate "redis://127.0.0.1:$SOURCE" "redis://127.0.0.1:$TARGET"
}

start_task() { # arguments of df2redis
    background df2redis -v "$@" 2>"$TMP/task.err"
    TASK=$!
    wait_until 15 phase_is streaming || { cat "$TMP/task.err" >&2; return 1; }
}

stop_task() {
    df2redis stop >/dev/null
    reap 10 "$TASK"
    [[ $status -eq 0 ]] || fail "status $status: $(cat "$TMP/task.err")"
}

# Changes that count: one that is lost or done twice shows.
change() { # port rounds
    local i
    for ((i = 0; i < $2; i++)); do
        printf '%s\n' "INCR counter" "RPUSH log $i" "SELECT $((i % 3))" "HINCRBY hash n 1" "MULTI" "INCR a" "INCR b" "EXEC" "SELECT 0"
    done | redis-cli -p "$1" >/dev/null
}

equal() { dfstate diff "redis://127.0.0.1:$SOURCE?dbs=0,1,2" "redis://127.0.0.1:$TARGET?dbs=0,1,2"; }
assert_equal() { wait_until 15 equal || equal; }

reconnects_are() { [[ $(json source_reconnects) -ge $1 ]]; }
never_begun_anew() { [[ $(json restarts) == 0 ]] || fail "restarts: $(cat "$TMP/task.err")"; }

# Writes without end, until the file enough is there.
write_on() { # port
    local n=0
    while [[ ! -e $TMP/enough ]]; do
        n=$((n + 1))
        printf '%s\n' 'INCR counter' "RPUSH log $n" MULTI 'INCR a' 'INCR b' EXEC "SET big $(printf '%0200d' "$n")" "SELECT $((n % 3))" \
            'INCR there' 'SELECT 0'
    done | redis-cli -p "$1" >/dev/null 2>&1
}

@test "connections that are killed under writes, in one process and one per flow" {
    local single n
    for single in --single ''; do
        start_pair ${single:+"$single"}
        rm -f "$TMP/enough"
        background write_on "$SOURCE"
        local writes=$!
        for n in {1..8}; do
            wait_until 5 eval '[[ $(info replication connected_slaves) == 1 ]]'
            wait_until 5 eval '[[ $(info replication slave0) == *state=online* ]]'
            scli client kill type replica >/dev/null
            [[ $((n % 2)) == 1 ]] || scli client kill type normal skipme yes >/dev/null # ours too
            wait_until 10 reconnects_are "$n"
            ended "$writes" && { background write_on "$SOURCE"; writes=$!; }
        done
        touch "$TMP/enough"
        wait_until 10 ended "$writes"
        assert_equal
        never_begun_anew
        [[ $(info stats sync_full) == 1 && $(info stats sync_partial_ok) -ge 8 ]]
        grep -q 'event=flow_connection_lost offset=[0-9]* error=' "$TMP/task.err"
        grep -q 'event=flow_reconnected offset=[0-9]* replid=' "$TMP/task.err"
        shows 'health=ok'
        stop_task
    done
}

@test "a source that is stopped and started: on in the same session, by the id of its file" {
    start_pair
    server_has 7.0 || skip "it gives itself a new id"
    change "$SOURCE" 50
    scli config set shutdown-timeout 2 >/dev/null
    scli shutdown save >/dev/null || true
    reap 10 "$SOURCE_PID"
    wait_until 5 shows 'health=source-reconnecting'
    shows 'state=reconnecting'
    background "${REDIS_SERVER:-redis-server}" --port "$SOURCE" --bind 127.0.0.1 --save '' --dir "$TMP/redis.$SOURCE" \
        --repl-diskless-sync-delay 0 --repl-backlog-size 64mb
    wait_until 10 eval "scli ping | grep -q PONG"
    change "$SOURCE" 50
    assert_equal
    [[ $(tcli get counter) == 100 ]]
    never_begun_anew
    wait_until 5 shows 'health=ok'
    stop_task
    # The position was saved with the new id.
    change "$SOURCE" 5
    start_task --resume replicate "redis://127.0.0.1:$SOURCE" "redis://127.0.0.1:$TARGET"
    assert_equal
    [[ $(tcli get counter) == 105 && $(info stats sync_full) == 0 ]]
    stop_task
}

@test "a source that does not come back, and one that cannot go on: 75, and why" {
    start_pair --source-reconnect-timeout 2
    kill -9 "$SOURCE_PID"
    reap 15 "$TASK"
    [[ $status -eq 75 ]] || fail "status $status"
    grep -q 'not connected again within 2 seconds: .*Connection refused' "$TMP/task.err"
    start_pair --on-existing flush
    # Another server at the same address.
    kill -9 "$SOURCE_PID"
    reap 5 "$SOURCE_PID" || true
    background "${REDIS_SERVER:-redis-server}" --port "$SOURCE" --bind 127.0.0.1 --save '' --dir "$TMP"
    reap 20 "$TASK"
    [[ $status -eq 75 ]] || fail "status $status"
    grep -q 'the source cannot go on behind offset [0-9]*, and offers a full sync' "$TMP/task.err"
}

@test "sentinel: the master dies, and the flow goes on at the next one in the same session; then at the one after" {
    local single
    for single in --single ''; do
        start_watched
        SOURCE=$MASTER
        change "$MASTER" 20
        start_target
        wait_until 10 knows_replica
        start_task ${single:+"$single"} replicate "sentinel://127.0.0.1:$SENTINEL/mine" "redis://127.0.0.1:$TARGET"
        change "$MASTER" 50
        assert_equal
        redis-cli -p "$MASTER" client pause 100000 write >/dev/null
        wait_until 12 in_sync
        redis-cli -p "$SENTINEL" sentinel set mine down-after-milliseconds 500 >/dev/null
        kill -KILL "$MASTER_PROCESS"
        wait_until 20 master_is "$REPLICA"
        SOURCE=$REPLICA
        wait_until 10 eval "scli role | grep -qx master"
        change "$REPLICA" 50
        assert_equal
        [[ $(tcli get counter) == 120 ]]
        shows "server=redis://127.0.0.1:$REPLICA "
        never_begun_anew
        grep -q "event=lineage replid=$(info replication master_replid)" "$TMP/task.err"
        # A stage that dies now goes on by the new id.
        kill -9 "$(stage dfreader$([[ -n $single ]] || echo -0))"
        reap 20 "$TASK"
        start_task ${single:+"$single"} --resume replicate "sentinel://127.0.0.1:$SENTINEL/mine" "redis://127.0.0.1:$TARGET"
        change "$REPLICA" 5
        assert_equal
        grep -q "event=flow_up mode=PARTIAL" "$TMP/task.err"
        stop_task
    done
}
