#!/usr/bin/env bats
# dfreader alone: what it says to a master and puts into its stream, with the test as parser and writer.

load helper

setup() {
    common_setup
    SOCK=$TMP/c.sock
    RAW=$TMP/raw
}
teardown() { common_teardown; }

# A dfreader with a control socket at $SOCK, stream in $RAW. Sets READER and NONCE.
start_reader() { # options
    rm -f "$SOCK" "$RAW"
    background dfreader -v --control "$SOCK" "$@" "dragonfly://127.0.0.1:$MASTER_PORT" >"$RAW" 2>"$TMP/reader.err"
    READER=$!
    wait_until 5 grep -qa 'nonce=' "$RAW" || { cat "$TMP/reader.err" >&2; return 1; }
    NONCE=$(session_value nonce)
}

session_value() { probe records "$RAW" | sed -n "s/^session .* $1=\([^ ]*\).*/\1/p" | tail -1; }

# Lines of standard input to the control socket; what comes back.
parser() { probe talk "$SOCK" "role=parser nonce=$NONCE"; }
writer() { probe talk "$SOCK" "role=writer nonce=$NONCE"; }

status_has() { dfreader --ask "$SOCK" | grep -q -- "$1"; }

# As a parser: all flows are cut and synced, then the lines of standard input.
to_stable() { # flows
    local i
    wait_until 5 status_has "phase=fullsync"
    wait_until 5 grep -q "cut-sent" "$MASTER_OUT.log"
    sleep 0.2
    for ((i = 0; i < $1; i++)); do echo "cut flow=$i epoch=1"; done
    for ((i = 0; i < $1; i++)); do echo "synced flow=$i epoch=1"; done
    wait_until 5 status_has "phase=stable"
    cat
}

keys() { probe records "$RAW" | grep '^key '; }

@test "SESSION names the databases that hold keys" {
    start_master --generate --flows 2 --keys 10 --dbs 0,3,11
    start_reader
    [[ $(session_value dbs) == 0,3,11 ]] || fail "$(session_value dbs)"
    start_master --generate --flows 2 --keys 10 --dbs ''
    start_reader
    probe records "$RAW" | grep -q '^session .* dbs= control=' || fail "$(probe records "$RAW")"
}

@test "a key is read again: value, time to live, missing, another database, a large one in several records" {
    cat >"$TMP/values" <<EOF
0 small -1 000362617209001122
3 timed 86400000 0003626172
0 large -1 *3000000
EOF
    start_master --generate --flows 2 --keys 10 --values "$TMP/values" --journal-ops 20
    start_reader
    {
        for key in small timed large; do
            for db in 0 3; do echo "reread flow=1 epoch=1 db=$db key=$key"; done
        done
        echo "reread flow=0 epoch=1 db=0 key=small"
        echo "reread flow=0 epoch=2 db=0 key=large"
        echo "reread flow=7 epoch=1 db=0 key=large"
        echo "reread flow=0 epoch=1 db=99 key=%00%20a"
        echo quit
    } | to_stable 2 | parser
    wait_until 5 grep -qa 'key=%00%20a' "$RAW"
    # One further connection did all of it.
    [[ $(grep -c event=accepted "$MASTER_OUT.log") -eq 4 ]] || fail "$(grep event=accepted "$MASTER_OUT.log")"
    run keys
    [[ $(grep -c ' state=' <<<"$output") -eq 8 ]] || fail "$output"
    assert_output_has 'key flow=1 epoch=1 pos=0 len=58 db=0 more=0 key=small db=0 state=value ttl=-1 from=11 to=11 bytes=9 sum='
    assert_output_has 'key=timed db=3 state=value ttl=86400000 from=11 to=11 bytes=5 sum='
    assert_output_has 'key=timed db=0 state=missing from=11 to=11 bytes=0'
    [[ $(grep -c 'db=0 more=1' <<<"$output") -eq 22 ]] || fail "$output"
    assert_output_has "bytes=3000000 $(redis-cli -p "$MASTER_PORT" --raw dump large | head -c 3000000 | probe sum)"
    assert_output_has 'state=error error=ERR%20DB%20index%20is%20out%20of%20range'
}

@test "a key is read again by the process that has the flow" {
    printf '0 k -1 *200000\n' >"$TMP/values"
    start_master --generate --flows 2 --keys 10 --values "$TMP/values" --password 'a b'
    export DF2REDIS_SOURCE_PASSWORD='a b'
    background dfreader --session-only --control "$SOCK" "dragonfly://127.0.0.1:$MASTER_PORT"
    wait_until 5 status_has "flows=2"
    for i in 0 1; do
        background dfreader --flow $i --session "$SOCK" "dragonfly://127.0.0.1:$MASTER_PORT" >"$TMP/raw.$i"
    done
    wait_until 5 grep -qa 'nonce=' "$TMP/raw.1"
    RAW=$TMP/raw.1
    NONCE=$(session_value nonce)
    { for _ in {1..300}; do echo "reread flow=1 epoch=1 db=0 key=k"; done; echo quit; } | to_stable 2 | parser
    dfreader --ask "$SOCK" stop # waits for what was asked before
    wait_until 10 grep -qa reason=stop "$RAW"
    [[ $(keys | grep -c bytes=200000) -eq 300 ]] || fail "$(keys | wc -l) $(probe records "$RAW" | tail -3)"
    RAW=$TMP/raw.0
    ! keys || fail "keys in the other flow"
}

@test "a connection that breaks under a re-read is opened once more, and then the answer is an error" {
    printf '0 k -1 00\n' >"$TMP/values"
    start_master --generate --flows 1 --keys 10 --values "$TMP/values" --close-at-dump 1
    start_reader
    { echo "reread flow=0 epoch=1 db=0 key=k"; echo quit; } | to_stable 1 | parser
    wait_until 5 grep -qa 'state=value' "$RAW"
    [[ $(grep -c event=accepted "$MASTER_OUT.log") -eq 4 ]]
}

@test "limits go to every writer, also to one that comes later" {
    start_master --generate --flows 1 --keys 10
    start_reader
    printf 'until ops=500\nquit\n' | writer >"$TMP/first" &
    local first=$!
    wait_until 5 status_has "writers=1"
    run dfreader --ask "$SOCK" limit ops=500
    assert_status 0
    assert_output_has 'limited writers=1'
    wait "$first"
    grep -qx 'limit ops=500' "$TMP/first"
    reap 5 "$READER" # it has lost its writer
    start_reader
    dfreader --ask "$SOCK" limit bytes=7
    dfreader --ask "$SOCK" limit ops=9
    printf 'until limit\nquit\n' | writer | grep -qx 'limit ops=9 bytes=7'
    run dfreader --ask "$SOCK" limit ops=many
    assert_status 2
    run dfreader --ask "$SOCK" limit
    assert_status 2
}
