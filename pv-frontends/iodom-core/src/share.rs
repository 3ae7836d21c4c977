//! Who may take how much of what all guests' disks share.

/// Whether a user who holds `held` of `total`, which `users` share, may take `wanted` more: nobody takes more than an
/// equal part, but for a single piece that is larger.
pub fn may_take(total: usize, users: usize, held: usize, wanted: usize) -> bool {
    held == 0 || held.saturating_add(wanted) <= total / users.max(1)
}

/// How many of `whole` sectors, of which `done` are done, the next of several requests is about, where a device takes
/// `most` at a time; 0 when there are none left.
pub fn next_part(whole: u64, done: u64, most: u32) -> u64 {
    whole.saturating_sub(done).min(most.max(1).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_user_leaves_room_for_each_other() {
        let (total, users) = (600, 3);
        let mut held = [0; 3];
        for (user, held) in held.iter_mut().enumerate() {
            while may_take(total, users, *held, 7) {
                *held += 7;
                assert!(*held <= total / users, "user {user}");
            }
        }
        assert!(
            held.iter().all(|held| held + 7 > 200),
            "and takes all of its own: {held:?}"
        );
        assert!(may_take(total, users, 0, 500), "a single large piece");
        assert!(!may_take(total, users, 1, usize::MAX) && may_take(total, 0, 1, 599));
    }

    #[test]
    fn parts_are_the_whole_together() {
        for (whole, most, parts) in [(0, 8, 0), (8, 8, 1), (9, 8, 2), (1 << 40, u32::MAX, 257), (3, 0, 3)] {
            let (mut done, mut count) = (0, 0);
            loop {
                let part = next_part(whole, done, most);
                if part == 0 {
                    break;
                }
                done += part;
                count += 1;
            }
            assert_eq!((done, count), (whole, parts), "{whole} by {most}");
        }
    }
}
