# For suites of df2redis-monitor: start it, ask it, and a task that it shows.
# shellcheck shell=bash disable=SC2034,SC2154 # variables for the suites, and of bats

monitoring_teardown() {
    [[ -n ${BATS_TEST_COMPLETED-} || ! -e $TMP/monitor.err ]] || grep -v level=debug "$TMP/monitor.err" | tail -n 20
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

# Four tasks, a to d, of 64 flows each, as their supervisors would show them.
many_flows() {
    local dir=$XDG_RUNTIME_DIR/df2redis name
    for name in a b c d; do
        (umask 077 && mkdir -p "$dir/$name")
        printf 'phase=running\n' >"$dir/$name/state"
        perl -e 'my @f = map { qq({"flow":$_,"state":"up","bytes":123456789,"cut":true,"synced":true,"applied":123456789,"acked":123456789,"head":123456789,"lag":0,"silent":0}) } 0 .. 63;
            my @s = map { my $f = $_; map { qq({"age_us":1000,"stage":"$_","flow":$f,"pid":12345,"epoch":1,"in_bytes":123456789,"out_bytes":123456789,"commands":1,"requests":1,"keys":12,"waited_input_us":123456789,"waited_output_us":123456789,"pipe_bytes":@{[$f * 16384]},"pipe_size_bytes":1048576,"resident_bytes":4194304,"cpu_user_us":123456789,"cpu_system_us":123456789}) } qw(dfreader dfparse) } 0 .. 63;
            print qq({"phase":"streaming","running":true,"healthy":true,"since_seconds":3600,"source":"dragonfly://10.0.0.5:6379","target":"redis://10.0.0.9:6379","problems":[],"explained":[],"checks":[],"session":null,"lag_seconds":0,"keys_per_second":5,"bytes_per_second":5,"entries_per_second":5,"flows":[), join(",", @f), qq(],"stages":[), join(",", @s), "]}\n"' \
            >"$dir/$name/status.json"
    done
}

# ---- with a token ----

# A monitor that may control tasks; TOKEN is set. Tasks are kept in this test's own directory.
start_control() { # options
    export XDG_CONFIG_HOME=$TMP/config
    TOKEN=0123456789abcdef.$RANDOM.$RANDOM
    (umask 077 && echo "$TOKEN" >"$TMP/token")
    start_monitor --token-file "$TMP/token" "$@"
}

# A request with the token and a JSON body: its answer's code in $code, what it says in $output.
api() { # method path [body [header…]]
    local body=${3-} more=("Authorization: Bearer $TOKEN")
    [[ -z $body ]] || more+=("Content-Type: application/json" "Content-Length: ${#body}")
    raw "$1" "$2" "$body" "${more[@]}" "${@:4}"
}

# As http, but our side stays open: who closes it is taken to have gone, and gets no answer of a command.
talk() { socat -t 20 - "TCP:127.0.0.1:$PORT,shut-none" 2>/dev/null; }

# The same with those headers only.
raw() { # method path body [header…]
    local answer
    answer=$(printf '%s\r\n' "$1 $2 HTTP/1.1" "Host: 127.0.0.1:$PORT" "Connection: close" "${@:4}" '' | { cat; printf %s "$3"; } | talk) || true
    code=$(code <<<"$answer")
    output=${answer#*$'\r\n\r\n'}
}

# It got this code.
answered() { # code
    [[ $code == "$1" ]] || fail "${code:-no answer}, expected $1: $output"
}
