#!/usr/bin/env bats
# Snapshots of Dragonfly: sets of .dfs files, and its .rdb.

load helper
load loading

setup() { files_setup; }

teardown() { common_teardown; }

flows_of() { # dfreader argument…
    timeout 100 dfreader "$@" | timeout 100 dfparse --json 2>/dev/null | grep -c '"type":"flow"'
}

assert_snapshot() {
    assert_target_holds "$SNAPSHOTS/small.expected.jsonl.gz" 0,3
    [[ $(rcli info keyspace | grep -c '^db') -eq 2 ]]
}

@test "a .dfs set is found by its summary, by a shard, by its folder, and gives the data set" {
    local source
    start_redis
    VERSION=$(server_version)
    mkdir "$TMP/set"
    cp "$SNAPSHOTS"/small-* "$TMP/set"
    for source in "$SNAPSHOTS/small-summary.dfs" "$SNAPSHOTS/small-0000.dfs" "$SNAPSHOTS/small-0001.dfs" "$TMP/set"; do
        [[ $(flows_of "$source") -eq 3 ]] || fail "$source: $(flows_of "$source") flows"
        copy_into_server "$source"
        [[ $STATUSES == "0 3 3" ]] || fail "$source: $STATUSES: $(complaints)"
        assert_snapshot
    done
    cd "$TMP/set"
    [[ $(flows_of small-0001.dfs) -eq 3 ]]
    [[ $(flows_of .) -eq 3 ]]
    rm small-summary.dfs
    [[ $(flows_of .) -eq 2 ]]
    copy_into_server small-0000.dfs --restore-limit 0
    assert_snapshot
}

@test "a .rdb of Dragonfly gives the same data set" {
    start_redis
    VERSION=$(server_version)
    copy_into_server "$SNAPSHOTS/small.rdb"
    [[ $STATUSES == "0 3 3" ]] || fail "$STATUSES: $(complaints)"
    assert_snapshot
    copy_into_server "$SNAPSHOTS/small.rdb" --restore-limit 0
    assert_snapshot
}

@test "--one-file reads only the shard that was named, as does standard input" {
    local keys
    start_redis
    VERSION=$(server_version)
    [[ $(flows_of --one-file "$SNAPSHOTS/small-0001.dfs") -eq 1 ]]
    timeout 100 dfreader --one-file "$SNAPSHOTS/small-0001.dfs" | dfparse -t "$VERSION" 2>/dev/null |
        rediswriter -q "redis://127.0.0.1:$REDIS_PORT" 2>/dev/null || true
    keys=$(rcli dbsize)
    [[ $keys -gt 0 ]]
    # shellcheck disable=SC2002 # a pipe is what is meant
    cat "$SNAPSHOTS/small-0000.dfs" | timeout 100 dfreader - | dfparse -t "$VERSION" 2>/dev/null |
        rediswriter -q "redis://127.0.0.1:$REDIS_PORT" 2>/dev/null || true
    [[ $(rcli dbsize) -gt $keys ]]
    assert_snapshot
}

@test "a set that lacks a shard is refused, before anything is written" {
    mkdir "$TMP/set"
    cp "$SNAPSHOTS"/small-0001.dfs "$SNAPSHOTS"/small-summary.dfs "$TMP/set"
    for source in "$TMP/set" "$TMP/set/small-summary.dfs" "$TMP/set/small-0001.dfs"; do
        run dfreader -o "$TMP/out" "$source"
        assert_status 1
        assert_output_has 'small-0000.dfs is missing'
    done
    cp "$SNAPSHOTS/small-0000.dfs" "$TMP/set"
    mv "$TMP/set/small-0001.dfs" "$TMP/set/small-0002.dfs"
    run dfreader -o "$TMP/out" "$TMP/set"
    assert_status 1
    assert_output_has 'small-0001.dfs is missing, but there is a shard 0002'
    # Of the source nothing: the stream only says why.
    [[ $(dfparse --json "$TMP/out" | wc -l) -eq 1 ]]
    dfparse --json "$TMP/out" | grep -q '"type":"end".*"reason":"error"'
}

@test "the summary says how many shards there are: the last one may not be missing either" {
    mkdir "$TMP/set"
    cp "$SNAPSHOTS"/small-0000.dfs "$SNAPSHOTS"/small-summary.dfs "$TMP/set"
    run bash -c "dfreader '$TMP/set' | dfparse --null"
    assert_status 4
    assert_output_has 'files are missing'
    # The summary alone is what was asked for.
    run bash -c "dfreader --one-file '$TMP/set/small-summary.dfs' | dfparse --null"
    assert_status 0
}

@test "a folder with two sets, or with none, is refused" {
    mkdir "$TMP/set"
    run dfreader -o "$TMP/out" "$TMP/set"
    assert_status 1
    assert_output_has 'holds no set'
    cp "$SNAPSHOTS"/small-* "$TMP/set"
    for f in "$TMP"/set/*; do cp "$f" "${f/small/other}"; done
    run dfreader -o "$TMP/out" "$TMP/set"
    assert_status 2
    assert_output_has 'more than one set'
    [[ $(flows_of "$TMP/set/other-summary.dfs") -eq 3 ]]
}

@test "files of two snapshots are no set" {
    mkdir "$TMP/set"
    cp "$SNAPSHOTS"/small-* "$TMP/set"
    local at
    at=$(grep -abo 1a3e6ad41a5bdaf6bfc95420c09aee10 "$TMP/set/small-0001.dfs" | head -1 | cut -d: -f1)
    printf 'f' | dd of="$TMP/set/small-0001.dfs" bs=1 seek="$at" conv=notrunc status=none
    run bash -c "dfreader '$TMP/set' | dfparse --null"
    assert_status 4
    assert_output_has snapshot
}

@test "a truncated or damaged shard ends everything with status 4" {
    mkdir "$TMP/set"
    cp "$SNAPSHOTS"/small-* "$TMP/set"
    truncate -s 20000 "$TMP/set/small-0001.dfs"
    run bash -c "dfreader '$TMP/set' | dfparse --null"
    assert_status 4
    assert_output_has 'flow=1 event=damaged'
}

@test "on a terminal the progress is shown in percent" {
    command -v script >/dev/null || skip "no script(1)"
    run script -qec "dfreader -o '$TMP/out' '$SNAPSHOTS/small.rdb'" /dev/null </dev/null
    assert_status 0
    [[ $output =~ [0-9]+\ %\ of\ 0.1\ MB.*left ]] || fail "$output"
    # Not where standard error is a file.
    dfreader -o "$TMP/out" "$SNAPSHOTS/small.rdb" 2>"$TMP/err"
    [[ ! -s $TMP/err ]]
}
