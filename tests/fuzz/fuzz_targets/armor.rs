//! Base64 and PEM: any text is read or refused, in place as well as not; whatever is written reads
//! back.
#![no_main]

use fedmsg_core::crypto::base64::{self, Wrapping};
use fedmsg_core::crypto::pem;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    read_base64(data);
    read_pem(data);
    for wrapping in [Wrapping::None, Wrapping::Lines, Wrapping::JsonLines] {
        let mut text = vec![0; base64::encoded_len(data.len(), wrapping)];
        assert_eq!(base64::encode(data, wrapping, &mut text), Ok(text.len()));
        let mut back = vec![0; data.len()];
        assert_eq!(base64::decode(&text, &mut back), Ok(data.len()));
        assert_eq!(back, data);
    }
    let mut text = vec![0; pem::encoded_len(data.len(), pem::CERTIFICATE)];
    assert_eq!(
        pem::encode(data, pem::CERTIFICATE, &mut text),
        Ok(text.len())
    );
    let mut back = vec![0; data.len()];
    assert_eq!(
        pem::decode(&text, pem::CERTIFICATE, &mut back),
        Ok(data.len())
    );
    assert_eq!(back, data);
});

fn read_base64(text: &[u8]) {
    let mut out = vec![0; base64::decoded_len_max(text.len())];
    let result = base64::decode(text, &mut out);
    let mut in_place = text.to_vec();
    assert_eq!(base64::decode_in_place(&mut in_place), result);
    match result {
        Ok(len) => {
            assert_eq!(in_place[..len], out[..len]);
            if let Some(short) = len.checked_sub(1) {
                let needed = Err(base64::Error::BufferTooSmall { needed: len });
                assert_eq!(base64::decode(text, &mut out[..short]), needed);
            }
            let digits: Vec<u8> = text
                .iter()
                .copied()
                .filter(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(byte))
                .collect();
            if digits.len() == text.len() {
                let mut again = vec![0; text.len()];
                assert_eq!(
                    base64::encode(&out[..len], Wrapping::None, &mut again),
                    Ok(text.len())
                );
                assert_eq!(again, text);
            }
        }
        Err(error) => assert!(error.offset() <= text.len()),
    }
}

fn read_pem(text: &[u8]) {
    let mut out = vec![0; text.len()];
    match pem::decode(text, pem::CERTIFICATE, &mut out) {
        Ok(len) => {
            let mut again = vec![0; pem::encoded_len(len, pem::CERTIFICATE)];
            assert_eq!(
                pem::encode(&out[..len], pem::CERTIFICATE, &mut again),
                Ok(again.len())
            );
        }
        Err(error) => assert!(error.offset() <= text.len()),
    }
}
