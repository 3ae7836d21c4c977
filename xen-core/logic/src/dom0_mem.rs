//! How much memory Dom0 gets: `dom0_mem=[min:AMOUNT,][max:AMOUNT,][AMOUNT]`, where a negative amount means all
//! memory less that much.

use core::fmt;

/// Bytes, counted from nothing or down from all memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Amount {
    /// This much.
    Exactly(u64),
    /// All but this much.
    AllBut(u64),
}

/// The parsed option.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Dom0Mem {
    /// What it starts with.
    pub size: Option<Amount>,
    /// At least this much.
    pub min: Option<Amount>,
    /// What it may grow to.
    pub max: Option<Amount>,
}

/// Why Dom0 gets no memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dom0MemError {
    /// The option cannot be read.
    Syntax,
    /// More than the machine has free; asked and free, in pages.
    Beyond {
        /// Pages asked for.
        asked: u64,
        /// Pages that are free.
        free: u64,
    },
}

impl fmt::Display for Dom0MemError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Dom0MemError::Syntax => {
                write!(
                    f,
                    "dom0_mem= is not understood; it is written [min:SIZE,][max:SIZE,][SIZE], with K, M or G"
                )
            }
            Dom0MemError::Beyond { asked, free } => write!(
                f,
                "dom0_mem= asks for {} MiB, but the machine has only {} MiB free",
                asked.div_ceil(256),
                free / 256
            ),
        }
    }
}

/// Pages of the result: what Dom0 starts with and may grow to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sizes {
    /// Pages at the start.
    pub pages: u64,
    /// Pages that it may have at most; no limit given means as many as fit a p2m of any size.
    pub max_pages: Option<u64>,
}

/// The part of memory that stays free for the hypervisor's own growth and for DMA buffers where nothing is asked:
/// a sixteenth, at most 128 MiB. Never less than 8 MiB.
fn reserve(free: u64) -> u64 {
    (free / 16).clamp(8 << 8, 128 << 8)
}

/// A number with a unit: `B`, `K` (also where none is written), `M`, `G`, `T`.
fn parse_amount(text: &str) -> Option<Amount> {
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (digits, shift) = match text.char_indices().last()? {
        (at, 'b' | 'B') => (&text[..at], 0),
        (at, 'k' | 'K') => (&text[..at], 10),
        (at, 'm' | 'M') => (&text[..at], 20),
        (at, 'g' | 'G') => (&text[..at], 30),
        (at, 't' | 'T') => (&text[..at], 40),
        _ => (text, 10),
    };
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let bytes = digits.parse::<u64>().ok()?.checked_mul(1 << shift)?;
    Some(if negative {
        Amount::AllBut(bytes)
    } else {
        Amount::Exactly(bytes)
    })
}

impl Dom0Mem {
    /// Reads the option's value.
    ///
    /// # Errors
    /// `Syntax`.
    pub fn parse(text: &str) -> Result<Self, Dom0MemError> {
        let mut option = Self::default();
        for part in text.split(',') {
            let (slot, value) = match part.split_once(':') {
                Some(("min", value)) => (&mut option.min, value),
                Some(("max", value)) => (&mut option.max, value),
                Some(_) => return Err(Dom0MemError::Syntax),
                None => (&mut option.size, part),
            };
            *slot = Some(parse_amount(value).ok_or(Dom0MemError::Syntax)?);
        }
        Ok(option)
    }

    /// Dom0's size where the machine has `free` free pages.
    ///
    /// # Errors
    /// `Beyond` if more is asked for than there is.
    pub fn sizes(&self, free: u64) -> Result<Sizes, Dom0MemError> {
        let pages = |amount: Amount| match amount {
            Amount::Exactly(bytes) => bytes >> 12,
            Amount::AllBut(bytes) => free.saturating_sub(bytes >> 12),
        };
        let max_pages = self.max.map(pages);
        let mut size = match self.size {
            Some(amount) => pages(amount),
            None => free.saturating_sub(reserve(free)),
        };
        size = size.max(self.min.map_or(0, pages)).min(max_pages.unwrap_or(u64::MAX));
        if size > free {
            return Err(Dom0MemError::Beyond { asked: size, free });
        }
        Ok(Sizes { pages: size, max_pages })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GIB: u64 = 1 << 18;

    #[test]
    fn amounts() {
        assert_eq!(parse_amount("1024M"), Some(Amount::Exactly(1 << 30)));
        assert_eq!(parse_amount("4"), Some(Amount::Exactly(4096)));
        assert_eq!(parse_amount("-1g"), Some(Amount::AllBut(1 << 30)));
        for bad in [
            "",
            "-",
            "M",
            "1.5G",
            "+3M",
            "99999999999999999999",
            "18446744073709551615T",
            "1µ",
        ] {
            assert_eq!(parse_amount(bad), None, "{bad}");
        }
    }

    #[test]
    fn default_leaves_a_reserve() {
        let all = Dom0Mem::default().sizes(4 * GIB).unwrap();
        assert_eq!(
            all,
            Sizes {
                pages: 4 * GIB - (128 << 8),
                max_pages: None
            }
        );
        assert_eq!(Dom0Mem::default().sizes(1000).unwrap().pages, 0);
    }

    #[test]
    fn limits() {
        let option = Dom0Mem::parse("1G,max:2G").unwrap();
        assert_eq!(
            option.sizes(4 * GIB),
            Ok(Sizes {
                pages: GIB,
                max_pages: Some(2 * GIB)
            })
        );
        let option = Dom0Mem::parse("max:1G").unwrap();
        assert_eq!(
            option.sizes(4 * GIB),
            Ok(Sizes {
                pages: GIB,
                max_pages: Some(GIB)
            })
        );
        let option = Dom0Mem::parse("8G").unwrap();
        assert_eq!(
            option.sizes(4 * GIB),
            Err(Dom0MemError::Beyond {
                asked: 8 * GIB,
                free: 4 * GIB
            })
        );
        assert_eq!(
            Dom0Mem::parse("min:9G").unwrap().sizes(GIB).unwrap_err(),
            Dom0MemError::Beyond {
                asked: 9 * GIB,
                free: GIB
            }
        );
        assert_eq!(Dom0Mem::parse("-1G").unwrap().sizes(4 * GIB).unwrap().pages, 3 * GIB);
        assert_eq!(Dom0Mem::parse("most:1G"), Err(Dom0MemError::Syntax));
    }

    proptest! {
        #[test]
        fn never_more_than_free(text in "[0-9mMgGk:,-]{0,20}|(min:|max:|)-?[0-9]{1,9}[kKmMgG]?", free in 0u64..1 << 40) {
            if let Ok(sizes) = Dom0Mem::parse(&text).and_then(|o| o.sizes(free)) {
                prop_assert!(sizes.pages <= free);
                prop_assert!(sizes.max_pages.is_none_or(|max| sizes.pages <= max));
            }
        }
    }
}
