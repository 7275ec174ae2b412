#!/usr/bin/env bash
# Makes a CA and the certificates for the TLS specs: certificates.sh FOLDER. NAME.pem is a certificate with those that
# the server sends along, NAME.key its key, NAME.pin the key's SHA-256. They are made again when this script changes.
set -euo pipefail
script=$(realpath "$0")
mkdir -p "$1/issued" "$1/ca"
cd "$1"
[ made -nt "$script" ] && exit

# `openssl ca`, because older versions of `openssl x509` can't set both dates.
cat >openssl.cnf <<'END'
[ca]
default_ca = default
[default]
database = index
new_certs_dir = issued
rand_serial = yes
unique_subject = no
default_md = sha256
policy = policy
copy_extensions = copyall
default_startdate = 20240101000000Z
default_enddate = 20491231235959Z
[policy]
commonName = supplied
[req]
prompt = no
distinguished_name = subject
[subject]
commonName = -
END
export OPENSSL_CONF=openssl.cnf
: >index

# issue NAME ISSUER SUBJECT [OPTION of `openssl ca`]…; the variables names, key and extension replace the defaults.
issue() {
    local name=$1 issuer=$2 subject=$3 request=()
    shift 3
    local names=${names-DNS:$name.localhost} key=${key-ec -pkeyopt ec_paramgen_curve:P-256}
    [ -z "$names" ] || request+=(-addext "subjectAltName=$names")
    [ -z "${extension-}" ] || request+=(-addext "$extension")
    # shellcheck disable=SC2086
    openssl req -new -newkey $key -nodes -keyout "$name.key" -subj "/CN=$subject" "${request[@]}" -out "$name.csr"
    case $issuer in
    itself) set -- -selfsign -keyfile "$name.key" "$@" ;;
    *) set -- -cert "$issuer.pem" -keyfile "$issuer.key" "$@" ;;
    esac
    openssl ca -batch -notext -in "$name.csr" -out "$name.pem" "$@"
    openssl pkey -in "$name.key" -pubout -outform DER | openssl dgst -sha256 -binary | openssl base64 >"$name.pin"
}

exec 3>&2 >log 2>&1
trap '[ $? -eq 0 ] || cat log >&3' EXIT

past=(-startdate 20200101000000Z -enddate 20201231235959Z) future=(-startdate 20450607000000Z)
extension=basicConstraints=critical,CA:TRUE
names='' issue ca itself "Test CA"
names='' issue other-ca itself "Other CA"
names='' issue intermediate ca "Test Intermediate"
names='' issue old-intermediate ca "Old Intermediate" "${past[@]}"
extension=

names='DNS:localhost,DNS:good.localhost,DNS:*.wild.localhost,IP:127.0.0.1,IP:::1,IP:fe80::9' issue good ca good
issue expired ca expired "${past[@]}"
issue early ca early "${future[@]}"
issue self-signed itself self-signed
key=rsa:1024 issue weak ca weak
issue sha1 ca sha1 -md sha1
extension=extendedKeyUsage=clientAuth issue for-clients ca for-clients
names='DNS:other.example,DNS:www.other.example' issue wrong-name ca wrong-name
names='' issue no-names ca no-names.localhost

issue unknown other-ca unknown
issue unknown-with-root other-ca unknown-with-root
cat other-ca.pem >>unknown-with-root.pem
issue incomplete intermediate incomplete
issue chained intermediate chained
cat intermediate.pem >>chained.pem
issue old-chain old-intermediate old-chain
cat old-intermediate.pem >>old-chain.pem
issue by-server good by-server
cat good.pem >>by-server.pem

extension=extendedKeyUsage=clientAuth
issue client ca "Test Client"
openssl pkey -in client.key -aes256 -passout "pass:open sesame" -out client-encrypted.key
cat client.pem client.key >client-both.pem
issue stranger other-ca "Test Stranger"

cp ca.pem ca
openssl rehash ca
touch made
