//! Limits of a network interface's outgoing traffic: `10Mb/s@50ms`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// So many bytes in each interval, as netback's `rate` node has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rate {
    /// Bytes that may go out in an interval.
    pub bytes: u64,
    /// Length of an interval in microseconds.
    pub interval_us: u32,
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{}", self.bytes, self.interval_us)
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refusal = || format!("{text:?} is no rate; write it as 10Mb/s, 250KB/s or 1MB/s@20ms");
        let (rate, interval) = text.split_once('@').unwrap_or((text, "50ms"));
        let per_second = bytes_per_second(rate).ok_or_else(refusal)?;
        let interval_us = microseconds(interval).ok_or_else(refusal)?;
        let bytes = u128::from(per_second) * u128::from(interval_us) / 1_000_000;
        match u32::try_from(bytes) {
            Ok(0) => Err(format!(
                "{text} leaves not one byte an interval; raise the rate or the interval"
            )),
            Ok(bytes) => Ok(Self {
                bytes: bytes.into(),
                interval_us,
            }),
            Err(_) => Err(format!(
                "{text} is more than 4 GiB an interval; leave rate= out for no limit"
            )),
        }
    }
}

fn bytes_per_second(text: &str) -> Option<u64> {
    let rate = text.strip_suffix("/s")?;
    let (rate, divisor) = match rate.strip_suffix('B') {
        Some(rate) => (rate, 1),
        None => (rate.strip_suffix('b')?, 8),
    };
    let (digits, factor) = split_factor(rate, &[('G', 1_000_000_000), ('M', 1_000_000), ('K', 1000)]);
    Some(number(digits)?.checked_mul(factor)? / divisor)
}

fn microseconds(text: &str) -> Option<u32> {
    let text = text.strip_suffix('s').unwrap_or(text);
    let (digits, factor) = match text.strip_suffix(['m', 'u']) {
        Some(digits) if text.ends_with('m') => (digits, 1000),
        Some(digits) => (digits, 1),
        None => (text, 1_000_000),
    };
    u32::try_from(number(digits)?.checked_mul(factor)?)
        .ok()
        .filter(|&us| us > 0)
}

fn split_factor<'a>(text: &'a str, factors: &[(char, u64)]) -> (&'a str, u64) {
    factors
        .iter()
        .find_map(|&(c, factor)| Some((text.strip_suffix(c)?, factor)))
        .unwrap_or((text, 1))
}

fn number(digits: &str) -> Option<u64> {
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}
