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

C=cccccccccccccccccccccccccccccccccccccccc
D=dddddddddddddddddddddddddddddddddddddddd

tell_flow() { # flow, line…: through an input of its own
    printf '%s\n' "${@:2}" 'sleep 0' >&"${FEEDS[$1]}"
}

feed_each() { # a writer with an input for each of two flows
    local f fd
    FEEDS=()
    for f in 0 1; do
        mkfifo "$TMP/text.$f" "$TMP/records.$f"
        background timeout -s KILL 100 bash -c 'exec mkrecords <"$0" >"$1"' "$TMP/text.$f" "$TMP/records.$f"
    done
    background rediswriter "$(target)" "$TMP/records.0" "$TMP/records.1" 2>"$TMP/err"
    WRITER=$!
    for f in 0 1; do
        exec {fd}>"$TMP/text.$f"
        FEEDS[f]=$fd
    done
}

has_lineages() { # of flow 0, of flow 1
    [[ $(rcli hmget 'df2redis:{default}' l0 l1 | cut -d' ' -f1 | xargs) == "$1 $2" ]]
}

@test "lineages that change while the session runs: one, then both at once" {
    local f
    start_redis
    start_control
    feed_each
    for f in 0 1; do
        tell_flow $f "$(live_session nonce=$NONCE)"
    done
    tell_flow 0 "flow 0 replid=$A" "synced 0 :pos=5" "live 0 :pos=8 INCR n"
    tell_flow 1 "flow 1 replid=$B" "synced 1 :pos=6" "live 1 :pos=9 INCR n"
    wait_until 10 is_saved
    tell_flow 0 "flow 0 mode=LINEAGE replid=$C"
    wait_until 10 has_lineages "$C" "$B"
    # The first waits for its reply when the other one comes, whose input is looked at before its own.
    rcli client pause 100000 write >/dev/null
    tell_flow 1 "flow 1 mode=LINEAGE replid=$A" "live 1 :pos=11 INCR n"
    wait_until 5 stands_still
    tell_flow 0 "flow 0 mode=LINEAGE replid=$D" "live 0 :pos=10 INCR n"
    wait_until 5 stands_still
    rcli client unpause >/dev/null
    wait_until 10 eval '[[ $(rcli get n) -eq 4 ]]'
    has_lineages "$D" "$A" || fail "$(rcli hmget 'df2redis:{default}' l0 l1)"
    kill -KILL "$WRITER"
    wait "$WRITER" 2>/dev/null || true
    for f in 0 1; do
        exec {FEEDS[f]}>&-
    done
    next_run
    assert_told "replid=- lineage=-" "10 replid=$D lineage=-" "11 replid=$A lineage=-"
}

@test "after a restart each flow goes on with its own lineage: position file, cluster" {
    to_cluster
    CLUSTER_FACT=cluster=1
    first_run "replid=$A" "replid=$B lineage=$A" "" --position-file "$TMP/positions"
    killed
    next_run --position-file "$TMP/positions"
    assert_told "replid=- lineage=-" "8 replid=$A lineage=-" "9 replid=$B lineage=$A"
}

@test "a lineage that changes while the session runs: position file, cluster" {
    local p
    to_cluster
    CLUSTER_FACT=cluster=1
    first_run "replid=$A" "replid=$B" "" --position-file "$TMP/positions"
    tell "flow 0 mode=LINEAGE replid=$C" "live 0 :pos=10 INCR n"
    wait_until 10 grep -qx f0=10 "$TMP/positions" || fail "$(cat "$TMP/err" "$TMP/positions")"
    grep -q "^l0=$C" "$TMP/positions" || fail "$(cat "$TMP/positions")"
    for p in "${CLUSTER_PORTS[@]}"; do # positions are in the file alone
        [[ -z $(redis-cli -p "$p" keys 'df2redis:{default}') ]] || fail "master $p has a position key"
    done
    killed
    next_run --position-file "$TMP/positions"
    assert_told "replid=- lineage=-" "10 replid=$C lineage=-" "9 replid=$B lineage=-"
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

@test "a task whose flows have lineages of their own is not taken for that of other masters" {
    start_redis
    first_run "replid=$A" "replid=$B" "address=redis://a.test:1"
    killed
    feed
    tell "$(live_session nonce=${NONCE%9}7 address=redis://b.test:1)" "flow 0 replid=${A//a/c}" "flow 1 replid=${A//a/d}" "set 0 k v"
    tell_end
    reap 10 "$WRITER"
    assert_status 1
    said event=task_of_another_source
    [[ $(rcli exists k) -eq 0 ]]
}

# ---- flushes of one flow ----

two_masters() { # fact…: one of them in database 0, one in database 1
    heading 2 "$@"
    printf '%s\n' "synced 0 :pos=1" "synced 1 :pos=1" "live 0 :pos=2 INCR a" "live 1 :db=1 :pos=2 INCR b"
}

now() { # of database 0, of database 1
    [[ "$(rcli --raw keys '[a-z]' | sort | xargs)/$(rcli --raw -n 1 keys '[a-z]' | sort | xargs)" == "$1" ]]
}

@test "a flush of one flow: the other flow is neither waited for nor held up, whatever connections there are" {
    local options
    start_redis
    for options in --at-least-once "--connections 2" "--connections 1"; do
        rcli flushall
        # shellcheck disable=SC2086 # several words
        feed $options
        tell "$(two_masters)"
        wait_until 5 now a/b
        tell "barrier 1 :oneflow :db=1 :pos=3 FLUSHDB" "live 1 :db=1 :pos=4 INCR c" "live 0 :pos=3 INCR d"
        wait_until 5 now "a d/c" || fail "$options: $(cat "$TMP/err")"
        tell "barrier 0 :oneflow :pos=4 FLUSHDB" "live 0 :pos=5 INCR e"
        wait_until 5 now "e/c" || fail "$options: $(cat "$TMP/err")"
        # Both at once, and one of them twice.
        tell "barrier 0 :oneflow :pos=6 FLUSHDB" "barrier 1 :oneflow :db=1 :pos=7 FLUSHDB" "live 0 :pos=8 INCR f" \
            "live 1 :db=1 :pos=9 INCR g" "barrier 1 :oneflow :db=1 :pos=10 :txid=5 FLUSHDB" "live 1 :db=1 :pos=11 INCR h"
        wait_until 5 now "f/h" || fail "$options: $(cat "$TMP/err")"
        tell end
        tell_end
        reap 10 "$WRITER"
        [[ $status -eq 0 ]] || fail "$options: status $status $(cat "$TMP/err")"
    done
}

# Which of two connections a key takes.
connection_of() { echo $(($(redis-cli -p "${CLUSTER_PORTS[0]}" cluster keyslot "$1") % 2)); }

@test "a flush of one flow waits for the requests of this flow, and for no others" {
    local here there
    the_cluster
    start_redis
    for here in {k..z}; do [[ $(connection_of "$here") -eq 1 ]] && break; done
    for there in {k..z}; do [[ $(connection_of "$there") -eq 1 && $there != "$here" ]] && break; done
    # Without transactions a BLPOP is not answered before there is something to pop.
    feed --connections 2 --at-least-once
    tell "$(two_masters)" "live 0 :pos=3 BLPOP $here 0"
    wait_until 5 now a/b
    wait_until 5 eval "rcli client list | grep -q cmd=blpop"
    tell "barrier 1 :oneflow :db=1 :pos=3 FLUSHDB" "live 1 :db=1 :pos=4 INCR c"
    wait_until 5 now "a/" || fail "$(cat "$TMP/err")" # though it waits; c may have to wait for the connection
    rcli rpush "$here" v >/dev/null
    wait_until 5 now "a/c"
    tell "live 1 :db=1 :pos=5 BLPOP $there 0"
    wait_until 5 eval "rcli client list | grep -q cmd=blpop"
    tell "barrier 1 :oneflow :db=1 :pos=6 FLUSHDB"
    wait_until 5 stands_still
    now "a/c" || fail "$(rcli -n 1 keys '*')"
    rcli -n 1 rpush "$there" v >/dev/null
    wait_until 5 now "a/"
    tell end
    tell_end
    reap 10 "$WRITER"
    assert_status 0
}

@test "a flush of one flow, positions of both behind it: position key" {
    start_redis
    start_control
    feed
    tell "$(live_session nonce=$NONCE)" "flow 0 replid=$A" "flow 1 replid=$B" "synced 0 :pos=5" "synced 1 :pos=6" \
        "live 1 :db=1 :pos=9 INCR n" "barrier 0 :oneflow :pos=7 FLUSHDB" "live 0 :pos=8 INCR n"
    wait_until 10 is_saved
    killed
    next_run
    assert_told "replid=- lineage=-" "8 replid=$A lineage=-" "9 replid=$B lineage=-"
}

@test "a flush of one flow, positions of both behind it: position file, nothing behind the flush is flushed again" {
    start_redis
    start_control
    feed --connections 2 --position-file "$TMP/positions"
    tell "$(live_session nonce=$NONCE)" "flow 0 replid=$A" "flow 1 replid=$B" "synced 0 :pos=5" "synced 1 :pos=6" \
        "live 1 :db=1 :pos=9 INCR n" "barrier 0 :oneflow :pos=7 FLUSHDB" "live 0 :pos=8 INCR n"
    wait_until 10 eval '[[ $(rcli get n) == 1 ]]'
    grep -qx f0=7 "$TMP/positions" || grep -qx f0=8 "$TMP/positions" || fail "$(cat "$TMP/positions")"
    killed
    next_run --connections 2 --position-file "$TMP/positions"
    grep -aq "^from flow=0 pos=[78] replid=$A" "$TMP/told" || fail "$(cat "$TMP/told")"
}

@test "a flush of one flow that would remove keys of others, too, is refused: nothing is removed" {
    local flush
    start_redis
    for flush in "FLUSHALL" "FLUSHALL ASYNC"; do
        { two_masters; echo "barrier 1 :oneflow :pos=3 $flush"; echo end; } | write
        assert_status 1
        assert_output_has event=flush_of_one_flow
        now a/b || fail "$(rcli keys '*')"
        rcli flushall
    done
    { two_masters; echo "barrier 1 :oneflow :pos=3 FLUSHALL"; echo "live 1 :db=1 :pos=4 INCR c"; echo end; } |
        write --on-source-flush ignore
    assert_status 0
    now "a/b c"
    # Of one flow that is all there is it is a flush as any other.
    one_flow <<<$'live 0 :pos=2 INCR a\nbarrier 0 :oneflow :pos=3 FLUSHALL\nlive 0 :pos=4 INCR z' | write
    assert_status 0
    now z/
    to_cluster
    { heading 2 | sed 's/^target$/target cluster=1/'; printf '%s\n' "synced 0 :pos=1" "synced 1 :pos=1" "live 0 :pos=2 INCR a" \
        "barrier 1 :oneflow :pos=3 FLUSHDB" end; } | write
    assert_status 1
    assert_output_has event=flush_of_one_flow
    [[ $(ccli get a) -eq 1 ]]
}

@test "dfparse: flushes of a flow with a replid of its own concern that flow alone" {
    { printf '%s\n' session "flow 0 mode=PARTIAL lsn=100 form=journal replid=$A" "entry 0 FLUSHDB" end; } | mkrecords --raw >"$TMP/raw"
    run dfparse -t redis:7.0 --json "$TMP/raw"
    assert_status 0
    assert_output_has '"oneflow"'
    { printf '%s\n' "session flows=2" "flow 0 mode=PARTIAL lsn=100 form=journal replid=$A" "flow 1 mode=PARTIAL lsn=100 form=journal replid=$B" \
        "entry 0 SET k v" "entry 0 FLUSHALL" "entry 0 SET l v" end; } | mkrecords --raw >"$TMP/raw"
    run dfparse -t redis:7.0 --json "$TMP/raw"
    assert_status 3
    ! grep -q '"type":"barrier"' <<<"$output" || fail "$output"
    assert_output_has '"kind":"flush"'
    # All flows of one master: as ever.
    { printf '%s\n' "session flows=2 replid=$A" "flow 0 mode=PARTIAL lsn=100 form=journal" "flow 1 mode=PARTIAL lsn=100 form=journal" \
        "entry 0 FLUSHALL" "entry 1 FLUSHALL" end; } | mkrecords --raw >"$TMP/raw"
    run dfparse -t redis:7.0 --json "$TMP/raw"
    assert_status 0
    [[ $(grep -c '"type":"barrier"' <<<"$output") -eq 2 ]] || fail "$output"
    never grep -q oneflow <<<"$output"
}

@test "dfparse --resp: a flush of one flow waits for no other" {
    { two_masters; printf '%s\n' "barrier 1 :oneflow :db=1 :pos=3 FLUSHDB" "live 1 :db=1 :pos=4 INCR c" end; } | mkrecords >"$TMP/stream"
    run dfparse --resp "$TMP/stream"
    assert_status 0
    [[ $(tr -d '\r' <<<"$output" | grep -v '^[*$]' | xargs) == "SELECT 0 INCR a SELECT 1 INCR b FLUSHDB INCR c" ]] || fail "$output"
    { two_masters; printf '%s\n' "barrier 1 :oneflow :pos=3 FLUSHALL" end; } | mkrecords >"$TMP/stream"
    run dfparse --resp "$TMP/stream"
    [[ $status -ne 0 ]]
    ! grep -q '^FLUSHALL' <<<"$output" || fail "$output"
}
