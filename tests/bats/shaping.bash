# Sources and targets of every shape, filled and written to, for shapes.bats.
# shellcheck shell=bash disable=SC2034,SC2154 # variables for the suites, and of bats

shapes_setup() {
    common_setup
    SOURCE_SERVER=${SOURCE_SERVER:-redis-server} TARGET_SERVER=${TARGET_SERVER:-redis-server}
    CLUSTER_PIDS=()
    SEED=${SHAPES_SEED:-$RANDOM}
    echo "seed $SEED: $SOURCE_SERVER, $TARGET_SERVER"
}

shapes_teardown() {
    [[ ${#CLUSTER_PIDS[@]} -eq 0 ]] || stop_cluster
    common_teardown
}

# ---- the work of clients: from the source's FEED, the arguments of redis-cli -p ----

work() { # fill|live count [variables of workload.awk]: commands
    awk -v what="$1" -v count="$2" -v seed="$SEED" "${@:3}" -f "$REPO/tests/bats/workload.awk"
}

feed() { redis-cli -p "${FEED[@]}" >>"$TMP/fed"; }

fill() { # [variables of workload.awk]
    work fill 400 "$@" | feed
}

live() { # first count [variables of workload.awk]
    work live "$2" -v first="$1" "${@:3}" | feed
}

live_to_its_end() { # as live
    live "$@"
    touch "$TMP/lived"
}

start_live() { # as live
    rm -f "$TMP/lived"
    background live_to_its_end "$@"
}

lived() { [[ -e $TMP/lived ]]; }

# Some commands have to be refused (a key of another type, and the like): most are not.
most_were_done() {
    [[ $(grep -cE '^(OK|\(integer\)|[0-9"])' "$TMP/fed") -gt 3000 ]] || fail "$(sort "$TMP/fed" | uniq -c | sort -n | tail -5)"
}

# ---- sources: SOURCE, its FEED, and DBS for dfstate ----

single_source() { # [variables of workload.awk for the keys]
    REDIS_SERVER=$SOURCE_SERVER start_redis --repl-diskless-sync-delay 0
    SOURCE=redis://127.0.0.1:$REDIS_PORT FEED=("$REDIS_PORT") DBS='?dbs=0,1'
    fill "$@"
}

# A master (MASTER) and a replica of it (REPLICA), which a sentinel watches.
group_source() {
    REDIS_SERVER=$SOURCE_SERVER start_watched
    wait_until 10 knows_replica
    SOURCE=sentinel://127.0.0.1:$SENTINEL/mine FEED=("$MASTER") DBS='?dbs=0,1' SOURCE_STATE=redis://127.0.0.1:$MASTER
    fill "$@"
}

cluster_source() {
    REDIS_SERVER=$SOURCE_SERVER start_cluster 0
    SOURCE_PORTS=("${CLUSTER_PORTS[@]}")
    PIDS+=("${CLUSTER_PIDS[@]}") # ended with everything else
    CLUSTER_PIDS=()
    SOURCE=redis-cluster://127.0.0.1:${CLUSTER_PORTS[0]} FEED=("${CLUSTER_PORTS[0]}" -c) DBS=''
    fill
}

id_of() { redis-cli -p "$1" cluster myid; }

reshard() { # port of a node, options of redis-cli --cluster reshard
    redis-cli --cluster reshard "127.0.0.1:$1" "${@:2}" --cluster-yes >"$TMP/reshard" 2>&1 || fail "$(tail -3 "$TMP/reshard")"
}

move_slots() { # to slots: between masters of the source
    reshard "${SOURCE_PORTS[0]}" --cluster-from all --cluster-to "$(id_of "${SOURCE_PORTS[$1]}")" --cluster-slots "$2"
}

# ---- targets: TARGET, and TARGET_STATE for dfstate ----

single_target() {
    REDIS_SERVER=$TARGET_SERVER start_redis
    TARGET=redis://127.0.0.1:$REDIS_PORT TARGET_STATE=$TARGET
}

# Its slots are spread in another way than those of a cluster source.
cluster_target() {
    REDIS_SERVER=$TARGET_SERVER start_cluster 0
    local p=("${CLUSTER_PORTS[@]}")
    reshard "${p[0]}" --cluster-from "$(id_of "${p[1]}")" --cluster-to "$(id_of "${p[0]}")" --cluster-slots 500
    TARGET=redis://127.0.0.1:${p[0]} TARGET_STATE=redis-cluster://127.0.0.1:${p[0]}
    OPTIONS=(--position-file "$TMP/positions")
}

# ---- the task ----

start_task() {
    background df2redis -v --restart "${OPTIONS[@]}" replicate "$SOURCE" "$TARGET" 2>"$TMP/task.err"
    TASK=$!
    wait_until 30 phase_is streaming || { tail -20 "$TMP/task.err" >&2; return 1; }
}

# Streams have counters from 7.0 on.
has_counters() { # server
    local text
    text=$("$1" --version)
    [[ $text == *[Vv]alkey* || ($text =~ v=([0-9]+) && ${BASH_REMATCH[1]} -ge 7) ]]
}

states() {
    dfstate dump "${SOURCE_STATE:-$SOURCE}$DBS" >"$TMP/source.jsonl" || return 1
    dfstate dump "$TARGET_STATE$DBS" >"$TMP/target.jsonl" || return 1
    ! has_counters "$SOURCE_SERVER" || ! has_counters "$TARGET_SERVER" || return 0
    local f
    for f in source target; do
        without_counters <"$TMP/$f.jsonl" >"$TMP/$f.new"
        mv "$TMP/$f.new" "$TMP/$f.jsonl"
    done
}

# Up to 6.2 a time to live counts from the arrival of its command, which may be late when the source has failed over.
equal() {
    local slack=5000
    has_counters "$SOURCE_SERVER" || slack=60000
    states && dfstate diff --list 5 --ttl-slack $slack "$TMP/source.jsonl" "$TMP/target.jsonl"
}

finish() {
    wait_until 20 equal || { equal >&2; tail -20 "$TMP/task.err" >&2; return 1; }
    [[ $(wc -l <"$TMP/target.jsonl") -gt 1500 ]] || fail "only $(wc -l <"$TMP/target.jsonl") keys"
    most_were_done
    df2redis stop >/dev/null
    reap 20 "$TASK"
    [[ $status -eq 0 ]] || fail "status $status: $(tail -20 "$TMP/task.err")"
}
