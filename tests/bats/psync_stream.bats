#!/usr/bin/env bats
# The command stream of a Redis or Valkey, offline: what a master sends does at the target what it did at the master.

load helper

# A snapshot without keys, as a master of 7.0 sends it; the position behind it is offset 0, database 0.
RDB="524544495330303130 ff0000000000000000"
REPLID=0123456789abcdef0123456789abcdef01234567

setup() {
    common_setup
    start_redis
    TARGET=$REDIS_PORT
    start_redis
    REFERENCE=$REDIS_PORT
}

teardown() { common_teardown; }

# The lines of standard input as the stream behind the snapshot.
stream() { # [further lines of the raw stream's text…]
    echo session source=redis version=redis:7.0.15
    echo "flow 0 mode=FULL replid=$REPLID lsn=256"
    echo "data 0 $RDB"
    sed 's/^/command 0 /'
    printf '%s\n' "$@"
}

# That text, by way of a parser with these options, to the target.
to_target() { # [dfparse option…]
    mkrecords --raw | dfparse -t 7.0 --report "$TMP/report" "$@" 2>"$TMP/parse.err" |
        rediswriter --on-existing overwrite "redis://127.0.0.1:$TARGET" 2>"$TMP/writer.err" &&
        echo "${PIPESTATUS[*]}" >"$TMP/statuses" || echo "${PIPESTATUS[*]}" >"$TMP/statuses"
}

assert_statuses() { # of mkrecords, dfparse, rediswriter
    [[ $(<"$TMP/statuses") == "$1" ]] || fail "statuses $(<"$TMP/statuses"): $(cat "$TMP"/*.err)"
}

assert_done() { assert_statuses "0 0 0"; }

# The lines of standard input are what clients send to a master, and the target gets the stream of it.
as_at_the_reference() { # [dfparse option…]
    cat >"$TMP/lines"
    redis-cli -p "$REFERENCE" <"$TMP/lines" >"$TMP/replies"
    ! grep -qi '^(error)\|^ERR\|^WRONGTYPE' "$TMP/replies" || fail "at the reference: $(cat "$TMP/replies")"
    stream end <"$TMP/lines" | to_target "$@"
    assert_done
    assert_equal
}

assert_equal() {
    dfstate dump "redis://127.0.0.1:$REFERENCE" >"$TMP/a.jsonl"
    dfstate dump "redis://127.0.0.1:$TARGET" >"$TMP/b.jsonl"
    assert_same "$TMP/a.jsonl" "$TMP/b.jsonl"
}

target() { redis-cli -p "$TARGET" "$@"; }

@test "commands of several databases, in transactions and outside" {
    as_at_the_reference <<'EOF'
SET a 1
SELECT 3
MULTI
INCR a
RPUSH l 1 2 3
SELECT 5
SADD s a b c
EXEC
SREM s b
SELECT 0
MULTI
EXEC
SET e v PXAT 4102444800000
COPY a b
COPY a b DB 7
MOVE e 3
RENAME b c
LPOP nothing
XADD x 5-1 f v
XADD x 6-1 f w
XGROUP CREATE x g 0
XCLAIM x g c 0 5-1 TIME 1700000000000 RETRYCOUNT 1 FORCE JUSTID LASTID 5-1
ZADD z 1 a 2 b 3 c
ZUNIONSTORE zz 1 z WEIGHTS 2
PING
EOF
}

@test "databases are exchanged, and the positions stay in database 0" {
    as_at_the_reference <<'EOF'
SET a 1
SELECT 4
SET b 2
SWAPDB 0 4
INCR b
SWAPDB 3 4
SELECT 3
APPEND b x
EOF
    [[ $(target -n 0 exists 'df2redis:{default}') == 1 ]]
    [[ -n $(target hget 'df2redis:{default}' session) ]]
    [[ -z $(target -n 4 keys 'df2redis:*')$(target -n 3 keys 'df2redis:*') ]]
}

@test "a transaction that was cut does nothing" {
    printf '%s\n' "SET a 1" MULTI "INCR a" "SET b 2" | stream "end reason=lost status=75" | to_target
    assert_statuses "0 75 75"
    [[ $(target get a) == 1 ]]
    [[ $(target exists b) == 0 ]]
}

@test "a transaction is applied as one" {
    redis-cli -p "$TARGET" monitor >"$TMP/monitor" &
    PIDS+=($!)
    wait_until 2 grep -q OK "$TMP/monitor"
    for i in $(seq 20); do printf '%s\n' MULTI "INCR a" "INCR b$i" EXEC; done | stream end | to_target
    assert_done
    wait_until 2 grep -q '"INCR" "b20"' "$TMP/monitor"
    # Between the two INCRs of one transaction there is no EXEC.
    run awk '/"EXEC"/ { n = 0 } /"INCR" "a"/ { n++ } /"INCR" "b/ { if (n == 0) exit 1 }' "$TMP/monitor"
    assert_status 0
}

@test "functions: loading and deleting again is no error" {
    lib='%23!lua%20name=lib%0aredis.register_function("fn",%20function()%20return%207%20end)'
    other='%23!lua%20name=other%0aredis.register_function("o",%20function()%20return%208%20end)'
    printf '%s\n' "FUNCTION LOAD $lib" "FUNCTION LOAD $other" "FUNCTION DELETE other" >"$TMP/lines"
    for _ in 1 2; do
        stream end <"$TMP/lines" | to_target
        assert_done
        [[ $(target fcall fn 0) == 7 ]]
        run target fcall o 0
        assert_output_has "Function not found"
    done
    # What FUNCTION DUMP gives comes back library by library.
    redis-cli -p "$REFERENCE" function load "$(printf '#!lua name=r\nredis.register_function("r", function() return 9 end)')"
    redis-cli -p "$REFERENCE" function dump | head -c -1 >"$TMP/payload"
    bytes=$(od -An -v -tx1 <"$TMP/payload" | tr -d ' \n' | sed 's/../%&/g')
    echo "FUNCTION RESTORE $bytes FLUSH" | stream end | to_target
    assert_done
    [[ $(target fcall r 0) == 9 ]]
    run target fcall fn 0
    assert_output_has "Function not found"
}

@test "scripts of old masters run at the target, also those that it had before" {
    text='return redis.call("SET",KEYS[1],ARGV[1])'
    sha=$(printf %s "$text" | sha1sum | cut -d' ' -f1)
    printf '%s\n' "SCRIPT LOAD ${text/ /%20}" "EVALSHA $sha 1 a x" 'EVAL return%20redis.call("INCR",KEYS[1]) 1 n' |
        stream end | to_target
    assert_done
    [[ $(target get a) == x ]]
    [[ $(target get n) == 1 ]]
    # One that stands in the snapshot: AUX lua.
    target script flush
    text='return redis.call("SET",KEYS[1],"aux")'
    aux="fa036c7561$(printf %02x ${#text})$(printf %s "$text" | od -An -v -tx1 | tr -d ' \n')"
    sha=$(printf %s "$text" | sha1sum | cut -d' ' -f1)
    RDB="524544495330303130 $aux ff0000000000000000"
    echo "EVALSHA $sha 1 b" | stream end | to_target
    assert_done
    [[ $(target get b) == aux ]]
}

@test "messages: dropped and counted, or with --publish passed on, but not what Sentinels say" {
    redis-cli -p "$TARGET" psubscribe '*' >"$TMP/heard" &
    PIDS+=($!)
    wait_until 2 grep -q psubscribe "$TMP/heard"
    printf '%s\n' "PUBLISH c one" "PUBLISH __sentinel__:hello two" >"$TMP/lines"
    stream end <"$TMP/lines" | to_target --stats
    assert_done
    grep -qx n.messages=2 "$TMP/parse.err"
    stream end <"$TMP/lines" | to_target --stats --publish
    assert_done
    grep -qx n.messages=1 "$TMP/parse.err"
    wait_until 2 grep -q one "$TMP/heard"
    [[ $(grep -c one "$TMP/heard") == 1 ]]
    never grep -q two "$TMP/heard"
}

@test "relative times of masters up to 6.2 count from their arrival" {
    now=$(date +%s%3N)
    printf '%s\n' "SET a 1 PX 100000" "SETEX b 100 1" "SET c 1" "EXPIRE c 100" "SET d 1" "PEXPIRE d 100000" |
        stream end | to_target
    assert_done
    end=$(date +%s%3N)
    for key in a b c d; do
        at=$(target pexpiretime $key)
        [[ $at -ge $((now + 100000)) && $at -le $((end + 100000)) ]] || fail "$key: $at, between $now and $end"
    done
}

@test "what newer servers send, for a target of 7.0" {
    redis-cli -p "$REFERENCE" >/dev/null <<'EOF'
SET a 2
MSET b 1 c 2
SET d 1 PXAT 4102444800000
SET e 1 PXAT 4102444800000
HSET h a 1
XADD x 4-0 f v
XADD x 5-0 f v
XGROUP CREATE x g 5-0
XADD y 1-0 f v
EOF
    stream end <<'EOF' | to_target
SET a 1
SET a 2 IFEQ 1
MSETEX 2 b 1 c 2
MSETEX 2 d 1 e 1 NX PXAT 4102444800000
HSET h a 1 b 2 c 3
HGETDEL h FIELDS 2 b c
XADD x 1-0 f v
XADD x 2-0 f v
XADD x 3-0 f v
XADD x 4-0 f v
XADD x 5-0 f v
XGROUP CREATE x g 0
XCLAIM x g c 0 1-0 TIME 1700000000000 RETRYCOUNT 1 FORCE JUSTID LASTID 1-0
XCLAIM x g c 0 2-0 TIME 1700000000000 RETRYCOUNT 1 FORCE JUSTID LASTID 2-0
XCLAIM x g c 0 3-0 TIME 1700000000000 RETRYCOUNT 1 FORCE JUSTID LASTID 3-0
XDELEX x DELREF IDS 1 1-0
XACKDEL x g ACKED IDS 1 2-0
XDELEX x ACKED IDS 2 3-0 4-0
XACKDEL x g KEEPREF IDS 1 3-0
XGROUP SETID x g 5-0
XGROUP DELCONSUMER x g c
XADD y IDMP p i 1-0 f v
XADD y IDMP p i * f v
EOF
    assert_done
    dfstate dump "redis://127.0.0.1:$REFERENCE" | without_counters >"$TMP/a.jsonl"
    dfstate dump "redis://127.0.0.1:$TARGET" | without_counters >"$TMP/b.jsonl"
    assert_same "$TMP/a.jsonl" "$TMP/b.jsonl"
}

@test "what cannot be carried over is reported, and the rest goes on" {
    printf '%s\n' "VADD v VALUES 2 1 2 e" "NEWCOMMAND k 1" "TRIMSLOTS RANGES 1 0 5" "SET a 1" | stream end | to_target
    assert_statuses "0 3 3"
    [[ $(target get a) == 1 ]]
    [[ $(grep -c '"lost":true' "$TMP/report") == 3 ]]
    grep -q '"kind":"module".*"key":"v"' "$TMP/report"
    grep -q '"kind":"unknown-command".*"key":"k"' "$TMP/report"
    grep -q '"kind":"flush-slots"' "$TMP/report"
}

@test "selected, renamed and moved to other databases" {
    printf '%s\n' "MSETEX 3 a1 1 b 2 a2 3" "SELECT 2" "HSET a3 f 1 g 2" "HGETDEL a3 FIELDS 1 f" "SWAPDB 2 3" "SELECT 3" \
        "INCR a4" | stream end | to_target --include prefix:a --rename-prefix a=z --db-map 2=5,3=6
    assert_done
    [[ $(target mget z1 z2 b | tr '\n' ' ') == "1 3  " ]]
    [[ $(target -n 6 hgetall z3 | tr '\n' ' ') == "g 2 " ]]
    [[ $(target -n 6 get z4) == 1 ]]
}

@test "forms for people: JSON, and RESP for redis-cli --pipe" {
    printf '%s\n' MULTI "INCR a" "SELECT 2" "SET b 1" EXEC >"$TMP/lines"
    stream end <"$TMP/lines" | mkrecords --raw | dfparse --json >"$TMP/json"
    grep -q '"flags":\["live","together","held"\],"args":\["INCR","a"\]' "$TMP/json"
    stream end <"$TMP/lines" | mkrecords --raw | dfparse --resp | redis-cli -p "$TARGET" --pipe >/dev/null
    [[ $(target get a)$(target -n 2 get b) == 11 ]]
}

@test "damage: where, and nothing behind it" {
    echo "SET a 1" | stream "data 0 2a310d0a2b4f4b4b4b4b0d0a" end | to_target
    assert_statuses "0 4 4"
    [[ $(target get a) == 1 ]]
    grep -q 'damaged at byte 49 of the flow: expected a request' "$TMP/parse.err"
    { echo session source=redis; echo "flow 0 mode=FULL replid=$REPLID lsn=255"; echo end; } | to_target
    assert_statuses "0 4 4"
    grep -q 'a FLOW of a Redis without a possible position' "$TMP/parse.err"
    echo "SELECT 256" | stream end | to_target
    assert_statuses "0 4 4"
    grep -q 'SELECT of a database from 0 to 255' "$TMP/parse.err"
}
