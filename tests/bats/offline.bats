#!/usr/bin/env bats
# Streams in files: recorded, replayed, cut with tee, concatenated, truncated, damaged.

load helper

setup() {
    common_setup
    RAW=$TMP/session.raw
    SOURCE=
}

teardown() { common_teardown; }

@test "a recorded session replays, raw and as commands, from files and through tee" {
    record basic-2flows
    start_redis
    dfparse -t 7.0 "$RAW" 2>/dev/null | tee "$TMP/commands" | rediswriter "redis://127.0.0.1:$REDIS_PORT" 2>/dev/null &&
        fail "status 0 although JSON and filters were left out"
    assert_equals_capture basic-2flows
    rcli flushall
    run rediswriter "redis://127.0.0.1:$REDIS_PORT" "$TMP/commands"
    assert_status 3
    assert_output_has 'kind=bloom-filter'
    assert_equals_capture basic-2flows
    # Once more over what is there, which would count twice what was incremented.
    run rediswriter --on-existing refuse "redis://127.0.0.1:$REDIS_PORT" "$TMP/commands"
    assert_status 1
    run rediswriter --on-existing flush "redis://127.0.0.1:$REDIS_PORT" "$TMP/commands"
    assert_status 3
    assert_equals_capture basic-2flows
}

@test "the command stream does not depend on how the raw stream was cut" {
    record zstd-4flows
    start_redis
    dfparse -t 7.0 <"$RAW" 2>/dev/null | rediswriter "redis://127.0.0.1:$REDIS_PORT" 2>/dev/null || true
    assert_equals_capture zstd-4flows
    # Per flow the requests are the same, whatever the pieces were.
    start_master --capture "$CAPTURES/zstd-4flows" --split 1-99
    dfparse --json -t 7.0 "$RAW" 2>/dev/null | grep '"type":"request"' | sed 's/,"time":[0-9]*//' | sort >"$TMP/a"
    rm "$RAW"
    record zstd-4flows
    dfparse --json -t 7.0 "$RAW" 2>/dev/null | grep '"type":"request"' | sed 's/,"time":[0-9]*//' | sort >"$TMP/b"
    [[ $(wc -l <"$TMP/a") -gt 5000 ]] || fail "hardly any requests"
    cmp "$TMP/a" "$TMP/b"
}

@test "--resp goes through redis-cli --pipe, FLUSHALL on all flows included" {
    record global-commands
    start_redis
    dfparse --resp -t 7.0 "$RAW" 2>/dev/null | rcli --pipe >"$TMP/out"
    grep -q 'errors: 0' "$TMP/out"
    assert_equals_capture global-commands
    rcli flushall
    # Portable commands lack only what a stream's counters need 7.0 for.
    dfparse --resp "$RAW" 2>/dev/null | rcli --pipe >"$TMP/out"
    grep -q 'errors: 0' "$TMP/out"
    [[ $(rcli -n 1 dbsize) -gt 0 ]] || fail "database 1 is empty"
}

@test "streams can be concatenated" {
    record plain-1flow
    mv "$RAW" "$TMP/one.raw"
    record lzf-2flows
    start_redis
    cat "$TMP/one.raw" "$RAW" | dfparse -t 7.0 2>/dev/null | rediswriter "redis://127.0.0.1:$REDIS_PORT" 2>/dev/null || true
    rcli --raw dbsize >"$TMP/together"
    rcli flushall
    for f in "$TMP/one.raw" "$RAW"; do
        dfparse -t 7.0 "$f" >"$TMP/commands" 2>/dev/null || true
        rediswriter "redis://127.0.0.1:$REDIS_PORT" "$TMP/commands" 2>/dev/null || true
    done
    [[ $(rcli --raw dbsize) == "$(cat "$TMP/together")" ]] || fail "sizes differ"
    [[ $(cat "$TMP/together") -gt 900 ]]
}

@test "a stream that was cut short is noticed at every stage" {
    record plain-1flow
    local size
    size=$(stat -c %s "$RAW")
    for cut in 0 1 23 24 50 71 72 500 $((size / 3)) $((size / 2)) $((size - 1)); do
        head -c "$cut" "$RAW" >"$TMP/short"
        run dfparse --null "$TMP/short"
        assert_status 4
    done
    dfparse -t 7.0 "$RAW" >"$TMP/commands" 2>/dev/null || true
    start_redis
    size=$(stat -c %s "$TMP/commands")
    for cut in 0 1 24 100 $((size / 2)) $((size - 1)); do
        head -c "$cut" "$TMP/commands" >"$TMP/short"
        run rediswriter "redis://127.0.0.1:$REDIS_PORT" "$TMP/short"
        assert_status 4
    done
}

@test "what cannot be parsed is named with flow and byte, and nothing behind it is written" {
    record plain-1flow
    start_redis
    # A value type that does not exist, somewhere in the snapshot: the byte before a key.
    local at
    at=$(grep -abo 'str:17' "$RAW" | head -1 | cut -d: -f1)
    cp "$RAW" "$TMP/bad"
    printf '\x6e' | dd of="$TMP/bad" bs=1 seek=$((at - 2)) conv=notrunc status=none
    run bash -c "dfparse -t 7.0 '$TMP/bad' | rediswriter redis://127.0.0.1:$REDIS_PORT"
    assert_status 4
    assert_output_has 'flow=0 event=not_supported'
    assert_output_has 'value type 110,'
    [[ $(rcli dbsize) -lt 900 ]] || fail "the whole data set was written"
    run dfparse --null "$TMP/bad"
    assert_status 4
}

@test "the wrong kind of stream is refused" {
    record plain-1flow
    dfparse -t 7.0 "$RAW" >"$TMP/commands" 2>/dev/null || true
    run dfparse --null "$TMP/commands"
    assert_status 4
    assert_output_has 'a command stream where a raw one is needed'
    start_redis
    run rediswriter "redis://127.0.0.1:$REDIS_PORT" "$RAW"
    assert_status 4
    assert_output_has 'dfparse'
    run rediswriter "redis://127.0.0.1:$REDIS_PORT" "$BATS_TEST_FILENAME"
    assert_status 4
    [[ $(rcli dbsize) -eq 0 ]]
}

@test "a stream made for a newer target is refused before anything is written" {
    record plain-1flow
    dfparse -t 7.4 "$RAW" >"$TMP/commands" 2>/dev/null || true
    start_redis
    run rediswriter "redis://127.0.0.1:$REDIS_PORT" "$TMP/commands"
    assert_status 2
    assert_output_has '7.4'
    [[ $(rcli dbsize) -eq 0 ]]
}

@test "what cannot be carried over is listed by --report" {
    record basic-2flows
    run dfparse --null --report "$TMP/report" "$RAW"
    assert_status 3
    grep -q '"kind":"bloom-filter","lost":true.*"key":"bloom:1"' "$TMP/report"
    grep -q '"kind":"json","lost":true.*"key":"json:1"' "$TMP/report"
    grep -q '"kind":"member-ttl","lost":true.*"key":"setttl:1"' "$TMP/report"
    grep -q '"kind":"sticky","lost":false' "$TMP/report"
    run dfparse --null --unsupported fail "$RAW"
    assert_status 3
    assert_output_has 'unsupported is fail'
    start_redis
    dfparse -t 7.0 --unsupported approximate "$RAW" 2>/dev/null | rediswriter "redis://127.0.0.1:$REDIS_PORT" 2>/dev/null || true
    [[ $(rcli get json:1) == '{"a":1'* ]] || fail "JSON was not written as a string"
}

@test "a snapshot file goes straight in" {
    start_redis
    dfreader "$REPO/tests/fixtures/snapshots/small-0000.dfs" | dfparse -t 7.0 2>/dev/null |
        rediswriter "redis://127.0.0.1:$REDIS_PORT" 2>/dev/null || true
    dfreader - <"$REPO/tests/fixtures/snapshots/small-0001.dfs" | dfparse -t 7.0 2>/dev/null |
        rediswriter "redis://127.0.0.1:$REDIS_PORT" 2>/dev/null || true
    assert_same_snapshot
}

assert_same_snapshot() {
    run dfstate diff --redis-target "$REPO/tests/fixtures/snapshots/small.expected.jsonl.gz" \
        "redis://127.0.0.1:$REDIS_PORT?dbs=0,3"
    [[ $status -eq 0 ]] || fail "$output"
}
