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
