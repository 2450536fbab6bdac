# shellcheck shell=bash disable=SC2154 # variables of tests/bench/run
# Reading by SCAN.

# All keys with their values and expiries, decoded, against the names alone as redis-cli --scan reads them.
bench_scan() {
    local i t0 t1 base ours
    settle
    redis-cli -p "$redis_port" eval "local v = string.rep('x', 64)
        for i = 1, ARGV[1] do redis.call('SET', 'key:' .. i, v) end" 0 "$many" >/dev/null
    : >"$work/ratios"
    for ((i = 0; i < pairs; i++)); do
        t0=$(now)
        [[ $(redis-cli -p "$redis_port" --scan | wc -l) -eq $many ]]
        t1=$(now)
        base=$((t1 - t0))
        t0=$(now)
        dfreader --scan "redis://127.0.0.1:$redis_port" | dfparse --null --stats 2>"$work/stats"
        t1=$(now)
        ours=$((t1 - t0))
        grep -qx "n.keys.string=$many" "$work/stats"
        awk -v b=$base -v o=$ours 'BEGIN {printf "%.3f\n", b / o}' >>"$work/ratios"
        awk -v b=$base -v o=$ours -v k="$many" \
            'BEGIN {printf "  scan      redis-cli --scan %.2f s, dfreader --scan %.2f s (%.0f keys/s)\n", b/1e6, o/1e6, k/o*1e6}'
    done
    settle
    echo "scan: $(median <"$work/ratios") times redis-cli --scan (median of $pairs pairs; to reach: 1)"
}
