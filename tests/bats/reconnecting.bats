#!/usr/bin/env bats
# Connecting and reconnecting are steps of rediswriter's event loop: while a target is not there, everything else goes on.

# shellcheck disable=SC2016,SC2154 # text for eval, variables of bats
load helper
load writing
load faking

setup() { writing_setup; }
teardown() { writing_teardown; }

noted_at_once() { # the first signal is noted, the second one ends the writer
    wait_until 5 takes_signal 15
    kill -TERM "$WRITER"
    wait_until 5 said event=signal || { cat "$TMP/err" >&2; return 1; }
    wait_until 8 eval 'sleep 0.6; kill -TERM "$WRITER" 2>/dev/null || true; ended "$WRITER"' # not at once: it would be the same one
    reap 5 "$WRITER"
    [[ $status -ne 0 ]] || fail "$(<"$TMP/err")"
}

@test "a target that is gone: dfreader hears of it, and a signal is noted" {
    start_redis
    start_control
    feed -v --reconnect-timeout 60
    tell "session nonce=$NONCE control=$TMP/control" target "flow 0" "set 0 a 1" "synced 0 :pos=2"
    wait_until 5 eval '[[ $(rcli get a) == 1 ]]'
    kill -KILL "$REDIS_PID"
    wait_until 5 grep -q '^health.* target=down' "$TMP/told"
    noted_at_once
}

@test "a target that is not ready when the writer starts: a signal is noted" {
    start_fake --rule 'INFO=raw:-LOADING Redis is loading the dataset in memory\r\n'
    feed -v
    wait_until 5 said 'event=target_not_ready.*LOADING'
    noted_at_once
    stop_fake
}
