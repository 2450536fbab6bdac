#!/usr/bin/env bats
# Damaged append-only files: redis-server and we accept the same ones, with the same data, and refuse the same ones. The
# server that is there is asked, with aof-load-truncated yes (we: --truncated ok) and no (our default).
# shellcheck disable=SC2016,SC2153 # expanded where it is used; variables of the helpers

load helper
load loading
load aofs

setup() { aof_setup; need_parts; }
teardown() { common_teardown; }

CUT='*3\r\n$3\r\nSET\r\n$4\r\ntail\r\n$8\r\nabcd'
MULTI='*1\r\n$5\r\nMULTI\r\n*3\r\n$3\r\nSET\r\n$8\r\nin:multi\r\n$1\r\n1\r\n*2\r\n$4\r\nINCR\r\n$8\r\nin:multi\r\n'
EXEC='*1\r\n$4\r\nEXEC\r\n'
AFTER='*3\r\n$3\r\nSET\r\n$5\r\nafter\r\n$1\r\n1\r\n'

# Lines "name text", which is put behind the last file.
TAILS="intact
cut-in-value $CUT
cut-in-length *3\r\n\$3\r\nSET\r\n\$4
cut-after-star *3
cut-star *
cut-in-line-end *1\r
cut-after-length *3\r\n\$3\r\nSET\r\n\$4\r\n
cut-before-line-end *2\r\n\$3\r\nGET\r\n\$1\r\na
cut-in-last-line-end *2\r\n\$3\r\nGET\r\n\$1\r\na\r
cut-annotation #TS:17
annotation #TS:1700000000\r\n
other-annotation #hello world\r\n$AFTER
annotation-without-carriage-return #x\n$AFTER
annotation-then-cut #x\r\n$CUT
annotation-in-command *2\r\n#x\r\n\$3\r\nGET\r\n\$1\r\na\r\n
dollar-x *3\r\n\$3\r\nSET\r\n\$x\r\n
dollar-x-without-end *3\r\n\$3\r\nSET\r\n\$x
dollar-alone *3\r\n\$3\r\nSET\r\n\$
dollar-x-then-good *3\r\n\$3\r\nSET\r\n\$x\r\nkey\r\n\$1\r\nv\r\n$AFTER
dollar-x-in-multi ${MULTI}*3\r\n\$3\r\nSET\r\n\$x\r\n
junk-for-star xyz\r\n
junk-then-good xyz\r\n$AFTER
star-x *x\r\n$AFTER
star-x-at-end *x
star-negative *-1\r\n$AFTER
star-zero *0\r\n$AFTER
star-nothing *\r\n$AFTER
not-a-dollar *1\r\n:3\r\n$AFTER
length-too-small *3\r\n\$3\r\nSET\r\n\$4\r\nabcd\r\n\$2\r\nvvvv\r\n$AFTER
length-too-large *3\r\n\$3\r\nSET\r\n\$4\r\nabcd\r\n\$4\r\nv\r\n$AFTER
length-beyond-the-end *3\r\n\$3\r\nSET\r\n\$4\r\nabcd\r\n\$4000\r\nv\r\n$AFTER
nul-bytes \x00\x00\x00\x00\x00\x00\x00\x00\x00\x00
newline \r\n
multi-without-exec $MULTI
multi-alone *1\r\n\$5\r\nMULTI\r\n
multi-cut-in-command $MULTI$CUT
multi-then-annotation $MULTI#TS:1700000000\r\n
multi-with-annotation ${MULTI}#TS:1700000000\r\n$EXEC$AFTER
multi-with-junk ${MULTI}xyz\r\n$EXEC
multi-in-multi ${MULTI}*1\r\n\$5\r\nMULTI\r\n*3\r\n\$3\r\nSET\r\n\$2\r\nx1\r\n\$1\r\n1\r\n$EXEC$AFTER
multi-empty *1\r\n\$5\r\nMULTI\r\n$EXEC$AFTER
two-multis $MULTI$EXEC$MULTI
discard $MULTI*1\r\n\$7\r\nDISCARD\r\n$AFTER
exec-without-multi $EXEC$AFTER
failing-command *3\r\n\$5\r\nLPUSH\r\n\$1\r\ns\r\n\$1\r\nx\r\n$AFTER
multi-with-failing *1\r\n\$5\r\nMULTI\r\n*3\r\n\$5\r\nLPUSH\r\n\$1\r\ns\r\n\$1\r\nx\r\n*3\r\n\$3\r\nSET\r\n\$4\r\ngood\r\n\$1\r\n1\r\n$EXEC$AFTER
unknown-command *2\r\n\$9\r\nNOSUCHCMD\r\n\$1\r\na\r\n$AFTER
unknown-command-in-multi *1\r\n\$5\r\nMULTI\r\n*2\r\n\$9\r\nNOSUCHCMD\r\n\$1\r\na\r\n$EXEC
no-name *1\r\n\$0\r\n\r\n$AFTER
small-letters *3\r\n\$3\r\nset\r\n\$5\r\nlower\r\n\$1\r\n1\r\n
reading-commands *2\r\n\$3\r\nGET\r\n\$1\r\ns\r\n*1\r\n\$4\r\nPING\r\n*1\r\n\$6\r\nDBSIZE\r\n$AFTER
relative-expiry *3\r\n\$6\r\nEXPIRE\r\n\$4\r\nlast\r\n\$6\r\n100000\r\n
empty-value *3\r\n\$3\r\nSET\r\n\$5\r\nempty\r\n\$0\r\n\r\n"

@test "what may stand at the end of the last file, aof-load-truncated yes" {
    begin
    local name text
    while read -r name text; do
        anew
        printf '%b' "$text" >>"$TMP/case/$LAST"
        judge "$name" yes --truncated ok
    done <<<"$TAILS"
    end
}

@test "what may stand at the end of the last file, aof-load-truncated no" {
    begin
    local name text
    while read -r name text; do
        [[ $name =~ ^(intact|cut-in-value|cut-star|cut-annotation|dollar-x|star-x|multi-without-exec|discard|two-multis|failing-command)$ ]] || continue
        anew
        printf '%b' "$text" >>"$TMP/case/$LAST"
        judge "$name" no
    done <<<"$TAILS"
    end
}

@test "the same behind a file that is not the last, and behind the base" {
    begin
    local name text
    while read -r name text; do
        [[ $name =~ ^(intact|cut-in-value|cut-annotation|dollar-x|junk-for-star|nul-bytes|multi-without-exec|discard|empty-value)$ ]] || continue
        anew
        printf '%b' "$text" >>"$TMP/case/$FIRST"
        judge "first $name" yes --truncated ok
        anew
        printf '%b' "$text" >>"$TMP/case/$BASE"
        judge "base $name" yes --truncated ok
    done <<<"$TAILS"
    # With nothing behind it the base is the last file.
    anew
    printf 'file %s seq 2 type b\n' "$BASE" >"$TMP/case/appendonly.aof.manifest"
    printf '%b' "$CUT" >>"$TMP/case/$BASE"
    judge "only base cut" yes --truncated ok
    judge "only base cut" no
    end
}

# What redis-server crashes at, or takes for something else.
@test "refused by us: what crashes a server, what changes another database, no manifest" {
    begin
    local name text at
    at=$(stat -c %s "$TMP/made/$LAST")
    while read -r name text; do
        anew
        printf '%b' "$text" >>"$TMP/case/$LAST"
        replay --truncated ok "$TMP/case"
        [[ $STATUS -eq 4 && $(rcli get after) == '' ]] || WRONG+=("$name: $STATUSES")
        grep -q "damaged at byte $((at + ${name##*+})) of $LAST" "$TMP/err" || WRONG+=("$name: $(cat "$TMP/err")")
        COMPARED=$((COMPARED + 1))
    done <<END
length-negative+13 *2\r\n\$3\r\nGET\r\n\$-1\r\n$AFTER
too-few+0 *2\r\n\$3\r\nSET\r\n\$1\r\na\r\n$AFTER
name-only+0 *1\r\n\$4\r\nHSET\r\n$AFTER
too-few-in-multi+15 *1\r\n\$5\r\nMULTI\r\n*1\r\n\$4\r\nLPOP\r\n$EXEC$AFTER
reading-too-few+0 *1\r\n\$3\r\nGET\r\n$AFTER
length-huge+13 *3\r\n\$3\r\nSET\r\n\$99999999999999\r\nv\r\n$AFTER
arguments-huge+0 *99999999\r\n\$3\r\nSET\r\n$AFTER
END
    anew
    printf '*2\r\n$6\r\nSELECT\r\n$2\r\n99\r\n%b' "$AFTER" >>"$TMP/case/$LAST"
    replay "$TMP/case"
    [[ $STATUS -eq 3 && $(rcli get after) == '' ]] || WRONG+=("SELECT out of range: $STATUSES")
    rm "$TMP/case/appendonly.aof.manifest"
    replay "$TMP/case"
    [[ $STATUS -eq 1 && $(rcli dbsize) -eq 0 ]] || WRONG+=("no manifest: $STATUSES")
    grep -q 'no manifest' "$TMP/err"
    end
}
