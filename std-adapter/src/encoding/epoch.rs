//! Times as seconds since 1970, as the bus has them.
//!
//! A time is written in whole seconds and in the form of a floating-point number,
//! `1795430000.0`: that is what the peer makes of a `datetime`, byte for byte. It is read from any
//! number, with its fraction to the microsecond.
//!
//! What has no time zone is no instant, so neither `chrono::NaiveDateTime` nor a date is written: say
//! which zone is meant, with `and_utc()` or `and_local_timezone(Local)`. (The peer takes all of them
//! as local time, those of another zone, too.)
//!
//! ```
//! # #[cfg(feature = "chrono")] {
//! use chrono::{DateTime, Utc};
//! use fedmsg::encoding::{dumps, epoch::{self, Epoch}};
//!
//! #[derive(serde::Serialize)]
//! struct Build {
//!     #[serde(with = "epoch")]
//!     started: DateTime<Utc>,
//!     #[serde(with = "epoch::option")]
//!     finished: Option<DateTime<Utc>>,
//!     breaks: Vec<Epoch<DateTime<Utc>>>,
//! }
//!
//! let at = DateTime::from_timestamp(1_795_430_000, 999_000_000).unwrap();
//! let build = Build { started: at, finished: None, breaks: vec![Epoch(at)] };
//! let text = r#"{"breaks":[1795430000.0],"finished":null,"started":1795430000.0}"#;
//! assert_eq!(dumps(&build)?, text);
//! # }
//! # Ok::<(), fedmsg_core::json::Error>(())
//! ```

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// An instant that is written as seconds since 1970.
pub trait ToEpoch {
    /// The seconds since 1970-01-01T00:00:00Z, rounded down.
    fn to_epoch(&self) -> i64;
}

/// An instant that is read from seconds since 1970.
pub trait FromEpoch: Sized {
    /// The instant so many seconds after 1970-01-01T00:00:00Z, and nanoseconds after that. `None`
    /// beyond what the type can hold.
    fn from_epoch(seconds: i64, nanoseconds: u32) -> Option<Self>;
}

/// An instant that is written as seconds since 1970, wherever it stands: in lists, maps and options.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch<T>(pub T);

impl<T: ToEpoch> Serialize for Epoch<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize(&self.0, serializer)
    }
}

impl<'de, T: FromEpoch> Deserialize<'de> for Epoch<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize(deserializer).map(Self)
    }
}

/// Writes an instant; for `#[serde(with = "fedmsg::encoding::epoch")]`.
///
/// # Errors
/// The serializer's.
pub fn serialize<T: ToEpoch, S: Serializer>(time: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(time.to_epoch() as f64)
}

/// Reads an instant; for `#[serde(with = "fedmsg::encoding::epoch")]`.
///
/// # Errors
/// What is no number, or no time of this type.
pub fn deserialize<'de, T: FromEpoch, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    let number = f64::deserialize(deserializer)?;
    let seconds = number.floor();
    let micros = ((number - seconds) * 1e6).round() as u32;
    let carry = i64::from(micros / MICROS);
    // Every instant of these types is well within what a double holds exactly.
    (seconds.abs() < 1e15)
        .then(|| T::from_epoch(seconds as i64 + carry, micros % MICROS * 1000))
        .flatten()
        .ok_or_else(|| D::Error::custom(format_args!("{number} seconds since 1970 is no time")))
}

/// The same for an `Option`, which is null where there is none; for
/// `#[serde(with = "fedmsg::encoding::epoch::option")]`.
pub mod option {
    use super::{Deserialize, Deserializer, Epoch, FromEpoch, Serialize, Serializer, ToEpoch};

    /// Writes an instant or null.
    ///
    /// # Errors
    /// The serializer's.
    pub fn serialize<T: ToEpoch, S: Serializer>(
        time: &Option<T>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        struct Borrowed<'a, T>(&'a T);
        impl<T: ToEpoch> Serialize for Borrowed<'_, T> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                super::serialize(self.0, serializer)
            }
        }
        time.as_ref().map(Borrowed).serialize(serializer)
    }

    /// Reads an instant or null.
    ///
    /// # Errors
    /// What is neither.
    pub fn deserialize<'de, T: FromEpoch, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<T>, D::Error> {
        Ok(Option::<Epoch<T>>::deserialize(deserializer)?.map(|time| time.0))
    }
}

const MICROS: u32 = 1_000_000;

impl ToEpoch for SystemTime {
    fn to_epoch(&self) -> i64 {
        let whole = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        match self.duration_since(Self::UNIX_EPOCH) {
            Ok(after) => whole(after),
            Err(before) => {
                let before = before.duration();
                -whole(before) - i64::from(before.subsec_nanos() > 0)
            }
        }
    }
}

impl FromEpoch for SystemTime {
    fn from_epoch(seconds: i64, nanoseconds: u32) -> Option<Self> {
        let whole = Duration::from_secs(seconds.unsigned_abs());
        match seconds {
            0.. => Self::UNIX_EPOCH.checked_add(whole),
            _ => Self::UNIX_EPOCH.checked_sub(whole),
        }?
        .checked_add(Duration::from_nanos(nanoseconds.into()))
    }
}

#[cfg(feature = "chrono")]
impl<Tz: chrono::TimeZone> ToEpoch for chrono::DateTime<Tz> {
    fn to_epoch(&self) -> i64 {
        self.timestamp()
    }
}

/// Of UTC, of a fixed offset (UTC then) and of local time.
#[cfg(feature = "chrono")]
impl<Tz: chrono::TimeZone> FromEpoch for chrono::DateTime<Tz>
where
    Self: From<chrono::DateTime<chrono::Utc>>,
{
    fn from_epoch(seconds: i64, nanoseconds: u32) -> Option<Self> {
        chrono::DateTime::from_timestamp(seconds, nanoseconds).map(Into::into)
    }
}

#[cfg(feature = "time")]
impl ToEpoch for time::OffsetDateTime {
    fn to_epoch(&self) -> i64 {
        self.unix_timestamp()
    }
}

#[cfg(feature = "time")]
impl FromEpoch for time::OffsetDateTime {
    fn from_epoch(seconds: i64, nanoseconds: u32) -> Option<Self> {
        let whole = Self::from_unix_timestamp(seconds).ok()?;
        whole.replace_nanosecond(nanoseconds).ok()
    }
}

#[cfg(feature = "jiff")]
impl ToEpoch for jiff::Timestamp {
    fn to_epoch(&self) -> i64 {
        // It rounds towards 1970.
        self.as_second() - i64::from(self.subsec_nanosecond() < 0)
    }
}

#[cfg(feature = "jiff")]
impl FromEpoch for jiff::Timestamp {
    fn from_epoch(seconds: i64, nanoseconds: u32) -> Option<Self> {
        Self::new(seconds, nanoseconds.try_into().ok()?).ok()
    }
}

#[cfg(feature = "jiff")]
impl ToEpoch for jiff::ZonedDateTime {
    fn to_epoch(&self) -> i64 {
        self.timestamp().to_epoch()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::{dumps, loads};

    fn round_trip<T: ToEpoch + FromEpoch>() {
        for (text, written) in [
            ("0", "0.0"),
            ("1795430000", "1795430000.0"),
            ("1795430000.75", "1795430000.0"),
            ("-0.25", "-1.0"),
            ("-62135596800", "-62135596800.0"),
            ("1795430000.9999999", "1795430001.0"),
        ] {
            let time: Epoch<T> = loads(text).unwrap();
            assert_eq!(dumps(&time).unwrap(), written, "{text}");
        }
        for text in ["1e14", "-1e300", "\"0\"", "null"] {
            let error = loads::<Epoch<T>>(text).err().map(|error| error.to_string());
            let error = error.unwrap_or_default();
            assert!(
                error.contains("is no time") || error.contains("invalid type"),
                "{text}"
            );
        }
    }

    #[test]
    fn a_time_comes_back_to_the_second() {
        #[cfg(feature = "chrono")]
        {
            round_trip::<chrono::DateTime<chrono::Utc>>();
            round_trip::<chrono::DateTime<chrono::FixedOffset>>();
        }
        #[cfg(feature = "time")]
        round_trip::<time::OffsetDateTime>();
        #[cfg(feature = "jiff")]
        round_trip::<jiff::Timestamp>();
    }

    #[test]
    fn a_fraction_is_read_to_the_microsecond() {
        let time: Epoch<SystemTime> = loads("1795430850.886738").unwrap();
        let since = time.0.duration_since(SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(since, Duration::new(1_795_430_850, 886_738_000));
        assert_eq!(SystemTime::from_epoch(-1, 5).unwrap().to_epoch(), -1);
        assert_eq!(SystemTime::from_epoch(-1, 0).unwrap().to_epoch(), -1);
    }

    #[cfg(feature = "chrono")]
    #[test]
    fn of_another_zone_the_instant_counts() {
        let time = chrono::DateTime::parse_from_rfc3339("2026-11-23T19:33:20+07:00").unwrap();
        assert_eq!(dumps(&Epoch(time)).unwrap(), "1795437200.0");
    }

    #[cfg(feature = "jiff")]
    #[test]
    fn a_zoned_time_of_jiff_is_its_instant() {
        let time = jiff::Timestamp::from_epoch(1_795_430_000, 5).unwrap();
        assert_eq!(
            time.to_zoned_datetime(jiff::tz::TimeZone::UTC).to_epoch(),
            1_795_430_000
        );
    }

    #[test]
    fn an_option_is_the_time_or_null() {
        #[derive(Serialize, Deserialize)]
        struct Job {
            #[serde(with = "option")]
            ended: Option<SystemTime>,
        }
        for text in [r#"{"ended":null}"#, r#"{"ended":12.0}"#] {
            let job: Job = loads(text).unwrap();
            assert_eq!(dumps(&job).unwrap(), text);
        }
    }
}
