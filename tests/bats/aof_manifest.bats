#!/usr/bin/env bats
# Manifests of append-only files, and the files they name: redis-server and we accept the same ones, with the same data,
# and refuse the same ones. The server that is there is asked.

load helper
load loading
load aofs

setup() { aof_setup; need_parts; }
teardown() { common_teardown; }

@test "files that are empty, missing, cut or changed" {
    begin
    local base_size
    base_size=$(stat -c %s "$TMP/made/$BASE")
    anew; : >"$TMP/case/$LAST"; judge empty-last yes --truncated ok
    anew; : >"$TMP/case/$FIRST"; judge empty-first no
    anew; : >"$TMP/case/$BASE"; judge empty-base no
    anew; : >"$TMP/case/$BASE"; : >"$TMP/case/$FIRST"; : >"$TMP/case/$LAST"; judge all-empty no
    anew; rm "$TMP/case/$LAST"; judge missing-last yes --truncated ok
    anew; rm "$TMP/case/$BASE"; judge missing-base yes --truncated ok
    anew; truncate -s $((base_size / 2)) "$TMP/case/$BASE"; judge base-cut yes --truncated ok
    anew; truncate -s $((base_size - 3)) "$TMP/case/$BASE"; judge base-cut-in-checksum yes --truncated ok
    anew; truncate -s 4 "$TMP/case/$BASE"; judge base-cut-in-magic yes --truncated ok
    anew; printf 'X' | dd of="$TMP/case/$BASE" conv=notrunc status=none; judge base-bad-byte yes --truncated ok
    anew; printf 'XXXX' | dd of="$TMP/case/$BASE" bs=1 seek=$((base_size - 6)) conv=notrunc status=none
    judge base-bad-checksum yes --truncated ok
    anew; truncate -s $(($(stat -c %s "$TMP/case/$FIRST") - 5)) "$TMP/case/$FIRST"; judge truncated-not-last yes --truncated ok
    anew; cat "$TMP/case/$FIRST" >>"$TMP/case/$BASE"; judge base-with-failing-tail no
    end
}

@test "manifests: what is taken, and what is not" {
    begin
    local name text
    while read -r name text; do
        anew
        printf '%b' "${text//@/$FIRST}" | sed "s/BASE/$BASE/g; s/LAST/$LAST/g" >"$TMP/case/appendonly.aof.manifest"
        judge "manifest $name" no
    done <<'END'
plain file BASE seq 2 type b\nfile @ seq 2 type i\nfile LAST seq 9 type i\n
base-last file @ seq 2 type i\nfile LAST seq 9 type i\nfile BASE seq 2 type b\n
crlf file BASE seq 2 type b\r\nfile @ seq 2 type i\r\nfile LAST seq 9 type i\r\n
capitals FILE BASE SEQ 2 TYPE b\nFile @ Seq 2 Type i\nfile LAST seq 9 type i\n
other-order type b seq 2 file BASE\nseq 2 file @ type i\nfile LAST type i seq 9\n
quoted file "BASE" seq 2 type b\nfile '@' seq "2" type 'i'\nfile LAST seq 9 type i\n
escaped file "\\x41\\x42" seq 2 type h\nfile BASE seq 2 type b\nfile @ seq 2 type i\nfile LAST seq 9 type i\n
comments # hello\nfile BASE seq 2 type b\n#file nothing seq 1 type b\nfile @ seq 2 type i\nfile LAST seq 9 type i\n
blanks   file   BASE   seq\t2 type b  \nfile @ seq 2 type i\nfile LAST seq 9 type i\n
long-type file BASE seq 2 type base\nfile @ seq 2 type incr\nfile LAST seq 9 type i\n
unknown-pair file BASE seq 2 type b x y\nfile @ seq 2 type i startoffset 7\nfile LAST seq 9 type i a b c d\n
no-base file @ seq 2 type i\nfile LAST seq 9 type i\n
history file nothing seq 1 type h\nfile BASE seq 2 type b\nfile @ seq 2 type i\nfile LAST seq 9 type i\n
history-unordered file n seq 9 type h\nfile n seq 1 type h\nfile BASE seq 2 type b\nfile @ seq 2 type i\nfile LAST seq 9 type i\n
negative-base file BASE seq -2 type b\nfile @ seq 2 type i\nfile LAST seq 9 type i\n
number-and-more file BASE seq 2x type b\nfile @ seq 2.5 type i\nfile LAST seq 9 type i\n
twice-in-line file nothing file BASE seq 7 seq 2 type i type b\nfile @ seq 2 type i\nfile LAST seq 9 type i\n
empty
blank-line file BASE seq 2 type b\n\nfile @ seq 2 type i\nfile LAST seq 9 type i\n
blank-first \nfile BASE seq 2 type b\nfile @ seq 2 type i\n
no-end file BASE seq 2 type b\nfile @ seq 2 type i
same-seq file BASE seq 2 type b\nfile @ seq 2 type i\nfile @ seq 2 type i\n
falling file BASE seq 2 type b\nfile LAST seq 9 type i\nfile @ seq 2 type i\n
seq-zero file BASE seq 2 type b\nfile @ seq 0 type i\n
seq-word file BASE seq 2 type b\nfile @ seq x type i\n
seq-negative file BASE seq 2 type b\nfile @ seq -1 type i\n
no-seq file BASE seq 2 type b\nfile @ type i\n
no-type file BASE seq 2 type b\nfile @ seq 2\n
no-file seq 2 type b x y\n
odd-words file BASE seq 2 type b\nfile @ seq 2 type i more\n
two-bases file BASE seq 2 type b\nfile BASE seq 2 type b\nfile @ seq 2 type i\n
other-type file BASE seq 2 type b\nfile @ seq 2 type x\n
capital-type file BASE seq 2 type B\nfile @ seq 2 type i\n
slash file BASE seq 2 type b\nfile ./@ seq 2 type i\n
open-quote file BASE seq 2 type b\nfile "@ seq 2 type i\n
open-quote-single file BASE seq 2 type b\nfile '@ seq 2 type i\n
behind-quote file "BASE"x seq 2 type b\nfile @ seq 2 type i\n
junk xyz\n
END
    anew
    { printf '#%01100d\n' 0; cat "$TMP/made/appendonly.aof.manifest"; } >"$TMP/case/appendonly.aof.manifest"
    judge "manifest long line" no
    anew
    { cat "$TMP/made/appendonly.aof.manifest"; printf 'file %01100d seq 10 type i\n' 0; } >"$TMP/case/appendonly.aof.manifest"
    judge "manifest long name" no
    end
}
