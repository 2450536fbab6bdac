#!/usr/bin/env bats
# The command stream of a Redis or Valkey, offline, for a cluster.

load helper

setup_file() { one_cluster 0; }
teardown_file() { end_one_cluster; }

setup() {
    common_setup
    the_cluster
    start_redis
    REFERENCE=$REDIS_PORT
}

teardown() { common_teardown; }

# The lines of standard input as the stream behind an empty snapshot, to the cluster.
to_cluster() { # [dfparse option…]
    {
        echo session source=redis version=redis:7.0.15
        echo "flow 0 mode=FULL replid=0123456789abcdef0123456789abcdef01234567 lsn=256"
        echo data 0 524544495330303130ff0000000000000000
        sed 's/^/command 0 /'
        echo end
    } | mkrecords --raw | dfparse -t 7.0/cluster --report "$TMP/report" "$@" 2>"$TMP/parse.err" |
        rediswriter --on-existing overwrite "$CLUSTER_URL" 2>"$TMP/writer.err" &&
        echo "${PIPESTATUS[*]}" >"$TMP/statuses" || echo "${PIPESTATUS[*]}" >"$TMP/statuses"
}

assert_statuses() { # of the text, mkrecords, dfparse, rediswriter
    [[ $(<"$TMP/statuses") == "$1" ]] || fail "statuses $(<"$TMP/statuses"): $(cat "$TMP"/*.err)"
}

cluster() { redis-cli -c -p "${CLUSTER_PORTS[0]}" "$@"; }

@test "keys in several slots, in transactions and outside" {
    cat >"$TMP/lines" <<'EOF'
MSET a 1 b 2 c 3
MULTI
INCR a
INCR b
RPUSH l 1 2 3
EXEC
RENAME a d
LMOVE l m LEFT RIGHT
SADD s 1 2 3
SADD t 2 3 4
SINTERSTORE u s t
COPY u v
ZADD z 1 a 2 b
ZUNIONSTORE zz 2 z u
UNLINK s t
EOF
    redis-cli -p "$REFERENCE" <"$TMP/lines" >/dev/null
    { cat "$TMP/lines"; echo "MSETEX 2 e 1 f 2 NX PXAT 4102444800000"; } | to_cluster
    assert_statuses "0 0 0 0"
    redis-cli -p "$REFERENCE" set e 1 pxat 4102444800000
    redis-cli -p "$REFERENCE" set f 2 pxat 4102444800000
    dfstate dump "redis://127.0.0.1:$REFERENCE" >"$TMP/a.jsonl"
    dfstate dump --cluster "${CLUSTER_PORTS[0]}" >"$TMP/b.jsonl"
    assert_same "$TMP/a.jsonl" "$TMP/b.jsonl"
}

@test "functions and scripts are loaded into every master, messages are heard once" {
    local p
    redis-cli -p "${CLUSTER_PORTS[2]}" psubscribe '*' >"$TMP/heard" &
    PIDS+=($!)
    wait_until 2 grep -q psubscribe "$TMP/heard"
    sha=$(printf 'return 1' | sha1sum | cut -d' ' -f1)
    printf '%s\n' 'FUNCTION LOAD %23!lua%20name=lib%0aredis.register_function("fn",%20function()%20return%207%20end)' \
        'SCRIPT LOAD return%201' "PUBLISH channel one" | to_cluster --publish
    assert_statuses "0 0 0 0"
    for p in "${CLUSTER_PORTS[@]}"; do
        [[ $(redis-cli -p "$p" fcall fn 0) == 7 ]]
        [[ $(redis-cli -p "$p" script exists "$sha") == 1 ]]
    done
    wait_until 2 grep -q one "$TMP/heard"
    [[ $(grep -c one "$TMP/heard") == 1 ]]
}

@test "what a cluster cannot do is reported" {
    printf '%s\n' "SET a 1" "SWAPDB 0 1" 'EVAL return%20redis.call("MSET",KEYS[1],1,KEYS[2],2) 2 b c' "EVAL return%201 0" \
        'EVAL return%20redis.call("SET",KEYS[1],"x") 1 d' | to_cluster
    assert_statuses "0 0 3 3"
    [[ $(cluster get a) == 1 ]]
    [[ $(cluster get d) == x ]]
    [[ $(grep -c '"lost":true' "$TMP/report") == 3 ]]
    grep -q '"kind":"database".*SWAPDB' "$TMP/report"
    [[ $(grep -c '"kind":"slots".*EVAL' "$TMP/report") == 2 ]]
}
