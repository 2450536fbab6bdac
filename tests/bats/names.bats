#!/usr/bin/env bats
# What may have been applied twice because a run before did not come to its end is named: at least once, --position-file.

load helper
load writing

setup() {
    writing_setup
    start_redis
    POSITIONS=$TMP/positions
    : >"$TMP/heads"
    control
}

teardown() {
    [[ -z ${CLUSTER_PIDS[*]-} ]] || stop_cluster
    writing_teardown
}

# The other end of the control socket, in dfreader's place: says what stands in heads.
control() {
    rm -f "$TMP/control"
    background socat "UNIX-LISTEN:$TMP/control,fork" "SYSTEM:echo welcome; cat $TMP/heads; cat >>$TMP/said"
    wait_until 5 test -S "$TMP/control"
}

run_writer() { feed -v -v --connections 2 --position-file "$POSITIONS" "$@"; }

first() { # a session whose full sync is complete at position 10, and saved
    run_writer "$@"
    tell "session flows=1 nonce=$(printf '%032d' 1) replid=r control=$TMP/control" target "flow 0" "synced 0 :pos=10"
    wait_until 5 grep -qx f0=10 "$POSITIONS"
    cp "$POSITIONS" "$TMP/at-10"
}

goes_on() { # number of the session, from, options: one that goes on
    local n=$1 from=$2
    shift 2
    run_writer "$@"
    tell "session flows=1 nonce=$(printf '%032d' "$n") replid=r resume=1 control=$TMP/control" target "flow 0 mode=PARTIAL lsn=$from"
}

kill_writer() { # as if it had not been able to save what it applied last
    kill -KILL "$WRITER"
    reap 5 "$WRITER"
    tell_end
    cp "$TMP/at-10" "$POSITIONS"
}

ends() { # status
    tell end
    tell_end
    reap 10 "$WRITER"
    [[ $status -eq $1 ]] || fail "status $status: $(tail -40 "$TMP/err")"
}

named() { # what was named, sorted
    sed -n 's/.*event=may_count_twice command="\([A-Z]*\)" key="\([^"]*\)"\( also="\([^"]*\)"\)\{0,1\}$/\1 \2 \4/p' "$TMP/err" |
        sed 's/ $//' | sort | paste -sd,
}

WRITES=("live 0 :pos=11 INCR n" "live 0 :pos=12 :idempotent SADD s a" "live 0 :pos=13 XADD x 5-1 f v" "live 0 :pos=14 RPUSH l a")

@test "after a kill: what had been sent and is repeated, if that makes a difference, and nothing else" {
    first
    tell "${WRITES[@]}"
    wait_until 5 eval '[[ $(rcli llen l) -eq 1 ]]'
    kill_writer
    goes_on 2 10
    tell "${WRITES[@]}" "live 0 :pos=15 INCR n" "live 0 :pos=16 INCR m" "live 0 :pos=17 RPUSH l b" "live 0 :pos=18 XADD x 5-2 f v"
    ends 3
    [[ $(named) == "INCR n,RPUSH l" ]] || fail "$(named)"
    [[ $(rcli get n) == 3 && $(rcli get m) == 1 && $(rcli llen l) == 3 && $(rcli xlen x) == 2 ]]
    said 'errors=0 '
    said 'summary may_count_twice="INCR" count=1 key1=n'
}

@test "after an orderly end nothing is named, on whatever machine it goes on" {
    first
    tell "${WRITES[@]}"
    ends 0
    grep -qx over=1 "$POSITIONS"
    rm "$POSITIONS.sent"
    goes_on 2 14
    tell "live 0 :pos=15 INCR n"
    wait_until 5 grep -qx over=0 "$POSITIONS"
    ends 0
    [[ -z $(named) ]]
}

@test "what a killed run has named, and what it has not reached again, the next one tells" {
    first
    tell "${WRITES[@]}"
    wait_until 5 eval '[[ $(rcli llen l) -eq 1 ]]'
    kill_writer
    goes_on 2 10
    tell "${WRITES[0]}"
    wait_until 5 eval '[[ $(rcli get n) -eq 2 ]]'
    wait_until 5 grep -qx f0=11 "$POSITIONS"
    cp "$POSITIONS" "$TMP/at-10"
    kill_writer
    goes_on 3 11
    tell "${WRITES[@]:1}" "live 0 :pos=15 RPUSH l b"
    ends 3
    [[ $(named) == "RPUSH l" ]] || fail "$(named)"
    said 'event=named_before requests=1 '
}

@test "a kill between the two files: they still belong together" {
    first
    tell "${WRITES[@]}"
    wait_until 5 eval '[[ $(rcli llen l) -eq 1 ]]'
    kill_writer
    goes_on 2 10
    wait_until 5 grep -q "nonce=$(printf '%032d' 2)" "$POSITIONS"
    kill_writer # with the positions of the first one
    goes_on 3 10
    tell "${WRITES[@]}"
    ends 3
    [[ $(named) == "INCR n,RPUSH l" ]] || fail "$(named)"
}

@test "an orderly end before what the killed run had sent came again: it is named when it comes" {
    first
    tell "${WRITES[@]}"
    wait_until 5 eval '[[ $(rcli llen l) -eq 1 ]]'
    kill_writer
    goes_on 2 10
    tell "${WRITES[@]:0:2}"
    ends 3
    grep -qx over=0 "$POSITIONS"
    goes_on 3 12
    tell "${WRITES[@]:2}" "live 0 :pos=15 RPUSH l b"
    ends 3
    [[ $(named) == "RPUSH l" ]] || fail "$(named)"
    said 'errors=0 '
    grep -qx over=1 "$POSITIONS"
}

another_boot() { # its id stands behind the 24 bytes of the heading
    printf x | dd of="$POSITIONS.sent" bs=1 seek=24 conv=notrunc status=none
}

@test "the machine was started anew: all that the master had counts as repeated" {
    first
    tell "${WRITES[@]}"
    wait_until 5 eval '[[ $(rcli llen l) -eq 1 ]]'
    kill_writer
    another_boot
    echo "head flow=0 epoch=1 pos=16" >"$TMP/heads"
    goes_on 2 10
    wait_until 5 said 'line="head '
    tell "${WRITES[@]}" "live 0 :pos=15 INCR m" "live 0 :pos=16 INCR n" "live 0 :pos=17 INCR o"
    ends 3
    said 'event=sent_unknown .*reason=machine '
    [[ $(named) == "INCR m,INCR n,INCR n,RPUSH l" ]] || fail "$(named)"
}

@test "the file is gone, and the next run was killed before it knew where the master stood: that is not forgotten" {
    first
    tell "${WRITES[@]}"
    wait_until 5 eval '[[ $(rcli llen l) -eq 1 ]]'
    kill_writer
    rm "$POSITIONS.sent"
    goes_on 2 10
    tell "live 0 :pos=11 INCR n"
    wait_until 5 eval '[[ $(rcli get n) -eq 2 ]]'
    said 'event=sent_unknown .*reason=missing '
    kill_writer
    echo "head flow=0 epoch=1 pos=30" >"$TMP/heads"
    goes_on 3 10
    wait_until 5 said 'line="head '
    tell "live 0 :pos=11 INCR n" "live 0 :pos=30 INCR p" "live 0 :pos=31 INCR q"
    ends 3
    [[ $(named) == "INCR n,INCR p" ]] || fail "$(named)"
    said 'event=named_before requests=1 '
}

@test "a record without a position: nobody knows how far it is" {
    first
    tell "live 0 :pos=11 INCR n" "live 0 :pos=0 INCR m"
    wait_until 5 eval '[[ $(rcli get m) -eq 1 ]]'
    kill_writer
    echo "head flow=0 epoch=1 pos=13" >"$TMP/heads"
    goes_on 2 10
    wait_until 5 said 'line="head '
    tell "live 0 :pos=11 INCR n" "live 0 :pos=13 INCR m" "live 0 :pos=14 INCR o"
    ends 3
    [[ $(named) == "INCR m,INCR n" ]] || fail "$(named)"
}

@test "what differs though each of it may be sent twice in a row" {
    local -a writes=("live 0 :pos=11 :idempotent HSET h f 1" "live 0 :pos=12 :idempotent PEXPIREAT h 4102444800000"
        "live 0 :pos=13 :idempotent HDEL h f" "live 0 :pos=14 :idempotent HSET h g 1" "live 0 :pos=15 :idempotent HDEL i g"
        "live 0 :pos=16 :idempotent XTRIM x MINID 5" "live 0 :pos=17 :idempotent XTRIM y MAXLEN 0"
        "live 0 :pos=18 :idempotent :multikey PFMERGE p q" "live 0 :pos=19 :multikey RENAMENX a b"
        "live 0 :pos=20 :multikey :key=1 COPY c d")
    first
    tell "${writes[@]}"
    wait_until 5 grep -qx f0=20 "$POSITIONS"
    kill_writer
    goes_on 2 10
    tell "${writes[@]}"
    ends 3
    [[ $(rcli pttl h) -gt 0 ]] # though at the source there is none
    [[ $(named) == "COPY d,HDEL h,PFMERGE p,RENAMENX a b,XTRIM y" ]] || fail "$(named)"
}

@test "a request in several records" {
    first
    local -a writes=("live 0 :pos=11 :part=100 XADD x 5-1 f @300" "live 0 :pos=12 :part=100 RPUSH l @300")
    tell "${writes[@]}"
    wait_until 5 eval '[[ $(rcli llen l) -eq 1 ]]'
    kill_writer
    goes_on 2 10
    tell "${writes[@]}" "live 0 :pos=13 :part=100 RPUSH m @300"
    ends 3
    [[ $(named) == "RPUSH l" ]] || fail "$(named)"
    [[ $(rcli xlen x) -eq 1 ]]
    said 'errors=0 '
}

@test "a cluster: transactions of the source, and what runs over several slots" {
    local -a writes=("live 0 :pos=11 :together INCR n" "live 0 :pos=12 :together XADD {n}x 5-1 f v" "live 0 :pos=13 :idempotent SET {n}s v"
        "program 0 :pos=14 :keep=1 DUMP a / :if=1 RESTORE b 0 \$1 REPLACE / DEL a")
    start_cluster 0
    REDIS_PORT=${CLUSTER_PORTS[0]}
    c() { redis-cli -c -p "$REDIS_PORT" "$@"; }
    run_writer --at-least-once
    tell "session flows=1 nonce=$(printf '%032d' 1) replid=r control=$TMP/control" "target cluster=1" "flow 0" "synced 0 :pos=10"
    wait_until 5 grep -qx f0=10 "$POSITIONS"
    cp "$POSITIONS" "$TMP/at-10"
    c set a v >/dev/null
    tell "${writes[@]}"
    wait_until 5 eval '[[ $(c get b) == v && $(c get {n}s) == v ]]'
    kill_writer
    run_writer --at-least-once
    tell "session flows=1 nonce=$(printf '%032d' 2) replid=r resume=1 control=$TMP/control" "target cluster=1" "flow 0 mode=PARTIAL lsn=10"
    tell "${writes[@]}" "live 0 :pos=15 :together INCR n" "live 0 :pos=16 INCR n"
    ends 3
    [[ $(c get n) == 4 && $(c xlen {n}x) == 1 ]]
    [[ $(named) == "DEL a,INCR n,RESTORE b" ]] || fail "$(named)"
    said 'errors=0 '
}
