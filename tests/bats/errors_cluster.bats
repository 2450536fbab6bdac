#!/usr/bin/env bats
# The table of errors, rediswriter(1): the rows that only a cluster has. Three masters, slots moved by hand.

load helper
load writing

setup_file() { one_cluster 0; }
teardown_file() { end_one_cluster; }

setup() {
    writing_setup
    the_cluster
    FROM=${CLUSTER_PORTS[0]}
    TO=${CLUSTER_PORTS[1]}
    wait_until 10 cluster_sees_all "$FROM"
}

teardown() {
    kill -CONT "${CLUSTER_PIDS[@]}"
    writing_teardown
}

target() { echo "$CLUSTER_URL"; }

heading() { # flows
    echo "session flows=$1"
    echo "target cluster=1"
    for ((i = 0; i < $1; i++)); do echo "flow $i"; done
}

id_of() { redis-cli -p "$1" cluster myid; }

get() { redis-cli -c -p "$FROM" "$@"; }

# A hash tag in a slot of the first node that nobody used yet: TAG and SLOT are set.
free_slot() {
    local first last i
    first=0 last=$((16384 / 3 - 2))
    for ((i = RANDOM; ; i++)); do
        SLOT=$(redis-cli -p "$FROM" cluster keyslot "t$i")
        [[ $SLOT -ge $first && $SLOT -le $last && $(redis-cli -p "$FROM" exists "t$i") != MOVED* ]] && break
    done
    TAG="{t$i}"
    OWNER=$(id_of "$FROM")
    TAKER=$(id_of "$TO")
}

migrating() {
    redis-cli -p "$TO" cluster setslot "$SLOT" importing "$OWNER"
    redis-cli -p "$FROM" cluster setslot "$SLOT" migrating "$TAKER"
} >/dev/null

migrate() { # keys
    redis-cli -p "$FROM" migrate 127.0.0.1 "$TO" "" 0 5000 keys "$@" >/dev/null
}

# The position key of the slot: whoever moves a slot moves all of its keys.
positions() { redis-cli -p "$FROM" cluster getkeysinslot "$SLOT" 100 | grep '^df2redis'; }

moved() { # whose it is now: their ids
    local p
    for p in "$TO" "$FROM" "${CLUSTER_PORTS[2]}"; do
        [[ $p == "$TO" || $p == "$FROM" ]] || continue
        redis-cli -p "$p" cluster setslot "$SLOT" node "$1" >/dev/null
    done
}

begin() {
    feed -v -v "$@"
    tell "$(heading 2)" "live 1 :pos=2 INCR m${TAG}" "set 0 begun${TAG} 1" "set 0 a 1" "set 0 b 1" "set 0 c 1" "set 0 d 1"
    wait_until 5 eval '[[ $(get get "begun$TAG") == 1 && $(get get "m$TAG") == 1 ]]'
}

offer() {
    tell "live 1 :pos=3 RPUSH l${TAG} 1" "live 1 :pos=4 RPUSH l${TAG} 2" "live 1 :pos=5 LPOP l${TAG}" \
        "live 1 :pos=6 INCR m${TAG}" "set 0 p${TAG} v" "req 0 RPUSH q${TAG} 1" "req 0 RPUSH q${TAG} 2"
}

complete() {
    tell "synced 0 :pos=9" "synced 1 :pos=9" end
    tell_end
    reap 20 "$WRITER" || { tail -20 "$TMP/err" >&2; return 1; }
    assert_status 0
    [[ $(get lrange "l$TAG" 0 -1) == 2 && $(get get "m$TAG") == 2 && $(get get "p$TAG") == v &&
        $(get lrange "q$TAG" 0 -1) == $'1\n2' ]] || fail "$(tail -20 "$TMP/err")"
}

counted() { # kind
    said "summary refusal=\"$1\" count=[1-9]" || { tail -20 "$TMP/err" >&2; return 1; }
}

@test "MOVED: followed, in order" {
    free_slot
    begin
    migrating
    migrate "m$TAG" "begun$TAG" "$(positions)"
    moved "$TAKER"
    offer
    complete
    said 'event=redirected.*MOVED'
    counted MOVED
}

@test "ASK: followed for a key that has moved already, others stay" {
    free_slot
    begin --at-least-once # a transaction waits until its slot has moved
    migrating
    migrate "m$TAG" "begun$TAG"
    redis-cli -p "$FROM" cluster countkeysinslot "$SLOT" | grep -qx 0
    offer
    complete
    said 'event=redirected.*ASK'
    counted ASK
    # What was written while asking lies at the node that takes the slot over.
    [[ $(redis-cli -p "$TO" cluster countkeysinslot "$SLOT") -eq 5 ]]
    moved "$TAKER"
}

@test "TRYAGAIN: several keys of which some have moved wait for the rest" {
    free_slot
    begin
    tell "live 1 :pos=3 SET x${TAG} 1" "live 1 :pos=4 SET y${TAG} 2"
    wait_until 5 eval '[[ $(get get "y$TAG") == 2 ]]'
    migrating
    migrate "x$TAG"
    tell "live 1 :pos=5 :multikey RENAME x${TAG} y${TAG}" "live 1 :pos=6 APPEND y${TAG} +" "live 0 :pos=2 INCR other"
    wait_until 5 eval '[[ $(get get other) == 1 ]]' # of another slot: it need not wait
    sleep 0.3
    migrate "y$TAG" "m$TAG" "begun$TAG" "$(positions)"
    moved "$TAKER"
    tell "synced 0 :pos=9" "synced 1 :pos=9" end
    tell_end
    reap 20 "$WRITER"
    assert_status 0
    [[ $(get get "y$TAG") == 1+ && $(get exists "x$TAG") == 0 ]]
    counted TRYAGAIN
}

@test "CLUSTERDOWN: a master without a replica is gone; waits until it is back" {
    free_slot
    begin
    cluster_node_timeout
    kill -STOP "${CLUSTER_PIDS[2]}"
    wait_until 15 eval 'redis-cli -p "$FROM" cluster info | grep -q cluster_state:fail'
    offer
    wait_until 5 said 'event=target_refuses_for_now.*CLUSTERDOWN'
    sleep 0.5
    kill -CONT "${CLUSTER_PIDS[2]}"
    complete
    counted CLUSTERDOWN
    cluster_node_timeout 5000
}

@test "NOPERM at one of the masters: status 1" {
    free_slot
    redis-cli -p "$FROM" acl setuser default -incr >/dev/null
    run bash -c "printf '%s\n' 'session' 'target cluster=1' 'flow 0' 'live 0 :pos=2 INCR n$TAG' 'synced 0 :pos=3' end |
        mkrecords | rediswriter '$CLUSTER_URL'"
    redis-cli -p "$FROM" acl setuser default +incr >/dev/null
    assert_status 1
    assert_output_has 'event=target_refuses'
    assert_output_has NOPERM
}

@test "--errors-to: requests with their slots, and programs" {
    free_slot
    get set "s$TAG" string >/dev/null
    local keys=("live 0 :pos=2 RPUSH s$TAG 1" "live 0 :pos=3 INCR n$TAG"
        "program 0 :pos=4 :keep=1 :must DUMP gone / RESTORE there$TAG 0 \$1 REPLACE / DEL gone")
    { heading 1; printf '%s\n' "${keys[@]}"; echo "synced 0 :pos=9"; echo end; } | write --errors-to "$TMP/failed"
    assert_status 3
    run dfparse --json "$TMP/failed"
    assert_status 0
    [[ $(grep -c '"kind":"failed"' <<<"$output") -eq 2 ]]
    assert_output_has "\"slot\":$SLOT"
    assert_output_has '"steps":[{"slot":'
    run dfparse --resp "$TMP/failed"
    assert_status 4 # a program has no form there
    get del "s$TAG" >/dev/null
    get set gone x >/dev/null
    run rediswriter "$CLUSTER_URL" "$TMP/failed"
    assert_status 0
    [[ $(get lrange "s$TAG" 0 -1) == 1 && $(get get "there$TAG") == x && $(get exists gone) == 0 && $(get get "n$TAG") == 1 ]]
}

@test "a step is refused with fewer words than a request before it: they are logged as they came" {
    free_slot
    get set "s$TAG" string >/dev/null
    {
        heading 1
        echo "live 0 :pos=2 RPUSH s$TAG 1" # a transaction whose room the program gets
        echo "program 0 :pos=4 INCR n$TAG / INCR s$TAG / INCR n$TAG"
        echo "synced 0 :pos=9"
        echo end
    } | write
    assert_status 3
    assert_output_has 'command="RPUSH"'
    assert_output_has 'reply="ERR value is not an integer or out of range"'
}
