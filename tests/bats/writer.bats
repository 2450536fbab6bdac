#!/usr/bin/env bats
# rediswriter alone: order, exactness, refusals, lost connections, barriers, odd streams. The streams are made by
# mkrecords from text (mkrecords --help).

load helper
load writing

setup() { writing_setup; }

teardown() { writing_teardown; }

# ---- order per key ----

@test "order per key while the target is out of memory: transactions and pipelined requests" {
    start_redis
    feed
    tell "$(heading 2)" "set 0 begun 1"
    wait_until 5 eval '[[ $(rcli get begun) == 1 ]]'
    rcli config set maxmemory 1
    journal 3000 >"$TMP/commands"
    # Refused and not refused ones of the same keys, in the free path: SADD needs memory, SREM does not.
    awk 'BEGIN { for (i = 1; i <= 300; i++) { k = i % 4; print (i % 3 ? "SADD" : "SREM"), "s:" k, "m" i % 6 } }' >"$TMP/sets"
    awk 'BEGIN { for (i = 1; i <= 300; i++) print "SET", "p:" i % 90, i }' >"$TMP/plain"
    tell "$(as_live 1 <"$TMP/commands")" "$(sed 's/^/idem 0 /' "$TMP/sets")" "$(sed 's/^SET/set 0/' "$TMP/plain")"
    wait_until 5 said event=target_refuses
    sleep 0.3
    [[ $(rcli exists n:1 q:1 s:1 p:1) -eq 0 ]]
    rcli config set maxmemory 0
    tell "synced 0 :pos=2" "synced 1 :pos=9000" end
    tell_end
    reap 10 "$WRITER"
    assert_status 0
    echo SET begun 1 | cat - "$TMP/commands" "$TMP/sets" "$TMP/plain" >"$TMP/all"
    expect "$TMP/all"
    assert_same "$EXPECTED" "$(target)"
    [[ $(rcli hget 'df2redis:{default}' f1) == "1 3001 9000" ]] || fail "$(rcli hgetall 'df2redis:{default}')"
}

@test "what is refused while the database changes is sent again into its own database" {
    start_redis
    feed
    tell "$(heading 1)" "set 0 begun 1"
    wait_until 5 eval '[[ $(rcli get begun) == 1 ]]'
    rcli config set maxmemory 1
    tell "set 0 a 1" "idem 0 SADD s 1" "set 0 :db=2 a 2" "idem 0 :db=2 SADD s 2" "set 0 :db=3 a 3" "set 0 b 1" "synced 0 :pos=2" \
        "live 0 :db=3 SADD s 3"
    wait_until 5 said event=target_refuses
    sleep 0.2
    rcli config set maxmemory 0
    tell end
    tell_end
    reap 5 "$WRITER"
    assert_status 0
    local db
    for db in 0:1 2:2 3:3; do
        [[ $(rcli -n ${db%:*} get a) == "${db#*:}" && $(rcli -n ${db%:*} smembers s) == "${db#*:}" ]] ||
            fail "database ${db%:*}: $(rcli -n ${db%:*} get a), $(rcli -n ${db%:*} smembers s | xargs)"
    done
    [[ $(rcli get b) == 1 ]]
}

@test "plain SETs are gathered; a key twice, another database, a live record and silence send them off" {
    start_redis
    feed -v --summary "$TMP/summary"
    tell "$(heading 1)" "set 0 a 1" "set 0 b 1" "set 0 a 2" "set 0 :db=3 a 3" "set 0 :db=3 b 3" "set 0 b 2" "set 0 c 1" \
        "live 0 APPEND c 2" "live 0 :db=3 APPEND a 4"
    # Nothing more comes, and all of it is there.
    wait_until 3 eval '[[ $(rcli -n 3 get a) == 34 ]]'
    [[ $(rcli mget a b c | xargs) == "2 2 12" && $(rcli -n 3 get b) == 3 ]]
    tell "set 0 lonely 1"
    wait_until 3 eval '[[ $(rcli get lonely) == 1 ]]'
    tell "$(awk 'BEGIN { for (i = 0; i < 1000; i++) print "set 0 g:" i, i }')" "live 0 :multikey RENAME g:7 h:7" \
        "synced 0 :pos=5" end
    tell_end
    reap 5 "$WRITER"
    assert_status 0
    [[ $(rcli get h:7) == 7 && $(rcli exists g:7) -eq 0 && $(rcli dbsize) -eq 1005 ]] || fail "$(rcli dbsize)"
    [[ $(sed -n 's/.*"mset_groups": \([0-9]*\).*/\1/p' "$TMP/summary") -ge 15 ]] || fail "$(cat "$TMP/summary")"
    grep -q '"keys": 1008,' "$TMP/summary" || fail "$(cat "$TMP/summary")"
}

# ---- exactly once ----

# A journal in six parts, in the midst of each of which something is done to the target.
disturbed_journal() { # command…
    local part
    journal 6000 >"$TMP/commands"
    as_live 0 <"$TMP/commands" >"$TMP/records.text"
    feed
    tell "$(heading 1)" "set 0 begun 1" "synced 0 :pos=1"
    for part in 0 1 2 3 4 5; do
        sed -n "$((part * 1000 + 1)),$((part * 1000 + 1000))p" "$TMP/records.text" |
            awk 'NR % 60 == 0 { print "sleep 12" } { print }' >&"$FEED"
        wait_until 5 applied $((part * 1000 + 300))
        "$@"
        wait_until 10 connected_again $((part + 1)) || { cat "$TMP/err" >&2; return 1; }
    done
    tell end
    tell_end
    reap 20 "$WRITER"
    assert_status 0
    echo SET begun 1 | cat - "$TMP/commands" >"$TMP/all"
    expect "$TMP/all"
    assert_same "$EXPECTED" "$(target)"
    [[ $(rcli hget 'df2redis:{default}' f0) == "1 6002 6001" ]] || fail "$(rcli hgetall 'df2redis:{default}')"
}

applied() { # position
    local pos
    read -r _ _ pos <<<"$(rcli hget 'df2redis:{default}' f0)"
    [[ $pos -ge $1 ]]
}

connected_again() { [[ $(grep -c 'event=target_connected_again' "$TMP/err") -ge $1 ]]; }

kill_connections() { rcli client kill type normal >/dev/null; }

kill_server() {
    kill -KILL "$REDIS_PID"
    wait "$REDIS_PID" 2>/dev/null || true
    same_server_again --appendonly yes --appendfsync always
}

@test "connections killed in the middle of a journal: nothing lost, nothing doubled" {
    start_redis
    disturbed_journal kill_connections
}

@test "the server killed with -9 in the middle of a journal, with its log: nothing lost, nothing doubled" {
    start_redis --appendonly yes --appendfsync always
    disturbed_journal kill_server
}

@test "connections killed under a live pipeline: exact, and acknowledged is what was applied" {
    local options=(--generate --flows 2 --keys 500 --types string,hash,list --journal-ops 6000 --journal-rate 3000
        --journal-kind mixed --fullsync-journal 20)
    start_redis
    local port=$REDIS_PORT
    start_redis
    standin "${options[@]}" --write-resp - --with-journal 2>/dev/null | redis-cli -p "$REDIS_PORT" --pipe >/dev/null
    EXPECTED=$(target)
    REDIS_PORT=$port
    start_master "${options[@]}"
    background df2redis --single replicate "dragonfly://127.0.0.1:$MASTER_PORT" "$(target)" 2>"$TMP/err"
    local pid=$!
    wait_until 10 eval '[[ $(rcli dbsize) -gt 400 ]]'
    for _ in 1 2 3 4 5 6 7 8; do
        sleep 0.15
        kill_connections
    done
    wait_until 15 dfstate diff "$EXPECTED" "$(target)"
    sleep 0.3
    assert_same "$EXPECTED" "$(target)"
    df2redis stop
    reap 10 "$pid"
    assert_status 0
    kill "$MASTER_PID"
    wait_until 5 grep -q '^illegal=0' "$MASTER_OUT"
    local flow
    for flow in 0 1; do
        local acked applied saved
        acked=$(sed -n "s/^final ack flow=$flow lsn=//p" "$MASTER_OUT")
        applied=$(sed -n "s/.*summary flow=$flow .* pos=\([0-9]*\) .*/\1/p" "$TMP/err")
        saved=$(rcli hget 'df2redis:{default}' "f$flow" | cut -d' ' -f3)
        [[ -n $acked && $acked -gt 2000 && $acked == "$applied" && $acked == "$saved" ]] ||
            fail "flow $flow: acknowledged $acked, applied $applied, saved $saved"
    done
}

@test "a target that comes back without its data: status 75" {
    start_redis
    feed
    tell "$(heading 1)" "set 0 a 1" "synced 0 :pos=2" "live 0 :pos=3 INCR n"
    wait_until 5 eval '[[ $(rcli get n) == 1 ]]'
    kill -KILL "$REDIS_PID"
    wait "$REDIS_PID" 2>/dev/null || true
    same_server_again
    tell "live 0 :pos=4 INCR n"
    reap 10 "$WRITER"
    assert_status 75
    said 'event=target_has_lost_data.*position key is missing'
    [[ $(rcli exists n) -eq 0 ]]
    # The same where only some of it is gone: an older state of the key.
    feed
    tell "$(heading 1)" "synced 0 :pos=2" "live 0 :pos=3 INCR n"
    wait_until 5 eval '[[ $(rcli get n) == 1 ]]'
    rcli hset 'df2redis:{default}' f0 "1 1 2"
    kill_connections
    reap 10 "$WRITER"
    assert_status 75
    said 'event=target_has_lost_data.*behind what was confirmed'
}

@test "a server started anew during the full sync: status 75, even with its log" {
    start_redis --appendonly yes --appendfsync always
    feed
    tell "$(heading 1)" "set 0 a 1"
    wait_until 5 eval '[[ $(rcli get a) == 1 ]]'
    kill_server
    reap 10 "$WRITER"
    assert_status 75
    said 'event=target_has_lost_data.*during the full sync'
}

@test "a target that is gone for good: status 75 after --reconnect-timeout, others see it at once" {
    start_redis
    feed --reconnect-timeout 1
    tell "$(heading 1)" "set 0 a 1"
    wait_until 5 eval '[[ $(rcli get a) == 1 ]]'
    kill -KILL "$REDIS_PID"
    reap 4 "$WRITER"
    assert_status 75
    said event=target_lost
}

@test "lost connections long apart with nothing to do between them do not add up" {
    start_redis
    feed -v --reconnect-timeout 2
    tell "$(heading 1)" "set 0 a 1" "synced 0 :pos=2"
    wait_until 5 eval '[[ $(rcli hget "df2redis:{default}" f0) == "1 2 2" ]]'
    kill_connections
    wait_until 5 said event=target_connected_again
    sleep 2.5
    kill_connections
    wait_until 5 eval '[[ $(grep -c event=target_connected_again "$TMP/err") -eq 2 ]]'
    tell end
    tell_end
    reap 5 "$WRITER"
    assert_status 0
}

@test "a target that is loading is waited for, longer than a lost one is looked for" {
    start_redis --appendonly yes
    rcli eval 'for i = 1, 20000 do redis.call("SET", "k" .. i, "v") end' 0
    feed --reconnect-timeout 2
    tell "$(heading 1)" "synced 0 :pos=2" "live 0 :pos=3 INCR n"
    wait_until 5 eval '[[ $(rcli get n) == 1 ]]'
    kill -KILL "$REDIS_PID"
    wait "$REDIS_PID" 2>/dev/null || true
    same_server_again --appendonly yes --key-load-delay 150 --loading-process-events-interval-bytes 1024
    tell "live 0 :pos=4 INCR n"
    local began=$SECONDS
    wait_until 15 eval '[[ $(rcli get n) == 2 ]]' || { cat "$TMP/err" >&2; return 1; }
    [[ $((SECONDS - began)) -ge 3 ]] || fail "it loaded too quickly for this test"
    said 'event=target_not_ready.*LOADING'
    tell end
    tell_end
    reap 5 "$WRITER"
    assert_status 0
}

# ---- barriers ----

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
    run timeout 60 rediswriter "$(target)" "$TMP/in.0" "$TMP/in.1" "$TMP/in.2"
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

# ---- large requests ----

@test "elements and strings above 1 MiB, from the snapshot and from the journal, in their order" {
    start_redis
    { heading 2
        printf '%s\n' "set 0 a 1" "idem 0 :class=2 :first DEL l" "req 0 RPUSH l small" "req 0 RPUSH l @3000000" "req 0 :last RPUSH l end" \
            "idem 0 :class=1 SET s @2500000" "set 0 s short" "live 1 RPUSH j @1500000" "live 1 RPUSH j @10 @1200000" \
            "live 1 :part=7 RPUSH j tiny" "live 1 :db=5 RPUSH j @1100000" "live 1 RPOP j" "synced 0 :pos=2" "synced 1 :pos=3" end
    } | write --summary "$TMP/summary"
    assert_status 0
    [[ $(rcli llen l) -eq 3 && $(rcli lindex l 0) == small && $(rcli lindex l 1 | wc -c) -eq 3000001 && $(rcli lindex l 2) == end ]]
    [[ $(rcli get s) == short && $(rcli llen j) -eq 3 && $(rcli lindex j 2 | wc -c) -eq 1200001 && $(rcli -n 5 llen j) -eq 1 ]]
    grep -q '"big_requests": 6,' "$TMP/summary" || fail "$(cat "$TMP/summary")"
    grep -q '"string": 3, "list": 1,' "$TMP/summary" || fail "$(cat "$TMP/summary")"
}

@test "arguments above the target's proto-max-bulk-len: a data error with its key, nothing of it is sent" {
    start_redis
    rcli config set proto-max-bulk-len 1mb
    one_flow <<END | write
idem 0 SET toobig @1048577
idem 0 SET fits @1048576
live 0 RPUSH toobig2 a @1500000
live 0 RPUSH after a
END
    assert_status 3
    assert_output_has 'proto-max-bulk-len" count=1 key1=toobig'
    assert_output_has 'RPUSH: ERR argument above proto-max-bulk-len" count=1 key1=toobig2'
    [[ $(rcli exists toobig toobig2) -eq 0 && $(rcli strlen fits) -eq 1048576 && $(rcli llen after) -eq 1 ]]
}

@test "large requests of many flows at once take little memory" {
    start_redis
    feed
    tell "$(heading 64)" "$(for ((f = 0; f < 64; f++)); do echo "live $f :part=900000 :only=1 SET k @1800000"; done)"
    wait_until 5 stands_still
    local peak
    peak=$(peak_memory "$WRITER")
    tell_end
    reap 10 "$WRITER"
    assert_status 4
    [[ $peak -lt 16000 ]] || fail "$peak kB"
}

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
    run timeout 60 rediswriter "redis://mover:pw@127.0.0.1:$port" "$TMP/stream"
    assert_status 1
    assert_output_has NOPERM
    [[ $(rcli exists b n) -eq 0 ]]
    one_flow <<<"idem 0 SADD s a" | mkrecords >"$TMP/stream"
    run timeout 60 rediswriter "redis://mover:pw@127.0.0.1:$port" "$TMP/stream"
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
    one_flow <<<"live 0 INCR m" | write
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
    kill -INT "$WRITER"
    reap 3 "$WRITER"
    kill -CONT "$REDIS_PID"
    assert_status 5
}

# ---- inputs ----

@test "inputs that never come are dead" {
    start_redis
    mkfifo "$TMP/fifo"
    run timeout 60 rediswriter --input-timeout 1 "$(target)" "$TMP/fifo"
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
    run timeout 60 rediswriter "$(target)" "$TMP/nosuchfile"
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
        run timeout 60 rediswriter -q "$(target)" "$TMP/cut"
        assert_status 4
        [[ "1 2 333333333333333333333333 4 " == "$(rcli lrange l 0 -1 | xargs)"* ]] || fail "at $at: $(rcli lrange l 0 -1)"
    done
    run timeout 60 rediswriter "$(target)" /dev/null
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
    [[ $(rcli dbsize) -eq 1024 && $(rcli hlen 'df2redis:{default}') -eq 1025 ]] || fail "$(rcli dbsize)"
    [[ $(rcli hget 'df2redis:{default}' f1022) == "1 6 9" ]] || fail "$(rcli hget 'df2redis:{default}' f1022)"
    [[ $(grep -o '"pos": 9' "$TMP/summary" | wc -l) -eq 1023 ]]
}

# ---- a slow target, the summary ----

@test "a target that stands still for two seconds: memory stays bounded, nothing is lost" {
    start_redis
    {
        heading 2
        awk 'BEGIN { for (i = 0; i < 30000; i++) { print "idem 0 SET k:" i, "@1000"; print "live 1 :pos=" i + 2, "RPUSH l:" i % 9, "@1000" } }'
        printf '%s\n' "synced 0 :pos=5" "synced 1 :pos=100000" end
    } | mkrecords >"$TMP/stream"
    background rediswriter "$(target)" "$TMP/stream" 2>"$TMP/err"
    WRITER=$!
    wait_until 5 eval '[[ $(rcli dbsize) -gt 100 ]]'
    kill -STOP "$REDIS_PID"
    sleep 2
    local peak
    peak=$(peak_memory "$WRITER")
    kill -CONT "$REDIS_PID"
    reap 15 "$WRITER"
    assert_status 0
    [[ $peak -lt 16000 ]] || fail "$peak kB"
    [[ $(rcli dbsize) -eq 30010 && $(rcli llen l:3) -eq 3333 ]] || fail "$(rcli dbsize) $(rcli llen l:3)"
}

@test "a transaction that is sent again is not crowded out by the snapshot of another flow" {
    start_redis
    feed
    tell "$(heading 2)" "set 1 begun 1"
    wait_until 5 eval '[[ $(rcli get begun) == 1 ]]'
    # The window is full before the transaction is refused, and stays so: the others are slow.
    kill -STOP "$REDIS_PID"
    awk 'BEGIN {
        print "live 0 JSON.SET doc"
        for (i = 0; i < 500; i++) print "live 0 RPUSH marker @2000"
        print "live 0 :key=3 EVAL redis.call(\047SET\047,KEYS[1],redis.call(\047DBSIZE\047)) 1 place"
        for (i = 0; i < 6000; i++)
            print "idem 1 :key=3 EVAL for%20i=1,10000%20do%20end%20redis.call(\047SET\047,KEYS[1],1) 1 k:" i, "@4000"
        print "synced 0 :pos=5"; print "synced 1 :pos=5"; print "end"
    }' >&"$FEED" &
    PIDS+=($!)
    tell_end
    wait_until 5 stands_still
    kill -CONT "$REDIS_PID"
    reap 25 "$WRITER"
    assert_status 3
    [[ $(rcli get place) -lt 4500 ]] || fail "it came after $(rcli get place) others"
    [[ $(rcli llen marker) -eq 500 ]]
}

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
