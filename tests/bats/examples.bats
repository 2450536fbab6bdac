#!/usr/bin/env bats
# Every example of examples/ and the README's commands do what they say.

load helper

setup() {
    common_setup
    start_redis
    TARGET=redis://127.0.0.1:$REDIS_PORT
}

teardown() { common_teardown; }

serve() {
    start_master --capture "$CAPTURES/lzf-2flows"
    SOURCE=dragonfly://127.0.0.1:$MASTER_PORT
}

@test "examples/pipeline.sh" {
    serve
    # As with Ctrl-C, every process of the pipeline gets the signal.
    setsid "$REPO/examples/pipeline.sh" "$SOURCE" "$TARGET" 3>&- 2>"$TMP/err" &
    local pid=$!
    wait_until 10 applied
    kill -INT -- "-$pid"
    reap 10 "$pid"
    assert_equals_capture lzf-2flows
}

applied() { [[ $(position_of 0) == 191 && $(position_of 1) == 208 ]]; }
position_of() { rcli hget 'df2redis:{default}' "f$1" | cut -d' ' -f3; }

@test "examples/point-in-time.sh" {
    mkdir "$TMP/aof"
    printf '#TS:1700000000\r\n*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n#TS:1700000060\r\n*1\r\n$8\r\nFLUSHALL\r\n' >"$TMP/aof/x.incr.aof"
    printf 'file x.incr.aof seq 1 type i\n' >"$TMP/aof/x.manifest"
    run "$REPO/examples/point-in-time.sh" "$TMP/aof" 2023-11-14T22:14:00Z "$TARGET"
    assert_status 0
    [[ $(rcli get a) == 1 && $(rcli dbsize) -eq 1 ]]
}

@test "examples/dump-and-replay.sh" {
    serve
    run "$REPO/examples/dump-and-replay.sh" "$SOURCE" "$TMP/file" "$TARGET" 7.0
    # Named losses end with 3, and sh has no pipefail: the last stage says it.
    [[ $status -eq 3 ]] || fail "status $status: $output"
    [[ $(rcli dbsize) -gt 400 ]]
}

@test "examples/export.sh" {
    serve
    run "$REPO/examples/export.sh" "$SOURCE" "$TMP/dump.rdb" 7.0
    assert_status 0
    assert_output_has 'largest key'
    [[ $(head -c 9 "$TMP/dump.rdb") == REDIS0010 ]]
}

@test "examples/verify-snapshot.sh" {
    local snapshot=$REPO/tests/fixtures/snapshots/small.rdb
    run "$REPO/examples/verify-snapshot.sh" "$snapshot" "$TARGET" "$TMP/report"
    assert_status 0
    assert_output_has ': equal'
}

@test "examples/debug-with-tee.sh" {
    serve
    run "$REPO/examples/debug-with-tee.sh" "$SOURCE" "$TARGET" "$TMP"
    [[ $status -eq 3 ]] || fail "status $status: $output"
    [[ $(rcli dbsize) -gt 400 ]]
    grep -q '"type":"session"' <(dfparse --json "$TMP/raw" 2>/dev/null)
    local port=$REDIS_PORT
    start_redis
    rediswriter -q "redis://127.0.0.1:$REDIS_PORT" "$TMP/commands" || true
    assert_same "redis://127.0.0.1:$port" "redis://127.0.0.1:$REDIS_PORT"
}

@test "examples/df2redis.conf" {
    serve
    sed "s|^source = .*|source = $SOURCE|; s|^target = .*|target = $TARGET|" "$REPO/examples/df2redis.conf" >"$TMP/conf"
    run df2redis -c "$TMP/conf" migrate
    [[ $status -eq 3 ]] || fail "status $status: $output"
    [[ $(rcli dbsize) -gt 400 ]]
    echo 'nonsense = 1' >>"$TMP/conf"
    run df2redis -c "$TMP/conf" migrate
    [[ $status -ne 0 && $status -ne 3 ]] || fail "an unknown option was taken"
}

@test "README: RESP for redis-cli, JSON for eyes, a snapshot file" {
    serve
    dfreader --until synced "$SOURCE" | dfparse --resp -t 7.0 2>/dev/null | rcli --pipe | grep -q 'errors: 0'
    [[ $(rcli dbsize) -gt 400 ]]
    dfreader "$REPO/tests/fixtures/snapshots/small-0000.dfs" | dfparse --json 2>/dev/null >"$TMP/json" || true
    grep -q '"args":\["SET"' "$TMP/json"
}

@test "every program has --help and --version, and refuses what it does not know" {
    for p in dfreader dfparse rediswriter df2redis dfconf dfnotify dflog; do
        run "$p" --help
        assert_status 0
        assert_output_has 'usage'
        run "$p" --version
        assert_status 0
        [[ $output =~ [0-9]\.[0-9] ]] || fail "$output"
        run "$p" --no-such-option
        assert_status 2
    done
}

# All options of a program.
help_of() { # program
    if [[ $1 == df2redis ]]; then df2redis help options; else "$1" --help; fi
}

@test "man pages name every option that --help shows" {
    for p in dfreader dfparse rediswriter df2redis df2redis-monitor df2redis-check; do
        for opt in $(help_of "$p" | grep -o -- '--[a-z-]*' | sort -u); do
            [[ $opt != --@(source|target)-tls-* ]] || opt=${opt%%-tls-*}-tls- # the page describes them together
            sed 's/Fl -/Fl --/g; s/, -/, --/g; s/\\-/-/g' "$REPO/man/$p.1" | grep -q -- "$opt" || fail "$p.1 lacks $opt"
        done
    done
}

@test "man pages name no option that --help does not show" {
    local p opt help n
    for p in dfreader dfparse rediswriter df2redis df2redis-monitor df2redis-check; do
        help=$(help_of "$p") n=0
        for opt in $(grep -E '^\.It Fl' "$REPO/man/$p.1" | grep -oE 'Fl -[a-z][a-z-]*' | cut -d ' ' -f 2); do
            [[ $opt != *-tls- ]] || opt=${opt}ca
            grep -qE -- "-$opt([^a-z-]|\$)" <<<"$help" || fail "$p --help lacks -$opt"
            n=$((n + 1))
        done
        [[ $n -gt 20 || ($p == df2redis-monitor && $n -gt 5) ]] || fail "$p.1: $n options"
    done
}

complete_words() { # word…: what the shell offers for the last one
    COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
    _df2redis "$1"
    echo "${COMPREPLY[*]}"
}

@test "completion for bash: options, commands, files" {
    source "$REPO/supervisor/completion.bash"
    [[ $(complete_words rediswriter --on-) == *--on-existing*--on-full-resync* ]]
    [[ $(complete_words dfparse --json --restore-l) == --restore-limit ]]
    [[ $(complete_words df2redis m) == *migrate* ]]
    touch "$TMP/dump.rdb"
    [[ $(complete_words dfreader "$TMP/du") == "$TMP/dump.rdb" ]]
}

@test "completion for zsh and fish: options and commands from the programs' help" {
    local shell some=0
    for shell in zsh fish; do
        command -v $shell >/dev/null || continue
        some=1
        $shell -n "$REPO/supervisor/completion.$shell"
    done
    if command -v fish >/dev/null; then
        offered=$(HOME=$TMP fish --no-config -c "source $REPO/supervisor/completion.fish; complete -C 'rediswriter --on-f'
            complete -C 'df2redis mig'; complete -C 'df2redis --on-full'; complete -C 'dfreader --scan-c'")
        [[ $offered == *--on-full-resync*migrate*--on-full-resync*--scan-count* ]] || fail "$offered"
    fi
    if command -v zsh >/dev/null; then
        # The functions of the completion system are replaced by those that print what would be offered.
        offered=$(zsh -fc '_call_program() { shift; "$@" }; compadd() { shift; print -l -- ${(P)1} }; _files() { print files }
            try() { words=("$@") CURRENT=$# PREFIX=${@[-1]}; _df2redis }
            source '"$REPO"'/supervisor/completion.zsh 2>/dev/null; try rediswriter --on; try df2redis mig; try df2redis --on')
        [[ $offered == *--on-full-resync*migrate*files*--on-existing* ]] || fail "$offered"
    fi
    [[ $some -eq 1 ]] || skip "neither zsh nor fish"
}

@test "help: a screen, every command, all options, what a misspelt word may have meant" {
    local command n=0
    [[ $(df2redis --help | wc -l) -le 40 ]] || fail "--help: $(df2redis --help | wc -l) lines"
    for command in $(df2redis help commands); do
        run df2redis help "$command"
        assert_status 0
        assert_output_has "usage: df2redis [options] $command"
        n=$((n + 1))
    done
    [[ $n -ge 15 ]]
    # Options of other commands are not named.
    ! df2redis help list | grep -q on-existing
    df2redis help replicate | grep -q on-existing
    [[ $(df2redis help options | grep -c -- '--rename-prefix A=B  ') -eq 1 ]]
    run df2redis help nonsense
    assert_status 2
    run df2redis replciate a b
    assert_status 2
    assert_output_has 'did you mean replicate?'
    run df2redis --tasks x list
    assert_status 2
    assert_output_has 'did you mean --task?'
    run dfparse --unsuported fail
    assert_status 2
    assert_output_has 'did you mean --unsupported?'
    printf '[writter]\n' >"$TMP/conf"
    run rediswriter -c "$TMP/conf" redis://127.0.0.1
    assert_status 2
    assert_output_has 'did you mean [writer]?'
    printf '[writer]\non-exsiting = flush\n' >"$TMP/conf"
    run rediswriter -c "$TMP/conf" redis://127.0.0.1
    assert_status 2
    assert_output_has 'did you mean on-existing?'
}

@test "version: every program and the libraries" {
    run df2redis version
    assert_status 0
    [[ $(grep -c "(df2redis) $(sed -n 's/.*VERSION "\(.*\)"/\1/p' "$REPO/common/version.h")" <<<"$output") -eq 5 ]] || fail "$output"
    assert_output_has 'OpenSSL '
    assert_output_has 'zstd '
}

@test "install and uninstall" {
    make -s -C "$REPO" B="$BUILD" install PREFIX=/usr DESTDIR="$TMP/root" >/dev/null
    [[ -x $TMP/root/usr/bin/df2redis && -f $TMP/root/usr/share/man/man5/dfrecord.5 ]]
    [[ -f $TMP/root/usr/share/bash-completion/completions/dfparse ]]
    grep -q '^ExecStart=/usr/bin/df2redis ' "$TMP/root/usr/lib/systemd/system/df2redis@.service"
    run "$TMP/root/usr/bin/df2redis" --version
    assert_status 0
    make -s -C "$REPO" B="$BUILD" uninstall PREFIX=/usr DESTDIR="$TMP/root"
    [[ -z $(find "$TMP/root" ! -type d) ]] || fail "$(find "$TMP/root" ! -type d)"
}
