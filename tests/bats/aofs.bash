# Append-only files for suites: made by redis-server or written here, loaded by redis-server and by our pipeline.
# shellcheck shell=bash disable=SC2034,SC2154 # variables for the suites, and of bats

aof_setup() {
    files_setup
    AOFS=$DATA/aof
}

# A server with files in several parts; a test that needs one is skipped without.
need_parts() {
    [[ $("${REDIS_SERVER:-redis-server}" --version) =~ v=([0-9]+) && ${BASH_REMATCH[1]} -ge 7 ]] ||
        skip "append-only files in parts are of Redis from 7.0 on"
}

# One command as it stands in such a file.
resp() {
    local LC_ALL=C word
    printf '*%d\r\n' $#
    for word; do printf '$%d\r\n%s\r\n' ${#word} "$word"; done
}

# What our own server, which was given --appendonly yes, has written.
written() { echo "$TMP/redis.$REDIS_PORT/appendonlydir"; }

rewrite() {
    rcli bgrewriteaof >/dev/null
    wait_until 5 eval 'rcli info persistence | tr -d "\r" | grep -qx aof_rewrite_in_progress:0 &&
        rcli info persistence | tr -d "\r" | grep -qx aof_rewrite_scheduled:0'
}

# Keys of each type in two databases; with a prefix, so that they can be made again.
some_data() { # [prefix]
    local db
    for db in 0 2; do
        {
            resp select $db
            resp set "$1s" "value $db"
            resp set "$1ttl" v pxat 2000000000000
            resp set "$1n" 7
            resp incrby "$1n" 3
            resp rpush "$1l" a b c
            resp lpop "$1l"
            resp sadd "$1t" 1 2 x
            resp zadd "$1z" 1.5 m -inf n
            resp hset "$1h" f v g 1
            resp xadd "$1x" 5-1 f v
            resp xgroup create "$1x" g 0
            resp xreadgroup group g c streams "$1x" '>'
            resp multi
            resp append "$1s" more
            resp pfadd "$1p" a b
            resp exec
            resp set "$1gone" x
            resp del "$1gone"
        } | redis-cli -p "$REDIS_PORT" --pipe >/dev/null
    done
}

# $TMP/made: a base, an increment of the server and one of ours, and a manifest that names them.
# shellcheck disable=SC2120 # the options are for some
make_parts() { # [server options…]
    start_redis --appendonly yes "$@"
    some_data first:
    rcli function load "$(printf '#!lua name=lib\nredis.register_function("f", function(k) return 1 end)')" >/dev/null
    rewrite
    # A server writes the time once in a second, whatever file it stands in.
    local then=$EPOCHSECONDS
    wait_until 3 eval "[[ \$EPOCHSECONDS -gt $then ]]"
    some_data second:
    rcli shutdown nosave
    rm -rf "$TMP/made"
    cp -r "$(written)" "$TMP/made"
    BASE=$(awk '$6 == "b" {print $2}' "$TMP/made/appendonly.aof.manifest")
    FIRST=$(awk '$6 == "i" {print $2}' "$TMP/made/appendonly.aof.manifest")
    LAST=appendonly.aof.9.incr.aof
    {
        resp SELECT 2
        resp SET in:last two
        resp SELECT 0
        resp SET last one
        resp SET s text
    } >"$TMP/made/$LAST"
    sed -i 's/ startoffset.*//' "$TMP/made/appendonly.aof.manifest"
    printf 'file %s seq 9 type i\n' "$LAST" >>"$TMP/made/appendonly.aof.manifest"
}

# A server has loaded a copy of the folder, or file: LOADED_PORT. 1: it refused to.
load_aof() { # folder|file [server options…]
    local dir=$TMP/load pid from=$1
    local -a name=(--appendonly yes)
    shift
    rm -rf "$dir"
    mkdir -p "$dir"
    cp -r "$from" "$dir/"
    chmod -R u+w "$dir"
    if [[ -d $from ]]; then name+=(--appenddirname "${from##*/}"); else name+=(--appendfilename "${from##*/}"); fi
    for _ in 1 2 3 4 5; do
        LOADED_PORT=$(random_port)
        background "${REDIS_SERVER:-redis-server}" --port "$LOADED_PORT" --bind 127.0.0.1 --save '' --dir "$dir" \
            --logfile "$dir/log" "${name[@]}" "$@" >/dev/null 2>&1
        LOADED_PID=$!
        pid=$LOADED_PID
        for _ in $(seq 200); do
            kill -0 "$pid" 2>/dev/null || break
            redis-cli -p "$LOADED_PORT" info persistence 2>/dev/null | tr -d '\r' | grep -qx loading:0 &&
                redis-cli -p "$LOADED_PORT" info server | tr -d '\r' | grep -qx "process_id:$pid" && return 0
            sleep 0.02
        done
        grep -q 'Address already in use' "$dir/log" 2>/dev/null || return 1
    done
    return 1
}

# Through the pipeline, without any option of dfparse, into the server of start_redis, which is emptied. STATUSES, and
# what was said in $TMP/err.
replay() { # dfreader's arguments…
    rcli flushall >/dev/null
    rcli function flush >/dev/null 2>&1 || true
    : >"$TMP/err"
    timeout 100 dfreader "$@" 2>>"$TMP/err" | timeout 100 dfparse 2>>"$TMP/err" |
        timeout 100 rediswriter -q "redis://127.0.0.1:$REDIS_PORT" 2>>"$TMP/err" &&
        STATUSES="${PIPESTATUS[*]}" || STATUSES="${PIPESTATUS[*]}"
    STATUS=${STATUSES##* }
}

no_position_left() { [[ -z $(rcli keys 'df2redis:*') ]] || fail "left: $(rcli keys 'df2redis:*')"; }

# ---- comparing one case after another ----

# Both loaded the same, or both refused; of ours with the file, and where in it.
judge() { # name mode dfreader-option…
    local case=$1 mode=$2 there="$TMP/case" ok=1 bad=
    shift 2
    load_aof "$there" --aof-load-truncated "$mode" || ok=0
    replay "$@" "$there"
    if [[ $ok -eq 0 ]]; then
        [[ $STATUS -ne 0 && $STATUS -ne 3 && $STATUS -lt 124 ]] || bad="accepted: $STATUSES"
        grep -qE '(byte [0-9]+ of|line [0-9]+|: is empty|the manifest is empty|no manifest|no file that)' "$TMP/err" || bad+=" says not where"
    else
        [[ $STATUS -eq 0 || ($case == *failing* && $STATUS -eq 3) ]] || bad="refused: $STATUSES"
        [[ -n $bad ]] || same_data || bad="differs: $output"
        unload
    fi
    COMPARED=$((COMPARED + 1))
    [[ -z $bad ]] || WRONG+=("$case ($mode): $bad; $(grep -h level= "$TMP/err" | head -3)")
}

begin() {
    WRONG=() COMPARED=0
    # shellcheck disable=SC2119
    make_parts
    start_redis
}

end() {
    echo "# $COMPARED compared" >&3
    [[ ${#WRONG[@]} -eq 0 && $COMPARED -gt 0 ]] || fail "$(printf '%s\n' "${WRONG[@]}")"
}

anew() { rm -rf "$TMP/case"; cp -r "$TMP/made" "$TMP/case"; }
