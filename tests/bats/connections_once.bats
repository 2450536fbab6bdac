#!/usr/bin/env bats
# Several connections to a single server, and --wait: exactly once, too. rediswriter(1), Exactly once in a cluster.

load helper
load writing

setup() {
    writing_setup
    start_redis
}

teardown() { writing_teardown; }

positions() { for i in 0 1 2; do rcli -n $i keys 'df2redis*'; done | grep -c . || true; }

@test "lost connections: nothing counts twice, in several databases, with requests of several keys between" {
    feed -v --connections 3
    tell "$(heading 2)"
    for i in {1..60}; do
        tell "$(for k in {1..10}; do echo "live 0 :db=$((k % 3)) :pos=$((i * 20 + k)) INCR n$k"; done)" \
            "live 0 :pos=$((i * 20 + 11)) :multikey RPUSH m $i" "live 0 :pos=$((i * 20 + 12)) :multikey LMOVE m o LEFT RIGHT" \
            "live 0 :db=$((i % 3)) :pos=$((i * 20 + 13)) :part=100 APPEND large @300" \
            "idem 1 :first DEL l$i" "req 1 RPUSH l$i 1" "req 1 RPUSH l$i 2" "position 1 :last"
        ((i % 6)) || wait_until 5 eval '[[ $(rcli llen o) -ge $((i - 5)) ]]'
        ((i % 6)) || rcli client kill type normal skipme yes >/dev/null
    done
    tell 'synced 0 :pos=5000' 'synced 1 :pos=5000' end
    tell_end
    reap 30 "$WRITER"
    assert_status 0
    said event=target_connection_lost
    for k in {1..10}; do [[ $(rcli -n $((k % 3)) get n$k) -eq 60 ]] || fail "n$k: $(rcli -n $((k % 3)) get n$k)"; done
    for i in 0 1 2; do [[ $(rcli -n $i strlen large) -eq 6000 ]] || fail "large: $(rcli -n $i strlen large)"; done
    for i in {1..60}; do [[ $(rcli lrange "l$i" 0 -1) == $'1\n2' ]] || fail "l$i: $(rcli lrange "l$i" 0 -1)"; done
    [[ $(rcli lrange o 0 -1 | xargs) == "$(seq 60 | xargs)" ]] || fail "$(rcli lrange o 0 -1 | xargs)"
}

@test "killed and started anew: what it had done is not done again; --forget removes what that took" {
    local nonce=0
    start_control
    run_on() { # records…: from position 1, or where the file says
        nonce=$((nonce + 1))
        feed -v --connections 2 --position-file "$TMP/positions"
        tell "session flows=1 nonce=$(printf '%032d' $nonce) replid=r resume=1 control=$TMP/control" target "$1"
    }
    run_on "flow 0"
    tell "synced 0 :pos=1"
    wait_until 5 grep -qx f0=1 "$TMP/positions"
    cp "$TMP/positions" "$TMP/before"
    local -a writes=("live 0 :pos=2 INCR n" "live 0 :db=1 :pos=3 APPEND s x" "live 0 :pos=4 RPUSH l 1" "live 0 :pos=5 :part=100 RPUSH l @300")
    tell "${writes[@]}"
    wait_until 5 eval '[[ $(rcli llen l) -eq 2 && $(rcli -n 1 get s) == x && $(rcli get n) -eq 1 ]]'
    kill -KILL "$WRITER"
    reap 5 "$WRITER"
    tell_end
    cp "$TMP/before" "$TMP/positions"
    run_on "flow 0 mode=PARTIAL lsn=1"
    tell "${writes[@]}" "live 0 :pos=6 INCR n" end
    tell_end
    reap 10 "$WRITER"
    assert_status 0
    [[ $(rcli get n) -eq 2 && $(rcli -n 1 get s) == x && $(rcli llen l) -eq 2 ]] || fail "$(rcli get n) $(rcli -n 1 get s) $(rcli llen l)"
    [[ $(positions) -gt 0 ]]
    run rediswriter --forget "$(target)"
    assert_status 0
    ! grep -q no_such_db <<<"$output" || fail "$output"
    [[ $(positions) -eq 0 ]]
}

@test "a flush of one database, and of all" {
    {
        heading 1
        echo "synced 0 :pos=1"
        printf '%s\n' "live 0 :pos=2 INCR a" "live 0 :db=1 :pos=3 INCR b" "barrier 0 :db=1 :pos=4 FLUSHDB" "live 0 :db=1 :pos=5 INCR b" \
            "live 0 :pos=6 INCR a" "barrier 0 :pos=7 :txid=2 FLUSHALL" "live 0 :pos=8 INCR c" end
    } | write --connections 2
    assert_status 0
    [[ $(rcli get c) -eq 1 && $(rcli exists a) -eq 0 && $(rcli -n 1 exists b) -eq 0 ]]
}

@test "a database that the server does not have: a data error, the rest goes on" {
    printf '%s\n' "live 0 :pos=2 INCR a" "live 0 :db=20 :pos=3 INCR b" "live 0 :db=70 :pos=4 INCR b" "live 0 :pos=5 INCR a" | one_flow |
        write --connections 2
    assert_status 3
    [[ $(rcli get a) -eq 2 ]]
    [[ $(grep -c 'no such database' <<<"$output") -ge 1 ]]
}
