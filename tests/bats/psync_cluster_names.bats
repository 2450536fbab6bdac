#!/usr/bin/env bats
# A cluster as the source whose keys have other names, or databases, at the target; one process per flow. df2redis(7), A
# cluster as the source.

load helper
load resharding
load psyncing

setup() { common_setup; }

teardown() {
    [[ -z ${CLUSTER_PIDS-} ]] || stop_cluster
    common_teardown
}

# Those of strings change their slots, as they get a hash tag of their own.
RENAMES=(--rename-prefix 'a:=s{a}:' --rename-prefix n:=number: --rename-prefix 'l:=l:')

renamed_equal() { df2redis-check --rounds 0 "${RENAMES[@]}" "$SOURCE" "$TARGET" >"$TMP/check.log" 2>&1; }

assert_renamed_equal() {
    wait_until 30 renamed_equal || { cat "$TMP/check.log" >&2; grep -v level=info "$TMP/task.err" | tail >&2; return 1; }
    wait_until 10 settled
    grep -q '^[1-9][0-9]* keys in the source' "$TMP/check.log"
}

# Of keys that are to move, while the writer begins again.
delete_some() {
    local k
    for k in 0 1 2; do
        redis-cli -p "${CLUSTER_PORTS[k]}" --scan --pattern '[alnh]:*7' |
            xargs -r -n1 redis-cli -p "${CLUSTER_PORTS[k]}" del >/dev/null
    done
}

moves_with_names() { # options
    start_task "${RENAMES[@]}" "$@"
    [[ $# -eq 0 ]] || wait_until 10 grep -qx whole=1 "$TMP/positions"
    start_changes 10
    reshard "${CLUSTER_PORTS[0]}" 60
    kill -9 "$(stage rediswriter)"
    delete_some
    reshard "${CLUSTER_PORTS[1]}" 60
    wait_until 60 changed
    assert_renamed_equal
    grep -q 'event=slots_taken.*target=1' "$TMP/task.err"
    never said event=not_carried_over
    stop_task
}

@test "renamed keys: slots move under writes, the writer is killed; nothing is lost, doubled or left behind" {
    start_pair 0
    export TMP
    moves_with_names
}

@test "the same into another cluster, whose slots are others, with one process per flow" {
    start_pair 0
    export TMP
    local source_ports=("${CLUSTER_PORTS[@]}") source_pids=("${CLUSTER_PIDS[@]}")
    start_cluster 0
    TARGET=redis-cluster://127.0.0.1:${CLUSTER_PORTS[0]}
    PIDS+=("${CLUSTER_PIDS[@]}") # ended with everything else
    CLUSTER_PORTS=("${source_ports[@]}") CLUSTER_PIDS=("${source_pids[@]}")
    PROCESSES='' moves_with_names --position-file "$TMP/positions"
}

@test "one process per flow: slots move under writes; a reader, a parser and the session are killed" {
    start_pair 0
    export TMP PROCESSES=
    start_task
    # The session knows the masters of flows that it does not read (df2redis-cutover(1) needs that).
    wait_until 10 eval '[[ $(df2redis status | grep -c "^flow .* replid=[0-9a-f]\{40\}") -eq 3 ]]'
    start_changes 12
    local k n=0
    for k in dfreader-0 dfparse-1 dfreader-session; do
        reshard "${CLUSTER_PORTS[n]}" 60
        kill -9 "$(stage "$k")"
        wait_until 30 shows "restarts=$((++n)) .*phase=stable"
    done
    wait_until 60 changed
    assert_equal
    [[ $(times_said event=slots_taken) -ge 3 ]]
    never said mode=FULL.*epoch=2
    stop_task
}

@test "two names of the source that become one: one of them counts, the other is reported" {
    start_pair 0
    redis-cli -c -p "${CLUSTER_PORTS[0]}" set b:x other >/dev/null
    background df2redis -v --rename-prefix a:=b: --exclude 'h:*' replicate "$SOURCE" "$TARGET" 2>"$TMP/task.err"
    TASK=$!
    wait_until 20 phase_is streaming
    redis-cli -c -p "${CLUSTER_PORTS[0]}" set a:x one >/dev/null
    redis-cli -c -p "${CLUSTER_PORTS[0]}" append b:x more >/dev/null
    wait_until 10 eval '[[ $(redis-cli -p "$REDIS_PORT" get b:x) == one ]]'
    wait_until 10 eval '[[ $(times_said "event=not_carried_over kind=renamed-alike") == 2 ]]'
    stop_task 3
}

# The first server with several databases in a cluster.
several_databases() {
    local server
    for server in $SERVERS; do
        [[ $("$server" --version) == *[Vv]alkey* && $("$server" --version) =~ v=([0-9]+) && ${BASH_REMATCH[1]} -ge 9 ]] || continue
        REDIS_SERVER=$server
        return
    done
    skip "no Valkey from 9 on is here (DF2REDIS_SERVERS)"
}

in_databases() { # changes: number
    local db
    for db in 0 2 3; do changes "$1" | redis-cli -c -p "${CLUSTER_PORTS[0]}" -n "$db" >/dev/null; done
}

# As a whole: redis-cli moves keys of database 0 only.
move_slots() { # from to first-last
    redis-cli -p "$1" cluster migrateslots slotsrange "${3%-*}" "${3#*-}" node "$(id_of "$2")" >/dev/null
    wait_until 20 owns "$2" "$3"
}

owns() { [[ $(redis-cli -p "$1" cluster nodes | grep myself) == *" $2"* ]]; }

# Lines "db key digest" of a server, without our own keys.
contents() { # port
    local db
    for db in 0 2 3; do
        redis-cli -p "$1" -n "$db" --scan | grep -v '^df2redis:{' >"$TMP/keys" || continue
        xargs redis-cli -p "$1" -n "$db" debug digest-value <"$TMP/keys" | paste "$TMP/keys" - | sed "s/^/$db /"
    done
}

databases_equal() {
    local p
    for p in "${CLUSTER_PORTS[@]}"; do contents "$p"; done | sort >"$TMP/source.txt"
    contents "$REDIS_PORT" | sort >"$TMP/target.txt"
    cmp "$TMP/source.txt" "$TMP/target.txt" >"$TMP/check.log" 2>&1
}

@test "several databases: slots move, a stage is killed, keys were deleted meanwhile" {
    several_databases
    TARGET_OPTIONS=(--enable-debug-command yes)
    start_pair 0 --cluster-databases 4 --enable-debug-command yes
    in_databases 1
    start_task
    wait_until 20 databases_equal
    move_slots "${CLUSTER_PORTS[0]}" "${CLUSTER_PORTS[1]}" 0-400
    in_databases 2
    kill -9 "$(stage rediswriter)"
    redis-cli -c -p "${CLUSTER_PORTS[0]}" -n 3 --scan --pattern 'l:*' | head -40 |
        xargs -r -n1 redis-cli -c -p "${CLUSTER_PORTS[0]}" -n 3 del >/dev/null
    move_slots "${CLUSTER_PORTS[1]}" "${CLUSTER_PORTS[2]}" 0-400
    in_databases 3
    wait_until 30 databases_equal || { cat "$TMP/check.log" >&2; false; }
    [[ $(grep -c '^3 ' "$TMP/source.txt") -gt 100 && $(grep -c '^2 ' "$TMP/source.txt") -gt 100 ]]
    wait_until 10 settled
    stop_task
}
