#!/usr/bin/env bats
# --exactly-once in a cluster: whatever is killed or cut, what a request does it does once.

load helper
load writing

setup_file() { one_cluster 0; }
teardown_file() { end_one_cluster; }

setup() {
    writing_setup
    the_cluster
}

teardown() { writing_teardown; }

target() { echo "$CLUSTER_URL"; }

ccli() { redis-cli -c -p "${CLUSTER_PORTS[0]}" "$@"; }

heading() { # flows
    echo "session flows=${1:-1}"
    echo "target cluster=1"
    for ((i = 0; i < ${1:-1}; i++)); do echo "flow $i"; done
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
            done
        done
    done
    CUTS=$n
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
        awk 'NR % 400 == 0 { print "sleep 60" } { print }' "$TMP/commands"
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
        done
    } >"$TMP/commands"
    feed --exactly-once --summary "$TMP/summary"
    {
        heading
        cat "$TMP/commands"
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

NONCE=00000000000000000000000000000009

start_control() {
    background perl -MSocket -e '
        socket(S, PF_UNIX, SOCK_STREAM, 0) && bind(S, pack_sockaddr_un($ARGV[0])) && listen(S, 9) or die $!;
        $| = 1; print "listening\n";
        while (accept(C, S)) {
            next if fork;
            select(C); $| = 1; select(STDOUT);
            while (<C>) { print; print C "welcome\n" if /^hello/ }
            exit;
        }' "$TMP/control" >"$TMP/told"
    wait_until 5 grep -q listening "$TMP/told"
}

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
