#!/usr/bin/env bats
# A file that dfreader reads is a session: target and modules are known over the control socket, and progress is told.

load helper
load loading

setup() {
    files_setup
    CONTROL=$TMP/control.sock
}

teardown() { common_teardown; }

hashes() { # keys
    standin --generate --keys "$1" --types hash --write-dfs "$TMP/hashes.dfs" >/dev/null
}

calls() { # command
    rcli info commandstats | tr -d '\r' | sed -n "s/^cmdstat_$1:calls=\([0-9]*\),.*/\1/p"
}

# The whole pipeline without any option. A pipeline that hangs is ended.
pipeline() { # file
    timeout $((20 * PATIENCE)) dfreader "$1" | timeout $((20 * PATIENCE)) dfparse |
        timeout $((20 * PATIENCE)) rediswriter -q "redis://127.0.0.1:$REDIS_PORT"
}

target_kind() { dfparse --json "$1" | sed -n 's/.*"type":"target".*"kind":"\([a-z]*\)".*/\1/p'; }

@test "a pipeline without options writes for the real target: values by RESTORE" {
    hashes 500
    start_redis
    run pipeline "$TMP/hashes.dfs"
    assert_status 0
    [[ $(rcli dbsize) -eq 500 ]] # no position is left behind
    [[ $(calls restore) -eq 500 ]]
    [[ -z $(calls hmset) && $(calls hset) -lt 10 ]] # the position's only
}

@test "the shortest file: dfreader stays until the target is known" {
    hashes 1
    start_redis
    for _ in {1..20}; do
        rcli flushall
        rcli config resetstat
        run pipeline "$TMP/hashes.dfs"
        assert_status 0
        [[ $(calls restore) -eq 1 ]] || fail "$(rcli info commandstats)"
    done
}

@test "a set of .dfs files likewise" {
    start_redis
    run pipeline "$SNAPSHOTS/small-summary.dfs"
    assert_status 3 # JSON, filters
    [[ $(calls restore) -gt 20 ]]
    [[ -z $(rcli keys 'df2redis:*') ]]
}

@test "the policy of the target reaches dfparse: --on-existing skip" {
    hashes 50
    start_redis
    run pipeline "$TMP/hashes.dfs"
    assert_status 0
    key=$(rcli randomkey)
    rcli del "$key"
    rcli set "$key" mine
    rcli config resetstat
    dfreader "$TMP/hashes.dfs" | dfparse | rediswriter -q --on-existing skip "redis://127.0.0.1:$REDIS_PORT"
    [[ $(rcli get "$key") == mine ]]
    [[ $(calls restore) -eq 50 ]]
}

@test "a kept raw stream is portable when its session is over" {
    hashes 20
    timeout $((10 * PATIENCE)) dfreader "$TMP/hashes.dfs" >"$TMP/raw"
    timeout $((10 * PATIENCE)) dfparse "$TMP/raw" >"$TMP/commands"
    [[ $(target_kind "$TMP/commands") == portable ]]
    start_redis
    run rediswriter -q "redis://127.0.0.1:$REDIS_PORT" "$TMP/commands"
    assert_status 0
    [[ $(rcli dbsize) -eq 20 ]]
    # A session that is not this one listens under the name of the socket.
    local socket
    socket=$(dfparse --json "$TMP/raw" | sed -n 's/.*"control":"\([^"]*\)".*/\1/p')
    [[ -n $socket && ! -e $socket ]]
    mkfifo "$TMP/in"
    background bash -c "exec dfreader --control '$socket' -o /dev/null - <'$TMP/in'"
    exec 7>"$TMP/in"
    wait_until 5 test -S "$socket"
    timeout $((10 * PATIENCE)) dfparse "$TMP/raw" >"$TMP/commands"
    exec 7>&-
    [[ $(target_kind "$TMP/commands") == portable ]]
}

@test "consumers that are no rediswriter do not make anything wait" {
    hashes 20
    local before=$SECONDS
    dfreader "$TMP/hashes.dfs" | dfparse --json | grep -q '"type":"synced"'
    dfreader "$TMP/hashes.dfs" | dfparse --resp | grep -q HSET
    dfreader "$TMP/hashes.dfs" | dfparse -t 7.0 | cat >"$TMP/commands"
    [[ $(target_kind "$TMP/commands") == redis ]]
    dfreader "$TMP/hashes.dfs" | dfparse >"$TMP/commands"
    [[ $(target_kind "$TMP/commands") == portable ]]
    dfreader "$TMP/hashes.dfs" | dfparse >/dev/null
    dfreader "$TMP/hashes.dfs" | dfparse --null
    dfreader "$TMP/hashes.dfs" | cat >"$TMP/raw"
    dfreader "$TMP/hashes.dfs" -o "$TMP/raw2"
    [[ $((SECONDS - before)) -lt $((10 * PATIENCE)) ]]
}

@test "where nobody says what the target is, dfparse goes on after a limit, and says so" {
    hashes 20
    run timeout $((20 * PATIENCE)) bash -c "dfreader '$TMP/hashes.dfs' | dfparse --target-timeout 1 | cat >'$TMP/commands'"
    assert_status 0
    assert_output_has 'no rediswriter said what the target is'
    [[ $(target_kind "$TMP/commands") == portable ]]
    # Without the option it does not wait long once its output was read.
    local before=$SECONDS
    timeout $((20 * PATIENCE)) bash -c "dfreader '$TMP/hashes.dfs' | dfparse 2>/dev/null | cat >'$TMP/commands'"
    [[ $((SECONDS - before)) -lt 25 ]]
}

@test "status, limit and stop while a file is read" {
    hashes 20000
    mkfifo "$TMP/raw"
    background dfreader --control "$CONTROL" --until synced -o "$TMP/raw" "$TMP/hashes.dfs"
    local reader=$!
    exec 7<>"$TMP/raw" # does not wait for a dfreader that refuses
    wait_until 5 dfreader --ask "$CONTROL"
    run dfreader --ask "$CONTROL"
    assert_status 0
    [[ ${lines[0]} == session\ phase=fullsync\ * ]]
    [[ ${lines[0]} =~ \ size=$(stat -c %s "$TMP/hashes.dfs")\ percent=[0-9]+\  ]]
    [[ ${lines[0]} =~ \ flows=1\ .*\ parsers=0\ writers=0\  ]]
    [[ ${lines[1]} == 'flow flow=0 state=up bytes='* ]]
    run dfreader --ask "$CONTROL" limit ops=5
    assert_output_has 'limited writers=0'
    run dfreader --ask "$CONTROL" stop
    assert_output_has stopping
    background bash -c "exec cat <&7 >'$TMP/kept'"
    reap 10 "$reader"
    [[ $status -eq 5 ]]
    wait_until 5 grep -q 'reason=stop' "$TMP/kept"
    exec 7<&-
    [[ ! -e $CONTROL ]]
}

@test "the socket stays as long as the writer works, so that its limit can be changed" {
    hashes 300
    start_redis
    dfreader --control "$CONTROL" "$TMP/hashes.dfs" 3>&- | dfparse 3>&- |
        rediswriter -q --max-ops 20 "redis://127.0.0.1:$REDIS_PORT" 3>&- &
    local pid=$!
    PIDS+=("$pid")
    wait_until 10 bash -c "dfreader --ask '$CONTROL' | grep -q ' writers=1 '"
    wait_until 10 bash -c "dfreader --ask '$CONTROL' | grep -q '^session phase=ending .* synced=1 .* percent=100 '"
    run dfreader --ask "$CONTROL" limit ops=0
    assert_output_has 'limited writers=1'
    reap 10 "$pid"
    [[ $status -eq 0 ]]
    [[ $(rcli dbsize) -eq 300 ]]
    [[ ! -e $CONTROL ]]
}

@test "a writer that says nothing for 60 seconds is not waited for" {
    hashes 20000
    mkfifo "$TMP/raw" "$TMP/says"
    background bash -c 'exec dfreader --control "$1" -o "$2" "$3" 2>"$4"' - "$CONTROL" "$TMP/raw" "$TMP/hashes.dfs" "$TMP/err"
    local reader=$!
    exec 7<>"$TMP/raw"
    timeout $((20 * PATIENCE)) dd bs=65536 count=1 iflag=fullblock <&7 >"$TMP/kept" 2>/dev/null
    background bash -c 'exec probe talk "$1" "role=writer nonce=$2" <"$3" 7<&-' - "$CONTROL" \
        "$(probe records "$TMP/kept" 2>/dev/null | sed -n 's/.* nonce=\([^ ]*\).*/\1/p')" "$TMP/says"
    exec {says}>"$TMP/says"
    wait_until 5 bash -c "dfreader --ask '$CONTROL' | grep -q ' writers=1 '"
    background bash -c 'exec cat <&7 >/dev/null'
    exec 7<&-
    wait_until 70 ended "$reader"
    reap 5 "$reader"
    exec {says}>&-
    [[ $status -eq 0 ]] || fail "status $status"
    grep -q 'event=peers_quiet seconds=60' "$TMP/err"
}

@test "a writer that is slow and well is waited for: it tells that it goes on" {
    hashes 200
    start_redis
    dfreader -vv --control "$CONTROL" "$TMP/hashes.dfs" 2>"$TMP/err" 3>&- | dfparse 3>&- |
        rediswriter -q --max-ops 5 "redis://127.0.0.1:$REDIS_PORT" 3>&- &
    local pid=$!
    PIDS+=("$pid")
    said() { [[ $(grep -c 'role=writer line="health .* target=ok errors=0 ' "$TMP/err") -ge 2 ]]; }
    wait_until 25 said
    dfreader --ask "$CONTROL" limit ops=0
    reap 10 "$pid"
    [[ $status -eq 0 ]]
}

@test "a dfreader that is killed is something lost on the way, not a damaged file" {
    hashes 20000
    start_redis
    mkfifo "$TMP/raw"
    background dfreader -o "$TMP/raw" "$TMP/hashes.dfs"
    local reader=$!
    dfparse <"$TMP/raw" 2>"$TMP/err" 3>&- | rediswriter -q --max-ops 100 "redis://127.0.0.1:$REDIS_PORT" 2>>"$TMP/err" 3>&- &
    local pid=$!
    PIDS+=("$pid")
    wait_until 10 bash -c "[[ \$(redis-cli -p $REDIS_PORT dbsize) -gt 10 ]]"
    kill -KILL "$reader"
    reap 20 "$pid"
    [[ $status -eq 75 ]] || fail "status $status: $(cat "$TMP/err")"
}
