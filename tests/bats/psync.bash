# For suites with a Redis or Valkey server as the source.
# shellcheck shell=bash disable=SC2034,SC2154 # variables for the suites and of bats

# A server to read from: SOURCE is its port, SOURCE_PID. Without a delay before a diskless transfer.
# Its backlog holds what is written while a task is started again, however fast the machine is.
start_source() { # options
    start_redis --repl-diskless-sync-delay 0 --repl-backlog-size 256mb "$@"
    SOURCE=$REDIS_PORT SOURCE_PID=$REDIS_PID
}

start_target() { # options
    start_redis "$@"
    TARGET=$REDIS_PORT TARGET_PID=$REDIS_PID
}

# Of a suite in which writers run until $TMP/enough is there, and that may have a cluster.
CLUSTER_PIDS=()
psync_teardown() {
    touch "$TMP/enough"
    [[ ${#CLUSTER_PIDS[@]} -eq 0 ]] || stop_cluster
    common_teardown
}

# A task that is in its stable sync; TASK is its process.
start_task() { # arguments of df2redis
    background df2redis -v "$@" 2>>"$TMP/task.err"
    TASK=$!
    wait_until 15 phase_is streaming || { cat "$TMP/task.err" >&2; return 1; }
}

scli() { redis-cli -p "$SOURCE" "$@"; }
tcli() { redis-cli -p "$TARGET" "$@"; }

# A dfreader of it with a control socket at $SOCK, stream in $RAW. Sets READER and NONCE.
read_source() { # options
    rm -f "$SOCK" "$RAW"
    background dfreader -v --control "$SOCK" "$@" "${SOURCE_URL:-redis://127.0.0.1:$SOURCE}" >"$RAW" 2>"$TMP/reader.err"
    READER=$!
    wait_until 5 grep -qa 'nonce=' "$RAW" || { cat "$TMP/reader.err" >&2; return 1; }
    NONCE=$(session_value nonce)
}

# A value in the newest record of a kind.
value_of() { probe records "$RAW" | grep "^$1 " | tail -1 | sed -n "s/^\(.* \)*$2=\([^ ]*\).*/\2/p"; }

# INFO of the source.
info() { scli info "$1" | tr -d '\r' | sed -n "s/^$2://p"; }
offset() { info replication master_repl_offset; }

# What the source has been acknowledged, "": nobody follows it.
acknowledged() { info replication slave0 | sed -n 's/.*offset=\([0-9]*\).*/\1/p'; }
acknowledged_is() { [[ $(acknowledged) == "$1" ]]; }

# The stream behind the file, from the first byte that the master counts.
commands() { # bytes of the file, token included
    probe data "$RAW" 0 | tail -c "+$(($1 + 1))"
}

file_bytes() { sed -n 's/.*event=file_received bytes=\([0-9]*\).*/\1/p' "$TMP/reader.err"; }
file_received() { grep -q event=file_received "$TMP/reader.err"; }

# The stream in RAW contains this.
streamed() { probe data "$RAW" 0 | grep -qaF -- "$1"; }

position() { echo $((($1 + 1) * 256 + $2)); } # offset database

# As a parser: the file was parsed.
to_stable() {
    wait_until 5 status_has phase=fullsync
    { echo "cut flow=0 epoch=1"; echo "synced flow=0 epoch=1"; wait_until 5 status_has phase=stable; echo quit; } |
        probe talk "$SOCK" "role=parser nonce=$NONCE" >/dev/null
}
