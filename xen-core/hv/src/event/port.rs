//! The table of a domain's ports. It grows by buckets, which stay until the domain goes: a port found once may be
//! used without a lock on the table.

use crate::domain::Domain;
use crate::sync::{Mutex, Once};
use alloc::boxed::Box;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU32};
use xen_abi::Errno;
use xen_logic::evtchn::fifo::{DEFAULT_PRIORITY, PORTS};
use xen_logic::evtchn::port::Binding;

const BUCKET: usize = 64;
const GROUP: usize = 64;
const GROUPS: usize = PORTS as usize / (BUCKET * GROUP);

/// A port.
pub(super) struct Port {
    /// What it is bound to. Held while an event is sent through it.
    pub(super) binding: Mutex<Binding<Arc<Domain>>>,
    /// The vcpu it notifies.
    pub(super) vcpu: AtomicU32,
    /// The FIFO queue it was last appended to: vcpu in the upper bits, priority in the lower eight.
    pub(super) last_queue: AtomicU32,
    /// Its FIFO priority.
    pub(super) priority: AtomicU8,
    /// Pending since before the page of its event word was there.
    pub(super) early: AtomicBool,
}

impl Port {
    const fn new() -> Self {
        Port {
            binding: Mutex::new(Binding::Free),
            vcpu: AtomicU32::new(0),
            last_queue: AtomicU32::new(0),
            priority: AtomicU8::new(DEFAULT_PRIORITY),
            early: AtomicBool::new(false),
        }
    }
}

type Bucket = Box<[Port]>;
type Group = Box<[Once<Bucket>]>;

/// A domain's ports.
pub(super) struct PortTable {
    groups: [Once<Group>; GROUPS],
}

impl PortTable {
    pub(super) const fn new() -> Self {
        PortTable {
            groups: [const { Once::new() }; GROUPS],
        }
    }

    /// Port `number`, if its bucket exists; port 0 never does.
    #[inline]
    pub(super) fn get(&self, number: u32) -> Option<&Port> {
        let number = number as usize;
        if number == 0 {
            return None;
        }
        let group = self.groups.get(number / (BUCKET * GROUP))?.get()?;
        group[number / BUCKET % GROUP]
            .get()
            .map(|bucket| &bucket[number % BUCKET])
    }

    /// Port `number`, in a bucket made for it if need be. The caller holds the `admin` lock.
    pub(super) fn make(&self, number: u32) -> Result<&Port, Errno> {
        let n = number as usize;
        let group = self.groups.get(n / (BUCKET * GROUP)).ok_or(Errno::ENOSPC)?;
        let group = match group.get() {
            Some(group) => group,
            None => {
                let buckets = boxed(GROUP, Once::new)?;
                group.call_once(|| buckets)
            }
        };
        let bucket = &group[n / BUCKET % GROUP];
        if bucket.get().is_none() {
            let ports = boxed(BUCKET, Port::new)?;
            bucket.call_once(|| ports);
        }
        self.get(number).ok_or(Errno::ENOSPC)
    }

    /// The ports whose buckets exist, with their numbers.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Port)> {
        let groups = self
            .groups
            .iter()
            .enumerate()
            .filter_map(|(g, group)| Some((g, group.get()?)));
        let buckets = groups.flat_map(|(g, group)| {
            group
                .iter()
                .enumerate()
                .filter_map(move |(b, bucket)| Some((g * GROUP + b, bucket.get()?)))
        });
        buckets.flat_map(|(b, bucket)| {
            bucket
                .iter()
                .enumerate()
                .map(move |(n, port)| ((b * BUCKET + n) as u32, port))
                .skip((b == 0) as usize)
        })
    }
}

/// A slice of `len` new values, or `ENOMEM`.
fn boxed<T>(len: usize, new: impl Fn() -> T) -> Result<Box<[T]>, Errno> {
    let mut all = alloc::vec::Vec::new();
    all.try_reserve_exact(len).map_err(|_| Errno::ENOMEM)?;
    all.extend((0..len).map(|_| new()));
    Ok(all.into_boxed_slice())
}
