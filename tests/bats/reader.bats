#!/usr/bin/env bats
# dfreader alone: what it says to a master and puts into its stream, with the test as parser and writer.

load helper
load reading

setup() { reading_setup; }
teardown() { common_teardown; }

@test "SESSION names the databases that hold keys" {
    start_master --generate --flows 2 --keys 10 --dbs 0,3,11
    start_reader
    [[ $(session_value dbs) == 0,3,11 ]] || fail "$(session_value dbs)"
    start_master --generate --flows 2 --keys 10 --dbs ''
    start_reader
    probe records "$RAW" | grep -q '^session .* dbs= control=' || fail "$(probe records "$RAW")"
}

@test "a key is read again: value, time to live, missing, another database, a large one in several records" {
    cat >"$TMP/values" <<EOF
0 small -1 000362617209001122
3 timed 86400000 0003626172
0 large -1 *3000000
EOF
    start_master --generate --flows 2 --keys 10 --values "$TMP/values" --journal-ops 20
    start_reader
    {
        for key in small timed large; do
            for db in 0 3; do echo "reread flow=1 epoch=1 db=$db key=$key"; done
        done
        echo "reread flow=0 epoch=1 db=0 key=small"
        echo "reread flow=0 epoch=2 db=0 key=large"
        echo "reread flow=7 epoch=1 db=0 key=large"
        echo "reread flow=0 epoch=1 db=99 key=%00%20a"
        echo quit
    } | to_stable 2 | parser
    wait_until 5 grep -qa 'key=%00%20a' "$RAW"
    # One further connection did all of it.
    [[ $(grep -c event=accepted "$MASTER_OUT.log") -eq 4 ]] || fail "$(grep event=accepted "$MASTER_OUT.log")"
    run keys
    [[ $(grep -c ' state=' <<<"$output") -eq 8 ]] || fail "$output"
    assert_output_has 'key flow=1 epoch=1 pos=0 len=58 db=0 more=0 key=small db=0 state=value ttl=-1 from=11 to=11 bytes=9 sum='
    assert_output_has 'key=timed db=3 state=value ttl=86400000 from=11 to=11 bytes=5 sum='
    assert_output_has 'key=timed db=0 state=missing from=11 to=11 bytes=0'
    [[ $(grep -c 'db=0 more=1' <<<"$output") -eq 45 ]] || fail "$output"
    assert_output_has "bytes=3000000 $(redis-cli -p "$MASTER_PORT" --raw dump large | head -c 3000000 | probe sum)"
    assert_output_has 'state=error error=ERR%20DB%20index%20is%20out%20of%20range'
}

@test "a key is read again by the process that has the flow" {
    printf '0 k -1 *200000\n' >"$TMP/values"
    start_master --generate --flows 2 --keys 10 --values "$TMP/values" --password 'a b'
    export DF2REDIS_SOURCE_PASSWORD='a b'
    background dfreader --session-only --control "$SOCK" "dragonfly://127.0.0.1:$MASTER_PORT"
    wait_until 5 status_has "flows=2"
    for i in 0 1; do
        background dfreader --flow $i --session "$SOCK" "dragonfly://127.0.0.1:$MASTER_PORT" >"$TMP/raw.$i"
    done
    wait_until 5 grep -qa 'nonce=' "$TMP/raw.1"
    RAW=$TMP/raw.1
    NONCE=$(session_value nonce)
    { for _ in {1..300}; do echo "reread flow=1 epoch=1 db=0 key=k"; done; echo quit; } | to_stable 2 | parser
    dfreader --ask "$SOCK" stop # waits for what was asked before
    wait_until 10 grep -qa reason=stop "$RAW"
    [[ $(keys | grep -c bytes=200000) -eq 300 ]] || fail "$(keys | wc -l) $(probe records "$RAW" | tail -3)"
    RAW=$TMP/raw.0
    never keys
}

@test "a connection that breaks under a re-read is opened once more, and then the answer is an error" {
    printf '0 k -1 00\n' >"$TMP/values"
    start_master --generate --flows 1 --keys 10 --values "$TMP/values" --close-at-dump 1
    start_reader
    { echo "reread flow=0 epoch=1 db=0 key=k"; echo quit; } | to_stable 1 | parser
    wait_until 5 grep -qa 'state=value' "$RAW"
    [[ $(grep -c event=accepted "$MASTER_OUT.log") -eq 4 ]]
}

# A kind of reply that DUMP does not have is no value, not even an empty one.
@test "a reply that is none to DUMP is an error, and keys behind it are read" {
    printf '0 %s -1 =%s\n' status +OK integer :1 array '*0' nil '*-1' number '$1x' >"$TMP/values"
    printf '0 good -1 0003626172\n' >>"$TMP/values"
    start_master --generate --flows 1 --keys 10 --values "$TMP/values"
    start_reader
    {
        for key in status integer array nil number good; do echo "reread flow=0 epoch=1 db=0 key=$key"; done
        echo quit
    } | to_stable 1 | parser
    wait_until 5 grep -qa 'key=good' "$RAW"
    run keys
    for key in status integer array nil number; do
        assert_output_has "key=$key db=0 state=error error=the%20master%20answered%20something%20that%20is%20no%20reply"
    done
    assert_output_has 'key=good db=0 state=value'
}

@test "limits go to every writer, also to one that comes later" {
    start_master --generate --flows 1 --keys 10
    start_reader
    printf 'until ops=500\nquit\n' | writer >"$TMP/first" &
    local first=$!
    wait_until 5 status_has "writers=1"
    run dfreader --ask "$SOCK" limit ops=500
    assert_status 0
    assert_output_has 'limited writers=1'
    wait "$first"
    grep -qx 'limit ops=500' "$TMP/first"
    reap 5 "$READER" # it has lost its writer
    start_reader
    dfreader --ask "$SOCK" limit bytes=7
    dfreader --ask "$SOCK" limit ops=9
    printf 'until limit\nquit\n' | writer | grep -qx 'limit ops=9 bytes=7'
    run dfreader --ask "$SOCK" limit ops=many
    assert_status 2
    run dfreader --ask "$SOCK" limit
    assert_status 2
}

# ---- --resume ----

# The FLOW records, without what differs from run to run.
flow_records() { probe records "$RAW" | sed -n 's/^flow .* more=0 flow=/flow=/p' | sed 's/ token=[0-9a-f]*/ token/' | sort; }

# What a writer says that has these positions of that master.
saved() { # replid positions...
    local i=0 pos
    echo "resume state=saved replid=$1 lineage=$1 flows=$(($# - 1))"
    for pos in "${@:2}"; do echo "from flow=$((i++)) pos=$pos"; done
}

requests() { dfparse --json | grep '"flow":0' | grep '"type":"request"' | sed 's/.*"args"/"args"/'; }

# After a partial sync from three entries before the end the flow has brought these.
goes_on() { [[ $(requests <"$RAW") == "$(requests <"$TMP/first" | tail -3)" ]]; }

legal() { ! grep ILLEGAL "$MASTER_OUT.log"; }

@test "resume: PARTIAL from the writer's positions" {
    start_old_master 2
    start_reader --resume
    [[ $(session_value resume) == 1 ]]
    status_has "phase=resume"
    saved "$REPLID" $((ENDS[0] - 3)) "${ENDS[1]}" | start_writer
    wait_until 5 status_has "phase=stable"
    [[ $(flow_records) == "flow=0 mode=PARTIAL lsn=$((ENDS[0] - 3)) form=journal db=0 
flow=1 mode=PARTIAL lsn=${ENDS[1]} form=journal db=0 " ]] || fail "$(flow_records)"
    # In one stream all FLOW records stand before any bytes.
    [[ $(probe records "$RAW" | grep -n '^data ' | head -1 | cut -d: -f1) -eq 4 ]] || fail "$(probe records "$RAW")"
    # A second writer would have a past of its own.
    run writer <<<quit
    assert_output_has resume-takes-one-writer
    wait_until 5 goes_on
    dfreader --ask "$SOCK" stop
    goes_on || fail "$(requests <"$RAW")"
    legal
}

# A session of so many flows, with a process for each of those named. RAW is the output of flow 0.
resume_by_flow() { # flows "flow …" options of the session…
    local i
    background dfreader --session-only --resume "${@:3}" --control "$SOCK" "dragonfly://127.0.0.1:$MASTER_PORT"
    wait_until 5 status_has "flows=$1"
    for i in $2; do
        background dfreader --flow "$i" --session "$SOCK" "dragonfly://127.0.0.1:$MASTER_PORT" >"$TMP/raw.$i"
    done
    RAW=$TMP/raw.0
    wait_until 5 grep -qa 'nonce=' "$RAW"
    NONCE=$(session_value nonce)
}

@test "resume: one process per flow" {
    start_old_master 3
    resume_by_flow 3 "2 0"
    saved "$REPLID" $((ENDS[0] - 3)) "${ENDS[@]:1}" | start_writer
    wait_until 5 status_has "phase=flows" # one is late
    background dfreader --flow 1 --session "$SOCK" "dragonfly://127.0.0.1:$MASTER_PORT" >"$TMP/raw.1"
    wait_until 5 status_has "phase=stable"
    wait_until 5 grep -qa "lsn=${ENDS[1]}" "$TMP/raw.1"
    [[ $(flow_records) == "flow=0 mode=PARTIAL lsn=$((ENDS[0] - 3)) form=journal db=0 " ]] || fail "$(flow_records)"
    wait_until 5 goes_on
    dfreader --ask "$SOCK" stop
    kill "${PIDS[-2]}" # the writer
    wait_until 5 grep -qa reason=stop "$RAW"
    goes_on || fail "$(requests <"$RAW")"
    legal
}

@test "resume: DFLY SYNC comes first where the master (v1.31 to v1.34) wants it" {
    start_old_master 2 --partial-by-sync
    start_reader --resume
    # What it has applied already must not be acknowledged before STARTSTABLE is answered.
    { saved "$REPLID" $((ENDS[0] - 3)) "${ENDS[1]}"; echo "applied flow=0 epoch=1 pos=${ENDS[0]}"; } | start_writer
    wait_until 5 status_has "phase=fullsync"
    [[ $(flow_records) == "flow=0 mode=PARTIAL lsn=$((ENDS[0] - 3)) form=snapshot token db=0 
flow=1 mode=PARTIAL lsn=${ENDS[1]} form=snapshot token db=0 " ]] || fail "$(flow_records)"
    echo quit | to_stable 2 | parser
    legal
    probe data "$RAW" 0 | head -c 9 | grep -q REDIS0009
}

@test "resume: the same, one process per flow" {
    start_old_master 2 --partial-by-sync
    resume_by_flow 2 "0 1"
    { saved "$REPLID" $((ENDS[0] - 3)) "${ENDS[1]}"; echo "applied flow=0 epoch=1 pos=${ENDS[0]}"; } | start_writer
    echo quit | to_stable 2 | parser
    [[ $(flow_records) == "flow=0 mode=PARTIAL lsn=$((ENDS[0] - 3)) form=snapshot token db=0 " ]] || fail "$(flow_records)"
    legal
}

# The writer says the lines of standard input; going on must be refused for that reason: by default the end with status
# 1, else a new session with a full sync.
must_refuse() { # reason words
    local said
    said=$(cat)
    start_reader --resume
    start_writer <<<"$said"
    reap 5 "$READER"
    [[ $status -eq 1 ]] || fail "status $status: $(cat "$TMP/reader.err")"
    grep -q "cannot go on.*$2" "$TMP/reader.err" || fail "$(cat "$TMP/reader.err")"
    [[ -z $(flow_records) ]] || fail "FLOW records: $(flow_records)"
    start_reader --resume --on-full-resync overwrite
    start_writer <<<"$said"
    wait_until 5 status_has "phase=fullsync"
    [[ $(session_value refused) == "$1" ]] || fail "$(probe records "$RAW")"
    [[ -z $(session_value resume) && $(session_value epoch) == 2 ]]
    [[ $(flow_records) == "$(for ((i = 0; i < $(session_value flows); i++)); do
        echo "flow=$i mode=FULL token db=0 "
    done)" ]] || fail "$(flow_records)"
    legal
}

@test "resume: refused, entries have left the backlog" {
    start_old_master 2 --backlog 5
    saved "$REPLID" $((ENDS[0] - 6)) $((ENDS[1] - 6)) | must_refuse backlog "no longer has the entries since"
}

@test "resume: refused, mixed answers" {
    start_old_master 3 --full-flow 1
    saved "$REPLID" "${ENDS[@]}" | must_refuse mixed "entries of all flows"
}

@test "resume: refused, mixed answers, one process per flow" {
    start_old_master 2 --full-flow 1
    resume_by_flow 2 "0 1" --on-full-resync flush
    saved "$REPLID" "${ENDS[@]}" | start_writer
    wait_until 5 status_has "phase=fullsync"
    [[ $(session_value refused) == mixed && $(flow_records) == "flow=0 mode=FULL token db=0 " ]] || fail "$(probe records "$RAW")"
    legal
}

@test "resume: refused, another number of flows" {
    start_old_master 2
    saved "$REPLID" "${ENDS[@]}" 17 | must_refuse flows "another number of flows"
}

@test "resume: refused, another master" {
    start_old_master 2
    saved "${REPLID//[0-9]/a}" "${ENDS[@]}" | must_refuse replid "another master"
}

@test "resume: refused, the target has lost its data" {
    start_old_master 2
    echo "resume state=lost" | must_refuse lost "has lost what was written"
}

@test "resume: refused, the full sync before was not complete" {
    start_old_master 2
    echo "resume state=incomplete" | must_refuse incomplete "was not complete"
    saved "$REPLID" 0 "${ENDS[1]}" | must_refuse incomplete "was not complete"
}

@test "resume: refused by an error reply" {
    start_old_master 1
    saved "$REPLID" 18446744073709551615 | must_refuse backlog "no longer"
    start_old_master 2 --resume-error
    saved "$REPLID" "${ENDS[@]}" | must_refuse error "refuses to go on"
}

@test "resume: a session that is lost meanwhile is no refusal, and no reason for a full resync" {
    start_old_master 2 --resume-lost
    start_reader --resume --on-full-resync flush
    saved "$REPLID" "${ENDS[@]}" | start_writer
    reap 5 "$READER"
    [[ $status -eq 75 ]] || fail "status $status"
    grep -q "the session was lost" "$TMP/reader.err"
    [[ -z $(flow_records) ]]
}

@test "resume: a master that took over from the one before" {
    local old=0123456789012345678901234567890123456789
    start_old_master 2 --last-master $old
    start_reader --resume
    saved $old $((ENDS[0] - 3)) "${ENDS[1]}" | start_writer
    wait_until 5 status_has "phase=stable"
    grep -q "DFLY FLOW $REPLID SYNC2 1 $old $((ENDS[0] - 3))-${ENDS[1]}" "$MASTER_OUT.log" || fail "$(grep FLOW "$MASTER_OUT.log")"
    [[ $(flow_records) == "flow=0 mode=PARTIAL lsn=$((ENDS[0] - 3)) form=journal db=0 
flow=1 mode=PARTIAL lsn=${ENDS[1]} form=journal db=0 " ]] || fail "$(flow_records)"
    legal
}

# Flow 0 was of this master, flow 1 of the one before it: what was asked is in the master's log.
each_was_asked() { # former master
    local asked
    asked=$(grep -o 'DFLY FLOW .*' "$MASTER_OUT.log" | tr -d '\r"' | sort -k5)
    grep -qx "DFLY FLOW $REPLID SYNC[0-9]* 0 $((ENDS[0] - 3))" <<<"$asked" || fail "$asked"
    grep -qx "DFLY FLOW $REPLID SYNC[0-9]* 1 $1 $((ENDS[0] - 3))-${ENDS[1]}" <<<"$asked" || fail "$asked"
}

@test "resume: each flow is asked for with its own lineage" {
    local old=0123456789012345678901234567890123456789
    start_old_master 2 --last-master $old
    start_reader --resume
    printf '%s\n' "resume state=saved replid=- lineage=- flows=2" "from flow=1 pos=${ENDS[1]} replid=$old lineage=-" \
        "from flow=0 pos=$((ENDS[0] - 3)) replid=$REPLID" | start_writer
    wait_until 5 status_has "phase=stable"
    each_was_asked $old
    # There is one lineage for all flows of a Dragonfly: its FLOW records name none.
    [[ $(flow_records) == "flow=0 mode=PARTIAL lsn=$((ENDS[0] - 3)) form=journal db=0 
flow=1 mode=PARTIAL lsn=${ENDS[1]} form=journal db=0 " ]] || fail "$(flow_records)"
    legal
}

@test "resume: each flow is asked for with its own lineage, one process per flow" {
    local old=0123456789012345678901234567890123456789
    start_old_master 2 --last-master $old
    resume_by_flow 2 "0 1"
    printf '%s\n' "resume state=saved replid=$REPLID lineage=- flows=2" "from flow=0 pos=$((ENDS[0] - 3))" \
        "from flow=1 pos=${ENDS[1]} replid=$old lineage=-" | start_writer
    wait_until 5 status_has "phase=stable"
    each_was_asked $old
    legal
}

@test "resume: the first time there is nothing to go on from" {
    start_old_master 2
    start_reader --resume
    echo "resume state=none" | start_writer
    wait_until 5 status_has "phase=fullsync"
    [[ -z $(session_value refused) && $(session_value epoch) == 1 ]]
    [[ $(flow_records) == "flow=0 mode=FULL token db=0 
flow=1 mode=FULL token db=0 " ]] || fail "$(flow_records)"
    legal
}

@test "resume: entries that leave the backlog at the last moment, a writer that says nothing: status 75" {
    start_old_master 2 --lose-backlog
    start_reader --resume
    saved "$REPLID" "${ENDS[@]}" | start_writer
    reap 5 "$READER"
    [[ $status -eq 75 ]] || fail "status $status"
    start_reader --resume --parser-timeout 1 --connect-timeout 1
    start_writer </dev/null
    reap 5 "$READER"
    [[ $status -eq 75 ]] || fail "status $status"
    grep -q "no writer has said" "$TMP/reader.err"
}

@test "resume: the recorded partial sync, byte by byte" {
    start_master --capture "$CAPTURES/partial-resync" --second-session --split 1-40
    start_reader
    echo quit | to_stable 2 | parser
    dfreader --ask "$SOCK" stop
    reap 5 "$READER"
    REPLID=$(session_value replid)
    start_reader --resume
    local -a lsn=()
    for c2s in "$CAPTURES"/partial-resync/wire/0[45].c2s; do
        read -r _ _ _ _ flow next _ <<<"$(head -1 "$c2s" | tr -d '\r')"
        lsn[flow]=$next
    done
    saved "$REPLID" "${lsn[@]}" | start_writer
    wait_until 5 status_has "phase=stable"
    wait_until 5 status_has "bytes=$(($(cat "$CAPTURES"/partial-resync/wire/0[45].s2c | wc -c) - 2 * 57)) "
    for conn in 04 05; do
        read -r _ _ _ _ flow _ <<<"$(head -1 "$CAPTURES/partial-resync/wire/$conn.c2s")"
        probe data "$RAW" "$flow" | cmp - <(tail -c +58 "$CAPTURES/partial-resync/wire/$conn.s2c")
    done
    legal
}

first_of() { probe records "$RAW" | grep -E '^(flow|check|data) ' | head -n "$1" | tail -n 1; }

# A flow's process that finds bytes of a partial sync says so itself: then it has to know that they are to be verified.
@test "resume: a process of one flow begins to verify in front of its first entry, however late the session says so" {
    start_old_master 1
    rm -f "$SOCK" "$RAW"
    cat >"$TMP/late.bash" <<EOF
socat - UNIX-CONNECT:$SOCK | while IFS= read -r line; do
    [[ \$line != announce* && \$line != check* ]] || sleep 1
    printf '%s\n' "\$line"
done
EOF
    background dfreader --session-only --resume --control "$SOCK" "dragonfly://127.0.0.1:$MASTER_PORT"
    wait_until 5 test -S "$SOCK"
    background socat "UNIX-LISTEN:$TMP/late" "EXEC:bash $TMP/late.bash"
    wait_until 5 test -S "$TMP/late"
    background dfreader --flow 0 --session "$TMP/late" "dragonfly://127.0.0.1:$MASTER_PORT" >"$RAW"
    wait_until 5 grep -qa nonce= "$RAW"
    NONCE=$(session_value nonce)
    saved "$REPLID" "$((ENDS[0] - 3))" | sed 's/flows=1/& verify=1/' | start_writer
    wait_until 5 eval 'probe records "$RAW" | grep "^data "'
    [[ $(first_of 1) == "flow "*mode=PARTIAL* && $(first_of 2) == "check "*state=begin* ]] || fail "$(probe records "$RAW")"
}

@test "a process of one flow that comes to a session that has failed ends as retryable, to one that is stopping as stopped" {
    local answer
    start_master --generate --flows 2 --keys 10
    for answer in 'session-has-failed 75' 'session-is-ending 5'; do
        rm -f "$TMP/control"
        background socat "UNIX-LISTEN:$TMP/control" "SYSTEM:read -r hello; echo refused reason=${answer% *}"
        wait_until 5 test -S "$TMP/control"
        run bash -c "dfreader --flow 0 --session $TMP/control dragonfly://127.0.0.1:$MASTER_PORT >$RAW"
        [[ $status -eq ${answer#* } ]] || fail "$answer: $status $output"
    done
}
