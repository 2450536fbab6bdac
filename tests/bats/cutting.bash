# Tasks whose clients are moved by df2redis cutover: for the suites cutover*.bats.
# shellcheck shell=bash disable=SC2034,SC2154 # variables for the suites, and of bats

RATE=20000

start_dragonfly() {
    local dir
    SOURCE=$(random_port)
    dir=$TMP/dragonfly.$SOURCE
    mkdir -p "$dir"
    background "$DF2REDIS_DRAGONFLY" --port="$SOURCE" --bind=127.0.0.1 --proactor_threads=2 --dbfilename= --dir="$dir" \
        --logtostderr --version_check=false --maxmemory=1gb >"$dir/log" 2>&1
    wait_until 10 redis-cli -p "$SOURCE" ping
}

start_target() {
    start_redis --repl-diskless-sync-delay 0
    TARGET=$REDIS_PORT
}

start_source() { # options…
    start_redis --repl-diskless-sync-delay 0 "$@"
    SOURCE=$REDIS_PORT
}

start_task() { # source [options…]
    background df2redis "${@:2}" replicate "$1" "redis://127.0.0.1:$TARGET" 2>>"$TMP/task.err"
    TASK=$!
    wait_until 15 shows 'phase=streaming .*health=ok' || fail "$(df2redis status): $(cat "$TMP/task.err")"
}

pair() { # options of the source…
    start_source "$@"
    start_target
    start_task "redis://127.0.0.1:$SOURCE"
}

start_writer() { # source ports, comma-separated [rate]
    rm -f "$TMP/acked"
    background acked --rate "${2:-$RATE}" --file "$TMP/acked" "$1" "$TARGET"
    WRITER=$!
    wait_until 10 grep -q ready "$TMP/acked"
}

# Stop it: nothing that was acknowledged is missing at the target.
end_writer() {
    kill -USR2 "$WRITER"
    reap 20 "$WRITER"
    [[ $status -eq 0 ]] || fail "$(tail -n 1 "$TMP/acked")"
}

cutover() { # options…
    run df2redis cutover "$@"
    printf '%s\n' "$output" >>"$TMP/cutover.err"
}

# The pause as it says it was, from its beginning until the clients were told.
paused_ms() { sed -n 's/.*event=move_the_clients_now paused_ms=\([0-9]*\).*/\1/p' <<<"$output"; }

# A key that the server has, also where it is a master of a cluster.
own_key() { # port
    local i
    for i in {0..99}; do
        [[ $(redis-cli -p "$1" exists "cutover:$i") == MOVED* ]] || { echo "cutover:$i"; return; }
    done
    fail "$1 has no keys"
}

writable() { # port [ms]: soon
    local began took key
    key=$(own_key "$1")
    began=$EPOCHREALTIME
    [[ $(timeout 20 redis-cli -p "$1" set "$key" 1) == OK ]] || fail "the source does not answer"
    took=$(((${EPOCHREALTIME/./} - ${began/./}) / 1000))
    [[ $took -le ${2:-$((200 * PATIENCE))} ]] || fail "not writable for $took ms"
}

equal() { df2redis-check -q --rounds 1 --delay 100 "$1" "redis://127.0.0.1:$TARGET"; }

begin_cutover() { # options…
    : >"$TMP/said.err"
    background df2redis cutover "$@" </dev/null 2>"$TMP/said.err"
    CUTOVER=$!
}

# As soon as it has said so.
await_step() { # event
    local end=$((SECONDS + 20 * PATIENCE))
    until grep -q "event=$1" "$TMP/said.err"; do
        ended "$CUTOVER" && fail "ended before $1: $(cat "$TMP/said.err")" && return 1
        [[ $SECONDS -lt $end ]] || fail "no $1" || return 1
    done
}

holder() { pgrep -P "$CUTOVER" -x dfhold; }
