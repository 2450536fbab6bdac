#!/usr/bin/env bats
# Append-only files and RDB files of many servers, with what they held: DF2REDIS_DATA is the folder. A file of a server
# that is none of DF2REDIS_SERVERS goes to redis-server, and what that cannot hold has to be named.
# shellcheck disable=SC2034,SC2153 # expanded where it is used; variables of the helpers

load helper
load loading
load psyncing
load aofs

setup() {
    aof_setup
    need_data aof
    need_parts
}
teardown() { common_teardown; }

# A recorded data set as dfstate compares it. counters: 0, streams lose what they have none of up to 6.2.
expected() { # file.jsonl.gz counters
    zcat "$1" | perl -MJSON::PP -ne 'BEGIN { $counters = shift; $j = JSON::PP->new->canonical->ascii }
        $r = $j->decode($_);
        $v = $r->{value};
        if (!$counters && $r->{type} eq "stream") {
            $v->{$_} = undef for qw(added maxdel);
            $_->{read} = undef for @{$v->{groups}};
        }
        print $j->encode({map { $_ => $r->{$_} } qw(db key ttl type value)}), "\n"' "$2"
}

# The target holds what the file says; keys that match the pattern may differ where the target is older, if the messages
# name them.
equal() { # what expected.jsonl.gz
    local counters=1 strip=cat
    [[ $1 != single-6.2* && $OLDER_TARGET != 6.* ]] || counters=0 strip=without_counters
    expected "$2" $counters >"$TMP/expected.jsonl"
    dfstate dump "redis://127.0.0.1:$REDIS_PORT?dbs=$ALL_DBS" | $strip >"$TMP/target.jsonl"
    run dfstate diff --list 100000 --ttl-slack 1500 "$TMP/expected.jsonl" "$TMP/target.jsonl"
    [[ $status -eq 0 ]] && return
    [[ -n $OLDER_TARGET ]] || fail "$1: $output" || return 1
    local key
    while read -r key; do
        grep -qF "$key" "$TMP/report" || fail "$1: $key differs, and no report names it: $output" || return 1
    done < <(sed -n 's/^[0-9]* \(.*\): \(missing\|value\|ttl\|type\).*/\1/p' <<<"$output")
}

server_for() { # folder
    CAPTURES=${1%/*}
    choose_server "${1##*/}"
    start_redis
}

replay_reported() { # dfreader's arguments…
    rm -f "$TMP/report"
    rcli flushall >/dev/null
    rcli function flush >/dev/null 2>&1 || true
    timeout 100 dfreader "$@" 2>"$TMP/err" | timeout 100 dfparse --report "$TMP/report" 2>>"$TMP/err" |
        timeout 100 rediswriter -q "redis://127.0.0.1:$REDIS_PORT" 2>>"$TMP/err" &&
        STATUSES="${PIPESTATUS[*]}" || STATUSES="${PIPESTATUS[*]}"
    STATUS=${STATUSES##* }
    [[ $STATUS -eq 0 || (-n $OLDER_TARGET && $STATUS -eq 3) ]] || fail "$*: $STATUSES $(cat "$TMP/err")"
}

@test "the files of every server, and at its moments" {
    local dir name time n=0
    for dir in "$AOFS"/*/; do
        dir=${dir%/}
        [[ -f $dir/meta.json && ${dir##*/} != damaged ]] || continue
        server_for "$dir"
        replay_reported "$dir/$(meta_text "${dir##*/}" aof)"
        equal "${dir##*/}" "$dir/expected.jsonl.gz"
        while read -r name time; do
            replay_reported --until-time "$time" "$dir/$(meta_text "${dir##*/}" aof)"
            equal "${dir##*/} at $name" "$dir/expected-at-$name.jsonl.gz"
        done < <(tr -d '\n' <"$dir/meta.json" | grep -oE '"name": "T[0-9]+",[^}]*"unixtime": [0-9]+' |
            sed 's/"name": "\([^"]*\)".* \([0-9]*\)$/\1 \2/')
        kill "$REDIS_PID"
        n=$((n + 1))
    done
    echo "# $n folders" >&3
    [[ $n -gt 0 ]]
}

@test "the damaged ones: the same are taken, with the same data, and the same refused" {
    server_for "$AOFS/multipart-7.0"
    local dir name mode loads n=0
    for dir in "$AOFS"/damaged/*/; do
        dir=${dir%/}
        name=${dir##*/}
        for mode in yes no; do
            loads=$(perl -MJSON::PP -e 'local $/; print decode_json(<STDIN>)->{"aof-load-truncated"}{$ARGV[0]}{loads} ? 1 : 0' \
                "$mode" <"$dir/meta.json")
            # A server starts empty; executes in another database.
            case $name in manifest-missing | select-out-of-range) loads=0 ;; esac
            if [[ $mode == yes ]]; then replay --truncated ok "$dir/appendonlydir"; else replay "$dir/appendonlydir"; fi
            n=$((n + 1))
            if [[ $loads -eq 1 ]]; then
                [[ $STATUS -eq 0 || ($name == *failing* && $STATUS -eq 3) ]] || fail "$name $mode: $STATUSES $(cat "$TMP/err")"
                local file=$dir/expected.jsonl.gz
                [[ $mode == yes || ! -f $dir/expected-no.jsonl.gz ]] || file=$dir/expected-no.jsonl.gz
                equal "$name $mode" "$file"
            else
                [[ $STATUS -eq 1 || $STATUS -eq 4 || ($name == select-* && $STATUS -eq 3) ]] ||
                    fail "$name $mode: $STATUSES $(cat "$TMP/err")"
                grep -q 'appendonly' "$TMP/err" || [[ $name == select-* ]] || fail "$name: no file named: $(cat "$TMP/err")"
            fi
        done
    done
    echo "# $n of damaged files" >&3
    [[ $n -gt 0 ]]
}

@test "the append-only file of Redis' own tests" {
    need_data redis
    load_aof "$DATA/redis/rdb-preamble.aof"
    start_redis
    replay "$DATA/redis/rdb-preamble.aof"
    [[ $STATUSES == '0 0 0' ]] || fail "$STATUSES $(cat "$TMP/err")"
    same_data || fail "$output"
}

@test "RDB files of new servers: on such a server, and on older ones" {
    need_data rdb-new
    local dir server n=0
    for dir in "$DATA"/rdb-new/*/; do
        dir=${dir%/}
        server_for "$dir"
        replay_reported "$dir/dump.rdb"
        equal "${dir##*/}" "$dir/expected.jsonl.gz"
        kill "$REDIS_PID"
        for server in redis-server $SERVERS; do
            OLDER_TARGET=$(binary_version "$server")
            OLDER_TARGET=${OLDER_TARGET#* }
            OLDER_TARGET=${OLDER_TARGET%.*}
            REDIS_SERVER=$server
            start_redis
            replay_reported "$dir/dump.rdb"
            equal "${dir##*/} on $server" "$dir/expected.jsonl.gz"
            kill "$REDIS_PID"
            n=$((n + 1))
        done
    done
    echo "# $n pairs" >&3
    [[ $n -gt 0 ]]
}
