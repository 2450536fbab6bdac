#!/usr/bin/env bats
# Verifying while clients write: of every two keys that they make during the full sync the stand-in leaves one out, and
# what they do with these keys then comes in the journal. What its oracle holds the target has to hold in the end.

load helper
load writing

setup() {
    writing_setup
    start_redis
    ORACLE=$REDIS_PORT
    start_redis
    TARGET=redis://127.0.0.1:$REDIS_PORT
}

teardown() {
    [[ -n ${BATS_TEST_COMPLETED-} ]] || tail -n 40 "$TMP"/*err >&2
    [[ -z ${TASK_PID-} ]] || { df2redis stop --timeout 5 || true; } >/dev/null 2>&1
    writing_teardown
}

order() { redis-cli -p "$MASTER_PORT" STANDIN "$1" >/dev/null; }
left_out() { redis-cli -p "$MASTER_PORT" STANDIN INFO | grep -o 'omits=[0-9]*' | cut -d= -f2; }
verified() { df2redis status | grep -q 'verify=done'; }
some_left_out() { [[ $(left_out) -ge $1 ]]; }

begin() { # options of the stand-in
    start_master --live "$ORACLE" --live-omit 2 --seed 7 "$@"
    order GO
    background df2redis -v replicate "dragonfly://127.0.0.1:$MASTER_PORT" "${TARGET}" 2>"$TMP/err"
    TASK_PID=$!
}

offsets() { redis-cli -p "$MASTER_PORT" DFLY REPLICAOFFSET | tr '\n' ' '; }
positions() {
    rcli hgetall 'df2redis:{default}' | paste - - | grep -E '^f[0-9]+\s' | sort -V | awk '{ printf "%s ", $4 }'
}
arrived() { [[ $(positions) == "$(offsets)" ]]; }

assert_target_is_oracle() { # databases
    order PAUSE
    wait_until 20 arrived
    df2redis stop || fail "stop: $?"
    reap 10 "$TASK_PID"
    TASK_PID=
    assert_same "redis://127.0.0.1:$ORACLE?dbs=$1" "$TARGET?dbs=$1"
}

@test "what commands add to a key that the full sync has left out, while that goes on, too, does not hide it" {
    begin --flows 2 --live-dbs 2 --live-keys 1000 --journal-rate 2000 --slow 150000
    wait_until 30 verified
    some_left_out 20 || fail "$(left_out) keys left out"
    assert_target_is_oracle 0,1
    never grep -q 'event=data_error' "$TMP/err"
}

@test "keys that commands make without end do not keep the session from being verified" {
    begin --flows 2 --live-keys 1000000 --journal-rate 1500 --slow 200000
    wait_until 30 verified
    some_left_out 20 || fail "$(left_out) keys left out"
    assert_target_is_oracle 0
    never grep -q 'event=verify_failed' "$TMP/err"
}

told() { grep -q "$@" "$TMP/told"; }

@test "a PROBE without a question is answered behind those of its flow before it" {
    start_control
    feed
    tell "session flows=1 nonce=$NONCE replid=r control=$TMP/control" target "flow 0" "synced 0 :pos=1" "probe 0 begin" \
        "live 0 :pos=2 SET there 1"
    wait_until 5 eval '[[ $(rcli get there) -eq 1 ]]'
    kill -STOP "$REDIS_PID"
    tell "probe 0 own lost" "probe 0 own there" "probe 0 key" "live 0 :pos=3 SET there 2" "probe 0 own gone" "probe 0 key"
    wait_until 5 stands_still
    never told '^probed'
    kill -CONT "$REDIS_PID"
    wait_until 5 told '^probed .*keys=2 '
    tell "probe 0 done" "position 0 :live :pos=4" end
    tell_end
    reap 10 "$WRITER"
    assert_status 0
    told '^missing .*own=1 key=lost'
    told '^missing .*own=1 key=gone'
    [[ $(grep -e ^probed -e ^missing "$TMP/told" | tail -1) == probed* ]] || fail "$(<"$TMP/told")"
}
