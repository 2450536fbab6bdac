#!/usr/bin/env bats
# Recorded sessions end with the recorded data set, and with exactly the recorded positions acknowledged.

load helper

setup() { common_setup; }
teardown() { common_teardown; }

# Replay a capture through the pipeline until every position was acknowledged; then stop from the source side.
replay() { # capture mode split
    start_redis
    start_master --capture "$CAPTURES/$1" --split "$3" --seed "$RANDOM" --expect-final-acks "$(meta "$1" lsns)" --timeout 60
    local -a mode=()
    [[ $2 == single ]] && mode=(--single)
    background df2redis "${mode[@]}" replicate "dragonfly://127.0.0.1:$MASTER_PORT" "redis://127.0.0.1:$REDIS_PORT" \
        2>"$TMP/err"
    local pipeline=$!
    reap 70 "$MASTER_PID"
    [[ $status -eq 0 ]] || { tail -5 "$MASTER_OUT" >&2; grep -v not_carried_over "$TMP/err" >&2; fail "stand-in: status $status"; }
    reap 20 "$pipeline"
    # The stand-in left when it had what it waited for: that is a lost master.
    [[ $status -eq 75 ]] || fail "pipeline: status $status"
    assert_equals_capture "$1"
}

@test "basic-2flows, one process" { replay basic-2flows single 1-300; }
@test "big-values, one process" { replay big-values single 1-65536; }
@test "global-commands, one process" { replay global-commands single 1-300; }
@test "interleaved-chunks, one process" { replay interleaved-chunks single 1-65536; }
@test "lzf-2flows, one process" { replay lzf-2flows single 1-300; }
@test "plain-1flow, one process" { replay plain-1flow single 1-300; }
@test "v1.27-basic-2flows, one process" { replay v1.27-basic-2flows single 1-300; }
@test "v1.27-writes-during-fullsync, one process" { replay v1.27-writes-during-fullsync single 1-300; }
@test "writes-during-fullsync, one process" { replay writes-during-fullsync single 1-65536; }
@test "zstd-4flows, one process" { replay zstd-4flows single 1-300; }

@test "basic-2flows, one process per flow" { replay basic-2flows flows 1-65536; }
@test "big-values, one process per flow" { replay big-values flows 1-65536; }
@test "global-commands, one process per flow" { replay global-commands flows 1-65536; }
@test "interleaved-chunks, one process per flow" { replay interleaved-chunks flows 1-65536; }
@test "lzf-2flows, one process per flow" { replay lzf-2flows flows 1-65536; }
@test "plain-1flow, one process per flow" { replay plain-1flow flows 1-65536; }
@test "v1.27-basic-2flows, one process per flow" { replay v1.27-basic-2flows flows 1-65536; }
@test "v1.27-writes-during-fullsync, one process per flow" { replay v1.27-writes-during-fullsync flows 1-65536; }
@test "writes-during-fullsync, one process per flow" { replay writes-during-fullsync flows 1-65536; }
@test "zstd-4flows, one process per flow" { replay zstd-4flows flows 1-65536; }

# One byte a write: every item is split everywhere.
@test "plain-1flow, single bytes" { replay plain-1flow single 1-1; }
@test "zstd-4flows, single bytes" { replay zstd-4flows flows 1-1; }

# The data set when the connections were cut is not recorded, the positions are: those the replica came back with.
@test "partial-resync, up to the cut of its connections" {
    start_redis
    local -a lsn=()
    for c2s in "$CAPTURES"/partial-resync/wire/0[45].c2s; do
        read -r _ _ _ _ flow next _ <<<"$(head -1 "$c2s" | tr -d '\r')"
        lsn[flow]=$next
    done
    [[ ${#lsn[@]} -eq 2 ]] || fail "LSNs not found"
    start_master --capture "$CAPTURES/partial-resync" --expect-final-acks "${lsn[0]},${lsn[1]}" --timeout 30
    background df2redis replicate "dragonfly://127.0.0.1:$MASTER_PORT" "redis://127.0.0.1:$REDIS_PORT"
    reap 40 "$MASTER_PID"
    [[ $status -eq 0 ]] || fail "stand-in: status $status"
}
