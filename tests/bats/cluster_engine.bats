#!/usr/bin/env bats
# rediswriter's engine for several connections (writer/target/cluster.h), in corners: a cluster, --connections and --wait to a
# single server.

load helper
load writing

setup_file() { one_cluster 0; }
teardown_file() { end_one_cluster; }

setup() {
    writing_setup
    the_cluster
    REDIS_PORT=${CLUSTER_PORTS[0]}
}

teardown() {
    kill -CONT "${CLUSTER_PIDS[@]}"
    writing_teardown
}

for_cluster() { sed 's/^target$/target cluster=1/'; }

# Keys in all three: a 15495, b 3300, c 7365.
in_all() { # command and arguments behind a key
    local k
    for k in a b c; do redis-cli -c -p "$REDIS_PORT" "$1" "$k" "${@:2}"; done
}

sizes() {
    local p
    for p in "${CLUSTER_PORTS[@]}"; do redis-cli -p "$p" keys '*' | grep -vc -e '^df2redis' -e '^$' || true; done
}

@test "--on-existing flush: every master is flushed before the first request, whichever answers first" {
    local slow
    for slow in 0 1 2; do
        in_all set old >/dev/null
        kill -STOP "${CLUSTER_PIDS[slow]}"
        background eval "sleep 0.5; kill -CONT ${CLUSTER_PIDS[slow]}"
        echo "set 0 new 1" | one_flow | for_cluster | mkrecords >"$TMP/stream"
        run timeout -s KILL 100 rediswriter --on-existing flush "redis://127.0.0.1:${CLUSTER_PORTS[(slow + 1) % 3]}" "$TMP/stream"
        assert_status 0
        [[ $(sizes | sort -n | xargs) == "0 0 1" ]] || fail "left: $(sizes)"
    done
}

@test "a flush of the source, where the target held keys: nothing behind it goes before every master has done it" {
    in_all set old >/dev/null
    feed
    tell "$(heading 1 | for_cluster)" "synced 0 :pos=1" "live 0 :pos=2 SET a 1" "live 0 :pos=3 SET b 1" "live 0 :pos=4 SET c 1"
    wait_until 5 eval '[[ $(in_all get | xargs) == "1 1 1" ]]'
    kill -STOP "${CLUSTER_PIDS[1]}"
    tell "barrier 0 :pos=5 FLUSHALL" "live 0 :pos=6 SET b 2"
    wait_until 5 eval '[[ $(redis-cli -p "${CLUSTER_PORTS[2]}" exists a) == 0 ]]'
    sleep 0.2
    [[ $(redis-cli -p "${CLUSTER_PORTS[0]}" exists b) == 0 ]]
    kill -CONT "${CLUSTER_PIDS[1]}"
    tell end
    tell_end
    reap 10 "$WRITER"
    assert_status 0
    [[ $(sizes | xargs) == "1 0 0" ]]
}

summary() { sed -n "s/^stage=rediswriter summary $1/$1/p" <<<"$output"; }

@test "what ended the writer is not passed over: a request, a large one, a program" {
    local request
    redis-cli -p "${CLUSTER_PORTS[0]}" acl setuser default -rpush >/dev/null
    for request in "live 0 :pos=8 RPUSH b 1" "live 0 :pos=8 :part=100 RPUSH b @300" "program 0 :pos=8 :keep=1 EXISTS a / RPUSH b 1"; do
        { heading 1; printf '%s\n' "synced 0 :pos=5" "sleep 300" "$request" "live 0 :pos=9 INCR b" end; } | for_cluster | mkrecords |
            { run timeout -s KILL 100 rediswriter "redis://127.0.0.1:$REDIS_PORT" || true; }
        assert_status 1
        assert_output_has NOPERM
        [[ $(summary flow) == *' pos=5 '* ]] || fail "$output"
    done
    redis-cli -p "${CLUSTER_PORTS[0]}" acl setuser default +rpush >/dev/null
}

@test "a large request for a database that the target does not have: a data error, the rest goes on" {
    start_redis --databases 2
    printf '%s\n' "live 0 :db=9 :pos=2 :part=100 SET k @300" "live 0 :pos=3 :part=100 SET z @300" | one_flow | mkrecords >"$TMP/stream"
    run timeout -s KILL 100 rediswriter --connections 2 "$(target)" "$TMP/stream"
    assert_status 3
    assert_output_has 'event=data_error command="SET" key="k" db=9'
    [[ $(rcli strlen z) -eq 300 ]]
}

@test "a SELECT whose reply takes its time is waited for" {
    start_redis
    feed --connections 2
    tell "$(heading 1)" "live 0 :pos=2 SET k v" "synced 0 :pos=3"
    wait_until 5 eval '[[ $(rcli get k) == v ]]'
    sleep 2.2 # until nothing says any more that connections were just made
    kill -STOP "$REDIS_PID"
    tell "live 0 :db=1 :pos=4 SET k w"
    sleep 0.5
    kill -CONT "$REDIS_PID"
    tell end
    tell_end
    reap 10 "$WRITER"
    assert_status 0
    [[ $(rcli -n 1 get k) == w ]]
}

waited_in_vain() { # times
    [[ $(rcli info commandstats | sed -n 's/^cmdstat_wait:calls=\([0-9]*\),.*/\1/p') -ge $1 ]]
}

@test "--wait while replicas are missing: as many requests as fit; nothing is sent twice for it" {
    start_redis --repl-diskless-sync-delay 0
    seq -f 'set 0 k:%g v' 9000 | one_flow | mkrecords >"$TMP/many"
    printf '%s\n' "live 0 :pos=2 :part=100 RPUSH l @300" | one_flow | mkrecords >"$TMP/large"
    background timeout -s KILL 120 rediswriter --wait 1 --task many "$(target)" "$TMP/many" 2>"$TMP/many.err"
    local many=$! port=$REDIS_PORT
    background timeout -s KILL 120 rediswriter --wait 1 --task large "$(target)" "$TMP/large" 2>"$TMP/large.err"
    local large=$!
    wait_until 10 waited_in_vain 6
    start_redis --replicaof 127.0.0.1 "$port" --repl-diskless-load disabled
    reap 15 "$many"
    assert_status 0
    reap 5 "$large"
    assert_status 0
    [[ $(redis-cli -p "$port" llen l) -eq 1 && $(redis-cli -p "$port" keys '*' | grep -vc ^df2redis) -eq 9001 ]]
}

@test "--wait without the right to WAIT: status 1, not again and again" {
    start_redis
    rcli acl setuser default -wait >/dev/null
    echo "live 0 :pos=2 INCR n" | one_flow | mkrecords >"$TMP/stream"
    run timeout -s KILL 100 rediswriter --wait 1 "$(target)" "$TMP/stream"
    assert_status 1
    assert_output_has 'command=WAIT'
    [[ $(rcli get n) -eq 1 ]]
}

bytes_read() { sed -n 's/^rchar: //p' "/proc/$REDIS_PID/io"; }

@test "--reply-timeout does not end a connection that takes bytes, however slowly" {
    start_redis
    feed --reply-timeout 3 --connections 2
    tell "$(heading 1)" "live 0 :pos=2 SET k v" "synced 0 :pos=3"
    wait_until 5 eval '[[ $(rcli get k) == v ]]'
    kill -STOP "$REDIS_PID"
    tell "live 0 :pos=4 SET k @200000000"
    local taken
    for _ in 1 2 3 4 5 6; do
        sleep 0.6
        taken=$(bytes_read)
        kill -CONT "$REDIS_PID"
        wait_until 1 eval '[[ $(bytes_read) -gt $taken ]]'
        kill -STOP "$REDIS_PID"
    done
    kill -CONT "$REDIS_PID"
    tell end
    tell_end
    reap 20 "$WRITER"
    [[ $status -eq 0 ]] || fail "$(tail -20 "$TMP/err")"
    [[ $(rcli strlen k) -eq 200000000 ]]
    said ' reconnects=0'
}

@test "a request with several keys whose hash is on its way in another slot: what is behind it still waits for it" {
    local one='{a}105578' other='{b}31616' # of one hash, as mkrecords makes them
    feed
    tell "$(heading 1 | for_cluster)" "synced 0 :pos=1" "live 0 :pos=2 SET a 1" "live 0 :pos=3 SET b 1" "live 0 :pos=4 SET {b}2 1"
    wait_until 5 eval '[[ $(redis-cli -c -p "$REDIS_PORT" get "{b}2") == 1 ]]'
    kill -STOP "${CLUSTER_PIDS[2]}"
    redis-cli -p "${CLUSTER_PORTS[0]}" config set maxmemory 1 >/dev/null
    tell "live 0 :pos=5 SET $one 1" "live 0 :pos=6 :multikey MSET $other 1 {b}2 2" "live 0 :pos=7 DEL {b}2"
    sleep 0.3
    kill -CONT "${CLUSTER_PIDS[2]}"
    wait_until 5 said 'event=target_refuses_for_now.*OOM'
    sleep 0.2
    redis-cli -p "${CLUSTER_PORTS[0]}" config set maxmemory 0 >/dev/null
    tell end
    tell_end
    reap 10 "$WRITER"
    assert_status 0
    [[ $(redis-cli -c -p "$REDIS_PORT" get "$other") == 1 && $(redis-cli -c -p "$REDIS_PORT" exists "{b}2") == 0 ]]
}

@test "positions without requests take no memory while something before them stands still" {
    start_redis
    feed -v --connections 2
    tell "$(heading 1)" "synced 0 :pos=1" "live 0 :pos=2 SET k v"
    wait_until 5 eval '[[ $(rcli get k) == v ]]'
    kill -STOP "$REDIS_PID"
    tell "live 0 :pos=3 SET k w"
    seq -f 'position 0 :pos=%.0f' 4 1500004 >&"$FEED"
    tell "report 0 kind=here"
    wait_until 20 said 'kind=here'
    [[ $(peak_memory "$WRITER") -lt 24000 ]] || fail "$(peak_memory "$WRITER") kB"
    kill -CONT "$REDIS_PID"
    tell end
    tell_end
    reap 10 "$WRITER"
    assert_status 0
    said 'summary flow=0 .*pos=1500004 '
}

relay_slowly() { # port to-port bytes-a-second
    background perl -MIO::Socket::INET -e '
        my ($port, $to, $rate) = @ARGV;
        my $l = IO::Socket::INET->new(LocalAddr => "127.0.0.1:$port", Listen => 9, ReuseAddr => 1) or die;
        setsockopt $l, SOL_SOCKET, SO_RCVBUF, 65536;
        $SIG{CHLD} = "IGNORE";
        while (my $in = $l->accept) {
            next if fork;
            my $out = IO::Socket::INET->new("127.0.0.1:$to") or exit;
            my ($from, $into, $pause) = fork ? ($in, $out, 1 / $rate) : ($out, $in, 0);
            while (my $n = sysread $from, my $d, 16384) {
                syswrite $into, $d;
                select undef, undef, undef, $n * $pause if $pause;
            }
            shutdown $into, 1;
            exit;
        }' "$@"
}

@test "large requests of one flow get their turn among the small ones of another, over a slow line" {
    start_redis
    local port
    port=$(random_port)
    relay_slowly "$port" "$REDIS_PORT" 8000000
    wait_until 5 listens $! "$port"
    { heading 2 | head -n 3; seq -f 'set 0 k:%g @4000' 4000; printf '%s\n' "synced 0 :pos=3" end; } | mkrecords >"$TMP/small"
    { heading 2 | sed /flow.0/d; seq -f 'set 1 big:%g @900000' 6; printf '%s\n' "synced 1 :pos=3" end; } | mkrecords >"$TMP/large"
    wait_until 5 redis-cli -p "$port" ping
    background sh -c 'exec redis-cli -p "$0" monitor | stdbuf -oL cut -c1-80' "$REDIS_PORT" >"$TMP/order"
    wait_until 5 grep -q OK "$TMP/order"
    background timeout -s KILL 120 rediswriter -q --no-mset --connections 2 --window 1m "redis://127.0.0.1:$port" "$TMP/small" "$TMP/large"
    reap 20 $!
    assert_status 0
    [[ $(rcli exists big:1 big:2 big:3 big:4 big:5 big:6) -eq 6 && $(rcli dbsize) -ge 4006 ]]
    rcli echo the-end >/dev/null
    wait_until 5 grep -q the-end "$TMP/order"
    # How many of the small ones came after the last large one.
    [[ $(tac "$TMP/order" | sed '/"SET" "big:/q' | grep -c '"k:') -gt 400 ]] || fail "$(tail -5 "$TMP/order")"
}

@test "a server that the nodes know by two names: no connection of ours is ended" {
    server_has 7.0 || skip "no hostnames before 7.0"
    local i
    redis-cli -p "$REDIS_PORT" config set cluster-announce-hostname 127.1 >/dev/null
    redis-cli -p "$REDIS_PORT" config set cluster-preferred-endpoint-type hostname >/dev/null
    wait_until 5 eval 'redis-cli -p "$REDIS_PORT" cluster slots | grep -qxF 127.1'
    target() { echo "redis://127.0.0.1:${CLUSTER_PORTS[1]}"; }
    feed -v
    tell "$(heading 1 | for_cluster)" "synced 0 :pos=1"
    for i in 2 3 4 5 6; do # each time another one is asked who has what
        tell "live 0 :pos=$i INCR a" "live 0 :pos=$i INCR b" "live 0 :pos=$i INCR c"
        wait_until 5 eval '[[ $(redis-cli -p "${CLUSTER_PORTS[2]}" get a) == $((i - 1)) ]]'
        redis-cli -p "${CLUSTER_PORTS[2]}" client kill type normal skipme yes >/dev/null
        sleep 0.1
    done
    redis-cli -p "$REDIS_PORT" config set cluster-preferred-endpoint-type ip >/dev/null
    redis-cli -p "$REDIS_PORT" config set cluster-announce-hostname '' >/dev/null
    tell end
    tell_end
    reap 10 "$WRITER"
    assert_status 0
    said 'event=node_ready node=127.1' || { cat "$TMP/err" >&2; return 1; }
    never said event=ends_old_connection
}

# A relay to a server, which words its INFO as Valkey does since 8.0; one byte of the checksum makes up for the length.
relay_as_valkey() { # server: RELAY is the port
    background perl -MIO::Socket::INET -MIO::Select -e '
        my $l = IO::Socket::INET->new(Listen => 9, LocalAddr => "127.0.0.1") or die;
        open my $f, ">", $ARGV[1] or die; print $f $l->sockport, "\n"; close $f;
        my $all = IO::Select->new($l); my %peer;
        while (my @ready = $all->can_read) {
            for my $s (@ready) {
                if ($s == $l) {
                    my $c = $l->accept; my $t = IO::Socket::INET->new("127.0.0.1:$ARGV[0]") or die;
                    ($peer{$c}, $peer{$t}) = ($t, $c); $all->add($c, $t);
                } elsif ($peer{$s} && sysread $s, my $b, 65536) {
                    $b =~ s/redis_git_sha1:0(.*)redis_mode:/redis_git_sha1:$1server_mode:/s;
                    syswrite $peer{$s}, $b;
                } else {
                    for my $x ($s, delete $peer{$s}) { next if !$x; delete $peer{$x}; $all->remove($x); close $x }
                }
            }
        }' "$1" "$TMP/relay"
    wait_until 5 test -s "$TMP/relay"
    RELAY=$(<"$TMP/relay")
}

@test "a cluster is found out by the words of Valkey 8 and later, too" {
    relay_as_valkey "$REDIS_PORT"
    redis-cli -p "$RELAY" info server | grep -q ^server_mode:cluster || skip "its INFO has other words anyway"
    printf 'set 0 %s 1\n' a b c | one_flow | for_cluster | mkrecords >"$TMP/stream"
    run timeout 30 rediswriter "redis://127.0.0.1:$RELAY" "$TMP/stream"
    assert_status 0
    [[ $(sizes | sort | uniq -c | tr -s ' ') == ' 3 1' ]] || fail "$(sizes)"
}

@test "a cluster some of whose slots nobody has: said at once, waited for, and then status 75" {
    start_redis --cluster-enabled yes
    seq 0 8000 | xargs redis-cli -p "$REDIS_PORT" cluster addslots >/dev/null
    set_all() { printf 'set 0 %s 1\n' a b c | one_flow | for_cluster | mkrecords >"$TMP/stream"; }
    set_all
    run timeout 30 rediswriter --reconnect-timeout 1 "$(target)" "$TMP/stream"
    assert_status 75
    assert_output_has 'level=warn stage=rediswriter event=slots_without_master'
    assert_output_has 'slots=8383 action=waiting'
    background rediswriter "$(target)" "$TMP/stream" 2>"$TMP/err"
    WRITER=$!
    wait_until 10 said 'slots=8383 action=waiting'
    seq 8001 16383 | xargs redis-cli -p "$REDIS_PORT" cluster addslots >/dev/null
    reap 20 "$WRITER"
    assert_status 0
    [[ $(rcli dbsize) -eq 3 ]]
}

library() { # name: a request that loads it
    echo "idem $2 :key=0 FUNCTION LOAD %23!lua%20name=$1%0Aredis.register_function('$1',function()%20return%201%20end)"
}

# Each waits until nothing is on its way, while the other flow has more and more.
@test "functions of several flows, between many keys of all flows, are loaded on every master" {
    {
        heading 3
        for i in {1..400}; do echo "set 0 a$i x"; echo "set 1 b$i x"; echo "set 2 c$i x"; done
        library one 0
        library two 1
        for i in {401..3000}; do echo "set 0 a$i x"; echo "set 1 b$i x"; echo "set 2 c$i x"; done
        library three 0
        for i in {0..2}; do echo "synced $i :pos=10"; done
        echo end
    } | for_cluster | write
    assert_status 0
    for p in "${CLUSTER_PORTS[@]}"; do
        [[ $(redis-cli -p "$p" function list | grep -A1 library_name | grep -cE '^(one|two|three)$') -eq 3 ]] || fail "not on $p"
        redis-cli -p "$p" function flush >/dev/null
    done
    [[ $(sizes | awk "{ n += \$1 } END { print n }") -eq 9000 ]]
}

@test "a function that the masters refuse is one data error, and what is behind it is applied" {
    {
        echo "set 0 a 1"
        echo "idem 0 :key=0 FUNCTION LOAD nonsense"
        echo "set 0 b 2"
    } | one_flow | for_cluster | write
    assert_status 3
    assert_output_has "event=data_error"
    assert_output_has "Missing library meta"
    [[ $(grep -c event=data_error <<<"$output") -eq 1 ]]
    [[ $(redis-cli -c -p "${CLUSTER_PORTS[0]}" get b) == 2 ]]
}
