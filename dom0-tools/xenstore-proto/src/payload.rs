//! Strings, numbers and values inside a payload.

use alloc::vec::Vec;

/// The strings of a payload, each ended by a zero byte. A last one without its zero byte is not a string.
pub fn fields(payload: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = payload;
    core::iter::from_fn(move || {
        let end = rest.iter().position(|&byte| byte == 0)?;
        let (field, tail) = rest.split_at(end);
        rest = &tail[1..];
        Some(field)
    })
}

/// The first string of a payload, or none if no zero byte ends it.
pub fn first_field(payload: &[u8]) -> Option<&[u8]> {
    fields(payload).next()
}

/// Splits a payload into its first string and the bytes behind that string's zero byte.
pub fn split_value(payload: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = payload.iter().position(|&byte| byte == 0)?;
    Some((&payload[..end], &payload[end + 1..]))
}

/// Appends a string and its zero byte.
pub fn append_part(out: &mut Vec<u8>, part: &[u8]) {
    out.extend_from_slice(part);
    out.push(0);
}

/// Reads a decimal number as C's `atoi` does: leading white space and a sign are allowed, what follows the digits is
/// ignored, no digits are 0. Too large a number saturates.
pub fn parse_number(text: &[u8]) -> i64 {
    let text = text.trim_ascii_start();
    let (negative, digits) = match text.split_first() {
        Some((b'-', rest)) => (true, rest),
        Some((b'+', rest)) => (false, rest),
        _ => (false, text),
    };
    let value = digits
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .fold(0i64, |sum, byte| {
            sum.saturating_mul(10).saturating_add(i64::from(byte - b'0'))
        });
    if negative { -value } else { value }
}
