#!/usr/bin/env bats
# df2redis-check with clusters and sentinels: every node answers, or nothing is said.

load helper

setup_file() {
    export BATS_NO_PARALLELIZE_WITHIN_FILE=true
    start_cluster 0
    echo "${CLUSTER_PORTS[*]}" >"$BATS_FILE_TMPDIR/first.ports"
    echo "${CLUSTER_PIDS[*]}" >"$BATS_FILE_TMPDIR/first.pids"
    start_cluster 0
    echo "${CLUSTER_PORTS[*]}" >"$BATS_FILE_TMPDIR/second.ports"
    echo "${CLUSTER_PIDS[*]}" >"$BATS_FILE_TMPDIR/second.pids"
}

teardown_file() {
    local which
    for which in first second; do
        read -ra CLUSTER_PIDS <"$BATS_FILE_TMPDIR/$which.pids"
        stop_cluster
    done
}

setup() {
    common_setup
    read -ra FIRST <"$BATS_FILE_TMPDIR/first.ports"
    read -ra SECOND <"$BATS_FILE_TMPDIR/second.ports"
    read -ra SECOND_PIDS <"$BATS_FILE_TMPDIR/second.pids"
    for port in "${FIRST[@]}" "${SECOND[@]}"; do redis-cli -p "$port" flushall >/dev/null; done
    A=redis-cluster://127.0.0.1:${FIRST[0]},127.0.0.1:${FIRST[1]}
    B=redis://127.0.0.1:${SECOND[0]}
}

teardown() { common_teardown; }

found() { # "kind db key" of each line, sorted
    perl -ne '/"kind":"(\w+)","db":(\d+).*?"key":"((?:[^"\\]|\\.)*)"/ or die $_; print "$1 $2 $3\n"' "$TMP/out.json" | sort
}

ends_with() { # status text
    [[ $status -eq $1 ]] || fail "status $status: $output" || return 1
    [[ $output == *"$2"* ]] || fail "no \"$2\": $output"
}

check() { # options… source target
    run df2redis-check --delay 50 -o "$TMP/out.json" "$@"
}

# Requests of a file, through one node. What the next request needs is answered by then.
fill() { # file port
    redis-cli -c -p "$2" <"$1" >"$TMP/replies"
    never grep -q '^(error)\|^ERR\|^WRONGTYPE' "$TMP/replies"
}

@test "a thousand differences between two clusters, and between a cluster and a server" {
    "$REPO/tests/bats/differences.pl" 24 "$TMP/source" "$TMP/target" "$TMP/expected" one-db
    [[ $(wc -l <"$TMP/expected") -ge 1000 ]]
    fill "$TMP/source" "${FIRST[0]}"
    fill "$TMP/target" "${SECOND[0]}"
    check "$A" "$B"
    ends_with 3 " differ"
    found | diff - "$TMP/expected"
    start_redis
    redis-cli -p "$REDIS_PORT" --pipe <"$TMP/target" >"$TMP/pipe"
    check "$A" "redis://127.0.0.1:$REDIS_PORT"
    ends_with 3 " differ"
    found | diff - "$TMP/expected"
    check "$B" "redis://127.0.0.1:$REDIS_PORT"
    ends_with 0 ": equal"
    rcli save >/dev/null
    check "$A" "$TMP/redis.$REDIS_PORT/dump.rdb"
    ends_with 3 " differ"
    found | diff - "$TMP/expected"
    check "$TMP/redis.$REDIS_PORT/dump.rdb" "$B"
    ends_with 0 ": equal"
}

@test "keys of other databases cannot be in a cluster" {
    start_redis
    rcli set a 1 >/dev/null
    rcli -n 3 set b 1 >/dev/null
    redis-cli -c -p "${SECOND[0]}" set a 1 >/dev/null
    check "redis://127.0.0.1:$REDIS_PORT" "$B"
    ends_with 3 "1 differ"
    [[ $(found) == "missing 3 b" ]]
    redis-cli -c -p "${SECOND[0]}" set b 1 >/dev/null
    check --db-map 3=0 "redis://127.0.0.1:$REDIS_PORT" "$B"
    ends_with 2 "both become 0"
}

@test "a slot without a server: 1" {
    for port in "${SECOND[@]}"; do redis-cli -p "$port" cluster delslots 0 >/dev/null; done
    check "$A" "$B"
    ends_with 1 "1 slots of the cluster have no server"
    redis-cli -p "${SECOND[0]}" cluster addslots 0 >/dev/null
    for port in "${SECOND[@]}"; do wait_until 20 knows_all_slots "$port"; done
    check "$A" "$B"
    ends_with 0 ": equal"
}

knows_all_slots() { redis-cli -p "$1" cluster info | tr -d '\r' | grep -qx cluster_slots_assigned:16384; }

@test "a slot that moves while it is read: 1" {
    local id port pid other
    seq 30000 | sed 's/.*/SET {tag}& v/' >"$TMP/data"
    port=$(redis-cli -c -p "${SECOND[0]}" cluster slots | awk -v slot="$(redis-cli -p "${SECOND[0]}" cluster keyslot '{tag}')" \
        '/^ *[0-9]+$/ { n[++k] = $1 } /^127/ { from = n[k]; getline; if (slot >= n[k - 1] && slot <= n[k] && !p) p = $1 } END { print p }')
    [[ -n $port ]]
    redis-cli -p "$port" --pipe <"$TMP/data" >/dev/null
    for id in "${SECOND[@]}"; do [[ $id == "$port" ]] || other=$id; done
    background df2redis-check --source-max-ops 20000 "redis://127.0.0.1:$port" "$A" >"$TMP/log" 2>&1
    pid=$!
    wait_until 10 is_read "$port"
    redis-cli --cluster reshard "127.0.0.1:$port" --cluster-from "$(redis-cli -p "$port" cluster myid)" \
        --cluster-to "$(redis-cli -p "$other" cluster myid)" --cluster-slots 3 --cluster-yes >/dev/null
    status=0
    wait "$pid" || status=$?
    output=$(cat "$TMP/log")
    [[ $status -eq 1 && $output =~ MOVED|ASK|"slots moved" ]] || fail "$status: $output"
}

is_read() { redis-cli -p "$1" info commandstats | grep -q cmdstat_get; }

@test "the master that sentinels name" {
    start_redis
    local port=$REDIS_PORT sentinel
    rcli set k v >/dev/null
    sentinel=$(random_port)
    printf 'port %s\nbind 127.0.0.1\nsentinel monitor mine 127.0.0.1 %s 1\n' "$sentinel" "$port" >"$TMP/sentinel.conf"
    background redis-server "$TMP/sentinel.conf" --sentinel >/dev/null
    wait_until 10 redis-cli -p "$sentinel" ping
    redis-cli -c -p "${SECOND[0]}" set k v >/dev/null
    check "sentinel://127.0.0.1:1,127.0.0.1:$sentinel/mine" "$B"
    ends_with 0 ": equal"
    check "sentinel://127.0.0.1:$sentinel/other" "$B"
    ends_with 1 "no sentinel names a master other"
}

@test "a node that is dead: 1" {
    redis-cli -c -p "${SECOND[0]}" set a 1 >/dev/null
    redis-cli -c -p "${FIRST[0]}" set a 1 >/dev/null
    check "$A" "$B"
    ends_with 0 ": equal"
    kill -STOP "${SECOND_PIDS[2]}"
    check --target-connect-timeout 1 "$A" "$B"
    kill -CONT "${SECOND_PIDS[2]}"
    ends_with 1 "target "
    redis-cli -p "${SECOND[2]}" shutdown nosave >/dev/null
    check "$A" "$B"
    ends_with 1 "target"
    check "$B" "$A"
    ends_with 1 "source"
}
