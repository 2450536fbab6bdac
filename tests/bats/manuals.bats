#!/usr/bin/env bats
# The pages that specify formats: their examples are what dfparse understands. The page of messages: it has those that the
# source has.

load helper
load loading

setup() { files_setup; }

teardown() { common_teardown; }

REDIS15="52 45 44 49 53 30 30 31 35"
DRAGONFLY="52 45 44 49 53 30 30 30 39  fa 06 64 66 2d 76 65 72 0a 64 66 2d 76 31 2e 34 30 2e 31"
END="ff 00 00 00 00 00 00 00 00"

digits() { tr -d ' |\n'; }

# These bytes are in the page, whatever stands between them: blanks, bars, ends of lines.
in_page() { # page hex
    digits <"$REPO/man/$1" | grep -qF "$(digits <<<"$2")" || fail "$1 lacks $2"
}

# An example with bytes before and behind that make it a file; it decodes to the lines on standard input.
decodes() { # before example
    in_page rdb.5 "$2"
    bytes <<<"$1 $2 $END" >"$TMP/example.rdb"
    assert_decodes "$TMP/example.rdb" -t 7.4 --restore-limit 0
}

@test "rdb(5): the smallest file" {
    local file="52 45 44 49 53 30 30 30 39 fe 00 fb 01 00 00 01 61 c0 01 ff 4b 30 49 7b 4c 24 f6 38" line
    for line in "52 45 44 49 53 30 30 30 39" "fb 01 00" "00 01 61 c0 01" "4b 30 49 7b 4c 24 f6 38"; do
        grep -qF "$line" "$REPO/man/rdb.5" || fail "rdb.5 lacks $line"
    done
    bytes <<<"$file" >"$TMP/smallest.rdb"
    assert_decodes "$TMP/smallest.rdb" -t 7.4 <<'END'
0 ["SET","a","1"]
end status=0 expired=0
END
}

@test "rdb(5): packed containers" {
    decodes "$REDIS15 10 01 68 14" "14 00 00 00 04 00 81 66 02 81 76 02 81 6e 02 f1 88 13 03 ff" <<'END'
0 ["DEL","h"]
0 ["HSET","h","f","v","n","5000"]
end status=0 expired=0
END
    decodes "$REDIS15 0a 01 6c 0f" "0f 00 00 00 0c 00 00 00 02 00 00 f3 02 f6 ff" <<'END'
0 ["DEL","l"]
0 ["RPUSH","l","2","5"]
end status=0 expired=0
END
    decodes "$REDIS15 09 01 68 0b" "01 03 66 6f 6f 03 00 62 61 72 ff" <<'END'
0 ["DEL","h"]
0 ["HSET","h","foo","bar"]
end status=0 expired=0
END
    decodes "$REDIS15 0b 01 69 0e" "02 00 00 00 03 00 00 00 ff ff 05 00 2c 01" <<'END'
0 ["DEL","i"]
0 ["SADD","i","-1","5","300"]
end status=0 expired=0
END
}

@test "rdb(5): LZF, expiries of hash fields, JSON" {
    decodes "$REDIS15 00 01 6b" "c3 05 28 00 61 e0 1e 00" <<'END'
0 ["SET","k","aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"]
end status=0 expired=0
END
    # The expiry of the field a has passed.
    decodes "$REDIS15" "18 01 68 00 a8 da 76 9b 01 00 00 02 01 01 61 c0 01 00 01 62 c0 02" <<'END'
0 ["DEL","h"]
0 ["HSET","h","b","2"]
end status=0 expired=0
END
    decodes "$REDIS15" "19 01 68 00 a8 da 76 9b 01 00 00 1d 1d 00 00 00 06 00 \
        81 61 02 01 01 f4 00 a8 da 76 9b 01 00 00 09 81 62 02 02 01 00 01 ff" <<'END'
0 ["DEL","h"]
0 ["HSET","h","b","2"]
end status=0 expired=0
END
    decodes "$REDIS15 07 01 6a" "81 45 e2 52 38 df 91 2c 03 05 07 7b 22 61 22 3a 31 7d 00" <<'END'
report json "j" lost=1
end status=3 expired=0
END
}

@test "rdb(5): a stream's node, tagged chunks" {
    local node line
    node="2a 00 00 00 0f 00 02 01 00 01 01 01 81 66 02 00 01 02 01 00 01 00 01 82 76 31 03 04 01 \
        02 01 01 01 00 01 82 76 32 03 04 01"
    for line in "2a 00 00 00 0f 00" "02 01 00 01 01 01 81 66 02 00 01" "02 01 00 01 00 01 82 76 31 03 04 01"; do
        grep -qF "$line" "$REPO/man/rdb.5" || fail "rdb.5 lacks $line"
    done
    decodes "$REDIS15 0f 02 73 74 01 10 00 00 00 00 00 00 03 e8 00 00 00 00 00 00 00 00 2a $node ff 02 43 e9 00 00 00 01 6b" \
        "c3 05 28 00 61 e0 1e 00" <<'END'
0 ["DEL","st"]
0 ["XADD","st","1000-0","f","v1"]
0 ["XADD","st","1001-0","f","v2"]
0 ["XSETID","st","1001-0"]
0 ["SET","k","aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"]
end status=0 expired=0
END
    in_page rdb.5 "e0 01 00 00 00 10 00 00 00 12 01 4c 02 02 0a 0a 00 00 00 01 00 81 61 02 ff"
    decodes "$DRAGONFLY e0 01 00 00 00 10 00 00 00 12 01 4c 02 02 0a 0a 00 00 00 01 00 81 61 02 ff 00 01 6b c0 01" \
        "e0 01 00 00 00 0c 00 00 00 02 0a 0a 00 00 00 01 00 81 62 02 ff" <<'END'
0 ["DEL","L"]
0 ["RPUSH","L","a"]
0 ["SET","k","1"]
0 ["RPUSH","L","b"]
end status=0 expired=0
END
}

# The events of level warn and error: "program name level". An entry is at least what happened, and what to do.
page_of_messages() {
    perl -ne 'if (/^\.Sh .*?(\S+)$/) { $program = lc $1 }
        elsif (/^\.It Li (\w+) Pq (.*)/) {
            ended(); ($name, $text) = ($1, "");
            print "$program $name $_\n" for split /, /, $2;
        } elsif (/^\.El/) { ended(); $name = undef }
        elsif (defined $name) { $text .= " $_" }
        sub ended { die "$name lacks a remedy\n" if defined $name && (() = $text =~ /[.:;](?=\s)/g) < 2 }' "$REPO/man/df2redis-messages.7"
}

@test "df2redis-messages(7): every warning and error of the source, and no other" {
    REPO=$REPO "$REPO/tests/events" | LC_ALL=C sort >"$TMP/source"
    page_of_messages >"$TMP/page"
    [[ $(wc -l <"$TMP/source") -gt 150 ]] || fail "only $(wc -l <"$TMP/source") events"
    diff -u "$TMP/source" <(LC_ALL=C sort "$TMP/page") || fail "the page (+) and the source (-) differ"
}

@test "df2redis-messages(7): an event that is new, formed or through another function is noticed" {
    local changed=$TMP/copy
    mkdir "$changed"
    cp -r "$REPO/"{common,reader,parser,writer,check,monitor,supervisor} "$changed"
    local before
    before=$(REPO=$changed "$REPO/tests/events")
    sed -i '0,/parser_fault(p, EXIT_DAMAGED, "error"/s//parser_fault(p, EXIT_DAMAGED, "brand_new"/' "$changed/parser/show.c"
    sed -i 's/failed ? "not_taken" : "flushed"/failed ? "not_had" : "flushed"/' "$changed/reader/redis/source_cluster.c"
    sed -i 's/log error "stages_hang /log error "stages_stuck /' "$changed/supervisor/lib/stages.bash"
    run diff <(echo "$before") <(REPO=$changed "$REPO/tests/events")
    assert_output_has 'dfparse brand_new error'
    assert_output_has 'dfreader slots_not_had warning'
    assert_output_has 'df2redis stages_stuck error'
    [[ $output != *slots_flushed* ]] || fail "$output"
    printf 'void say(const char *s);\nvoid g(void)\n{\n    say("event=hidden");\n}\n' >"$changed/check/hidden.c"
    REPO=$changed run "$REPO/tests/events"
    [[ $status -ne 0 ]]
    assert_output_has 'who else logs'
}

@test "man pages name no event that the source does not have" {
    local name n=0
    for name in $(grep -ohE 'event=[a-z_]+' "$REPO"/man/*.[157] | sort -u); do
        grep -rqw "${name#event=}" "$REPO/"{common,reader,parser,writer,check,monitor,supervisor} ||
            fail "$name is in no source"
        n=$((n + 1))
    done
    [[ $n -gt 15 ]] || fail "only $n"
}

# Every page once; no link leads to a page or a place in one that is not there.
@test "make docs: every page, and no broken link" {
    command -v mandoc >/dev/null || skip "no mandoc"
    local page name
    make -s -C "$REPO" B="$TMP/build" docs-pages >/dev/null
    for page in "$REPO"/man/*.[157]; do
        name=${page##*/}.html
        [[ -s $TMP/build/docs/$name ]] || fail "no $name"
        grep -q "href=\"$name" "$TMP/build/docs/index.html" || fail "index.html does not lead to $name"
    done
    never grep -q '@VERSION@' "$TMP/build/docs/index.html"
    run broken_links "$TMP/build/docs"
    [[ $status -eq 0 && $output -gt 300 ]] || fail "$output"
    # One that is broken would be noticed.
    echo '<a href="psync.7.html#NOWHERE">' >>"$TMP/build/docs/index.html"
    run broken_links "$TMP/build/docs"
    [[ $status -ne 0 && $output == *"index.html: psync.7.html#NOWHERE"* ]] || fail "$output"
}

# Those of the pages of a folder; how many links there are.
broken_links() { # folder
    perl -e 'chdir shift or die; my (%id, %to, $n, $bad);
        for my $f (glob "*.html *.css") {
            open my $h, "<", $f; local $/; my $t = <$h>;
            $id{$f} = {map { $_ => 1 } $t =~ /\bid="([^"]*)"/g};
            $to{$f} = [$t =~ /\bhref="([^"]*)"/g];
        }
        for my $f (sort keys %to) {
            for my $link (@{$to{$f}}) {
                next if $link =~ /^https:/;
                my ($page, $place) = $link =~ /^([^#]*)#?(.*)$/;
                $page = $f if $page eq "";
                $n++;
                next if $id{$page} && ($place eq "" || $id{$page}{$place});
                print "$f: $link\n";
                $bad = 1;
            }
        }
        print "$n\n";
        exit($bad ? 1 : 0)' "$1"
}

@test "README: at most 150 lines, its order, and what it names is there" {
    local name
    [[ $(wc -l <"$REPO/README.md") -le 150 ]]
    [[ $(grep '^## ' "$REPO/README.md" | paste -sd';') == "## For whom;## Two commands;## Five recipes;## What is promised;## \
What is not supported;## How it compares;## Where to read on" ]] || fail "$(grep '^## ' "$REPO/README.md")"
    for name in $(grep -oE '[a-z][a-z0-9.-]*\([157]\)' "$REPO/README.md" | sort -u); do
        [[ -e $REPO/man/${name%(*}.${name: -2:1} ]] || fail "there is no $name"
    done
    for name in "$REPO"/man/*.[157]; do
        name=${name##*/}
        grep -qF "${name%.*}(${name##*.})" "$REPO/README.md" || fail "README lacks $name"
    done
    for name in $(grep -oE '\]\([^)]*\)' "$REPO/README.md" | tr -d '](' | tr -d ')'); do
        [[ $name == https:* || -e $REPO/$name ]] || fail "there is no $name"
    done
}
