//! Values as text: what is no printable ASCII is written as an escape.

/// Printable characters as they are, others as `\n`, `\r`, `\t`, `\\`, or `\x` and two digits.
pub(crate) fn quoted(value: &[u8]) -> String {
    let mut text = String::with_capacity(value.len());
    for &byte in value {
        match byte {
            b'\n' => text += "\\n",
            b'\r' => text += "\\r",
            b'\t' => text += "\\t",
            b'\\' => text += "\\\\",
            b' '..=b'~' => text.push(char::from(byte)),
            _ => text += &format!("\\x{byte:02x}"),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn unprintable_bytes_are_escaped() {
        assert_eq!(quoted(b"a b\n\\\x00\xff"), "a b\\n\\\\\\x00\\xff");
    }
}
