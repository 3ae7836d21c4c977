//! Memory operations with sizes, orders and frames that cannot be.
use crate::{call, is, refused};
use guest_rt::check;
use guest_rt::pages::boot_root;
use xen_abi::*;

fn reserve(operation: u32, mut argument: xen_memory_reservation) -> i64 {
    call(
        __HYPERVISOR_memory_op,
        [operation.into(), core::ptr::from_mut(&mut argument) as u64, 0, 0, 0, 0],
    )
}

fn reservation(frames: &[u64], order: u32) -> xen_memory_reservation {
    xen_memory_reservation {
        extent_start: frames.as_ptr() as u64,
        nr_extents: frames.len() as u64,
        extent_order: order,
        domid: DOMID_SELF,
        ..Default::default()
    }
}

/// An operation that answers the number of extents it did, which must be none.
fn expect_nothing(name: &str, answer: i64) {
    check!(
        format_args!("memory/{name}"),
        answer == 0 || refused(answer),
        "{answer}"
    );
}

fn reservations() {
    for operation in [
        XENMEM_increase_reservation,
        XENMEM_decrease_reservation,
        XENMEM_populate_physmap,
    ] {
        for order in [30, 63, u32::MAX] {
            let answer = reserve(operation, reservation(&[u64::MAX >> 12], order));
            expect_nothing("order", answer);
        }
        let many = xen_memory_reservation {
            nr_extents: u64::MAX,
            ..reservation(&[0], 0)
        };
        let bad_list = xen_memory_reservation {
            extent_start: 0x1000,
            ..many
        };
        expect_nothing("no-list", reserve(operation, bad_list));
        let nobody = xen_memory_reservation {
            domid: 99,
            ..reservation(&[0], 0)
        };
        let answer = reserve(operation, nobody);
        check!("memory/domain", is(answer, Errno::ESRCH) || answer == 0, "{answer}");
    }
    for frame in [u64::MAX, 1 << 52, 1 << 40, 0xfee00] {
        expect_nothing(
            "give-up-foreign-frame",
            reserve(XENMEM_decrease_reservation, reservation(&[frame], 0)),
        );
    }
}

fn exchanges() {
    let given = [boot_root(), u64::MAX];
    let mut taken = [0; 2];
    let exchange = |input: xen_memory_reservation, output: xen_memory_reservation, nr_exchanged| {
        let mut argument = xen_memory_exchange {
            r#in: input,
            out: output,
            nr_exchanged,
        };
        let pointer = core::ptr::from_mut(&mut argument) as u64;
        call(__HYPERVISOR_memory_op, [XENMEM_exchange.into(), pointer, 0, 0, 0, 0])
    };
    let one = reservation(&given[1..], 0);
    let out = xen_memory_reservation {
        extent_start: taken.as_mut_ptr() as u64,
        ..one
    };
    let refusals = [
        ("exchange-foreign", exchange(one, out, 0)),
        (
            "exchange-sizes",
            exchange(one, xen_memory_reservation { extent_order: 1, ..out }, 0),
        ),
        (
            "exchange-counts",
            exchange(one, xen_memory_reservation { nr_extents: 2, ..out }, 0),
        ),
        (
            "exchange-overflow",
            exchange(
                xen_memory_reservation {
                    nr_extents: 1 << 63,
                    extent_order: 1,
                    ..one
                },
                out,
                0,
            ),
        ),
        ("exchange-done", exchange(one, out, 5)),
        (
            "exchange-order",
            exchange(
                xen_memory_reservation {
                    extent_order: 40,
                    ..one
                },
                out,
                0,
            ),
        ),
        (
            "exchange-domain",
            exchange(xen_memory_reservation { domid: 99, ..one }, out, 0),
        ),
    ];
    for (name, answer) in refusals {
        check!(format_args!("memory/{name}"), refused(answer), "{answer}");
    }
}

fn domains() {
    for operation in [
        XENMEM_current_reservation,
        XENMEM_maximum_reservation,
        XENMEM_maximum_gpfn,
    ] {
        let mut domain = xen_memory_domain { domid: 99 };
        let pointer = core::ptr::from_mut(&mut domain) as u64;
        let answer = call(__HYPERVISOR_memory_op, [operation.into(), pointer, 0, 0, 0, 0]);
        check!(
            format_args!("memory/domain/{operation}"),
            is(answer, Errno::ESRCH),
            "{answer}"
        );
    }
    let mut domain = xen_memory_domain { domid: DOMID_SELF };
    let pointer = core::ptr::from_mut(&mut domain) as u64;
    let pages = call(
        __HYPERVISOR_memory_op,
        [XENMEM_current_reservation.into(), pointer, 0, 0, 0, 0],
    );
    check!(
        "memory/reservation-intact",
        pages >= guest_rt::start_info().nr_pages as i64 - 1,
        "{pages}"
    );
}

pub(crate) fn run() {
    reservations();
    exchanges();
    domains();
}
