#!/usr/bin/env bats
# What a file holds: counted and measured, for people and for programs.

load helper
load loading

setup() { files_setup; }
teardown() { common_teardown; }

@test "types, databases and the largest keys" {
    run df2redis inspect --top 2 "$SNAPSHOTS/small-summary.dfs"
    assert_status 0
    diff - <(echo "$output") <<'END'
type             keys            bytes       elements  with expiry  largest key
string            267            28009          25981           24         5508
list               44            20785           1421            0         2765
set                44            20061           1398            0         2603
zset               44            30656           1387            0         3804
hash               94            66801           1445           40         9210
stream             21             3516             37            0          549
json                2              110             96            0           55
other               2             4166              0            0         2083
all               518           174104          31765           64         9210
database 0: 429 keys, 41 with an expiry, 135699 bytes
database 3: 89 keys, 23 with an expiry, 38405 bytes

           bytes     elements      largest  type     db  key
            9210          150          400  hash      0  "hash:text:20"
            8290          150          400  hash      0  "hash:text:0"
END
}

@test "JSON" {
    df2redis inspect --json "$SNAPSHOTS/small.rdb" | perl -MJSON::PP -0777 -e '
        my $r = decode_json(<STDIN>);
        my $keys = 0;
        $keys += $_->{keys} for values %{$r->{types}};
        my $by_db = 0;
        $by_db += $_->{keys} for @{$r->{databases}};
        exit !($r->{complete} && $keys > 400 && $keys == $by_db && @{$r->{largest}} == 10 &&
            $r->{largest}[0]{bytes} >= $r->{largest}[1]{bytes});'
}

@test "CSV: a line for each key, or for the largest" {
    df2redis inspect --csv "$SNAPSHOTS/small.rdb" >"$TMP/all.csv"
    [[ $(head -1 "$TMP/all.csv") == database,type,key,size_in_bytes,encoding,num_elements,len_largest_element,expiry ]]
    [[ $(wc -l <"$TMP/all.csv") -eq 519 ]]
    df2redis inspect --csv --top 3 "$SNAPSHOTS/small.rdb" >"$TMP/top.csv"
    [[ $(wc -l <"$TMP/top.csv") -eq 4 ]]
    [[ -z $(comm -13 <(sort "$TMP/all.csv") <(sort "$TMP/top.csv")) ]]
    # Names of any bytes stand in quotes.
    bytes <<<'5245444953303030 39 fa09 72656469732d766572 05 372e322e34 fe00 00 05 61 22 2c 0a ff 01 78 ff 0000000000000000' >"$TMP/odd.rdb"
    df2redis inspect --csv "$TMP/odd.rdb" | grep -qxF '0,string,"a"",\x0a\xff",7,string,1,1,'
}

@test "a live server, with the selection of keys" {
    start_redis
    rcli mset a:1 x a:2 y b:1 z >/dev/null
    rcli hset a:h f 12345 g 1 >/dev/null
    run df2redis inspect --csv --include 'a:*' "redis://127.0.0.1:$REDIS_PORT"
    assert_status 0
    [[ $(grep -c '^0,string,"a:' <<<"$output") -eq 2 ]]
    grep -q '^0,hash,"a:h",.*,2,5,$' <<<"$output"
    ! grep -q '"b:1"' <<<"$output" || fail "$output"
}

@test "of a file that is cut short what came is shown" {
    head -c 20000 "$SNAPSHOTS/small.rdb" >"$TMP/cut.rdb"
    run df2redis inspect "$TMP/cut.rdb"
    assert_status 4
    assert_output_has 'the snapshot is not complete'
}
