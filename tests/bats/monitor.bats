#!/usr/bin/env bats
# df2redis-monitor: metrics, JSON and the page over HTTP; what is refused; the examples for Prometheus and Grafana.

load helper

setup() { common_setup; }

teardown() {
    [[ -n ${BATS_TEST_COMPLETED-} || ! -e $TMP/monitor.err ]] || tail -n 20 "$TMP/monitor.err"
    common_teardown
}

# Only the tasks of the test: other services of this machine are none of it.
start_monitor() { # options
    background df2redis-monitor --tasks "$XDG_RUNTIME_DIR/df2redis" --listen 127.0.0.1:0 "$@" 2>"$TMP/monitor.err"
    MONITOR_PID=$!
    wait_until 10 grep -q event=listening "$TMP/monitor.err"
    PORT=$(sed -n 's/.* event=listening port=\([0-9]*\).*/\1/p' "$TMP/monitor.err")
}

# Send bytes, and get what comes until the other side closes.
http() { socat -t 20 - "TCP:127.0.0.1:$PORT" 2>/dev/null; }

request() { # method path [header…]
    local method=$1 path=$2
    shift 2
    printf '%s\r\n' "$method $path HTTP/1.1" "Host: 127.0.0.1:$PORT" "Connection: close" "$@" '' | http
}

# The body of what is at a path, in $output; its status line and headers in $head.
get() { # path
    output=$(request GET "$1"; echo .) # or empty lines at the end would be lost
    output=${output%.$'\n'}
    output=${output%.}
    head=${output%%$'\r\n\r\n'*}
    output=${output#*$'\r\n\r\n'}
    output=${output%$'\n'}
}

code() { # the status code of an answer on standard input
    sed -n '1s/^HTTP\/1\.1 \([0-9]*\).*/\1/p'
}

task() {
    start_redis
    start_master --generate --flows 2 --keys 5000 --journal-ops 1000000 --journal-rate 1000
    background df2redis -v replicate "dragonfly://127.0.0.1:$MASTER_PORT" "redis://127.0.0.1:$REDIS_PORT" 2>"$TMP/err"
    TASK_PID=$!
    wait_until 10 shows 'phase=streaming .*health=ok '
}

stop_task() {
    df2redis stop || true
    reap 20 "$TASK_PID"
    assert_status 0
}

metric() { # name with labels: its value
    request GET /metrics | grep -F "$1 " | sed -n 's/.* \([0-9.e+-]*\)$/\1/p'
}

all_keys() { [[ $(metric 'df2redis_target_keys_total{task="default"}') == 5000 ]]; }

@test "metrics: what the stages counted, clean for promtool" {
    task
    start_monitor
    wait_until 10 all_keys
    get /metrics
    [[ $head == *"Content-Type: text/plain; version=0.0.4"* ]]
    for line in 'df2redis_healthy{task="default"} 1' 'df2redis_phase{task="default",phase="streaming"} 1' \
        'df2redis_target_keys_by_type_total{task="default",type="string"} 5000' \
        'df2redis_flow_synced{task="default",flow="1"} 1' 'df2redis_check_level{task="default",check="data"} 0'; do
        grep -qF "$line" <<<"$output" || fail "no $line in: $output"
    done
    # The histogram: no bucket has fewer than the one before, the last is the count.
    perl -ne '
        if (/^df2redis_latency_seconds_bucket\{.*le="(.*?)"\} (\d+)/) { die "less: $_" if $2 < $n; $n = $2; $last = $1; $k++ }
        if (/^df2redis_latency_seconds_count\{.*\} (\d+)/) { die "$1 is not $n" if $1 != $n || $last ne "+Inf" || $k != 21 || $n < 100; $seen = 1 }
        END { die "no histogram" unless $seen }' <<<"$output"
    if command -v promtool >/dev/null; then
        run promtool check metrics <<<"$output"
        assert_status 0
        [[ -z $output ]] || fail "$output"
    fi
    stop_task
}

@test "a counter is never less than a moment before, and what is applied is what the target counts" {
    task
    start_monitor
    wait_until 10 all_keys
    local before after
    before=$(metric 'df2redis_target_live_requests_total{task="default"}')
    more() { after=$(metric 'df2redis_target_live_requests_total{task="default"}') && [[ $after -gt $before ]]; }
    wait_until 10 more
    stop_task
    after=$(metric 'df2redis_target_live_requests_total{task="default"}')
    [[ $(rcli info stats | tr -d '\r' | sed -n 's/^total_commands_processed://p') -ge $after ]]
}

@test "tasks as JSON: list, one, its history and its log" {
    task
    start_monitor
    wait_until 10 all_keys
    get /api/v1/tasks
    [[ $head == *"Content-Type: application/json"* && $head == *"Cache-Control: no-store"* ]] || fail "$head"
    run perl -MJSON::PP -e 'my $a = decode_json(join "", <STDIN>);
        my $t = $a->{tasks}[0];
        print "$t->{task} $t->{phase} ", ($t->{healthy} ? "healthy" : "not"), " ", scalar(@{$t->{flows}}), " ", scalar(@{$t->{stages}}), " ", time - $a->{time} < 5, "\n"' \
        <<<"$output"
    [[ $output == "default streaming healthy 2 6 1" ]] || fail "$output"
    get /api/v1/tasks/default
    [[ $output == '{"task":"default",'* ]] || fail "$output"
    some() { get /api/v1/tasks/default/history; grep -q '"bytes_per_second":\[[^]]*[0-9]' <<<"$output"; }
    wait_until 10 some
    run perl -MJSON::PP -e 'my $h = decode_json(join "", <STDIN>);
        die unless @{$h->{phase}} == @{$h->{keys_per_second}} && @{$h->{phase}} < 100;
        print $h->{phases}[$h->{phase}[-1]], " ", $h->{begin} + @{$h->{phase}} - 1, "\n"' <<<"$output"
    [[ $output == "streaming "* ]] || fail "$output"
    get "/api/v1/tasks/default/history?since=${output#* }"
    [[ $(grep -o '"phase":\[[^]]*\]' <<<"$output") =~ ^\"phase\":\[(5(,5){0,3})?\]$ ]] || fail "$output"
    get /api/v1/tasks/default/log
    [[ $output == *"stage=dfreader event=phase name=stable"* ]] || fail "$output"
    stop_task
    gone() { get /api/v1/tasks/default; [[ $output == *'"phase":"stopped"'*'"running":false'* ]]; }
    wait_until 10 gone || fail "$output"
    df2redis remove
    removed() { [[ $(request GET /api/v1/tasks/default | code) == 404 ]]; }
    wait_until 10 removed
}

@test "a supervisor that was killed, and a task of which all was" {
    task
    start_monitor
    wait_until 10 all_keys
    kill -KILL "$(<"$(RUN)/pid")"
    orphaned() { get /api/v1/tasks/default; [[ $output == *'"healthy":false'*'"problems":["orphaned"]'* ]]; }
    wait_until 30 orphaned || fail "$output"
    [[ $(metric 'df2redis_problem{task="default",problem="orphaned"}') == 1 ]]
    df2redis stop || true
    failed() { get /api/v1/tasks/default; [[ $output == *'"phase":"failed","running":false'* ]]; }
    wait_until 10 failed || fail "$output"
}

@test "the page and what it needs come from the program, and nothing from elsewhere" {
    start_monitor
    local path
    get /
    [[ $head == *"Content-Security-Policy: default-src 'none'; script-src 'self'"* && $output == *"<title>df2redis</title>"* ]]
    for path in $(grep -oE '(src|href)="[^"]*"' <<<"$output" | sed 's/.*="//; s/"//'); do
        case $path in
        /*) [[ $(request GET "$path" | code) == 200 ]] || fail "$path" ;;
        '#task' | data:,) ;;
        *) fail "$path is elsewhere" ;;
        esac
    done
    for path in / /page.js /page.css /dygraph.css; do
        get "$path"
        never grep -qE '(https?:)?//[a-z0-9.-]+\.[a-z]+/|@import|sourceMappingURL' <<<"$output"
    done
    [[ $(request GET /dygraph.js | wc -c) -gt 100000 ]]
    get /healthz
    [[ $output == ok ]]
    wait_until 5 eval '[[ $(request GET /readyz | code) == 200 ]]'
    kill "$MONITOR_PID"
    reap 5 "$MONITOR_PID"
    assert_status 0
}

# The page as a browser shows it: its text, in $TMP/dom; what the browser said, in $TMP/browser.
browse() { # path
    timeout 100 chromium --headless=new --no-sandbox --disable-gpu --user-data-dir="$TMP/profile" --enable-logging=stderr \
        --host-resolver-rules='MAP * ~NOTFOUND, EXCLUDE 127.0.0.1' --virtual-time-budget=6000 --dump-dom "http://127.0.0.1:$PORT$1" >"$TMP/dom" 2>"$TMP/browser"
}

@test "the page in a browser shows what /metrics says, without an error or a request elsewhere" {
    command -v chromium >/dev/null || skip "no chromium"
    task
    start_monitor -v -v
    wait_until 10 all_keys
    browse /
    grep -q '5,000 keys moved' "$TMP/dom" || fail "$(<"$TMP/dom")"
    grep -q 'default: streaming, healthy' "$TMP/dom"
    grep -q '1 task, no problems' "$TMP/dom"
    [[ $(grep -o '<meter' "$TMP/dom" | wc -l) -eq 4 ]]
    [[ $(grep -o '<canvas' "$TMP/dom" | wc -l) -ge 8 ]] || fail "no charts"
    grep -qE '<th scope="row">data</th><td class="healthy">' "$TMP/dom"
    grep -q 'event=phase name=stable' "$TMP/dom"
    never grep -E 'CONSOLE|Refused to|ERR_NAME_NOT_RESOLVED.*page' "$TMP/browser"
    # All that it asked for was answered here, and is one of the paths that there are.
    grep -o 'event=request .*' "$TMP/monitor.err" | sed 's/.* path="\([^"]*\)".*/\1/' | sort -u >"$TMP/paths"
    grep -qx /api/v1/tasks/default/history "$TMP/paths"
    never grep -vxE '/|/(page|dygraph)\.(js|css)|/api/v1/tasks(/default/(history|log))?|/metrics' "$TMP/paths"
    # What comes from a task is text to the page.
    stop_task
    df2redis remove
    mkdir -m 700 "$XDG_RUNTIME_DIR/df2redis/x"
    printf 'phase=running\n' >"$XDG_RUNTIME_DIR/df2redis/x/state"
    : >"$XDG_RUNTIME_DIR/df2redis/x/lock"
    printf '%s' '{"phase":"failed","problems":["<script>alert(1)</script>"],"explained":[{"problem":"<img src=x onerror=alert(1)>","text":"<b>","next":null}],"checks":[],"session":null,"flows":[],"stages":[{"stage":"rediswriter","pid":1,"error.0":"3 <i>key</i> ERR <script>"}],"source":"<script>","target":"b"}' \
        >"$XDG_RUNTIME_DIR/df2redis/x/status.json"
    shown() { [[ $(request GET /api/v1/tasks/x) == *'onerror'* ]]; }
    wait_until 10 shown
    browse /
    grep -q '&lt;img src=x onerror=alert(1)&gt;' "$TMP/dom" || fail "$(<"$TMP/dom")"
    grep -q '&lt;i&gt;key&lt;/i&gt;' "$TMP/dom"
    never grep -qE '<img|<i>key|<script>' "$TMP/dom"
}

# ---- what is refused ----

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
    assert_output_has "no loopback address, and there is no TLS here"
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
    [[ $(awk '$1 == "VmRSS:" { print $2 }' "/proc/$MONITOR_PID/status") -lt 16384 ]]
}

@test "slowloris: whoever drips a request is closed, and others are served meanwhile" {
    start_monitor
    local i
    for i in 1 2 3 4 5 6; do
        background bash -c "trap '' PIPE; exec 9<>/dev/tcp/127.0.0.1/$PORT; printf 'GET / HTTP/1.1\r\nX: ' >&9
            while printf a >&9; do sleep 0.5; done 2>/dev/null; touch '$TMP/closed.$i'"
    done
    get /healthz
    [[ $output == ok ]]
    all_closed() { [[ $(find "$TMP" -name 'closed.*' | wc -l) -eq 6 ]]; }
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
    local dir=$XDG_RUNTIME_DIR/df2redis name
    for name in a b c d; do
        mkdir -m 700 -p "$dir/$name"
        printf 'phase=running\n' >"$dir/$name/state"
        perl -e 'my @f = map { qq({"flow":$_,"state":"up","bytes":123456789,"cut":true,"synced":true,"applied":123456789,"acked":123456789,"head":123456789,"lag":0,"silent":0}) } 0 .. 63;
            my @s = map { my $f = $_; map { qq({"age_us":1000,"stage":"$_","flow":$f,"pid":12345,"epoch":1,"in_bytes":123456789,"out_bytes":123456789,"commands":1,"requests":1,"keys":12,"waited_input_us":123456789,"waited_output_us":123456789,"pipe_bytes":0,"pipe_size_bytes":1048576,"resident_bytes":4194304,"cpu_user_us":123456789,"cpu_system_us":123456789}) } qw(dfreader dfparse) } 0 .. 63;
            print qq({"phase":"streaming","problems":[],"explained":[],"checks":[],"session":null,"lag_seconds":0,"keys_per_second":5,"bytes_per_second":5,"entries_per_second":5,"flows":[), join(",", @f), qq(],"stages":[), join(",", @s), "]}\n"' \
            >"$dir/$name/status.json"
    done
    start_monitor
    wait_until 10 eval '[[ $(request GET /api/v1/tasks/d | code) == 200 ]]'
    # The rings of an hour are there from the beginning; all of it is asked for, several times.
    for _ in 1 2 3 4 5; do
        request GET /metrics | grep -c '^df2redis_' >"$TMP/lines"
        request GET /api/v1/tasks >/dev/null
        for name in a b c d; do request GET "/api/v1/tasks/$name/history" >/dev/null; done
    done
    [[ $(<"$TMP/lines") -gt 3000 ]]
    [[ $(awk '$1 == "VmHWM:" { print $2 }' "/proc/$MONITOR_PID/status") -le 16384 ]] || fail "$(grep Vm "/proc/$MONITOR_PID/status")"
}

# ---- examples ----

@test "the alert rules, their tests, the configurations and the dashboard" {
    cd "$REPO/examples/monitoring"
    perl -MJSON::PP -e 'my $d = decode_json(join "", <STDIN>);
        for my $p (@{$d->{panels}}) { print "$_->{expr}\n" for @{$p->{targets}} }' <grafana-dashboard.json >"$TMP/exprs"
    [[ $(wc -l <"$TMP/exprs") -gt 15 ]]
    # Each metric that is used is one that there is.
    local name
    start_monitor
    get /metrics
    for name in $(grep -ohE 'df2redis_[a-z_]+' "$TMP/exprs" df2redis.rules.yml | sort -u); do
        grep -qE "^# TYPE (${name}|${name%_bucket}) " <<<"$output" || fail "there is no $name"
    done
    command -v promtool >/dev/null || skip "no promtool"
    run promtool check rules df2redis.rules.yml
    assert_status 0
    run promtool test rules df2redis.rules.test.yml
    assert_status 0
    run promtool check config prometheus.yml
    assert_status 0
    # The expressions of the dashboard are such.
    perl -ne 'BEGIN { print "groups:\n- name: d\n  rules:\n" } chomp; s/\$task/.*/g; print "  - record: x$.\n    expr: >-\n      $_\n"' \
        "$TMP/exprs" >"$TMP/dashboard.yml"
    run promtool check rules "$TMP/dashboard.yml"
    [[ $output == *"$(wc -l <"$TMP/exprs") rules found"* ]] || fail "$output"
}

@test "Prometheus scrapes it" {
    command -v prometheus >/dev/null || skip "no prometheus"
    task
    start_monitor
    local port
    port=$(random_port)
    sed "s/8080/$PORT/; s/scrape_interval: 5s/scrape_interval: 1s/; s|df2redis.rules.yml|$REPO/examples/monitoring/&|" \
        "$REPO/examples/monitoring/prometheus.yml" >"$TMP/prometheus.yml"
    background prometheus --config.file="$TMP/prometheus.yml" --storage.tsdb.path="$TMP/tsdb" --web.listen-address="127.0.0.1:$port" \
        --log.level=error
    ask() { printf 'GET /api/v1/query?query=%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n' "$1" | socat -t 5 - "TCP:127.0.0.1:$port"; }
    scraped() { ask 'count_over_time(df2redis_healthy%5B1m%5D)' | grep -qE '"value":\[[0-9.]+,"([5-9]|[1-9][0-9]+)"'; }
    wait_until 30 scraped
    keys() { ask df2redis_target_keys_total | grep -q '"5000"'; }
    wait_until 10 keys || fail "$(ask df2redis_target_keys_total)"
    is_up() { ask up | grep -qE '"value":\[[0-9.]+,"1"'; }
    wait_until 10 is_up || fail "$(ask up)"
    stop_task
}
