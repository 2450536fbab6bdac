#!/usr/bin/env bats
# Recorded masters whose connection is cut anywhere: the session goes on behind the last byte that came.

load helper
load psyncing

setup() { common_setup; }
teardown() { common_teardown; }

# The stand-in plays a recording until all of it is acknowledged; one run of the task, which is never begun anew.
replay_in_one_session() { # capture single|flows [options of the stand-in…]
    local capture=$1 mode=$2
    shift 2
    choose_server "$capture"
    start_redis
    start_psync "$capture" "$(final_offset "$capture")" "$@"
    local -a options=(--acknowledge exact)
    [[ $mode == single ]] && options+=(--single)
    background df2redis -v "${options[@]}" replicate "$SOURCE" "redis://127.0.0.1:$REDIS_PORT" 2>"$TMP/task.err"
    TASK=$!
    reap 60 "$MASTER_PID"
    master_satisfied
    df2redis stop >/dev/null
    wait_until 20 ended "$TASK"
    assert_equals_recorded "$capture" ''
    [[ $(full_syncs) -eq 1 ]] || fail "$(grep 'psync session' "$MASTER_OUT.log")"
}

partial_syncs() { grep -c 'reply="+CONTINUE' "$MASTER_OUT.log"; }
full_syncs() { grep -c 'reply="+FULLRESYNC' "$MASTER_OUT.log"; }

@test "cut in a command, in a MULTI, in a command of a MULTI, between commands: what came is not asked for again" {
    local mode
    for mode in single flows; do
        replay_in_one_session psync-7.0-basic "$mode" --cut-at command --cut-at multi,session=2 --cut-at multi-command,session=3 \
            --cut-at boundary,session=4 --split 1-5000 --seed "$RANDOM"
        [[ $(partial_syncs) -eq 4 ]] || fail "$(grep 'psync session' "$MASTER_OUT.log")"
        [[ $(grep -c event=flow_reconnected "$TMP/task.err") -eq 4 ]]
    done
}

@test "cut every 2 to 10 KiB of the stream" {
    replay_in_one_session psync-7.0-basic single --cut-every 2000-10000 --seed "$RANDOM"
    [[ $(partial_syncs) -ge 8 ]] || fail "$(grep 'psync session' "$MASTER_OUT.log")"
    replay_in_one_session psync-6.2-commands flows --cut-every 500-9000 --seed "$RANDOM"
}

# The raw stream is the same as without a cut, byte by byte, and its flow is numbered in one.
@test "the raw stream of a session with cuts is that of one without" {
    local sum
    start_master --capture "$CAPTURES/psync-7.0-basic" --form disk
    background dfreader -o "$TMP/whole" "redis://127.0.0.1:$MASTER_PORT"
    local reader=$! bytes
    bytes=$(($(wc -c <"$CAPTURES/psync-7.0-basic/wire/00.s2c") - 400))
    wait_until 10 eval "[[ \$(probe data '$TMP/whole' 0 2>/dev/null | wc -c) -ge $bytes ]]"
    kill "$reader" "$MASTER_PID"
    wait_until 5 ended "$reader"
    sum=$(probe data "$TMP/whole" 0 | head -c "$bytes" | probe sum)
    start_master --capture "$CAPTURES/psync-7.0-basic" --form disk --cut-every 700-3000 --seed "$RANDOM"
    background dfreader -v -o "$TMP/cut" "redis://127.0.0.1:$MASTER_PORT" 2>"$TMP/reader.err"
    reader=$!
    wait_until 20 eval "[[ \$(probe data '$TMP/cut' 0 2>/dev/null | wc -c) -ge $bytes ]]"
    kill "$reader"
    wait_until 5 ended "$reader"
    [[ $(probe data "$TMP/cut" 0 | head -c "$bytes" | probe sum) == "$sum" ]]
    [[ $(grep -c event=flow_reconnected "$TMP/reader.err") -ge 5 ]]
}

@test "two promotions: the id changes twice, and a task that is started later goes on by the last one" {
    replay_in_one_session psync-7.0-failover single
    [[ $(grep -c event=lineage "$TMP/task.err") -eq 2 ]] || fail "$(cat "$TMP/task.err")"
    local id
    id=$(sed -n 's/.*event=lineage replid=\([0-9a-f]*\).*/\1/p' "$TMP/task.err" | tail -1)
    rcli hget df2redis:{default} l0 | grep -q "^$id"
}
