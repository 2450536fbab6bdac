#!/usr/bin/env bats
# Files: what a server loads must come out of our pipeline as the same data set; what it does not load must decode to
# what its bytes say, or be refused. Files of other projects are read where they lie, see DF2REDIS_DATA.

load helper

setup() {
    common_setup
    DATA=${DF2REDIS_DATA:-$REPO/../shared/data}
    SNAPSHOTS=$REPO/tests/fixtures/snapshots
    ALL_DBS=$(seq -s, 0 15)
}

teardown() { common_teardown; }

# ---- helpers ----

# One of tests/fixtures/rdb as a file; FILE is its path.
fixture() { # name
    FILE=$TMP/$1.rdb
    printf '%b' "$(sed 's/#.*//' "$REPO/tests/fixtures/rdb/$1.hex" | tr -d ' \n' | sed 's/../\\x&/g')" >"$FILE"
}

# A server that has loaded the file, LOADED_PORT; 1 when it refused to.
load_into_server() { # file
    local dir=$TMP/load pid
    rm -rf "$dir"
    mkdir -p "$dir"
    cp "$1" "$dir/dump.rdb"
    chmod u+w "$dir/dump.rdb"
    for _ in 1 2 3 4 5; do
        LOADED_PORT=$(random_port)
        background "${REDIS_SERVER:-redis-server}" --port "$LOADED_PORT" --bind 127.0.0.1 --save '' --dir "$dir" \
            --logfile "$dir/log" >/dev/null 2>&1
        pid=$!
        LOADED_PID=$pid
        for _ in $(seq 200); do
            kill -0 "$pid" 2>/dev/null || break
            # Not PONG: that may be another server's, which has this port.
            redis-cli -p "$LOADED_PORT" info server 2>/dev/null | tr -d '\r' | grep -qx "process_id:$pid" && return 0
            sleep 0.02
        done
        grep -q 'Address already in use' "$dir/log" || return 1
    done
    return 1
}

unload() {
    kill "$LOADED_PID" 2>/dev/null || true
    wait "$LOADED_PID" 2>/dev/null || true
}

# Through the pipeline into the server of start_redis, which is emptied. Statuses in STATUSES.
copy_into_server() { # file [dfparse option…]
    local file=$1
    shift
    rcli flushall >/dev/null
    rcli function flush >/dev/null 2>&1 || true
    timeout 60 dfreader "$file" 2>"$TMP/reader.err" | timeout 60 dfparse -t "$VERSION" "$@" 2>"$TMP/parse.err" |
        timeout 60 rediswriter "redis://127.0.0.1:$REDIS_PORT" 2>"$TMP/writer.err" &&
        STATUSES="${PIPESTATUS[*]}" || STATUSES="${PIPESTATUS[*]}"
}

same_data() {
    run timeout 60 dfstate diff "redis://127.0.0.1:$LOADED_PORT?dbs=$ALL_DBS" "redis://127.0.0.1:$REDIS_PORT?dbs=$ALL_DBS"
    [[ $status -eq 0 ]]
}

functions_of() { redis-cli -p "$1" function list withcode 2>/dev/null | sort; }

# What the stages complained about.
complaints() { grep -h ^level= "$TMP"/*.err || true; }

# The data set as the server loads it and as we do: by RESTORE and by commands. Says what is wrong, and counts.
compare_with_server() { # file
    local name=${1##*/} mode
    load_into_server "$1" || { NOT_LOADED+=("$name"); return 0; }
    for mode in "--restore-limit 64k" "--restore-limit 0"; do
        # shellcheck disable=SC2086
        copy_into_server "$1" $mode
        [[ $STATUSES == "0 0 0" ]] || WRONG+=("$name $mode: statuses $STATUSES: $(complaints)")
        same_data || WRONG+=("$name $mode: $output")
        [[ $(functions_of "$LOADED_PORT") == "$(functions_of "$REDIS_PORT")" ]] || WRONG+=("$name $mode: functions differ")
    done
    unload
    COMPARED=$((COMPARED + 1))
}

compare_all() { # file…
    local file
    WRONG=() NOT_LOADED=() COMPARED=0
    start_redis
    VERSION=$(server_version)
    for file in "$@"; do compare_with_server "$file"; done
    echo "# $VERSION: $COMPARED files loaded and compared, not loaded: ${NOT_LOADED[*]}" >&3
    [[ ${#WRONG[@]} -eq 0 ]] || fail "$(printf '%s\n' "${WRONG[@]}")"
}

# Requests, reports, errors and the end of what dfparse makes of a file, in a form that is easy to write down.
decoded() { # file [dfparse option…]
    local file=$1
    shift
    timeout 20 dfreader "$file" | timeout 20 dfparse --json "$@" 2>"$TMP/parse.err" | sed -n \
        -e 's/.*"type":"request".*"db":\([0-9]*\),.*"args":\(\[.*\]\)}$/\1 \2/p' \
        -e 's/.*"type":"report".*"kind":"\([^"]*\)","key":\(".*"\),"detail".*"lost":"\(.\)".*/report \1 \2 lost=\3/p' \
        -e 's/.*"type":"end".*"status":"\([0-9]*\)".*"n.expired":"\([0-9]*\)".*/end status=\1 expired=\2/p'
    sed -n 's/.*event=damaged msg="\(.*\)"$/\1/p' "$TMP/parse.err"
}

# What stands on standard input is what is decoded.
assert_decodes() { # file [dfparse option…]
    cat >"$TMP/expected"
    decoded "$@" >"$TMP/decoded"
    diff -u "$TMP/expected" "$TMP/decoded" >&2 || fail "$1 decodes to something else"
}

need_data() { [[ -d $DATA/$1 ]] || skip "no folder $DATA/$1: set DF2REDIS_DATA"; }

# ---- files of other projects ----

@test "files of Redis' tests: as the server loads them" {
    need_data redis
    local -a files=("$DATA"/redis/*.rdb)
    start_redis
    # Servers before 6.2 load corrupt containers, and crash when these are read.
    server_has 6.2 || mapfile -t files < <(printf '%s\n' "${files[@]}" | grep -v /corrupt_)
    compare_all "${files[@]}"
    ! server_has 5.0 || [[ $COMPARED -ge 4 ]] || fail "only $COMPARED files were loaded by the server"
}

@test "files of redis-rdb-tools: as the server loads them" {
    need_data redis-rdb-tools
    compare_all "$DATA"/redis-rdb-tools/*.rdb
    ! server_has 5.0 || [[ $COMPARED -ge 26 ]] || fail "only $COMPARED files were loaded by the server"
}

@test "files of Dragonfly's tests: as the server loads them" {
    need_data dragonfly
    compare_all "$DATA"/dragonfly/*.rdb
    ! server_has 7.0 || [[ $COMPARED -ge 5 ]] || fail "only $COMPARED files were loaded by the server"
}

@test "a corrupt ziplist is refused at the value's byte, what stands before it is kept" {
    need_data redis
    run bash -c "dfreader '$DATA/redis/corrupt_ziplist.rdb' | dfparse --json"
    assert_status 4
    assert_output_has 'damaged at byte 494 of the flow: expected a valid packed container'
    decoded "$DATA/redis/corrupt_ziplist.rdb" >"$TMP/decoded"
    # The 14 strings and the list in front of the hash, and nothing behind them.
    [[ $(grep -c '^0 \["SET"' "$TMP/decoded") -eq 14 ]]
    grep -qxF '0 ["RPUSH","mylist","xxxxx","xxxxx","xxxxx","xxxxx","xxxxx"]' "$TMP/decoded"
    grep -qxF '0 ["SET","key:000000000042","\u00ff\u00ff\u00ff\u00ffx"]' "$TMP/decoded"
    ! grep -q 'key:000000000091' "$TMP/decoded" || fail "the corrupt hash was written"
}

@test "a stream of type 21 decodes to its entries, group and pending entry" {
    need_data dragonfly
    assert_decodes "$DATA/dragonfly/RDB_TYPE_STREAM_LISTPACKS_3.rdb" -t 7.2 --restore-limit 0 <<'EOF'
0 ["DEL","mystream"]
0 ["XADD","mystream","1732614676541-0","foo","bar"]
0 ["XADD","mystream","1732614679549-0","foo","bar2"]
0 ["XSETID","mystream","1732614679549-0","ENTRIESADDED","2","MAXDELETEDID","0-0"]
0 ["XGROUP","CREATE","mystream","mygroup","1732614676541-0","ENTRIESREAD","1"]
0 ["XGROUP","CREATECONSUMER","mystream","mygroup","Alice"]
0 ["XCLAIM","mystream","mygroup","Alice","0","1732614676541-0","TIME","1732614692932","RETRYCOUNT","1","FORCE","JUSTID"]
end status=0 expired=0
EOF
}

@test "listpack types of a newer Redis decode to their elements" {
    need_data dragonfly
    assert_decodes "$DATA/dragonfly/redis7_small.rdb" <<'EOF'
0 ["DEL","my-list"]
0 ["RPUSH","my-list","list2","list1"]
0 ["DEL","zset"]
0 ["ZADD","zset","0","einstein","1","schrodinger"]
0 ["DEL","my-set"]
0 ["SADD","my-set","acme","redis"]
0 ["DEL","my-hset"]
0 ["HSET","my-hset","acme","44","field","22"]
end status=0 expired=0
EOF
}

@test "a file whose keys have all expired" {
    need_data dragonfly
    assert_decodes "$DATA/dragonfly/ignore_expiry.rdb" <<'EOF'
end status=0 expired=2
EOF
}

@test "JSON of the ReJSON module: reported, written as text, or by JSON.SET" {
    need_data dragonfly
    assert_decodes "$DATA/dragonfly/redis_json.rdb" <<'EOF'
report json "json-obj" lost=1
report json "json-str" lost=1
report json "json-arr" lost=1
end status=3 expired=0
EOF
    assert_decodes "$DATA/dragonfly/redis_json.rdb" --unsupported approximate <<'EOF'
report json-as-string "json-obj" lost=0
0 ["SET","json-obj","{\"company\":\"DragonflyDB\",\"product\":\"Dragonfly\",\"website\":\"https://dragondlydb.io\",\"years-active\":[2021,2022,2023,2024,\"and more!\"]}"]
report json-as-string "json-str" lost=0
0 ["SET","json-str","\"hello\""]
report json-as-string "json-arr" lost=0
0 ["SET","json-arr","[1,true,\"hello\",3.14]"]
end status=0 expired=0
EOF
}

@test "module values and a module's own data of unknown modules are passed over and reported" {
    need_data redis-rdb-tools
    # ReJSON in its encoding 0, which is no text.
    assert_decodes "$DATA/redis-rdb-tools/redis_40_with_module.rdb" <<'EOF'
0 ["SET","simplekey","someval"]
report module "foo" lost=1
end status=3 expired=0
EOF
    assert_decodes "$DATA/redis-rdb-tools/redis_60_with_module_aux.rdb" <<'EOF'
report module-aux "test__rdb" lost=0
end status=0 expired=0
EOF
}

@test "empty containers are no keys" {
    need_data redis
    decoded "$DATA/redis/corrupt_empty_keys.rdb" >"$TMP/decoded"
    [[ $(grep -c '^0 \["DEL"' "$TMP/decoded") -eq 9 ]]
    [[ $(wc -l <"$TMP/decoded") -eq 10 ]]
}

# ---- files of our own ----

@test "our files: as the server loads them, where it does" {
    local hex
    local -a files=()
    for hex in "$REPO"/tests/fixtures/rdb/*.hex; do
        hex=${hex##*/}
        fixture "${hex%.hex}"
        files+=("$FILE")
    done
    compare_all "${files[@]}"
    ! server_has 5.0 || [[ $COMPARED -ge 6 ]] || fail "only $COMPARED files were loaded by the server"
}

@test "hash fields with expiries: Redis 7.4" {
    fixture redis74-hash-ttl
    assert_decodes "$FILE" -t 7.4 --restore-limit 0 <<'EOF'
0 ["DEL","h24"]
0 ["HSET","h24","a","1","b","2","c","3"]
0 ["HPEXPIREAT","h24","4102444800000","FIELDS","1","a"]
0 ["HPEXPIREAT","h24","4102444801000","FIELDS","1","c"]
0 ["DEL","h24-part"]
0 ["HSET","h24-part","b","2"]
0 ["DEL","h25"]
0 ["HSET","h25","a","1","c","three"]
0 ["HPEXPIREAT","h25","4102444800000","FIELDS","1","a"]
0 ["HSET","h25","b","2"]
0 ["HPEXPIREAT","h25","4102444801000","FIELDS","1","c"]
0 ["DEL","h25-part"]
0 ["HSET","h25-part","b","2"]
0 ["DEL","h25-gone"]
0 ["SET","next","key"]
end status=0 expired=0
EOF
    # Older targets lose the expiries, and that is said.
    decoded "$FILE" -t 7.2 >"$TMP/decoded"
    grep -qxF 'report field-ttl "h24" lost=1' "$TMP/decoded"
    grep -qxF 'report field-ttl "h25" lost=1' "$TMP/decoded"
    grep -qxF 'end status=3 expired=0' "$TMP/decoded"
    [[ $(grep -c '^report' "$TMP/decoded") -eq 2 ]]
    # RESTORE takes the bytes as they are: type 24, its value, version 12.
    decoded "$FILE" -t 7.4 >"$TMP/decoded"
    grep -qF '0 ["RESTORE","h24","0","\u0018\u0000\u00d8\u00c3,\u00bb\u0003\u0000\u0000\u0003\u0001\u0001a\u00011\u0000\u0001b\u00c0\u0002C\u00e9\u0001c\u00013\u000c\u0000' "$TMP/decoded"
    ! grep -q '"RESTORE","h25-gone"' "$TMP/decoded" || fail "a hash without fields goes as RESTORE"
}

@test "hash fields with expiries: candidates of Redis 7.4" {
    fixture redis74rc-hash-ttl
    assert_decodes "$FILE" -t 7.4 <<'EOF'
0 ["DEL","h22"]
0 ["HSET","h22","a","1","b","2"]
0 ["HPEXPIREAT","h22","4102444800000","FIELDS","1","a"]
0 ["DEL","h23"]
0 ["HSET","h23","a","1","b","2"]
0 ["HPEXPIREAT","h23","4102444800000","FIELDS","1","a"]
0 ["SET","next","key"]
end status=0 expired=0
EOF
}

@test "hash fields with expiries: Valkey 9" {
    fixture valkey9-hash-ttl
    assert_decodes "$FILE" -t valkey:9.0 --restore-limit 0 <<'EOF'
0 ["DEL","h"]
0 ["HSET","h","a","1","b","2"]
0 ["HPEXPIREAT","h","4102444800000","FIELDS","1","a"]
0 ["DEL","all-gone"]
0 ["SET","next","key"]
end status=0 expired=0
EOF
    # Redis' type 22 is another: no RESTORE there.
    assert_decodes "$FILE" -t 8.0 <<'EOF'
0 ["DEL","h"]
0 ["HSET","h","a","1","b","2"]
0 ["HPEXPIREAT","h","4102444800000","FIELDS","1","a"]
0 ["DEL","all-gone"]
0 ["SET","next","key"]
end status=0 expired=0
EOF
}

@test "a slot import of Valkey that was under way is passed over" {
    fixture valkey9-slot-import
    assert_decodes "$FILE" <<'EOF'
0 ["SET","next","key"]
end status=0 expired=0
EOF
}

@test "Redis 8.6: stream with producers, metadata of keys" {
    fixture redis86-stream-keymeta
    assert_decodes "$FILE" -t 8.0 --restore-limit 0 <<'EOF'
0 ["DEL","s26"]
0 ["XADD","s26","1000-0","f","v1"]
0 ["XADD","s26","1002-0","f","v3"]
0 ["XSETID","s26","1002-0","ENTRIESADDED","3","MAXDELETEDID","1001-0"]
0 ["XGROUP","CREATE","s26","g","1002-0","ENTRIESREAD","3"]
0 ["XGROUP","CREATECONSUMER","s26","g","alice"]
0 ["XCLAIM","s26","g","alice","0","1000-0","TIME","1700000000000","RETRYCOUNT","5","FORCE","JUSTID"]
report stream-pending "s26" lost=0
report key-metadata "" lost=0
0 ["SET","tagged","value"]
0 ["SET","next","key"]
end status=0 expired=0
EOF
    # An older server gets it by RESTORE, as type 21 or 19: the pipeline shows that the payload is whole.
    start_redis
    VERSION=$(server_version)
    server_has 7.0 || skip "$VERSION does not load streams of type 19"
    copy_into_server "$FILE"
    [[ $STATUSES == "0 0 0" ]] || fail "$STATUSES: $(complaints)"
    [[ $(rcli xpending s26 g - + 10) == *1000-0*alice*5* ]]
    [[ $(rcli xrange s26 - + | tr '\n' ' ') == '1000-0 f v1 1002-0 f v3 ' ]]
}

@test "Redis 8.8: pending entries of nobody, arrays" {
    fixture redis88-stream-array
    assert_decodes "$FILE" -t 8.0 <<'EOF'
0 ["DEL","s27"]
0 ["XADD","s27","1000-0","f","v1"]
0 ["XADD","s27","1002-0","f","v3"]
0 ["XSETID","s27","1002-0","ENTRIESADDED","3","MAXDELETEDID","1001-0"]
0 ["XGROUP","CREATE","s27","g","1002-0","ENTRIESREAD","3"]
0 ["XGROUP","CREATECONSUMER","s27","g","alice"]
0 ["XCLAIM","s27","g","alice","0","1000-0","TIME","1700000000000","RETRYCOUNT","5","FORCE","JUSTID"]
report stream-pending "s27" lost=0
report pending-entry "s27" lost=1
report array "array" lost=1
0 ["SET","next","key"]
end status=3 expired=0
EOF
}

@test "Redis 8.10: hashes with templates become plain ones" {
    fixture redis810-hash-templates
    assert_decodes "$FILE" <<'EOF'
0 ["DEL","t30"]
0 ["HSET","t30","id","17","name","Ada"]
0 ["DEL","t32"]
0 ["HSET","t32","x","1","y","-2","2000",""]
0 ["DEL","t30b"]
0 ["HSET","t30b","x","a","y","b","2000","c"]
0 ["SET","next","key"]
end status=0 expired=0
EOF
    fixture no-template
    assert_decodes "$FILE" <<'EOF'
end status=4 expired=0
damaged at byte 36 of the flow: expected a template that was told before
EOF
}

@test "functions are loaded, also over those that are there" {
    fixture functions
    assert_decodes "$FILE" -t 7.0 <<'EOF'
0 ["FUNCTION","LOAD","REPLACE","#!lua name=one\u000aredis.register_function('f1', function() return 1 end)"]
0 ["FUNCTION","LOAD","REPLACE","#!lua name=two\u000aredis.register_function{function_name='f2', callback=function(k, a) return a[1] end, flags={'no-writes'}}"]
0 ["SET","key","value"]
end status=0 expired=0
EOF
    assert_decodes "$FILE" -t 6.2 <<'EOF'
report function "#!lua name=one" lost=1
report function "#!lua name=two" lost=1
0 ["SET","key","value"]
end status=3 expired=0
EOF
    start_redis
    VERSION=$(server_version)
    server_has 7.0 || skip "$VERSION has no functions"
    copy_into_server "$FILE"
    copy_into_server "$FILE"
    [[ $STATUSES == "0 0 0" ]] || fail "$STATUSES: $(complaints)"
    [[ $(rcli function list | grep -A1 -x library_name | grep -cxE 'one|two') -eq 2 ]]
    [[ $(rcli fcall f2 0 hello) == hello ]]
}

@test "functions in the form of the 7.0 candidates are refused" {
    fixture function-rc
    assert_decodes "$FILE" <<'EOF'
end status=4 expired=0
damaged at byte 28 of the flow: expected a known opcode
EOF
}

@test "unknown modules: data of their own and values are passed over, the next key is read" {
    fixture module
    assert_decodes "$FILE" <<'EOF'
report module-aux "df2redis-" lost=0
0 ["SET","before","1"]
report module "mod" lost=1
0 ["SET","next","key"]
report module-aux "df2redis-" lost=0
end status=3 expired=0
EOF
    run bash -c "dfreader '$FILE' | dfparse --json --unsupported fail"
    assert_status 3
    assert_output_has 'kind=module'
    [[ $output != *'"next"'* ]] || fail "it went on"
}

@test "module values without framing are refused" {
    fixture module-rc
    decoded "$FILE" >"$TMP/decoded"
    grep -qxF '0 ["SET","before","1"]' "$TMP/decoded"
    grep -qxF 'end status=4 expired=0' "$TMP/decoded"
}

@test "ReJSON: by its text, other encodings only reported" {
    fixture rejson
    assert_decodes "$FILE" <<'EOF'
report json "doc" lost=1
report module "old" lost=1
0 ["SET","next","key"]
end status=3 expired=0
EOF
    assert_decodes "$FILE" --unsupported approximate <<'EOF'
report json-as-string "doc" lost=0
0 ["SET","doc","{\"a\":[1,\"\u00c3\u00a9\"]}"]
0 ["PEXPIREAT","doc","4102444800000"]
report module "old" lost=1
0 ["SET","next","key"]
end status=3 expired=0
EOF
    decoded "$FILE" -t dragonfly:1.40 --restore-limit 0 >"$TMP/decoded"
    grep -qF '0 ["JSON.SET","doc","$","{\"a\":' "$TMP/decoded"
}

@test "hints are passed over, expiries in seconds and in milliseconds belong to their keys" {
    fixture hints
    assert_decodes "$FILE" <<'EOF'
0 ["SET","idle","1"]
0 ["SET","freq","2"]
0 ["SET","sec","3","PXAT","2147483647000"]
0 ["SET","ms-idle","4","PXAT","4102444800000"]
0 ["DEL","freq-sec"]
0 ["SADD","freq-sec","m"]
0 ["PEXPIREAT","freq-sec","2147483646000"]
0 ["SET","none","5"]
end status=0 expired=0
EOF
}

@test "hints are carried over on request, strings by RESTORE, and it is said where they cannot" {
    fixture hints
    decoded "$FILE" -t 7.0 --eviction-hints >"$TMP/decoded"
    # Type, value and footer are those of the DUMP; the options stand in the order that servers take.
    sed -i -E 's/("RESTORE","[a-z-]+","[0-9]+"),".*","REPLACE"/\1,PAYLOAD,"REPLACE"/' "$TMP/decoded"
    diff -u - "$TMP/decoded" <<'EOF'
0 ["RESTORE","idle","0",PAYLOAD,"REPLACE","IDLETIME","100000"]
0 ["RESTORE","freq","0",PAYLOAD,"REPLACE","FREQ","255"]
0 ["SET","sec","3","PXAT","2147483647000"]
0 ["RESTORE","ms-idle","4102444800000",PAYLOAD,"REPLACE","ABSTTL","IDLETIME","7"]
0 ["RESTORE","freq-sec","2147483646000",PAYLOAD,"REPLACE","ABSTTL","FREQ","5"]
0 ["SET","none","5"]
end status=0 expired=0
EOF
    local options
    for options in "-t 7.0 --restore-limit 0" "-t 4.0" "-t dragonfly:1.40" ""; do
        # shellcheck disable=SC2086
        decoded "$FILE" $options --eviction-hints >"$TMP/decoded"
        [[ $(grep -c '^report' "$TMP/decoded") -eq 1 ]]
        grep -qxF 'report eviction-hint "" lost=0' "$TMP/decoded"
        ! grep -q 'IDLETIME\|FREQ' "$TMP/decoded" || fail "hints with $options"
        grep -q '^end status=0' "$TMP/decoded"
    done
}

# A server with a policy, two keys (string and hash) that were last used a while ago or often, and its file.
with_hints() { # policy RESTORE-option value
    local port key
    redis-cli -p "$SOURCE" flushall >/dev/null
    for port in "$SOURCE" "$REDIS_PORT"; do redis-cli -p "$port" config set maxmemory-policy "$1" >/dev/null; done
    redis-cli -p "$SOURCE" set s text >/dev/null
    redis-cli -p "$SOURCE" hset h f v >/dev/null
    for key in s h; do
        redis-cli -p "$SOURCE" eval "local d = redis.call('DUMP', KEYS[1])
            return redis.call('RESTORE', KEYS[1], 0, d, 'REPLACE', '$2', '$3')" 1 $key >/dev/null
    done
    [[ $(redis-cli -p "$SOURCE" save) == OK ]]
}

@test "idle times and use counters of a real server's file arrive at another" {
    start_redis
    SOURCE=$REDIS_PORT
    start_redis
    server_has 5.0 || skip "servers before 5.0 take no hints"
    VERSION=$(server_version)
    with_hints allkeys-lru IDLETIME 100
    copy_into_server "$TMP/redis.$SOURCE/dump.rdb" --eviction-hints
    [[ $STATUSES == "0 0 0" ]]
    local key n
    for key in s h; do
        n=$(rcli object idletime $key)
        [[ $n -ge 99 && $n -le 160 ]] || fail "$key was used $n s ago"
    done
    with_hints allkeys-lfu FREQ 200
    copy_into_server "$TMP/redis.$SOURCE/dump.rdb" --eviction-hints
    [[ $STATUSES == "0 0 0" ]]
    for key in s h; do
        n=$(rcli object freq $key)
        [[ $n -ge 199 && $n -le 200 ]] || fail "$key has the counter $n"
    done
    # Without the option they are new.
    copy_into_server "$TMP/redis.$SOURCE/dump.rdb"
    [[ $(rcli object freq h) -lt 10 ]]
}

@test "elements of 70 MiB, packed (LZF) in the file, arrive" {
    start_redis
    SOURCE=$REDIS_PORT
    start_redis
    VERSION=$(server_version)
    local lengths="local n = {} for _, k in ipairs(redis.call('KEYS', '*')) do
            local t = redis.call('TYPE', k).ok
            local v = t == 'list' and redis.call('LRANGE', k, 0, -1) or t == 'hash' and redis.call('HGETALL', k)
                or redis.call('SMEMBERS', k)
            for i = 1, #v do n[#n + 1] = k .. ' ' .. #v[i] .. ' ' .. redis.sha1hex(v[i]) end
        end table.sort(n) return n"
    redis-cli -p "$SOURCE" eval "local b = string.rep('abcdefg', 10485760) redis.call('RPUSH', 'l', 'x', b, 'y')
        redis.call('HSET', 'h', 'f', b, 'g', 'z') redis.call('SADD', 's', b)" 0
    [[ $(redis-cli -p "$SOURCE" save) == OK ]]
    copy_into_server "$TMP/redis.$SOURCE/dump.rdb"
    [[ $STATUSES == "0 0 0" ]] || fail "statuses $STATUSES: $(complaints)"
    diff <(redis-cli -p "$SOURCE" eval "$lengths" 0) <(rcli eval "$lengths" 0)
    [[ $(rcli eval "$lengths" 0 | wc -l) -eq 8 ]]
}

@test "a string above the target's limit is reported, unless --max-bulk says that it fits" {
    start_redis
    rcli set before x
    rcli eval "redis.call('SET', 'long', string.rep('0123456789', 200000))" 0
    [[ $(rcli save) == OK ]]
    FILE=$TMP/redis.$REDIS_PORT/dump.rdb
    decoded "$FILE" --max-bulk 1m >"$TMP/decoded"
    grep -qxF 'report string-too-large "long" lost=1' "$TMP/decoded"
    grep -q '^end status=3' "$TMP/decoded"
    grep -qxF '0 ["SET","before","x"]' "$TMP/decoded"
    decoded "$FILE" --max-bulk 2m >"$TMP/decoded"
    ! grep -q '^report' "$TMP/decoded" || fail "$(grep '^report' "$TMP/decoded")"
    grep -q '^end status=0' "$TMP/decoded"
    run dfparse --max-bulk 5 /dev/null
    assert_status 2
}

@test "expired keys are dropped and counted" {
    for name in expired:4 expired-before-1970:2; do
        fixture "${name%:*}"
        assert_decodes "$FILE" -t 7.0 <<EOF
0 ["SET","stays","here"]
end status=0 expired=${name#*:}
EOF
    done
    run bash -c "dfreader '$FILE' | dfparse --null"
    assert_status 0
    assert_output_has 'event=expired keys=2'
}

@test "RDB versions 1 to 4 have no checksum" {
    local version
    for version in 1 2 3 4; do
        fixture version$version
        {
            cat <<'EOF'
0 ["SET","s","text"]
0 ["SET","i","12345"]
0 ["DEL","list"]
0 ["RPUSH","list","a","b"]
0 ["DEL","set"]
0 ["SADD","set","m"]
0 ["DEL","zset"]
0 ["ZADD","zset","1.5","one","inf","up","-inf","down","-0","zero"]
0 ["DEL","hash"]
0 ["HSET","hash","f","v"]
0 ["SET","until","2038","PXAT","2147483647000"]
EOF
            [[ $version -lt 2 ]] || cat <<'EOF'
0 ["DEL","zipmap"]
0 ["HSET","zipmap","foo","bar","a","12"]
0 ["DEL","ziplist"]
0 ["RPUSH","ziplist","2","5"]
0 ["DEL","intset"]
0 ["SADD","intset","-1","5","300"]
0 ["DEL","zset-ziplist"]
0 ["ZADD","zset-ziplist","1.5","a"]
EOF
            [[ $version -lt 3 ]] || echo '0 ["SET","until-ms","2100","PXAT","4102444800000"]'
            [[ $version -lt 4 ]] || printf '%s\n' '0 ["DEL","hash-ziplist"]' '0 ["HSET","hash-ziplist","2","5"]'
            echo '15 ["SET","s","database 15"]'
            echo 'end status=0 expired=0'
        } >"$TMP/lines"
        assert_decodes "$FILE" <"$TMP/lines"
        # The end must be there all the same.
        head -c -1 "$FILE" >"$TMP/short"
        run bash -c "dfreader '$TMP/short' | dfparse --null"
        assert_status 4
    done
}

@test "checksums: a wrong one is damage, 0 is none" {
    fixture wrong-checksum
    assert_decodes "$FILE" <<'EOF'
0 ["SET","a","1"]
end status=4 expired=0
damaged at byte 17 of the flow: expected the checksum of the bytes before it: something in the file was changed
EOF
    fixture no-checksum
    assert_decodes "$FILE" <<'EOF'
0 ["SET","a","1"]
end status=0 expired=0
EOF
    # One bit within a value is noticed, too.
    fixture functions
    sed 's/return 1/return 3/' "$FILE" >"$TMP/changed"
    run bash -c "dfreader '$TMP/changed' | dfparse --null"
    assert_status 4
    assert_output_has checksum
}

@test "versions, types and opcodes that nobody knows are refused" {
    local name
    for name in version0 version16 valkey81; do
        fixture $name
        assert_decodes "$FILE" <<'EOF'
end status=4 expired=0
damaged at byte 0 of the flow: expected an RDB version of 1 to 15, or 80 of Valkey
EOF
    done
    for name in type33:16 type8:33; do
        fixture "${name%:*}"
        assert_decodes "$FILE" <<EOF
0 ["SET","a","1"]
end status=4 expired=0
damaged at byte ${name#*:} of the flow: expected a known value type
EOF
    done
    fixture opcode240
    assert_decodes "$FILE" <<'EOF'
0 ["SET","a","1"]
end status=4 expired=0
damaged at byte 16 of the flow: expected a known opcode or value type
EOF
}

# ---- sets of .dfs files ----

flows_of() { # dfreader argument…
    timeout 20 dfreader "$@" | timeout 20 dfparse --json 2>/dev/null | grep -c '"type":"flow"'
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
    timeout 20 dfreader --one-file "$SNAPSHOTS/small-0001.dfs" | dfparse -t "$VERSION" 2>/dev/null |
        rediswriter -q "redis://127.0.0.1:$REDIS_PORT" 2>/dev/null || true
    keys=$(rcli dbsize)
    [[ $keys -gt 0 ]]
    # shellcheck disable=SC2002 # a pipe is what is meant
    cat "$SNAPSHOTS/small-0000.dfs" | timeout 20 dfreader - | dfparse -t "$VERSION" 2>/dev/null |
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
    [[ ! -s $TMP/out ]]
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
