//! Sending a domain: its memory once while it does not run, or while it runs, again and again what it has written, and
//! then the rest and its registers.

use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use migration_stream::libxc::{self, Part, Record, Tsc};
use migration_stream::{PAGE_SIZE, PageKind};
use xen_abi::vcpu_guest_context;
use xenctrl::{DirtyLog, DomId, Hypervisor, VcpuPart};
use zerocopy::IntoBytes;

use super::guest_list::GuestList;
use super::page_table;
use super::progress::Progress;
use crate::message;

/// Pages of one record, as in Xen's tools.
const BATCH: usize = 1024;
/// Rounds over the memory of a running domain, and the number of pages that ends them earlier: as in Xen's tools.
const ROUNDS: u32 = 5;
const FEW: usize = 50;

/// What sending took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Took {
    /// Rounds over memory.
    pub rounds: u32,
    /// Pages that went over, again and again ones included.
    pub pages: u64,
    /// When the domain was asked to suspend.
    pub suspended: Option<Instant>,
}

/// A domain on its way.
pub struct Sender<'a, W> {
    hypervisor: &'a dyn Hypervisor,
    domid: DomId,
    to: &'a mut W,
    progress: &'a mut Progress,
    list: GuestList,
    /// What each frame was when it was last sent: machine frame and kind.
    sent: Vec<Option<(u64, PageKind)>>,
    took: Took,
}

/// Writes libxc's stream of a domain that is suspended by `suspend`: at once, or with `live`, when most of it is over.
pub fn send<W: Write>(
    hypervisor: &dyn Hypervisor,
    domid: DomId,
    to: &mut W,
    progress: &mut Progress,
    live: bool,
    suspend: &mut dyn FnMut() -> Result<()>,
) -> Result<Took> {
    let version = hypervisor.version()?;
    libxc::write_header(to, (version.major, version.minor))?;
    write_static(hypervisor, domid, to)?;
    let log = if live { Log::begin(hypervisor, domid)? } else { None };
    let suspended = log.is_none().then(Instant::now);
    if log.is_none() {
        suspend()?;
    }
    let list = GuestList::read(hypervisor, domid)?;
    let sent = vec![None; list.len()];
    let took = Took {
        suspended,
        ..Took::default()
    };
    let mut sender = Sender {
        hypervisor,
        domid,
        to,
        progress,
        list,
        sent,
        took,
    };
    sender.write_holders()?;
    if log.is_some() {
        sender.send_running(suspend)?;
    } else {
        let all: Vec<u64> = (0..sender.list.len() as u64).collect();
        sender.send_pages(&all, true)?;
        sender.took.rounds = 1;
        sender.progress.end_step("memory");
    }
    sender.write_rest()?;
    libxc::write_record(sender.to, &Record::End)?;
    Ok(sender.took)
}

/// The hypervisor's log of what a domain writes. It ends with this, whatever becomes of the domain: one that were left on
/// would cost memory and time for nothing.
struct Log<'a> {
    hypervisor: &'a dyn Hypervisor,
    domid: DomId,
}

impl<'a> Log<'a> {
    /// Begins to log; none where the hypervisor cannot. Debian's stock Xen cannot: there a domain stands still while it is
    /// sent.
    fn begin(hypervisor: &'a dyn Hypervisor, domid: DomId) -> Result<Option<Self>> {
        let is_on = |error: &xenctrl::Error| error.errno() == Some(xen_abi::Errno::EINVAL);
        let begun = match hypervisor.log_dirty(domid, true) {
            // Whoever logged before us may have been killed, and nobody else has any use for it.
            Err(error) if is_on(&error) => hypervisor
                .log_dirty(domid, false)
                .and_then(|()| hypervisor.log_dirty(domid, true)),
            begun => begun,
        };
        match begun {
            Ok(()) => Ok(Some(Self { hypervisor, domid })),
            Err(error) if super::is_not_there(&error) || is_on(&error) => {
                message::warn("this hypervisor does not log writes: the domain stands still while it is sent");
                Ok(None)
            }
            Err(error) => Err(error).context("the domain cannot be sent while it runs"),
        }
    }
}

impl Drop for Log<'_> {
    fn drop(&mut self) {
        // Where the domain has died meanwhile, there is nothing to be turned off.
        let _ = self.hypervisor.log_dirty(self.domid, false);
    }
}

/// What does not change while the domain runs.
fn write_static(hypervisor: &dyn Hypervisor, domid: DomId, to: &mut impl Write) -> Result<()> {
    libxc::write_record(to, &Record::PvInfo { width: 8, levels: 4 })?;
    let policy = hypervisor.cpu_policy(domid)?;
    if !policy.leaves.is_empty() {
        libxc::write_record(to, &Record::CpuidPolicy(policy.leaves))?;
    }
    if !policy.msrs.is_empty() {
        libxc::write_record(to, &Record::MsrPolicy(policy.msrs))?;
    }
    Ok(libxc::write_record(to, &Record::StaticDataEnd)?)
}

impl<W: Write> Sender<'_, W> {
    fn write_holders(&mut self) -> Result<()> {
        let last = u32::try_from(self.list.len() - 1).context("the guest's list of its frames")?;
        let frames = self.list.holders()?;
        let record = Record::P2mFrames { first: 0, last, frames };
        Ok(libxc::write_record(self.to, &record)?)
    }

    /// Sends a domain that runs, suspends it and sends the rest.
    fn send_running(&mut self, suspend: &mut dyn FnMut() -> Result<()>) -> Result<()> {
        let mut pages: Vec<u64> = (0..self.list.len() as u64).collect();
        let mut late = Vec::new();
        loop {
            self.took.rounds += 1;
            late.extend(self.send_pages(&pages, false)?);
            let round = self.took.rounds;
            self.progress.end_step(&format!("round {round}, {} pages", pages.len()));
            let dirty = self.dirty(if round < ROUNDS {
                DirtyLog::Clean
            } else {
                DirtyLog::Peek
            })?;
            if dirty.len() < FEW || round >= ROUNDS {
                // What was cleaned just now is still to be sent.
                late.extend(dirty);
                break;
            }
            // The list may have changed, with what the guest gave back or got.
            self.read_list_again()?;
            pages = dirty;
        }
        self.took.suspended = Some(Instant::now());
        suspend()?;
        self.read_list_again()?;
        late.extend(self.dirty(DirtyLog::Clean)?);
        late.extend(self.changed()?);
        late.sort_unstable();
        late.dedup();
        self.send_pages(&late, true)?;
        self.took.rounds += 1;
        self.progress.end_step(&format!("the last {} pages", late.len()));
        Ok(())
    }

    /// What was written since it was asked last.
    fn dirty(&self, what: DirtyLog) -> Result<Vec<u64>> {
        let mut bitmap = vec![0u64; self.list.len().div_ceil(64)];
        self.hypervisor.dirty_pages(self.domid, what, &mut bitmap)?;
        let bits = |(at, word): (usize, &u64)| {
            let word = *word;
            (0..64)
                .filter(move |bit| word >> bit & 1 != 0)
                .map(move |bit| (at * 64 + bit) as u64)
        };
        let all = bitmap.iter().enumerate().flat_map(bits);
        Ok(all.filter(|pfn| *pfn < self.list.len() as u64).collect())
    }

    fn read_list_again(&mut self) -> Result<()> {
        let list = GuestList::read(self.hypervisor, self.domid)?;
        ensure!(
            list.len() == self.list.len() && list.holders()? == self.list.holders()?,
            "the guest has moved its list of frames while it was sent; try again"
        );
        self.list = list;
        Ok(())
    }

    /// Frames that are now another machine frame, or used for something else, than when they were sent.
    fn changed(&self) -> Result<Vec<u64>> {
        let mut changed = Vec::new();
        let pfns: Vec<u64> = (0..self.list.len() as u64).collect();
        for some in pfns.chunks(BATCH) {
            for (pfn, mfn, kind) in self.kinds(some)? {
                let now = kind.has_data().then_some((mfn, kind));
                if now != self.sent[pfn as usize] {
                    changed.push(pfn);
                }
            }
        }
        Ok(changed)
    }

    /// Machine frame and kind of each of the frames.
    fn kinds(&self, pfns: &[u64]) -> Result<Vec<(u64, u64, PageKind)>> {
        let there: Vec<(u64, u64)> = pfns
            .iter()
            .filter_map(|pfn| Some((*pfn, self.list.mfn(*pfn)?)))
            .collect();
        let mfns: Vec<u64> = there.iter().map(|(_, mfn)| *mfn).collect();
        let types = self.hypervisor.page_types(self.domid, &mfns)?;
        let mut kinds = Vec::with_capacity(pfns.len());
        let mut typed = there.iter().zip(types).peekable();
        for pfn in pfns {
            match typed.next_if(|((of, _), _)| of == pfn) {
                Some(((_, mfn), word)) => {
                    let kind = PageKind::from_info(word).unwrap_or(PageKind::INVALID);
                    kinds.push((*pfn, *mfn, kind));
                }
                None => kinds.push((*pfn, u64::MAX, PageKind::INVALID)),
            }
        }
        Ok(kinds)
    }

    /// Sends frames. Of a domain that runs, some may be changing just now: those are left, and returned.
    fn send_pages(&mut self, pfns: &[u64], suspended: bool) -> Result<Vec<u64>> {
        let mut left = Vec::new();
        for (at, some) in pfns.chunks(BATCH).enumerate() {
            let bytes = self.send_batch(some, suspended, &mut left)?;
            self.progress.advance(bytes, at * BATCH + some.len(), pfns.len());
        }
        Ok(left)
    }

    fn send_batch(&mut self, pfns: &[u64], suspended: bool, left: &mut Vec<u64>) -> Result<u64> {
        let kinds = self.kinds(pfns)?;
        let mfns: Vec<u64> = kinds
            .iter()
            .filter(|(_, _, kind)| kind.has_data())
            .map(|(_, mfn, _)| *mfn)
            .collect();
        let memory = match mfns.is_empty() {
            true => None,
            false => match self.hypervisor.map_foreign(self.domid, &mfns, false) {
                Ok(memory) => Some(memory),
                // One of them has gone since.
                Err(_) if !suspended => {
                    left.extend_from_slice(pfns);
                    return Ok(0);
                }
                Err(error) => return Err(error.into()),
            },
        };
        let (mut frames, mut data) = (Vec::with_capacity(kinds.len()), vec![0; mfns.len() * PAGE_SIZE]);
        if let Some(memory) = &memory {
            memory.read(0, &mut data);
        }
        drop(memory);
        let (mut from, mut to) = (0, 0);
        for (pfn, mfn, kind) in kinds {
            let slot = &mut self.sent[pfn as usize];
            if !kind.has_data() {
                if slot.take().is_some() || kind == PageKind::BROKEN {
                    frames.push((pfn, kind));
                }
                continue;
            }
            data.copy_within(from..from + PAGE_SIZE, to);
            from += PAGE_SIZE;
            if let Some(level) = kind.level() {
                let table = &mut data[to..to + PAGE_SIZE];
                if let Err(bad) = page_table::translate(table, level, |mfn| self.list.pfn(mfn)) {
                    if !suspended {
                        left.push(pfn);
                        continue;
                    }
                    let (entry, index) = (bad.entry, bad.index);
                    bail!(
                        "entry {index} of the level-{level} table in frame {pfn:#x} is {entry:#x}, which is no memory of the guest's"
                    );
                }
            }
            to += PAGE_SIZE;
            *slot = Some((mfn, kind));
            frames.push((pfn, kind));
        }
        data.truncate(to);
        if !frames.is_empty() {
            libxc::write_pages(self.to, &frames, &data)?;
            self.took.pages += frames.len() as u64;
        }
        Ok(data.len() as u64)
    }

    /// Everything that is not memory.
    fn write_rest(&mut self) -> Result<()> {
        let (hypervisor, domid) = (self.hypervisor, self.domid);
        let tsc = hypervisor.tsc_info(domid)?;
        libxc::write_record(
            self.to,
            &Record::Tsc(Tsc {
                mode: tsc.mode,
                khz: tsc.khz,
                elapsed_ns: tsc.elapsed_ns,
                incarnation: tsc.incarnation,
            }),
        )?;
        let info = hypervisor.domain_info(domid)?;
        let mut page = vec![0; PAGE_SIZE];
        hypervisor
            .map_foreign(domid, &[info.shared_info_frame], false)?
            .read(0, &mut page);
        libxc::write_record(self.to, &Record::SharedInfo(page))?;
        for vcpu in 0..=info.max_vcpu_id {
            if hypervisor.vcpu_info(domid, vcpu)?.online {
                self.write_vcpu(vcpu).with_context(|| format!("vcpu {vcpu}"))?;
            }
        }
        Ok(())
    }

    fn write_vcpu(&mut self, vcpu: u32) -> Result<()> {
        let mut context = self.hypervisor.vcpu_context(self.domid, vcpu)?;
        self.translate_context(vcpu, &mut context)?;
        let context = context.as_bytes().to_vec();
        let mut parts = vec![(Part::Basic, context)];
        for (part, of) in [
            (Part::Extended, VcpuPart::Extended),
            (Part::Xsave, VcpuPart::Xsave),
            (Part::Msrs, VcpuPart::Msrs),
        ] {
            match self.hypervisor.vcpu_part(self.domid, vcpu, of) {
                Ok(bytes) if bytes.is_empty() => {}
                Ok(bytes) => parts.push((part, bytes)),
                // A hypervisor that has none of it.
                Err(error) if super::is_not_there(&error) => {}
                Err(error) => return Err(error.into()),
            }
        }
        for (part, context) in parts {
            libxc::write_record(self.to, &Record::Vcpu { vcpu, part, context })?;
        }
        Ok(())
    }

    /// Machine frames in a vcpu's registers become the guest's.
    fn translate_context(&self, vcpu: u32, context: &mut vcpu_guest_context) -> Result<()> {
        let pfn = |what: &str, mfn: u64| {
            self.list
                .pfn(mfn)
                .with_context(|| format!("{what} is frame {mfn:#x}, which is not the guest's"))
        };
        if vcpu == 0 {
            // The suspend hypercall's third argument is the frame of start_info.
            context.user_regs.rdx = pfn("start_info", context.user_regs.rdx)?;
        }
        let frames = usize::try_from(context.gdt_ents)?.div_ceil(512);
        ensure!(frames <= context.gdt_frames.len(), "its GDT is too long");
        for frame in &mut context.gdt_frames[..frames] {
            *frame = pfn("its GDT", *frame)?;
        }
        context.ctrlreg[3] = pfn("its root", context.ctrlreg[3] >> 12)? << 12;
        if context.ctrlreg[1] != 0 {
            // Bit 0 says that there is one.
            context.ctrlreg[1] = pfn("its user root", context.ctrlreg[1] >> 12)? << 12 | 1;
        }
        Ok(())
    }
}

impl Took {
    /// Time since the domain was asked to suspend.
    pub fn down(&self) -> Duration {
        self.suspended.map(|since| since.elapsed()).unwrap_or_default()
    }
}
