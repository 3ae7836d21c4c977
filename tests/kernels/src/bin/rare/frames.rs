//! Memory: caches, copies, how much there is.
use crate::control::{BAD, NOBODY, call, create_domain, destroy_domain, domain_info, is, operate, reservation, sysctl};
use guest_rt::check;
use guest_rt::pages::{PTE_DATA, PTE_READ_ONLY, Page, extended, map, protect, take_page};
use xen_abi::*;

fn extended_as(domain: u16, cmd: u32, arg1: u64, arg2: u64) -> i64 {
    let mut op = mmuext_op {
        cmd,
        _pad: 0,
        arg1,
        arg2,
    };
    let pointer = crate::control::at(&mut op);
    call(__HYPERVISOR_mmuext_op, [pointer, 1, 0, domain.into(), 0, 0])
}

fn caches(page: &Page, domain: u16) {
    page.write(9, 0xcac4e);
    for (name, cmd) in [("local", MMUEXT_FLUSH_CACHE), ("global", MMUEXT_FLUSH_CACHE_GLOBAL)] {
        let answer = extended(cmd, 0, 0);
        check!(
            format_args!("flush_cache/{name}"),
            answer == 0 && page.read(9) == 0xcac4e,
            "{answer}"
        );
        let answer = extended_as(domain, cmd, 0, 0);
        check!(
            format_args!("flush_cache/{name}-other"),
            is(answer, Errno::EPERM),
            "{answer}"
        );
    }
}

fn copies() {
    let (from, to) = (take_page(), take_page());
    for word in 0..512 {
        from.write(word, 0x1000 + word as u64);
    }
    let answer = extended(MMUEXT_COPY_PAGE, to.mfn(), from.mfn());
    let differs = (0..512).find(|&word| to.read(word) != 0x1000 + word as u64);
    check!(
        "copy_page/bytes",
        answer == 0 && differs.is_none(),
        "{answer} {differs:?}"
    );
    protect(to, PTE_READ_ONLY);
    to_a_table(to, from);
    protect(to, PTE_DATA);
    let answer = extended(MMUEXT_COPY_PAGE, to.mfn(), 1 << 36);
    check!("copy_page/from-nowhere", is(answer, Errno::EINVAL), "{answer}");
    let answer = extended(MMUEXT_COPY_PAGE, 1 << 36, from.mfn());
    check!("copy_page/to-nowhere", is(answer, Errno::EINVAL), "{answer}");
}

/// A page table is never written so.
fn to_a_table(table: &Page, from: &Page) {
    // Its content, numbers in the place of entries without the present bit.
    let odd = (0..512).any(|word| table.read(word) & 1 != 0);
    check!("copy_page/content", odd, "the copy has been lost");
    let empty = take_page();
    protect(empty, PTE_READ_ONLY);
    let pinned = extended(MMUEXT_PIN_L1_TABLE, empty.mfn(), 0);
    let answer = extended(MMUEXT_COPY_PAGE, empty.mfn(), from.mfn());
    check!(
        "copy_page/to-a-table",
        pinned == 0 && is(answer, Errno::EINVAL) && empty.read(7) == 0,
        "{pinned} {answer}"
    );
    extended(MMUEXT_UNPIN_TABLE, empty.mfn(), 0);
    protect(empty, PTE_DATA);
}

fn pages_of(domain: u16) -> i64 {
    operate(
        __HYPERVISOR_memory_op,
        XENMEM_current_reservation,
        &mut xen_memory_domain { domid: domain },
    )
}

fn reserve(op: u32, request: &mut xen_memory_reservation) -> i64 {
    operate(__HYPERVISOR_memory_op, op, request)
}

fn reservations(window: &Page) {
    let before = pages_of(DOMID_SELF);
    let told = domain_info(0).map_or(0, |info| info.tot_pages);
    check!(
        "current_reservation/same",
        before > 0 && before as u64 == told,
        "{before}, {told} by domctl"
    );
    let mut list = [0; 2];
    let answer = reserve(XENMEM_increase_reservation, &mut reservation(DOMID_SELF, &mut list));
    let now = pages_of(DOMID_SELF);
    check!(
        "increase_reservation/more",
        answer == 2 && now == before + 2 && list[0] != list[1],
        "{answer}, {before} pages, then {now}"
    );
    let answer = map(window.address(), list[1], PTE_DATA);
    let clean = window.read(100);
    window.write(100, 0xadd);
    check!(
        "increase_reservation/usable",
        answer == 0 && clean == 0 && window.read(100) == 0xadd,
        "{answer} {clean:#x}"
    );
    protect(window, PTE_DATA);
    let answer = reserve(XENMEM_decrease_reservation, &mut reservation(DOMID_SELF, &mut list));
    let now = pages_of(DOMID_SELF);
    check!(
        "increase_reservation/back",
        answer == 2 && now == before,
        "{answer} {now}"
    );
    let mut large = reservation(DOMID_SELF, &mut list);
    large.extent_order = 30;
    let answer = reserve(XENMEM_increase_reservation, &mut large);
    check!("increase_reservation/order", answer == 0, "{answer}");
    let answer = reserve(XENMEM_increase_reservation, &mut reservation(NOBODY, &mut list));
    // Stock Xen has then done nothing of it; a domain that there is not may also be named.
    check!(
        "increase_reservation/nobody",
        answer == 0 || is(answer, Errno::ESRCH),
        "{answer}"
    );
    let answer = pages_of(NOBODY);
    check!("current_reservation/nobody", is(answer, Errno::ESRCH), "{answer}");
}

fn others_reservation(domain: u16) {
    let mut list = [0; 3];
    let answer = reserve(XENMEM_increase_reservation, &mut reservation(domain, &mut list));
    let now = pages_of(domain);
    check!("increase_reservation/other", answer == 3 && now == 3, "{answer} {now}");
    let mut many = [0; 16];
    let answer = reserve(XENMEM_increase_reservation, &mut reservation(domain, &mut many));
    check!(
        "increase_reservation/limit",
        answer == 13 && pages_of(domain) == 16,
        "{answer} {}",
        pages_of(domain)
    );
}

fn maximum() {
    let answer = call(__HYPERVISOR_memory_op, [XENMEM_maximum_ram_page.into(), 0, 0, 0, 0, 0]);
    let mut mapping = xen_machphys_mapping::default();
    operate(__HYPERVISOR_memory_op, XENMEM_machphys_mapping, &mut mapping);
    let (_, request) = sysctl(XEN_SYSCTL_physinfo, |_| ());
    let info: xen_sysctl_physinfo = request.payload();
    let own = take_page().mfn();
    let frames = answer as u64;
    check!(
        "maximum_ram_page/sane",
        answer > 0 && frames > own && frames >= info.total_pages && frames <= info.max_mfn.max(mapping.max_mfn) + 1,
        "{frames:#x}: own {own:#x}, {:#x} in all, greatest {:#x} and {:#x}",
        info.total_pages,
        info.max_mfn,
        mapping.max_mfn
    );
}

fn virtual_nodes() {
    let ask = |domid: u16, pad: u16| {
        let mut info = xen_vnuma_topology_info {
            domid,
            pad,
            ..Default::default()
        };
        operate(__HYPERVISOR_memory_op, XENMEM_get_vnumainfo, &mut info)
    };
    let answer = ask(DOMID_SELF, 0);
    check!("get_vnumainfo/none", is(answer, Errno::EOPNOTSUPP), "{answer}");
    let answer = ask(NOBODY, 0);
    check!("get_vnumainfo/nobody", is(answer, Errno::ESRCH), "{answer}");
    let answer = ask(DOMID_SELF, 1);
    check!("get_vnumainfo/pad", is(answer, Errno::EINVAL), "{answer}");
    let answer = call(__HYPERVISOR_memory_op, [XENMEM_get_vnumainfo.into(), BAD, 0, 0, 0, 0]);
    check!("get_vnumainfo/pointer", is(answer, Errno::EFAULT), "{answer}");
}

fn device_memory() {
    let ask = |flags: u32| {
        let mut entries = [xen_reserved_device_memory::default(); 4];
        let mut request = xen_reserved_device_memory_map {
            flags,
            nr_entries: 4,
            buffer: entries.as_mut_ptr() as u64,
            ..Default::default()
        };
        let answer = operate(__HYPERVISOR_memory_op, XENMEM_reserved_device_memory_map, &mut request);
        (answer, request.nr_entries)
    };
    let (answer, count) = ask(XENMEM_RDM_ALL);
    check!(
        "reserved_device_memory_map/none",
        answer == 0 && count == 0,
        "{answer} {count}"
    );
    let (answer, count) = ask(0);
    check!(
        "reserved_device_memory_map/device",
        answer == 0 && count == 0,
        "{answer} {count}"
    );
    let (answer, _) = ask(2);
    check!(
        "reserved_device_memory_map/flags",
        is(answer, Errno::EINVAL),
        "{answer}"
    );
}

pub fn run() {
    let page = take_page();
    let domain = create_domain();
    caches(page, domain);
    copies();
    reservations(page);
    others_reservation(domain);
    maximum();
    virtual_nodes();
    device_memory();
    destroy_domain(domain);
}
