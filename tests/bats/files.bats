#!/usr/bin/env bats
# Files: what a server loads must come out of our pipeline as the same data set; what it does not load must decode to
# what its bytes say, or be refused. Files of other projects are read where they lie, see DF2REDIS_DATA.

load helper
load loading

setup() { files_setup; }

teardown() { common_teardown; }

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

@test "a corrupt ziplist is reported with its byte, and the rest of the file is read" {
    need_data redis
    run bash -c "dfreader '$DATA/redis/corrupt_ziplist.rdb' | dfparse --json"
    assert_status 3
    assert_output_has 'of the flow: expected a valid ziplist'
    decoded "$DATA/redis/corrupt_ziplist.rdb" >"$TMP/decoded"
    [[ $(grep -c '^report damaged-value' "$TMP/decoded") -eq 1 ]]
    grep -qxF '0 ["RPUSH","mylist","xxxxx","xxxxx","xxxxx","xxxxx","xxxxx"]' "$TMP/decoded"
    grep -qxF '0 ["SET","key:000000000042","\u00ff\u00ff\u00ff\u00ffx"]' "$TMP/decoded"
    ! grep -q '"HSET"' "$TMP/decoded" || fail "the corrupt hash was written"
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
    # ReJSON in its encoding 0, which is no text; and the file has 20 bytes of text behind its end.
    assert_decodes "$DATA/redis-rdb-tools/redis_40_with_module.rdb" <<'EOF'
0 ["SET","simplekey","someval"]
report module "foo" lost=1
end status=4 expired=0
damaged at byte 248 of the flow: expected the end of the file: bytes stand behind the end of the snapshot
EOF
    assert_decodes "$DATA/redis-rdb-tools/redis_60_with_module_aux.rdb" <<'EOF'
report module-aux "test__rdb" lost=1
end status=3 expired=0
EOF
}

@test "empty containers are no keys" {
    need_data redis
    decoded "$DATA/redis/corrupt_empty_keys.rdb" >"$TMP/decoded"
    [[ $(grep -c '^0 \["DEL"' "$TMP/decoded") -eq 9 ]]
    [[ $(wc -l <"$TMP/decoded") -eq 10 ]]
}
