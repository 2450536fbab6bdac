# Recorded sessions of Redis and Valkey masters, played by the stand-in: for the suites psync_*.bats.
# shellcheck shell=bash disable=SC2034,SC2154 # variables for the suites, and of bats

# Further servers that may be targets, besides redis-server: a source that is newer than all of them has values that
# they do not know.
SERVERS=${DF2REDIS_SERVERS:-}

meta_text() { # capture field
    sed -n "s/^ \"$2\": \"\(.*\)\",\$/\1/p" "$CAPTURES/$1/meta.json"
}

final_offset() { # capture
    sed -n 's/^ "final_offset": \([0-9]*\),$/\1/p' "$CAPTURES/$1/meta.json"
}

# "redis 7.0.15" of a binary.
binary_version() { # server
    local text
    text=$(timeout 10 "$1" --version) || return 1
    [[ $text =~ v=([0-9.]+) ]] || return 1
    if [[ $text == *[Vv]alkey* ]]; then echo "valkey ${BASH_REMATCH[1]}"; else echo "redis ${BASH_REMATCH[1]}"; fi
}

# The first server that is of the source's kind and not older, in REDIS_SERVER; redis-server where there is none, and
# then OLDER_TARGET is set if it lacks anything of the capture.
choose_server() { # capture
    local kind version server have
    read -r kind version <<<"$(meta_text "$1" server)"
    OLDER_TARGET=
    for server in redis-server $SERVERS; do
        have=$(binary_version "$server") || continue
        [[ ${have% *} == "$kind" && $(printf '%s\n' "$version" "${have#* }" | sort -V | head -1) == "$version" ]] || continue
        REDIS_SERVER=$server
        return 0
    done
    REDIS_SERVER=redis-server
    [[ $kind-$version == redis-[67].[0-2]* ]] || OLDER_TARGET=yes
}

# Up to 6.2 a stream has times that count from their arrival: these end so much later now than when they were recorded.
ttl_slack() { # capture
    local recorded
    [[ $(meta_text "$1" version) == 6.* ]] || { echo 1500; return; }
    # The recording's streams have ids of its time.
    recorded=$(zcat "$CAPTURES/$1/expected.jsonl.gz" | grep -o '"[0-9]\{13\}-0"' | tr -d '"' | cut -d- -f1 | sort -n |
        awk -v now="$EPOCHSECONDS" '$1 < now * 1000' | tail -1)
    echo $((EPOCHSECONDS * 1000 - recorded + 60000))
}

# Streams of up to 6.2 have no counters.
recorded_state() { # capture
    if [[ $(meta_text "$1" version) == 6.* ]]; then
        zcat "$CAPTURES/$1/expected.jsonl.gz" | without_counters
    else
        zcat "$CAPTURES/$1/expected.jsonl.gz"
    fi
}

target_state() { # capture URL
    if [[ $(meta_text "$1" version) == 6.* ]]; then dfstate dump "$2" | without_counters; else dfstate dump "$2"; fi
}

# The target holds what the recorded replica held, expiry times of hash fields and vector sets included. Where it is
# older than the source, what it cannot hold may differ, but only keys that match the pattern, and each of them must be
# named in the report.
assert_equals_recorded() { # capture pattern report…
    local capture=$1 pattern=$2 url
    url="redis://127.0.0.1:$REDIS_PORT?dbs=$(meta_text "$1" dbs)"
    shift 2
    recorded_state "$capture" >"$TMP/recorded.jsonl"
    target_state "$capture" "$url" >"$TMP/target.jsonl"
    run dfstate diff --list 100000 --ttl-slack "$(ttl_slack "$capture")" "$TMP/recorded.jsonl" "$TMP/target.jsonl"
    if [[ -z $OLDER_TARGET ]]; then
        [[ $status -eq 0 ]] || fail "$output"
        assert_extra "$capture" "$url"
        return
    fi
    local key
    while read -r key; do
        [[ $key =~ $pattern ]] || fail "$output" || return 1
        grep -qF "$key" "$@" || fail "$key differs, and no report names it" || return 1
    done < <(sed -n 's/^[0-9]* \(.*\): \(missing\|value\|ttl\|type\).*/\1/p' <<<"$output")
}

assert_extra() { # capture URL
    [[ -f $CAPTURES/$1/extra.jsonl.gz ]] || return 0
    zcat "$CAPTURES/$1/extra.jsonl.gz" >"$TMP/extra.recorded"
    dfstate extra "$2" >"$TMP/extra.target"
    diff "$TMP/extra.recorded" "$TMP/extra.target" >"$TMP/extra.diff" || fail "$(cut -c1-300 "$TMP/extra.diff")"
}

# The stand-in plays the capture until the offset is acknowledged; the data set's databases may all be there.
start_psync() { # capture offset [options of the stand-in…]
    local capture=$1 offset=$2
    shift 2
    ACKS=$TMP/acks.$RANDOM
    start_master --capture "$CAPTURES/$capture" --acks "$ACKS" --expect-final-acks "$offset" --timeout 120 "$@"
    SOURCE=redis://127.0.0.1:$MASTER_PORT
}

# The stand-in has what it waited for, and saw nothing that no correct replica does.
master_satisfied() {
    [[ $status -eq 0 ]] && return
    tail -5 "$MASTER_OUT" >&2
    grep -h 'ILLEGAL\|psync session' "$MASTER_OUT.log" | tail -5 >&2
    tail -n 5 "$TMP"/err* >&2
    fail "stand-in: status $status"
}

# A task, run again and again from where it was until the stand-in has ended: what --restart does, without its pauses.
go_on_until_satisfied() { # options of df2redis… -- source target
    local runs=0
    until ended "$MASTER_PID" || [[ $runs -ge 60 ]]; do
        background df2redis --resume --source-reconnect-timeout 0 "$@" 2>>"$TMP/err"
        local task=$!
        wait_until 60 eval "ended $task || ended $MASTER_PID"
        ended "$MASTER_PID" && wait_until 20 ended "$task"
        runs=$((runs + 1))
    done
    reap 1 "$MASTER_PID"
    master_satisfied
}
