#!/usr/bin/env bats
# Changes of a source that is scanned: keyspace notifications. dfreader(1), Reading by SCAN.

load helper

setup() {
    common_setup
    start_redis
    SOURCE=$REDIS_PORT
    start_redis
    TARGET=$REDIS_PORT
}

teardown() { common_teardown; }

source_cli() { redis-cli -p "$SOURCE" "$@"; }
target_cli() { redis-cli -p "$TARGET" "$@"; }

same() { dfstate diff --ttl-slack 100 "redis://127.0.0.1:$SOURCE?dbs=0,3" "redis://127.0.0.1:$TARGET?dbs=0,3" >"$TMP/diff"; }

follow() { # further options
    background df2redis -v --task f --scan --follow "$@" replicate "redis://127.0.0.1:$SOURCE" "redis://127.0.0.1:$TARGET" \
        2>"$TMP/err"
    FOLLOWER=$!
    wait_until 20 grep -q 'event=phase name=stable' "$TMP/err" || fail "$(cat "$TMP/err")"
}

write_some() { # seed
    source_cli eval "
        math.randomseed(ARGV[1])
        for n = 1, 3000 do
            local k = 'k' .. math.random(400)
            local what = math.random(8)
            redis.call('SELECT', math.random(2) == 1 and 0 or 3)
            if what == 1 then redis.call('SET', k, n)
            elseif what == 2 then redis.call('SET', k, n, 'PX', 50 + math.random(100000))
            elseif what == 3 then redis.call('DEL', k)
            elseif what == 4 then redis.call('DEL', k); redis.call('RPUSH', k, n, n)
            elseif what == 5 then redis.call('DEL', k); redis.call('HSET', k, n, n)
            elseif what == 6 and redis.call('EXISTS', k) == 1 then redis.call('RENAME', k, 'k' .. math.random(400))
            elseif what == 7 then redis.call('PERSIST', k)
            else redis.call('SADD', 'set' .. math.random(20), n) end
        end" 0 "$1" >/dev/null
}

@test "--follow: refused where notifications are off, with the way to set them" {
    run dfreader --scan --follow "redis://127.0.0.1:$SOURCE"
    [[ $status -eq 1 && $output == *notify-keyspace-events*--set-notifications* ]] || fail "$status: $output"
    [[ -z $(source_cli config get notify-keyspace-events | sed -n 2p) ]]
}

@test "--follow: what is written during the scan and behind it, deletions and expiries arrive" {
    local i
    source_cli eval "for i = 1, 5000 do redis.call('SET', 'old:' .. i, i) end" 0
    write_some 1
    background df2redis -v --task f --scan --follow --set-notifications --scan-rate 5000 replicate \
        "redis://127.0.0.1:$SOURCE" "redis://127.0.0.1:$TARGET" 2>"$TMP/err"
    wait_until 20 eval "[[ \$(redis-cli -p $TARGET dbsize) -gt 100 ]]"
    for i in 2 3 4; do write_some $i; done
    wait_until 30 grep -q 'event=phase name=stable' "$TMP/err"
    for i in 5 6; do write_some $i; done
    wait_until 20 same || fail "$(tail -3 "$TMP/diff")"
    df2redis --task f stop --final
    [[ -z $(target_cli keys 'df2redis*') ]]
}

@test "lost notifications: noticed, and answered by another pass" {
    source_cli config set notify-keyspace-events AE
    source_cli set a 1
    follow
    source_cli client kill type pubsub >/dev/null
    source_cli mset a 2 b 3
    wait_until 20 grep -q event=scan_again "$TMP/err"
    wait_until 20 same || fail "$(tail -3 "$TMP/diff")"
    # A database that held nothing at the beginning.
    source_cli client kill type pubsub >/dev/null
    source_cli -n 7 set first 1
    wait_until 20 eval '[[ $(target_cli -n 7 get first) == 1 ]]' || fail "$(source_cli -n 7 dbsize)"
    source_cli set c 4
    wait_until 20 same || fail "$(tail -3 "$TMP/diff")"
}

@test "stopped and resumed: what was written meanwhile is found by another scan" {
    source_cli config set notify-keyspace-events KA
    write_some 1
    follow
    df2redis --task f stop
    write_some 2
    source_cli eval "for i = 1, 400 do redis.call('SET', 'k' .. i, 'last') end redis.call('SELECT', 3)
        for i = 1, 400 do redis.call('SET', 'k' .. i, 'last') end" 0
    : >"$TMP/err"
    follow --resume
    wait_until 20 same || fail "$(tail -3 "$TMP/diff")"
}

has_ended() { ! kill -0 "$FOLLOWER" 2>/dev/null; }

@test "FLUSHALL, FLUSHDB, SWAPDB at the source: noticed, and answered as --on-full-resync has it" {
    source_cli config set notify-keyspace-events AE
    source_cli mset a 1 b 2
    source_cli -n 3 set c 3
    follow --resume --on-full-resync overwrite
    source_cli flushdb
    source_cli set new 1
    wait_until 30 same || fail "$(tail -3 "$TMP/diff"; tail -5 "$TMP/err")"
    grep -q event=source_flushed "$TMP/err" || fail "$(tail -5 "$TMP/err")"
    source_cli swapdb 0 3
    wait_until 30 same || fail "$(tail -3 "$TMP/diff"; tail -5 "$TMP/err")"
    df2redis --task f stop --final
    target_cli flushall
    follow
    source_cli flushall
    wait_until 20 has_ended
    grep -q 'FLUSHALL, FLUSHDB or SWAPDB at the source' "$TMP/err" || fail "$(tail -5 "$TMP/err")"
    [[ $(target_cli get c) == 3 ]] # nothing of it was touched
}

@test "lost notifications with --on-full-resync overwrite: what was deleted meanwhile goes, too" {
    source_cli config set notify-keyspace-events AE
    source_cli mset a 1 b 2
    follow --resume --on-full-resync overwrite
    printf 'MULTI\nCLIENT KILL TYPE pubsub\nDEL a\nSET c 3\nEXEC\n' | source_cli >/dev/null
    wait_until 30 same || fail "$(tail -3 "$TMP/diff"; tail -5 "$TMP/err")"
    [[ $(target_cli exists a) -eq 0 ]]
}
