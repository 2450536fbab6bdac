# shellcheck shell=bash
# What --help and the command help show. help.txt holds each option once, in sections that name the commands which
# take it: "= replicate migrate"; a section "= *" belongs to all of them.

help_section() { # name
    awk -v want="$1" '/^= / { on = $0 == "= " want; next } on' "$lib/help.txt"
}

# The options that a command takes, or with "options" every one, in the order of the file and without repetition.
help_options() { # command
    awk -v want="$1" '
        /^= / {
            on = 0
            for (i = 2; i <= NF; i++)
                on = on || $i == want || $i == "*" || want == "options"
            on = on && $0 != "= commands" && $0 != "= sides"
            next
        }
        NF == 0 || !on { next }
        /^ *-/ || /^ *of / { shown = seen[$0]++ }
        !shown' "$lib/help.txt"
}

# A command's own lines: its name begins one, and indented lines go on.
help_command() { # name
    help_section commands | awk -v want="$1" '/^  [a-z]/ { on = $1 == want } on'
}

help_names() { help_section commands | sed -nE 's/^  ([a-z]+).*/\1/p'; }

usage() {
    echo 'usage: df2redis [options] COMMAND [argument...]'
    echo
    help_section commands
    help_section sides
    echo 'Options: df2redis help COMMAND, df2redis help options. Manual: df2redis(1), df2redis(7) is the guide.'
}

help_one() { # command
    help_command "$1" | sed '1s/^  /usage: df2redis [options] /'
    echo
    help_options "$1"
}

# did you mean: the nearest of the words on standard input, in brackets.
nearest() { # word
    local found
    found=$("$lib/dfconf" --nearest "$1")
    [[ -z $found ]] || printf ' (did you mean %s?)' "$found"
}

unknown_command() { # name
    die 2 "unknown command $1$(help_names | nearest "$1") (df2redis --help)"
}

unknown_option() { # --name
    die 2 "unknown option $1$(help_options options | grep -oE -- '--[a-z][a-z-]*' | nearest "$1") (df2redis help options)"
}

version_command() {
    local program
    for program in dfreader dfparse rediswriter df2redis-check df2redis-monitor; do "$here/$program" --version; done
    exit 0
}

# Ends the process.
help_command_line() { # [topic]
    case ${1-} in
    '') usage ;;
    commands) help_names ;;
    options) help_options options ;;
    *)
        [[ -n $(help_command "$1") ]] || unknown_command "$1"
        help_one "$1"
        ;;
    esac
    exit 0
}
