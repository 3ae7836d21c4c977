//! What backend and frontend tell each other of a disk through xenstore.

use anyhow::{Context, Result, bail};
use xenstore_client::Store;

use crate::image::Image;
use crate::queue::QueueAddress;
use crate::request::{INDIRECT_SEGMENTS, SECTOR};

/// Largest ring, as an order of pages.
const RING_ORDER: u32 = 4;
/// `VDISK_READONLY`.
const READ_ONLY: u32 = 4;
/// `VDISK_CDROM`.
const CDROM: u32 = 1;
/// Bytes that discards should be a multiple of: a page of the file behind.
const DISCARD_GRANULARITY: u64 = 4096;

/// What this backend can do, as nodes.
pub(crate) fn offered(image: &Image, queues: u32) -> Vec<(&'static str, String)> {
    let flag = |set: bool| u32::from(set).to_string();
    let mut nodes = vec![
        ("feature-flush-cache", flag(image.is_writable())),
        ("feature-barrier", flag(image.is_writable())),
        ("feature-persistent", flag(true)),
        ("feature-max-indirect-segments", INDIRECT_SEGMENTS.to_string()),
        ("max-ring-page-order", RING_ORDER.to_string()),
        ("multi-queue-max-queues", queues.to_string()),
        ("feature-discard", flag(image.has_discard())),
    ];
    if image.has_discard() {
        nodes.push(("discard-granularity", DISCARD_GRANULARITY.to_string()));
        nodes.push(("discard-alignment", "0".to_owned()));
        nodes.push(("discard-secure", flag(false)));
    }
    nodes
}

/// What the disk is, as nodes.
pub(crate) fn described(image: &Image, is_cdrom: bool) -> Vec<(&'static str, String)> {
    let mut info = 0;
    if !image.is_writable() {
        info |= READ_ONLY;
    }
    if is_cdrom {
        info |= CDROM;
    }
    vec![
        ("sectors", image.sectors().to_string()),
        ("info", info.to_string()),
        ("sector-size", SECTOR.to_string()),
        ("physical-sector-size", SECTOR.to_string()),
    ]
}

/// What a frontend asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Asked {
    /// It uses the same pages again and again.
    pub(crate) persistent: bool,
    /// Its queues.
    pub(crate) queues: Vec<QueueAddress>,
}

fn number(store: &mut impl Store, path: &str) -> Result<Option<u32>> {
    let Some(text) = store.read_optional(path)? else {
        return Ok(None);
    };
    let number = text.trim().parse();
    number
        .map(Some)
        .with_context(|| format!("{path} holds {text:?}, not a number"))
}

fn required(store: &mut impl Store, path: &str) -> Result<u32> {
    number(store, path)?.with_context(|| format!("{path} is missing"))
}

/// Reads what the frontend at `path` asks for; `queues` is the most that it was offered.
///
/// # Errors
/// What is missing or no good, by path.
pub(crate) fn asked(store: &mut impl Store, path: &str, queues: u32) -> Result<Asked> {
    if let Some(protocol) = store.read_optional(&format!("{path}/protocol"))?
        && protocol != "x86_64-abi"
    {
        bail!("{path}/protocol is {protocol:?}; only x86_64-abi is served");
    }
    let persistent = number(store, &format!("{path}/feature-persistent"))? == Some(1);
    let order = number(store, &format!("{path}/ring-page-order"))?;
    if order.is_some_and(|order| order > RING_ORDER) {
        bail!("{path}/ring-page-order is above {RING_ORDER}, the most that was offered");
    }
    let count = number(store, &format!("{path}/multi-queue-num-queues"))?;
    if count.is_some_and(|count| count == 0 || count > queues) {
        bail!("{path}/multi-queue-num-queues is not between 1 and {queues}");
    }
    let places = match count {
        None | Some(1) if store.exists(&format!("{path}/event-channel"))? => vec![path.to_owned()],
        count => (0..count.unwrap_or(1))
            .map(|queue| format!("{path}/queue-{queue}"))
            .collect(),
    };
    let queues = places
        .iter()
        .map(|place| queue(store, place, order))
        .collect::<Result<_>>()?;
    Ok(Asked { persistent, queues })
}

fn queue(store: &mut impl Store, place: &str, order: Option<u32>) -> Result<QueueAddress> {
    let pages = 1u32 << order.unwrap_or(0);
    let single = format!("{place}/ring-ref");
    let grefs = if pages == 1 && store.exists(&single)? {
        vec![required(store, &single)?]
    } else {
        let page = |page| required(store, &format!("{place}/ring-ref{page}"));
        (0..pages).map(page).collect::<Result<_>>()?
    };
    Ok(QueueAddress {
        grefs,
        port: required(store, &format!("{place}/event-channel"))?,
    })
}
