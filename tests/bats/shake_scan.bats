#!/usr/bin/env bats
# What RedisShake expects of itself in its black-box tests for scan and sync, of us: a server or a cluster of three into
# either, with data from before a snapshot and behind it; lists, strings and several databases are as they were at both
# ends, and the number of keys is the same.

load helper

setup_file() {
    local name
    export BATS_NO_PARALLELIZE_WITHIN_FILE=true
    for name in from to; do
        start_cluster 0
        echo "${CLUSTER_PORTS[*]}" >"$BATS_FILE_TMPDIR/$name.ports"
        echo "${CLUSTER_PIDS[*]}" >"$BATS_FILE_TMPDIR/$name.pids"
    done
}

teardown_file() {
    local name
    for name in from to; do
        read -ra CLUSTER_PIDS <"$BATS_FILE_TMPDIR/$name.pids"
        stop_cluster
    done
}

setup() {
    common_setup
    round=0
}

teardown() { common_teardown; }

# One end: ports and url of that name, a server or a cluster.
have() { # name server|cluster
    local -n ports=$1_ports url=$1_url
    if [[ $2 == cluster ]]; then
        read -ra CLUSTER_PORTS <"$BATS_FILE_TMPDIR/$1.ports"
        cluster_flush
        ports=("${CLUSTER_PORTS[@]}")
        url=redis-cluster://127.0.0.1:${ports[0]}
    else
        start_redis
        ports=("$REDIS_PORT")
        url=redis://127.0.0.1:$REDIS_PORT
    fi
}

both_ends() { # source target
    from_ports=() to_ports=() from_url='' to_url=''
    have from "$1"
    have to "$2"
    selects=0
    [[ $1 == cluster || $2 == cluster ]] || selects=1
}

from() { redis-cli -c -p "${from_ports[0]}" "$@"; }
to() { redis-cli -c -p "${to_ports[0]}" "$@"; }

add_data() { # another round of it
    local i
    round=$((round + 1))
    for i in 1 2 3 4 5; do
        echo "SET string:$round:$i value:$i"
        echo "APPEND string:all:$i $round,"
        echo "RPUSH list:$round:$i a b c $i"
        echo "LPUSH list:all:$i $round"
    done | from >/dev/null
    [[ $selects -eq 0 ]] || for i in 1 7; do echo "SET in:$round $i" | from -n "$i" >/dev/null; done
}

check_data() { # from|to
    local r i
    for ((r = 1; r <= round; r++)); do
        for i in 1 2 3 4 5; do
            [[ $("$1" get "string:$r:$i") == "value:$i" ]] || fail "$1: string:$r:$i"
            [[ $("$1" lrange "list:$r:$i" 0 -1 | paste -sd' ') == "a b c $i" ]] || fail "$1: list:$r:$i"
        done
    done
    for i in 1 2 3 4 5; do
        [[ $("$1" get "string:all:$i") == "$(seq -s, "$round")," ]] || fail "$1: string:all:$i"
        [[ $("$1" lrange "list:all:$i" 0 -1 | paste -sd' ') == "$(seq "$round" -1 1 | paste -sd' ')" ]] || fail "$1: list:all:$i"
    done
    [[ $selects -eq 0 ]] || for i in 1 7; do [[ $("$1" -n "$i" get "in:$round") == "$i" ]] || fail "$1: db $i"; done
}

number_of_keys() { # port…
    local p n=0
    for p in "$@"; do
        n=$((n + $(redis-cli -p "$p" info keyspace | tr -d '\r' | sed -n 's/^db[0-9]*:keys=\([0-9]*\),.*/\1/p' | paste -sd+ | sed 's/^$/0/')))
    done
    echo "$n"
}

save_all() { for p in "${from_ports[@]}"; do redis-cli -p "$p" save >/dev/null; done; }

same_number() { [[ $(number_of_keys "${from_ports[@]}") -eq $(number_of_keys "${to_ports[@]}") ]]; }

scan_once() { # source target
    both_ends "$1" "$2"
    add_data
    save_all
    add_data
    df2redis --scan migrate "$from_url" "$to_url" 2>"$TMP/err" || fail "$(tail -3 "$TMP/err")"
    check_data from
    check_data to
    same_number || fail "other numbers of keys"
}

arrived() { (check_data to) 2>/dev/null; }

sync_once() { # source target
    local more=()
    both_ends "$1" "$2"
    [[ $2 == server ]] || more=(--position-file "$TMP/positions")
    add_data
    save_all
    background df2redis -v --task sync "${more[@]}" replicate "$from_url" "$to_url" 2>"$TMP/err"
    wait_until 30 grep -q 'event=phase name=stable' "$TMP/err" || fail "$(tail -3 "$TMP/err")"
    add_data
    wait_until 20 arrived
    check_data from
    df2redis --task sync stop --final
    check_data to
    same_number || fail "other numbers of keys"
}

@test "scan: server to server" { scan_once server server; }
@test "scan: server to cluster" { scan_once server cluster; }
@test "scan: cluster to server" { scan_once cluster server; }
@test "scan: cluster to cluster" { scan_once cluster cluster; }
@test "sync: server to server" { sync_once server server; }
@test "sync: server to cluster" { sync_once server cluster; }
@test "sync: cluster to server" { sync_once cluster server; }
@test "sync: cluster to cluster" { sync_once cluster cluster; }
