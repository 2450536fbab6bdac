#!/usr/bin/env bats
# --on-existing skip and fail: keys of the snapshot that the target holds are left as they are, noticed by the reply to
# the very request that would write them. Into one server over one connection, over several, and into a cluster.

load helper
load writing

setup() {
    writing_setup
    start_redis
    SOURCE=$REDIS_PORT
}

teardown() {
    [[ -z ${CLUSTER_PIDS-} ]] || stop_cluster
    writing_teardown
}

# Every type and encoding, and values above 1 MiB: a list, a hash, a stream, a string.
fill_source() {
    [[ $(redis-cli -p "$SOURCE" --eval "$REPO/tests/fixtures/values.lua") == filled ]]
    redis-cli -p "$SOURCE" --eval <(cat <<'EOT'
for i = 1, 30 do
    local v = string.rep(tostring(i), 25000)
    redis.call('RPUSH', 'large:list', v)
    redis.call('HSET', 'large:hash', i, v)
    redis.call('XADD', 'large:stream', i .. '-1', 'f', v)
    redis.call('RPUSH', 'large:list2', v)
end
redis.call('SET', 'large:string', string.rep('s', 2500000))
redis.call('SET', 'large:string2', string.rep('t', 2500000), 'PX', 4000000000000)
EOT
    ) >/dev/null
    [[ $(redis-cli -p "$SOURCE" save) == OK ]]
    FILE=$TMP/redis.$SOURCE/dump.rdb
}

stream() { # policy [dfparse option…]
    local policy=$1
    shift
    timeout 100 dfreader "$FILE" | timeout 100 dfparse --on-existing "$policy" "$@" >"$TMP/stream.$policy" 2>"$TMP/parse.err" ||
        fail "$(<"$TMP/parse.err")"
}

# Of the keys of a server, every second one becomes another, the rest go.
halve() { # port databases…
    local port=$1 db
    shift
    for db in "$@"; do
        redis-cli -p "$port" -n "$db" eval "local k = redis.call('KEYS', '*') table.sort(k)
            for i = 1, #k do redis.call('DEL', k[i]) if i % 2 == 1 then redis.call('SET', k[i], 'mine') end end" 0 \
            >/dev/null
    done
}

# What was there stays, the rest is the source's.
merged() { # before source
    awk '{ match($0, /", "ttl": /); key = substr($0, 1, RSTART); if (key in seen) next; seen[key] = 1; print }' "$1" "$2" |
        sort
}

skips() { # target-url dfstate-url ports… -- dfparse options… -- rediswriter options…
    local url=$1 state=$2 port
    shift 2
    local -a ports=() parse=()
    while [[ $1 != -- ]]; do ports+=("$1") && shift; done
    shift
    while [[ $1 != -- ]]; do parse+=("$1") && shift; done
    shift
    stream overwrite "${parse[@]}"
    stream skip "${parse[@]}"
    run timeout 100 rediswriter "$@" "$url" "$TMP/stream.overwrite"
    assert_status 0
    dfstate dump "$state" | sort >"$TMP/source.jsonl"
    if [[ ${#ports[@]} -gt 1 ]]; then
        for port in "${ports[@]}"; do halve "$port" 0; done
    else
        halve "${ports[0]}" 0 3 15
    fi
    dfstate dump "$state" >"$TMP/before.jsonl"
    local n there
    there=$(wc -l <"$TMP/before.jsonl")
    n=$(wc -l <"$TMP/source.jsonl")
    [[ $there -gt 40 && $((n - there)) -gt 40 ]]
    run timeout 100 rediswriter --on-existing skip "$@" "$url" "$TMP/stream.skip"
    assert_status 0
    assert_output_has "report=\"existing\" count=$there key1="
    assert_output_has " keys=$((n - there)) "
    dfstate dump "$state" | sort >"$TMP/after.jsonl"
    merged "$TMP/before.jsonl" "$TMP/source.jsonl" | cmp - "$TMP/after.jsonl"
}

@test "skip: one server, by RESTORE and in parts" {
    fill_source
    start_redis
    skips "$(target)" "$(target)?dbs=0,3,15" "$REDIS_PORT" -- -t "$(server_version)" --
    rcli flushall >/dev/null
    skips "$(target)" "$(target)?dbs=0,3,15" "$REDIS_PORT" -- -t "$(server_version)" --restore-limit 200 --part-size 4k --
}

@test "skip: one server, several connections, portable commands" {
    fill_source
    start_redis
    skips "$(target)" "$(target)?dbs=0,3,15" "$REDIS_PORT" -- --part-size 64k -- --connections 3
}

@test "skip: a cluster" {
    fill_source
    start_cluster 0
    skips "$CLUSTER_URL" "redis-cluster://${CLUSTER_URL#redis://}" "${CLUSTER_PORTS[@]}" -- \
        -t "$(server_version)/cluster" --exclude db:3 --exclude db:15 --restore-limit 2k --part-size 32k --
}

# Each kind of request alone meets its key.
fails() { # url port dfparse-target writer-option…
    local url=$1 port=$2 target=$3 key
    shift 3
    for key in t:string t:expires t:set t:list; do
        redis-cli -p "$SOURCE" flushall >/dev/null
        case $key in
        t:string) redis-cli -p "$SOURCE" set $key new ;;
        t:expires) redis-cli -p "$SOURCE" set $key new ex 100000 ;;
        t:set) redis-cli -p "$SOURCE" sadd $key new ;;
        t:list) redis-cli -p "$SOURCE" eval "for i = 1, 3000 do redis.call('RPUSH', KEYS[1], 'element ' .. i) end" 1 $key ;;
        esac >/dev/null
        redis-cli -p "$SOURCE" save >/dev/null
        FILE=$TMP/redis.$SOURCE/dump.rdb
        stream fail -t "$target" --restore-limit 10k --part-size 1k
        redis-cli -c -p "$port" del $key >/dev/null
        redis-cli -c -p "$port" hset $key mine 1 >/dev/null
        run timeout 100 rediswriter --on-existing fail "$@" "$url" "$TMP/stream.fail"
        assert_status 3
        assert_output_has "event=key_exists key=\"$key\""
        [[ $(redis-cli -c -p "$port" hgetall $key) == $'mine\n1' ]]
        redis-cli -c -p "$port" del $key >/dev/null
        run timeout 100 rediswriter --on-existing fail "$@" "$url" "$TMP/stream.fail"
        assert_status 0
        redis-cli -c -p "$port" del $key >/dev/null
    done
}

@test "fail: the first key that is there ends it with status 3, and is as it was" {
    start_redis
    fails "$(target)" "$REDIS_PORT" "$(server_version)"
    fails "$(target)" "$REDIS_PORT" redis:6.0
    fails "$(target)" "$REDIS_PORT" "$(server_version)" --connections 2
    start_cluster 0
    fails "$CLUSTER_URL" "${CLUSTER_PORTS[0]}" "$(server_version)/cluster"
}

@test "later changes are applied to keys that were skipped; positions go on" {
    start_redis
    rcli rpush l mine >/dev/null
    rcli set s mine >/dev/null
    {
        echo session
        echo target existing=skip
        echo flow 0
        echo "idem 0 :first :key=3 EVAL return%20redis.error_reply('BUSYKEY%20x') 1 l"
        echo "idem 0 RPUSH l never"
        echo "req 0 RPUSH l never"
        echo "req 0 RPUSH l @2000000"
        echo "idem 0 SET s never NX"
        echo "idem 0 SET free yes NX"
        echo "position 0 :last"
        echo "synced 0 :pos=10"
        echo "live 0 :pos=11 RPUSH l later"
        echo "live 0 :pos=12 APPEND s +"
        echo end
    } | write --on-existing skip
    assert_status 0
    [[ $(rcli lrange l 0 -1) == $'mine\nlater' && $(rcli get s) == mine+ && $(rcli get free) == yes ]]
    assert_output_has 'report="existing" count=2 key1=l key2=s'
    assert_output_has 'flow=0 seq=10 pos=12 synced=1'
}

# Replies are lost with their connections, again and again: no key of ours is taken for one that was there before.
lossy() { # writer option…
    local i pid
    for ((i = 0; i < 60; i++)); do
        echo "idem 0 :class=1 SET k:$i $i NX"
        echo "idem 0 :class=2 :first :key=3 EVAL if%20redis.call('EXISTS',KEYS[1])==1%20then%20return%20redis.error_reply('BUSYKEY%20x')%20end%20return%201 1 l:$i"
        for j in 1 2 3; do echo "req 0 :class=2 RPUSH l:$i $j"; done
        echo "position 0 :last"
        echo "sleep 20"
    done >"$TMP/body"
    { echo session; echo target existing=skip; echo "flow 0"; cat "$TMP/body"; echo "synced 0 :pos=10"; echo end; } >"$TMP/lines"
    rcli flushall >/dev/null
    rcli rpush l:7 mine >/dev/null
    rcli set k:9 mine >/dev/null
    mkfifo "$TMP/records" 2>/dev/null || true
    background bash -c 'mkrecords <"$0/lines" >"$0/records"' "$TMP"
    background rediswriter --on-existing skip "$@" "$(target)" "$TMP/records" 2>"$TMP/err"
    pid=$!
    # Not before something was done since the last time, or it would never end.
    local now last=
    while ! ended "$pid"; do
        now=$(rcli eval "local n = redis.call('DBSIZE')
            for _, k in ipairs(redis.call('KEYS', 'l:*')) do n = n + redis.call('LLEN', k) end return n" 0)
        [[ $now == "$last" ]] || rcli client kill type normal skipme yes >/dev/null
        last=$now
        sleep 0.04
    done
    reap 20 "$pid"
    [[ $(rcli get k:9) == mine && $(rcli lrange l:7 0 -1) == mine ]]
    for ((i = 0; i < 60; i++)); do
        [[ $i -eq 9 || $(rcli get k:$i) == "$i" ]] || fail "k:$i: $(rcli get k:$i)"
    done
}

@test "lost replies: the parts of a key are written exactly once" {
    start_redis
    lossy
    [[ $status -eq 0 ]] || fail "status $status: $(<"$TMP/err")"
    for ((i = 0; i < 60; i++)); do
        [[ $i -eq 7 || $(rcli lrange l:$i 0 -1) == $'1\n2\n3' ]] || fail "l:$i: $(rcli lrange l:$i 0 -1)"
    done
    grep -q ' reconnects=[1-9]' "$TMP/err"
}

@test "lost replies, several connections: what may be ours or not is said to be doubtful" {
    start_redis
    lossy --connections 2
    [[ $status -eq 0 || $status -eq 3 ]] || fail "status $status: $(<"$TMP/err")"
    [[ $status -eq 0 ]] || grep -q 'may_count_twice="' "$TMP/err"
    grep -q 'report="existing"' "$TMP/err"
}

@test "streams and writers that disagree: status 2, both options are named, nothing is written" {
    start_redis
    local stream writer
    for stream in overwrite skip fail; do
        for writer in overwrite refuse flush skip fail; do
            [[ $stream == "$writer" || ($stream == overwrite && $writer =~ refuse|flush) ]] && continue
            { echo session; echo "target existing=$stream"; echo flow 0; echo "set 0 a 1"; echo "synced 0 :pos=1"; echo end; } |
                write --on-existing "$writer"
            assert_status 2
            assert_output_has "dfparse --on-existing $stream"
            assert_output_has "rediswriter"
            [[ $(rcli exists a) == 0 ]]
        done
    done
    { echo session; echo "target existing=skip"; echo flow 0; echo "set 0 a 1"; echo "synced 0 :pos=1"; echo end; } |
        write --on-existing skip
    assert_status 4 # a plain SET would overwrite
    [[ $(rcli exists a) == 0 ]]
}

@test "a first request that fails takes the parts with it, into the stream of errors too" {
    start_redis
    rcli set k mine >/dev/null
    {
        echo session
        echo target existing=skip
        echo flow 0
        echo "idem 0 :first :key=3 EVAL return%20redis.call('HGET',KEYS[1],'x')%20or%201 1 k"
        echo "idem 0 APPEND k part"
        echo "req 0 APPEND k part"
        echo "position 0 :last"
        echo "synced 0 :pos=10"
        echo end
    } | write --on-existing skip --errors-to "$TMP/failed"
    assert_status 3
    [[ $(rcli get k) == mine ]]
    rcli del k >/dev/null
    run rediswriter --on-existing skip "$(target)" "$TMP/failed"
    assert_status 0
    [[ $(rcli get k) == partpart ]]
}

@test "df2redis --on-existing skip: from the source to the target" {
    start_redis
    start_master --generate --keys 300 --flows 2
    run timeout 100 df2redis migrate "dragonfly://127.0.0.1:$MASTER_PORT" "$(target)"
    assert_status 0
    local n
    n=$(rcli dbsize)
    start_master --generate --keys 300 --flows 2
    run timeout 100 df2redis --on-existing skip migrate "dragonfly://127.0.0.1:$MASTER_PORT" "$(target)"
    assert_status 0
    assert_output_has 'report="existing"'
    [[ $(rcli dbsize) -eq $n ]]
    start_master --generate --keys 300 --flows 2
    run timeout 100 df2redis --single --on-existing fail --target-version "$(server_version)" migrate "dragonfly://127.0.0.1:$MASTER_PORT" "$(target)"
    assert_status 3
    assert_output_has event=key_exists
}

@test "a source that is flushed during its full sync: keys that were there are not lost to a second attempt" {
    start_redis
    rcli set there already >/dev/null
    start_master --generate --keys 300 --flush-before-cut --journal-ops 50
    run timeout 100 df2redis --single --on-existing skip replicate "dragonfly://127.0.0.1:$MASTER_PORT" "$(target)"
    assert_status 1
    assert_output_has event=cannot_begin_anew
    [[ $(rcli get there) == already ]]
    kill "$MASTER_PID"
    rcli flushall >/dev/null # then nothing can be lost
    start_master --generate --keys 300 --flush-before-cut --journal-ops 50
    background df2redis --single --on-existing skip replicate "dragonfly://127.0.0.1:$MASTER_PORT" "$(target)" 2>"$TMP/err"
    local pid=$!
    wait_until 15 eval '[[ $(rcli dbsize) -gt 250 ]]'
    df2redis stop
    reap 10 "$pid"
    assert_status 0
}
