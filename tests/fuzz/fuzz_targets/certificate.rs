//! Certificates and private keys in DER: any bytes are read or refused; what a general X.509
//! library reads in a certificate is what we read in it.
#![no_main]

use fedmsg_core::crypto::certificate::{Certificate, TrustAnchor};
use fedmsg_core::crypto::p256::P256Signer;
use fedmsg_core::crypto::{Refusal, pem};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use x509_cert::der::{Decode, Encode};

static CA: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let text = include_bytes!("../../../core/tests/crypto-data/ca.crt");
    let mut der = vec![0; text.len()];
    let len = pem::decode(text, pem::CERTIFICATE, &mut der).unwrap();
    der.truncate(len);
    der
});

fuzz_target!(|data: &[u8]| {
    let _ = P256Signer::from_der(data, b"");
    let certificate = match Certificate::parse(data) {
        Ok(certificate) => certificate,
        Err(error) => {
            assert!(error.offset() <= data.len());
            return;
        }
    };
    let ca = TrustAnchor::new(&Certificate::parse(&CA).unwrap()).unwrap();
    for at in [0, 1_800_000_000, u64::MAX] {
        // Whoever finds one that is not among the seeds has broken P-256.
        let _ = certificate.verify(&ca, at);
    }
    if let Ok(anchor) = TrustAnchor::new(&certificate) {
        assert_eq!(
            certificate.verify(&anchor, 0),
            Err(Refusal::Untrusted),
            "a CA"
        );
    }

    assert!(Certificate::parse(&data[..data.len() - 1]).is_err());
    assert!(Certificate::parse(&[data, &[0]].concat()).is_err());

    // It objects to some contents that we do not look into, and to dates before the epoch.
    let Ok(other) = x509_cert::Certificate::from_der(data) else {
        return;
    };
    let other = other.tbs_certificate();
    assert_eq!(other.serial_number().as_bytes(), certificate.serial());
    assert_eq!(other.issuer().to_der().unwrap(), certificate.issuer());
    assert_eq!(other.subject().to_der().unwrap(), certificate.subject());
    let validity = other.validity();
    assert_eq!(
        validity.not_before.to_unix_duration().as_secs(),
        certificate.not_before()
    );
    assert_eq!(
        validity.not_after.to_unix_duration().as_secs(),
        certificate.not_after()
    );
});
