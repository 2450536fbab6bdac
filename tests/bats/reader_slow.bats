#!/usr/bin/env bats
# dfreader alone: outputs that are not read, and what does not go on.

load helper
load reading

setup() { reading_setup; }
teardown() {
    common_teardown
    umount "$TMP/spool" 2>/dev/null || true
}

# ---- --spool ----

# A dfreader whose output nobody reads.
queued() { dfreader --ask "$SOCK" | sed -n 's/^session .* queued=\([0-9]*\) .*/\1/p'; }

start_spooled() { # keys options...
    mkdir -p "$TMP/spool"
    start_master --generate --flows 2 --keys "$1" --value-size 1000 --compression none "${MASTER_OPTIONS[@]}"
    cat >"$TMP/pipe" <<EOF
dfreader -v --control $SOCK --spool $TMP/spool ${@:2} dragonfly://127.0.0.1:$MASTER_PORT 2>$TMP/reader.err |
    { until [[ -e $TMP/go ]]; do sleep 0.1; done; exec cat >$RAW; }
EOF
    background bash "$TMP/pipe"
    PIPE=$!
    wait_until 5 status_has "phase=fullsync"
    READER=$(dfreader --ask "$SOCK" | sed -n 's/^session .* pid=\([0-9]*\) .*/\1/p')
}

# The output is read: the stream must be whole.
read_spooled() {
    touch "$TMP/go"
    wait_until 20 cut_delivered || fail "$(cat "$TMP/reader.err")"
    wait_until 20 empty_queue || fail "$(cat "$TMP/reader.err")"
    dfreader --ask "$SOCK" stop
    reap 10 "$PIPE"
    for flow in 0 1; do
        [[ $(probe data "$RAW" $flow | probe sum) == "$(standin_sum $flow)" ]] || fail "flow $flow differs"
    done
}

# It reads nothing any more: it has answered twice, and looked at its flows in between.
standing_still() {
    local before
    before=$(queued)
    [[ $before -gt 0 && $(queued) -eq $before ]]
}

empty_queue() { [[ $(queued) == 0 ]]; }

# Up to the cut: that is what was sent.
standin_sum() { # flow
    local dir=$TMP/capture
    [[ -d $dir ]] || standin --generate --flows 2 --keys "$KEYS" --value-size 1000 --compression none --write-capture "$dir" >/dev/null
    local file
    file=$(grep -l "DFLY FLOW .* $1\b" "$dir"/wire/*.c2s | sed 's/c2s$/s2c/')
    tail -c +55 "$file" | head -c "$(probe data "$RAW" "$1" | wc -c)" | probe sum
}

cut_delivered() { [[ $(grep -c cut-sent "$MASTER_OUT.log") -eq 2 ]]; }

@test "spool: a source is not slowed down by an output that is not read" {
    KEYS=30000
    start_spooled $KEYS --spool-max 100m
    wait_until 10 cut_delivered # 30 MB are on this side
    wait_until 5 eval '[[ $(queued) -gt 28000000 ]]'
    [[ -z $(ls -A "$TMP/spool") ]] # nothing to be left behind
    [[ $(awk '/VmHWM/ { print $2 }' "/proc/$READER/status") -lt 20000 ]]
    read_spooled
    [[ $(lsof_deleted) -eq 0 ]]
}

lsof_deleted() { find "/proc/$READER/fd" -lname "$TMP/spool/*" 2>/dev/null | wc -l; }

@test "spool: at its bound the source is slowed down, and nothing is lost" {
    KEYS=60000
    start_spooled $KEYS --spool-max 8m
    wait_until 10 grep -q event=spool_full "$TMP/reader.err"
    status_has 'alarms=spool-full'
    wait_until 5 standing_still
    [[ $(queued) -lt 10500000 && $(queued) -gt 6000000 ]] || fail "$(queued)"
    ! cut_delivered || fail "all was read"
    read_spooled
    # Which is full again and again while it is read: test_output.c has the clock for what is said when.
    [[ $(grep -c event=spool_full "$TMP/reader.err") -eq 1 ]]
}

@test "spool: that one of a flow's process is full stands in the status of the session" {
    local url out
    start_master --generate --flows 1 --keys 60000 --value-size 1000 --compression none
    url=dragonfly://127.0.0.1:$MASTER_PORT
    mkdir "$TMP/spool"
    mkfifo "$TMP/out"
    exec {out}<>"$TMP/out" # and nobody reads it
    background dfreader --session-only --control "$SOCK" "$url"
    wait_until 5 status_has "flows=1"
    status_has 'alarms= '
    background dfreader --flow 0 --session "$SOCK" --spool "$TMP/spool" --spool-max 1m -o "$TMP/out" "$url"
    wait_until 10 status_has 'alarms=spool-full '
    exec {out}>&-
}

@test "spool: a directory that is not there: status 1" {
    start_master --generate --flows 1 --keys 10
    run dfreader --spool "$TMP/nowhere" "dragonfly://127.0.0.1:$MASTER_PORT" </dev/null
    assert_status 1
    assert_output_has "$TMP/nowhere"
}

@test "spool: a full disk slows the source down, and nothing is lost" {
    mkdir "$TMP/spool"
    mount -t tmpfs -o size=6m tmpfs "$TMP/spool" 2>/dev/null || skip "no file system may be mounted here"
    KEYS=60000
    start_spooled $KEYS --spool-max 64m
    wait_until 10 grep -q 'event=spool_full.*No space left' "$TMP/reader.err"
    ! cut_delivered || fail "all was read"
    read_spooled
}

@test "spool: full or not, during STARTSTABLE everything is read" {
    MASTER_OPTIONS=(--startstable-delay 1000)
    KEYS=300
    start_spooled $KEYS --spool-max 1m
    touch "$TMP/go"
    wait_until 5 grep -qa nonce= "$RAW"
    NONCE=$(session_value nonce)
    kill -STOP "$(pgrep -P "$PIPE" -x cat)"
    echo quit | to_stable 2 | parser
    [[ $(queued) -gt 4000000 ]] || fail "$(queued)"
    kill -CONT "$(pgrep -P "$PIPE" -x cat)"
    wait_until 20 empty_queue
}

# ---- what does not go on ----

logged_once() { [[ $(grep -c "$1" "$TMP/reader.err") -eq 1 ]] || fail "$1: $(cat "$TMP/reader.err")"; }

@test "health: a flow that is silent in the full sync: a warning, and then status 75" {
    start_master --generate --flows 2 --keys 2000 --stall flow=1,bytes=3000
    start_reader --stall-timeout 5
    wait_until 3 status_has 'alarms=flow-silent '
    status_has '^flow flow=1 .* silent=[0-4] '
    reap 8 "$READER"
    [[ $status -eq 75 ]]
    grep -q 'flow=1 event=flow_silent' "$TMP/reader.err"
    grep -q 'flow [01] has not moved for 5 seconds' "$TMP/reader.err"
    [[ $(grep -c event=flow_silent "$TMP/reader.err") -le 2 ]] || fail "$(cat "$TMP/reader.err")"
}

@test "health: a master that does not answer any more: a warning, and then status 75" {
    start_master --generate --flows 2 --keys 20
    start_reader --ping-timeout 5
    echo quit | to_stable 2 | parser
    kill -STOP "$MASTER_PID"
    wait_until 5 status_has 'alarms=master-silent '
    reap 8 "$READER"
    [[ $status -eq 75 ]]
    logged_once event=master_silent
    grep -q 'no answer to DFLY REPLICAOFFSET for 5 seconds' "$TMP/reader.err"
}

pinged() { [[ $(grep -c 'text="PING"' "$MASTER_OUT.log") -ge 2 ]]; } # once in the handshake

@test "health: one that answers in time is no alarm, in the full sync too" {
    start_master --generate --flows 2 --keys 20
    start_reader --ping-timeout 6
    wait_until 5 pinged
    kill -STOP "$MASTER_PID"
    wait_until 5 status_has 'alarms=master-silent '
    kill -CONT "$MASTER_PID"
    wait_until 5 status_has 'alarms= '
    echo quit | to_stable 2 | parser
    grep -q event=master_answers "$TMP/reader.err"
}

@test "health: a FLUSH that waits at the writer: everything is read, a warning, and then status 75" {
    start_master --generate --flows 2 --keys 20
    start_reader --barrier-timeout 5
    echo "barrier epoch=1 pending=1" | start_writer
    echo quit | to_stable 2 | parser
    wait_until 5 status_has 'alarms=barrier '
    reap 8 "$READER"
    [[ $status -eq 75 ]]
    logged_once event=barrier_waits
}

@test "health: a FLUSH that waits at the writer and is complete in time: the alarm ends" {
    start_master --generate --flows 2 --keys 20
    start_reader --barrier-timeout 8
    mkfifo "$TMP/says"
    background bash -c 'exec probe talk "$1" "role=writer nonce=$2" <"$3"' - "$SOCK" "$NONCE" "$TMP/says"
    exec {says}>"$TMP/says"
    echo "barrier epoch=1 pending=1" >&"$says"
    wait_until 5 status_has 'alarms=barrier '
    echo "barrier epoch=1 pending=0" >&"$says"
    wait_until 5 grep -q event=barrier_complete "$TMP/reader.err"
    status_has 'alarms= '
    logged_once event=barrier_waits
    exec {says}>&-
}

@test "health: while a FLUSH waits all flows are read, whatever the output takes" {
    KEYS=60000
    MASTER_OPTIONS=(--slow 12000000)
    start_spooled $KEYS --spool-max 1m
    touch "$TMP/go"
    wait_until 5 grep -qa nonce= "$RAW"
    NONCE=$(session_value nonce)
    kill -STOP "$(pgrep -P "$PIPE" -x cat)"
    wait_until 10 grep -q event=spool_full "$TMP/reader.err"
    echo "barrier epoch=1 pending=1" | start_writer
    wait_until 10 eval '[[ $(queued) -gt 12000000 ]]'
    kill -CONT "$(pgrep -P "$PIPE" -x cat)"
    wait_until 20 empty_queue
}

@test "status: how far the master is, and the lag of what was applied" {
    start_old_master 2
    start_reader
    printf '%s\n' "applied flow=0 epoch=1 pos=$((ENDS[0] - 7))" | start_writer
    { cat; echo quit; } </dev/null | to_stable 2 | parser
    wait_until 5 status_has "^flow flow=0 .*applied=$((ENDS[0] - 7)) .*head=[1-9][0-9]* lag=[1-9][0-9]* "
    status_has '^flow flow=1 .*applied=0 .*head=[1-9][0-9]* lag=- '
}
