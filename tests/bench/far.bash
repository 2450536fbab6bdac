# What a distance costs: a table of round trips. Sourced by tests/bench/run, whose variables and functions it uses.
# shellcheck shell=bash disable=SC2154

far_rtts=(0 1 20 80) # milliseconds

# A file of records for single servers and one for clusters, and the same as RESP for redis-cli --pipe.
far_keys() { # name target standin-options…
    local of=$1 target=$2
    shift 2
    data "far-$of" "$@"
    [[ -s $cache/far-$of.single ]] || dfreader "$cache/far-$of.dfs" | dfparse -t "$target" >"$cache/far-$of.single"
    [[ -s $cache/far-$of.cluster ]] || dfreader "$cache/far-$of.dfs" | dfparse -t "$target/cluster" >"$cache/far-$of.cluster"
}

far_changes() { # name keys changes
    [[ -s $cache/far-$1.cluster ]] && return 0
    awk -v n="$3" -v k="$2" 'BEGIN { for (i = 2; i < n + 2; i++) print "INCR n" i % k }' >"$cache/far-$1.resp"
    local kind
    for kind in single cluster; do
        {
            printf '%s\n' session "target cluster=$([[ $kind == single ]] && echo 0 || echo 1)" 'flow 0' 'synced 0 :pos=1'
            awk '{ print "live 0 :pos=" NR + 1, $0 }' "$cache/far-$1.resp"
            echo end
        } | mkrecords >"$cache/far-$1.$kind"
    done
}

# Each master says that it is where its relay is.
far_cluster() { # one way in microseconds
    local p
    local -a there=()
    for p in "${cluster_ports[@]}"; do
        start_delay "$1" "$p"
        there+=("$delay_port")
        redis-cli -p "$p" config set cluster-announce-port "$delay_port" >/dev/null
        redis-cli -p "$p" config set cluster-announce-bus-port $((p + 10000)) >/dev/null
    done
    far_port=${there[0]}
    for p in "${cluster_ports[@]}"; do
        until [[ $(redis-cli -p "$p" cluster slots | grep -cxFf <(printf '%s\n' "${there[@]}")) -eq ${#there[@]} ]]; do
            sleep 0.1
        done
    done
}

far_seconds() { # command…: into targets that were emptied
    local t0 p
    for p in "$redis_port" "${cluster_ports[@]}"; do redis-cli -p "$p" flushall sync >/dev/null; done
    t0=$(now)
    "$@" >"$work/out"
    awk -v t=$(($(now) - t0)) 'BEGIN {printf "%.3f\n", t / 1e6}'
}

far_median() { # what to run…
    local i
    for ((i = 0; i < pairs; i++)); do far_seconds "$@"; done | median
}

far_pipe() { redis-cli -p "$redis_port" --pipe <"$1"; }

# Every set of data at one distance, into $work/far.
far_measure() { # milliseconds, name…
    local rtt=$1 name kind
    shift
    start_delay $((rtt * 500)) "$redis_port"
    local -A at=([single]=$delay_port)
    far_cluster $((rtt * 500))
    at[cluster]=$far_port
    for name in "$@"; do
        for kind in single cluster; do
            echo "$name $kind $(far_median rediswriter -q "redis://127.0.0.1:${at[$kind]}" "$cache/far-$name.$kind")"
        done
    done >>"$work/far"
}

far_table() { # name what unit count
    local kind
    for kind in single cluster; do
        awk -v name="$1" -v kind=$kind -v what="$2" -v unit="$3" -v n="$4" -v base="$(cat "$work/far.$1")" '
            BEGIN { printf "  %-28s %-8s", what, kind }
            $1 == name && $2 == kind { printf "  %.2f s (%.0f %s/s, %.2f)", $3, n / $3, unit, base / $3 }
            END { print "" }' "$work/far"
    done
}

bench_far() {
    local rtt name n few elements far_port
    n=$(size 1000000)
    few=$(size 100000)
    elements=$(size 1000000)
    start_redis
    [[ ${#cluster_ports[@]} -gt 0 ]] || start_cluster
    far_keys strings redis:7.0 --keys "$n"
    far_keys hashes redis:7.0 --keys "$some" --types hash
    far_keys commands portable --keys "$few" --types hash
    far_keys list redis:7.0 --keys 1 --types list --elements "$elements" --element-size 1074 # 1 GiB
    far_changes one 1 "$n"
    far_changes many 10000 "$n"
    : >"$work/far"
    for name in strings hashes commands list one many; do
        far_median far_pipe "$cache/far-$name.resp" >"$work/far.$name"
    done
    for rtt in "${far_rtts[@]}"; do far_measure "$rtt" strings hashes commands list one many; done
    echo "round trips of ${far_rtts[*]} ms: seconds (rate, times redis-cli --pipe into one server without a distance), median of $pairs runs"
    far_table strings "strings" keys "$n"
    far_table hashes "hashes, RESTORE" keys "$some"
    far_table commands "hashes as commands" keys "$few"
    far_table list "a list of $((elements * 1074 >> 20)) MiB" MiB $((elements * 1074 >> 20))
    far_table one "changes of one key" changes "$n"
    far_table many "changes of 10,000 keys" changes "$n"
}
