# shellcheck shell=bash
# Passwords stand in no process list: not in ours, not in those of the stages.

# A password in a URL goes into a variable of the environment; the URL without it, in stripped. False: it has none. The
# URL is checked by the parser that the stages use: what it is not sure of ends here, before anybody shows it.
hide_password() { # variable url what
    local fault password
    if ! fault=$(printf '%s' "$2" | "$lib/dfconf" --url 2>&1 >/dev/null); then
        die 2 "$3: ${fault#dfconf: } (a percent sign in a password is written %25)"
    fi
    stripped=$2
    {
        IFS= read -r -d '' stripped
        IFS= read -r -d '' password || return 1
    } < <(printf '%s' "$2" | "$lib/dfconf" --url)
    printf -v "$1" '%s' "$password"
    export "${1?}"
}

# The URL of an end, in stripped; files have none. False: it had no password.
hide_end() { # source or target, word
    stripped=$2
    [[ $2 == *://* && $2 != file:* ]] || return 1
    case $1 in
    source) hide_password DF2REDIS_SOURCE_PASSWORD "$2" SOURCE ;;
    target) hide_password DF2REDIS_TARGET_PASSWORD "$2" TARGET ;;
    esac
}

# Start anew without the passwords of our own arguments.
hide_arguments() {
    local i found=0 ends=(command source target)
    local -a clean=("${args[@]}")
    case $command in
    record | export | inspect) unset 'ends[2]' ;; # a file, or nothing
    replicate | migrate | check) ;;
    *) return 0 ;;
    esac
    for i in 1 2; do
        [[ -n ${ends[i]-} && -n ${words[i]-} ]] || continue
        hide_end "${ends[i]}" "${words[i]}" && found=1
        clean[word_at[i]]=$stripped
    done
    [[ $found -eq 0 ]] || exec "$self" "${clean[@]}"
}

hide_urls() {
    hide_end source "$source_url"
    source_url=$stripped
    ! is_to_file || return 0
    hide_end target "$target_url"
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
