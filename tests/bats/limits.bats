#!/usr/bin/env bats
# --max-ops, --max-bytes and --window: how much the target gets in a second, and how much is in flight.

load helper
load writing

setup() { writing_setup; }

teardown() { writing_teardown; }

seconds() { # its summary, in milliseconds
    awk 'match($0, / seconds=[0-9.]+/) { printf "%d\n", substr($0, RSTART + 9, RLENGTH - 9) * 1000 }' <<<"$output"
}

# It took so long, and not much longer. To the millisecond it is tested where the clock is the test's own (test_limit.c):
# here a busy machine may hold up writer and server.
assert_took() { # milliseconds
    [[ $(seconds) -ge $1 && $(seconds) -le $((2 * $1)) ]] || fail "took $(seconds) ms, not $1: $output"
}

now_ms() { echo $((${EPOCHREALTIME/./} / 1000)); }

sets() { # how many, bytes of each request: "*3 $3 SET $8 k:000001 $N …" has 29 or 30 bytes around the value
    awk -v n="$1" -v size="$2" 'BEGIN {
        for (i = 1; i <= n; i++) printf "set 0 k:%06d @%d\n", i, size }'
}

@test "requests a second: over five seconds, and smooth" {
    start_redis
    feed --max-ops 2000
    tell "$(heading 1)"
    local began
    began=$(now_ms)
    sets 10000 10 >&"$FEED"
    tell "synced 0 :pos=1" end
    wait_until 5 eval '[[ $(rcli dbsize) -gt 1 ]]'
    # Never more than the time that has passed allows, 2 a millisecond, and a tenth of a second's worth.
    local n
    for _ in 1 2 3 4 5 6; do
        sleep 0.25
        n=$(rcli dbsize)
        [[ $n -le $((2 * ($(now_ms) - began) + 200)) ]] || fail "$n in $(($(now_ms) - began)) ms"
    done
    tell_end
    reap 10 "$WRITER"
    assert_status 0
    output=$(<"$TMP/err")
    assert_took 4900
    [[ $(rcli dbsize) -eq 10001 ]] # with the position key
}

@test "bytes per second, values larger than a burst; several connections" {
    start_redis
    for options in '' '--connections 2'; do
        rcli flushall >/dev/null
        # 60 requests of 50,039 bytes
        # shellcheck disable=SC2086
        sets 60 50000 | one_flow | write --max-bytes 1500000 $options
        assert_status 0
        assert_took 1900
        [[ $(rcli exists k:000001 k:000060) -eq 2 ]]
    done
}

@test "journal and snapshot of several flows share a limit" {
    start_redis
    {
        heading 2
        sets 500 10
        for ((i = 1; i <= 500; i++)); do echo "live 1 :pos=$((i + 1)) INCR n"; done
        echo "synced 0 :pos=1"
        echo "synced 1 :pos=501"
        echo end
    } | write --max-ops 1000
    assert_status 0
    assert_took 900
    [[ $(rcli get n) -eq 500 ]]
}

@test "df2redis limit: another limit while it runs, none, and what is not understood" {
    start_redis
    start_master --generate --flows 2 --keys 1000 --journal-ops 4000
    local pid before began
    began=$(now_ms)
    background df2redis -v --max-ops 100 replicate "dragonfly://127.0.0.1:$MASTER_PORT" "$(target)" 2>"$TMP/err"
    pid=$!
    wait_until 10 eval '[[ $(rcli dbsize) -gt 100 ]]'
    before=$(rcli dbsize)
    [[ $before -le $((($(now_ms) - began) / 10 + 10)) ]] || fail "$before keys in $(($(now_ms) - began)) ms"
    run df2redis limit --max-ops 20 --max-bytes 10k
    assert_status 0
    wait_until 5 grep -q 'event=limit ops=20 bytes=10240' "$TMP/err"
    began=$(now_ms)
    before=$(rcli dbsize)
    sleep 1
    [[ $(($(rcli dbsize) - before)) -le $((($(now_ms) - began) / 50 + 10)) ]] || fail "$(($(rcli dbsize) - before)) keys"
    run df2redis limit --max-ops 0
    assert_status 0
    wait_until 5 grep -q 'event=limit ops=0 bytes=10240' "$TMP/err"
    run df2redis limit --max-bytes 0
    wait_until 10 eval '[[ $(rcli dbsize) -ge 1000 ]]'
    run df2redis limit
    assert_status 2
    run df2redis limit --max-bytes much
    assert_status 2
    df2redis stop
    reap 10 "$pid"
    assert_status 0
}

# Bytes that wait in the sockets between writer and server.
in_flight() {
    printf '%X\n' "$REDIS_PORT" | awk 'NR == FNR { port = ":" $1 "$"; next }
        $2 ~ port { split($5, q, ":"); print q[2] }
        $3 ~ port { split($5, q, ":"); print q[1] }' - /proc/net/tcp |
        while read -r n; do echo "$((16#$n))"; done | awk '{ n += $1 } END { print n + 0 }'
}

window_full() { # nothing moves any more
    n=$(in_flight)
    [[ $n -gt 4000 ]] && sleep 0.2 && [[ $(in_flight) -eq $n ]]
}

@test "--window: so many bytes in flight, and larger requests alone" {
    start_redis
    local n options
    for options in '' '--connections 2'; do
        rcli flushall >/dev/null
        # shellcheck disable=SC2086
        feed --no-mset --window 8k $options
        tell "$(heading 1)" "set 0 begun:1 1" "set 0 begun:2 1" "set 0 begun:3 1" "set 0 begun:4 1"
        wait_until 5 eval '[[ $(rcli exists begun:1 begun:2 begun:3 begun:4) -eq 4 ]]' # over each connection
        kill -STOP "$REDIS_PID"
        sets 500 1000 >&"$FEED"
        tell "set 0 large @100000" "live 0 :pos=2 RPUSH l @100000" "live 0 :pos=3 RPUSH l 1"
        wait_until 5 window_full
        kill -CONT "$REDIS_PID"
        tell "synced 0 :pos=4" end
        tell_end
        reap 20 "$WRITER"
        assert_status 0
        [[ $(rcli dbsize) -ge 506 && $(rcli llen l) -eq 2 ]]
        # of each connection
        [[ $n -gt 4000 && $n -le $((${#options} > 0 ? 16384 : 8192)) ]] || fail "$n bytes in flight"
    done
}
