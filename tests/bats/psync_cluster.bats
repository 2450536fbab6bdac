#!/usr/bin/env bats
# A cluster as the source: slots that move while it is read, masters that join and fail over. df2redis(7), A cluster as the
# source.

load helper
load resharding

setup() { common_setup; }

teardown() {
    [[ -z ${CLUSTER_PIDS-} ]] || stop_cluster
    common_teardown
}

@test "slots move key by key to and fro under writes; a stage is killed meanwhile; nothing is lost or doubled" {
    start_pair 0
    export TMP
    start_task
    start_changes 20
    local k stages=(dfreader dfparse rediswriter)
    for k in 0 1 2; do
        reshard "${CLUSTER_PORTS[k]}" 60
        kill -9 "$(stage "${stages[k]}")"
        wait_until 20 shows "restarts=$((k + 1)) .*phase=stable"
    done
    wait_until 60 changed
    assert_equal
    [[ $(times_said event=slots_taken) -ge 3 ]]
    never said mode=FULL.*epoch=2
    stop_task
}

@test "connections to a master are lost under writes: made again, in the same session" {
    start_pair 0
    export TMP
    start_task
    start_changes 12
    local k
    for k in 0 1 2 0; do
        redis-cli -p "${CLUSTER_PORTS[k]}" client kill type replica >/dev/null
        [[ $k != 1 ]] || redis-cli -p "${CLUSTER_PORTS[k]}" client kill type normal skipme yes >/dev/null # the looks, too
        wait_until 10 eval "[[ \$(times_said 'flow=[0-9]* event=flow_reconnected') -gt $((k == 0 ? 0 : k)) ]]"
    done
    wait_until 10 said event=master_reconnected
    wait_until 60 changed || start_changes 1 # the client of the changes was cut off, too
    wait_until 60 changed
    assert_equal
    [[ $(json restarts) == 0 ]]
    stop_task
}

# So much data that a master does not send all of it at once, and one master is slow.
killed_in_full_sync() {
    local i text
    start_pair 0
    text=$(head -c 1500 /dev/urandom | base64 -w0)
    for i in {1..150}; do echo "SET big:$i $text"; done | redis-cli -c -p "${CLUSTER_PORTS[0]}" >/dev/null
    redis-cli -p "${CLUSTER_PORTS[1]}" config set rdb-key-save-delay 30000 >/dev/null
    background df2redis -v --single replicate "$SOURCE" "$TARGET" 2>"$TMP/task.err"
    TASK=$!
    wait_until 20 said name=fullsync
    kill -9 "$(stage "$1")"
    reap 20 "$TASK"
    never said name=stable
    redis-cli -p "${CLUSTER_PORTS[1]}" config set rdb-key-save-delay 0 >/dev/null
    start_task --resume
    assert_equal
    [[ $(times_said event=file_received) -eq 3 ]] || fail "$(grep event= "$TMP/task.err")"
    stop_task
}

@test "killed during the full sync: it is repeated" {
    killed_in_full_sync dfreader
}

@test "into another cluster, with positions in a file" {
    start_pair 0
    export TMP
    local source_ports=("${CLUSTER_PORTS[@]}") source_pids=("${CLUSTER_PIDS[@]}")
    start_cluster 0
    TARGET=redis-cluster://127.0.0.1:${CLUSTER_PORTS[0]}
    PIDS+=("${CLUSTER_PIDS[@]}") # ended with everything else
    CLUSTER_PORTS=("${source_ports[@]}") CLUSTER_PIDS=("${source_pids[@]}")
    start_task --position-file "$TMP/positions"
    wait_until 5 grep -qx whole=1 "$TMP/positions"
    start_changes 12
    reshard "${CLUSTER_PORTS[1]}" 60
    kill -9 "$(stage rediswriter)"
    reshard "${CLUSTER_PORTS[2]}" 60
    wait_until 60 changed
    TARGET_SCHEME=redis-cluster TARGET=${TARGET/redis-cluster:/redis:}
    assert_equal
    grep -q '^s0=' "$TMP/positions"
    stop_task
}

@test "one process per flow: FLUSHALL of one master empties what it had, and nothing else" {
    start_pair 0
    PROCESSES='' start_task
    assert_equal
    local before
    before=$(redis-cli -p "$REDIS_PORT" dbsize)
    redis-cli -p "${CLUSTER_PORTS[1]}" flushall >/dev/null
    wait_until 5 said event=slots_flushed
    assert_equal
    [[ $(redis-cli -p "$REDIS_PORT" dbsize) -lt $before && $(redis-cli -p "$REDIS_PORT" dbsize) -gt 100 ]]
    stop_task
}

@test "a master fails over: its flow goes on at the replica, without a full sync" {
    start_pair 1
    PROCESSES='' start_task
    assert_equal
    redis-cli -p "${CLUSTER_PORTS[3]}" cluster failover >/dev/null
    wait_until 20 said 'event=failed status=75'
    changes 1 | redis-cli -c -p "${CLUSTER_PORTS[0]}" >/dev/null
    wait_until 20 phase_is streaming
    assert_equal
    [[ $(times_said 'event=file_received') -eq 3 ]] || fail "$(grep file_received "$TMP/task.err")"
    stop_task
}

@test "a master joins and gets slots, gives them back and leaves" {
    start_pair 0
    start_task
    local base=${CLUSTER_PORTS[0]} port=$((CLUSTER_PORTS[2] + 1)) dir=$TMP/joins
    mkdir "$dir"
    start_cluster_node "$port" "$dir"
    wait_until 5 redis-cli -p "$port" ping
    wait_until 10 redis-cli --cluster add-node "127.0.0.1:$port" "127.0.0.1:$base"
    wait_until 20 said 'the cluster has another master'
    wait_until 20 phase_is streaming
    CLUSTER_PORTS+=("$port")
    wait_until 10 all_know "$(id_of "$port")"
    reshard "$port" 40
    changes 2 | redis-cli -c -p "$base" >/dev/null
    assert_equal
    wait_until 20 redis-cli --cluster reshard "127.0.0.1:$base" --cluster-from "$(id_of "$port")" \
        --cluster-to "$(id_of "$base")" --cluster-slots 40 --cluster-yes
    assert_equal
    redis-cli --cluster del-node "127.0.0.1:$base" "$(id_of "$port")" >/dev/null
    changes 3 | redis-cli -c -p "$base" >/dev/null
    wait_until 20 said 'no longer a master\|is no master any more\|closed the connection'
    wait_until 20 phase_is streaming
    assert_equal
    stop_task
}

@test "what is no cluster is refused" {
    start_redis
    run dfreader "redis-cluster://127.0.0.1:$REDIS_PORT"
    assert_status 1
    assert_output_has 'cluster'
}

# Slot 12182, which foo is in: to another master, and half of it to the next one.
@test "a slot that moves on while it is taken: what has left it already is removed" {
    start_pair 0
    local p=${CLUSTER_PORTS[0]} a=${CLUSTER_PORTS[2]} b=${CLUSTER_PORTS[1]} k
    printf 'SET {foo}%s x\n' 1 2 3 4 | redis-cli -c -p "$p" >/dev/null
    start_task --resume
    assert_equal
    stop_task
    redis-cli -p "$b" cluster setslot 12182 importing "$(id_of "$a")"
    redis-cli -p "$a" cluster setslot 12182 migrating "$(id_of "$b")"
    redis-cli -p "$a" migrate 127.0.0.1 "$b" '' 0 5000 keys '{foo}1' '{foo}2' '{foo}3' '{foo}4'
    for k in "$b" "$a" "$p"; do redis-cli -p "$k" cluster setslot 12182 node "$(id_of "$b")"; done
    redis-cli -p "$p" cluster setslot 12182 importing "$(id_of "$b")"
    redis-cli -p "$b" cluster setslot 12182 migrating "$(id_of "$p")"
    redis-cli -p "$b" migrate 127.0.0.1 "$p" '' 0 5000 keys '{foo}1' '{foo}3'
    start_task --resume
    wait_until 10 said event=slots_taken
    wait_until 10 settled
    never said event=slots_not_taken
    [[ $(redis-cli -p "$REDIS_PORT" keys '{foo}*' | sort | tr '\n' ' ') == '{foo}2 {foo}4 ' ]]
    redis-cli -p "$b" migrate 127.0.0.1 "$p" '' 0 5000 keys '{foo}2' '{foo}4'
    for k in "$p" "$b" "$a"; do redis-cli -p "$k" cluster setslot 12182 node "$(id_of "$p")"; done
    assert_equal
    stop_task
}
