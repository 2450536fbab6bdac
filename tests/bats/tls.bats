#!/usr/bin/env bats
# TLS at either end, users, Unix sockets: what is verified, and what is said when it does not hold.

load helper
load certs

setup_file() { make_certs; }

setup() { common_setup; }
teardown() { common_teardown; }

# ---- both ends ----

@test "a session over TLS at both ends, both verified" {
    local args=(--generate --flows 3 --keys 3000 --types 'string,hash,zset,list,set' --fullsync-journal 50)
    start_tls_redis server
    start_master "${args[@]}"
    wrap_master server
    run timeout 100 df2redis --tls-ca "$CERTS/ca.crt" migrate "dragonflys://127.0.0.1:$SOURCE_PORT" \
        "rediss://127.1:$TLS_PORT"
    assert_status 0
    [[ -z $(grep level=warn <<<"$output" | grep -v event=omitted_writes) ]] || fail "$output"
    expected_in_twin "${args[@]}"
}

@test "a Redis over TLS as the source, one process per flow, and what does not hold" {
    start_tls_redis server --repl-diskless-sync-delay 0
    local source=$TLS_PORT port=$REDIS_PORT
    rcli set k v >/dev/null
    start_tls_redis server
    run timeout 100 df2redis --tls-ca "$CERTS/ca.crt" migrate "rediss://127.0.0.1:$source" "rediss://127.1:$TLS_PORT"
    assert_status 0
    assert_same "redis://127.0.0.1:$port" "redis://127.0.0.1:$REDIS_PORT"
    run timeout 20 dfreader -o "$TMP/raw" "rediss://127.0.0.1:$source"
    assert_status 1
    assert_output_has "certificate verify failed"
}

# Every entry counts: an INCR that is lost or done twice shows.
@test "live over TLS, the connection to the target cut again and again" {
    local args=(--generate --flows 2 --keys 2000 --journal-ops 6000 --journal-rate 3000 --journal-kind incr)
    start_tls_redis server
    start_master "${args[@]}"
    wrap_master server
    background df2redis --tls-ca "$CERTS/ca.crt" replicate "dragonflys://127.0.0.1:$SOURCE_PORT" \
        "rediss://127.0.0.1:$TLS_PORT" 2>"$TMP/err"
    local pid=$! i
    wait_until 10 bash -c "df2redis status | grep -q phase=stable"
    for i in 1 2 3; do
        sleep 0.4
        rcli client kill type normal skipme yes >/dev/null
    done
    wait_until 20 applied_all 6000
    df2redis stop
    reap 10 "$pid"
    [[ $status -eq 0 ]] || fail "status $status: $(cat "$TMP/err")"
    grep -q event=target_connected_again "$TMP/err"
    expected_in_twin "${args[@]}"
}

# The master's acknowledged positions say that everything was applied.
applied_all() { [[ $(($(df2redis status | sed -n "s/^flow .* applied=\([0-9]*\).*/\1/p" | paste -sd+))) -ge $1 ]]; }

expected_in_twin() { # generator's arguments: the target equals a server that got everything by itself
    local target=$REDIS_PORT
    start_redis
    standin "$@" --write-resp - --with-journal | rcli --pipe >/dev/null
    assert_same "redis://127.0.0.1:$target?dbs=0" "redis://127.0.0.1:$REDIS_PORT?dbs=0"
}

@test "large values over TLS, and a target that reads slowly" {
    start_tls_redis server
    start_master --generate --flows 2 --keys 3000 --value-size 20000 --big-value 30000000
    wrap_master server
    background df2redis --tls-ca "$CERTS/ca.crt" migrate "dragonflys://127.0.0.1:$SOURCE_PORT" \
        "rediss://127.0.0.1:$TLS_PORT" 2>"$TMP/err"
    local pid=$!
    wait_until 10 keys_arrive
    kill -STOP "$REDIS_PID"
    sleep 1
    kill -CONT "$REDIS_PID"
    reap 30 "$pid"
    [[ $status -eq 0 ]] || fail "status $status: $(cat "$TMP/err")"
    [[ $(rcli dbsize) -ge 3001 && $(rcli strlen big:value) -eq 30000000 ]] || fail "$(rcli dbsize)"
}

keys_arrive() { [[ $(rcli "${REDIS_AUTH[@]}" dbsize) -gt 10 ]]; }

@test "several connections over TLS, and one to the Unix socket" {
    start_tls_redis server --unixsocket "$TMP/redis.sock"
    standin --generate --keys 20000 --write-dfs "$TMP/snapshot" >/dev/null
    dfreader "file:$TMP/snapshot" | dfparse >"$TMP/stream"
    writer --connections 3 --tls-ca "$CERTS/ca.crt" "rediss://127.0.0.1:$TLS_PORT"
    assert_status 0
    [[ $(rcli dbsize) -eq 20000 ]]
    rcli flushall >/dev/null
    writer --connections 3 "unix://$TMP/redis.sock"
    assert_status 0
    [[ $(rcli dbsize) -eq 20000 ]]
}

# Three masters that speak TLS to each other and to clients (NODES); plain clients find them 100 ports above.
start_tls_cluster() {
    local base p
    for _ in 1 2 3 4; do
        base=$((12000 + RANDOM % 3000))
        NODES=("$base" $((base + 1)) $((base + 2)))
        NODE_PIDS=()
        for p in "${NODES[@]}"; do
            mkdir -p "$TMP/node.$p"
            background redis-server --port $((p + 100)) --tls-port "$p" --tls-cluster yes --cluster-enabled yes \
                --tls-cert-file "$CERTS/server.crt" --tls-key-file "$CERTS/server.key" --tls-ca-cert-file "$CERTS/ca.crt" \
                --tls-auth-clients no --bind 127.0.0.1 --save '' --dir "$TMP/node.$p" --logfile "$TMP/node.$p/log"
            NODE_PIDS+=($!)
        done
        wait_until 2 cluster_listens || continue
        redis-cli --tls --cacert "$CERTS/ca.crt" --cluster create "${NODES[@]/#/127.0.0.1:}" --cluster-yes \
            >"$TMP/create.log" 2>&1 && wait_until 10 cluster_ok && return
    done
    cat "$TMP/create.log" >&2
    return 1
}

cluster_listens() {
    local p
    for p in 0 1 2; do listens "${NODE_PIDS[p]}" "${NODES[p]}" || return 1; done
}

cluster_ok() {
    local p
    for p in "${NODES[@]}"; do redis-cli -p $((p + 100)) cluster info | grep -q cluster_state:ok || return 1; done
}

@test "a cluster over TLS; the first seed is down" {
    local args=(--generate --flows 2 --keys 3000 --types 'string,hash,zset,list,set' --fullsync-journal 50)
    start_tls_cluster
    start_master "${args[@]}"
    run timeout 100 df2redis --tls-ca "$CERTS/ca.crt" migrate "dragonfly://127.0.0.1:$MASTER_PORT" \
        "rediss-cluster://127.0.0.1:1,127.0.0.1:${NODES[1]}"
    assert_status 0
    start_redis
    standin "${args[@]}" --write-resp - --with-journal | rcli --pipe >/dev/null
    assert_same "redis-cluster://127.0.0.1:$((NODES[0] + 100))" "redis://127.0.0.1:$REDIS_PORT?dbs=0"
    # One of them shows a certificate that does not hold: the end, with its name and the reason, and no search for it.
    redis-cli -p $((NODES[2] + 100)) config set tls-cert-file "$CERTS/expired.crt" tls-key-file "$CERTS/expired.key" >/dev/null
    printf '%s\n' session 'target cluster=1' 'flow 0' 'set 0 a 1' 'set 0 b 1' 'synced 0 :pos=2' end | mkrecords >"$TMP/stream"
    run timeout -s KILL 100 rediswriter --tls-ca "$CERTS/ca.crt" "rediss://127.0.0.1:${NODES[0]}" "$TMP/stream"
    assert_status 1
    assert_output_has "node=127.0.0.1:${NODES[2]}"
    assert_output_has 'certificate has expired'
}

# ---- the target's certificate ----

stream() { # an empty but complete stream of records
    printf '%s' "$TMP/stream"
    [[ -s $TMP/stream ]] || make_stream
}

make_stream() {
    standin --generate --keys 10 --write-dfs "$TMP/snapshot" >/dev/null
    dfreader "file:$TMP/snapshot" | dfparse >"$TMP/stream"
}

writer() { run timeout 100 rediswriter -q "$@" "$(stream)"; }

refuses() { # status words option… URL
    local want=$1 words=$2
    shift 2
    writer "$@"
    assert_status "$want"
    assert_output_has "$words"
}

serve_certificate() {
    rcli config set tls-cert-file "$CERTS/$1.crt" tls-key-file "$CERTS/$1.key" >/dev/null
}

@test "target: wrong CA, wrong name, expired; each is named" {
    start_tls_redis server
    local url=rediss://127.0.0.1:$TLS_PORT
    writer --tls-ca "$CERTS/ca.crt" "$url"
    assert_status 0
    refuses 1 "certificate verify failed: self-signed certificate in certificate chain (issuer 'Test ca'" "$url"
    refuses 1 "certificate verify failed: self-signed certificate in certificate chain (issuer 'Test ca'" \
        --tls-ca "$CERTS/other.crt" "$url"
    refuses 1 'host name mismatch: certificate is for 127.0.0.1, 127.1, not for elsewhere.example' \
        --tls-ca "$CERTS/ca.crt" --tls-server-name elsewhere.example "$url"
    serve_certificate wrong
    refuses 1 'host name mismatch: certificate is for elsewhere.example, not for 127.0.0.1' --tls-ca "$CERTS/ca.crt" "$url"
    refuses 1 'host name mismatch: certificate is for elsewhere.example, not for 127.1' \
        --tls-ca "$CERTS/ca.crt" "rediss://127.1:$TLS_PORT"
    writer --tls-ca "$CERTS/ca.crt" --tls-server-name elsewhere.example "$url"
    assert_status 0
    serve_certificate stranger
    refuses 1 "certificate verify failed: unable to get local issuer certificate (issuer 'Test other'" --tls-ca "$CERTS/ca.crt" "$url"
    serve_certificate expired
    refuses 1 'certificate verify failed: certificate has expired (valid until 2021-01-01' --tls-ca "$CERTS/ca.crt" "$url"
    writer --tls-insecure "$url"
    assert_status 0
    assert_output_has event=tls_not_verified
}

@test "target: client certificates" {
    start_tls_redis server --tls-auth-clients yes
    local url=rediss://127.0.0.1:$TLS_PORT protocol
    for protocol in TLSv1.2 TLSv1.3; do
        rcli config set tls-protocols "$protocol" >/dev/null
        refuses 1 'server requires a client certificate' --tls-ca "$CERTS/ca.crt" "$url"
        refuses 1 'server does not accept our certificate: it does not know the CA' --tls-ca "$CERTS/ca.crt" \
            --tls-cert "$CERTS/other.crt" --tls-key "$CERTS/other.key" "$url"
        writer --tls-ca "$CERTS/ca.crt" --tls-cert "$CERTS/client.crt" --tls-key "$CERTS/client.key" "$url"
        assert_status 0
    done
    # a key with a password, and both in one file
    local locked=(--tls-ca "$CERTS/ca.crt" --tls-cert "$CERTS/locked.crt" --tls-key "$CERTS/locked.key")
    refuses 1 'the key is encrypted: give its password with --tls-key-password-file' "${locked[@]}" "$url"
    echo wrong >"$TMP/wrong.pw"
    refuses 1 "the password in $TMP/wrong.pw does not open the key" "${locked[@]}" --tls-key-password-file "$TMP/wrong.pw" "$url"
    refuses 1 "$TMP/nowhere: No such file" "${locked[@]}" --tls-key-password-file "$TMP/nowhere" "$url"
    writer "${locked[@]}" --tls-key-password-file "$CERTS/locked.pw" "$url"
    assert_status 0
    cat "$CERTS/client.crt" "$CERTS/client.key" >"$TMP/both.pem"
    writer --tls-ca "$CERTS/ca.crt" --tls-cert "$TMP/both.pem" "$url"
    assert_status 0
}

@test "target: an old protocol, no TLS, TLS where none was asked for" {
    start_tls_redis server --tls-protocols TLSv1.1
    refuses 1 'server speaks no version of TLS that we do (1.2 and later)' --tls-ca "$CERTS/ca.crt" "rediss://127.0.0.1:$TLS_PORT"
    rcli config set tls-protocols TLSv1.3 >/dev/null
    refuses 1 'server does not speak TLS' --tls-ca "$CERTS/ca.crt" --connect-timeout 1 "rediss://127.0.0.1:$REDIS_PORT"
    refuses 1 'the server expects TLS: name it as rediss://' "redis://127.0.0.1:$TLS_PORT"
    refuses 2 '--tls-* belongs to a target over TLS' --tls-ca "$CERTS/ca.crt" "redis://127.0.0.1:$REDIS_PORT"
}

@test "folders of CAs, hashed or not; what is no CA" {
    start_tls_redis server
    local url=rediss://127.0.0.1:$TLS_PORT
    mkdir "$TMP/cas" "$TMP/hashed" "$TMP/empty"
    cp "$CERTS/other.crt" "$CERTS/ca.crt" "$CERTS/client.key" "$TMP/cas"
    writer --tls-ca "$TMP/cas" "$url"
    assert_status 0
    cp "$CERTS/ca.crt" "$TMP/hashed/$(openssl x509 -in "$CERTS/ca.crt" -noout -hash).0"
    writer --tls-ca "$TMP/hashed" "$url"
    assert_status 0
    refuses 1 'no certificates in this folder' --tls-ca "$TMP/empty" "$url"
    refuses 1 "$TMP/nowhere: No such file" --tls-ca "$TMP/nowhere" "$url"
    refuses 1 'client.key: no certificate in it' --tls-ca "$CERTS/client.key" "$url"
    refuses 1 'no private key that goes with the certificate' --tls-ca "$CERTS/ca.crt" --tls-cert "$CERTS/client.crt" \
        --tls-key "$CERTS/server.key" "$url"
    refuses 1 '--tls-key needs --tls-cert' --tls-key "$CERTS/server.key" "$url"
}

# ---- the source's ----

reader() { run timeout 100 bash -c 'dfreader --until synced "$@" | dfparse --null; exit "${PIPESTATUS[0]}"' - "$@"; }

@test "source: wrong CA, wrong name, expired, client certificate, no TLS" {
    start_master --generate --flows 2 --keys 100
    wrap_master server
    local ca=(--tls-ca "$CERTS/ca.crt") url=dragonflys://127.0.0.1:$SOURCE_PORT
    reader "${ca[@]}" "$url"
    assert_status 0
    reader --tls-ca "$CERTS/other.crt" "$url"
    assert_status 1
    assert_output_has 'certificate verify failed: self-signed certificate in certificate chain'
    reader "${ca[@]}" --tls-server-name elsewhere.example "$url"
    assert_status 1
    assert_output_has 'host name mismatch: certificate is for 127.0.0.1, 127.1, not for elsewhere.example'
    reader --tls-insecure "$url"
    assert_status 0
    assert_output_has event=tls_not_verified
    wrap_master wrong
    reader "${ca[@]}" "dragonflys://127.0.0.1:$SOURCE_PORT"
    assert_status 1
    assert_output_has 'host name mismatch: certificate is for elsewhere.example, not for 127.0.0.1'
    wrap_master expired
    reader "${ca[@]}" "dragonflys://127.0.0.1:$SOURCE_PORT"
    assert_status 1
    assert_output_has 'certificate verify failed: certificate has expired (valid until 2021-01-01'
    wrap_master server 1
    reader "${ca[@]}" "dragonflys://127.0.0.1:$SOURCE_PORT"
    assert_status 1
    assert_output_has 'server requires a client certificate'
    reader "${ca[@]}" --tls-cert "$CERTS/client.crt" --tls-key "$CERTS/client.key" "dragonflys://127.0.0.1:$SOURCE_PORT"
    assert_status 0
    reader "${ca[@]}" --connect-timeout 1 "dragonflys://127.0.0.1:$MASTER_PORT"
    assert_status 1
    assert_output_has 'server does not speak TLS'
    reader "${ca[@]}" "dragonfly://127.0.0.1:$MASTER_PORT"
    assert_status 2
    assert_output_has '--tls-* belongs to a source over TLS'
}

# ---- the supervisor ----

@test "options of connections, from the command line and from a file" {
    start_tls_redis server --tls-auth-clients yes
    start_master --generate --flows 2 --keys 100
    wrap_master server
    cat >"$TMP/conf" <<EOF
[df2redis]
source = dragonflys://127.0.0.1:$SOURCE_PORT
target = rediss://127.0.0.1:$TLS_PORT
tls-ca = $CERTS/other.crt
source-tls-ca = $CERTS/ca.crt
source-connect-timeout = 5
target-tls-cert = $CERTS/locked.crt
target-tls-key = $CERTS/locked.key
target-tls-key-password-file = $CERTS/locked.pw
target-tls-insecure = no
EOF
    run timeout 100 df2redis -c "$TMP/conf" migrate
    assert_status 1
    assert_output_has "target=rediss://127.0.0.1:$TLS_PORT"
    assert_output_has 'certificate verify failed'
    run timeout 100 df2redis -c "$TMP/conf" --target-tls-ca="$CERTS/ca.crt" migrate
    assert_status 0
    [[ $(rcli dbsize) -ge 100 ]]
    run timeout 100 df2redis --source-sentinel-user x migrate dragonfly://h redis://h
    assert_status 2
    assert_output_has '--sentinel-* belong to a source that sentinels know'
    run timeout 100 df2redis --tls-ca x migrate dragonfly://h redis://h
    assert_status 2
    assert_output_has '--tls-* belongs to a source or target over TLS'
    echo 'target-tls-ca-file = x' >>"$TMP/conf"
    run timeout 100 df2redis -c "$TMP/conf" migrate
    assert_status 2
    assert_output_has 'unknown name target-tls-ca-file'
}

@test "passwords in URLs of every kind stand in no process list" {
    start_tls_redis server
    rcli config set requirepass ses%am >/dev/null
    REDIS_AUTH=(-a 'ses%am' --no-auth-warning)
    start_master --generate --flows 2 --keys 20000 --slow 30000 --password 'o%pen'
    wrap_master server
    background df2redis --tls-ca "$CERTS/ca.crt" replicate "dragonflys://:o%25pen@127.0.0.1:$SOURCE_PORT" \
        "rediss://:ses%25am@127.0.0.1:$TLS_PORT" 2>"$TMP/err"
    wait_until 10 keys_arrive
    run bash -c "ps axww -o args= | grep -F -e 'dfreader' -e rediswriter -e df2redis | grep -v grep | grep -F -e ses% -e o%"
    assert_status 1
}

# ---- users and Unix sockets ----

@test "target: users of the access control list" {
    start_redis
    local url=127.0.0.1:$REDIS_PORT
    rcli acl setuser mover 'on' '>p@w:d' '~*' '&*' +@all -@admin -@dangerous +info +restore '+client|id' '+client|list' \
        '+client|kill' '+config|get' >/dev/null
    rcli acl setuser open on nopass '~*' '&*' +@all >/dev/null
    rcli acl setuser reader on '>pw' '~*' '&*' +@read +@connection +info '+client|list' '+client|kill' '+multi' '+exec' >/dev/null
    rcli acl setuser default off >/dev/null
    REDIS_AUTH=(--user open --pass x --no-auth-warning)
    writer "redis://mover:p%40w%3ad@$url"
    assert_status 0
    writer "redis://open@$url"
    assert_status 0
    refuses 1 NOAUTH "redis://$url"
    refuses 1 WRONGPASS "redis://mover:x@$url"
    refuses 1 NOPERM "redis://reader:pw@$url"
}

@test "Unix sockets at both ends" {
    start_redis --unixsocket "$TMP/redis.sock"
    rcli config set requirepass sesam >/dev/null
    REDIS_AUTH=(-a sesam --no-auth-warning)
    start_master --generate --flows 2 --keys 100
    background socat "UNIX-LISTEN:$TMP/master.sock,fork" "TCP:127.0.0.1:$MASTER_PORT"
    wait_until 5 test -S "$TMP/master.sock"
    run timeout 100 df2redis migrate "dragonfly+unix://$TMP/master.sock" "unix://:sesam@$TMP/redis.sock?db=0"
    assert_status 0
    [[ $(rcli "${REDIS_AUTH[@]}" dbsize) -ge 100 ]]
    refuses 75 "cannot connect to $TMP/nowhere: No such file" "unix://$TMP/nowhere"
    refuses 2 'databases keep their numbers' "redis+unix://$TMP/redis.sock?db=1"
}

# ---- time ----

@test "a target that does not answer is connected to anew" {
    start_redis
    start_master --generate --flows 1 --keys 100 --journal-ops 100000 --journal-rate 1000 --journal-kind incr
    background bash -c "dfreader dragonfly://127.0.0.1:$MASTER_PORT | dfparse | rediswriter -q --reply-timeout 1 \
        redis://127.0.0.1:$REDIS_PORT 2>$TMP/err"
    wait_until 10 keys_arrive
    kill -STOP "$REDIS_PID"
    wait_until 5 grep -q 'event=target_connection_lost.*no reply for 1 s' "$TMP/err"
    kill -CONT "$REDIS_PID"
    wait_until 10 grep -q event=target_connected_again "$TMP/err"
}

@test "--reply-timeout 0: never" {
    start_redis
    writer --reply-timeout 0 "redis://127.0.0.1:$REDIS_PORT"
    assert_status 0
    [[ $output != *connection_lost* ]] || fail "$output"
}

queue_full() { # a connection waits for the answer to its SYN
    awk -v port="$(printf ':%04X' "$REDIS_PORT")" '$3 ~ port "$" && $4 == "02" { n++ } END { exit !n }' /proc/net/tcp
}

@test "an address that does not answer: --connect-timeout" {
    local began
    start_redis --tcp-backlog 1
    kill -STOP "$REDIS_PID"
    for _ in 1 2 3 4; do # more than its queue takes
        background timeout 20 bash -c "exec 5<>/dev/tcp/127.0.0.1/$REDIS_PORT; sleep 20" 2>/dev/null
    done
    wait_until 5 queue_full
    stream >/dev/null
    began=${EPOCHREALTIME/./}
    refuses 75 'Connection timed out' --connect-timeout 1 "redis://127.0.0.1:$REDIS_PORT"
    [[ $((${EPOCHREALTIME/./} - began)) -lt 8000000 ]] # without it 10 s
}
