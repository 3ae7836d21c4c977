//! What a restored guest finds in its registers, its shared page, start_info and grant table.

use anyhow::{Context, Result, ensure};
use privcmd::Mapping;
use xen_abi::{self as abi, start_info, vcpu_guest_context};
use xenctrl::{DomId, Hypervisor, PAGE_SIZE, Resource};
use zerocopy::{FromBytes, IntoBytes};

use crate::life::layout::Rings;

/// A vcpu's registers from a stream.
pub fn context(bytes: &[u8]) -> Result<Box<vcpu_guest_context>> {
    let read = vcpu_guest_context::read_from_bytes(bytes).ok();
    let wanted = size_of::<vcpu_guest_context>();
    read.map(Box::new)
        .with_context(|| format!("its registers have {} bytes in the place of {wanted}", bytes.len()))
}

/// Frames of the guest's in a vcpu's registers become the machine's, by `mfn`, which is also told whether the frame must
/// be a root.
pub fn translate(context: &mut vcpu_guest_context, first: bool, mfn: impl Fn(u64, bool) -> Result<u64>) -> Result<()> {
    if first {
        context.user_regs.rdx = mfn(context.user_regs.rdx, false).context("start_info")?;
        context.flags |= abi::VGCF_online;
    }
    let frames = usize::try_from(context.gdt_ents)?.div_ceil(512);
    ensure!(
        frames <= abi::FIRST_RESERVED_GDT_PAGE,
        "its GDT has {} entries",
        context.gdt_ents
    );
    for (at, frame) in context.gdt_frames.iter_mut().enumerate() {
        *frame = if at < frames {
            mfn(*frame, false).context("its GDT")?
        } else {
            0
        };
    }
    context.ctrlreg[3] = mfn(context.ctrlreg[3] >> 12, true)? << 12;
    context.ctrlreg[1] = if context.ctrlreg[1] & 1 != 0 {
        mfn(context.ctrlreg[1] >> 12, true)? << 12
    } else {
        0
    };
    Ok(())
}

/// Gives the new shared page what the guest's old one had, but for events, of which none are left, and for the
/// hypervisor's own words.
pub fn write_shared(hypervisor: &dyn Hypervisor, domid: DomId, mfn: u64, old: &[u8]) -> Result<()> {
    let page = hypervisor.map_foreign(domid, &[mfn], true)?;
    let pending = abi::XEN_LEGACY_MAX_VCPUS * abi::VCPU_INFO_SIZE;
    let (masks, clock) = (pending + 512, pending + 1024);
    let arch = clock + 16;
    for vcpu in 0..abi::XEN_LEGACY_MAX_VCPUS {
        let at = vcpu * abi::VCPU_INFO_SIZE;
        // The first 32 bytes are the guest's, the word of pending events apart; the time behind them is new.
        page.write(at, &old[at..at + 8]);
        page.write(at + 8, &[0; 8]);
        page.write(at + 16, &old[at + 16..at + 32]);
    }
    page.fill(pending, 512, 0);
    page.fill(masks, 512, 0xff);
    page.write(arch, &old[arch..]);
    // The guest says anew where its list is.
    page.write(arch + 8, &[0; 8]);
    Ok(())
}

/// Frames of the rings, by the guest's numbers.
#[derive(Clone, Copy, Debug)]
pub struct RingFrames {
    /// xenstore's.
    pub store: u64,
    /// The console's.
    pub console: u64,
}

fn read_info(page: &Mapping) -> Box<start_info> {
    let mut info = Box::<start_info>::default();
    page.read(0, info.as_mut_bytes());
    info
}

/// What the guest has written into start_info before it went.
pub fn ring_frames(page: &Mapping) -> RingFrames {
    let info = read_info(page);
    RingFrames {
        store: info.store_mfn,
        console: info.console.word,
    }
}

/// Writes start_info's words about this host.
pub fn write_start_info(page: &Mapping, frames: u64, shared_mfn: u64, rings: &Rings) {
    let mut info = read_info(page);
    info.nr_pages = frames;
    info.shared_info = shared_mfn << 12;
    info.flags = 0;
    (info.store_mfn, info.store_evtchn) = (rings.store_frame, rings.store_port);
    (info.console.word, info.console.evtchn) = (rings.console_frame, rings.console_port);
    debug_assert!(size_of::<start_info>() <= PAGE_SIZE);
    page.write(0, info.as_bytes());
}

/// Grants the rings to Dom0 by the reserved references.
pub fn write_grants(hypervisor: &dyn Hypervisor, domid: DomId, rings: &Rings) -> Result<()> {
    let table = hypervisor.map_resource(domid, Resource::GrantTable, 0, 1)?;
    for (gref, frame) in [
        (abi::GNTTAB_RESERVED_CONSOLE, rings.console_frame),
        (abi::GNTTAB_RESERVED_XENSTORE, rings.store_frame),
    ] {
        let entry = abi::grant_entry_v1 {
            flags: abi::GTF_permit_access,
            domid: 0,
            frame: u32::try_from(frame).context("a ring's frame is beyond 16 TiB")?,
        };
        table.write(gref as usize * size_of_val(&entry), entry.as_bytes());
    }
    Ok(())
}
