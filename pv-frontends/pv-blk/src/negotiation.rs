//! What the two ends tell each other through xenstore before they share a ring (`public/io/blkif.h`, the sections on
//! nodes). Everything here was written by the other domain: a value that makes no sense is as good as none where the
//! header gives a default, and an error where it does not.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use pv_hal::{GrantRef, Port};
use xen_abi::{VDISK_CDROM, VDISK_READONLY, VDISK_REMOVABLE};

use crate::SECTOR_SIZE;

/// Largest ring that is ever used, as an order of pages: 16 pages, 512 requests.
pub const MAX_RING_ORDER: u32 = 4;
/// Most queues that are ever used.
pub const MAX_QUEUES: u32 = 64;
/// Most segments of an indirect request that are ever used: 1 MiB. One page of segments would hold 512.
pub const MAX_INDIRECT_SEGMENTS: u32 = 256;
/// The only layout of rings that is spoken here.
const PROTOCOL: &str = "x86_64-abi";

/// Looks up a node of one directory by name; none where it does not exist.
pub type Lookup<'a> = dyn FnMut(&str) -> Option<String> + 'a;

/// A node that is missing or holds nothing that can be used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BadNode {
    /// The node's name in its directory.
    pub name: String,
    /// What it holds, shortened; none where it is missing.
    pub value: Option<String>,
}

impl fmt::Display for BadNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "node {} holds {value:?}, which cannot be used", self.name),
            None => write!(f, "node {} is missing", self.name),
        }
    }
}

impl core::error::Error for BadNode {}

fn bad(name: &str, value: Option<String>) -> BadNode {
    let shorten = |text: String| text.chars().take(40).collect();
    BadNode {
        name: name.to_string(),
        value: value.map(shorten),
    }
}

/// A number that has a default.
fn number(look_up: &mut Lookup<'_>, name: &str, default: u32) -> u32 {
    let value = look_up(name).and_then(|text| text.trim_ascii().parse().ok());
    value.unwrap_or(default)
}

fn flag(look_up: &mut Lookup<'_>, name: &str) -> bool {
    number(look_up, name, 0) != 0
}

fn required<T: core::str::FromStr>(look_up: &mut Lookup<'_>, name: &str) -> Result<T, BadNode> {
    let text = look_up(name).ok_or_else(|| bad(name, None))?;
    text.trim_ascii().parse().map_err(|_| bad(name, Some(text)))
}

/// Nodes to write, by name, below one's own directory.
pub type Nodes = Vec<(String, String)>;

fn node(name: &str, value: impl ToString) -> (String, String) {
    (name.to_string(), value.to_string())
}

/// What the backend can carry, published before the frontend makes its rings (`InitWait`). As a frontend's wish it is
/// what it would like to use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Transport {
    /// Queues (`multi-queue-max-queues`), 1 at least.
    pub queues: u32,
    /// Ring size as an order of pages (`max-ring-page-order`).
    pub ring_order: u32,
    /// Segments of an indirect request (`feature-max-indirect-segments`); 0 where there are no such requests.
    pub indirect_segments: u32,
}

impl Default for Transport {
    /// What holds where nothing is published.
    fn default() -> Self {
        Self {
            queues: 1,
            ring_order: 0,
            indirect_segments: 0,
        }
    }
}

impl Transport {
    /// The most that this crate uses.
    pub const MAX: Self = Self {
        queues: MAX_QUEUES,
        ring_order: MAX_RING_ORDER,
        indirect_segments: MAX_INDIRECT_SEGMENTS,
    };

    /// Reads what a backend publishes; what is missing or senseless is as if not offered.
    pub fn read(look_up: &mut Lookup<'_>) -> Self {
        // Two families of frontends name the ring's size differently; the header asks to take either.
        let pages = number(look_up, "max-ring-pages", 1).max(1).ilog2();
        Self {
            queues: number(look_up, "multi-queue-max-queues", 1).max(1),
            ring_order: number(look_up, "max-ring-page-order", 0).max(pages),
            indirect_segments: number(look_up, "feature-max-indirect-segments", 0),
        }
    }

    /// The most that both ends can.
    pub fn common(self, other: Self) -> Self {
        Self {
            queues: self.queues.min(other.queues).clamp(1, MAX_QUEUES),
            ring_order: self.ring_order.min(other.ring_order).min(MAX_RING_ORDER),
            indirect_segments: self
                .indirect_segments
                .min(other.indirect_segments)
                .min(MAX_INDIRECT_SEGMENTS),
        }
    }

    /// The nodes that publish it.
    pub fn nodes(&self) -> Nodes {
        let mut nodes = alloc::vec![
            node("multi-queue-max-queues", self.queues),
            node("max-ring-page-order", self.ring_order),
            node("max-ring-pages", 1u32 << self.ring_order.min(MAX_RING_ORDER)),
        ];
        // "If a backend does not recognize BLKIF_OP_INDIRECT, it should not create the node."
        if self.indirect_segments > 0 {
            nodes.push(node("feature-max-indirect-segments", self.indirect_segments));
        }
        nodes
    }
}

/// Where one queue of a frontend is found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct QueueAddress {
    /// The ring's pages, in order.
    pub ring: Vec<GrantRef>,
    /// The frontend's event channel.
    pub port: Port,
}

/// What a frontend asks for, published when its rings stand (`Initialised`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Connection {
    /// It uses the same pages again and again, and lets them be mapped for writing (`feature-persistent`).
    pub persistent: bool,
    /// Ring size as an order of pages.
    pub ring_order: u32,
    /// Its queues.
    pub queues: Vec<QueueAddress>,
}

impl Connection {
    /// Reads what a frontend asks for of a backend that has offered `offer`.
    ///
    /// # Errors
    /// The first node that is missing, holds nonsense, or asks for more than was offered.
    pub fn read(look_up: &mut Lookup<'_>, offer: &Transport) -> Result<Self, BadNode> {
        if let Some(protocol) = look_up("protocol")
            && protocol.trim_ascii() != PROTOCOL
        {
            return Err(bad("protocol", Some(protocol)));
        }
        let persistent = flag(look_up, "feature-persistent");
        let order = read_ring_order(look_up, offer)?;
        let count = match look_up("multi-queue-num-queues") {
            None => None,
            Some(text) => match text.trim_ascii().parse() {
                Ok(count) if (1..=offer.queues.min(MAX_QUEUES)).contains(&count) => Some(count),
                _ => return Err(bad("multi-queue-num-queues", Some(text))),
            },
        };
        // With one queue the nodes stand at the top, though some frontends put them below even then.
        let is_flat = count.unwrap_or(1) == 1 && look_up("event-channel").is_some();
        let queues = (0..count.unwrap_or(1)).map(|queue| {
            let place = if is_flat || count.is_none() {
                String::new()
            } else {
                format!("queue-{queue}/")
            };
            read_queue(look_up, &place, order)
        });
        Ok(Self {
            persistent,
            queues: queues.collect::<Result<_, _>>()?,
            ring_order: order.unwrap_or(0),
        })
    }

    /// The nodes that publish it.
    pub fn nodes(&self) -> Nodes {
        let mut nodes = alloc::vec![
            node("protocol", PROTOCOL),
            node("feature-persistent", u32::from(self.persistent)),
        ];
        if self.ring_order > 0 {
            nodes.push(node("ring-page-order", self.ring_order));
            nodes.push(node("num-ring-pages", 1u32 << self.ring_order));
        }
        if let [queue] = self.queues.as_slice() {
            push_queue(&mut nodes, "", queue);
            return nodes;
        }
        nodes.push(node("multi-queue-num-queues", self.queues.len()));
        for (index, queue) in self.queues.iter().enumerate() {
            push_queue(&mut nodes, &format!("queue-{index}/"), queue);
        }
        nodes
    }

    /// Every node that any connection may have had: to be removed before another one is published, or a backend would
    /// find both.
    pub fn stale_nodes() -> impl Iterator<Item = String> {
        let top = [
            "ring-page-order",
            "num-ring-pages",
            "multi-queue-num-queues",
            "ring-ref",
            "event-channel",
        ];
        let rings = (0..1u32 << MAX_RING_ORDER).map(|page| format!("ring-ref{page}"));
        let queues = (0..MAX_QUEUES).map(|queue| format!("queue-{queue}"));
        top.into_iter().map(String::from).chain(rings).chain(queues)
    }
}

/// None where the frontend says nothing of the ring's size: then a single page is named `ring-ref`.
fn read_ring_order(look_up: &mut Lookup<'_>, offer: &Transport) -> Result<Option<u32>, BadNode> {
    let most = offer.ring_order.min(MAX_RING_ORDER);
    if let Some(text) = look_up("ring-page-order") {
        return match text.trim_ascii().parse() {
            Ok(order) if order <= most => Ok(Some(order)),
            _ => Err(bad("ring-page-order", Some(text))),
        };
    }
    if let Some(text) = look_up("num-ring-pages") {
        return match text.trim_ascii().parse::<u32>() {
            Ok(pages) if pages.is_power_of_two() && pages.ilog2() <= most => Ok(Some(pages.ilog2())),
            _ => Err(bad("num-ring-pages", Some(text))),
        };
    }
    Ok(None)
}

fn read_queue(look_up: &mut Lookup<'_>, place: &str, order: Option<u32>) -> Result<QueueAddress, BadNode> {
    let pages = 1u32 << order.unwrap_or(0);
    let single = format!("{place}ring-ref");
    let ring = if pages == 1 && (order.is_none() || look_up(&single).is_some()) {
        alloc::vec![required(look_up, &single)?]
    } else {
        let page = |page| required(look_up, &format!("{place}ring-ref{page}"));
        (0..pages).map(page).collect::<Result<_, _>>()?
    };
    Ok(QueueAddress {
        ring,
        port: required(look_up, &format!("{place}event-channel"))?,
    })
}

fn push_queue(nodes: &mut Nodes, place: &str, queue: &QueueAddress) {
    if let [page] = queue.ring.as_slice() {
        nodes.push(node(&format!("{place}ring-ref"), page));
    } else {
        for (index, page) in queue.ring.iter().enumerate() {
            nodes.push(node(&format!("{place}ring-ref{index}"), page));
        }
    }
    nodes.push(node(&format!("{place}event-channel"), queue.port));
}

/// How sectors are given up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Discard {
    /// Bytes of what can be given up on its own (`discard-granularity`).
    pub granularity: u32,
    /// Bytes from the disk's beginning to the first such piece (`discard-alignment`).
    pub alignment: u32,
    /// Sectors can be made unrecoverable (`discard-secure`).
    pub secure: bool,
}

/// What the disk is and can do, published with the backend's `Connected`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Properties {
    /// Size in sectors of 512 bytes.
    pub sectors: u64,
    /// Bytes that transfers must be multiples of, from a multiple on (`sector-size`): a power of two from 512 to 4096.
    /// Sectors are counted in 512 bytes all the same, as Linux's two ends do.
    pub sector_size: u32,
    /// Bytes that transfers should be multiples of (`physical-sector-size`).
    pub physical_sector_size: u32,
    /// It cannot be written.
    pub read_only: bool,
    /// It is a CD.
    pub cdrom: bool,
    /// Its medium may be taken out.
    pub removable: bool,
    /// Flushes are understood (`feature-flush-cache`).
    pub flush: bool,
    /// Barriers are understood (`feature-barrier`).
    pub barrier: bool,
    /// Granted pages may stay mapped (`feature-persistent`).
    pub persistent: bool,
    /// Sectors can be given up (`feature-discard`).
    pub discard: Option<Discard>,
}

impl Properties {
    /// Reads what a backend says of its disk.
    ///
    /// # Errors
    /// The size is missing or senseless, or the sectors' size is none that fits a page.
    pub fn read(look_up: &mut Lookup<'_>) -> Result<Self, BadNode> {
        let sectors: u64 = required(look_up, "sectors")?;
        if sectors.checked_mul(SECTOR_SIZE as u64).is_none() {
            return Err(bad("sectors", Some(sectors.to_string())));
        }
        let sector_size = number(look_up, "sector-size", SECTOR_SIZE as u32);
        if !sector_size.is_power_of_two() || !(SECTOR_SIZE as u32..=pv_hal::PAGE_SIZE as u32).contains(&sector_size) {
            return Err(bad("sector-size", Some(sector_size.to_string())));
        }
        let info = number(look_up, "info", 0);
        let discard = flag(look_up, "feature-discard").then(|| Discard {
            granularity: number(look_up, "discard-granularity", sector_size).max(sector_size),
            alignment: number(look_up, "discard-alignment", 0),
            secure: flag(look_up, "discard-secure"),
        });
        Ok(Self {
            sectors,
            sector_size,
            physical_sector_size: number(look_up, "physical-sector-size", sector_size).max(sector_size),
            read_only: info & VDISK_READONLY != 0,
            cdrom: info & VDISK_CDROM != 0,
            removable: info & VDISK_REMOVABLE != 0,
            flush: flag(look_up, "feature-flush-cache"),
            barrier: flag(look_up, "feature-barrier"),
            persistent: flag(look_up, "feature-persistent"),
            discard,
        })
    }

    /// The nodes that publish it.
    pub fn nodes(&self) -> Nodes {
        let bit = |set: bool, bit: u32| if set { bit } else { 0 };
        let info =
            bit(self.read_only, VDISK_READONLY) | bit(self.cdrom, VDISK_CDROM) | bit(self.removable, VDISK_REMOVABLE);
        let mut nodes = alloc::vec![
            node("sectors", self.sectors),
            node("info", info),
            node("sector-size", self.sector_size),
            node("physical-sector-size", self.physical_sector_size),
            node("feature-flush-cache", u32::from(self.flush)),
            node("feature-barrier", u32::from(self.barrier)),
            node("feature-persistent", u32::from(self.persistent)),
            node("feature-discard", u32::from(self.discard.is_some())),
        ];
        if let Some(discard) = self.discard {
            nodes.push(node("discard-granularity", discard.granularity));
            nodes.push(node("discard-alignment", discard.alignment));
            nodes.push(node("discard-secure", u32::from(discard.secure)));
        }
        nodes
    }
}

#[cfg(test)]
#[path = "negotiation_tests.rs"]
mod tests;
