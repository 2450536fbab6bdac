#!/usr/bin/env bats
# Sessions that go on where they were, and what --on-full-resync does where they cannot.

load helper

setup() {
    common_setup
    WHAT=(--generate --flows 2 --keys 3000 --types "string=60,hash=20,zset=10,list=5,set=5" --elements 10 --seed 7)
}

teardown() { common_teardown; }

oracle() { # stand-in options: port of a server that holds the final data set, in ORACLE
    start_redis
    ORACLE=$REDIS_PORT
    standin "$@" --write-resp - --with-journal | redis-cli -p "$ORACLE" --pipe | grep -q 'errors: 0'
}

pipeline() { # dfreader options -- rediswriter options
    local -a reader=()
    while [[ $1 != -- ]]; do reader+=("$1") && shift; done
    shift
    dfreader -v "${reader[@]}" "dragonfly://127.0.0.1:$MASTER_PORT" 2>"$TMP/reader.err" | dfparse 2>"$TMP/parser.err" |
        rediswriter -v "$@" "redis://127.0.0.1:$REDIS_PORT" 2>"$TMP/writer.err"
}

synced_once() { # a first session, to its end
    start_master "${WHAT[@]}"
    start_redis
    run pipeline --resume --until synced -- --on-existing refuse
    [[ $status -eq 0 ]] || fail "$(cat "$TMP"/*.err)"
    kill "$MASTER_PID"
}

assert_equal_to_oracle() {
    run dfstate diff "redis://127.0.0.1:$ORACLE?dbs=0,3" "redis://127.0.0.1:$REDIS_PORT?dbs=0,3"
    [[ $status -eq 0 ]] || fail "$output"
}

another_master() { start_master "${WHAT[@]}" --replid "$(printf '%040d' 5)" "$@"; }

@test "another master: by default nothing is written" {
    synced_once
    rcli set stale 1
    another_master
    run pipeline --resume --until synced -- --on-existing refuse
    [[ $status -ne 0 ]]
    grep -q replid "$TMP/reader.err"
    [[ $(rcli get stale) == 1 && $(rcli dbsize) -eq 3002 ]]
}

@test "another master, flush: the target is emptied first" {
    oracle "${WHAT[@]}"
    synced_once
    rcli set stale 1
    another_master
    run pipeline --resume --on-full-resync flush --until synced -- --on-full-resync flush
    [[ $status -eq 0 ]] || fail "$(cat "$TMP"/*.err)"
    assert_equal_to_oracle
}

@test "another master, overwrite: keys that the source does not have are found and removed, in all databases" {
    oracle "${WHAT[@]}"
    synced_once
    for i in $(seq 2500); do echo "SET stale:$i x"; done | rcli >/dev/null
    for i in $(seq 700); do echo "HSET stale:$i f x"; done | rcli -n 3 >/dev/null
    printf 'SET "with\\x00nul" 1\r\n' | rcli >/dev/null
    another_master
    run pipeline --resume --on-full-resync overwrite --until synced -- --on-full-resync overwrite
    [[ $status -eq 0 ]] || fail "$(cat "$TMP"/*.err)"
    grep -q 'event=sweep_done scanned=6202 removed=3201' "$TMP/writer.err" || fail "$(grep sweep "$TMP/writer.err")"
    grep -q 'swept=3201' "$TMP/writer.err"
    assert_equal_to_oracle
    [[ -z $(rcli hget 'df2redis:{default}' sweep) ]]
}

@test "overwrite with live writes: what they make stays, and what they remove goes" {
    WHAT+=(--journal-kind mixed --journal-ops 20000)
    oracle "${WHAT[@]}"
    start_master "${WHAT[@]:0:11}"
    start_redis
    run pipeline --resume --until synced -- --on-existing refuse
    [[ $status -eq 0 ]] || fail "$(cat "$TMP"/*.err)"
    kill "$MASTER_PID"
    for i in $(seq 20000); do echo "SET stale:$i x"; done | rcli >/dev/null
    another_master --journal-rate 6000
    background pipeline --control "$TMP/c.sock" --resume --on-full-resync overwrite -- --on-full-resync overwrite
    local pid=$!
    wait_until 30 grep -q sweep_done "$TMP/writer.err"
    wait_until 30 eval '[[ $(dfreader --ask "$TMP/c.sock" status | grep -c "applied=10001 ") -eq 2 ]]'
    dfreader --ask "$TMP/c.sock" stop
    reap 20 "$pid"
    [[ $status -eq 0 ]] || fail "status $status $(cat "$TMP"/*.err)"
    assert_equal_to_oracle
}

@test "a sweep that was cut short is begun anew, not forgotten" {
    synced_once
    rcli hset 'df2redis:{default}' sweep 1
    another_master --replid "$(rcli hget 'df2redis:{default}' session | cut -d' ' -f4)"
    run pipeline --resume --until synced --
    [[ $status -ne 0 ]]
    grep -q "was not complete" "$TMP/reader.err" || fail "$(cat "$TMP"/*.err)"
}

@test "another master, flush: what the position file says does not count any more before the target is emptied" {
    start_master "${WHAT[@]}"
    start_redis
    local -a two=(--connections 2 --position-file "$TMP/positions")
    run pipeline --resume --until synced -- "${two[@]}"
    [[ $status -eq 0 ]] || fail "$(cat "$TMP"/*.err)"
    grep -qx whole=1 "$TMP/positions"
    kill "$MASTER_PID"
    another_master
    rcli client pause 60000 write # the flush waits there
    background pipeline --resume --on-full-resync flush --until synced -- "${two[@]}" --on-full-resync flush
    wait_until 10 eval 'rcli client list | grep -q cmd=flushall'
    grep -qx whole=0 "$TMP/positions"
    rcli client unpause
    wait_until 10 grep -qx whole=1 "$TMP/positions"
}

@test "several connections without a position file: that nothing can be gone on from is said at once" {
    start_master "${WHAT[@]}"
    start_redis
    run pipeline --resume --until synced -- --connections 2
    [[ $status -eq 0 ]] || fail "$(cat "$TMP"/*.err)"
    grep -q event=no_position_file "$TMP/writer.err"
    run pipeline --resume --until synced -- --on-existing overwrite --connections 2 --position-file "$TMP/positions"
    [[ $status -eq 0 ]] || fail "$(cat "$TMP"/*.err)"
    never grep event=no_position_file "$TMP/writer.err"
}

state_of_key() { # STATE: what a writer makes of the position key
    start_master "${WHAT[@]}"
    run pipeline --resume --until synced -- --on-existing refuse
    [[ $status -ne 0 ]] || fail "$(cat "$TMP"/*.err)"
    STATE=$(sed -n 's/.*event=resume state=\([a-z]*\) .*/\1/p' "$TMP/writer.err")
    kill "$MASTER_PID"
}

@test "a position key that is not as writers leave it is never taken for positions, or for an empty target" {
    local key='df2redis:{default}' session f0 f1
    synced_once
    session=$(rcli hget "$key" session)
    f0=$(rcli hget "$key" f0)
    f1=$(rcli hget "$key" f1)
    rcli hdel "$key" f1
    rcli hset "$key" f00 "$f0" # the first flow twice, the second not at all
    state_of_key
    [[ $STATE == lost ]] || fail "$(cat "$TMP/writer.err")"
    rcli hdel "$key" f00
    rcli hset "$key" f1 "${f1% *} 18446744073709551616"
    state_of_key
    [[ $STATE == lost ]] || fail "$(cat "$TMP/writer.err")"
    rcli hset "$key" f1 "$f1" session "${session/ 2 / 4294967298 }"
    rcli hdel "$key" f0 f1
    state_of_key
    [[ $STATE == lost ]] || fail "$(cat "$TMP/writer.err")"
}
