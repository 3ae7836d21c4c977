//! Receiving a domain's memory and registers into a domain that is empty, paused and has its vcpus.
//!
//! The stream is hostile: what it says reaches only the new domain's own memory, through checks of every number, and the
//! hypervisor checks page tables and registers as it does for any domain.

use std::collections::BTreeMap;
use std::io::Read;

use anyhow::{Context, Result, bail, ensure};
use migration_stream::libxc::{self, Part, Record};
use migration_stream::{PAGE_SIZE, PageData, PageKind, Source};
use xenctrl::{CpuPolicy, DomId, Hypervisor, PinLevel, TscInfo, VcpuPart};

use super::guest_list::{INVALID, most_frames};
use super::page_table;
use super::progress::Progress;
use super::registers;
use crate::life::layout::Rings;
use crate::message;

/// Page tables pinned by one call.
const PINS: usize = 256;

/// A domain as far as it has come.
pub struct Receiver<'a> {
    hypervisor: &'a dyn Hypervisor,
    domid: DomId,
    vcpus: u32,
    most: u64,
    /// Machine frame of each frame.
    mfns: Vec<u64>,
    kinds: Vec<PageKind>,
    /// Frames that hold the guest's list of its frames.
    holders: Vec<u64>,
    parts: BTreeMap<(u32, Part), Vec<u8>>,
    policy: CpuPolicy,
    shared: Option<Vec<u8>>,
}

/// Reads libxc's stream into a domain of `vcpus` vcpus that may have `pages` pages; its rings.
pub fn receive<R: Read>(
    hypervisor: &dyn Hypervisor,
    domid: DomId,
    (vcpus, pages): (u32, u64),
    from: &mut Source<R>,
    progress: &mut Progress,
) -> Result<Rings> {
    let header = libxc::read_header(from)?;
    let (major, minor) = header.xen;
    message::detail(format_args!(
        "a paravirtual domain of Xen {major}.{minor}, format {}",
        header.version
    ));
    let mut receiver = Receiver {
        hypervisor,
        domid,
        vcpus,
        // A configuration may claim any memory; what is kept here for each frame must not be more than there can be.
        most: most_frames(pages.min(hypervisor.phys_info()?.total_pages)),
        mfns: Vec::new(),
        kinds: Vec::new(),
        holders: Vec::new(),
        parts: BTreeMap::new(),
        policy: CpuPolicy::default(),
        shared: None,
    };
    let mut done = 0;
    loop {
        let at = from.position();
        let record = libxc::read_record(from)?;
        if record == Record::End {
            break;
        }
        if let Record::Pages(pages) = &record {
            done += pages.frames.len();
        }
        receiver
            .take(record)
            .with_context(|| format!("at byte {at} of the stream"))?;
        progress.advance(from.position() - at, done.min(receiver.mfns.len()), receiver.mfns.len());
    }
    progress.end_step("memory");
    receiver.finish()
}

impl Receiver<'_> {
    fn take(&mut self, record: Record) -> Result<()> {
        match record {
            Record::PvInfo { width: 8, levels: 4 } | Record::Unknown(_) | Record::Checkpoint => {}
            Record::PvInfo { width, levels } => {
                bail!(
                    "the guest has words of {width} bytes and {levels} levels of page tables; 8 and 4 can be restored"
                )
            }
            Record::StaticDataEnd => self.set_policy()?,
            Record::CpuidPolicy(leaves) => self.policy.leaves = leaves,
            Record::MsrPolicy(msrs) => self.policy.msrs = msrs,
            Record::P2mFrames { first, last, frames } => self.take_list(first, last, frames)?,
            Record::Pages(pages) => self.take_pages(pages)?,
            Record::Tsc(tsc) => self.hypervisor.restore_tsc_info(
                self.domid,
                &TscInfo {
                    mode: tsc.mode,
                    khz: tsc.khz,
                    incarnation: tsc.incarnation,
                    elapsed_ns: tsc.elapsed_ns,
                },
            )?,
            Record::SharedInfo(page) => self.shared = Some(page),
            Record::Vcpu { vcpu, part, context } => {
                ensure!(
                    vcpu < self.vcpus,
                    "registers of vcpu {vcpu} in a domain of {} vcpus",
                    self.vcpus
                );
                self.parts.insert((vcpu, part), context);
            }
            Record::Verify | Record::End => bail!("the stream ends, or repeats itself, in its middle"),
        }
        Ok(())
    }

    /// Shows the guest the CPUs that it knows.
    fn set_policy(&self) -> Result<()> {
        if self.policy == CpuPolicy::default() {
            return Ok(());
        }
        let refused = match self.hypervisor.set_cpu_policy(self.domid, &self.policy) {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        // A hypervisor that has no MSRs of a policy shows none, which is what zeros say.
        let only_zeros = self.policy.msrs.chunks_exact(16).all(|msr| msr[8..] == [0; 8]);
        let without = CpuPolicy {
            leaves: self.policy.leaves.clone(),
            msrs: Vec::new(),
        };
        if only_zeros && self.hypervisor.set_cpu_policy(self.domid, &without).is_ok() {
            return Ok(());
        }
        Err(refused).context("this machine's CPUs lack what the guest was started with")
    }

    fn take_list(&mut self, first: u32, last: u32, frames: Vec<u64>) -> Result<()> {
        ensure!(
            u64::from(last) < self.most,
            "the guest claims {last:#x} frames; {:#x} are the most for its memory",
            self.most
        );
        let at = first as usize / (PAGE_SIZE / 8);
        ensure!(at <= self.holders.len(), "a part of the list of frames is left out");
        self.holders.truncate(at);
        self.holders.extend(frames);
        let count = (last as usize + 1).max(self.mfns.len());
        self.mfns.resize(count, INVALID);
        self.kinds.resize(count, PageKind::INVALID);
        Ok(())
    }

    fn index(&self, pfn: u64) -> Result<usize> {
        let at = usize::try_from(pfn).ok().filter(|at| *at < self.mfns.len());
        at.with_context(|| {
            format!(
                "frame {pfn:#x} is beyond the {:#x} frames of the guest",
                self.mfns.len()
            )
        })
    }

    /// Machine frame of a frame that must be there.
    fn mfn(&self, pfn: u64) -> Result<u64> {
        let mfn = self.mfns[self.index(pfn)?];
        ensure!(mfn != INVALID, "frame {pfn:#x} is not in the stream");
        Ok(mfn)
    }

    /// Gives the domain those of the frames that it has not.
    fn populate(&mut self, pfns: impl Iterator<Item = u64>) -> Result<()> {
        let mut missing = Vec::new();
        for pfn in pfns {
            if self.mfns[self.index(pfn)?] == INVALID {
                missing.push(pfn);
            }
        }
        missing.sort_unstable();
        missing.dedup();
        for some in missing.chunks(1024) {
            let mut extents = some.to_vec();
            let done = self.hypervisor.populate(self.domid, 0, &mut extents)?;
            for (pfn, mfn) in some.iter().zip(&extents[..done.min(extents.len())]) {
                self.mfns[*pfn as usize] = *mfn;
            }
            ensure!(
                done == some.len(),
                "the machine has too little free memory, or the guest more than its limit"
            );
        }
        Ok(())
    }

    fn take_pages(&mut self, mut pages: PageData) -> Result<()> {
        let frames = std::mem::take(&mut pages.frames);
        let wanted = |kind: PageKind| kind.has_data() || kind == PageKind::ALLOCATE;
        let there: Vec<u64> = frames
            .iter()
            .filter_map(|(pfn, kind)| wanted(*kind).then_some(*pfn))
            .collect();
        self.populate(there.into_iter())?;
        let mut mfns = Vec::with_capacity(frames.len());
        let mut levels = Vec::with_capacity(frames.len());
        for (pfn, kind) in &frames {
            let at = self.index(*pfn)?;
            self.kinds[at] = *kind;
            if kind.has_data() {
                mfns.push(self.mfns[at]);
                levels.push(kind.level());
            }
        }
        if mfns.is_empty() {
            return Ok(());
        }
        for (page, level) in pages.pages_mut().zip(&levels) {
            if let Some(level) = *level {
                self.populate(page_table::frames(page, level))?;
                page_table::translate(page, level, |pfn| self.mfn(pfn).ok())
                    .map_err(|bad| anyhow::anyhow!("a page table has entry {:#x}", bad.entry))?;
            }
        }
        let memory = self.hypervisor.map_foreign(self.domid, &mfns, true)?;
        for (at, page) in pages.pages().enumerate() {
            xenctrl::Mapped::write(&memory, at * PAGE_SIZE, page);
        }
        Ok(())
    }

    /// Makes a domain of what has come.
    fn finish(mut self) -> Result<Rings> {
        ensure!(!self.mfns.is_empty(), "the stream has no memory");
        self.write_list()?;
        let shared = self.shared.take().context("the stream has no shared page")?;
        let shared_mfn = self.hypervisor.domain_info(self.domid)?.shared_info_frame;
        registers::write_shared(self.hypervisor, self.domid, shared_mfn, &shared)?;
        let rings = self.write_start_info(shared_mfn)?;
        self.pin()?;
        self.set_vcpus()?;
        registers::write_grants(self.hypervisor, self.domid, &rings)?;
        Ok(rings)
    }

    /// The guest's own list of its frames.
    fn write_list(&self) -> Result<()> {
        let pages = self.mfns.len().div_ceil(PAGE_SIZE / 8);
        ensure!(
            self.holders.len() >= pages,
            "{} pages hold a list of {pages}",
            self.holders.len()
        );
        let mut bytes: Vec<u8> = self.mfns.iter().flat_map(|mfn| mfn.to_le_bytes()).collect();
        bytes.resize(pages * PAGE_SIZE, 0xff);
        for (some, bytes) in self.holders[..pages].chunks(1024).zip(bytes.chunks(1024 * PAGE_SIZE)) {
            let mut mfns = Vec::with_capacity(some.len());
            for pfn in some {
                let mfn = self.mfn(*pfn).context("the list of frames")?;
                ensure!(
                    self.kinds[self.index(*pfn)?].level().is_none(),
                    "frame {pfn:#x} of the list of frames is a page table"
                );
                mfns.push(mfn);
            }
            self.hypervisor.map_foreign(self.domid, &mfns, true)?.write(0, bytes);
        }
        Ok(())
    }

    fn basic(&self, vcpu: u32) -> Result<Box<xen_abi::vcpu_guest_context>> {
        let bytes = self.parts.get(&(vcpu, Part::Basic));
        let bytes = bytes.with_context(|| format!("the stream has no registers of vcpu {vcpu}"))?;
        registers::context(bytes).with_context(|| format!("vcpu {vcpu}"))
    }

    /// Tells the guest where its rings are now, in the page that its first vcpu names.
    fn write_start_info(&self, shared_mfn: u64) -> Result<Rings> {
        let pfn = self.basic(0)?.user_regs.rdx;
        let mfn = self.mfn(pfn).context("start_info")?;
        ensure!(
            self.kinds[self.index(pfn)?].level().is_none(),
            "frame {pfn:#x} with start_info is a page table"
        );
        let page = self.hypervisor.map_foreign(self.domid, &[mfn], true)?;
        let frames = registers::ring_frames(&page);
        let ring = |what: &str, pfn: u64| {
            let mfn = self.mfn(pfn).with_context(|| format!("the {what} ring"))?;
            ensure!(
                self.kinds[self.index(pfn)?].level().is_none(),
                "the {what} ring is a page table"
            );
            anyhow::Ok(mfn)
        };
        let rings = Rings {
            store_frame: ring("xenstore", frames.store)?,
            store_port: self.hypervisor.alloc_unbound(self.domid, 0)?,
            console_frame: ring("console", frames.console)?,
            console_port: self.hypervisor.alloc_unbound(self.domid, 0)?,
        };
        registers::write_start_info(&page, self.mfns.len() as u64, shared_mfn, &rings);
        Ok(rings)
    }

    fn pin(&self) -> Result<()> {
        let mut tables = Vec::new();
        for (mfn, kind) in self.mfns.iter().zip(&self.kinds).filter(|(_, kind)| kind.is_pinned()) {
            let level = match kind.level() {
                Some(1) => PinLevel::L1,
                Some(2) => PinLevel::L2,
                Some(3) => PinLevel::L3,
                _ => PinLevel::L4,
            };
            tables.push((level, *mfn));
        }
        for some in tables.chunks(PINS) {
            self.hypervisor.pin_tables(self.domid, some)?;
        }
        Ok(())
    }

    fn set_vcpus(&self) -> Result<()> {
        let with_registers: Vec<u32> = self
            .parts
            .keys()
            .filter_map(|(vcpu, part)| (*part == Part::Basic).then_some(*vcpu))
            .collect();
        for vcpu in with_registers {
            self.set_vcpu(vcpu).with_context(|| format!("vcpu {vcpu}"))?;
        }
        Ok(())
    }

    fn set_vcpu(&self, vcpu: u32) -> Result<()> {
        let mut context = self.basic(vcpu)?;
        registers::translate(&mut context, vcpu == 0, |pfn, root| {
            let mfn = self.mfn(pfn)?;
            ensure!(
                !root || self.kinds[self.index(pfn)?].level() == Some(4),
                "its root in frame {pfn:#x} is no root"
            );
            Ok(mfn)
        })?;
        self.hypervisor.set_vcpu_context(self.domid, vcpu, &context)?;
        for (part, of) in [
            (Part::Extended, VcpuPart::Extended),
            (Part::Xsave, VcpuPart::Xsave),
            (Part::Msrs, VcpuPart::Msrs),
        ] {
            if let Some(bytes) = self.parts.get(&(vcpu, part)) {
                self.set_part(vcpu, of, bytes)?;
            }
        }
        Ok(())
    }

    /// A hypervisor that does not know a part at all goes without it: the registers hold the legacy state, too.
    fn set_part(&self, vcpu: u32, part: VcpuPart, bytes: &[u8]) -> Result<()> {
        match self.hypervisor.set_vcpu_part(self.domid, vcpu, part, bytes) {
            Err(error) if super::is_not_there(&error) => {
                message::warn(format_args!(
                    "vcpu {vcpu}: this hypervisor does not take {part:?} state; it is left out"
                ));
                Ok(())
            }
            other => Ok(other?),
        }
    }
}
