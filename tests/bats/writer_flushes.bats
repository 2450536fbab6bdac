#!/usr/bin/env bats
# rediswriter alone: flushes of the source, which all flows have to reach.

load helper
load writing

setup() { writing_setup; }

teardown() { writing_teardown; }

three_flows() { # flow: its part
    cat <<END
set $1 old:$1 1
synced $1 :pos=5
live $1 :pos=6 INCR n:$1
live $1 :pos=7 :db=2 INCR n:$1
barrier $1 :pos=8 :key=0 FLUSHALL
live $1 :pos=9 INCR n:$1
live $1 :pos=10 :db=2 INCR m:$1
barrier $1 :pos=11 :key=0 :txid=2 :db=2 FLUSHDB
live $1 :pos=12 :db=2 INCR z:$1
END
}

check_barriers() {
    [[ $(rcli --raw keys '*:?' | sort | xargs) == "n:0 n:1 n:2" && $(rcli -n 2 keys '*' | sort | xargs) == "z:0 z:1 z:2" ]] ||
        fail "$(rcli keys '*') $(rcli -n 2 keys '*')"
    [[ $(rcli mget n:0 n:1 n:2 | xargs) == "1 1 1" && $(rcli -n 2 mget z:0 z:1 z:2 | xargs) == "1 1 1" ]]
    [[ $(rcli hmget 'df2redis:{default}' f0 f1 f2 | xargs) == "1 9 12 1 9 12 1 9 12" ]] || fail "$(rcli hgetall 'df2redis:{default}')"
}

@test "flushes of the source meet on all flows: in one input, one flow far ahead" {
    start_redis
    { heading 3; three_flows 0; three_flows 1; three_flows 2; echo end; } | write
    assert_status 0
    check_barriers
}

@test "flushes of the source meet on all flows: each with its own input" {
    start_redis
    for f in 0 1 2; do
        { echo "session flows=3"; echo target; echo "flow $f"; three_flows $f; echo end; } | mkrecords >"$TMP/in.$f"
    done
    run timeout 100 rediswriter "$(target)" "$TMP/in.0" "$TMP/in.1" "$TMP/in.2"
    assert_status 0
    check_barriers
}

@test "flushes of the source, live, through one pipe and through several" {
    local options=(--generate --flows 3 --keys 900 --types string,list --journal-ops 3000 --journal-kind mixed
        --flush-at 300) mode
    start_redis
    standin "${options[@]}" --write-resp - --with-journal 2>/dev/null | rcli --pipe >/dev/null
    EXPECTED=$(target)
    start_redis
    for mode in --single -v; do
        rcli flushall
        start_master "${options[@]}"
        background df2redis "$mode" replicate "dragonfly://127.0.0.1:$MASTER_PORT" "$(target)" 2>"$TMP/err"
        local pid=$!
        wait_until 15 dfstate diff "$EXPECTED" "$(target)" || { cat "$TMP/err" >&2; fail "$mode: never equal"; }
        df2redis stop
        reap 10 "$pid"
        assert_status 0
        assert_same "$EXPECTED" "$(target)"
        kill "$MASTER_PID"
    done
}

@test "a flush that not every flow reaches: status 4, the flow is named, nothing behind it was applied" {
    start_redis
    { heading 2; three_flows 0; printf '%s\n' "synced 1 :pos=3" "live 1 :pos=4 INCR n:1" end; } | write
    assert_status 4
    assert_output_has 'event=barrier_incomplete flow=1'
    [[ $(rcli mget old:0 n:0 n:1 | xargs) == "1 1 1" && $(rcli hget 'df2redis:{default}' f0) == "1 4 7" ]]
}

@test "two flows wait at different flushes: status 4" {
    start_redis
    { heading 2; printf '%s\n' "synced 0 :pos=2" "synced 1 :pos=2" "barrier 0 :key=0 :txid=1 FLUSHALL" \
        "barrier 1 :key=0 :txid=2 FLUSHALL" end; } | write
    assert_status 4
    assert_output_has 'different flushes'
}

@test "records behind a flush have a bound on disk" {
    start_redis
    { heading 2; echo "barrier 0 :key=0 FLUSHALL"; for _ in 1 2 3; do echo "live 0 SET k @900000"; done
        echo "barrier 1 :key=0 FLUSHALL"; echo "synced 0 :pos=1"; echo "synced 1 :pos=1"; echo end; } >"$TMP/text"
    write --barrier-spill-max 1m <"$TMP/text"
    assert_status 75
    assert_output_has 'event=barrier_spill_full flow=0'
    write --barrier-spill-max 8m <"$TMP/text"
    assert_status 0
    [[ $(rcli strlen k) -eq 900000 ]]
}

@test "a flush before the cut in a file: status 4, and what --on-source-flush says otherwise" {
    start_redis
    printf '%s\n' "set 0 a 1" "barrier 0 :key=0 :precut FLUSHALL" "set 0 b 1" >"$TMP/text"
    one_flow <"$TMP/text" | write
    assert_status 4
    assert_output_has event=flush_before_cut
    [[ $(rcli exists b) -eq 0 ]]
    one_flow <"$TMP/text" | write --on-source-flush refuse
    assert_status 3
    one_flow <"$TMP/text" | write --on-source-flush ignore
    assert_status 0
    assert_output_has 'report="source_flush_ignored" count=1'
    [[ $(rcli mget a b | xargs) == "1 1" ]]
}

@test "a flush before the cut, live: the session begins anew, over keys that were there" {
    local options=(--generate --flows 2 --keys 600 --flush-before-cut --journal-ops 100)
    start_redis
    standin "${options[@]}" --write-resp - --with-journal 2>/dev/null | rcli --pipe >/dev/null
    EXPECTED=$(target)
    start_redis
    rcli set there already
    start_master "${options[@]}"
    background df2redis -v --single --on-existing overwrite replicate "dragonfly://127.0.0.1:$MASTER_PORT" "$(target)" 2>"$TMP/err"
    local pid=$!
    wait_until 15 dfstate diff "$EXPECTED" "$(target)" || { cat "$TMP/err" >&2; fail "never equal"; }
    said 'event=source_flushed'
    df2redis stop
    reap 10 "$pid"
    assert_status 0
    [[ $(rcli hget 'df2redis:{default}' session) == *" 2 2 "* ]]
}

@test "--on-source-flush refuse ends with status 3 before the flush, ignore goes on" {
    start_redis
    printf '%s\n' "set 0 a 1" "live 0 INCR n" "barrier 0 :key=0 FLUSHALL" "live 0 INCR m" >"$TMP/text"
    one_flow <"$TMP/text" | write --on-source-flush refuse
    assert_status 3
    assert_output_has event=source_flushed
    [[ $(rcli mget a n m | xargs) == "1 1" ]]
    one_flow <"$TMP/text" | write --on-existing flush --on-source-flush ignore
    assert_status 0
    [[ $(rcli mget a n m | xargs) == "1 1 1" ]]
}
