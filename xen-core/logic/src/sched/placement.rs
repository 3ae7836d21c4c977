/// Where a vcpu that wakes should wait: where it last ran if that CPU is idle, else an idle CPU, else where it last
/// ran, else the first CPU it may use. All are masks of CPUs; `online` has at least one.
///
/// An affinity with no online CPU counts as any.
#[inline]
pub fn choose_cpu(affinity: u64, online: u64, idle: u64, last: usize) -> usize {
    let here = 1u64 << (last % 64);
    if affinity & online & idle & here != 0 {
        return last % 64;
    }
    let allowed = match affinity & online {
        0 => online,
        some => some,
    };
    let best = match (allowed & idle, allowed & here) {
        (0, 0) => allowed,
        (0, here) => here,
        (idle, _) => idle,
    };
    best.trailing_zeros() as usize % 64
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::choose_cpu;
    use proptest::prelude::*;

    #[test]
    fn prefers_the_last_then_an_idle_one() {
        assert_eq!(choose_cpu(!0, 0xf, 0b0110, 2), 2);
        assert_eq!(choose_cpu(!0, 0xf, 0b0110, 3), 1);
        assert_eq!(choose_cpu(!0, 0xf, 0, 3), 3);
        assert_eq!(choose_cpu(0b0011, 0xf, 0, 3), 0);
        assert_eq!(choose_cpu(0b11_0000, 0xf, 0b1000, 0), 3);
    }

    proptest! {
        #[test]
        fn is_online_and_allowed(affinity: u64, online in 1u64.., idle: u64, last in 0usize..64) {
            let cpu = choose_cpu(affinity, online, idle, last);
            prop_assert!(online >> cpu & 1 == 1);
            prop_assert!(affinity >> cpu & 1 == 1 || affinity & online == 0);
        }
    }
}
