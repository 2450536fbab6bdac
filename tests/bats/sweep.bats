#!/usr/bin/env bats
# --on-full-resync overwrite: what the target has and the source does not, in every way that records can name keys.
# The streams are written by hand: a session that was refused, so that its full sync goes over what is there.

# shellcheck disable=SC2016,SC2154 # text for eval, variables of bats
load helper
load writing
load stale

setup() { writing_setup; }
teardown() { writing_teardown; }

@test "a key that is new at the source is not changed from what the target had of that name" {
    start_redis
    stale | rcli >/dev/null
    with_news | overwrite
    assert_swept
    assert_all_new -p "$REDIS_PORT"
    [[ $(rcli hget 'df2redis:{default}' sweep) == "" && $(rcli exists 'df2redis:{default}') == 1 ]]
}

@test "the same over several connections" {
    start_redis
    for options in "--connections 3" --at-least-once; do
        rcli flushall >/dev/null
        stale | rcli >/dev/null
        # shellcheck disable=SC2086
        with_news | overwrite $options
        assert_swept
        assert_all_new -p "$REDIS_PORT"
    done
}

keys_of() { rcli -n "$1" keys '*' | grep -vc -e '^df2redis:' -e '^$' || true; } # database: how many, without positions

@test "every database has keys of its own" {
    for options in "" "--connections 2"; do
        start_redis
        for db in 0 3 5; do printf '%s\n' "RPUSH l old" "SET c1 old" "SET a1 old" "SET gone old" | rcli -n "$db" >/dev/null; done
        # shellcheck disable=SC2086
        anew 1 <<'EOF' | overwrite $options
set 0 a1 new
live 0 :db=3 RPUSH l new
set 0 :db=3 c1 new
live 0 APPEND a1 1
live 0 :db=3 APPEND a1 1
live 0 :db=3 APPEND c1 1
live 0 :db=2 SET other 1
EOF
        assert_swept
        [[ $(rcli get a1) == new1 && $(keys_of 0) == 1 ]] || fail "$(rcli keys '*')"
        [[ $(rcli -n 3 lrange l 0 -1 | xargs) == new && $(rcli -n 3 get a1) == 1 && $(rcli -n 3 get c1) == new1 ]]
        [[ $(keys_of 3) == 3 && $(keys_of 5) == 0 && $(rcli -n 2 get other) == 1 ]]
    done
}

@test "a word that is the name of a key of another flow does it no harm" {
    for options in "" "--connections 2"; do
        start_redis
        rcli mset before old after old >/dev/null
        # shellcheck disable=SC2086
        anew 2 <<'EOF' | overwrite $options
set 0 before value
live 1 :multikey MSET x before y after
set 0 after value
live 0 APPEND before 1
live 0 APPEND after 2
live 1 APPEND x 3
EOF
        assert_swept
        [[ $(rcli mget before after x y | xargs) == "value1 value2 before3 after" ]] || fail "$(rcli mget before after x y)"
    done
}

@test "a request with more keys than fit a record: none of them is taken for stale" {
    start_redis
    seq 3000 | sed 's/^/SET long:/; s/$/ old/' | rcli >/dev/null
    {
        printf 'live 0 :multikey MSETNX'
        seq 1500 | sed 's/.*/ long:& @600/' | tr -d '\n'
        echo
        printf 'live 0 :multikey :part=1000 MSETNX'
        seq 1501 2900 | sed 's/.*/ long:& v/' | tr -d '\n'
        echo
    } | anew 1 | overwrite
    assert_swept
    [[ $(rcli exists long:1 long:1500 long:1501 long:2900) == 4 && $(rcli dbsize) == 2901 ]] || fail "$(rcli dbsize)"
    [[ $(rcli strlen long:1500) == 600 && $(rcli get long:2900) == v ]]
}

@test "a session that begins anew during its full sync: what came before is swept with the rest" {
    start_redis
    rcli mset stale old a old b old >/dev/null
    {
        heading 2 refused=replid
        printf '%s\n' "set 0 a 1" "set 1 c 1" "epoch 2"
        heading 2
        printf '%s\n' "set 0 b 1" "live 1 APPEND c 2" "live 0 APPEND stale 3" "synced 0 :pos=10" "synced 1 :pos=10" end
    } | overwrite
    assert_swept
    [[ $(rcli mget a b c stale | xargs -d '\n') == " 1 2 3" && $(rcli dbsize) == 4 ]] || fail "$(rcli mget a b c stale)"
}

@test "a target that is lost while it is scanned, and comes back another process" {
    start_redis --appendonly yes --appendfsync always
    for i in $(seq 8000); do echo "SET stale:$i x"; done | rcli --pipe >/dev/null
    feed -v --on-full-resync overwrite
    tell "$(heading 1 refused=replid)" "live 0 RPUSH stale:1 a" "synced 0 :pos=10"
    wait_until 10 said event=sweep_begins
    kill -KILL "$REDIS_PID"
    wait_until 5 ended "$REDIS_PID"
    same_server_again --appendonly yes --appendfsync always
    tell "live 0 :pos=11 RPUSH stale:8000 a" end
    tell_end
    reap 30 "$WRITER"
    [[ $status -eq 0 ]] || fail "$(cat "$TMP/err")"
    [[ $(rcli dbsize) == 3 && $(rcli lrange stale:1 0 -1) == a && $(rcli lrange stale:8000 0 -1) == a ]] || fail "$(rcli dbsize)"
}

@test "a flush of database 0 by the source does not make it whole" {
    start_redis
    rcli set old 1 >/dev/null
    rcli -n 3 set old 1 >/dev/null
    feed -v --on-full-resync overwrite
    tell "$(heading 2 refused=replid)" "synced 0 :pos=10" "barrier 0 :pos=11 FLUSHDB" "barrier 1 FLUSHDB" "live 1 SET after 1"
    wait_until 10 eval '[[ $(rcli get after) == 1 ]]'
    [[ $(rcli exists old) == 0 && $(rcli hget 'df2redis:{default}' sweep) == 1 ]]
    tell "synced 1 :pos=10" end
    tell_end
    reap 20 "$WRITER"
    [[ $status -eq 0 ]] || fail "$(cat "$TMP/err")"
    [[ $(rcli -n 3 exists old) == 0 && $(rcli hget 'df2redis:{default}' sweep) == "" ]]
}

@test "a target that refuses to be scanned is not taken for swept" {
    start_redis
    rcli set stale old >/dev/null
    rcli acl setuser default -scan >/dev/null
    echo "set 0 a new" | anew 1 | overwrite
    assert_status 1
    assert_output_has "event=command_refused command=SCAN"
    rcli acl setuser default +scan >/dev/null
    feed --on-full-resync overwrite
    heading 1 refused=replid >&"$FEED"
    printf '%s\n' "set 0 a newer" "sleep 1" >&"$FEED"
    wait_until 10 eval '[[ $(rcli get a) == newer ]]'
    rcli acl setuser default -info >/dev/null
    printf '%s\n' "synced 0 :pos=2" end >&"$FEED"
    exec {FEED}>&-
    FEED=
    reap 20 "$WRITER"
    [[ $status -eq 1 ]] && said "event=command_refused command=INFO" || fail "status $status: $(cat "$TMP/err")"
    [[ $(rcli get stale) == old && $(rcli hget 'df2redis:{default}' sweep) == 1 ]]
}

@test "what a target knows of the session before is not lost when the next one cannot begin" {
    start_redis
    rcli hset 'df2redis:{default}' session "00000000000000000000000000000000 1 1 replid -" f0 "1 5 100" >/dev/null
    rcli acl setuser default -hset >/dev/null
    echo "set 0 a new" | anew 1 | overwrite
    assert_status 1
    [[ $(rcli hlen 'df2redis:{default}') == 2 ]] || fail "$(rcli hgetall 'df2redis:{default}')"
}
