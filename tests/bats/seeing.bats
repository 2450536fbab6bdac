#!/usr/bin/env bats
# What an operator sees in a terminal: counters, status, top, progress, messages and the summary.

load helper
load writing

setup() { writing_setup; }

teardown() {
    [[ -n ${BATS_TEST_COMPLETED-} || ! -e $TMP/err ]] || tail -n 40 "$TMP/err"
    writing_teardown
}

# A task of two flows with changes that keep coming.
task() { # options of the master
    start_redis
    start_master --generate --flows 2 --keys 5000 --journal-ops 1000000 --journal-rate 1000 "$@"
    background df2redis ${OPTIONS[@]+"${OPTIONS[@]}"} replicate "dragonfly://127.0.0.1:$MASTER_PORT" \
        "redis://127.0.0.1:$REDIS_PORT" 2>"$TMP/err"
    TASK_PID=$!
    wait_until 10 shows 'phase=streaming .*health=ok '
}

stop_task() {
    df2redis stop || true
    reap 20 "$TASK_PID"
    assert_status 0
}

counters() { dfreader --ask "$(RUN)/control.sock" counters; }

# The sum of a counter of one stage.
counted() { # stage name
    counters | sed -n "s/^counters .*stage=$1 .* $2=\([0-9]*\).*/\1/p" | awk '{ n += $1 } END { print n + 0 }'
}

# ---- counters ----

counters_add_up() {
    [[ $(counted rediswriter keys) -eq 5000 && $(counted dfparse keys) -eq 5000 && $(counted rediswriter live) -gt 1000 ]]
}

@test "counters: every process of the pipeline says what it did" {
    task
    wait_until 10 counters_add_up || fail "$(counters)"
    local lines
    lines=$(counters)
    [[ $(grep -c '^counters ' <<<"$lines") -eq 6 ]] || fail "$lines"
    grep -q '^session .*phase=stable' <<<"$lines"
    [[ $(grep -c '^flow ' <<<"$lines") -eq 2 ]]
    for stage in 'dfreader flow=0' 'dfreader flow=1' 'dfparse flow=0' 'dfparse flow=1'; do
        grep -q "^counters age_us=[0-9]* stage=$stage pid=[1-9].* waited_input_us=[0-9]* .* pipe_size_bytes=[1-9]" <<<"$lines" ||
            fail "$stage: $lines"
    done
    # In the histogram are all changes, and as many below its last bound.
    local n below
    n=$(counted rediswriter latency_count)
    [[ $n -gt 1000 ]]
    below=$(grep -o 'latency_below=[0-9,]*' <<<"$lines")
    [[ ${below##*,} -gt 1000 ]]
    stop_task
}

@test "counters: also of a plain pipeline, which a writer that is idle does not keep alive" {
    start_redis
    start_master --generate --flows 1 --keys 3000
    background bash -c "dfreader --no-progress --control '$TMP/c.sock' dragonfly://127.0.0.1:$MASTER_PORT 2>'$TMP/err' |
        dfparse | rediswriter -q redis://127.0.0.1:$REDIS_PORT"
    local pid=$!
    three() { [[ $(dfreader --ask "$TMP/c.sock" counters | grep -cE '^counters .*stage=(dfreader|dfparse|rediswriter) ') -eq 3 ]]; }
    all_keys() { dfreader --ask "$TMP/c.sock" counters | grep -q 'stage=rediswriter .* keys=3000 '; }
    wait_until 10 three
    wait_until 10 all_keys
    dfreader --ask "$TMP/c.sock" stop
    reap 20 "$pid"
    assert_status 0
}

@test "watch: a plain pipeline is a task, until it ends or nobody watches any more" {
    start_redis
    start_master --generate --flows 1 --keys 3000 --journal-ops 1000000 --journal-rate 500
    run df2redis watch "$TMP/c.sock"
    assert_status 1
    run df2redis watch
    assert_status 1
    assert_output_has "there are 0 pipelines in $XDG_RUNTIME_DIR"
    background bash -c "dfreader --no-progress dragonfly://127.0.0.1:$MASTER_PORT 2>'$TMP/err' | dfparse | rediswriter -q redis://127.0.0.1:$REDIS_PORT"
    local pid=$! watch
    one_socket() { compgen -G "$XDG_RUNTIME_DIR/dfreader.*.sock"; }
    wait_until 10 one_socket
    # A shell's background process ignores Ctrl-C.
    background env --default-signal=INT df2redis --task plain watch 2>"$TMP/watch.err"
    watch=$!
    streams() { df2redis status plain | tr '\n' ' ' | grep -q 'name=plain command=watch phase=streaming .*health=ok .*source=dragonfly://'; }
    wait_until 10 streams || fail "$(df2redis status plain)"
    df2redis list | grep -q '^task name=plain command=watch phase=streaming '
    grep -q '"task":"plain","command":"watch","phase":"streaming","running":true' "$(RUN plain)/status.json"
    run df2redis --task plain watch
    assert_status 1
    assert_output_has "running already"
    # Ctrl-C: the pipeline goes on.
    kill -INT "$watch"
    reap 10 "$watch"
    assert_status 0
    [[ $(df2redis status plain) == *phase=stopped* ]]
    never ended "$pid"
    background df2redis --task plain watch "$(one_socket)"
    watch=$!
    wait_until 10 streams
    run df2redis --final stop plain
    assert_status 2
    df2redis stop plain
    reap 10 "$watch"
    assert_status 0
    reap 10 "$pid"
    assert_status 0
    [[ $(df2redis status plain) == *phase=stopped* ]]
    df2redis remove plain
    # One whose dfreader was killed ends, too.
    background bash -c "dfreader --no-progress --control '$TMP/c.sock' dragonfly://127.0.0.1:$MASTER_PORT 2>'$TMP/err' | dfparse | rediswriter --on-existing overwrite -q redis://127.0.0.1:$REDIS_PORT"
    wait_until 10 test -S "$TMP/c.sock"
    background df2redis --task plain watch "$TMP/c.sock"
    watch=$!
    wait_until 10 streams
    kill -KILL "$(dfreader --ask "$TMP/c.sock" status | sed -n 's/^session .* pid=\([0-9]*\) .*/\1/p')"
    reap 10 "$watch"
    assert_status 0
}

# ---- status ----

@test "status in words, and its forms" {
    task
    moved() { [[ $(df2redis --log-format human status) == *"  moved        5,000 keys"*"  behind       "* ]]; }
    wait_until 10 moved || fail "$(df2redis --log-format human status)"
    run df2redis --log-format human status
    assert_status 0
    [[ ${lines[0]} =~ ^task\ default:\ streaming\ for\ [0-9]+\ s,\ healthy$ ]] || fail "$output"
    assert_output_has "  to           redis://127.0.0.1:$REDIS_PORT"
    [[ $output =~ $'\n  behind       ' ]] || fail "$output"
    run df2redis --raw --log-format human status
    [[ ${lines[0]} == "task name=default "* ]] || fail "$output"
    [[ $(df2redis status) == "task name=default "* ]] # no terminal
    run df2redis --log-format json status
    [[ $output == '{"task":"default",'* ]] || fail "$output"
    run df2redis --log-format no status
    assert_status 2
    command -v script >/dev/null || return 0
    run script -qec "df2redis status" /dev/null
    assert_output_has "task default: streaming for"
}

@test "status names a problem in words, what to do, and the bottleneck" {
    task
    kill -STOP "$REDIS_PID"
    silent() { [[ $(df2redis --log-format human status) == *"target-silent: the target does not reply"*"-> look at the target"* ]]; }
    waits() { [[ $(df2redis --log-format human status) == *"bottleneck   the target: rediswriter waits for its replies"* ]]; }
    wait_until 20 silent
    wait_until 20 waits || fail "$(df2redis --log-format human status)"
    run df2redis --log-format human status
    assert_status 3
    run perl -MJSON::PP -e 'my $t = decode_json(join "", <STDIN>);
        print "$_->{problem}: $_->{next}\n" for @{$t->{explained}};
        print "bottleneck $t->{bottleneck}\n";
        print "$_->{name} $_->{level}\n" for @{$t->{checks}};
        print "stages ", scalar(@{$t->{stages}}), "\n"' <<<"$(df2redis --json status)"
    assert_output_has "target-silent: look at the target"
    assert_output_has "bottleneck target"
    assert_output_has "batch wait "
    assert_output_has "data healthy"
    assert_output_has "stages 6"
    kill -CONT "$REDIS_PID"
    wait_until 20 shows 'health=ok '
    stop_task
}

@test "status.json is what status --json says, anew every second" {
    task
    local before
    before=$(stat -c %y "$(RUN)/status.json")
    anew() { [[ $(stat -c %y "$(RUN)/status.json") != "$before" ]]; }
    wait_until 5 anew
    [[ $(<"$(RUN)/status.json") == '{"task":"default","command":"replicate","phase":"streaming","running":true,"healthy":true,'* ]]
    stop_task
    [[ $(<"$(RUN)/status.json") == *'"phase":"stopped","running":'* ]] || fail "$(<"$(RUN)/status.json")"
    df2redis remove
    [[ ! -e $(RUN) ]]
}

@test "top: once without a terminal, anew until q with one" {
    task
    run df2redis top
    assert_status 0
    assert_output_has "task default: streaming"
    assert_output_has "healthy      pipes: "
    [[ $output =~ $'\n'\ +0\ synced\ +[0-9.]+\ [kM]?B ]] || fail "$output"
    if command -v script >/dev/null; then
        { sleep 3; printf q; } | script -qec "df2redis top" "$TMP/screen" >/dev/null
        [[ $(grep -o 'task default: streaming' "$TMP/screen" | wc -l) -ge 2 ]] || fail "$(<"$TMP/screen")"
        grep -q $'\e\[?1049l' "$TMP/screen" # the screen as it was
    fi
    stop_task
    run df2redis top
    assert_status 1
}

# What the rules make of an answer; standard input: the answer. Arguments: applied and head 100 seconds ago.
judge() { # form applied head
    printf 'phase=running\nsource=redis://a\ntarget=redis://b\n' >"$TMP/state"
    printf 'phase=streaming\nsince=500\nsample 900.000 1000 1000 %s %s 0\n' "$2" "$3" >"$TMP/progress"
    awk -v form="$1" -v asked=ok -v lock=up -v now=1000 -v name=t -f "$BUILD/libexec/df2redis/status.awk" \
        -f "$BUILD/libexec/df2redis/health.awk" -f "$BUILD/libexec/df2redis/show.awk" -f "$BUILD/libexec/df2redis/json.awk" \
        "$TMP/state" "$TMP/progress" -
}

of_redis() { # lag backlog further fields
    echo "session phase=stable flows=1 synced=1 unit=bytes bytes=5000 queued=0 alarms= backlog_bytes=$2 $3"
    echo "flow flow=0 state=up bytes=5000 cut=1 synced=1 applied=10000000 acked=1 head=$((10000000 + $1)) lag=$1 silent=0"
}

@test "the backlog of the source: healthy, soon over, over" {
    # 100 seconds ago nothing was missing; now a megabyte is: 10 kB/s, of 2 MB one is left: 100 s.
    run judge json 9000000 9000000 < <(of_redis 1000000 2000000)
    assert_status 3
    assert_output_has '"problems":["backlog-soon"]'
    assert_output_has 'at this lag it overflows in 2 min: a restart would then need a full sync'
    assert_output_has '"backlog_minutes":2,'
    # Of 1 GB that takes 27 hours; the lag shrinks; there is none.
    run judge json 9999999 9999999 < <(of_redis 1000000 1000000000)
    assert_output_has '"name":"backlog of the source","level":"healthy"'
    run judge json 9000000 11000000 < <(of_redis 1000000 2000000)
    assert_output_has '"name":"backlog of the source","level":"healthy","part":0.500,"text":"50 % of it are used"'
    run judge human 9000000 9000000 < <(of_redis 3000000 2000000)
    assert_output_has "backlog-overflow: the source no longer has what the target lacks"
}

@test "the thresholds of the health table" {
    local fill level
    for fill in '0 healthy' '499 healthy' '500 warning' '800 warning' '801 critical' '1000 critical'; do
        read -r fill level <<<"$fill"
        run judge json 9999999 9999999 < <(
            of_redis 0 0
            echo "counters stage=dfreader flow=0 pid=1 pipe_bytes=$fill pipe_size_bytes=1000"
        )
        assert_output_has "{\"name\":\"pipes\",\"level\":\"$level\""
    done
    for fill in '69 4 healthy healthy' '70 5 warning warning' '90 10 warning warning' '91 11 critical critical'; do
        local window wait first second
        read -r window wait first second <<<"$fill"
        run judge json 9999999 9999999 < <(
            of_redis 0 0
            echo "counters stage=rediswriter pid=1 in_flight=3 window_bytes=$window window_size_bytes=100 batch_wait_us=${wait}000000 memory_bytes=96 memory_limit_bytes=100"
        )
        assert_output_has "{\"name\":\"transaction window\",\"level\":\"$first\""
        assert_output_has "{\"name\":\"batch wait\",\"level\":\"$second\""
        assert_output_has '"problems":["target-nearly-full"]'
    done
}

# ---- progress ----

@test "without a terminal a full sync says every 10 seconds how far it is" {
    start_redis
    start_master --generate --flows 1 --keys 5000 --slow 15000
    background df2redis replicate "dragonfly://127.0.0.1:$MASTER_PORT" "redis://127.0.0.1:$REDIS_PORT" 2>"$TMP/err"
    TASK_PID=$!
    wait_until 15 grep -q 'level=info stage=df2redis event=progress note="full-sync ' "$TMP/err"
    df2redis stop || true
    reap 20 "$TASK_PID"
}

# ---- messages and the summary ----

# A stream whose second request is wrong for its key.
one_error() {
    printf '%s\n' "live 0 :pos=2 SET s 1" "live 0 :pos=3 LPUSH s x" | one_flow
}

@test "--log-format json: each line of standard error is an object" {
    start_redis
    one_error | write --log-format json
    assert_status 3
    perl -MJSON::PP -e 'while (<STDIN>) { decode_json($_) }' <<<"$output" || fail "$output"
    assert_output_has '"level":"warn","stage":"rediswriter","flow":0,"event":"data_error"'
    assert_output_has '"errors_by_kind": [{"kind": "LPUSH: WRONGTYPE", "count": 1, "keys": ["s"]}]'
}

@test "--log-format human: what failed, and what to do next" {
    start_redis
    one_error | write --log-format human
    assert_status 3
    assert_output_has "warning: rediswriter, flow 0: data error (command LPUSH, key s, "
    assert_output_has "rediswriter: done, but the target does not have everything (status 3)"
    assert_output_has "  NOT APPLIED       1: LPUSH: WRONGTYPE, as s"
    assert_output_has "  next              look at the keys above"
}

@test "--log-format human: words, and a summary that says what is missing" {
    start_redis
    many() { awk 'BEGIN { for (i = 0; i < 2000; i++) print "set 0 k" i " @30" }'; }
    many | one_flow | write --log-format human
    assert_status 0
    [[ ${lines[0]} == "rediswriter: done (status 0)" ]] || fail "$output"
    assert_output_has "  moved             2,000 keys (2,000 string), 0 later changes"
    never grep -q 'next  ' <<<"$output"
}

@test "df2redis --log-format: the log file in JSON, errors are still explained" {
    start_redis
    rcli set there 1 >/dev/null
    start_master --generate --flows 1 --keys 10
    run df2redis --log-format json --log-file "$TMP/log" replicate "dragonfly://127.0.0.1:$MASTER_PORT" \
        "redis://127.0.0.1:$REDIS_PORT"
    assert_status 1
    perl -MJSON::PP -ne 'decode_json($_)' "$TMP/log" || fail "$(<"$TMP/log")"
    grep -q '"stage":"df2redis","event":"failed","status":1,"error":"rediswriter ended with status 1: it holds keys' "$TMP/log" ||
        fail "$(<"$TMP/log")"
}

@test "on a terminal a task says words, progress and its summary" {
    command -v script >/dev/null || skip "no script(1)"
    start_redis
    start_master --generate --flows 1 --keys 3000 --journal-ops 100000 --journal-rate 200
    background script -qfec "df2redis -v replicate dragonfly://127.0.0.1:$MASTER_PORT redis://127.0.0.1:$REDIS_PORT" \
        "$TMP/screen" >/dev/null </dev/null
    local pid=$!
    wait_until 10 grep -q 'streaming  3,000 keys' "$TMP/screen"
    df2redis stop
    reap 20 "$pid"
    grep -q 'rediswriter: done (status 0)' "$TMP/screen" || fail "$(<"$TMP/screen")"
    grep -q 'dfreader, flow 0: synced' "$TMP/screen" || fail "$(<"$TMP/screen")"
    never grep -q 'level=' "$TMP/screen"
}
