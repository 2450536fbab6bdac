#!/usr/bin/env bats
# The commands of df2redis-runbook(7), section by section, as they stand in the page: only the addresses are replaced by those
# of private servers. And the README's.

load helper

setup() {
    common_setup
    export XDG_CONFIG_HOME=$TMP/config
    cd "$TMP"
}

teardown() {
    local name
    for name in cache back; do df2redis --timeout 5 stop "$name" >/dev/null 2>&1 || true; done
    [[ ${#CLUSTER_PIDS[@]} -eq 0 ]] || stop_cluster
    common_teardown
}

# The literal blocks of a section (.Sh or .Ss), as a shell gets them: which ones, counted from 1; by default all.
blocks() { # heading [first last]
    awk -v heading="$1" -v first="${2:-1}" -v last="${3:-99}" '
        /^\.S[hs] / { at = substr($0, 5) == heading }
        /^\.Ed/ { block = 0 }
        block && n >= first && n <= last { gsub(/\\e/, "\\"); print }
        at && /^\.Bd -literal/ { block = 1; n++ }' "$REPO/man/df2redis-runbook.7"
}

# Run it as a user would, who stops at the first command that fails. SED: what stands for its addresses.
follow() { # heading [first last]
    blocks "$@" | sed "${SED[@]}" >"$TMP/commands"
    [[ -s $TMP/commands ]] || fail "no commands in $1"
    never grep -nE '10\.0\.0\.|managed\.example' "$TMP/commands"
    run timeout "$((60 * PATIENCE))" bash -eu "$TMP/commands" 3>&-
    [[ $status -eq 0 ]] || fail "$1: status $status: $output"
}

# What is stopped for good leaves no trace: neither a task nor positions.
left_nothing() { # task port…
    local port
    [[ -z $(df2redis list | grep "^task name=$1 ") ]] || fail "$1 is still listed"
    for port in "${@:2}"; do
        [[ -z $(redis-cli -p "$port" --scan --pattern 'df2redis:*') ]] || fail "positions are left"
    done
}

# A Redis with what the task has to bring over, of which a check can be asked, which a stand-in cannot.
reference() { # capture
    start_redis
    REFERENCE=$REDIS_PORT
    dfreader --until synced "dragonfly://127.0.0.1:$MASTER_PORT" | dfparse | rediswriter -q "redis://127.0.0.1:$REFERENCE" ||
        [[ $? -eq 3 ]] # what a Redis has no type for
    assert_equals_capture "$1"
}

# Every type, so that it is no copy of strings only.
some_keys() { # port
    local port=$1
    redis-cli -p "$port" mset a 1 b 2 user:1 x >/dev/null
    redis-cli -p "$port" hset h f v >/dev/null
    redis-cli -p "$port" rpush l 1 2 3 >/dev/null
    redis-cli -p "$port" sadd s m n >/dev/null
    redis-cli -p "$port" zadd z 1.5 m >/dev/null
    redis-cli -p "$port" xadd x 1-1 f v >/dev/null
    redis-cli -p "$port" set e 1 ex 10000 >/dev/null
}

has() { [[ $(redis-cli -p "$1" get "$2") == "$3" ]]; } # port key value

@test "before, and Redis to Valkey" {
    start_redis
    local old=$REDIS_PORT
    some_keys "$old"
    start_redis
    SED=(-e "s|redis://10\.0\.0\.5|redis://127.0.0.1:$old|; s|redis://10\.0\.0\.9|redis://127.0.0.1:$REDIS_PORT|"
        -e "s|-h 10\.0\.0\.5 -p 6379|-h 127.0.0.1 -p $old|")
    follow BEFORE
    assert_output_has 'largest key'
    [[ $(redis-cli -p "$old" config get repl-backlog-size | tail -1) -eq $((256 << 20)) ]]
    follow "REDIS TO VALKEY" 1 1
    assert_output_has 'equal'
    assert_same "redis://127.0.0.1:$old" "redis://127.0.0.1:$REDIS_PORT"
    redis-cli -p "$old" set live 1 >/dev/null
    wait_until 10 has "$REDIS_PORT" live 1
    follow "REDIS TO VALKEY" 2
    left_nothing cache "$REDIS_PORT"
}

@test "Dragonfly to Redis" {
    start_master --capture "$CAPTURES/lzf-2flows"
    reference lzf-2flows
    start_redis
    SED=(-e "/^df2redis check/s|dragonfly://10\.0\.0\.5|redis://127.0.0.1:$REFERENCE|"
        -e "s|dragonfly://10\.0\.0\.5|dragonfly://127.0.0.1:$MASTER_PORT|; s|redis://10\.0\.0\.9|redis://127.0.0.1:$REDIS_PORT|")
    follow "DRAGONFLY TO REDIS" 1 1
    assert_equals_capture lzf-2flows
    follow "DRAGONFLY TO REDIS" 2
    left_nothing cache "$REDIS_PORT"
}

@test "Dragonfly to a cluster" {
    start_master --capture "$CAPTURES/lzf-2flows"
    reference lzf-2flows
    start_cluster 0
    SED=(-e "/^df2redis check/s|dragonfly://10\.0\.0\.5|redis://127.0.0.1:$REFERENCE|"
        -e "s|dragonfly://10\.0\.0\.5|dragonfly://127.0.0.1:$MASTER_PORT|; s|://10\.0\.0\.11|://127.0.0.1:${CLUSTER_PORTS[0]}|")
    follow "DRAGONFLY TO A CLUSTER" 1 1
    assert_holds "$CAPTURES/lzf-2flows/expected.jsonl.gz" "redis-cluster://${CLUSTER_URL#redis://}"
    [[ -s cache.pos ]] || fail "no position file"
    follow "DRAGONFLY TO A CLUSTER" 2
    left_nothing cache "${CLUSTER_PORTS[@]}"
    [[ ! -e cache.pos ]] || fail "the position file is left"
}

@test "managed services" {
    REDIS_AUTH=(-a sesame --no-auth-warning)
    start_redis --requirepass sesame --notify-keyspace-events AE
    REDIS_AUTH=()
    local old=$REDIS_PORT
    REDISCLI_AUTH=sesame some_keys "$old"
    start_redis
    echo sesame >managed.password
    SED=(-e "s|rediss://managed.example:6380|redis://127.0.0.1:$old|; s|redis://10\.0\.0\.9|redis://127.0.0.1:$REDIS_PORT|")
    follow "MANAGED SERVICES" 1 1
    assert_output_has 'equal'
    redis-cli -p "$old" -a sesame set live 1 >/dev/null 2>&1
    wait_until 10 has "$REDIS_PORT" live 1
    export DF2REDIS_SOURCE_PASSWORD=sesame
    follow "MANAGED SERVICES" 2
    left_nothing cache "$REDIS_PORT"
}

@test "rollback: before and after the switch" {
    start_redis
    local old=$REDIS_PORT
    some_keys "$old"
    start_redis
    local new=$REDIS_PORT
    SED=(-e "s|redis://10\.0\.0\.5|redis://127.0.0.1:$old|; s|redis://10\.0\.0\.9|redis://127.0.0.1:$new|")
    follow "REDIS TO VALKEY" 1 1
    redis-cli -p "$old" --scan | sort >"$TMP/keys"
    follow "Before the switch"
    left_nothing cache "$new"
    diff "$TMP/keys" <(redis-cli -p "$old" --scan | sort) || fail "the source is not as it was"
    # The clients write to the new server.
    redis-cli -p "$new" set a changed >/dev/null
    redis-cli -p "$new" del b >/dev/null
    follow "After the switch" 1 2
    assert_same "redis://127.0.0.1:$new" "redis://127.0.0.1:$old"
    [[ -s before.rdb ]] && has "$old" a changed || fail "the way back does not lead there"
    redis-cli -p "$new" set live 1 >/dev/null
    wait_until 10 has "$old" live 1
    follow "After the switch" 3
    left_nothing back "$old"
}

# ---- README ----

# Its commands under "Five recipes" that begin so, without what they say of themselves.
readme() { # beginning
    sed -n '/^## Five recipes/,/^## /s/^    //p' "$REPO/README.md" | sed 's/  *#.*//' | BEGINNING=$1 awk 'index($0, ENVIRON["BEGINNING"]) == 1' | sed "${SED[@]}" | tee "$TMP/readme"
    [[ -s $TMP/readme ]] || fail "README has no $1"
}

as_said() { # status beginning
    run timeout "$((60 * PATIENCE))" bash -e -o pipefail -c "$(readme "$2")" 3>&-
    [[ $status -eq $1 ]] || fail "$2: status $status: $output"
}

# One that goes on until it is stopped.
in_background() { # task beginning
    local line
    line=$(readme "$2")
    eval "$line" 2>"$TMP/task.err" 3>&- &
    PIDS+=($!)
    wait_until 20 phase_is streaming "$1" || { cat "$TMP/task.err" >&2; return 1; }
}

# The stages have told the supervisor that some keys of the capture have no type there.
not_all_carried_over() { df2redis --raw status cache | grep -q ' lost=[1-9]'; }

@test "README: a service, a cluster, both ways" {
    start_master --capture "$CAPTURES/lzf-2flows"
    reference lzf-2flows
    start_redis
    local target=$REDIS_PORT
    SED=(-e "/^df2redis check/s#dragonfly://10\.0\.0\.5#redis://127.0.0.1:$REFERENCE#"
        -e "s#dragonfly://10\.0\.0\.5#dragonfly://127.0.0.1:$MASTER_PORT#; s#redis://10\.0\.0\.9#redis://127.0.0.1:$target#")
    in_background cache 'df2redis --restart --task cache'
    wait_until 20 not_all_carried_over
    as_said 3 'df2redis status'
    as_said 0 'df2redis check'
    assert_equals_capture lzf-2flows
    as_said 0 'df2redis --final stop'
    start_cluster 0
    SED+=(-e "s#://10\.0\.0\.11#://127.0.0.1:${CLUSTER_PORTS[0]}#; s#://10\.0\.0\.5,10\.0\.0\.6#://127.0.0.1:${CLUSTER_PORTS[1]}#"
        -e "s#://10\.0\.0\.12#://127.0.0.1:$target#")
    in_background default 'df2redis --restart --position-file'
    df2redis --final stop
    assert_holds "$CAPTURES/lzf-2flows/expected.jsonl.gz" "redis-cluster://${CLUSTER_URL#redis://}"
    redis-cli -p "$target" flushall >/dev/null
    in_background default 'df2redis --restart replicate redis-cluster'
    df2redis --final stop
    assert_same "redis-cluster://${CLUSTER_URL#redis://}" "redis://127.0.0.1:$target"
}

@test "README: a managed service, files, a pipeline by hand" {
    start_redis
    local old=$REDIS_PORT
    some_keys "$old"
    start_redis
    SED=(-e "s#rediss://managed.example:6380#redis://127.0.0.1:$old#; s#redis://10\.0\.0\.9#redis://127.0.0.1:$REDIS_PORT#"
        -e "s#dragonfly://10\.0\.0\.5#redis://127.0.0.1:$old#")
    as_said 0 'df2redis --scan'
    assert_same "redis://127.0.0.1:$old" "redis://127.0.0.1:$REDIS_PORT"
    as_said 0 'df2redis --target-version'
    as_said 0 'df2redis --top 20'
    assert_output_has 'largest key'
    rcli flushall >/dev/null
    as_said 0 'df2redis migrate'
    assert_same "redis://127.0.0.1:$old" "redis://127.0.0.1:$REDIS_PORT"
    rcli flushall >/dev/null
    # As with Ctrl-C, every process of the pipeline gets the signal.
    local line
    line=$(readme 'dfreader ')
    setsid bash -c "$line" 3>&- 2>"$TMP/pipeline.err" &
    local pid=$!
    PIDS+=("$pid")
    wait_until 20 has "$REDIS_PORT" user:1 x
    redis-cli -p "$old" set live 1 >/dev/null
    wait_until 20 has "$REDIS_PORT" live 1
    kill -INT -- "-$pid"
    reap 10 "$pid"
    assert_same "redis://127.0.0.1:$old" "redis://127.0.0.1:$REDIS_PORT"
    run timeout 60 bash -c "$(readme 'dfparse ')"
    assert_output_has '"type":"session"'
}

@test "README: every command of its recipes is tried" {
    local line beginning n=0
    while read -r line; do
        n=$((n + 1))
        while read -r beginning; do [[ $line != "$beginning"* ]] || continue 2; done \
            < <(grep -oE "(as_said [0-9]|in_background [a-z]+|readme) '[^']+'" "$BATS_TEST_FILENAME" | cut -d"'" -f2)
        fail "not tried: $line"
    done < <(sed -n '/^## Five recipes/,/^## /s/^    //p' "$REPO/README.md")
    [[ $n -gt 10 ]] || fail "only $n commands"
}

# ---- all of the page ----

@test "every block of the page is run by one of these" {
    local heading n=0 all
    for heading in BEFORE "DRAGONFLY TO REDIS" "DRAGONFLY TO A CLUSTER" "REDIS TO VALKEY" "MANAGED SERVICES" "Before the switch" \
        "After the switch"; do
        grep -qF "follow \"$heading\"" "$BATS_TEST_FILENAME" || grep -q "follow $heading" "$BATS_TEST_FILENAME" ||
            fail "$heading is not run"
        n=$((n + $(blocks "$heading" | wc -l)))
    done
    all=$(awk '/^\.Ed/ { block = 0 } block { n++ } /^\.Bd -literal/ { block = 1 } END { print n }' "$REPO/man/df2redis-runbook.7")
    [[ $n -eq $all && $n -gt 50 ]] || fail "$n lines of $all"
}
