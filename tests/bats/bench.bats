#!/usr/bin/env bats
# The benchmarks still fit what they measure: those that are cheap, in their short form.

load helper

setup() { common_setup; }
teardown() { common_teardown; }

@test "the benchmark of dfparse on a command stream" {
    BENCH_SHORT=1 DF2REDIS_BUILD=$BUILD run "$REPO/tests/bench/run" stream
    [ "$status" -eq 0 ]
    [[ $output == *"dfparse, command stream: "*"M commands/s"* ]]
}

@test "the benchmark of reading by SCAN" {
    BENCH_SHORT=1 DF2REDIS_BUILD=$BUILD run "$REPO/tests/bench/run" scan
    [[ $status -eq 0 && $output == *"times redis-cli --scan"* ]] || fail "$status: $output"
}

@test "the benchmark of rediswriter: its sink answers all that is asked" {
    BENCH_SHORT=1 DF2REDIS_BUILD=$BUILD run "$REPO/tests/bench/run" writer
    [ "$status" -eq 0 ]
    [[ $output == *"rediswriter: "*"M records/s"*"rediswriter --no-mset: "*"M records/s"* ]]
}

@test "the benchmark of files that are written and measured" {
    BENCH_SHORT=1 DF2REDIS_BUILD=$BUILD run "$REPO/tests/bench/run" export
    [ "$status" -eq 0 ]
    [[ $output == *"RDB to RDB, strings, one core: "*"M keys/s"*"inspect: "*" times redis-check-rdb"* ]]
}

@test "the benchmark of df2redis-check" {
    BENCH_SHORT=1 DF2REDIS_BUILD=$BUILD run "$REPO/tests/bench/run" check
    [ "$status" -eq 0 ]
    [[ $output == *"check, strings: "*"check, expiries: "*"check, hashes: "* ]]
}
