#!/usr/bin/env bats
# A Redis Cluster as the target: three masters, one cluster for all tests.

load helper

setup_file() { one_cluster 0; }
teardown_file() { end_one_cluster; }

setup() {
    common_setup
    the_cluster
}

teardown() { common_teardown; }

assert_cluster_holds() { # recorded databases
    REDIS_PORT=${CLUSTER_PORTS[0]} assert_holds "$1" "redis-cluster://${CLUSTER_URL#redis://}"
}

replay() { # capture mode split
    start_master --capture "$CAPTURES/$1" --split "$3" --seed "$RANDOM" --expect-final-acks "$(meta "$1" lsns)" --timeout 60
    local -a mode=()
    [[ $2 == single ]] && mode=(--single)
    background df2redis "${mode[@]}" replicate "dragonfly://127.0.0.1:$MASTER_PORT" "$CLUSTER_URL" 2>"$TMP/err"
    local pipeline=$!
    reap 70 "$MASTER_PID"
    [[ $status -eq 0 ]] || { tail -5 "$MASTER_OUT" >&2; grep -v not_carried_over "$TMP/err" >&2; fail "stand-in: status $status"; }
    reap 20 "$pipeline"
    [[ $status -eq 75 ]] || fail "pipeline: status $status"
    assert_cluster_holds "$CAPTURES/$1/expected.jsonl.gz"
}

@test "cluster: big-values, one process" { replay big-values single 1-65536; }
@test "cluster: interleaved-chunks, one process per flow" { replay interleaved-chunks flows 1-65536; }
@test "cluster: lzf-2flows, one process per flow" { replay lzf-2flows flows 1-300; }
@test "cluster: plain-1flow, one process" { replay plain-1flow single 1-300; }
@test "cluster: v1.27-writes-during-fullsync, one process per flow" { replay v1.27-writes-during-fullsync flows 1-65536; }
@test "cluster: writes-during-fullsync, one process" { replay writes-during-fullsync single 1-65536; }
@test "cluster: writes-during-fullsync, one process per flow" { replay writes-during-fullsync flows 1-65536; }
@test "cluster: zstd-4flows, one process per flow" { replay zstd-4flows flows 1-300; }

@test "cluster: functions go to every master" {
    printf '%b' "$(sed 's/#.*//' "$REPO/tests/fixtures/rdb/functions.hex" | tr -d ' \n' | sed 's/../\\x&/g')" >"$TMP/f.rdb"
    dfreader "$TMP/f.rdb" | dfparse -t redis:7.0/cluster --db-map '*=0' 2>"$TMP/p.err" | rediswriter "$CLUSTER_URL" 2>"$TMP/err"
    want=$(redis-cli -p "${CLUSTER_PORTS[0]}" function list | grep -c library_name)
    [[ $want -gt 0 ]] || fail "$(cat "$TMP/p.err" "$TMP/err")"
    for p in "${CLUSTER_PORTS[@]}"; do
        [[ $(redis-cli -p "$p" function list | grep -c library_name) -eq $want ]] || fail "not on $p"
        redis-cli -p "$p" function flush >/dev/null
    done
}
