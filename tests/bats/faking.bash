# For suites with a target that answers wrongly: fakeredis (fakeredis --help).
# shellcheck shell=bash disable=SC2034,SC2154 # variables for the suites, and of bats

# FAKE_PORTS, one per node, and REDIS_PORT, the first of them, are set; $TMP/fake.log says what it was sent.
start_fake() { # option…
    FAKE_OUT=$TMP/fake.$RANDOM
    background fakeredis --log "$TMP/fake.log" "$@" >"$FAKE_OUT"
    FAKE_PID=$!
    wait_until 5 grep -q ^ready "$FAKE_OUT" || return 1
    mapfile -t FAKE_PORTS < <(sed -n 's/^port=//p' "$FAKE_OUT")
    REDIS_PORT=${FAKE_PORTS[0]}
}

stop_fake() {
    kill "$FAKE_PID"
    wait "$FAKE_PID" 2>/dev/null || true
}

# How often it was sent a command, with that first argument if one is given.
asked() { # command [argument]
    awk -v c="$1" -v a="${2-}" '$3 == c && (a == "" || $4 == a)' "$TMP/fake.log" | wc -l
}
