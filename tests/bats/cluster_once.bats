#!/usr/bin/env bats
# A cluster is written to exactly once without being asked: rediswriter(1), Exactly once in a cluster.

load helper
load writing

setup_file() { one_cluster 0; }
teardown_file() { end_one_cluster; }

setup() {
    writing_setup
    to_cluster
    REDIS_PORT=${CLUSTER_PORTS[0]}
    local p
    for p in "${CLUSTER_PORTS[@]}"; do
        redis-cli -p "$p" flushall sync
        redis-cli -p "$p" config resetstat
    done >/dev/null
}

teardown() {
    kill -CONT "${CLUSTER_PIDS[@]}"
    writing_teardown
}

heading() { # flows [session facts…]
    local n=$1
    shift
    echo "session flows=$n $*"
    echo "target cluster=1"
    for ((i = 0; i < n; i++)); do echo "flow $i"; done
}

calls() { # command: how often the masters were sent it
    local p
    for p in "${CLUSTER_PORTS[@]}"; do redis-cli -p "$p" info commandstats; done |
        sed -n "s/^cmdstat_$1:calls=\([0-9]*\),.*/\1/p" | awk '{ n += $1 } END { print n + 0 }'
}

positions() { # keys of ours
    local p
    for p in "${CLUSTER_PORTS[@]}"; do redis-cli -p "$p" keys 'df2redis*'; done | grep -c . || true
}

@test "a hot key: its changes share transactions" {
    for ((i = 2; i < 20002; i++)); do echo "live 0 :pos=$i INCR hot"; done | one_flow | write
    assert_status 0
    [[ $(ccli get hot) -eq 20000 ]]
    [[ $(calls exec) -ge 3 && $(calls exec) -lt 2000 ]] || fail "$(calls exec) transactions"
}

@test "many keys that are changed faster than the masters can: their changes share transactions, too" {
    for ((i = 2; i < 40002; i++)); do echo "live 0 :pos=$i INCR k$((i % 200))"; done | one_flow | write
    assert_status 0
    [[ $(ccli get k7) -eq 200 && $(ccli get k199) -eq 200 ]]
    [[ $(calls exec) -ge 200 && $(calls exec) -lt 20000 ]] || fail "$(calls exec) transactions"
}

@test "keys of the snapshot in several requests: a transaction each, without a position" {
    for i in {1..50}; do
        printf '%s\n' "idem 0 :first :class=5 DEL h$i" "idem 0 :class=5 HSET h$i f v" "idem 0 :class=5 HSET h$i g v" "position 0 :last"
        printf '%s\n' "idem 0 :first :class=2 DEL l$i" "req 0 :class=2 RPUSH l$i 1" "req 0 :class=2 RPUSH l$i 2" \
            "idem 0 :last :class=2 PEXPIREAT l$i 4000000000000"
    done | one_flow | write
    assert_status 0
    [[ $(ccli hlen h50) -eq 2 && $(ccli lrange l50 0 -1) == $'1\n2' && $(ccli pttl l1) -gt 0 ]]
    [[ $(calls exec) -ge 90 && $(calls exec) -le 110 ]] || fail "$(calls exec) transactions"
    [[ $(positions) -eq 0 ]]
    grep -q 'summary keys list=50 hash=50' <<<"$output" || fail "$output"
}

@test "a list larger than a transaction; what has no journal leaves no position keys" {
    {
        heading 1 journal=0
        echo "idem 0 :first DEL l"
        for ((i = 0; i < 30; i++)); do echo "req 0 RPUSH l @100000 $i"; done
        echo "position 0 :last"
        echo "synced 0"
        echo end
    } | write
    assert_status 0
    [[ $(ccli llen l) -eq 60 && $(ccli lindex l 59) -eq 29 ]]
    [[ $(positions) -eq 0 ]]
    [[ $(calls hset) -ge 1 ]] # there was one
}

@test "lost connections: nothing counts twice, lists of the snapshot included" {
    local port
    feed -v
    tell "$(heading 2)"
    for i in {1..60}; do
        tell "$(for k in {1..10}; do echo "live 0 :pos=$((i * 10 + k)) INCR n$k"; done)" \
            "idem 1 :first DEL l$i" "req 1 RPUSH l$i 1" "req 1 RPUSH l$i 2" "position 1 :last"
        ((i % 6)) || for port in "${CLUSTER_PORTS[@]}"; do
            redis-cli -p "$port" client kill type normal skipme yes >/dev/null
        done
    done
    tell 'synced 0 :pos=1000' 'synced 1 :pos=1000' end
    tell_end
    reap 30 "$WRITER"
    assert_status 0
    said event=target_connection_lost
    for k in {1..10}; do [[ $(ccli get n$k) -eq 60 ]] || fail "n$k: $(ccli get n$k)"; done
    for i in {1..60}; do [[ $(ccli lrange "l$i" 0 -1) == $'1\n2' ]] || fail "l$i: $(ccli lrange "l$i" 0 -1)"; done
}

@test "--at-least-once: no transactions, and nobody asks for any" {
    printf '%s\n' "live 0 :pos=2 :together INCR n" "live 0 :pos=3 INCR n" "idem 0 :first DEL l" "req 0 RPUSH l 1" "position 0 :last" |
        one_flow | write --at-least-once
    assert_status 0
    [[ "$(ccli get n) $(ccli llen l) $(calls multi) $(positions)" == "2 1 0 0" ]] || fail "$(ccli get n) $(ccli llen l) $(calls multi) $(positions) $output"
}

@test "--at-least-once: after a run that was killed it is said that something may count twice, after an orderly end not" {
    local nonce=0
    start_control
    run_on() { # record: from position 1, or where the file says
        nonce=$((nonce + 1))
        feed -v --at-least-once --position-file "$TMP/positions"
        tell "session flows=1 nonce=$(printf '%032d' $nonce) replid=r resume=1 control=$TMP/control" "target cluster=1" "$1"
    }
    run_on "flow 0"
    tell "synced 0 :pos=1" "live 0 :pos=2 INCR n" end
    tell_end
    reap 10 "$WRITER"
    assert_status 0
    run_on "flow 0 mode=PARTIAL lsn=2"
    tell "live 0 :pos=3 INCR n"
    wait_until 5 eval '[[ $(ccli get n) -eq 2 ]]'
    never said event=may_count_twice
    kill -KILL "$WRITER"
    reap 5 "$WRITER"
    tell_end
    run_on "flow 0 mode=PARTIAL lsn=2"
    tell "live 0 :pos=3 INCR n" end
    tell_end
    reap 10 "$WRITER"
    assert_status 3
    said event=may_count_twice
    said 'summary may_count_twice="earlier run" count=1'
}

@test "a master that stands still does not hold up the others, however much waits for it" {
    local here there p i=0
    # Else the others refuse everything, once they take the one that stands still for failed.
    cluster_node_timeout 60000
    for ((i = 0; ; i++)); do [[ $(redis-cli -p "${CLUSTER_PORTS[0]}" exists "a$i") == MOVED* ]] || break; done
    here=a$i
    for ((i = 0; ; i++)); do [[ $(redis-cli -p "${CLUSTER_PORTS[2]}" exists "b$i") == MOVED* ]] || break; done
    there=b$i
    feed
    tell "$(heading 1)" "live 0 :pos=2 INCR $here" "live 0 :pos=3 INCR $there"
    wait_until 5 eval '[[ $(ccli get "$here") == 1 && $(ccli get "$there") == 1 ]]'
    kill -STOP "${CLUSTER_PIDS[2]}"
    tell "$(for ((i = 4; i < 8004; i++)); do echo "live 0 :pos=$i INCR $((i % 2 == 0)) $here $there"; done |
        awk '{ print $1, $2, $3, $4, $5 == 1 ? $6 : $7 }')"
    wait_until 5 eval '[[ $(redis-cli -p "${CLUSTER_PORTS[0]}" get "$here") == 4001 ]]'
    kill -CONT "${CLUSTER_PIDS[2]}"
    tell 'synced 0 :pos=9000' end
    tell_end
    reap 20 "$WRITER"
    assert_status 0
    [[ $(ccli get "$there") -eq 4001 ]]
}

@test "many requests of a slot that are refused for good: they are named together, not in a transaction each" {
    for ((i = 2; i < 2002; i++)); do printf '%s\n' "live 0 :pos=$i NOSUCH hot" "live 0 :pos=$i INCR hot"; done | one_flow | write
    assert_status 3
    grep -q 'summary error="NOSUCH: ERR unknown command" count=2000' <<<"$output" || fail "$output"
    [[ $(ccli get hot) -eq 2000 ]]
    [[ $(calls multi) -lt 200 ]] || fail "$(calls multi) transactions"
}

@test "a master that stands still, with thousands of slots that wait for it: changes at the others do not wait" {
    local here i p t0
    cluster_node_timeout 60000
    for ((i = 0; ; i++)); do [[ $(redis-cli -p "${CLUSTER_PORTS[0]}" exists "a$i") == MOVED* ]] || break; done
    here=a$i
    feed
    tell "$(heading 1)" "live 0 :pos=2 INCR c"
    wait_until 5 eval '[[ $(ccli get c) == 1 ]]'
    kill -STOP "${CLUSTER_PIDS[2]}"
    tell "$(for ((i = 0; i < 9000; i++)); do echo "live 0 :pos=3 INCR x$i"; done)" "live 0 :pos=4 INCR c"
    wait_until 10 eval '[[ $(redis-cli -p "${CLUSTER_PORTS[0]}" dbsize) -gt 4000 ]]' # with the positions
    t0=${EPOCHREALTIME/./}
    for i in 1 2 3 4 5; do
        tell "live 0 :pos=$((4 + i)) INCR $here"
        wait_until 5 eval '[[ $(redis-cli -p "${CLUSTER_PORTS[0]}" get "$here") == "$i" ]]'
    done
    t0=$(((${EPOCHREALTIME/./} - t0) / 1000))
    kill -CONT "${CLUSTER_PIDS[2]}"
    tell 'synced 0 :pos=9000' end
    tell_end
    reap 20 "$WRITER"
    assert_status 0
    [[ $t0 -lt 2500 ]] || fail "5 changes took $t0 ms"
}

# A run from position 2 that is killed once the target's k has the value.
killed_with() { # value, records…
    local want=$1
    shift
    run_from "flow 0 mode=PARTIAL lsn=2"
    tell "$@"
    wait_until 5 eval '[[ $(ccli get k) == "$want" ]]'
    kill -KILL "$WRITER"
    reap 5 "$WRITER"
    tell_end
}

run_from() { # record: from position 1, or where the file says
    TURN=$((${TURN-0} + 1))
    feed -v --position-file "$TMP/positions"
    tell "session flows=1 nonce=$(printf "%032d" "$TURN") replid=r resume=1 control=$TMP/control" "target cluster=1" "$1"
}

last_run() { # records…
    run_from "flow 0 mode=PARTIAL lsn=2"
    tell "$@" end
    tell_end
    reap 10 "$WRITER"
    assert_status 0
}

first_run() {
    start_control
    run_from "flow 0"
    tell "synced 0 :pos=1" "live 0 :pos=2 INCR n" end
    tell_end
    reap 10 "$WRITER"
    assert_status 0
}

@test "a key that was read again contains its entries up to there: a run that resumes before them does not add them once more" {
    first_run
    killed_with 5 "live 0 :pos=3 INCR n" "live 0 :pos=5 :fresh SET k 5"
    last_run "live 0 :pos=3 INCR n" "live 0 :pos=4 INCR k" "live 0 :pos=5 INCR k" "live 0 :pos=6 INCR k"
    [[ $(ccli get n) -eq 2 && $(ccli get k) -eq 6 ]] || fail "$(ccli get n) $(ccli get k)"
}

@test "the same if that run is killed in its turn behind a request that contains less" {
    first_run
    killed_with 5 "live 0 :pos=3 INCR n" "live 0 :pos=5 :fresh SET k 5"
    killed_with gone "live 0 :pos=3 INCR n" "live 0 :pos=3 :fresh SET k gone"
    last_run "live 0 :pos=3 INCR n" "live 0 :pos=4 APPEND k x" "live 0 :pos=5 APPEND k x" "live 0 :pos=6 APPEND k y"
    [[ $(ccli get k) == goney ]] || fail "$(ccli get k)"
}
