#!/usr/bin/env bats
# Verifying: masters from v1.39 on may lose new keys in a full sync; df2redis looks for every key at the target then,
# and reads again what is missing. The stand-in leaves one key of seven out.

load helper
load reading

KEYS=5000
WHAT=(--generate --keys "$KEYS" --omit 7 --types string=50,hash=30,zset=20 --elements 10 --seed 3 --expiry 4102444800000)

setup_file() { one_cluster 0; }
teardown_file() { end_one_cluster; }

setup() {
    common_setup
    start_redis
    TARGET=redis://127.0.0.1:$REDIS_PORT
}

teardown() {
    [[ -n ${BATS_TEST_COMPLETED-} ]] || tail -n 40 "$TMP"/*err >&2
    [[ -z ${TASK_PID-} ]] || { df2redis stop --timeout 5 || true; } >/dev/null 2>&1
    common_teardown
}

master() { # options of the stand-in
    start_master "${WHAT[@]}" "$@"
    SOURCE=dragonfly://127.0.0.1:$MASTER_PORT
}

# What the target has to hold: keys that the options describe, on a server of their own.
assert_complete() { # flows [URL]
    local target=${2:-$TARGET} port=$REDIS_PORT
    start_redis
    standin "${WHAT[@]}" --flows "$1" --write-resp - | rcli --pipe | grep -q 'errors: 0'
    run dfstate diff --redis-target "redis://127.0.0.1:$REDIS_PORT" "$target"
    REDIS_PORT=$port
    [[ $status -eq 0 ]] || fail "$output"
}

migrate() { # options: status and messages in $TMP/err
    df2redis -v "$@" migrate "$SOURCE" "$TARGET" 2>"$TMP/err" || fail "status $?"
}

replicate() {
    background df2redis -v "$@" replicate "$SOURCE" "$TARGET" 2>>"$TMP/err"
    TASK_PID=$!
}

verified() { df2redis status | grep -q 'verify=done'; }
keys() { # at the target, without the position key
    rcli keys 'key:*' | grep -c .
}
LOST=$((KEYS / 7))

stop_task() {
    df2redis stop || fail "stop: $?"
    reap 10 "$TASK_PID"
    TASK_PID=
}

@test "keys that the full sync has not brought are found and read again: one process per flow" {
    master --flows 4
    migrate
    assert_complete 4
    grep -q "event=verified passes=2 keys=$KEYS repaired=$LOST" "$TMP/err"
    grep 'event=omitted_writes' "$TMP/err" | grep -q -- --journal_omit_redundant_writes=false
}

@test "the same with one process for all flows" {
    master --flows 3
    migrate --single
    assert_complete 3
    grep -q "repaired=$LOST" "$TMP/err"
}

@test "the same of a master with one shard" {
    master
    migrate --single
    assert_complete 1
}

@test "the same with several connections to the target" {
    master --flows 2
    printf '[writer]\nconnections = 3\n' >"$TMP/conf"
    migrate -c "$TMP/conf"
    assert_complete 2
}

@test "the same into a cluster" {
    the_cluster
    master --flows 2
    TARGET=$CLUSTER_URL migrate
    assert_complete 2 "redis-cluster://${CLUSTER_URL#redis://}"
}

@test "the same into a cluster, with transactions that carry the position" {
    the_cluster
    master --flows 2
    TARGET=$CLUSTER_URL migrate --exactly-once --position-file "$TMP/positions"
    for p in "${CLUSTER_PORTS[@]}"; do # position keys are no data
        redis-cli -p "$p" --scan --pattern 'df2redis:*' | xargs -r redis-cli -p "$p" -c del >/dev/null
    done
    assert_complete 2 "redis-cluster://${CLUSTER_URL#redis://}"
}

@test "a master that has left no write out is not scanned" {
    start_master --generate --flows 2 --keys 200 --df-version df-v1.40.1
    SOURCE=dragonfly://127.0.0.1:$MASTER_PORT
    migrate
    grep -q 'event=verified .*left no write out' "$TMP/err"
    never grep -q 'text="SCAN' "$MASTER_OUT.log"
}

@test "an older master is neither warned of nor scanned" {
    master --df-version df-v1.38.2
    migrate
    never grep -q 'omitted_writes\|verif' "$TMP/err"
    never grep -q 'text="SCAN' "$MASTER_OUT.log"
    [[ $(keys) -eq $((KEYS - LOST)) ]]
}

@test "--no-verify: warned, not scanned" {
    master --flows 2
    migrate --no-verify
    grep -q 'event=omitted_writes .*verify=no' "$TMP/err"
    never grep -q 'text="SCAN' "$MASTER_OUT.log"
    [[ $(keys) -eq $((KEYS - LOST)) ]]
}

@test "no-verify and verify-rate stand in the file, too" {
    master --flows 2
    printf '[df2redis]\nno-verify = yes\nverify-rate = 77\n' >"$TMP/conf"
    migrate -c "$TMP/conf"
    never grep -q 'text="SCAN' "$MASTER_OUT.log"
    printf '[reader]\nverify-rate = none\n' >"$TMP/conf"
    run dfreader -c "$TMP/conf" "$SOURCE"
    assert_status 2
    assert_output_has verify-rate
}

@test "record: there is no target to ask, which is said" {
    master --flows 2
    df2redis record --until synced "$SOURCE" "$TMP/file" 2>"$TMP/err"
    grep -q 'event=omitted_writes' "$TMP/err"
    grep -q 'event=not_verified .*no writer' "$TMP/err"
    never grep -q 'text="SCAN' "$MASTER_OUT.log"
    dfparse -t redis:7.0 "$TMP/file" 2>>"$TMP/err" | rediswriter -q "$TARGET" 2>>"$TMP/err"
    [[ $(keys) -eq $((KEYS - LOST)) ]]
}

@test "filters, new names and databases hold for what is read again" {
    master --flows 2
    dfreader --until synced "$SOURCE" 2>"$TMP/r.err" |
        dfparse --exclude 'key:*3' --rename-prefix key:=new: --db-map 0=4 2>"$TMP/p.err" | rediswriter "$TARGET" 2>"$TMP/w.err"
    start=$REDIS_PORT
    start_redis
    standin "${WHAT[@]}" --flows 2 --write-resp - | rcli --pipe >/dev/null
    want=$(rcli --scan --pattern 'key:*' | grep -v '3$' | sed 's/^key:/new:/' | sort | sha256sum)
    REDIS_PORT=$start
    [[ $(rcli -n 4 --scan --pattern '*' | sort | sha256sum) == "$want" ]]
    [[ $(rcli -n 0 --scan | grep -vc '^df2redis:') -eq 0 ]]
}

@test "keys that --exclude type: leaves out are not looked for for ever" {
    master --flows 2
    dfreader -v --until synced "$SOURCE" 2>"$TMP/r.err" | dfparse --exclude type:hash 2>"$TMP/p.err" |
        rediswriter "$TARGET" 2>"$TMP/w.err"
    start=$REDIS_PORT
    start_redis
    standin "${WHAT[@]}" --flows 2 --write-resp - | rcli --pipe >/dev/null
    want=$(rcli eval "local n = 0 for _, k in ipairs(redis.call('keys', '*')) do
        n = n + (redis.call('type', k).ok == 'hash' and 1 or 0) end return n" 0)
    REDIS_PORT=$start
    [[ $want -gt 0 && $(keys) -eq $((KEYS - want)) ]] || fail "$(keys) of $KEYS, $want hashes"
}

@test "status shows it while it lasts, and --verify-rate slows it down" {
    master --flows 2
    replicate --verify-rate 1000
    wait_until 10 phase_is verifying
    run df2redis status
    [[ $output =~ phase=verifying.*verify=runs\ pass=[0-9]+\ checked=[0-9]+\ missing=[0-9]+ ]] || fail "$output"
    began=$SECONDS
    wait_until 40 verified
    [[ $((SECONDS - began)) -ge 5 ]] || fail "two passes over $KEYS keys at 1000/s took $((SECONDS - began)) s"
    wait_until 10 phase_is streaming
    stop_task
    assert_complete 2
}

@test "changes that go on meanwhile are kept" {
    master --flows 2 --journal-kind rpush --journal-ops 20000 --journal-rate 4000
    replicate --verify-rate 3000
    wait_until 10 phase_is verifying
    wait_until 40 verified
    pushed() {
        [[ $(rcli eval "local n = 0 for _, k in ipairs(redis.call('keys', 'queue:*')) do
            n = n + redis.call('llen', k) end return n" 0) -eq 20000 ]]
    }
    wait_until 20 pushed
    stop_task
    rcli --scan --pattern 'queue:*' | xargs redis-cli -p "$REDIS_PORT" del >/dev/null
    assert_complete 2
}

killed_and_resumed() { # options: killed while it verifies, then started again with the same
    replicate --resume --verify-rate 500 "$@"
    wait_until 10 phase_is verifying
    [[ ! " $* " == *position-file* ]] || wait_until 10 grep -q '^whole=1' "$TMP/positions"
    kill -KILL "$(cat "$XDG_RUNTIME_DIR/df2redis/default/rediswriter.pid")"
    reap 20 "$TASK_PID"
    TASK_PID=
    : >"$TMP/err"
    replicate --resume "$@"
    wait_until 20 verified
    grep -q 'mode=PARTIAL' "$TMP/err" || fail "no partial sync"
    stop_task
    : >"$TMP/err"
    replicate --resume "$@"
    wait_until 10 grep -q 'mode=PARTIAL' "$TMP/err"
    wait_until 10 phase_is streaming
    never grep -q 'verify_begins' "$TMP/err"
    stop_task
}

@test "killed while it verifies: the run that goes on does it again, and once only" {
    master --flows 2
    killed_and_resumed
    assert_complete 2
}

@test "the same with the position file of a cluster" {
    the_cluster
    master --flows 2
    TARGET=$CLUSTER_URL
    killed_and_resumed --position-file "$TMP/positions"
    assert_complete 2 "redis-cluster://${CLUSTER_URL#redis://}"
}

@test "a full sync over older data: what is stale of a lost key is replaced" {
    master --flows 2
    replicate --resume
    wait_until 20 verified
    stop_task
    for i in $(rcli --scan --pattern 'key:*' | head -100); do echo "SET $i stale"; done | rcli >/dev/null
    kill "$MASTER_PID"
    wait_until 5 ended "$MASTER_PID"
    master --flows 2 --replid "$(printf '%040d' 5)" --port "$MASTER_PORT"
    replicate --resume --on-full-resync overwrite
    wait_until 30 verified
    stop_task
    assert_complete 2
}

@test "the connection is lost: it goes on where it was" {
    master --flows 2 --close-at-scan 3
    migrate
    assert_complete 2
    grep -q 'event=verify_connection_lost' "$TMP/err"
}

@test "SCAN is refused: said, status shows it, migrate ends with status 3" {
    master --flows 2 --no-scan
    run df2redis -v migrate "$SOURCE" "$TARGET"
    assert_status 3
    assert_output_has 'event=verify_failed'
    assert_output_has NOPERM
    rcli flushall >/dev/null
    replicate
    failed() { df2redis status | grep -q 'verify=failed' && df2redis status | grep -q 'health=.*verify-failed'; }
    wait_until 20 failed
    stop_task
}

@test "more databases than can be verified: said, none is left out in silence" {
    master --flows 1 --dbs "$(seq -s , 0 1030)"
    run df2redis -v migrate --single "$SOURCE" "$TARGET"
    assert_status 3
    assert_output_has 'event=verify_failed pass=1 error="more than 1024 databases hold keys, db1024 is one too many"'
}

# A dfreader that verifies, with the test as its writer: what is written to descriptor $says is said to it.
start_verifying() {
    SOCK=$TMP/c.sock RAW=$TMP/raw
    master --flows 1
    start_reader --until synced
    mkfifo "$TMP/says"
    background bash -c 'exec probe talk "$1" "role=writer nonce=$2" <"$3"' - "$SOCK" "$NONCE" "$TMP/says"
    exec {says}>"$TMP/says"
    wait_until 5 status_has ' writers=1 '
    wait_until 5 cuts_sent 1
    printf 'cut flow=0 epoch=1\nsynced flow=0 epoch=1\nquit\n' | parser
    wait_until 10 grep -qa state=key "$RAW"
}

refuses_count() { # what the writer says has been answered, a line each; the last one cannot be
    start_verifying
    printf 'probed flow=0 epoch=1 %s\n' "$@" >&"$says"
    wait_until 5 grep -q 'event=verify_failed .*error="a writer counts answers that cannot be"' "$TMP/reader.err"
    exec {says}>&-
    kill -KILL "$!" 2>/dev/null || true
    reap 10 "$READER"
    [[ $status -eq 3 ]] || fail "status $status"
}

@test "a writer that counts more answers than it was asked for does not keep the verifying going for ever" {
    refuses_count 'keys=1000000000000 again=0 later=0 found=0'
}

@test "the same of keys that were read again, and of those found" {
    refuses_count 'keys=0 again=5 later=0 found=0'
}

@test "a writer that counts less than it did is not believed either" {
    refuses_count 'keys=10 again=0 later=0 found=0' 'keys=9 again=0 later=0 found=0'
}

@test "a target that does not let us ask: said, and nothing is read again for that" {
    master --flows 2
    rcli acl setuser mover on '>pw' '~*' '+@all' -exists >/dev/null
    TARGET=redis://mover:pw@127.0.0.1:$REDIS_PORT
    run df2redis -v migrate "$SOURCE" "$TARGET"
    assert_status 3
    assert_output_has 'event=verify_failed'
    [[ $(keys) -eq $((KEYS - LOST)) ]]
}

@test "the stand-in with clients that write gives the value that its oracle holds" {
    start_master --live "$REDIS_PORT" --live-warm 2000 --seed 5
    local key
    key=$(rcli --scan --pattern 'count:*' | head -n 1)
    [[ -n $key ]] || fail "no counter among the writes"
    [[ $(redis-cli -p "$MASTER_PORT" pttl "$key") == "$(rcli pttl "$key")" ]]
    redis-cli -p "$MASTER_PORT" --no-raw dump "$key" | grep -q '^"'
    redis-cli -p "$MASTER_PORT" dump "$key" | head -c -1 | redis-cli -p "$REDIS_PORT" -x restore copy 0 | grep -q OK
    [[ $(rcli get copy) == "$(rcli get "$key")" ]]
}
