#!/usr/bin/env bats
# Journal entries of any size pass through dfparse in bounded memory.

load helper
load writing

setup() { common_setup; }

teardown() { common_teardown; }

# The entries of standard input go through dfparse. Its input stays open until its memory was looked at: PEAK, kB.
parsed() { # file for the output, dfparse option…
    local out=$1 parser feed
    shift
    { echo session; echo "flow 0 mode=FULL token=$TOKEN"; echo data 0 $EMPTY; cat; echo 'sleep 0'; } >"$TMP/text"
    mkfifo "$TMP/raw"
    background bash -c 'exec dfparse -t 7.0 "${@:3}" <"$1" >"$2" 2>"$2.err"' - "$TMP/raw" "$out" "$@"
    parser=$!
    exec {feed}>"$TMP/raw"
    mkrecords --raw <"$TMP/text" >&"$feed" || true # a parser that gives up closes its end
    wait_until 60 stopped_reading "$parser"
    PEAK=$(peak_memory "$parser" 2>/dev/null || true)
    exec {feed}>&-
    reap 60 "$parser"
}

# It waits for more input, or it has ended.
stopped_reading() {
    local state
    state=$(awk '/^State/ { print $2 }' "/proc/$1/status" 2>/dev/null) || return 0
    [[ $state == S || $state == Z ]] || return 1
    sleep 0.1
    [[ $(awk '/^State/ { print $2 }' "/proc/$1/status" 2>/dev/null) == S ]]
}

@test "a live SET of 200 MB does not stay in memory" {
    parsed "$TMP/out" <<<"entry 0 SET k @200000000"
    [[ $PEAK -lt 16000 ]] || fail "$PEAK kB"
    [[ $(stat -c %s "$TMP/out") -gt 200000000 ]]
    start_redis # the session is cut: what has come is applied
    rediswriter -q "$(target)" "$TMP/out" 2>"$TMP/err" || true
    [[ $(rcli strlen k) -eq 200000000 ]] || fail "$(rcli strlen k): $(cat "$TMP/err")"
}

@test "a live RESTORE of a 200 MB string does not stay in memory" {
    local n=200000000 len
    len=$(printf '%08x' $n)
    # type 0, a 32-bit length, the bytes, RDB version 9, no checksum
    parsed "$TMP/out" <<<"entry 0 RESTORE k 0 %00%80%${len:0:2}%${len:2:2}%${len:4:2}%${len:6:2}@{$n}%09%00%00%00%00%00%00%00%00%00 REPLACE"
    [[ $PEAK -lt 16000 ]] || fail "$PEAK kB"
    [[ $(stat -c %s "$TMP/out") -gt 200000000 ]] || fail "$(cat "$TMP/out.err")"
}

@test "transactions of old masters that never end are refused at a bound, not kept" {
    for ((i = 1; i <= 1300; i++)); do echo "multi 0 :txid=$i DEL @60000"; done >"$TMP/entries"
    parsed "$TMP/out" <"$TMP/entries"
    [[ $status -eq 1 ]] || fail "status $status: $(tail -3 "$TMP/out.err")"
    grep -q 'transactions without their EXEC come to more than 64 MiB' "$TMP/out.err"
    for ((i = 1; i <= 1000; i++)); do echo "multi 0 :txid=$i DEL @60000"; done >"$TMP/entries"
    rm "$TMP/raw"
    parsed "$TMP/out" <"$TMP/entries"
    [[ $PEAK -lt 100000 ]] || fail "$PEAK kB"
}

@test "a live RESTORE of a list of 100 MB does not stay in memory" {
    # type 1: 100,000 elements of 1,000 bytes, each behind a length of two bytes
    local value
    value=$(for ((i = 0; i < 1000; i++)); do printf '%%43%%e8@{1000}'; done)
    {
        printf 'entry 0 RESTORE k 0 %%01%%80%%00%%01%%86%%a0'
        for ((i = 0; i < 100; i++)); do printf %s "$value"; done
        printf '%%09%%00%%00%%00%%00%%00%%00%%00%%00%%00 REPLACE\n'
    } >"$TMP/entry"
    parsed "$TMP/out" <"$TMP/entry"
    [[ $PEAK -lt 16000 ]] || fail "$PEAK kB"
    start_redis
    rediswriter -q "$(target)" "$TMP/out" 2>"$TMP/err" || true
    [[ $(rcli llen k) -eq 100000 && $(rcli lindex k 99999 | wc -c) -eq 1001 ]] || fail "$(rcli llen k): $(cat "$TMP/err")"
}
