#!/usr/bin/env bats
# df2redis-monitor: metrics, JSON and the page over HTTP; the examples for Prometheus and Grafana.

load helper
load monitoring

setup() { common_setup; }

teardown() { monitoring_teardown; }

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

page_has() { browse / && grep -qF -- "$1" "$TMP/dom" && grep -q '<canvas' "$TMP/dom"; }

@test "the page in a browser shows what /metrics says, without an error or a request elsewhere" {
    command -v chromium >/dev/null || skip "no chromium"
    task
    start_monitor -v -v
    wait_until 10 all_keys
    wait_until 10 page_has '5,000 keys moved' || fail "$(<"$TMP/dom")"
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
    wait_until 10 page_has '&lt;img src=x onerror=alert(1)&gt;' || fail "$(<"$TMP/dom")"
    grep -q '&lt;i&gt;key&lt;/i&gt;' "$TMP/dom"
    never grep -qE '<img|<i>key|<script>' "$TMP/dom"
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

@test "examples/monitoring/df2redis-monitor.service" {
    command -v systemd-analyze >/dev/null || skip "no systemd here"
    sed "s|/usr/local/bin|$BUILD/bin|; /^Documentation=/d" "$REPO/examples/monitoring/df2redis-monitor.service" >"$TMP/df2redis-monitor.service"
    run systemd-analyze verify "$TMP/df2redis-monitor.service"
    assert_status 0
    never grep -F "$TMP/df2redis-monitor.service" <<<"$output" # what is only passed over is said there
    # Its options are such, with a free port.
    read -ra words < <(sed -n 's/^ExecStart=[^ ]* //p' "$TMP/df2redis-monitor.service")
    background df2redis-monitor "${words[@]}" --listen 127.0.0.1:0 2>"$TMP/monitor.err"
    wait_until 10 grep -q event=listening "$TMP/monitor.err"
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
