//! Times, counted in buckets of at most 3 % width.

use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
};

/// A power of two has this many buckets, as a power of two.
const BITS: u32 = 5;
/// Times of more than a minute share the last bucket.
const BUCKETS: usize = 1024;

/// How many times of each length, in nanoseconds. One thread adds, any reads.
pub struct Histogram(Box<[AtomicU32]>);

impl Default for Histogram {
    fn default() -> Self {
        Self((0..BUCKETS).map(|_| AtomicU32::new(0)).collect())
    }
}

impl Histogram {
    pub(crate) fn add(&self, nanoseconds: u64) {
        let shift = (u64::BITS - nanoseconds.leading_zeros()).saturating_sub(BITS + 1);
        let bucket = (u64::from(shift) << BITS) + (nanoseconds >> shift);
        let bucket = usize::try_from(bucket).map_or(BUCKETS - 1, |n| n.min(BUCKETS - 1));
        if let Some(count) = self.0.get(bucket) {
            count.store(count.load(Relaxed) + 1, Relaxed);
        }
    }

    /// All together, for a report: pairs of a bucket and its count.
    pub(crate) fn sum<'h>(histograms: impl Iterator<Item = &'h Self>) -> Value {
        let mut sum = BTreeMap::new();
        for histogram in histograms {
            for (bucket, count) in histogram.0.iter().enumerate() {
                match count.load(Relaxed) {
                    0 => {}
                    count => *sum.entry(bucket).or_insert(0) += u64::from(count),
                }
            }
        }
        json!(Vec::from_iter(sum))
    }

    /// The time in nanoseconds below which `share` of all are, of pairs from a report.
    #[must_use]
    pub fn percentile(pairs: &BTreeMap<u64, u64>, share: f64) -> f64 {
        let total: u64 = pairs.values().sum();
        let mut left = total as f64 * share;
        for (&bucket, &count) in pairs {
            left -= count as f64;
            if left <= 0.0 {
                return middle(bucket);
            }
        }
        f64::NAN
    }
}

fn middle(bucket: u64) -> f64 {
    let shift = (bucket >> BITS).saturating_sub(1);
    let low = (bucket - (shift << BITS)) << shift;
    low as f64 + ((1_u64 << shift) - 1) as f64 / 2.0
}

#[cfg(test)]
mod tests {
    #![allow(clippy::float_cmp)]

    use super::*;

    #[test]
    fn percentiles_are_within_3_percent() {
        for time in [
            0,
            1,
            31,
            32,
            63,
            64,
            1000,
            54_321,
            999_999_999,
            30_000_000_000,
        ] {
            let histogram = Histogram::default();
            histogram.add(time);
            let sum = Histogram::sum([&histogram].into_iter());
            let pairs: Vec<(u64, u64)> = serde_json::from_value(sum).expect("pairs");
            let found = Histogram::percentile(&pairs.into_iter().collect(), 0.5);
            assert!(
                (found - time as f64).abs() <= time as f64 * 0.03,
                "{time}: {found}"
            );
        }
    }
}
