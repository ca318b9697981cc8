//! Messages without what others added to them.

use fedmsg_core::json::{self, HOST_DEPTH, Member, Members};

use super::Scratch;

/// A message without its `signature` and `certificate`, in canonical form: what `x509` and
/// `x509-p256` sign.
///
/// ```
/// use fedmsg::crypto::strip_credentials;
///
/// let message = br#"{"signature": "AA==", "msg": {}, "crypto": "x509", "certificate": "AA=="}"#;
/// assert_eq!(strip_credentials(message)?, br#"{"crypto":"x509","msg":{}}"#);
/// # Ok::<(), fedmsg_core::json::Error>(())
/// ```
///
/// # Errors
/// Where and why the text is not JSON. What is JSON but no object comes back as it is.
pub fn strip_credentials(message: &[u8]) -> Result<Vec<u8>, json::Error> {
    edit(message, |member| {
        (!["certificate", "signature"].contains(&member.key)).then(|| member.value.to_vec())
    })
}

/// A message as it was signed, of one that a datagrepper gave: in canonical form, without
/// `source_name` and `source_version`, without `headers` if they are empty, with `timestamp` as an
/// integer. A message that has not both of the first two comes back as it is, in canonical form.
///
/// A datagrepper adds these to every message that it gives. Whether `headers` was empty when it was
/// signed cannot be known; the peer (`fix_datagrepper_message`) takes it that there was none.
///
/// ```
/// use fedmsg::crypto::fix_datagrepper;
///
/// let given = br#"{"msg": {}, "timestamp": 1416932127.0, "headers": {},
///                  "source_name": "datanommer", "source_version": "0.6.4"}"#;
/// assert_eq!(fix_datagrepper(given)?, br#"{"msg":{},"timestamp":1416932127}"#);
/// # Ok::<(), fedmsg_core::json::Error>(())
/// ```
///
/// # Errors
/// Where and why the text is not JSON.
pub fn fix_datagrepper(message: &[u8]) -> Result<Vec<u8>, json::Error> {
    let mut scratch = Scratch::default();
    let canonical = scratch.canonicalize(message, HOST_DEPTH)?;
    let has = |name| Members::new(canonical).is_some_and(|mut all| all.any(|it| it.key == name));
    if !(has("source_name") && has("source_version")) {
        return Ok(canonical.to_vec());
    }
    edit(message, |member| match member.key {
        "source_name" | "source_version" => None,
        "headers" if EMPTY.contains(&member.value) => None,
        "timestamp" => Some(whole(member.value)),
        _ => Some(member.value.to_vec()),
    })
}

/// A message with each member's value as `value` gives it, or without it.
fn edit(
    message: &[u8],
    value: impl Fn(&Member<'_>) -> Option<Vec<u8>>,
) -> Result<Vec<u8>, json::Error> {
    let mut scratch = Scratch::default();
    let canonical = scratch.canonicalize(message, HOST_DEPTH)?;
    let Some(members) = Members::new(canonical) else {
        return Ok(canonical.to_vec());
    };
    let mut edited = vec![b'{'];
    for member in members {
        if let Some(value) = value(&member) {
            if edited.len() > 1 {
                edited.push(b',');
            }
            edited.push(b'"');
            edited.extend(member.key.bytes());
            edited.extend(b"\":");
            edited.extend(value);
        }
    }
    edited.push(b'}');
    Ok(edited)
}

/// A number without its fraction.
fn whole(number: &[u8]) -> Vec<u8> {
    let float = str::from_utf8(number)
        .ok()
        .and_then(|text| text.parse().ok());
    match float {
        Some(float) if number.contains(&b'.') || number.contains(&b'e') => {
            let whole: f64 = float;
            // Minus zero is no integer.
            format!("{:.0}", whole.trunc() + 0.0).into_bytes()
        }
        _ => number.to_vec(),
    }
}

/// What Python takes for false.
const EMPTY: [&[u8]; 7] = [b"{}", b"[]", b"null", b"\"\"", b"false", b"0", b"0.0"];
