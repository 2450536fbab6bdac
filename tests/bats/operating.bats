#!/usr/bin/env bats
# df2redis as its operators meet it: signals to groups, terminals that go away, other users' files, passwords, options,
# causes, restarts.

load helper

setup() {
    common_setup
    CLUSTER_PIDS=()
}

teardown() {
    [[ -n ${BATS_TEST_COMPLETED-} || ! -e $TMP/err ]] || tail -n 60 "$TMP/err"
    local pid
    for pid in $(holders); do kill -KILL "$pid" 2>/dev/null; done
    [[ ${#CLUSTER_PIDS[@]} -eq 0 ]] || stop_cluster
    common_teardown
    [[ -z ${OTHER-} ]] || rm -rf "$OTHER"
}

holders() {
    local lock dir
    for lock in "$XDG_RUNTIME_DIR"/df2redis/*/lock; do
        for dir in /proc/[0-9]*; do [[ $dir/fd/9 -ef $lock ]] && echo "${dir#/proc/}"; done
    done
    return 0
}

nothing_left() { [[ -z $(holders) ]]; }

start_both() { # options of the master
    start_redis
    start_master --generate --flows 2 --keys 500 "$@"
    SOURCE=dragonfly://127.0.0.1:$MASTER_PORT
    TARGET=redis://127.0.0.1:$REDIS_PORT
}

# ---- signals ----

in_group() { # options: a task in a process group of its own; TASK_PID leads it
    setsid df2redis "$@" replicate "$SOURCE" "$TARGET" 3>&- 2>>"$TMP/err" &
    TASK_PID=$!
    wait_until 10 phase_is streaming
}

stopped_in_order() {
    wait_until 10 nothing_left || return 1
    [[ $(json last_status) == 0 ]] && phase_is stopped || fail "$(df2redis status)"
    never grep -e level=error -e stages_hang -e Killed -e Terminated "$TMP/err"
}

@test "SIGHUP to the whole group, and again from a shell: an orderly stop, each time" {
    start_both --journal-kind incr --journal-ops 100000 --journal-rate 500
    local _
    for _ in 1 2 3 4 5 6 7 8; do
        rcli flushall >/dev/null
        in_group
        kill -HUP -- "-$TASK_PID"
        kill -HUP "$TASK_PID" 2>/dev/null
        reap 10 "$TASK_PID"
        [[ $status -eq 0 ]] || fail "status $status"
        stopped_in_order
    done
}

@test "SIGTERM to the whole group and to the supervisor, as timeout does: an orderly stop" {
    start_both --journal-kind incr --journal-ops 100000 --journal-rate 500
    in_group
    kill -TERM "$TASK_PID"
    kill -TERM -- "-$TASK_PID"
    reap 10 "$TASK_PID"
    [[ $status -eq 0 ]] || fail "status $status"
    stopped_in_order
    rcli flushall >/dev/null
    run timeout 4 df2redis replicate "$SOURCE" "$TARGET"
    assert_status 124
    wait_until 10 nothing_left
    [[ $(json last_status) == 0 || $(json last_status) == 5 ]] || fail "$(df2redis status)"
    [[ $output != *level=error* ]] || fail "$output"
}

@test "a signal to the group that ends mv does not leave an old state" {
    mkdir "$TMP/bin"
    # shellcheck disable=SC2016
    printf '%s\n' '#!/bin/sh' 'mkdir "${0%/*}/once" 2>/dev/null && grep -q phase=failed "$3" && : >"${0%/*}/killed" && kill -TERM $$' \
        'rmdir "${0%/*}/once" 2>/dev/null' "exec $(command -v mv) \"\$@\"" >"$TMP/bin/mv"
    chmod 755 "$TMP/bin/mv"
    run env PATH="$TMP/bin:$PATH" timeout 20 df2redis replicate dragonfly://127.0.0.1:1 redis://127.0.0.1:2
    assert_status 1
    [[ -e $TMP/bin/killed ]]
    [[ $output != *state_not_written* ]] || fail "$output"
    phase_is failed
}

@test "a pause between two runs does not end by a SIGHUP to the group" {
    start_redis
    SOURCE=dragonfly://127.0.0.1:1 TARGET=redis://127.0.0.1:$REDIS_PORT
    setsid df2redis --restart --log-file "$TMP/log" replicate "$SOURCE" "$TARGET" 3>&- &
    TASK_PID=$!
    wait_until 20 grep -q 'event=restart number=3' "$TMP/log"
    local before
    before=$(json restarts)
    mv "$TMP/log" "$TMP/log.1"
    kill -HUP -- "-$TASK_PID"
    wait_until 5 test -e "$TMP/log"
    phase_is restarting
    [[ $(json restarts) == "$before" ]]
    df2redis stop
    reap 5 "$TASK_PID"
    [[ $status -eq 5 ]]
}

@test "with --log-file SIGHUP to the group opens it anew, and everything goes on" {
    start_both --journal-kind incr --journal-ops 100000 --journal-rate 500
    in_group -v --log-file "$TMP/log"
    local writer
    writer=$(stage rediswriter)
    mv "$TMP/log" "$TMP/log.1"
    kill -HUP -- "-$TASK_PID"
    wait_until 5 test -e "$TMP/log"
    phase_is streaming
    df2redis stop
    reap 10 "$TASK_PID"
    [[ $status -eq 0 && $writer == $(sed -n 's/.*started name=rediswriter pid=//p' "$TMP/log.1") ]]
    grep -q 'event=end status=0' "$TMP/log"
}

@test "a terminal that goes away: an orderly stop" {
    start_both --journal-kind incr --journal-ops 100000 --journal-rate 500
    # The shell leads the session; the task and its stages are in the foreground.
    cat >"$TMP/session" <<END
df2redis replicate $SOURCE $TARGET
echo \$? >$TMP/status
END
    background socat "EXEC:bash $TMP/session,pty,setsid,ctty,stderr" "FILE:/dev/null,ignoreeof"
    local terminal=$!
    wait_until 10 phase_is streaming
    kill -KILL "$terminal"
    : >"$TMP/err"
    stopped_in_order
}

@test "a terminal that goes away without a signal is noticed, too" {
    start_both --journal-kind incr --journal-ops 100000 --journal-rate 500
    echo "setsid df2redis replicate $SOURCE $TARGET & wait" >"$TMP/session"
    background socat "EXEC:bash $TMP/session,pty,setsid,ctty,stderr" "FILE:/dev/null,ignoreeof"
    local terminal=$!
    wait_until 10 phase_is streaming
    kill -KILL "$terminal"
    : >"$TMP/err"
    stopped_in_order
}

@test "messages that nobody reads any more: an orderly stop" {
    start_both --journal-kind incr --journal-ops 100000 --journal-rate 500
    mkfifo "$TMP/messages"
    # shellcheck disable=SC2016
    background bash -c 'exec df2redis -v replicate "$1" "$2" 2>"$3"' - "$SOURCE" "$TARGET" "$TMP/messages"
    local pid=$!
    head -n 1 "$TMP/messages" >/dev/null
    reap 20 "$pid"
    [[ $status -eq 0 || $status -eq 5 ]] || fail "status $status"
    nothing_left
}

# The monitor has seen that more was applied than when it was asked here before.
further() {
    local applied
    read -r _ applied <"$(RUN)/reached" && [[ $applied -gt ${seen_applied:-0} ]] && seen_applied=$applied
}

@test "what bash says of stages that were killed is not for users" {
    start_both --journal-kind incr --journal-ops 100000 --journal-rate 500
    local name
    background df2redis --restart replicate "$SOURCE" "$TARGET" 2>>"$TMP/err"
    local pid=$! n=0
    for name in dfparse-0 dfreader-session rediswriter; do
        wait_until 10 phase_is streaming
        wait_until 10 further
        kill -KILL "$(stage $name)"
        n=$((n + 1))
        wait_until 20 eval "[[ \$(json restarts) -ge $n ]]"
    done
    wait_until 10 phase_is streaming
    df2redis stop
    reap 10 "$pid"
    never grep -e Killed -e Terminated -e Hangup -e ': line ' "$TMP/err"
    # Each run got further than the one before: each pause is the first.
    [[ $(grep -c 'event=restart number=.* in_ms=1[0-9][0-9][0-9] ' "$TMP/err") -eq 3 ]] || fail "$(grep event=restart "$TMP/err")"
}

# ---- other users ----

# Another user's process, with our programs.
as_other() { env -i PATH="$PATH" LC_ALL=C setpriv --reuid 61234 --regid 61234 --clear-groups -- "$@"; }

other_user() {
    [[ $EUID -eq 0 ]] || skip "needs root"
    as_other test -x "$BUILD/bin/df2redis" || skip "other users cannot reach the programs here"
    OTHER=$(mktemp -d "${BATS_RUN_TMPDIR%/*}/df2redis-other.XXXXXX")
    chmod 755 "$OTHER"
    mkdir "$OTHER/svc"
    chown 61234:61234 "$OTHER/svc"
    as_other test -w "$OTHER/svc" || skip "other users cannot reach $OTHER"
}

# A task of theirs as it looks from outside: locked by a process whose descriptor 9 it is.
pretend_task() {
    printf 'task=svc\ncommand=replicate\nphase=running\n' >"$OTHER/svc/state"
    touch "$OTHER/svc/lock"
    chown 61234:61234 "$OTHER/svc"/*
    # shellcheck disable=SC2016
    background as_other bash -c 'exec 9>>"$1/lock"; flock -x 9; echo $$ >"$1/pid"; exec sleep 600' - "$OTHER/svc"
    wait_until 5 test -s "$OTHER/svc/pid"
}

@test "root's limit on another user's run directory follows no link there" {
    other_user
    pretend_task
    echo precious >"$TMP/file"
    as_other ln -s "$TMP/file" "$OTHER/svc/limit.max-ops"
    run df2redis --run-dir "$OTHER/svc" limit --max-ops 7
    [[ $(<"$TMP/file") == precious ]] || fail "it was written to"
}

@test "root's stop on another user's run directory signals none but its owner's processes" {
    other_user
    echo x >"$OTHER/ours" # which they can read and lock
    background bash -c 'exec 9<"$1"; exec sleep 600' - "$OTHER/ours"
    local victim=$!
    printf 'task=svc\nphase=running\n' >"$OTHER/svc/state"
    as_other ln -s "$OTHER/ours" "$OTHER/svc/lock"
    as_other bash -c "echo $victim >$OTHER/svc/pid"
    # shellcheck disable=SC2016
    background as_other bash -c 'exec 7<"$1/lock"; flock -x 7; : >"$1/locked"; exec sleep 600' - "$OTHER/svc"
    wait_until 5 test -e "$OTHER/svc/locked"
    wait_until 5 test "/proc/$victim/fd/9" -ef "$OTHER/ours"
    run df2redis --run-dir "$OTHER/svc" --timeout 1 stop
    [[ $status -ne 0 ]]
    kill -0 "$victim" || fail "it was killed"
    # What is theirs is stopped.
    rm -f "$OTHER/svc"/{lock,pid}
    pretend_task
    local theirs
    theirs=$(<"$OTHER/svc/pid")
    run df2redis --run-dir "$OTHER/svc" --timeout 5 stop
    assert_status 0
    ended "$theirs"
}

@test "a directory of tasks or a run directory that another user made is refused" {
    other_user
    mkdir "$OTHER/mine"
    ln -s "$OTHER/mine" "$OTHER/link"
    chown -h 61234 "$OTHER/link"
    run df2redis --run-dir "$OTHER/link" status
    assert_status 1
    assert_output_has 'symbolic link of another user'
    run df2redis --run-dir "$OTHER/link" replicate dragonfly://127.0.0.1:1 redis://127.0.0.1:1
    assert_status 1
    assert_output_has 'symbolic link of another user'
    run df2redis --run-dir "$OTHER/svc" replicate dragonfly://127.0.0.1:1 redis://127.0.0.1:1
    assert_status 1
    assert_output_has 'belongs to somebody else'
    run as_other df2redis --run-dir "$OTHER/mine" status
    assert_status 1
    assert_output_has 'belongs to somebody else'
    mkdir -p "$OTHER/base/df2redis/default"
    chown 61234 "$OTHER/base/df2redis"
    XDG_RUNTIME_DIR=$OTHER/base run df2redis status
    assert_status 1
    assert_output_has 'belongs to somebody else'
    chmod 777 "$OTHER/mine"
    run df2redis --run-dir "$OTHER/mine" replicate dragonfly://127.0.0.1:1 redis://127.0.0.1:1
    assert_status 1
    assert_output_has 'others than its owner can write'
}

@test "log file, report, position file and the other files of options: no link of another user is followed" {
    other_user
    start_both
    echo precious >"$TMP/file"
    local link=$OTHER/link
    ln -s "$TMP/file" "$link"
    chown -h 61234 "$link"
    run df2redis --log-file "$link" migrate "$SOURCE" "$TARGET"
    assert_status 1
    run df2redis --single --report "$link" migrate "$SOURCE" "$TARGET"
    assert_status 1
    run df2redis --force record "$SOURCE" "$link"
    assert_status 1
    run dflog "$link" </dev/null
    assert_status 1
    run dfreader -o "$link" "$CAPTURES/../rdb/nothing"
    run rediswriter --summary "$link" "$TARGET" </dev/null
    assert_status 1
    run rediswriter --errors-to "$link" "$TARGET" </dev/null
    [[ $(<"$TMP/file") == precious ]] || fail "$(<"$TMP/file")"
    # Our own is.
    ln -s "$TMP/log" "$TMP/link"
    echo line | dflog "$TMP/link"
    grep -q line "$TMP/log"
}

@test "remove: tasks that have ended go off the list, no others" {
    start_both --journal-kind incr --journal-ops 100000 --journal-rate 500
    background df2redis --task one replicate "$SOURCE" "$TARGET" 2>>"$TMP/err"
    local pid=$!
    wait_until 10 phase_is streaming --task one
    run df2redis remove one
    assert_status 1
    assert_output_has 'is running'
    phase_is streaming --task one
    df2redis stop --task one
    reap 10 "$pid"
    run timeout 20 df2redis --task two replicate dragonfly://127.0.0.1:1 "$TARGET"
    run df2redis list
    [[ ${#lines[@]} -eq 2 ]] || fail "$output"
    run df2redis remove one two
    assert_status 0
    run df2redis list
    [[ -z $output ]] || fail "$output"
    [[ ! -e $(RUN one) && ! -e $(RUN two) ]]
    run df2redis --task one remove
    assert_status 1
    assert_output_has 'there is no task one'
    run df2redis remove ../one
    assert_status 2
}

# ---- what is typed ----

@test "a password with any raw character stands nowhere, and is the right one" {
    start_master --generate --password 'a/b?c#d@e[f g' --flows 1
    REDIS_AUTH=(-a 'x/y@z' --no-auth-warning)
    start_redis --requirepass 'x/y@z'
    background df2redis -v -v replicate "dragonfly://:a/b?c#d@e[f g@127.0.0.1:$MASTER_PORT" \
        "redis://:x/y@z@127.0.0.1:$REDIS_PORT" 2>"$TMP/err"
    local pid=$!
    wait_until 10 phase_is streaming
    local dir
    for dir in /proc/"$pid" $(holders | sed 's|^|/proc/|'); do
        never grep -qa -e 'b?c#d' -e 'x/y@z' "$dir/cmdline"
    done
    never grep -rq -e 'b?c#d' -e 'x/y@z' "$(RUN)/state" "$TMP/err"
    run df2redis status
    assert_output_has "source=dragonfly://127.0.0.1:$MASTER_PORT"
    df2redis stop
    reap 10 "$pid"
}

@test "a URL that is not understood is refused without its password" {
    local url
    for url in 'dragonfly://u:qua%rtz@127.0.0.1:1' 'dragonfly://u:qua%zzrtz@127.0.0.1:1' 'dragonfly://u:qua%00rtz@h' \
        'dragonfly://:qua/rtz' 'u:secrtz@host' 'foo://u:secrtz@host' 'dragonfly://u:qua/rtz@'; do
        run df2redis replicate "$url" redis://127.0.0.1:1
        assert_status 2
        [[ $output != *qua* && $output != *rtz@* ]] || fail "$output"
        [[ ! -e $(RUN)/state ]]
    done
    run dfreader 'dragonfly://u:qua/rtz@127.0.0.1:1' -o /dev/null
    [[ $output == *'127.0.0.1:1'* && $output != *qua* && $output != *rtz@* ]] || fail "$output"
    run rediswriter 'redis://u:qua/rtz@127.0.0.1:1' </dev/null
    [[ $output == *'127.0.0.1:1'* && $output != *qua* && $output != *rtz@* ]] || fail "$output"
}

@test "without a scheme the forms of URLs are said, not options that nobody typed" {
    run df2redis replicate host1 host2
    assert_status 2
    assert_output_has 'dragonfly://[user[:password]@]host[:port]'
    [[ $output != *--* ]] || fail "$output"
    run df2redis replicate dragonfly://host1 host2
    assert_status 2
    assert_output_has 'redis://[user[:password]@]host[:port]'
    [[ $output != *--* ]] || fail "$output"
}

@test "numbers with leading zeros are decimal" {
    start_redis
    run timeout 60 df2redis --restart --restart-max 01 --restart-window 0099 replicate dragonfly://127.0.0.1:1 "redis://127.0.0.1:$REDIS_PORT"
    assert_status 75
    assert_output_has restarts_exhausted
    [[ $(json last_error) == *'restarted 1 times within 99 seconds'* ]] || fail "$(json last_error)"
    run df2redis --restart-max 08 --restart-window 09 --timeout 010 stop
    assert_status 1
    [[ $output == *'is not running'* ]] || fail "$output"
    run df2redis --max-bytes 08k --max-ops 09 limit
    assert_status 1
    [[ $output == *'is not running'* ]] || fail "$output"
    for n in 99999999999999999999 1x -1 0x10 ''; do
        run df2redis --restart-max "$n" status
        assert_status 2
    done
    # A pid file is outside text, too.
    printf 'task=x\n' >"$(RUN)/state"
    echo 'a[$(touch '"$TMP"'/pwned)]' >"$(RUN)/pid"
    exec 7>>"$(RUN)/lock"
    flock -x 7
    run df2redis status
    exec 7>&-
    [[ $output != *'arithmetic'* && $output != *'syntax'* && ! -e $TMP/pwned ]] || fail "$output"
}

@test "too low a limit of open files is named" {
    run bash -c 'ulimit -n 11; exec df2redis replicate dragonfly://127.0.0.1:1 redis://127.0.0.1:1'
    assert_status 1
    assert_output_has 'ulimit -n'
    [[ $output != *running* ]] || fail "$output"
}

@test "a lock that cannot be tried is not taken for one that is held" {
    mkdir "$TMP/tools"
    printf '#!/bin/sh\nexit 127\n' >"$TMP/tools/flock"
    chmod +x "$TMP/tools/flock"
    PATH=$TMP/tools:$PATH run df2redis replicate dragonfly://127.0.0.1:1 redis://127.0.0.1:1
    assert_status 1
    assert_output_has 'cannot lock'
    [[ $output != *running* ]] || fail "$output"
}

conf() { # lines: a configuration; the task with it
    printf '%s\n' "$@" >"$TMP/conf"
    run timeout 60 df2redis -c "$TMP/conf" migrate "$SOURCE" "$TARGET"
}

@test "unknown sections and names, names given twice, yes and no: errors in every program" {
    start_both
    local file
    for file in '[writr]' $'[writr]\nstrict = yes' $'[df2redis]\nnonsense = 1' $'[df2redis]\nsingle = true' \
        $'[df2redis]\ntask = a\ntask = b' $'[reader]\nspoool = x' $'[parser]\nonly = x' $'[writer]\nspol = x' \
        $'[writer]\nwindow = 1m\n[parser]\nstats = yes\n[writer]\nwindow = 2m' $'[writer]\nstrict = maybe' 'task = x'; do
        conf "$file"
        assert_status 2
        [[ $(rcli dbsize) -eq 0 ]] || fail "$file was taken"
    done
    for program in dfreader dfparse rediswriter; do
        printf '[nowhere]\n' >"$TMP/conf"
        run $program -c "$TMP/conf" -
        assert_status 2
        assert_output_has nowhere
    done
    run dfconf "$TMP/conf" df2redis
    assert_status 2
    conf '[df2redis]' 'single = no' '[reader]' 'resume = no' '[parser]' 'stats = yes' '[writer]'
    assert_status 0
}

@test "options of the stages are options of df2redis, and names of its section" {
    start_both
    df2redis --include 'prefix:k' --rename-prefix k=new: --db-map 0=3 --strict --on-source-flush ignore \
        --restore-limit 1k --stall-timeout 500 --spool "$TMP" --spill-dir "$TMP" migrate "$SOURCE" "$TARGET"
    local n
    n=$(rcli -n 3 dbsize)
    [[ $n -gt 0 && $(rcli -n 0 dbsize) -le 1 ]] || fail "$(rcli info keyspace)"
    [[ $(rcli -n 3 --scan --pattern 'new:*' | wc -l) -eq $n ]]
    rcli flushall
    conf '[df2redis]' 'include = prefix:k' 'exclude = *1' 'exclude = *2' 'rename-prefix = k=new:' 'strict = yes' 'no-reread = yes'
    assert_status 0
    [[ $(rcli --scan --pattern 'new:*' | wc -l) -gt 0 ]]
    [[ -z $(rcli --scan --pattern 'new:*[12]') ]] || fail "excluded keys are there"
    # Each of them is known to its stage, with a value or without.
    source "$REPO/supervisor/lib/options.bash"
    local name help
    for name in "${!handed_on[@]}"; do
        case ${handed_on[$name]} in
        *r*' '*) help=$(dfreader --help) ;;
        p*) help=$(dfparse --help) ;;
        c*) help=$(df2redis-check --help) ;;
        *) help=$(rediswriter --help) ;;
        esac
        [[ $help == *"--$name"* ]] || fail "$name is none of ${handed_on[$name]}"
    done
    run df2redis --strict=1 status
    assert_status 2
    run df2redis --window
    assert_status 2
}

# ---- causes and restarts ----

@test "a target that is refused: its cause is the first error and the last line, and last_error" {
    start_both
    rcli set there already
    run df2redis replicate "$SOURCE" "$TARGET"
    assert_status 1
    [[ $(grep level=error <<<"$output" | head -n 1) == *stage=rediswriter*target_not_empty* ]] || fail "$output"
    [[ ${lines[-1]} == 'level=error stage=df2redis event=failed status=1 error="rediswriter ended with status 1: it holds keys'* ]] ||
        fail "$output"
    [[ $(grep -c stage=df2redis <<<"$output") -eq 1 ]] || fail "$output"
    [[ $(json last_error) == *'rediswriter ended with status 1: it holds keys'* ]]
}

@test "a target that is down at the first start: 75, and with --restart waited for" {
    start_master --generate --flows 2 --keys 500
    SOURCE=dragonfly://127.0.0.1:$MASTER_PORT
    local port
    port=$(random_port)
    run df2redis replicate "$SOURCE" "redis://127.0.0.1:$port"
    assert_status 75
    run df2redis migrate "$SOURCE" "redis://no-such-host.invalid:$port"
    assert_status 75
    background df2redis --restart replicate "$SOURCE" "redis://127.0.0.1:$port" 2>>"$TMP/err"
    local pid=$!
    wait_until 10 grep -q 'event=restart number=1 status=75' "$TMP/err"
    mkdir "$TMP/late"
    background redis-server --port "$port" --bind 127.0.0.1 --save '' --dir "$TMP/late" --logfile "$TMP/late/log"
    wait_until 20 phase_is streaming
    df2redis stop
    reap 10 "$pid"
    [[ $status -eq 0 ]]
}

@test "a full sync that broke on a target that was empty is repeated without being asked" {
    start_redis
    start_master --generate --flows 2 --keys 20000 --slow 65536 # the first session only
    SOURCE=dragonfly://127.0.0.1:$MASTER_PORT TARGET=redis://127.0.0.1:$REDIS_PORT
    background df2redis --restart replicate "$SOURCE" "$TARGET" 2>>"$TMP/err"
    local pid=$!
    wait_until 10 eval '[[ $(rcli dbsize) -gt 100 ]]'
    phase_is full-sync || fail "$(df2redis status)"
    rcli set gone-from-the-source meanwhile
    kill -KILL "$(stage dfparse-1)"
    wait_until 20 phase_is streaming
    grep -q 'event=full_sync_repeated' "$TMP/err"
    [[ $(rcli exists gone-from-the-source) -eq 0 && $(rcli dbsize) -ge 20000 ]]
    # One that was complete is not.
    kill "$MASTER_PID"
    wait_until 10 ended "$MASTER_PID"
    start_master --generate --flows 2 --keys 500 --port "$MASTER_PORT"
    reap 30 "$pid"
    [[ $status -eq 1 && $(rcli dbsize) -ge 20000 ]] || fail "status $status"
}

keys_of_all() {
    local p sum=0
    for p in "${CLUSTER_PORTS[@]}"; do sum=$((sum + $(redis-cli -p "$p" dbsize))); done
    echo $sum
}

@test "a full sync into an empty cluster that broke is repeated without being asked, whichever stage was killed" {
    local killed pid
    start_cluster 0
    ccli() { redis-cli -c -p "${CLUSTER_PORTS[0]}" "$@"; }
    for killed in rediswriter dfparse-1; do
        cluster_flush
        : >"$TMP/err"
        start_master --generate --flows 2 --keys 20000 --slow 65536 # the first session only
        background df2redis --restart --position-file "$TMP/positions.$killed" replicate --task "$killed" "dragonfly://127.0.0.1:$MASTER_PORT" "$CLUSTER_URL" 2>>"$TMP/err"
        pid=$!
        wait_until 10 eval '[[ $(keys_of_all) -gt 100 ]]'
        phase_is full-sync --task "$killed" || fail "$(df2redis status --task "$killed")"
        ccli set gone-from-the-source meanwhile
        kill -KILL "$(cat "$(RUN "$killed")/$killed.pid")"
        wait_until 20 phase_is streaming --task "$killed"
        grep -q 'event=full_sync_repeated' "$TMP/err"
        [[ $(ccli exists gone-from-the-source) -eq 0 && $(keys_of_all) -ge 20000 ]]
        df2redis stop --task "$killed"
        reap 10 "$pid"
        assert_status 0
    done
}

@test "a full sync that broke is not repeated for another source" {
    start_redis
    start_master --generate --flows 2 --keys 20000 --slow 65536 --replid "$(printf 'a%.0s' {1..40})"
    TARGET=redis://127.0.0.1:$REDIS_PORT
    setsid df2redis --restart replicate "dragonfly://127.0.0.1:$MASTER_PORT" "$TARGET" 3>&- 2>/dev/null &
    local pid=$!
    wait_until 10 eval '[[ $(rcli dbsize) -gt 100 ]]'
    kill -KILL -- "-$pid"
    wait_until 5 ended "$pid"
    start_master --generate --flows 2 --keys 10 --replid "$(printf 'b%.0s' {1..40})"
    run timeout 100 df2redis --restart replicate "dragonfly://127.0.0.1:$MASTER_PORT" "$TARGET"
    assert_status 1
    assert_output_has 'full sync before was not complete'
    [[ $(rcli dbsize) -gt 100 ]]
}

@test "a usage error of a stage is the cause in the last line" {
    start_redis
    start_master --generate --flows 2 --keys 10
    local option
    for option in --db-map=a=b --rename-prefix=a --max-ops=1e3 --connections=0; do
        run timeout 60 df2redis "$option" migrate "dragonfly://127.0.0.1:$MASTER_PORT" "redis://127.0.0.1:$REDIS_PORT"
        assert_status 2
        [[ $(tail -n 1 <<<"$output") == *event=failed*status=2*error=*"${option%%=*}"* ]] || fail "$option: $output"
    done
}

@test "root removes another user's task that has ended" {
    other_user
    printf 'task=svc\ncommand=migrate\nphase=stopped\n' >"$OTHER/svc/state"
    chown 61234:61234 "$OTHER/svc/state"
    run df2redis --run-dir "$OTHER/svc" remove
    assert_status 0
    [[ ! -e $OTHER/svc ]]
}
