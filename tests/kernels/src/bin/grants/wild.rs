//! Wrong numbers, domains and states: each is refused, and nothing is left behind.
use crate::channels::{alloc, close, connect, send};
use crate::mapping::{GREF, data, map, place, restore, unmap};
use crate::table::{end, flags, grant, head, one, operate, own};
use core::sync::atomic::Ordering::SeqCst;
use guest_rt::pages::{self, PTE_DATA};
use guest_rt::{check, hypercall};
use xen_abi::*;

const NOBODY: domid_t = 99;

fn maps() {
    let (lent, at) = (data(3), data(1));
    let here = at.address();
    for (name, flags, to, mfn) in [
        ("not-granted", 0, own(), lent.mfn()),
        ("to-another", GTF_permit_access, 5, lent.mfn()),
        ("for-transfer", GTF_accept_transfer, own(), lent.mfn()),
        ("no-kind", 3, own(), lent.mfn()),
        ("part", GTF_permit_access | GTF_sub_page, own(), lent.mfn()),
        ("no-frame", GTF_permit_access, own(), 0xffff_ffff),
        ("device-frame", GTF_permit_access, own(), 0xfee00),
        ("firmware-frame", GTF_permit_access, own(), 0xa0),
        ("free-frame", GTF_permit_access, own(), 0x1000),
    ] {
        grant(GREF, mfn, flags);
        head(GREF).store(u32::from(flags) | u32::from(to) << 16, SeqCst);
        let op = map(GREF, here, GNTMAP_host_map);
        check!(format_args!("wild/map/{name}"), op.status < 0, "{}", op.status);
        let op = map(GREF, here, GNTMAP_device_map);
        check!(format_args!("wild/device/{name}"), op.status < 0, "{}", op.status);
    }
    grant(GREF, lent.mfn(), GTF_permit_access);
    for (name, gref, address, flags) in [
        ("nothing", GREF, here, 0),
        ("reference", u32::MAX, here, GNTMAP_host_map),
        ("next-reference", 1024, here, GNTMAP_host_map),
        ("hypervisor", GREF, HYPERVISOR_VIRT_START, GNTMAP_host_map),
        ("user", GREF, 0x1000, GNTMAP_host_map),
        ("not-canonical", GREF, 1 << 60, GNTMAP_host_map),
        (
            "odd-entry",
            GREF,
            (pages::boot_root() << 12) + 3,
            GNTMAP_host_map | GNTMAP_contains_pte,
        ),
        (
            "top-table",
            GREF,
            pages::boot_root() << 12,
            GNTMAP_host_map | GNTMAP_contains_pte,
        ),
        (
            "no-table",
            GREF,
            lent.mfn() << 12,
            GNTMAP_host_map | GNTMAP_contains_pte,
        ),
        ("far-table", GREF, !7, GNTMAP_host_map | GNTMAP_contains_pte),
        ("device-table", GREF, 0xfee0_0000, GNTMAP_host_map | GNTMAP_contains_pte),
    ] {
        let op = map(gref, address, flags);
        check!(format_args!("wild/map/{name}"), op.status < 0, "{}", op.status);
    }
    check!(
        "wild/map/unmarked",
        flags(GREF) == GTF_permit_access,
        "{:#x}",
        flags(GREF)
    );
    check!("wild/map/page-kept", at.read(0) == 1, "{}", at.read(0));
    end(GREF);
}

fn unmaps() {
    let (lent, at, other) = (data(3), place(), data(2));
    grant(GREF, lent.mfn(), GTF_permit_access);
    let op = map(GREF, at.address(), GNTMAP_host_map);
    for (name, handle, address) in [
        ("handle", op.handle + 1, at.address()),
        ("far-handle", u32::MAX, at.address()),
        ("other-page", op.handle, other.address()),
        ("hypervisor", op.handle, HYPERVISOR_VIRT_START),
        ("not-mapped", op.handle, 0x1000),
    ] {
        let status = unmap(handle, address);
        check!(format_args!("wild/unmap/{name}"), status < 0, "{status}");
    }
    let bus = gnttab_unmap_grant_ref {
        dev_bus_addr: (lent.mfn() + 1) << 12,
        handle: op.handle,
        ..Default::default()
    };
    // Xen looks at it only where there is a mapping for devices.
    let status = one(GNTTABOP_unmap_grant_ref, bus).status;
    check!("wild/unmap/bus-address", status <= 0, "{status}");
    check!(
        "wild/unmap/nothing",
        unmap(op.handle, 0) == GNTST_okay && at.read(0) == 3,
        ""
    );
    // The guest takes the entry away itself: the mapping cannot be ended by it any more, and the page stays lent.
    assert!(pages::map(at.address(), at.mfn(), PTE_DATA) == 0);
    let status = unmap(op.handle, at.address());
    check!(
        "wild/unmap/taken",
        status < 0 && flags(GREF) & GTF_reading != 0,
        "{status} {:#x}",
        flags(GREF)
    );
    let entry = pages::map(at.address(), lent.mfn(), PTE_DATA);
    check!(
        "wild/unmap/own-entry",
        entry == 0 && unmap(op.handle, at.address()) == GNTST_okay,
        "{entry}"
    );
    check!(
        "wild/unmap/marks",
        flags(GREF) == GTF_permit_access,
        "{:#x}",
        flags(GREF)
    );
    restore(at);
    end(GREF);
}

/// Transfers, exchanges of entries, cache maintenance.
fn others() {
    let lent = data(4);
    let transfer = |mfn, domid| {
        let request = gnttab_transfer {
            mfn,
            domid,
            grant_ref: GREF,
            ..Default::default()
        };
        one(GNTTABOP_transfer, request).status
    };
    check!("wild/transfer/nobody", transfer(lent.mfn(), NOBODY) < 0, "");
    check!("wild/transfer/no-frame", transfer(u64::MAX, own()) < 0, "");
    check!(
        "wild/transfer/self",
        transfer(lent.mfn(), own()) < 0 && lent.read(0) == 4,
        ""
    );
    let swap = |ref_a, ref_b| {
        let request = gnttab_swap_grant_ref {
            ref_a,
            ref_b,
            ..Default::default()
        };
        one(GNTTABOP_swap_grant_ref, request).status
    };
    grant(GREF, lent.mfn(), GTF_permit_access);
    grant(GREF + 1, lent.mfn() + 1, GTF_permit_access | GTF_readonly);
    let status = swap(GREF, GREF + 1);
    let swapped = flags(GREF) == GTF_permit_access | GTF_readonly && flags(GREF + 1) == GTF_permit_access;
    check!(
        "wild/swap",
        status == GNTST_okay && swapped,
        "{status} {:#x}",
        flags(GREF)
    );
    check!("wild/swap/self", swap(GREF, GREF) == GNTST_okay, "");
    check!(
        "wild/swap/reference",
        swap(GREF, u32::MAX) < 0 && swap(u32::MAX, GREF) < 0,
        ""
    );
    let at = place();
    let op = map(GREF + 1, at.address(), GNTMAP_host_map);
    check!(
        "wild/swap/in-use",
        op.status == 0 && swap(GREF, GREF + 1) == GNTST_eagain,
        "{}",
        op.status
    );
    unmap(op.handle, at.address());
    restore(at);
    let flush = |address, offset, length, op| {
        let mut request = [gnttab_cache_flush {
            a: address,
            offset,
            length,
            op,
        }];
        operate(GNTTABOP_cache_flush, &mut request)
    };
    let page = lent.mfn() << 12;
    check!("wild/flush/own", flush(page, 0, 4096, GNTTAB_CACHE_CLEAN) == 0, "");
    check!("wild/flush/nothing", flush(page, 0, 0, GNTTAB_CACHE_CLEAN) == 0, "");
    check!("wild/flush/range", flush(page, 4000, 200, GNTTAB_CACHE_CLEAN) < 0, "");
    check!("wild/flush/kind", flush(page, 0, 1, 8) < 0, "");
    check!("wild/flush/frame", flush(u64::MAX, 0, 1, GNTTAB_CACHE_CLEAN) < 0, "");
    end(GREF);
    end(GREF + 1);
}

fn ports() {
    for port in [0, u32::MAX, 4095, 1 << 17] {
        check!(format_args!("wild/send/{port}"), send(port) < 0, "{}", send(port));
        check!(format_args!("wild/close/{port}"), close(port) < 0, "{}", close(port));
        let (answer, _) = connect(own(), port);
        check!(format_args!("wild/connect/{port}"), answer < 0, "{answer}");
        let answer = hypercall::event_channel_op(EVTCHNOP_bind_vcpu, &mut evtchn_bind_vcpu { port, vcpu: 0 });
        check!(format_args!("wild/bind-vcpu/{port}"), answer < 0, "{answer}");
        // Xen unmasks what is closed, too.
        let answer = hypercall::event_channel_op(EVTCHNOP_unmask, &mut evtchn_unmask { port });
        check!(format_args!("wild/unmask/{port}"), answer <= 0, "{answer}");
    }
    check!("wild/alloc-for-nobody", alloc(NOBODY, own()).0 < 0, "");
    check!("wild/connect-nobody", connect(NOBODY, 1).0 < 0, "");
    // A port may wait for a domain that does not exist, and nobody else connects to it.
    let (answer, port) = alloc(DOMID_SELF, NOBODY);
    check!("wild/alloc-from-nobody", answer == 0, "{answer}");
    check!("wild/connect-to-anothers", connect(own(), port).0 < 0, "");
    check!("wild/send-to-nobody", send(port) == 0 && close(port) == 0, "");
    let mut virq = evtchn_bind_virq {
        virq: VIRQ_DEBUG,
        ..Default::default()
    };
    let answer = hypercall::event_channel_op(EVTCHNOP_bind_virq, &mut virq);
    check!("wild/send-virq", answer == 0 && send(virq.port) < 0, "{answer}");
    let twice = hypercall::event_channel_op(EVTCHNOP_bind_virq, &mut evtchn_bind_virq { port: 0, ..virq });
    check!("wild/virq-twice", twice == -i64::from(Errno::EEXIST.0), "{twice}");
    check!("wild/virq-close", close(virq.port) == 0, "");
    let far = evtchn_bind_virq {
        virq: VIRQ_DEBUG,
        vcpu: 99,
        ..Default::default()
    };
    let answer = hypercall::event_channel_op(EVTCHNOP_bind_virq, &mut { far });
    check!("wild/virq-vcpu", answer < 0, "{answer}");
}

pub(crate) fn run() {
    maps();
    unmaps();
    others();
    ports();
}
