# shellcheck shell=bash disable=SC2154 # what tests/peers/run has
# What of one data set of all types arrives: from a file, and from a server whose data are changed afterwards.

dbs=0,3,15

has_functions() { [[ -z ${NO_FUNCTIONS:-} && $(redis-cli -p "$1" function list 2>&1) != *ERR* ]]; }

feed() { # port file…
    local port=$1
    shift
    # Only the replies that are errors; an EXEC or a script does not hide one here.
    ! cat "$@" | redis-cli -p "$port" | grep -aE '^(ERR|WRONGTYPE|NOGROUP|EXECABORT|MOVED|BUSY|OOM)' >&2 ||
        { echo "the data set was refused" >&2; exit 1; }
}

# The order of the functions in a library has no meaning.
functions_of() { redis-cli -p "$1" --raw function list withcode 2>/dev/null | sort; }

fill() { # port
    redis-cli -p "$1" flushall sync >/dev/null
    feed "$1" "$here/data.txt"
    if has_functions "$1"; then
        redis-cli -p "$1" function flush >/dev/null
        feed "$1" "$here/functions.txt"
    fi
    [[ -z ${FIELD_EXPIRY:-} ]] || feed "$1" "$here/fields.txt"
}

empty() { # port
    redis-cli -p "$1" flushall sync >/dev/null
    redis-cli -p "$1" function flush >/dev/null 2>&1 || true
}

# What differs, one line a key. Keys that only the tool itself has there are listed as its own.
compare() { # label
    local n
    dfstate diff --list 1000 "redis://127.0.0.1:$source_port?dbs=$dbs" "redis://127.0.0.1:$target_port?dbs=$dbs" >"$work/diff" || true
    n=$(grep -c ': missing in A' "$work/diff" || true)
    echo "$1: $(tail -1 "$work/diff")"
    sed '$d' "$work/diff" | grep -v 'have no counterpart' | cut -c 1-200 | sed 's/^/    /' || true
    [[ $(dfstate extra "redis://127.0.0.1:$source_port?dbs=$dbs") == "$(dfstate extra "redis://127.0.0.1:$target_port?dbs=$dbs")" ]] ||
        echo "    expiry times of hash fields differ"
    if has_functions "$source_port"; then
        [[ $(functions_of "$source_port") == "$(functions_of "$target_port")" ]] || echo "    functions differ"
    fi
    [[ $n -eq 0 ]] || echo "    ($n keys are at the target only)"
}

snapshot_there() { [[ $(keys_at "$target_port") -ge $expected ]]; }

# Succeeds when the last change is at the target: the snapshot, then the changes, then a mark.
changed=
changes_there() {
    if [[ -z $changed ]]; then
        snapshot_there || return 1
        sleep 2 # some tools have written the last key before they read on
        feed "$source_port" "$here/changes.txt"
        ! has_functions "$source_port" || feed "$source_port" "$here/functions-changes.txt"
        redis-cli -p "$source_port" set mark 1 >/dev/null
        changed=1
        since=$(now)
    fi
    # Without the mark a comparison says what is missing as well.
    [[ $(redis-cli -p "$target_port" get mark) == 1 ]] || [[ $(now) -gt $((since + 15000000)) ]]
}

# A replica of the server's own kind shows what its replication can carry over at all.
live_replica() {
    # shellcheck disable=SC2016 # for the inner shell
    command=(bash -c 'redis-cli -p "$1" replicaof 127.0.0.1 "$0" && exec sleep "$2"' "$1" "$2" "$LIMIT")
}

content() { # file|live tool…
    local how=$1 tool
    shift
    for tool in "$@"; do
        declare -F "${how}_$tool" >/dev/null || continue
        fill "$source_port"
        empty "$target_port"
        expected=$(keys_at "$source_port")
        new_dir
        if [[ $how == file ]]; then
            redis-cli -p "$source_port" save >/dev/null
            cp "$source_dir/dump.rdb" "$work/content.rdb"
            "file_$tool" "$work/content.rdb" "$target_port"
            measure - "${command[@]}"
        else
            changed=
            "live_$tool" "$source_port" "$target_port"
            measure changes_there "${command[@]}"
        fi
        redis-cli -p "$target_port" replicaof no one >/dev/null 2>&1 || true
        compare "$how, ${label[$tool]} (status $status)"
        [[ -z ${KEEP:-} ]] || cp "$dir/out" "$KEEP/$how.$tool.out"
    done
}
