#!/usr/bin/env bats
# Positions count only on the target that they were written to, and only as long as it has what they speak of.

load helper
load writing

setup_file() { one_cluster 1; }

setup() { writing_setup; }

teardown() { writing_teardown; }

teardown_file() { end_one_cluster; }

live_session() { # cluster=N [fact…]
    echo "session flows=1 control=$TMP/control journal=1 ${*:2}"
    echo "target $1"
}

numbers() { # from to: INCRs of keys in many slots, at these positions
    local i
    for ((i = $1; i <= $2; i++)); do echo "live 0 :pos=$i INCR n:$((i % 97))"; done
}

# A full sync and live changes up to position 300, in a position file.
first_run() { # cluster=N option…
    start_control
    feed --position-file "$TMP/positions" --on-existing overwrite "${@:2}"
    tell "$(live_session "$1" nonce=$NONCE)" "flow 0" "synced 0 :pos=100" "$(numbers 101 300)"
    wait_until 10 saved_at 300
}

saved_at() { grep -qx "f0=$1" "$TMP/positions"; }

end_run() {
    tell end
    tell_end
    reap 20 "$WRITER"
    [[ $status -eq 0 ]] || fail "status $status: $(cat "$TMP/err")"
}

# What a later run tells dfreader.
next_run() { # cluster=N option…
    : >"$TMP/told"
    feed -v --position-file "$TMP/positions" "${@:2}"
    tell "$(live_session "$1" nonce=${NONCE%9}8 resume=1)"
    wait_until 30 grep -q ^resume "$TMP/told" || fail "$(cat "$TMP/err")"
}

answer() { sed -n 's/^resume .*state=\([a-z]*\).*/\1/p' "$TMP/told"; }

assert_answer() { [[ $(answer) == "$1" ]] || fail "$(cat "$TMP/told" "$TMP/err")"; }

goes_on() {
    assert_answer saved
    tell "flow 0 mode=PARTIAL form=journal lsn=300" "$(numbers 301 500)"
    wait_until 10 saved_at 500
    end_run
}

all_500() { # cli…: nothing was lost or doubled
    local i sum=0
    for ((i = 0; i < 97; i++)); do sum=$((sum + $("$@" get "n:$i"))); done
    [[ $sum -eq 400 ]] || fail "sum $sum"
}

with_checksum() { # file of positions without its last line
    cat "$1"
    perl -0777 -ne '
        no warnings "portable";
        my $c = 0; my $p = 0x95ac9329ac4bc9b5;
        for my $b (unpack("C*", $_)) { $c ^= $b; $c = $c & 1 ? ($c >> 1) ^ $p : $c >> 1 for 1 .. 8 }
        printf "crc=%016x\n", $c' "$1"
}

started_anew() { # node index: without its data
    local p=${CLUSTER_PORTS[$1]} dir
    dir=$BATS_FILE_TMPDIR/cluster.$p
    kill -KILL "${CLUSTER_PIDS[$1]}"
    wait_until 5 ended "${CLUSTER_PIDS[$1]}"
    rm -f "$dir"/*.rdb
    start_cluster_node "$p" "$dir" --appendonly no
    CLUSTER_PIDS[$1]=${CLUSTER_PIDS[-1]}
    unset 'CLUSTER_PIDS[-1]'
    disown "${CLUSTER_PIDS[$1]}" # it is the file's, not this test's
    echo "${CLUSTER_PIDS[*]}" >"$BATS_FILE_TMPDIR/pids"
    wait_until 20 cluster_answers
}

# ---- a single server, its position key ----

vanishes() { # how it goes…
    start_redis
    feed
    tell "$(heading 1)" "set 0 k 1" "synced 0 :pos=5" "$(numbers 101 300)"
    wait_until 10 eval '[[ $(rcli hget "df2redis:{default}" f0) == *" 300" ]]'
    "$@"
    tell "$(numbers 301 310)"
    reap 20 "$WRITER"
    tell_end
    assert_status 75
    said "event=target_has_lost_data.*vanished" || fail "$(cat "$TMP/err")"
    # What this last transaction wrote is nothing to go on from.
    [[ -z $(rcli hget 'df2redis:{default}' session) ]]
}

@test "a target that somebody flushes while we are connected: noticed, and its position does not count" {
    vanishes rcli flushall
}

@test "a target whose position key somebody removes while we are connected" {
    vanishes rcli del 'df2redis:{default}'
}

@test "a target that is flushed in the middle of the full sync" {
    start_redis
    feed
    tell "$(heading 1)" "set 0 k 1" "set 0 l 1"
    wait_until 10 eval '[[ $(rcli exists k l) == 2 ]]'
    rcli flushall
    tell "set 0 m 1" "synced 0 :pos=5"
    reap 20 "$WRITER"
    tell_end
    assert_status 75
    said "event=target_has_lost_data.*vanished" || fail "$(cat "$TMP/err")"
}

# The server as one that does not tell its run_id, on PROXY_PORT.
without_run_id() {
    PROXY_PORT=$(random_port)
    background perl -MIO::Socket::INET -MIO::Select -e '
        my ($port, $to) = @ARGV;
        my $l = IO::Socket::INET->new(LocalAddr => "127.0.0.1", LocalPort => $port, Listen => 9, ReuseAddr => 1) or die;
        $SIG{CHLD} = "IGNORE";
        while (my $c = $l->accept) {
            next if fork;
            my $s = IO::Socket::INET->new(PeerAddr => "127.0.0.1", PeerPort => $to) or exit;
            my $both = IO::Select->new($c, $s);
            while (1) {
                for my $from ($both->can_read) {
                    sysread($from, my $bytes, 65536) or exit;
                    $bytes =~ s/\brun_id:/ruN_id:/g if $from == $s;
                    syswrite($from == $s ? $c : $s, $bytes);
                }
            }
        }' "$PROXY_PORT" "$REDIS_PORT"
    wait_until 5 redis-cli -p "$PROXY_PORT" ping
    target() { echo "redis://127.0.0.1:$PROXY_PORT"; }
}

@test "a target without run_id that is started anew with an older snapshot, in the middle of the full sync" {
    start_redis --dbfilename d.rdb
    without_run_id
    feed
    tell "$(heading 1)" "set 0 k 1" "set 0 l 1"
    wait_until 10 eval '[[ $(rcli exists k l) == 2 ]]'
    rcli save
    tell "set 0 m 1"
    wait_until 10 eval '[[ $(rcli exists m) == 1 ]]'
    kill -KILL "$REDIS_PID"
    wait_until 5 ended "$REDIS_PID"
    same_server_again --dbfilename d.rdb
    wait_until 10 rcli ping
    tell "set 0 n 1" "synced 0 :pos=5"
    reap 20 "$WRITER"
    tell_end
    assert_status 75
    said "event=target_has_lost_data.*anew" || fail "$(cat "$TMP/err")"
}

@test "several connections: a target without run_id that is started anew while we are connected" {
    start_redis --dbfilename d.rdb
    without_run_id
    first_run "" --connections 2
    rcli save
    kill -KILL "$REDIS_PID"
    wait_until 5 ended "$REDIS_PID"
    same_server_again --dbfilename d.rdb
    wait_until 10 rcli ping
    tell "$(numbers 301 400)"
    reap 20 "$WRITER"
    tell_end
    assert_status 75
    said "event=target_has_lost_data.*anew" || fail "$(cat "$TMP/err")"
}

@test "our own flushes are no loss" {
    start_redis
    heading 1 >"$TMP/text"
    printf '%s\n' "synced 0 :pos=5" "live 0 :pos=6 INCR a" "barrier 0 :pos=7 FLUSHALL" "live 0 :pos=8 INCR b" \
        "barrier 0 :pos=9 FLUSHDB" "live 0 :pos=10 INCR c" end >>"$TMP/text"
    write <"$TMP/text"
    assert_status 0
    [[ $(rcli mget a b c | xargs) == 1 && $(rcli hget 'df2redis:{default}' session) != "" ]]
}

@test "a target that somebody flushes during a replication: the task ends with 75, and status says why" {
    start_master --generate --flows 2 --keys 100 --journal-kind incr --journal-ops 100000 --journal-rate 500
    start_redis
    background df2redis replicate "dragonfly://127.0.0.1:$MASTER_PORT" "redis://127.0.0.1:$REDIS_PORT" 2>"$TMP/err"
    local pid=$!
    wait_until 20 eval 'df2redis status | grep -q phase=streaming'
    rcli flushall
    reap 20 "$pid"
    assert_status 75
    run df2redis status
    assert_output_has "phase=failed"
    assert_output_has "had%20vanished"
}

@test "restarted after the target lost its data: what is said is so" {
    start_master --generate --flows 2 --keys 100
    start_redis
    background df2redis --restart replicate "dragonfly://127.0.0.1:$MASTER_PORT" "redis://127.0.0.1:$REDIS_PORT" 2>"$TMP/err"
    local pid=$!
    wait_until 20 eval 'df2redis status | grep -q phase=streaming'
    kill -KILL "$REDIS_PID"
    wait_until 5 ended "$REDIS_PID"
    same_server_again
    reap 60 "$pid"
    [[ $status -ne 0 ]]
    said "the target has lost what was written to it" || fail "$(cat "$TMP/err")"
    never said "was not complete"
}

@test "a flushed single server: the next run is told that it has lost data" {
    start_redis
    start_control
    feed
    tell "$(live_session "" nonce=$NONCE)" "flow 0" "synced 0 :pos=100" "$(numbers 101 300)"
    wait_until 10 eval '[[ $(rcli hget "df2redis:{default}" f0) == *" 300" ]]'
    rcli flushall
    tell "$(numbers 301 310)"
    reap 20 "$WRITER"
    tell_end
    assert_status 75
    next_run ""
    assert_answer lost
    killed
}

# ---- several connections to a single server, with a position file ----

@test "several connections: a server that is as it was left" {
    start_redis
    first_run "" --connections 2
    end_run
    next_run "" --connections 2
    goes_on
    all_500 rcli
}

@test "several connections: a server that was flushed between two runs" {
    start_redis
    first_run "" --connections 2
    end_run
    rcli flushall
    next_run "" --connections 2
    assert_answer lost
    killed
}

@test "several connections: a server that was started anew without its data between two runs" {
    start_redis
    first_run "" --connections 2
    end_run
    kill -KILL "$REDIS_PID"
    wait_until 5 ended "$REDIS_PID"
    same_server_again
    wait_until 10 rcli ping
    next_run "" --connections 2
    assert_answer lost
    killed
}

@test "several connections: a server that was started anew with all of its data goes on, with an older snapshot it does not" {
    start_redis --dbfilename d.rdb
    first_run "" --connections 2
    rcli save
    cp "$TMP/redis.$REDIS_PORT/d.rdb" "$TMP/older.rdb"
    tell "$(numbers 301 400)"
    wait_until 10 saved_at 400
    end_run
    rcli save
    kill -KILL "$REDIS_PID"
    wait_until 5 ended "$REDIS_PID"
    same_server_again --dbfilename d.rdb
    wait_until 10 rcli ping
    next_run "" --connections 2
    assert_answer saved
    killed
    kill -KILL "$REDIS_PID"
    wait_until 5 ended "$REDIS_PID"
    cp "$TMP/older.rdb" "$TMP/redis.$REDIS_PORT/d.rdb"
    same_server_again --dbfilename d.rdb
    wait_until 10 rcli ping
    next_run "" --connections 2
    assert_answer lost
    killed
}

@test "several connections: a server that is flushed while we are connected" {
    start_redis
    first_run "" --connections 2
    rcli flushall
    tell "$(numbers 301 400)"
    reap 20 "$WRITER"
    tell_end
    assert_status 75
    said "event=target_has_lost_data.*vanished" || fail "$(cat "$TMP/err")"
    next_run "" --connections 2
    assert_answer lost
    killed
}

@test "several connections: the mark is written although records are of another database" {
    start_redis
    start_control
    feed --position-file "$TMP/positions" --connections 2
    tell "$(live_session "" nonce=$NONCE)" "flow 0" "synced 0 :pos=100"
    for i in $(seq 101 300); do echo "live 0 :pos=$i :db=$((i % 2 * 3)) INCR n:$((i % 7))"; done >"$TMP/text2"
    tell "$(cat "$TMP/text2")"
    wait_until 10 saved_at 300
    end_run
    grep -q '^marks=.*1$' "$TMP/positions" || fail "$(cat "$TMP/positions")"
    [[ -n $(rcli hget 'df2redis:{default}' m) && -z $(rcli -n 3 hget 'df2redis:{default}' m) ]]
}

# ---- a cluster ----

@test "cluster: masters that are as they were left" {
    to_cluster
    first_run cluster=1
    end_run
    next_run cluster=1
    goes_on
    all_500 ccli
}

@test "cluster: a writer that was killed goes on" {
    to_cluster
    first_run cluster=1
    killed
    next_run cluster=1
    assert_answer saved
    killed
}

@test "cluster: one master that was flushed between two runs" {
    to_cluster
    first_run cluster=1
    end_run
    redis-cli -p "${CLUSTER_PORTS[1]}" flushall
    next_run cluster=1
    assert_answer lost
    killed
}

@test "cluster: one master that is flushed while we are connected" {
    to_cluster
    first_run cluster=1
    redis-cli -p "${CLUSTER_PORTS[1]}" flushall
    tell "$(numbers 301 500)"
    reap 20 "$WRITER"
    tell_end
    assert_status 75
    said "event=target_has_lost_data.*vanished" || fail "$(cat "$TMP/err")"
    next_run cluster=1
    assert_answer lost
    killed
}

@test "cluster, exactly once: one master that is flushed while we are connected" {
    to_cluster
    first_run cluster=1 --exactly-once
    redis-cli -p "${CLUSTER_PORTS[2]}" flushall
    tell "$(numbers 301 500)"
    reap 20 "$WRITER"
    tell_end
    assert_status 75
    said "event=target_has_lost_data.*vanished" || fail "$(cat "$TMP/err")"
    next_run cluster=1 --exactly-once
    assert_answer lost
    killed
}

evicts_on() { # node index, a tag of its slots: it has counted evictions when this returns
    local port=${CLUSTER_PORTS[$1]} i
    redis-cli -p "$port" config set maxmemory-policy volatile-random >/dev/null # of keys that expire: ours do not
    for ((i = 0; i < 300; i++)); do
        [[ $(redis-cli -p "$port" set "{$2}$i" x px 3600000) == OK ]] || fail "not a slot of $port"
    done
    redis-cli -p "$port" config set maxmemory 1mb >/dev/null
    redis-cli -p "$port" set "{$2}more" x px 3600000 >/dev/null || true
    [[ $(redis-cli -p "$port" info stats | tr -d '\r' | sed -n 's/^evicted_keys://p') -gt 0 ]]
    redis-cli -p "$port" config set maxmemory 0 >/dev/null
}

tag_on() { # port: a tag whose slot the node has
    local i
    for ((i = 0; i < 1000; i++)); do
        [[ $(redis-cli -p "$1" exists "{t$i}") != 0 ]] || { echo "t$i" && return; }
    done
    fail "none"
}

@test "cluster, exactly once: keys that one master evicts hide no flush of another one" {
    to_cluster
    first_run cluster=1 --exactly-once
    evicts_on 0 "$(tag_on "${CLUSTER_PORTS[0]}")"
    tell "$(numbers 301 310)"
    wait_until 20 said event=target_evicts
    redis-cli -p "${CLUSTER_PORTS[2]}" flushall
    tell "$(numbers 311 500)"
    reap 20 "$WRITER"
    tell_end
    redis-cli -p "${CLUSTER_PORTS[0]}" config set maxmemory-policy noeviction
    assert_status 75
    said "event=target_has_lost_data.*vanished" || fail "$(cat "$TMP/err")"
}

@test "cluster, exactly once: one slot whose position key is removed, a large request included" {
    to_cluster
    start_control
    feed --exactly-once --position-file "$TMP/positions"
    tell "$(live_session cluster=1 nonce=$NONCE)" "flow 0" "synced 0 :pos=100" "live 0 :pos=101 INCR a"
    wait_until 10 eval '[[ $(ccli get a) == 1 ]]'
    local key
    key=$(for p in "${CLUSTER_PORTS[@]:0:3}"; do redis-cli -p "$p" --scan --pattern 'df2redis:{*}:default'; done |
        while read -r k; do [[ $(ccli cluster keyslot "$k") != $(ccli cluster keyslot a) ]] || echo "$k"; done)
    [[ -n $key ]]
    ccli del "$key"
    tell "live 0 :pos=102 APPEND a @1300000"
    reap 20 "$WRITER"
    tell_end
    assert_status 75
    said "event=target_has_lost_data.*vanished" || fail "$(cat "$TMP/err")"
}

@test "cluster: our own flushes are no loss, and a writer killed behind one goes on" {
    to_cluster
    for option in "" --exactly-once; do
        rm -f "$TMP/positions"*
        first_run cluster=1 $option
        tell "barrier 0 :pos=301 FLUSHALL" "$(numbers 302 310)"
        wait_until 10 saved_at 310
        killed
        next_run cluster=1 $option
        assert_answer saved
        killed
    done
}

@test "cluster: a position file of a version that did not keep the masters does not count" {
    to_cluster
    first_run cluster=1
    end_run
    grep -v -e ^mark -e ^master -e ^crc= "$TMP/positions" >"$TMP/old"
    with_checksum "$TMP/old" >"$TMP/positions"
    next_run cluster=1
    assert_answer lost
    said "does not tell which servers" || fail "$(cat "$TMP/err")"
    killed
}

@test "cluster: a replica that took over between two runs has the data" {
    to_cluster
    first_run cluster=1
    end_run
    local port=${CLUSTER_PORTS[3]}
    wait_until 10 replica_follows "$port"
    redis-cli -p "$port" cluster failover
    wait_until 20 eval 'redis-cli -p $port role | grep -qx master'
    next_run cluster=1
    goes_on
    all_500 ccli
}

@test "cluster: all masters started anew without their data between two runs" {
    to_cluster
    cluster_node_timeout 60000
    first_run cluster=1
    end_run
    local i
    # Replicas first, so that none takes over.
    for i in 3 4 5 0 1 2; do started_anew "$i"; done
    for i in "${CLUSTER_PORTS[@]}"; do wait_until 30 cluster_sees_all "$i"; done
    next_run cluster=1
    assert_answer lost
    killed
}
