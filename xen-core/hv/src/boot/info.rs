//! What the loader passed, copied out of its memory before anything else uses that.

use crate::mm::directmap;
use xen_logic::acpi::Rsdp;
use xen_logic::cmdline::strip_image_name;
use xen_logic::e820::{Map, Range};
use xen_logic::multiboot::{self, Error, Memory, Visitor};

/// Most modules taken.
const MAX_MODULES: usize = 8;
/// Room for all texts.
const TEXT_SIZE: usize = 8 << 10;
/// The boot page tables map this much.
const BOOT_MAPPED: u64 = 4 << 30;

/// A file that the loader put into memory.
#[derive(Clone, Copy, Debug)]
pub struct Module {
    /// Machine address of its first byte.
    pub start: u64,
    /// Bytes.
    pub len: u64,
    /// Its command line, without the file's name.
    pub cmdline: &'static str,
}

/// Everything the loader said.
pub struct Info {
    /// The hypervisor's command line, without the image's name.
    pub cmdline: &'static str,
    /// The firmware's memory map, in order.
    pub memory: Map,
    /// ACPI's root pointer, if the loader has it.
    pub rsdp: Option<Rsdp>,
    modules: [Module; MAX_MODULES],
    module_count: usize,
    /// The loader gave more modules than there is room for.
    pub modules_left_out: bool,
}

impl Info {
    /// The modules in the loader's order.
    pub fn modules(&self) -> &[Module] {
        &self.modules[..self.module_count]
    }
}

/// Memory as the boot page tables map it.
struct BootMemory;

impl Memory for BootMemory {
    fn bytes(&self, addr: u64, len: usize) -> Option<&[u8]> {
        addr.checked_add(len as u64)
            .filter(|end| *end <= BOOT_MAPPED && addr != 0)?;
        // SAFETY: the first 4 GiB are mapped; nobody else runs, and what is there is not written while it is read.
        Some(unsafe { core::slice::from_raw_parts(directmap(addr), len) })
    }
}

/// Texts are kept here for ever.
static mut TEXT: [u8; TEXT_SIZE] = [0; TEXT_SIZE];

/// Collects the pieces, still in the loader's memory.
struct Collector<'a> {
    cmdline: &'a [u8],
    loader: &'a [u8],
    modules: [(u64, u64, &'a [u8]); MAX_MODULES],
    module_count: usize,
    memory: Map,
    rsdp: Option<Rsdp>,
}

impl<'a> Visitor<'a> for Collector<'a> {
    fn cmdline(&mut self, text: &'a [u8]) {
        self.cmdline = text;
    }

    fn module(&mut self, start: u64, end: u64, cmdline: &'a [u8]) {
        if let Some(slot) = self.modules.get_mut(self.module_count) {
            *slot = (start, end.max(start), cmdline);
        }
        self.module_count += 1;
    }

    fn range(&mut self, range: Range) {
        self.memory.insert(range);
    }

    fn rsdp(&mut self, bytes: &'a [u8]) {
        // The later one is the newer form.
        self.rsdp = Rsdp::parse(bytes).or(self.rsdp);
    }

    fn loader(&mut self, text: &'a [u8]) {
        self.loader = text;
    }
}

/// As much of the bytes as is text.
fn as_text(bytes: &[u8]) -> &str {
    match core::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(e) => core::str::from_utf8(&bytes[..e.valid_up_to()]).unwrap_or(""),
    }
}

/// Copies text to where it stays; what does not fit is cut.
fn keep(text: &str, used: &mut usize) -> &'static str {
    let room = &text.as_bytes()[..text.len().min(TEXT_SIZE - *used)];
    let from = *used;
    *used += room.len();
    // SAFETY: each part of `TEXT` is written once, here, at boot on one CPU, before a reference to it exists.
    let kept = unsafe {
        let to = (&raw mut TEXT).cast::<u8>().add(from);
        to.copy_from_nonoverlapping(room.as_ptr(), room.len());
        core::slice::from_raw_parts(to, room.len())
    };
    as_text(kept)
}

/// Reads everything, once, on the boot page tables.
///
/// # Errors
/// Not a Multiboot loader, or unusable information.
pub(super) fn read(magic: u32, addr: u32) -> Result<Info, Error> {
    let none = (0, 0, &b""[..]);
    let mut found = Collector {
        cmdline: b"",
        loader: b"",
        modules: [none; MAX_MODULES],
        module_count: 0,
        memory: Map::new(),
        rsdp: None,
    };
    multiboot::read(magic, addr.into(), &BootMemory, &mut found)?;
    let loader = as_text(found.loader);
    let mut used = 0;
    let mut args = |text| keep(strip_image_name(as_text(text), loader), &mut used);
    let cmdline = args(found.cmdline);
    let modules = found.modules.map(|(start, end, text)| Module {
        start,
        len: end - start,
        cmdline: args(text),
    });
    Ok(Info {
        cmdline,
        memory: found.memory,
        rsdp: found.rsdp,
        modules,
        module_count: found.module_count.min(MAX_MODULES),
        modules_left_out: found.module_count > MAX_MODULES,
    })
}
