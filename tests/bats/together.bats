#!/usr/bin/env bats
# Transactions of the source (records marked TOGETHER) stay together at the target. A client that looks all the time
# never sees a half of one.

load helper
load writing

setup() {
    writing_setup
    start_redis
}

teardown() { writing_teardown; }

# Looks at keys that only ever change together until it is ended; $TMP/seen: 1 for equal values, 0 for others.
look() { # keys
    local script='local v = redis.call("MGET", unpack(KEYS)) for i = 2, #v do if v[i] ~= v[1] then return 0 end end return 1'
    background stdbuf -oL redis-cli -p "${PORT:-$REDIS_PORT}" -r 100000000 eval "$script" $# "$@" >"$TMP/seen"
    LOOKER=$!
    wait_until 5 test -s "$TMP/seen"
}

looked() { [[ $(grep -cx 1 "$TMP/seen") -gt 20 ]]; }

# All that was seen, and enough of it. Where the rest of a transaction is waited for, a loaded machine may let 50 ms pass:
# so many may be seen in half.
whole() { # [transactions]
    local halves
    wait_until 5 looked
    kill "$LOOKER"
    wait "$LOOKER" 2>/dev/null || true
    halves=$(uniq "$TMP/seen" | grep -cx 0) || true
    [[ $halves -le ${1:-0} ]] || fail "$halves were seen in half"
}

transactions() { # number flow keys: a transaction increments each key once
    awk -v n="$1" -v f="$2" -v keys="${*:3}" 'BEGIN {
        k = split(keys, key)
        for (i = 0; i < n; i++)
            for (j = 1; j <= k; j++)
                print "live", f, ":pos=" ++pos + 1, j < k ? ":together" : "", "INCR", key[j]
    }'
}

@test "together: thousands of transactions are never seen in half" {
    look a b c
    transactions 4000 0 a b c | one_flow | write
    assert_status 0
    whole
    [[ $(rcli mget a b c | tr '\n' ' ') == "4000 4000 4000 " ]]
}

@test "together: the rest of a transaction is waited for" {
    local i
    look a b # before there is $FEED, which it would hold
    feed
    tell "$(heading 1)"
    for ((i = 1; i <= 20; i++)); do
        tell "live 0 :pos=$((2 * i)) :together INCR a" "sleep 5" "live 0 :pos=$((2 * i + 1)) INCR b"
    done
    tell "synced 0 :pos=41" end
    tell_end
    reap 10 "$WRITER"
    [[ $status -eq 0 ]]
    whole 4
    [[ $(rcli mget a b | xargs) == "20 20" ]]
}

@test "together: but not for long, nor is it at the end" {
    feed
    tell "$(heading 1)" "live 0 :pos=2 :together INCR a"
    applied() { [[ $(rcli get a) == 1 ]]; }
    wait_until 3 applied # 50 ms
    tell "live 0 :pos=3 :together INCR b" "synced 0 :pos=3" end
    tell_end
    reap 10 "$WRITER"
    [[ $status -eq 0 ]]
    [[ $(rcli get b) == 1 ]]
}

@test "together: flows between each other in one stream" {
    look a b
    {
        heading 2
        awk 'BEGIN {
            for (i = 0; i < 3000; i++) {
                f = i % 2
                # The other flow has a record between any two of this one.
                print "live", f, ":together INCR", f ? "c" : "a"
                print "live", 1 - f, "INCR", "x" f
                print "live", f, "INCR", f ? "d" : "b"
            }
        }'
        echo "synced 0 :pos=1000000"
        echo "synced 1 :pos=1000000"
        echo end
    } | write
    assert_status 0
    whole
    [[ $(rcli mget a b c d | tr '\n' ' ') == "1500 1500 1500 1500 " ]]
}

@test "together: flows in two streams do not wait for each other without end" {
    local f
    look a b c
    for f in 0 1; do
        {
            echo "session flows=2"
            echo target
            echo "flow $f"
            if [[ $f -eq 0 ]]; then transactions 3000 0 a b c; else transactions 3000 1 x y z; fi
            echo "synced $f :pos=1000000"
            echo end
        } | mkrecords >"$TMP/stream.$f"
        mkfifo "$TMP/fifo.$f"
        # In pieces that end within transactions.
        background timeout 100 dd if="$TMP/stream.$f" of="$TMP/fifo.$f" bs=1000 status=none
    done
    run timeout 100 rediswriter "$(target)" "$TMP/fifo.0" "$TMP/fifo.1"
    assert_status 0
    whole 4
    [[ $(rcli mget a b c x y z | tr '\n' ' ') == "3000 3000 3000 3000 3000 3000 " ]]
}

@test "together: more than a transaction can hold, flushes and large requests between" {
    {
        awk 'BEGIN { for (i = 0; i < 9000; i++) print "live 0 :together INCR a" }'
        echo "live 0 :together :part=300000 APPEND big @1500000"
        echo "live 0 :together INCR b"
        echo "barrier 0 :key=0 FLUSHALL"
        echo "live 0 :together INCR c"
        echo "live 0 :together INCR d"
    } | one_flow | write
    assert_status 0
    [[ $(rcli mget a b c d | tr '\n' ' ') == "  1 1 " ]]
}
