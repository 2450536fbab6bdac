#!/usr/bin/env bats
# --include, --exclude, --rename-prefix, --db-map: what comes out is what the whole data set holds after the same
# selection was made on it by hand. Snapshot and journal alike: the capture has DEL, MSET, RENAME, COPY of many keys.

load helper

setup() {
    common_setup
    RAW=$TMP/raw
}

teardown() { common_teardown; }

# Two servers: WHOLE gets everything and then a selection by hand, PART what dfparse selects.
both() { # Lua for WHOLE, dfparse options…
    local lua=$1
    shift
    start_redis
    dfparse -t "$(server_version)" "$RAW" 2>/dev/null | rediswriter -q "redis://127.0.0.1:$REDIS_PORT" || true
    [[ -z $lua ]] || rcli eval "$lua" 0 >/dev/null
    WHOLE=redis://127.0.0.1:$REDIS_PORT
    WHOLE_PORT=$REDIS_PORT
    start_redis
    dfparse -t "$(server_version)" "$@" "$RAW" 2>"$TMP/parse.err" |
        rediswriter --summary "$TMP/summary" -q "redis://127.0.0.1:$REDIS_PORT" 2>"$TMP/write.err" || true
    PART=redis://127.0.0.1:$REDIS_PORT
    [[ $(rcli dbsize) -gt 10 ]] || [[ $(rcli -n 2 dbsize) -gt 10 ]] || fail "nothing was selected"
}

keep() { # Lua condition on k and its type t that a key must meet to stay
    echo "for _,k in ipairs(redis.call('KEYS','*')) do local t=redis.call('TYPE',k).ok if not ($1) then redis.call('DEL',k) end end"
}

@test "by glob, prefix and regular expression" {
    record writes-during-fullsync
    both "$(keep "string.find(k,'^live:')")" --include 'live:*'
    assert_same "$WHOLE" "$PART"
    both "$(keep "not string.find(k,'^live:')")" --exclude prefix:live:
    assert_same "$WHOLE" "$PART"
    both "$(keep "string.find(k,'^[sh]') and not string.find(k,'9\$')")" --include 'regex:^[sh]' --exclude 'regex:9$'
    assert_same "$WHOLE" "$PART"
    ! grep -q 'no such key' "$TMP/summary" || fail "$(cat "$TMP/summary")"
}

@test "by type" {
    record writes-during-fullsync
    both "$(keep "t=='list'")" --include type:list
    assert_same "$WHOLE" "$PART"
    both "$(keep "t~='string' and t~='stream'")" --exclude type:string --exclude type:stream
    assert_same "$WHOLE" "$PART"
}

@test "by database, and databases under other numbers" {
    record basic-2flows
    both "" --include db:0
    redis-cli -p "$WHOLE_PORT" -n 1 flushdb
    assert_same "$WHOLE?dbs=0,1" "$PART?dbs=0,1"
    both "" --db-map 0=2,1=5
    redis-cli -p "$WHOLE_PORT" swapdb 0 2
    redis-cli -p "$WHOLE_PORT" swapdb 1 5
    assert_same "$WHOLE?dbs=2,5" "$PART?dbs=2,5"
    [[ $(rcli -n 1 dbsize) -eq 0 ]]
}

@test "under other names" {
    record writes-during-fullsync
    both "for _,k in ipairs(redis.call('KEYS','live:*')) do redis.call('RENAME',k,'L'..string.sub(k,6)) end" \
        --rename-prefix live:=L --rename-prefix nothing=everything
    assert_same "$WHOLE" "$PART"
}

@test "a FLUSHALL of the source is reported, not applied to a selection" {
    record global-commands
    run dfparse -t 7.0 --include 'live:*' --null "$RAW"
    assert_status 3
    assert_output_has 'kind=selection'
    run dfparse -t 7.0 --null "$RAW"
    [[ $output != *kind=selection* ]]
}

@test "rules that mean nothing are refused" {
    for bad in '--include type:nonsense' '--include db:x' '--exclude regex:(' '--rename-prefix abc' '--db-map 1' '--db-map a=b'; do
        # shellcheck disable=SC2086 # option and value
        run dfparse $bad /dev/null
        assert_status 2
    done
}

@test "for a cluster: database 0 only, and no bare RESP" {
    record basic-2flows
    run dfparse -t 7.0/cluster -o "$TMP/commands" "$RAW"
    assert_status 2
    assert_output_has "--db-map"
    dfparse -t 7.0/cluster --db-map '*=0' --json "$RAW" >"$TMP/json" 2>/dev/null || [[ $? -eq 3 ]]
    ! grep -q '"db":1' "$TMP/json" || fail "$(grep -m1 '"db":1' "$TMP/json")"
    grep -q '"type":"target".*"cluster":"1"' "$TMP/json"
    ! grep '"type":"request"' "$TMP/json" | grep -qv '"slot":' || fail "a request without a slot"
    dfparse -t 7.0/cluster --exclude db:1 -o "$TMP/commands" "$RAW" 2>/dev/null || [[ $? -eq 3 ]]
    run dfparse --resp -t 7.0/cluster "$RAW"
    assert_status 2
    run dfparse --resp --on-existing skip "$RAW"
    assert_status 2
}
