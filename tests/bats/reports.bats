#!/usr/bin/env bats
# What could not be carried over is warned of once, by the program that finds it out.

load helper

setup() { common_setup; }
teardown() { common_teardown; }

SNAPSHOT=$REPO/tests/fixtures/snapshots/small-summary.dfs

warnings_of() { grep -c 'level=warn .*key="json:1"' "$1" || true; }

@test "a key that is lost is warned of once, and counted at the end of every stage" {
    start_redis
    status=0
    { dfreader "$SNAPSHOT" | dfparse | rediswriter "redis://127.0.0.1:$REDIS_PORT"; } 2>"$TMP/err" || status=$?
    assert_status 3
    [[ $(warnings_of "$TMP/err") -eq 2 ]] || fail "$(grep json:1 "$TMP/err")" # in two databases
    grep -q 'stage=dfparse .*event=not_carried_over kind=json db=0 key="json:1"' "$TMP/err"
    grep -q 'stage=dfparse .*event=not_carried_over kind=json db=3 key="json:1"' "$TMP/err"
    grep -q 'stage=rediswriter summary report="json" count=2 key1=json:1' "$TMP/err"
}

@test "a stream that is replayed from a file: rediswriter warns, as no dfparse runs beside it" {
    start_redis
    dfreader "$SNAPSHOT" | dfparse -t "$(server_version)" >"$TMP/stream" 2>"$TMP/parse.err" || true
    run rediswriter -q "redis://127.0.0.1:$REDIS_PORT" "$TMP/stream"
    assert_status 3
    printf '%s\n' "$output" >"$TMP/err"
    [[ $(warnings_of "$TMP/err") -eq 1 ]] || fail "$output"
}

@test "a command of two words is named with both, and the second one is no key" {
    { echo session; echo "flow 0 mode=FULL token=$TOKEN"; echo data 0 $EMPTY; echo 'entry 0 DFLYCLUSTER FLUSHSLOTS 0 1'; echo end; } |
        mkrecords --raw >"$TMP/raw"
    run dfparse -t 7.0 --null --report "$TMP/report" "$TMP/raw"
    assert_status 3
    grep -q '"detail":"DFLYCLUSTER FLUSHSLOTS: ' "$TMP/report" || fail "$(cat "$TMP/report")"
    never grep -q '"key":"FLUSHSLOTS"' "$TMP/report"
    # What keys are selected does not hide it.
    run dfparse -t 7.0 --null --include 'user:*' --report "$TMP/report" "$TMP/raw"
    assert_status 3
}
