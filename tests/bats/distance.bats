#!/usr/bin/env bats
# Source and target are far away: the outcome is the same, and no request costs a round trip of its own.

load helper
load writing

WAY=10000 # microseconds: a round trip takes 20 ms longer

setup_file() { one_cluster 0; }
teardown_file() { end_one_cluster; }
setup() { writing_setup; }
teardown() { writing_teardown; }

# A recorded session whose master and target are both far away.
replay_far() { # capture mode
    local pipeline source
    local -a mode=()
    [[ $2 == flows ]] || mode=(--single)
    start_master --capture "$CAPTURES/$1" --expect-final-acks "$(meta "$1" lsns)" --timeout 60
    far_from "$MASTER_PORT" $WAY
    source=$FAR_PORT
    far_from "$REDIS_PORT" $WAY
    background df2redis "${mode[@]}" replicate "dragonfly://127.0.0.1:$source" "redis://127.0.0.1:$FAR_PORT" 2>"$TMP/err"
    pipeline=$!
    reap 70 "$MASTER_PID"
    [[ $status -eq 0 ]] || fail "stand-in: status $status: $(tail -5 "$TMP/err")"
    reap 20 "$pipeline"
    [[ $status -eq 75 ]] || fail "pipeline: status $status"
    assert_equals_capture "$1"
}

@test "a recorded session with values of many parts, one process" {
    start_redis
    replay_far big-values single
}

@test "a recorded session with writes during the full sync, one process per flow" {
    start_redis
    replay_far writes-during-fullsync flows
}

# Each master of the cluster says that it is where its relay is.
far_cluster() {
    local p
    FAR_PORTS=()
    to_cluster
    for p in "${CLUSTER_PORTS[@]}"; do
        far_from "$p" $WAY
        FAR_PORTS+=("$FAR_PORT")
        redis-cli -p "$p" config set cluster-announce-port "$FAR_PORT" >/dev/null
        redis-cli -p "$p" config set cluster-announce-bus-port $((p + 10000)) >/dev/null
        [[ ${CLUSTER_PORTS[0]} -ne $p ]] || CLUSTER_URL=redis://127.0.0.1:$FAR_PORT
    done
    wait_until 20 all_say_far
}

all_say_far() {
    local p
    for p in "${CLUSTER_PORTS[@]}"; do
        [[ $(redis-cli -p "$p" cluster slots | grep -cxFf <(printf '%s\n' "${FAR_PORTS[@]}")) -eq ${#CLUSTER_PORTS[@]} ]] || return 1
    done
}

# A round trip for each of them would be 160 s.
CHANGES=8000

live_changes() { # keys: TOOK is in milliseconds
    local i t0=${EPOCHREALTIME/./}
    {
        printf '%s\n' session 'target cluster=1' 'flow 0' 'synced 0 :pos=1'
        for ((i = 0; i < CHANGES; i++)); do echo "live 0 :pos=$((i + 2)) INCR n$((i % $1))"; done
        echo end
    } | write
    TOOK=$(((${EPOCHREALTIME/./} - t0) / 1000))
    assert_status 0
    [[ $(ccli get n0) -eq $((CHANGES / $1)) ]] || fail "$(ccli get n0)"
}

@test "live changes of one key of a cluster share their round trips" {
    far_cluster
    live_changes 1
    [[ $TOOK -lt 8000 ]] || fail "$TOOK ms"
}

@test "so do those of many keys" {
    far_cluster
    live_changes 500
    [[ $TOOK -lt 8000 ]] || fail "$TOOK ms"
}

# ---- several databases ----

# The same stream to a server here and to one far away: TRIPS is how many round trips the distance cost.
trips() { # stream option…
    local stream=$1 i t0 near=0 took=()
    shift
    for i in near far; do
        start_redis
        FAR_PORT=$REDIS_PORT
        if [[ $i == near ]]; then near=$REDIS_PORT; else far_from "$REDIS_PORT" $WAY; fi
        t0=${EPOCHREALTIME/./}
        run timeout 30 rediswriter "$@" "redis://127.0.0.1:$FAR_PORT" "$stream"
        took+=($(((${EPOCHREALTIME/./} - t0) / 1000)))
        assert_status 0
    done
    assert_same "redis://127.0.0.1:$near?dbs=0,1,2" "redis://127.0.0.1:$REDIS_PORT?dbs=0,1,2"
    TRIPS=$(((took[1] - took[0]) * 1000 / (2 * WAY)))
}

# Four flows in one stream, with another database in every record: 2,500 keys, 500 of them in two parts.
mixed_snapshot() {
    local i
    {
        heading 4
        for ((i = 0; i < 1000; i++)); do
            echo "set $((i % 4)) :db=$((i % 3)) s$i $i"
            echo "idem $((i % 4)) :db=$(((i + 1) % 3)) SET p$i $i PXAT 99999999999999"
            ((i % 2)) || printf '%s\n' "idem $((i % 4)) :db=$(((i + 2) % 3)) :first DEL l$i" "req $((i % 4)) :db=$(((i + 2) % 3)) :last RPUSH l$i a b"
        done
        for i in {0..3}; do echo "synced $i :pos=1"; done
        for i in {0..8}; do printf '%s\n' "live 0 :db=$((i % 3)) :pos=$((i + 2)) :part=100 APPEND large @300" "live 1 :db=$((i % 3)) :pos=$((i + 2)) APPEND small $i"; done
        echo end
    } | mkrecords >"$TMP/stream"
}

@test "a snapshot of several databases: a change of the database costs no round trip of its own" {
    local connections
    mixed_snapshot
    for connections in 1 3; do
        trips "$TMP/stream" --connections $connections
        [[ $TRIPS -lt 100 ]] || fail "$connections connections: $TRIPS round trips for 3,000 changes of the database"
    done
}
