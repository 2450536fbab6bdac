#!/usr/bin/env bats
# Values of every type and encoding: a real server, its SAVE, our pipeline, another server of the kind. The same digests,
# and through RESTORE the same DUMPs.

load helper

setup() {
    common_setup
    local -a debug=()
    # Since 7.0 DEBUG has to be allowed, before that there is nothing to allow.
    [[ $("${REDIS_SERVER:-redis-server}" --version) == *v=[456].* ]] || debug=(--enable-debug-command yes)
    start_redis "${debug[@]}"
    SOURCE=$REDIS_PORT
    start_redis "${debug[@]}"
    VERSION=$(server_version)
    fill
}

teardown() { common_teardown; }

both() { # redis-cli argument…
    redis-cli -p "$SOURCE" "$@" >/dev/null
    redis-cli -p "$REDIS_PORT" "$@" >/dev/null
}

# The source gets all values and saves them: FILE.
fill() {
    both config set list-compress-depth 1
    both debug quicklist-packed-threshold 200b || true # plain nodes, 7.0
    [[ $(redis-cli -p "$SOURCE" --eval "$REPO/tests/fixtures/values.lua") == filled ]] ||
        fail "$(redis-cli -p "$SOURCE" --eval "$REPO/tests/fixtures/values.lua")"
    [[ $(redis-cli -p "$SOURCE" save) == OK ]]
    FILE=$TMP/redis.$SOURCE/dump.rdb
}

copy() { # dfparse option…
    timeout 100 dfreader "$FILE" 2>"$TMP/reader.err" | timeout 100 dfparse -t "$VERSION" "$@" 2>"$TMP/parse.err" |
        timeout 100 rediswriter -q "redis://127.0.0.1:$REDIS_PORT" 2>"$TMP/writer.err" &&
        STATUSES="${PIPESTATUS[*]}" || STATUSES="${PIPESTATUS[*]}"
    [[ $STATUSES == "0 0 0" ]] || fail "statuses $STATUSES: $(cat "$TMP"/*.err)"
}

# What DEBUG DIGEST-VALUE says about each key of each database.
digests() { # port
    local db script
    script='local t = {}
        for _, k in ipairs(redis.call("KEYS", "*")) do
            t[#t + 1] = "debug digest-value \"" .. k:gsub(".", function(c) return string.format("\\x%02x", c:byte()) end) .. "\""
        end
        table.sort(t)
        return t'
    for db in 0 3 15; do
        redis-cli -p "$1" -n "$db" eval "$script" 0 >"$TMP/digest.commands"
        redis-cli -p "$1" -n "$db" <"$TMP/digest.commands" >"$TMP/digest.replies"
        paste -d ' ' <(cut -c1-120 "$TMP/digest.commands") "$TMP/digest.replies" | sed "s/^/$db /"
    done
}

# Compression is not the same twice: the DUMPs are of what is compressed.
dumps() { # port
    local db
    for db in 0 3 15; do redis-cli -p "$1" -n "$db" --eval "$REPO/tests/fixtures/dumps.lua" | sed "s/^/$db /"; done
}

assert_same_digests() {
    server_has 5.0 || { # there is no DIGEST-VALUE
        assert_same_data
        return
    }
    digests "$SOURCE" >"$TMP/digests.a"
    digests "$REDIS_PORT" >"$TMP/digests.b"
    [[ $(grep -cE ' [0-9a-f]{40}$' "$TMP/digests.a") -ge 85 ]] || fail "hardly any digests: $(head -3 "$TMP/digests.a")"
    diff -U0 "$TMP/digests.a" "$TMP/digests.b" >&2 || fail "digests differ"
}

assert_same_dumps() {
    both config set rdbcompression no
    dumps "$SOURCE" >"$TMP/dumps.a"
    dumps "$REDIS_PORT" >"$TMP/dumps.b"
    [[ $(grep -cE ' [0-9a-f]{40}$' "$TMP/dumps.a") -ge 70 ]] || fail "hardly any DUMPs: $(head -3 "$TMP/dumps.a")"
    diff -U0 "$TMP/dumps.a" "$TMP/dumps.b" >&2 || fail "DUMPs differ"
}

assert_same_data() {
    assert_same "redis://127.0.0.1:$SOURCE?dbs=0,3,15" "redis://127.0.0.1:$REDIS_PORT?dbs=0,3,15"
}

# What commands cannot make of streams, as dfparse(1) says: pending entries of deleted messages; before 7.0 an entry
# that was added and deleted last cannot be told from none.
without_exceptions() {
    both del x:pel-deleted
}

@test "through RESTORE: the same digests and the same DUMPs" {
    copy
    assert_same_digests
    assert_same_data
    assert_same_dumps
}

@test "through RESTORE of nearly everything: the same digests and the same DUMPs" {
    copy --restore-limit 768k
    assert_same_digests
    assert_same_data
    assert_same_dumps
}

@test "through commands: the same digests" {
    copy --restore-limit 0 --report "$TMP/report"
    assert_same_digests
    ! server_has 5.0 || grep -q '"kind":"stream-pending","lost":false.*"key":"x:pel-deleted"' "$TMP/report"
    [[ $(grep -c 'lost":true' "$TMP/report") -eq 0 ]]
    without_exceptions
    assert_same_data
}

@test "through commands of 64 bytes: the same digests" {
    copy --restore-limit 0 --part-size 64
    assert_same_digests
    without_exceptions
    assert_same_data
}

@test "through commands that every server knows: the same digests" {
    server_has 6.2 || skip "portable streams are for 6.2 and later"
    VERSION=portable
    timeout 100 dfreader "$FILE" | timeout 100 dfparse 2>/dev/null |
        timeout 100 rediswriter -q "redis://127.0.0.1:$REDIS_PORT" 2>"$TMP/err" || true
    # Field expiries are not portable; they are reported.
    both eval "for _, k in ipairs(redis.call('KEYS', 'ttl:*')) do redis.call('DEL', k) end" 0
    assert_same_digests
}

@test "over a data set that is there: nothing of it is left" {
    copy --restore-limit 0
    # Other values under the same keys, of other types, with expiries.
    rcli eval "for _, k in ipairs(redis.call('KEYS', '*')) do
        local t = redis.call('TYPE', k).ok
        redis.call('DEL', k)
        if t == 'hash' then redis.call('SADD', k, 'old') else redis.call('HSET', k, 'old', 'field') end
        redis.call('PEXPIREAT', k, '4102444800999')
    end" 0 >/dev/null
    copy
    assert_same_digests
    assert_same_data
}
