# shellcheck shell=bash
# A cluster that is read while its slots move: for psync_cluster*.bats.
# shellcheck disable=SC2016,SC2034,SC2154 # text for another shell; what suites use; $status

TARGET_OPTIONS=()

# A cluster to read from, with keys, and a server to write to.
start_pair() { # replicas [options of the cluster]
    start_cluster "$@"
    SOURCE=redis-cluster://127.0.0.1:${CLUSTER_PORTS[0]},127.0.0.1:${CLUSTER_PORTS[1]}
    changes 0 | redis-cli -c -p "${CLUSTER_PORTS[0]}" >/dev/null
    start_redis "${TARGET_OPTIONS[@]}"
    TARGET=redis://127.0.0.1:$REDIS_PORT
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

reshard() { # to slots
    redis-cli --cluster reshard "127.0.0.1:${CLUSTER_PORTS[0]}" --cluster-from all --cluster-to "$(id_of "$1")" \
        --cluster-slots "$2" --cluster-yes >"$TMP/reshard.log" 2>&1 || fail "$(tail -3 "$TMP/reshard.log")"
}

PROCESSES=--single # or nothing: one process per flow

start_task() { # options
    background df2redis -v ${PROCESSES:+"$PROCESSES"} --restart "$@" replicate "$SOURCE" "$TARGET" 2>"$TMP/task.err"
    TASK=$!
    wait_until 20 phase_is streaming || { cat "$TMP/task.err" >&2; return 1; }
}

stop_task() { # [status]
    df2redis stop >/dev/null
    reap 10 "$TASK"
    [[ $status -eq ${1:-0} ]] || fail "status $status: $(tail -20 "$TMP/task.err")"
}

said() { grep -q "$1" "$TMP/task.err"; }
times_said() { grep -c "$1" "$TMP/task.err"; }
all_know() { # id
    local p
    for p in "${CLUSTER_PORTS[@]}"; do redis-cli -p "$p" cluster nodes | grep "^$1 .*connected" || return 1; done
}

settled() { [[ $(df2redis status | grep -o 'slots_open=[0-9]*') == slots_open=0 ]]; }
equal() { dfstate diff "${SOURCE%%,*}" "${TARGET/redis:/${TARGET_SCHEME:-redis}:}"; }

assert_equal() {
    wait_until 20 equal || { grep -v level=info "$TMP/task.err" | tail -20 >&2; df2redis status >&2; equal; }
    wait_until 10 settled
}
