//! Sizes of memory on the command line.

use anyhow::Result;

use crate::failure::Failure;

/// KiB of a size: MiB unless a letter says otherwise, as in xl.
pub fn parse_kib(text: &str) -> Result<u64> {
    let refusal = || Failure::new(1, format!("{text:?} is no size; write 512, 512m, 2g, 2048k"));
    let unit = text.chars().last().filter(char::is_ascii_alphabetic);
    let digits = unit.map_or(text, |_| &text[..text.len() - 1]);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(refusal());
    }
    let number: u64 = digits.parse().map_err(|_| refusal())?;
    let kib = match unit.map(|unit| unit.to_ascii_lowercase()) {
        Some('b') => Some(number / 1024),
        Some('k') => Some(number),
        None | Some('m') => number.checked_mul(1 << 10),
        Some('g') => number.checked_mul(1 << 20),
        Some('t') => number.checked_mul(1 << 30),
        Some(_) => return Err(refusal()),
    };
    // Far below what could overflow in bytes or with what is added to it.
    kib.filter(|&kib| kib < 1 << 50).ok_or_else(refusal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_mib_unless_they_say_otherwise() {
        let kib = |text: &str| parse_kib(text).ok();
        assert_eq!(kib("128"), Some(131_072));
        assert_eq!(kib("1G"), Some(1 << 20));
        assert_eq!(kib("2048k"), Some(2048));
        assert_eq!(kib("1048576b"), Some(1024));
        assert_eq!(kib("1t"), Some(1 << 30));
        for bad in [
            "",
            "m",
            "1x",
            "-1",
            "1.5g",
            "99999999999999999999",
            "9999999999999t",
            "1é",
        ] {
            assert_eq!(kib(bad), None, "{bad}");
        }
    }
}
