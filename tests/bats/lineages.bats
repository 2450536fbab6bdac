#!/usr/bin/env bats
# Sessions of several masters: each flow has a lineage of its own, and its own flushes. dfrecord(5), FLOW, BARRIER.

load helper
load writing

setup_file() { one_cluster 0; }

setup() { writing_setup; }

teardown() { writing_teardown; }

teardown_file() { end_one_cluster; }

A=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
B=bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb

live_session() { # [fact…]
    echo "session flows=2 control=$TMP/control $*"
    echo "target ${CLUSTER_FACT-}"
}

# Two flows with positions up to 8 and 9; the writer is killed once they are saved.
first_run() { # words of flow 0, of flow 1, session facts, option…
    start_control
    feed "${@:4}"
    # shellcheck disable=SC2086 # several facts
    tell "$(live_session nonce=$NONCE $3)" "flow 0 $1" "flow 1 $2" "synced 0 :pos=5" "synced 1 :pos=6" \
        "live 0 :pos=8 INCR n" "live 1 :pos=9 INCR n"
    wait_until 10 is_saved "$@"
}

is_saved() {
    if [[ ${4-} == --position-file ]]; then
        grep -qx f0=8 "$5" && grep -qx f1=9 "$5"
    else
        [[ $(rcli hmget 'df2redis:{default}' f0 f1 | cut -d' ' -f3 | xargs) == "8 9" ]]
    fi
}

killed() {
    kill -KILL "$WRITER"
    wait "$WRITER" 2>/dev/null || true
    tell_end
}

# What the next run tells dfreader.
next_run() { # option…
    : >"$TMP/told"
    feed "$@"
    tell "$(live_session nonce=${NONCE%9}8 resume=1)"
    wait_until 10 grep -aq '^from flow=1' "$TMP/told" || fail "$(cat "$TMP/told" "$TMP/err")"
}

assert_told() { # resume line's words, those of flow 0, of flow 1
    local said
    said=$(grep -a -e ^resume -e ^from "$TMP/told")
    [[ $said == "resume epoch=1 state=saved $1 flows=2 verify=0"$'\n'"from flow=0 pos=$2"$'\n'"from flow=1 pos=$3" ]] ||
        fail "$said"
}

@test "after a restart each flow goes on with its own lineage: position key" {
    start_redis
    first_run "replid=$A" "replid=$B lineage=$A" ""
    killed
    next_run
    assert_told "replid=- lineage=-" "8 replid=$A lineage=-" "9 replid=$B lineage=$A"
    # It goes on, and one of the masters answered with another id: that is what counts from here.
    tell "flow 0 mode=PARTIAL lsn=8 replid=$A" "flow 1 mode=PARTIAL lsn=9 replid=${B//b/c}" "live 1 :pos=10 INCR n"
    wait_until 10 eval '[[ $(rcli get n) -eq 3 ]]'
    killed
    next_run
    assert_told "replid=- lineage=-" "8 replid=$A lineage=-" "10 replid=${B//b/c} lineage=-"
}

@test "the same with a default: only what differs is said" {
    start_redis
    first_run "" "replid=$B" "replid=$A lineage=$A"
    killed
    next_run
    assert_told "replid=$A lineage=$A" 8 "9 replid=$B lineage=-"
}

@test "after a restart each flow goes on with its own lineage: behind a flush that removed the position key" {
    start_redis
    start_control
    feed
    tell "$(live_session nonce=$NONCE)" "flow 0 replid=$A" "flow 1 replid=$B" "synced 0 :pos=5" "synced 1 :pos=6" \
        "barrier 0 :pos=7 FLUSHALL" "barrier 1 :pos=7 FLUSHALL" "live 0 :pos=8 INCR n" "live 1 :pos=9 INCR n"
    wait_until 10 is_saved
    killed
    next_run
    assert_told "replid=- lineage=-" "8 replid=$A lineage=-" "9 replid=$B lineage=-"
}

@test "after a restart each flow goes on with its own lineage: position file, cluster" {
    to_cluster
    CLUSTER_FACT=cluster=1
    first_run "replid=$A" "replid=$B lineage=$A" "" --position-file "$TMP/positions"
    killed
    next_run --position-file "$TMP/positions"
    assert_told "replid=- lineage=-" "8 replid=$A lineage=-" "9 replid=$B lineage=$A"
}

@test "position keys and files of earlier versions: the session's lineage is that of all flows" {
    start_redis
    start_control
    rcli hset 'df2redis:{default}' session "$NONCE 1 2 $A $B" f0 "1 4 8" f1 "1 3 9" >/dev/null
    next_run
    assert_told "replid=$A lineage=$B" 8 9
    killed
    to_cluster
    CLUSTER_FACT=cluster=1
    first_run "" "" "replid=$A lineage=$B" --position-file "$TMP/positions"
    killed
    ! grep -q '^l[0-9]' "$TMP/positions" || fail "$(cat "$TMP/positions")" # it is one
    next_run --position-file "$TMP/positions"
    assert_told "replid=$A lineage=$B" 8 9
}

@test "the target is one of the masters: nothing is written" {
    start_redis
    start_control
    feed
    tell "$(live_session nonce=$NONCE)" "flow 0 replid=$A" \
        "flow 1 replid=$(rcli info replication | tr -d '\r' | sed -n 's/^master_replid://p')" "set 0 k v"
    tell_end
    reap 10 "$WRITER"
    assert_status 1
    said event=target_is_the_source
    [[ $(rcli dbsize) -eq 0 ]]
}
