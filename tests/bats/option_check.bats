#!/usr/bin/env bats
# Options that a stage refuses are found before any stage connects.

load helper

setup() {
    common_setup
    start_redis
    start_master --generate --flows 2 --keys 10
    SOURCE=dragonfly://127.0.0.1:$MASTER_PORT
    TARGET=redis://127.0.0.1:$REDIS_PORT
}

teardown() { common_teardown; }

refused() { # text of the message, options of df2redis
    local text=$1
    shift
    run df2redis -v "$@" "$SOURCE" "$TARGET"
    assert_status 2
    assert_output_has "$text"
    [[ $(grep -c "^[a-z]*: .*$text" <<<"$output") -eq 1 ]] || fail "$output"
    [[ $output != *event=started* ]] || fail "$output"
    never grep -q event=accepted "$MASTER_OUT.log"
    run df2redis status --json
    assert_output_has '"last_status":2'
    assert_output_has "$text"
}

@test "an option of dfparse" {
    refused '--target-version nonsense: unknown server or version' --target-version nonsense replicate
    refused '--target-version nonsense: unknown server or version' --target-version nonsense --single --restart replicate
}

@test "an option of dfparse that stands in the configuration, a rule" {
    printf '[parser]\ninclude = regex:(\n' >"$TMP/conf"
    refused '--include regex:(' -c "$TMP/conf" migrate
}

@test "an option of rediswriter" {
    refused '--window 0' --window 0 replicate
    refused '--wait 1000' --wait 1000 migrate
}

@test "an option of dfreader that only the process of a flow refuses" {
    printf '[reader]\nresume = yes\n' >"$TMP/conf"
    refused '--resume belongs to the process that owns the session' -c "$TMP/conf" replicate
}

@test "--target-modules is handed on, and a name of the configuration" {
    refused '--target-modules goes with --target-version' --target-modules ReJSON migrate
    printf '[df2redis]\ntarget-modules = ReJSON\ntarget-version = %s\n' "$(server_version)" >"$TMP/conf"
    run df2redis -c "$TMP/conf" migrate "$SOURCE" "$TARGET"
    assert_status 0
}

@test "a status that the supervisor does not retry is not retried by the unit either" {
    grep -qx 'RestartPreventExitStatus=1 2 3 4' "$REPO/examples/df2redis@.service"
}

@test "record has no writer" {
    run df2redis -v --window 0 --until synced record "$SOURCE" "$TMP/file"
    assert_status 0
    run df2redis -v --target-version nonsense --force record "$SOURCE" "$TMP/file"
    assert_status 2
    [[ $output != *event=started* ]] || fail "$output"
}

@test "--check-options: every program checks, and opens nothing" {
    run dfreader --check-options -o "$TMP/none/out" "$SOURCE"
    assert_status 0
    run dfparse --check-options -o "$TMP/none/out"
    assert_status 0
    run rediswriter --check-options --errors-to "$TMP/none/out" "$TARGET"
    assert_status 0
    never grep -q event=accepted "$MASTER_OUT.log"
    run dfreader --check-options --stall-timeout none "$SOURCE"
    assert_status 2
    run dfparse --check-options --part-size none
    assert_status 2
    run rediswriter --check-options --window none "$TARGET"
    assert_status 2
    printf '[parser]\ncheck-options = yes\n' >"$TMP/conf"
    run dfparse -c "$TMP/conf" --null /dev/null
    assert_status 2
}

wrong() { # text of the message, program, arguments
    run "${@:2}"
    assert_status 2
    [[ ${#lines[@]} -eq 1 ]] || fail "$output"
    assert_output_has "$1"
}

@test "what is wrong with a value is said with its option and what it may be" {
    wrong '--verify-rate 0: too small (1 to 100000000)' dfreader --verify-rate 0 "$SOURCE"
    wrong '--flow 99999: too large' dfreader --flow 99999 --session x "$SOURCE"
    wrong '--spool-max 1k: not a size of 1048576 to' dfreader --spool-max 1k "$SOURCE"
    wrong '--on-full-resync never: must be fail, flush or overwrite' dfreader --on-full-resync never "$SOURCE"
    wrong '--until end: only "synced" is known' dfreader --until end "$SOURCE"
    wrong '--unsupported much: must be report, approximate or fail' dfparse --unsupported much
    wrong '--resp: only one of --json, --resp, --null, --rdb and --inspect can be given' dfparse --json --resp
    wrong '--connections 65: too large (1 to 64)' rediswriter --connections 65 "$TARGET"
    wrong '--listen /path: must be unix:PATH' rediswriter --listen /path "$TARGET"
    wrong '--inputs x: invalid' rediswriter --inputs x "$TARGET"
    wrong '--config has to be written out' dfreader --conf x "$SOURCE"
}
