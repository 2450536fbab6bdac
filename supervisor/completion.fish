# Completion for fish: options and commands come from the programs' own help, so that they are written down once.
# Installed under the name of each program; one of them is enough for all.

function __df2redis_options
    set -l program (commandline -opc)[1]
    set -l asking --help
    string match -qr '(^|/)df2redis$' -- $program; and set asking help options
    $program $asking 2>/dev/null | string match -ar -- '--[a-z][a-z-]*' | sort -u
end

function __df2redis_commands
    set -l program (commandline -opc)[1]
    $program help commands 2>/dev/null
end

for program in df2redis dfreader dfparse rediswriter df2redis-check df2redis-monitor
    complete -c $program -n 'string match -q -- "-*" (commandline -ct)' -a '(__df2redis_options)'
end
complete -c df2redis -n 'test (count (commandline -opc)) -eq 1; and not string match -q -- "-*" (commandline -ct)' \
    -a '(__df2redis_commands)'
