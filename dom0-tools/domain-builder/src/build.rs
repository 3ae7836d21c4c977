//! Carries a layout out: populates a domain and writes to its memory what its kernel expects.

use alloc::vec::Vec;
use core::fmt;

use xen_abi as abi;
use xenctrl_core::{DomId, Domains, Error, Mapped, Memory, PAGE_SIZE, PinLevel, Resource};
use zerocopy::IntoBytes;

use crate::kernel::Kernel;
use crate::layout::{Layout, LayoutError, Request};
use crate::start::{self, Facts};
use crate::tables;

/// Pages of the extents that memory is first asked for in, as an order: 2 MiB.
const LARGE_ORDER: u32 = 9;
/// Extents in one call: small enough for the hypercall's buffer.
const EXTENTS: usize = 4096;

/// A ring to a daemon: the domain it runs in, and the guest's port for it.
#[derive(Clone, Copy, Debug)]
pub struct Channel {
    /// Who reads the other end.
    pub domid: DomId,
    /// The guest's port, from `alloc_unbound`.
    pub port: u32,
}

/// What a guest is built with.
#[derive(Clone, Copy, Debug)]
pub struct Params<'a, M> {
    /// Frames to give it.
    pub pages: u64,
    /// The kernel's command line, shorter than 1024 bytes.
    pub command_line: &'a str,
    /// The initial RAM disk, with its length in bytes.
    pub initrd: Option<&'a M>,
    /// Its console.
    pub console: Channel,
    /// Its xenstore connection.
    pub store: Channel,
    /// `SIF_*` for start_info; 0 for an ordinary guest.
    pub flags: u32,
}

/// What a toolstack must know of a guest that was built.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Built {
    /// Machine frame of the console's ring.
    pub console_mfn: u64,
    /// Machine frame of xenstore's ring.
    pub store_mfn: u64,
    /// Where everything stands.
    pub layout: Layout,
}

/// Why a guest could not be built.
#[derive(Debug)]
pub enum BuildError {
    /// It cannot be laid out.
    Layout(LayoutError),
    /// The command line is too long; its bytes.
    CommandLine(usize),
    /// The hypervisor gave fewer pages than were asked for.
    Memory {
        /// Pages it gave.
        given: u64,
        /// Pages it was asked for.
        asked: u64,
    },
    /// The hypervisor refused something.
    Refused(Error),
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Layout(error) => error.fmt(f),
            Self::CommandLine(len) => write!(
                f,
                "the kernel's command line has {len} bytes; {} are the most (keys cmdline, extra, root)",
                abi::MAX_GUEST_CMDLINE - 1
            ),
            Self::Memory { given, asked } => write!(
                f,
                "the hypervisor gave {} of {} MiB: the machine has too little free memory, or maxmem is too low",
                given / 256,
                asked / 256
            ),
            Self::Refused(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for BuildError {}

impl From<Error> for BuildError {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

/// Builds a guest into a domain that exists, is paused, has its vcpus and its limit of memory.
///
/// On an error the domain is left half built, to be destroyed.
///
/// # Errors
/// What was impossible, or refused.
pub fn build<H: Domains + Memory + ?Sized>(
    hypervisor: &H,
    domid: DomId,
    kernel: &Kernel<H::Mapping>,
    params: &Params<'_, H::Mapping>,
) -> Result<Built, BuildError> {
    if params.command_line.len() >= abi::MAX_GUEST_CMDLINE {
        return Err(BuildError::CommandLine(params.command_line.len()));
    }
    let notes = kernel.notes();
    let initrd_len = params.initrd.map_or(0, |initrd| initrd.len() as u64);
    let layout = Layout::compute(&Request {
        virt_base: notes.virt_base,
        kernel_end: kernel.end_pfn(),
        init_p2m: notes.init_p2m,
        mod_start_pfn: notes.mod_start_pfn,
        initrd_len,
        pages: params.pages,
    })
    .map_err(BuildError::Layout)?;

    let p2m = populate(hypervisor, domid, params.pages)?;
    let guest = Guest {
        hypervisor,
        domid,
        p2m: &p2m,
    };
    let shared_info_mfn = hypervisor.domain_info(domid)?.shared_info_frame;
    let facts = Facts {
        pages: params.pages,
        shared_info_mfn,
        store_mfn: guest.mfn(layout.store),
        store_port: params.store.port,
        console_mfn: guest.mfn(layout.console),
        console_port: params.console.port,
        initrd_len,
        command_line: params.command_line,
        flags: params.flags,
    };
    guest.write_rings(&layout, kernel)?;
    guest.write_kernel(kernel)?;
    guest.write_initrd(&layout, params.initrd)?;
    guest.write_start(&layout, kernel, &facts)?;
    guest.write_shared_info(shared_info_mfn)?;
    guest.write_grants(params, &facts)?;
    if let Some(va) = notes.hypercall_page {
        let pfn = va.wrapping_sub(layout.virt_base) / PAGE_SIZE as u64;
        if let Some(mfn) = usize::try_from(pfn).ok().and_then(|pfn| p2m.get(pfn)) {
            hypervisor.init_hypercall_page(domid, *mfn)?;
        }
    }
    let root = guest.mfn(layout.tables.pfn);
    hypervisor.pin_tables(domid, &[(PinLevel::L4, root)])?;
    hypervisor.set_vcpu_context(domid, 0, &start::first_context(&layout, notes, root))?;
    Ok(Built {
        console_mfn: facts.console_mfn,
        store_mfn: facts.store_mfn,
        layout,
    })
}

/// Gives a domain frames `0..pages`: in large extents while there are any, then in single pages. Returns the machine
/// frame of each.
fn populate<H: Memory + ?Sized>(hypervisor: &H, domid: DomId, pages: u64) -> Result<Vec<u64>, BuildError> {
    let size = 1u64 << LARGE_ORDER;
    let mut p2m: Vec<u64> = Vec::with_capacity(pages as usize);
    let mut order = LARGE_ORDER;
    while (p2m.len() as u64) < pages {
        let start = p2m.len() as u64;
        let step = if order == 0 { 1 } else { size };
        let count = ((pages - start) / step).min(EXTENTS as u64);
        if count == 0 {
            order = 0;
            continue;
        }
        let mut extents: Vec<u64> = (0..count).map(|index| start + index * step).collect();
        let done = match hypervisor.populate(domid, order, &mut extents) {
            Ok(done) => done,
            // Some hypervisors answer an error rather than none at all.
            Err(_) if order != 0 => 0,
            Err(error) => return Err(error.into()),
        };
        for mfn in &extents[..done.min(extents.len())] {
            p2m.extend(*mfn..*mfn + step);
        }
        if (done as u64) < count {
            if order == 0 {
                return Err(BuildError::Memory {
                    given: p2m.len() as u64,
                    asked: pages,
                });
            }
            order = 0;
        }
    }
    Ok(p2m)
}

/// A domain being built.
struct Guest<'a, H: ?Sized> {
    hypervisor: &'a H,
    domid: DomId,
    p2m: &'a [u64],
}

impl<H: Memory + ?Sized> Guest<'_, H> {
    fn mfn(&self, pfn: u64) -> u64 {
        self.p2m[pfn as usize]
    }

    fn map(&self, pfns: impl Iterator<Item = u64>) -> Result<H::Mapping, Error> {
        let mfns: Vec<u64> = pfns.map(|pfn| self.mfn(pfn)).collect();
        self.hypervisor.map_foreign(self.domid, &mfns, true)
    }

    /// Clears the rings. Fresh memory is zero; only where the hypervisor fills it with a pattern, as debug builds do,
    /// the kernel's pages without contents are cleared too.
    fn write_rings(&self, layout: &Layout, kernel: &Kernel<H::Mapping>) -> Result<(), Error> {
        let rings = self.map([layout.store, layout.console].into_iter())?;
        let mut fresh = [0; 64];
        rings.read(0, &mut fresh);
        rings.fill(0, rings.len(), 0);
        if fresh == [0; 64] {
            return Ok(());
        }
        let frames: Vec<u64> = kernel.frames().collect();
        for some in frames.chunks(EXTENTS) {
            let pages = self.map(some.iter().copied())?;
            pages.fill(0, pages.len(), 0);
        }
        Ok(())
    }

    fn write_kernel(&self, kernel: &Kernel<H::Mapping>) -> Result<(), Error> {
        let pages = self.map(kernel.runs().iter().flat_map(|run| run.pfn..run.pfn + run.count))?;
        kernel.copy_pages(&pages);
        Ok(())
    }

    fn write_initrd(&self, layout: &Layout, initrd: Option<&H::Mapping>) -> Result<(), Error> {
        let Some(initrd) = initrd else {
            return Ok(());
        };
        let pages = self.map(layout.initrd.range())?;
        pages.copy_from(0, initrd, 0, initrd.len());
        Ok(())
    }

    /// start_info, page tables and the p2m table.
    fn write_start(&self, layout: &Layout, kernel: &Kernel<H::Mapping>, facts: &Facts<'_>) -> Result<(), Error> {
        let frames = [layout.start_info]
            .into_iter()
            .chain(layout.tables.range())
            .chain(layout.p2m_tables.range())
            .chain(layout.p2m.range());
        let pages = self.map(frames)?;
        let info = start::fill_start_info(layout, kernel.notes(), facts);
        pages.write(0, info.as_bytes());
        let size = size_of_val(&*info);
        pages.fill(size, PAGE_SIZE - size, 0);
        let tables = tables::fill(layout, self.p2m);
        pages.write(PAGE_SIZE, tables.as_bytes());
        let at = (1 + tables.len()) * PAGE_SIZE;
        pages.write(at, self.p2m.as_bytes());
        Ok(())
    }

    /// Masks events of all vcpus: a kernel unmasks them when it is ready.
    fn write_shared_info(&self, mfn: u64) -> Result<(), Error> {
        let page = self.hypervisor.map_foreign(self.domid, &[mfn], true)?;
        for vcpu in 0..abi::XEN_LEGACY_MAX_VCPUS {
            let at = abi::SHARED_INFO_VCPU_INFO + vcpu * abi::VCPU_INFO_SIZE + abi::VCPU_INFO_UPCALL_MASK;
            page.write(at, &[1]);
        }
        Ok(())
    }

    /// Grants the two rings to their daemons' domains by the reserved references, so that a daemon needs no right to
    /// foreign memory.
    fn write_grants(&self, params: &Params<'_, H::Mapping>, facts: &Facts<'_>) -> Result<(), Error> {
        let table = self.hypervisor.map_resource(self.domid, Resource::GrantTable, 0, 1)?;
        let grants = [
            (abi::GNTTAB_RESERVED_CONSOLE, params.console.domid, facts.console_mfn),
            (abi::GNTTAB_RESERVED_XENSTORE, params.store.domid, facts.store_mfn),
        ];
        for (gref, domid, frame) in grants {
            let entry = abi::grant_entry_v1 {
                flags: abi::GTF_permit_access,
                domid,
                frame: frame as u32,
            };
            table.write(gref as usize * size_of_val(&entry), entry.as_bytes());
        }
        Ok(())
    }
}
