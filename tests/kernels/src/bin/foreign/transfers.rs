//! Pages given away by transfer: to a domain that waits for one, and to one that does not.
use crate::control::{Domain, call, memory_op, numbers, restore};
use guest_rt::check;
use guest_rt::pages::{self, PTE_DATA, PTE_READ_ONLY, Page, set_mfn_of_pfn, take_page};
use xen_abi::*;

const WORD: u64 = 0x7472_616e_7366_6572;
/// The taker's entry.
const ENTRY: u32 = 9;

fn grant_op<T>(op: u32, argument: &mut T) -> i64 {
    call(
        __HYPERVISOR_grant_table_op,
        [op.into(), core::ptr::from_mut(argument) as u64, 1, 0, 0, 0],
    )
}

/// The frame of a domain's grant table.
fn table_of(domain: Domain) -> Option<u64> {
    let mut frame = 0u64;
    let mut ask = gnttab_setup_table {
        dom: domain.0,
        nr_frames: 1,
        frame_list: core::ptr::from_mut(&mut frame) as u64,
        ..Default::default()
    };
    let answer = grant_op(GNTTABOP_setup_table, &mut ask);
    (answer == 0 && ask.status == GNTST_okay).then_some(frame)
}

/// Gives a frame of this kernel's away; the status.
fn transfer(mfn: u64, domain: Domain, gref: u32) -> i16 {
    let mut ask = gnttab_transfer {
        mfn,
        domid: domain.0,
        grant_ref: gref,
        ..Default::default()
    };
    let answer = grant_op(GNTTABOP_transfer, &mut ask);
    check!("transfer/call", answer == 0, "{answer}");
    ask.status
}

/// Gives a page whose frame is gone a new one.
fn refill(page: &Page) {
    let pfn = (page.address() - pages::VIRT_BASE) >> 12;
    let mut frame = pfn;
    let mut request = xen_memory_reservation {
        extent_start: core::ptr::from_mut(&mut frame) as u64,
        nr_extents: 1,
        domid: DOMID_SELF,
        ..Default::default()
    };
    let answer = memory_op(XENMEM_populate_physmap, &mut request);
    check!("transfer/refill", answer == 1, "{answer}");
    set_mfn_of_pfn(pfn, frame);
    let answer = pages::map(page.address(), frame, PTE_DATA);
    check!("transfer/refilled", answer == 0, "{answer}");
}

fn own_pages() -> u64 {
    Domain(0).pages()
}

pub fn run() {
    // Again with a page that has come in the place of one that was given away.
    let pages = [take_page(), take_page(), take_page()];
    life(pages);
    life(pages);
}

fn life([window, page, second]: [&Page; 3]) {
    let own = own_pages();
    let domain = Domain::create(16);
    let mut list = numbers::<8>();
    domain.populate(&mut list);
    let Some(table) = table_of(domain) else {
        check!("transfer/table", false, "Dom0 gets no frame of the domain's table");
        return;
    };
    let answer = domain.map(window, table, PTE_DATA);
    check!("transfer/map-table", answer == 0, "{answer}");
    // A version 1 entry is a word: flags, the other domain, the frame number.
    let accept = u64::from(GTF_accept_transfer) | 100 << 32;
    window.write(ENTRY as usize, accept);
    page.write(5, WORD);
    let mfn = page.mfn();

    let status = transfer(mfn, domain, ENTRY);
    check!(
        "transfer/mapped",
        status == GNTST_bad_page,
        "a page in use was given away: {status}"
    );
    check!(
        "transfer/waits",
        window.read(ENTRY as usize) == accept,
        "{:#x}",
        window.read(ENTRY as usize)
    );
    let answer = pages::map(page.address(), 0, 0);
    check!("transfer/unmap", answer == 0, "{answer}");
    let status = transfer(mfn, domain, ENTRY);
    check!("transfer/done", status == GNTST_okay, "{status}");
    let entry = window.read(ENTRY as usize);
    let flags = GTF_accept_transfer | GTF_transfer_committed | GTF_transfer_completed;
    check!("transfer/told", entry == u64::from(flags) | mfn << 32, "{entry:#x}");
    check!("transfer/taken", domain.pages() == 9, "{}", domain.pages());
    check!("transfer/given", own_pages() == own - 1, "{} of {own}", own_pages());
    let answer = domain.map(second, mfn, PTE_READ_ONLY);
    check!("transfer/contents", answer == 0 && second.read(5) == WORD, "{answer}");
    restore(second);
    let answer = pages::map(page.address(), mfn, PTE_DATA);
    check!("transfer/not-mine", answer < 0, "the giver maps what it gave");
    let status = transfer(mfn, domain, ENTRY);
    check!("transfer/once", status == GNTST_bad_page, "{status}");

    restore(window);
    refill(page);
    domain.destroy();
    check!("transfer/gone", domain.is_gone(), "still there");
}
