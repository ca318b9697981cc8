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

# leaf NAME SUBJECT CA FROM TO EXTENSIONS [KEY [HASH]]: a certificate for leaf.key, or KEY.key.
leaf() {
    openssl req -new -utf8 -key "${7:-leaf}.key" -subj "/O=Example$2" -out "$1.csr"
    sign "$1" "$3" "$4" "$5" "$6" "${8:-sha256}"
}

LEAF='basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n'
CN=/CN=sensor-1.example.org
ca ca "Example bus CA"
ca other-ca "Another CA"
# The same name as the good one, and another key.
ca impostor-ca "Example bus CA"

key leaf
leaf leaf $CN ca 2026-01-01 2036-01-01 "$LEAF"
leaf bare $CN ca 2026-01-01 2036-01-01 'subjectKeyIdentifier=hash\n'
leaf expired $CN ca 2025-01-01 2026-01-01 "$LEAF"
leaf not-yet $CN ca 2045-01-01 2054-01-01 "$LEAF"
leaf after-2050 $CN ca 2050-01-01 2054-12-31 "$LEAF"
leaf other $CN other-ca 2026-01-01 2036-01-01 "$LEAF"
leaf impostor $CN impostor-ca 2026-01-01 2036-01-01 "$LEAF"
leaf agreement-only $CN ca 2026-01-01 2036-01-01 'keyUsage=critical,keyAgreement\n'
leaf decipher-only $CN ca 2026-01-01 2036-01-01 'keyUsage=critical,digitalSignature,keyAgreement,decipherOnly\n'
leaf critical $CN ca 2026-01-01 2036-01-01 "${LEAF}1.2.3.4=critical,ASN1:UTF8String:what\n"
leaf uncritical $CN ca 2026-01-01 2036-01-01 "${LEAF}1.2.3.4=ASN1:UTF8String:what\n"
leaf nameless "" ca 2026-01-01 2036-01-01 "$LEAF"
leaf unicode /CN=fühler-1 ca 2026-01-01 2036-01-01 "$LEAF"
leaf long-name "/CN=$(printf %064d 0)" ca 2026-01-01 2036-01-01 "$LEAF"
leaf large $CN ca 2026-01-01 2036-01-01 "${LEAF}nsComment=\"$(printf %0800d 0)\"\n"
leaf sha512 $CN ca 2026-01-01 2036-01-01 "$LEAF" leaf sha512
leaf ca-no-usage $CN ca 2026-01-01 2036-01-01 'basicConstraints=critical,CA:TRUE\nkeyUsage=critical,digitalSignature\n'

key intermediate
leaf intermediate /CN=Intermediate ca 2026-01-01 2030-01-01 'basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign\n' intermediate
leaf below $CN intermediate 2025-01-01 2036-01-01 "$LEAF"

# The same key as a compressed point, another curve, an RSA key.
openssl ec -in leaf.key -conv_form compressed -out compressed.key 2>/dev/null
leaf compressed $CN ca 2026-01-01 2036-01-01 "$LEAF" compressed
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384 -out p384.key
leaf p384 $CN ca 2026-01-01 2036-01-01 "$LEAF" p384
openssl genrsa -out rsa.key 2048 2>/dev/null
leaf rsa $CN ca 2026-01-01 2036-01-01 "$LEAF" rsa

# Version 1: no extensions.
openssl req -new -key leaf.key -subj "/O=Example$CN" -out v1.csr
openssl x509 -req -in v1.csr -CA ca.crt -CAkey ca.key -set_serial 7 -days 3650 -out v1.crt 2>/dev/null
rm v1.csr

# What people's files look like: text before the block, CR LF, a chain.
openssl x509 -in leaf.crt -text -out with-text.crt
sed 's/$/\r/' leaf.crt > crlf.crt
cat leaf.crt ca.crt > chain.crt
openssl ec -in leaf.key -out leaf.sec1.key 2>/dev/null

# Signatures by openssl: low and high S should be among them, or run this again.
printf '{"crypto":"x509-p256","i":1,"msg":{}}' > message
for n in 1 2 3 4 5 6 7 8; do openssl dgst -sha256 -sign leaf.key -out "message.$n.sig" message; done

# Of the keys, only what the tests sign with stays.
for f in *.key; do case $f in leaf.key | leaf.sec1.key | rsa.key | p384.key) ;; *) rm "$f" ;; esac; done
