#!/usr/bin/env bats
# Keys with names of df2redis's own: of the source they are left out and reported, ours are removed at the end.

load helper

setup() { common_setup; }

teardown() {
    [[ -z ${CLUSTER_PIDS[*]-} ]] || stop_cluster
    common_teardown
}

parse() { # dfparse option…: the journal on standard input, as commands in output; what is reported in $TMP/err
    {
        echo session
        echo "flow 0 mode=FULL token=$TOKEN"
        echo data 0 $EMPTY
        sed 's/^/entry 0 /'
        echo end
    } | mkrecords --raw >"$TMP/raw"
    output=$(dfparse -t redis:7.0 --resp "$@" "$TMP/raw" 2>"$TMP/err" | tr -d '\r' | grep -v '^[*$]' | xargs | sed 's|^SELECT 0 ||')
}

reported() { grep -c 'kind=reserved-name' "$TMP/err"; }

@test "live commands on keys with our names are left out and reported" {
    parse <<'END'
SET df2redis:{default} 1
HSET df2redis:{default} session x
DEL df2redis:{default}
EXPIRE df2redis:{06S}:default 1
SET df2redis:other 1
SET mine df2redis:{default}
END
    [[ $output == "SET df2redis:other 1 SET mine df2redis:{default}" ]] || fail "$output"
    [[ $(reported) -eq 4 ]] || fail "$(cat "$TMP/err")"
}

@test "commands of several keys lose only ours; what is renamed to one leaves the key it had" {
    parse <<'END'
MSET a 1 df2redis:{default} 2 b 3
DEL a df2redis:{default} b
RENAME c df2redis:{default}
SUNIONSTORE df2redis:{default} a b
END
    [[ $output == "MSET a 1 b 3 DEL a b DEL c" ]] || fail "$output"
    [[ $(reported) -eq 4 ]] || fail "$(cat "$TMP/err")"
}

@test "it is the name in the target that counts" {
    parse --rename-prefix 'df2redis:=old:' --rename-prefix 'x:=df2redis:{' <<'END'
SET df2redis:{default} 1
SET x:default} 2
SET x 3
END
    [[ $output == "SET old:{default} 1 SET x 3" ]] || fail "$output"
    [[ $(reported) -eq 1 ]] || fail "$(cat "$TMP/err")"
}

@test "what is excluded anyway is not reported" {
    parse --exclude 'prefix:df2redis:' <<'END'
SET df2redis:{default} 1
SET a 1
END
    [[ $output == "SET a 1" && $(reported) -eq 0 ]] || fail "$output $(cat "$TMP/err")"
}

@test "keys of a snapshot with our names: left out, counted, status 3, and our position stays ours" {
    start_redis
    rcli hset 'df2redis:{default}' session x writer y f0 "1 500 100000"
    rcli set 'df2redis:{06S}:default' 1
    rcli set a 1
    rcli save
    cp "$TMP/redis.$REDIS_PORT/dump.rdb" "$TMP/dump.rdb"
    rcli flushall
    run bash -o pipefail -c "dfreader '$TMP/dump.rdb' | dfparse -t '$(server_version)' | rediswriter redis://127.0.0.1:$REDIS_PORT"
    assert_status 3
    assert_output_has 'report="reserved-name" count=2'
    [[ $(rcli keys '*') == a ]] || fail "$(rcli keys '*')"
}

# ---- at the end ----

generated() { start_master --generate --flows 2 --keys 100 --seed 3; }

ours() { # ports…: keys with our names
    local p
    for p; do redis-cli -p "$p" --scan --pattern 'df2redis:{*'; done
}

streaming() { df2redis status | grep -q phase=streaming; }

@test "migrate leaves no position key in the target" {
    generated
    start_redis
    run df2redis migrate "dragonfly://127.0.0.1:$MASTER_PORT" "redis://127.0.0.1:$REDIS_PORT"
    assert_status 0
    [[ $(rcli dbsize) -eq 100 && -z $(ours "$REDIS_PORT") ]] || fail "$(rcli keys 'df2*')"
}

@test "stop keeps the positions, stop --final removes them" {
    generated
    start_redis
    background df2redis --resume replicate "dragonfly://127.0.0.1:$MASTER_PORT" "redis://127.0.0.1:$REDIS_PORT"
    local pid=$!
    wait_until 20 streaming
    df2redis stop
    reap 10 "$pid"
    [[ -n $(ours "$REDIS_PORT") ]]
    background df2redis --resume replicate "dragonfly://127.0.0.1:$MASTER_PORT" "redis://127.0.0.1:$REDIS_PORT"
    pid=$!
    wait_until 20 streaming
    df2redis stop --final
    reap 10 "$pid"
    [[ $status -eq 0 && -z $(ours "$REDIS_PORT") && $(rcli dbsize) -eq 100 ]]
}

@test "several connections: stop --final removes the mark and the position file" {
    generated
    start_redis
    printf '[writer]\nconnections = 2\n' >"$TMP/conf"
    background df2redis -c "$TMP/conf" --position-file "$TMP/positions" replicate "dragonfly://127.0.0.1:$MASTER_PORT" \
        "redis://127.0.0.1:$REDIS_PORT"
    local pid=$!
    wait_until 20 streaming
    wait_until 10 grep -q '^marked=0' "$TMP/positions"
    df2redis stop --final
    reap 10 "$pid"
    [[ $status -eq 0 && -z $(ours "$REDIS_PORT") && ! -e $TMP/positions && ! -e $TMP/positions.sent ]]
}

@test "cluster, exactly once: migrate and stop --final leave no position key in any slot" {
    start_cluster 0
    generated
    run df2redis --exactly-once --position-file "$TMP/positions" migrate "dragonfly://127.0.0.1:$MASTER_PORT" "$CLUSTER_URL"
    assert_status 0
    [[ -z $(ours "${CLUSTER_PORTS[@]}") && ! -e $TMP/positions ]] || fail "$(ours "${CLUSTER_PORTS[@]}")"
    background df2redis --on-existing overwrite --exactly-once --position-file "$TMP/positions" replicate \
        "dragonfly://127.0.0.1:$MASTER_PORT" "$CLUSTER_URL"
    local pid=$!
    wait_until 20 streaming
    wait_until 10 eval '[[ -n $(ours "${CLUSTER_PORTS[@]}") ]]'
    df2redis stop --final
    reap 10 "$pid"
    [[ $status -eq 0 && -z $(ours "${CLUSTER_PORTS[@]}") && ! -e $TMP/positions ]] || fail "$(ours "${CLUSTER_PORTS[@]}")"
}

@test "stop --final is an option of stop only" {
    run df2redis --final status
    assert_status 2
}
