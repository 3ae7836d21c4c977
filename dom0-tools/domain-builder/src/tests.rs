//! The builder as a whole, on the fake hypervisor: kernels made by hand, checked as a guest would find itself.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

use kernel_image::NotesError;
use privcmd::{Mapping, PAGE_SIZE};
use proptest::prelude::*;
use xen_abi as abi;
use xen_abi::start_info;
use xenctrl::fake::Fake;
use xenctrl::{CreateDomain, Domains, Hypervisor};
use zerocopy::FromBytes;

use crate::{BuildError, Built, Channel, KernelError, LayoutError, Params, build};

type Kernel = crate::Kernel<Mapping>;

const VIRT_BASE: u64 = 0xffff_ffff_8000_0000;
const INIT_P2M: u64 = 0x80_0000_0000;
const MACHINE: usize = 16 << 10;
const PRESENT: u64 = 1;
const WRITABLE: u64 = 2;
const FRAME: u64 = 0x000f_ffff_ffff_f000;

/// A kernel by its notes and segments.
#[derive(Clone, Default)]
struct Elf {
    notes: Vec<(u32, Vec<u8>)>,
    /// Physical address, contents, bytes in memory.
    segments: Vec<(u64, Vec<u8>, u64)>,
}

impl Elf {
    /// Like Linux: at 1 MiB here, with a page of zeros inside.
    fn linux() -> Self {
        let mut text = vec![0x90; 3 * PAGE_SIZE + 100];
        text[PAGE_SIZE..2 * PAGE_SIZE].fill(0);
        Self {
            notes: vec![
                (abi::XEN_ELFNOTE_ENTRY, (VIRT_BASE + 0x10_0040).to_le_bytes().to_vec()),
                (abi::XEN_ELFNOTE_VIRT_BASE, VIRT_BASE.to_le_bytes().to_vec()),
                (abi::XEN_ELFNOTE_INIT_P2M, INIT_P2M.to_le_bytes().to_vec()),
                (abi::XEN_ELFNOTE_MOD_START_PFN, 1u32.to_le_bytes().to_vec()),
                (abi::XEN_ELFNOTE_XEN_VERSION, b"xen-3.0\0".to_vec()),
            ],
            segments: vec![(0x10_0000, text, 5 * PAGE_SIZE as u64)],
        }
    }

    fn without(mut self, kind: u32) -> Self {
        self.notes.retain(|(note, _)| *note != kind);
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let mut notes = Vec::new();
        for (kind, desc) in &self.notes {
            for word in [4, desc.len() as u32, *kind] {
                notes.extend(word.to_le_bytes());
            }
            notes.extend(b"Xen\0");
            notes.extend(desc);
            notes.resize(notes.len().next_multiple_of(4), 0);
        }
        let count = self.segments.len() + 1;
        let mut file = vec![0u8; 64 + 56 * count];
        file[..8].copy_from_slice(b"\x7fELF\x02\x01\x01\0");
        file[16..20].copy_from_slice(&[2, 0, 62, 0]);
        file[32] = 64;
        file[54] = 56;
        file[56] = count as u8;
        let mut header = |index: usize, words: [u64; 5], kind: u32, body: &[u8]| {
            let at = 64 + 56 * index;
            let offset = file.len() as u64;
            file[at..at + 4].copy_from_slice(&kind.to_le_bytes());
            for (step, word) in [offset].iter().chain(&words).enumerate() {
                file[at + 8 + 8 * step..at + 16 + 8 * step].copy_from_slice(&word.to_le_bytes());
            }
            file.extend(body);
        };
        header(0, [0, 0, notes.len() as u64, notes.len() as u64, 4], 4, &notes);
        for (index, (paddr, data, size)) in self.segments.iter().enumerate() {
            header(
                index + 1,
                [0, *paddr, data.len() as u64, *size, PAGE_SIZE as u64],
                1,
                data,
            );
        }
        file
    }
}

struct Guest {
    fake: Fake,
    domid: u16,
    built: Built,
}

fn build_with(fake: &Fake, file: &[u8], pages: u64, initrd: Option<&Mapping>) -> Result<(u16, Built), BuildError> {
    let kernel = Kernel::from_elf(file).expect("a kernel");
    let domid = fake.create_domain(&CreateDomain::new([7; 16], 1))?;
    fake.set_max_vcpus(domid, 1)?;
    fake.set_max_mem(domid, pages * 4)?;
    let channel = |port| Channel { domid: 0, port };
    let params = Params {
        pages,
        command_line: "root=/dev/xvda1 quiet",
        initrd,
        console: channel(1),
        store: channel(2),
        flags: 0,
    };
    let hypervisor: &dyn Hypervisor = fake;
    build(hypervisor, domid, &kernel, &params).map(|built| (domid, built))
}

impl Guest {
    fn new(file: &[u8], pages: u64, initrd: Option<&Mapping>) -> Self {
        let fake = Fake::new(MACHINE, 1);
        let (domid, built) = build_with(&fake, file, pages, initrd).expect("it can be built");
        Self { fake, domid, built }
    }

    fn word(&self, mfn: u64, index: usize) -> u64 {
        let frame = self.fake.frame(mfn);
        u64::from_le_bytes(frame[index * 8..index * 8 + 8].try_into().unwrap())
    }

    /// The entry that maps `va`, as the processor finds it.
    fn walk(&self, va: u64) -> Option<u64> {
        let context = self.fake.vcpu_context(self.domid, 0).unwrap();
        let mut entry = context.ctrlreg[3] | PRESENT;
        for level in (0..4).rev() {
            let index = (va >> (12 + 9 * level)) as usize & 511;
            entry = self.word((entry & FRAME) >> 12, index);
            if entry & PRESENT == 0 {
                return None;
            }
        }
        Some(entry)
    }

    fn pfn_of(&self, va: u64) -> Option<u64> {
        let mfn = (self.walk(va)? & FRAME) >> 12;
        (0..self.fake.domain_info(self.domid).unwrap().tot_pages).find(|pfn| self.mfn(*pfn) == mfn)
    }

    fn mfn(&self, pfn: u64) -> u64 {
        self.fake.mfn(self.domid, pfn).expect("a populated frame")
    }

    fn start_info(&self) -> Box<start_info> {
        let context = self.fake.vcpu_context(self.domid, 0).unwrap();
        let mfn = (self.walk(context.user_regs.rsi).unwrap() & FRAME) >> 12;
        Box::new(start_info::read_from_prefix(&self.fake.frame(mfn)).unwrap().0)
    }

    /// What must be true of every guest.
    fn check(&self, file_pages: &BTreeMap<u64, u8>, pages: u64) {
        let layout = &self.built.layout;
        let info = self.start_info();
        assert!(info.magic.starts_with(abi::XEN_START_INFO_MAGIC));
        assert_eq!(info.nr_pages, pages);
        assert_eq!(layout.mapped % 1024, 0, "the mapped range ends at a boundary of 4 MiB");
        assert!(layout.mapped - layout.stack > 128, "at least 512 KiB of padding");
        for pfn in 0..layout.mapped {
            let entry = self.walk(layout.va(pfn)).expect("all of it is mapped");
            assert_eq!((entry & FRAME) >> 12, self.mfn(pfn));
            let is_table = (info.pt_base..info.pt_base + info.nr_pt_frames * 4096).contains(&layout.va(pfn));
            assert_eq!(
                entry & WRITABLE == 0,
                is_table,
                "pfn {pfn}: tables are read-only, and nothing else"
            );
        }
        assert_eq!(self.walk(layout.va(layout.mapped)), None);
        for pfn in 0..pages {
            let entry = self
                .walk(info.mfn_list + pfn / 512 * 4096)
                .expect("the p2m table is mapped");
            assert_eq!(self.word((entry & FRAME) >> 12, pfn as usize % 512), self.mfn(pfn));
        }
        for (pfn, byte) in file_pages {
            assert_eq!(self.fake.frame(self.mfn(*pfn))[0], *byte, "pfn {pfn}");
        }
        assert_eq!(self.mfn(layout.console), info.console.word);
        assert_eq!(self.mfn(layout.store), info.store_mfn);
        assert_eq!((info.console.evtchn, info.store_evtchn), (1, 2));
    }
}

fn linux_pages() -> BTreeMap<u64, u8> {
    BTreeMap::from([(256, 0x90), (257, 0), (258, 0x90), (259, 0x90), (260, 0)])
}

#[test]
fn linux_finds_itself_as_it_asked() {
    let initrd = Mapping::anonymous(5000).unwrap();
    initrd.fill(0, 5000, 0x55);
    let guest = Guest::new(&Elf::linux().bytes(), 2048 + 300, Some(&initrd));
    guest.check(&linux_pages(), 2048 + 300);
    let info = guest.start_info();
    assert_eq!(info.mfn_list, INIT_P2M);
    assert_eq!(info.first_p2m_pfn, guest.built.layout.mapped);
    assert_eq!(info.nr_p2m_frames, 5 + 3);
    assert_eq!(info.flags & abi::SIF_MOD_START_PFN, abi::SIF_MOD_START_PFN);
    assert_eq!(info.mod_len, 5000);
    let last = guest.fake.frame(guest.mfn(info.mod_start + 1));
    assert_eq!((last[5000 - 4096 - 1], last[5000 - 4096]), (0x55, 0));
    assert_eq!(&info.cmd_line[..22], b"root=/dev/xvda1 quiet\0");
    let context = guest.fake.vcpu_context(guest.domid, 0).unwrap();
    assert_eq!(context.user_regs.rip, VIRT_BASE + 0x10_0040);
    assert_eq!(context.user_regs.cs, abi::FLAT_KERNEL_CS);
    assert_eq!(guest.pfn_of(context.user_regs.rsp - 1), Some(guest.built.layout.stack));
}

#[test]
fn kernels_without_wishes_get_everything_in_the_mapped_range() {
    let elf = Elf::linux()
        .without(abi::XEN_ELFNOTE_INIT_P2M)
        .without(abi::XEN_ELFNOTE_MOD_START_PFN);
    let initrd = Mapping::anonymous(PAGE_SIZE).unwrap();
    initrd.fill(0, PAGE_SIZE, 0x66);
    let guest = Guest::new(&elf.bytes(), 2048, Some(&initrd));
    guest.check(&linux_pages(), 2048);
    let info = guest.start_info();
    assert_eq!(info.flags, 0);
    let pfn = guest.pfn_of(info.mod_start).unwrap();
    assert_eq!(guest.fake.frame(guest.mfn(pfn))[0], 0x66);
    assert_eq!(info.nr_p2m_frames, 0);
}

#[test]
fn rings_are_granted_by_the_reserved_references() {
    let guest = Guest::new(&Elf::linux().bytes(), 2048, None);
    let table = xenctrl::Memory::map_resource(&guest.fake, guest.domid, xenctrl::Resource::GrantTable, 0, 1).unwrap();
    let mut entries = [0; 16];
    table.read(0, &mut entries);
    let frame = |at: usize| u64::from(u32::from_le_bytes(entries[at..at + 4].try_into().unwrap()));
    assert_eq!([entries[0], entries[8]], [abi::GTF_permit_access as u8; 2]);
    assert_eq!([frame(4), frame(12)], [guest.built.console_mfn, guest.built.store_mfn]);
}

#[test]
fn memory_in_pieces_is_as_good() {
    let fake = Fake::new(MACHINE, 1);
    fake.limit_extents(0);
    let (domid, built) = build_with(&fake, &Elf::linux().bytes(), 1500, None).unwrap();
    Guest { fake, domid, built }.check(&linux_pages(), 1500);
}

#[test]
fn what_is_impossible_is_said() {
    let fake = Fake::new(MACHINE, 1);
    let file = Elf::linux().bytes();
    let small = build_with(&fake, &file, 1000, None).unwrap_err();
    assert!(
        matches!(small, BuildError::Layout(LayoutError::TooSmall { .. })),
        "{small}"
    );
    let big = build_with(&fake, &file, MACHINE as u64 + 1, None).unwrap_err();
    assert!(matches!(big, BuildError::Memory { .. }), "{big}");

    let plain = Elf {
        notes: vec![],
        ..Elf::linux()
    };
    let error = Kernel::from_elf(&plain.bytes()).unwrap_err();
    assert!(matches!(error, KernelError::Notes(NotesError::NoXenNotes)), "{error}");
    let far = Elf {
        segments: vec![(0, vec![1], 1), (1 << 40, vec![1], 1)],
        ..Elf::linux()
    };
    assert!(matches!(Kernel::from_elf(&far.bytes()), Err(KernelError::Place)));
    let high = Elf {
        segments: vec![(u64::MAX - 10, vec![1], 5)],
        ..Elf::linux()
    };
    assert!(matches!(
        Kernel::from_elf(&high.bytes()),
        Err(KernelError::Place) | Ok(_)
    ));
}

#[test]
fn stored_kernels_come_back() {
    let kernel = Kernel::from_elf(&Elf::linux().bytes()).unwrap();
    let (header, pages) = kernel.to_stored();
    assert_eq!(pages.len(), 3 * PAGE_SIZE, "the page of zeros is left out");
    let stored = |bytes: &[u8]| {
        let memory = Mapping::anonymous(bytes.len()).unwrap();
        memory.write(0, bytes);
        Kernel::from_stored(memory)
    };
    let whole = [&header[..], &pages].concat();
    let back = stored(&whole).unwrap();
    assert_eq!((back.notes(), back.end_pfn()), (kernel.notes(), kernel.end_pfn()));
    assert_eq!(back.runs(), kernel.runs());
    assert_eq!(back.to_stored().1, kernel.to_stored().1);
    for end in [1, 64, 4096, whole.len() - 1] {
        assert!(stored(&whole[..end]).is_none(), "cut after {end} bytes");
    }
    let mut other = whole;
    other[7] ^= 1;
    assert!(stored(&other).is_none(), "another version");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Kernels, memory and initrds of any size: what can be laid out is right, and the hypervisor takes its tables.
    #[test]
    fn guests_of_all_shapes(
        start in 0..600u64,
        len in 1..700u64,
        extra in 0..2000u64,
        initrd_len in 0..300_000usize,
        p2m_apart in any::<bool>(),
        initrd_apart in any::<bool>(),
    ) {
        let mut elf = Elf::linux();
        let page = PAGE_SIZE as u64;
        elf.segments = vec![(start * page + 1, vec![0xcc; 10], len * page - 1)];
        if !p2m_apart {
            elf = elf.without(abi::XEN_ELFNOTE_INIT_P2M);
        }
        if !initrd_apart {
            elf = elf.without(abi::XEN_ELFNOTE_MOD_START_PFN);
        }
        let initrd = (initrd_len != 0).then(|| Mapping::anonymous(initrd_len).unwrap());
        let fake = Fake::new(MACHINE, 1);
        let pages = start + len + extra;
        match build_with(&fake, &elf.bytes(), pages, initrd.as_ref()) {
            Ok((domid, built)) => {
                prop_assert!(built.layout.first_free <= pages);
                let guest = Guest { fake, domid, built };
                guest.check(&BTreeMap::from([(start, 0)]), pages);
            }
            Err(BuildError::Layout(LayoutError::TooSmall { needed, given })) => {
                prop_assert_eq!(given, pages);
                prop_assert!(needed > pages && needed < start + len + 1024 + 128 + 300 + 100 + pages / 256);
            }
            Err(other) => prop_assert!(false, "{}", other),
        }
    }

    /// No bytes make the readers panic.
    #[test]
    fn any_bytes_are_a_legal_kernel_file(at in 0..500usize, value in any::<u8>(), cut in 0..2000usize) {
        let mut file = Elf::linux().bytes();
        file[at] = value;
        let _ = Kernel::from_elf(&file);
        file.truncate(cut);
        let _ = Kernel::from_elf(&file);
    }

    #[test]
    fn any_words_are_a_legal_stored_kernel(words in proptest::collection::vec(any::<u64>(), 1..40)) {
        let kernel = Kernel::from_elf(&Elf::linux().bytes()).unwrap();
        let (mut header, _) = kernel.to_stored();
        for (index, word) in words.iter().enumerate().skip(1) {
            if word % 3 == 0 {
                header[index * 8..index * 8 + 8].copy_from_slice(&word.to_le_bytes());
            }
        }
        let memory = Mapping::anonymous(header.len()).unwrap();
        memory.write(0, &header);
        let _ = Kernel::from_stored(memory);
    }
}
