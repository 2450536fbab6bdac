#!/usr/bin/env bats
# Sources that are read by SCAN: dfreader(1), Reading by SCAN.

load helper

setup() {
    common_setup
    start_redis --enable-debug-command local
    SOURCE=$REDIS_PORT
    start_redis
    TARGET=$REDIS_PORT
}

teardown() { common_teardown; }

source_cli() { redis-cli -p "$SOURCE" "$@"; }
target_cli() { redis-cli -p "$TARGET" "$@"; }

# Keys of every type, with and without expiry, in two databases; N of each.
fill() { # port n
    redis-cli -p "$1" eval "
        for db = 0, 3, 3 do
            redis.call('SELECT', db)
            for i = 1, ARGV[1] do
                redis.call('SET', 's:' .. i, string.rep('v' .. i, i % 50))
                redis.call('SET', 'n:' .. i, i, 'PX', 10000000 + i)
                redis.call('HSET', 'h:' .. i, 'a', i, 'b', string.rep('x', i))
                redis.call('RPUSH', 'l:' .. i, i, 'two', string.rep('y', i % 300))
                redis.call('SADD', 'i:' .. i, i, i + 1)
                redis.call('ZADD', 'z:' .. i, i / 3, 'm', '-inf', 'low', 'inf', 'high')
                redis.call('XADD', 'x:' .. i, i .. '-1', 'f', i)
            end
            redis.call('SET', '\0\r\n bin \255', '\0\1\2')
            redis.call('SET', 'empty', '')
            for i = 1, 3000 do
                redis.call('HSET', 'big:h', 'f' .. i, string.rep('v', 10))
                redis.call('RPUSH', 'big:l', i)
                redis.call('SADD', 'big:s', 'm' .. i)
                redis.call('ZADD', 'big:z', i / 7, 'm' .. i)
                redis.call('XADD', 'big:x', i .. '-' .. i, 'f', i, 'g', 'v')
            end
            redis.call('PEXPIRE', 'big:h', 9000000)
            redis.call('SET', 'big:str', string.rep('0123456789', 40000))
            redis.call('XGROUP', 'CREATE', 'big:x', 'g', '0')
            redis.call('XGROUP', 'CREATE', 'big:x', 'none', '\$')
            redis.call('XREADGROUP', 'GROUP', 'g', 'c1', 'COUNT', '250', 'STREAMS', 'big:x', '>')
            redis.call('XACK', 'big:x', 'g', '3-3')
        end" 0 "$2" >/dev/null
}

assert_equal() {
    dfstate diff "redis://127.0.0.1:$SOURCE?dbs=0,3" "redis://127.0.0.1:$TARGET?dbs=0,3" >"$TMP/diff" ||
        fail "$(tail -5 "$TMP/diff")"
}

calls() { # port command: how often it was called
    redis-cli -p "$1" info commandstats | tr -d '\r' | sed -n "s/^cmdstat_$2:calls=\([0-9]*\).*/\1/p" | grep . || echo 0
}

migrate() { df2redis -v "$@" >"$TMP/out" 2>"$TMP/err" || fail "status $?: $(grep -v summary "$TMP/err" | tail -5)"; }

@test "migrate: all types and databases, by the URL and by the option; no position key is left" {
    fill "$SOURCE" 40
    migrate migrate "redis://127.0.0.1:$SOURCE?mode=scan" "redis://127.0.0.1:$TARGET"
    assert_equal
    [[ -z $(target_cli keys 'df2redis*') ]]
    target_cli flushall
    migrate --scan migrate "redis://127.0.0.1:$SOURCE" "redis://127.0.0.1:$TARGET"
    assert_equal
}

@test "large values come in parts, and values by commands where DUMP is refused" {
    fill "$SOURCE" 20
    migrate --scan --scan-large 4096 migrate "redis://127.0.0.1:$SOURCE" "redis://127.0.0.1:$TARGET"
    assert_equal
    [[ $(calls "$SOURCE" hscan) -gt 1 && $(calls "$SOURCE" lrange) -gt 1 && $(calls "$SOURCE" zscan) -gt 1 ]]
    target_cli flushall
    source_cli config resetstat
    source_cli acl setuser default -dump -memory
    migrate --scan migrate "redis://127.0.0.1:$SOURCE" "redis://127.0.0.1:$TARGET"
    assert_equal
    [[ $(calls "$SOURCE" hgetall) -gt 1 && $(calls "$SOURCE" xrange) -gt 1 ]]
}

@test "what the source does not permit is said, and names --scan" {
    source_cli acl setuser default -psync -replconf
    run df2redis migrate "redis://127.0.0.1:$SOURCE" "redis://127.0.0.1:$TARGET"
    [[ $status -eq 1 && $output == *--scan* ]] || fail "$status: $output"
    source_cli acl setuser default -scan
    run df2redis --scan migrate "redis://127.0.0.1:$SOURCE" "redis://127.0.0.1:$TARGET"
    [[ $status -eq 1 && $output == *"SCAN is refused"* ]] || fail "$status: $output"
}

is_wrong() { # command…
    run "$@"
    [[ $status -eq 2 ]] || fail "$*: $status: $output"
}

@test "wrong uses" {
    is_wrong dfreader --follow "redis://127.0.0.1:$SOURCE"
    is_wrong dfreader --scan --flow 0 --session "$TMP/x" "redis://127.0.0.1:$SOURCE"
    is_wrong dfreader --scan /dev/null
    is_wrong df2redis --scan replicate "redis://127.0.0.1:$SOURCE" "redis://127.0.0.1:$TARGET"
    is_wrong df2redis --scan --follow migrate "redis://127.0.0.1:$SOURCE" "redis://127.0.0.1:$TARGET"
    is_wrong rediswriter "redis://127.0.0.1:$TARGET?mode=scan"
}

@test "existing keys: refused, kept, overwritten" {
    source_cli mset a 1 b 2
    target_cli set a old
    run df2redis --scan migrate "redis://127.0.0.1:$SOURCE" "redis://127.0.0.1:$TARGET"
    [[ $status -eq 1 && $output == *target_not_empty* ]] || fail "$status: $output"
    migrate --scan --on-existing skip migrate "redis://127.0.0.1:$SOURCE" "redis://127.0.0.1:$TARGET"
    [[ $(target_cli mget a b | paste -sd,) == old,2 ]]
    migrate --scan --on-existing overwrite migrate "redis://127.0.0.1:$SOURCE" "redis://127.0.0.1:$TARGET"
    [[ $(target_cli get a) == 1 ]]
}

@test "existing keys are kept where values come as commands: streams are reported, not written over them" {
    source_cli xadd x 1-1 f v
    source_cli rpush l 1 2 3
    source_cli set s new
    for k in x l s; do target_cli set $k old; done
    run df2redis --scan --scan-values commands --on-existing skip migrate "redis://127.0.0.1:$SOURCE" "redis://127.0.0.1:$TARGET"
    [[ $status -eq 3 && $output == *"--on-existing skip, fail"* ]] || fail "$status: $output"
    [[ $(target_cli mget x l s | paste -sd,) == old,old,old ]] || fail "$(target_cli mget x l s)"
    migrate --scan --scan-values commands --on-existing overwrite migrate "redis://127.0.0.1:$SOURCE" "redis://127.0.0.1:$TARGET"
    assert_equal
}

@test "selecting and renaming" {
    source_cli mset a:1 1 b:1 2
    migrate --scan --include 'prefix:a:' --rename-prefix a:=c: migrate "redis://127.0.0.1:$SOURCE" \
        "redis://127.0.0.1:$TARGET"
    [[ $(target_cli keys '*') == c:1 ]]
}

@test "no more than --scan-rate keys per second" {
    source_cli eval "for i = 1, 600 do redis.call('SET', i, i) end" 0
    local begun=$EPOCHREALTIME
    dfreader --scan --scan-rate 400 "redis://127.0.0.1:$SOURCE" | dfparse --null
    (((${EPOCHREALTIME/./} - ${begun/./}) > 1300000)) || fail "too fast"
}

# One run of the pipeline that is killed; false: it came to its end before.
killed_run() { # keys that the target has to have more than before
    local before reader
    before=$(target_cli dbsize)
    { dfreader -v --resume --scan --scan-rate 5000 "redis://127.0.0.1:$SOURCE" 2>>"$TMP/reader.err" & echo $! >"$TMP/pid"; wait $!; } |
        dfparse 2>/dev/null | rediswriter -q --task k "redis://127.0.0.1:$TARGET" 2>>"$TMP/writer.err" &
    local job=$!
    wait_until 30 eval "[[ \$(redis-cli -p $TARGET dbsize) -ge $((before + $1)) ]]"
    reader=$(<"$TMP/pid")
    kill -KILL "$reader"
    wait "$job" || true
}

@test "killed and resumed 20 times: equal, and at most 5 % of the keys are read twice" {
    local n=100000 read
    source_cli eval "for i = 1, $n do redis.call('SET', 'key:' .. i, i .. string.rep('x', 50)) end" 0
    source_cli config resetstat
    for _ in {1..20}; do killed_run 500; done
    dfreader -v --resume --scan "redis://127.0.0.1:$SOURCE" 2>"$TMP/last.err" | dfparse |
        rediswriter -q --task k "redis://127.0.0.1:$TARGET"
    grep -q event=scan_goes_on "$TMP/last.err"
    read=$(calls "$SOURCE" pexpiretime) # before they are compared, which asks for them, too
    assert_equal
    [[ $read -le $((n + n / 20)) ]] || fail "$read reads of $n keys"
}

@test "a server that was started anew is scanned from the beginning, which is said" {
    source_cli eval "for i = 1, 6000 do redis.call('SET', 'key:' .. i, i) end" 0
    killed_run 500
    source_cli shutdown save || true
    background redis-server --port "$SOURCE" --bind 127.0.0.1 --save '' --dir "$TMP/redis.$SOURCE" --logfile "$TMP/again.log"
    wait_until 10 eval "[[ \$(redis-cli -p $SOURCE dbsize) -eq 6000 ]]"
    dfreader -v --resume --scan "redis://127.0.0.1:$SOURCE" 2>"$TMP/last.err" | dfparse |
        rediswriter -q --task k "redis://127.0.0.1:$TARGET"
    grep -q event=scan_begins_anew "$TMP/last.err" || fail "$(cat "$TMP/last.err")"
    assert_equal
}

@test "memory stays bounded with a hash of a million fields and a string of 100 MB" {
    source_cli eval "for i = 1, 1000000 do redis.call('HSET', 'h', 'field:' .. i, 'v' .. i) end
        redis.call('SETRANGE', 's', 100000000, 'end')" 0
    mkfifo "$TMP/reader.fifo" "$TMP/parser.fifo"
    dfreader --scan "redis://127.0.0.1:$SOURCE" >"$TMP/reader.fifo" & local r=$!
    dfparse <"$TMP/reader.fifo" >"$TMP/parser.fifo" & local p=$!
    rediswriter -q "redis://127.0.0.1:$TARGET" <"$TMP/parser.fifo" & local w=$!
    local most=0 sum
    while kill -0 "$w" 2>/dev/null; do
        sum=$(cat /proc/{$r,$p,$w}/status 2>/dev/null | awk '/^RssAnon/ { s += $2 } END { print s + 0 }')
        [[ $sum -le $most ]] || most=$sum
        sleep 0.05
    done
    wait "$w"
    [[ $(target_cli hlen h) -eq 1000000 && $(target_cli strlen s) -eq 100000003 ]]
    sanitized || [[ $most -gt 0 && $most -le 32768 ]] || fail "$most KiB"
}

@test "examples/scan.conf" {
    fill "$SOURCE" 10
    sed "s|^source = .*|source = redis://127.0.0.1:$SOURCE|; s|^target = .*|target = redis://127.0.0.1:$TARGET|" \
        "$REPO/examples/scan.conf" >"$TMP/conf"
    migrate -c "$TMP/conf" migrate
    assert_equal
}

@test "strings that are longer than what is asked for at first, more than the window" {
    source_cli eval "for i = 1, 1500 do redis.call('SET', 'k:' .. i, string.rep('0123456789', 1700 + 500 * (i % 2))) end" 0
    migrate --scan --scan-window 20 migrate "redis://127.0.0.1:$SOURCE" "redis://127.0.0.1:$TARGET"
    assert_equal
    target_cli flushall
    source_cli eval "for i = 1, 1500 do redis.call('SET', 'k:' .. i, string.rep('x', i % 7 == 0 and 20000 or 3)) end" 0
    migrate --scan --scan-window 20 migrate "redis://127.0.0.1:$SOURCE" "redis://127.0.0.1:$TARGET"
    assert_equal
}

keys_arrived() { [[ $(target_cli dbsize) -ge $1 ]]; }
is_busy() { [[ $(source_cli get k:1 2>&1) == BUSY* ]]; }

@test "a source that is busy meanwhile: another try may help, and no key is given up for it" {
    source_cli eval "for i = 1, 2000 do redis.call('SET', 'k:' .. i, i) redis.call('RPUSH', 'l:' .. i, i) end" 0
    source_cli config set lua-time-limit 50
    df2redis -v --scan --scan-rate 500 --scan-window 40000 --scan-count 9000 migrate "redis://127.0.0.1:$SOURCE" "redis://127.0.0.1:$TARGET" >"$TMP/out" 2>"$TMP/err" &
    local pid=$! status=0
    wait_until 10 keys_arrived 100
    source_cli eval "while true do end" 0 >"$TMP/busy" 2>&1 &
    wait_until 10 is_busy
    wait "$pid" || status=$?
    [[ $status -eq 75 ]] || fail "status $status: $(grep -v summary "$TMP/err" | tail -5)"
    grep -q 'BUSY' "$TMP/err" || fail "$(tail -5 "$TMP/err")"
    source_cli script kill
    migrate --scan --on-existing overwrite migrate "redis://127.0.0.1:$SOURCE" "redis://127.0.0.1:$TARGET"
    assert_equal
}

pages_read() { [[ $(calls "$SOURCE" getrange) -ge "$1" ]]; }

@test "a string that is deleted while its parts are read: the target keeps none of them" {
    source_cli setrange gone 200000000 end
    df2redis -v --scan migrate "redis://127.0.0.1:$SOURCE" "redis://127.0.0.1:$TARGET" >"$TMP/out" 2>"$TMP/err" &
    local pid=$!
    wait_until 20 pages_read 20
    source_cli del gone
    wait "$pid" || fail "status $?: $(grep -v summary "$TMP/err" | tail -5)"
    [[ $(calls "$SOURCE" getrange) -lt 700 ]] || fail "it was read to its end"
    [[ $(target_cli exists gone) -eq 0 ]] || fail "$(target_cli strlen gone) bytes are left"
}
