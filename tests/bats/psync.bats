#!/usr/bin/env bats
# A live Redis or Valkey as source, end to end: into a cluster, with filters, stopped and resumed, flushed, with a target
# that stands still; and what we do to the source: nothing.

load helper
load psync

setup() { common_setup; }
teardown() { psync_teardown; }

stop_task() {
    df2redis stop >/dev/null
    reap 20 "$TASK"
    [[ $status -eq 0 ]] || fail "status $status: $(cat "$TMP/task.err")"
}

fill() { # rounds
    scli eval 'for i = 1, tonumber(ARGV[1]) do
        redis.call("SET", "str:" .. i, i) redis.call("HSET", "hash:" .. i % 20, "f" .. i, i)
        redis.call("ZADD", "zset:" .. i % 5, i, i) redis.call("RPUSH", "list:" .. i % 7, i)
        redis.call("SADD", "set:" .. i % 9, i) redis.call("XADD", "stream", i .. "-1", "n", i) end' 0 "$1" >/dev/null
}

# Writes without end of many kinds that show when one is lost or done twice; the last line says how many rounds there were.
write_on() { # port file
    local n=0
    while [[ ! -e $TMP/enough ]]; do
        n=$((n + 1))
        printf '%s\n' 'INCR counter' "RPUSH log $n" "HINCRBY hash:1 n $n" MULTI 'INCR a' 'INCR b' "LPUSH moved $n" EXEC \
            'RPOPLPUSH moved log' "SET str:$((n % 50)) $n EX 100000" "XADD stream * n $n" "DEL str:$((n % 70))" "ZINCRBY zset:1 1 m$((n % 9))"
    done | redis-cli -p "$1" >/dev/null 2>&1
}

start_writes() {
    rm -f "$TMP/enough"
    background write_on "$SOURCE"
    WRITER=$!
}

end_writes() {
    touch "$TMP/enough"
    wait_until 10 ended "$WRITER"
}

equal() { dfstate diff --list 5 "redis://127.0.0.1:$SOURCE?dbs=0,1,2" "redis://127.0.0.1:$TARGET?dbs=0,1,2"; }
equal_cluster() { dfstate diff --list 5 "redis://127.0.0.1:$SOURCE" "redis-cluster://127.0.0.1:${CLUSTER_PORTS[0]}"; }

full_syncs() { info stats sync_full; }
partial_syncs() { info stats sync_partial_ok; }

@test "into a cluster: snapshot, commands over several slots, transactions, a stage that is killed" {
    start_source
    fill 2000
    start_cluster 0
    start_task --restart --position-file "$TMP/positions" --single replicate "redis://127.0.0.1:$SOURCE" "$CLUSTER_URL"
    start_writes
    sleep_until_written 2000
    kill -9 "$(stage dfparse)"
    wait_until 5 eval '[[ $(json restarts) -ge 1 ]]'
    sleep_until_written 5000
    end_writes
    wait_until 20 equal_cluster || { equal_cluster; return 1; }
    [[ $(full_syncs) -eq 1 && $(partial_syncs) -ge 1 ]]
    stop_task
}

# More than so many rounds of writes.
sleep_until_written() { wait_until 20 eval "[[ \$(scli get counter) -ge $1 ]]"; }

@test "stop, and on from there: a partial sync, nothing lost or done twice, in the database that was selected" {
    start_source
    fill 500
    start_target
    start_task replicate "redis://127.0.0.1:$SOURCE" "redis://127.0.0.1:$TARGET"
    printf '%s\n' 'SELECT 2' 'INCR n' | scli >/dev/null # the stream goes on in database 2, and does not say so again
    wait_until 5 equal
    stop_task
    for _ in 1 2 3; do
        printf '%s\n' 'SELECT 2' 'INCR n' 'RPUSH l a' 'SELECT 0' 'INCR n' 'SELECT 2' 'INCR n' | scli >/dev/null
        start_task --resume replicate "redis://127.0.0.1:$SOURCE" "redis://127.0.0.1:$TARGET"
        wait_until 10 equal || { equal; return 1; }
        stop_task
    done
    [[ $(full_syncs) -eq 1 && $(partial_syncs) -eq 3 ]]
    [[ $(tcli -n 2 get n) -eq 7 && $(tcli get n) -eq 3 ]]
}

@test "status: the source's version, the lag in bytes, and nothing of it when all has arrived" {
    start_source
    fill 500
    start_target
    start_task replicate "redis://127.0.0.1:$SOURCE" "redis://127.0.0.1:$TARGET"
    start_writes
    sleep_until_written 500
    end_writes
    wait_until 10 equal
    wait_until 15 eval '[[ $(json lag_bytes) -eq 0 ]]'
    run df2redis status --json
    assert_output_has "\"source\":\"redis://127.0.0.1:$SOURCE\""
    [[ $(df2redis status | sed -n 's/^flow .* applied=\([0-9]*\) .*/\1/p') -le $(offset) ]]
    stop_task
}

@test "selected, renamed and in other databases: from the snapshot and from the stream" {
    start_source
    fill 50
    scli -n 1 set other:1 one >/dev/null
    start_target
    start_task --include 'str:*' --include 'log' --include 'other:*' --exclude 'str:7' --rename-prefix str:=new: --db-map 1=5 \
        replicate "redis://127.0.0.1:$SOURCE" "redis://127.0.0.1:$TARGET"
    printf '%s\n' 'SET str:99 live' 'SET str:7 no' 'RPUSH log a b' 'SET hidden x' 'HSET hash:1 x y' MULTI 'SET str:98 in' 'SET hidden y' EXEC \
        'SELECT 1' 'APPEND other:1 -more' 'SELECT 0' 'RPUSH log end' | scli >/dev/null
    wait_until 10 eval '[[ $(tcli llen log) -eq 3 ]]'
    [[ $(tcli get new:99) == live && $(tcli get new:98) == in && $(tcli get new:1) == 1 ]]
    [[ $(tcli exists str:1 str:99 new:7 hidden hash:1 hash:2 zset:1) -eq 0 ]]
    [[ $(tcli -n 5 get other:1) == one-more && $(tcli -n 1 dbsize) -eq 0 ]]
    stop_task
}

@test "FLUSHALL, FLUSHDB and SWAPDB while writes go on: the same at the target, and the positions stay" {
    start_source
    fill 500
    printf '%s\n' 'SELECT 1' 'SET in1 x' 'SELECT 2' 'SET in2 x' | scli >/dev/null
    start_target
    start_task --single replicate "redis://127.0.0.1:$SOURCE" "redis://127.0.0.1:$TARGET"
    start_writes
    sleep_until_written 300
    scli -n 1 flushdb >/dev/null
    scli swapdb 0 2 >/dev/null
    wait_until 10 eval '[[ $(scli get counter) -ge 300 ]]'
    scli flushall >/dev/null
    sleep_until_written 500
    end_writes
    wait_until 20 equal || { equal; return 1; }
    stop_task
    start_task --single --resume replicate "redis://127.0.0.1:$SOURCE" "redis://127.0.0.1:$TARGET"
    scli incr counter >/dev/null
    wait_until 10 equal || { equal; return 1; }
    stop_task
    [[ $(full_syncs) -eq 1 ]]
}

@test "functions: those of the snapshot, and what becomes of them later" {
    start_source
    server_has 7.0 || skip "it has no functions"
    scli function load "#!lua name=before
redis.register_function('f1', function(k, a) return redis.call('SET', k[1], 'f1') end)" >/dev/null
    start_target
    start_task replicate "redis://127.0.0.1:$SOURCE" "redis://127.0.0.1:$TARGET"
    [[ $(tcli function list) == *before* ]]
    scli function load "#!lua name=later
redis.register_function('f2', function(k, a) redis.call('INCR', k[1]); return redis.call('INCR', k[2]) end)" >/dev/null
    scli fcall f2 2 c1 c2 >/dev/null
    scli fcall f1 1 key >/dev/null
    scli function delete before >/dev/null
    wait_until 10 equal
    wait_until 5 eval '[[ $(tcli function list) == *later* && $(tcli function list) != *before* ]]'
    stop_task
}

@test "--wait: applied is what a replica of the target has confirmed" {
    start_source
    fill 100
    start_target
    local target=$TARGET
    start_redis --replicaof "127.0.0.1 $TARGET" --repl-diskless-sync-delay 0
    local replica=$REDIS_PID
    wait_until 10 eval "redis-cli -p $target info replication | grep -q 'state=online'"
    start_task --acknowledge exact --wait 1 replicate "redis://127.0.0.1:$SOURCE" "redis://127.0.0.1:$TARGET"
    scli incr counter >/dev/null
    wait_until 10 eval 'acknowledged_is "$(offset)"'
    kill -STOP "$replica"
    local before
    before=$(offset)
    scli incr counter >/dev/null
    wait_until 10 eval '[[ $(tcli get counter) -eq 2 ]]'
    [[ $(acknowledged) -le $before ]]
    kill -CONT "$replica"
    wait_until 20 eval 'acknowledged_is "$(offset)"'
    stop_task
}

# ---- the source is left in peace ----

# Replicas that fall behind by 8 MB are cut off, and a few seconds of these writes are more.
@test "a target that stands still for a few seconds of writes: the source keeps us and its memory, all arrives" {
    start_source --client-output-buffer-limit 'replica 8mb 0 0' --repl-backlog-size 1mb
    start_target
    start_task replicate "redis://127.0.0.1:$SOURCE" "redis://127.0.0.1:$TARGET"
    local used
    used=$(info memory used_memory)
    kill -STOP "$TARGET_PID"
    redis-benchmark -p "$SOURCE" -q -n 200000 -r 1000 -d 200 -P 50 -t set >/dev/null 2>&1
    wait_until 10 shows 'queued=[0-9]{8}'
    [[ $(info replication connected_slaves) -eq 1 && $(($(info memory used_memory) - used)) -lt $((16 << 20)) ]]
    kill -CONT "$TARGET_PID"
    wait_until 30 equal || { equal; return 1; }
    [[ $(full_syncs) -eq 1 && $(partial_syncs) -eq 0 ]]
    stop_task
}

@test "FAILOVER finds nobody to promote, and the real replica where there is one" {
    start_source
    server_has 6.2 || skip "it has no FAILOVER"
    fill 100
    start_target
    start_task --restart replicate "redis://127.0.0.1:$SOURCE" "redis://127.0.0.1:$TARGET"
    scli incr counter >/dev/null
    wait_until 5 equal
    run scli failover timeout 300
    sleep 1 # longer than it may take
    [[ $(info replication role) == master && $(scli set still writable) == OK ]]
    start_redis --replicaof "127.0.0.1 $SOURCE" --repl-diskless-sync-delay 0
    wait_until 10 replica_follows "$REDIS_PORT"
    wait_until 10 eval '[[ $(info replication connected_slaves) -eq 2 ]]'
    wait_until 20 eval 'scli failover 2>&1 | grep -q OK; [[ $(rcli role | head -1) == master ]]'
    [[ $(info replication role) == slave && $(info replication master_port) -eq $REDIS_PORT ]]
    # The old master is a replica now, whose stream we go on with by its new id.
    rcli incr counter >/dev/null
    wait_until 20 eval '[[ $(tcli get counter) -eq 2 ]]'
    stop_task
}

@test "SHUTDOWN is over in time, with the exact offset at once, and a new start goes on" {
    start_source
    server_has 7.0 || skip "its id does not outlive a restart"
    fill 100
    start_target
    scli config set shutdown-timeout 20 >/dev/null
    start_task --restart --acknowledge exact replicate "redis://127.0.0.1:$SOURCE" "redis://127.0.0.1:$TARGET"
    scli incr counter >/dev/null
    wait_until 5 equal
    local begun=$SECONDS
    scli shutdown save >/dev/null 2>&1 || true
    reap 10 "$SOURCE_PID"
    [[ $((SECONDS - begun)) -lt 10 ]]
    background "${REDIS_SERVER:-redis-server}" --port "$SOURCE" --bind 127.0.0.1 --save '' --dir "$TMP/redis.$SOURCE" \
        --repl-diskless-sync-delay 0
    wait_until 10 eval 'scli ping | grep -q PONG'
    scli incr counter >/dev/null
    wait_until 20 eval '[[ $(tcli get counter) -eq 2 ]]'
    [[ $(full_syncs) -eq 0 && $(partial_syncs) -eq 1 ]]
    stop_task
}

@test "CLIENT KILL TYPE replica: a partial resync" {
    start_source
    fill 100
    start_target
    start_task --restart replicate "redis://127.0.0.1:$SOURCE" "redis://127.0.0.1:$TARGET"
    start_writes
    local n
    for n in 1 2 3; do
        sleep_until_written $((n * 300))
        scli client kill type replica >/dev/null
        wait_until 60 eval '[[ $(partial_syncs) -ge $n ]]'
    done
    end_writes
    wait_until 20 equal || { equal; return 1; }
    [[ $(full_syncs) -eq 1 ]]
    stop_task
}
