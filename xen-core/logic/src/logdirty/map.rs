//! Which table has which shadow: found by the table's frame, kept in places whose numbers do not change, so that a walk
//! over them can be interrupted.

use super::vec_of;
use alloc::vec::Vec;

const NONE: u32 = u32::MAX;

#[derive(Clone, Copy)]
struct Place {
    /// The guest's table; `NONE` while the place is free.
    table: u32,
    shadow: u32,
    /// The next place of the same bucket, or of the free ones.
    next: u32,
    level: u8,
    /// Vcpus that run on it, of a top table.
    users: u32,
}

/// The places.
pub(super) struct ShadowMap {
    places: Vec<Place>,
    buckets: Vec<u32>,
    free: u32,
    used: usize,
}

impl ShadowMap {
    /// `room` free places.
    pub(super) fn new(room: usize) -> Option<Self> {
        let room = room.min(NONE as usize - 1);
        let (mut places, mut buckets) = (vec_of(room).ok()?, vec_of(room.next_power_of_two()).ok()?);
        buckets.resize(room.next_power_of_two(), NONE);
        for n in 0..room as u32 {
            places.push(Place {
                table: NONE,
                shadow: 0,
                next: if n + 1 < room as u32 { n + 1 } else { NONE },
                level: 0,
                users: 0,
            });
        }
        Some(Self {
            free: if room == 0 { NONE } else { 0 },
            places,
            buckets,
            used: 0,
        })
    }

    fn bucket(&self, table: u32) -> usize {
        // Neighbours are spread by an odd factor; the upper bits of the product are the mixed ones.
        let mixed = table.wrapping_mul(0x9e37_79b1);
        (mixed >> 8 ^ mixed >> 20) as usize & (self.buckets.len() - 1)
    }

    /// Shadows that there are.
    pub(super) fn len(&self) -> usize {
        self.used
    }

    /// Places that are free.
    pub(super) fn room(&self) -> usize {
        self.places.len() - self.used
    }

    /// All places.
    pub(super) fn slots(&self) -> usize {
        self.places.len()
    }

    /// The place of a table's shadow.
    pub(super) fn find(&self, table: u32) -> Option<usize> {
        let mut at = self.buckets[self.bucket(table)];
        while at != NONE {
            let place = &self.places[at as usize];
            if place.table == table {
                return Some(at as usize);
            }
            at = place.next;
        }
        None
    }

    pub(super) fn shadow(&self, slot: usize) -> u32 {
        self.places[slot].shadow
    }

    pub(super) fn level(&self, slot: usize) -> u8 {
        self.places[slot].level
    }

    /// Is there a shadow of a level-1 table in this place?
    pub(super) fn is_level_1(&self, slot: usize) -> bool {
        self.places[slot].table != NONE && self.places[slot].level == 1
    }

    pub(super) fn change_users(&mut self, slot: usize, more: bool) {
        let users = &mut self.places[slot].users;
        *users = if more { *users + 1 } else { users.saturating_sub(1) };
    }

    /// Adds the shadow of a table that has none.
    pub(super) fn insert(&mut self, table: u32, shadow: u32, level: u8) -> Option<usize> {
        let slot = self.free;
        let bucket = self.bucket(table);
        let place = self.places.get_mut(slot as usize)?;
        self.free = place.next;
        *place = Place {
            table,
            shadow,
            next: self.buckets[bucket],
            level,
            users: 0,
        };
        self.buckets[bucket] = slot;
        self.used += 1;
        Some(slot as usize)
    }

    /// Takes a shadow out.
    pub(super) fn remove(&mut self, slot: usize) -> u32 {
        let Place {
            table, shadow, next, ..
        } = self.places[slot];
        let bucket = self.bucket(table);
        if self.buckets[bucket] == slot as u32 {
            self.buckets[bucket] = next;
        } else {
            let mut at = self.buckets[bucket];
            while at != NONE && self.places[at as usize].next != slot as u32 {
                at = self.places[at as usize].next;
            }
            if let Some(before) = self.places.get_mut(at as usize) {
                before.next = next;
            }
        }
        self.places[slot].table = NONE;
        self.places[slot].next = self.free;
        self.free = slot as u32;
        self.used -= 1;
        shadow
    }

    /// Takes those out for which `keep` says no, given shadow and users.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(u32, u32) -> bool) {
        for slot in 0..self.places.len() {
            let Place {
                table, shadow, users, ..
            } = self.places[slot];
            if table != NONE && !keep(shadow, users) {
                self.remove(slot);
            }
        }
    }

    /// Takes all out.
    pub(super) fn clear(&mut self, mut each: impl FnMut(u32)) {
        self.retain(|shadow, _| {
            each(shadow);
            false
        });
    }
}
