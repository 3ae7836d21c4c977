//! Times as xl prints them.

/// `1 day,  2:03:04`, `10 days,  0:00:01`, ` 0:01:34`; without seconds in the short form.
pub fn uptime(seconds: u64, short: bool) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (hours, minutes, seconds) = (rest / 3600, rest / 60 % 60, rest % 60);
    let days = match days {
        0 => String::new(),
        1 => "1 day, ".to_owned(),
        _ => format!("{days} days, "),
    };
    if short {
        format!("{days}{hours:2}:{minutes:02}")
    } else {
        format!("{days}{hours:2}:{minutes:02}:{seconds:02}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_as_xl_prints_them() {
        assert_eq!(uptime(94, false), " 0:01:34");
        assert_eq!(uptime(86_400 + 2 * 3600 + 184, false), "1 day,  2:03:04");
        assert_eq!(uptime(10 * 86_400, true), "10 days,  0:00");
    }
}
