# For suites of --on-full-resync overwrite: streams of a session that was refused, so that its full sync goes over what
# is there, and what must be there then.
# shellcheck shell=bash disable=SC2154 # variables of bats

anew() { # flows: a session that has to begin anew, around what stands on standard input
    heading "$1" refused=replid
    cat
    for ((i = 0; i < $1; i++)); do echo "synced $i :pos=1000000"; done
    echo end
}

overwrite() { write --on-full-resync overwrite "$@"; }

stale() { # type-preserving rests of an earlier session, one command a line
    cat <<'EOF'
SET kept old
SET gone old
RPUSH l old
SET n 5
SET app old
SADD {t}dst old
SET {t}ev old
SET {t}k9 old
SET t1 7
RPUSH t2 old
SET late old
EOF
}

# What the source did: kept was there, all others came to be during the full sync.
news() {
    local i
    cat <<'EOF'
set 0 kept value
live 0 APPEND kept 1
live 0 RPUSH l new
live 0 RPUSH l two
live 0 INCR n
live 0 SADD {t}one a b
live 0 :multikey SMOVE {t}one {t}dst a
live 0 :multikey :key=3 EVAL redis.call('append',KEYS[1],'x') 1 {t}ev
live 0 :part=1000 APPEND app @3000
live 0 :together INCR t1
live 0 :together RPUSH t2 a
live 0 INCR t1
EOF
    printf 'live 0 :multikey :part=37 MSETNX'
    for i in {1..20}; do printf ' {t}k%s v%s' "$i" "$i"; done
    echo
    echo "synced 0 :pos=100"
    echo "live 0 :pos=101 RPUSH late a"
    echo "live 0 :pos=102 RPUSH l x"
}

assert_all_new() { # redis-cli options
    local got
    got=$(printf '%s\n' "GET kept" "EXISTS gone" "LRANGE l 0 -1" "GET n" "SMEMBERS {t}dst" "SMEMBERS {t}one" "GET {t}ev" \
        "STRLEN app" "GET t1" "LRANGE t2 0 -1" "GET {t}k1" "GET {t}k9" "GET {t}k20" "LRANGE late 0 -1" |
        while read -r line; do
            # shellcheck disable=SC2086 # words
            redis-cli "$@" $line | xargs
        done)
    [[ $(xargs <<<"$got") == "value1 0 new two x 1 a b x 3000 2 a v1 v9 v20 a" ]] || fail "$(xargs <<<"$got")"
}

assert_swept() {
    assert_status 0
    assert_output_has event=sweep_done
    assert_output_has "errors=0"
}

# Without the second SYNCED of anew: it stands among the news.
with_news() { { heading 1 refused=replid "$@" && news && echo end; }; }
