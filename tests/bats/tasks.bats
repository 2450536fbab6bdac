#!/usr/bin/env bats
# Whose target it is: not the source itself, not another writer's, not another source's.

load helper
load writing

setup() {
    writing_setup
    CLUSTER_PIDS=()
}

teardown() {
    [[ -n ${BATS_TEST_COMPLETED-} || ! -e $TMP/err ]] || tail -n 40 "$TMP/err"
    [[ ${#CLUSTER_PIDS[@]} -eq 0 ]] || stop_cluster
    writing_teardown
}

# ---- source and target are the same ----

replid_of() { redis-cli -p "$1" info replication | tr -d '\r' | sed -n 's/^master_replid://p'; }

same_server() { # policy
    start_redis
    rcli set mine 1 >/dev/null
    start_master --generate --flows 2 --keys 20 --replid "$(replid_of "$REDIS_PORT")"
    run timeout 60 df2redis --on-existing "$1" replicate "dragonfly://127.1:$MASTER_PORT" "redis://127.0.0.1:$REDIS_PORT"
    assert_status 1
    assert_output_has event=target_is_the_source
    [[ $(rcli dbsize) -eq 1 && $(rcli get mine) == 1 ]] || fail "$(rcli keys '*')"
}

@test "a target that is the source is refused before anything is written: overwrite" { same_server overwrite; }

@test "a target that is the source is refused before anything is written: flush" { same_server flush; }

@test "a cluster with a node that is the source is refused before anything is written" {
    start_cluster 0
    redis-cli -c -p "${CLUSTER_PORTS[0]}" set mine 1 >/dev/null
    start_master --generate --flows 2 --keys 20 --replid "$(replid_of "${CLUSTER_PORTS[2]}")"
    run timeout 60 df2redis --on-existing flush replicate "dragonfly://127.0.0.1:$MASTER_PORT" "$CLUSTER_URL"
    assert_status 1
    assert_output_has event=target_is_the_source
    [[ $(redis-cli -c -p "${CLUSTER_PORTS[0]}" get mine) == 1 ]]
}

# ---- two writers ----

for_target() { sed "s/^target\$/target cluster=${CLUSTER:-0}/"; }

ours() { # port
    redis-cli -p "$1" client list | grep -c ' name=df2redis:default:'
}

two_writers() { # port to look at, options of both
    local port=$1 first
    shift
    feed "$@"
    first=$WRITER
    tell "$(heading 1 | for_target)" 'idem 0 SET a 1'
    wait_until 10 eval '[[ $(ccli get a) == 1 ]]'
    { heading 1 | for_target; echo 'idem 0 SET b 1'; echo 'synced 0 :pos=9'; echo end; } | mkrecords >"$TMP/second"
    run timeout 60 rediswriter "$@" "$(target)" "$TMP/second"
    assert_status 1
    assert_output_has event=task_in_use
    assert_output_has 'give each its own --task'
    [[ $(ccli exists b) -eq 0 && $(ours "$port") -ge 1 ]]
    never grep -q connection_lost "$TMP/err"
    # The first one goes on on the connections it had.
    tell 'idem 0 SET c 1' 'synced 0 :pos=9' end
    tell_end
    reap 10 "$first"
    assert_status 0
    [[ $(ccli get c) == 1 ]]
}

@test "a second writer of a task is refused, and cuts nobody off" {
    start_redis
    ccli() { rcli "$@"; }
    two_writers "$REDIS_PORT" --on-existing overwrite
}

@test "a second writer of a task is refused, and cuts nobody off: several connections" {
    start_redis
    ccli() { rcli "$@"; }
    two_writers "$REDIS_PORT" --on-existing overwrite --connections 2
}

@test "a second writer of a task is refused, and cuts nobody off: a cluster" {
    start_cluster 0
    CLUSTER=1
    target() { echo "$CLUSTER_URL"; }
    two_writers "${CLUSTER_PORTS[0]}" --on-existing overwrite
}

taken_over() { # options
    feed "$@"
    tell "$(heading 1 | for_target)" 'idem 0 SET a 1'
    wait_until 10 eval '[[ $(ccli get a) == 1 ]]'
    { heading 1 | for_target; echo 'idem 0 SET b 1'; echo 'synced 0 :pos=9'; echo end; } | mkrecords >"$TMP/second"
    run timeout 60 rediswriter --takeover "$@" "$(target)" "$TMP/second"
    assert_status 0
    [[ $(ccli get b) == 1 ]]
    wait_until 10 said event=target_connection_lost
}

@test "--takeover ends the other writer's connections" {
    start_redis
    ccli() { rcli "$@"; }
    taken_over --on-existing overwrite
    reap 10 "$WRITER"
    assert_status 1
    said 'another writer has taken over'
}

taken_over_unseen() { # options: the first writer stands still until the second one has ended
    feed "$@"
    tell "$(heading 1 | for_target)" 'idem 0 SET a 1'
    wait_until 10 eval '[[ $(ccli get a) == 1 ]]'
    kill -STOP "$WRITER"
    { heading 1 | for_target; echo 'idem 0 SET b 1'; echo 'synced 0 :pos=9'; echo end; } | mkrecords >"$TMP/second"
    run timeout 60 rediswriter --takeover "$@" "$(target)" "$TMP/second"
    assert_status 0
    kill -CONT "$WRITER"
    tell 'idem 0 SET a 2' 'idem 0 SET b 2' 'synced 0 :pos=9' end
    tell_end
    reap 10 "$WRITER"
    assert_status 1
    said 'taken over'
    [[ $(ccli get a) != 2 && $(ccli get b) == 1 ]] || fail "$(cat "$TMP/err")"
}

@test "--takeover ends the other writer's connections: a cluster" {
    start_cluster 0
    CLUSTER=1
    target() { echo "$CLUSTER_URL"; }
    taken_over --on-existing overwrite
    reap 15 "$WRITER"
    assert_status 1
}

@test "a writer whose task was taken over notices when the other one has ended already" {
    start_redis
    ccli() { rcli "$@"; }
    taken_over_unseen --on-existing overwrite
}

@test "a writer whose task was taken over notices when the other one has ended already: several connections" {
    start_redis
    ccli() { rcli "$@"; }
    taken_over_unseen --on-existing overwrite --connections 2
}

@test "a writer whose task was taken over notices when the other one has ended already: a cluster" {
    local option
    start_cluster 0
    CLUSTER=1
    target() { echo "$CLUSTER_URL"; }
    for option in --at-least-once --exactly-once; do
        taken_over_unseen --on-existing flush "$option"
    done
    # A task that begins later is not meant.
    { heading 1 | for_target; echo 'idem 0 SET c 1'; echo 'synced 0 :pos=9'; echo end; } | mkrecords >"$TMP/second"
    run timeout 60 rediswriter --on-existing overwrite "$(target)" "$TMP/second"
    assert_status 0
    [[ $(ccli get c) == 1 ]]
}

@test "the connection of a writer that was killed is no other writer" {
    start_redis
    feed --on-existing overwrite
    tell "$(heading 1)" 'idem 0 SET a 1'
    wait_until 10 eval '[[ $(rcli get a) == 1 ]]'
    kill -STOP "$REDIS_PID" # its connection stays in the server's list
    kill -KILL "$WRITER"
    tell_end || true
    kill -CONT "$REDIS_PID"
    { echo 'set 0 b 1'; } | one_flow | write --on-existing overwrite
    assert_status 0
    [[ $(rcli get b) == 1 ]]
}

# ---- two sources ----

@test "the position key of another source is not replaced, unless --takeover says so" {
    start_redis
    start_master --generate --flows 1 --keys 20 --journal-ops 100000 --journal-rate 100
    background df2redis replicate "dragonfly://127.0.0.1:$MASTER_PORT" "redis://127.0.0.1:$REDIS_PORT" 2>"$TMP/err"
    local task=$!
    wait_until 10 eval '[[ $(rcli hget "df2redis:{default}" f0) == *" "* ]] && df2redis status | grep -q phase=streaming'
    df2redis stop
    reap 10 "$task"
    assert_status 0
    local before
    before=$(rcli debug digest)
    start_master --generate --flows 1 --keys 20 --seed 7 --replid "$(printf '%040d' 7)"
    run timeout 60 df2redis --on-existing flush replicate "dragonfly://127.0.0.1:$MASTER_PORT" "redis://127.0.0.1:$REDIS_PORT"
    assert_status 1
    assert_output_has event=task_of_another_source
    run timeout 60 df2redis --restart replicate "dragonfly://127.0.0.1:$MASTER_PORT" "redis://127.0.0.1:$REDIS_PORT"
    assert_status 1
    assert_output_has "this is another master" # where it resumes the policy decides: fail
    [[ $(rcli debug digest) == "$before" ]]
    run timeout 60 df2redis --takeover --on-existing flush migrate "dragonfly://127.0.0.1:$MASTER_PORT" \
        "redis://127.0.0.1:$REDIS_PORT"
    assert_status 0
}
