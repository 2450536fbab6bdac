#!/usr/bin/env bats
# Dragonfly as the target: what it knows goes there natively. Needs a Dragonfly binary of v1.40 or later in
# DF2REDIS_DRAGONFLY; skipped without.

load helper

setup() {
    common_setup
    [[ -n ${DF2REDIS_DRAGONFLY:-} ]] || skip "no Dragonfly binary: set DF2REDIS_DRAGONFLY"
    start_dragonfly
    SOURCE=$PORT
    start_dragonfly
    TARGET=$PORT
}

teardown() { common_teardown; }

start_dragonfly() { # PORT
    local dir
    for _ in 1 2 3 4 5; do
        PORT=$(random_port)
        dir=$TMP/dragonfly.$PORT
        mkdir -p "$dir"
        background "$DF2REDIS_DRAGONFLY" --port="$PORT" --bind=127.0.0.1 --proactor_threads=2 --dbfilename= --dir="$dir" \
            --logtostderr --version_check=false --maxmemory=1gb >"$dir/log" 2>&1
        wait_until 10 redis-cli -p "$PORT" ping && return 0
    done
    fail "no Dragonfly came up: $(cat "$dir/log")"
}

source() { redis-cli -p "$SOURCE" >/dev/null; }

# Every type of its own, and the others.
fill() {
    source <<'EOF'
SET s text
SET until text PXAT 4102444800123
SET sticky x STICK
HSET h f v g 1
HSETEX hx 100000 f v
HSET hx g w
SADD set a b 3
SADDEX sx 200000 m n
SADD sx stays
ZADD z 1.5 a inf b
RPUSH l a b 3
XADD x 1-1 f v
XADD x 2-1 f v
XGROUP CREATE x g 1-1
XREADGROUP GROUP g alice COUNT 1 STREAMS x >
JSON.SET j $ {"a":[1,2.5,"x"]}
BF.RESERVE bf 0.01 100
BF.ADD bf x
CF.RESERVE cf 100
CF.ADD cf x
CMS.INITBYDIM cms 10 3
CMS.INCRBY cms a 7
TOPK.RESERVE topk 3
TOPK.ADD topk a b
EOF
    for i in $(seq 40); do echo "HSETEX large $((1000 * i)) field$i $(printf %02000d "$i")"; done | source
    for i in $(seq 40); do echo "SADDEX larges $((1000 * i)) $(printf %02000d "$i")"; done | source
}

change() {
    source <<'EOF'
HSETEX h2 100000 f v g w
HSETEX hx 300000 f new
FIELDEXPIRE h 50000 f
HEXPIRE h2 70000 FIELDS 1 g
SADDEX sx 400000 o
BF.ADD bf y
BF.ADD bf2 z
CF.ADD cf y
CMS.INCRBY cms a 1 b 2
TOPK.ADD topk c c c
PREPEND s more
INCRBYFLOAT float 0.1
INCRBYFLOAT float 0.2
HINCRBYFLOAT h g 0.1
JSON.ARRAPPEND j $.a 4
SET sticky2 y STICK
STICK s
DEL l
RENAME z z2
EOF
}

equal() {
    run timeout 100 dfstate diff "redis://127.0.0.1:$SOURCE" "redis://127.0.0.1:$TARGET"
    [[ $status -eq 0 ]]
}

ttl() { redis-cli -p "$1" fieldttl "$2" "$3"; }

assert_same_field_ttls() { # key field…
    local key=$1 field a b
    shift
    for field in "$@"; do
        a=$(ttl "$SOURCE" "$key" "$field") b=$(ttl "$TARGET" "$key" "$field")
        [[ $a -gt 0 && $((a - b)) -le 3 && $((b - a)) -le 3 ]] || fail "$key $field: $a s and $b s"
    done
}

# A second STICK says that the key had been marked already.
assert_sticky() {
    local key
    for key in "$@"; do [[ $(redis-cli -p "$TARGET" stick "$key") == 0 ]] || fail "$key is not sticky"; done
}

@test "a snapshot: every type, by RESTORE and by commands, is what the source holds" {
    fill
    local limit
    for limit in 64k 0; do
        timeout 100 dfreader "dragonfly://127.0.0.1:$SOURCE" --until synced 2>"$TMP/reader.err" |
            timeout 100 dfparse --restore-limit $limit 2>"$TMP/parse.err" |
            timeout 100 rediswriter --on-existing flush "redis://127.0.0.1:$TARGET" 2>"$TMP/writer.err" &&
            STATUSES="${PIPESTATUS[*]}" || STATUSES="${PIPESTATUS[*]}"
        [[ $STATUSES == "0 0 0" ]] || fail "statuses $STATUSES: $(cat "$TMP"/*.err)"
        # Stream counters have no command there.
        [[ $limit != 0 ]] || for p in "$SOURCE" "$TARGET"; do redis-cli -p "$p" del x; done
        equal || fail "$limit: $output"
        assert_same_field_ttls hx f
        assert_same_field_ttls sx m n
        assert_same_field_ttls large field1 field40
        assert_sticky sticky
        [[ $(redis-cli -p "$TARGET" bf.exists bf x) == 1 && $(redis-cli -p "$TARGET" cms.query cms a) == 7 ]]
    done
}

@test "later changes, its extensions among them, are what the source holds" {
    fill
    background df2redis replicate "dragonfly://127.0.0.1:$SOURCE" "redis://127.0.0.1:$TARGET" 2>"$TMP/err"
    local pipeline=$!
    wait_until 20 equal
    change
    wait_until 10 equal || fail "$output $(cat "$TMP/err")"
    assert_same_field_ttls hx f
    assert_same_field_ttls h f
    assert_same_field_ttls h2 f g
    assert_same_field_ttls sx m o
    assert_sticky s sticky sticky2
    [[ $(redis-cli -p "$TARGET" cms.query cms a) == 8 && $(redis-cli -p "$TARGET" cf.exists cf y) == 1 ]]
    df2redis stop
    reap 10 "$pipeline"
    [[ $status -eq 0 ]] || fail "status $status: $(cat "$TMP/err")"
}

# A number that only counts right if each change is done once, in three databases by turns.
count() {
    local i
    for i in $(seq 1 60); do printf 'SELECT %d\nINCR n\nRPUSH l %d\n' $((i % 3)) "$i"; done | source
}

counted() {
    local db
    for db in 0 1 2; do [[ $(redis-cli -p "$TARGET" -n $db get n) == "$1" && $(redis-cli -p "$TARGET" -n $db llen l) == "$1" ]] || return 1; done
}

@test "later changes of every database, and flushes, with positions in a file; as many after a restart" {
    redis-cli -p "$SOURCE" -n 2 set before x
    background df2redis --resume --position-file "$TMP/positions" replicate "dragonfly://127.0.0.1:$SOURCE" "redis://127.0.0.1:$TARGET" 2>"$TMP/err"
    local pipeline=$!
    wait_until 20 eval '[[ $(redis-cli -p "$TARGET" -n 2 get before) == x ]]' || fail "$(cat "$TMP/err")"
    count
    wait_until 10 counted 20 || fail "$(cat "$TMP/err")"
    df2redis stop
    reap 10 "$pipeline"
    [[ $status -eq 0 ]] || fail "status $status: $(cat "$TMP/err")"
    background df2redis --resume --position-file "$TMP/positions" replicate "dragonfly://127.0.0.1:$SOURCE" "redis://127.0.0.1:$TARGET" 2>"$TMP/err"
    pipeline=$!
    count
    wait_until 20 counted 40 || fail "$(cat "$TMP/err")"
    redis-cli -p "$SOURCE" -n 1 flushdb
    wait_until 10 eval '[[ $(redis-cli -p "$TARGET" -n 1 exists n) == 0 ]]' || fail "$(cat "$TMP/err")"
    [[ $(redis-cli -p "$TARGET" -n 0 get n) == 40 ]]
    redis-cli -p "$SOURCE" flushall
    wait_until 10 eval '[[ $(redis-cli -p "$TARGET" -n 0 exists n) == 0 && $(redis-cli -p "$TARGET" -n 2 exists before) == 0 ]]'
    count
    wait_until 10 counted 20 || fail "$(cat "$TMP/err")"
    df2redis stop
    reap 10 "$pipeline"
    [[ $status -eq 0 ]] || fail "status $status: $(cat "$TMP/err")"
}

@test "without a file a key of another database is refused at once, and nothing is written to database 0 for it" {
    redis-cli -p "$SOURCE" -n 2 set elsewhere x
    run timeout 60 df2redis replicate "dragonfly://127.0.0.1:$SOURCE" "redis://127.0.0.1:$TARGET"
    [[ $status -eq 1 && $output == *event=database_out_of_reach* ]] || fail "status $status: $output"
    [[ $(redis-cli -p "$TARGET" exists elsewhere) == 0 ]]
}
