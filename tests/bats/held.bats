#!/usr/bin/env bats
# A single server: while keys are read again the position of their flow is held, and later changes go on. Whatever is
# killed then, they are done once: the position key says how far they are. rediswriter(1), Resuming.

load helper
load writing
load rereading

setup() {
    writing_setup
    start_redis
    start_control
    RUN_NUMBER=0
}

teardown() { writing_teardown; }

position_key() { rcli --raw hget 'df2redis:{default}' "$1"; }

# Where a flow goes on: the position in the key.
saved() { position_key "f$1" | cut -d' ' -f3; }

# A writer whose session begins, or goes on where the key says.
begin_run() { # flows
    local i
    RUN_NUMBER=$((RUN_NUMBER + 1))
    feed -v --summary "$TMP/summary"
    tell "session flows=$1 nonce=$(printf '%032d' $RUN_NUMBER) replid=r journal=1 resume=1 control=$TMP/control" target
    for ((i = 0; i < $1; i++)); do
        if [[ $RUN_NUMBER -eq 1 ]]; then tell "flow $i"; else tell "flow $i mode=PARTIAL form=journal lsn=$(saved $i)"; fi
    done
    for ((i = 0; i < $1 && RUN_NUMBER == 1; i++)); do tell "synced $i :pos=100"; done
}

end_run() {
    tell end
    tell_end
    reap 20 "$WRITER"
    [[ $status -eq 0 ]] || fail "status $status: $(tail -3 "$TMP/err")"
}

counted() { sed -n "s/.*\"$1\": \([0-9]*\).*/\1/p" "$TMP/summary"; }

is() { [[ $(rcli --raw "${@:2}" | xargs) == "$1" ]]; }

@test "killed while the position is held: what was done behind it is not done again" {
    local -a changes=("live 0 :held :pos=101 INCR n" "live 0 :held :pos=102 APPEND s x" "live 0 :held :pos=103 :db=1 RPUSH l 1"
        "live 0 :held :pos=104 RPUSH l 1" "live 0 :held :pos=104 RPUSH l 2" "position 0 :live :pos=100")
    begin_run 1
    tell "${changes[@]}"
    wait_until 5 is "1 2" lrange l 0 -1
    killed
    [[ $(saved 0) -eq 100 && $(position_key a0) == "1 104 2 1 0" ]] || fail "$(rcli hgetall 'df2redis:{default}')"
    begin_run 1
    # Killed once more before the stream has passed it.
    tell "${changes[@]:0:2}"
    wait_until 5 eval '[[ $(position_key writer) != "" && $(position_key session) == 00000000000000000000000000000002* ]]'
    wait_until 5 stands_still
    [[ $(position_key a0) == "1 104 2 1 0" ]] || fail "$(rcli hgetall 'df2redis:{default}')"
    killed
    begin_run 1
    tell "${changes[@]}" "live 0 :held :pos=105 INCR n" "live 0 :fresh :pos=105 SET k v" "live 0 :pos=106 APPEND s y"
    end_run
    is 2 get n && is xy get s && is "1 2" lrange l 0 -1 && is 1 -n 1 lrange l 0 -1 || fail "$(rcli mget n s) $(rcli lrange l 0 -1)"
    [[ $(counted already) -eq 5 && $(saved 0) -eq 106 ]] || fail "$(cat "$TMP/summary")"
}

# The commands behind these positions.
behind() { # of flow 0, of flow 1
    awk -v a="$1" -v b="$2" '{ match($0, /pos=[0-9]+/); if (substr($0, RSTART + 4, RLENGTH - 4) + 0 > ($2 == 0 ? a : b)) print }' \
        "$TMP/commands"
}

@test "killed again and again in the middle, two flows, one of them held, entries of several records" {
    awk 'BEGIN {
        for (i = 0; i < 1500; i++) {
            pos = 101 + i
            print "live 0 :held :pos=" pos, "INCR", "n" i % 9
            print "live 0 :held :pos=" pos, "RPUSH", "l" i % 5, i
            print "live 1 :pos=" pos, "APPEND", "s" i % 7, i % 10
        } }' >"$TMP/commands"
    local round a b
    begin_run 2
    for ((round = 0; round < 6; round++)); do
        a=$(saved 0) b=$(saved 1)
        behind "${a:-100}" "${b:-100}" | awk 'NR % 200 == 0 { print "sleep 30" } { print }' >&"$FEED" &
        PIDS+=($!)
        wait_until 10 eval "[[ \$(rcli get n0) -ge $((20 + round * 20)) ]]" || fail "round $round: $(rcli get n0) $(tail -4 "$TMP/err")"
        killed
        begin_run 2
    done
    a=$(saved 0) b=$(saved 1)
    [[ $a -eq 100 && $b -gt 100 ]] || fail "$a $b"
    tell "$(behind "$a" "$b")" "position 0 :live :pos=100000" "position 1 :live :pos=100000"
    end_run
    sed -n 's/^live [0-9]* \(:[^ ]* \)*//p' "$TMP/commands" >"$TMP/plain"
    expect "$TMP/plain"
    assert_same "$EXPECTED" "$(target)"
}

@test "what a key that was read again contains is not applied behind it" {
    begin_run 1
    # k is read again twice: its value contains the entries up to 103; that of another key still holds the position.
    tell "live 0 :held :pos=101 INCR n" "live 0 :held :fresh :pos=103 SET k 3" "live 0 :held :pos=104 INCR n"
    wait_until 5 is 2 get n
    killed
    [[ $(saved 0) -eq 100 ]]
    begin_run 1
    # This time k is not read again.
    tell "live 0 :held :pos=101 INCR n" "live 0 :held :pos=102 INCR k" "live 0 :held :pos=103 INCR k" "live 0 :held :pos=104 INCR n" \
        "live 0 :pos=105 INCR k"
    end_run
    is "2 4" mget n k || fail "$(rcli mget n k)"
}

@test "what is written of an earlier position does not hide how far the others are" {
    begin_run 1
    tell "live 0 :held :pos=101 INCR n" "live 0 :held :pos=102 INCR n" "live 0 :fresh :pos=100 SET k 1"
    wait_until 5 is 1 get k
    killed
    begin_run 1
    tell "live 0 :held :pos=101 INCR n" "live 0 :held :pos=102 INCR n" "live 0 :fresh :pos=102 SET k 1"
    end_run
    is 2 get n || fail "$(rcli get n)"
}

@test "requests larger than a record behind a position that is held" {
    begin_run 1
    local -a changes=("live 0 :held :pos=101 :part=300000 APPEND big @900000" "live 0 :held :pos=102 INCR n"
        "live 0 :held :db=2 :pos=103 :part=100 APPEND big @300")
    tell "${changes[@]}"
    wait_until 10 is 300 -n 2 strlen big
    killed
    [[ $(saved 0) -eq 100 ]]
    begin_run 1
    tell "${changes[@]}" "live 0 :pos=104 :part=100 APPEND big @300"
    end_run
    is 900300 strlen big && is 1 get n && is 300 -n 2 strlen big || fail "$(rcli strlen big) $(rcli get n) $(rcli -n 2 strlen big)"
}

@test "a flush behind a position that is held is done once, and what came behind it stays" {
    begin_run 2
    local -a changes=("live 0 :held :pos=101 INCR n" "barrier 0 :held :pos=102 FLUSHDB" "barrier 1 :pos=102 FLUSHDB"
        "live 0 :held :pos=103 INCR m")
    tell "${changes[@]}" "live 1 :pos=103 INCR o"
    wait_until 5 is "1 1" mget m o
    killed
    [[ $(saved 0) -eq 100 && $(saved 1) -eq 103 && $(position_key a0) == "1 103 1 1 0" ]] || fail "$(rcli hgetall 'df2redis:{default}')"
    begin_run 2
    # The other flow is past it: this one must not wait for it.
    tell "${changes[0]}" "${changes[1]}" "${changes[3]}" "live 0 :held :pos=104 INCR m" "live 1 :pos=104 INCR o" "position 0 :live :pos=104"
    end_run
    is "2 2" mget m o && is 0 exists n || fail "$(rcli mget n m o)"
}

@test "a flush writes down what is held of other flows, too" {
    begin_run 2
    tell "live 0 :held :pos=101 INCR n"
    wait_until 5 is 1 get n
    tell "barrier 1 :pos=101 :oneflow :db=1 FLUSHDB" "live 1 :pos=102 INCR o"
    wait_until 5 is 1 get o
    killed
    begin_run 2
    tell "live 0 :held :pos=101 INCR n" "live 0 :pos=102 INCR n" "live 1 :pos=103 INCR o"
    end_run
    is "2 2" mget n o || fail "$(rcli mget n o)"
}

@test "the connection is lost, replies too: once" {
    begin_run 1
    for i in {1..40}; do
        tell "$(for k in {1..20}; do echo "live 0 :held :pos=$((100 + i * 20 + k)) INCR n$k"; done)"
        ((i % 5)) || rcli client kill type normal skipme yes >/dev/null
    done
    wait_until 10 is 40 get n20
    killed
    begin_run 1
    for i in {1..41}; do
        tell "$(for k in {1..20}; do echo "live 0 :held :pos=$((100 + i * 20 + k)) INCR n$k"; done)"
        ((i % 5)) || rcli client kill type normal skipme yes >/dev/null
    done
    end_run
    for k in {1..20}; do is 41 get n$k || fail "n$k: $(rcli get n$k)"; done
}

@test "a key of an earlier version, and one that was damaged" {
    begin_run 1
    tell "live 0 :held :pos=101 INCR n" "live 0 :pos=102 INCR n"
    wait_until 5 eval '[[ $(saved 0) -eq 102 ]]'
    killed
    rcli hdel 'df2redis:{default}' a0 >/dev/null
    begin_run 1
    tell "live 0 :held :pos=103 INCR n"
    wait_until 5 is 3 get n
    killed
    rcli hset 'df2redis:{default}' a0 "1 x" >/dev/null
    RUN_NUMBER=8
    feed -v
    tell "session flows=1 nonce=$(printf '%032d' 9) replid=r journal=1 resume=1 control=$TMP/control" target "flow 0"
    wait_until 5 said event=position_missing
    killed
}

@test "a full sync whose keys are still to be read again is not complete: without a position nothing goes on" {
    local option state
    for option in "" "--connections 2 --position-file $TMP/positions"; do
        rcli flushall >/dev/null
        # shellcheck disable=SC2086 # words
        feed -v $option
        tell "session flows=1 nonce=$NONCE replid=r journal=1 resume=1 control=$TMP/control" target "flow 0" "synced 0" "live 0 :held :pos=101 INCR n"
        tell end
        tell_end
        reap 10 "$WRITER"
        # shellcheck disable=SC2086
        feed -v $option
        tell "session flows=1 nonce=${NONCE%9}8 replid=r journal=1 resume=1 control=$TMP/control" target "flow 0"
        wait_until 5 said event=resume
        state=$(sed -n 's/.*event=resume state=\([a-z]*\) .*/\1/p' "$TMP/err")
        [[ $state == incomplete || $state == none ]] || fail "$state"
        killed
    done
}

# ---- with all stages, and a master that does not answer ----

stages() { # number, options of rediswriter…
    local n=$1
    shift
    mkfifo "$TMP/raw.$n" "$TMP/commands.$n"
    background bash -c 'exec dfreader --resume "$1" >"$2" 2>"$3"' - "dragonfly://127.0.0.1:$MASTER_PORT" "$TMP/raw.$n" "$TMP/reader.$n"
    READER=$!
    background bash -c 'exec dfparse <"$1" >"$2" 2>"$3"' - "$TMP/raw.$n" "$TMP/commands.$n" "$TMP/parser.$n"
    PARSER=$!
    background rediswriter "$@" "$(target)" "$TMP/commands.$n" 2>"$TMP/writer.$n"
    WRITER=$!
}

# It is saved that the full sync is complete: with several connections in the file.
synced_saved() { [[ -n $(saved 0) ]] || grep -qx whole=1 "$TMP/positions"; }

killed_while_read_again() { # options of rediswriter…
    rereading_capture
    then_journal CL.THROTTLE k 1 1 1
    local i
    for i in 1 2 3; do
        then_journal INCR n
        then_journal APPEND s x
    done
    then_journal SET other 1
    start_master --capture "$TMP/cap" --values "$TMP/values" --mute-at-dump 1
    stages 1 "$@"
    wait_until 10 is 1 get other
    is "3 xxx" mget n s || fail "$(rcli mget n s)"
    wait_until 10 synced_saved
    kill -KILL "$WRITER"
    reap 10 "$WRITER"
    reap 10 "$PARSER"
    reap 10 "$READER"
    is 0 exists k
    stages 2 "$@"
    wait_until 10 is bar get k || fail "$(cat "$TMP"/{reader,parser,writer}.2)"
    kill -INT "$READER"
    reap 10 "$WRITER"
    [[ $status -eq 0 ]] || fail "$(cat "$TMP"/{reader,parser,writer}.2)"
    is "3 xxx" mget n s || fail "twice: $(rcli mget n s)"
}

@test "the source does not answer, and rediswriter is killed: the changes behind are done once, and the key is asked for again" {
    killed_while_read_again
}

@test "the same over several connections" {
    killed_while_read_again --connections 2 --position-file "$TMP/positions"
}
