#!/usr/bin/env bats
# df2redis as a supervisor: new starts that go on, what kill -9 leaves, status, list, stop, several tasks.

load helper

setup() { common_setup; }

teardown() {
    [[ -n ${BATS_TEST_COMPLETED-} || ! -e $TMP/err ]] || tail -n 60 "$TMP/err"
    end_tasks
    common_teardown
}

# What runs for a task of ours: everything that holds its lock.
holders() {
    local lock dir
    for lock in "$XDG_RUNTIME_DIR"/df2redis/*/lock; do
        for dir in /proc/[0-9]*; do [[ $dir/fd/9 -ef $lock ]] && echo "${dir#/proc/}"; done
    done
    return 0
}

# Whatever was left by a test that kills supervisors.
end_tasks() {
    local pid
    for pid in $(holders); do kill -KILL "$pid" 2>/dev/null; done
    return 0
}

# A master with counters (not idempotent) that go on for a while, and a target that keeps what it was told.
start_both() { # options of the master
    start_redis --appendonly yes --appendfsync always
    start_master --generate --flows 2 --keys 500 "$@"
    SOURCE=dragonfly://127.0.0.1:$MASTER_PORT
    TARGET=redis://127.0.0.1:$REDIS_PORT
}

replicate() { # options: a supervisor in the background; TASK_PID is set
    background df2redis -v "$@" replicate "$SOURCE" "$TARGET" 2>>"$TMP/err"
    TASK_PID=$!
}

restarted() { [[ $(json restarts) -ge $1 ]]; }
# A process that is gone, or waits for its new parent to notice.
no_process() { ! grep -q '^State:.[^Z]' "/proc/$1/status" 2>/dev/null; }
events() { grep -c "event=$1" "$TMP/err"; }

stop_task() {
    df2redis stop "$@" || fail "stop: $?"
    reap 10 "$TASK_PID" || return 1
    [[ $status -eq 0 ]] || { cat "$TMP/err" >&2; fail "status $status"; }
}

# All that the generated journal counted, exactly once: the target as if nothing had happened. The master must be idle.
assert_exact() {
    local port=$REDIS_PORT
    standin --generate --flows 2 --keys 500 "$@" --write-resp - --with-journal >"$TMP/resp"
    start_redis
    rcli --pipe <"$TMP/resp" >/dev/null
    assert_same "redis://127.0.0.1:$port" "redis://127.0.0.1:$REDIS_PORT"
}

journal=(--journal-kind incr --journal-ops 3000 --journal-rate 600)
all_applied() { [[ $(df2redis status | sed -n 's/^flow .* applied=\([0-9]*\) .*/\1/p' | awk '{ n += $1 - 1 } END { print n + 0 }') -ge 3000 ]]; }

@test "a stage is killed, another one: it is started again, goes on, and counts nothing twice" {
    start_both "${journal[@]}"
    replicate --restart
    wait_until 10 phase_is streaming
    local n=0 name
    for name in rediswriter dfreader-0; do
        kill -KILL "$(stage $name)"
        n=$((n + 1))
        wait_until 12 restarted $n
        wait_until 10 phase_is streaming
        grep -q "error=\"$name was killed by signal 9[\":]" "$TMP/err" || fail "$(cat "$TMP/err")"
    done
    [[ $(json last_error) == "\"dfreader-0 was killed by signal 9"* ]]
    wait_until 20 all_applied
    stop_task
    [[ $(events 'flow_up mode=PARTIAL') -eq 8 ]] || fail "$(grep flow_up "$TMP/err")" # both processes of a flow say so
    assert_exact "${journal[@]}"
}

@test "the supervisor is killed: its stages go on, the next one names and ends them, and goes on" {
    start_both "${journal[@]}"
    replicate --restart
    wait_until 10 phase_is streaming
    local others
    others=$(cat "$(RUN)"/*.pid)
    kill -KILL "$TASK_PID"
    wait_until 5 ended "$TASK_PID"
    run df2redis status
    assert_status 3
    assert_output_has 'health=orphaned'
    run df2redis list
    assert_output_has 'phase=streaming'
    for pid in $others; do kill -0 "$pid" || fail "a stage has ended"; done
    replicate --restart
    wait_until 10 grep -q "event=orphan name=dfparse-1 pid=$(echo "$others" | sed -n 2p)" "$TMP/err"
    wait_until 10 eval '[[ $(events "started name=rediswriter") -eq 2 ]]' # until then the old session is streaming
    wait_until 10 phase_is streaming
    for pid in $others; do no_process "$pid" || fail "a stage is left"; done
    [[ $(events 'orphan name') -eq 6 && $(events orphan_killed) -eq 0 ]] || fail "$(cat "$TMP/err")"
    wait_until 20 all_applied
    stop_task
    assert_exact "${journal[@]}"
}

@test "orphans are ended by df2redis stop, those that hang, too" {
    start_both --journal-kind incr
    replicate
    wait_until 10 phase_is streaming
    kill -KILL "$TASK_PID"
    wait_until 5 ended "$TASK_PID"
    df2redis stop
    run df2redis status
    assert_status 1
    replicate --resume
    wait_until 10 phase_is streaming
    kill -STOP "$(stage dfreader-session)"
    kill -KILL "$TASK_PID"
    wait_until 5 ended "$TASK_PID"
    run df2redis stop --timeout 1
    assert_status 0
    assert_output_has 'orphan_killed name=dfreader-session'
    [[ -z $(holders) ]] || fail "something is left"
}

@test "killed while it waits for orphans to end: the next start is not taken for a second one" {
    start_both --journal-kind incr
    replicate --restart
    wait_until 10 phase_is streaming
    kill -STOP "$(stage dfreader-session)" # what is asked gets no answer
    kill -KILL "$TASK_PID"
    wait_until 5 ended "$TASK_PID"
    replicate --restart
    wait_until 10 grep -q 'event=orphan name=dfreader-session' "$TMP/err"
    kill -KILL "$TASK_PID"
    wait_until 5 ended "$TASK_PID"
    replicate --restart
    wait_until 30 grep -q 'event=orphan_killed name=dfreader-session' "$TMP/err"
    wait_until 10 eval '[[ $(events "started name=rediswriter") -eq 2 ]]'
    wait_until 10 phase_is streaming
    never grep -q 'is being started' "$TMP/err"
    stop_task
}

@test "the whole process group is killed in the stable sync: the next start goes on exactly" {
    start_both "${journal[@]}"
    local n pid
    for n in 1 2; do
        setsid df2redis -v --restart replicate "$SOURCE" "$TARGET" 3>&- 2>>"$TMP/err" &
        pid=$!
        wait_until 10 phase_is streaming
        sleep 0.3
        kill -KILL -- "-$pid"
        wait_until 5 ended "$pid"
        run df2redis status
        assert_status 1
        assert_output_has 'phase=failed'
    done
    replicate --restart
    wait_until 20 all_applied
    stop_task
    assert_exact "${journal[@]}"
}

@test "the whole process group is killed in the full sync into a target with keys: the policy decides" {
    start_redis
    rcli set before it
    start_master --generate --flows 2 --keys 20000 --slow 65536 # the first session only
    SOURCE=dragonfly://127.0.0.1:$MASTER_PORT
    TARGET=redis://127.0.0.1:$REDIS_PORT
    setsid df2redis --restart --on-existing overwrite replicate "$SOURCE" "$TARGET" 3>&- 2>/dev/null &
    local pid=$!
    wait_until 10 eval '[[ $(rcli dbsize) -gt 100 ]]'
    phase_is full-sync || fail "$(df2redis status)"
    kill -KILL -- "-$pid"
    wait_until 5 ended "$pid"
    rcli set left over
    run df2redis --restart replicate "$SOURCE" "$TARGET"
    assert_status 1
    assert_output_has 'full sync before was not complete'
    assert_output_has '--on-full-resync'
    run df2redis status --json
    assert_output_has '"phase":"failed"'
    [[ $(rcli get left) == over ]]
    replicate --restart --on-full-resync flush
    wait_until 20 phase_is streaming
    [[ -z $(rcli get left) && $(rcli dbsize) -ge 20000 ]]
    stop_task
}

@test "--restart belongs to replicate, also --resume; a file may say it for all" {
    run df2redis --restart migrate dragonfly://127.0.0.1:1 redis://127.0.0.1:1
    assert_status 2
    run df2redis --resume record dragonfly://127.0.0.1:1 "$TMP/file"
    assert_status 2
    printf '[df2redis]\nrestart = yes\nsource = dragonfly://127.0.0.1:1\ntarget = redis://127.0.0.1:1\n' >"$TMP/conf"
    run timeout 100 df2redis -c "$TMP/conf" migrate
    assert_status 1
    run timeout 100 df2redis -c "$TMP/conf" --no-restart replicate
    assert_status 1
    run df2redis -c "$TMP/conf" --restart-max many replicate
    assert_status 2
}

@test "what a new start will not mend is no reason for one" {
    start_redis
    start_master --generate --flows 1 --keys 100 --corrupt flow=0,offset=0,xor=ff --compression none
    SOURCE=dragonfly://127.0.0.1:$MASTER_PORT
    TARGET=redis://127.0.0.1:$REDIS_PORT
    run timeout 100 df2redis --restart --single replicate "$SOURCE" "$TARGET"
    assert_status 4
    rcli flushall
    rcli set already there
    run timeout 100 df2redis --restart replicate "$SOURCE" "$TARGET"
    assert_status 1
    run timeout 100 df2redis --restart --on-full-resync perhaps replicate "$SOURCE" "$TARGET"
    assert_status 2
    run df2redis status
    assert_status 1
    assert_output_has 'phase=failed'
    assert_output_has 'last_status=1'
}

# The programs, but for some that do as they are told.
stub() { # name, commands of sh
    mkdir -p "$TMP/bin"
    [[ -e $TMP/libexec ]] || ln -s "$BUILD/libexec" "$TMP/libexec"
    [[ -e $TMP/bin/df2redis ]] || { ln -s "$BUILD"/bin/* "$TMP/bin" && rm "$TMP/bin/df2redis" && cp "$BUILD/bin/df2redis" "$TMP/bin"; }
    rm -f "$TMP/bin/$1"
    {
        printf '#!/bin/sh\ntrap "" TERM\n'
        echo 'case $1 in --check-options) exit 0 ;; esac'
        printf '%s\n' "$2"
    } >"$TMP/bin/$1"
    chmod +x "$TMP/bin/$1"
}

# Commands of one that ends with that status when another stage has failed, as the supervisor says by SIGTERM; and of
# that other one, which waits until it hears that.
fails_next() { # name status
    echo "exec perl -e '\$SIG{TERM} = sub { unlink \"$TMP/ready.$1\"; exit $2 };
        open my \$ready, \">\", \"$TMP/ready.$1\"; sleep 1 while 1;'"
}
fails_first() { # status names…
    local name
    for name in "${@:2}"; do echo "until [ -e $TMP/ready.$name ]; do sleep 0.02; done"; done
    echo "exec 0<&-; exit $1"
}

@test "who could not go on because of another stage does not decide; who could not from the start does" {
    start_master --generate
    local try=(timeout 100 "$TMP/bin/df2redis" --restart --restart-max 1 --single replicate "dragonfly://127.0.0.1:$MASTER_PORT" redis://127.0.0.1:1)
    stub rediswriter "$(fails_first 75 dfparse)"
    stub dfparse "$(fails_next dfparse 1)"
    run "${try[@]}"
    assert_status 1
    assert_output_has 'event=restart number=1'
    assert_output_has 'event=restarts_exhausted'
    stub rediswriter "$(fails_next rediswriter 75)"
    stub dfparse "$(fails_first 1 rediswriter dfreader)"
    stub dfreader "$(fails_next dfreader 75)"
    run "${try[@]}"
    assert_status 1
    [[ $output != *event=restart* ]] || fail "$output"
    rm "$TMP/bin/dfreader" && ln -s "$BUILD/bin/dfreader" "$TMP/bin"
    stub rediswriter 'exec 0<&-; exit 3'
    stub dfparse 'sleep 0.5; exit 75'
    run "${try[@]}"
    assert_status 3
    [[ $output != *event=restart* ]]
    # One that hangs is killed.
    stub rediswriter "exec sleep 20"
    stub dfparse 'exit 75'
    run "${try[@]}"
    assert_status 75
    assert_output_has 'event=stages_hang'
    assert_output_has 'event=restarts_exhausted'
}

@test "master and target go away and come back; pauses grow, restarts are limited" {
    local id=(--replid 0123456789012345678901234567890123456789)
    # Not a port that the kernel may give away while nobody listens there.
    start_both "${id[@]}" --port "$(random_port)"
    local port=$MASTER_PORT rport=$REDIS_PORT dir=$TMP/redis.$REDIS_PORT
    replicate --restart --target-reconnect-timeout 1 --on-full-resync flush
    wait_until 10 phase_is streaming
    kill "$MASTER_PID"
    wait_until 5 phase_is restarting
    run df2redis status
    assert_status 3
    assert_output_has 'health=restarting'
    start_master --generate --flows 2 --keys 500 --port "$port" "${id[@]}"
    wait_until 10 phase_is streaming
    kill -KILL "$REDIS_PID"
    wait_until 10 phase_is restarting
    background redis-server --port "$rport" --bind 127.0.0.1 --save '' --dir "$dir" --logfile "$dir/log" --appendonly yes
    wait_until 15 phase_is streaming
    stop_task
    grep -Eq 'event=restart number=1 .*in_ms=1[0-9]{3}' "$TMP/err"
    run timeout 100 df2redis --task other --restart --restart-max 2 replicate dragonfly://127.0.0.1:1 "$TARGET"
    assert_status 75
    [[ $(grep -c 'event=restart number' <<<"$output") -eq 2 ]]
    # Nothing got any further.
    grep -Eq 'event=restart number=2 .*in_ms=[23][0-9]{3}' <<<"$output"
    assert_output_has 'restarts_exhausted'
    [[ $(json last_error --task other) == *': cannot connect to 127.0.0.1:1: Connection refused; restarted 2 times within 600 seconds'* ]]
}

pauses() { # and will for a while
    [[ $(df2redis status "$@" | sed -n 's/.* phase=restarting .* next=\([0-9]*\).*/\1/p') -ge 2 ]]
}

@test "stopped in a pause: at once, with 0 after a full sync and 5 before" {
    start_both
    replicate --restart
    wait_until 10 phase_is streaming
    kill "$MASTER_PID"
    wait_until 10 pauses
    stop_task
    replicate --task other --restart
    wait_until 10 pauses --task other
    df2redis stop --task other
    reap 2 "$TASK_PID"
    [[ $status -eq 5 ]] || fail "status $status"
}

@test "stop: a stage that hangs is waited for, and then killed" {
    start_both
    replicate
    wait_until 10 phase_is streaming
    kill -STOP "$(stage rediswriter)"
    run df2redis stop --timeout 1
    assert_status 75
    reap 2 "$TASK_PID"
    [[ $status -ne 0 ]]
    [[ -z $(holders) ]] || fail "something is left"
    run df2redis stop
    assert_status 1
}

in_step() { # with 2,000 entries a second
    local line='phase=streaming since=20[0-9-]*T[0-9:]*Z seconds=[0-9]+ health=ok .*'
    line+='lag_seconds=[0-5] .*entries_per_second=(1[5-9]|2[0-5])[0-9][0-9] '
    df2redis status | tr '\n' ' ' | grep -Eq "$line"
}

@test "phases, positions, lag and health in status, as lines and as JSON" {
    start_redis
    start_master --generate --flows 2 --keys 20000 --slow 300000 --journal-ops 100000 --journal-rate 2000 \
        --user user --password 'ge heim'
    SOURCE=dragonfly://user:ge%20heim@127.0.0.1:$MASTER_PORT
    TARGET=redis://127.0.0.1:$REDIS_PORT
    run df2redis status
    assert_status 1
    replicate
    wait_until 5 phase_is full-sync
    run df2redis status
    assert_status 0
    assert_output_has "source=dragonfly://user@127.0.0.1:$MASTER_PORT"
    [[ $output != *heim* ]] || fail "the password is shown"
    wait_until 15 phase_is streaming
    wait_until 10 in_step || fail "$(df2redis status)"
    df2redis status --json | perl -MJSON::PP -e '
        my $t = decode_json(join "", <STDIN>);
        die unless $t->{healthy} && defined $t->{lag_seconds} && @{$t->{flows}} == 2 && $t->{flows}[1]{applied} > 1;
        die unless $t->{task} eq "default" && $t->{pid} == $ARGV[0] && $t->{bytes_per_second} > 1000;' "$TASK_PID"
    # A target that takes nothing.
    kill -STOP "$REDIS_PID"
    wait_until 20 grep -q event=target_paused "$TMP/err"
    run df2redis status
    assert_status 3
    [[ $output =~ phase=catching-up.*health=target-silent,target-paused.*lag_seconds=([0-9]+) ]] || fail "$output"
    [[ ${BASH_REMATCH[1]} -ge 8 ]] || fail "$output"
    kill -CONT "$REDIS_PID"
    wait_until 10 grep -q event=target_goes_on "$TMP/err"
    wait_until 10 phase_is streaming
    # A session that does not answer.
    kill -STOP "$(stage dfreader-session)"
    run df2redis status
    kill -CONT "$(stage dfreader-session)"
    assert_status 3
    assert_output_has no-answer
    stop_task
    run df2redis status
    assert_status 1
    assert_output_has 'phase=stopped'
}

@test "two starts make the directory of all tasks at the same time: both go on" {
    start_both
    mkdir -p "$TMP/bin"
    # The other one is always first.
    printf '%s\n' '#!/bin/sh' "[ \"\$1\" != -m ] || $(command -v mkdir) \"\$@\"" "exec $(command -v mkdir) \"\$@\"" >"$TMP/bin/mkdir"
    chmod +x "$TMP/bin/mkdir"
    PATH=$TMP/bin:$PATH replicate --single
    wait_until 10 phase_is streaming
    stop_task
}

@test "several tasks side by side, and the list of them" {
    start_both
    run df2redis list
    assert_status 0
    [[ -z $output ]]
    replicate --task one
    local one=$TASK_PID
    start_redis
    TARGET=redis://127.0.0.1:$REDIS_PORT
    replicate --task two --single
    local two=$TASK_PID
    wait_until 10 phase_is streaming --task one
    wait_until 10 phase_is streaming --task two
    run df2redis --task one replicate "$SOURCE" "$TARGET"
    assert_status 1
    assert_output_has "running already (pid $one"
    run df2redis list
    [[ ${#lines[@]} -eq 2 && ${lines[0]} == 'task name=one '*phase=streaming* && ${lines[1]} == 'task name=two '* ]]
    df2redis stop --task one
    reap 1 "$one"
    phase_is streaming --task two
    run df2redis list --json
    [[ ${#lines[@]} -eq 2 && ${lines[0]} == '{"task":"one",'*'"phase":"stopped"'* && ${lines[1]} == *'"phase":"streaming"'* ]]
    df2redis stop --task two
    reap 1 "$two"
}

@test "data errors of an earlier run stay visible in the exit status; its reports are kept" {
    start_redis --appendonly yes --appendfsync always
    start_master --generate --flows 2 --keys 10 --journal-kind rpush --journal-ops 40000 --journal-rate 400 --types list
    SOURCE=dragonfly://127.0.0.1:$MASTER_PORT
    TARGET=redis://127.0.0.1:$REDIS_PORT
    replicate --restart --on-existing overwrite --report "$TMP/report"
    wait_until 10 phase_is streaming
    echo earlier >"$TMP/report.0"
    # Lists that the journal pushes to become strings for a while.
    local keys
    mapfile -t keys < <(rcli keys '[^d]*')
    printf 'set %s string\n' "${keys[@]}" | rcli >/dev/null
    wait_until 5 grep -q 'event=data_error command="RPUSH"' "$TMP/err"
    rcli del "${keys[@]}"
    kill -KILL "$(stage dfparse-0)"
    wait_until 10 restarted 1
    wait_until 10 phase_is streaming
    [[ $(<"$TMP/report.0.earlier") == earlier && ! -s $TMP/report.0 ]]
    df2redis stop
    reap 5 "$TASK_PID"
    assert_status 3
}

@test "at least once: that something may count twice after a kill is said, and stays visible in the exit status" {
    start_both --journal-kind incr --journal-ops 100000 --journal-rate 400
    printf '[writer]\nat-least-once = yes\n' >"$TMP/conf"
    replicate --restart -c "$TMP/conf" --position-file "$TMP/positions"
    wait_until 10 phase_is streaming
    wait_until 10 grep -qx whole=1 "$TMP/positions"
    cp "$TMP/positions" "$TMP/before"
    wait_until 10 eval '! cmp -s "$TMP/positions" "$TMP/before"' # and so there were changes since
    kill -STOP "$TASK_PID"
    kill -KILL "$(stage rediswriter)"
    wait_until 5 no_process "$(stage rediswriter)"
    cp "$TMP/before" "$TMP/positions" # as if this had been its last
    kill -CONT "$TASK_PID"
    wait_until 10 restarted 1
    wait_until 10 phase_is streaming
    wait_until 10 grep -q event=may_count_twice "$TMP/err"
    kill -KILL "$(stage dfreader-session)"
    wait_until 10 restarted 2
    wait_until 10 phase_is streaming
    df2redis stop
    reap 10 "$TASK_PID"
    assert_status 3
}

@test "a limit that was changed while it ran holds after a restart, too" {
    start_both
    replicate --restart --max-ops 1000
    wait_until 10 phase_is streaming
    df2redis limit --max-ops 77 --max-bytes 1m
    kill -KILL "$(stage rediswriter)"
    wait_until 10 restarted 1
    wait_until 10 phase_is streaming
    [[ $(tr '\0' ' ' <"/proc/$(stage rediswriter)/cmdline") == *'--max-ops 77 --max-bytes 1048576'* ]]
    stop_task
    [[ ! -e $(RUN)/limit.max-ops ]]
}

@test "the reason of a failure names the stage that said it" {
    run_dir=$TMP
    source "$REPO/supervisor/lib/logging.bash"
    echo 'level=error stage=rediswriter event=cannot_use_target target=redis://x error="AUTH: WRONGPASS invalid"' >"$TMP/error"
    explain dfreader-session
    [[ $reason == ": rediswriter: AUTH: WRONGPASS invalid" ]] || fail "$reason"
    explain rediswriter
    [[ $reason == ": AUTH: WRONGPASS invalid" ]] || fail "$reason"
    {
        echo 'level=error stage=dfparse flow=1 event=failed error="not this"'
        echo 'level=error stage=dfreader flow=1 event=failed status=1 error="nor this"'
        echo 'level=error stage=dfreader flow=0 event=failed status=1 error="no \"such\" thing"'
    } >"$TMP/error"
    explain dfreader-0
    [[ $reason == ': no \"such\" thing' ]] || fail "$reason"
}

@test "the log file has the time on each line, and is opened anew on SIGHUP" {
    start_both
    replicate --log-file "$TMP/log"
    wait_until 10 phase_is streaming
    grep -Eq '^time=20[0-9-]+T[0-9:]+\.[0-9]{3}Z level=info stage=dfreader event=phase name=stable' "$TMP/log"
    [[ ! -s $TMP/err ]] || fail "$(cat "$TMP/err")"
    mv "$TMP/log" "$TMP/log.1"
    kill -HUP "$TASK_PID"
    wait_until 5 test -e "$TMP/log"
    stop_task
    grep -q 'stage=df2redis event=end status=0' "$TMP/log"
    never grep -q 'event=end status=0' "$TMP/log.1"
    grep -q 'stage=rediswriter summary' "$TMP/log"
}

@test "a stop that comes before dfreader takes signals is said again" {
    local how
    start_redis
    start_master --generate
    # A shell that was started with a signal ignored cannot change that.
    stub dfreader "trap - TERM; case \$* in *--ask*) ;; *) : >'$TMP/here'; sleep 0.7 ;; esac; exec '$BUILD/bin/dfreader' \"\$@\""
    for how in --single --takeover; do
        rm -f "$TMP/here"
        background "$TMP/bin/df2redis" "$how" replicate "dragonfly://127.0.0.1:$MASTER_PORT" "redis://127.0.0.1:$REDIS_PORT" 2>"$TMP/err"
        local pid=$!
        wait_until 10 test -e "$TMP/here"
        kill -TERM "$pid"
        reap 20 "$pid"
        [[ $status -eq 5 || $status -eq 0 ]] || fail "$how: status $status: $(cat "$TMP/err")"
        [[ $(tail -1 "$TMP/err") != *level=error* ]]
    done
}
