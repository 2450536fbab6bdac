#!/usr/bin/env bats
# rediswriter's engine for several connections (writer/cluster.h), in corners: a cluster, --connections and --wait to a
# single server.

load helper
load writing

setup_file() {
    export BATS_NO_PARALLELIZE_WITHIN_FILE=true # one cluster for all
    # shellcheck source=helper.bash
    source "$BATS_TEST_DIRNAME/helper.bash"
    start_cluster 0
    echo "${CLUSTER_PORTS[*]}" >"$BATS_FILE_TMPDIR/ports"
    echo "${CLUSTER_PIDS[*]}" >"$BATS_FILE_TMPDIR/pids"
}

teardown_file() {
    # shellcheck source=helper.bash
    source "$BATS_TEST_DIRNAME/helper.bash"
    read -ra CLUSTER_PIDS <"$BATS_FILE_TMPDIR/pids"
    stop_cluster
}

setup() {
    writing_setup
    read -ra CLUSTER_PORTS <"$BATS_FILE_TMPDIR/ports"
    read -ra CLUSTER_PIDS <"$BATS_FILE_TMPDIR/pids"
    REDIS_PORT=${CLUSTER_PORTS[0]}
    cluster_flush
}

teardown() {
    kill -CONT "${CLUSTER_PIDS[@]}"
    writing_teardown
}

for_cluster() { sed 's/^target$/target cluster=1/'; }

# Keys in all three: a 15495, b 3300, c 7365.
in_all() { # command and arguments behind a key
    local k
    for k in a b c; do redis-cli -c -p "$REDIS_PORT" "$1" "$k" "${@:2}"; done
}

sizes() {
    local p
    for p in "${CLUSTER_PORTS[@]}"; do redis-cli -p "$p" dbsize; done
}

@test "--on-existing flush: every master is flushed before the first request, whichever answers first" {
    local slow
    for slow in 0 1 2; do
        in_all set old >/dev/null
        kill -STOP "${CLUSTER_PIDS[slow]}"
        background eval "sleep 0.5; kill -CONT ${CLUSTER_PIDS[slow]}"
        echo "set 0 new 1" | one_flow | for_cluster | mkrecords >"$TMP/stream"
        run timeout -s KILL 20 rediswriter --on-existing flush "redis://127.0.0.1:${CLUSTER_PORTS[(slow + 1) % 3]}" "$TMP/stream"
        assert_status 0
        [[ $(sizes | sort -n | xargs) == "0 0 1" ]] || fail "left: $(sizes)"
    done
}

@test "a flush of the source, where the target held keys: nothing behind it goes before every master has done it" {
    in_all set old >/dev/null
    feed
    tell "$(heading 1 | for_cluster)" "synced 0 :pos=1" "live 0 :pos=2 SET a 1" "live 0 :pos=3 SET b 1" "live 0 :pos=4 SET c 1"
    wait_until 5 eval '[[ $(in_all get | xargs) == "1 1 1" ]]'
    kill -STOP "${CLUSTER_PIDS[1]}"
    tell "barrier 0 :pos=5 FLUSHALL" "live 0 :pos=6 SET b 2"
    wait_until 5 eval '[[ $(redis-cli -p "${CLUSTER_PORTS[2]}" exists a) == 0 ]]'
    sleep 0.2
    [[ $(redis-cli -p "${CLUSTER_PORTS[0]}" exists b) == 0 ]]
    kill -CONT "${CLUSTER_PIDS[1]}"
    tell end
    tell_end
    reap 10 "$WRITER"
    assert_status 0
    [[ $(sizes | xargs) == "1 0 0" ]]
}
