#!/usr/bin/env bats
# The page of df2redis-monitor in a browser: it controls tasks, and is accessible. axe-core is not part of this project:
# "npm pack axe-core", and DF2REDIS_AXE=…/axe.min.js names it. DF2REDIS_SHOTS=DIR keeps pictures of what was looked at.

load helper
load monitoring

setup() {
    common_setup
    command -v chromium >/dev/null || skip "no chromium"
    perl -MJSON::PP -e 1 || skip "no JSON::PP"
}

teardown() {
    local name
    for name in a; do df2redis --timeout 5 stop "$name" >/dev/null 2>&1 || true; done
    monitoring_teardown
}

look() { # arguments of browser.pl behind the URL
    run timeout 120 "$REPO/tests/bats/browser.pl" "${MODE[@]}" "http://127.0.0.1:$PORT/" "$@"
}

# An expression of the page: the text of an element.
text_of() { echo "document.getElementById('$1').textContent"; }

@test "with the token the page starts and stops a task; it is kept nowhere" {
    start_redis
    local source=redis://127.0.0.1:$REDIS_PORT
    start_redis
    start_control -v
    look until "$(text_of news).includes('0 tasks')" until "!document.getElementById('control').hidden"
    assert_status 0
    api POST /api/v1/tasks "{\"name\":\"a\",\"config\":{\"kind\":\"full+incremental\",\"source\":\"$source\",\"target\":\"redis://127.0.0.1:$REDIS_PORT\"}}"
    answered 201
    local enter=(until "$(text_of name) === 'a'" print "document.getElementById('token').focus()" type "$TOKEN"
        print "document.querySelector('#login button').click()" until "!document.getElementById('actions').hidden")
    look "${enter[@]}" until "!document.getElementById('start').disabled" print "$(text_of summary)" \
        print "document.getElementById('start').click()" until "$(text_of outcome) === 'a: start is done'" \
        until "$(text_of summary).startsWith('streaming')" \
        print "[document.cookie, localStorage.length, sessionStorage.length, location.href].join(' ')" \
        print "document.getElementById('token').value + document.documentElement.outerHTML.includes('$TOKEN')" \
        print "document.getElementById('start').disabled + ' ' + document.getElementById('stop').disabled"
    assert_status 0
    [[ $output == "null"$'\n'"null"$'\n'"created: it has not run yet"$'\n'"null"$'\n'" 0 0 http://127.0.0.1:$PORT/"$'\n'"false"$'\n'"true false" ]] || fail "$output"
    # A stop is asked about first.
    look "${enter[@]}" until "!document.getElementById('stop').disabled" print "document.getElementById('stop').click()" \
        until "document.getElementById('confirm').open" print "$(text_of question)" print "document.getElementById('no').click()" \
        print "document.getElementById('confirm').open" print "document.getElementById('stop').click()" \
        print "document.getElementById('yes').click()" until "$(text_of outcome) === 'a: stop is done'" \
        until "$(text_of summary).startsWith('stopped')"
    assert_status 0
    assert_output_has "Stop a? What was read is applied first"
    [[ $(grep -c 'event=command name=stop' "$TMP/monitor.err") -eq 1 ]]
    # A wrong token is not kept. The browser itself says on its console that there was a 401.
    TOKEN=0123456789abcdef.wrong
    enter[5]=$TOKEN
    look "${enter[@]}" print "document.getElementById('start').click()" until "$(text_of outcome).includes('the token is wrong')" \
        until "!document.getElementById('login').hidden"
    [[ $status -eq 0 || $output == *401* ]] || fail "$output"
}

# ---- accessible ----

# No rule of level A or AA is broken, in light and dark, on a desk and on a phone.
accessible() { # name until…
    local name=$1 mode
    shift
    for mode in '' --dark; do
        for size in 1280x900 360x740; do
            MODE=(--size "$size")
            [[ -z $mode ]] || MODE+=("$mode")
            look "$@" until "document.querySelectorAll('canvas').length > 0 || document.getElementById('details').hidden" \
                run "$DF2REDIS_AXE" \
                print "axe.run({runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']}).then(r => (r.passes.length < 15 ? 'only ' + r.passes.length + ' rules ran' : '') + r.violations.map(v => v.id + ' (' + v.impact + '): ' + v.nodes.map(n => n.target.join(' ') + ' ' + n.failureSummary).join(' | ')).join('\n'))" \
                print "'wide: ' + (document.documentElement.scrollWidth > innerWidth)" \
                ${DF2REDIS_SHOTS:+shot "$DF2REDIS_SHOTS/$name-$size$mode.png"}
            assert_status 0
            [[ ${output//$'\n'/} == 'wide: false' ]] || fail "$name $size $mode: $output"
        done
    done
}

needs_axe() { [[ -r ${DF2REDIS_AXE-} ]] || skip "no axe-core: DF2REDIS_AXE=…/axe.min.js (npm pack axe-core)"; }

@test "accessible: healthy, a stalled target, a failed flow" {
    needs_axe
    task
    start_control
    wait_until 10 all_keys
    accessible healthy until "$(text_of summary).startsWith('streaming')" until "document.querySelectorAll('#flows tbody tr').length === 2" \
        until "$(text_of log).length > 100"
    kill -STOP "$REDIS_PID"
    wait_until 30 shows 'health=[a-z,-]*target-silent'
    accessible stalled until "document.querySelectorAll('#problems li').length > 0"
    kill -CONT "$REDIS_PID"
    wait_until 20 shows 'health=ok '
    kill -KILL "$(stage dfparse-1)"
    reap 20 "$TASK_PID"
    accessible failed until "$(text_of summary).startsWith('failed')"
}

@test "accessible: no task, a task that was created, the token, the question before a stop" {
    needs_axe
    start_redis
    start_control
    accessible none until "$(text_of news).includes('0 tasks')"
    api POST /api/v1/tasks "{\"name\":\"a\",\"config\":{\"kind\":\"full+incremental\",\"source\":\"redis://127.0.0.1:$REDIS_PORT\",\"target\":\"redis://127.0.0.1:1\"}}"
    answered 201
    accessible created until "$(text_of name) === 'a'"
    accessible control until "$(text_of name) === 'a'" print "document.getElementById('token').focus(), ''" type "$TOKEN" \
        print "document.querySelector('#login button').click(), ''" until "!document.getElementById('actions').hidden" \
        print "document.getElementById('question').textContent = 'Stop a?', document.getElementById('confirm').showModal(), ''"
}

@test "accessible: 64 flows, four tasks" {
    needs_axe
    local name
    many_flows
    for name in a b c d; do # as if it ran
        exec {held}>"$XDG_RUNTIME_DIR/df2redis/$name/lock"
        flock "$held"
    done
    start_monitor
    wait_until 10 eval '[[ $(request GET /api/v1/tasks/d | code) == 200 ]]'
    accessible flows until "document.querySelectorAll('#flows tbody tr').length === 64"
}
