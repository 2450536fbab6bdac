# Servers that a sentinel watches.
# shellcheck shell=bash disable=SC2034,SC2154 # variables for the suites and of bats

# A master (MASTER), a replica of it (REPLICA), and a sentinel (SENTINEL) that watches them as "mine". Further options are
# the sentinel's.
start_watched() {
    start_redis --repl-diskless-sync-delay 0
    MASTER=$REDIS_PORT MASTER_PROCESS=$REDIS_PID
    start_redis --replicaof 127.0.0.1 "$MASTER"
    REPLICA=$REDIS_PORT
    wait_until 10 in_sync
    start_sentinel "$@"
}

# The replica has everything that the master has.
in_sync() {
    local offset
    offset=$(redis-cli -p "$MASTER" info replication | tr -d '\r' | sed -n 's/^master_repl_offset://p')
    redis-cli -p "$MASTER" info replication | grep -q "^slave[0-9]*:.*port=$REPLICA,state=online,offset=$offset," &&
        redis-cli -p "$REPLICA" info replication | grep -q master_link_status:up
}

start_sentinel() {
    local pid _
    for _ in 1 2 3; do
        SENTINEL=$(random_port)
        printf '%s\n' "port $SENTINEL" "bind 127.0.0.1" "dir $TMP" "logfile $TMP/sentinel.log" \
            "sentinel monitor mine 127.0.0.1 $MASTER 1" "sentinel down-after-milliseconds mine 20000" \
            "sentinel failover-timeout mine 3000" "$@" >"$TMP/sentinel.$SENTINEL.conf"
        background redis-server "$TMP/sentinel.$SENTINEL.conf" --sentinel
        pid=$!
        for _ in $(seq 100); do
            ended "$pid" && break
            listens "$pid" "$SENTINEL" && redis-cli -p "$SENTINEL" ping 2>/dev/null | grep -q -e PONG -e NOAUTH && return
            sleep 0.05
        done
    done
    fail "no sentinel came up"
}

knows_replica() { redis-cli -p "$SENTINEL" sentinel replicas mine | grep -qx "$REPLICA"; }
master_is() { redis-cli -p "$SENTINEL" sentinel get-master-addr-by-name mine | grep -qx "$1"; }
