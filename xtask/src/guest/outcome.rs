//! What a guest's console says about its end.

/// How a guest ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// In order, with this status.
    Exit(u8),
    /// By a panic or a trap that it could not handle.
    Panic,
    /// Without a word.
    Silent,
}

/// The rest of the last line that has `mark` in it.
fn last<'a>(text: &'a str, mark: &str) -> Option<&'a str> {
    text.lines()
        .rev()
        .find_map(|line| Some(line.split_once(mark)?.1.trim()))
}

/// Reads the end from all that was printed.
pub fn end(text: &str) -> End {
    if let Some(status) = last(text, "guest: exit ").and_then(|word| word.parse().ok()) {
        return End::Exit(status);
    }
    let has_died = ["guest: panic on vcpu", "guest: trap on vcpu"]
        .iter()
        .any(|mark| text.contains(mark));
    if has_died { End::Panic } else { End::Silent }
}

/// Why a run failed although the guest itself ended with 0: its counterpart did, or a disk does not hold what the guest
/// says it wrote.
pub fn disagreement(text: &str) -> Option<String> {
    if let Some(status) = last(text, "peer: exit ").filter(|status| *status != "0") {
        return Some(format!("the guest's counterpart ended with {status}"));
    }
    let guest = last(text, "guest: disk ")?;
    match last(text, "peer: disk ") {
        Some(sum) if sum == guest => None,
        Some(sum) => Some(format!("the guest's disk is {sum}, the guest says {guest}")),
        None => Some("nobody has looked at the guest's disk".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_tells_the_status() {
        assert_eq!(end("hello\nguest: exit 0\n"), End::Exit(0));
        assert_eq!(end("guest: exit 0\nhello| guest: exit 7\n"), End::Exit(7));
        assert_eq!(end("FAIL panic\nguest: panic on vcpu 0\n"), End::Panic);
        assert_eq!(end("hello\n"), End::Silent);
    }

    #[test]
    fn the_other_side_must_agree() {
        assert_eq!(disagreement("guest: exit 0\n"), None);
        assert_eq!(disagreement("guest: disk md5 ab\npeer: disk md5 ab\n"), None);
        assert!(disagreement("guest: disk md5 ab\npeer: disk md5 ac\n").is_some());
        assert!(disagreement("guest: disk md5 ab\n").is_some());
        assert!(disagreement("peer: exit 1\n").is_some());
        assert_eq!(disagreement("peer: exit 0\n"), None);
    }
}
