#!/usr/bin/env bats
# Keys that the parser has read again, end to end: from the master's DUMP into the target.

load helper
load rereading

setup() {
    common_setup
    rereading_capture
}

teardown() { common_teardown; }

# A live pipeline up to the key "other", then stopped; the status of its parser in $status.
through() { # dfparse options…
    local reader parser writer
    mkfifo "$TMP/raw" "$TMP/commands"
    start_redis
    rcli set gone old >/dev/null
    start_master --capture "$TMP/cap" --values "$TMP/values"
    background bash -c 'exec dfreader "$1" >"$2"' - "dragonfly://127.0.0.1:$MASTER_PORT" "$TMP/raw"
    reader=$!
    background bash -c 'exec dfparse --report "$0/report" "$@" <"$0/raw" >"$0/commands" 2>"$0/parse.err"' "$TMP" "$@"
    parser=$!
    background bash -c 'exec rediswriter -q "$1" <"$0/commands" 2>"$0/write.err"' "$TMP" "redis://127.0.0.1:$REDIS_PORT"
    writer=$!
    wait_until 10 applied "$@"
    kill -INT "$reader"
    reap 10 "$writer"
    reap 10 "$parser"
}

# The last entry, and with re-reading the key behind which it stands.
applied() {
    [[ $(rcli get other) == 1 ]] && { [[ ${1-} == --no-reread ]] || [[ $(rcli get k) == bar ]]; }
}

@test "a command whose effect only the source knows: the key is read again" {
    then_journal CL.THROTTLE k 1 1 1
    then_journal NOSUCH gone
    then_journal SET other 1
    through
    [[ $status -eq 0 ]] || fail "$(cat "$TMP/parse.err")"
    [[ $(rcli pttl k) -gt 86000000 && $(rcli pttl k) -le 86400000 ]] || fail "$(rcli pttl k)"
    [[ $(rcli exists gone) -eq 0 ]]
    grep -q '"kind":"unknown-command","lost":false.*"key":"gone"' "$TMP/report"
}

@test "with --no-reread it is reported" {
    then_journal CL.THROTTLE k 1 1 1
    then_journal SET other 1
    through --no-reread
    assert_status 3
    grep -q '"kind":"command-needs-source".*"key":"k"' "$TMP/report"
    [[ $(rcli exists k) -eq 0 ]]
}

@test "LMPOP and ZMPOP of old masters: of one key they are applied, of several all are read again" {
    printf '%s\n' '0 m 86400000 00036261720900364c18acbae09ea6' >>"$TMP/values"
    then_journal RPUSH l a b c
    then_journal LMPOP 1 l LEFT COUNT 2
    then_journal ZADD z 1 m 2 n
    then_journal ZMPOP 1 z MIN
    then_journal LMPOP 2 k m LEFT
    then_journal SET other 1
    through
    [[ $status -eq 0 ]] || fail "$(cat "$TMP/parse.err")"
    [[ $(rcli lrange l 0 -1) == c && $(rcli zrange z 0 -1) == n && $(rcli get m) == bar ]]
    [[ ! -s $TMP/report ]] || fail "$(cat "$TMP/report")"
}
