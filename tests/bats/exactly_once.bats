#!/usr/bin/env bats
# --exactly-once in a cluster: whatever is killed or cut, what a request does it does once.

load helper
load writing

setup_file() { one_cluster 0; }
teardown_file() { end_one_cluster; }

setup() {
    writing_setup
    to_cluster
}

teardown() { writing_teardown; }

heading() {
    echo "session flows=1"
    echo "target cluster=1"
    echo "flow 0"
}

write_once() { write --exactly-once --summary "$TMP/summary" "$@"; }

counted() { sed -n "s/.*\"$1\": \([0-9]*\).*/\1/p" "$TMP/summary"; }

# Cut all connections of the writer at all nodes, again and again, while it runs.
cut_often() { # pid
    local p id n=0
    while kill -0 "$1" 2>/dev/null && ((n < 400)); do
        for p in "${CLUSTER_PORTS[@]}"; do
            for id in $(redis-cli -p "$p" client list | sed -n 's/^id=\([0-9]*\) .* name=df2redis:[^ ]* .*/\1/p'); do
                redis-cli -p "$p" client kill id "$id" >/dev/null
                n=$((n + 1))
                echo "$n" >"$TMP/cuts"
            done
        done
    done
    CUTS=$n
}

# Lines for mkrecords; at "cuts N" what stands before it is written, and waits until so many connections were cut.
paced() {
    awk -v cuts="$TMP/cuts" '!/^cuts / { print; next } {
        print "sleep 0"
        fflush()
        n = 0
        for (i = 0; i < 400 && n < $2; i++) {
            if (i > 0) system("sleep 0.05")
            if ((getline n <cuts) <= 0) n = 0
            close(cuts)
        }
    }'
}

counters() { # number keys: as many increments, appends and pushes
    awk -v n="$1" -v keys="$2" 'BEGIN {
        for (i = 1; i <= n; i++) {
            k = i % keys
            print "live 0 :pos=" ++pos + 1, "INCR", "n" k
            print "live 0 :pos=" ++pos + 1, "APPEND", "s" k, i % 10
            print "live 0 :pos=" ++pos + 1, "RPUSH", "l" k, i
        }
    }'
}

as_expected() { # file with records: what they leave is at the target
    sed -n 's/^live [0-9]* \(:[^ ]* \)*//p' "$1" >"$TMP/plain"
    expect "$TMP/plain"
    run dfstate diff "$EXPECTED" "$(target)"
    [[ $status -eq 0 ]] || fail "$output"
}

@test "exactly once: without a fault" {
    counters 3000 50 >"$TMP/commands"
    one_flow <"$TMP/commands" | write_once
    assert_status 0
    as_expected "$TMP/commands"
    [[ $(counted requests) -eq 9000 ]]
}

# ---- lost connections ----

@test "exactly once: connections that are cut all the time" {
    counters 4000 20 >"$TMP/commands"
    feed --exactly-once --summary "$TMP/summary"
    {
        heading
        awk 'NR % 400 == 0 { print "sleep 60" } NR % 1000 == 0 { print "cuts", NR / 1000 } { print }' "$TMP/commands" | paced
        echo "synced 0 :pos=1000000"
        echo end
    } >&"$FEED" &
    PIDS+=($!)
    tell_end
    cut_often "$WRITER"
    reap 30 "$WRITER"
    [[ $status -eq 0 ]] || fail "status $status: $(tail -3 "$TMP/err")"
    [[ $CUTS -gt 10 ]] || fail "cut $CUTS times only"
    as_expected "$TMP/commands"
}

@test "exactly once: parts of large values, large requests and programs, while connections are cut" {
    {
        for ((i = 0; i < 60; i++)); do
            echo "req 0 :first :class=2 RPUSH big$i a"
            echo "req 0 :last :class=2 RPUSH big$i @70000 b"
        done
        echo "position 0 :pos=1"
        for ((i = 0; i < 12; i++)); do
            echo "live 0 :part=300000 APPEND large @1500000"
            echo "program 0 INCR x / RPUSH y $i / INCR z"
            echo "program 0 :keep=1 LINDEX y -1 / :if=1 RPUSH w \$1 / :if=1 RPOP y"
            echo "sleep 50"
            echo "cuts $i"
        done
    } >"$TMP/commands"
    feed --exactly-once --summary "$TMP/summary"
    {
        heading
        paced <"$TMP/commands"
        echo "synced 0 :pos=1000000"
        echo end
    } >&"$FEED" &
    PIDS+=($!)
    tell_end
    cut_often "$WRITER"
    reap 30 "$WRITER"
    [[ $status -eq 0 ]] || fail "status $status: $(tail -3 "$TMP/err")"
    [[ $CUTS -gt 10 ]] || fail "cut $CUTS times only"
    [[ $(ccli mget x | xargs) == 12 && $(ccli get z) == 12 && $(ccli strlen large) -eq 18000000 ]]
    [[ $(ccli llen y) -eq 0 && $(ccli lrange w 0 -1 | xargs) == "0 1 2 3 4 5 6 7 8 9 10 11" ]]
    for ((i = 0; i < 60; i++)); do [[ $(ccli llen "big$i") -eq 3 ]] || fail "big$i: $(ccli llen "big$i")"; done
}

# ---- a writer that is killed, and goes on: a stand-in for dfreader's control socket, and the same records again ----

session() { # pos of each flow, where it goes on; none: a full sync that is complete
    local i=0 pos
    if (($#)); then
        echo "session flows=$# nonce=${NONCE%9}8 control=$TMP/control resume=1 journal=1"
        echo "target cluster=1"
        for pos; do echo "flow $((i++)) mode=PARTIAL form=journal lsn=$pos"; done
    else
        echo "session flows=1 nonce=$NONCE control=$TMP/control journal=1"
        echo "target cluster=1"
        echo "flow 0"
        echo "synced 0 :pos=100"
    fi
}

begin_live() { # pos…: a writer with a position file
    feed --exactly-once --position-file "$TMP/positions" --summary "$TMP/summary"
    tell "$(session "$@")"
}

saved_at() { grep -qx "f0=$1" "$TMP/positions"; }

# A first writer does all of a file, of which the position file knows nothing when it is killed.
first_writer() { # file
    start_control
    begin_live
    wait_until 5 saved_at 100
    cp "$TMP/positions" "$TMP/positions.old"
    tell "$(cat "$1")"
    wait_until 10 "${@:2}"
    kill -KILL "$WRITER"
    wait "$WRITER" 2>/dev/null || true
    tell_end
    cp "$TMP/positions.old" "$TMP/positions"
}

# A second one gets the same again, and more.
second_writer() { # pos file… -- …
    begin_live "$1"
    shift
    tell "$(cat "$@")" "position 0 :live :pos=100000" end
    tell_end
    reap 20 "$WRITER"
    [[ $status -eq 0 ]] || fail "status $status: $(tail -3 "$TMP/err")"
}

equals() { [[ $(ccli "${@:2}" | xargs) == "$1" ]]; }

shifted() { # file n: the positions n higher
    awk -v n="$2" '{ for (i = 1; i <= NF; i++) if ($i ~ /^:pos=/) $i = ":pos=" substr($i, 6) + n } { print }' "$1"
}

@test "exactly once: killed and started anew, what it had done is not done again" {
    counters 200 7 | sed 's/^live/live/' >"$TMP/raw"
    shifted "$TMP/raw" 100 >"$TMP/commands"
    first_writer "$TMP/commands" equals 28 get n6
    counters 100 7 >"$TMP/raw"
    shifted "$TMP/raw" 700 >"$TMP/more"
    second_writer 100 "$TMP/commands" "$TMP/more"
    [[ $(counted already) -eq 600 && $(counted requests) -eq 300 ]] || fail "$(cat "$TMP/summary")"
    cat "$TMP/commands" "$TMP/more" >"$TMP/all"
    as_expected "$TMP/all"
}

@test "exactly once: killed again and again in the middle, entries of several records and held positions among them" {
    awk 'BEGIN {
        for (i = 0; i < 1500; i++) {
            pos = 101 + i
            print "live 0 :held :pos=" pos, "INCR", "n" i % 9
            print "live 0 :held :pos=" pos, "RPUSH", "l" i % 5, i
            print "live 0", i % 10 < 5 ? ":held" : "", ":pos=" pos, "APPEND", "s" i % 7, i % 10
        } }' >"$TMP/commands"
    start_control
    local pos=100 round
    begin_live
    wait_until 5 saved_at 100
    for ((round = 0; round < 6; round++)); do
        awk -v p="$pos" -F'[ =]' '{ for (i = 1; i < NF; i++) if ($i == ":pos" && $(i + 1) > p) print }' "$TMP/commands" |
            awk 'NR % 200 == 0 { print "sleep 30" } { print }' >&"$FEED" &
        PIDS+=($!)
        wait_until 10 eval "[[ \$(ccli get n0) -ge $((20 + round * 20)) ]]" || fail "round $round from $pos: $(ccli get n0) $(tail -4 "$TMP/err") $(cat "$TMP/positions")"
        kill -KILL "$WRITER"
        wait "$WRITER" 2>/dev/null || true
        tell_end
        pos=$(sed -n 's/^f0=//p' "$TMP/positions")
        begin_live "$pos"
    done
    tell "$(awk -v p="$pos" -F'[ =]' '{ for (i = 1; i < NF; i++) if ($i == ":pos" && $(i + 1) > p) print }' "$TMP/commands")" \
        "position 0 :live :pos=100000" end
    tell_end
    reap 20 "$WRITER"
    [[ $status -eq 0 ]] || fail "status $status: $(tail -3 "$TMP/err")"
    as_expected "$TMP/commands"
}

@test "exactly once: what is written of an earlier position does not hide how far the others of its slot are" {
    printf '%s\n' "live 0 :held :pos=101 INCR {t}n" "live 0 :held :pos=102 INCR {t}n" "live 0 :fresh :pos=100 SET {t}k 1" >"$TMP/commands"
    first_writer "$TMP/commands" equals 1 get '{t}k'
    second_writer 100 "$TMP/commands"
    equals 2 get '{t}n' || fail "$(ccli get '{t}n')"
}

@test "exactly once: a flush is replayed, and what came behind it with it" {
    {
        counters 30 5
        echo "barrier 0 :pos=91 FLUSHALL"
        counters 40 5 | awk '{ sub(/:pos=[0-9]*/, ":pos=" NR + 91); print }'
    } >"$TMP/raw"
    shifted "$TMP/raw" 100 >"$TMP/commands"
    sed '1,/^barrier/d' "$TMP/commands" >"$TMP/behind"
    first_writer "$TMP/commands" equals 8 get n4
    second_writer 100 "$TMP/commands"
    as_expected "$TMP/behind"
}

@test "exactly once: the position file knows of a flush before anything behind it is done" {
    start_control
    begin_live
    tell "live 0 :pos=101 INCR n" "live 0 :pos=102 INCR n" "barrier 0 :pos=103 FLUSHALL" "live 0 :pos=104 INCR m"
    wait_until 5 equals 1 get m
    grep -qx 'f0=103' "$TMP/positions" || grep -qx 'f0=104' "$TMP/positions" || fail "$(cat "$TMP/positions")"
    equals 0 exists n
    kill -KILL "$WRITER"
    tell_end
}

@test "exactly once: a key that is written all the time does not wait a round trip for each record" {
    awk 'BEGIN { for (i = 0; i < 20000; i++) print "live 0 INCR hot" }' | one_flow | write_once
    assert_status 0
    equals 20000 get hot
    [[ $(counted exec_groups) -lt 2000 ]] || fail "$(cat "$TMP/summary")"
}

@test "exactly once: what is refused for good is reported once, the rest is applied" {
    ccli set '{t}s' text
    {
        echo "live 0 INCR {t}a"
        echo "live 0 LPUSH {t}s x" # EXEC says so
        echo "live 0 INCR {t}a"
        echo "live 0 NOSUCH {t}z" # refused when queued
        echo "live 0 INCR {t}a"
        echo "live 0 NOSUCH other"
        echo "program 0 INCR x / LPUSH {t}s y / INCR z"
        echo "live 0 INCR z"
    } | one_flow | write_once
    assert_status 3
    equals "3 text" mget '{t}a' '{t}s'
    equals 1 get x
    [[ $(counted errors) -eq 4 ]] || fail "$output"
}

@test "exactly once: no memory for a while, then all of it once" {
    local p
    counters 300 9 >"$TMP/commands"
    for p in "${CLUSTER_PORTS[@]}"; do redis-cli -p "$p" config set maxmemory 1 >/dev/null; done
    feed --exactly-once --summary "$TMP/summary"
    tell "$(one_flow <"$TMP/commands" | sed 's/^target$/target cluster=1/')"
    tell_end
    wait_until 5 said event=target_refuses_for_now
    for p in "${CLUSTER_PORTS[@]}"; do redis-cli -p "$p" config set maxmemory 0 >/dev/null; done
    reap 20 "$WRITER"
    [[ $status -eq 0 ]] || fail "status $status: $(tail -3 "$TMP/err")"
    as_expected "$TMP/commands"
}

@test "exactly once: --on-existing skip goes as ever" {
    ccli set there old
    ccli set also old
    {
        echo "target cluster=1 existing=skip"
        for ((i = 0; i < 300; i++)); do echo "idem 0 :class=1 SET k$((i % 150)) $i NX"; done
        echo "idem 0 :class=1 SET there new NX"
        echo "live 0 APPEND also 1"
        echo "idem 0 :class=1 SET also new NX"
        echo "live 0 APPEND fresh 1"
        echo "idem 0 :class=1 SET fresh new NX"
    } | one_flow | grep -vx 'target cluster=1' | write_once --on-existing skip
    assert_status 0
    equals old get there
    equals old1 get also
    equals 1 get fresh
    equals 0 get k0
}

# ---- programs that are killed between two of their steps ----

node_of() { # key: its port
    local p
    for p in "${CLUSTER_PORTS[@]}"; do
        [[ $(redis-cli -p "$p" exists "$1") == MOVED* ]] || { echo "$p"; return; }
    done
}

# Two keys of two masters: the second is a, or one like it.
two_nodes() {
    SRC=src DST=dst
    local i=0
    while [[ $(node_of "$SRC") == "$(node_of "$DST")" ]]; do DST=dst$((i++)); done
}

# A program of which the steps at the node of a key are held up; when the condition shows that those before are
# carried out, the writer is killed. A second one goes on.
killed_between() { # key record condition…
    local node=$1 record=$2 id
    shift 2
    node=$(node_of "$node")
    start_control
    begin_live
    wait_until 5 saved_at 100
    cp "$TMP/positions" "$TMP/positions.old"
    redis-cli -p "$node" client pause 60000 write >/dev/null
    tell "$record"
    wait_until 10 "$@"
    kill -KILL "$WRITER"
    wait "$WRITER" 2>/dev/null || true
    tell_end
    for id in $(redis-cli -p "$node" client list | sed -n 's/^id=\([0-9]*\) .* name=df2redis:[^ ]* .*/\1/p'); do
        redis-cli -p "$node" client kill id "$id" >/dev/null
    done
    redis-cli -p "$node" client unpause >/dev/null
    cp "$TMP/positions.old" "$TMP/positions"
    echo "$record" >"$TMP/record"
    second_writer 100 "$TMP/record"
    [[ $(counted already) -ge 1 ]] || fail "nothing had been done: $(cat "$TMP/summary")"
    # And a third one has nothing to do.
    cp "$TMP/positions.old" "$TMP/positions"
    second_writer 100 "$TMP/record"
}

@test "exactly once: SMOVE over two slots, killed between its steps" {
    two_nodes
    ccli sadd "$SRC" m n
    killed_between "$SRC" \
        "program 0 :pos=101 :keep=1 SISMEMBER $SRC m / :if=1 SADD $DST m / :if=1 SREM $SRC m" \
        equals m smembers "$DST"
    equals n smembers "$SRC"
    equals m smembers "$DST"
}

@test "exactly once: LMOVE over two slots, killed between its steps" {
    two_nodes
    ccli rpush "$SRC" a b c
    killed_between "$SRC" \
        "program 0 :pos=101 :keep=1 LINDEX $SRC 0 / :if=1 RPUSH $DST \$1 / :if=1 LPOP $SRC" \
        equals a lrange "$DST" 0 -1
    equals "b c" lrange "$SRC" 0 -1
    equals a lrange "$DST" 0 -1
}

@test "exactly once: RENAME and RENAMENX over two slots, killed between their steps" {
    two_nodes
    ccli set "$SRC" v
    killed_between "$SRC" \
        "program 0 :pos=101 :keep=1 :must DUMP $SRC / :keep=2 :ttl PEXPIRETIME $SRC / RESTORE $DST \$2 \$1 REPLACE ABSTTL / DEL $SRC" \
        equals v get "$DST"
    equals v get "$DST"
    equals 0 exists "$SRC"
    ccli del "$DST"
    ccli set "$SRC" w
    killed_between "$SRC" \
        "program 0 :pos=101 :keep=4 EXISTS $DST / :unless=4 :keep=1 :must DUMP $SRC / :if=1 :keep=2 :ttl PEXPIRETIME $SRC / :if=1 RESTORE $DST \$2 \$1 REPLACE ABSTTL / :if=1 DEL $SRC" \
        equals w get "$DST"
    equals w get "$DST"
    equals 0 exists "$SRC"
}

@test "exactly once: a program that failed half-way is not finished by the next writer" {
    two_nodes
    ccli sadd "$SRC" m n
    ccli set "$DST" "no set"
    head -c 1500000 /dev/zero | tr '\0' x | ccli -x set "large{$SRC}" >/dev/null
    local record="program 0 :pos=101 :keep=1 SISMEMBER $SRC m / :if=1 SADD $DST m / :if=1 SREM $SRC m
program 0 :pos=102 :keep=1 GET large{$SRC} / :if=1 SADD $DST \$1 / :if=1 DEL large{$SRC}"
    start_control
    begin_live
    wait_until 5 saved_at 100
    cp "$TMP/positions" "$TMP/positions.old"
    tell "$record"
    wait_until 10 saved_at 102
    [[ $(grep -c event=data_error "$TMP/err") -ge 1 ]] || fail "$(cat "$TMP/err")"
    kill -KILL "$WRITER"
    wait "$WRITER" 2>/dev/null || true
    tell_end
    cp "$TMP/positions.old" "$TMP/positions"
    echo "$record" >"$TMP/record"
    second_writer 100 "$TMP/record"
    equals "m n" sort "$SRC" alpha || fail "$(ccli smembers "$SRC")"
    equals "no set" get "$DST"
    equals 1500000 strlen "large{$SRC}" || fail "$(ccli strlen "large{$SRC}")"
}

@test "exactly once: a step that fails, and its reply is lost: those behind it are not run" {
    two_nodes
    ccli set "$DST" "no set" >/dev/null
    # shellcheck disable=SC2046 # words
    ccli sadd "$SRC" $(seq 5000) >/dev/null
    feed --exactly-once --summary "$TMP/summary"
    {
        heading
        for i in {1..5000}; do
            echo "program 0 :keep=1 SISMEMBER $SRC $i / :if=1 SADD $DST $i / :if=1 SREM $SRC $i"
        done
        echo "synced 0 :pos=1000000"
        echo end
    } >&"$FEED" &
    PIDS+=($!)
    tell_end
    cut_often "$WRITER"
    reap 40 "$WRITER"
    [[ $status -eq 3 ]] || fail "status $status: $(tail -3 "$TMP/err")"
    [[ $(counted errors) -eq 5000 && $(ccli scard "$SRC") -eq 5000 ]] || fail "$(ccli scard "$SRC") $(grep errors "$TMP/summary")"
}

@test "exactly once: a union that gathers keys of other slots, killed before and behind it" {
    two_nodes
    ccli zadd "$SRC" 1 m
    ccli zadd "$DST" 2 m
    local tag={$DST}:0.0
    # the destination is one of the sources: run twice it would count its own result
    local record="program 0 :pos=101 DEL $tag / :keep=1 DUMP $SRC / :if=1 RESTORE $tag 0 \$1 REPLACE / ZUNIONSTORE $DST 2 $DST $tag / SET $SRC done / :always DEL $tag"
    killed_between "$SRC" "$record" equals "m 3" zrange "$DST" 0 -1 withscores
    equals "m 3" zrange "$DST" 0 -1 withscores
    equals 0 exists "$tag"
    equals done get "$SRC"
}

# ---- slots that move ----

@test "exactly once: a slot moves while it is written to" {
    local slot from to from_id to_id key
    slot=$(ccli cluster keyslot '{t}')
    from=$(node_of '{t}')
    for to in "${CLUSTER_PORTS[@]}"; do [[ $to == "$from" ]] || break; done
    from_id=$(redis-cli -p "$from" cluster myid)
    to_id=$(redis-cli -p "$to" cluster myid)
    awk 'BEGIN { for (i = 0; i < 6000; i++) { if (i % 90 == 0) print "sleep 12"; print "live 0 INCR {t}" i % 3 } }' >"$TMP/commands"
    feed --exactly-once --summary "$TMP/summary"
    tell "$(heading)"
    { cat "$TMP/commands"; echo "synced 0 :pos=10000"; echo end; } >&"$FEED" &
    PIDS+=($!)
    tell_end
    wait_until 5 eval '[[ $(ccli get "{t}2") -gt 100 ]]'
    redis-cli -p "$to" cluster setslot "$slot" importing "$from_id" >/dev/null
    redis-cli -p "$from" cluster setslot "$slot" migrating "$to_id" >/dev/null
    for key in $(redis-cli -p "$from" cluster getkeysinslot "$slot" 100); do
        redis-cli -p "$from" migrate 127.0.0.1 "$to" "$key" 0 5000 >/dev/null
    done
    redis-cli -p "$to" cluster setslot "$slot" node "$to_id" >/dev/null
    redis-cli -p "$from" cluster setslot "$slot" node "$to_id" >/dev/null
    cut_often "$WRITER" # also while it looks where the slot is
    reap 30 "$WRITER"
    [[ $status -eq 0 ]] || fail "status $status: $(tail -3 "$TMP/err")"
    equals "2000 2000 2000" mget '{t}0' '{t}1' '{t}2'
    [[ $(redis-cli -p "$from" exists '{t}0') == MOVED* ]]
}

@test "exactly once: what it needs" {
    start_control
    begin_live
    tell_end
    reap 5 "$WRITER"
    feed --exactly-once
    tell "$(session)"
    reap 5 "$WRITER"
    [[ $status -eq 2 ]]
    said event=no_position_file
    tell_end
    run rediswriter --exactly-once --at-least-once "$(target)" /dev/null
    assert_status 2
    start_redis
    { echo "live 0 INCR n"; } | { echo "session flows=1"; echo target; echo "flow 0"; cat; echo "synced 0 :pos=10"; echo end; } |
        mkrecords >"$TMP/stream"
    run rediswriter -v --exactly-once "redis://127.0.0.1:$REDIS_PORT" "$TMP/stream"
    assert_status 0
    assert_output_has "event=exactly_once"
}

position_keys() { # task: how many there are
    local p n=0
    for p in "${CLUSTER_PORTS[@]}"; do
        n=$((n + $(redis-cli -p "$p" --scan --pattern "df2redis:{*}:$1" | wc -l)))
    done
    echo "$n"
}

@test "exactly once: --forget removes the position keys of a task, and nothing else" {
    counters 500 200 | one_flow | write_once
    assert_status 0
    echo "live 0 INCR n1" | one_flow | write_once --task other
    assert_status 0
    [[ $(position_keys default) -gt 300 && $(position_keys other) -eq 1 ]]
    run timeout 30 rediswriter --forget "$(target)"
    assert_status 0
    [[ $(position_keys default) -eq 0 && $(position_keys other) -eq 1 ]]
    equals 4 get n1
    run rediswriter --forget "$(target)" "$TMP/stream"
    assert_status 2
    start_redis
    rcli hset 'df2redis:{default}' session x
    rcli set a 1
    run timeout 30 rediswriter --forget "redis://127.0.0.1:$REDIS_PORT"
    assert_status 0
    [[ $(rcli keys '*') == a ]]
}
