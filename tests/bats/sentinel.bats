#!/usr/bin/env bats
# Targets that sentinels know, and targets that become replicas.

load helper
load watching

setup() { common_setup; }
teardown() { common_teardown; }

stream() {
    if [[ ! -s $TMP/stream ]]; then
        standin --generate --keys 100 --write-dfs "$TMP/snapshot" >/dev/null
        dfreader "file:$TMP/snapshot" | dfparse >"$TMP/stream"
    fi
    echo "$TMP/stream"
}

writer() { run timeout 100 rediswriter -q "$@" "$(stream)"; }

# A live session with INCRs: each that is lost or done twice shows. LIVE is df2redis.
ARGS=(--generate --flows 2 --keys 500 --journal-ops 12000 --journal-rate 2000 --journal-kind incr)
start_live() { # target option…
    start_master "${ARGS[@]}"
    background df2redis "${@:2}" replicate "dragonfly://127.0.0.1:$MASTER_PORT" "$1" 2>"$TMP/err"
    LIVE=$!
    wait_until 10 stable
}

stable() { df2redis status | grep -q phase=stable; }
applied_all() { [[ $(($(df2redis status | sed -n 's/^flow .* applied=\([0-9]*\).*/\1/p' | paste -sd+))) -ge 12000 ]]; }

finish_live() {
    wait_until 20 applied_all || { cat "$TMP/err" >&2; fail "not all applied"; }
    df2redis stop
    reap 10 "$LIVE"
    [[ $status -eq 0 ]] || fail "status $status: $(cat "$TMP/err")"
}

assert_complete() { # port: it holds what a server got that was given everything by itself
    start_redis
    standin "${ARGS[@]}" --write-resp - --with-journal | rcli --pipe >/dev/null
    assert_same "redis://127.0.0.1:$1?dbs=0" "redis://127.0.0.1:$REDIS_PORT?dbs=0"
}

@test "the master that sentinels name; the first one is down, a name they do not know" {
    start_watched
    writer -v "sentinel://127.0.0.1:1,127.0.0.1:$SENTINEL/mine/0"
    assert_status 0
    assert_output_has "event=sentinel_says sentinel=127.0.0.1:$SENTINEL master=127.0.0.1:$MASTER"
    [[ $(redis-cli -p "$MASTER" dbsize) -ge 100 ]]
    writer "sentinel://127.0.0.1:1,127.0.0.1:$SENTINEL/yours"
    assert_status 1
    assert_output_has "sentinel 127.0.0.1:$SENTINEL knows no master by the name of yours"
    writer "sentinel://127.0.0.1:1/mine"
    assert_status 75
    assert_output_has 'cannot connect to 127.0.0.1:1: Connection refused'
    writer "sentinel://127.0.0.1:$MASTER/mine"
    assert_status 1
    assert_output_has "sentinel 127.0.0.1:$MASTER: SENTINEL get-master-addr-by-name: ERR unknown command"
    writer "sentinel://127.0.0.1:$SENTINEL"
    assert_status 2
    assert_output_has 'sentinels need the name of a master in URL'
}

@test "passwords: the sentinel's own, and the master's" {
    REDIS_AUTH=(-a sesam --no-auth-warning)
    start_redis --requirepass sesam
    MASTER=$REDIS_PORT
    start_sentinel "sentinel auth-pass mine sesam" "requirepass secret" 'user watcher on >pw ~* &* +@all'
    local url=sentinel://:sesam@127.0.0.1:$SENTINEL/mine
    writer "$url"
    assert_status 1
    assert_output_has NOAUTH
    echo secret >"$TMP/pw"
    writer --sentinel-password-file "$TMP/pw" "$url"
    assert_status 0
    echo pw >"$TMP/pw"
    writer --sentinel-user watcher --sentinel-password-file "$TMP/pw" "$url"
    assert_status 0
    DF2REDIS_SENTINEL_PASSWORD=wrong writer "$url"
    assert_status 1
    assert_output_has "sentinel 127.0.0.1:$SENTINEL: AUTH: WRONGPASS"
    DF2REDIS_SENTINEL_PASSWORD=secret writer "sentinel://:x@127.0.0.1:$SENTINEL/mine"
    assert_status 1
    assert_output_has WRONGPASS
    writer --sentinel-user watcher "redis://127.0.0.1:$MASTER"
    assert_status 2
}

@test "the master dies during a run: the writer goes on at the new one" {
    start_watched
    wait_until 10 knows_replica
    start_live "sentinel://127.0.0.1:$SENTINEL/mine"
    sleep 0.5
    # Replication is asynchronous: a master dies without a loss only when its replica has everything.
    redis-cli -p "$MASTER" client pause 100000 write >/dev/null
    wait_until 12 in_sync
    redis-cli -p "$SENTINEL" sentinel set mine down-after-milliseconds 500 >/dev/null
    kill -KILL "$MASTER_PROCESS"
    wait_until 20 master_is "$REPLICA"
    finish_live
    grep -q event=target_connection_lost "$TMP/err"
    assert_complete "$REPLICA"
}

@test "the master becomes a replica: READONLY sends the writer to the sentinels" {
    start_watched
    start_live "sentinel://127.0.0.1:$SENTINEL/mine"
    # A switch by hand that loses nothing: nobody writes until both have the same. The sentinel learns of it last.
    redis-cli -p "$MASTER" client pause 100000 write >/dev/null
    wait_until 4 in_sync
    redis-cli -p "$SENTINEL" sentinel remove mine >/dev/null
    redis-cli -p "$REPLICA" replicaof no one >/dev/null
    redis-cli -p "$MASTER" replicaof 127.0.0.1 "$REPLICA" >/dev/null
    redis-cli -p "$MASTER" client unpause >/dev/null
    wait_until 5 grep -q 'event=target_connection_lost.*the server has become a replica' "$TMP/err"
    redis-cli -p "$SENTINEL" sentinel monitor mine 127.0.0.1 "$REPLICA" 1 >/dev/null
    finish_live
    assert_complete "$REPLICA"
}

@test "without sentinels READONLY is waited out, and the master is named" {
    start_watched
    start_live "redis://127.0.0.1:$MASTER"
    redis-cli -p "$MASTER" replicaof 127.0.0.1 "$REPLICA" >/dev/null
    wait_until 5 grep -q "event=target_is_a_replica target=redis://127.0.0.1:$MASTER master=\"127.0.0.1\":$REPLICA" "$TMP/err"
    [[ $(grep -c event=target_is_a_replica "$TMP/err") -eq 1 ]]
    redis-cli -p "$MASTER" replicaof no one >/dev/null
    wait_until 5 stable
    df2redis stop
    reap 10 "$LIVE"
}
