//! What the hardware domain may do to the interval timer: sound the speaker with channel 2, nothing else.

/// What of a write to the timer's mode port reaches it; `None` where it means other channels only.
pub fn pit_mode_for_speaker(value: u8) -> Option<u8> {
    /// Read-back selects channels by bits 1 to 3.
    const READ_BACK: u8 = 0xc0;
    const SELECT: u8 = 0xc0;
    const CHANNEL_2: u8 = 0x80;
    match value & SELECT {
        CHANNEL_2 => Some(value),
        READ_BACK if value & 1 << 3 != 0 => Some(value & !0b110),
        _ => None,
    }
}

/// What a write of `value` to port 0x61 makes of what stands there: gate and speaker change, the rest stays.
pub fn speaker_gate(now: u8, value: u8) -> u8 {
    now & !3 | value & 3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_channel_2_is_reached() {
        for value in 0..=u8::MAX {
            match pit_mode_for_speaker(value) {
                Some(out) if value >> 6 == 3 => assert_eq!((out & 0b1110, out | 0b110), (0b1000, value | 0b110)),
                Some(out) => assert_eq!((value >> 6, out), (2, value)),
                None => assert!(value >> 6 < 2 || value & 8 == 0),
            }
        }
    }

    #[test]
    fn gate_keeps_the_other_bits() {
        assert_eq!(speaker_gate(0xfc, 0x03), 0xff);
        assert_eq!(speaker_gate(0x33, 0xfc), 0x30);
    }
}
