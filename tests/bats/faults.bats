#!/usr/bin/env bats
# What breaks is noticed, named, and never called success.

load helper

setup() { common_setup; }
teardown() { common_teardown; }

# A replication that takes long enough to be disturbed: 64 KiB/s a flow. Sets PIPELINE.
slow_session() { # further arguments of df2redis
    start_redis
    start_master --generate --flows 2 --keys 20000 --slow 65536
    background df2redis "$@" replicate "dragonfly://127.0.0.1:$MASTER_PORT" "redis://127.0.0.1:$REDIS_PORT" 2>"$TMP/err"
    PIPELINE=$!
    wait_until 10 keys_arrive
}

keys_arrive() { [[ $(rcli dbsize) -gt 10 ]]; }

child_of() { # pid pattern: the child of df2redis whose command line matches
    pgrep -P "$1" -f "$2" | head -1
}

# One stage is killed: the others are gone within 2 seconds, and the status says so.
kill_stage() { # pattern signal
    local victim began
    victim=$(child_of "$PIPELINE" "$1")
    [[ -n $victim ]] || fail "no stage $1"
    local -a others
    mapfile -t others < <(pgrep -P "$PIPELINE")
    began=${EPOCHREALTIME/./}
    kill "-$2" "$victim"
    reap 5 "$PIPELINE"
    # On a machine that is too busy for that, none had to be killed when the supervisor's own time was up.
    [[ $((${EPOCHREALTIME/./} - began)) -lt 2200000 ]] || never grep stages_hang "$TMP/err"
    [[ $status -ne 0 ]] || fail "status 0"
    for pid in "${others[@]}"; do ended "$pid" || fail "a stage is left: $(ps -o args= "$pid")"; done
    [[ $(rcli dbsize) -lt 20000 ]]
}

@test "killed: the session's dfreader" {
    slow_session
    kill_stage 'dfreader.*--session-only' KILL
    grep -q 'killed by signal 9' "$TMP/err"
}

@test "killed: a flow's dfreader" {
    slow_session
    kill_stage 'dfreader.*--flow 1' KILL
}

@test "killed: a flow's dfparse" {
    slow_session
    kill_stage 'dfparse' KILL
}

@test "killed: rediswriter" {
    slow_session
    kill_stage 'rediswriter' KILL
}

@test "killed: rediswriter of a plain pipeline" {
    start_redis
    start_master --generate --flows 2 --keys 20000 --slow 65536
    cat >"$TMP/pipe" <<EOF
dfreader dragonfly://127.0.0.1:$MASTER_PORT | dfparse | rediswriter redis://127.0.0.1:$REDIS_PORT
echo "\${PIPESTATUS[@]}" >$TMP/status
EOF
    background bash "$TMP/pipe"
    local shell=$!
    wait_until 10 keys_arrive
    kill -KILL "$(child_of "$shell" rediswriter)"
    reap 3 "$shell"
    read -r reader parser writer <"$TMP/status"
    [[ $reader -ne 0 && $parser -ne 0 && $writer -eq 137 ]] || fail "statuses $reader $parser $writer"
}

@test "killed: dfreader of a plain pipeline" {
    start_redis
    start_master --generate --flows 2 --keys 20000 --slow 65536
    cat >"$TMP/pipe" <<EOF
dfreader dragonfly://127.0.0.1:$MASTER_PORT | dfparse | rediswriter redis://127.0.0.1:$REDIS_PORT
echo "\${PIPESTATUS[@]}" >$TMP/status
EOF
    background bash "$TMP/pipe"
    local shell=$!
    wait_until 10 keys_arrive
    kill -KILL "$(child_of "$shell" dfreader)"
    reap 3 "$shell"
    read -r reader parser writer <"$TMP/status"
    [[ $reader -eq 137 && $parser -eq 75 && $writer -eq 75 ]] || fail "statuses $reader $parser $writer"
}

@test "stopped before the full sync is complete: status 5" {
    slow_session
    df2redis stop
    reap 10 "$PIPELINE"
    [[ $status -eq 5 ]] || { cat "$TMP/err" >&2; fail "status $status"; }
    # What had been read was applied; the run directory is free again.
    [[ ! -e $XDG_RUNTIME_DIR/df2redis/default/control.sock ]]
}

@test "SIGTERM to the supervisor stops orderly, after the full sync with status 0" {
    start_redis
    start_master --generate --flows 2 --keys 2000 --journal-ops 1000
    background df2redis replicate "dragonfly://127.0.0.1:$MASTER_PORT" "redis://127.0.0.1:$REDIS_PORT" 2>"$TMP/err"
    local pid=$!
    wait_until 10 stable
    kill -TERM "$pid"
    reap 10 "$pid"
    [[ $status -eq 0 ]] || { cat "$TMP/err" >&2; fail "status $status"; }
    kill "$MASTER_PID"
    wait_until 5 grep -q '^illegal=0' "$MASTER_OUT"
    # Everything was acknowledged at the end.
    ! grep -q 'final ack flow=. lsn=0' "$MASTER_OUT" || fail "$(cat "$MASTER_OUT")"
}

stable() { df2redis status | grep -q 'phase=stable'; }

@test "migrate ends by itself after the full sync" {
    start_redis
    start_master --generate --flows 3 --keys 3000 --types string,hash,zset,list,set --fullsync-journal 50
    run df2redis migrate "dragonfly://127.0.0.1:$MASTER_PORT" "redis://127.0.0.1:$REDIS_PORT"
    assert_status 0
    standin --generate --flows 3 --keys 3000 --types string,hash,zset,list,set --fullsync-journal 50 \
        --write-resp - --with-journal >"$TMP/resp" || true
    local port=$REDIS_PORT
    start_redis
    rcli --pipe <"$TMP/resp" >/dev/null
    assert_same "redis://127.0.0.1:$port" "redis://127.0.0.1:$REDIS_PORT"
}

@test "the master goes away: status 75" {
    start_redis
    start_master --generate --flows 2 --keys 20000 --cut-connection flow=1,bytes=100000
    run df2redis replicate "dragonfly://127.0.0.1:$MASTER_PORT" "redis://127.0.0.1:$REDIS_PORT"
    assert_status 75
    assert_output_has 'flow'
    start_master --generate --flows 2 --keys 20000 --slow 100000 --cut-connection control,bytes=386
    run df2redis --single replicate "dragonfly://127.0.0.1:$MASTER_PORT" "redis://127.0.0.1:$REDIS_PORT"
    assert_status 1 # it holds keys by now
    assert_output_has 'on-existing'
}

@test "damage on the wire: status 4, with flow and byte" {
    start_redis
    start_master --generate --flows 2 --keys 2000 --compression none --corrupt flow=1,offset=0,xor=ff
    run df2redis replicate "dragonfly://127.0.0.1:$MASTER_PORT" "redis://127.0.0.1:$REDIS_PORT"
    assert_status 4
    assert_output_has 'flow=1 event=damaged error="damaged at byte 0 '
    start_master --generate --flows 1 --keys 2000 --bad-token
    rcli flushall
    run df2redis --single replicate "dragonfly://127.0.0.1:$MASTER_PORT" "redis://127.0.0.1:$REDIS_PORT"
    assert_status 4
    assert_output_has 'EOF token'
}

@test "a full disk under an output" {
    start_master --capture "$CAPTURES/plain-1flow"
    run bash -c "dfreader dragonfly://127.0.0.1:$MASTER_PORT >/dev/full"
    [[ $status -ne 0 ]] || fail "dfreader: status 0"
    run bash -c "dfreader $REPO/tests/fixtures/snapshots/small-0000.dfs | dfparse >/dev/full"
    assert_status 1
    assert_output_has 'No space left'
    run bash -c "dfreader $REPO/tests/fixtures/snapshots/small-0000.dfs | dfparse --json >/dev/full"
    assert_status 1
}

@test "a closed standard output" {
    run bash -c "dfreader $REPO/tests/fixtures/snapshots/small-0000.dfs >&-"
    [[ $status -ne 0 ]] || fail "dfreader: status 0"
    run bash -c "dfreader $REPO/tests/fixtures/snapshots/small-0000.dfs | dfparse >&-"
    [[ $status -eq 1 ]] || fail "dfparse: status $status"
    run bash -c "set -o pipefail; dfreader $REPO/tests/fixtures/snapshots/small-0000.dfs | dfparse --json | true"
    [[ $status -ne 0 ]] || fail "reader gone: status 0"
}

@test "wrong and missing passwords, at either end" {
    REDIS_AUTH=(-a geheim --no-auth-warning)
    start_redis --requirepass geheim
    start_master --capture "$CAPTURES/plain-1flow" --password sesam
    run df2redis replicate "dragonfly://127.0.0.1:$MASTER_PORT" "redis://127.0.0.1:$REDIS_PORT"
    assert_status 1
    assert_output_has 'NOAUTH'
    run df2redis replicate "dragonfly://:falsch@127.0.0.1:$MASTER_PORT" "redis://127.0.0.1:$REDIS_PORT"
    assert_status 1
    assert_output_has 'WRONGPASS'
    [[ $output != *falsch* ]] || fail "the password is in the log"
    DF2REDIS_SOURCE_PASSWORD=sesam run df2redis replicate "dragonfly://127.0.0.1:$MASTER_PORT" \
        "redis://:falsch@127.0.0.1:$REDIS_PORT"
    [[ $status -eq 1 ]] || fail "status $status"
    assert_output_has 'WRONGPASS'
    [[ $output != *falsch* && $output != *sesam* ]] || fail "a password is in the log"
}

@test "passwords stand in no process list" {
    REDIS_AUTH=(-a unsagbar --no-auth-warning)
    start_redis --requirepass unsagbar
    start_master --generate --flows 2 --keys 20000 --slow 30000 --password un%gesagt
    background df2redis replicate "dragonfly://:un%25gesagt@127.0.0.1:$MASTER_PORT" "redis://:unsagbar@127.0.0.1:$REDIS_PORT"
    wait_until 10 pgrep -f 'rediswriter.*--listen'
    wait_until 10 full_sync
    run bash -c "ps -eo args | grep -v -e standin -e redis-server -e grep"
    [[ $output != *unsagbar* && $output != *'un%gesagt'* && $output != *'un%25gesagt'* ]] || fail "$output"
}

full_sync() { df2redis status | grep -q 'phase=fullsync'; }

@test "no server, a Redis given as Dragonfly, a replica, a master that loads" {
    start_redis
    run df2redis replicate dragonfly://127.0.0.1:1 "redis://127.0.0.1:$REDIS_PORT"
    [[ $status -eq 1 || $status -eq 75 ]] || fail "status $status"
    assert_output_has 'refused'
    run df2redis replicate "dragonfly://127.0.0.1:$REDIS_PORT" "redis://127.0.0.1:$REDIS_PORT"
    assert_status 1
    assert_output_has 'Redis'
    start_master --generate --replica-error
    run df2redis replicate "dragonfly://127.0.0.1:$MASTER_PORT" "redis://127.0.0.1:$REDIS_PORT"
    assert_status 1
    assert_output_has 'replica'
    start_master --generate --loading 9
    run df2redis replicate "dragonfly://127.0.0.1:$MASTER_PORT" "redis://127.0.0.1:$REDIS_PORT"
    assert_status 75
    start_master --capture "$CAPTURES/plain-1flow"
    run df2redis replicate "dragonfly://127.0.0.1:$MASTER_PORT" redis://127.0.0.1:1
    [[ $status -eq 1 || $status -eq 75 ]] || fail "status $status"
}

@test "a target that holds keys is refused, flushed or written over, as said" {
    start_redis
    rcli -n 3 set there already
    start_master --capture "$CAPTURES/plain-1flow"
    run df2redis replicate "dragonfly://127.0.0.1:$MASTER_PORT" "redis://127.0.0.1:$REDIS_PORT"
    assert_status 1
    assert_output_has '--on-existing'
    [[ $(rcli -n 3 get there) == already && $(rcli dbsize) -eq 0 ]]
    run df2redis --on-existing overwrite migrate "dragonfly://127.0.0.1:$MASTER_PORT" "redis://127.0.0.1:$REDIS_PORT"
    assert_status 3
    [[ $(rcli -n 3 get there) == already && $(rcli dbsize) -gt 500 ]]
    run df2redis --on-existing flush migrate "dragonfly://127.0.0.1:$MASTER_PORT" "redis://127.0.0.1:$REDIS_PORT"
    assert_status 3
    [[ -z $(rcli -n 3 get there) && $(rcli dbsize) -gt 500 ]]
}

@test "a target is not flushed as long as a flow has not answered" {
    start_redis
    rcli set there already
    start_master --generate --flows 3 --keys 3000
    local url=dragonfly://127.0.0.1:$MASTER_PORT i
    background dfreader --session-only --control "$TMP/control" "$url"
    wait_until 5 test -S "$TMP/control"
    background rediswriter --on-existing flush --listen "unix:$TMP/writer" --inputs 3 "redis://127.0.0.1:$REDIS_PORT"
    wait_until 5 test -S "$TMP/writer"
    for i in 0 1; do
        background bash -c "dfreader --flow $i --session $TMP/control $url | dfparse -o unix:$TMP/writer"
    done
    wait_until 5 eval '[[ $(dfreader --ask "$TMP/control" status | grep -c state=up) -eq 2 ]]'
    sleep 0.5
    [[ $(rcli get there) == already ]] || fail "the target was flushed"
    background bash -c "dfreader --flow 2 --session $TMP/control $url | dfparse -o unix:$TMP/writer"
    wait_until 10 eval '[[ $(rcli dbsize) -ge 3000 ]]'
    [[ -z $(rcli get there) ]]
}

@test "the source is flushed before its cut: a new session begins" {
    start_redis
    start_master --generate --flows 2 --keys 2000 --flush-before-cut --journal-ops 100
    background df2redis -v replicate "dragonfly://127.0.0.1:$MASTER_PORT" "redis://127.0.0.1:$REDIS_PORT" 2>"$TMP/err"
    wait_until 15 stable
    wait_until 5 grep -q 'epoch=2' "$TMP/err" # messages come through dflog
    wait_until 10 eval '[[ $(rcli dbsize) -ge 2000 ]]'
}

@test "nobody parses: the message names the recipe" {
    start_master --generate --keys 1000
    run bash -c "dfreader --parser-timeout 1 dragonfly://127.0.0.1:$MASTER_PORT | cat >/dev/null; exit \${PIPESTATUS[0]}"
    assert_status 1
    assert_output_has 'df2redis record'
}

@test "a flow that stands still is given up" {
    start_redis
    start_master --generate --flows 2 --keys 20000 --stall flow=1,bytes=50000
    cat >"$TMP/conf" <<EOF
[reader]
stall-timeout = 3
EOF
    run df2redis -c "$TMP/conf" replicate "dragonfly://127.0.0.1:$MASTER_PORT" "redis://127.0.0.1:$REDIS_PORT"
    assert_status 75
    assert_output_has 'flow 1'
}

@test "two tasks of one name do not run side by side" {
    slow_session
    run df2redis replicate "dragonfly://127.0.0.1:$MASTER_PORT" "redis://127.0.0.1:$REDIS_PORT"
    assert_status 1
    assert_output_has 'running already'
}
