#!/usr/bin/env bats
# RDB files of our own, a byte at a time: each type, opcode and version decodes to what its bytes say, or is refused.

load helper
load loading

setup() { files_setup; }

teardown() { common_teardown; }

@test "our files: as the server loads them, where it does" {
    local hex
    local -a files=()
    for hex in "$REPO"/tests/fixtures/rdb/*.hex; do
        hex=${hex##*/}
        # What other servers wrote, or what is wrong within: rdb_faults.bats. Servers crash on the latter.
        case $hex in keydb-* | function-rc* | stream-orphan.* | unsound-* | duplicate-*) continue ;; esac
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

@test "a slot import of Valkey that was under way is passed over, and said" {
    fixture valkey9-slot-import
    assert_decodes "$FILE" <<'EOF'
report slot-import "" lost=0
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
report key-metadata "tagged" lost=1
0 ["SET","tagged","value"]
0 ["SET","next","key"]
end status=3 expired=0
EOF
    # An older server gets it by RESTORE, as type 21 or 19: the pipeline shows that the payload is whole.
    start_redis
    VERSION=$(server_version)
    server_has 7.0 || skip "$VERSION does not load streams of type 19"
    copy_into_server "$FILE"
    [[ $STATUSES == "0 3 3" ]] || fail "$STATUSES: $(complaints)" # the metadata
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

@test "unknown modules: data of their own and values are passed over, the next key is read" {
    fixture module
    assert_decodes "$FILE" <<'EOF'
report module-aux "df2redis-" lost=1
0 ["SET","before","1"]
report module "mod" lost=1
0 ["SET","next","key"]
end status=3 expired=0
EOF
    run bash -c "dfreader '$FILE' | dfparse --json --unsupported fail"
    assert_status 3
    assert_output_has 'kind=module-aux'
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

@test "versions that are newer are refused, as not supported: status 1, as nothing was written" {
    local name version server newest
    for name in version16:16:Redis:15 valkey81:81:Valkey:80; do
        IFS=: read -r name version server newest <<<"$name"
        fixture "$name"
        assert_decodes "$FILE" <<EOF
end status=1 expired=0
not supported at byte 0 of the flow: version $version of the RDB format of $server, which a newer server wrote; the newest known is $newest
EOF
    done
    fixture version0
    assert_decodes "$FILE" <<'EOF'
end status=4 expired=0
damaged at byte 0 of the flow: expected an RDB version of 1 to 15, or 80 of Valkey
EOF
}

@test "types and opcodes that nobody knows: not supported, and the rest of the file is missing" {
    local name byte type rest="of a newer version or of another server, or the bytes are damaged"
    for name in type33:16:33 type8:33:8; do
        IFS=: read -r name byte type <<<"$name"
        fixture "$name"
        assert_decodes "$FILE" <<EOF
0 ["SET","a","1"]
end status=4 expired=0
not supported at byte $byte of the flow: value type $type, $rest
EOF
    done
    fixture opcode240
    assert_decodes "$FILE" <<EOF
0 ["SET","a","1"]
end status=4 expired=0
not supported at byte 16 of the flow: opcode 240, $rest
EOF
    fixture module-prega
    assert_decodes "$FILE" <<'EOF'
0 ["SET","a","b"]
end status=4 expired=0
not supported at byte 16 of the flow: value type 6, of modules in candidates of Redis 4.0, which nobody else can pass over
EOF
}
