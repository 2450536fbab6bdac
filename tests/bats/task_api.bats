#!/usr/bin/env bats
# df2redis-monitor --token-file: tasks are created, started, limited, stopped and removed over HTTP, by nobody else.

load helper
load monitoring

setup() { common_setup; }

teardown() {
    local name
    for name in a b; do df2redis --timeout 5 stop "$name" >/dev/null 2>&1 || true; done
    monitoring_teardown
}

# Two servers: SOURCE with keys, TARGET empty. Options are those of both.
two_servers() {
    start_redis "$@"
    SOURCE=redis://127.0.0.1:$REDIS_PORT SOURCE_PORT=$REDIS_PORT
    rcli "${REDIS_AUTH[@]}" mset x 1 y 2 >/dev/null
    start_redis "$@"
    TARGET=redis://127.0.0.1:$REDIS_PORT
}

task_json() { # name [more members of config]
    printf '{"name":"%s","config":{"kind":"full+incremental","source":"%s","target":"%s"%s}}' "$1" "$SOURCE" "$TARGET" "${2-}"
}

TASKS=/api/v1/tasks

listed_as() { # name phase
    get "$TASKS/$1"
    [[ $output == *"\"phase\":\"$2\""* ]]
}

@test "a task from its creation to its removal" {
    two_servers
    start_control
    api POST $TASKS "$(task_json a ',"include":["x*","z*"],"single":true,"max-ops":5000')"
    answered 201
    [[ $output == '{"task":"a","status":0,"output":""}' ]] || fail "$output"
    [[ $(stat -c %a "$XDG_CONFIG_HOME/df2redis/a.conf") == 600 ]]
    get $TASKS
    [[ $output == *'"control":true'*'"task":"a","phase":"created","running":false'*'"kept":true'* ]] || fail "$output"
    [[ $(metric df2redis_tasks) == 0 ]]
    api POST $TASKS "$(task_json a)"
    answered 409
    api POST $TASKS/a/stop
    answered 409
    api POST $TASKS/a/start
    answered 200
    wait_until 20 listed_as a streaming || fail "$output"
    [[ $(rcli get x) == 1 && $(rcli dbsize) -le 2 && $(rcli exists y) == 0 ]] # and the positions
    api POST $TASKS/a/start
    answered 409
    [[ $output == *'"status":1,"output":"df2redis: task a is running already'* ]] || fail "$output"
    api POST $TASKS/a/limit '{"max-ops":100,"max-bytes":"1m"}'
    answered 200
    [[ $(<"$(RUN a)/limit.max-ops") == 100 && $(<"$(RUN a)/limit.max-bytes") == 1048576 ]]
    api DELETE $TASKS/a
    answered 409
    [[ $output == *'stop it first'* ]] || fail "$output"
    api POST $TASKS/a/stop '{"final":true,"timeout":20}'
    answered 200
    listed_as a stopped || fail "$output" # at once
    [[ $(rcli dbsize) -eq 1 ]]             # the positions are gone
    api DELETE $TASKS/a
    answered 200
    [[ ! -e $(RUN a) && ! -e $XDG_CONFIG_HOME/df2redis/a.conf ]]
    api DELETE $TASKS/a
    answered 404
}

@test "a configuration as text; a task that is over at once; what df2redis finds wrong" {
    two_servers
    start_control
    api POST $TASKS "{\"name\":\"a\",\"config\":\"; a comment\\n[df2redis]\\nkind = full\\nsource=$SOURCE ; here\\r\\ntarget : $TARGET\\ninclude = x\\ninclude = y\\n\"}"
    answered 201
    [[ $(<"$XDG_CONFIG_HOME/df2redis/a.conf") == "[df2redis]"$'\n'"kind = full"$'\n'"include = x"$'\n'"include = y"$'\n'"source = $SOURCE"$'\n'"target = $TARGET" ]]
    api POST $TASKS/a/start
    answered 200
    wait_until 20 listed_as a stopped || fail "$output"
    [[ $(rcli mget x y | tr '\n' ' ') == "1 2 " ]]
    api POST $TASKS "$(task_json b ',"part-size":"nonsense"')"
    answered 400
    [[ $output == *'"status":2,"output":"dfparse: '*part-size* ]] || fail "$output"
    api POST $TASKS "$(task_json b | sed 's/full+incremental/sideways/')"
    answered 400
    [[ $output == *'config: kind in section [df2redis] is full'* ]] || fail "$output"
    # A target that does not take us: the words of the stage.
    api POST $TASKS "$(task_json b ',"target-password":"wrong"')"
    answered 201
    REDIS_AUTH=(-a right --no-auth-warning)
    start_redis --requirepass right
    api DELETE $TASKS/b
    TARGET=redis://127.0.0.1:$REDIS_PORT
    api POST $TASKS "$(task_json b | sed 's/full+incremental/full/')"
    answered 201
    api POST $TASKS/b/start
    [[ $code == 200 || $code == 409 ]] || fail "$code $output"
    wait_until 20 listed_as b failed || fail "$output"
    [[ $output == *NOAUTH* ]] || fail "$output"
}

# Arguments of all processes that hold the secret, again and again. Those of the servers and of this test's redis-cli do.
watch_arguments() {
    background perl -e 'my $word = reverse "drow-terces";
        $| = 1;
        while (1) {
            for my $f (glob "/proc/[0-9]*/cmdline") {
                open my $h, "<", $f or next;
                my $line = <$h> // "";
                print $line =~ tr/\0/ /r, "\n" if index($line, $word) >= 0 && $line !~ m{^[^\0]*redis-(cli|server)};
            }
        }' >>"$TMP/seen"
    # It sees what there is to be seen.
    bash -c 'until [[ -s $1 ]]; do sleep 0.05; done' look "$TMP/seen" secret-word
    : >"$TMP/seen"
}

@test "passwords are in no argument, no message and no answer" {
    REDIS_AUTH=(-a secret-word --no-auth-warning)
    two_servers --requirepass secret-word
    start_control -v -v
    watch_arguments
    api POST $TASKS "$(task_json a ',"source-password":"secret-word","target-password":"secret-word"')"
    answered 201
    [[ $output != *secret-word* ]]
    SOURCE=${SOURCE/:\/\//://:secret-word@} TARGET=${TARGET/:\/\//://:secret-word@}
    api POST $TASKS "$(task_json b)"
    answered 201
    api POST $TASKS/b/start
    answered 200
    wait_until 20 listed_as b streaming || fail "$output"
    [[ $output != *secret-word* ]]
    api POST $TASKS/b/stop
    answered 200
    never grep -v ' look .* secret-word' "$TMP/seen"
    never grep -rqa -e secret-word -e "$TOKEN" "$TMP/monitor.err" "$XDG_RUNTIME_DIR" "$TMP"/tmp* 2>/dev/null
    [[ -z $(find "$TMP" -maxdepth 1 -name '*conf*' -type f) ]]
}

@test "only with the token" {
    start_control
    local header
    for header in 'X: y' 'Authorization: Bearer' 'Authorization: Basic YTpi' "Authorization: $TOKEN" "Cookie: token=$TOKEN" \
        "X-Authorization: Bearer $TOKEN"; do
        raw POST $TASKS '' "$header"
        answered 401
    done
    raw POST "$TASKS?token=$TOKEN" ''
    answered 401
    raw POST $TASKS '' "Authorization: Bearer $TOKEN" "Authorization: Bearer $TOKEN"
    answered 401
    [[ $(request POST $TASKS 'Content-Length: 0') == *'WWW-Authenticate: Bearer'* ]]
    # Other letters, a part of it, more than it.
    for header in "${TOKEN%?}" "${TOKEN}x" "x$TOKEN" "${TOKEN^^}" "$(printf 'a%.0s' {1..300})"; do
        raw POST $TASKS '' "Authorization: Bearer $header"
        answered 401
    done
    raw POST $TASKS '' "authorization: bearer   $TOKEN"
    answered 400 # it is let in, and sends nothing
    # After ten wrong ones nobody is looked at for a while, and then it is one more each two seconds.
    # On a busy machine that may be over before the next request.
    limited() {
        raw POST $TASKS '' "Authorization: Bearer 0123456789abcdef0"
        [[ $code == 429 ]] && api POST $TASKS '{}' && [[ $code == 429 ]]
    }
    wait_until 10 limited
    get $TASKS # reading goes on
    [[ $output == *'"tasks":[]'* ]]
    again() { api POST $TASKS '{}'; [[ $code == 400 ]]; }
    wait_until 10 again
    [[ $(grep -c 'event=login_failed from="127.0.0.1"' "$TMP/monitor.err") -ge 10 ]]
    never grep -q "$TOKEN" "$TMP/monitor.err"
}

@test "the token's file" {
    local bad
    umask 077
    for bad in 'short' '' '0123456789 abcdef' "$(printf 'a%.0s' {1..257})"; do
        echo "$bad" >"$TMP/token"
        run df2redis-monitor --listen 127.0.0.1:0 --token-file "$TMP/token"
        assert_status 1
        assert_output_has 'is no token'
    done
    echo 0123456789abcdef >"$TMP/token"
    for bad in 644 604 620 602; do
        chmod "$bad" "$TMP/token"
        run df2redis-monitor --listen 127.0.0.1:0 --token-file "$TMP/token"
        assert_status 1
        assert_output_has 'that others cannot read'
    done
    for bad in "$TMP/none" "$TMP"; do
        run df2redis-monitor --listen 127.0.0.1:0 --token-file "$bad"
        assert_status 1
    done
    run df2redis-monitor --listen 127.0.0.1:0 --files "$TMP"
    assert_status 2
    chmod 600 "$TMP/token"
    run df2redis-monitor --listen 0.0.0.0:0 --token-file "$TMP/token"
    assert_status 2
    assert_output_has 'no loopback address'
}

@test "no other site, no other type of what is sent" {
    SOURCE=redis://127.0.0.1:1 TARGET=redis://127.0.0.1:2
    start_control
    local header body
    body=$(task_json a)
    for header in 'Origin: http://evil.example' 'Origin: null' 'Origin:' "Origin: https://127.0.0.1:$PORT" "Origin: http://127.0.0.1" \
        "Origin: http://127.0.0.1:${PORT}0" "Origin: http://localhost:$PORT"; do
        api POST $TASKS "$body" "$header"
        answered 403
    done
    for header in 'X: y' 'Content-Type: text/plain' 'Content-Type: application/x-www-form-urlencoded' 'Content-Type: application/jsonx' \
        'Content-Type: multipart/form-data; boundary=x'; do
        raw POST $TASKS "$body" "Authorization: Bearer $TOKEN" "Content-Length: ${#body}" "$header"
        answered 415
    done
    [[ $(printf 'POST %s HTTP/1.1\r\nHost: evil.example\r\nAuthorization: Bearer %s\r\nConnection: close\r\n\r\n' $TASKS "$TOKEN" | http | code) == 403 ]]
    # A page of elsewhere asks first, and hears nothing that would let it go on.
    [[ $(request OPTIONS $TASKS 'Origin: http://evil.example' 'Access-Control-Request-Method: POST') != *Access-Control-Allow* ]]
    [[ ! -e $XDG_CONFIG_HOME/df2redis ]]
    raw POST $TASKS "$body" "Authorization: Bearer $TOKEN" "Content-Length: ${#body}" 'Content-Type: application/json; charset=utf-8' \
        "Origin: http://127.0.0.1:$PORT"
    answered 201
}

@test "paths: none can be named, files only where --files says" {
    start_redis
    SOURCE=redis://127.0.0.1:$REDIS_PORT TARGET=redis://127.0.0.1:2
    rcli set x 1 >/dev/null
    start_control
    local more
    for more in '"position-file":"/tmp/x"' '"position-file":"x"' '"errors-to":"../x"' '"log-file":"/etc/x"' '"report":"a/b"' \
        '"spool":"/tmp"' '"tls-ca":"/etc/passwd"' '"source-password-file":"/etc/shadow"' '"run-dir":"/tmp"' '"task":"b"' \
        '"summary":"x"' '"config":"x"' '"source-position-file":"x"' '"include":"x\n[df2redis]\nlog-file=/x"' '"strict":"yes ;x"' \
        '"single":null' '"single":1.5' '"single":{}' '"include":[["x"]]'; do
        api POST $TASKS "$(task_json a ",$more")"
        answered 400
    done
    for SOURCE in unix:///tmp/x redis+unix:///x /etc/passwd ./x file:/etc/passwd http://127.0.0.1/ redis:///etc '' 'redis:'; do
        api POST $TASKS "$(task_json a)"
        answered 400
    done
    SOURCE=redis://127.0.0.1:$REDIS_PORT
    for more in '[reader]\nstall-timeout = 1' 'kind = full' '[df2redis]\nlog-file = /x' '[df2redis]\nkind = full\nkind = full' \
        "[df2redis]\\nkind = $(printf 'a%.0s' {1..300})"; do
        api POST $TASKS "{\"name\":\"a\",\"config\":\"$more\"}"
        answered 400
    done
    [[ ! -e $XDG_CONFIG_HOME/df2redis ]]
    kill "$MONITOR_PID"
    mkdir "$TMP/files"
    start_control --files "$TMP/files"
    for TARGET in ../x /etc/x . .. .x a/b ''; do
        api POST $TASKS "{\"name\":\"a\",\"config\":{\"kind\":\"export\",\"source\":\"$SOURCE\",\"target\":\"$TARGET\"}}"
        answered 400
    done
    api POST $TASKS "{\"name\":\"a\",\"config\":{\"kind\":\"export\",\"source\":\"$SOURCE\",\"target\":\"dump.rdb\",\"target-version\":\"7.0\",\"log-file\":\"log\"}}"
    answered 201
    api POST $TASKS/a/start
    answered 200
    wait_until 20 test -s "$TMP/files/dump.rdb"
    [[ -e $TMP/files/log ]]
}

@test "each option of a task is a name of a posted configuration" {
    local name stages n=0
    while read -r name stages; do
        [[ $stages != c ]] || continue # of df2redis check, which is no task
        grep -qE "\{\"($name|${name#target-})\", POSTED_" "$REPO/monitor/posted_names.c" || fail "there is no $name in posted_names.c"
        n=$((n + 1))
    done < <(grep -oE "\[[a-z-]+\]='[rpwc]+ " "$REPO/supervisor/lib/options.bash" | sed "s/\[//; s/\]='/ /")
    [[ $n -gt 50 ]] || fail "$n options"
}

@test "30 requests that are malformed, oversized, or go too far" {
    SOURCE=redis://127.0.0.1:1 TARGET=redis://127.0.0.1:2
    start_control -v
    local big deep
    big=$(head -c 70000 /dev/zero | tr '\0' a)
    deep=$(head -c 60000 /dev/zero | tr '\0' '[')
    mkdir -m 700 -p "$XDG_RUNTIME_DIR/df2redis/seen"
    printf 'phase=stopped\n' >"$XDG_RUNTIME_DIR/df2redis/seen/state"
    wait_until 10 listed_as seen unknown
    while IFS=$'\t' read -r want method path body; do
        body=${body//BIG/$big}
        api "$method" "$path" "${body//DEEP/$deep}"
        answered "$want" || fail "$method $path $body" || return 1
    done <<'REQUESTS'
400	POST	/api/v1/tasks	{
400	POST	/api/v1/tasks	[]
400	POST	/api/v1/tasks	null
400	POST	/api/v1/tasks	{}
400	POST	/api/v1/tasks	{"name":"a"}
400	POST	/api/v1/tasks	{"name":"a","config":3}
400	POST	/api/v1/tasks	{"name":"../a","config":{}}
400	POST	/api/v1/tasks	{"name":"a\u0000b","config":{}}
400	POST	/api/v1/tasks	{"name":"a","name":"b","config":{}}
400	POST	/api/v1/tasks	{"name":"-a","config":{}}
400	POST	/api/v1/tasks	{"name":"a","config":{},"force":true}
400	POST	/api/v1/tasks	{"name":"a","config":{}} trailing
400	POST	/api/v1/tasks	DEEP
413	POST	/api/v1/tasks	{"name":"BIG"}
400	POST	/api/v1/tasks/seen/stop	{"timeout":101}
400	POST	/api/v1/tasks/seen/stop	{"timeout":"5"}
400	POST	/api/v1/tasks/seen/stop	{"final":"yes"}
400	POST	/api/v1/tasks/seen/limit	{}
400	POST	/api/v1/tasks/seen/limit	{"max-ops":-1}
400	POST	/api/v1/tasks/seen/limit	{"max-ops":2147483648}
400	POST	/api/v1/tasks/seen/limit	{"max-bytes":"1 m"}
400	POST	/api/v1/tasks/seen/limit	{"max-bytes":"99999999999g"}
400	POST	/api/v1/tasks/seen/start	{"x":1}
409	POST	/api/v1/tasks/seen/start	{}
404	POST	/api/v1/tasks/none/start	{}
405	POST	/api/v1/tasks/../../etc/passwd/start	{}
405	POST	/api/v1/tasks/..%2f..%2fetc/start	{}
405	POST	/api/v1/tasks/seen%00x	{}
405	PUT	/api/v1/tasks/seen	{}
405	DELETE	/api/v1/tasks	{}
405	POST	/metrics	{}
405	POST	/api/v1/tasks/seen/log	{}
404	DELETE	/api/v1/tasks/%73een2	{}
REQUESTS
    # What is sent is not what its headers say.
    for body in 'Content-Length: 70000000000' 'Content-Length: -5' 'Content-Length: 9999999999999999999999' \
        'Transfer-Encoding: chunked'; do
        raw POST $TASKS 'zz' "Authorization: Bearer $TOKEN" 'Content-Type: application/json' "$body"
        [[ $code == 4* ]] || fail "$body: $code $output"
    done
    [[ -z $(find "$XDG_CONFIG_HOME" -type f 2>/dev/null) ]]
    never grep -q 'event=command ' "$TMP/monitor.err"
    get /healthz
    [[ $output == ok ]]
    sanitized || [[ $(awk '$1 == "VmRSS:" { print $2 }' "/proc/$MONITOR_PID/status") -lt 16384 ]]
}

@test "many at the same time: one of each name is made, four run at once" {
    SOURCE=redis://127.0.0.1:1 TARGET=redis://127.0.0.1:2
    start_control
    local i pids=() codes
    for i in {1..24}; do
        {
            api POST $TASKS "$(task_json "t$((i % 8))")"
            echo "$code t$((i % 8))" >"$TMP/code.$i"
        } 3>&- &
        pids+=($!)
    done
    wait "${pids[@]}"
    codes=$(cat "$TMP"/code.*)
    never grep -vE '^(201|409|503) ' <<<"$codes"
    [[ -z $(grep '^201' <<<"$codes" | sort | uniq -d) ]] || fail "$codes"
    [[ $(grep -c '^201' <<<"$codes") -eq $(find "$XDG_CONFIG_HOME/df2redis" -name 't?.conf' | wc -l) ]]
    [[ $(grep -c '^201' <<<"$codes") -ge 4 ]] || fail "$codes"
    # Nothing is left of them.
    [[ -z $(find "$XDG_CONFIG_HOME/df2redis" -name '.*' -type f) ]]
    get /healthz
    [[ $output == ok ]]
}

@test "who goes away while a command runs does not end it; the monitor's end does not, either" {
    two_servers
    start_control -v
    api POST $TASKS "$(task_json a)"
    answered 201
    printf 'POST %s/a/start HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer %s\r\n\r\n' $TASKS "$TOKEN" | socat -u - "TCP:127.0.0.1:$PORT"
    wait_until 20 listed_as a streaming || fail "$output"
    printf 'POST %s/a/stop HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer %s\r\n\r\n' $TASKS "$TOKEN" | socat -u - "TCP:127.0.0.1:$PORT"
    wait_until 10 grep -q 'event=command name=stop' "$TMP/monitor.err"
    kill "$MONITOR_PID"
    reap 5 "$MONITOR_PID"
    assert_status 0
    wait_until 20 phase_is stopped a
}

@test "TLS: on any address, and then reading needs the token, too" {
    load certs
    make_certs
    start_control --tls-cert "$CERTS/server.crt" --tls-key "$CERTS/server.key" --listen 0.0.0.0:0
    http() { socat -t 20 - "OPENSSL:127.0.0.1:$PORT,cafile=$CERTS/ca.crt"; }
    talk() { http; }
    [[ $(request GET / | code) == 200 && $(request GET /page.js | code) == 200 && $(request GET /healthz | code) == 200 ]]
    local path
    for path in $TASKS $TASKS/a /metrics /none; do [[ $(request GET "$path" | code) == 401 ]] || fail "$path"; done
    api GET $TASKS
    answered 200
    api POST $TASKS '{}' "Origin: http://127.0.0.1:$PORT"
    answered 403
    api POST $TASKS '{}' "Origin: https://127.0.0.1:$PORT"
    answered 400
    # Nothing is said without TLS, or by an old one.
    [[ -z $(printf 'GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n' | socat -t 5 - "TCP:127.0.0.1:$PORT" | code) ]]
    never openssl s_client -connect "127.0.0.1:$PORT" -tls1_1 -cipher 'DEFAULT@SECLEVEL=0' </dev/null
    run df2redis-monitor --listen 127.0.0.1:0 --tls-cert "$CERTS/server.crt"
    assert_status 2
    run df2redis-monitor --listen 127.0.0.1:0 --tls-cert "$CERTS/server.crt" --tls-key "$TMP/token"
    assert_status 1
    assert_output_has 'is no PEM file'
    run df2redis-monitor --listen 127.0.0.1:0 --tls-cert "$CERTS/server.crt" --tls-key "$CERTS/client.key"
    assert_status 1
    run df2redis-monitor --listen 0.0.0.0:0 --tls-cert "$CERTS/server.crt" --tls-key "$CERTS/server.key"
    assert_status 2
}

@test "examples/tasks-over-http.sh" {
    command -v curl >/dev/null || skip "no curl"
    two_servers
    start_control
    run "$REPO/examples/tasks-over-http.sh" "http://127.0.0.1:$PORT" "$TMP/token" "$SOURCE" "$TARGET"
    assert_status 0
    assert_output_has '"phase":"stopped"'
    [[ $(rcli get x) == 1 ]]
    [[ $(request GET $TASKS/example | code) == 404 ]]
}
