# Helpers of all suites: private servers on free loopback ports, waiting, comparing. Everything that was started is
# ended in teardown.
# shellcheck shell=bash disable=SC2034,SC2154 # variables for the suites, and of bats

REPO=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
BUILD=${DF2REDIS_BUILD:-$REPO/build}
PATH=$BUILD/bin:$BUILD/libexec/df2redis:$PATH # the helpers of df2redis, too
CAPTURES=$REPO/tests/fixtures/captures
export LC_ALL=C.UTF-8
unset DF2REDIS_SOURCE_PASSWORD DF2REDIS_TARGET_PASSWORD

# How many times longer than it should something may take before it is taken to hang: limits are for what hangs, not for
# how busy this machine is. What has to be quick is measured by the test.
PATIENCE=${DF2REDIS_PATIENCE:-5}

# A snapshot without keys: its magic, the cut, the first LSN, the end with the flow's token.
TOKEN=0123456789abcdef0123456789abcdef01234567
EMPTY="524544495330303039 c80000000000000000 d30100000000000000 ff0000000000000000 \
    $(printf %s $TOKEN | od -An -v -tx1 | tr -d ' \n')"

PIDS=()

common_setup() {
    TMP=$BATS_TEST_TMPDIR
    export TMPDIR=$TMP XDG_RUNTIME_DIR=$TMP/run
    mkdir -p "$XDG_RUNTIME_DIR"
    PIDS=()
}

common_teardown() {
    local pid
    for pid in "${PIDS[@]}"; do kill -CONT "$pid" 2>/dev/null; kill "$pid" 2>/dev/null; done
    for pid in "${PIDS[@]}"; do
        for _ in $(seq 50); do kill -0 "$pid" 2>/dev/null || break; sleep 0.05; done
        kill -KILL "$pid" 2>/dev/null
    done
    wait 2>/dev/null
    return 0
}

# Descriptor 3 is bats' own: children that outlive a command must not hold it.
background() { # command…: its pid in $!
    "$@" 3>&- &
    PIDS+=($!)
}

fail() {
    printf '%s\n' "$*" >&2
    return 1
}

wait_until() { # seconds that it should take at most, command…
    local end=$((SECONDS + 1 + $1 * PATIENCE))
    shift
    until "$@" >/dev/null 2>&1; do
        [[ $SECONDS -lt $end ]] || fail "not within time: $*" || return 1
        sleep 0.05
    done
}

# The command fails. Without this "! command" is passed over, unless it is the last one of a test.
never() { ! "$@" || fail "should not be: $*"; }

# Neither ports that clusters use (start_cluster), nor those that the kernel gives to connections: a server that is
# started anew must find its port free.
random_port() {
    local n=$(((RANDOM * 32768 + RANDOM) % 14200))
    echo $((n < 6600 ? 15200 + n : 25100 + n - 6600))
}

# This process listens on that port of 127.0.0.1, and not another one.
listens() { # pid port
    local inode
    inode=$(awk -v port="$(printf %04X "$2")" 'substr($2, 10) == port && $4 == "0A" { print $10 }' /proc/net/tcp)
    [[ -n $inode ]] && find "/proc/$1/fd" -lname "socket:[[]$inode]" 2>/dev/null | grep -q .
}

# A private server, of the binary in REDIS_SERVER or redis-server; REDIS_PORT and REDIS_PID are set. Arguments: further
# options.
start_redis() {
    local dir
    for _ in 1 2 3 4 5 6 7 8; do
        REDIS_PORT=$(random_port)
        dir=$TMP/redis.$REDIS_PORT
        mkdir -p "$dir"
        background "${REDIS_SERVER:-redis-server}" --port "$REDIS_PORT" --bind 127.0.0.1 --save '' --dir "$dir" \
            --logfile "$dir/log" "$@"
        REDIS_PID=$!
        for _ in $(seq 100); do
            kill -0 "$REDIS_PID" 2>/dev/null || break
            redis-cli -p "$REDIS_PORT" "${REDIS_AUTH[@]}" info server 2>/dev/null | tr -d '\r' |
                grep -qx "process_id:$REDIS_PID" && return 0
            sleep 0.05
        done
    done
    fail "no redis-server came up"
}

# A build with sanitizers, which has a use for memory of its own.
sanitized() { grep -q __asan_init "$BUILD/bin/rediswriter"; }

# A cluster of three masters, each with so many replicas; CLUSTER_PORTS, the masters first, and CLUSTER_URL are set.
start_cluster() { # replicas [server options…]
    local replicas=$1 base i dir
    shift
    for _ in 1 2 3 4 5; do
        base=$((12000 + RANDOM % 3000)) # the bus takes the port 10000 above
        CLUSTER_PORTS=()
        for ((i = 0; i < 3 * (1 + replicas); i++)); do CLUSTER_PORTS+=($((base + i))); done
        CLUSTER_PIDS=()
        for i in "${CLUSTER_PORTS[@]}"; do
            dir=${BATS_FILE_TMPDIR:-$TMP}/cluster.$i
            rm -rf "$dir"
            mkdir -p "$dir"
            start_cluster_node "$i" "$dir" "$@"
        done
        if wait_until 5 cluster_answers_or_died 2>/dev/null && cluster_answers && make_cluster "$replicas"; then
            CLUSTER_URL=redis://127.0.0.1:$base
            return 0
        fi
        stop_cluster
    done
    fail "no cluster came up"
}

start_cluster_node() { # port folder [options…]
    local port=$1 dir=$2
    shift 2
    "${REDIS_SERVER:-redis-server}" --port "$port" --bind 127.0.0.1 --cluster-enabled yes --cluster-node-timeout 5000 \
        --save '' --dir "$dir" --logfile "$dir/log" --repl-diskless-sync-delay 0 "$@" >/dev/null 2>&1 3>&- &
    CLUSTER_PIDS+=($!)
}

# Our nodes, not others that have one of these ports.
cluster_answers() {
    local i
    for i in "${!CLUSTER_PORTS[@]}"; do
        redis-cli -p "${CLUSTER_PORTS[i]}" info server 2>/dev/null | tr -d '\r' | grep -qx "process_id:${CLUSTER_PIDS[i]}" ||
            return 1
    done
}

cluster_answers_or_died() {
    local pid
    for pid in "${CLUSTER_PIDS[@]}"; do ! ended "$pid" || return 0; done
    cluster_answers
}

make_cluster() { # replicas
    local p
    redis-cli --cluster create "${CLUSTER_PORTS[@]/#/127.0.0.1:}" --cluster-replicas "$1" --cluster-yes \
        >"${BATS_FILE_TMPDIR:-$TMP}/create.log" 2>&1 || return 1
    for p in "${CLUSTER_PORTS[@]}"; do wait_until 20 cluster_sees_all "$p" || return 1; done
    for p in "${CLUSTER_PORTS[@]:3}"; do wait_until 20 replica_follows "$p" || return 1; done
}

cluster_sees_all() { # port
    redis-cli -p "$1" cluster info | grep -q cluster_state:ok &&
        [[ $(redis-cli -p "$1" cluster slots | grep -c .) -ge $((${#CLUSTER_PORTS[@]} * 3)) ]]
}

replica_follows() { # port
    redis-cli -p "$1" info replication | tr -d '\r' | grep -qx master_link_status:up
}

cluster_node_timeout() { # milliseconds; by default so short that what stands still is noticed quickly
    local p
    for p in "${CLUSTER_PORTS[@]}"; do redis-cli -p "$p" config set cluster-node-timeout "${1:-1500}" >/dev/null; done
}

stop_cluster() {
    # One that never came up is gone already: bats must not take that for a failure of the test.
    kill -CONT "${CLUSTER_PIDS[@]}" 2>/dev/null || true
    kill -KILL "${CLUSTER_PIDS[@]}" 2>/dev/null || true
    wait "${CLUSTER_PIDS[@]}" 2>/dev/null || true
}

cluster_flush() {
    local p
    for p in "${CLUSTER_PORTS[@]}"; do redis-cli -p "$p" flushall >/dev/null 2>&1 || true; done
}

# One cluster for all tests of a file: one_cluster in setup_file, the_cluster in setup, end_one_cluster in teardown_file.
one_cluster() { # replicas
    export BATS_NO_PARALLELIZE_WITHIN_FILE=true
    start_cluster "$1"
    echo "${CLUSTER_PORTS[*]}" >"$BATS_FILE_TMPDIR/ports"
    echo "${CLUSTER_PIDS[*]}" >"$BATS_FILE_TMPDIR/pids"
}

the_cluster() {
    read -ra CLUSTER_PORTS <"$BATS_FILE_TMPDIR/ports"
    read -ra CLUSTER_PIDS <"$BATS_FILE_TMPDIR/pids"
    CLUSTER_URL=redis://127.0.0.1:${CLUSTER_PORTS[0]}
    cluster_flush
}

end_one_cluster() {
    read -ra CLUSTER_PIDS <"$BATS_FILE_TMPDIR/pids"
    stop_cluster
}

rcli() { redis-cli -p "$REDIS_PORT" "$@"; }

# What that server is, as dfparse -t takes it: redis:7.0.15, valkey:8.0.1.
server_version() {
    local version
    version=$(rcli info server | tr -d '\r' | awk -F: '{ v[$1] = $2 }
        END { print v["server_name"] == "valkey" ? "valkey:" v["valkey_version"] : "redis:" v["redis_version"] }')
    # Builds between releases: their DUMPs say which release they are nearest to.
    [[ $version != redis:255.* ]] || version=redis:$(development_version)
    echo "$version"
}

development_version() {
    local rdb
    rcli set df2redis:version x >/dev/null
    rdb=$(rcli --raw dump df2redis:version | head -c -1 | tail -c 10 | od -An -tu1 -N1 | tr -d ' ')
    rcli del df2redis:version >/dev/null
    case $rdb in
    13) echo 8.6 ;;
    14) echo 8.8 ;;
    15) echo 8.10 ;;
    *) echo 8.0 ;;
    esac
}

# The server is at least of this version of Redis' numbering, which Valkey continues from 7.2 on.
server_has() { # major.minor
    [[ $(printf '%s\n' "$1" "$(server_version | cut -d: -f2)" | sort -V | head -1) == "$1" ]]
}

# A stand-in master; MASTER_PORT and MASTER_PID are set. Arguments: its options.
start_master() {
    MASTER_OUT=$TMP/standin.$RANDOM
    background standin --log "$MASTER_OUT.log" "$@" >"$MASTER_OUT"
    MASTER_PID=$!
    wait_until 10 grep -q ^ready "$MASTER_OUT" || { cat "$MASTER_OUT" "$MASTER_OUT.log" >&2; return 1; }
    MASTER_PORT=$(sed -n 's/^port=//p' "$MASTER_OUT")
}

# A relay to a port of this machine that makes each way so many microseconds longer; FAR_PORT is set.
far_from() { # port microseconds
    local out=$TMP/delay.$RANDOM
    background delay "$1" "$2" >"$out"
    wait_until 5 grep -q port= "$out" || return 1
    FAR_PORT=$(sed -n 's/^port=//p' "$out")
}

meta() { # capture name: its databases, or its final LSNs, comma-separated
    case $2 in
    dbs) sed -n 's/.*"dbs": "\(.*\)".*/\1/p' "$CAPTURES/$1/meta.json" ;;
    lsns) tr -d ' \n' <"$CAPTURES/$1/meta.json" | sed 's/.*"final_lsn_per_flow":\[\([0-9,]*\)\].*/\1/' ;;
    esac
}

# The target must hold the capture's data set, except for what Redis has no type for.
assert_equals_capture() {
    assert_target_holds "$CAPTURES/$1/expected.jsonl.gz" "$(meta "$1" dbs)"
}

# The same of any recorded data set. Before 7.0 streams had no counters: then these are left out on both sides; before
# 5.0 there are no streams.
assert_target_holds() { # recorded databases
    assert_holds "$1" "redis://127.0.0.1:$REDIS_PORT?dbs=$2"
}

assert_holds() { # recorded URL; REDIS_PORT is one of its servers
    if server_has 7.0; then
        run dfstate diff --redis-target "$1" "$2"
    else
        zcat "$1" | without_counters | { if server_has 5.0; then cat; else grep -v '"type": "stream"'; fi; } >"$TMP/recorded.jsonl"
        dfstate dump "$2" | without_counters >"$TMP/target.jsonl"
        run dfstate diff --redis-target "$TMP/recorded.jsonl" "$TMP/target.jsonl"
    fi
    [[ $status -eq 0 ]] || fail "$output"
}

without_counters() {
    sed -E -e '/"type": "stream"/!b' -e 's/"added": (null|[0-9]+), /"added": null, /; s/"maxdel": (null|"[0-9-]+")/"maxdel": null/' \
        -e 's/"read": (null|[0-9]+)\}/"read": null}/g'
}

assert_same() { # two dfstate sources
    run dfstate diff "$1" "$2"
    [[ $status -eq 0 ]] || fail "$output"
}

assert_status() { [[ $status -eq $1 ]] || fail "status $status, expected $1: $output"; }

assert_output_has() { [[ $output == *"$1"* ]] || fail "no '$1' in: $output"; }

# ---- a task of df2redis ----

# shellcheck disable=SC2120 # the suites give it a name
RUN() { echo "$XDG_RUNTIME_DIR/df2redis/${1:-default}"; }
phase_is() { df2redis status --json "${@:2}" | grep -q "\"phase\":\"$1\""; }
json() { df2redis status --json "${@:2}" | sed -n "s/.*\"$1\":\([^,}]*\).*/\1/p"; }
# shellcheck disable=SC2119
stage() { cat "$(RUN)/$1.pid"; }
shows() { # pattern, in one line of its status
    df2redis status | tr '\n' ' ' | grep -Eq "$1"
}

ended() { ! kill -0 "$1" 2>/dev/null; }

# Wait for a background child of ours; its status in $status.
reap() { # seconds pid
    wait_until "$1" ended "$2" || return 1
    status=0
    wait "$2" || status=$?
}

# Record a capture into $RAW as a user would: until everything has arrived, then stop. The recorded bytes come from a stand-in.
record() { # capture
    start_master --capture "$CAPTURES/$1"
    background df2redis record "dragonfly://127.0.0.1:$MASTER_PORT" "$RAW" 2>"$TMP/record.err"
    local pid=$!
    wait_until 20 all_arrived "$1"
    df2redis stop
    reap 10 "$pid"
    [[ $status -eq 0 ]] || { cat "$TMP/record.err" >&2; fail "record: status $status"; }
    kill "$MASTER_PID"
}

# All bytes of all flows have been read by the dfreader of the session.
all_arrived() { # capture
    local want got
    want=$(cat "$CAPTURES/$1"/wire/0[1-9].s2c | wc -c)
    got=$(df2redis status | sed -n 's/^session .* bytes=\([0-9]*\) .*/\1/p')
    # Each flow's recording begins with the reply to DFLY FLOW, 54 bytes, which is no payload.
    local flows
    flows=$(find "$CAPTURES/$1"/wire -name '0[1-9].s2c' | wc -l)
    [[ -n $got && $got -eq $((want - 54 * flows)) ]]
}

# Is the process this program, and has it a handler for SIGTERM yet?
takes_term() { # pid program
    local caught
    [[ $(<"/proc/$1/comm") == "$2" ]] || return 1
    caught=$(awk '$1 == "SigCgt:" { print $2 }' "/proc/$1/status") && [[ $((0x$caught >> 14 & 1)) -eq 1 ]]
}
