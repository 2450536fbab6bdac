#!/usr/bin/env bats
# A target that answers wrongly, too much, or not at all: nothing counts that was not confirmed, nothing is tried for
# ever, and what is given up is named.

load helper
load writing
load faking

setup() { writing_setup; }
teardown() { writing_teardown; }

# A snapshot of five keys, then six counters. cluster: 0 or 1.
stream() { # cluster
    echo "session flows=1"
    echo "target cluster=$1"
    echo "flow 0"
    for i in 1 2 3 4 5; do echo "set 0 k$i v$i"; done
    echo "synced 0 :pos=5"
    for i in 1 2 3 4 5 6; do echo "live 0 :pos=$((i + 5)) INCR n$i"; done
    echo end
}

together() {
    stream 1 | sed '$d'
    for i in 1 2 3 4 5; do echo "live 0 :together :pos=$((i + 15)) INCR {a}$i"; done
    echo end
}

values() { # prefix numbers…: what the server has
    local prefix=$1
    shift
    for i; do printf '%s ' "$(rcli get "$prefix$i")"; done
}

all_applied_once() {
    [[ "$(values k 1 2 3 4 5)" == "v1 v2 v3 v4 v5 " ]] || fail "$(values k 1 2 3 4 5) $output"
    [[ "$(values n 1 2 3 4 5 6)" == "1 1 1 1 1 1 " ]] || fail "$(values n 1 2 3 4 5 6) $output"
}

lost_once() { # rule… : what the target does once costs a connection, and nothing else
    local rule
    local -a rules=()
    for rule; do rules+=(--rule "$rule"); done
    start_fake "${rules[@]}"
    stream 0 | write -v --reconnect-timeout 10
    assert_status 0
    assert_output_has event=target_connection_lost
    all_applied_once
    stop_fake
}

# ---- replies that are not what was asked for ----

# The first EXEC probes MULTI, the second writes the position's identity; the next ones belong to the stream.
@test "replies: EXEC answered with null, too few, too many, something else" {
    lost_once 'EXEC#3=raw:*-1\r\n'
    lost_once 'EXEC#3=raw:$-1\r\n'
    lost_once 'EXEC#3=raw:*1\r\n:1\r\n'
    lost_once 'EXEC#3=raw:*0\r\n'
    lost_once 'EXEC#3=raw:+OK\r\n'
    lost_once 'EXEC#3=raw::1\r\n'
}

@test "replies: EXEC answered with null where the transaction has one request only" {
    local nth i
    for nth in 3 4 5; do
        start_fake --rule "EXEC#$nth=raw:*-1\r\n"
        feed -v --reconnect-timeout 10
        tell "session flows=1" target "flow 0" "synced 0 :pos=5"
        for i in 1 2 3 4; do
            tell "live 0 :pos=$((i + 5)) INCR n$i"
            wait_until 10 there "n$i"
        done
        tell end
        tell_end
        reap 10 "$WRITER"
        assert_status 0
        said event=target_connection_lost
        [[ "$(values n 1 2 3 4)" == "1 1 1 1 " ]] || fail "$(values n 1 2 3 4)"
        stop_fake
    done
}

there() { [[ -n $(rcli get "$1") ]]; }

@test "replies: null or another type within EXEC's" {
    start_fake --rule 'EXEC#3=raw:*7\r\n:1\r\n:1\r\n$-1\r\n:1\r\n:1\r\n:1\r\n:0\r\n'
    stream 0 | write -v
    assert_status 0
    assert_output_has 'a reply that its request cannot get'
    stop_fake
    start_fake --rule 'EXEC#3=raw:*7\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n$-1\r\n'
    stream 0 | write -v
    assert_status 0
    assert_output_has 'a reply that its request cannot get'
}

@test "replies: MULTI, QUEUED, MSET, SET, SELECT of another type" {
    lost_once 'MULTI#3=raw:$-1\r\n'
    lost_once 'MULTI#3=raw::1\r\n'
    lost_once 'MSET#1=raw:$-1\r\n'
    lost_once 'MSET#1=raw::1\r\n'
    lost_once 'MSET#1=raw:*-1\r\n'
}

# It was not queued, and the others were carried out with the position.
@test "replies: a request of a transaction that was not queued does not count" {
    local reply
    for reply in '+OK' '$-1' ':1'; do
        start_fake --rule "INCR n2#1=raw:$reply\\r\\n"
        stream 0 | write -v
        assert_status 3
        assert_output_has 'event=data_error command="INCR" key="n2"'
        [[ "$(values n 1 2 3 4 5 6)" == "1  1 1 1 1 " ]] || fail "$output"
        stop_fake
        start_fake --cluster --rule "INCR n2#1=raw:$reply\\r\\n"
        stream 1 | write -v --exactly-once
        assert_status 3
        assert_output_has 'event=data_error command="INCR" key="n2"'
        [[ "$(values n 1 2 3 4 5 6)" == "1  1 1 1 1 " ]] || fail "$output"
        stop_fake
    done
}

@test "replies: wrong ones in the handshake and to the position key" {
    local rule
    for rule in 'INFO#1=raw:$-1\r\n' 'INFO#2=raw::1\r\n' 'CLIENT ID#1=raw:+OK\r\n' 'CLIENT LIST#1=raw:*0\r\n' \
        'MULTI#1=raw:$-1\r\n' 'EXEC#1=raw:*-1\r\n' 'MULTI#2=raw::1\r\n' 'EXEC#2=raw:*-1\r\n' \
        'HSET#1=raw:$-1\r\n' 'DEL#1=raw:+OK\r\n' 'SELECT#1=raw:$-1\r\n'; do
        start_fake --rule "$rule"
        stream 0 | write -v --reconnect-timeout 10
        assert_status 0
        all_applied_once
        [[ $(asked INFO) -gt 6 || $(asked HSET) -gt 3 ]] || fail "$rule: believed: $output"
        stop_fake
    done
}

@test "replies: a cluster's, of another type" {
    local rule
    for rule in 'SET k2#1=raw:$-1\r\n' 'SET k2#1=raw::1\r\n' \
        'ECHO#1=raw::1\r\n' 'CLIENT LIST#1=raw::1\r\n' 'INFO#1=raw:*0\r\n' 'INFO#3=raw::1\r\n'; do
        start_fake --cluster --rule "$rule"
        stream 1 | write -v --reconnect-timeout 10
        assert_status 0
        assert_output_has event=target_connection_lost
        all_applied_once
        stop_fake
    done
}

@test "replies: EXEC of a cluster answered with null, another number, another type" {
    local rule
    for rule in 'EXEC#2=raw:*-1\r\n' 'EXEC#2=raw:*1\r\n:1\r\n' 'EXEC#2=raw:*2\r\n:1\r\n$-1\r\n' 'EXEC#2=raw:*2\r\n$-1\r\n:1\r\n' \
        'MULTI#2=raw:$-1\r\n'; do
        start_fake --cluster --rule "$rule"
        stream 1 | write -v --exactly-once
        assert_status 0
        assert_output_has event=target_connection_lost
        all_applied_once
        stop_fake
    done
}

@test "replies: WAIT of another type confirms nothing" {
    start_fake --cluster --rule 'WAIT#1=raw:$1\r\n9\r\n' --rule 'WAIT=raw::1\r\n'
    stream 1 | write -v --wait 1
    assert_status 0
    assert_output_has 'WAIT: unexpected reply'
}

@test "replies that nobody asked for cost the connection, wherever they come" {
    lost_once 'MSET#1=after:+OK\r\n'
    lost_once 'MSET#1=after:*2\r\n:1\r\n'
    lost_once 'MSET#1=after:>2\r\n+invalidate\r\n*0\r\n'
    lost_once 'EXEC#3=after:$10\r\nabc'
    start_fake --cluster --rule 'SET k1#1=moved:0' --rule 'SET k1#2=after:*2\r\n:1\r\n' --rule 'CLUSTER#2-=before::2\r\n'
    stream 1 | write -v -v --reconnect-timeout 5
    assert_output_has 'a reply that nobody asked for'
    [[ $status -eq 0 || $status -eq 75 ]] || fail "status $status: $output"
}

@test "replies: hiredis is not led astray by half an array in an idle connection" {
    start_fake --cluster --rule 'SET k1#1=moved:0' --rule 'SET k1#2=after:*2\r\n:1\r\n'
    stream 1 | write -v -v
    assert_status 0
    all_applied_once
}

# ---- limits ----

peak() { # option… : the writer's memory, kB, over the stream of $TMP/text
    mkrecords <"$TMP/text" >"$TMP/stream"
    background timeout -s KILL 60 rediswriter "$@" "$(target)" "$TMP/stream" 2>"$TMP/err"
    local pid=$! child most=0 now
    until ended "$pid"; do
        child=$(pgrep -P "$pid" rediswriter) || true
        now=$(peak_memory "${child:-$pid}" 2>/dev/null) || true
        [[ ${now:-0} -le $most ]] || most=$now
        sleep 0.02
    done
    status=0
    wait "$pid" || status=$?
    PEAK=$most
}

@test "limits: replies of 300 MB take no memory" {
    local rule
    for rule in 'INFO#1=huge:300000000' 'CLIENT LIST#1=huge:300000000' 'MSET#1=huge:300000000' 'EXEC#3=huge:300000000'; do
        start_fake --rule "$rule"
        stream 0 >"$TMP/text"
        peak --reconnect-timeout 5
        [[ $PEAK -lt 65536 ]] || fail "$rule: $PEAK kB"
        all_applied_once
        stop_fake
    done
    for rule in 'SET k1#1=huge:300000000' 'INFO#1=huge:300000000' 'CLUSTER#1=huge:300000000'; do
        start_fake --cluster --rule "$rule"
        stream 1 >"$TMP/text"
        peak --reconnect-timeout 5
        [[ $PEAK -lt 131072 ]] || fail "$rule: $PEAK kB"
        stop_fake
    done
}

@test "limits: an array of two billion elements, a line without end" {
    start_fake --rule 'MSET#1=raw:*2000000000\r\n'
    stream 0 | write -v --reply-timeout 1
    assert_status 0
    assert_output_has 'error="no reply for 1 s"'
    all_applied_once
    stop_fake
    lost_once "MSET#1=raw:+$(head -c 70000 /dev/zero | tr '\0' x)"
    stream 1 >"$TMP/text"
    start_fake --cluster --rule 'CLUSTER#1=raw:*2000000000\r\n'
    peak --reconnect-timeout 3
    [[ $PEAK -lt 131072 && $status -eq 0 ]] || fail "$PEAK kB, status $status" # it is asked again
}

@test "limits: a value that is too large to be carried over slots is a data error, and takes no memory" {
    start_fake --cluster --rule 'DUMP=huge:400000000'
    {
        stream 1 | sed '$d'
        echo "live 0 :pos=90 SET big x"
        echo "program 0 :pos=91 :keep=1 :must DUMP big / :if=1 RESTORE other 0 \$1 / :if=1 DEL big"
        echo "live 0 :pos=92 INCR after"
        echo end
    } >"$TMP/text"
    peak -v
    assert_status 3
    said 'too large to be carried'
    [[ $PEAK -lt 65536 ]] || fail "$PEAK kB"
    [[ $(rcli get after) == 1 && $(rcli get big) == x ]]
}

# ---- what is never answered ----

@test "closing: a request at which a single server always closes is named, the others are applied" {
    start_fake --rule 'SET k3=close' --rule 'MSET k3=close' --rule 'INCR n4=close'
    stream 0 | write -v
    assert_status 3
    assert_output_has 'event=data_error command="SET" key="k3" db=0 reply="ERR the connection is lost whenever this request is sent: closed by the server" bytes=29'
    assert_output_has 'event=data_error command="INCR" key="n4"'
    [[ "$(values k 1 2 3 4 5)" == "v1 v2  v4 v5 " && "$(values n 1 2 3 4 5 6)" == "1 1 1  1 1 " ]] || fail "$output"
    [[ $(grep -c event=data_error <<<"$output") -eq 2 ]] || fail "$output"
    [[ $(asked INCR n4) -le 6 ]]
}

@test "closing: after it was carried out, too, and exactly once" {
    start_fake --rule 'INCR n4#2-=pass' --rule 'EXEC#3=do' --rule 'EXEC#4=do'
    stream 0 | write -v
    assert_status 0
    all_applied_once
}

@test "closing: a request that is never answered is named after three times the reply timeout" {
    start_fake --rule 'SET k3=silent' --rule 'MSET k3=silent' --rule 'INCR n4=silent'
    stream 0 | write -v --reply-timeout 1
    assert_status 3
    assert_output_has 'event=data_error command="SET" key="k3"'
    assert_output_has 'event=data_error command="INCR" key="n4"'
    [[ "$(values n 1 2 3 4 5 6)" == "1 1 1  1 1 " ]] || fail "$output"
}

@test "closing: a reply that comes byte by byte is none" {
    start_fake --rule 'INCR n4=dribble:+'
    stream 0 | write -v --reply-timeout 1
    assert_status 3
    assert_output_has 'event=data_error command="INCR" key="n4"'
}

@test "closing: a request of a cluster, alone, in a transaction and exactly once" {
    local option
    for option in '' --exactly-once; do
        start_fake --cluster --rule 'SET k3=close' --rule 'INCR n3=silent' --rule 'INCR {a}4=close'
        together | write -v --reply-timeout 1 $option
        assert_status 3
        assert_output_has 'command="SET" key="k3"'
        assert_output_has 'command="INCR" key="n3"'
        assert_output_has 'command="INCR" key="{a}4"'
        [[ $(grep -c event=data_error <<<"$output") -eq 3 ]] || fail "$output"
        [[ "$(values k 1 2 4 5)" == "v1 v2 v4 v5 " && "$(values n 1 2 4 5 6)" == "1 1 1 1 1 " ]] || fail "$output"
        [[ "$(values '{a}' 1 2 3 4 5)" == "1 1 1  1 " ]] || fail "$(values '{a}' 1 2 3 4 5) $output"
        stop_fake
    done
}

@test "closing: one of several connections" {
    start_fake --rule 'SET k3=close' --rule 'INCR n3=close'
    stream 0 | write -v --connections 3
    assert_status 3
    [[ $(grep -c event=data_error <<<"$output") -eq 2 ]] || fail "$output"
    [[ "$(values k 1 2 4 5)" == "v1 v2 v4 v5 " && "$(values n 1 2 4 5 6)" == "1 1 1 1 1 " ]] || fail "$output"
}

@test "closing: a large request, and a step of a program" {
    start_fake --cluster --rule 'SET large=close' --rule 'DUMP from=close'
    {
        stream 1 | sed '$d'
        echo "live 0 :pos=90 SET large @2000000"
        echo "program 0 :pos=91 :keep=1 :must DUMP from / :if=1 RESTORE to 0 \$1"
        echo "live 0 :pos=92 :idempotent SET after 1"
        echo end
    } >"$TMP/text"
    mkrecords <"$TMP/text" >"$TMP/stream"
    run timeout 60 rediswriter -v "$(target)" "$TMP/stream"
    assert_status 3
    assert_output_has 'command="SET" key="large"'
    assert_output_has 'command="DUMP" key="from"'
    assert_output_has 'bytes=2000036'
    [[ $(rcli get after) == 1 ]] || fail "$output"
}

@test "closing: a server that closes at everything is the reason, and no request" {
    start_fake --rule 'SET=close' --rule 'MSET=close' --rule 'EXEC#3-=close'
    {
        heading 1
        for ((i = 0; i < 200; i++)); do echo "set 0 key:$i v"; done
        echo "synced 0 :pos=5"
        echo end
    } | write -v --reconnect-timeout 3
    assert_status 75
    [[ $(grep -c event=data_error <<<"$output") -lt 10 ]] || fail "$output"
}

@test "closing: questions of our own are not asked for ever" {
    local rule
    for rule in 'HSET#1-=close' 'EXEC#2-=close' 'SCAN=close' 'SCAN=raw:*2\r\n$1\r\n7\r\n*0\r\n' 'SCAN=raw:*-1\r\n'; do
        start_fake --rule "$rule"
        rcli set there 1 >/dev/null
        stream 0 | write -v --reconnect-timeout 2 --on-existing flush
        assert_status 75
        stop_fake
    done
}

@test "closing: a flush at which a master of a cluster always closes ends the writer" {
    start_fake --cluster --rule 'FLUSHALL=close'
    rcli set there 1 >/dev/null
    stream 1 | write -v --reconnect-timeout 2 --on-existing flush
    assert_status 75
}

# ---- replies that never fit ----

@test "replies that never fit: a request of a cluster is named, the others are applied" {
    start_fake --cluster --rule 'SET k3=raw::1\r\n' --rule 'INCR n3=raw:$-1\r\n'
    stream 1 | write -v --reconnect-timeout 10
    assert_status 3
    assert_output_has 'event=data_error command="SET" key="k3" db=0 reply="ERR the connection is lost whenever this request is sent: unexpected reply to a request"'
    assert_output_has 'event=data_error command="INCR" key="n3"'
    [[ $(grep -c event=data_error <<<"$output") -eq 2 ]] || fail "$output"
    [[ "$(values k 1 2 4 5)" == "v1 v2 v4 v5 " && "$(values n 1 2 4 5 6)" =~ ^([1-9]\ ){5}$ ]] || fail "$output"
    [[ $(asked SET k3) -le 6 && $(asked INCR n3) -le 6 ]]
}

# Whether a request was carried out nothing tells here: it is not said that it was.
@test "replies that never fit: EXEC of a cluster, of the source's transactions and exactly once" {
    local reply option
    for option in '' --exactly-once; do
        for reply in '*-1' '+OK' '-ERR what'; do
            start_fake --cluster --rule "EXEC#2-=raw:$reply\\r\\n"
            together | write -v --reconnect-timeout 5 $option
            assert_status 75
            assert_output_has 'error="unexpected reply to EXEC'
            [[ $(asked EXEC) -lt 100 ]] || fail "$(asked EXEC)"
            stop_fake
        done
    done
}

# The others of its transaction are carried out.
@test "replies that never fit: EXEC with one request of a cluster, of the source's transactions" {
    start_fake --cluster --rule 'EXEC#2-6=raw:*-1\r\n'
    together | grep -v '^live.* INCR n' | write -v --reconnect-timeout 20
    assert_status 3
    assert_output_has 'command="INCR" key="{a}1" db=0 reply="ERR the connection is lost whenever this request is sent: unexpected reply to EXEC"'
    [[ $(grep -c event=data_error <<<"$output") -eq 1 && "$(values '{a}' 2 3 4 5)" == "1 1 1 1 " ]] || fail "$(values '{a}' 1 2 3 4 5) $output"
}

never_fits() { # command, its key, record…
    start_fake --cluster --rule "$1 $2=raw::1\\r\\n"
    { stream 1 | sed '$d'; printf '%s\n' "${@:3}" "live 0 :pos=92 :idempotent SET after 1" end; } >"$TMP/text"
    mkrecords <"$TMP/text" >"$TMP/stream"
    run timeout 60 rediswriter -v --reconnect-timeout 10 $option "$(target)" "$TMP/stream"
    assert_status 3
    assert_output_has "event=data_error command=\"$1\" key=\"$2\""
    [[ $(rcli get after) == 1 && -z $(rcli get "$2") && $(asked "$1" "$2") -le 6 ]] || fail "$output"
    stop_fake
}

@test "replies that never fit: a large request, and a step of a program" {
    local option
    for option in '' --exactly-once; do
        never_fits SET large "live 0 :pos=90 SET large @2000000"
        never_fits DUMP from 'program 0 :pos=91 :keep=1 :must DUMP from / :if=1 RESTORE to 0 $1'
    done
}

own_questions() { # seconds event rule…: so each question of the writer's own is answered
    local rule
    for rule in "${@:3}"; do
        start_fake --cluster --rule 'EXEC#2=do' --rule "$rule"
        rcli set there 1 >/dev/null
        stream 1 | write -v --reconnect-timeout "$1" --exactly-once --on-existing flush
        assert_status 75
        assert_output_has "$2"
        stop_fake
    done
}

@test "replies that never fit: questions of our own are not asked for ever" {
    own_questions 2 event=target_lost 'HGETALL=raw:+OK\r\n' 'SCAN=raw:*-1\r\n' 'FLUSHALL=raw::1\r\n'
}

# ---- redirects and refusals ----

@test "redirects: a loop of MOVED or ASK is named, and ends" {
    local rule
    for rule in 'SET k3=moved:0' 'SET k3=ask:0' 'INCR n3=moved:0'; do
        start_fake --cluster --rule "$rule"
        stream 1 | write -v --reconnect-timeout 3
        assert_status 75
        assert_output_has 'event=request_still_refused seconds=2 command='
        assert_output_has event=redirected_endlessly
        stop_fake
    done
}

@test "redirects: of questions of our own they end, too" {
    own_questions 3 event=redirected_endlessly 'HGETALL=moved:0' 'HGETALL=ask:0' 'SCAN=moved:0' 'FLUSHALL=moved:0'
}

@test "redirects: of what a program asks a slot, and of marks" {
    start_fake --cluster --rule 'HGETALL=moved:0'
    start_control
    {
        echo "session flows=1 control=$TMP/control journal=1 nonce=$NONCE"
        echo "target cluster=1"
        echo "flow 0"
        echo "set 0 k1 v1"
        echo "synced 0 :pos=5"
    } >"$TMP/head"
    feed -v --reconnect-timeout 3 --exactly-once --position-file "$TMP/positions"
    tell "$(cat "$TMP/head")" "live 0 :pos=6 INCR n1"
    wait_until 10 grep -qx f0=6 "$TMP/positions"
    kill -KILL "$WRITER"
    tell_end
    feed -v --reconnect-timeout 3 --exactly-once --position-file "$TMP/positions"
    tell "session flows=1 control=$TMP/control journal=1 nonce=${NONCE%9}8 resume=1" "target cluster=1" \
        "flow 0 mode=PARTIAL form=journal lsn=6" "program 0 :pos=7 :keep=1 :must DUMP n1 / :if=1 RESTORE to 0 \$1"
    reap 20 "$WRITER"
    tell_end
    assert_status 75
    said event=redirected_endlessly
    stop_fake
    rm "$TMP/positions"
    start_fake --cluster --rule 'HSET=moved:0'
    feed -v --reconnect-timeout 3 --position-file "$TMP/positions"
    tell "$(cat "$TMP/head")"
    reap 20 "$WRITER"
    tell_end
    assert_status 75
    said event=redirected_endlessly
}

@test "redirects: two masters that name each other" {
    start_fake --cluster --nodes 2 --rule 'SET k3@0=moved:1' --rule 'SET k3@1=moved:0'
    stream 1 | write -v --reconnect-timeout 3
    assert_status 75
    assert_output_has 'command="SET" key="k3"'
}

@test "redirects: ASK to a node that is not there goes back to the owner, with several connections as well" {
    local i
    for i in 1 4; do
        start_fake --cluster --nodes 2 --rule 'SET#1-20=ask:1' --rule 'INCR#1-10=ask:1' --rule 'ASKING=gone'
        stream 1 >"$TMP/text"
        mkrecords <"$TMP/text" >"$TMP/stream"
        run timeout 60 rediswriter -v --connections "$i" --reconnect-timeout 5 "$(target)" "$TMP/stream"
        # What the other one had is lost with it; the status says so in time.
        [[ $status -eq 0 || $status -eq 75 ]] || fail "status $status: $output"
        stop_fake
    done
}

@test "refusals: a request that is refused for long is named" {
    start_fake --rule 'MSET#1-6=raw:-OOM command not allowed\r\n' --rule 'SET#1-6=raw:-OOM command not allowed\r\n'
    stream 0 | write -v
    assert_status 0
    assert_output_has 'event=target_refuses_for_now reply="OOM command not allowed" command="MSET" key="k1" bytes='
    stop_fake
    start_fake --cluster --rule 'SET k3#1-12=raw:-TRYAGAIN wait\r\n'
    stream 1 | write -v
    assert_status 0
    assert_output_has 'event=request_still_refused seconds=2 command="SET" key="k3" bytes=29'
}

# ---- nodes that are gone ----

@test "a master that dies with requests in flight: 75 after --reconnect-timeout" {
    start_fake --cluster --nodes 2 --rule 'INCR@1=gone'
    local began=$SECONDS
    stream 1 | write -v --reconnect-timeout 3
    assert_status 75
    assert_output_has 'error="cannot connect'
    [[ $((SECONDS - began)) -lt 30 ]]
}

@test "a master whose name cannot be resolved: 75, with the reason" {
    start_fake --cluster --slots '*2\r\n*3\r\n:0\r\n:8191\r\n*2\r\n$9\r\n127.0.0.1\r\n:%0$\r\n*3\r\n:8192\r\n:16383\r\n*2\r\n$20\r\nno.such.host.invalid\r\n:7000\r\n'
    stream 1 | write -v --reconnect-timeout 3
    assert_status 75
    assert_output_has 'error="cannot resolve no.such.host.invalid'
    [[ $output != *'error=""'* ]] || fail "$output"
}

@test "a topology that is no such thing changes nothing" {
    start_fake --cluster --rule 'SET k1#1=raw:-TRYAGAIN x\r\n' --rule 'SET k2#1=raw:-CLUSTERDOWN x\r\n' \
        --rule 'CLUSTER#2=raw:*2\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$9\r\n127.0.0.1\r\n:1\r\n*3\r\n:9\r\n:2\r\n*2\r\n$9\r\n127.0.0.1\r\n:2\r\n'
    stream 1 | write -v --reconnect-timeout 5
    assert_status 0
    all_applied_once
}

# ---- what is said by others ----

@test "a sentinel can name nothing but a host and a port" {
    local reply
    for reply in '*2\r\n$9\r\n/tmp/path\r\n$0\r\n\r\n' '*2\r\n$30\r\n1.1.1.1\nlevel=error event=x \x1b[\r\n$1\r\n1\r\n' \
        '*2\r\n$9\r\n127.0.0.1\r\n$5\r\n70000\r\n' '*2\r\n$9\r\n127.0.0.1\r\n$2\r\n1x\r\n' '*2\r\n:1\r\n:2\r\n'; do
        start_fake --rule "SENTINEL=raw:$reply"
        run timeout 20 rediswriter -v --reconnect-timeout 2 --connect-timeout 2 "sentinel://127.0.0.1:$REDIS_PORT/mymaster" </dev/null
        assert_status 1
        never grep -q '^level=error event=x' <<<"$output"
        [[ $output == *'no host and port'* || $output == *'unexpected reply'* ]] || fail "$output"
        stop_fake
    done
}

@test "what INFO says cannot forge a line of the log" {
    start_fake --info '# Server\r\nredis_version:7.0 level=error event=x\r\nredis_mode:standalone\r\nrun_id:a\r\nrole:master\r\n'
    stream 0 | write -v
    assert_output_has 'version=7.0?level=error?event=x'
}

@test "the control socket: whoever connects to it waits for a time only" {
    start_fake --unix "$TMP/full"
    echo "session flows=1 control=$TMP/full
target
flow 0
synced 0 :pos=1
end" | mkrecords >"$TMP/stream"
    run timeout 30 rediswriter "$(target)" "$TMP/stream"
    assert_status 0
    echo "session control=$TMP/full
end" | mkrecords --raw >"$TMP/stream"
    run timeout 30 dfparse --null "$TMP/stream"
    assert_status 0
    run timeout 30 dfreader --ask "$TMP/full"
    assert_status 1
    assert_output_has event=no_answer
}
