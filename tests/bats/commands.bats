#!/usr/bin/env bats
# Journaled commands do at the target, whatever its version, what they do at a server that knows them all: redis-server
# as it is installed.

load helper

setup() {
    common_setup
    start_redis
    VERSION=$(server_version)
    TARGET=$REDIS_PORT
    REDIS_SERVER=redis-server start_redis
    REFERENCE=$REDIS_PORT
    REDIS_PORT=$TARGET
}

teardown() { common_teardown; }

# The lines of standard input, at the reference as they are, at the target as entries of a journal.
both() { # [dfparse option…]
    cat >"$TMP/lines"
    sed 's/^/entry 0 /' "$TMP/lines" >"$TMP/entries"
    redis-cli -p "$REFERENCE" <"$TMP/lines" >"$TMP/replies"
    ! grep -qi '^(error)\|^ERR\|^WRONGTYPE' "$TMP/replies" || fail "at the reference: $(cat "$TMP/replies")"
    at_target "$@"
}

at_target() { # [dfparse option…]
    { echo session; echo "flow 0 mode=FULL token=$TOKEN"; echo data 0 $EMPTY; cat "$TMP/entries"; echo end; } | mkrecords --raw |
        dfparse -t "$VERSION" "$@" 2>"$TMP/parse.err" |
        rediswriter --on-existing overwrite "redis://127.0.0.1:$TARGET" 2>"$TMP/writer.err" &&
        STATUSES="${PIPESTATUS[*]}" || STATUSES="${PIPESTATUS[*]}"
}

assert_done() {
    [[ $STATUSES == "0 0 0 0" ]] || fail "statuses $STATUSES: $(cat "$TMP"/*.err)"
}

assert_equal() {
    dfstate dump "redis://127.0.0.1:$REFERENCE" | without_counters >"$TMP/a.jsonl"
    dfstate dump "redis://127.0.0.1:$TARGET" | without_counters >"$TMP/b.jsonl"
    assert_same "$TMP/a.jsonl" "$TMP/b.jsonl"
}

@test "strings: expiries that stay, commands of Redis 6 and later" {
    both <<'EOF'
SET a 1 PXAT 4102444800000
SET a 2 KEEPTTL
SET b 1
SET b 2 KEEPTTL
INCRBYFLOAT a 0.25
SET c x
GETDEL c
COPY a d
SET e y PXAT 4102444800001
COPY e b REPLACE
SET f z
COPY f a
COPY nothing g
UNLINK f
EOF
    assert_done
    assert_equal
}

@test "lists: pops of several, moves between lists" {
    both <<'EOF'
RPUSH l 1 2 3 4 5 6 7 8 9
LPOP l 2
RPOP l 3
LMOVE l m LEFT RIGHT
LMOVE l m RIGHT LEFT
LMOVE l l left right
RPUSH n 1 2
RPOP n 5
RPUSH o 1 2
LPOP o 2
RPOPLPUSH m l
EOF
    assert_done
    assert_equal
}

@test "sorted sets: GT and LT, pops, GEOADD with conditions" {
    both <<'EOF'
ZADD z 1 a 2 b 3 c 4 d 5 e
ZADD z GT 0 a 9 b
ZADD z LT CH 0 c 9 d 7 new
ZADD z XX GT 8 e 8 nobody
ZADD z GT inf a
ZADD z GT INCR 0.1 c
ZADD z GT INCR 0.2 c
ZADD z GT INCR -5 c
ZADD z LT INCR -0.5 d
ZADD z LT INCR 5 d
ZADD z LT INCR 5 another
ZADD z XX LT INCR 5 nobody
ZPOPMIN z
ZPOPMAX z 2
ZADD y 1 a 2 b
ZPOPMIN y 5
GEOADD g 13.361389 38.115556 Palermo
GEOADD g NX 1 1 Palermo 15.087269 37.502669 Catania
GEOADD g XX CH 2 2 Catania 3 3 Nowhere
GEOADD g CH 4 4 Here
EOF
    assert_done
    assert_equal
}

@test "entries that did nothing at the source are no data errors" {
    server_has 5.0 || skip "pops of sorted sets are other commands before 5.0"
    cat >"$TMP/entries" <<'EOF'
entry 0 SADD s a b
entry 0 SREM s
entry 0 HDEL s
entry 0 DEL
entry 0 ZREM s
entry 0 ZPOPMIN s
entry 0 ZPOPMAX s 3
entry 0 SREM s a
EOF
    at_target
    assert_done
    [[ $(redis-cli -p "$TARGET" smembers s) == b ]]
}

@test "streams: MINID, NOMKSTREAM, consumers" {
    server_has 5.0 || skip "no streams before 5.0"
    both <<'EOF'
XADD x 1-1 f v
XADD x 1-2 f v g w
XADD x 2-0 f v
XADD x MINID 1-2 3-0 f v
XADD x MINID = 2 4-0 f v
XADD x NOMKSTREAM 5-0 f v
XADD none NOMKSTREAM 5-0 f v
XADD x MAXLEN 3 6-0 f v
XADD x MINID 5 NOMKSTREAM 7-0 f v
XADD y 1-1 f v
XADD y 2-1 f v
XADD y 3-1 f v
XTRIM y MINID 2
XADD w 1-1 f v
XADD w 2-1 f v
XTRIM w MAXLEN 1
XGROUP CREATE x g 5-0
XGROUP CREATECONSUMER x g alice
XGROUP CREATECONSUMER x g bob
XCLAIM x g bob 0 6-0 TIME 1700000000000 RETRYCOUNT 3 FORCE JUSTID LASTID 6-0
XSETID x 9-0
XDEL x 5-0
XADD empty 1-1 f v
XDEL empty 1-1
EOF
    assert_done
    assert_equal
}

# Dragonfly logs these also where it answered with an error. It leaves the destination of SORT and GEORADIUS alone where
# there is nothing to read; a Redis would delete it.
@test "what failed at the source, and is logged all the same, is no error" {
    server_has 5.0 || skip "no streams before 5.0"
    both <<'EOF'
XADD x 5-5 f v
RPUSH l b a
RPUSH kept 1
ZADD near 1 m
SET s text
EOF
    assert_done
    sed 's/^/entry 0 /' >"$TMP/entries" <<'EOF'
XSETID none 5-5
XSETID x 1-1
XSETID s 1-1
SORT none ALPHA STORE kept
SORT l STORE kept
SORT s STORE kept
GEORADIUS none 15 37 200 km STORE near
GEORADIUSBYMEMBER none m 200 km STORE near
GEORADIUS l 15 37 200 km STORE near
EOF
    at_target
    assert_done
    assert_equal
}

@test "what the target refuses for reasons of its own is an error, in these, too" {
    server_has 6.0 || skip "no access control list before 6.0"
    redis-cli -p "$TARGET" acl setuser default -xsetid >/dev/null
    echo 'entry 0 XSETID x 5-5' >"$TMP/entries"
    at_target
    # The parser may have ended already when the writer does.
    [[ $STATUSES == "0 0 "[01]" 1" ]] || fail "statuses $STATUSES: $(cat "$TMP"/*.err)"
    grep -q event=target_refuses "$TMP/writer.err"
}

@test "what only reads selected keys changes nothing of them" {
    sed 's/^/entry 0 /' >"$TMP/entries" <<'EOF'
RPUSH a:l 2 1
SORT a:l STORE b:sorted
GEOADD a:g 15 37 here
GEORADIUS a:g 15 37 1 km STORE b:near
EOF
    at_target --include prefix:a:
    assert_done
    [[ $(redis-cli -p "$TARGET" keys '[ab]:*' | sort | tr '\n' ' ') == 'a:g a:l ' ]]
    sed 's/^/entry 0 /' >"$TMP/entries" <<'EOF'
SORT b:l STORE a:l
EOF
    at_target --include prefix:a:
    grep -q 'kind=selection.*key="b:l"' "$TMP/parse.err" || fail "$(cat "$TMP/parse.err")"
}

@test "by type: what is renamed may not be here" {
    sed 's/^/entry 0 /' >"$TMP/entries" <<'EOF'
SADD s m
RENAMENX list other
RENAMENX s t
RENAME list t
EOF
    at_target --exclude type:list
    assert_done
    [[ -z $(redis-cli -p "$TARGET" keys '[a-z]') ]]
    sed -i '$d' "$TMP/entries"
    at_target --exclude type:list
    assert_done
    [[ $(redis-cli -p "$TARGET" keys '[a-z]') == t ]]
}

@test "hashes and sets: fractions, as doubles" {
    both <<'EOF'
HSET h f 1 g 2
HINCRBY h f 4
HMSET h i 3
SADD s a b c
SREM s a
SMOVE s t b
SINTERSTORE u s t
SUNIONSTORE v s t
RENAME v v2
EOF
    assert_done
    assert_equal
}

@test "flows that disagree on a FLUSH are damage, also with --resp" {
    {
        echo session flows=2
        for flow in 0 1; do
            echo "flow $flow mode=FULL token=$TOKEN"
            echo "data $flow" $EMPTY
            echo "entry $flow :txid=$((7 + flow)) FLUSHALL"
        done
        echo end
    } | mkrecords --raw >"$TMP/raw"
    run dfparse --resp "$TMP/raw"
    assert_status 4
    assert_output_has 'the flows disagree on a FLUSH'
}

@test "what the target does not know is named" {
    server_has 6.2 && skip "it knows all of these"
    both <<<$'ZADD z 1 a 2 b\nZRANGESTORE d z 0 -1'
    [[ $STATUSES == "0 0 3 3" ]] || fail "statuses $STATUSES"
    grep -q 'kind=command-too-new db=0 key="*d"* detail="ZRANGESTORE' "$TMP/parse.err" || fail "$(cat "$TMP/parse.err")"
    server_has 5.0 || {
        both <<<'XADD x 1-1 f v'
        grep -q 'kind=command-too-new .*detail="XADD' "$TMP/parse.err"
    }
}
