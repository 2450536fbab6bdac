# For suites of rediswriter alone: streams made by mkrecords from text (mkrecords --help).
# shellcheck shell=bash disable=SC2016,SC2034,SC2154 # text for other shells, variables for the suites, and of bats

writing_setup() {
    common_setup
    ulimit -n 4096
    shopt -s lastpipe # … | write: status and output stay
    FEED=
}

writing_teardown() {
    [[ -z $FEED ]] || exec {FEED}>&-
    common_teardown
}

target() { echo "redis://127.0.0.1:$REDIS_PORT"; }

# The cluster of the file (one_cluster) is the target.
to_cluster() {
    the_cluster
    target() { echo "$CLUSTER_URL"; }
}

ccli() { redis-cli -c -p "${CLUSTER_PORTS[0]}" "$@"; }

heading() { # flows [session facts…]: what comes before the records
    local n=$1
    shift
    echo "session flows=$n $*"
    echo target
    for ((i = 0; i < n; i++)); do echo "flow $i"; done
}

# One flow: what stands on standard input, then SYNCED and the end.
one_flow() {
    heading 1
    cat
    echo "synced 0 :pos=1000000"
    echo end
}

write() { # option…: the stream of the text on standard input into the target; sets status and output
    mkrecords >"$TMP/stream" || return 1
    run timeout 100 rediswriter "$@" "$(target)" "$TMP/stream"
}

# A writer that is fed line by line: WRITER is its pid, $TMP/err what it says.
feed() { # option…
    rm -f "$TMP/text" "$TMP/records"
    mkfifo "$TMP/text" "$TMP/records"
    # Opening a FIFO waits for the other side: not here.
    background timeout -s KILL 100 bash -c 'exec mkrecords <"$0/text" >"$0/records"' "$TMP"
    background rediswriter "$@" "$(target)" "$TMP/records" 2>"$TMP/err"
    WRITER=$!
    exec {FEED}>"$TMP/text"
}

tell() {
    printf '%s\n' "$@" 'sleep 0' >&"$FEED"
}

tell_end() {
    exec {FEED}>&-
    FEED=
}

NONCE=00000000000000000000000000000009 # of the sessions that a stand-in for dfreader has

# A stand-in for dfreader's control socket: what writers tell it is in $TMP/told; its pid,
# which has a child for each of them, is CONTROL.
start_control() {
    [[ ! -S $TMP/control ]] || return 0
    background perl -MSocket -e '
        socket(S, PF_UNIX, SOCK_STREAM, 0) && bind(S, pack_sockaddr_un($ARGV[0])) && listen(S, 9) or die $!;
        $| = 1; print "listening\n";
        while (accept(C, S)) {
            next if fork;
            select(C); $| = 1; select(STDOUT);
            while (<C>) { print; print C "welcome\n" if /^hello/ }
            exit;
        }' "$TMP/control" >>"$TMP/told"
    CONTROL=$!
    wait_until 5 grep -q listening "$TMP/told"
}

# The most memory that a process has had, in kB; 0 for a build with sanitizers, which has a use for it of its own.
peak_memory() { # pid
    if sanitized; then
        echo 0
    else
        sed -n 's/^VmHWM:[^0-9]*\([0-9]*\) kB/\1/p' "/proc/$1/status"
    fi
}

# It takes this signal itself: before it is ready to, the signal would just end it.
takes_signal() { # number
    [[ $((0x$(sed -n 's/^SigCgt:[^0-9a-f]*//p' "/proc/$WRITER/status") >> ($1 - 1) & 1)) -eq 1 ]]
}

# It has nothing more to write, or cannot write what it has.
stands_still() {
    local before
    before=$(grep -e ^rchar -e ^wchar "/proc/$WRITER/io")
    sleep 0.2
    [[ $(grep -e ^rchar -e ^wchar "/proc/$WRITER/io") == "$before" ]]
}

# The writer that is fed dies.
killed() {
    kill -KILL "$WRITER"
    wait "$WRITER" 2>/dev/null || true
    tell_end
}

said() { grep -q "$@" "$TMP/err"; }

# Commands, one a line, as records and into a second server: EXPECTED is its URL.
expect() { # file with commands
    local port=$REDIS_PORT
    start_redis
    EXPECTED=$(target)
    redis-cli -p "$REDIS_PORT" <"$1" >/dev/null
    REDIS_PORT=$port
}

same_server_again() { # option…: after kill -9, in its directory, on its port
    local -a command=("${REDIS_SERVER:-redis-server}" --port "$REDIS_PORT" --bind 127.0.0.1 --save '' --dir "$TMP/redis.$REDIS_PORT"
        --logfile "$TMP/redis.$REDIS_PORT/log" "$@")
    # It must not hold the end through which the writer is fed.
    eval "background \"\${command[@]}\" ${FEED:+$FEED>&-}"
    REDIS_PID=$!
}

# A journal whose outcome depends on order and on each command being run once.
journal() { # commands
    awk -v n="$1" 'BEGIN {
        for (i = 1; i <= n; i++) {
            if (i % 4 == 0) print "INCR n:" i % 5
            else if (i % 7 == 0) print "RPOP q:" i % 3
            else if (i % 5 == 0) print "LPUSH q:" i % 3, "l" i
            else print "RPUSH q:" i % 3, "r" i
        }
    }'
}

as_live() { # flow: commands to records whose position is their number
    awk -v f="$1" '{ print "live", f, ":pos=" NR + 1, $0 }'
}
