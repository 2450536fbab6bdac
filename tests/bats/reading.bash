# For suites of dfreader alone: a stand-in as the master, the test as parser and writer.
# shellcheck shell=bash disable=SC2034,SC2119,SC2120,SC2154 # variables for the suites and of bats, optional arguments

reading_setup() {
    common_setup
    SOCK=$TMP/c.sock
    RAW=$TMP/raw
}

# A dfreader with a control socket at $SOCK, stream in $RAW. Sets READER and NONCE.
start_reader() { # options
    rm -f "$SOCK" "$RAW"
    background dfreader -v --control "$SOCK" "$@" "dragonfly://127.0.0.1:$MASTER_PORT" >"$RAW" 2>"$TMP/reader.err"
    READER=$!
    wait_until 5 grep -qa 'nonce=' "$RAW" || { cat "$TMP/reader.err" >&2; return 1; }
    NONCE=$(session_value nonce)
}

session_value() { probe records "$RAW" | grep '^session ' | tail -1 | sed -n "s/.* $1=\([^ ]*\).*/\1/p"; }

# Lines of standard input to the control socket; what comes back.
parser() { probe talk "$SOCK" "role=parser nonce=$NONCE"; }
writer() { probe talk "$SOCK" "role=writer nonce=$NONCE"; }

status_has() { dfreader --ask "$SOCK" | grep -q -- "$1"; }

# As a parser: all flows are cut and synced, then the lines of standard input.
to_stable() { # flows
    local i
    wait_until 5 status_has "phase=fullsync"
    wait_until 5 cuts_sent "$1"
    for ((i = 0; i < $1; i++)); do echo "cut flow=$i epoch=1"; done
    for ((i = 0; i < $1; i++)); do echo "synced flow=$i epoch=1"; done
    wait_until 5 status_has "phase=stable"
    cat
}

cuts_sent() { # flows: in the newest full sync
    [[ $(awk '/event=full-sync / { n = 0 } /event=cut-sent / { n++ } END { print n }' "$MASTER_OUT.log") -ge $1 ]]
}

keys() { probe records "$RAW" | grep '^key '; }

# A writer in the background (WRITER), which stays; it says the lines of standard input.
start_writer() {
    cat >"$TMP/said"
    # In the background its input would be /dev/null.
    background bash -c "exec probe talk '$SOCK' 'role=writer nonce=$NONCE' <'$TMP/said'" >"$TMP/heard"
    WRITER=$!
}

# A master with a past: a full sync and a journal behind it. Sets REPLID and ENDS, the next LSNs.
start_old_master() { # flows options...
    start_master --generate --flows "$1" --keys 20 --fullsync-journal 4 --journal-ops 40 --journal-kind incr "${@:2}"
    start_reader
    echo quit | to_stable "$1" | parser
    wait_until 5 eval "[[ \$(dfparse --json <'$RAW' | grep -c '\"args\":\[\"INCR') -eq $((40 + 4 * $1)) ]]"
    dfreader --ask "$SOCK" stop
    reap 5 "$READER"
    REPLID=$(session_value replid)
    mapfile -t ENDS < <(redis-cli -p "$MASTER_PORT" dfly replicaoffset)
    cp "$RAW" "$TMP/first"
}
