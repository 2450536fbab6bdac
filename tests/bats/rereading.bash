# For suites of keys that are read again: a recorded session with journal entries of one's own, and a key to be asked for.
# shellcheck shell=bash disable=SC2059,SC2154 # bytes as escapes of the format; variables of bats

# Three keys and two entries in $TMP/cap; what the master says of the key k in $TMP/values: "bar", for a day.
rereading_capture() {
    standin --generate --flows 1 --keys 3 --journal-ops 2 --write-capture "$TMP/cap"
    echo '0 k 86400000 00036261720900364c18acbae09ea6' >"$TMP/values"
}

# A journal entry behind those of the capture.
then_journal() { # words, shorter than 64 bytes
    local file=$TMP/cap/wire/01.s2c word total=0
    for word; do total=$((total + ${#word})); done
    {
        printf '\x06\0\x0a\x07\x01'
        printf "\\x$(printf %02x $#)\\x$(printf %02x $total)"
        for word; do printf "\\x$(printf %02x ${#word})%s" "$word"; done
    } >>"$file"
    awk -v size="$(stat -c %s "$file")" -v OFS='\t' '$2 == 1 && $3 == "s2c" { last = NR } { l[NR] = $0 }
        END { for (i = 1; i <= NR; i++) { $0 = l[i]; if (i == last) $5 = size - $4; print } }' \
        "$TMP/cap/wire/timeline.tsv" >"$TMP/timeline"
    mv "$TMP/timeline" "$TMP/cap/wire/timeline.tsv"
}
