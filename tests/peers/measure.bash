# shellcheck shell=bash disable=SC2154 # what tests/peers/run has
# One run of a tool: seconds until it ends or the target has the keys, CPU seconds (user and system) of all its processes
# until they have ended, and the peak of the sum of their Pss.

# Memory in KiB of all processes of a session.
pss_of() { # session-id
    local pid
    for pid in $(pgrep -s "$1"); do cat "/proc/$pid/smaps_rollup" 2>/dev/null || true; done |
        awk '/^Pss:/ { s += $2 } END { print s + 0 }'
}

keys_at() { # port
    redis-cli -p "$1" info keyspace | awk -F'[=,]' '/^db/ { s += $2 } END { print s + 0 }'
}

end_session() { # session-id
    local pid
    for _ in 1 2; do
        for _ in $(seq 100); do
            [[ -n $(pgrep -s "$1") ]] || return 0
            sleep 0.1
        done
        for pid in $(pgrep -s "$1"); do kill -KILL "$pid" 2>/dev/null || true; done
    done
}

# Sets $seconds, $cpu, $memory (MiB), $status. With a function as the first argument the tool is stopped as soon as this
# succeeds; "-": it ends by itself.
measure() { # until command…
    local until=$1 sid job t0 now_pss peak=0 turn=0 limit
    shift
    rm -f "$work/sid" "$work/time"
    t0=$(now)
    limit=$((t0 + LIMIT * 1000000))
    # shellcheck disable=SC2016 # for the inner shell
    (
        TIMEFORMAT='%R %U %S'
        { time setsid bash -c 'echo $$ >"$0"; exec "$@"' "$work/sid" "$@" >"$dir/out" 2>&1 </dev/null; } 2>"$work/time"
    ) &
    job=$!
    until [[ -s $work/sid ]]; do sleep 0.01; done
    sid=$(<"$work/sid")
    sessions+=("$sid")
    seconds=
    while kill -0 "$job" 2>/dev/null; do
        if [[ $until != - ]] && "$until"; then
            seconds=$(awk -v t=$(($(now) - t0)) 'BEGIN { print t / 1e6 }')
            break
        fi
        if ((turn++ % 4 == 0)); then
            now_pss=$(pss_of "$sid")
            [[ $now_pss -le $peak ]] || peak=$now_pss
        fi
        [[ $(now) -lt $limit ]] || { echo "stopped after $LIMIT s" >>"$dir/out"; break; }
        sleep 0.05
    done
    memory=$((peak / 1024))
    status=0
    kill -0 "$job" 2>/dev/null && { kill -TERM "$sid" 2>/dev/null || true; end_session "$sid"; }
    wait "$job" || status=$?
    [[ $until == - || -n $seconds ]] || status=${status/#0/1}
    read -r real user system < <(tail -1 "$work/time")
    [[ -n $seconds ]] || seconds=$real
    cpu=$(awk -v u="$user" -v s="$system" 'BEGIN { print u + s }')
}
