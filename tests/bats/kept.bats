#!/usr/bin/env bats
# Tasks that are kept under a name: their kinds, and what create, start, stop, list and remove do with them.

load helper

setup() {
    common_setup
    export XDG_CONFIG_HOME=$TMP/config
}

teardown() {
    local name
    for name in a b c d; do df2redis --timeout 5 stop "$name" >/dev/null 2>&1 || true; done
    common_teardown
}

config() { # kind source target [lines…]
    printf '%s\n' '[df2redis]' "kind = $1" "source = $2" "target = $3" "${@:4}" >"$TMP/conf"
}

# Two servers: SOURCE with keys, TARGET empty.
two_servers() {
    start_redis
    SOURCE=redis://127.0.0.1:$REDIS_PORT SOURCE_PORT=$REDIS_PORT
    rcli mset x 1 y 2 >/dev/null
    start_redis
    TARGET=redis://127.0.0.1:$REDIS_PORT
}

# Its line: services of this machine are listed, too.
listed() { df2redis list | grep "^task name=$1 " || true; }

follows() { # name value
    redis-cli -p "$SOURCE_PORT" set live "$1" >/dev/null
    [[ $(rcli get live) == "$1" ]]
}

@test "full: the keys that are there" {
    two_servers
    config full "$SOURCE" "$TARGET"
    run df2redis create a -c "$TMP/conf"
    assert_status 0
    [[ $(stat -c %a "$XDG_CONFIG_HOME/df2redis/a.conf") == 600 ]]
    [[ $(listed a) == "task name=a phase=created" ]]
    run df2redis start a
    assert_status 0
    wait_until 10 phase_is stopped a
    [[ $(rcli mget x y | paste -sd' ') == "1 2" ]]
    [[ $(listed a) == "task name=a command=migrate phase=stopped "* ]]
    run df2redis remove a
    assert_status 0
    [[ -z $(listed a) && ! -e $XDG_CONFIG_HOME/df2redis/a.conf ]]
}

@test "full and incremental: then every change, until it is stopped; and from where it was" {
    two_servers
    config full+incremental "$SOURCE" "$TARGET"
    df2redis create b -c "$TMP/conf"
    run df2redis start b
    assert_status 0
    wait_until 10 follows first
    run df2redis start b
    assert_status 1
    assert_output_has 'running already'
    run df2redis remove b
    assert_status 1
    run df2redis status b
    assert_status 0
    run df2redis top b
    assert_status 0
    df2redis stop b
    # Incremental: no key is read anew.
    redis-cli -p "$SOURCE_PORT" set meanwhile 1 >/dev/null
    rcli del x >/dev/null
    config incremental "$SOURCE" "$TARGET"
    df2redis --force create b -c "$TMP/conf"
    run df2redis start b
    assert_status 0
    wait_until 10 follows second
    [[ $(rcli get meanwhile) == 1 && $(rcli exists x) -eq 0 ]]
    df2redis stop b
}

@test "incremental without a position does not begin anew" {
    two_servers
    config incremental "$SOURCE" "$TARGET"
    df2redis create c -c "$TMP/conf"
    df2redis start c || true
    wait_until 10 phase_is failed c
    [[ $(rcli dbsize) -eq 0 ]]
}

@test "import and export: files" {
    start_redis
    config import "$REPO/tests/fixtures/snapshots/small.rdb" "redis://127.0.0.1:$REDIS_PORT"
    df2redis create d -c "$TMP/conf"
    df2redis start d || true
    wait_until 20 phase_is stopped d
    [[ $(rcli dbsize) -gt 400 ]]
    df2redis remove d
    config export "redis://127.0.0.1:$REDIS_PORT" "$TMP/out.rdb" 'target-version = 7.0'
    df2redis create d -c "$TMP/conf"
    df2redis start d || true
    wait_until 20 phase_is stopped d
    [[ $(head -c 9 "$TMP/out.rdb") == REDIS0010 ]]
}

@test "what does not fit is refused before it is kept" {
    local kind
    config full+incremental redis://127.0.0.1:1 redis://127.0.0.1:2
    run df2redis create .x -c "$TMP/conf"
    assert_status 2
    run df2redis create a
    assert_status 2
    df2redis create a -c "$TMP/conf"
    run df2redis create a -c "$TMP/conf"
    assert_status 1
    assert_output_has exists
    run df2redis start none
    assert_status 1
    assert_output_has 'there is no task none'
    for kind in nonsense import export; do # an import of a server; an export without a version
        config "$kind" redis://127.0.0.1:1 redis://127.0.0.1:2
        run df2redis create b -c "$TMP/conf"
        assert_status 2
        [[ ! -e $XDG_CONFIG_HOME/df2redis/b.conf ]]
    done
    config full redis://127.0.0.1:1 redis://127.0.0.1:2 'nonsense = 1'
    run df2redis create b -c "$TMP/conf"
    assert_status 2
}

@test "remove forgets what is kept, although the task was still ending when it was asked" {
    local dir=$XDG_RUNTIME_DIR/df2redis/a
    config full redis://127.0.0.1:1 redis://127.0.0.1:2
    df2redis create a -c "$TMP/conf"
    (umask 077 && mkdir -p "$dir")
    printf 'task=a\ncommand=migrate\nphase=stopped\n' >"$dir/state"
    # Its last process is gone as soon as remove waits for it.
    : >"$dir/start.lock"
    background bash -c 'exec 9>>"$1/lock"; flock 9; : >"$2"; until grep -q ":$3 " /proc/locks; do :; done' - "$dir" "$TMP/held" \
        "$(stat -c %i "$dir/start.lock")"
    wait_until 5 test -e "$TMP/held"
    run df2redis remove a
    [[ $status -eq 0 || $output == *'stop it first'* ]] || fail "status $status: $output"
    [[ $status -ne 0 || (! -e $dir && ! -e $XDG_CONFIG_HOME/df2redis/a.conf) ]] || fail 'what is kept stays'
    [[ $status -eq 0 || (-e $dir/state && -e $XDG_CONFIG_HOME/df2redis/a.conf) ]] || fail "$output, but something is gone"
}
