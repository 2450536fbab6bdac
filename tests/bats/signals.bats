#!/usr/bin/env bats
# A signal at every moment of rediswriter: between its look at what came and its wait for more, too. late_signal.so
# (tests/late) raises it at the N-th call that may wait.

load helper
load writing

setup() { writing_setup; }

teardown() { writing_teardown; }

# Text for mkrecords: one live command; when the signal has been raised and noticed, one more and the end.
around_the_signal() {
    printf '%s\n' "$(heading 1)" "synced 0 :pos=2" "live 0 :pos=3 INCR n" "sleep 0"
    wait_until 1 raised_or_idle
    if [[ -e $TMP/raised ]]; then
        if wait_until 1 said event=signal; then : >"$TMP/noticed"; else : >"$TMP/missed"; fi
    fi
    printf '%s\n' "live 0 :pos=4 INCR n" "end reason=stop"
}

raised_or_idle() {
    [[ -e $TMP/raised ]] || { [[ $(rcli get n) == 1 ]] && sleep 0.1; }
}

signal_at() { # call how
    rcli flushall >/dev/null
    rm -f "$TMP/raised" "$TMP/noticed" "$TMP/missed" "$TMP/records"
    mkfifo "$TMP/records"
    : >"$TMP/err"
    around_the_signal 2>"$TMP/feeder" 3>&- | mkrecords >"$TMP/records" 3>&- &
    local feeder=$!
    PIDS+=("$feeder")
    LATE_SIGNAL=$1 LATE_HOW=$2 LATE_DONE=$TMP/raised LD_PRELOAD=$BUILD/late_signal.so \
        ASAN_OPTIONS=verify_asan_link_order=0 timeout 30 rediswriter "$(target)" "$TMP/records" 2>"$TMP/err" || status=$?
    wait_until 5 ended "$feeder" # it waits for ever for a reader that never came
    [[ ${status:-0} -eq 0 && $(rcli get n) == 2 ]] || fail "call $1, $2: status ${status:-0}, n=$(rcli get n): $(<"$TMP/err")"
}

@test "a signal just before any wait is noticed at once, and none ends what is under way" {
    start_redis
    local how call n=0
    for how in before{1..30} instead{1..30..3}; do
        call=${how//[a-z]/} how=${how//[0-9]/}
        signal_at "$call" "$how"
        [[ ! -e $TMP/missed ]] || fail "call $call, $how: not noticed: $(<"$TMP/err")"
        [[ ! -e $TMP/noticed ]] || n=$((n + 1))
    done
    [[ $n -gt 10 ]] || fail "only $n signals came while it waited"
}
