#!/usr/bin/env bats
# Recorded sessions of three masters whose slots move key by key or atomically, played with random lag between the flows:
# they end with the data set of the whole cluster, and with the last offset of each master acknowledged.

load helper
load psyncing

setup() { common_setup; }
teardown() { common_teardown; }

final_offsets() { # capture: lines LINEAGE OFFSET
    sed -n '/"final_offsets": {/,/}/s/^  "\([A-Z]\)": \([0-9]*\),\{0,1\}$/\1 \2/p' "$CAPTURES/$1/meta.json"
}

# Real servers that follow the masters, for the values of keys that are read again. Only a cluster's own replica executes
# TRIMSLOTS: the stand-in removes these keys at the followers.
start_followers() {
    FOLLOWERS=()
    for _ in 1 2 3; do
        start_redis --replica-read-only no
        FOLLOWERS+=("$REDIS_PORT")
    done
}

follow() {
    local i port
    for i in 0 1 2; do
        port=$(sed -n "s/^port$([[ $i -eq 0 ]] || echo "$i")=//p" "$MASTER_OUT")
        redis-cli -p "${FOLLOWERS[i]}" replicaof 127.0.0.1 "$port" >/dev/null
    done
}

acknowledged_all() { # capture
    local lineage offset
    while read -r lineage offset; do
        [[ $(grep "^$lineage " "$ACKS" | tail -1) == "$lineage $offset" ]] || return 1
    done < <(final_offsets "$1")
}

equal() { # capture
    dfstate diff --list 5 "$CAPTURES/$1/expected.jsonl.gz" "redis://127.0.0.1:$REDIS_PORT"
}

replay() { # capture mode lag (ms)
    choose_server "$1"
    [[ -z $OLDER_TARGET ]] || skip "no server of $(meta_text "$1" server) is here (DF2REDIS_SERVERS)"
    start_followers
    start_redis
    ACKS=$TMP/acks
    start_master --capture "$CAPTURES/$1" --acks "$ACKS" --lag "$3" --seed "$RANDOM" --split 1-20000 \
        --values-of "$(IFS=,; echo "${FOLLOWERS[*]}")"
    local -a mode=()
    [[ $2 == single ]] && mode=(--single)
    # A machine that is so busy that the followers take half a minute: the slots are taken again then.
    background df2redis "${mode[@]}" --restart --acknowledge exact replicate "redis-cluster://127.0.0.1:$MASTER_PORT" \
        "redis://127.0.0.1:$REDIS_PORT" 2>"$TMP/err"
    local task=$!
    wait_until 15 phase_is streaming || { cat "$TMP/err" >&2; return 1; }
    follow
    wait_until 40 acknowledged_all "$1" || { cat "$ACKS" >&2; tail -5 "$TMP/err" >&2; return 1; }
    wait_until 40 equal "$1" || { equal "$1"; tail -5 "$TMP/err" >&2; return 1; }
    assert_extra "$1" "redis://127.0.0.1:$REDIS_PORT"
    df2redis stop
    reap 20 "$task"
    [[ $status -eq 0 ]] || fail "status $status: $(tail -5 "$TMP/err")"
    never grep -q ILLEGAL "$MASTER_OUT.log"
}

@test "psync-cluster-migrate, one process" { replay psync-cluster-migrate single 0; }
@test "psync-cluster-migrate, one process, lag" { replay psync-cluster-migrate single 200; }
@test "psync-cluster-migrate, one process per flow, lag" { replay psync-cluster-migrate flows 200; }
@test "psync-cluster-asm-8.6, one process, lag" { replay psync-cluster-asm-8.6 single 200; }
@test "psync-cluster-asm-8.6, one process per flow, lag" { replay psync-cluster-asm-8.6 flows 200; }
@test "psync-cluster-asm-valkey-9.1, one process, lag" { replay psync-cluster-asm-valkey-9.1 single 200; }
@test "psync-cluster-asm-valkey-9.1, one process per flow, lag" { replay psync-cluster-asm-valkey-9.1 flows 200; }
