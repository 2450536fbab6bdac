#!/usr/bin/env bats
# A cluster as the source in shares (--masters): a task for each, and slots that move between masters of different shares.
# df2redis(7), Many machines.

load helper

setup() { common_setup; }

teardown() {
    [[ -z ${CLUSTER_PIDS-} ]] || stop_cluster
    common_teardown
}

# Three masters, 300 keys of each kind, and a server to write to.
start_pair() {
    start_cluster 0
    SOURCE=redis-cluster://127.0.0.1:${CLUSTER_PORTS[0]},127.0.0.1:${CLUSTER_PORTS[1]}
    changes 0 | redis-cli -c -p "${CLUSTER_PORTS[0]}" >/dev/null
    start_redis
    TARGET=redis://127.0.0.1:$REDIS_PORT
    export TMP
}

# Changes that count: one that is lost or done twice shows. Keys of all slots.
changes() { # number
    local i
    for ((i = 0; i < 1500; i++)); do
        case $((i % 5)) in
        0) echo "INCR n:$((i % 300))" ;;
        1) echo "APPEND a:$((i % 300)) $1.$i," ;;
        2) echo "RPUSH l:$((i % 300)) $1.$i" ;;
        3) echo "HINCRBY h:$((i % 300)) f$1 1" ;;
        *) if (((i + $1) % 3)); then echo "DEL d:$((i % 300))"; else echo "SETEX d:$((i % 300)) 1000 $i"; fi ;;
        esac
    done
}

start_changes() { # rounds
    rm -f "$TMP/changed"
    background bash -c "$(declare -f changes)"'
        for ((k = 1; k <= '"$1"'; k++)); do changes $k; done | redis-cli -c -p '"${CLUSTER_PORTS[0]}"' >/dev/null
        touch "$TMP/changed"'
}

changed() { [[ -e $TMP/changed ]]; }
id_of() { redis-cli -p "$1" cluster myid; }

move() { # from to slots
    redis-cli --cluster reshard "127.0.0.1:$1" --cluster-from "$(id_of "$1")" --cluster-to "$(id_of "$2")" \
        --cluster-slots "$3" --cluster-yes >"$TMP/reshard.log" 2>&1 || fail "$(tail -3 "$TMP/reshard.log")"
}

start_share() { # I/N options…
    background df2redis -v --restart --task "share${1%/*}" --masters "$1" "${@:2}" replicate "$SOURCE" "$TARGET" \
        2>>"$TMP/share${1%/*}.err"
    SHARE[${1%/*}]=$!
}

stop_share() { # I
    df2redis stop "share$1" >/dev/null
    reap 20 "${SHARE[$1]}"
    [[ $status -eq 0 ]] || fail "status $status: $(tail -20 "$TMP/share$1.err")"
}

stage_of() { cat "$(dirname "$(RUN)")/share$1/$2.pid"; }
tells() { df2redis status "share$1" | grep -q "$2"; }
settled() { tells "$1" 'phase=streaming' && tells "$1" 'slots_open=0'; }
equal() { dfstate diff "${SOURCE%%,*}" "$TARGET"; }
said() { grep -q "$2" "$TMP/share$1.err"; }

all_settled() {
    local k
    for k in 1 2 3; do wait_until 30 settled "$k" || { tail -20 "$TMP/share$k.err" >&2; return 1; }; done
}

assert_equal() {
    wait_until 30 equal || { tail -n 8 "$TMP"/share?.err >&2; equal; }
    all_settled
}

start_shares() { # options…
    local k
    SHARE=()
    for k in 1 2 3; do start_share "$k/3" "$@"; done
    all_settled
}

stop_shares() {
    local k
    for k in 1 2 3; do stop_share "$k"; done
}

@test "three shares: slots move between masters of different shares under writes; a share is killed; nothing is lost or doubled" {
    start_pair
    redis-cli -p "${CLUSTER_PORTS[0]}" function load '#!lua name=f1
redis.register_function("f1", function() return 1 end)' >/dev/null
    start_shares
    start_changes 30
    move "${CLUSTER_PORTS[0]}" "${CLUSTER_PORTS[1]}" 80
    wait_until 20 said 1 'the cluster has another master'
    kill -9 "$(stage_of 2 rediswriter)"
    move "${CLUSTER_PORTS[1]}" "${CLUSTER_PORTS[2]}" 80
    move "${CLUSTER_PORTS[2]}" "${CLUSTER_PORTS[0]}" 80
    wait_until 60 changed
    assert_equal
    said 1 event=slots_taken
    rcli function list | grep -q '^f1$'
    never said 2 'FULL.*epoch=2'
    redis-cli -p "${CLUSTER_PORTS[1]}" flushall >/dev/null
    assert_equal
    stop_shares
}

@test "a share begins anew over keys that are there: what it removes is of its own slots" {
    start_pair
    start_shares
    assert_equal
    tells 2 'share=2/3'
    run df2redis cutover share2
    assert_status 1
    assert_output_has 'no cutover of one share'
    stop_share 2
    run df2redis --task share2 --masters 1/3 --resume replicate "$SOURCE" "$TARGET"
    assert_status 1
    assert_output_has 'those of other slots than --masters says'
    run df2redis --task other --masters 2/3 replicate "$SOURCE" "$TARGET"
    assert_status 1
    assert_output_has target_not_empty
    rcli mset stale:1 x stale:3 x stale:6 x >/dev/null # slots 1540, 9798, 14051: of shares 1, 2, 3
    changes 1 | redis-cli -c -p "${CLUSTER_PORTS[0]}" >/dev/null
    start_share 2/3 --task again --on-existing flush
    wait_until 20 said 2 event=sweep_done
    [[ $(rcli mget stale:1 stale:3 stale:6 | tr '\n' ' ') == 'x  x ' ]]
    rcli del stale:1 stale:6 >/dev/null
    wait_until 20 equal || equal
    df2redis stop again >/dev/null
    reap 20 "${SHARE[2]}"
    stop_share 1
    stop_share 3
}

@test "what is no share, or can have none, is refused" {
    run dfreader --masters 4/3 redis-cluster://127.0.0.1:1
    assert_status 2
    assert_output_has 'expected I/N'
    run dfreader --masters 1/3 redis://127.0.0.1:1
    assert_status 2
    assert_output_has '--masters belongs to a cluster'
    run dfreader --masters 1/3 --scan redis-cluster://127.0.0.1:1
    assert_status 2
    assert_output_has '--scan exclude each other'
}
