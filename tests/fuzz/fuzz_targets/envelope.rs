//! Any bytes as a message: it is judged or refused; signed, it is valid, and no longer once changed.
#![no_main]

use fedmsg_core::{
    crypto::{Coverage, Refusal, SignError, Signer, Verifier},
    message::{Invalid, sign_text, validate},
};
use libfuzzer_sys::fuzz_target;

const DEPTH: usize = 32;

/// A signature that depends on every byte.
struct Hash(Coverage);

fn hash(message: &[&[u8]]) -> [u8; 8] {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in message.iter().copied().flatten() {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash.to_be_bytes()
}

impl Signer for Hash {
    fn backend(&self) -> &str {
        "hash"
    }

    fn certificate_field(&self) -> &[u8] {
        b"Y2VydA==\\n"
    }

    fn max_signature_len(&self) -> usize {
        8
    }

    fn sign(&self, message: &[&[u8]], out: &mut [u8]) -> Result<usize, SignError> {
        out[..8].copy_from_slice(&hash(message));
        Ok(8)
    }

    fn coverage(&self) -> Coverage {
        self.0
    }
}

impl Verifier for Hash {
    fn backend(&self) -> &str {
        "hash"
    }

    fn verify<'n>(
        &self,
        message: &[&[u8]],
        signature: &[u8],
        certificate: &[u8],
        _: u64,
        name: &'n mut [u8],
    ) -> Result<&'n str, Refusal> {
        let expected: &[u8] = match self.0 {
            Coverage::Message => b"cert",
            Coverage::Msg => b"",
        };
        if certificate != expected {
            return Err(Refusal::Untrusted);
        }
        if signature != hash(message) {
            return Err(Refusal::Signature);
        }
        name[..1].copy_from_slice(b"n");
        Ok(std::str::from_utf8(&name[..1]).unwrap())
    }

    fn coverage(&self) -> Coverage {
        self.0
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((&[cut, flip], body)) = data.split_first_chunk() else { return };
    let room = body.len() * 8 + 512;
    let mut scratch = vec![0; room];
    let mut out = vec![0; room];
    let topic = Some(&b"org.example"[..]);

    // Either all of it is signed, or `msg` alone.
    let coverage = if flip % 2 == 0 { Coverage::Message } else { Coverage::Msg };
    let hash = &Hash(coverage);

    // However little room there is.
    let small = body.len() * usize::from(cut) / 64;
    let _ = validate(topic, body, &[hash], 0, DEPTH, &mut scratch[..small]);
    let _ = validate(topic, body, &[hash], 0, DEPTH, &mut scratch);
    let _ = sign_text(body, hash, DEPTH, &mut scratch[..small], &mut out);
    let _ = sign_text(body, hash, DEPTH, &mut scratch, &mut out[..small]);

    let Ok(n) = sign_text(body, hash, DEPTH, &mut scratch, &mut out) else { return };
    let mut signed = out[..n].to_vec();
    let valid = validate(None, &signed, &[hash], 0, DEPTH, &mut scratch);
    assert_eq!(valid.map(|valid| valid.signer), Ok("n"));

    // A changed bit is noticed, unless the canonical form is the same for it.
    let at = usize::from(flip) * signed.len() / 256;
    signed[at] ^= 1 << (cut % 8);
    if let Err(error) = validate(None, &signed, &[hash], 0, DEPTH, &mut scratch) {
        assert!(!matches!(error, Invalid::BufferTooSmall { .. }));
    } else if coverage == Coverage::Message {
        let n = fedmsg_core::json::canonicalize(&signed, &mut scratch, DEPTH).unwrap();
        assert_eq!(scratch[..n], out[..out.len().min(n)], "a changed message was accepted");
    }
});
