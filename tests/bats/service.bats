#!/usr/bin/env bats
# df2redis under a service manager: readiness, status, watchdog, credentials; the unit and what belongs to it. No systemd
# is needed: a datagram socket hears what it would be told.

load helper

setup() {
    common_setup
    unset NOTIFY_SOCKET WATCHDOG_USEC WATCHDOG_PID
    UNIT=$REPO/examples/df2redis@.service
}

teardown() {
    [[ -n ${BATS_TEST_COMPLETED-} || ! -e $TMP/err ]] || tail -n 60 "$TMP/err" "$TMP/told" >&2
    common_teardown
}

# A manager at NOTIFY_SOCKET that writes what it hears into $TMP/told, one line a word.
start_manager() { # path, or @name
    background perl -MSocket -e '
        my $path = $ARGV[0]; $path =~ s/^@/\0/;
        socket(S, PF_UNIX, SOCK_DGRAM, 0) && bind(S, pack("S a*", AF_UNIX, $path)) or die $!;
        $| = 1; print "listening\n";
        print "$_\n" while defined(recv(S, $_, 65536, 0));' "$1" >"$TMP/told"
    wait_until 5 grep -q listening "$TMP/told"
    export NOTIFY_SOCKET=$1
}

told() { grep -q "^$1" "$TMP/told"; }
times() { grep -c "^$1" "$TMP/told"; }

starving() { # the watchdog, which is fed every second
    local before
    before=$(times WATCHDOG=1)
    sleep 2.5
    [[ $(times WATCHDOG=1) -eq $before ]]
}

# The unit's command as systemd runs it: with its specifiers, for the task NAME; PID in SERVICE.
start_unit() { # name
    local line
    line=$(sed -n 's/^ExecStart=//p' "$UNIT")
    line=${line//%t/$XDG_RUNTIME_DIR} line=${line//%i/$1} line=${line///usr\/local\/bin/$BUILD/bin}
    export CREDENTIALS_DIRECTORY=$TMP/credentials
    # shellcheck disable=SC2016
    background bash -c 'export WATCHDOG_USEC=3000000 WATCHDOG_PID=$$; eval "exec $1"' - "$line" 2>>"$TMP/err"
    SERVICE=$!
}

configure() { # further lines of the master
    REDIS_AUTH=(-a 'ge heim' --no-auth-warning)
    start_redis --requirepass 'ge heim'
    start_master --generate --flows 2 --keys 20000 --slow 262144 --password sesam "$@"
    mkdir -p "$TMP/credentials"
    cat >"$TMP/credentials/conf" <<END
[df2redis]
source = dragonfly://127.0.0.1:$MASTER_PORT
target = redis://127.0.0.1:$REDIS_PORT
END
    echo sesam >"$TMP/credentials/source-password"
    printf 'ge heim' >"$TMP/credentials/target-password"
}

@test "the unit: ready when the full sync has begun, status, watchdog, a new start, stop" {
    configure
    start_manager "$TMP/notify"
    start_unit one
    wait_until 10 told READY=1
    [[ $(redis-cli -p "$REDIS_PORT" "${REDIS_AUTH[@]}" dbsize) -lt 20000 ]] || fail "only at its end"
    told 'STATUS=starting' || fail "$(cat "$TMP/told")"
    told 'STATUS=full-sync' || fail "$(cat "$TMP/told")"
    told WATCHDOG=1
    wait_until 15 told STATUS=streaming
    df2redis status --task one
    kill -KILL "$(cat "$XDG_RUNTIME_DIR/df2redis/one/rediswriter.pid")"
    wait_until 5 told 'STATUS=restarting: rediswriter was killed by signal 9'
    wait_until 10 eval '[[ $(grep ^STATUS= "$TMP/told" | tail -n 1) == STATUS=streaming* ]]'
    # A session that hangs is no longer vouched for.
    local pid before
    pid=$(cat "$XDG_RUNTIME_DIR/df2redis/one/dfreader-session.pid")
    kill -STOP "$pid"
    wait_until 10 starving || fail "the watchdog was fed"
    before=$(times WATCHDOG=1)
    kill -CONT "$pid"
    wait_until 10 eval '[[ $(times WATCHDOG=1) -gt $before ]]'
    kill -TERM "$SERVICE"
    reap 10 "$SERVICE"
    [[ $status -eq 0 ]]
    told STOPPING=1
    told STATUS=stopped
    [[ $(times READY=1) -eq 1 ]]
}

@test "nothing is ready as long as the source does not answer; the stages know nothing of the manager" {
    configure
    start_manager "@df2redis-test-$$-$RANDOM"
    sed -i "s/^source = .*/source = dragonfly:\/\/127.0.0.1:1/" "$TMP/credentials/conf"
    start_unit one
    wait_until 5 told 'STATUS=restarting: dfreader-session ended with status 75: cannot connect to 127.0.0.1:1'
    never told READY=1
    kill -TERM "$SERVICE"
    reap 10 "$SERVICE"
    [[ $status -eq 5 ]]
    sed -i "s/^source = .*/source = dragonfly:\/\/127.0.0.1:$MASTER_PORT/" "$TMP/credentials/conf"
    start_unit one
    wait_until 10 told READY=1
    pid=$(cat "$XDG_RUNTIME_DIR/df2redis/one/rediswriter.pid")
    run grep -z -e ^NOTIFY_SOCKET -e ^WATCHDOG "/proc/$pid/environ"
    assert_status 1
    kill -TERM "$SERVICE"
    reap 10 "$SERVICE"
}

@test "a wrong password ends the service with status 1: ready was never said" {
    configure
    echo falsch >"$TMP/credentials/source-password"
    start_manager "$TMP/notify"
    start_unit one
    reap 10 "$SERVICE"
    [[ $status -eq 1 ]]
    told 'STATUS=failed'
    never told READY=1
    never grep -q -e falsch -e heim "$TMP/told" "$TMP/err"
}

@test "without a manager nothing is said, and one that does not listen is no reason to end" {
    configure
    export NOTIFY_SOCKET=$TMP/nobody
    start_unit one
    wait_until 10 df2redis status --task one
    kill -TERM "$SERVICE"
    reap 10 "$SERVICE"
    [[ $status -eq 0 || $status -eq 5 ]] || fail "status $status"
}

@test "dfnotify: words, abstract sockets, what it refuses" {
    run dfnotify READY=1
    assert_status 1
    start_manager "@df2redis-test-$$-$RANDOM"
    run timeout 100 dfnotify READY=1 'STATUS=two words' "LONG=$(head -c 20000 /dev/zero | tr '\0' x)"
    assert_status 0
    wait_until 2 told BARRIER=1
    told READY=1
    told 'STATUS=two words'
    told LONG=xxxxx
    run dfnotify nonsense
    assert_status 2
    NOTIFY_SOCKET=relative run dfnotify READY=1
    assert_status 1
    NOTIFY_SOCKET=/$(head -c 200 /dev/zero | tr '\0' x) run dfnotify READY=1
    assert_status 1
}

@test "dflog: long lines, a last line without end, the first errors kept, a file that cannot be opened again" {
    { head -c 20000 /dev/zero | tr '\0' x; echo; echo level=error one; echo level=error two; printf last; } |
        dflog -e "$TMP/error" "$TMP/log"
    [[ $(<"$TMP/error") == $'level=error one\nlevel=error two' && $(wc -l <"$TMP/log") -eq 6 ]]
    tail -n 1 "$TMP/log" | grep -q 'Z last$'
    mkdir "$TMP/dir"
    mkfifo "$TMP/in"
    background bash -c 'exec dflog "$1" <"$2" 2>/dev/null' - "$TMP/dir/log" "$TMP/in"
    local pid=$!
    exec 5>"$TMP/in"
    echo one >&5
    wait_until 2 grep -q one "$TMP/dir/log"
    mv "$TMP/dir" "$TMP/away"
    kill -HUP "$pid"
    echo two >&5
    wait_until 2 grep -q two "$TMP/away/log"
    kill -TERM "$pid"
    echo three >&5
    exec 5>&-
    reap 2 "$pid"
    grep -q three "$TMP/away/log"
    run dflog "$TMP/nowhere/log" </dev/null
    assert_status 1
}

@test "systemd takes the unit as it is" {
    command -v systemd-analyze >/dev/null || skip "no systemd here"
    sed "s|/usr/local/bin|$BUILD/bin|; /^Documentation/d" "$UNIT" >"$TMP/df2redis@.service"
    run systemd-analyze verify "$TMP/df2redis@one.service"
    [[ $status -eq 0 && -z $output ]] || fail "$output"
}

@test "examples/df2redis.logrotate: the lines behind postrotate open the log file anew" {
    configure
    start_unit_with_log
    sed -n '/postrotate/,/endscript/p' "$REPO/examples/df2redis.logrotate" | sed "1d;\$d;s|/run/df2redis|$XDG_RUNTIME_DIR/df2redis|" >"$TMP/post"
    wait_until 10 df2redis status --task one
    mv "$TMP/one.log" "$TMP/one.log.1"
    sh "$TMP/post" "$TMP/one.log"
    wait_until 3 test -e "$TMP/one.log"
    kill -TERM "$SERVICE"
    reap 10 "$SERVICE"
}

start_unit_with_log() {
    echo "log-file = $TMP/one.log" >>"$TMP/credentials/conf"
    start_unit one
}
