#!/usr/bin/env bats
# Stages, servers and connections die at any moment; what is started again goes on where it was. `make crash` is the long
# form of this.

load helper

setup() { common_setup; }
teardown() { common_teardown; }

# A pipeline of one process per stage. Sets GROUP, the pids of its stages. Opening a FIFO waits for its other end.
start_pipeline() { # options of dfreader and rediswriter
    local source="dragonfly://127.0.0.1:$MASTER_PORT" target="redis://127.0.0.1:$REDIS_PORT" end=$TMP/end.$((++RUNS))
    mkfifo "$end.raw" "$end.commands"
    background bash -c "exec dfreader -v --resume $* $source >$end.raw 2>$TMP/reader.$RUNS"
    GROUP=($!)
    background bash -c "exec dfparse <$end.raw >$end.commands 2>$TMP/parser.$RUNS"
    GROUP+=($!)
    background bash -c "exec rediswriter -v $* $target <$end.commands 2>$TMP/writer.$RUNS"
    GROUP+=($!)
}
RUNS=0

kill_all() {
    kill -KILL "${GROUP[@]}"
    wait "${GROUP[@]}" 2>/dev/null || return 0
}

statuses() { # wanted ones of the stages
    local want pid
    for pid in "${GROUP[@]}"; do
        want=$1
        shift
        reap 10 "$pid"
        assert_status "$want"
    done
}

@test "random faults, a single server: equal after each" {
    run dfcrash --overwrite --crashes 30 --series 10 --seconds 40
    assert_status 0
    echo "# $(tail -1 <<<"$output")" >&3
}

@test "random faults, servers 20 ms away: equal after each" {
    run dfcrash --distance 20 --crashes 6 --series 3 --seconds 25
    assert_status 0
    echo "# $(tail -1 <<<"$output")" >&3
}

@test "several connections and databases, servers 20 ms away: what was under way ends in time" {
    run dfcrash --seed 15 --distance 20 --crashes 1
    assert_status 0
    [[ $output == *"3 databases"*"several connections"* ]]
}

@test "random faults, a cluster: what may be applied twice is equal after each" {
    run dfcrash --cluster --overwrite --crashes 5 --series 5 --seconds 20
    assert_status 0
    echo "# $(tail -1 <<<"$output")" >&3
}

@test "random faults, a cluster, --exactly-once: all is equal after each" {
    run dfcrash --exactly-once --overwrite --crashes 8 --series 4 --seconds 30
    assert_status 0
    echo "# $(tail -1 <<<"$output")" >&3
}

@test "random faults, a master that leaves new keys out of its full sync: equal after each" {
    run dfcrash --omit --overwrite --crashes 12 --series 4 --seconds 35
    assert_status 0
    [[ $(tail -1 <<<"$output") =~ \ ([0-9]+)\ keys\ left\ out ]] && [[ ${BASH_REMATCH[1]} -gt 0 ]] || fail "$output"
    echo "# $(tail -1 <<<"$output")" >&3
}

@test "random faults, df2redis --restart: it comes back by itself, equal after each" {
    run dfcrash --service --crashes 3 --series 3 --seconds 30 --only kill-stage,kill-all
    assert_status 0
    echo "# $(tail -1 <<<"$output")" >&3
}

@test "random faults, a Redis as the source, restarted and its replicas cut off, too: equal after each" {
    run dfcrash --redis --overwrite --crashes 20 --series 10 --seconds 40
    assert_status 0
    [[ $(tail -1 <<<"$output") =~ had\ what\ followed\ in\ ([0-9]+)\ new\ starts,\ and\ answered\ ([0-9]+)\  ]] || fail "$output"
    [[ ${BASH_REMATCH[1]} -gt 0 && ${BASH_REMATCH[1]} -eq ${BASH_REMATCH[2]} ]] || fail "$output"
    echo "# $(tail -2 <<<"$output" | head -1)" >&3
}

@test "random faults, a Redis as the source of a cluster, --exactly-once: all is equal after each" {
    run dfcrash --redis --exactly-once --overwrite --crashes 6 --series 3 --seconds 30
    assert_status 0
    echo "# $(tail -2 <<<"$output" | head -1)" >&3
}

# At least nine of ten flows whose position the masters still had went on.
went_on() {
    [[ $output =~ had\ what\ followed\ in\ ([0-9]+)\ new\ starts\ of\ flows,\ and\ answered\ ([0-9]+)\  ]] || fail "$output"
    [[ $((BASH_REMATCH[2] * 10)) -ge $((BASH_REMATCH[1] * 9)) ]] || fail "$output"
}

@test "random faults, a cluster as the source whose slots move, and a replica takes over: equal after each" {
    run dfcrash --redis --source-cluster --crashes 6 --series 6 --seconds 35 --only kill-stage,kill-all,cut-flow,kill-target,fail-over
    assert_status 0
    went_on
    echo "# $(tail -1 <<<"$output")" >&3
}

@test "a cluster as the source of a cluster, slots move to and fro, its streams lag: equal each time" {
    run dfcrash --redis --source-cluster --exactly-once --move 1000 --lag 1500 --only move-slots --crashes 2 --seconds 30
    assert_status 0
    [[ $(tail -1 <<<"$output") =~ back\ ([0-9]+)\ times ]] && [[ ${BASH_REMATCH[1]} -gt 0 ]] || fail "$output"
}

@test "the recorded partial sync, end to end, everything killed in between" {
    start_redis
    start_master --capture "$CAPTURES/partial-resync" --second-session --expect-final-acks "$(meta partial-resync lsns)"
    start_pipeline
    # Session 1 has been applied where its last LSNs are acknowledged: those from which the recorded second one goes on.
    local c2s flow lsn
    for c2s in "$CAPTURES"/partial-resync/wire/0[45].c2s; do
        read -r _ _ _ _ flow lsn _ < <(head -1 "$c2s" | tr -d '\r')
        wait_until 10 grep -q "flow=$flow event=ack lsn=$lsn" "$MASTER_OUT.log"
    done
    kill_all
    start_pipeline
    reap 20 "$MASTER_PID"
    assert_status 0
    [[ $(grep -c 'event=flow_up mode=PARTIAL' "$TMP/reader.2") -eq 2 ]] || fail "$(cat "$TMP/reader.2")"
    assert_equals_capture partial-resync
}

# A full sync that takes a while, killed in its midst.
killed_in_full_sync() {
    start_redis
    rcli set stale 1 >/dev/null
    start_master --generate --flows 2 --keys 4000 --slow 40000 --journal-ops 100 --journal-kind incr
    start_pipeline
    wait_until 10 eval '[[ $(rcli dbsize) -gt 100 ]]'
    kill_all
    [[ $(rcli dbsize) -lt 4000 ]]
}

counted() { # what 100 INCRs have made of the counters
    rcli --raw keys 'counter:*' | xargs redis-cli -p "$REDIS_PORT" --raw mget | awk '{ sum += $1 } END { print sum + 0 }'
}

synced() { grep -q 'name=stable' "$TMP/reader.$RUNS"; }

@test "all killed during the full sync: fail" {
    killed_in_full_sync
    local keys
    keys=$(rcli dbsize)
    start_pipeline
    statuses 1 1 1
    grep -q 'full sync before was not complete' "$TMP/reader.2"
    [[ $(rcli dbsize) -eq $keys ]]
}

@test "all killed during the full sync: flush" {
    killed_in_full_sync
    start_pipeline --on-full-resync flush
    wait_until 20 synced
    wait_until 10 eval '[[ $(counted) -eq 100 ]]'
    [[ $(rcli exists stale) -eq 0 ]]
}

@test "all killed during the full sync: overwrite" {
    killed_in_full_sync
    start_pipeline --on-full-resync overwrite
    wait_until 20 synced
    wait_until 10 eval '[[ $(counted) -eq 100 ]]'
    wait_until 10 grep -q sweep_done "$TMP/writer.2"
    [[ $(rcli exists stale) -eq 0 ]]
}

@test "a stage that dies before it begins: a new start may help" {
    start_redis
    true | { dfparse; echo $? >"$TMP/status"; } | rediswriter -q "redis://127.0.0.1:$REDIS_PORT" || status=$?
    [[ $(<"$TMP/status") == 75 && $status == 75 ]] || fail "$(<"$TMP/status") $status"
    status=0
    dfparse </dev/null >/dev/null || status=$? # an empty file is damage
    assert_status 4
    status=0
    { sleep 0.2; dfreader -q dragonfly://127.0.0.1:1 2>/dev/null; } | { dfparse; echo $? >"$TMP/status"; } | true || status=$?
    [[ $(<"$TMP/status") == 75 ]] || fail "$(<"$TMP/status")"
}
