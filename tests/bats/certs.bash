# Certificates made on the spot, and servers behind them.
# shellcheck shell=bash disable=SC2034,SC2154 # variables for the suites, and of bats

new=(-newkey ec -pkeyopt ec_paramgen_curve:P-256)

# In $CERTS: ca (and other, a CA that signed nothing here), and of ca: server (127.0.0.1, and 127.1: a name that resolves
# without /etc/hosts), wrong (another name), expired, client, locked (a client whose key has a password, in locked.pw). Of
# other: stranger.
make_certs() {
    CERTS=$BATS_FILE_TMPDIR/certs
    export CERTS
    mkdir -p "$CERTS"
    (
        set -e
        cd "$CERTS"
        for ca in ca other; do
            openssl req -x509 "${new[@]}" -nodes -keyout $ca.key -out $ca.crt -days 2 -subj "/CN=Test $ca"
        done
        here=subjectAltName=IP:127.0.0.1,DNS:127.1
        sign server "$here"
        sign wrong subjectAltName=DNS:elsewhere.example
        sign stranger "$here" other
        sign client extendedKeyUsage=clientAuth
        openssl req "${new[@]}" -nodes -keyout expired.key -out expired.csr -subj /CN=expired
        printf '%s\n' '[ca]' default_ca=d '[d]' database=index serial=serial new_certs_dir=. default_md=sha256 \
            policy=p x509_extensions=e '[p]' commonName=supplied '[e]' "$here" >ca.cnf
        : >index
        echo 01 >serial
        openssl ca -config ca.cnf -batch -notext -in expired.csr -cert ca.crt -keyfile ca.key -out expired.crt \
            -startdate 20200101000000Z -enddate 20210101000000Z
        echo 'open sesame' >locked.pw
        openssl pkcs8 -topk8 -in client.key -out locked.key -passout file:locked.pw
        cp client.crt locked.crt
    ) >"$BATS_FILE_TMPDIR/certs.log" 2>&1 || { cat "$BATS_FILE_TMPDIR/certs.log" >&2; return 1; }
}

sign() { # name extension [CA]
    openssl req "${new[@]}" -nodes -keyout "$1.key" -out "$1.csr" -subj "/CN=$1"
    openssl x509 -req -in "$1.csr" -CA "${3:-ca}.crt" -CAkey "${3:-ca}.key" -CAcreateserial -out "$1.crt" \
        -days 2 \
        -extfile <(echo "$2")
}

# start_redis with a TLS port beside the plain one (TLS_PORT), and a certificate. Further options follow.
start_tls_redis() { # certificate [option…]
    local cert=$1
    shift
    for _ in 1 2 3; do # the port may be taken
        TLS_PORT=$(random_port)
        start_redis --tls-port "$TLS_PORT" --tls-cert-file "$CERTS/$cert.crt" --tls-key-file "$CERTS/$cert.key" \
            --tls-ca-cert-file "$CERTS/ca.crt" --tls-auth-clients no "$@" && return
    done
    return 1
}

# A TLS port (SOURCE_PORT) in front of the stand-in master. verify=1 wants client certificates.
wrap_master() { # certificate [verify]
    for _ in 1 2 3; do
        wrap_once "$@" && return
    done
    return 1
}

wrap_once() {
    SOURCE_PORT=$(random_port)
    background socat "OPENSSL-LISTEN:$SOURCE_PORT,bind=127.0.0.1,reuseaddr,fork,cert=$CERTS/$1.crt,key=$CERTS/$1.key,cafile=$CERTS/ca.crt,verify=${2:-0}" \
        "TCP:127.0.0.1:$MASTER_PORT" 2>/dev/null
    local pid=$!
    for _ in $(seq 100); do
        ended "$pid" && return 1
        listens "$pid" "$SOURCE_PORT" && return
        sleep 0.05
    done
    return 1
}
