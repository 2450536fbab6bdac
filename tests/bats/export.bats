#!/usr/bin/env bats
# RDB files that we write: servers load them with the data set that the source has, in the form of their version; what
# fails leaves nothing.

load helper
load loading
load writing

setup() { files_setup; }
teardown() { common_teardown; }

# A file as an RDB of the version: OUT.
export_file() { # version file [dfparse option…]
    local version=$1 file=$2
    shift 2
    OUT=$TMP/out.rdb
    rm -f "$OUT"
    timeout 100 dfreader "$file" 2>"$TMP/reader.err" |
        timeout 100 dfparse --rdb "$OUT" -t "$version" --report "$TMP/report" "$@" 2>"$TMP/parse.err" &&
        STATUSES="${PIPESTATUS[*]}" || STATUSES="${PIPESTATUS[*]}"
}

# The server's own judgement.
looks_sound() { # file
    (exec -a redis-check-rdb "$(command -v "${REDIS_SERVER:-redis-server}")" "$1") 2>&1 | grep -q 'RDB looks OK'
}

dump_of() { dfstate dump "redis://127.0.0.1:$LOADED_PORT?dbs=$ALL_DBS"; }

# The types of a file's keys, and how often each is there.
encodings() { # file
    dfreader "$1" | dfparse --inspect csv | awk -F, 'NR > 1 { print $2, $(NF - 3) }' | sort | uniq -c | awk '{ print $1, $2, $3 }'
}

@test "files that the server loads, made anew: the same data set, and functions" {
    local hex file loaded=0 functions
    local -a wrong=()
    start_redis
    VERSION=$(server_version)
    for hex in "$SNAPSHOTS/small.rdb" "$REPO"/tests/fixtures/rdb/*.hex; do
        file=$hex
        case ${hex##*/} in keydb-* | function-rc* | stream-orphan.* | unsound-* | duplicate-*) continue ;; esac
        [[ $hex != *.hex ]] || { hex=${hex##*/} && fixture "${hex%.hex}" && file=$FILE; }
        load_into_server "$file" || continue
        dump_of >"$TMP/before"
        functions=$(functions_of "$LOADED_PORT")
        unload
        export_file "$VERSION" "$file"
        [[ $STATUSES == "0 0" || $STATUSES == "0 3" ]] || { wrong+=("$file: $STATUSES"); continue; }
        looks_sound "$OUT" || wrong+=("$file: redis-check-rdb")
        load_into_server "$OUT" || { wrong+=("$file: not loaded: $(tail -2 "$TMP/load/log")"); continue; }
        dump_of >"$TMP/after"
        [[ $functions == "$(functions_of "$LOADED_PORT")" ]] || wrong+=("$file: functions")
        unload
        dfstate diff "$TMP/before" "$TMP/after" >"$TMP/diff" || wrong+=("$file: $(cat "$TMP/diff")")
        loaded=$((loaded + 1))
    done
    [[ ${#wrong[@]} -eq 0 ]] || fail "$(printf '%s\n' "${wrong[@]}")"
    ! server_has 5.0 || [[ $loaded -ge 6 ]] || fail "only $loaded files were compared"
}

@test "a .dfs set becomes one file, whose databases are mixed, and which the server loads" {
    start_redis
    export_file "$(server_version)" "$SNAPSHOTS/small-summary.dfs"
    [[ $STATUSES == "0 3" ]] || fail "$STATUSES: $(cat "$TMP/parse.err")"
    looks_sound "$OUT"
    load_into_server "$OUT"
    rcli shutdown nosave
    REDIS_PORT=$LOADED_PORT
    assert_target_holds "$SNAPSHOTS/small.expected.jsonl.gz" 0,3
    # What no RDB holds is named.
    grep -q '"kind":"bloom-filter","lost":true.*"db":0,"key":"bloom:1"' "$TMP/report" || fail "$(head -3 "$TMP/report")"
}

@test "an old version gets old types only" {
    export_file 5.0 "$SNAPSHOTS/small-summary.dfs"
    [[ $STATUSES == "0 3" ]]
    [[ $(head -c 9 "$OUT") == REDIS0009 ]]
    run encodings "$OUT"
    assert_output_has 'hash hashtable'
    assert_output_has 'list list'
    assert_output_has 'zset skiplist'
    assert_output_has 'stream stream'
    [[ $output != *listpack* && $output != *quicklist* ]] || fail "$output"
    export_file 7.2 "$SNAPSHOTS/small-summary.dfs"
    [[ $(head -c 9 "$OUT") == REDIS0011 ]]
    run encodings "$OUT"
    assert_output_has 'list quicklist'
    # Redis 4.0 has no streams.
    export_file 4.0 "$SNAPSHOTS/small-summary.dfs"
    [[ $(head -c 9 "$OUT") == REDIS0008 ]]
    [[ $(grep -c '"kind":"stream"' "$TMP/report") -eq 21 ]] || fail "$(cut -c1-200 "$TMP/report")"
}

@test "expiries of fields: Redis 7.4, Valkey 9, and servers that have none" {
    local want
    fixture redis74-hash-ttl
    want=$(decoded "$FILE" -t 7.4 --restore-limit 0)
    [[ $want == *HPEXPIREAT* ]]
    export_file 7.4 "$FILE"
    [[ $STATUSES == "0 0" ]]
    diff <(echo "$want") <(decoded "$OUT" -t 7.4 --restore-limit 0)
    export_file valkey-9 "$FILE"
    [[ $STATUSES == "0 0" && $(head -c 9 "$OUT") == VALKEY080 ]]
    diff <(sort <<<"$want") <(decoded "$OUT" -t 7.4 --restore-limit 0 | sort)
    # And back again.
    cp "$OUT" "$TMP/valkey.rdb"
    export_file 7.4 "$TMP/valkey.rdb"
    diff <(sort <<<"$want") <(decoded "$OUT" -t 7.4 --restore-limit 0 | sort)
    export_file 7.2 "$FILE"
    [[ $STATUSES == "0 3" && $(grep -c '"kind":"field-ttl"' "$TMP/report") -eq 2 ]]
    decoded "$OUT" -t 7.2 --restore-limit 0 | grep -q '"HSET","h24","a","1","b","2","c","3"'
}

@test "JSON is a module's value, a string, or reported" {
    fixture rejson
    export_file 7.2 "$FILE"
    [[ $STATUSES == "0 3" ]]
    grep -q '"kind":"json"' "$TMP/report"
    export_file 7.2 "$FILE" --unsupported approximate
    run encodings "$OUT"
    assert_output_has 'string string'
    export_file 7.2 "$FILE" --target-modules ReJSON
    [[ $STATUSES == "0 0" ]] || fail "$STATUSES $(cat "$TMP/parse.err")"
    diff <(decoded "$FILE" -t 7.2 --target-modules ReJSON) <(decoded "$OUT" -t 7.2 --target-modules ReJSON)
    # Dragonfly's documents have no module around them.
    export_file 7.2 "$SNAPSHOTS/small-summary.dfs" --target-modules ReJSON --include type:json
    decoded "$OUT" -t 7.2 | grep -c 'json' | grep -qx 2
}

@test "the same input makes the same bytes, to a file and to standard output" {
    export_file 7.2 "$SNAPSHOTS/small.rdb"
    cp "$OUT" "$TMP/first"
    export_file 7.2 "$SNAPSHOTS/small.rdb"
    cmp "$OUT" "$TMP/first"
    dfreader "$SNAPSHOTS/small.rdb" | dfparse --rdb - -t 7.2 2>/dev/null >"$TMP/piped" || [[ $? -eq 3 ]]
    cmp "$OUT" "$TMP/piped"
    # It is a fixed point.
    export_file 7.2 "$TMP/first"
    cmp "$OUT" "$TMP/first"
}

@test "selecting, renaming and mapping; of two keys that become one the first stays" {
    start_redis
    rcli set user:1 one >/dev/null
    rcli set other x >/dev/null
    rcli -n 1 set user:1 two >/dev/null
    rcli -n 1 rpush user:list a b >/dev/null
    rcli save >/dev/null
    export_file 7.0 "$TMP/redis.$REDIS_PORT/dump.rdb" --include 'user:*' --rename-prefix user:=u: --db-map '*=3'
    [[ $STATUSES == "0 3" ]] || fail "$STATUSES: $(cat "$TMP/parse.err")"
    grep -q '"kind":"duplicate-key".*"key":"u:1"' "$TMP/report" || fail "$(cat "$TMP/report")"
    decoded "$OUT" -t 7.0 --restore-limit 0 >"$TMP/decoded"
    diff - "$TMP/decoded" <<'END'
3 ["SET","u:1","one"]
3 ["DEL","u:list"]
3 ["RPUSH","u:list","a","b"]
end status=0 expired=0
END
}

@test "nothing is left of a file that is not complete, and what was there stays" {
    mkdir "$TMP/dir"
    echo before >"$TMP/dir/x.rdb"
    head -c 20000 "$SNAPSHOTS/small.rdb" >"$TMP/cut.rdb"
    run bash -c "dfreader $TMP/cut.rdb | dfparse --rdb $TMP/dir/x.rdb -t 7.2"
    assert_status 4
    [[ $(ls -A "$TMP/dir") == x.rdb && $(cat "$TMP/dir/x.rdb") == before ]]
    # One that is complete takes its place.
    run bash -c "dfreader $SNAPSHOTS/small.rdb | dfparse --rdb $TMP/dir/x.rdb -t 7.2"
    [[ $(ls -A "$TMP/dir") == x.rdb && $(head -c 5 "$TMP/dir/x.rdb") == REDIS ]]
    # No link is followed, nothing but a file replaced.
    ln -s x.rdb "$TMP/dir/link.rdb"
    run bash -c "dfreader $SNAPSHOTS/small.rdb | dfparse --rdb $TMP/dir/link.rdb -t 7.2"
    assert_status 1
    assert_output_has 'not a regular file'
    run bash -c "dfreader $SNAPSHOTS/small.rdb | dfparse --rdb $TMP/dir -t 7.2"
    assert_status 1
    run bash -c "dfreader $SNAPSHOTS/small.rdb | dfparse --rdb $TMP/none/x.rdb -t 7.2"
    assert_status 1
    assert_output_has 'No such file'
}

@test "options that do not go with it" {
    run dfparse --rdb "$TMP/x" --check-options
    assert_status 2
    assert_output_has 'needs --target-version'
    run dfparse --rdb "$TMP/x" -t dragonfly:1.40 --check-options
    assert_status 2
    run dfparse --rdb "$TMP/x" --json -t 7.2 --check-options
    assert_status 2
    run dfparse --rdb "$TMP/x" --inspect text -t 7.2 --check-options
    assert_status 2
    [[ ! -e $TMP/x ]]
}

@test "an unsound value is written anew, a damaged one is left out, and the server loads the file" {
    start_redis
    fixture unsound-values
    export_file "$(server_version)" "$FILE"
    grep -q '"kind":"unsound-value"' "$TMP/report"
    looks_sound "$OUT"
    load_into_server "$OUT" || fail "$(tail -3 "$TMP/load/log")"
    # As the other output has it.
    VERSION=$(server_version)
    copy_into_server "$FILE"
    same_data || fail "$output"
}

@test "a key that a file has twice is written once" {
    fixture duplicate-key
    export_file 7.0 "$FILE"
    [[ $STATUSES == "0 3" ]] || fail "$STATUSES"
    grep -q '"kind":"duplicate-key"' "$TMP/report"
    looks_sound "$OUT"
}

@test "memory does not grow with a value: a string, a hash, a hash of another type" {
    # 48 MiB of each: fields with expiries become a plain hash, whose count is not known before its end.
    {
        printf 'REDIS0012\372\011redis-ver\0057.4.1\376\000'
        printf '\000\003str\200\003\000\000\000'
        head -c $((48 << 20)) /dev/zero
        printf '\030\004ttls\000\000\000\000\000\000\000\000\200\000\057\000\000'
        seq -f 'f%07.0f' 0 $((0x2f0000 - 1)) | sed 's/.*/\x00\x08&\x04abcd/' | tr -d '\n'
        printf '\377\000\000\000\000\000\000\000\000'
    } >"$TMP/large.rdb"
    dfreader "$TMP/large.rdb" >"$TMP/large.raw"
    background dfparse --rdb "$TMP/out.rdb" -t 7.0 "$TMP/large.raw"
    local pid=$! peak=0 now
    while ! ended "$pid"; do
        now=$(peak_memory "$pid" 2>/dev/null) || break
        peak=${now:-$peak}
    done
    reap 60 "$pid"
    assert_status 0
    sanitized || [[ $peak -gt 0 && $peak -lt 16000 ]] || fail "$peak kB"
    [[ $(dfreader "$TMP/out.rdb" | dfparse --inspect csv | tail -1 | cut -d, -f2-3,5-6) == "hash,\"ttls\",hashtable,3080192" ]]
}

# ---- df2redis export ----

@test "a live Redis, with every database and expiry" {
    start_redis
    VERSION=$(server_version)
    copy_into_server "$SNAPSHOTS/small.rdb"
    run df2redis --target-version "$VERSION" export "redis://127.0.0.1:$REDIS_PORT" "$TMP/out.rdb"
    assert_status 0
    [[ $(stat -c %a "$TMP/out.rdb") == 600 ]]
    looks_sound "$TMP/out.rdb"
    load_into_server "$TMP/out.rdb"
    same_data || fail "$output"
    # What is there is kept unless told otherwise.
    run df2redis --target-version "$VERSION" export "redis://127.0.0.1:$REDIS_PORT" "$TMP/out.rdb"
    assert_status 1
    assert_output_has 'exists'
    run df2redis --force --target-version "$VERSION" export "redis://127.0.0.1:$REDIS_PORT" "$TMP/out.rdb"
    assert_status 0
}

# The requests that the other output makes of a recorded snapshot, without those of its changes, into the server.
baseline_into_server() { # raw stream
    dfparse --json --restore-limit 0 -t "$(server_version)" "$1" 2>/dev/null | perl -MJSON::PP -ne '
        next unless /"type":"request"/ && !/"live"/;
        my $r = decode_json($_);
        $db //= -1;
        for my $c ($r->{db} != $db ? ["SELECT", $r->{db}] : (), $r->{args}) {
            print "*", scalar @$c, "\r\n", map { my $x = "$_"; utf8::downgrade($x); "\$" . length($x) . "\r\n$x\r\n" } @$c;
        }
        $db = $r->{db};' | redis-cli -p "$REDIS_PORT" --pipe >/dev/null
}

loaded() { ! redis-cli -p "$LOADED_PORT" info persistence | grep -q '^loading:1'; }

# The snapshot of a capture, in a server: LOADED_PORT.
export_capture() { # capture
    RAW=$TMP/raw
    record "$1"
    start_redis
    start_master --capture "$CAPTURES/$1" --split 1-65536
    run timeout 60 df2redis --report "$TMP/report" --target-version "$(server_version)" export "dragonfly://127.0.0.1:$MASTER_PORT" "$TMP/out.rdb"
    [[ $status -eq 0 || $status -eq 3 ]] || fail "status $status: $output"
    looks_sound "$TMP/out.rdb"
    load_into_server "$TMP/out.rdb" || fail "$(tail -3 "$TMP/load/log")"
    wait_until 10 loaded
}

exports() { # capture
    export_capture "$1"
    baseline_into_server "$RAW"
    same_data || fail "$(head -c 3000 <<<"$output")"
}

@test "a Dragonfly: its snapshot, blobs of LZ4" { exports basic-2flows; }
@test "a Dragonfly: its snapshot, blobs of ZSTD" { exports zstd-4flows; }
@test "a Dragonfly: its snapshot, values in chunks that are mixed" {
    local keys
    export_capture interleaved-chunks
    keys=$(dfparse --null --stats -t "$(server_version)" "$RAW" 2>&1 | awk -F= '/^n[.]keys/ && !/json/ { n += $2 } END { print n }')
    run dfstate count "redis://127.0.0.1:$LOADED_PORT?dbs=$ALL_DBS"
    [[ $(awk '{ n += $2 } END { print n }' <<<"$output") -eq $keys ]] || fail "$output, not $keys: $(cut -c1-150 "$TMP/report")"
}
@test "a Dragonfly under writes: its snapshot" { exports writes-during-fullsync; }

@test "a Dragonfly that is emptied meanwhile: no file, and worth a retry" {
    start_master --capture "$CAPTURES/global-commands"
    run timeout 60 df2redis --target-version 7.0 export "dragonfly://127.0.0.1:$MASTER_PORT" "$TMP/out.rdb"
    [[ $status -eq 75 || ($status -le 3 && -s $TMP/out.rdb) ]] || fail "status $status: $output"
    [[ $status -ne 75 || ! -e $TMP/out.rdb ]]
}

# Every type, in two databases, some of them large.
fill_server() {
    rcli eval "
        for db = 0, 3, 3 do
            redis.call('SELECT', db)
            for i = 1, 60 do
                redis.call('SET', 's:' .. i, string.rep('v' .. i, i * 40), 'PX', 10000000 + i)
                redis.call('HSET', 'h:' .. i, 'a', i, 'b', string.rep('x', i))
                redis.call('RPUSH', 'l:' .. i, i, 'two', string.rep('y', i % 300))
                redis.call('SADD', 'i:' .. i, i, i + 1)
                redis.call('ZADD', 'z:' .. i, i / 3, 'm', '-inf', 'low', 'inf', 'high')
            end
            redis.call('SET', 'empty', '')
            for i = 1, 3000 do
                redis.call('HSET', 'big:h', 'f' .. i, string.rep('v', 10))
                redis.call('RPUSH', 'big:l', i % 7)
                redis.call('SADD', 'big:s', 'm' .. i)
                redis.call('ZADD', 'big:z', i / 7, 'm' .. i)
            end
            redis.call('PEXPIRE', 'big:h', 9000000)
            redis.call('SET', 'big:str', string.rep('0123456789', 200000))
        end" 0 >/dev/null
}

exports_by_scan() { # options
    run df2redis --force --scan "$@" --target-version "$(server_version)" export "redis://127.0.0.1:$REDIS_PORT" "$TMP/out.rdb"
    assert_status 0
    looks_sound "$TMP/out.rdb"
    load_into_server "$TMP/out.rdb" || fail "$(tail -3 "$TMP/load/log")"
    same_data || fail "$(head -c 3000 <<<"$output")"
}

@test "a source that is read by SCAN: values by DUMP, in parts, by commands" {
    start_redis
    fill_server
    exports_by_scan
    exports_by_scan --scan-large 4096
    exports_by_scan --scan-values commands
    # What has no form but commands is named.
    rcli xadd x 1-1 f v >/dev/null
    run df2redis --force --scan --scan-values commands --target-version "$(server_version)" export "redis://127.0.0.1:$REDIS_PORT" "$TMP/out.rdb"
    assert_status 3
    assert_output_has 'kind=scan-key db=0 key="x"'
    run df2redis --scan inspect "redis://127.0.0.1:$REDIS_PORT"
    assert_status 0
    [[ $(awk '$1 == "string" { print $2 }' <<<"$output" | head -1) -eq 124 ]] || fail "$output"
}

@test "an append-only file is refused, with a snapshot before its commands, too" {
    local file
    printf '*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n' >"$TMP/appendonly.aof"
    mkdir "$TMP/appendonlydir"
    cp "$TMP/appendonly.aof" "$TMP/appendonlydir/a.aof.1.incr.aof"
    : >"$TMP/appendonlydir/a.aof.1.base.aof"
    printf 'file a.aof.1.base.aof seq 1 type b\nfile a.aof.1.incr.aof seq 1 type i\n' >"$TMP/appendonlydir/a.aof.manifest"
    start_redis --appendonly yes --appendfilename p.aof --appenddirname behind
    rcli set a 1
    rcli config set appendonly no
    for file in "$TMP/appendonly.aof" "$TMP/appendonlydir" "$(rcli config get dir | tail -1)/behind"; do
        run df2redis --target-version 7.0 export "$file" "$TMP/out.rdb"
        assert_status 1
        [[ $output == *"consists of commands"* ]] || fail "$output"
        [[ ! -e $TMP/out.rdb ]]
        run df2redis inspect "$file"
        assert_status 1
    done
}
