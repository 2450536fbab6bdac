#!/usr/bin/env bats
# dfreader with a Redis or Valkey server as the source: the test is parser and writer.

load helper
load reading
load psync
load watching

setup() { reading_setup; }
teardown() { common_teardown; }

fill() { scli eval 'for i=1,1000 do redis.call("SET","key:"..i,i) end' 0 >/dev/null; }

# A stream that has begun: the file, and the commands of two databases behind it.
begin_stream() { # options of dfreader
    start_source "${SERVER_OPTIONS[@]}"
    fill
    read_source "$@"
    wait_until 10 file_received
    FILE=$(file_bytes)
    scli set first 1 >/dev/null
    scli -n 3 set second 2 >/dev/null
    wait_until 5 streamed second
}

# The lines of a writer that has saved a position.
saved() { # id position
    printf '%s\n' "resume epoch=1 state=saved flows=1" "from flow=0 pos=$2 replid=$1"
}

stop_reader() { # [status]
    dfreader --ask "$SOCK" stop >/dev/null
    [[ -z ${WRITER-} ]] || kill "$WRITER" 2>/dev/null || true
    WRITER=
    reap 5 "$READER"
    [[ $status -eq ${1:-5} ]] || fail "status $status: $(cat "$TMP/reader.err")"
}

# ---- full sync ----

@test "a full sync of both forms, and the stream behind it: numbered in one, whoever parses it" {
    local form token mark
    for form in yes no; do
        SERVER_OPTIONS=(--repl-diskless-sync "$form")
        begin_stream
        [[ $(session_value source) == redis && $(session_value flows) == 1 && $(session_value journal) == 1 ]]
        [[ $(session_value version) == "$(server_version)" ]]
        [[ -z $(session_value replid) ]] || fail "the lineage is the flow's"
        [[ $(value_of flow mode) == FULL && $(value_of flow replid) == "$(info replication master_replid)" ]]
        # Where the stream begins: so many bytes before where the source is.
        [[ $(value_of flow lsn) == "$(position $(($(offset) - $(commands "$FILE" | wc -c))) 0)" ]]
        token=$(value_of flow token)
        [[ ($form == yes && -n $token) || ($form == no && -z $token) ]]
        mark=$(probe data "$RAW" 0 | head -c "$FILE" | tail -c 40)
        [[ $form == no || $mark == "$token" ]]
        probe data "$RAW" 0 | head -c 5 | grep -qE 'REDIS|VALKE'
        [[ $(commands "$FILE" | head -c 2) == '*'[12] ]]
        stop_reader
        kill "$SOURCE_PID"
        reap 5 "$SOURCE_PID"
    done
}

@test "nobody parses the file: the stream comes all the same, and the source keeps us" {
    SERVER_OPTIONS=(--repl-timeout 2)
    begin_stream
    [[ $(acknowledged) == 0 ]]
    local until=$(($(info server uptime_in_seconds) + 5))
    wait_until 10 eval "[[ \$(info server uptime_in_seconds) -ge $until ]]"
    [[ $(info replication connected_slaves) == 1 ]]
    stop_reader
}

@test "a source that waits a while for more replicas before it begins" {
    SERVER_OPTIONS=(--repl-diskless-sync yes --repl-diskless-sync-delay 3)
    begin_stream
    stop_reader
}

@test "the first database of the keyspace, an empty source, a source over a Unix socket" {
    start_source --unixsocket "$TMP/source.sock"
    SOURCE_URL="unix://$TMP/source.sock" read_source
    wait_until 10 file_received
    [[ $(session_value dbs) == "" ]]
    stop_reader
    scli -n 9 set a b >/dev/null
    SOURCE_URL="valkey://127.0.0.1:$SOURCE" read_source
    wait_until 10 file_received
    [[ $(session_value dbs) == 9 ]]
    stop_reader
}

# ---- which kind of server it is ----

@test "redis:// finds a Dragonfly, dragonfly:// takes nothing else" {
    start_master --generate --flows 2 --keys 10
    SOURCE=$MASTER_PORT read_source
    wait_until 5 status_has phase=fullsync
    [[ $(session_value source) == dragonfly && $(session_value flows) == 2 ]]
    stop_reader
    start_source
    run timeout 20 dfreader -o "$RAW" "dragonfly://127.0.0.1:$SOURCE"
    assert_status 1
    assert_output_has "no Dragonfly: name it as redis://"
}

# ---- refusals ----

refused() { # status text url [options]
    run timeout 30 dfreader -o "$RAW" "${@:4}" "$3"
    assert_status "$1"
    assert_output_has "$2"
    probe records "$RAW" | grep -q "^end .*status=$1" || fail "no END: $(probe records "$RAW")"
}

@test "a password, a wrong one, none; a user that may not replicate, and one that may" {
    local url
    start_source
    scli acl setuser may on '>secret' +psync +replconf +ping >/dev/null
    scli acl setuser maynot on '>secret' +ping +info +replconf >/dev/null
    scli config set requirepass 'p@ss' >/dev/null
    refused 1 "the source wants a password" "redis://127.0.0.1:$SOURCE"
    refused 1 "wrong user or password" "redis://:no@127.0.0.1:$SOURCE"
    refused 1 "it needs +psync +replconf +ping +info" "redis://maynot:secret@127.0.0.1:$SOURCE"
    SOURCE_URL="redis://may:secret@127.0.0.1:$SOURCE" read_source
    wait_until 10 file_received
    grep -q event=info_refused "$TMP/reader.err"
    [[ -z $(session_value version) ]]
    stop_reader
    never grep -qE 'secret|p@ss' "$TMP/reader.err" "$RAW"
}

@test "a replica that has never been in sync is asked later; a sentinel and a closed port are no sources" {
    start_source --replicaof 127.0.0.1 1
    refused 75 "a replica without a link to its master" "redis://127.0.0.1:$SOURCE"
    refused 1 "Connection refused" redis://127.0.0.1:1
    MASTER=1 start_sentinel
    refused 1 "this is a sentinel: name it as sentinel://HOST/NAME" "redis://127.0.0.1:$SENTINEL"
    refused 75 "Connection refused" redis://127.0.0.1:1 --resume
}

# ---- going on ----

@test "resume: from the position, by its own id, the rest of the stream" {
    local id from want
    begin_stream
    id=$(info replication master_replid)
    from=$(($(offset) - $(commands "$FILE" | wc -c)))
    want=$(commands "$FILE" | tail -c +24 | probe sum) # in the midst of nothing: SELECT 0 is 23 bytes
    stop_reader
    read_source --resume
    start_writer < <(saved "$id" "$(position $((from + 23)) 0)")
    wait_until 5 status_has phase=stable
    [[ $(value_of flow mode) == PARTIAL && $(value_of flow replid) == "$id" ]]
    [[ $(value_of flow lsn) == "$(position $((from + 23)) 0)" ]]
    scli set third 3 >/dev/null
    wait_until 5 streamed third
    [[ $(probe data "$RAW" 0 | head -c "$(($(offset) - from - 23))" | wc -c) -ge 60 ]]
    streamed second && streamed first
    stop_reader 0
}

@test "resume: the id that the source has taken over with a failover, and the new one behind it" {
    begin_stream
    local id at
    id=$(info replication master_replid)
    at=$(position "$(offset)" 3)
    start_redis --replicaof 127.0.0.1 "$SOURCE"
    wait_until 10 eval "rcli info replication | grep -q master_link_status:up"
    stop_reader
    kill "$SOURCE_PID"
    rcli replicaof no one >/dev/null
    SOURCE=$REDIS_PORT
    read_source --resume
    start_writer < <(saved "$id" "$at")
    wait_until 5 status_has phase=stable
    [[ $(value_of flow mode) == PARTIAL && $(value_of flow lsn) == "$at" ]]
    [[ $(value_of flow replid) == "$(info replication master_replid)" && $(value_of flow replid) != "$id" ]]
    stop_reader 0
}

@test "resume: what the source does not have any more is said, and never begun anew without being asked" {
    begin_stream
    local id other=0123456789abcdef0123456789abcdef01234567
    id=$(info replication master_replid)
    read_source --resume
    start_writer < <(saved "$id" "$(position 9999999 0)")
    reap 10 "$READER"
    [[ $status -eq 1 ]] && grep -q "the master no longer has the entries" "$TMP/reader.err"
    read_source --resume
    start_writer < <(saved "$other" "$(position 100 0)")
    reap 10 "$READER"
    [[ $status -eq 1 ]] && grep -q "this is another master" "$TMP/reader.err"
    # A replica that was promoted where it had less than we have.
    start_redis --replicaof 127.0.0.1 "$SOURCE"
    wait_until 10 eval "rcli info replication | grep -q master_link_status:up"
    id=$(info replication master_replid)
    rcli replicaof no one >/dev/null
    SOURCE_URL=redis://127.0.0.1:$REDIS_PORT read_source --resume
    start_writer < <(saved "$id" "$(position 99999 0)")
    reap 10 "$READER"
    [[ $status -eq 1 ]] && grep -q "the target has what the source lost" "$TMP/reader.err"
    read_source --resume --on-full-resync overwrite
    start_writer < <(saved "$other" "$(position 100 0)")
    wait_until 10 file_received
    [[ $(session_value epoch) == 2 && $(session_value refused) == replid && $(value_of flow mode) == FULL ]]
    probe records "$RAW" | grep -q "^data flow=0 epoch=2 pos=0 "
    stop_reader
}

# ---- what the source sees of us ----

applied() { start_writer <<<"applied flow=0 epoch=1 pos=$(position "$(offset)" 3)"; }

@test "acknowledged is what the target has, less a byte; with exact all of it" {
    local how less
    for how in behind exact; do
        less=$([[ $how == exact ]] && echo 0 || echo 1)
        begin_stream --acknowledge "$how"
        to_stable
        [[ $(acknowledged) == 0 ]]
        applied
        wait_until 5 acknowledged_is "$(($(offset) - less))"
        wait_until 5 eval 'status_has "acked=$(offset) head=$(offset) lag=0"' # a PING may come between
        stop_reader 0
        kill "$SOURCE_PID"
    done
}

@test "FAILOVER does not choose us, WAIT counts what the target has" {
    begin_stream
    server_has 6.2 || skip "it has no FAILOVER"
    to_stable
    applied
    wait_until 5 acknowledged_is "$(($(offset) - 1))"
    scli failover timeout 500 >/dev/null
    wait_until 5 eval "info replication master_failover_state | grep -qx no-failover"
    [[ $(info replication role) == master ]]
    # We are one of those that WAIT counts once our target has what was written, and no sooner.
    [[ $(printf '%s\n' "set k v" "wait 1 100" | scli) == OK$'\n'0 ]]
    stop_reader 0
}

@test "an answer to GETACK at once, and again when what came before it is applied" {
    begin_stream --acknowledge exact
    to_stable
    local at
    background bash -c "printf '%s\n' 'set k v' 'wait 1 20000' | redis-cli -p $SOURCE" >"$TMP/wait"
    wait_until 5 streamed GETACK
    at=$(($(offset) - 37)) # that is as long
    [[ $(acknowledged) == 0 ]]
    start_writer <<<"applied flow=0 epoch=1 pos=$(position "$at" 3)"
    wait_until 2 acknowledged_is "$at"
    wait_until 2 grep -qx 1 "$TMP/wait"
    stop_reader 0
}

# ---- what is not read, and what is silent ----

queued() { dfreader --ask "$SOCK" | sed -n 's/^session .* queued=\([0-9]*\) .*/\1/p'; }
has_queued() { [[ $(queued) -ge $1 ]]; }
received() { dfreader --ask "$SOCK" | sed -n 's/^flow .* bytes=\([0-9]*\) .*/\1/p'; }

# A dfreader whose output nobody reads.
read_nothing() { # options
    SOCK=$TMP/$RANDOM.sock
    rm -f "$TMP/fifo"
    mkfifo "$TMP/fifo"
    exec {FIFO}<>"$TMP/fifo"
    background dfreader -v --control "$SOCK" "$@" "redis://127.0.0.1:$SOURCE" 2>"$TMP/reader.err" >"$TMP/fifo"
    READER=$!
    wait_until 5 status_has phase=fullsync
}

@test "what nobody takes is spooled by default, the file and the stream; --no-spool, and a full spool" {
    start_source
    scli eval 'for i=1,20 do redis.call("SET","big:"..i,string.rep(i,1000000)) end' 0 >/dev/null
    scli config set rdbcompression no >/dev/null
    read_nothing
    wait_until 10 has_queued 20000000
    scli eval 'redis.call("SET","more",string.rep("x",5000000))' 0 >/dev/null
    wait_until 10 has_queued 25000000
    dfreader --ask "$SOCK" | grep -q 'alarms= '
    read_nothing --spool-max 1m
    wait_until 10 grep -q event=spool_full "$TMP/reader.err"
    wait_until 5 grep -q "event=source_not_read note=.*client-output-buffer-limit" "$TMP/reader.err"
    dfreader --ask "$SOCK" | grep -q 'alarms=[a-z,-]*spool-full'
    [[ $(queued) -lt 4000000 ]]
    kill -9 "$READER" # the source has one transfer at a time
    read_nothing --no-spool
    wait_until 5 has_queued 50000
    [[ $(queued) -lt 2000000 ]]
    run dfreader --no-spool --spool "$TMP" --check-options "redis://127.0.0.1:$SOURCE"
    assert_status 2
    TMPDIR=$TMP/none run timeout 20 dfreader -o "$RAW" "redis://127.0.0.1:$SOURCE"
    assert_status 1
    assert_output_has "cannot write to $TMP/none: No such file or directory; what the output does not take"
    assert_output_has "--spool names another directory, --no-spool goes without"
}

@test "the process of a flow says as well that its source is not read any more" {
    start_source
    scli eval 'for i=1,20 do redis.call("SET","big:"..i,string.rep(i,1000000)) end' 0 >/dev/null
    scli config set rdbcompression no >/dev/null
    background dfreader --session-only --control "$SOCK" "redis://127.0.0.1:$SOURCE" 2>"$TMP/session.err"
    wait_until 5 test -S "$SOCK"
    mkfifo "$TMP/fifo"
    exec {FIFO}<>"$TMP/fifo"
    background dfreader --flow 0 --session "$SOCK" --spool-max 1m "redis://127.0.0.1:$SOURCE" 2>"$TMP/flow.err" >"$TMP/fifo"
    wait_until 10 grep -q "event=source_not_read note=.*client-output-buffer-limit" "$TMP/flow.err"
    [[ $(grep -c event=source_not_read "$TMP/flow.err") -eq 1 ]]
}

@test "a source that is silent, and one that goes" {
    begin_stream --ping-timeout 2 --reconnect-timeout 0
    kill -STOP "$SOURCE_PID"
    reap 10 "$READER"
    kill -CONT "$SOURCE_PID"
    [[ $status -eq 75 ]] && grep -qE "no answer to INFO replication for 2 seconds|sent nothing for 2 seconds" "$TMP/reader.err"
    read_source --reconnect-timeout 0
    wait_until 10 file_received
    kill -9 "$SOURCE_PID"
    reap 5 "$READER"
    [[ $status -eq 75 ]]
    probe records "$RAW" | grep -q '^end .*status=75'
}

talk() { probe talk "$SOCK" "role=parser nonce=$NONCE"; }

# INFO is refused as long as a script runs: until the server has counted one, by a script that looks at its own time.
refuse_info() {
    scli eval 'local t0 = tonumber(redis.call("TIME")[1]) while tonumber(redis.call("TIME")[1]) - t0 < 4 do end' 0 >/dev/null
    scli info commandstats | grep -q '^cmdstat_info:.*rejected_calls=[1-9]'
}

head_is_offset() { status_has " head=$(offset) "; }

@test "a source that refuses INFO for a while, as it is busy with a script: its offset is asked for again" {
    begin_stream
    to_stable
    scli config set lua-time-limit 100 >/dev/null
    server_has 6.2 || skip "it does not count what it refuses"
    wait_until 30 refuse_info
    scli set third 3 >/dev/null
    wait_until 6 head_is_offset
    never grep -q event=info_refused "$TMP/reader.err"
    stop_reader 0
}

# ---- a process of the flow ----

@test "a parser is quicker than the process of the flow: the full sync is complete all the same" {
    local owner
    start_source
    background dfreader -v --session-only --control "$SOCK" "redis://127.0.0.1:$SOURCE" 2>"$TMP/owner.err"
    owner=$!
    wait_until 5 status_has phase=flows
    {
        wait_until 10 test -e "$TMP/spoken"
        echo "flowup flow=0 epoch=1 mode=FULL"
        wait_until 10 status_has phase=stable
        echo quit
    } | probe talk "$SOCK" "role=flow flow=0" >"$TMP/heard" &
    wait_until 5 grep -q nonce= "$TMP/heard"
    NONCE=$(sed -n 's/.* nonce=\([^ ]*\).*/\1/p' "$TMP/heard")
    {
        echo "cut flow=0 epoch=1"
        echo "synced flow=0 epoch=1"
        wait_until 5 status_has "cut=1 synced=1"
        : >"$TMP/spoken"
        echo quit
    } | talk >/dev/null
    wait_until 10 grep -q "event=phase name=stable" "$TMP/owner.err"
    reap 10 "$owner" # the process of its flow has gone
    [[ $status -eq 75 ]]
}

@test "one process for the session and one for the flow: full sync, resume, acknowledgements" {
    local owner id at
    start_source
    fill
    id=$(info replication master_replid)
    background dfreader -v --session-only --control "$SOCK" "redis://127.0.0.1:$SOURCE" 2>"$TMP/owner.err"
    owner=$!
    background dfreader -v --flow 0 --session "$SOCK" "redis://127.0.0.1:$SOURCE" >"$RAW" 2>"$TMP/reader.err"
    READER=$!
    wait_until 10 file_received
    NONCE=$(session_value nonce)
    [[ $(session_value version) == "$(server_version)" && $(value_of flow mode) == FULL ]]
    scli set first 1 >/dev/null
    wait_until 5 streamed first
    to_stable
    at=$(position "$(offset)" 0)
    applied
    wait_until 5 acknowledged_is "$(($(offset) - 1))"
    id=$(info replication master_replid)
    stop_reader 0
    reap 5 "$owner"
    background dfreader -v --session-only --resume --control "$SOCK" "redis://127.0.0.1:$SOURCE" 2>"$TMP/owner.err"
    owner=$!
    background dfreader -v --flow 0 --session "$SOCK" "redis://127.0.0.1:$SOURCE" >"$RAW" 2>"$TMP/reader.err"
    READER=$!
    wait_until 5 grep -qa nonce= "$RAW"
    NONCE=$(session_value nonce)
    start_writer < <(saved "$id" "$at")
    wait_until 5 status_has phase=stable
    scli set third 3 >/dev/null
    wait_until 5 streamed third
    [[ $(value_of flow mode) == PARTIAL && $(value_of flow lsn) == "$at" ]]
    stop_reader 0
}
