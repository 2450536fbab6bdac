#!/usr/bin/env bats
# What RedisShake's own black-box scenarios for AOF and RDB files expect, of our tools: the same data set arrives from a
# server's files at a server and at a cluster, files written by hand are read, times are kept to, and what is broken or
# missing restores nothing.
# shellcheck disable=SC2016 # expanded where it is used; variables of the helpers

load helper
load loading
load aofs

setup() { aof_setup; }
teardown() {
    [[ -z ${CLUSTER_PIDS[*]-} ]] || stop_cluster
    common_teardown
}

# Their data set, added as often as wanted: strings, lists, and the same in several databases unless the target is a
# cluster. What is there is compared, so that nothing has to be remembered.
inserted() { # times cluster
    local i db dbs='0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15'
    [[ $2 -eq 0 ]] || dbs=0
    for ((i = 0; i < $1; i++)); do
        for db in $dbs; do
            resp select "$db"
            resp set "{string}_$i" "value $i"
            resp append "{string}_$i" -more
            resp mset "{string}_a_$i" 1 "{string}_b_$i" 2
            resp setrange "{string}_c_$i" 10 x
            resp incrbyfloat "{string}_f_$i" 1.5
            resp rpush "{list}_$i" 0 1 2 3 4
            resp linsert "{list}_$i" before 2 x
            resp lpop "{list}_$i"
            resp lset "{list}_$i" 0 y
            resp ltrim "{list}_$i" 0 3
            resp rpoplpush "{list}_$i" "{list}_2_$i"
        done
    done | redis-cli -p "$REDIS_PORT" --pipe >/dev/null
}

aof_path() {
    if server_has 7.0; then echo "$TMP/redis.$REDIS_PORT/appendonlydir/appendonly.aof.manifest"; else
        echo "$TMP/redis.$REDIS_PORT/appendonly.aof"; fi
}

# The source stays: SOURCE_PORT.
source_server() { # server options…
    start_redis "$@"
    SOURCE_PORT=$REDIS_PORT
}

as_the_source() { # URL of the target
    local dbs="?dbs=$ALL_DBS"
    [[ $1 != redis-cluster:* ]] || dbs=
    timeout 100 dfstate diff "redis://127.0.0.1:$SOURCE_PORT$dbs" "$1" || fail "not as the source"
}

by_hand() { # manifest: $TMP/own/appendonlydir
    mkdir -p "$TMP/own/appendonlydir"
    printf '%b' "$1" >"$TMP/own/appendonlydir/appendonly.aof.manifest"
}

@test "aof_to_standalone: base and increment of a running server" {
    source_server --appendonly yes
    ! server_has 7.0 || rcli config set aof-timestamp-enabled yes >/dev/null
    inserted 2 0
    rcli save >/dev/null
    local path
    path=$(aof_path)
    start_redis
    timeout 60 df2redis migrate "$path" "redis://127.0.0.1:$REDIS_PORT"
    as_the_source "redis://127.0.0.1:$REDIS_PORT?dbs=$ALL_DBS"
}

@test "aof_to_standalone_base_file: only a base, in commands" {
    by_hand 'file appendonly.aof.1.base.aof seq 1 type b\n'
    { resp set k1 v1; resp set k2 v2; } >"$TMP/own/appendonlydir/appendonly.aof.1.base.aof"
    start_redis
    timeout 60 df2redis migrate "$TMP/own/appendonlydir/appendonly.aof.manifest" "redis://127.0.0.1:$REDIS_PORT"
    [[ $(rcli mget k1 k2 | tr '\n' ' ') == 'v1 v2 ' && $(rcli dbsize) -eq 2 ]]
}

@test "aof_to_standalone_single: one file of commands" {
    source_server --appendonly no --aof-use-rdb-preamble no
    inserted 2 0
    # Up to 6.2 the server writes it itself; later ones write the same into a base.
    rcli config set appendonly yes >/dev/null
    rewrite
    inserted 3 0
    local path=$TMP/redis.$REDIS_PORT
    if server_has 7.0; then cat "$path"/appendonlydir/*.base.aof "$path"/appendonlydir/*.incr.aof; else cat "$path/appendonly.aof"; fi >"$TMP/single.aof"
    start_redis
    timeout 60 df2redis migrate "$TMP/single.aof" "redis://127.0.0.1:$REDIS_PORT"
    as_the_source "redis://127.0.0.1:$REDIS_PORT?dbs=$ALL_DBS"
}

@test "aof_to_standalone_error: a destroyed file restores nothing" {
    source_server --appendonly yes
    inserted 1 0
    local path
    path=$(aof_path)
    printf xxxxs | dd of="$path" conv=notrunc status=none
    start_redis
    run timeout 60 df2redis migrate "$path" "redis://127.0.0.1:$REDIS_PORT"
    assert_status 4
    assert_output_has "${path##*/}"
    [[ $(rcli dbsize) -eq 0 ]]
}

@test "aof_to_standalone_rm_file: a missing base restores nothing" {
    need_parts
    source_server --appendonly yes
    inserted 1 0
    local path
    path=$(aof_path)
    rm "${path%/*}"/appendonly.aof.1.base.rdb
    start_redis
    run timeout 60 df2redis migrate "$path" "redis://127.0.0.1:$REDIS_PORT"
    assert_status 1
    assert_output_has appendonly.aof.1.base.rdb
    [[ $(rcli dbsize) -eq 0 ]]
}

@test "aof_to_standalone_history_file: files of history are there" {
    need_parts
    source_server --appendonly yes --aof-disable-auto-gc yes --aof-timestamp-enabled yes
    inserted 20 0
    rewrite
    inserted 3 0
    grep -q 'type h' "$(aof_path)"
    local path
    path=$(aof_path)
    start_redis
    timeout 60 df2redis migrate "$path" "redis://127.0.0.1:$REDIS_PORT"
    as_the_source "redis://127.0.0.1:$REDIS_PORT?dbs=$ALL_DBS"
}

@test "aof_to_cluster" {
    source_server --appendonly yes
    inserted 2 1
    local path
    path=$(aof_path)
    start_cluster 0
    timeout 60 df2redis migrate "$path" "$CLUSTER_URL"
    as_the_source "redis-cluster://${CLUSTER_URL#redis://}"
}

@test "aof_to_standalone_timestamp: a base is played back whole" {
    by_hand 'file appendonly.aof.1.base.aof seq 1 type b\n'
    local mark
    start_redis
    for mark in TS TS:; do # theirs has no colon, and is a comment to servers
        rcli flushall >/dev/null
        {
            printf '#%s1233\r\n' "$mark"
            resp set k1 v1
            printf '#%s1234\r\n' "$mark"
            resp set k2 v2
            printf '#%s1235\r\n' "$mark"
            resp set k3 v3
            printf '#TS:1234\r\n'
        } >"$TMP/own/appendonlydir/appendonly.aof.1.base.aof"
        timeout 60 df2redis --until-time 1234 migrate "$TMP/own" "redis://127.0.0.1:$REDIS_PORT"
        [[ $(rcli mget k1 k2 k3 | tr '\n' ' ') == 'v1 v2 v3 ' && $(rcli dbsize) -eq 3 ]] || fail "$mark: $(rcli keys '*')"
    done
}

@test "aof_to_standalone_timestamp: an increment only as far as its time" {
    by_hand 'file appendonly.aof.1.base.aof seq 1 type b\nfile appendonly.aof.1.incr.aof seq 1 type i\nfile appendonly.aof.2.incr.aof seq 2 type i\n'
    resp set k1 v1 >"$TMP/own/appendonlydir/appendonly.aof.1.base.aof"
    { printf '#TS:1233\r\n'; resp set k2 v2; } >"$TMP/own/appendonlydir/appendonly.aof.1.incr.aof"
    { printf '#TS:1235\r\n'; resp set k3 v3; } >"$TMP/own/appendonlydir/appendonly.aof.2.incr.aof"
    start_redis
    timeout 60 df2redis --until-time 1234 migrate "$TMP/own" "redis://127.0.0.1:$REDIS_PORT"
    [[ $(rcli mget k1 k2 | tr '\n' ' ') == 'v1 v2 ' && $(rcli dbsize) -eq 2 ]]
}

@test "rdb_to_standalone" {
    source_server
    inserted 2 0
    rcli save >/dev/null
    start_redis
    timeout 60 df2redis migrate "$TMP/redis.$SOURCE_PORT/dump.rdb" "redis://127.0.0.1:$REDIS_PORT"
    as_the_source "redis://127.0.0.1:$REDIS_PORT?dbs=$ALL_DBS"
}

@test "rdb_to_cluster" {
    source_server
    inserted 2 1
    rcli save >/dev/null
    start_cluster 0
    timeout 60 df2redis migrate "$TMP/redis.$SOURCE_PORT/dump.rdb" "$CLUSTER_URL"
    as_the_source "redis-cluster://${CLUSTER_URL#redis://}"
}
