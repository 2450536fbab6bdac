#!/usr/bin/env bats
# Tasks of df2redis whose source is a Redis or Valkey server, or one that sentinels know.

load helper
load psync
load watching

setup() { common_setup; }
teardown() { common_teardown; }

# A source with two databases, and a target.
start_pair() { # options of the source
    start_source "$@"
    scli eval 'for i=1,2000 do redis.call("SET","key:"..i,i) redis.call("HSET","hash:"..i%20,"f"..i,i)
        redis.call("ZADD","zset",i,i) redis.call("RPUSH","list:"..i%7,i) end redis.call("SET","ttl",1,"EX",1000)' 0 >/dev/null
    scli -n 2 set other db >/dev/null
    start_target
}

start_task() { # arguments: options, command, source, target
    background df2redis -v "$@" 2>"$TMP/task.err"
    TASK=$!
    wait_until 15 phase_is streaming || { cat "$TMP/task.err" >&2; return 1; }
}

stop_task() { # [status]
    df2redis stop >/dev/null
    reap 10 "$TASK"
    [[ $status -eq ${1:-0} ]] || fail "status $status: $(cat "$TMP/task.err")"
}

# Changes that count: one that is lost or done twice shows.
change() { # port rounds
    local i
    for ((i = 0; i < $2; i++)); do
        printf '%s\n' "INCR counter" "RPUSH log $i" "SELECT $((i % 3))" "HINCRBY hash n 1" "MULTI" "INCR a" "INCR b" "EXEC" \
            "SETEX short 1000 $i" "SPOP none" "SELECT 0"
    done | redis-cli -p "$1" >/dev/null
}

behind() { [[ $(json lag_bytes) != 0 ]]; }

equal() { dfstate diff "redis://127.0.0.1:$SOURCE?dbs=0,1,2" "redis://127.0.0.1:$TARGET?dbs=0,1,2"; }

assert_equal() {
    wait_until 10 equal || equal
}

@test "replicate: two databases, changes, a stage that is killed, in one process and one per flow" {
    local single
    for single in --single ''; do
        start_pair
        start_task ${single:+"$single"} --restart replicate "redis://127.0.0.1:$SOURCE" "redis://127.0.0.1:$TARGET"
        change "$SOURCE" 100
        assert_equal
        kill -9 "$(stage "$([[ -n $single ]] && echo dfparse || echo dfreader-0)")"
        change "$SOURCE" 100
        wait_until 5 shows 'restarts=1'
        change "$SOURCE" 100
        assert_equal
        [[ $(tcli get counter) == 300 ]]
        grep -q "event=flow_up mode=PARTIAL" "$TMP/task.err"
        [[ $(grep -c "event=flow_up mode=FULL" "$TMP/task.err") -le 2 ]] # said by both processes
        shows 'source=redis://.*version=[a-z]*:[0-9.]* .*replid='
        stop_task
    done
}

@test "migrate, and a recording that is applied later" {
    start_pair
    run timeout 60 df2redis migrate "redis://127.0.0.1:$SOURCE" "redis://127.0.0.1:$TARGET"
    assert_status 0
    assert_equal
    [[ -z $(tcli keys 'df2redis*') ]]
    background df2redis -v record "redis://127.0.0.1:$SOURCE" "$TMP/recording" 2>"$TMP/task.err"
    TASK=$!
    wait_until 10 shows phase=stable
    change "$SOURCE" 20
    wait_until 5 grep -qa "log" "$TMP/recording"
    wait_until 5 eval "[[ \$(df2redis status | sed -n 's/.* head=\([0-9]*\) .*/\1/p') == $(offset) ]]"
    stop_task
    tcli flushall >/dev/null
    dfparse <"$TMP/recording" | rediswriter -q "redis://127.0.0.1:$TARGET"
    assert_equal
}

@test "the target is the source" {
    start_source
    scli set k v >/dev/null
    run timeout 30 df2redis --on-existing overwrite replicate "redis://127.0.0.1:$SOURCE" "redis://127.0.0.1:$SOURCE"
    assert_status 1
    assert_output_has "both are the same server"
    [[ $(scli dbsize) == 1 ]]
}

@test "a source that is stopped and started: on from where it was, by the id of its file" {
    start_pair
    server_has 7.0 || skip "it gives itself a new id"
    start_task --restart replicate "redis://127.0.0.1:$SOURCE" "redis://127.0.0.1:$TARGET"
    change "$SOURCE" 50
    scli config set shutdown-timeout 2 >/dev/null
    scli shutdown save >/dev/null || true
    reap 10 "$SOURCE_PID"
    background "${REDIS_SERVER:-redis-server}" --port "$SOURCE" --bind 127.0.0.1 --save '' --dir "$TMP/redis.$SOURCE" \
        --repl-diskless-sync-delay 0
    wait_until 10 eval "scli ping | grep -q PONG"
    change "$SOURCE" 50
    wait_until 20 equal
    [[ $(tcli get counter) == 100 ]]
    grep -q "event=flow_reconnected" "$TMP/task.err"
    stop_task
}

# The source lets a replica lag behind by some megabytes at most, and not for long.
@test "a target that stands still: the source is read on, and cuts nobody off" {
    start_pair --client-output-buffer-limit "replica 4mb 1mb 2"
    start_task replicate "redis://127.0.0.1:$SOURCE" "redis://127.0.0.1:$TARGET"
    local i
    kill -STOP "$TARGET_PID"
    for i in {1..40}; do echo "eval 'return redis.call(\"SET\",KEYS[1],string.rep(\"x\",1000000))' 1 big:$i"; done | scli >/dev/null
    wait_until 10 shows 'queued=[0-9]{8}'
    [[ $(info replication connected_slaves) == 1 ]]
    kill -CONT "$TARGET_PID"
    assert_equal
    never grep -q level=error "$TMP/task.err"
    stop_task
}

# ---- sentinels ----

start_group() {
    start_watched
    SOURCE=$MASTER
    start_target
    wait_until 10 knows_replica
    change "$MASTER" 20
}

@test "sentinel: the master is found and followed to the next one, and we are nobody to promote" {
    start_group
    start_task --restart replicate "sentinel://127.0.0.1:1,127.0.0.1:$SENTINEL/mine" "redis://127.0.0.1:$TARGET"
    shows "server=redis://127.0.0.1:$MASTER "
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
    grep -q "event=flow_reconnected" "$TMP/task.err"
    never grep -q "event=full_resync" "$TMP/task.err"
    stop_task
}

@test "sentinel: a replica by choice, a name that they do not know, none that answers" {
    start_group
    start_task --from replica replicate "sentinel://127.0.0.1:$SENTINEL/mine" "redis://127.0.0.1:$TARGET"
    shows "server=redis://127.0.0.1:$REPLICA "
    change "$MASTER" 50
    assert_equal
    [[ $(info replication connected_slaves) == 1 ]] # the master's is its own replica
    stop_task
    run timeout 20 dfreader -o "$TMP/raw" "sentinel://127.0.0.1:1,127.0.0.1:$SENTINEL/yours"
    assert_status 1
    assert_output_has "sentinel 127.0.0.1:$SENTINEL: it knows no master by the name of yours"
    run timeout 20 dfreader -o "$TMP/raw" --resume "sentinel://127.0.0.1:1/mine"
    assert_status 75
    run timeout 20 dfreader -o "$TMP/raw" "sentinel://127.0.0.1:$MASTER/mine"
    assert_status 1
    run timeout 20 dfreader -o "$TMP/raw" --from any "redis://127.0.0.1:$MASTER"
    assert_status 2
}

@test "examples/sentinel.conf, and examples/pipeline.sh with a Redis" {
    start_group
    sed "s|^source = .*|source = sentinel://127.0.0.1:$SENTINEL/mine|; s|^target = .*|target = redis://127.0.0.1:$TARGET|" \
        "$REPO/examples/sentinel.conf" >"$TMP/conf"
    background df2redis -c "$TMP/conf" replicate 2>"$TMP/task.err"
    TASK=$!
    wait_until 15 phase_is streaming --task group
    assert_equal
    df2redis --task group stop --final >/dev/null
    reap 10 "$TASK"
    [[ $status -eq 0 ]]
    tcli flushall >/dev/null
    # As with Ctrl-C, every process of the pipeline gets the signal.
    setsid "$REPO/examples/pipeline.sh" "redis://127.0.0.1:$SOURCE" "redis://127.0.0.1:$TARGET" 3>&- 2>"$TMP/err" &
    local pid=$!
    wait_until 10 equal
    change "$SOURCE" 10
    assert_equal
    kill -INT -- "-$pid"
    reap 10 "$pid"
}

# The master is cut off from the sentinel, which has promoted another; we reach both.
@test "sentinel: a master that nobody has told that it is none any more is left" {
    start_group
    start_task --restart replicate "sentinel://127.0.0.1:$SENTINEL/mine" "redis://127.0.0.1:$TARGET"
    redis-cli -p "$MASTER" config set repl-ping-replica-period 3600 >/dev/null # it would not be in the other's past
    redis-cli -p "$SENTINEL" sentinel remove mine >/dev/null # ... nor a PUBLISH of a sentinel
    wait_until 12 in_sync
    redis-cli -p "$REPLICA" replicaof no one >/dev/null
    redis-cli -p "$SENTINEL" sentinel monitor mine 127.0.0.1 "$REPLICA" 1 >/dev/null
    wait_until 20 shows "server=redis://127.0.0.1:$REPLICA "
    grep -q "the sentinels name 127.0.0.1:$REPLICA as the master now, not redis://127.0.0.1:$MASTER" "$TMP/task.err"
    SOURCE=$REPLICA
    change "$REPLICA" 20
    assert_equal
    grep -q "event=flow_reconnected" "$TMP/task.err"
    stop_task
}

# ---- SENTINEL FAILOVER: the master before is alive, and sends PING and the sentinels' messages a while longer ----

# Two servers that each may be promoted at once, a sentinel, the target and a task.
start_turns() { # options of df2redis
    start_group
    local port
    for port in "$MASTER" "$REPLICA"; do
        redis-cli -p "$port" config set repl-ping-replica-period 1 >/dev/null # many of them
    done
    start_task "$@" --restart replicate "sentinel://127.0.0.1:$SENTINEL/mine" "redis://127.0.0.1:$TARGET"
    change "$MASTER" 20
    assert_equal
}

# The other server takes over; MASTER, REPLICA and SOURCE follow.
fail_over() {
    wait_until 20 in_sync
    wait_until 20 knows_replica
    wait_until 20 eval 'redis-cli -p "$SENTINEL" sentinel failover mine | grep -qx OK'
    wait_until 20 eval 'redis-cli -p "$REPLICA" role | grep -qx master'
}

taken_over() {
    local before=$MASTER
    MASTER=$REPLICA REPLICA=$before SOURCE=$MASTER
    wait_until 30 shows "server=redis://127.0.0.1:$MASTER "
    wait_until 20 eval 'redis-cli -p "$REPLICA" role | grep -qx slave'
    wait_until 20 eval 'redis-cli -p "$SENTINEL" sentinel get-master-addr-by-name mine | grep -qx "$MASTER"'
}

# The new master's first bytes stand where the old master's last PINGs stood: below the saved position.
@test "sentinel: SENTINEL FAILOVER, several in a row, each a partial sync, in one process and one per flow" {
    local single n
    for single in --single ''; do
        start_turns ${single:+"$single"}
        for n in {1..4}; do
            fail_over
            redis-cli -p "$REPLICA" incr turns >/dev/null
            change "$REPLICA" 5
            taken_over
            [[ $n == 2 ]] || change "$MASTER" 5 # without: the next one's backlog begins behind our last effect
            assert_equal
            [[ $(tcli get turns) == "$n" ]]
        done
        [[ $(tcli get counter) == 75 ]]
        never grep -q event=full_resync "$TMP/task.err"
        [[ $(grep -c "event=flow_up mode=FULL" "$TMP/task.err") -le 2 ]] # said by both processes
        grep -q event=resume_quiet "$TMP/task.err"
        stop_task
    done
}

# The replica was promoted; the master before does not know, and we still follow it: by so many messages we are ahead.
promote_behind_us() { # messages
    wait_until 20 in_sync
    redis-cli -p "$REPLICA" replicaof no one >/dev/null
    local i
    for ((i = 0; i < $1; i++)); do echo "PUBLISH __sentinel__:hello message-$i"; done | redis-cli -p "$MASTER" >/dev/null
    wait_until 10 followed
}

followed() {
    local offset
    offset=$(redis-cli -p "$MASTER" info replication | tr -d '\r' | sed -n 's/^master_repl_offset://p')
    shows "applied=$offset "
}

# The sentinel names the other one.
sentinel_names_other() {
    redis-cli -p "$SENTINEL" sentinel remove mine >/dev/null
    redis-cli -p "$SENTINEL" sentinel monitor mine 127.0.0.1 "$REPLICA" 1 >/dev/null
}

@test "sentinel: ahead of the new master by messages only: what it writes below our position is applied" {
    local options
    for options in "--single" "--connections=4 --position-file=$TMP/positions" ""; do
        start_group
        # shellcheck disable=SC2086 # several
        start_task $options --restart replicate "sentinel://127.0.0.1:$SENTINEL/mine" "redis://127.0.0.1:$TARGET"
        redis-cli -p "$MASTER" -n 2 rpush last 1 >/dev/null # where it goes on, another database is selected than before
        promote_behind_us 200
        change "$REPLICA" 1 # fewer bytes than the messages
        redis-cli -p "$REPLICA" -n 2 rpush last 2 >/dev/null
        sentinel_names_other
        wait_until 20 shows "server=redis://127.0.0.1:$REPLICA "
        SOURCE=$REPLICA
        assert_equal
        change "$REPLICA" 10
        assert_equal
        [[ $(tcli get counter) == 31 && $(tcli -n 2 llen last) == 2 ]]
        grep -q event=resume_quiet "$TMP/task.err"
        never grep -q event=full_resync "$TMP/task.err"
        stop_task
    done
}

# What the master before took after the promotion, and we have, the new one never had.
@test "sentinel: ahead of the new master by a change: nothing begins anew without being asked" {
    local options
    for options in "" "--connections=4 --position-file=$TMP/positions"; do
        start_group
        # shellcheck disable=SC2086 # several
        start_task $options --restart replicate "sentinel://127.0.0.1:$SENTINEL/mine" "redis://127.0.0.1:$TARGET"
        wait_until 20 in_sync
        redis-cli -p "$REPLICA" replicaof no one >/dev/null
        redis-cli -p "$MASTER" incr lost >/dev/null
        wait_until 5 eval '[[ $(tcli get lost) == 1 ]]'
        redis-cli -p "$MASTER" publish __sentinel__:hello message >/dev/null
        sentinel_names_other
        reap 30 "$TASK"
        [[ $status -eq 1 ]]
        grep -q "the target has what the source lost" "$TMP/task.err"
        never grep -q event=resume_quiet "$TMP/task.err"
        rm -f "$TMP/positions"
    done
}

@test "a source that is a replica and has lost its master: shown as long as it lasts" {
    start_source
    local master=$SOURCE master_process=$SOURCE_PID
    scli set k v >/dev/null
    start_source --replicaof 127.0.0.1 "$master"
    wait_until 10 eval "[[ \$(info replication master_link_status) == up ]]"
    start_target
    start_task replicate "redis://127.0.0.1:$SOURCE" "redis://127.0.0.1:$TARGET"
    shows health=ok
    kill -STOP "$master_process"
    scli config set repl-timeout 2 >/dev/null
    wait_until 10 shows health=source-link-down
    grep -q event=source_lost_master "$TMP/task.err"
    kill -CONT "$master_process"
    wait_until 10 shows health=ok
    stop_task
}
