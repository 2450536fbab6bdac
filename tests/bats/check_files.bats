#!/usr/bin/env bats
# df2redis-check with files: against a server and against each other. All differences are found, none is invented, and
# what cannot be told is never equal.

load helper
load loading

setup() { files_setup; }

teardown() { common_teardown; }

two_servers() {
    start_redis
    A=$REDIS_PORT A_DIR=$TMP/redis.$REDIS_PORT
    start_redis
    B=$REDIS_PORT B_PID=$REDIS_PID B_DIR=$TMP/redis.$REDIS_PORT
}

url() { echo "redis://127.0.0.1:$1"; }

a() { redis-cli -p "$A" "$@" >/dev/null; }
b() { redis-cli -p "$B" "$@" >/dev/null; }

check() { # options… source target
    run df2redis-check --delay 50 -o "$TMP/out.json" "$@"
}

found() { # "kind db key" of each line, sorted
    perl -ne '/"kind":"(\w+)","db":(\d+).*?"key":"((?:[^"\\]|\\.)*)"/ or die $_; print "$1 $2 $3\n"' "$TMP/out.json" | sort
}

ends_with() { # status text
    [[ $status -eq $1 ]] || fail "status $status: $output" || return 1
    [[ $output == *"$2"* ]] || fail "no \"$2\": $output"
}

has_field_ttl() { ! redis-cli -p "$A" hpexpiretime none fields 1 f 2>&1 | grep -q 'unknown command'; }

load_data() { # file port: requests, and no error
    redis-cli -p "$2" --pipe <"$1" >"$TMP/pipe" || fail "$(cat "$TMP/pipe")" || return 1
    grep -q '^errors: 0,' "$TMP/pipe" || fail "$(cat "$TMP/pipe")"
}

@test "a thousand differences of more than 25 kinds between a server and a file, and between files" {
    local more=()
    two_servers
    ! has_field_ttl || more=(field-ttl)
    "$REPO/tests/bats/differences.pl" 25 "$TMP/source" "$TMP/target" "$TMP/expected" "${more[@]}"
    [[ $(wc -l <"$TMP/expected") -gt 1000 ]]
    load_data "$TMP/source" "$A"
    load_data "$TMP/target" "$B"
    a save
    b save
    check "$(url "$A")" "$B_DIR/dump.rdb"
    ends_with 3 " differ"
    found | diff - "$TMP/expected"
    check "$A_DIR/dump.rdb" "$(url "$B")"
    ends_with 3 " differ"
    found | diff - "$TMP/expected"
    check "file:$A_DIR/dump.rdb" "$B_DIR/dump.rdb"
    ends_with 3 " differ"
    found | diff - "$TMP/expected"
    # The same data, loaded anew.
    check "$(url "$A")" "$A_DIR/dump.rdb"
    ends_with 0 ": equal"
    [[ ! -s $TMP/out.json ]]
}

@test "modes, sample and times to live" {
    two_servers
    a set same v
    a set string abc
    b set same v
    b set string abd
    a set longer abc
    b set longer abcd
    a set expires v
    b set expires v px 100000
    a set close v pxat 2000000000000
    b set close v pxat 2000000001000
    a set missing v
    b set extra v
    a save
    check --mode exists "$A_DIR/dump.rdb" "$(url "$B")"
    [[ $(found) == $'extra 0 extra\nmissing 0 missing' ]]
    check --mode type-ttl "$A_DIR/dump.rdb" "$(url "$B")"
    [[ $(found) == $'extra 0 extra\nmissing 0 missing\nttl 0 expires' ]]
    check --mode length "$A_DIR/dump.rdb" "$(url "$B")"
    [[ $(found) == $'extra 0 extra\nlength 0 longer\nmissing 0 missing\nttl 0 expires' ]]
    check --no-ttl "$A_DIR/dump.rdb" "$(url "$B")"
    [[ $(found) == $'extra 0 extra\nmissing 0 missing\nvalue 0 longer\nvalue 0 string' ]]
    check --ttl-tolerance 500 "$A_DIR/dump.rdb" "$(url "$B")"
    [[ $(found) == *'ttl 0 close'* ]]
}

@test "large values are the same however they come: by SCAN in parts, from a file in pieces" {
    two_servers
    seq 100000 | awk '{ print "HSET hash f" $1 " v" $1; print "RPUSH list e" $1; print "SADD set m" $1; print "ZADD zset " $1 / 3 " m" $1 }' \
        >"$TMP/data"
    load_data "$TMP/data" "$A"
    head -c 20000000 /dev/zero | redis-cli -p "$A" -x set string >/dev/null
    a save
    check "$A_DIR/dump.rdb" "$(url "$A")"
    ends_with 0 ": equal"
    a hset hash f90000 x
    a lset list 90000 x
    a srem set m90000
    a zadd zset 1 m90000
    a setrange string 19000000 x
    check "$A_DIR/dump.rdb" "$(url "$A")"
    ends_with 3 "5 differ"
    [[ $(found) == $'element 0 list\nfield 0 hash\nmember 0 set\nscore 0 zset\nvalue 0 string' ]]
}

@test "a Dragonfly's snapshot, an append-only file, every kind of value" {
    local aof
    start_redis --appendonly yes --aof-use-rdb-preamble yes
    A=$REDIS_PORT A_DIR=$TMP/redis.$REDIS_PORT
    aof=$A_DIR/appendonlydir
    a set k v
    a hset h f v
    a bgrewriteaof
    wait_until 10 rewritten
    check "$aof" "$(url "$A")"
    ends_with 0 ": equal"
    a set k w
    wait_until 5 grep -q w "$aof"/*.incr.aof
    check "$aof" "$(url "$A")"
    ends_with 1 "let a server load it"
    # A set of files against one; what has no form in commands cannot be told.
    check "$SNAPSHOTS/small-summary.dfs" "$SNAPSHOTS/small.rdb"
    ends_with 1 "0 differ, and some could not be compared"
    [[ $(found) == $'unknown_type 0 bloom:1\nunknown_type 0 setttl:1\nunknown_type 3 bloom:1\nunknown_type 3 setttl:1' ]]
    a save
    head -c 60 "$A_DIR/dump.rdb" >"$TMP/cut.rdb"
    check "$TMP/cut.rdb" "$(url "$A")"
    ends_with 1 "source $TMP/cut.rdb: "
}

rewritten() { [[ $(redis-cli -p "$A" info persistence) == *aof_rewrite_in_progress:0* ]] && ls "$A_DIR"/appendonlydir/*.2.base.rdb; }

@test "what is not there, is no snapshot or dies: 1" {
    two_servers
    seq 100000 | sed 's/.*/SET key:& v/' >"$TMP/data"
    load_data "$TMP/data" "$B"
    b save
    check "$TMP/none.rdb" "$(url "$B")"
    ends_with 1 "none.rdb"
    echo hello >"$TMP/text"
    check "$TMP/text" "$(url "$B")"
    ends_with 1 "source $TMP/text: "
    check "$B_DIR/dump.rdb" redis://127.0.0.1:1
    ends_with 1 "target: cannot connect"
    b config set requirepass right
    check "$B_DIR/dump.rdb" "$(url "$B")"
    ends_with 1 "NOAUTH"
    DF2REDIS_TARGET_PASSWORD=right check "$B_DIR/dump.rdb" "$(url "$B")"
    ends_with 0 ": equal"
    background env DF2REDIS_TARGET_PASSWORD=right df2redis-check --target-max-ops 20000 "$B_DIR/dump.rdb" "$(url "$B")" \
        >"$TMP/log" 2>&1
    local pid=$!
    wait_until 5 target_is_read
    kill -KILL "$B_PID"
    status=0
    wait "$pid" || status=$?
    output=$(cat "$TMP/log")
    ends_with 1 "target "
}

target_is_read() { [[ $(redis-cli -p "$B" -a right info commandstats 2>/dev/null) == *cmdstat_scan* ]]; }

@test "a key that comes later is looked for again" {
    two_servers
    a set k v
    a save
    background df2redis-check --delay 1500 -v "$A_DIR/dump.rdb" "$(url "$B")" >"$TMP/log" 2>&1
    local pid=$!
    wait_until 5 grep -q event=look_again "$TMP/log"
    b set k v
    status=0
    wait "$pid" || status=$?
    output=$(cat "$TMP/log")
    ends_with 0 ": equal"
}

@test "rules, names and databases, with a file and with servers" {
    local source
    two_servers
    a -n 2 set user:1 v
    a -n 2 set other v
    a -n 2 set tmp:1 v
    a -n 2 rpush tmp:list v
    a -n 3 set user:2 v
    a save
    b -n 7 set u:1 v
    b -n 7 set other v
    b -n 7 set tmp:2 v
    for source in "$A_DIR/dump.rdb" "$(url "$A")"; do
        check --db-map 2=7 --rename-prefix user:=u: --exclude 'tmp:*' --exclude db:3 "$source" "$(url "$B")"
        ends_with 0 ": equal"
        check --db-map 2=7 --rename-prefix user:=u: --exclude db:3 "$source" "$(url "$B")"
        ends_with 3 "3 differ"
        [[ $(found) == $'extra 7 tmp:2\nmissing 2 tmp:1\nmissing 2 tmp:list' ]]
        check --db-map 2=7 --rename-prefix user:=u: --include prefix:tmp: --include type:string "$source" "$(url "$B")"
        [[ $(found) == $'extra 7 tmp:2\nmissing 2 tmp:1' ]]
        check --db-map 2=7 --rename-prefix user:=u: --include 'user:*' --include db:2 "$source" "$(url "$B")"
        ends_with 0 "1 keys in the source, 1 in the target: equal"
    done
}

@test "known differences are listed apart, and do not count" {
    two_servers
    a set known v
    a set k v
    b set k w
    a save
    echo '{"kind":"module","lost":true,"live":false,"flow":0,"db":0,"key":"known","detail":"a \"db\":7 value"}' >"$TMP/report"
    check --known "$TMP/report" "$(url "$A")" "$(url "$B")"
    ends_with 3 "1 missing, known before and not counted"
    ends_with 3 ": 1 differ"
    grep -q '"kind":"missing".*"known":true' "$TMP/out.json"
    b set k v
    check --known "$TMP/report" "$(url "$A")" "$(url "$B")"
    ends_with 0 ": equal"
    check --known "$TMP/report" "$A_DIR/dump.rdb" "$(url "$B")"
    ends_with 0 ": equal"
    check --known "$TMP/report" --repair copy "$(url "$A")" "$(url "$B")"
    ends_with 0 ": equal"
    [[ $(redis-cli -p "$B" exists known) -eq 0 ]]
    echo nonsense >"$TMP/report"
    check --known "$TMP/report" "$(url "$A")" "$(url "$B")"
    ends_with 1 "does not write"
}

@test "a running task: each look waits for its positions" {
    two_servers
    a config set repl-diskless-sync-delay 0
    seq 1000 | sed 's/.*/SET key:& v/' >"$TMP/data"
    load_data "$TMP/data" "$A"
    check --task cache "$(url "$A")" "$(url "$B")"
    ends_with 1 "task cache: it does not run"
    background df2redis --task cache replicate "$(url "$A")" "$(url "$B")" 2>"$TMP/task"
    wait_until 10 all_there
    b set key:5 other
    check --task cache "$(url "$A")" "$(url "$B")"
    ends_with 3 "1 differ"
    # A target that lags by more than the delay is no difference.
    b set key:5 v
    redis-cli -p "$B" client pause 2500 write >/dev/null
    seq 1000 | sed 's/.*/SET key:& w/' >"$TMP/data"
    load_data "$TMP/data" "$A"
    run df2redis --task cache --delay 50 check "$(url "$A")" "$(url "$B")"
    ends_with 0 ": equal"
}

all_there() { [[ $(redis-cli -p "$B" dbsize) -ge 1001 ]] && df2redis --task cache --raw status | grep -q phase=streaming; }

@test "mistakes: 2" {
    two_servers
    a set k v
    a save
    check --repair copy "$A_DIR/dump.rdb" "$(url "$B")"
    ends_with 2 "--repair and --save need two servers"
    check --task cache "$A_DIR/dump.rdb" "$(url "$B")"
    ends_with 2 "--task needs two servers"
    check --source-password-file "$TMP/x" "$A_DIR/dump.rdb" "$(url "$B")"
    ends_with 2 "it is a file"
    check --include size:5 --include type:number "$(url "$A")" "$(url "$B")"
    ends_with 2 "unknown type"
    run dfreader --scan-keys "$TMP/x" "$(url "$A")"
    ends_with 2 "--scan-keys belongs to --scan"
}
