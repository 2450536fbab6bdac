#!/usr/bin/env bats
# Recorded sessions of Redis and Valkey masters end with the recorded data set, and with exactly the last offset
# acknowledged: in one process and a process per flow, in random pieces, over cuts, failovers and restarts.

load helper
load psyncing

setup() { common_setup; }
teardown() { common_teardown; }

# What Redis 7.0 cannot hold or be told, by the keys of the recordings: fields that expire, vector sets, SET with IFEQ,
# MSETEX, XADD IDMP, BITOP DIFF, BYPOLYGON ...
NEWER='^new:|^hf:|^dx:|^vs:|^x:idmp|^s:bop3|^geo:poly'

replay() { # capture mode split [options of the stand-in…]
    local capture=$1 mode=$2 split=$3
    shift 3
    choose_server "$capture"
    start_redis
    start_psync "$capture" "$(final_offset "$capture")" --split "$split" --seed "$RANDOM" "$@"
    local -a options=(--source-reconnect-timeout 0 --acknowledge exact --report "$TMP/report")
    [[ $mode == single ]] && options+=(--single)
    background df2redis "${options[@]}" replicate "$SOURCE" "redis://127.0.0.1:$REDIS_PORT" 2>"$TMP/err"
    local pipeline=$!
    reap 130 "$MASTER_PID"
    master_satisfied
    reap 20 "$pipeline"
    # The stand-in left when it had what it waited for: that is a lost master.
    [[ $status -eq 75 ]] || fail "pipeline: status $status: $(tail -5 "$TMP/err")"
    [[ $(tail -1 "$ACKS") == "main $(final_offset "$capture")" ]] || fail "acknowledged: $(tail -1 "$ACKS")"
    touch "$TMP/report" # of a process per flow: report.0
    assert_equals_recorded "$capture" "$NEWER" "$TMP"/report* "$TMP/err"
}

@test "psync-6.2-basic, one process" { replay psync-6.2-basic single 1-300; }
@test "psync-6.2-commands, one process" { replay psync-6.2-commands single 1-300; }
@test "psync-7.0-basic, one process" { replay psync-7.0-basic single 1-300; }
@test "psync-7.0-commands, one process" { replay psync-7.0-commands single 1-300; }
@test "psync-7.0-disk, one process" { replay psync-7.0-disk single 1-300; }
@test "psync-7.4-basic, one process" { replay psync-7.4-basic single 1-300; }
@test "psync-8.6-basic, one process" { replay psync-8.6-basic single 1-300; }
@test "psync-8.6-commands, one process" { replay psync-8.6-commands single 1-300; }
@test "psync-valkey-8.1-basic, one process" { replay psync-valkey-8.1-basic single 1-300; }
@test "psync-valkey-9.1-basic, one process" { replay psync-valkey-9.1-basic single 1-300; }
@test "psync-valkey-9.1-commands, one process" { replay psync-valkey-9.1-commands single 1-300; }

@test "psync-6.2-basic, one process per flow" { replay psync-6.2-basic flows 1-65536; }
@test "psync-6.2-commands, one process per flow" { replay psync-6.2-commands flows 1-65536; }
@test "psync-7.0-basic, one process per flow" { replay psync-7.0-basic flows 1-65536; }
@test "psync-7.0-commands, one process per flow" { replay psync-7.0-commands flows 1-65536; }
@test "psync-7.0-disk, one process per flow" { replay psync-7.0-disk flows 1-65536; }
@test "psync-7.4-basic, one process per flow" { replay psync-7.4-basic flows 1-65536; }
@test "psync-8.6-basic, one process per flow" { replay psync-8.6-basic flows 1-65536; }
@test "psync-8.6-commands, one process per flow" { replay psync-8.6-commands flows 1-65536; }
@test "psync-valkey-8.1-basic, one process per flow" { replay psync-valkey-8.1-basic flows 1-65536; }
@test "psync-valkey-9.1-basic, one process per flow" { replay psync-valkey-9.1-basic flows 1-65536; }
@test "psync-valkey-9.1-commands, one process per flow" { replay psync-valkey-9.1-commands flows 1-65536; }

# One byte a write: every reply, value and command is split everywhere.
@test "psync-7.0-commands, single bytes" { replay psync-7.0-commands single 1-1; }
@test "psync-7.0-disk, single bytes" { replay psync-7.0-disk flows 1-1; }

# The same recording in the other form of transfer.
@test "psync-7.0-basic as a file, psync-7.0-disk with a token" {
    replay psync-7.0-basic single 1-3000 --form disk
    replay psync-7.0-disk flows 1-3000 --form eof
}

# By default a byte less than what is applied.
@test "a byte less is acknowledged unless it is to be exact; GETACK asks for no more" {
    choose_server psync-7.0-basic
    start_redis
    start_psync psync-7.0-basic $(($(final_offset psync-7.0-basic) + 37 - 1)) --getack
    background df2redis --source-reconnect-timeout 0 replicate "$SOURCE" "redis://127.0.0.1:$REDIS_PORT" 2>"$TMP/err"
    local pipeline=$!
    reap 60 "$MASTER_PID"
    master_satisfied
    reap 20 "$pipeline"
    never grep -q "^main $(($(final_offset psync-7.0-basic) + 37))$" "$ACKS"
    assert_equals_recorded psync-7.0-basic ''
}

# ---- cuts, restarts and failovers ----

partial_syncs() { grep -c 'reply="+CONTINUE' "$MASTER_OUT.log"; }
full_syncs() { grep -c 'reply="+FULLRESYNC' "$MASTER_OUT.log"; }

resumed() { # capture mode policy of the full resync [options of the stand-in…]
    local capture=$1 mode=$2 policy=$3
    shift 3
    choose_server "$capture"
    start_redis
    start_psync "$capture" "$(final_offset "$capture")" "$@"
    local -a options=(--acknowledge exact --on-full-resync "$policy")
    [[ $mode == single ]] && options+=(--single)
    go_on_until_satisfied "${options[@]}" replicate "$SOURCE" "redis://127.0.0.1:$REDIS_PORT"
    assert_equals_recorded "$capture" ''
}

@test "psync-7.0-partial: cut in a command, in a MULTI, a restart, and a master that lost what it had sent: flush" {
    resumed psync-7.0-partial single flush
    [[ $(partial_syncs) -ge 4 && $(full_syncs) -ge 2 ]] || fail "$(grep 'psync session' "$MASTER_OUT.log")"
}

@test "psync-7.0-partial: a process per flow, overwrite" {
    resumed psync-7.0-partial flows overwrite
    [[ $(partial_syncs) -ge 4 && $(full_syncs) -ge 2 ]] || fail "$(grep 'psync session' "$MASTER_OUT.log")"
}

@test "psync-7.0-partial: a full resync is refused unless it is allowed" {
    choose_server psync-7.0-partial
    start_redis
    start_psync psync-7.0-partial "$(final_offset psync-7.0-partial)"
    local runs=0
    status=75
    while [[ $status -eq 75 && $runs -lt 20 ]]; do
        run timeout 60 df2redis --resume --source-reconnect-timeout 0 replicate "$SOURCE" "redis://127.0.0.1:$REDIS_PORT"
        runs=$((runs + 1))
    done
    assert_status 1
    assert_output_has 'on-full-resync'
    [[ $(full_syncs) -eq 2 ]] || fail "$(grep 'psync session' "$MASTER_OUT.log")"
}

@test "psync-7.0-failover: two promotions, one process" {
    resumed psync-7.0-failover single fail
    [[ $(full_syncs) -eq 1 && $(partial_syncs) -ge 2 ]] || fail "$(grep 'psync session' "$MASTER_OUT.log")"
}

@test "psync-7.0-failover: two promotions, a process per flow, --restart" {
    choose_server psync-7.0-failover
    start_redis
    start_psync psync-7.0-failover "$(final_offset psync-7.0-failover)"
    background df2redis --acknowledge exact --source-reconnect-timeout 0 --restart replicate "$SOURCE" "redis://127.0.0.1:$REDIS_PORT" 2>"$TMP/err"
    local task=$!
    reap 60 "$MASTER_PID"
    master_satisfied
    df2redis stop
    wait_until 20 ended "$task"
    assert_equals_recorded psync-7.0-failover ''
    [[ $(full_syncs) -eq 1 && $(partial_syncs) -ge 2 ]] || fail "$(grep 'psync session' "$MASTER_OUT.log")"
}

# A task started by hand may not repeat a broken full sync unasked; --restart may, of its own.
@test "the connection is cut in the RDB, then in its token: the full sync begins anew" {
    resumed psync-7.0-basic single flush --cut-at rdb --cut-at token,session=2
    [[ $(full_syncs) -eq 3 ]] || fail "$(grep 'psync session' "$MASTER_OUT.log")"
}

@test "the connection is cut in the RDB: --restart repeats its own full sync" {
    choose_server psync-7.0-basic
    start_redis
    start_psync psync-7.0-basic "$(final_offset psync-7.0-basic)" --cut-at rdb
    background df2redis --acknowledge exact --source-reconnect-timeout 0 --restart replicate "$SOURCE" "redis://127.0.0.1:$REDIS_PORT" 2>"$TMP/err"
    local task=$!
    reap 60 "$MASTER_PID"
    master_satisfied
    df2redis stop
    wait_until 20 ended "$task"
    assert_equals_recorded psync-7.0-basic ''
}

@test "the connection is cut in a command, in a MULTI, in a command of a MULTI, between commands: partial resyncs" {
    resumed psync-7.0-basic flows fail --cut-at command --cut-at multi,session=2 --cut-at multi-command,session=3 \
        --cut-at boundary,session=4 --split 1-5000 --seed "$RANDOM"
    [[ $(full_syncs) -eq 1 && $(partial_syncs) -eq 4 ]] || fail "$(grep 'psync session' "$MASTER_OUT.log")"
}

@test "the connection is cut every 4 to 30 KiB of the stream: only partial resyncs" {
    resumed psync-7.0-basic single fail --cut-every 4000-30000 --seed "$RANDOM"
    [[ $(full_syncs) -eq 1 && $(partial_syncs) -ge 3 ]] || fail "$(grep 'psync session' "$MASTER_OUT.log")"
}

# ---- masters that are wrong ----

wrong() { # kind status text in the messages
    rcli flushall >/dev/null
    start_master --capture "$CAPTURES/psync-7.0-basic" --wrong "$1"
    run timeout 60 df2redis --single replicate "redis://127.0.0.1:$MASTER_PORT" \
        "redis://127.0.0.1:$REDIS_PORT"
    [[ $status -eq $2 && $output == *"$3"* ]] || fail "$1: status $status, expected $2 and '$3': $output"
    kill "$MASTER_PID"
}

@test "answers to PSYNC that are none, or that no second try changes" {
    start_redis
    wrong short-id 75 'unexpected answer'
    wrong long-id 75 'unexpected answer'
    wrong no-offset 75 'unexpected answer'
    wrong no-id 75 'unexpected answer'
    wrong rdbchannel 75 'unexpected answer'
    wrong no-psync 1 'does not let anybody replicate'
    wrong noperm 1 '+psync'
}

@test "a master that cannot now: a second try may help" {
    start_redis
    wrong error 75 'try again later'
    wrong loading 75 'try again later'
    wrong nomasterlink 75 'try again later'
    wrong rdb-error 75 'BGSAVE failed'
}

@test "a master that cannot now: --restart waits until it can" {
    choose_server psync-7.0-basic
    start_redis
    start_psync psync-7.0-basic "$(final_offset psync-7.0-basic)" --wrong nomasterlink --wrong loading,session=2
    background df2redis --acknowledge exact --source-reconnect-timeout 0 --restart replicate "$SOURCE" "redis://127.0.0.1:$REDIS_PORT" 2>"$TMP/err"
    local task=$!
    reap 60 "$MASTER_PID"
    master_satisfied
    df2redis stop
    wait_until 20 ended "$task"
    assert_equals_recorded psync-7.0-basic ''
}

@test "a transfer without a length or a token, a wrong token, an RDB that ends too early" {
    start_redis
    wrong rdb-length 75 'unexpected answer'
    wrong short-eof 75 'unexpected answer'
    start_master --capture "$CAPTURES/psync-7.0-basic" --bad-token
    run timeout 60 df2redis --single replicate "redis://127.0.0.1:$MASTER_PORT" "redis://127.0.0.1:$REDIS_PORT"
    assert_status 4
    assert_output_has 'damaged at byte'
    rcli flushall
    start_master --capture "$CAPTURES/psync-7.0-disk" --truncate-at flow=0,bytes=20000
    run timeout 60 df2redis --single replicate "redis://127.0.0.1:$MASTER_PORT" \
        "redis://127.0.0.1:$REDIS_PORT"
    assert_status 75
}

@test "a stream that is none: named with its place, nothing behind it is applied, and no position beyond it" {
    start_redis
    wrong garbage 4 'damaged at byte'
    wrong huge-bulk 4 'damaged at byte'
    wrong huge-array 4 'damaged at byte'
    wrong negative 4 'damaged at byte'
    [[ $(rcli exists k) -eq 0 ]]
}

@test "a byte of the RDB is changed: its checksum finds out" {
    start_redis
    local at
    for at in 700 20000 45445; do # in a listpack, in a text, in the checksum
        rcli flushall
        start_master --capture "$CAPTURES/psync-7.0-basic" --corrupt "flow=0,offset=$at,xor=01"
        run timeout 60 df2redis --single replicate "redis://127.0.0.1:$MASTER_PORT" \
            "redis://127.0.0.1:$REDIS_PORT"
        assert_status 4
        kill "$MASTER_PID"
    done
}
