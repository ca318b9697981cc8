#!/bin/sh
# Makes the files beside it with OpenSSL 3.0: a site as old as fedmsg itself. RSA-1024, SHA-1, a
# revocation list of version 1, and the CA's certificate once more as X.509 version 1.
set -e
cd "$(dirname "$0")"
work=$(mktemp -d)
cat >"$work/config" <<CONFIG
[ca]
default_ca = site
[site]
dir = $work
new_certs_dir = $work
database = $work/index
serial = $work/serial
default_md = sha1
policy = policy
unique_subject = no
[policy]
organizationName = optional
commonName = supplied
name = optional
[req]
distinguished_name = name
[name]
[v3_ca]
basicConstraints = CA:true
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid:always, issuer:always
[v3_sender]
basicConstraints = CA:FALSE
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid, issuer:always
extendedKeyUsage = clientAuth
keyUsage = digitalSignature
CONFIG
: >"$work/index"
echo FC >"$work/serial"
export OPENSSL_CONF="$work/config"
request() {
    openssl genrsa -traditional -out "$work/$1.key" 1024
    openssl req -new -key "$work/$1.key" -subj "$2" -out "$work/$1.csr"
}
request ca '/O=Old Site/CN=Old CA/name=fedmsg'
openssl ca -batch -selfsign -startdate 20120101000000Z -enddate 20490101000000Z \
    -extensions v3_ca -keyfile "$work/ca.key" -in "$work/ca.csr" -out ca.crt
openssl ca -batch -selfsign -startdate 20120101000000Z -enddate 20490101000000Z \
    -keyfile "$work/ca.key" -in "$work/ca.csr" -out ca-v1.crt
for name in sender revoked expired; do
    request $name "/O=Old Site/CN=$name.old.example.org/name=$name"
    end=20490101000000Z
    [ $name = expired ] && end=20150101000000Z
    openssl ca -batch -startdate 20120101000000Z -enddate $end -extensions v3_sender \
        -cert ca.crt -keyfile "$work/ca.key" -in "$work/$name.csr" -out $name.crt
    cp "$work/$name.key" .
done
openssl ca -cert ca.crt -keyfile "$work/ca.key" -revoke revoked.crt
openssl ca -cert ca.crt -keyfile "$work/ca.key" -gencrl -crl_lastupdate 20120101000000Z \
    -crl_nextupdate 20490101000000Z -out crl.pem
rm -r "$work"
