#!/usr/bin/env bats
# df2redis migrate FILE TARGET: a file is a source like any other.

load helper
load loading

setup() { files_setup; }

teardown() {
    [[ -n ${BATS_TEST_COMPLETED-} || ! -e $TMP/err ]] || tail -n 40 "$TMP/err"
    common_teardown
}

target() { echo "redis://127.0.0.1:$REDIS_PORT"; }

an_rdb() { # keys: $TMP/dump.rdb
    start_redis
    awk -v n="$1" 'BEGIN { for (i = 0; i < n; i++) printf "SET key:%d value-%050d\r\n", i, i }' |
        redis-cli -p "$REDIS_PORT" --pipe >/dev/null
    rcli hset h a 1 b 2 >/dev/null
    rcli save >/dev/null
    cp "$TMP/redis.$REDIS_PORT/dump.rdb" "$TMP/dump.rdb"
    rcli flushall >/dev/null
}

@test "migrate: an RDB file, named in any way" {
    an_rdb 500
    local name
    for name in "$TMP/dump.rdb" "file:$TMP/dump.rdb" ./dump.rdb dump.rdb; do
        (cd "$TMP" && timeout 60 df2redis migrate "$name" "$(target)") 2>"$TMP/err" || fail "$name: $?"
        [[ $(rcli dbsize) -eq 501 && $(rcli hget h b) == 2 ]] || fail "$name: $(rcli dbsize)"
        [[ $(rcli info commandstats | tr -d '\r') == *cmdstat_restore:* ]] || fail "$name: not written for this target"
        [[ -z $(rcli keys 'df2redis:*') ]]
        rcli flushall >/dev/null
        rcli config resetstat >/dev/null
    done
}

@test "migrate: a .dfs set by its summary and by its folder" {
    start_redis
    local name
    for name in "$SNAPSHOTS/small-summary.dfs" "$SNAPSHOTS"; do
        run timeout 60 df2redis --on-existing flush migrate "$name" "$(target)"
        assert_status 3 # JSON, filters
        [[ $(rcli dbsize) -gt 20 ]] || fail "$name: $(rcli dbsize) keys"
    done
}

@test "migrate: into a cluster" {
    an_rdb 300
    start_cluster 0
    run timeout 60 df2redis migrate "$TMP/dump.rdb" "$CLUSTER_URL"
    local p n=0
    for p in "${CLUSTER_PORTS[@]}"; do n=$((n + $(redis-cli -p "$p" dbsize))); done
    stop_cluster || true
    assert_status 0
    [[ $n -eq 301 ]] || fail "$n keys"
}

@test "migrate: a target with keys is refused, the options of selecting hold" {
    an_rdb 20
    rcli set mine 1 >/dev/null
    run timeout 60 df2redis migrate "$TMP/dump.rdb" "$(target)"
    assert_status 1
    assert_output_has target_not_empty
    run timeout 60 df2redis --on-existing overwrite --include h --rename-prefix h=g migrate "$TMP/dump.rdb" "$(target)"
    assert_status 0
    [[ $(rcli dbsize) -eq 2 && $(rcli hget g a) == 1 ]] || fail "$(rcli keys '*')"
}

@test "status of a file: percent, the rest of the time, how the target is; limit and stop" {
    an_rdb 20000
    background df2redis --max-ops 2000 migrate "$TMP/dump.rdb" "$(target)" 2>"$TMP/err"
    local task=$!
    wait_until 10 shows 'phase=full-sync .*health=ok .*percent=[0-9]+ '
    run df2redis status --json
    assert_status 0
    [[ $output =~ \"percent\":[0-9]+,\"eta_seconds\":[0-9]+ ]] || fail "$output"
    kill -STOP "$REDIS_PID"
    wait_until 12 shows 'health=[a-z,-]*target-silent'
    kill -CONT "$REDIS_PID"
    wait_until 10 shows 'health=ok '
    df2redis --max-ops 0 limit
    reap 20 "$task"
    assert_status 0
    [[ $(rcli dbsize) -eq 20001 ]]
}

@test "a file that is not there, damaged, or of another kind: the cause and its status" {
    start_redis
    run timeout 60 df2redis migrate /nonexistent.rdb "$(target)"
    assert_status 1
    assert_output_has 'No such file'
    run timeout 60 df2redis migrate nonexistent "$(target)"
    assert_status 2
    assert_output_has 'neither an existing file nor a URL'
    run timeout 60 df2redis replicate "$SNAPSHOTS" "$(target)"
    assert_status 2
    assert_output_has 'df2redis migrate FILE TARGET'
    an_rdb 1000
    head -c 20000 "$TMP/dump.rdb" >"$TMP/short.rdb"
    run timeout 60 df2redis migrate "$TMP/short.rdb" "$(target)"
    assert_status 4
    [[ $(tail -n 1 <<<"$output") == *event=failed*damaged\ at\ byte\ 20000* ]] || fail "$output"
}
