#!/bin/sh
# Makes CAs, their revocation lists and senders' certificates of all kinds in the current folder, with
# the program openssl.
cat >config <<CONFIG
[ca]
default_ca = site
[site]
dir = .
new_certs_dir = .
database = index
serial = serial
default_md = sha256
policy = policy
unique_subject = no
[policy]
commonName = optional
[req]
distinguished_name = name
[name]
[ca_extensions]
basicConstraints = critical, CA:true
subjectKeyIdentifier = hash
[nolists_extensions]
basicConstraints = critical, CA:true
keyUsage = critical, keyCertSign
[noca_extensions]
subjectKeyIdentifier = hash
[usual]
basicConstraints = CA:FALSE
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
extendedKeyUsage = clientAuth
keyUsage = digitalSignature
[plain]
basicConstraints = CA:FALSE
[bare]
[encrypt]
keyUsage = critical, keyEncipherment
[unknown]
1.2.3.4 = critical, ASN1:NULL
[server]
extendedKeyUsage = critical, serverAuth
[list]
authorityKeyIdentifier = keyid
CONFIG
export OPENSSL_CONF="$PWD/config"
: >index
echo 1000 >serial
rsa() { openssl genrsa -traditional -out "$1.key" "$2"; }
p256() { openssl ecparam -name prime256v1 -genkey -noout -out "$1.key"; }
request() { openssl req -new -key "$1.key" -subj "$2" -out "$1.csr"; }
# Self-signed: file, hash, then more options.
root() {
    file=$1 hash=$2
    shift 2
    openssl ca -batch -selfsign -md "$hash" -startdate 20120101000000Z -enddate 20350101000000Z \
        -keyfile "$file.key" -in "$file.csr" -notext -out "$file.crt" "$@"
}
# A sender: file, CA, hash, beginning, end, then more options.
leaf() {
    file=$1 ca=$2 hash=$3 from=$4 to=$5
    shift 5
    openssl ca -batch -md "$hash" -startdate "$from" -enddate "$to" -cert "$ca.crt" \
        -keyfile "$ca.key" -in "$file.csr" -notext -out "$file.crt" "$@"
}
# A list: CA, file, end, then more options.
list() {
    ca=$1 file=$2 to=$3
    shift 3
    openssl ca -cert "$ca.crt" -keyfile "$ca.key" -gencrl -crl_lastupdate 20120101000000Z \
        -crl_nextupdate "$to" -out "$file.crl" "$@"
}

for name in old new v1 nolists noca twin middle; do
    bits=2048
    case $name in old | v1 | twin) bits=1024 ;; esac
    rsa $name $bits
done
p256 p256
for name in old new v1 nolists noca p256 middle; do request $name "/CN=CA $name"; done
request twin "/CN=CA old"
root old sha1 -extensions ca_extensions
root new sha256 -extensions ca_extensions
root v1 sha1
root nolists sha256 -extensions nolists_extensions
root noca sha256 -extensions noca_extensions
root twin sha256 -extensions ca_extensions
root p256 sha256 -extensions ca_extensions
leaf middle new sha256 20120101000000Z 20350101000000Z -extensions ca_extensions
cat middle.crt new.crt >chain.crt

# Of each CA a usual sender, and one that is revoked.
for ca in old new v1 nolists noca twin p256 middle; do
    hash=sha256 extensions=usual
    case $ca in old) hash=sha1 ;; v1) hash=sha1 extensions=plain ;; esac
    for kind in usual revoked; do
        rsa $ca-$kind 1024
        request $ca-$kind "/CN=$kind of $ca"
        leaf $ca-$kind $ca $hash 20130101000000Z 20300101000000Z -extensions $extensions
    done
    openssl ca -cert $ca.crt -keyfile $ca.key -revoke $ca-revoked.crt
done
# Of one CA all kinds.
for kind in bare encrypt unknown server; do
    rsa new-$kind 2048
    request new-$kind "/CN=$kind"
    leaf new-$kind new sha384 20130101000000Z 20300101000000Z -extensions $kind
done
rsa new-short 2048
request new-short /CN=short
leaf new-short new sha512 20130101000000Z 20150101000000Z -extensions usual
# One that signed itself, and is nobody's CA.
rsa alone 2048
request alone /CN=alone
root alone sha256 -extensions usual

list old old 20320101000000Z -crlexts list
list old old-v1 20320101000000Z
list old old-ended 20150101000000Z
list v1 v1 20320101000000Z
for ca in new nolists twin p256 middle; do
    list $ca $ca 20320101000000Z -crlexts list
done
cat middle.crl new.crl >chain.crl
