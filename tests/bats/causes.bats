#!/usr/bin/env bats
# What ends a pipeline is said once, by the stage where it happened, with the status that all stages behind it end with.
# What a source is that cannot be read; descriptors that run out; options.

load helper
load loading

setup() { files_setup; }

teardown() { common_teardown; }

TARGET() { echo "redis://127.0.0.1:$REDIS_PORT"; }

# Statuses of the three stages in $statuses, what they said in $TMP/err. Arguments of each as one string.
stages() { # dfreader's dfparse's rediswriter's
    statuses=$(
        eval "timeout $((20 * PATIENCE)) dfreader $1 | timeout $((20 * PATIENCE)) dfparse $2 |
            timeout $((20 * PATIENCE)) rediswriter -q $3; echo \"\${PIPESTATUS[*]}\"" 2>"$TMP/err"
    )
}

said_once() { # text
    [[ $(grep -c -- "$1" "$TMP/err") -eq 1 && $(wc -l <"$TMP/err") -eq 1 ]] || fail "$(cat "$TMP/err")"
}

small() {
    standin --generate --keys 20 --types hash --write-dfs "$TMP/small.dfs" >/dev/null
}

@test "a source that cannot be opened: status 1 of every stage, said once" {
    start_redis
    stages "$TMP/nothing.rdb" '' "$(TARGET)"
    [[ $statuses == '1 1 1' ]]
    said_once 'nothing.rdb: No such file or directory'
    mkdir "$TMP/empty"
    stages "$TMP/empty" '' "$(TARGET)"
    [[ $statuses == '1 1 1' ]]
    said_once 'holds no set of .dfs files'
    stages 'dragonfly://127.0.0.1:1' '' "$(TARGET)"
    [[ $statuses == '1 1 1' ]]
    said_once 'Connection refused'
    stages "--control $TMP/no/such/folder.sock dragonfly://127.0.0.1:1" '' "$(TARGET)"
    [[ $statuses == '1 1 1' ]]
    said_once 'cannot listen on'
    small
    stages "--spool $TMP/nofolder $TMP/small.dfs" '' "$(TARGET)"
    [[ $statuses == '1 1 1' ]]
    said_once 'nofolder: No such file'
    [[ $(rcli dbsize) -eq 0 ]]
}

@test "wrong usage of dfreader or dfparse: status 2 of every stage behind, said once" {
    start_redis
    small
    for wrong in "--bogus $TMP/small.dfs" "--buffer x $TMP/small.dfs" 'nosuch://127.0.0.1' '' 'a b' "-c $TMP/none.conf x"; do
        stages "$wrong" '' "$(TARGET)"
        [[ $statuses == '2 2 2' || ($wrong == -c* && $statuses == '1 1 1') ]] || fail "$wrong: $statuses: $(cat "$TMP/err")"
        said_once dfreader:
    done
    for wrong in --bogus '--part-size x' '-t 99.x' '--include regex:['; do
        stages "$TMP/small.dfs" "$wrong" "$(TARGET)"
        [[ $statuses == *' 2 2' ]] || fail "$wrong: $statuses"
        said_once dfparse:
    done
    stages "$TMP/small.dfs" "$TMP/none.raw" "$(TARGET)"
    [[ $statuses == *' 1 1' ]]
    said_once 'none.raw: No such file'
    stages "$TMP/small.dfs" "--report $TMP/no/report" "$(TARGET)"
    [[ $statuses == *' 1 1' ]]
    said_once 'no/report: No such file'
    # The words reach whoever reads the stream alone.
    dfreader --bogus 2>/dev/null | dfparse --json 2>/dev/null | grep -q '"reason":"error","status":"2","message":"option --bogus is unknown'
}

@test "a writer that fails: what the stages before it end with follows from that, and is not said" {
    standin --generate --keys 50000 --write-dfs "$TMP/many.dfs" >/dev/null
    stages "$TMP/many.dfs" '' redis://127.0.0.1:1
    [[ $statuses =~ ^(0|75)\ (0|75)\ (1|75)$ ]] || fail "$statuses $(cat "$TMP/err")"
    said_once 'Connection refused'
    start_redis
    rcli set key value
    stages "$TMP/many.dfs" '' "--on-existing refuse $(TARGET)"
    [[ $statuses =~ ^(0|75)\ (0|75)\ (1|75)$ ]] || fail "$statuses $(cat "$TMP/err")"
    said_once target_not_empty
    # Live likewise.
    start_master --generate --keys 50000
    stages "dragonfly://127.0.0.1:$MASTER_PORT" '' "--on-existing refuse $(TARGET)"
    [[ $statuses == '75 75 1' || $statuses == '75 0 1' ]] || fail "$statuses $(cat "$TMP/err")"
    said_once target_not_empty
}

@test "of a file that ends with an error the writer says which: nobody else does" {
    dfreader -o "$TMP/raw" "$TMP/nothing.rdb" 2>/dev/null || true
    dfparse "$TMP/raw" >"$TMP/commands" 2>/dev/null || true
    start_redis
    run rediswriter -q "$(TARGET)" "$TMP/commands"
    assert_status 1
    assert_output_has 'nothing.rdb: No such file or directory'
}

# ---- what a source is ----

refused() { # status text file
    [[ -n ${REDIS_PORT-} ]] || start_redis
    stages "$3" '' "$(TARGET)"
    [[ ${statuses##* } -eq $1 ]] || fail "$3: $statuses $(cat "$TMP/err")"
    said_once "$2"
    # A session that began may have left its mark.
    [[ -z $(rcli keys '*' | grep -v '^df2redis:') ]] || fail "$3: something was written: $(rcli keys '*')"
}

@test "an append-only file that ends within its snapshot" {
    printf 'REDIS0009\xfa\x0caof-preamble\xc0\x01\xfe\0\0\x01a\x011\0\x01b\x012\xff\0\0\0\0\0\0\0\0' >"$TMP/preamble.aof"
    head -c 40 "$TMP/preamble.aof" >"$TMP/short.aof"
    start_redis
    stages "--truncated ok $TMP/short.aof" '' "$(TARGET)"
    [[ ${statuses##* } -eq 4 ]]
    said_once 'damaged at byte 40 of short.aof: expected more: the snapshot has no end'
}

@test "nothing may stand behind the end of a snapshot" {
    start_redis
    printf 'REDIS0009\xfa\x09redis-ver\x057.0.0\xfe\0\0\x01a\x011\xff\0\0\0\0\0\0\0\0' >"$TMP/plain.rdb"
    stages "$TMP/plain.rdb" '' "$(TARGET)"
    [[ $statuses == '0 0 0' && $(rcli get a) == 1 ]] || fail "$(cat "$TMP/err")"
    cp "$TMP/plain.rdb" "$TMP/aof.rdb"
    printf '*3\r\n$3\r\nset\r\n$1\r\na\r\n$2\r\n99\r\n' >>"$TMP/aof.rdb"
    stages "$TMP/aof.rdb" '' "$(TARGET)"
    [[ ${statuses##* } -eq 1 ]]
    said_once AOF
    for tail in x '\0' "$(printf '%08d' 0)" 'REDIS0009'; do
        cp "$TMP/plain.rdb" "$TMP/tail.rdb"
        printf '%b' "$tail" >>"$TMP/tail.rdb"
        stages "$TMP/tail.rdb" '' "$(TARGET)"
        [[ ${statuses##* } -eq 4 ]] || fail "$tail: $statuses"
        said_once 'bytes stand behind the end of the snapshot'
    done
    # Without a checksum.
    printf 'REDIS0003\xfe\0\0\x01a\x011\xff*1\r\n$4\r\nPING\r\n' >"$TMP/old.rdb"
    stages "$TMP/old.rdb" '' "$(TARGET)"
    [[ ${statuses##* } -eq 1 ]]
    # Dragonfly fills up its last page, and no more.
    cat "$SNAPSHOTS/small.rdb" "$TMP/plain.rdb" >"$TMP/two.rdb"
    run dfparse --null <(dfreader "$TMP/two.rdb")
    assert_status 4
    assert_output_has 'bytes stand behind'
}

@test "the base of an append-only file: that its changes are missing is reported" {
    start_redis
    printf 'REDIS0011\xfa\x09redis-ver\x057.2.0\xfa\x08aof-base\xc0\x01\xfe\0\0\x01a\x011\xff\0\0\0\0\0\0\0\0' >"$TMP/base.rdb"
    stages "$TMP/base.rdb" '' "$(TARGET)"
    [[ ${statuses##* } -eq 3 ]]
    grep -q 'kind=aof-base' "$TMP/err"
}

@test "other things than snapshots are called what they are" {
    printf 'file appendonly.aof.1.base.rdb seq 1 type b\n' >"$TMP/appendonly.aof.manifest"
    refused 1 'appendonly.aof.1.base.rdb: No such file' "$TMP/appendonly.aof.manifest"
    refused 2 'is the manifest of' "- <$TMP/appendonly.aof.manifest"
    mkdir "$TMP/aofdir"
    mv "$TMP/appendonly.aof.manifest" "$TMP/aofdir"
    refused 1 'appendonly.aof.1.base.rdb: No such file' "$TMP/aofdir"
    rm -r "$TMP/aofdir"
    gzip -c "$SNAPSHOTS/small.rdb" >"$TMP/x.rdb.gz"
    refused 2 gzip "$TMP/x.rdb.gz"
    printf '\x28\xb5\x2f\xfdxxxxxxxx' >"$TMP/x.zst"
    refused 2 zstd "$TMP/x.zst"
    tar -C "$SNAPSHOTS" -cf "$TMP/x.tar" small.rdb
    refused 2 tar "$TMP/x.tar"
    : >"$TMP/nothing"
    refused 4 'is empty' "$TMP/nothing"
    start_redis --unixsocket "$TMP/redis.sock"
    refused 2 'is a socket' "$TMP/redis.sock"
}

# ---- options, terminals ----

@test "-h is --help, everywhere, and an unknown option takes one line" {
    for program in dfreader dfparse rediswriter df2redis-check dfconf dflog dfnotify; do
        run "$program" -h
        assert_status 0
        [[ $output == *usage:\ $program* ]]
        [[ $output == "$("$program" --help)" ]]
        run "$program" --no-such-option x y z
        assert_status 2
        [[ ${#lines[@]} -eq 1 && $output == *"$program"* ]] || fail "$program: $output"
    done
    for program in dfreader dfparse rediswriter df2redis-check; do
        for wrong in -Z --output=x --bogus=secret --config; do
            [[ $program == rediswriter || $wrong != --output=x ]] || continue
            run "$program" "$wrong"
            assert_status 2
            [[ ${#lines[@]} -eq 1 && $output != *secret* ]] || fail "$program $wrong: $output"
        done
    done
    run dfreader --spool
    assert_status 2
    [[ $output == 'dfreader: option --spool needs a value, see dfreader --help' ]]
}

@test "records are not written to a terminal" {
    dfreader -o "$TMP/raw" "$SNAPSHOTS/small.rdb"
    run script -qec "dfparse '$TMP/raw'" /dev/null </dev/null
    assert_status 2
    assert_output_has --json
    [[ ${#output} -lt 400 ]]
    run script -qec "dfparse -o /dev/tty '$TMP/raw'" /dev/null </dev/null
    assert_status 2
    run script -qec "dfparse --json '$TMP/raw' 2>/dev/null | tail -1 >'$TMP/last'; dfparse --json '$TMP/raw' 2>/dev/null" /dev/null </dev/null
    assert_output_has '"type":"request"'
    run script -qec "dfreader '$SNAPSHOTS/small.rdb'" /dev/null </dev/null
    assert_status 2
    run script -qec "dfreader -o /dev/tty '$SNAPSHOTS/small.rdb'" /dev/null </dev/null
    assert_status 2
    [[ ${#output} -lt 400 ]]
}

# ---- descriptors ----

hold() { # socket: some connections that stay open
    local i
    for i in {1..8}; do background socat -u "UNIX-CONNECT:$1" "CREATE:/dev/null" 2>/dev/null 7>&-; done
}

# Clock ticks that a process has used.
ticks() { awk '{ print $14 + $15 }' "/proc/$1/stat"; }

@test "dfreader without descriptors for its control socket: said once, no busy loop, and it goes on" {
    mkfifo "$TMP/in"
    (
        ulimit -n 12
        exec dfreader --control "$TMP/c.sock" -o /dev/null - <"$TMP/in" 2>"$TMP/err" 3>&-
    ) &
    local pid=$!
    PIDS+=("$pid")
    exec 7>"$TMP/in"
    wait_until 5 test -S "$TMP/c.sock"
    hold "$TMP/c.sock"
    wait_until 5 grep -q accept_failed "$TMP/err"
    local before
    before=$(ticks "$pid")
    sleep 3
    [[ $(($(ticks "$pid") - before)) -lt 50 ]] || fail "busy: $before, $(ticks "$pid") ticks"
    [[ $(wc -l <"$TMP/err") -eq 1 ]] || fail "$(head -3 "$TMP/err")"
    cat "$SNAPSHOTS/small.rdb" >&7
    exec 7>&-
    reap 10 "$pid"
    [[ $status -eq 0 ]]
}

@test "rediswriter likewise, for its inputs" {
    start_redis
    (
        ulimit -n 10
        exec rediswriter --listen "unix:$TMP/w.sock" --inputs 8 "$(TARGET)" 2>"$TMP/err" 3>&-
    ) &
    local pid=$!
    PIDS+=("$pid")
    wait_until 5 test -S "$TMP/w.sock"
    hold "$TMP/w.sock"
    wait_until 5 grep -q accept_failed "$TMP/err"
    local before
    before=$(ticks "$pid")
    sleep 3
    [[ $(($(ticks "$pid") - before)) -lt 50 ]] || fail "busy: $before, $(ticks "$pid") ticks"
    [[ $(grep -c accept_failed "$TMP/err") -eq 1 ]]
}

@test "the limit of descriptors is raised to what is allowed" {
    mkfifo "$TMP/in"
    (
        ulimit -Sn 20
        exec dfreader --control "$TMP/c.sock" -o /dev/null - <"$TMP/in" 3>&-
    ) &
    local pid=$!
    PIDS+=("$pid")
    exec 7>"$TMP/in"
    wait_until 5 test -S "$TMP/c.sock"
    [[ $(awk '/^Max open files/ { print $4 }' "/proc/$pid/limits") -gt 20 ]]
    exec 7>&-
}

@test "too few descriptors for df2redis are called that" {
    run bash -c "ulimit -n 11; df2redis migrate dragonfly://127.0.0.1:1 redis://127.0.0.1:1"
    assert_status 1
    assert_output_has 'too many open files'
    [[ $output != *lock* ]]
}

@test "a file of an unknown kind: dfreader alone ends with status 4, too" {
    printf 'SET a b, and more than a magic has\n' >"$TMP/unknown"
    run bash -c 'dfreader "$0" >"$0.raw"' "$TMP/unknown"
    assert_status 4
    assert_output_has "$TMP/unknown: damaged at byte 0: expected the magic"
    run bash -c 'dfreader - <"$0" | dfparse -t 7.0 --null' "$TMP/unknown"
    assert_status 4
    [[ $(grep -c 'level=error' <<<"$output") -eq 1 ]] || fail "$output"
}

@test "a file shorter than a magic is called what it is" {
    printf 'SET a b\n' >"$TMP/short"
    run bash -c 'dfreader "$0" | dfparse -t 7.0 --null' "$TMP/short"
    assert_status 4
    assert_output_has 'expected the magic REDISnnnn or VALKEYnnn of a snapshot'
    printf RED >"$TMP/short"
    run bash -c 'dfreader "$0" | dfparse -t 7.0 --null' "$TMP/short"
    assert_status 4
    assert_output_has 'the snapshot has no end'
}
