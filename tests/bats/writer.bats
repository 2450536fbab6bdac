#!/usr/bin/env bats
# rediswriter alone: order, exactness, lost connections, large requests, slow targets. The streams are made by mkrecords
# from text (mkrecords --help).

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
    read -r _ _ pos _ <<<"$(rcli hget 'df2redis:{default}' f0)"
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
    same_server_again --appendonly yes --key-load-delay 250 --loading-process-events-interval-bytes 1024
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

# ---- slow targets ----

@test "a target that stands still for two seconds: memory stays bounded, nothing is lost" {
    start_redis
    {
        heading 2
        awk 'BEGIN { for (i = 0; i < 30000; i++) { print "idem 0 SET k:" i, "@1000"; print "live 1 :pos=" i + 2, "RPUSH l:" i % 9, "@1000" } }'
        printf '%s\n' "synced 0 :pos=5" "synced 1 :pos=100000" end
    } | mkrecords >"$TMP/stream"
    # Not so fast that it is done before the target stands still.
    background rediswriter --max-bytes 20m "$(target)" "$TMP/stream" 2>"$TMP/err"
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
