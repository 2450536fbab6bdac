# shellcheck shell=bash disable=SC2154 # variables of tests/bench/run
# df2redis-check against two RDB dumps, the least that reading both sides takes. Part of tests/bench/run, whose functions
# and variables it uses.

check_ports=()

check_load() { # file
    local port
    for port in "${check_ports[@]}"; do
        redis-cli -p "$port" flushall sync >/dev/null
        redis-cli -p "$port" --pipe <"$1" >"$work/out"
        grep -q 'errors: 0' "$work/out"
    done
}

# The most memory it has taken, in kB, in peak.
check_peak() {
    local pid now
    df2redis-check -q "redis://127.0.0.1:${check_ports[0]}" "redis://127.0.0.1:${check_ports[1]}" &
    pid=$!
    peak=0
    while kill -0 "$pid" 2>/dev/null; do
        now=$(awk '/VmHWM/ { print $2 }' "/proc/$pid/status" 2>/dev/null) || true
        peak=${now:-$peak}
        sleep 0.02
    done
    wait "$pid"
}

check_pair() { # label keys most
    local i port t0 t1 dumps ours
    : >"$work/ratios"
    for ((i = 0; i < pairs; i++)); do
        t0=$(now)
        for port in "${check_ports[@]}"; do
            redis-cli -p "$port" --rdb "$work/dump.check" >/dev/null 2>&1
            rm -f "$work/dump.check"
        done
        t1=$(now)
        dumps=$((t1 - t0))
        t0=$(now)
        df2redis-check -q "redis://127.0.0.1:${check_ports[0]}" "redis://127.0.0.1:${check_ports[1]}"
        t1=$(now)
        ours=$((t1 - t0))
        awk -v b=$dumps -v o=$ours 'BEGIN {printf "%.3f\n", o / b}' >>"$work/ratios"
        awk -v l="$1" -v b=$dumps -v o=$ours -v k="$2" \
            'BEGIN {printf "  %-9s two redis-cli --rdb %.2f s, df2redis-check %.2f s (%.0f keys/s)\n", l, b/1e6, o/1e6, k/o*1e6}'
    done
    check_peak
    echo "check, $1: $(median <"$work/ratios") of the time of two redis-cli --rdb (median of $pairs pairs; to reach: $3), $peak kB"
}

bench_check() {
    [[ ${#check_ports[@]} -gt 0 ]] || for _ in 1 2; do
        start_redis --repl-diskless-sync-delay 0
        check_ports+=("$redis_port")
    done
    data strings --keys "$many"
    check_load "$cache/strings.resp"
    check_pair strings "$many" 1.5
    data expiries --keys "$many" --expiry 4000000000000
    check_load "$cache/expiries.resp"
    check_pair expiries "$many" 1.5
    data hashes --keys "$some" --types hash
    check_load "$cache/hashes.resp"
    check_pair hashes "$some" 1.5
    for port in "${check_ports[@]}"; do redis-cli -p "$port" flushall sync >/dev/null; done
}
