#!/usr/bin/env bats
# Append-only files as the source: what redis-server makes of them, we make of them.
# shellcheck disable=SC2016,SC2153,SC2119 # expanded where it is used; variables of the helpers

load helper
load loading
load aofs

setup() { aof_setup; }
teardown() { common_teardown; }

equal_to_server() { # what: for messages
    same_data || fail "$1: $output"
    [[ $(functions_of "$LOADED_PORT") == "$(functions_of "$REDIS_PORT")" ]] || fail "$1: functions differ"
    no_position_left
}

@test "in parts: by its folder, that around it, the manifest, any of its files" {
    need_parts
    make_parts
    load_aof "$TMP/made"
    start_redis
    mkdir "$TMP/server"
    cp -r "$TMP/made" "$TMP/server/appendonlydir"
    : >"$TMP/server/log"
    local path
    for path in "$TMP/made" "$TMP/made/" "$TMP/server" "$TMP/made/appendonly.aof.manifest" "$TMP/made/$BASE" "$TMP/made/$LAST"; do
        replay "$path"
        [[ $STATUSES == '0 0 0' ]] || fail "$path: $STATUSES $(cat "$TMP/err")"
        equal_to_server "$path"
    done
    (cd "$TMP/made" && replay . && [[ $STATUS -eq 0 ]] && replay "$FIRST" && [[ $STATUS -eq 0 ]])
    # One file alone, where that is wanted: the increment has no base.
    replay --one-file "$TMP/made/$LAST"
    [[ $STATUS -eq 0 && $(rcli dbsize) -eq 2 ]] || fail "$STATUSES"
}

@test "the base in RESP, timestamps, a relative path, standard input" {
    need_parts
    make_parts --aof-use-rdb-preamble no --aof-timestamp-enabled yes
    grep -q '^#TS:' "$TMP/made/$BASE"
    load_aof "$TMP/made"
    start_redis
    replay "$TMP/made"
    [[ $STATUSES == '0 0 0' ]] || fail "$STATUSES $(cat "$TMP/err")"
    equal_to_server "the base in RESP"
    cat "$TMP/made/$BASE" "$TMP/made/$FIRST" "$TMP/made/$LAST" >"$TMP/plain.aof"
    (cd "$TMP" && replay plain.aof && [[ $STATUS -eq 0 ]]) || fail "$(cat "$TMP/err")"
    equal_to_server "one plain file"
    replay - <"$TMP/plain.aof"
    [[ $STATUS -eq 0 ]] || fail "$(cat "$TMP/err")"
    equal_to_server "standard input"
    replay <(cat "$TMP/plain.aof")
    [[ $STATUS -eq 0 ]] || fail "$(cat "$TMP/err")"
    equal_to_server "a FIFO"
}

@test "a snapshot with commands behind it in one file" {
    need_parts # the base of one is such a file
    make_parts
    load_aof "$TMP/made"
    # What a server up to 6.2 writes says aof-preamble instead of aof-base, and its length byte is another one.
    sed 's/\xfa\x08aof-base/\xfa\x0caof-preamble/' "$TMP/made/$BASE" | head -c -8 >"$TMP/one.aof"
    printf '\0\0\0\0\0\0\0\0' >>"$TMP/one.aof" # no checksum
    cat "$TMP/made/$FIRST" "$TMP/made/$LAST" >>"$TMP/one.aof"
    start_redis
    replay "$TMP/one.aof"
    [[ $STATUSES == '0 0 0' ]] || fail "$STATUSES $(cat "$TMP/err")"
    equal_to_server "a preamble"
    # Damage is found where it is in the file.
    local size
    size=$(stat -c %s "$TMP/one.aof")
    printf 'xyz' >>"$TMP/one.aof"
    replay "$TMP/one.aof"
    [[ $STATUS -eq 4 ]]
    grep -q "damaged at byte $size of one.aof" "$TMP/err" || fail "$(cat "$TMP/err")"
}

@test "names that have to be quoted" {
    need_parts
    make_parts --appendfilename 'my "odd" file.aof' --appenddirname 'a folder' || true
    local dir="$TMP/redis.$REDIS_PORT/a folder"
    [[ -d $dir ]]
    load_aof "$dir" --appendfilename 'my "odd" file.aof'
    start_redis
    replay "$dir"
    [[ $STATUSES == '0 0 0' ]] || fail "$STATUSES $(cat "$TMP/err")"
    equal_to_server "odd names"
}

@test "the file of a server up to 6.2 that one from 7.0 on has taken over" {
    need_parts
    start_redis --appendonly no
    mkdir "$TMP/old"
    { resp SELECT 0; resp SET a 1; resp SELECT 3; resp RPUSH l x y; } >"$TMP/old/appendonly.aof"
    rcli shutdown nosave
    load_aof "$TMP/old/appendonly.aof"
    redis-cli -p "$LOADED_PORT" set later 1 >/dev/null
    redis-cli -p "$LOADED_PORT" shutdown nosave
    wait "$LOADED_PID" || true
    grep -q '^file appendonly.aof seq 1 type b' "$TMP/load/appendonlydir/appendonly.aof.manifest"
    cp -r "$TMP/load/appendonlydir" "$TMP/taken"
    load_aof "$TMP/taken"
    start_redis
    replay "$TMP/taken"
    [[ $STATUSES == '0 0 0' ]] || fail "$STATUSES $(cat "$TMP/err")"
    equal_to_server "taken over"
    replay "$TMP/taken/appendonly.aof" # it is not alone any more
    equal_to_server "taken over, by its old file"
}

@test "migrate takes them, and leaves nothing of its own behind" {
    need_parts
    make_parts
    load_aof "$TMP/made"
    start_redis
    for path in "$TMP/made" "$TMP/made/appendonly.aof.manifest"; do
        rcli flushall >/dev/null
        timeout 60 df2redis migrate "$path" "redis://127.0.0.1:$REDIS_PORT" 2>"$TMP/err" || fail "$? $(cat "$TMP/err")"
        equal_to_server "migrate $path"
    done
    printf '*3\r\n$3\r\nSET\r\n$1\r\na\r\n' >>"$TMP/made/$LAST"
    rcli flushall >/dev/null
    run timeout 60 df2redis migrate "$TMP/made" "redis://127.0.0.1:$REDIS_PORT"
    assert_status 4
    rcli flushall >/dev/null
    run timeout 60 df2redis --truncated ok migrate "$TMP/made" "redis://127.0.0.1:$REDIS_PORT"
    assert_status 0
    equal_to_server "migrate, cut off"
}

@test "databases: another one is selected in each file, and what follows a base begins in 0" {
    mkdir "$TMP/d"
    { resp SELECT 5; resp SET a 1; } >"$TMP/d/b"
    { resp SET b 2; resp SELECT 300; } >"$TMP/d/i"
    resp SET c 3 >"$TMP/d/j"
    printf 'file b seq 1 type b\nfile i seq 1 type i\nfile j seq 2 type i\n' >"$TMP/d/x.manifest"
    start_redis
    replay "$TMP/d"
    [[ $STATUSES == '0 0 0' ]] || fail "$STATUSES $(cat "$TMP/err")"
    [[ $(rcli -n 5 get a) == 1 && $(rcli get b) == 2 && $(rcli get c) == 3 ]]
    # A database that the target does not have.
    { resp SELECT 300; resp SET d 4; } >"$TMP/d/j"
    replay "$TMP/d"
    [[ $STATUS -eq 3 ]]
    grep -q 'db=300' "$TMP/err"
}

@test "a transaction larger than memory that has no end is not executed in part" {
    {
        resp SET before 1
        resp MULTI
        resp SET inside "$(head -c 3000000 /dev/zero | tr '\0' x)"
        resp SET inside2 2
    } >"$TMP/x.aof"
    start_redis
    replay --truncated ok "$TMP/x.aof"
    [[ $STATUS -eq 0 && $(rcli keys '*') == before ]] || fail "$STATUSES $(rcli keys '*')"
    grep -q 'truncated_tail_left_out' "$TMP/err"
    { resp EXEC; resp SET after 1; } >>"$TMP/x.aof"
    replay "$TMP/x.aof"
    [[ $STATUS -eq 0 && $(rcli dbsize) -eq 4 && $(rcli strlen inside) -eq 3000000 ]] || fail "$STATUSES"
}

# ---- expiry ----

@test "keys whose time has come by now: there for the commands behind, gone at the end" {
    start_redis
    local past=$((EPOCHSECONDS - 3600))000 soon=$((EPOCHSECONDS + 100))000 later=$((EPOCHSECONDS + 86400 * 3))000
    {
        resp SET dead 1
        resp PEXPIREAT dead "$past"
        resp SET renewed 1 PXAT "$past"
        resp PEXPIREAT renewed "$later"
        resp APPEND renewed x
        resp SET persisted 1 PXAT "$past"
        resp APPEND persisted 2
        resp PERSIST persisted
        resp SET deleted 1 PXAT "$past"
        resp DEL deleted
        resp RPUSH deleted a
        resp SET renamed 1 PXAT "$past"
        resp RENAME renamed renamed:to
        resp SET kept 1 PXAT "$past"
        resp RENAME kept kept:to
        resp PERSIST kept:to
        resp SET copied 1 PXAT "$past"
        resp COPY copied copied:to DB 3
        resp PERSIST copied
        resp SET soon 1 PXAT "$soon"
        resp SELECT 5
        resp SET swapped 1 PXAT "$past"
        resp SWAPDB 5 6
    } >"$TMP/x.aof"
    replay "$TMP/x.aof"
    [[ $STATUSES == '0 0 0' ]] || fail "$STATUSES $(cat "$TMP/err")"
    [[ $(rcli keys '*' | sort | tr '\n' ' ') == 'copied deleted kept:to persisted renewed soon ' ]] || fail "$(rcli keys '*')"
    [[ $(rcli get renewed) == 1x && $(rcli get persisted) == 12 && $(rcli ttl persisted) -eq -1 ]]
    [[ $(rcli ttl renewed) -gt $((86400 * 3 - 600)) && $(rcli ttl renewed) -le $((86400 * 3)) ]]
    [[ $(rcli ttl soon) -le 100 && $(rcli ttl soon) -gt 0 ]] || fail "soon: $(rcli ttl soon)"
    [[ $(rcli -n 3 dbsize) -eq 0 && $(rcli -n 5 dbsize) -eq 0 && $(rcli -n 6 dbsize) -eq 0 ]]
    # Also where the file is damaged behind them.
    printf 'xyz' >>"$TMP/x.aof"
    replay "$TMP/x.aof"
    [[ $STATUS -eq 4 && $(rcli ttl soon) -le 100 && $(rcli exists dead) -eq 0 ]] || fail "$STATUSES $(rcli keys '*')"
}

@test "many keys that expire meanwhile: more than memory keeps" {
    start_redis
    awk -v t="$((EPOCHSECONDS - 60))000" 'BEGIN { for (i = 0; i < 20000; i++) {
        k = sprintf("key:%08d", i)
        printf "*3\r\n$3\r\nSET\r\n$12\r\n%s\r\n$1\r\nv\r\n*3\r\n$9\r\nPEXPIREAT\r\n$12\r\n%s\r\n$13\r\n%s\r\n", k, k, t } }' >"$TMP/x.aof"
    resp SET stays 1 >>"$TMP/x.aof"
    replay "$TMP/x.aof"
    [[ $STATUSES == '0 0 0' && $(rcli keys '*') == stays ]] || fail "$STATUSES $(rcli dbsize)"
}

# ---- points in time ----

@test "--until-time: what was written later is left out" {
    {
        printf '#TS:1700000000\r\n'
        resp SET a 1
        printf '#TS:1700000010\r\n'
        resp MULTI
        resp SET b 1
        resp SET a 2
        resp EXEC
        printf '#TS:1700000020\r\n'
        resp SET c '#TS:1699999999'
        printf '#TS:1700000030\r\n'
        resp FLUSHALL
        printf 'damage'
    } >"$TMP/x.aof"
    start_redis
    local time keys
    while read -r time keys; do
        replay --until-time "$time" "$TMP/x.aof"
        [[ $STATUSES == '0 0 0' && $(rcli keys '*' | sort | tr -d '\n') == "$keys" ]] ||
            fail "$time: $STATUSES $(rcli keys '*') $(cat "$TMP/err")"
    done <<<'1700000000 a
        1700000009 a
        1700000010 ab
        1700000029 abc
        2023-11-14T22:13:30Z ab
        2023-11-14T22:13:45Z abc'
    replay --until-time 1700000030 "$TMP/x.aof"
    [[ $STATUS -eq 4 ]]
    # What there was before its first line, nobody knows.
    replay --until-time 1699999999 "$TMP/x.aof"
    [[ $STATUS -eq 1 && $(rcli exists a b c) -eq 0 ]]
    grep -q 'all of it was written later' "$TMP/err"
}

@test "--until-time needs times, and no snapshot that is later" {
    need_parts
    make_parts
    start_redis
    replay --until-time "$EPOCHSECONDS" "$TMP/made" # no #TS lines
    [[ $STATUS -eq 2 && $(rcli dbsize) -eq 0 ]] || fail "$STATUSES"
    grep -q 'aof-timestamp-enabled' "$TMP/err"
    make_parts --aof-timestamp-enabled yes
    start_redis
    replay --until-time 1700000000 "$TMP/made"
    [[ $STATUS -eq 1 && $(rcli dbsize) -eq 0 ]] || fail "$STATUSES $(cat "$TMP/err")"
    grep -q "of $BASE: the snapshot was made later" "$TMP/err"
    replay --until-time "$EPOCHSECONDS" "$TMP/made"
    [[ $STATUS -eq 0 ]] || fail "$(cat "$TMP/err")"
    run dfreader --until-time yesterday "$TMP/made"
    assert_status 2
    run dfreader --until-time 5 redis://127.0.0.1
    assert_status 2
}

# ---- progress, and what is around ----

@test "progress is told: percent over all files, and which one" {
    need_parts
    make_parts
    awk 'BEGIN { for (i = 0; i < 60000; i++) printf "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$20\r\n01234567890123456789\r\n" }' >>"$TMP/made/$LAST"
    mkfifo "$TMP/raw"
    background dfreader --control "$TMP/control.sock" -o "$TMP/raw" "$TMP/made"
    local reader=$!
    exec 7<>"$TMP/raw"
    wait_until 5 dfreader --ask "$TMP/control.sock"
    wait_until 5 eval 'dfreader --ask "$TMP/control.sock" | grep -q "file_number=3 "'
    run dfreader --ask "$TMP/control.sock"
    [[ ${lines[0]} =~ \ files=3\ file=$LAST\ size=$(cat "$TMP/made/$BASE" "$TMP/made/$FIRST" "$TMP/made/$LAST" | wc -c)\ percent=[0-9]+\ eta= ]] ||
        fail "$output"
    dfreader --ask "$TMP/control.sock" stop
    background bash -c 'exec cat <&7 >/dev/null'
    exec 7<&-
    reap 10 "$reader"
}

@test "files that a server replaces while they are read are read to their end" {
    need_parts
    make_parts
    load_aof "$TMP/made"
    start_redis
    mkfifo "$TMP/raw"
    background bash -c 'exec dfreader --control "$1" -o "$2" "$3" 2>>"$4"' - "$TMP/control.sock" "$TMP/raw" "$TMP/made" "$TMP/err"
    exec 7<>"$TMP/raw" # so that it goes on, as far as the pipe has room: it has opened its files
    wait_until 5 dfreader --ask "$TMP/control.sock"
    rm "$TMP/made"/*
    background bash -c "exec cat <&7 >'$TMP/kept'"
    exec 7<&-
    wait_until 5 grep -aq reason=complete "$TMP/kept"
    dfparse -t "$(server_version)" "$TMP/kept" | rediswriter -q "redis://127.0.0.1:$REDIS_PORT"
    equal_to_server "replaced"
}

@test "a folder with several, or with none, says what to do" {
    mkdir -p "$TMP/two/a" "$TMP/two/b" "$TMP/none"
    resp SET a 1 >"$TMP/two/a/x.aof"
    cp "$TMP/two/a/x.aof" "$TMP/two/b"
    printf 'file x.aof seq 1 type i\n' | tee "$TMP/two/a/x.manifest" >"$TMP/two/b/x.manifest"
    start_redis
    replay "$TMP/two"
    [[ $STATUS -eq 2 ]]
    grep -q 'more than one append-only file' "$TMP/err"
    replay "$TMP/none"
    [[ $STATUS -eq 1 ]]
    replay "$TMP/two/a"
    [[ $STATUS -eq 0 && $(rcli get a) == 1 ]]
}

@test "what is read is bounded: a value of 200 MB, and a file of many commands" {
    {
        printf '*3\r\n$3\r\nSET\r\n$3\r\nbig\r\n$200000000\r\n'
        head -c 200000000 /dev/zero
        printf '\r\n'
        resp SET small 1
    } >"$TMP/big.aof"
    start_redis --proto-max-bulk-len 512mb
    local most=400000
    ! sanitized || most=unlimited # it has a use for memory of its own
    timeout 100 dfreader "$TMP/big.aof" |
        { bash -c 'ulimit -v '"$most"'; exec timeout 100 dfparse' || echo "dfparse: $?" >"$TMP/failed"; } |
        timeout 100 rediswriter -q "redis://127.0.0.1:$REDIS_PORT"
    [[ ! -e $TMP/failed && $(rcli strlen big) -eq 200000000 && $(rcli get small) == 1 ]] || fail "$(cat "$TMP/failed")"
}
