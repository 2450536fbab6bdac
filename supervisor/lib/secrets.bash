# shellcheck shell=bash
# Passwords stand in no process list: not in ours, not in those of the stages.

# A password in a URL goes into a variable of the environment; the URL without it, in stripped. False: it has none.
hide_password() { # variable url
    local url=$2 cred pw
    cred=${url#*://}
    cred=${cred%%/*}
    [[ $cred == *@* ]] || return 1
    cred=${cred%@*}
    [[ $cred == *:* ]] || return 1
    pw=${cred#*:}
    pw=${pw//\\/\\\\} # only the percent signs mean something
    printf -v pw '%b' "${pw//%/\\x}"
    printf -v "$1" '%s' "$pw"
    export "${1?}"
    stripped=${url/":${cred#*:}@"/@}
    stripped=${stripped/":\/\/@"/://}
}

# Start anew without the passwords of our own arguments.
hide_arguments() {
    local word found=0
    local -a clean=()
    for word in "${args[@]}"; do
        stripped=$word
        case $word in
        dragonfly://* | dragonflys://* | dragonfly+unix://*)
            hide_password DF2REDIS_SOURCE_PASSWORD "$word" && found=1
            ;;
        redis*://* | valkey*://* | sentinel*://* | unix://*)
            hide_password DF2REDIS_TARGET_PASSWORD "$word" && found=1
            ;;
        esac
        clean+=("$stripped")
    done
    [[ $found -eq 0 ]] || exec "$self" "${clean[@]}"
}

hide_urls() {
    stripped=$source_url
    hide_password DF2REDIS_SOURCE_PASSWORD "$source_url"
    source_url=$stripped
    stripped=$target_url
    hide_password DF2REDIS_TARGET_PASSWORD "$target_url"
    target_url=$stripped
}

# What systemd's LoadCredential= has put aside for us: the first line of a file is a password.
take_credential() { # name variable
    local file=${CREDENTIALS_DIRECTORY-}/$1 password
    [[ -n ${CREDENTIALS_DIRECTORY-} && -r $file && -z ${!2-} ]] || return 0
    IFS= read -r password <"$file" || [[ -n $password ]] || return 0
    printf -v "$2" '%s' "$password"
    export "${2?}"
}

take_credentials() {
    take_credential source-password DF2REDIS_SOURCE_PASSWORD
    take_credential target-password DF2REDIS_TARGET_PASSWORD
    take_credential sentinel-password DF2REDIS_SENTINEL_PASSWORD
}
