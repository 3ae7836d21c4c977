//! The table's second version: status words, parts of pages, grants passed on.
use crate::copying::{by_frame, by_grant, copy};
use crate::mapping::{GREF, data, map, place, restore, unmap};
use crate::table::{end, entry2, flags, grant, grant2, one, operate, own, status2};
use core::sync::atomic::Ordering::SeqCst;
use guest_rt::check;
use guest_rt::pages::{self, PTE_DATA, Page, take_page};
use xen_abi::*;

static STATUS: Page = Page::new();

/// A reserved entry that the toolstack has no use for.
const RESERVED: u32 = GNTTAB_NR_RESERVED_ENTRIES - 1;

fn set_version(version: u32) -> (i64, u32) {
    let mut request = [gnttab_set_version { version }];
    let answer = operate(GNTTABOP_set_version, &mut request);
    (answer, request[0].version)
}

/// Changes to version 2; false where the hypervisor has none.
fn begin() -> bool {
    let (lent, at) = (data(1), place());
    grant(GREF, lent.mfn(), GTF_permit_access);
    grant(RESERVED, lent.mfn(), GTF_permit_access);
    let op = map(GREF, at.address(), GNTMAP_host_map);
    let (answer, version) = set_version(2);
    check!(
        "version/in-use",
        answer == -i64::from(Errno::EBUSY.0) && version == 1,
        "{answer} {version}"
    );
    unmap(op.handle, at.address());
    restore(at);
    let (answer, version) = set_version(3);
    check!("version/three", answer < 0 && version == 1, "{answer} {version}");
    let (answer, version) = set_version(2);
    check!("version/two", answer == 0 && version == 2, "{answer} {version}");
    if answer != 0 {
        return false;
    }
    let [head, frame] = entry2(RESERVED).map(|word| word.load(SeqCst));
    let kept = head as u32 == u32::from(GTF_permit_access) | u32::from(own()) << 16 && frame == lent.mfn();
    check!("version/reserved-kept", kept, "{head:#x} {frame:#x}");
    check!("version/emptied", entry2(GREF)[0].load(SeqCst) == 0, "");
    true
}

fn status_frames() {
    let mut frames = [0u64; 1];
    let request = |nr_frames, list: &mut [u64]| gnttab_get_status_frames {
        nr_frames,
        dom: DOMID_SELF,
        frame_list: list.as_mut_ptr() as u64,
        ..Default::default()
    };
    let many = one(GNTTABOP_get_status_frames, request(1000, &mut frames)).status;
    check!("version/too-many-status-frames", many < 0, "{many}");
    let got = one(GNTTABOP_get_status_frames, request(1, &mut frames)).status;
    let mfn = core::hint::black_box(frames)[0];
    let mapped = pages::map(STATUS.address(), mfn, PTE_DATA);
    check!(
        "version/status-frames",
        got == GNTST_okay && mapped == 0,
        "{got} {mapped} {mfn:#x}"
    );
}

fn whole_pages() {
    let (lent, at) = (data(21), place());
    grant2(GREF, GTF_permit_access, 0, lent.mfn());
    let op = map(GREF, at.address(), GNTMAP_host_map);
    check!(
        "version/map",
        op.status == GNTST_okay && at.read(0) == 21,
        "{}",
        op.status
    );
    let marks = status2(&STATUS, GREF);
    check!("version/marks", marks == GTF_reading | GTF_writing, "{marks:#x}");
    check!(
        "version/head-kept",
        entry2(GREF)[0].load(SeqCst) as u16 == GTF_permit_access,
        ""
    );
    let status = unmap(op.handle, at.address());
    check!(
        "version/unmap",
        status == GNTST_okay && status2(&STATUS, GREF) == 0,
        "{status}"
    );
    restore(at);
    grant2(GREF, GTF_permit_access, 0, 1 << 60);
    let op = map(GREF, at.address(), GNTMAP_host_map);
    check!(
        "version/no-frame",
        op.status < 0 && status2(&STATUS, GREF) == 0,
        "{}",
        op.status
    );
    entry2(GREF)[0].store(0, SeqCst);
}

fn parts() {
    let (lent, own, at) = (take_page(), take_page(), place());
    (0..512).for_each(|n| lent.write(n, n as u64));
    // 64 bytes from 128 on.
    let part = GTF_permit_access | GTF_sub_page;
    grant2(GREF, part, 128 | 64 << 16, lent.mfn());
    let op = map(GREF, at.address(), GNTMAP_host_map);
    check!("version/part-map", op.status < 0, "{}", op.status);
    let status = copy(by_grant(GREF, 128), by_frame(own, 0), 64, GNTCOPY_source_gref);
    check!(
        "version/part-copy",
        status == GNTST_okay && own.read(7) == 23,
        "{status} {}",
        own.read(7)
    );
    for (name, offset, len) in [("before", 120, 16), ("behind", 184, 16), ("all", 0, 4096)] {
        let status = copy(by_grant(GREF, offset), by_frame(own, 0), len, GNTCOPY_source_gref);
        check!(format_args!("version/part-{name}"), status < 0, "{status}");
    }
    grant2(GREF, part, 4000 | 0xffff << 16, lent.mfn());
    let status = copy(by_grant(GREF, 4000), by_frame(own, 0), 96, GNTCOPY_source_gref);
    check!("version/part-long", status == GNTST_okay || status < 0, "{status}");
    check!(
        "version/part-marks",
        status2(&STATUS, GREF) == 0,
        "{:#x}",
        status2(&STATUS, GREF)
    );
    entry2(GREF)[0].store(0, SeqCst);
}

/// Grants that pass others on. They must be a third domain's, which there is none of here: all are refused.
fn passed_on() {
    let (lent, here, at) = (data(31), data(1), place());
    grant2(GREF, GTF_permit_access, 0, lent.mfn());
    grant2(GREF + 1, GTF_transitive, own().into(), GREF.into());
    grant2(GREF + 2, GTF_transitive, own().into(), (GREF + 1).into());
    grant2(GREF + 3, GTF_transitive, 99, GREF.into());
    let from = |gref| copy(by_grant(gref, 0), by_frame(here, 0), 8, GNTCOPY_source_gref);
    check!("version/passed-own", from(GREF + 1) < 0, "{}", from(GREF + 1));
    let status = copy(by_frame(here, 0), by_grant(GREF + 1, 0), 8, GNTCOPY_dest_gref);
    check!(
        "version/passed-back",
        status < 0 && lent.read(0) == 31,
        "{status} {}",
        lent.read(0)
    );
    check!("version/passed-twice", from(GREF + 2) < 0, "{}", from(GREF + 2));
    check!("version/passed-from-nobody", from(GREF + 3) < 0, "{}", from(GREF + 3));
    let op = map(GREF + 1, at.address(), GNTMAP_host_map);
    check!("version/passed-map", op.status < 0, "{}", op.status);
    for gref in GREF..GREF + 4 {
        check!(
            format_args!("version/passed-marks/{gref}"),
            status2(&STATUS, gref) == 0,
            "{}",
            status2(&STATUS, gref)
        );
        entry2(gref)[0].store(0, SeqCst);
    }
}

fn back() {
    let (answer, version) = set_version(1);
    check!("version/back", answer == 0 && version == 1, "{answer} {version}");
    let (lent, at) = (data(41), place());
    check!(
        "version/reserved-back",
        flags(RESERVED) == GTF_permit_access,
        "{:#x}",
        flags(RESERVED)
    );
    grant(GREF, lent.mfn(), GTF_permit_access);
    let op = map(GREF, at.address(), GNTMAP_host_map);
    check!(
        "version/map-again",
        op.status == GNTST_okay && at.read(0) == 41,
        "{}",
        op.status
    );
    unmap(op.handle, at.address());
    restore(at);
    end(GREF);
    end(RESERVED);
}

pub(crate) fn run() {
    if !begin() {
        return;
    }
    status_frames();
    whole_pages();
    parts();
    passed_on();
    // The status page must not be in the way of giving it back.
    restore(&STATUS);
    back();
}
