//! What was refused, and why: counted, and logged once per reason and minute.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use fedmsg_core::{crypto::Refusal, message::Invalid};

/// The name of a reason, for statistics: `docs/crypto.md` lists them all.
#[must_use]
pub fn reason(invalid: &Invalid) -> &'static str {
    match invalid {
        Invalid::BufferTooSmall { .. } => "too-large",
        Invalid::Json(_) => "not-json",
        Invalid::NotAnObject => "not-an-object",
        Invalid::Unsigned => "unsigned",
        Invalid::Missing(_) => "missing-field",
        Invalid::NotText(_) => "wrong-type",
        Invalid::Base64(_) => "bad-base64",
        Invalid::Topic => "topic-mismatch",
        Invalid::NotPermitted => "not-permitted",
        Invalid::NoPolicy => "no-policy",
        Invalid::Refused(refusal) => match refusal {
            Refusal::Backend => "unknown-backend",
            Refusal::BackendDisallowed => "disallowed-backend",
            Refusal::BackendNotBuiltIn => "backend-not-built-in",
            Refusal::Unavailable => "backend-failed",
            Refusal::Certificate { .. } => "bad-certificate",
            Refusal::CertificateTooLarge { .. } => "certificate-too-large",
            Refusal::Untrusted => "untrusted",
            Refusal::NotYetValid => "not-yet-valid",
            Refusal::Expired => "expired",
            Refusal::Revoked => "revoked",
            Refusal::RevocationList => "no-revocation-list",
            Refusal::RevocationListDate => "expired-revocation-list",
            Refusal::UnknownKey => "unknown-key",
            Refusal::Signature => "bad-signature",
            Refusal::Name => "no-name",
            _ => "other",
        },
        _ => "other",
    }
}

/// What was refused, by the [`reason`]'s name.
#[derive(Default)]
pub(super) struct Refusals(Mutex<BTreeMap<&'static str, Cause>>);

#[derive(Default)]
struct Cause {
    count: u64,
    /// When it was last logged, and the count then.
    logged: Option<(Instant, u64)>,
}

impl Refusals {
    /// Counts a refused message, and logs it unless another was within the last minute.
    pub(super) fn add(&self, invalid: &Invalid, topic: Option<&str>) {
        let mut causes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let cause = causes.entry(reason(invalid)).or_default();
        cause.count += 1;
        let now = Instant::now();
        let more = match cause.logged {
            Some((last, _)) if now.duration_since(last) < QUIET => return,
            Some((_, count)) => cause.count - count - 1,
            None => 0,
        };
        cause.logged = Some((now, cause.count));
        drop(causes);
        let on = topic.map(|topic| {
            format!(
                " on {:?}",
                topic.chars().take(MAX_SHOWN).collect::<String>()
            )
        });
        let on = on.unwrap_or_default();
        match more {
            0 => log::warn!("refused a message{on}: {invalid}"),
            more => log::warn!("refused a message{on}: {invalid}; and {more} others before it"),
        }
    }

    pub(super) fn counts(&self) -> BTreeMap<&'static str, u64> {
        let causes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        causes
            .iter()
            .map(|(name, cause)| (*name, cause.count))
            .collect()
    }
}

/// How much of a topic is logged, in characters.
const MAX_SHOWN: usize = 255;
/// How long a reason is not logged again.
const QUIET: Duration = Duration::from_secs(60);
