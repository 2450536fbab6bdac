#!/usr/bin/env bats
# The table of errors, rediswriter(1): each row provoked on a real server, over one connection and over several.

load helper
load writing

setup() { writing_setup; }

teardown() { writing_teardown; }

ENGINES=('' '--connections 2')
SCRIPT="EVAL return%20redis.call('INCR',KEYS[1])" # servers before 7.0 wrap up what is refused within a script

# ---- errors that pass: what was refused is there in the end, once and in order ----

begin() { # writer option…
    rcli flushall >/dev/null
    feed "$@"
    tell "$(heading 2)" "set 0 begun 1" "live 1 :pos=2 INCR m"
    wait_until 5 eval '[[ $(rcli get begun) == 1 && $(rcli get m) == 1 ]]'
}

offer() {
    tell "set 0 p:1 v" "set 0 p:2 v" "idem 0 SADD s m" "live 1 :pos=3 RPUSH l 1" "live 1 :pos=4 RPUSH l 2" \
        "live 1 :pos=5 INCR n" "live 1 :pos=6 LPOP l" "live 1 :pos=7 :key=3 $SCRIPT 1 e" \
        "req 0 RPUSH q 1" "req 0 RPUSH q 2"
}

# Over several connections a request that was sent into a dying one is doubtful: said, and status 3.
complete() { # [what else its status may be]
    tell "synced 0 :pos=9" "synced 1 :pos=9" end
    tell_end
    reap 20 "$WRITER" || { cat "$TMP/err" >&2; return 1; }
    [[ $status -eq 3 && ${1-0} -eq 3 ]] && said may_count_twice || assert_status 0 || { cat "$TMP/err" >&2; return 1; }
    [[ $(rcli get p:1)$(rcli get p:2) == vv && $(rcli sismember s m) == 1 && $(rcli lrange l 0 -1) == 2 &&
        $(rcli get n) == 1 && $(rcli get e) == 1 && $(rcli lrange q 0 -1) == $'1\n2' ]] || fail "$(rcli keys '*'): $(<"$TMP/err")"
}

counted() { # kind
    said "summary refusal=\"$1\" count=[1-9]" || { cat "$TMP/err" >&2; return 1; }
}

# Requests meet the error, which is there for half a second.
passes() { # kind words-of-the-log provoke mend
    local options
    for options in "${ENGINES[@]}"; do
        # shellcheck disable=SC2086
        begin $options
        $3
        offer
        wait_until 8 said "event=target_refuses_for_now.*$2.*action=waiting" || { cat "$TMP/err" >&2; return 1; }
        sleep 0.3
        [[ $(redis-cli -p "$REDIS_PORT" ping) != PONG || $(rcli exists l) != 1 ]]
        $4
        complete
        counted "$1"
    done
}

out_of_memory() { rcli config set maxmemory 1; }
enough_memory() { rcli config set maxmemory 0; }

@test "OOM: waits, in order" {
    start_redis
    passes OOM 'OOM command not allowed' out_of_memory enough_memory
}

be_replica() { rcli replicaof 127.0.0.1 1; }
be_master() { rcli replicaof no one; }

@test "READONLY: waits until the server is a master again" {
    start_redis
    passes READONLY "READONLY You can't write" be_replica be_master
}

be_stale() {
    rcli config set replica-read-only no
    rcli config set replica-serve-stale-data no
    rcli replicaof 127.0.0.1 1
}

@test "MASTERDOWN: waits" {
    start_redis
    passes MASTERDOWN 'MASTERDOWN Link with MASTER is down' be_stale be_master
}

want_replicas() { rcli config set min-replicas-to-write 1; }
want_none() { rcli config set min-replicas-to-write 0; }

@test "NOREPLICAS: waits" {
    start_redis
    passes NOREPLICAS 'NOREPLICAS Not enough good replicas' want_replicas want_none
}

bgsave_status() { rcli info persistence | tr -d '\r' | grep -qx "rdb_last_bgsave_status:$1"; }

fail_to_save() {
    rm -f "$TMP/redis.$REDIS_PORT/dump.rdb"
    mkdir "$TMP/redis.$REDIS_PORT/dump.rdb"
    wait_until 8 eval 'rcli bgsave >/dev/null; bgsave_status err' # the one before may still be running
}

save_again() {
    rmdir "$TMP/redis.$REDIS_PORT/dump.rdb"
    wait_until 8 eval 'rcli bgsave >/dev/null; bgsave_status ok'
}

@test "MISCONF: waits until the server can save again" {
    start_redis --save '3600 1'
    passes MISCONF 'MISCONF' fail_to_save save_again
}

run_script() {
    rcli config set busy-reply-threshold 20 || rcli config set lua-time-limit 20
    background redis-cli -p "$REDIS_PORT" eval 'while true do end' 0
    wait_until 5 eval 'rcli ping | grep -q BUSY'
}
kill_script() { rcli script kill; }

@test "BUSY: waits for the script" {
    start_redis
    passes BUSY 'BUSY Redis is busy' run_script kill_script
}

@test "LOADING: waits, also when the server was started anew" {
    start_redis --appendonly yes
    rcli eval 'for i = 1, 20000 do redis.call("SET", "k" .. i, "v") end' 0
    feed --reconnect-timeout 2
    tell "$(heading 1)" "synced 0 :pos=2" "live 0 :pos=3 INCR n"
    wait_until 5 eval '[[ $(rcli get n) == 1 ]]'
    kill -KILL "$REDIS_PID"
    wait "$REDIS_PID" 2>/dev/null || true
    same_server_again --appendonly yes --key-load-delay 100 --loading-process-events-interval-bytes 1024
    tell "live 0 :pos=4 INCR n"
    wait_until 15 eval '[[ $(rcli get n) == 2 ]]' || { cat "$TMP/err" >&2; return 1; }
    said 'event=target_not_ready.*LOADING'
    tell end
    tell_end
    reap 5 "$WRITER"
    assert_status 0
    counted LOADING
}

rejected() { # asked over the only connection that there may be
    local line
    printf 'INFO stats\r\n' >&"$one"
    while read -r -t 10 line <&"$one" && [[ $line != rejected_connections:* ]]; do :; done
    line=${line%$'\r'}
    [[ ${line#*:} -gt 0 ]]
}

@test "max number of clients: waits for its place" {
    start_redis
    local options
    for options in "${ENGINES[@]}"; do
        # shellcheck disable=SC2086
        begin $options
        exec {one}<>"/dev/tcp/127.0.0.1/$REDIS_PORT"
        printf 'CONFIG RESETSTAT\r\nCONFIG SET maxclients 1\r\nCLIENT KILL TYPE normal SKIPME yes\r\n' >&"$one"
        offer
        wait_until 5 rejected
        printf 'CONFIG SET maxclients 100\r\n' >&"$one"
        complete ${options:+3}
        exec {one}>&-
        counted 'ERR max number of clients reached'
        said event=target_connection_lost
    done
}

@test "a connection that is reset: again, and exactly once" {
    start_redis
    local options
    for options in "${ENGINES[@]}"; do
        # shellcheck disable=SC2086
        begin $options
        rcli client kill type normal skipme yes
        offer
        complete ${options:+3}
        said 'event=target_connection_lost.*error='
        said ' reconnects=[1-9]'
    done
}

@test "a server that stops answering is left after --reply-timeout, and found again" {
    start_redis
    local options
    for options in "${ENGINES[@]}"; do
        # shellcheck disable=SC2086
        begin --reply-timeout 1 $options
        kill -STOP "$REDIS_PID"
        tell "set 0 p:1 v" "set 0 p:2 v" "idem 0 SADD s m"
        wait_until 5 said 'event=target_connection_lost.*no reply for 1 s' || { cat "$TMP/err" >&2; return 1; }
        kill -CONT "$REDIS_PID"
        wait_until 5 eval '[[ $(rcli get p:1) == v ]]'
        offer
        complete
        said ' reconnects=[1-9]'
    done
}

# The questions of --on-existing skip and other requests in one transaction, executed after the writer has gone.
@test "a transaction whose replies are lost: questions are asked again, nothing else is repeated" {
    start_redis --busy-reply-threshold 60000
    rcli rpush there mine >/dev/null
    {
        echo session
        echo target existing=skip
        echo flow 0
        echo "idem 0 :class=2 :first :key=3 EVAL if%20redis.call('EXISTS',KEYS[1])==1%20then%20return%20redis.error_reply('BUSYKEY%20x')%20end%20return%201 1 list"
        echo "live 0 :pos=3 INCR n"
        echo "live 0 :pos=4 :key=0 EVAL local%20t=redis.call('TIME')%20repeat%20local%20u=redis.call('TIME')%20until%20(u[1]-t[1])*1000000+u[2]-t[2]>1500000%20return%201 0"
        echo "req 0 :class=2 RPUSH list 1"
        echo "req 0 :class=2 RPUSH list 2"
        echo "position 0 :last"
        echo "idem 0 :class=2 :first :key=3 EVAL if%20redis.call('EXISTS',KEYS[1])==1%20then%20return%20redis.error_reply('BUSYKEY%20x')%20end%20return%201 1 there"
        echo "req 0 :class=2 RPUSH there 2"
        echo "position 0 :last"
        echo "synced 0 :pos=9"
        echo end
    } | write --on-existing skip --reply-timeout 1
    assert_status 0
    assert_output_has event=replies_lost
    assert_output_has ' retries=1 '
    [[ $(rcli get n) == 1 && $(rcli lrange list 0 -1) == $'1\n2' && $(rcli lrange there 0 -1) == mine ]]
    assert_output_has 'report="existing" count=1 key1=there'
}

# ---- data errors: counted, named, the rest goes on ----

# The request fails with the kind, what stands around it is applied.
is_data_error() { # kind key request…
    local kind=$1 key=$2 options
    shift 2
    for options in "${ENGINES[@]}"; do
        rcli set string x >/dev/null
        # shellcheck disable=SC2086
        printf '%s\n' "live 0 :pos=2 SET before 1" "live 0 :pos=3 $*" "idem 0 $*" "live 0 :pos=4 SET after 1" |
            one_flow | write $options
        assert_status 3
        assert_output_has "summary error=\"$kind"
        assert_output_has "count=2 key1=$key"
        assert_output_has "event=data_error command="
        [[ $(rcli get before)$(rcli get after) == 11 && $output != *refusal=* ]]
        rcli flushall >/dev/null
    done
}

@test "WRONGTYPE and other errors of one request: data errors" {
    start_redis
    is_data_error 'LPUSH: WRONGTYPE' string LPUSH string 1
    is_data_error 'INCR: ERR value is not an integer or out of range' string INCR string
    is_data_error 'RESTORE: ERR DUMP payload version or checksum are wrong' k RESTORE k 0 garbage
}

@test "BUSYKEY where keys are overwritten: a data error, the key is as it was" {
    start_redis
    rcli set other y >/dev/null
    local dump
    dump=$(rcli --raw dump other | head -c -1 | od -An -v -tx1 | tr -d '\n' | tr ' ' '%')
    is_data_error 'RESTORE: BUSYKEY' string RESTORE string 0 "$dump"
}

@test "commands that the target does not know, and wrong arguments: data errors, the transaction is sent without them" {
    start_redis
    is_data_error 'NOSUCH: ERR unknown command' string NOSUCH string
    is_data_error 'GET: ERR wrong number of arguments for' string GET string 1 2
}

# ---- fatal ones: nothing is skipped ----

@test "NOAUTH, WRONGPASS: status 1" {
    start_redis
    rcli config set requirepass secret >/dev/null
    local options
    for options in "${ENGINES[@]}"; do
        # shellcheck disable=SC2086
        one_flow <<<"set 0 a 1" | write $options
        assert_status 1
        assert_output_has 'event=cannot_use_target'
        assert_output_has 'NOAUTH'
        # shellcheck disable=SC2086
        DF2REDIS_TARGET_PASSWORD=wrong run rediswriter $options "$(target)" "$TMP/stream"
        assert_status 1
        assert_output_has 'WRONGPASS'
        [[ $output != *secret* ]]
    done
}

@test "NOPERM: status 1, from the first request on that is not allowed" {
    start_redis
    local options request
    for options in "${ENGINES[@]}"; do
        for request in "live 0 :pos=3 INCR n" "idem 0 INCR n" "live 0 :pos=3 :key=3 $SCRIPT 1 n"; do
            rcli acl setuser default -incr >/dev/null
            # shellcheck disable=SC2086
            printf '%s\n' "set 0 a 1" "$request" | one_flow | write $options
            assert_status 1
            assert_output_has 'event=target_refuses'
            # A script has been run by then, within a transaction: what it lacks is named with its key, too.
            case $request in
            *EVAL*) [[ $output =~ incr|"run this command" ]] ;;
            *) [[ $output == *NOPERM* && $output != *event=data_error* ]] ;;
            esac
            rcli acl setuser default +incr >/dev/null
            [[ $(rcli exists n) == 0 ]]
        done
    done
}

@test "a protocol error: status 1, not an endless number of connections" {
    start_redis
    local options
    for options in "${ENGINES[@]}"; do
        # shellcheck disable=SC2086
        begin --reconnect-timeout 3 $options
        rcli config set proto-max-bulk-len 1mb # which was 512 MiB when the writer asked
        tell "live 1 :pos=3 RPUSH l @3000000" "synced 0 :pos=9" "synced 1 :pos=9" end
        tell_end
        reap 10 "$WRITER"
        assert_status 1
        said 'event=target_refuses.*Protocol error' || { cat "$TMP/err" >&2; return 1; }
        rcli config set proto-max-bulk-len 512mb
    done
}
