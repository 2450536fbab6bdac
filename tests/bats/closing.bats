#!/usr/bin/env bats
# tests/run: the closing line counts every test, also those that could not begin.

load helper

# bats would take lines of this file that begin like that for its own tests.
suite() { # file test…
    printf '@test "%s\n' "${@:2}" >"$1"
}

setup() {
    common_setup
    suite "$TMP/one.bats" 'passes" { true; }' 'is # skipped by its name only" { true; }' 'is skipped" { skip "why"; }' \
        'fails" { false; }'
    suite "$TMP/two.bats" 'cannot begin" { true; }' 'nor can this" { true; }'
    echo 'setup_file() { false; }' >>"$TMP/two.bats"
    printf '#!/bin/sh\nexit 0\n' >"$TMP/good"
    printf '#!/bin/sh\nexit 3\n' >"$TMP/bad"
    chmod +x "$TMP/good" "$TMP/bad"
}

teardown() { common_teardown; }

# As from a shell: bats within bats must not take the outer one's variables and programs.
from_a_shell() { run env -i PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin TMPDIR="$TMP" "$@"; }
closing() { from_a_shell "$REPO/tests/run" "$@"; }

last_line() { [[ ${lines[-1]} == "$1" ]] || fail "$output"; }

@test "passed, failed, skipped: unit tests, suites, files that cannot be set up" {
    closing "$TMP/good" "$TMP/bad" -- "$TMP/one.bats" "$TMP/two.bats"
    assert_status 1
    last_line '3 passed, 4 failed, 1 skipped'
    closing "$TMP/good" -- --jobs 2 --no-parallelize-within-files -f passes "$TMP/one.bats"
    assert_status 0
    last_line '2 passed, 0 failed, 0 skipped'
}

@test "a suite that does not run at all is a failure, and so is nothing" {
    closing "$TMP/good" -- "$TMP/none.bats"
    assert_status 1
    last_line '1 passed, 1 failed, 0 skipped'
    closing
    assert_status 1
    last_line '0 passed, 0 failed, 0 skipped'
}

@test "make prints nothing behind it, side by side too" {
    local target
    for target in check-run check; do
        from_a_shell make -j2 -C "$REPO" B="$BUILD" JOBS=1 SUITES="$TMP/one.bats" BATSFLAGS="-f passes" --no-print-directory \
            $target
        assert_status 0
        last_line '1 passed, 0 failed, 0 skipped'
    done
    from_a_shell make -j2 -C "$REPO" B="$BUILD" JOBS=1 SUITES="$TMP/one.bats" check
    assert_status 2
    grep -qx '2 passed, 1 failed, 1 skipped' <<<"$output" || fail "$output"
}
