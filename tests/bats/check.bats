#!/usr/bin/env bats
# df2redis-check: all differences are found, none is invented, and what could not be looked at is never equal.

load helper

setup() { common_setup; }

teardown() { common_teardown; }

two_servers() { # options…
    start_redis "$@"
    A=$REDIS_PORT A_PID=$REDIS_PID
    start_redis "$@"
    B=$REDIS_PORT B_PID=$REDIS_PID
}

url() { echo "redis://127.0.0.1:$1"; }

a() { redis-cli -p "$A" "$@" >/dev/null; }
b() { redis-cli -p "$B" "$@" >/dev/null; }
both() { a "$@" && b "$@"; }

check() { # options…: of A and B
    run df2redis-check --delay 50 -o "$TMP/out.json" "$@" "$(url "$A")" "$(url "$B")"
}

found() { # "kind db key" of each line, sorted
    perl -ne '/"kind":"(\w+)","db":(\d+).*?"key":"((?:[^"\\]|\\.)*)"/ or die $_; print "$1 $2 $3\n"' "${1-$TMP/out.json}" | sort
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

@test "a thousand differences of more than 25 kinds are found, and none is invented" {
    local more=()
    two_servers
    ! has_field_ttl || more=(field-ttl)
    "$REPO/tests/bats/differences.pl" 25 "$TMP/source" "$TMP/target" "$TMP/expected" "${more[@]}"
    [[ $(wc -l <"$TMP/expected") -gt 1000 ]]
    load_data "$TMP/source" "$A"
    load_data "$TMP/target" "$B"
    check
    ends_with 3 " differ"
    found | diff - "$TMP/expected"
    # The other way round: what was missing is extra.
    run df2redis-check --delay 50 -o "$TMP/out.json" "$(url "$B")" "$(url "$A")"
    ends_with 3 " differ"
    found | sed 's/^missing/EXTRA/; s/^extra/missing/; s/^EXTRA/extra/' | sort | diff - "$TMP/expected"
}

@test "the same data: equal, whatever the mode" {
    local mode
    two_servers
    "$REPO/tests/bats/differences.pl" 3 "$TMP/source" "$TMP/target" "$TMP/expected"
    load_data "$TMP/source" "$A"
    load_data "$TMP/source" "$B"
    # Times to live that count from now on differ a little, ids of stream entries do not.
    for mode in exists type-ttl length full; do
        check --mode "$mode"
        ends_with 0 ": equal"
        [[ ! -s $TMP/out.json ]]
    done
    check --sample 10
    ends_with 0 ": equal"
    check -q
    ends_with 0 ""
    [[ -z $output ]]
}

@test "modes look as far as they say" {
    two_servers
    both set same v
    a set string abc
    b set string abd
    a set longer abc
    b set longer abcd
    a set expires v
    b set expires v px 100000
    a set type v
    b rpush type v
    a set missing v
    b set extra v
    check --mode exists
    ends_with 3 "2 differ"
    [[ $(found) == $'extra 0 extra\nmissing 0 missing' ]]
    check --mode type-ttl
    [[ $(found) == $'extra 0 extra\nmissing 0 missing\nttl 0 expires\ntype 0 type' ]]
    check --mode length
    [[ $(found) == $'extra 0 extra\nlength 0 longer\nmissing 0 missing\nttl 0 expires\ntype 0 type' ]]
    check --mode full
    [[ $(found) == $'extra 0 extra\nmissing 0 missing\nttl 0 expires\ntype 0 type\nvalue 0 longer\nvalue 0 string' ]]
    check --mode full --no-ttl
    [[ $(found) == $'extra 0 extra\nmissing 0 missing\ntype 0 type\nvalue 0 longer\nvalue 0 string' ]]
}

@test "a difference is shown with its place, bytes are quoted" {
    two_servers
    a hset 'h"1' f1 v1 f2 $'v\001\xff'
    b hset 'h"1' f1 v1 f2 other
    a set s "$(printf '%070000d' 0)x"
    b set s "$(printf '%070000d' 0)y"
    check
    ends_with 3 'key "h\x221": field "f2": source "v\x01\xff", target "other"'
    grep -qxF '{"kind":"field","db":0,"key":"h\"1","type":"hash","where":"f2","source":"v\u0001\u00ff","target":"other"}' \
        "$TMP/out.json"
    grep -qF '"key":"s","type":"string","where":70000,' "$TMP/out.json"
    run df2redis-check --delay 50 -q -o - "$(url "$A")" "$(url "$B")"
    [[ $status -eq 3 && ${#lines[@]} -eq 2 ]]
}

@test "large values are compared in parts, in little memory" {
    local i
    two_servers
    seq 300000 | awk '{ print "HSET hash f" $1 " v" $1; print "RPUSH list e" $1; print "SADD set m" $1; print "ZADD zset " $1 / 3 " m" $1 }' \
        >"$TMP/data"
    load_data "$TMP/data" "$A"
    load_data "$TMP/data" "$B"
    for i in "$A" "$B"; do head -c 60000000 /dev/zero | redis-cli -p "$i" -x set string >/dev/null; done
    run /usr/bin/env bash -c "df2redis-check $(url "$A") $(url "$B") & pid=\$!; peak=0
        while kill -0 \$pid 2>/dev/null; do now=\$(awk '/VmHWM/ { print \$2 }' /proc/\$pid/status 2>/dev/null); peak=\${now:-\$peak}; sleep 0.02; done
        wait \$pid; st=\$?; echo peak=\$peak; exit \$st"
    ends_with 0 ": equal"
    [[ ${lines[-1]#peak=} -gt 1000 && ${lines[-1]#peak=} -le 32768 ]] || fail "$output"
    b hset hash f250000 x
    b lset list 250000 x
    b srem set m250000
    b zadd zset 1 m250000
    b setrange string 50000000 x
    check
    ends_with 3 "5 differ"
    [[ $(found) == $'element 0 list\nfield 0 hash\nmember 0 set\nscore 0 zset\nvalue 0 string' ]]
}

@test "databases and names of the target" {
    two_servers
    a -n 2 set user:1 v
    a -n 2 set other v
    b -n 7 set u:1 v
    b -n 7 set other v
    check --db-map 2=7 --rename-prefix user:=u:
    ends_with 0 ": equal"
    check --db-map 2=7
    ends_with 3 "2 differ"
    [[ $(found) == $'extra 7 u:1\nmissing 2 user:1' ]]
    b -n 7 set user:1 v
    check --db-map 2=7 --rename-prefix user:=u:
    ends_with 1 "--rename-prefix leaves no key"
    b -n 7 del user:1
    a -n 3 set x v
    check --db-map 2=7,3=7
    ends_with 2 "both become 7"
}

@test "keys of df2redis itself are no data" {
    two_servers
    both set a 1
    b set 'df2redis:{x}:position' 1
    check
    ends_with 0 ": equal"
}

# Once the first look has found the key.
follow_later() {
    wait_until 5 strlen_was_asked
    b set k new
    a del gone
}

strlen_was_asked() { redis-cli -p "$B" info commandstats | grep -q cmdstat_getrange; }

@test "a target that lags behind is looked at again" {
    two_servers
    a set k new
    b set k old
    a set gone v
    background follow_later
    check --delay 1500
    ends_with 0 ": equal"
    a set k newer
    check --rounds 0
    ends_with 3 "1 differ"
}

is_written() { [[ $(redis-cli -p "$A" get k) -gt 0 ]]; }

@test "keys that keep changing are named: 75" {
    two_servers
    both set still v
    both set k 0
    background redis-cli -p "$A" -r -1 incr k >/dev/null
    wait_until 5 is_written
    check --rounds 3 --delay 300
    ends_with 75 "(keeps changing)"
    [[ $output == *"1 keep changing, all others are equal"* ]]
    grep -q '"key":"k".*"changing":true' "$TMP/out.json"
}

@test "one that is not there, a wrong password, a user without rights: 1" {
    two_servers
    both set a 1
    run df2redis-check "$(url "$A")" redis://127.0.0.1:1
    ends_with 1 "target: "
    run df2redis-check redis://127.0.0.1:1 "$(url "$B")"
    ends_with 1 "source: "
    a config set requirepass right
    check
    ends_with 1 "NOAUTH"
    export DF2REDIS_SOURCE_PASSWORD=wrong
    check
    ends_with 1 "AUTH"
    export DF2REDIS_SOURCE_PASSWORD=right
    check
    ends_with 0 ": equal"
    unset DF2REDIS_SOURCE_PASSWORD
    echo right >"$TMP/password"
    check --source-password-file "$TMP/password"
    ends_with 0 ": equal"
    b acl setuser reader on '>secret' '~x*' +@all
    run df2redis-check --source-password-file "$TMP/password" "$(url "$A")" "redis://reader:secret@127.0.0.1:$B"
    ends_with 1 "NOPERM"
    b acl setuser reader '~*' -mget
    run df2redis-check --source-password-file "$TMP/password" "$(url "$A")" "redis://reader:secret@127.0.0.1:$B"
    ends_with 1 "NOPERM"
}

@test "a server that stops answering or dies meanwhile: 1" {
    two_servers
    seq 200000 | sed 's/.*/SET key:& v/' >"$TMP/data"
    load_data "$TMP/data" "$A"
    load_data "$TMP/data" "$B"
    kill -STOP "$B_PID"
    run df2redis-check --target-connect-timeout 1 "$(url "$A")" "$(url "$B")"
    ends_with 1 "does not answer"
    kill -CONT "$B_PID"
    background df2redis-check --target-max-ops 50000 "$(url "$A")" "$(url "$B")" >"$TMP/log" 2>&1
    local pid=$!
    wait_until 5 target_is_read
    kill -KILL "$B_PID"
    status=0
    wait "$pid" || status=$?
    output=$(cat "$TMP/log")
    ends_with 1 "target "
}

target_is_read() { redis-cli -p "$B" info commandstats | grep -q cmdstat_mget; }

@test "limits of each side hold" {
    local begin
    two_servers
    seq 4000 | sed 's/.*/SET key:& v/' >"$TMP/data"
    load_data "$TMP/data" "$A"
    load_data "$TMP/data" "$B"
    begin=${EPOCHREALTIME/./}
    check --source-max-ops 4000
    ends_with 0 ": equal"
    [[ $((${EPOCHREALTIME/./} - begin)) -gt 700000 ]]
}

@test "mistakes on the command line: 2" {
    run df2redis-check redis://127.0.0.1:1
    ends_with 2 "a source and a target"
    run df2redis-check none.rdb redis://127.0.0.1:1
    ends_with 1 "source: neither a file nor the URL of a server"
    run df2redis-check --include type:list --rounds 0 redis://127.0.0.1:1 redis://127.0.0.1:2
    ends_with 2 "--rounds 1"
    run df2redis-check --mode deep redis://127.0.0.1:1 redis://127.0.0.1:2
    ends_with 2 "--mode deep"
    run df2redis-check --sample 0 redis://127.0.0.1:1 redis://127.0.0.1:2
    ends_with 2 "--sample 0"
    run df2redis-check --db-map 1 redis://127.0.0.1:1 redis://127.0.0.1:2
    ends_with 2 "--db-map 1"
    run df2redis-check redis://127.0.0.1:1/3 redis://127.0.0.1:2
    ends_with 2 "leave the /db out"
    run df2redis-check --source-tls-ca x redis://127.0.0.1:1 redis://127.0.0.1:2
    ends_with 2 "rediss://"
}

@test "df2redis check: the same, with the passwords and names of a task" {
    export REDISCLI_AUTH=secret
    two_servers --requirepass secret
    a set user:1 v
    b set u:1 v
    run df2redis --rename-prefix user:=u: --delay 50 check "redis://:secret@127.0.0.1:$A" "redis://:secret@127.0.0.1:$B"
    ends_with 0 ": equal"
    echo secret >"$TMP/password"
    run df2redis --source-password-file "$TMP/password" --target-password-file "$TMP/password" --delay 50 --mode exists \
        --output "$TMP/out.json" check "$(url "$A")" "$(url "$B")"
    ends_with 3 "2 differ"
    [[ $(found) == $'extra 0 u:1\nmissing 0 user:1' ]]
    printf '[df2redis]\nsource = %s\ntarget = %s\nspool = /tmp\n[check]\ndelay = 50\nrename-prefix = user:=u:\n' \
        "redis://:secret@127.0.0.1:$A" "redis://:secret@127.0.0.1:$B" >"$TMP/conf"
    run df2redis -c "$TMP/conf" check
    ends_with 0 ": equal"
    run df2redis check "$(url "$A")"
    ends_with 2 "check takes SOURCE and TARGET"
}

@test "--repair: everything that differs is written again, what is extra only goes with delete" {
    local more=()
    two_servers
    ! has_field_ttl || more=(field-ttl)
    "$REPO/tests/bats/differences.pl" 10 "$TMP/source" "$TMP/target" "$TMP/expected" "${more[@]}"
    load_data "$TMP/source" "$A"
    load_data "$TMP/target" "$B"
    check --repair copy
    ends_with 3 "repaired: $(grep -vc '^extra' "$TMP/expected") keys written, 0 removed, 0 not possible"
    ends_with 3 "then $(grep -c '^extra' "$TMP/expected") differ"
    found | diff - "$TMP/expected"
    check --mode exists
    [[ $(found) == "$(grep '^extra' "$TMP/expected")" ]]
    check --repair delete
    ends_with 0 "repaired: 0 keys written, $(grep -c '^extra' "$TMP/expected") removed, 0 not possible"
    check
    ends_with 0 ": equal"
    dfstate diff "$(url "$A")?dbs=0,5" "$(url "$B")?dbs=0,5"
}

@test "--repair: large values go through the pipeline; it keeps off while a task writes" {
    two_servers
    head -c 1500000 /dev/urandom | base64 -w 0 | redis-cli -p "$A" -x set large >/dev/null
    head -c 1500000 /dev/urandom | base64 -w 60 | sed 's/.*/RPUSH list &/' >"$TMP/data"
    load_data "$TMP/data" "$A"
    a pexpireat large 2000000000000
    a set small v
    check --db-map 0=3 --rename-prefix l=L: --repair copy
    ends_with 0 "repaired: 3 keys written, 0 removed, 0 not possible"
    [[ $(redis-cli -p "$B" -n 3 --scan | sort) == $'L:arge\nL:ist\nsmall' && $(redis-cli -p "$B" dbsize) -eq 0 ]]
    b flushall
    check --repair copy
    ends_with 0 "repaired: 3 keys written, 0 removed, 0 not possible"
    a set small w
    redis-cli -p "$B" <<<$'client setname df2redis:default:host.1.2\nblpop none 20' >/dev/null 3>&- &
    PIDS+=($!)
    wait_until 5 task_is_there
    check --repair copy
    ends_with 1 "a task of df2redis writes to it"
    [[ $(redis-cli -p "$B" get small) == v ]]
}

task_is_there() { redis-cli -p "$B" client list | grep -q name=df2redis:default; }

@test "--save: the keys that differ go through the pipeline, which writes them for any target" {
    local more=()
    two_servers
    ! has_field_ttl || more=(field-ttl)
    "$REPO/tests/bats/differences.pl" 3 "$TMP/source" "$TMP/target" "$TMP/expected" "${more[@]}"
    load_data "$TMP/source" "$A"
    load_data "$TMP/target" "$B"
    check --save "$TMP/repair.rdb"
    ends_with 3 "saved: $(grep -vc '^extra' "$TMP/expected") keys, 0 not possible"
    dfreader "$TMP/repair.rdb" | dfparse | rediswriter -q "$(url "$B")"
    check
    ends_with 3 " differ"
    [[ $(found) == "$(grep '^extra' "$TMP/expected")" ]]
    # Through commands, too, as a target gets them that does not load the source's types.
    load_data <(echo FLUSHALL) "$B"
    load_data "$TMP/target" "$B"
    dfreader "$TMP/repair.rdb" | dfparse -t "$(server_version)" --restore-limit 0 | rediswriter -q "$(url "$B")"
    check --mode type-ttl
    [[ $(found) == "$(grep '^extra' "$TMP/expected")" ]]
}
