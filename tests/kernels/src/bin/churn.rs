//! Page-table churn on every vcpu at once, with flushes that cross. Each vcpu owns a window of addresses with its own
//! L1 table and a few frames; it maps frames anew, flushes, writes through one mapping and reads through another,
//! turns frames into page tables and back, and reads its neighbour's window, where a stale translation would show.
//! The first word of the command line sets the number of rounds.
#![no_std]
#![no_main]
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use guest_rt::pages::{self, PTE_DATA, PTE_READ_ONLY, PTE_TABLE, Page, extended, map, protect, take_page};
use guest_rt::{check, hypercall, println, start_info, vcpu};
use xen_abi::*;

guest_rt::kernel!(main);

const DEFAULT_ROUNDS: u64 = 40;
const FRAMES: usize = 16;
/// The windows lie in the top 1 GiB, beyond the image's mapping: 2 MiB, one L1 table, each.
const WINDOWS: u64 = 0xffff_ffff_c000_0000;

/// What a vcpu's churn found wrong, by kind.
#[derive(Clone, Copy)]
enum Fault {
    Refused,
    StaleOwn,
    StaleOther,
    LostData,
    DirectWrite,
    TableAccepted,
}
const FAULTS: [(&str, Fault); 6] = [
    ("churn/accepted", Fault::Refused),
    ("churn/own-window", Fault::StaleOwn),
    ("churn/other-window", Fault::StaleOther),
    ("churn/data-kept", Fault::LostData),
    ("churn/direct-write", Fault::DirectWrite),
    ("churn/writable-table-refused", Fault::TableAccepted),
];
static COUNTS: [AtomicU32; FAULTS.len()] = [const { AtomicU32::new(0) }; FAULTS.len()];
static FIRST: [AtomicU64; FAULTS.len()] = [const { AtomicU64::new(0) }; FAULTS.len()];

static ROUNDS: AtomicU64 = AtomicU64::new(DEFAULT_ROUNDS);
static VCPUS: AtomicU32 = AtomicU32::new(0);
static READY: AtomicU32 = AtomicU32::new(0);
static DONE: AtomicU32 = AtomicU32::new(0);
/// Serial number of the frame that a vcpu's shared slot maps for certain: published after the flush.
static PUBLISHED: [AtomicU64; vcpu::MAX_VCPUS] = [const { AtomicU64::new(0) }; vcpu::MAX_VCPUS];
/// Serial number that the slot is about to map: raised before the change.
static ANNOUNCED: [AtomicU64; vcpu::MAX_VCPUS] = [const { AtomicU64::new(0) }; vcpu::MAX_VCPUS];
/// The windows' L1 tables, as addresses of their pages.
static TABLES: [AtomicU64; vcpu::MAX_VCPUS] = [const { AtomicU64::new(0) }; vcpu::MAX_VCPUS];

fn fault(kind: Fault, detail: u64) {
    if COUNTS[kind as usize].fetch_add(1, Ordering::Relaxed) == 0 {
        FIRST[kind as usize].store(detail, Ordering::Relaxed);
    }
}

fn accepted(answer: i64) {
    if answer < 0 {
        fault(Fault::Refused, answer as u64);
    }
}

fn window(vcpu: usize) -> u64 {
    WINDOWS + ((vcpu as u64) << 21)
}

/// Reads the first word at an address that some window maps.
fn peek(address: u64) -> u64 {
    // SAFETY: the windows' slots always map one of the pool's frames.
    unsafe { (address as *const u64).read_volatile() }
}

fn poke(address: u64, value: u64) {
    // SAFETY: as for `peek`; the slot is writable.
    unsafe { (address as *mut u64).write_volatile(value) };
}

/// Flushes the own address for everybody, by a different operation each round.
fn flush(round: u64, address: u64) {
    let everybody = (1u64 << VCPUS.load(Ordering::Relaxed)) - 1;
    let mask = core::ptr::from_ref(&everybody) as u64;
    accepted(match round % 4 {
        0 => extended(MMUEXT_INVLPG_ALL, address, 0),
        1 => extended(MMUEXT_TLB_FLUSH_ALL, 0, 0),
        2 => extended(MMUEXT_INVLPG_MULTI, address, mask),
        _ => extended(MMUEXT_TLB_FLUSH_MULTI, 0, mask),
    });
}

/// Changes the entry at `index` of the own L1 table, by a different way each round; flushes for everybody.
fn remap(me: usize, index: u64, mfn: u64, round: u64) {
    let address = window(me) + (index << 12);
    let table = TABLES[me].load(Ordering::Relaxed);
    let entry = (pages::mfn_of(table) << 12) + index * 8;
    match round % 3 {
        0 => accepted(pages::update(entry, mfn << 12 | PTE_DATA)),
        1 => return accepted(map(address, mfn, PTE_DATA)),
        // A plain store to the read-only page table, which the hypervisor emulates.
        _ => poke(table + index * 8, mfn << 12 | PTE_DATA),
    }
    flush(round / 3, address);
}

/// Maps frames through the own window's slots and checks both views of each.
fn churn_window(me: usize, frames: &[&'static Page], round: u64) {
    for step in 0..8 {
        let frame = frames[1 + (round * 7 + step) as usize % (frames.len() - 1)];
        let slot = 1 + (round + step * 5) % 6;
        let address = window(me) + (slot << 12);
        remap(me, slot, frame.mfn(), round + step);
        let stamp = round << 16 | step << 8 | me as u64;
        poke(address, stamp);
        if frame.read(0) != stamp {
            fault(Fault::StaleOwn, round);
        }
        frame.write(0, !stamp);
        if peek(address) != !stamp {
            fault(Fault::StaleOwn, round);
        }
    }
}

/// Maps the next frame, with the next serial number in it, at slot 0, which the neighbour reads.
fn publish(me: usize, frames: &[&'static Page], serial: u64) {
    let frame = frames[serial as usize % 2 * (frames.len() - 1)];
    // The frame that nobody maps now, if flushes work: the other of the two.
    frame.write(1, serial);
    ANNOUNCED[me].store(serial, Ordering::SeqCst);
    remap(me, 0, frame.mfn(), serial);
    PUBLISHED[me].store(serial, Ordering::SeqCst);
}

/// Reads the neighbour's slot 0: its serial number lies between what was published before and announced after.
fn read_neighbour(me: usize) {
    let other = (me + 1) % VCPUS.load(Ordering::Relaxed) as usize;
    for _ in 0..8 {
        let least = PUBLISHED[other].load(Ordering::SeqCst);
        let seen = peek(window(other) + 8);
        let most = ANNOUNCED[other].load(Ordering::SeqCst);
        // The announced frame is written just before it is announced.
        if seen < least || seen > most {
            fault(Fault::StaleOther, least << 32 | seen);
        }
    }
}

/// Makes a frame an L1 table and back; its contents stay, and while it is a table nobody maps it writable.
fn change_type(page: &'static Page, target: u64, round: u64) {
    for index in 0..8 {
        page.write(index, target << 12 | PTE_READ_ONLY);
    }
    accepted(protect(page, PTE_READ_ONLY));
    accepted(extended(MMUEXT_PIN_L1_TABLE, page.mfn(), 0));
    if protect(page, PTE_DATA) >= 0 {
        fault(Fault::TableAccepted, round);
    }
    // Emulated, and validated: an absent entry is fine.
    poke(page.address() + 8, 0);
    if page.read(1) != 0 {
        fault(Fault::DirectWrite, page.read(1));
    }
    accepted(extended(MMUEXT_UNPIN_TABLE, page.mfn(), 0));
    accepted(protect(page, PTE_DATA));
    if page.read(0) & pages::PTE_FRAME != target << 12 || page.read(1) != 0 {
        fault(Fault::LostData, page.read(0));
    }
    for index in 0..8 {
        page.write(index, 0);
    }
}

fn churn(me: usize) {
    let mut frames = [const { None::<&'static Page> }; FRAMES];
    frames.fill_with(|| Some(take_page()));
    let frames = frames.map(|page| page.expect("filled above"));
    let table = take_page();
    publish(me, &frames, 2);
    READY.fetch_add(1, Ordering::SeqCst);
    while READY.load(Ordering::SeqCst) < VCPUS.load(Ordering::SeqCst) {
        hypercall::sched_op(SCHEDOP_yield, &mut ());
    }
    for round in 0..ROUNDS.load(Ordering::Relaxed) {
        churn_window(me, &frames[1..FRAMES - 1], round);
        publish(me, &frames, round + 3);
        read_neighbour(me);
        // Rarely, for it makes the hypervisor flush everything, which would hide a stale translation.
        if round % 8 == 7 {
            change_type(table, frames[3].mfn(), round);
        }
    }
    DONE.fetch_add(1, Ordering::SeqCst);
}

/// Gives each vcpu's window an L1 table whose slots map a page of nothing.
fn build_windows(count: usize) {
    let nothing = take_page();
    let upper = take_page();
    for (vcpu, slot) in TABLES.iter().enumerate().take(count) {
        let table = take_page();
        for index in 0..512 {
            table.write(index, nothing.mfn() << 12 | PTE_READ_ONLY);
        }
        accepted(protect(table, PTE_READ_ONLY));
        upper.write(pages::index_at(window(vcpu), 2) as usize, table.mfn() << 12 | PTE_TABLE);
        slot.store(table.address(), Ordering::SeqCst);
    }
    accepted(protect(upper, PTE_READ_ONLY));
    let entry = pages::entry_address(pages::boot_root(), WINDOWS, 3).expect("the top L3 table");
    accepted(pages::update(entry, upper.mfn() << 12 | PTE_TABLE));
    check!(
        "churn/windows",
        peek(WINDOWS) == 0,
        "a fresh window does not read as zero"
    );
}

fn rounds_from_command_line() {
    let mut number = 0;
    for &byte in start_info().cmd_line.iter().take_while(|byte| byte.is_ascii_digit()) {
        number = number * 10 + u64::from(byte - b'0');
    }
    if number > 0 {
        ROUNDS.store(number, Ordering::Relaxed);
    }
}

fn main() {
    rounds_from_command_line();
    let count = vcpu::count();
    VCPUS.store(count as u32, Ordering::SeqCst);
    build_windows(count);
    for number in 1..count {
        let answer = vcpu::start(number, churn);
        check!("churn/start-vcpu", answer == 0, "vcpu {number}: {answer}");
    }
    println!("{count} vcpus, {} rounds each", ROUNDS.load(Ordering::Relaxed));
    churn(0);
    while DONE.load(Ordering::SeqCst) < count as u32 {
        hypercall::sched_op(SCHEDOP_yield, &mut ());
    }
    for (name, kind) in FAULTS {
        let (times, first) = (
            COUNTS[kind as usize].load(Ordering::SeqCst),
            FIRST[kind as usize].load(Ordering::SeqCst),
        );
        check!(name, times == 0, "{times} times, first {first:#x}");
    }
}
