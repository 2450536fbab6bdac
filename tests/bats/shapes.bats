#!/usr/bin/env bats
# From every shape of a source into every shape of a target, under writes: from a server of SOURCE_SERVER to one of
# TARGET_SERVER (redis-server). make check-pairs runs these with servers of other versions.

load helper
load watching
load shaping

setup() { shapes_setup; }
teardown() { shapes_teardown; }

# Writes go on from before the full sync to after it.
replicate() { # [variables of workload.awk]
    start_live 0 4000 "$@"
    start_task
    wait_until 60 lived
    live 4000 2000 "$@"
}

@test "a server into a server, two databases" {
    single_source -v dbs=2
    single_target
    replicate -v dbs=2
    finish
}

@test "a server into a cluster" {
    single_source
    DBS=''
    cluster_target
    replicate
    finish
}

@test "a cluster into a server, slots move meanwhile" {
    cluster_source
    single_target
    start_live 0 4000 -v tags=1
    start_task
    move_slots 0 80
    move_slots 2 80
    wait_until 60 lived
    live 4000 2000 -v tags=1
    finish
}

@test "a cluster into a cluster with another layout, slots move meanwhile" {
    cluster_source
    cluster_target
    start_live 0 4000 -v tags=1
    start_task
    move_slots 1 80
    wait_until 60 lived
    live 4000 2000 -v tags=1
    finish
}

@test "a group that sentinels watch into a server; the replica takes over" {
    group_source -v dbs=2
    single_target
    replicate -v dbs=2
    redis-cli -p "$SENTINEL" sentinel failover mine >/dev/null
    wait_until 20 master_is "$REPLICA"
    wait_until 10 eval 'redis-cli -p "$REPLICA" role | grep -qx master'
    FEED=("$REPLICA") SOURCE_STATE=redis://127.0.0.1:$REPLICA
    live 6000 2000 -v dbs=2
    finish
    [[ $(grep -c event=file_received "$TMP/task.err") -eq 1 ]] || fail "$(grep event= "$TMP/task.err" | tail)"
}
