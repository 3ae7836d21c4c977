//! The innermost stream: a domain's memory and registers (`docs/specs/libxc-migration-stream.pandoc`).

use std::io::{Read, Write};

pub use crate::page_data::write as write_pages;
use crate::page_data::{self, PageData};
use crate::record::{self, OPTIONAL, Raw};
use crate::source::{Source, be32, le32, le64};
use crate::{Error, PAGE_SIZE, Result};

/// Version that is written; the one before is read as well.
pub const VERSION: u32 = 3;
const MARKER: [u8; 8] = [0xff; 8];
const IDENT: u32 = 0x5845_4e46;
const TYPE_PV: u32 = 1;
const PAGE_SHIFT: u16 = 12;
/// Longest part of a vcpu's state that is believed. They are kept until the stream's end, four for each vcpu that the
/// configuration claims; the longest, of a CPU with everything, has some 11 KiB.
const MOST_PART: usize = 64 << 10;

const END: u32 = 0;
const PV_INFO: u32 = 2;
const P2M_FRAMES: u32 = 3;
const SHARED_INFO: u32 = 7;
const TSC_INFO: u32 = 8;
const VERIFY: u32 = 0xd;
const CHECKPOINT: u32 = 0xe;
const STATIC_DATA_END: u32 = 0x10;
const CPUID_POLICY: u32 = 0x11;
const MSR_POLICY: u32 = 0x12;

/// What stands at the start of a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// Version of the format: 2 or 3.
    pub version: u32,
    /// The Xen that wrote it: major and minor.
    pub xen: (u32, u32),
}

/// A part of a vcpu's state.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Part {
    /// `vcpu_guest_context`.
    Basic,
    /// What `ext_vcpucontext` gives.
    Extended,
    /// What `vcpuextstate` gives.
    Xsave,
    /// What `vcpu_msrs` gives.
    Msrs,
}

impl Part {
    const ALL: [(Self, u32); 4] = [
        (Self::Basic, 4),
        (Self::Extended, 5),
        (Self::Xsave, 6),
        (Self::Msrs, 0xc),
    ];

    fn from_kind(kind: u32) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find_map(|(part, of)| (of == kind).then_some(part))
    }

    fn kind(self) -> u32 {
        match self {
            Self::Basic => 4,
            Self::Extended => 5,
            Self::Xsave => 6,
            Self::Msrs => 0xc,
        }
    }
}

/// How a domain's time-stamp counter behaved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tsc {
    /// `TSC_MODE_*`.
    pub mode: u32,
    /// Its frequency in kHz.
    pub khz: u32,
    /// Nanoseconds since the domain began.
    pub elapsed_ns: u64,
    /// How often it was restored.
    pub incarnation: u32,
}

/// One record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Record {
    /// The last one.
    End,
    /// Memory.
    Pages(PageData),
    /// Bytes of the guest's words, and levels of its page tables.
    PvInfo {
        /// 4 or 8.
        width: u8,
        /// 3 or 4.
        levels: u8,
    },
    /// The frames that hold the guest's list from its frames to the machine's, as far as it speaks of `first..=last`.
    P2mFrames {
        /// First frame that the list speaks of.
        first: u32,
        /// Last frame that the list speaks of.
        last: u32,
        /// The frames that hold it, by the guest's numbers.
        frames: Vec<u64>,
    },
    /// A part of a vcpu's state.
    Vcpu {
        /// Which vcpu.
        vcpu: u32,
        /// Which part.
        part: Part,
        /// The part.
        context: Vec<u8>,
    },
    /// The page that guest and hypervisor share.
    SharedInfo(Vec<u8>),
    /// The time-stamp counter.
    Tsc(Tsc),
    /// CPUID policy, 24 bytes each.
    CpuidPolicy(Vec<u8>),
    /// MSR policy, 16 bytes each.
    MsrPolicy(Vec<u8>),
    /// What does not change while the domain runs has been told.
    StaticDataEnd,
    /// What follows repeats what was sent, to be compared.
    Verify,
    /// The domain could be made from here on, and more follows.
    Checkpoint,
    /// One that may be passed over.
    Unknown(u32),
}

/// Reads what stands at the start.
///
/// # Errors
/// The stream's; what it is instead of a paravirtual domain.
pub fn read_header<R: Read>(from: &mut Source<R>) -> Result<Header> {
    let at = from.position();
    let image: [u8; 24] = from.array()?;
    let wrong = |what: &str| Err(Error::malformed(at, what));
    if image[..8] != MARKER || be32(&image, 8) != IDENT {
        return wrong("here a domain's image should begin; formats before Xen 4.6 cannot be read");
    }
    let version = be32(&image, 12);
    if !matches!(version, 2 | 3) {
        return wrong(&format!("the image has version {version}; 2 and 3 can be read"));
    }
    if image[16] != 0 || image[17] != 0 {
        return wrong("the image is big-endian, or has options that are not known");
    }
    let domain: [u8; 16] = from.array()?;
    let shift = u16::from_le_bytes([domain[4], domain[5]]);
    match le32(&domain, 0) {
        TYPE_PV => {}
        2 | 3 => return wrong("the image is of an HVM or PVH guest; only paravirtual guests can be restored here"),
        other => return wrong(&format!("the image is of a domain of type {other}")),
    }
    if shift != PAGE_SHIFT {
        return wrong(&format!("the image has pages of 2^{shift} bytes"));
    }
    Ok(Header {
        version,
        xen: (le32(&domain, 8), le32(&domain, 12)),
    })
}

/// Writes what stands at the start of a paravirtual domain's stream.
///
/// # Errors
/// The stream's.
pub fn write_header(to: &mut impl Write, xen: (u32, u32)) -> Result<()> {
    let mut bytes = Vec::with_capacity(40);
    bytes.extend_from_slice(&MARKER);
    bytes.extend_from_slice(&IDENT.to_be_bytes());
    bytes.extend_from_slice(&VERSION.to_be_bytes());
    bytes.extend_from_slice(&[0; 8]);
    bytes.extend_from_slice(&TYPE_PV.to_le_bytes());
    bytes.extend_from_slice(&PAGE_SHIFT.to_le_bytes());
    bytes.extend_from_slice(&[0; 2]);
    bytes.extend_from_slice(&xen.0.to_le_bytes());
    bytes.extend_from_slice(&xen.1.to_le_bytes());
    Ok(to.write_all(&bytes)?)
}

/// Reads a record.
///
/// # Errors
/// The stream's; what is wrong with the record.
pub fn read_record<R: Read>(from: &mut Source<R>) -> Result<Record> {
    let raw = Raw::read(from)?;
    if let Some(part) = Part::from_kind(raw.kind) {
        return vcpu(&raw, part);
    }
    let empty = |record: Record, name: &str| raw.expect_len(name, 0).map(|()| record);
    match raw.kind {
        END => empty(Record::End, "END"),
        VERIFY => empty(Record::Verify, "VERIFY"),
        CHECKPOINT => empty(Record::Checkpoint, "CHECKPOINT"),
        STATIC_DATA_END => empty(Record::StaticDataEnd, "STATIC_DATA_END"),
        page_data::KIND => PageData::parse(raw).map(Record::Pages),
        PV_INFO => {
            raw.expect_len("X86_PV_INFO", 8)?;
            let (width, levels) = (raw.body[0], raw.body[1]);
            Ok(Record::PvInfo { width, levels })
        }
        P2M_FRAMES => p2m_frames(&raw),
        SHARED_INFO => {
            raw.expect_len("SHARED_INFO", PAGE_SIZE)?;
            Ok(Record::SharedInfo(raw.body))
        }
        TSC_INFO => {
            raw.expect_len("TSC_INFO", 24)?;
            Ok(Record::Tsc(Tsc {
                mode: le32(&raw.body, 0),
                khz: le32(&raw.body, 4),
                elapsed_ns: le64(&raw.body, 8),
                incarnation: le32(&raw.body, 16),
            }))
        }
        CPUID_POLICY => entries(raw, "X86_CPUID_POLICY", 24).map(Record::CpuidPolicy),
        MSR_POLICY => entries(raw, "X86_MSR_POLICY", 16).map(Record::MsrPolicy),
        kind if kind & OPTIONAL != 0 => Ok(Record::Unknown(kind)),
        kind => Err(raw.wrong(format!(
            "a record of kind {kind:#x} cannot be understood and must not be passed over"
        ))),
    }
}

fn vcpu(raw: &Raw, part: Part) -> Result<Record> {
    if raw.body.len() <= 8 {
        return Err(raw.wrong("a record of a vcpu is without contents"));
    }
    let len = raw.body.len() - 8;
    if len > MOST_PART {
        return Err(raw.wrong(format!(
            "a part of a vcpu's state has {len} bytes; {MOST_PART} are the most"
        )));
    }
    Ok(Record::Vcpu {
        vcpu: le32(&raw.body, 0),
        part,
        context: raw.body[8..].to_vec(),
    })
}

/// Frames of the list that speak of `first..=last`.
fn list_frames(first: u32, last: u32) -> usize {
    let of = |pfn: u32| pfn as usize / (PAGE_SIZE / 8);
    of(last) - of(first) + 1
}

fn p2m_frames(raw: &Raw) -> Result<Record> {
    if raw.body.len() < 8 {
        return Err(raw.wrong("a record X86_PV_P2M_FRAMES is shorter than its header"));
    }
    let (first, last) = (le32(&raw.body, 0), le32(&raw.body, 4));
    if last < first {
        return Err(raw.wrong(format!("the list of frames goes from {first:#x} to {last:#x}")));
    }
    raw.expect_len("X86_PV_P2M_FRAMES", 8 + list_frames(first, last) * 8)?;
    let frames = (8..raw.body.len()).step_by(8).map(|at| le64(&raw.body, at));
    Ok(Record::P2mFrames {
        first,
        last,
        frames: frames.collect(),
    })
}

fn entries(raw: Raw, name: &str, size: usize) -> Result<Vec<u8>> {
    if raw.body.is_empty() || !raw.body.len().is_multiple_of(size) {
        let len = raw.body.len();
        return Err(raw.wrong(format!("a record {name} has {len} bytes, not a multiple of {size}")));
    }
    Ok(raw.body)
}

/// Writes a record. Memory is better written by [`write_pages`]; records that are unknown are not written.
///
/// # Errors
/// The stream's.
pub fn write_record(to: &mut impl Write, what: &Record) -> Result<()> {
    match what {
        Record::End => record::write(to, END, &[]),
        Record::Verify => record::write(to, VERIFY, &[]),
        Record::Checkpoint => record::write(to, CHECKPOINT, &[]),
        Record::StaticDataEnd => record::write(to, STATIC_DATA_END, &[]),
        Record::Pages(pages) => {
            let data: Vec<u8> = pages.pages().flatten().copied().collect();
            write_pages(to, &pages.frames, &data)
        }
        Record::PvInfo { width, levels } => record::write(to, PV_INFO, &[&[*width, *levels, 0, 0, 0, 0, 0, 0]]),
        Record::P2mFrames { first, last, frames } => {
            let list: Vec<u8> = frames.iter().flat_map(|pfn| pfn.to_le_bytes()).collect();
            record::write(to, P2M_FRAMES, &[&first.to_le_bytes(), &last.to_le_bytes(), &list])
        }
        Record::Vcpu { vcpu, part, context } => {
            record::write(to, part.kind(), &[&u64::from(*vcpu).to_le_bytes(), context])
        }
        Record::SharedInfo(page) => record::write(to, SHARED_INFO, &[page]),
        Record::Tsc(tsc) => {
            let words = [tsc.mode.to_le_bytes(), tsc.khz.to_le_bytes()].concat();
            let tail = u64::from(tsc.incarnation).to_le_bytes();
            record::write(to, TSC_INFO, &[&words, &tsc.elapsed_ns.to_le_bytes(), &tail])
        }
        Record::CpuidPolicy(list) => record::write(to, CPUID_POLICY, &[list]),
        Record::MsrPolicy(list) => record::write(to, MSR_POLICY, &[list]),
        Record::Unknown(kind) => Err(Error::malformed(
            0,
            format!("a record of kind {kind:#x} is not written"),
        )),
    }
}
