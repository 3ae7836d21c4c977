//! Copies between pages named by grants and by frame numbers.
use crate::mapping::{GREF, data};
use crate::table::{end, flags, grant, one, operate, own};
use guest_rt::check;
use guest_rt::pages::{self, Page, take_page};
use xen_abi::*;

/// One end by grant.
pub(crate) fn by_grant(gref: u32, offset: u16) -> gnttab_copy_ptr {
    gnttab_copy_ptr {
        u: gref.into(),
        domid: own(),
        offset,
        ..Default::default()
    }
}

/// One end by frame number.
pub(crate) fn by_frame(page: &Page, offset: u16) -> gnttab_copy_ptr {
    gnttab_copy_ptr {
        u: page.mfn(),
        domid: DOMID_SELF,
        offset,
        ..Default::default()
    }
}

pub(crate) fn copy(source: gnttab_copy_ptr, dest: gnttab_copy_ptr, len: u16, flags: u16) -> i16 {
    one(
        GNTTABOP_copy,
        gnttab_copy {
            source,
            dest,
            len,
            flags,
            ..Default::default()
        },
    )
    .status
}

fn both_ways() {
    let (lent, own) = (take_page(), take_page());
    (0..512).for_each(|n| lent.write(n, n as u64));
    grant(GREF, lent.mfn(), GTF_permit_access);
    let status = copy(by_grant(GREF, 0), by_frame(own, 0), 4096, GNTCOPY_source_gref);
    let same = (0..512).all(|n| own.read(n) == n as u64);
    check!("copy/from-grant", status == GNTST_okay && same, "{status} {same}");
    own.write(3, 0xabcd);
    let status = copy(by_frame(own, 24), by_grant(GREF, 80), 8, GNTCOPY_dest_gref);
    check!(
        "copy/to-grant",
        status == GNTST_okay && lent.read(10) == 0xabcd,
        "{status} {:#x}",
        lent.read(10)
    );
    check!("copy/neighbours", lent.read(9) == 9 && lent.read(11) == 11, "");
    check!("copy/no-marks", flags(GREF) == GTF_permit_access, "{:#x}", flags(GREF));
    let status = copy(by_grant(GREF, 4095), by_frame(own, 0), 0, GNTCOPY_source_gref);
    check!("copy/nothing", status == GNTST_okay, "{status}");
    end(GREF);
}

fn refusals() {
    let (lent, own) = (data(1), data(2));
    grant(GREF, lent.mfn(), GTF_permit_access | GTF_readonly);
    let status = copy(by_frame(own, 0), by_grant(GREF, 0), 8, GNTCOPY_dest_gref);
    check!("copy/readonly", status < 0 && lent.read(0) == 1, "{status}");
    let mut other = by_frame(own, 0);
    other.domid = 99;
    let status = copy(by_grant(GREF, 0), other, 8, GNTCOPY_source_gref);
    check!("copy/foreign-frame", status < 0, "{status}");
    for (name, from, to, len) in [
        ("source-range", 4090, 0, 8),
        ("dest-range", 0, 4090, 8),
        ("long", 0, 0, 4097),
        ("far", u16::MAX, u16::MAX, u16::MAX),
    ] {
        let status = copy(by_grant(GREF, from), by_frame(own, to), len, GNTCOPY_source_gref);
        check!(format_args!("copy/{name}"), status == GNTST_bad_copy_arg, "{status}");
    }
    let tables = pages::boot_root();
    let mut table = by_frame(own, 0);
    table.u = tables;
    let status = copy(by_grant(GREF, 0), table, 8, GNTCOPY_source_gref);
    check!("copy/to-page-table", status < 0, "{status}");
    for frame in [u64::MAX, 0xfee00, 1 << 40, 0] {
        let mut wild = by_frame(own, 0);
        wild.u = frame;
        let status = copy(wild, by_frame(own, 0), 8, 0);
        check!(format_args!("copy/from-frame/{frame:#x}"), status < 0, "{status}");
    }
    end(GREF);
}

/// A batch in which the same ends come again and again, as a network backend makes them.
fn batch() {
    let (a, b, own) = (data(1), data(2), take_page());
    grant(GREF, a.mfn(), GTF_permit_access);
    grant(GREF + 1, b.mfn(), GTF_permit_access);
    let mut requests: [gnttab_copy; 80] = core::array::from_fn(|n| gnttab_copy {
        source: by_grant(GREF + (n as u32 / 3) % 2, 0),
        dest: by_frame(own, n as u16 * 8),
        len: 8,
        flags: GNTCOPY_source_gref,
        ..Default::default()
    });
    requests[50].source.u = 7777;
    let answer = operate(GNTTABOP_copy, &mut requests);
    let wrong = requests.iter().filter(|op| op.status != GNTST_okay).count();
    let right = (0..80).all(|n| own.read(n) == if n == 50 { 0 } else { 1 + (n as u64 / 3) % 2 });
    check!(
        "copy/batch",
        answer == 0 && wrong == 1 && right,
        "{answer} {wrong} {right}"
    );
    check!(
        "copy/batch-marks",
        flags(GREF) == GTF_permit_access,
        "{:#x}",
        flags(GREF)
    );
    end(GREF);
    end(GREF + 1);
}

pub(crate) fn run() {
    both_ways();
    refusals();
    batch();
}
