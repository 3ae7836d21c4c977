//! What Dom0 asks the hypervisor through `/dev/xen/privcmd`: trace counters and memory, for the benchmarks.

use std::fs::{File, OpenOptions};
use std::io::Error;
use std::os::fd::AsRawFd;

use crate::system::Mapping;

const IOCTL_HYPERCALL: libc::c_ulong = 48 << 16 | (b'P' as libc::c_ulong) << 8;
const MEMORY_OP: u64 = 12;
const SYSCTL: u64 = 35;
const DOMCTL: u64 = 36;
const GETDOMAININFO: u64 = 5;
const CURRENT_RESERVATION: u64 = 3;
const INTERFACE_VERSION: u64 = 0x15;
const PHYSINFO: u64 = 3;
const PERFC: u64 = 5;
const PERFC_RESET: u64 = 1;
const PERFC_QUERY: u64 = 2;
const EVENT_CHANNEL_OP: u64 = 32;
const PHYSDEV_OP: u64 = 33;
const MAP_PIRQ: u64 = 13;
const MAP_PIRQ_TYPE_GSI: u64 = 1;
const IRQ_PERMISSION: u64 = 19;
const EVTCHNOP_STATUS: u64 = 5;
const DOMID_SELF: u64 = 0x7ff0;
const STATUS_NAMES: [&str; 6] = ["closed", "unbound", "interdomain", "pirq", "virq", "ipi"];

/// Sizes that the hypervisor has copied from and to: pages of one locked mapping.
const PAGE_WORDS: usize = 512;
const PAGES: usize = 18;
const NAME_BYTES: usize = 84;

struct Hypervisor {
    device: File,
    memory: Mapping,
}

impl Hypervisor {
    fn open() -> Result<Self, String> {
        let open = |path: &str| OpenOptions::new().read(true).write(true).open(path);
        let device = open("/dev/xen/privcmd").or_else(|_| open("/proc/xen/privcmd"));
        let device = device.map_err(|error| format!("privcmd: {error}"))?;
        let mut memory = Mapping::new(PAGES * 4096, false)?;
        // Touched and locked: the hypervisor does not fault pages in.
        memory.words().fill(0);
        // SAFETY: locks a live mapping.
        if unsafe { libc::mlock(memory.start().cast(), PAGES * 4096) } != 0 {
            return Err(format!("mlock: {}", Error::last_os_error()));
        }
        Ok(Self { device, memory })
    }

    fn call(&self, number: u64, arguments: [u64; 2]) -> Result<u64, String> {
        let mut request = [number, arguments[0], arguments[1], 0, 0, 0];
        // SAFETY: `request` has the six words that the call reads; what the arguments point to lies in `memory`.
        let result = unsafe { libc::ioctl(self.device.as_raw_fd(), IOCTL_HYPERCALL, request.as_mut_ptr()) };
        u64::try_from(result).map_err(|_| Error::last_os_error().to_string())
    }

    fn address(&self, page: usize) -> u64 {
        self.memory.start() as u64 + page as u64 * 4096
    }

    /// A sysctl whose request has these words behind the head.
    fn sysctl(&mut self, command: u64, words: &[u64]) -> Result<(), String> {
        let page = &mut self.memory.words()[..PAGE_WORDS];
        page.fill(0);
        page[0] = command | INTERFACE_VERSION << 32;
        page[1..=words.len()].copy_from_slice(words);
        self.call(SYSCTL, [self.address(0), 0]).map(drop)
    }
}

/// `counters reset` sets the trace counters to zero; `counters NAME` prints `COUNT NAME counter value` lines.
pub(crate) fn counters(word: &str) -> Result<(), String> {
    let mut hypervisor = Hypervisor::open()?;
    if word == "reset" {
        return hypervisor.sysctl(PERFC, &[PERFC_RESET, 0, 0, 0]);
    }
    let (names, values) = (hypervisor.address(1), hypervisor.address(9));
    hypervisor.sysctl(PERFC, &[PERFC_QUERY, 0, names, values])?;
    let words = hypervisor.memory.words().to_vec();
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let count = (words[1] >> 32) as usize;
    let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap_or_default());
    let mut next = 9 * 4096;
    for name in bytes[4096..].chunks_exact(NAME_BYTES).take(count) {
        let text = String::from_utf8_lossy(&name[..80]);
        let cpus = u32::from_le_bytes(name[80..].try_into().unwrap_or_default());
        let sum: u32 = (0..cpus as usize).map(|cpu| number(next + 4 * cpu)).sum();
        next += 4 * cpus as usize;
        println!("COUNT {word} {sum} {}", text.trim_end_matches('\0'));
    }
    Ok(())
}

/// Prints `MEMORY total free dom0` in pages.
pub(crate) fn memory() -> Result<(), String> {
    let mut hypervisor = Hypervisor::open()?;
    hypervisor.sysctl(PHYSINFO, &[])?;
    // Ten 32-bit words, then total, free and scrub pages.
    let words = hypervisor.memory.words()[..PAGE_WORDS].to_vec();
    let (total, free, scrub) = (words[6], words[7], words[8]);
    hypervisor.memory.words()[0] = DOMID_SELF;
    let own = hypervisor.call(MEMORY_OP, [CURRENT_RESERVATION, hypervisor.address(0)])?;
    println!("MEMORY {total} {} {own}", free + scrub);
    Ok(())
}

/// Prints what guests may leave behind: `free KIB`, and this domain's event channels by kind.
pub(crate) fn resources() -> Result<(), String> {
    let mut hypervisor = Hypervisor::open()?;
    hypervisor.sysctl(PHYSINFO, &[])?;
    let words = &hypervisor.memory.words()[..PAGE_WORDS];
    println!("free {}", (words[7] + words[8]) * 4);
    let mut counts = [0u32; STATUS_NAMES.len()];
    // The domain and port go in; the kind comes out in the low half of the second word.
    for port in 1.. {
        let words = hypervisor.memory.words();
        words[0] = DOMID_SELF | port << 32;
        words[1..4].fill(0);
        // Behind the last port the answer is an error.
        if hypervisor
            .call(EVENT_CHANNEL_OP, [EVTCHNOP_STATUS, hypervisor.address(0)])
            .is_err()
        {
            break;
        }
        let kind = (hypervisor.memory.words()[1] & 0xffff_ffff) as usize;
        if let Some(count) = counts.get_mut(kind) {
            *count += 1;
        }
    }
    for (name, count) in STATUS_NAMES.iter().zip(counts).skip(1) {
        println!("event channels {name} {count}");
    }
    Ok(())
}

/// Gives a domain an interrupt line of the machine in the order that libxl does it, the right to it last; prints the
/// domain's number for it.
pub(crate) fn give_line(domain: &str, line: &str) -> Result<(), String> {
    let number = |word: &str| word.parse::<u16>().map_err(|_| format!("`{word}` is no number"));
    let (domain, line) = (u64::from(number(domain)?), u64::from(number(line)?));
    let mut hypervisor = Hypervisor::open()?;
    let words = &mut hypervisor.memory.words()[..PAGE_WORDS];
    words.fill(0);
    // Domain and type; line and number, to be chosen by the hypervisor.
    words[0] = domain | MAP_PIRQ_TYPE_GSI << 32;
    words[1] = line | u64::from(u32::MAX) << 32;
    hypervisor.call(PHYSDEV_OP, [MAP_PIRQ, hypervisor.address(0)])?;
    let pirq = hypervisor.memory.words()[1] >> 32;
    let words = &mut hypervisor.memory.words()[..PAGE_WORDS];
    words.fill(0);
    words[0] = IRQ_PERMISSION | INTERFACE_VERSION << 32;
    words[1] = domain;
    // This domain's own number for the line, and that it is allowed.
    words[2] = line | 1 << 32;
    hypervisor.call(DOMCTL, [hypervisor.address(0), 0])?;
    println!("{pirq}");
    Ok(())
}

/// Prints the CPU time that a domain has used, in nanoseconds.
pub(crate) fn cpu_time(domain: &str) -> Result<(), String> {
    let domain: u16 = domain
        .parse()
        .map_err(|_| format!("`{domain}` is no domain's number"))?;
    let mut hypervisor = Hypervisor::open()?;
    let words = &mut hypervisor.memory.words()[..PAGE_WORDS];
    words.fill(0);
    words[0] = GETDOMAININFO | INTERFACE_VERSION << 32;
    words[1] = domain.into();
    hypervisor.call(DOMCTL, [hypervisor.address(0), 0])?;
    // Two words of head; then number and flags, six counts of pages and frames, the time.
    println!("{}", hypervisor.memory.words()[2 + 7]);
    Ok(())
}
