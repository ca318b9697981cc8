#!/bin/sh
# Makes the certificates and signatures here again, with openssl (3.0 or later). The tests need
# what it made, not openssl: run it only to add a case. Keys and serials are new each time.
set -eu
cd "$(dirname "$0")"
day() { date -u -d "$1" +%Y%m%d%H%M%SZ; }

key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1.key"; }

# sign NAME CA FROM TO EXTENSIONS [HASH]: NAME.csr to NAME.crt, and the request is gone.
sign() {
    mkdir db
    : > db/index
    openssl rand -hex 8 > db/serial
    {
        printf '[ca]\ndefault_ca=d\n[d]\ndatabase=db/index\nserial=db/serial\nnew_certs_dir=db\n'
        printf 'policy=p\n[p]\nO=optional\nCN=optional\n[e]\n%b' "$5"
    } > db/conf
    if [ "$1" = "$2" ]; then issuer=-selfsign; else issuer="-cert $2.crt"; fi
    openssl ca -config db/conf -batch -notext -preserveDN $issuer -keyfile "$2.key" \
        -startdate "$(day "$3")" -enddate "$(day "$4")" -extensions e -md "${6:-sha256}" \
        -in "$1.csr" -out "$1.crt" 2>/dev/null
    rm -r db "$1.csr"
}

# ca NAME CN: a CA that signs itself, for 2025 (UTCTime) to 2054 (GeneralizedTime).
ca() {
    key "$1"
    openssl req -new -key "$1.key" -subj "/O=Example/CN=$2" -out "$1.csr"
    sign "$1" "$1" 2025-01-01 2055-01-01 \
        'basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\n'
}

# leaf NAME CN CA FROM TO EXTENSIONS: a new key, and its certificate.
leaf() {
    key "$1"
    openssl req -new -key "$1.key" -subj "/O=Example/CN=$2" -out "$1.csr"
    sign "$1" "$3" "$4" "$5" "$6"
}

LEAF='basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n'
CN=sensor-1.example.org
ca ca "Example bus CA"
ca other-ca "Another CA"
# The same name as the good one, and another key.
ca impostor-ca "Example bus CA"

leaf leaf $CN ca 2026-01-01 2036-01-01 "$LEAF"
leaf bare $CN ca 2026-01-01 2036-01-01 'subjectKeyIdentifier=hash\n'
leaf expired $CN ca 2025-01-01 2026-01-01 "$LEAF"
leaf not-yet $CN ca 2045-01-01 2054-01-01 "$LEAF"
leaf after-2050 $CN ca 2050-01-01 2054-12-31 "$LEAF"
leaf other $CN other-ca 2026-01-01 2036-01-01 "$LEAF"
leaf impostor $CN impostor-ca 2026-01-01 2036-01-01 "$LEAF"
leaf revoked $CN ca 2026-01-01 2036-01-01 "$LEAF"
leaf agreement-only $CN ca 2026-01-01 2036-01-01 'keyUsage=critical,keyAgreement\n'
leaf decipher-only $CN ca 2026-01-01 2036-01-01 'keyUsage=critical,digitalSignature,keyAgreement,decipherOnly\n'
leaf critical $CN ca 2026-01-01 2036-01-01 "${LEAF}1.2.3.4=critical,ASN1:UTF8String:what\n"
leaf uncritical $CN ca 2026-01-01 2036-01-01 "${LEAF}1.2.3.4=ASN1:UTF8String:what\n"
leaf long-name "$(printf %064d 0)" ca 2026-01-01 2036-01-01 "$LEAF"
leaf large $CN ca 2026-01-01 2036-01-01 "${LEAF}nsComment=\"$(printf %0800d 0)\"\n"
leaf intermediate "Intermediate CA" ca 2026-01-01 2036-01-01 'basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign\n'
leaf below $CN intermediate 2026-01-01 2036-01-01 "$LEAF"
leaf ca-no-usage "CA without use" ca 2026-01-01 2036-01-01 'basicConstraints=critical,CA:TRUE\nkeyUsage=critical,digitalSignature\n'

key unicode
openssl req -new -utf8 -key unicode.key -subj "/O=Beispiel/CN=fühler-1" -out unicode.csr
sign unicode ca 2026-01-01 2036-01-01 "$LEAF"

key nameless
openssl req -new -key nameless.key -subj "/O=Example" -out nameless.csr
sign nameless ca 2026-01-01 2036-01-01 "$LEAF"

# An RSA key, another curve, another hash: all signed by the good CA.
openssl genrsa -out rsa.key 2048 2>/dev/null
openssl req -new -key rsa.key -subj "/O=Example/CN=$CN" -out rsa.csr
sign rsa ca 2026-01-01 2036-01-01 "$LEAF"
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384 -out p384.key
openssl req -new -key p384.key -subj "/O=Example/CN=$CN" -out p384.csr
sign p384 ca 2026-01-01 2036-01-01 "$LEAF"
key sha512
openssl req -new -key sha512.key -subj "/O=Example/CN=$CN" -out sha512.csr
sign sha512 ca 2026-01-01 2036-01-01 "$LEAF" sha512

# Version 1: no extensions.
openssl req -new -key bare.key -subj "/O=Example/CN=$CN" -out v1.csr
openssl x509 -req -in v1.csr -CA ca.crt -CAkey ca.key -set_serial 7 -days 3650 -out v1.crt 2>/dev/null
rm v1.csr
# The key as a compressed point, and its certificate.
openssl ec -in leaf.key -conv_form compressed -out compressed.key 2>/dev/null
openssl req -new -key compressed.key -subj "/O=Example/CN=$CN" -out compressed.csr
sign compressed ca 2026-01-01 2036-01-01 "$LEAF"

# What people's files look like: text before the block, CR LF, a chain.
openssl x509 -in leaf.crt -text -out with-text.crt
sed 's/$/\r/' leaf.crt > crlf.crt
cat leaf.crt ca.crt > chain.crt
openssl ec -in leaf.key -out leaf.sec1.key 2>/dev/null

# Signatures by openssl, as many as it takes to have both low and high S.
printf '{"crypto":"x509-p256","i":1,"msg":{}}' > message
for n in 1 2 3 4 5 6 7 8; do openssl dgst -sha256 -sign leaf.key -out "message.$n.sig" message; done

# Of the keys, only what the tests sign with stays.
for f in *.key; do case $f in leaf.key | leaf.sec1.key | rsa.key | p384.key) ;; *) rm "$f" ;; esac; done
