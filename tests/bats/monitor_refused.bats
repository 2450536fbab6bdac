#!/usr/bin/env bats
# df2redis-monitor: where it listens, which requests it refuses, what it makes of files that are wrong, and its memory.

load helper
load monitoring

setup() { common_setup; }

teardown() { monitoring_teardown; }

@test "df2redis monitor: where the tasks of this user are; options from section [monitor]" {
    mkdir -m 700 -p "$XDG_RUNTIME_DIR/df2redis/mine"
    printf 'phase=stopped\n' >"$XDG_RUNTIME_DIR/df2redis/mine/state"
    printf '[df2redis]\nrestart = no\n[monitor]\nlisten = 127.0.0.1:0\nlog-format = json\n' >"$TMP/conf"
    background df2redis -c "$TMP/conf" monitor 2>"$TMP/monitor.err"
    wait_until 10 grep -q '"event":"listening","port":' "$TMP/monitor.err"
    PORT=$(sed -n 's/.*"event":"listening","port":\([0-9]*\).*/\1/p' "$TMP/monitor.err")
    wait_until 10 eval '[[ $(request GET /api/v1/tasks/mine | code) == 200 ]]'
}

@test "only a loopback address, and a port that is free" {
    run df2redis monitor --listen 0.0.0.0:0
    assert_status 2
    assert_output_has "no loopback address: there both TLS (--tls-cert) and a token (--token-file) are needed"
    for address in '' 8080 127.0.0.1 127.0.0.1: 127.0.0.1:x 127.0.0.1:65536 '[::1' '[::1]8080'; do
        run df2redis-monitor --listen "$address"
        assert_status 2
    done
    start_monitor
    run df2redis monitor --listen "127.0.0.1:$PORT"
    assert_status 1
    assert_output_has "Address already in use"
    run df2redis monitor --task x
    assert_status 2
    run df2redis --listen 127.0.0.1:0 status
    assert_status 2
}

@test "methods, hosts and paths that are refused" {
    mkdir -m 700 -p "$XDG_RUNTIME_DIR/df2redis/good" "$TMP/elsewhere"
    printf 'phase=stopped\n' | tee "$XDG_RUNTIME_DIR/df2redis/good/state" >"$TMP/elsewhere/state"
    printf 'secret\n' >"$TMP/elsewhere/recent"
    ln -s "$TMP/elsewhere" "$XDG_RUNTIME_DIR/df2redis/link"
    ln -s "$TMP/elsewhere/recent" "$XDG_RUNTIME_DIR/df2redis/good/recent"
    start_monitor --log-format logfmt
    wait_until 10 eval '[[ $(request GET /api/v1/tasks/good | code) == 200 ]]'
    local method path
    for method in POST PUT DELETE PATCH OPTIONS TRACE get; do
        [[ $(request "$method" /api/v1/tasks 'Content-Length: 0' | code) == 405 ]] || fail "$method"
    done
    for path in /api/v1/tasks/link /api/v1/tasks/.. /api/v1/tasks/../good /api/v1/tasks/..%2f..%2fetc /api/v1/tasks/good/../good \
        /api/v1/tasks/good/state /api/v1/tasks/ /api/v1/tasks//log /../../etc/passwd /etc/passwd //page.js /page.js/ \
        /api/v1/tasks/%00 "/api/v1/tasks/$(printf 'a%.0s' {1..2000})"; do
        [[ $(request GET "$path" | code) == 404 ]] || fail "$path: $(request GET "$path" | head -1)"
    done
    get /api/v1/tasks/good/log
    [[ -z $output ]] || fail "$output" # a link is not read
    [[ $(printf 'GET / HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n' | http | code) == 403 ]]
    [[ $(printf 'GET / HTTP/1.0\r\n\r\n' | http | sed -n '1s/^HTTP\/1\.[01] \([0-9]*\).*/\1/p') == 403 ]]
    [[ $(printf 'GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' | http | code) == 200 ]]
    [[ $(printf 'GET /healthz HTTP/1.1\r\nHost: [::1]:1\r\nConnection: close\r\n\r\n' | http | code) == 200 ]]
}

@test "requests that are malformed, too large, or endless leave it as it was" {
    start_monitor
    local bytes long
    long=$(head -c 40000 /dev/zero | tr '\0' a)
    for bytes in '\r\n\r\n' 'GET\r\n\r\n' 'GET /\r\n\r\n' 'GET / HTTP/9.9\r\n\r\n' '\x00\x01\x02\xff\r\n\r\n' 'GET / HTTP/1.1\r\nHost\r\n\r\n' \
        'GET / HTTP/1.1\r\n: x\r\n\r\n' 'GET http://evil/ HTTP/1.1\r\nHost: evil\r\n\r\n' 'GET * HTTP/1.1\r\n\r\n' \
        'GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\n\r\n' 'GET /%zz HTTP/1.1\r\nHost: localhost\r\n\r\n' \
        'POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffffff\r\n' \
        'POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n' \
        'GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999999\r\n\r\n' \
        'GET /api/v1/tasks/x/history?since=-1&since=x HTTP/1.1\r\nHost: localhost\r\n\r\n'; do
        # shellcheck disable=SC2059
        printf "$bytes" | timeout 20 socat -t 1 - "TCP:127.0.0.1:$PORT" >"$TMP/answer" 2>/dev/null || true
        never grep -q 'HTTP/1.1 200' "$TMP/answer" || fail "$bytes"
    done
    printf 'GET /%s HTTP/1.1\r\nHost: localhost\r\n\r\n' "$long" | http >"$TMP/answer" || true
    [[ $(code <"$TMP/answer") =~ ^4 ]] || fail "$(head -c 200 "$TMP/answer")"
    printf 'GET / HTTP/1.1\r\nHost: localhost\r\nX: %s\r\n\r\n' "$long" | http >"$TMP/answer" || true
    [[ $(code <"$TMP/answer") =~ ^4 ]] || fail "$(head -c 200 "$TMP/answer")"
    get /healthz
    [[ $output == ok ]]
    sanitized || [[ $(awk '$1 == "VmRSS:" { print $2 }' "/proc/$MONITOR_PID/status") -lt 16384 ]]
}

# Send these bytes, and then one now and then, until the other side has had enough.
drip() { # number bytes
    background bash -c "trap '' PIPE; exec 9<>/dev/tcp/127.0.0.1/$PORT; printf '$2' >&9
        while printf a >&9; do sleep 0.5; done 2>/dev/null; touch '$TMP/closed.$1'"
}

@test "slowloris: whoever drips a request is closed, and others are served meanwhile" {
    start_control
    local i post='POST /api/v1/tasks HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n'
    for i in 1 2 3; do drip "$i" 'GET / HTTP/1.1\r\nX: '; done
    # What is sent with a request, from who has the token, and from who has not.
    for i in 4 5; do drip "$i" "${post}Authorization: Bearer $TOKEN\r\nContent-Length: 60000\r\n\r\n{"; done
    for i in 6 7; do drip "$i" "${post}Content-Length: 60000\r\n\r\n{"; done
    get /healthz
    [[ $output == ok ]]
    api POST /api/v1/tasks '{}'
    answered 400
    all_closed() { [[ $(find "$TMP" -name 'closed.*' | wc -l) -eq 7 ]]; }
    wait_until 40 all_closed
    get /healthz
    [[ $output == ok ]]
}

@test "status files that are no status" {
    local dir=$XDG_RUNTIME_DIR/df2redis
    mkdir -m 700 -p "$dir"/{cut,list,deep,odd,big,fifo}
    for name in cut list deep odd big fifo; do printf 'phase=running\n' >"$dir/$name/state"; done
    printf '{"task":"cut","phase":"stre' >"$dir/cut/status.json"
    printf '[]' >"$dir/list/status.json"
    head -c 100000 /dev/zero | tr '\0' '[' >"$dir/deep/status.json"
    printf '{"phase":"a\\"b\\n","problems":[1,null,"x\\"}"],"explained":[],"stages":[1,{"stage":3},{"stage":"rediswriter","latency_below":"x","keys":"7"}],"flows":[[],{"flow":"a"}],"checks":{},"pid":1e9}' \
        >"$dir/odd/status.json"
    truncate -s 100M "$dir/big/status.json"
    mkfifo "$dir/fifo/status.json"
    start_monitor
    wait_until 10 eval '[[ $(request GET /api/v1/tasks/odd | code) == 200 ]]'
    get /metrics
    grep -qF 'df2redis_problem{task="odd",problem="x\"}"} 1' <<<"$output" || fail "$output"
    [[ $output == *"df2redis_tasks 6"* ]]
    get /api/v1/tasks
    [[ $output == *'"task":"cut","phase":"unknown"'* && $output == *'"task":"fifo","phase":"unknown"'* ]] || fail "$output"
    for name in cut list deep odd big fifo; do
        request GET "/api/v1/tasks/$name/history" | grep -q '"phases"'
    done
    get /healthz
    [[ $output == ok ]]
}

@test "64 flows, four tasks, an hour: at most 16 MiB" {
    local name
    many_flows
    start_monitor
    wait_until 10 eval '[[ $(request GET /api/v1/tasks/d | code) == 200 ]]'
    # The rings of an hour are there from the beginning; all of it is asked for, several times.
    for _ in 1 2 3 4 5; do
        request GET /metrics | grep -c '^df2redis_' >"$TMP/lines"
        request GET /api/v1/tasks >/dev/null
        for name in a b c d; do request GET "/api/v1/tasks/$name/history" >/dev/null; done
    done
    [[ $(<"$TMP/lines") -gt 3000 ]]
    sanitized || [[ $(awk '$1 == "VmHWM:" { print $2 }' "/proc/$MONITOR_PID/status") -le 16384 ]] || fail "$(grep Vm "/proc/$MONITOR_PID/status")"
}
