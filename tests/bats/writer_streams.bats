#!/usr/bin/env bats
# rediswriter alone: what streams may hold, errors of requests, refusals, signals, the summary.

load helper
load writing

setup() { writing_setup; }

teardown() { writing_teardown; }

# ---- errors of requests ----

@test "data errors are named with command and key, the rest is applied once, status 3" {
    start_redis
    one_flow >"$TMP/text" <<END
set 0 str text
idem 0 SADD str a
live 0 :pos=2 INCR n
live 0 :pos=3 LPUSH str x
live 0 :pos=4 JSON.SET doc $ 1
live 0 :pos=5 INCR n
live 0 :pos=6 GETRANGE n
live 0 :pos=7 INCR n
live 0 :pos=8 LPUSH str y
END
    write --summary "$TMP/summary" <"$TMP/text"
    assert_status 3
    [[ $(rcli get n) == 3 && $(rcli get str) == text ]] || fail "n is $(rcli get n)"
    assert_output_has 'event=data_error command="LPUSH" key="str" db=0 reply="WRONGTYPE'
    assert_output_has 'error="SADD: WRONGTYPE" count=1 key1=str'
    assert_output_has 'error="LPUSH: WRONGTYPE" count=2 key1=str key2=str'
    assert_output_has 'error="JSON.SET: ERR unknown command" count=1 key1=doc'
    assert_output_has 'error="GETRANGE: ERR wrong number of arguments for" count=1 key1=n'
    [[ $(rcli hget 'df2redis:{default}' f0) == "1 10 1000000" ]] || fail "$(rcli hgetall 'df2redis:{default}')"
    grep -q '"errors": 5,' "$TMP/summary"
}

@test "--strict stops at the first error, and at the first thing that was not carried over" {
    start_redis
    feed --strict
    tell "$(heading 1)" "set 0 str text" "live 0 :pos=2 INCR n" "live 0 :pos=3 LPUSH str x"
    reap 5 "$WRITER"
    assert_status 3
    said 'event=strict'
    [[ $(rcli get n) == 1 ]]
    one_flow <<<$'set 0 a 1\nreport 0 kind=bloom key=b lost=1\nset 0 b 2' | write --strict
    assert_status 3
    [[ $(rcli exists b) -eq 0 ]]
    one_flow <<<$'set 0 a 1\nreport 0 kind=bloom key=b lost=1\nset 0 b 2' | write
    assert_status 3
    assert_output_has 'report="bloom" count=1 key1=b'
    [[ $(rcli get b) == 2 ]]
    one_flow <<<$'report 0 kind=hint%22%0ax key=b lost=0' | write
    assert_status 0
    assert_output_has 'report="hint??x" count=1 key1=b'
}

@test "rights that are missing end the writer with status 1, nothing is skipped" {
    start_redis
    rcli acl setuser mover on '>pw' '~*' +@all -incr -sadd
    local port=$REDIS_PORT
    printf '%s\n' "set 0 a 1" "live 0 :pos=2 APPEND b 1" "live 0 :pos=3 INCR n" "live 0 :pos=4 APPEND b 2" | one_flow | mkrecords >"$TMP/stream"
    run timeout 100 rediswriter "redis://mover:pw@127.0.0.1:$port" "$TMP/stream"
    assert_status 1
    assert_output_has NOPERM
    [[ $(rcli exists b n) -eq 0 ]]
    one_flow <<<"idem 0 SADD s a" | mkrecords >"$TMP/stream"
    run timeout 100 rediswriter "redis://mover:pw@127.0.0.1:$port" "$TMP/stream"
    assert_status 1
    assert_output_has NOPERM
}

@test "a database that the target does not have: errors with their keys, the rest goes on" {
    start_redis --databases 2
    one_flow <<<$'set 0 a 1\nset 0 :db=9 b 1\nlive 0 :db=9 INCR c\nset 0 :db=1 d 1\nbarrier 0 :key=0 :db=9 FLUSHDB\nlive 0 INCR e' | write
    assert_status 3
    assert_output_has 'error="SET: ERR the target has no such database" count=1 key1=b'
    [[ $(rcli mget a e | xargs) == "1 1" && $(rcli -n 1 get d) == 1 ]]
}

# ---- what is refused before anything is written ----

@test "a target that holds keys, position keys aside" {
    start_redis
    rcli hset 'df2redis:{other}' session x
    one_flow <<<"set 0 a 1" | write --on-existing refuse
    assert_status 0
    rcli flushall
    rcli -n 7 set there already
    one_flow <<<"set 0 a 1" | write --on-existing refuse
    assert_status 1
    assert_output_has '--on-existing'
    [[ $(rcli dbsize) -eq 0 ]]
}

@test "a session that ended before the target was announced is tried again; a recording is not" {
    start_redis
    local began
    for began in 0 3600; do
        printf '%s\n' "session control=$TMP/none started=$(($(date +%s) - began))" "target kind=dragonfly version=99.0.0" "flow 0" end |
            mkrecords >"$TMP/stream"
        cat "$TMP/stream" | run timeout 10 rediswriter "$(target)"
        assert_status $((began == 0 ? 75 : 2))
        run timeout 10 rediswriter "$(target)" "$TMP/stream"
        assert_status 2
        assert_output_has event=target_mismatch
    done
}

@test "a live session whose dfreader ends before it told dfparse of the target is tried again" {
    start_redis
    start_control
    local other="target kind=dragonfly version=99.0.0" peers when
    # It is there: a stream for another target is a mistake.
    feed
    tell "session control=$TMP/control" "$other"
    reap 10 "$WRITER"
    assert_status 2
    tell_end
    # It ends just before that is read, or just afterwards.
    for when in before after; do
        : >"$TMP/told"
        start_control
        feed -v
        tell "session control=$TMP/control"
        wait_until 10 grep -q '^target kind=' "$TMP/told"
        peers="$CONTROL $(pgrep -d ' ' -P "$CONTROL")"
        [[ $when == before ]] || tell "$other"
        # shellcheck disable=SC2086 # several
        kill $peers
        if [[ $when == before ]]; then
            wait_until 10 said event=control_gone
            tell "$other"
        fi
        reap 10 "$WRITER"
        assert_status 75
        said event=target_mismatch
        tell_end
        rm "$TMP/control"
    done
}

@test "a stream that is cut short: retryable where its session ended a moment ago, and not in a file" {
    start_redis
    local began
    for began in 0 3600; do
        printf '%s\n' "session control=$TMP/none started=$(($(date +%s) - began))" target "flow 0" "set 0 a 1" |
            mkrecords >"$TMP/stream"
        cat "$TMP/stream" | { run timeout 10 rediswriter "$(target)" || true; }
        assert_status $((began == 0 ? 75 : 4))
        assert_output_has event=input_cut_short
        run timeout 10 rediswriter "$(target)" "$TMP/stream"
        assert_status 4
    done
}

@test "streams that were made for another target: status 2, nothing is written" {
    start_redis
    local facts
    for facts in "kind=valkey version=8.0.0" "kind=redis version=7.4.0" "version=99.0.0" "kind=redis version=6.2.0 cluster=1" "kind="; do
        { echo session; echo "target $facts"; printf '%s\n' "flow 0" "set 0 a 1" "synced 0" end; } | write
        assert_status 2
        [[ $(rcli dbsize) -eq 0 ]]
    done
    { echo session; echo "target kind=redis version=7.0.0"; printf '%s\n' "flow 0" "set 0 a 1" "synced 0" end; } | write
    assert_status 0
}

# ---- two writers, signals ----

@test "two writers of one task: the first is ended by name, the second goes on" {
    start_redis
    feed
    tell "$(heading 1)" "synced 0 :pos=2" "live 0 :pos=3 INCR n"
    wait_until 5 eval '[[ $(rcli get n) == 1 ]]'
    one_flow <<<"live 0 INCR m" | write --takeover
    assert_status 0
    reap 5 "$WRITER"
    assert_status 1
    said -e event=task_taken_over -e 'another writer has taken over'
    # With names of their own they do not disturb each other.
    rcli flushall
    feed --task one
    tell "$(heading 1)" "synced 0 :pos=2" "live 0 :pos=3 INCR n"
    wait_until 5 eval '[[ $(rcli get n) == 1 ]]'
    one_flow <<<"live 0 INCR m" | write --task two
    assert_status 0
    tell "live 0 :pos=4 INCR n" end
    tell_end
    reap 5 "$WRITER"
    assert_status 0
    [[ $(rcli mget n m | xargs) == "2 1" ]]
}

@test "a signal once: on to the end record; twice: at once" {
    start_redis
    feed
    tell "$(heading 1)" "synced 0 :pos=2" "live 0 :pos=3 INCR n"
    wait_until 5 eval '[[ $(rcli get n) == 1 ]]'
    kill -INT "$WRITER"
    wait_until 5 said event=signal
    tell "live 0 :pos=4 INCR n" "end reason=stop"
    tell_end
    reap 5 "$WRITER"
    assert_status 0
    [[ $(rcli get n) == 2 ]]
    local signal
    for signal in INT TERM; do
        feed
        tell "$(heading 1)" "live 0 :pos=3 INCR n"
        wait_until 5 takes_signal "$(kill -l $signal)"
        kill -$signal "$WRITER"
        wait_until 5 said event=signal
        sleep 0.3 # sooner it would be the same signal
        kill -$signal "$WRITER"
        reap 2 "$WRITER"
        assert_status 5
    done
    # Within a file without a journal, with much in flight.
    feed
    tell "session journal=0" target "flow 0" "$(awk 'BEGIN { for (i = 0; i < 4000; i++) print "idem 0 SET k:" i, i }')"
    wait_until 5 eval '[[ $(rcli dbsize) -gt 1000 ]]'
    kill -STOP "$REDIS_PID"
    tell "$(awk 'BEGIN { for (i = 0; i < 4000; i++) print "idem 0 SET k:" i, i }')"
    wait_until 5 stands_still
    kill -INT "$WRITER"
    wait_until 5 said event=signal
    sleep 0.3
    kill -INT "$WRITER"
    reap 3 "$WRITER"
    kill -CONT "$REDIS_PID"
    assert_status 5
}

# ---- inputs ----

@test "inputs that never come are dead" {
    start_redis
    mkfifo "$TMP/fifo"
    run timeout 100 rediswriter --input-timeout 1 "$(target)" "$TMP/fifo"
    assert_status 75
    assert_output_has event=input_never_came
    dfreader "$REPO/tests/fixtures/snapshots/small-0000.dfs" >"$TMP/raw"
    background rediswriter --input-timeout 1 --listen "unix:$TMP/socket" --inputs 2 "$(target)" 2>"$TMP/err"
    WRITER=$!
    wait_until 5 test -S "$TMP/socket"
    background dfparse -o "unix:$TMP/socket" "$TMP/raw"
    reap 5 "$WRITER"
    assert_status 75
    said 'event=input_never_came.*number=1'
    [[ ! -e $TMP/socket ]]
    run timeout 100 rediswriter "$(target)" "$TMP/nosuchfile"
    assert_status 1
}

@test "a stream cut anywhere: status 4, and nothing that was not there" {
    start_redis
    one_flow <<END | mkrecords >"$TMP/whole"
set 0 a 1
live 0 :pos=2 RPUSH l 1
live 0 :pos=3 RPUSH l 2
live 0 :part=20 :pos=4 RPUSH l 333333333333333333333333
live 0 :pos=5 RPUSH l 4
END
    local size at
    size=$(stat -c %s "$TMP/whole")
    for ((at = 0; at < size; at += 1 + size / 40)); do
        rcli flushall >/dev/null
        head -c "$at" "$TMP/whole" >"$TMP/cut"
        run timeout 100 rediswriter -q "$(target)" "$TMP/cut"
        assert_status 4
        [[ "1 2 333333333333333333333333 4 " == "$(rcli lrange l 0 -1 | xargs)"* ]] || fail "at $at: $(rcli lrange l 0 -1)"
    done
    run timeout 100 rediswriter "$(target)" /dev/null
    assert_status 4
}

@test "records that cannot be: status 4, with the offset, and nothing behind them" {
    start_redis
    local text
    while IFS= read -r text; do
        { heading 1; printf '%b\n' "$text" "live 0 SET behind 1" "synced 0" end; } | write
        [[ $status -eq 4 ]] || fail "status $status for $text: $output"
        [[ $output == *offset=* ]] || fail "no offset for $text: $output"
        [[ $(rcli exists behind) -eq 0 ]] || fail "applied behind $text"
    done <<'END'
set 0 :seq=2 a 1
set 0 a 1\nset 0 :seq=1 a 2
live 0 :pos=9 INCR n\nposition 0 :pos=8
set 1 a 1
flow 0
flow 7
epoch 2\nset 0 a 1
live 0 MULTI
live 0 exec
idem 0 SELECT 3
idem 0 CLIENT REPLY OFF
live 0 :part=9 SUBSCRIBE x
barrier 0 :key=0 DISCARD
session flows=2
end reason=because
end reason=complete status=x
live 0 :plainset APPEND a 1
live 0 :more INCR n\nposition 0
bytes 00000000
bytes 0000000021000000
END
}

@test "a stream that ends complete before its full sync was: status 5" {
    start_redis
    { heading 2; printf '%s\n' "set 0 a 1" "synced 0 :pos=2" "set 1 b 1" end; } | write
    assert_status 5
    assert_output_has 'event=flow_not_synced flow=1'
    [[ $(rcli mget a b | xargs) == "1 1" ]]
    { heading 2; printf '%s\n' "synced 0 :pos=2" "end reason=stop status=5"; } | write
    assert_status 5
    { heading 1; printf '%s\n' "synced 0 :pos=2" "end reason=error status=1 message=x"; } | write
    assert_status 1
    { heading 1; printf '%s\n' "synced 0 :pos=2" "end reason=lost status=0"; } | write
    assert_status 75
    { heading 2; printf '%s\n' "synced 0 :pos=2" "synced 1 :pos=2"; } | sed '/^flow 1/d; / 1 /d' | { cat; echo end; } | write
    assert_status 4
    assert_output_has 'event=flow_missing flow=1'
}

@test "streams and sessions in a row" {
    start_redis
    # Flows of one session one after the other, then another session, then one that began anew.
    {
        printf '%s\n' "session flows=2" target "flow 0" "set 0 a 1" "synced 0 :pos=2" end
        printf '%s\n' stream "session flows=2" target "flow 1" "set 1 b 1" "synced 1 :pos=2" end
        printf '%s\n' stream "epoch 1" "session nonce=00000000000000000000000000000008" target "flow 0" "set 0 c 1" "synced 0 :pos=7" end
        printf '%s\n' stream "epoch 1" "session nonce=00000000000000000000000000000009" target "flow 0" "set 0 d 1" "live 0 INCR n"
        printf '%s\n' "epoch 2" "session nonce=00000000000000000000000000000009" target "flow 0" "set 0 e 1" "live 0 INCR n" "synced 0 :pos=9" end
    } | write
    assert_status 0
    [[ $(rcli hget 'df2redis:{default}' session) == "00000000000000000000000000000009 2 1 - -" ]]
    [[ $(rcli hget 'df2redis:{default}' f0) == "2 3 9" ]]
    # The target was empty: what the void epoch had written is gone.
    [[ $(rcli keys '?' | sort | xargs) == "e n" && $(rcli get n) == 1 ]] || fail "$(rcli keys '*')"
}

@test "a session without a single key still gets its policy" {
    start_redis
    rcli set there already
    one_flow </dev/null | write --on-existing flush
    assert_status 0
    [[ $(rcli exists there) -eq 0 ]]
    rcli set there already
    one_flow </dev/null | write --on-existing refuse
    assert_status 1
}

@test "1023 flows in one input, with a flush that all of them reach" {
    start_redis
    {
        heading 1023
        awk 'BEGIN {
            for (f = 0; f < 1023; f++) print "set", f, "a:" f, f
            for (f = 0; f < 1023; f++) { print "synced", f, ":pos=5"; print "live", f, ":pos=6 INCR n:" f }
            for (f = 0; f < 1023; f++) { print "barrier", f, ":pos=7 :key=0 FLUSHALL"; print "live", f, ":pos=8 INCR m:" f }
            for (f = 0; f < 1023; f++) print "position", f, ":pos=9"
            print "end"
        }'
    } | write --summary "$TMP/summary"
    assert_status 0
    [[ $(rcli dbsize) -eq 1024 && $(rcli hlen 'df2redis:{default}') -eq 1026 ]] || fail "$(rcli dbsize) $(rcli hlen 'df2redis:{default}')"
    [[ $(rcli hget 'df2redis:{default}' f1022) == "1 6 9 8" ]] || fail "$(rcli hget 'df2redis:{default}' f1022)"
    [[ $(grep -o '"pos": 9' "$TMP/summary" | wc -l) -eq 1023 ]]
}

# ---- the summary ----

@test "the summary: on standard error and as JSON, without latency where the session is not live" {
    start_redis
    one_flow <<<$'set 0 a 1\nset 0 b 1\nidem 0 :class=5 HSET h a 1\nlive 0 :pos=2 INCR n\nreport 0 kind=remark key=k lost=0' |
        write --summary "$TMP/summary"
    assert_status 0
    assert_output_has 'summary status=0 seconds='
    assert_output_has 'summary keys string=2 hash=1'
    assert_output_has 'summary flow=0 seq=5 pos=1000000 synced=1'
    [[ $output != *latency* ]] || fail "latency of a replay"
    local field
    for field in '"stage": "rediswriter"' '"status": 0' '"requests": 4' '"keys": 3' '"live": 1' '"exec_groups": 1' '"epoch": 1' \
        '"string": 2' '"hash": 1' '"errors_by_kind": \[\]' '{"kind": "remark", "count": 1, "keys": \["k"\]}' \
        '{"seq": 5, "pos": 1000000, "synced": true}'; do
        grep -q -e "$field" "$TMP/summary" || fail "no $field in $(cat "$TMP/summary")"
    done
    ! grep -q latency "$TMP/summary" || fail "latency of a replay"
    one_flow <<<"set 0 a 1" | write -q --summary /dev/full
    assert_status 1
    assert_output_has event=summary_not_written
    [[ $output != *'summary status'* ]]
}
