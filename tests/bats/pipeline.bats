#!/usr/bin/env bats
# What single journal entries, odd keys and odd moments come to. The streams are made by hand, a byte at a time.

load helper

setup() {
    common_setup
    FLOW=$TMP/flow
    : >"$FLOW"
}

teardown() { common_teardown; }

# ---- a flow's bytes (dragonfly-replication(7), FULL SYNC, JOURNAL), appended to $FLOW ----

bytes() { printf '%b' "$1" >>"$FLOW"; }

le() { # number of bytes, value
    local i
    for ((i = 0; i < $1; i++)); do printf '\\x%02x' $((($2 >> (8 * i)) & 255)); done
}

plen() {
    if [[ $1 -lt 64 ]]; then
        printf '\\x%02x' "$1"
    elif [[ $1 -lt 16384 ]]; then
        printf '\\x%02x\\x%02x' $((64 | $1 >> 8)) $(($1 & 255))
    else
        printf '\\x80\\x%02x\\x%02x\\x%02x\\x%02x' $(($1 >> 24)) $(($1 >> 16 & 255)) $(($1 >> 8 & 255)) $(($1 & 255))
    fi
}

text() { printf '%s%s' "$(plen ${#1})" "$1"; } # no backslashes

# A journal entry, as it stands in the stable stream.
entry() { # database word…
    local db=$1 total=0 word out=
    shift
    for word; do
        total=$((total + ${#word}))
        out+=$(text "$word")
    done
    printf '%s' "\\x06$(plen "$db")\\x0a\\x00\\x01$(plen $#)$(plen $total)$out"
}

# The same within the full sync.
blob() {
    local e=$1 n
    n=$(printf '%b' "$e" | wc -c)
    printf '%s' "\\xd2\\x01$(plen "$n")$e"
}

TOKEN=0123456789012345678901234567890123456789
magic() { bytes "REDIS0009\\xfa\\x06df-ver\\x0adf-v1.40.1"; }
cut() { bytes "\\xc8$(le 8 0)"; }
end_of_sync() { bytes "\\xd3$(le 8 100)\\xff$(le 8 0)$TOKEN"; }

# A full sync of nothing, and then entries: one line each.
journal() {
    local line
    magic
    cut
    end_of_sync
    while IFS= read -r line; do
        # shellcheck disable=SC2086
        bytes "$(entry 0 $line)"
    done
}

# ---- raw records (dfrecord(5)) ----

record() { # type file
    printf '%b' "$(le 4 "$(wc -c <"$2")")$(le 1 "$1")\\x00\\x00\\x00\\x00\\x00\\xff\\xff\\x01\\x00\\x00\\x00$(le 4 0)$(le 4 0)$(le 8 0)$(le 8 "${3-0}")$(le 8 "${EPOCHREALTIME/./}")"
    cat "$2"
}

raw_stream() { # number of flows: $FLOW is the first
    local at
    printf 'DFREC\r\n\032\001\000R\000\000\000\000\000\000\000\000\000\000\000\000\000'
    printf 'nonce=00112233445566778899aabbccddeeff\nsource=dragonfly\nflows=%d\nepoch=1\njournal=1\n' "$1" >"$TMP/meta"
    record 1 "$TMP/meta"
    printf 'flow=0\nmode=FULL\ntoken=%s\n' "$TOKEN" >"$TMP/meta"
    record 2 "$TMP/meta"
    for ((at = 0; at < $(wc -c <"$FLOW"); at += 1000000)); do
        tail -c +$((at + 1)) "$FLOW" | head -c 1000000 >"$TMP/piece"
        record 16 "$TMP/piece" "$at"
    done
    printf 'reason=complete\nstatus=0\n' >"$TMP/meta"
    record 3 "$TMP/meta"
}

apply() { # number of flows, expected status of dfparse
    start_redis
    raw_stream "$1" >"$TMP/raw"
    run bash -c "dfparse -t 7.0 '$TMP/raw' 2>'$TMP/err' | rediswriter redis://127.0.0.1:$REDIS_PORT; exit \${PIPESTATUS[0]}"
    assert_status "$2"
}

@test "DELEX deletes only where its condition holds: it is logged in any case" {
    journal <<'END'
SET a here
DELEX a IFEQ gone
SET b here
DELEX b IFEQ here
SET c here
DELEX c ifne here
SET d here
DELEX d IFNE gone
SET e here
DELEX e
DELEX nokey IFEQ x
SET f here
DELEX f IFDEQ 1234
END
    apply 2 3
    [[ $(rcli get a) == here && $(rcli get c) == here ]]
    [[ $(rcli exists b d e) -eq 0 ]]
    grep -q "kind=command-needs-source.*key=.f" "$TMP/err"
}

@test "an expiry of fields that is over at once takes the fields away, whatever the target" {
    journal <<'END'
HSET h a 1 b 2 c 3 d 4
HEXPIRE h 0 FIELDS 2 a b
HGETEX h EX 0 FIELDS 1 c
HGETEX h FIELDS 1 d
HGETEX h PERSIST FIELDS 1 d
END
    apply 2 0
    [[ $(rcli hgetall h) == $'d\n4' ]]
    raw_stream 2 >"$TMP/raw"
    run dfparse -t 7.4 --json "$TMP/raw"
    assert_output_has '["HDEL","h","a","b"]'
    assert_output_has '["HDEL","h","c"]'
    assert_output_has '["HPERSIST","h","FIELDS","1","d"]'
    : >"$FLOW"
    journal <<<'HEXPIRE h 100 GT FIELDS 1 a'
    raw_stream 2 >"$TMP/raw"
    run dfparse -t 7.4 --json "$TMP/raw"
    [[ $output =~ \"HPEXPIREAT\",\"h\",\"[0-9]{13}\",\"GT\",\"FIELDS\",\"1\",\"a\" ]]
}

@test "SORT ... STORE with all its keys is applied, of nothing it leaves the destination, a truncated one is reported" {
    journal <<'END'
RPUSH l 3 1 2
SORT l DESC STORE sorted
SORT nothing STORE sorted
SORT other
GEOADD g 13.361389 38.115556 Palermo 15.087269 37.502669 Catania
GEORADIUS g 15 37 200 km STORE near
GEORADIUSBYMEMBER nothing m 200 km STORE near
GEORADIUS g
END
    apply 2 3
    [[ $(rcli lrange sorted 0 -1) == $'3\n2\n1' && $(rcli zcard near) -eq 2 ]]
    [[ $(grep -c kind=command-needs-source "$TMP/err") -eq 2 ]]
}

@test "XCLAIM of nothing makes its consumer all the same" {
    journal <<'END'
XADD x 1-1 f v
XGROUP CREATE x g 0
XCLAIM x g c1 0 1-1
XAUTOCLAIM x g c2 0 0
XCLAIM x g c3 0 1-1 TIME 1700000000000 RETRYCOUNT 1 FORCE JUSTID LASTID 1-1
END
    apply 2 0
    [[ $(rcli xinfo consumers x g | grep -c '^c[123]$') -eq 3 ]]
}

@test "MOVE and RENAMENX that stand before the cut are named: what was in their way had perhaps not come" {
    magic
    bytes "\\xfe\\x00\\x00$(text k)$(text one)"
    bytes "$(blob "$(entry 0 MOVE k 3)")$(blob "$(entry 0 RENAMENX no way)")$(blob "$(entry 0 COPY k c)")"
    cut
    bytes "$(blob "$(entry 0 SET l two)")$(blob "$(entry 0 MOVE l 3)")"
    end_of_sync
    raw_stream 1 >"$TMP/raw"
    run bash -c "dfparse -t 7.0 '$TMP/raw' 2>&1 >/dev/null"
    assert_status 3
    [[ $(grep -c kind=command-in-snapshot <<<"$output") -eq 3 ]]
}

@test "many things of a kind that cannot be carried over: ten lines and a count, all of them in the report" {
    magic
    cut
    end_of_sync
    local one
    one=$(entry 0 CF.ADD filter item)$(entry 0 NOSUCH command)
    for _ in 1 2 3 4 5 6; do one+=$one; done # 64
    for _ in 1 2 3 4 5 6 7 8; do bytes "$one"; done
    raw_stream 1 >"$TMP/raw"
    run bash -c "dfparse --json --report '$TMP/report' '$TMP/raw' 2>'$TMP/err' | grep -c '\"type\":\"report\"'; exit \${PIPESTATUS[0]}"
    assert_status 3
    [[ $output -eq 1024 && $(wc -l <"$TMP/report") -eq 1024 ]]
    [[ $(grep -c not_carried_over "$TMP/err") -eq 22 ]]
    grep -q 'kind=probabilistic count=512' "$TMP/err"
    grep -q 'kind=unknown-command count=512' "$TMP/err"
}

@test "long keys with long values stay within a record" {
    local key value
    head -c 900000 /dev/zero | tr '\0' k >"$TMP/key"
    head -c 200000 /dev/zero | tr '\0' v >"$TMP/value"
    key=$(<"$TMP/key") value=$(<"$TMP/value")
    magic
    # A list of one plain node, RESTOREd as it is when there is room for key and value.
    bytes "\\xfe\\x00\\x12$(plen 500000)${key:0:500000}\\x01\\x01$(plen 700000)${key:0:700000}"
    # A key that does not fit a record: a string, and a hash of commands.
    bytes "\\x00$(plen 1800000)$key$key\\x03abc"
    bytes "\\x04$(plen 1800001)$key${key}h\\x01$(text f)$(text v)"
    cut
    end_of_sync
    # RESTORE of a string: type, length, bytes, version 9, no checksum.
    local n=$((1 + 5 + 200000 + 10))
    bytes "\\x06\\x00\\x0a\\x00\\x01\\x05$(plen $((7 + 900000 + 1 + n + 7)))$(text RESTORE)$(plen 900000)$key\\x010$(plen $n)"
    bytes "\\x00$(plen 200000)$value\\x09\\x00$(le 8 0)$(text REPLACE)"
    start_redis
    raw_stream 1 >"$TMP/raw"
    run bash -c "set -o pipefail; dfparse -t 7.0 --restore-limit 768k '$TMP/raw' | rediswriter redis://127.0.0.1:$REDIS_PORT"
    assert_status 0
    [[ $(printf '%s' "${key:0:500000}" | rcli -x llen) -eq 1 ]]
    [[ $(rcli -x strlen <"$TMP/key") -eq 200000 ]]
    [[ $(printf '%s' "$key$key" | rcli -x get) == abc ]]
    [[ $(printf '%s' "$key${key}h" | rcli -x hgetall) == $'f\nv' ]]
}

@test "RESTORE of what the target cannot hold leaves no older value behind" {
    journal <<<'SET j old'
    bytes "\\x06\\x00\\x0a\\x00\\x01\\x05$(plen $((7 + 1 + 1 + 19 + 7)))$(text RESTORE)$(text j)$(text 0)"
    bytes "$(plen 19)\\x1e$(text '{"a":1}')\\x09\\x00$(le 8 0)$(text REPLACE)"
    apply 1 3
    grep -q kind=json "$TMP/err"
    [[ $(rcli exists j) -eq 0 ]]
}

@test "a password with backslashes and percent signs" {
    start_redis
    start_master --generate --keys 100 --password 'a\tb%20\\c:d@e'
    run df2redis migrate "dragonfly://:a\\tb%2520\\\\c:d%40e@127.0.0.1:$MASTER_PORT" "redis://127.0.0.1:$REDIS_PORT"
    assert_status 0
    [[ $(rcli dbsize) -ge 100 ]]
}

@test "a question to a dfreader that does not answer can be stopped" {
    start_master --generate
    background dfreader --session-only --control "$TMP/control" "dragonfly://127.0.0.1:$MASTER_PORT"
    local owner=$!
    wait_until 5 test -S "$TMP/control"
    kill -STOP "$owner"
    run timeout -k 20 0.3 dfreader --ask "$TMP/control"
    kill -CONT "$owner"
    assert_status 124 # 137 if it had to be killed
}

@test "a flow's process that finds no session ends its stream in order" {
    run bash -c "dfreader --flow 3 --session '$TMP/none' --connect-timeout 1 dragonfly://127.0.0.1:1 | dfparse --null; echo \${PIPESTATUS[@]}"
    [[ ${lines[-1]} == '1 1' ]] || fail "$output"
}

nothing_runs() { ! pgrep -f "$XDG_RUNTIME_DIR"; }

@test "a stop at any moment of the start ends in order" {
    start_redis
    start_master --generate --flows 4 --keys 20000 --slow 400000
    local delay
    for delay in 0.005 0.02 0.04 0.06 0.08 0.1 0.12 0.15 0.2 0.3; do
        rcli flushall
        background df2redis replicate "dragonfly://127.0.0.1:$MASTER_PORT" "redis://127.0.0.1:$REDIS_PORT" 2>"$TMP/err"
        local pid=$!
        sleep "$delay"
        kill "$pid"
        reap 5 "$pid" || { cat "$TMP/err" >&2; fail "after $delay s: does not end"; }
        # Before bash has come to its first line the signal kills it.
        [[ $status -eq 5 || $status -eq 0 || $status -eq 143 ]] || { cat "$TMP/err" >&2; fail "after $delay s: status $status"; }
        wait_until 1 nothing_runs || fail "after $delay s: something is left: $(pgrep -af "$XDG_RUNTIME_DIR")"
    done
}

@test "a stage that crashes while others are still being started is noticed" {
    start_redis
    start_master --generate --flows 4 --keys 20000 --slow 400000
    local delay pid
    for delay in 0 0.02 0.05 0.08 0.12; do
        rcli flushall
        background df2redis replicate "dragonfly://127.0.0.1:$MASTER_PORT" "redis://127.0.0.1:$REDIS_PORT" 2>"$TMP/err"
        pid=$!
        wait_until 5 pgrep -P "$pid" -f 'dfreader.*--session-only'
        sleep "$delay"
        kill -SEGV "$(pgrep -P "$pid" -f 'dfreader.*--session-only' | head -1)"
        reap 4 "$pid" || { cat "$TMP/err" >&2; fail "after $delay s: does not end"; }
        [[ $status -ne 0 ]] || fail "after $delay s: status 0"
    done
}

@test "a flow's process that is stopped before it has found its session" {
    background dfreader --flow 3 --session "$TMP/none" dragonfly://127.0.0.1:1 -o "$TMP/raw" 2>"$TMP/err"
    local pid=$!
    wait_until 10 takes_term "$pid" dfreader
    kill -TERM "$pid"
    reap 10 "$pid"
    [[ $status -eq 5 ]] || fail "status $status: $(cat "$TMP/err")"
    ! grep -E 'level=(error|warn)' "$TMP/err" || fail "$(cat "$TMP/err")"
}
