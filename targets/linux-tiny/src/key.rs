//! The sender's key and certificate: the files `NAME.key` and `NAME.crt`, as `fedmsg ca issue` and
//! openssl write them.

use std::{fs::File, io::Read, path::Path};

use fedmsg_core::crypto::{
    base64::{self, Wrapping},
    certificate::Certificate,
    p256::P256Signer,
    pem,
};

/// Reads both files from `folder`. The key is EC P-256, in PKCS#8 or SEC1, without a passphrase.
/// What the signer needs of them stays in memory until the program ends.
///
/// # Errors
/// One line: which file, and what is wrong with it.
pub(crate) fn load(folder: &Path, name: &str) -> Result<P256Signer<'static>, String> {
    let key_path = folder.join(format!("{name}.key"));
    let path = folder.join(format!("{name}.crt"));
    let key = key(&key_path)?;
    let der = block(&path, &read(&path)?, pem::CERTIFICATE)?
        .ok_or_else(|| missing(&path, pem::CERTIFICATE))?;

    let signer = P256Signer::from_der(&key, field(&der).leak()).map_err(|_| {
        format!(
            "the key in {} is not EC P-256: other kinds sign with fedmsg publish",
            key_path.display()
        )
    })?;
    let certificate = Certificate::parse(&der)
        .map_err(|error| format!("the certificate in {}: {error}", path.display()))?;
    if signer.public_key() != *certificate.public_key() {
        return Err(format!(
            "the key in {} is not that of the certificate in {}",
            key_path.display(),
            path.display()
        ));
    }
    Ok(signer)
}

fn key(path: &Path) -> Result<Vec<u8>, String> {
    let text = read(path)?;
    // `ENCRYPTED PRIVATE KEY`, or the header `Proc-Type: 4,ENCRYPTED`.
    if text.windows(9).any(|word| word == b"ENCRYPTED") {
        return Err(format!(
            "the key in {} is protected by a passphrase: take it off with openssl pkey -in OLD \
             -out NEW",
            path.display()
        ));
    }
    for label in ["PRIVATE KEY", "EC PRIVATE KEY", "RSA PRIVATE KEY"] {
        if let Some(der) = block(path, &text, label)? {
            return Ok(der);
        }
    }
    Err(missing(path, "PRIVATE KEY"))
}

fn missing(path: &Path, label: &str) -> String {
    format!("{} holds no PEM block {label:?}", path.display())
}

/// The content of the first block with this label.
fn block(path: &Path, text: &[u8], label: &str) -> Result<Option<Vec<u8>>, String> {
    let mut der = vec![0; text.len()];
    match pem::decode(text, label, &mut der) {
        Ok(len) => {
            der.truncate(len);
            Ok(Some(der))
        }
        Err(pem::Error::Missing) => Ok(None),
        Err(error) => Err(format!(
            "{}: the {label} in it is damaged: {error}",
            path.display()
        )),
    }
}

/// The certificate as it stands in a message. The PEM text is made anew: what else the file holds
/// is nobody's business.
fn field(certificate: &[u8]) -> Vec<u8> {
    let mut text = vec![0; pem::encoded_len(certificate.len(), pem::CERTIFICATE)];
    let mut field = vec![0; base64::encoded_len(text.len(), Wrapping::JsonLines)];
    // Both have room to the byte, which is all that can fail.
    let _ = pem::encode(certificate, pem::CERTIFICATE, &mut text);
    let _ = base64::encode(&text, Wrapping::JsonLines, &mut field);
    field
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let mut text = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut text))
        .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    if text.len() as u64 > MAX_FILE {
        return Err(format!(
            "{} is larger than {MAX_FILE} bytes",
            path.display()
        ));
    }
    Ok(text)
}

/// The largest file that is read, in bytes.
const MAX_FILE: u64 = 64 << 10;
