#!/usr/bin/env bats
# Keys of a single Redis that are read again, since what a command did there cannot be said to the target.

load helper
load psync

setup() { common_setup; }
teardown() { psync_teardown; }

stop_task() {
    df2redis stop >/dev/null
    reap 20 "$TASK"
    [[ $status -eq ${1:-0} ]] || fail "status $status: $(cat "$TMP/task.err")"
}

equal_cluster() { dfstate diff --list 5 "redis://127.0.0.1:$SOURCE" "redis-cluster://127.0.0.1:${CLUSTER_PORTS[0]}"; }

# SORT … BY … GET … STORE, whose patterns name keys in any slot: what it stores is changed further, also in transactions, and the
# keys that it looks at, too.
sort_on() {
    local n=0
    while [[ ! -e $TMP/enough ]]; do
        n=$((n + 1))
        printf '%s\n' "RPUSH l $((n % 50))" "SET w_$((n % 50)) $((n * 7 % 100))" "SET d_$((n % 50)) v$n" \
            "SORT l BY w_* GET d_* GET # STORE dest:$((n % 3))" "RPUSH dest:$((n % 3)) more$n" MULTI "INCR rounds" \
            "SORT l BY w_* LIMIT 0 5 GET d_* STORE in:$((n % 2))" "LPUSH in:$((n % 2)) x" EXEC "LTRIM l -60 -1"
        [[ $((n % 40)) -ne 0 ]] || printf '%s\n' "DEL dest:1" "RENAME dest:0 moved"
    done | redis-cli -p "$SOURCE" >/dev/null 2>&1
}

@test "SORT with patterns into a cluster: what it stores is read again, under writes, over lost connections" {
    local single n
    start_cluster 0
    for single in --single ''; do
        start_source
        rm -f "$TMP/enough" "$TMP/positions"
        start_task ${single:+"$single"} --position-file "$TMP/positions" --on-existing flush replicate "redis://127.0.0.1:$SOURCE" "$CLUSTER_URL"
        background sort_on
        local writes=$!
        for n in 1 2 3; do
            wait_until 20 eval "[[ \$(scli get rounds) -ge $((n * 150)) ]]"
            scli client kill type replica >/dev/null
            [[ $n != 2 ]] || scli client kill type normal skipme yes >/dev/null
            ended "$writes" && { background sort_on; writes=$!; }
        done
        touch "$TMP/enough"
        wait_until 10 ended "$writes"
        wait_until 20 equal_cluster || { equal_cluster; return 1; }
        [[ $(json restarts) == 0 && $(json not_carried_over) == 0 ]] || fail "$(df2redis status)"
        stop_task
        kill "$SOURCE_PID"
    done
}

# The source's user may not read keys: what cannot be read again is reported.
@test "a user without keys: reported, with the key" {
    start_cluster 0
    start_source
    scli acl setuser may on '>secret' +psync +replconf +ping +info >/dev/null
    start_task replicate "redis://may:secret@127.0.0.1:$SOURCE" "$CLUSTER_URL"
    printf '%s\n' "RPUSH l 1 2" "SORT l BY w_* STORE dest" "SET last 1" | scli >/dev/null
    wait_until 10 eval '[[ $(json not_carried_over) == 1 ]]'
    grep -q 'kind=slots .*key="dest" .*could not be read again: NOPERM' "$TMP/task.err"
    grep -q event=commands_unknown "$TMP/task.err"
    stop_task 3
}

@test "what the source says of its commands is in the raw stream" {
    start_source
    background dfreader -o "$TMP/raw" "redis://127.0.0.1:$SOURCE"
    local reader=$!
    wait_until 5 eval "probe records '$TMP/raw' 2>/dev/null | grep -q '^flow '"
    kill "$reader"
    wait_until 5 ended "$reader"
    [[ $(probe records "$TMP/raw" | grep -c '^commands ') -eq 1 ]]
    grep -qa '^command=LPUSH,1:0:1:0$' "$TMP/raw"
    ! grep -qa '^command=GET,' "$TMP/raw"
    server_has 7.0 || return 0
    grep -qa '^command=ZMPOP,1#0:1:1$' "$TMP/raw"
    grep -qa '^command=MSET,1:-1:2:0$' "$TMP/raw"
}

# What comes as another command, or does not come (psync(7)).
NEVER='BLMOVE BLPOP BRPOP BRPOPLPUSH BZPOPMAX BZPOPMIN DELIFEQ EVALSHA_RO EVAL_RO FCALL_RO GETEX MIGRATE'

@test "every command of a server that writes is in the table of dfparse, or never comes" {
    local server names
    # shellcheck disable=SC2086 # several
    for server in redis-server ${DF2REDIS_SERVERS:-}; do
        REDIS_SERVER=$server start_source
        server_has 7.0 || continue
        names=$({ scli command list filterby aclcat write; scli command list filterby aclcat scripting; } | tr a-z A-Z | cut -d'|' -f1 | sort -u |
            grep -vxF "$(sed -n 's/^    {"\([^"]*\)", ACT_.*/\1/p' "$REPO/parser/command/command_table.c"; tr ' ' '\n' <<<"$NEVER")") || true
        [[ -z $names ]] || fail "$server: $names"
    done
}
