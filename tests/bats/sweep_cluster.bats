#!/usr/bin/env bats
# --on-full-resync overwrite in a cluster: see sweep.bats for single servers.

# shellcheck disable=SC2016,SC2154 # text for eval, variables of bats
load helper
load writing
load stale

setup_file() { one_cluster 0; }
teardown_file() { end_one_cluster; }

setup() {
    writing_setup
    the_cluster
    REDIS_PORT=${CLUSTER_PORTS[0]}
}

teardown() {
    kill -CONT "${CLUSTER_PIDS[@]}"
    writing_teardown
}

for_cluster() { sed 's/^target$/target cluster=1/'; }

sizes() { # without position keys
    local p
    for p in "${CLUSTER_PORTS[@]}"; do redis-cli -p "$p" --scan; done | grep -vc '^df2redis:'
}

stale_keys() { # number
    seq "$1" | sed 's/.*/SET stale:& x/' | ccli >/dev/null
}

@test "cluster: a key that is new at the source is not changed from what the target had of that name" {
    for options in "" --exactly-once; do
        cluster_flush
        stale | ccli >/dev/null
        stale_keys 1500
        # shellcheck disable=SC2086
        with_news | for_cluster | overwrite $options
        assert_swept
        assert_all_new -c -p "$REDIS_PORT"
        [[ $(sizes) == 30 ]] || fail "$(sizes)"
    done
}

programs() {
    heading 1 refused=replid
    cat <<'EOF'
live 0 SET a 1
program 0 :keep=1 :must DUMP a / :if=1 RESTORE b 0 $1 / DEL a
live 0 SADD src x
program 0 :keep=1 SREM src x / :if=1 SADD dst x
synced 0 :pos=5
end
EOF
}

@test "cluster: programs over several slots" {
    for options in "" --exactly-once; do
        cluster_flush
        ccli set b old >/dev/null
        ccli sadd dst old >/dev/null
        # shellcheck disable=SC2086
        programs | for_cluster | overwrite $options
        assert_swept
        [[ $(ccli get b) == 1 && $(ccli smembers dst) == x && $(sizes) == 2 ]] || fail "$(sizes)"
    done
}

@test "cluster: transactions that meet stale keys" {
    for options in "" --exactly-once; do
        cluster_flush
        for i in 1 2 3; do ccli rpush "{t}l$i" old >/dev/null; done
        ccli set '{t}n' 5 >/dev/null
        {
            heading 1 refused=replid
            for i in 1 2 3; do printf 'live 0 :together %s\n' "RPUSH {t}l$i a" "INCR {t}n"; done
            printf '%s\n' "live 0 RPUSH {t}l1 b" "synced 0 :pos=5" end
        } | for_cluster >"$TMP/text"
        # shellcheck disable=SC2086
        overwrite $options <"$TMP/text"
        assert_swept
        [[ $(ccli lrange '{t}l1' 0 -1 | xargs) == "a b" && $(ccli lrange '{t}l3' 0 -1) == a && $(ccli get '{t}n') == 3 ]]
    done
}

@test "cluster: a master that comes back with what the sweep has removed: the scan is begun again" {
    stale_keys 1500
    redis-cli -p "${CLUSTER_PORTS[1]}" save >/dev/null
    redis-cli -p "${CLUSTER_PORTS[2]}" client pause 100000 write >/dev/null # so the sweep cannot come to its end
    feed -v --on-full-resync overwrite --durable-target
    tell "$(heading 1 refused=replid | for_cluster)" "synced 0 :pos=10"
    wait_until 20 eval '[[ $(redis-cli -p "${CLUSTER_PORTS[1]}" dbsize) == 0 ]]'
    kill -KILL "${CLUSTER_PIDS[1]}"
    wait_until 5 ended "${CLUSTER_PIDS[1]}"
    eval "start_cluster_node ${CLUSTER_PORTS[1]} '$BATS_FILE_TMPDIR/cluster.${CLUSTER_PORTS[1]}' $FEED>&-"
    disown "${CLUSTER_PIDS[-1]}" # teardown waits for all that is ours, and this one stays
    CLUSTER_PIDS[1]=${CLUSTER_PIDS[-1]}
    unset 'CLUSTER_PIDS[-1]'
    echo "${CLUSTER_PIDS[*]}" >"$BATS_FILE_TMPDIR/pids"
    wait_until 10 eval '[[ $(redis-cli -p "${CLUSTER_PORTS[1]}" dbsize) -gt 100 ]]'
    redis-cli -p "${CLUSTER_PORTS[2]}" client unpause >/dev/null
    tell end
    tell_end
    reap 40 "$WRITER"
    [[ $status -eq 0 ]] || fail "$(cat "$TMP/err")"
    said event=sweep_again
    said event=sweep_done
    [[ $(sizes) == 0 ]] || fail "left $(sizes): $(cat "$TMP/err")"
}

whole() { grep -qx "whole=$1" "$TMP/pos"; }

@test "cluster: while a slot is open the sweep waits, and the position file says that it is not whole" {
    local what=(--generate --flows 2 --keys 2000 --types "string=60,hash=20,list=10" --elements 5 --seed 7) slot=0 other
    start_master "${what[@]}"
    run cluster_pipeline --until synced --
    [[ $status -eq 0 ]] || fail "$(cat "$TMP"/*.err)"
    whole 1
    kill "$MASTER_PID"
    local n
    n=$(sizes)
    stale_keys 2000
    while [[ $(redis-cli -p "$REDIS_PORT" cluster countkeysinslot "$slot") != 0 ]]; do slot=$((slot + 1)); done
    other=$(redis-cli -p "${CLUSTER_PORTS[1]}" cluster myid)
    redis-cli -p "$REDIS_PORT" cluster setslot "$slot" migrating "$other"
    start_master "${what[@]}" --replid "$(printf '%040d' 5)"
    background cluster_pipeline --on-full-resync overwrite --control "$TMP/c.sock" -- --on-full-resync overwrite
    local pid=$!
    wait_until 20 grep -q event=sweep_waits "$TMP/writer.err"
    whole 0
    [[ $(sizes) -gt $n ]]
    redis-cli -p "$REDIS_PORT" cluster setslot "$slot" stable
    wait_until 20 whole 1
    grep -q 'event=sweep_done .*removed=2000' "$TMP/writer.err" || fail "$(grep sweep "$TMP/writer.err")"
    [[ $(sizes) == "$n" ]] || fail "$(sizes), not $n"
    dfreader --ask "$TMP/c.sock" stop
    reap 20 "$pid"
    [[ $status -eq 0 ]] || fail "status $status: $(cat "$TMP"/*.err)"
}

@test "cluster: a stop does not wait for a slot that stays open; the next start begins anew" {
    stale_keys 100
    {
        heading 1 refused=replid
        printf '%s\n' "synced 0 :pos=5" "end reason=stop"
    } | for_cluster | mkrecords >"$TMP/stream"
    redis-cli -p "$REDIS_PORT" cluster setslot 0 migrating "$(redis-cli -p "${CLUSTER_PORTS[1]}" cluster myid)"
    run timeout 30 rediswriter -v --on-full-resync overwrite "$CLUSTER_URL" "$TMP/stream"
    redis-cli -p "$REDIS_PORT" cluster setslot 0 stable
    assert_status 5
    assert_output_has event=sweep_incomplete
    [[ $(sizes) == 100 ]]
}

cluster_pipeline() { # dfreader options -- rediswriter options
    local -a reader=()
    while [[ $1 != -- ]]; do reader+=("$1") && shift; done
    shift
    dfreader -v --resume "${reader[@]}" "dragonfly://127.0.0.1:$MASTER_PORT" 2>"$TMP/reader.err" |
        dfparse --exclude db:3 2>"$TMP/parser.err" |
        rediswriter -v --position-file "$TMP/pos" "$@" "$CLUSTER_URL" 2>"$TMP/writer.err"
}
