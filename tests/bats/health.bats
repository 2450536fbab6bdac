#!/usr/bin/env bats
# What an operator has to know at once: evictions, a target that takes nothing, a source that is silent, what was lost.

load helper
load writing

setup() { writing_setup; }

teardown() {
    [[ -n ${BATS_TEST_COMPLETED-} || ! -e $TMP/err ]] || tail -n 40 "$TMP/err"
    writing_teardown
}

many_keys() { # count
    awk -v n="$1" 'BEGIN { for (i = 0; i < n; i++) print "set 0 k" i " @300" }'
}

# ---- evictions ----

evicts() { # options of rediswriter
    start_redis --maxmemory 4mb --maxmemory-policy allkeys-random
    many_keys 20000 | one_flow | write "$@"
    assert_status 3
    assert_output_has event=target_may_evict
    assert_output_has 'maxmemory=4194304 policy="allkeys-random"'
    assert_output_has 'event=target_evicts'
    [[ $output =~ [[:space:]]evicted=([0-9]+) && ${BASH_REMATCH[1]} -gt 1000 ]] || fail "$output"
    local counted=${BASH_REMATCH[1]} there
    there=$(rcli info stats | tr -d '\r' | sed -n 's/^evicted_keys://p')
    # Another connection takes memory itself, so some more keys may have gone meanwhile.
    [[ $counted -le $there && $there -le $((counted + 100)) ]] || fail "$counted were counted, $there were evicted"
}

@test "keys that a full target evicts are counted: status 3" { evicts; }

@test "keys that a full target evicts are counted, with several connections" { evicts --connections 2; }

@test "a target that refuses when it is full is not warned about" {
    start_redis --maxmemory 100mb --maxmemory-policy noeviction
    many_keys 100 | one_flow | write
    assert_status 0
    [[ $output != *evict*=* || $output == *evicted=0* ]] || fail "$output"
    [[ $output != *target_may_evict* ]]
}

# ---- a running task ----

replicate_live() { # options of the server, --, options of the master
    local server=()
    while [[ $1 != -- ]]; do server+=("$1"); shift; done
    start_redis "${server[@]}"
    start_master --generate --flows 2 --keys 500 --journal-ops 1000000 --journal-rate 500 "${@:2}"
    background df2redis -v ${OPTIONS[@]+"${OPTIONS[@]}"} replicate "dragonfly://127.0.0.1:$MASTER_PORT" \
        "redis://127.0.0.1:$REDIS_PORT" 2>"$TMP/err"
    TASK_PID=$!
    wait_until 10 shows 'phase=streaming .*health=ok '
}

lag_seconds() { df2redis status --json | sed -n 's/.*"lag_seconds":\([0-9]*\).*/\1/p'; }

stopped_with() { # status
    df2redis stop || true
    reap 20 "$TASK_PID"
    assert_status "$1"
}

@test "status: a full target is named with its words, until there is room again" {
    replicate_live -- --journal-kind rpush
    rcli config set maxmemory 1mb
    wait_until 10 shows 'health=[a-z,-]*target-full.* target_why=OOM'
    run df2redis status
    assert_status 3
    df2redis status --json | grep -q '"target":"full","target_seconds":[0-9]*,"target_why":"OOM '
    rcli config set maxmemory 0
    wait_until 10 shows 'health=ok '
    stopped_with 0
}

@test "status: a target that is gone is down while it is looked for" {
    replicate_live --
    kill -KILL "$REDIS_PID"
    wait_until 5 shows 'health=[a-z,-]*target-down.* target_why='
    df2redis stop --timeout 2 || true
    reap 20 "$TASK_PID"
}

@test "status: a target that stands still is silent, although the kernel takes what little is sent to it" {
    start_redis
    start_master --generate --flows 1 --keys 20000 --slow 10000
    background df2redis replicate "dragonfly://127.0.0.1:$MASTER_PORT" "redis://127.0.0.1:$REDIS_PORT" 2>"$TMP/err"
    TASK_PID=$!
    wait_until 10 shows 'phase=full-sync .*health=ok '
    local before
    before=$(json bytes)
    kill -STOP "$REDIS_PID"
    wait_until 15 shows 'health=[a-z,-]*target-silent'
    [[ $(json bytes) -gt $before ]] || fail "nothing came meanwhile" # or it would be noticed by that
    df2redis status --json | grep -q '"name":"batch wait","level":"\(warning\|critical\)"'
    kill -CONT "$REDIS_PID"
    wait_until 10 shows 'health=ok '
    df2redis stop
    reap 20 "$TASK_PID"
}

@test "status: a source that does not answer is not ok, and the lag grows in seconds" {
    replicate_live --
    kill -STOP "$MASTER_PID"
    wait_until 12 shows 'health=[a-z,-]*master-silent'
    run df2redis status
    assert_status 3
    local before
    before=$(lag_seconds)
    [[ $before -ge 5 ]] || fail "$(df2redis status)"
    wait_until 5 eval '[[ $(lag_seconds) -gt $before ]]'
    kill -CONT "$MASTER_PID"
    wait_until 10 shows 'health=ok '
    stopped_with 0
}

@test "status: data errors show at once, and in the exit status" {
    replicate_live -- --journal-kind incr
    local key
    key=$(rcli --scan --pattern 'counter*' | head -n 1)
    rcli del "$key" >/dev/null
    rcli rpush "$key" a >/dev/null
    wait_until 10 shows 'health=data-errors .* errors=[1-9]'
    run df2redis status
    assert_status 3
    stopped_with 3
}

@test "status: evictions show while the task runs" {
    replicate_live -- --journal-kind rpush
    rcli config set maxmemory-policy allkeys-random
    rcli config set maxmemory 1mb
    wait_until 15 shows 'health=[a-z,-]*evictions.* evicted=[1-9]'
    stopped_with 3
}

@test "--wait without replicas is named at the start and in status, and ends in time" {
    start_redis
    many_keys 10 | one_flow | write --wait 1 --reconnect-timeout 2
    assert_status 75
    assert_output_has event=too_few_replicas
    assert_output_has 'replicas=0 wait=1'
    assert_output_has event=replicas_missing
    assert_output_has 'confirm=0 wait=1'
}

@test "--wait without replicas: a stop does not wait for all of --reconnect-timeout" {
    local stop
    start_redis
    for stop in signal record; do
        feed --wait 1 --reconnect-timeout 1000
        tell "$(heading 1)" "set 0 k 1"
        wait_until 10 said event=too_few_replicas
        if [[ $stop == signal ]]; then
            kill -TERM "$WRITER"
        else
            tell "end reason=stop status=0"
            tell_end
        fi
        reap 20 "$WRITER"
        assert_status 75
        said event=replicas_missing
        [[ -z $FEED ]] || tell_end
        rcli flushall >/dev/null
    done
}
