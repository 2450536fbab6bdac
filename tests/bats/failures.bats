#!/usr/bin/env bats
# --errors-to: requests that failed, kept as a stream that can be looked at and replayed.

load helper
load writing

setup() { writing_setup; }

teardown() { writing_teardown; }

# Strings where the stream has a hash, a list and a set; MSETs with one key that cannot be; a value above 1 MiB.
@test "what the target cannot take is kept, shown with its reason, and complete after a replay" {
    start_redis
    cat >"$TMP/text" <<'EOT'
HSET h f 1
RPUSH l a
RPUSH l b%0d%0ac
SADD s m
HSET big f @2500000
SET plain 1
INCRBY n 5
LPUSH l c
EOT
    rcli set h string >/dev/null
    rcli set l string >/dev/null
    rcli set s string >/dev/null
    rcli set big string >/dev/null
    { head -3 "$TMP/text" | as_live 0; sed -n '4s/^/idem 0 :pos=9 :class=3 /p' "$TMP/text"; sed -n '5,$p' "$TMP/text" | sed 's/^/live 0 :pos=9 /'; } |
        one_flow | write --errors-to "$TMP/failed"
    assert_status 3
    assert_output_has 'event=errors_kept requests=6'
    [[ $(rcli get n) == 5 && $(rcli get plain) == 1 && $(rcli type l) == string ]]

    run dfparse --json "$TMP/failed"
    assert_status 0
    [[ $(grep -c '"kind":"failed"' <<<"$output") -eq 6 ]]
    grep -A1 '"detail":"WRONGTYPE' <<<"$output" | grep -qF '"args":["RPUSH","l","b\u000d\u000ac"]'
    grep -F '"args":["SADD","s","m"]' <<<"$output" | grep -F '"idempotent"' | grep -qF '"class":"set"'
    never grep -q '"live"' <<<"$output"
    [[ $(dfparse --resp "$TMP/failed" | grep -ac '^HSET') -eq 2 ]]

    rcli del h l s big >/dev/null
    run rediswriter --strict "$(target)" "$TMP/failed"
    assert_status 0
    [[ $(rcli hget h f) == 1 && $(rcli sismember s m) == 1 && $(rcli hstrlen big f) == 2500000 && $(rcli get n) == 5 ]]
    [[ $(rcli lrange l 0 -1 | od -An -c | tr -d ' \n') == 'c\na\nb\r\nc\n' ]]
}

@test "without errors there is no file; a flush that was refused is named, and not repeated by a replay" {
    start_redis
    one_flow <<<"set 0 a 1" | write --errors-to "$TMP/failed"
    assert_status 0
    [[ ! -e $TMP/failed ]]
    start_redis --rename-command FLUSHALL ''
    { heading 1; echo "set 0 a 1"; echo "barrier 0 :pos=5 FLUSHALL"; echo "synced 0 :pos=9"; echo end; } |
        write --errors-to "$TMP/failed"
    assert_status 3
    run dfparse --json "$TMP/failed"
    assert_status 0
    assert_output_has '"detail":"ERR unknown command'
    assert_output_has '"lost":"1"'
    [[ $output != *'"args"'* && $(rcli get a) == 1 ]]
}

@test "errors are added to those of an earlier run, also when that ended in the middle of a record" {
    start_redis
    rcli set a string >/dev/null
    one_flow <<<"live 0 :pos=2 RPUSH a 1" | write --errors-to "$TMP/failed"
    assert_status 3
    local size n cut
    size=$(stat -c %s "$TMP/failed")
    one_flow <<<"live 0 :pos=2 RPUSH a 2" | write --errors-to "$TMP/failed"
    one_flow <<<"live 0 :pos=2 RPUSH a @3000000" | write --errors-to "$TMP/failed"
    cp "$TMP/failed" "$TMP/whole"
    # Cut within the heading of the second stream, at its border, within its request, and in a chain of records.
    n=$(stat -c %s "$TMP/whole")
    for cut in $size $((size + 7)) $((size + 60)) $((size + 300)) $((size + 440)) $((n - 200000)) $((n - 3)); do
        head -c "$cut" "$TMP/whole" >"$TMP/failed"
        one_flow <<<"live 0 :pos=2 RPUSH a last" | write --errors-to "$TMP/failed"
        assert_status 3
        rcli del a >/dev/null
        run rediswriter "$(target)" "$TMP/failed"
        assert_status 0
        [[ $(rcli lindex a 0) == 1 && $(rcli lindex a -1) == last ]] || fail "cut at $cut: $(rcli lrange a 0 -1 | cut -c1-20)"
        rcli set a string >/dev/null
    done
}

@test "a writer that is killed leaves what it kept readable" {
    start_redis
    feed --errors-to "$TMP/failed"
    rcli set a string >/dev/null
    tell "$(heading 1)" "live 0 :pos=2 RPUSH a 1" "live 0 :pos=3 INCR n"
    wait_until 5 eval '[[ $(rcli get n) == 1 ]]'
    kill -KILL "$WRITER"
    run dfparse --json "$TMP/failed"
    assert_status 4
    assert_output_has '"args":["RPUSH","a","1"]'
    rcli del a >/dev/null
    run rediswriter "$(target)" "$TMP/failed"
    assert_status 4
    [[ $(rcli lrange a 0 -1) == 1 ]]
}

@test "a file that holds something else, or is an input, is left alone" {
    start_redis
    echo "my notes" >"$TMP/notes"
    one_flow <<<"set 0 a 1" | write --errors-to "$TMP/notes"
    assert_status 1
    [[ $(<"$TMP/notes") == "my notes" ]]
    run rediswriter --errors-to "$TMP/stream" "$(target)" "$TMP/stream"
    assert_status 1
    assert_output_has 'input as well'
    [[ $(rcli exists a) == 0 ]]
}

@test "a file that could not be made is known at the start" {
    start_redis
    one_flow <<<"set 0 a 1" | write --errors-to "$TMP/nowhere/failed"
    assert_status 1
    assert_output_has 'event=errors_not_kept'
    assert_output_has 'No such file'
    [[ $(rcli exists a) == 0 ]]
    one_flow <<<"set 0 a 1" | write --errors-to "$TMP/failed" # but it is only made when it is needed
    assert_status 0
    [[ ! -e $TMP/failed ]]
}
