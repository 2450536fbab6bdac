# shellcheck shell=bash disable=SC2154 # what tests/bench/run has
# RDB files that are written, and measured.

# Strings of 64 bytes and their keys, as a server saved them.
strings_rdb() { # keys
    [[ -s $cache/export.rdb ]] && return
    start_redis
    # Values that no LZF makes shorter.
    head -c $((48 * $1)) /dev/zero | openssl enc -aes-128-ctr -K 00 -iv 00 2>/dev/null | base64 -w 64 |
        awk '{ printf "SET key:%012d %s\r\n", NR, $0 }' | redis-cli -p "$redis_port" --pipe >/dev/null
    redis-cli -p "$redis_port" save >/dev/null
    mv "$work/dump.rdb" "$cache/export.rdb"
    redis-cli -p "$redis_port" flushall sync >/dev/null
}

# CPU seconds of a command, in the file of times.
cpu_of() { # times command…
    local times=$1 TIMEFORMAT='%U %S'
    shift
    { time "$@" >/dev/null; } 2>>"$times"
}

bench_export() {
    local n i t0 t1 check check_us first
    read -ra first <<<"$(core 1)"
    n=$(size 2000000 100)
    strings_rdb "$n"
    dfreader "$cache/export.rdb" >"$work/export.raw"
    check=$(command -v redis-check-rdb)
    : >"$work/rates"
    : >"$work/cpu"
    : >"$work/ratios"
    for ((i = 0; i < pairs; i++)); do
        t0=$(now)
        cpu_of "$work/cpu" "${first[@]}" dfparse --rdb "$work/out.rdb" -t 7.0 "$work/export.raw"
        t1=$(now)
        awk -v t=$((t1 - t0)) -v n="$n" 'BEGIN { printf "%.3f\n", n / t }' >>"$work/rates"
        t0=$(now)
        "$check" "$cache/export.rdb" >/dev/null
        t1=$(now)
        check_us=$((t1 - t0))
        t0=$(now)
        df2redis inspect "$cache/export.rdb" >/dev/null
        awk -v a=$check_us -v b=$(($(now) - t0)) 'BEGIN { printf "%.3f\n", a / b }' >>"$work/ratios"
    done
    "$check" "$work/out.rdb" | grep -q 'RDB looks OK' || { echo "export: the file is not sound" >&2; exit 1; }
    echo "RDB to RDB, strings, one core: $(median <"$work/rates")M keys/s," \
        "$(awk -v n="$n" '{ print ($1 + $2) / n * 1e6 }' "$work/cpu" | median) us of CPU a key (median of $pairs runs; to reach: 5M)"
    echo "inspect: $(median <"$work/ratios") times redis-check-rdb (median of $pairs pairs; to reach: 1)"
}
