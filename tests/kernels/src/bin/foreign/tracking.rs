//! Tracking of the pages that a domain writes: what others and the hypervisor write for it. (What it writes itself is
//! seen by the guests that are migrated while they run.)
use crate::control::{Domain, free_pages, is, numbers, restore, update_as, update_with};
use guest_rt::check;
use guest_rt::pages::{PTE_DATA, PTE_READ_ONLY, Page, take_page};
use xen_abi::*;

/// Pages of the domain's, and of what is asked about.
const PAGES: usize = 8;

/// The marks of the domain's pages, as a bit each.
fn marks(domain: Domain, op: u32) -> Result<u64, i64> {
    let mut map = [0u64; 2];
    let mut ask = xen_domctl_shadow_op {
        op,
        dirty_bitmap: map.as_mut_ptr() as u64,
        pages: 70,
        ..Default::default()
    };
    match domain.shadow_op(&mut ask) {
        0 if ask.pages != 70 || map[1] != 0 => Err(1),
        0 if ask.stats.dirty_count != map[0].count_ones() => Err(2),
        0 => Ok(map[0]),
        errno => Err(errno),
    }
}

fn simple(domain: Domain, op: u32) -> i64 {
    domain.shadow_op(&mut xen_domctl_shadow_op {
        op,
        ..Default::default()
    })
}

fn enable(domain: Domain) -> i64 {
    simple(domain, XEN_DOMCTL_SHADOW_OP_ENABLE_LOGDIRTY)
}

/// What is asked of the wrong domain, at the wrong time, or wrongly.
fn refused(domain: Domain) {
    let answer = enable(Domain(0));
    check!("tracking/own", is(answer, Errno::EINVAL), "{answer}");
    let answer = marks(domain, XEN_DOMCTL_SHADOW_OP_CLEAN);
    check!(
        "tracking/not-on",
        answer == Err(-i64::from(Errno::EINVAL.0)),
        "{answer:?}"
    );
    let answer = simple(domain, XEN_DOMCTL_SHADOW_OP_ENABLE_TEST);
    check!("tracking/other-shadows", is(answer, Errno::EINVAL), "{answer}");
    let answer = simple(domain, XEN_DOMCTL_SHADOW_OP_OFF);
    check!("tracking/off-when-off", answer == 0, "{answer}");
    let answer = enable(domain);
    check!("tracking/on", answer == 0, "{answer}");
    let answer = enable(domain);
    check!("tracking/on-twice", is(answer, Errno::EINVAL), "{answer}");
}

/// A page that is mapped writable here is marked in each round until it is not any more.
fn mapped(domain: Domain, window: &Page, list: &[u64]) {
    let peek = || marks(domain, XEN_DOMCTL_SHADOW_OP_PEEK);
    let clean = || marks(domain, XEN_DOMCTL_SHADOW_OP_CLEAN);
    domain.map(window, list[2], PTE_READ_ONLY);
    check!("tracking/read-only", clean() == Ok(0), "{:x?}", peek());
    domain.map(window, list[3], PTE_DATA);
    check!("tracking/writable", peek() == Ok(1 << 3), "{:x?}", peek());
    for round in 0..2 {
        let found = clean();
        check!(
            format_args!("tracking/still-{round}"),
            found == Ok(1 << 3),
            "{found:x?}"
        );
    }
    window.write(0, 1);
    restore(window);
    let (last, none) = (clean(), clean());
    check!(
        "tracking/no-more",
        last == Ok(1 << 3) && none == Ok(0),
        "{last:x?}, {none:x?}"
    );
}

/// What the hypervisor writes on the domain's behalf, and a page that becomes a table.
fn written(domain: Domain, list: &[u64]) {
    let clean = || marks(domain, XEN_DOMCTL_SHADOW_OP_CLEAN);
    let mut found = [Ok(0); 5];
    domain.extended(MMUEXT_PIN_L1_TABLE, list[4]);
    found[0] = clean();
    // Tables and frames are both the domain's.
    update_with(
        (u64::from(domain.0) + 1) << 16 | u64::from(domain.0),
        list[4] << 12,
        1 << 1,
    );
    found[1] = clean();
    domain.extended(MMUEXT_UNPIN_TABLE, list[4]);
    found[2] = clean();
    domain.extended(MMUEXT_CLEAR_PAGE, list[5]);
    found[3] = clean();
    update_as(domain.0, list[6] << 12 | MMU_MACHPHYS_UPDATE, 7);
    found[4] = clean();
    let wanted = [1 << 4, 1 << 4, 1 << 4, 1 << 5, 1 << 7].map(Ok);
    check!("tracking/written", found == wanted, "{found:x?}");
}

/// A list of marks that cannot be handed out is not lost.
fn unreadable(domain: Domain) {
    let mut ask = xen_domctl_shadow_op {
        op: XEN_DOMCTL_SHADOW_OP_CLEAN,
        dirty_bitmap: 0x1000,
        pages: PAGES as u64,
        ..Default::default()
    };
    let answer = domain.shadow_op(&mut ask);
    check!("tracking/unreadable", is(answer, Errno::EFAULT), "{answer}");
    ask.dirty_bitmap = 0;
    ask.op = XEN_DOMCTL_SHADOW_OP_PEEK;
    let answer = domain.shadow_op(&mut ask);
    check!(
        "tracking/everything",
        answer == 0 && ask.stats.dirty_count >= PAGES as u32,
        "{answer}, {}",
        ask.stats.dirty_count
    );
}

/// A domain that is tracked, and ends while it is.
fn cycle(window: &Page) {
    let domain = Domain::create(16);
    let mut list = numbers::<PAGES>();
    domain.populate(&mut list);
    refused(domain);
    mapped(domain, window, &list);
    written(domain, &list);
    unreadable(domain);
    let (off, on) = (simple(domain, XEN_DOMCTL_SHADOW_OP_OFF), enable(domain));
    check!("tracking/again", off == 0 && on == 0, "{off}, {on}");
    domain.map(window, list[1], PTE_DATA);
    domain.destroy();
    restore(window);
    check!("tracking/ended", domain.is_gone(), "still there");
}

pub fn run() {
    let window = take_page();
    // What the hypervisor's heap grows by for the first one it keeps.
    cycle(window);
    let before = free_pages();
    cycle(window);
    let after = free_pages();
    check!(
        "tracking/frames",
        before == after,
        "{before} frames were free, {after} are"
    );
}
