# For suites of files: what a server loads, what our pipeline makes of it, how it decodes.
# shellcheck shell=bash disable=SC2034,SC2154 # variables for the suites, and of bats

files_setup() {
    common_setup
    DATA=${DF2REDIS_DATA:-$REPO/../shared/data}
    SNAPSHOTS=$REPO/tests/fixtures/snapshots
    ALL_DBS=$(seq -s, 0 15)
}

bytes() { # of hex digits on standard input
    printf '%b' "$(tr -d ' |\n' | sed 's/../\\x&/g')"
}

# One of tests/fixtures/rdb as a file; FILE is its path.
fixture() { # name
    FILE=$TMP/$1.rdb
    sed 's/#.*//' "$REPO/tests/fixtures/rdb/$1.hex" | bytes >"$FILE"
}

# A server that has loaded the file, LOADED_PORT; 1 when it refused to.
load_into_server() { # file
    local dir=$TMP/load pid
    rm -rf "$dir"
    mkdir -p "$dir"
    cp "$1" "$dir/dump.rdb"
    chmod u+w "$dir/dump.rdb"
    for _ in 1 2 3 4 5; do
        LOADED_PORT=$(random_port)
        background "${REDIS_SERVER:-redis-server}" --port "$LOADED_PORT" --bind 127.0.0.1 --save '' --dir "$dir" \
            --logfile "$dir/log" >/dev/null 2>&1
        pid=$!
        LOADED_PID=$pid
        for _ in $(seq 200); do
            kill -0 "$pid" 2>/dev/null || break
            # Not PONG: that may be another server's, which has this port.
            redis-cli -p "$LOADED_PORT" info server 2>/dev/null | tr -d '\r' | grep -qx "process_id:$pid" && return 0
            sleep 0.02
        done
        grep -q 'Address already in use' "$dir/log" || return 1
    done
    return 1
}

unload() {
    kill "$LOADED_PID" 2>/dev/null || true
    wait "$LOADED_PID" 2>/dev/null || true
}

# Through the pipeline into the server of start_redis, which is emptied. Statuses in STATUSES.
copy_into_server() { # file [dfparse option…]
    local file=$1
    shift
    rcli flushall >/dev/null
    rcli function flush >/dev/null 2>&1 || true
    timeout 100 dfreader "$file" 2>"$TMP/reader.err" | timeout 100 dfparse -t "$VERSION" "$@" 2>"$TMP/parse.err" |
        timeout 100 rediswriter "redis://127.0.0.1:$REDIS_PORT" 2>"$TMP/writer.err" &&
        STATUSES="${PIPESTATUS[*]}" || STATUSES="${PIPESTATUS[*]}"
}

same_data() {
    run timeout 100 dfstate diff "redis://127.0.0.1:$LOADED_PORT?dbs=$ALL_DBS" "redis://127.0.0.1:$REDIS_PORT?dbs=$ALL_DBS"
    [[ $status -eq 0 ]]
}

functions_of() { redis-cli -p "$1" function list withcode 2>/dev/null | sort; }

# What the stages complained about.
complaints() { grep -h ^level= "$TMP"/*.err || true; }

# The data set as the server loads it and as we do: by RESTORE and by commands. Says what is wrong, and counts.
compare_with_server() { # file
    local name=${1##*/} mode
    load_into_server "$1" || { NOT_LOADED+=("$name"); return 0; }
    for mode in "--restore-limit 64k" "--restore-limit 0"; do
        # shellcheck disable=SC2086
        copy_into_server "$1" $mode
        [[ $STATUSES == "0 0 0" ]] || WRONG+=("$name $mode: statuses $STATUSES: $(complaints)")
        same_data || WRONG+=("$name $mode: $output")
        [[ $(functions_of "$LOADED_PORT") == "$(functions_of "$REDIS_PORT")" ]] || WRONG+=("$name $mode: functions differ")
    done
    unload
    COMPARED=$((COMPARED + 1))
}

compare_all() { # file…
    local file
    WRONG=() NOT_LOADED=() COMPARED=0
    start_redis
    VERSION=$(server_version)
    for file in "$@"; do compare_with_server "$file"; done
    echo "# $VERSION: $COMPARED files loaded and compared, not loaded: ${NOT_LOADED[*]}" >&3
    [[ ${#WRONG[@]} -eq 0 ]] || fail "$(printf '%s\n' "${WRONG[@]}")"
}

# Requests, reports, errors and the end of what dfparse makes of a file, in a form that is easy to write down.
decoded() { # file [dfparse option…]
    local file=$1
    shift
    timeout 100 dfreader "$file" | timeout 100 dfparse --json "$@" 2>"$TMP/parse.err" | sed -n \
        -e 's/.*"type":"request".*"db":\([0-9]*\),.*"args":\(\[.*\]\)}$/\1 \2/p' \
        -e 's/.*"type":"report".*"kind":"\([^"]*\)","key":\(".*"\),"detail".*"lost":"\(.\)".*/report \1 \2 lost=\3/p' \
        -e 's/.*"type":"end".*"status":"\([0-9]*\)".*"n.expired":"\([0-9]*\)".*/end status=\1 expired=\2/p'
    sed -nE 's/.*event=(damaged|not_supported) error="(.*)"$/\2/p' "$TMP/parse.err"
}

# What stands on standard input is what is decoded.
assert_decodes() { # file [dfparse option…]
    cat >"$TMP/expected"
    decoded "$@" >"$TMP/decoded"
    diff -u "$TMP/expected" "$TMP/decoded" >&2 || fail "$1 decodes to something else"
}

need_data() { [[ -d $DATA/$1 ]] || skip "no folder $DATA/$1: set DF2REDIS_DATA"; }
