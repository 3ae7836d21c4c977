//! The calendar of the battery-backed clock, and seconds since 1970.

/// What the clock's registers hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RtcRegisters {
    /// 0 to 59.
    pub second: u8,
    /// 0 to 59.
    pub minute: u8,
    /// 0 to 23, or 1 to 12 with bit 7 for the afternoon.
    pub hour: u8,
    /// 1 to 31.
    pub day: u8,
    /// 1 to 12.
    pub month: u8,
    /// Year of the century.
    pub year: u8,
    /// Century, or 0 if the machine does not say.
    pub century: u8,
    /// Register B: bit 2 set for binary numbers, bit 1 for 24 hours.
    pub mode: u8,
}

/// Seconds since 1970-01-01 00:00 UTC, if the registers hold a date.
pub fn unix_seconds(regs: &RtcRegisters) -> Option<u64> {
    let number = |raw: u8| if regs.mode & 4 != 0 { raw } else { (raw >> 4) * 10 + (raw & 15) } as u64;
    let hour = match (regs.mode & 2 != 0, number(regs.hour & 0x7f)) {
        (true, hour) => hour,
        (false, hour) => hour % 12 + if regs.hour & 0x80 != 0 { 12 } else { 0 },
    };
    let (minute, second) = (number(regs.minute), number(regs.second));
    let (day, month, year) = (number(regs.day), number(regs.month), number(regs.year));
    let year = match number(regs.century) {
        century @ 19..=29 => century * 100 + year,
        _ if year < 70 => 2000 + year,
        _ => 1900 + year,
    };
    let date = hour < 24 && minute < 60 && second < 60 && (1..=12).contains(&month) && year >= 1970;
    if !date || day < 1 || day > days_in_month(year, month) {
        return None;
    }
    let before = (1..month).map(|m| days_in_month(year, m)).sum::<u64>();
    let days = days_before_year(year) - days_before_year(1970) + before + day - 1;
    Some(((days * 24 + hour) * 60 + minute) * 60 + second)
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400)
}

fn days_in_month(year: u64, month: u64) -> u64 {
    match month {
        2 => 28 + is_leap(year) as u64,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from the start of year 1 to the start of `year`, by the Gregorian rule.
fn days_before_year(year: u64) -> u64 {
    let past = year - 1;
    past * 365 + past / 4 - past / 100 + past / 400
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bcd(year: u16, month: u8, day: u8, hour: u8, minute: u8, second: u8) -> RtcRegisters {
        let pack = |n: u8| n / 10 * 16 + n % 10;
        RtcRegisters {
            second: pack(second),
            minute: pack(minute),
            hour: pack(hour),
            day: pack(day),
            month: pack(month),
            year: pack((year % 100) as u8),
            century: pack((year / 100) as u8),
            mode: 2,
        }
    }

    #[test]
    fn known_dates() {
        assert_eq!(unix_seconds(&bcd(1970, 1, 1, 0, 0, 0)), Some(0));
        assert_eq!(unix_seconds(&bcd(2000, 2, 29, 12, 0, 0)), Some(951_825_600));
        assert_eq!(unix_seconds(&bcd(2024, 12, 31, 23, 59, 59)), Some(1_735_689_599));
        assert_eq!(unix_seconds(&bcd(2038, 1, 19, 3, 14, 8)), Some(1 << 31));
        let no_century = RtcRegisters {
            century: 0,
            ..bcd(2024, 12, 31, 23, 59, 59)
        };
        assert_eq!(unix_seconds(&no_century), Some(1_735_689_599));
    }

    #[test]
    fn binary_and_twelve_hours() {
        let noon = RtcRegisters {
            hour: 0x80 | 12,
            day: 1,
            month: 1,
            year: 70,
            century: 19,
            mode: 4,
            ..Default::default()
        };
        assert_eq!(unix_seconds(&noon), Some(12 * 3600));
        let midnight = RtcRegisters { hour: 12, ..noon };
        assert_eq!(unix_seconds(&midnight), Some(0));
    }

    #[test]
    fn nonsense_is_no_date() {
        assert_eq!(unix_seconds(&bcd(2023, 2, 29, 0, 0, 0)), None);
        assert_eq!(unix_seconds(&bcd(2023, 13, 1, 0, 0, 0)), None);
        assert_eq!(unix_seconds(&bcd(2023, 1, 1, 24, 0, 0)), None);
        let ones = RtcRegisters {
            second: 255,
            minute: 255,
            hour: 255,
            day: 255,
            month: 255,
            year: 255,
            century: 255,
            mode: 255,
        };
        assert_eq!(unix_seconds(&ones), None);
        assert_eq!(unix_seconds(&RtcRegisters { mode: 0, ..ones }), None);
    }
}
