#!/usr/bin/env bats
# A Dragonfly as the target, played by fakeredis: a transaction there neither changes the database nor flushes. What
# that leaves of the position key, and how positions in a file go around it.

load helper
load writing
load faking

setup() {
    writing_setup
    start_fake --dragonfly
}

teardown() { writing_teardown; }

value() { redis-cli -p "$REDIS_PORT" -n "$1" get "$2"; } # database key

positions() { for i in {0..15}; do redis-cli -p "$REDIS_PORT" -n "$i" scan 0; done | grep -c '^df2redis' || true; }

# Nothing that a transaction cannot do was tried in one: SELECT and flushes between MULTI and EXEC.
transactions_are_plain() {
    awk '{ if ($3 == "MULTI") in_multi[$2] = 1
           if ($3 == "EXEC") in_multi[$2] = 0
           if (in_multi[$2] && ($3 == "SELECT" || $3 ~ /^FLUSH/)) { print; found = 1 } }
         END { exit found }' "$TMP/fake.log" || fail "$(cat "$TMP/fake.log")"
}

# Changes of three databases that take turns, each of which counts.
changes() {
    local i
    for i in $(seq 1 30); do
        echo "live 0 :db=$((i % 3)) :pos=$((i + 1)) INCR n"
        echo "live 0 :db=$((i % 3)) :pos=$((i + 1)) SET last $i"
    done
}

@test "database 0: changes go with the position key, without SELECT within a transaction" {
    { printf 'set 0 k v\n'; changes | grep db=0; } | one_flow | write
    assert_status 0
    [[ $(value 0 n) == 10 && $(value 0 last) == 30 ]]
    transactions_are_plain
    echo 'live 0 :pos=2 SET large @1500000' | one_flow | write
    assert_status 0
    [[ $(value 0 large | wc -c) -eq 1500001 ]]
    echo 'live 0 :db=1 :pos=2 SET large @1500000' | one_flow | write
    assert_status 1
    assert_output_has event=database_out_of_reach
    [[ $(value 1 large) == "" ]]
    transactions_are_plain
}

@test "a change of another database is refused before anything of it is written" {
    {
        echo 'set 0 k v'
        echo 'live 0 :pos=2 INCR n'
        echo 'live 0 :pos=3 :db=2 INCR n'
        echo 'live 0 :pos=4 INCR n'
    } | one_flow | write
    assert_status 1
    assert_output_has 'event=database_out_of_reach flow=0 db=2'
    assert_output_has "--position-file"
    [[ $(value 0 n) -le 1 && $(value 2 n) == "" ]]
    transactions_are_plain
}

@test "so is a key of another database, if changes are to follow: not after hours, but at once" {
    { echo 'set 0 k v'; echo 'set 0 :db=1 k v'; } | one_flow | write
    assert_status 1
    assert_output_has 'event=database_out_of_reach flow=0 db=1'
    [[ $(value 1 k) == "" ]]
}

@test "without a journal keys of every database are written" {
    {
        echo 'session flows=1 journal=0 source=file'
        echo target
        echo 'flow 0 mode=FILE'
        echo 'set 0 k 0'
        echo 'set 0 :db=1 k 1'
        echo 'idem 0 :db=2 HSET h f v'
        echo 'set 0 k2 0'
        echo 'idem 0 :db=3 SET large @1500000'
        echo synced 0
        echo end
    } | write
    assert_status 0
    [[ $(value 0 k) == 0 && $(value 1 k) == 1 && $(value 0 k2) == 0 ]]
    [[ $(redis-cli -p "$REDIS_PORT" -n 2 hget h f) == v ]]
    [[ $(redis-cli -p "$REDIS_PORT" -n 3 get large | wc -c) -eq 1500001 ]]
    [[ $(positions) -eq 0 ]] # where it was written it is removed
    transactions_are_plain
}

@test "a flush of the source is refused, as it would not be one" {
    { echo 'set 0 k v'; echo 'barrier 0 :pos=2 FLUSHALL'; } | one_flow | write
    assert_status 1
    assert_output_has 'event=flush_out_of_reach'
    [[ $(value 0 k) == v ]]
}

@test "with positions in a file changes of every database are written, each once" {
    { printf 'set 0 k v\nset 0 :db=1 k v\n'; changes; } | one_flow | write --position-file "$TMP/positions"
    assert_status 0
    local db
    for db in 0 1 2; do [[ $(value $db n) == 10 ]] || fail "db $db: $(value $db n)"; done
    [[ $(value 0 last) == 30 && $(value 1 last) == 28 && $(value 2 last) == 29 ]]
    transactions_are_plain
}

@test "with positions in a file: a large request to another database, and one of several keys, between others" {
    {
        echo 'live 0 :db=1 :pos=2 INCR n'
        echo 'live 0 :db=2 :pos=3 SET large @1500000'
        echo 'live 0 :db=1 :pos=4 :multikey MSET a 1 b 2'
        echo 'live 0 :db=1 :pos=5 INCR n'
    } | one_flow | write --position-file "$TMP/positions"
    assert_status 0
    [[ $(value 1 n) == 2 && $(value 1 a) == 1 && $(value 1 b) == 2 && $(value 0 large) == "" ]]
    [[ $(value 2 large | wc -c) -eq 1500001 ]]
    transactions_are_plain
}

@test "with positions in a file flushes are carried out, of one database as well" {
    {
        echo 'set 0 k v'
        echo 'live 0 :pos=2 :db=1 INCR n'
        echo 'live 0 :pos=3 INCR n'
        echo 'barrier 0 :pos=4 :db=1 FLUSHDB'
        echo 'live 0 :pos=5 :db=1 INCR n'
        echo 'live 0 :pos=6 INCR n'
    } | one_flow | write --position-file "$TMP/positions"
    assert_status 0
    [[ $(value 0 n) == 2 && $(value 1 n) == 1 && $(value 0 k) == v ]]
    { echo 'set 0 k v'; echo 'live 0 :pos=2 :db=1 INCR n'; echo 'barrier 0 :pos=3 FLUSHALL'; echo 'live 0 :pos=4 INCR n'; } |
        one_flow | write --position-file "$TMP/positions"
    assert_status 0
    [[ $(value 0 n) == 1 && $(value 1 n) == "" && $(value 0 k) == "" ]]
    transactions_are_plain
}

@test "with positions in a file: whatever connection is lost within a transaction, each change is done once" {
    local nth
    for nth in 1 2 3 4; do
        stop_fake
        start_fake --dragonfly --rule "EXEC#$((nth + 1))=do"
        { printf 'set 0 k v\n'; changes; } | one_flow | write --position-file "$TMP/positions"
        assert_status 0
        for db in 0 1 2; do [[ $(value $db n) == 10 ]] || fail "EXEC $nth, db $db: $(value $db n)"; done
        transactions_are_plain
    done
}

@test "killed and started anew with its file: what it had done in any database is not done again" {
    local nonce=0
    start_control
    run_on() { # records…: from position 1, or where the file says
        nonce=$((nonce + 1))
        feed -v --position-file "$TMP/positions"
        tell "session flows=1 nonce=$(printf '%032d' $nonce) replid=r resume=1 control=$TMP/control" target "$1"
    }
    run_on "flow 0"
    tell "synced 0 :pos=1"
    wait_until 5 grep -qx f0=1 "$TMP/positions"
    cp "$TMP/positions" "$TMP/before"
    local -a writes=("live 0 :pos=2 INCR n" "live 0 :db=1 :pos=3 INCR n" "live 0 :db=2 :pos=4 INCR n" "live 0 :pos=5 INCR n")
    tell "${writes[@]}"
    wait_until 5 eval '[[ $(value 0 n) == 2 && $(value 1 n) == 1 && $(value 2 n) == 1 ]]'
    kill -KILL "$WRITER"
    reap 5 "$WRITER"
    tell_end
    cp "$TMP/before" "$TMP/positions"
    run_on "flow 0 mode=PARTIAL lsn=1"
    tell "${writes[@]}" "live 0 :db=1 :pos=6 INCR n" end
    tell_end
    reap 10 "$WRITER"
    assert_status 0
    [[ $(value 0 n) == 2 && $(value 1 n) == 2 && $(value 2 n) == 1 ]] || fail "$(value 0 n) $(value 1 n) $(value 2 n)"
    never said event=position_key_confines
    [[ $(positions) -gt 0 ]]
    run rediswriter --forget --position-file "$TMP/positions" "$(target)"
    assert_status 0
    [[ $(positions) -eq 0 && ! -e $TMP/positions && $(value 1 n) == 2 ]]
    transactions_are_plain
}

@test "a live session without a file says at its start what it cannot write" {
    start_control
    feed
    tell "session flows=1 replid=r resume=1 control=$TMP/control" target "flow 0" "live 0 :pos=2 INCR n"
    wait_until 5 eval '[[ $(value 0 n) == 1 ]]'
    said event=position_key_confines || fail "$(cat "$TMP/err")"
    tell "synced 0 :pos=2" end
    tell_end
    reap 10 "$WRITER"
    assert_status 0
}

@test "--at-least-once: every database, and flushes" {
    {
        printf 'set 0 k v\nset 0 :db=1 k v\n'
        changes
        echo 'barrier 0 :pos=40 :db=1 FLUSHDB'
    } | one_flow | write --at-least-once
    assert_status 0
    [[ $(value 0 n) == 10 && $(value 1 n) == "" && $(value 1 k) == "" && $(value 2 n) == 10 && $(value 0 k) == v ]]
}
