#!/usr/bin/env bats
# Keys of the snapshot that come in several requests: rediswriter(1), What is promised.

load helper
load writing
load faking

setup() {
    writing_setup;
    start_redis
}

teardown() { writing_teardown; }

hash_of() { # name field…: DEL, HSET, and the end of the key
    echo "idem 0 :first DEL $1"
    local f
    for f in "${@:2}"; do echo "idem 0 HSET $1 $f v"; done
    echo "idem 0 :last PEXPIREAT $1 4000000000000"
}

list_of() { # name element…
    echo "idem 0 :first DEL $1"
    local e
    for e in "${@:2}"; do echo "req 0 RPUSH $1 $e"; done
    echo "idem 0 :last PEXPIREAT $1 4000000000000"
}

the_delay() { # one way in microseconds: the target is behind it
    far_from "$REDIS_PORT" "$1"
    target() { echo "redis://127.0.0.1:$FAR_PORT"; }
}

took() { # what stands on standard input into the target: ms
    local t0=${EPOCHREALTIME/./}
    one_flow | write >/dev/null
    [[ $status -eq 0 ]] || fail "$output"
    echo $(((${EPOCHREALTIME/./} - t0) / 1000))
}

@test "they do not cost a round trip for each request" {
    local plain parts
    the_delay 20000
    plain=$(for i in {1..40}; do echo "set 0 s:$i v"; done | took)
    parts=$(for i in {1..40}; do hash_of "h:$i" f g; list_of "l:$i" 1 2; done | took)
    [[ $(rcli dbsize) -eq 121 && $(rcli hlen h:40) -eq 2 && $(rcli lrange l:17 0 -1) == $'1\n2' ]]
    [[ $parts -lt $((3 * plain)) ]] || fail "$parts ms, $plain ms without parts"
}

@test "a data error in the middle: the rest of its key and of the others is there" {
    {
        hash_of a f
        printf '%s\n' 'idem 0 :first DEL b' 'idem 0 HSET b f v' 'idem 0 NOSUCH b' 'idem 0 HSET b g v' 'position 0 :last'
        printf '%s\n' 'idem 0 :first DEL c' 'idem 0 SADD c m' 'idem 0 HSET c f v' 'position 0 :last'
        list_of d 1 2 3
    } | one_flow | write
    assert_status 3
    grep -q 'event=data_error command="NOSUCH" key="b"' <<<"$output" || fail "$output"
    grep -q 'event=data_error command="HSET" key="c" db=0 reply="WRONGTYPE' <<<"$output" || fail "$output"
    [[ $(rcli hlen a) -eq 1 && $(rcli hlen b) -eq 2 && $(rcli smembers c) == m && $(rcli lrange d 0 -1) == $'1\n2\n3' ]]
    grep -q 'summary error="NOSUCH: ERR unknown command" count=1' <<<"$output" || fail "$output"
}

@test "refused for a while: whole and in order afterwards" {
    feed
    tell "$(heading 1)" "set 0 begun 1"
    wait_until 5 eval '[[ $(rcli get begun) == 1 ]]'
    rcli set l old
    rcli config set maxmemory 1
    tell "$(hash_of h f g)" "$(list_of l 1 2 3)"
    wait_until 8 grep -q 'event=target_refuses_for_now.*reply="OOM' "$TMP/err" || fail "$(<"$TMP/err")"
    [[ $(rcli get l) == old ]]
    rcli config set maxmemory 0
    tell "synced 0 :pos=9" end
    tell_end
    reap 20 "$WRITER"
    assert_status 0
    [[ $(rcli hlen h) -eq 2 && $(rcli lrange l 0 -1) == $'1\n2\n3' ]]
}

@test "lost connections: every list is there once" {
    local i
    the_delay 10000
    feed -v
    tell "$(heading 1)"
    for i in {1..60}; do
        tell "$(list_of "l:$i" 1 2 3 4)"
        ((i % 5)) || wait_until 5 eval '[[ $(rcli exists "l:$((i - 3))") -eq 1 ]]'
        ((i % 5)) || rcli client kill type normal skipme yes >/dev/null
    done
    tell 'synced 0 :pos=9' end
    tell_end
    reap 30 "$WRITER"
    assert_status 0
    [[ $(grep -c event=target_connected_again "$TMP/err") -ge 3 ]]
    for i in {1..60}; do
        [[ $(rcli lrange "l:$i" 0 -1) == $'1\n2\n3\n4' ]] || fail "l:$i: $(rcli lrange "l:$i" 0 -1)"
    done
}

@test "a key of more than a transaction goes on in the next one; so do its requests that must not be repeated" {
    local i part
    part=$(printf 'x%.0s' {1..1000})
    {
        echo 'idem 0 :first DEL h'
        echo 'idem 0 :first DEL l'
        for ((i = 0; i < 3000; i++)); do
            echo "idem 0 HSET h f$i $part"
            echo "req 0 RPUSH l $i"
            [[ $i -ne 1500 ]] || echo "idem 0 RPUSH other $i"
        done
        echo "idem 0 :last PEXPIREAT h 4000000000000"
        echo "req 0 :last RPUSH l $part"
    } | one_flow | write
    assert_status 0
    [[ $(rcli hlen h) -eq 3000 && $(rcli hget h f2999) == "$part" ]]
    [[ $(rcli llen l) -eq 3001 && $(rcli lindex l 2999) -eq 2999 && $(rcli lindex l 1200) -eq 1200 ]]
}

@test "several flows and databases: each key is whole" {
    local i
    {
        heading 2
        for i in {1..30}; do
            echo "idem 0 :db=$((i % 3)) :first DEL a$i"
            echo "idem 1 :db=$((i % 2)) :first DEL b$i"
            echo "idem 0 :db=$((i % 3)) HSET a$i f v"
            echo "req 1 :db=$((i % 2)) RPUSH b$i 1"
            echo "req 1 :db=$((i % 2)) RPUSH b$i 2"
            echo "position 1 :last"
            echo "idem 0 :db=$((i % 3)) :last PEXPIREAT a$i 4000000000000"
        done
        printf '%s\n' 'synced 0 :pos=9' 'synced 1 :pos=9' end
    } | write
    assert_status 0
    [[ $(rcli -n 2 hlen a29) -eq 1 && $(rcli -n 1 lrange b29 0 -1) == $'1\n2' && $(rcli -n 0 lrange b30 0 -1) == $'1\n2' ]]
    [[ $(rcli -n 2 dbsize) -eq 10 && $(rcli -n 0 dbsize) -eq 26 ]]
}

@test "a request at which the server closes: it is named, the other keys are there" {
    start_fake --rule 'HSET bad=close' --rule 'RPUSH worse=close'
    {
        hash_of a f
        hash_of bad f
        hash_of b f
        list_of worse 1 2
        list_of c 1 2
    } | one_flow | write
    assert_status 3
    grep -q 'event=data_error command="HSET" key="bad" db=0 reply="ERR the connection is lost whenever this request is sent' <<<"$output" ||
        fail "$output"
    grep -q 'event=data_error command="RPUSH" key="worse" db=0 reply="ERR the connection is lost whenever this request is sent' <<<"$output" ||
        fail "$output"
    ! grep -q 'event=data_error.*key="[abc]"' <<<"$output" || fail "$output"
    [[ $(rcli hgetall a) == $'f\nv' && $(rcli hgetall b) == $'f\nv' && $(asked RPUSH c) -ge 2 ]] || fail "$output"
}

@test "the first request of a key is refused for good, and the server closes at one of another: nothing is forgotten" {
    start_fake --rule 'NOSUCH a=raw:-ERR unknown command\r\n' --rule 'HSET bad#2-=close'
    {
        printf '%s\n' 'idem 0 :first NOSUCH a' 'idem 0 HSET a f v' 'position 0 :last'
        hash_of bad f
        hash_of c f
    } | one_flow | write
    assert_status 3
    grep -q 'event=data_error command="NOSUCH" key="a"' <<<"$output" || fail "$output"
    grep -q 'event=data_error command="HSET" key="bad"' <<<"$output" || fail "$output"
    [[ $(rcli hgetall a) == $'f\nv' && $(rcli hgetall c) == $'f\nv' ]] || fail "$output"
}

@test "requests of a key that go one by one: one that is refused for a while goes before the next" {
    start_fake --rule 'HSET bad=close' --rule 'DEL bad#4=raw:-LOADING Redis is loading\r\n'
    printf '%s\n' 'idem 0 :first DEL bad' 'idem 0 HSET bad f v' 'idem 0 SADD bad m' 'position 0 :last' | one_flow | write
    assert_status 3
    grep -q 'event=data_error command="HSET" key="bad"' <<<"$output" || fail "$output"
    [[ $(asked DEL bad) -eq 5 && $(grep ' bad$' "$TMP/fake.log" | tail -1) == *' SADD bad' ]] || fail "$(<"$TMP/fake.log")"
}

@test "a cluster refuses what makes a key's requests repeatable: they are not repeated" {
    start_fake --cluster --rule 'DEL n=raw:-ERR not here\r\n' --rule 'EXEC#3=do'
    {
        heading 1 | sed 's/^target$/target cluster=1/'
        printf '%s\n' 'idem 0 :first :class=2 DEL n' 'req 0 :class=2 INCR n' 'req 0 :class=2 INCR n' 'position 0 :last' 'synced 0 :pos=9' end
    } | write
    assert_status 3
    grep -q 'event=data_error command="DEL" key="n"' <<<"$output" || fail "$output"
    [[ $(asked EXEC) -ge 3 && $(rcli get n) -eq 2 ]] || fail "$(rcli get n) $(<"$TMP/fake.log")"
}

@test "a complete key around one that is not: no live change passes its rest" {
    feed
    tell "$(heading 2)" "set 0 begun 1"
    wait_until 5 eval '[[ $(rcli get begun) == 1 ]]'
    kill -STOP "$REDIS_PID" # so that all of it is gathered, and sent in one go
    tell "idem 0 :first DEL l" "req 0 RPUSH l 1" "idem 1 :first DEL open" "idem 1 HSET open f v" "req 0 RPUSH l 2" \
        "position 0 :last" "live 0 RPUSH l 3"
    wait_until 5 stands_still
    kill -CONT "$REDIS_PID"
    wait_until 5 eval '[[ $(rcli llen l) -eq 3 ]]'
    [[ $(rcli lrange l 0 -1) == $'1\n2\n3' ]] || fail "$(rcli lrange l 0 -1)"
    tell "position 1 :last" "synced 0 :pos=3" "synced 1 :pos=3" end
    tell_end
    reap 10 "$WRITER"
    assert_status 0
}
