# A live redis-server as source (PSYNC). Sourced by tests/bench/run, whose variables and functions it uses.
# shellcheck shell=bash disable=SC2154

psync_source=""
psync_replica=""

# A server that holds the keys of an RDB file; none: empty.
psync_start_source() { # file…
    mkdir -p "$work/source"
    rm -f "$work/source"/*
    [[ $# -eq 0 ]] || cp "$1" "$work/source/dump.rdb"
    local target=$redis_port
    start_redis --dir "$work/source" --repl-diskless-sync-delay 0 --repl-backlog-size 512mb \
        --client-output-buffer-limit 'replica 1gb 0 0'
    psync_source=$redis_port
    redis_port=$target
    until [[ $(redis-cli -p "$psync_source" info persistence | tr -d '\r' | sed -n 's/^loading://p') == 0 ]]; do sleep 0.05; done
}

psync_end_source() { redis-cli -p "$psync_source" shutdown nosave >/dev/null 2>&1 || true; }

# What a replica of the same software takes until it is in sync, its start not counted.
psync_replica_seconds() { # keys
    local target=$redis_port t0 t1
    start_redis --repl-diskless-load swapdb
    psync_replica=$redis_port
    redis_port=$target
    t0=$(now)
    redis-cli -p "$psync_replica" replicaof 127.0.0.1 "$psync_source" >/dev/null
    until redis-cli -p "$psync_replica" info replication | tr -d '\r' | grep -qx master_link_status:up; do sleep 0.01; done
    t1=$(now)
    [[ $(redis-cli -p "$psync_replica" dbsize) -eq $1 ]]
    redis-cli -p "$psync_replica" shutdown nosave >/dev/null 2>&1 || true
    replica=$((t1 - t0))
}

# df2redis migrate beside redis-cli --pipe of the same keys, and beside REPLICAOF.
psync_full() { # name keys least
    local i t0 base ours replica
    rdb "$1" "$2"
    psync_start_source "$cache/$1.rdb"
    : >"$work/ratios"
    : >"$work/ratios.replica"
    for ((i = 0; i < pairs; i++)); do
        settle
        t0=$(now)
        redis-cli -p "$redis_port" --pipe <"$cache/$1.resp" >"$work/out"
        base=$(($(now) - t0))
        settle
        psync_replica_seconds "$2"
        t0=$(now)
        df2redis --single migrate "redis://127.0.0.1:$psync_source" "redis://127.0.0.1:$redis_port" 2>"$work/err" ||
            { cat "$work/err" >&2; exit 1; }
        ours=$(($(now) - t0))
        [[ $(keys_there) -eq $2 ]]
        awk -v b=$base -v o=$ours 'BEGIN {printf "%.3f\n", b / o}' >>"$work/ratios"
        awk -v b="$replica" -v o=$ours 'BEGIN {printf "%.3f\n", b / o}' >>"$work/ratios.replica"
        awk -v l="$1" -v b=$base -v r="$replica" -v o=$ours \
            'BEGIN {printf "  %-9s redis-cli --pipe %.2f s, REPLICAOF %.2f s, df2redis migrate %.2f s\n", l, b/1e6, r/1e6, o/1e6}'
    done
    psync_end_source
    echo "from a live Redis, $1: $(median <"$work/ratios") times redis-cli --pipe (to reach: $3), $(median <"$work/ratios.replica") times REPLICAOF (median of $pairs pairs)"
}

bench_psync() {
    data strings --keys "$many"
    psync_full strings "$many" 1.2
    data hashes --keys "$some" --types hash
    psync_full hashes "$some" 3
    data zsets --keys "$some" --types zset
    psync_full zsets "$some" 7
}

# Writes of many keys at a steady rate, for so many seconds.
psync_write() { # port writes/s seconds
    perl -MTime::HiRes=time,sleep -e '
        my ($rate, $seconds) = @ARGV;
        my ($begin, $n, $text) = (time, 0, "x" x 32);
        $| = 1;
        while ($n < $rate * $seconds) {
            my $due = int((time - $begin) * $rate);
            my $out = "";
            for (; $n < $due && $n < $rate * $seconds; $n++) {
                my $key = "key:" . ($n * 7919 % 100000);
                $out .= $n % 4 ? sprintf("*3\r\n\$3\r\nSET\r\n\$%d\r\n%s\r\n\$%d\r\n%s\r\n", length $key, $key, length $text, $text)
                               : sprintf("*2\r\n\$4\r\nINCR\r\n\$%d\r\nn%s\r\n", length($key) + 1, $key);
            }
            print $out;
            sleep 0.001;
        }' "$2" "$3" | redis-cli -p "$1" --pipe >"$work/out"
}

psync_applied() { # offset: the target is there
    local reached
    reached=$({ dfreader --ask "$XDG_RUNTIME_DIR/df2redis/default/control.sock" status 2>/dev/null || true; } |
        sed -n 's/^flow .*applied=\([0-9]*\) .*/\1/p')
    [[ -n $reached && $reached -ge $1 ]]
}

psync_offset() { redis-cli -p "$psync_source" info replication | tr -d '\r' | sed -n 's/^master_repl_offset://p'; }

# From the bytes' arrival at dfreader to the reply at rediswriter.
bench_psync_live() {
    local rate took t0 super
    rate=$(size 100000 20)
    start_redis
    psync_start_source
    df2redis --single replicate "redis://127.0.0.1:$psync_source" "redis://127.0.0.1:$redis_port" 2>"$work/err" &
    super=$!
    until df2redis status 2>/dev/null | grep -q phase=streaming; do
        kill -0 $super || { cat "$work/err" >&2; exit 1; }
        sleep 0.05
    done
    t0=$(now)
    psync_write "$psync_source" "$rate" "$([[ -z $short ]] && echo 10 || echo 1)"
    took=$(($(now) - t0))
    until psync_applied "$(psync_offset)"; do sleep 0.01; done
    df2redis stop
    wait $super || { cat "$work/err" >&2; exit 1; }
    awk -v w=$took -v a=$(($(now) - t0)) 'BEGIN {printf "  writes took %.2f s, the target had them after %.2f s (df2redis stop included)\n", w/1e6, a/1e6}'
    sed -n "s/.*summary latency_us/latency from a live Redis, $rate writes\/s (microseconds; to reach: p99 5000):/p" "$work/err"
    psync_end_source
}

# How long a client waits for its replies in so many seconds, a SET every 2 ms: "p50=… p99=… max=…" in microseconds.
psync_probe() { # port seconds
    perl -MIO::Socket::INET -MTime::HiRes=time,sleep -e '
        my ($port, $seconds) = @ARGV;
        my $s = IO::Socket::INET->new(PeerAddr => "127.0.0.1", PeerPort => $port) or die "probe: $!";
        my ($end, $line, @took) = (time + $seconds);
        while (time < $end) {
            my $t = time;
            syswrite $s, "SET probe " . @took . "\r\n";
            sysread $s, $line, 64 or die "probe: closed";
            push @took, (time - $t) * 1e6;
            sleep 0.002;
        }
        @took = sort { $a <=> $b } @took;
        printf "p50=%d p99=%d max=%d\n", $took[@took * .5], $took[@took * .99], $took[-1];' "$1" "$2"
}

psync_memory() { redis-cli -p "$psync_source" info memory | tr -d '\r' | sed -n 's/^used_memory://p'; }

# The most memory that the source takes, sampled until the file is there.
psync_watch_memory() { # file
    local most=0 n
    until [[ -e $1 ]]; do
        n=$(psync_memory)
        [[ $n -le $most ]] || most=$n
        sleep 0.5
    done
    echo "$most" >"$1.memory"
}

# The target stands still: what the source and its clients notice of that. The source has its default limits.
bench_psync_stopped() {
    local rate=50000 warm=10 before=30 stopped=90 super target target_pid writes watch p0 p1 m0 grown
    [[ -z $short ]] || rate=5000 warm=1 before=2 stopped=3
    start_redis
    target=$redis_port target_pid=${pids[-1]}
    start_redis --repl-diskless-sync-delay 0
    psync_source=$redis_port
    redis_port=$target
    df2redis --single replicate "redis://127.0.0.1:$psync_source" "redis://127.0.0.1:$target" 2>"$work/err" &
    super=$!
    until df2redis status 2>/dev/null | grep -q phase=streaming; do
        kill -0 $super || { cat "$work/err" >&2; exit 1; }
        sleep 0.05
    done
    psync_write "$psync_source" "$rate" $((warm + before + stopped)) &
    writes=$!
    sleep "$warm"
    p0=$(psync_probe "$psync_source" "$before")
    m0=$(psync_memory)
    kill -STOP "$target_pid"
    psync_watch_memory "$work/continued" &
    watch=$!
    p1=$(psync_probe "$psync_source" "$stopped")
    kill -CONT "$target_pid"
    touch "$work/continued"
    wait $watch $writes
    until psync_applied "$(psync_offset)"; do sleep 0.05; done
    dfstate diff "redis://127.0.0.1:$psync_source" "redis://127.0.0.1:$target" >"$work/diff" || { cat "$work/diff" >&2; exit 1; }
    [[ $(redis-cli -p "$psync_source" info stats | tr -d '\r' | sed -n 's/^sync_full://p') -eq 1 ]] || { cat "$work/err" >&2; exit 1; }
    grown=$(($(<"$work/continued.memory") - m0))
    df2redis stop
    wait $super || { cat "$work/err" >&2; exit 1; }
    echo "target stopped for $stopped s, $rate writes/s; caught up, equal, one full sync. A client of the source (microseconds; p99 to reach: 1.5 times):"
    echo "  before: $p0"
    echo "  meanwhile: $p1"
    awk -v n=$grown 'BEGIN {printf "  the source'"'"'s memory grew by %.1f MiB (to reach: 64)\n", n / 1048576}'
    psync_end_source
}
