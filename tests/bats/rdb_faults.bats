#!/usr/bin/env bats
# RDB files with what only some servers write, and with what is wrong in them: nothing is dropped without a word, nothing
# unsound reaches the target, and the rest of the file is read.

load helper
load loading

setup() { files_setup; }

teardown() { common_teardown; }

@test "KeyDB: expiries of fields are carried over, those of members are reported, passed ones remove" {
    fixture keydb-subexpire
    assert_decodes "$FILE" -t 7.4 --restore-limit 0 <<'EOF'
0 ["DEL","s"]
0 ["SADD","s","a","b"]
report member-ttl "s" lost=1
0 ["DEL","h"]
0 ["HSET","h","f","1","g","2"]
0 ["HPEXPIREAT","h","4102444800000","FIELDS","1","f"]
0 ["HDEL","h","g"]
0 ["DEL","z"]
0 ["ZADD","z","1","m"]
report member-ttl "z" lost=1
0 ["SET","after","x"]
end status=3 expired=0
EOF
    # Where fields have none they are reported, once for each key.
    decoded "$FILE" -t 7.0 >"$TMP/decoded"
    [[ $(grep '^report' "$TMP/decoded") == 'report member-ttl "s" lost=1
report field-ttl "h" lost=1
report member-ttl "z" lost=1' ]]
    grep -qxF '0 ["HDEL","h","g"]' "$TMP/decoded"
    # Dragonfly has them for members, too.
    decoded "$FILE" -t dragonfly:1.40 >"$TMP/decoded"
    grep -q '^0 \["FIELDEXPIRE","s","[0-9]*","a"\]$' "$TMP/decoded"
    grep -q '^0 \["FIELDEXPIRE","h","[0-9]*","f"\]$' "$TMP/decoded"
    # They follow their key: under its new name, into its database, and not at all where it is left out.
    decoded "$FILE" -t 7.4 --rename-prefix h=new --db-map 0=3 >"$TMP/decoded"
    grep -qxF '3 ["HPEXPIREAT","new","4102444800000","FIELDS","1","f"]' "$TMP/decoded"
    assert_decodes "$FILE" -t 7.4 --include after <<'EOF'
0 ["SET","after","x"]
end status=0 expired=0
EOF
    # A key that the target holds and keeps must not get them.
    decoded "$FILE" -t 7.4 --on-existing skip >"$TMP/decoded"
    never grep -q 'HPEXPIREAT\|HDEL' "$TMP/decoded"
    grep -qxF 'report field-ttl "h" lost=1' "$TMP/decoded"
}

@test "KeyDB: scripts that the server runs at times are named" {
    fixture keydb-cron
    assert_decodes "$FILE" -t 7.4 <<'EOF'
report keydb-cron "job" lost=1
0 ["SET","after","x"]
end status=3 expired=0
EOF
}

@test "AUX fields that nobody knows are named once, those that inform are not" {
    fixture aux-fields
    assert_decodes "$FILE" -t 7.2 <<'EOF'
report aux-field "x-vendor" lost=0
0 ["SET","a","1"]
0 ["SET","b","2"]
end status=0 expired=0
EOF
}

@test "functions of the 7.0 candidates: libraries get the form of the release, single functions are reported" {
    fixture function-rc-library
    assert_decodes "$FILE" -t 7.0 <<'EOF'
report function "mylib" lost=0
0 ["FUNCTION","LOAD","REPLACE","#!lua name=mylib\u000aredis.register_function('f1', function(k,a) return 1 end)"]
0 ["SET","a","b"]
end status=0 expired=0
EOF
    assert_decodes "$FILE" -t 6.2 <<'EOF'
report function "mylib" lost=1
0 ["SET","a","b"]
end status=3 expired=0
EOF
    start_redis
    VERSION=$(server_version)
    if server_has 7.0; then
        copy_into_server "$FILE"
        [[ $STATUSES == "0 0 0" ]] || fail "$STATUSES: $(complaints)"
        [[ $(rcli fcall f1 0) == 1 ]]
    fi
    fixture function-rc
    assert_decodes "$FILE" -t 7.0 <<'EOF'
report function "f1" lost=1
0 ["SET","key","value"]
end status=3 expired=0
EOF
}

@test "Redis Enterprise: its opcodes are passed over" {
    fixture enterprise-opcodes
    assert_decodes "$FILE" <<'EOF'
0 ["SET","a","b"]
0 ["SET","c","d"]
end status=0 expired=0
EOF
}

@test "values that are not sound within are reported, not restored, and the file goes on" {
    local options
    fixture unsound-values
    for options in "-t 7.2" "-t 7.2 --restore-limit 0" ""; do
        # shellcheck disable=SC2086
        decoded "$FILE" $options >"$TMP/decoded"
        grep '^report' "$TMP/decoded" >"$TMP/reports"
        {
            printf 'report unsound-value "fields" lost=1\n'
            printf 'report unsound-value "order" lost=0\n'
            printf 'report damaged-value "score" lost=1\n'
            printf 'report unsound-value "%s" lost=0\n' members integers
            printf 'report damaged-value "%s" lost=1\n' list nan
            # Elements that are written as they come are not looked at for that.
            [[ $options != "-t 7.2" ]] || printf 'report unsound-value "twice" lost=1\n'
            printf 'report damaged-value "packed" lost=1\n'
        } | diff -u - "$TMP/reports" >&2
        never grep -q RESTORE "$TMP/decoded"
        grep -qxF '0 ["SET","after","x"]' "$TMP/decoded"
        grep -q '^end status=3' "$TMP/decoded"
    done
    # Whoever only wants to know whether a file is whole hears it, too.
    run bash -c "dfreader '$FILE' | dfparse --null"
    assert_status 3
    assert_output_has 'kind=damaged-value db=0 key="score" detail="damaged at byte 62 of the flow'
    # Nothing that is damaged gets into a server, which stays alive; what else is wrong it gets as the source has it.
    start_redis
    VERSION=$(server_version)
    copy_into_server "$FILE"
    [[ $STATUSES == "0 3 3" ]] || fail "$STATUSES: $(complaints)"
    [[ $(rcli get after) == x ]]
    for key in score list nan packed; do [[ $(rcli exists $key) -eq 0 ]]; done
    [[ $(rcli hget fields a) == 1 && $(rcli hget twice f) == 1 ]]
    [[ $(rcli zrange order 0 -1 withscores | tr '\n' ' ') == 'n 1 m 2 ' ]]
    [[ $(rcli smembers members) == 12 && $(rcli smembers integers | sort | tr '\n' ' ') == '4 5 ' ]]
}

@test "old encodings that RESTORE refuses, and commands make, arrive" {
    local sanitize
    fixture refused-encodings
    start_redis
    VERSION=$(server_version)
    for sanitize in no yes; do
        # Before 6.2 there is no such setting.
        rcli config set sanitize-dump-payload $sanitize >/dev/null
        copy_into_server "$FILE"
        [[ $STATUSES == "0 3 3" ]] || fail "$STATUSES: $(complaints)"
        never grep -q 'Bad data format' "$TMP/writer.err"
        [[ $(rcli hget zipmap f) == 1 ]]                           # five bytes for a length of one
        [[ $(rcli lrange quicklist 0 -1 | tr '\n' ',') == ',a,' ]] # an empty element in a node of its own
        [[ $(rcli lrange nodes 0 -1) == a ]]                       # an empty node
        [[ $(rcli hget zipmap2 f) == 1 ]]                          # twice: the first is what servers find
        [[ $(rcli hget ziplist a) == 1 && $(rcli hlen ziplist) == 1 ]]
        [[ $(rcli hget hash f) == 1 && $(rcli zscore zset m) == 1 ]]
        [[ $(rcli zrange zipzset 0 -1 withscores | tr '\n' ' ') == 'b 1 a 2 ' ]]
        [[ $(rcli smembers set) == a && $(rcli smembers intset | sort | tr '\n' ' ') == '1 2 ' ]]
        [[ $(rcli xrange stream - + | tr '\n' ' ') == '1000-5 f a 1000-6 f a ' ]] # two nodes of one id
        [[ $(rcli exists none zipnone) -eq 0 ]] # empty containers are no keys
        [[ $(rcli get after) == x ]]
    done
}

@test "a stream with a pending entry that nobody owns does not reach the target as it is" {
    fixture stream-orphan
    assert_decodes "$FILE" -t 7.0 <<'EOF'
report damaged-value "s" lost=1
0 ["DEL","s"]
0 ["SET","after","x"]
end status=3 expired=0
EOF
    # As commands its messages can be written; the pending entry is said to be lost.
    decoded "$FILE" -t 7.0 --restore-limit 0 >"$TMP/decoded"
    grep -qxF 'report pending-entry "s" lost=1' "$TMP/decoded"
    grep -q '"XADD","s"' "$TMP/decoded"
    grep -q '^end status=3' "$TMP/decoded"
}

@test "a key that a file has twice is named" {
    fixture duplicate-key
    assert_decodes "$FILE" -t 7.0 --restore-limit 0 <<'EOF'
0 ["SET","a","1"]
0 ["DEL","s"]
0 ["SADD","s","m"]
report duplicate-key "a" lost=1
0 ["SET","a","2"]
1 ["SET","a","3"]
end status=3 expired=0
EOF
    # One that is left out anyway does not matter.
    decoded "$FILE" -t 7.0 --exclude a >"$TMP/decoded"
    never grep -q duplicate-key "$TMP/decoded"
}

@test "values of modules that the target has are restored as they are" {
    fixture module
    # Type 7, the bytes of the file, version 8; an expiry.
    decoded "$FILE" -t 7.2 --target-modules other,df2redis- >"$TMP/decoded"
    grep -q '^0 \["RESTORE","mod","4102444800000","\\u0007\\u0081u\\u00fd\\u00aby.*","REPLACE","ABSTTL"\]$' "$TMP/decoded"
    never grep -q 'report module ' "$TMP/decoded"
    decoded "$FILE" -t 7.2 --target-modules bf,search,ReJSON >"$TMP/decoded"
    grep -qxF 'report module "mod" lost=1' "$TMP/decoded"
    run dfparse --target-modules x /dev/null
    assert_status 2
}

@test "a module whose types are not known may have the type: its values are restored, what is refused is a data error" {
    fixture module
    local t
    for t in 6.2 7.2 valkey:8.0; do
        decoded "$FILE" -t "$t" --target-modules search,other >"$TMP/decoded"
        grep -q '^0 \["RESTORE","mod",' "$TMP/decoded"
        never grep -q 'report module ' "$TMP/decoded"
    done
    # A RESTORE of an unknown type ends such servers.
    for t in 4.0 5.0 6.0; do
        decoded "$FILE" -t "$t" --target-modules search,other >"$TMP/decoded"
        never grep -q '^0 \["RESTORE","mod",' "$TMP/decoded"
        grep -qxF 'report module "mod" lost=1' "$TMP/decoded"
    done
    start_redis
    server_has 6.2 || skip "the server would end"
    dfreader "$FILE" 2>/dev/null | dfparse -t "$(server_version)" --target-modules other >"$TMP/commands" 2>"$TMP/err" || [[ $? -eq 3 ]]
    rediswriter --errors-to "$TMP/failed" "redis://127.0.0.1:$REDIS_PORT" "$TMP/commands" 2>"$TMP/err" && status=0 || status=$?
    [[ $status -eq 3 ]]
    grep -q 'event=data_error .*key="mod"' "$TMP/err"
    [[ $(rcli exists mod) -eq 0 && $(rcli exists next) -eq 1 ]]
}

@test "--expand writes the RESTORE requests that a target refused as commands" {
    start_redis
    VERSION=$(server_version)
    rcli rpush l a b c >/dev/null
    rcli hset h f v >/dev/null
    rcli set s x >/dev/null
    rcli pexpireat h 4102444800000 >/dev/null
    [[ $(rcli save) == OK ]]
    FILE=$TMP/redis.$REDIS_PORT/dump.rdb
    dfreader "$FILE" 2>/dev/null | dfparse -t "$VERSION" >"$TMP/commands"
    dfparse --json "$TMP/commands" | grep -q '"RESTORE","h"'
    dfparse --expand --json "$TMP/commands" >"$TMP/expanded"
    never grep -q RESTORE "$TMP/expanded"
    grep -qF '["RPUSH","l","a","b","c"]' "$TMP/expanded"
    grep -qF '["HSET","h","f","v"]' "$TMP/expanded"
    grep -qF '["PEXPIREAT","h","4102444800000"]' "$TMP/expanded"
    # A target without RESTORE: what it refuses is kept, and arrives in the other form.
    rcli flushall >/dev/null
    server_has 7.0 || skip "$VERSION has no PEXPIRETIME"
    start_redis --rename-command RESTORE ''
    rediswriter --errors-to "$TMP/failed" "redis://127.0.0.1:$REDIS_PORT" "$TMP/commands" 2>"$TMP/writer.err" &&
        status=0 || status=$?
    [[ $status -eq 3 ]]
    [[ $(rcli exists l h) -eq 0 && $(rcli get s) == x ]]
    dfparse --expand "$TMP/failed" | rediswriter "redis://127.0.0.1:$REDIS_PORT" 2>"$TMP/writer.err"
    [[ $(rcli lrange l 0 -1 | tr '\n' ' ') == 'a b c ' ]]
    [[ $(rcli hget h f) == v && $(rcli pexpiretime h) -eq 4102444800000 ]]
}

@test "--expand: a damaged value is reported without a byte of the flow, and its key goes" {
    fixture redis74-hash-ttl
    dfreader "$FILE" 2>/dev/null | dfparse -t 7.4 >"$TMP/commands"
    # One byte of a listpack within a RESTORE: each element is longer than it says.
    LC_ALL=C sed 's/\x85three\x06/\x84three\x06/' "$TMP/commands" >"$TMP/damaged"
    never cmp -s "$TMP/commands" "$TMP/damaged"
    run bash -c "dfparse --expand --json '$TMP/damaged' 2>'$TMP/err'"
    assert_status 3
    grep -q 'kind=damaged-value .*detail="damaged: expected ' "$TMP/err"
    never grep -q 'at byte' "$TMP/err"
    assert_output_has '["DEL",'
}
