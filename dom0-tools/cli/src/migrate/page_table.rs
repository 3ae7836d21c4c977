//! Page tables on their way: entries name machine frames in a domain and the guest's own frames in a stream.

use migration_stream::PAGE_SIZE;

const PRESENT: u64 = 1;
/// Bits of an entry that name a frame.
const FRAME: u64 = 0x000f_ffff_ffff_f000;
/// Entries of a root that belong to the hypervisor; its own contents are not the guest's.
const HOLE: std::ops::Range<usize> = 256..272;
/// The highest level.
const ROOT: u8 = 4;

/// An entry that names something that cannot be translated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadEntry {
    /// Which entry.
    pub index: usize,
    /// The entry.
    pub entry: u64,
}

/// Replaces the frame of each present entry by what `translate` makes of it. A root's entries for the hypervisor become
/// empty. The table must be a page.
///
/// # Errors
/// The first entry whose frame `translate` does not know.
pub fn translate(table: &mut [u8], level: u8, mut translate: impl FnMut(u64) -> Option<u64>) -> Result<(), BadEntry> {
    debug_assert_eq!(table.len(), PAGE_SIZE);
    for (index, bytes) in table.chunks_exact_mut(8).enumerate() {
        let mut word = [0; 8];
        word.copy_from_slice(bytes);
        let entry = u64::from_le_bytes(word);
        if level == ROOT && HOLE.contains(&index) {
            bytes.fill(0);
        } else if entry & PRESENT != 0 {
            let Some(frame) = translate((entry & FRAME) >> 12).filter(|frame| frame << 12 & !FRAME == 0) else {
                return Err(BadEntry { index, entry });
            };
            bytes.copy_from_slice(&(entry & !FRAME | frame << 12).to_le_bytes());
        }
    }
    Ok(())
}

/// Frames that present entries name, the hypervisor's part of a root left out.
pub fn frames(table: &[u8], level: u8) -> impl Iterator<Item = u64> {
    table.chunks_exact(8).enumerate().filter_map(move |(index, bytes)| {
        let mut word = [0; 8];
        word.copy_from_slice(bytes);
        let entry = u64::from_le_bytes(word);
        let counts = entry & PRESENT != 0 && !(level == ROOT && HOLE.contains(&index));
        counts.then_some((entry & FRAME) >> 12)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(entries: &[(usize, u64)]) -> Vec<u8> {
        let mut bytes = vec![0; PAGE_SIZE];
        for (index, entry) in entries {
            bytes[index * 8..index * 8 + 8].copy_from_slice(&entry.to_le_bytes());
        }
        bytes
    }

    #[test]
    fn present_entries_change_their_frame_and_nothing_else() {
        let high = 1 << 63;
        let mut bytes = table(&[(0, 0x5067), (1, 0x5066), (511, high | 0x7001)]);
        translate(&mut bytes, 1, |frame| Some(frame + 0x100)).expect("known");
        assert_eq!(bytes, table(&[(0, 0x10_5067), (1, 0x5066), (511, high | 0x10_7001)]));
        assert_eq!(frames(&bytes, 1).collect::<Vec<_>>(), [0x105, 0x107]);
    }

    #[test]
    fn the_hypervisors_part_of_a_root_is_not_the_guests() {
        let entries = [(255, 0x1001), (256, 0x2001), (271, 0x3001), (272, 0x4001)];
        let mut bytes = table(&entries);
        assert_eq!(frames(&bytes, 4).collect::<Vec<_>>(), [1, 4]);
        translate(&mut bytes, 4, Some).expect("known");
        assert_eq!(bytes, table(&[entries[0], entries[3]]));
        let mut lower = table(&entries);
        translate(&mut lower, 3, Some).expect("known");
        assert_eq!(lower, table(&entries));
    }

    #[test]
    fn an_unknown_frame_is_named() {
        let mut bytes = table(&[(3, 0x9027)]);
        let error = translate(&mut bytes, 1, |_| None).expect_err("unknown");
        let expected = BadEntry {
            index: 3,
            entry: 0x9027,
        };
        assert_eq!(error, expected);
        assert_eq!(
            translate(&mut bytes, 1, |_| Some(1 << 40)),
            Err(expected),
            "too large for an entry"
        );
    }
}
