#!/usr/bin/env bats
# A Redis Cluster whose slots move while it is written to: resharding, failovers, masters that die. Three masters with a
# replica each. The source is a stand-in; a private redis-server with the same commands says how it has to end.

load helper

setup_file() { one_cluster 1; }
teardown_file() { end_one_cluster; }

setup() {
    common_setup
    the_cluster
}

teardown() { common_teardown; }

# A full sync of 20,000 keys of all types, then so many writes of a kind at 6,000 a second, into the cluster.
begin_moving() { # kind ops df2redis-options…
    local -a what=(--generate --flows 2 --keys 20000 --types "string=60,hash=20,zset=10,list=5,set=5" --elements 10
        --journal-kind "$1" --journal-ops "$2" --seed "$RANDOM")
    OPS=$2
    shift 2
    start_redis
    standin "${what[@]}" --write-resp - --with-journal | redis-cli -p "$REDIS_PORT" --pipe >"$TMP/pipe"
    grep -q 'errors: 0' "$TMP/pipe"
    start_master "${what[@]}" --journal-rate 6000
    background df2redis "$@" replicate "dragonfly://127.0.0.1:$MASTER_PORT" "$CLUSTER_URL" 2>"$TMP/err"
    PIPELINE=$!
    wait_until 20 streaming 1
}

streaming() { # applied entries, of both flows together
    [[ $(df2redis status | sed -n 's/^flow .*applied=\([0-9]*\) .*/\1/p' | awk '{s += $1 - 1} END {print s + 0}') -ge $1 ]]
}

written() { # by the source
    redis-cli -p "$MASTER_PORT" dfly replicaoffset | awk '{ n += $1 - 1 } END { print n }'
}

# Writes stand still when a third of them is left, so that they outlast what is done to the cluster, however long that takes.
keep_some() {
    hold() {
        until [[ $(written) -ge $1 ]]; do sleep 0.05; done
        kill -STOP "$MASTER_PID"
    }
    background hold $((OPS * 2 / 3))
    HOLDER=$!
}

still_writing() {
    kill "$HOLDER" 2>/dev/null || true
    kill -CONT "$MASTER_PID"
    [[ $(written) -lt $OPS ]] || fail "the writes ended before the slots had moved"
}

end_moving() { # exit status
    wait_until 60 streaming "$OPS" || { tail -5 "$TMP/err" >&2; df2redis status >&2; return 1; }
    df2redis stop
    reap 20 "$PIPELINE"
    [[ $status -eq $1 ]] || { grep -v not_carried_over "$TMP/err" >&2; fail "pipeline: status $status"; }
    run dfstate diff "redis://127.0.0.1:$REDIS_PORT" "redis-cluster://127.0.0.1:$(a_master)"
    [[ $status -eq 0 ]] || fail "$output"
}

a_master() { masters | head -1; }

masters() { # ports
    local p
    for p in "${CLUSTER_PORTS[@]}"; do
        redis-cli -p "$p" cluster nodes 2>/dev/null | awk '/master/ && !/fail/ && NF > 8 {split($2, a, /[:@]/); print a[2]}' |
            grep . && return
    done
}

node_id() { redis-cli -p "$1" cluster myid; }

# Replicas hear last of slots that moved: one that takes over before would leave a slot without a master.
all_agree() {
    local p views
    views=$(for p in "${CLUSTER_PORTS[@]}"; do
        redis-cli -p "$p" cluster nodes | awk '/master/ && NF > 8 { $1 = $3 = $4 = $5 = $6 = $7 = $8 = ""; print }' | sort | md5sum
    done | sort -u | wc -l)
    [[ $views -eq 1 ]]
}

reshard() { # from to slots
    local _
    for _ in 1 2 3 4 5 6 7 8; do
        redis-cli --cluster reshard "127.0.0.1:$1" --cluster-from "$(node_id "$1")" --cluster-to "$(node_id "$2")" \
            --cluster-slots "$3" --cluster-yes >"$TMP/reshard" 2>&1 && { wait_until 20 all_agree; return; }
        sleep 0.5 # the nodes do not agree yet on what moved last
    done
    tail -3 "$TMP/reshard" >&2
    return 1
}

@test "cluster: 400 slots move to another master and back during the full sync and live writes" {
    mapfile -t m < <(masters)
    begin_moving mixed 50000
    keep_some
    reshard "${m[0]}" "${m[1]}" 400
    still_writing
    reshard "${m[1]}" "${m[0]}" 400
    end_moving 0
    grep -q 'redirects=[1-9]' "$TMP/err"
}

@test "cluster: counters and lists while slots move" {
    mapfile -t m < <(masters)
    begin_moving incr 30000
    keep_some
    reshard "${m[1]}" "${m[2]}" 200
    still_writing
    end_moving 0
}

failover_of() { # port of a replica: it takes over
    redis-cli -p "$1" cluster failover >/dev/null
    wait_until 10 is_master "$1"
}

is_master() { masters | grep -qx "$1"; }

replicas() {
    redis-cli -p "$(a_master)" cluster nodes | awk '/slave/ && !/fail/ {split($2, a, /[:@]/); print a[2]}'
}

@test "cluster: replicas take over from their masters, one after the other, during counters" {
    begin_moving incr 30000
    keep_some
    for p in $(replicas); do failover_of "$p"; done
    still_writing
    end_moving 0
}

@test "cluster: exactly once, while slots move, replicas take over and connections are cut" {
    local p id
    mapfile -t m < <(masters)
    begin_moving incr 40000 --exactly-once --position-file "$TMP/positions"
    keep_some
    reshard "${m[1]}" "${m[2]}" 100
    for p in $(replicas); do
        failover_of "$p"
        for id in $(redis-cli -p "$p" client list | sed -n 's/^id=\([0-9]*\) .* name=df2redis:[^ ]* .*/\1/p'); do
            redis-cli -p "$p" client kill id "$id" >/dev/null
        done
    done
    still_writing
    end_moving 0 # status 3 would say that something may count twice
    grep -q target_connection_lost "$TMP/err"
}

a_master_dies() { # kind df2redis-options…: one that has a replica, and is started again at the end
    printf '[writer]\nwait = 1\n' >"$TMP/wait.ini"
    begin_moving "$1" 60000 -c "$TMP/wait.ini" "${@:2}"
    cluster_node_timeout
    victim=$(masters | tail -1)
    redis-cli -p "$victim" info server | tr -d '\r' | sed -n 's/^process_id://p' >"$TMP/victim"
    kill -KILL "$(cat "$TMP/victim")"
    wait_until 40 others_took_over "$victim"
    # Without it the new master has no replica that could confirm anything.
    ( # no child of this test: it stays for the next one
        start_cluster_node "$victim" "$BATS_FILE_TMPDIR/cluster.$victim"
        echo "$(cat "$BATS_FILE_TMPDIR/pids") $!" >"$BATS_FILE_TMPDIR/pids"
    )
    end_moving 0
    grep -q target_connection_lost "$TMP/err"
    wait_until 20 replica_follows "$victim"
}

@test "cluster: a master is killed, with --wait 1 nothing of idempotent writes is lost" { a_master_dies set; }

@test "cluster: a master is killed, with --wait 1 and --exactly-once all writes are there once" {
    a_master_dies incr --exactly-once --position-file "$TMP/positions"
}

others_took_over() { # port
    ! is_master "$1" && [[ $(masters | wc -l) -eq 3 ]]
}
