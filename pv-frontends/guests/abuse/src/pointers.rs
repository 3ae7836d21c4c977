//! Every hypercall and sub-operation with pointers that lead nowhere.
use crate::{call, refused};
use guest_rt::{check, println};
use xen_abi::*;

/// Null, unmapped, beyond the lower half, in the read-only table, in the hypervisor, across the end of its hole, and
/// across the end of the address space.
const BAD: [u64; 8] = [
    0,
    0x1000,
    0x0000_7fff_ffff_fffc,
    0x0000_8000_0000_0000,
    HYPERVISOR_VIRT_START,
    0xffff_82d0_4000_0000,
    HYPERVISOR_VIRT_END - 4,
    0xffff_ffff_ffff_fffc,
];

/// Where a hypercall takes its pointer.
enum Shape {
    /// `(ptr, 1, 0, DOMID_SELF)`.
    First,
    /// `(operation, ptr, 1)`.
    Second,
    /// `(operation, 1, ptr)`.
    Third,
}

struct Sweep {
    number: u64,
    shape: Shape,
    /// Operations from 0 to this one.
    last: u64,
    /// Those that take no pointer, or accept a null one, and succeed.
    except: &'static [u64],
    /// Those that may answer 0 instead of an errno: they report how much they did, or ignore the pointer.
    zero: &'static [u64],
}

const fn sweep(number: u64, shape: Shape, last: u64, except: &'static [u64]) -> Sweep {
    Sweep {
        number,
        shape,
        last,
        except,
        zero: &[],
    }
}

/// A hypercall that a hypervisor may leave out, and of which nobody relies on the answers: errno or 0.
const fn optional(number: u64, shape: Shape, last: u64) -> Sweep {
    Sweep {
        number,
        shape,
        last,
        except: &[],
        zero: &ANY,
    }
}

const ANY: [u64; 41] = {
    let mut all = [0; 41];
    let mut index = 0;
    while index < all.len() {
        all[index] = index as u64;
        index += 1;
    }
    all
};

const SWEEPS: &[Sweep] = &[
    sweep(__HYPERVISOR_mmu_update, Shape::First, 0, &[]),
    sweep(__HYPERVISOR_set_gdt, Shape::First, 0, &[]),
    sweep(__HYPERVISOR_platform_op, Shape::First, 0, &[]),
    Sweep {
        number: __HYPERVISOR_memory_op,
        shape: Shape::Second,
        last: 40,
        // The highest frame number takes no pointer.
        except: &[2],
        // Reservations answer how many extents they did; the sharing counts are numbers.
        zero: &[0, 1, 6, 18, 19],
    },
    sweep(__HYPERVISOR_multicall, Shape::First, 0, &[]),
    sweep(__HYPERVISOR_event_channel_op_compat, Shape::First, 0, &[]),
    // Version, page size; the build id's length may be asked for with a null pointer.
    sweep(__HYPERVISOR_xen_version, Shape::Second, 40, &[0, 7, 10]),
    // Reading yields nothing where there is no input.
    sweep(__HYPERVISOR_console_io, Shape::Third, 40, &[1]),
    sweep(__HYPERVISOR_physdev_op_compat, Shape::First, 0, &[]),
    sweep(__HYPERVISOR_grant_table_op, Shape::Second, 40, &[]),
    sweep(__HYPERVISOR_mmuext_op, Shape::First, 0, &[]),
    optional(__HYPERVISOR_xsm_op, Shape::First, 0),
    sweep(__HYPERVISOR_nmi_op, Shape::Second, 40, &[1]),
    // Yield, block.
    sweep(__HYPERVISOR_sched_op, Shape::Second, 40, &[0, 1]),
    sweep(__HYPERVISOR_callback_op, Shape::Second, 40, &[]),
    optional(__HYPERVISOR_xenoprof_op, Shape::Second, 40),
    sweep(__HYPERVISOR_event_channel_op, Shape::Second, 40, &[]),
    // An old unmask notification needs no answer.
    Sweep {
        number: __HYPERVISOR_physdev_op,
        shape: Shape::Second,
        last: 40,
        except: &[],
        zero: &[4],
    },
    optional(__HYPERVISOR_hvm_op, Shape::Second, 40),
    sweep(__HYPERVISOR_sysctl, Shape::First, 0, &[]),
    sweep(__HYPERVISOR_domctl, Shape::First, 0, &[]),
    optional(__HYPERVISOR_kexec_op, Shape::Second, 40),
    optional(__HYPERVISOR_tmem_op, Shape::First, 0),
    optional(__HYPERVISOR_argo_op, Shape::Second, 40),
    optional(__HYPERVISOR_xenpmu_op, Shape::Second, 40),
    optional(__HYPERVISOR_dm_op, Shape::Third, 40),
    optional(__HYPERVISOR_hypfs_op, Shape::Second, 40),
    optional(__HYPERVISOR_mca, Shape::First, 0),
];

/// Vcpu operations that read or write memory. (A null pointer unregisters nothing: it too is refused.)
const VCPU_OPERATIONS: [u32; 7] = [
    VCPUOP_initialise,
    VCPUOP_get_runstate_info,
    VCPUOP_set_periodic_timer,
    VCPUOP_set_singleshot_timer,
    VCPUOP_register_vcpu_info,
    VCPUOP_get_physid,
    VCPUOP_register_vcpu_time_memory_area,
];

fn arguments(shape: &Shape, operation: u64, pointer: u64) -> [u64; 6] {
    match shape {
        Shape::First => [pointer, 1, 0, DOMID_SELF.into(), 0, 0],
        Shape::Second => [operation, pointer, 1, 0, 0, 0],
        Shape::Third => [operation, 1, pointer, 0, 0, 0],
    }
}

fn sweep_one(sweep: &Sweep) {
    let mut accepted = 0;
    for operation in (0..=sweep.last).filter(|operation| !sweep.except.contains(operation)) {
        for pointer in BAD {
            let answer = call(sweep.number, arguments(&sweep.shape, operation, pointer));
            if refused(answer) || answer == 0 && sweep.zero.contains(&operation) {
                continue;
            }
            if accepted == 0 {
                println!("  operation {operation} with {pointer:#x} answers {answer}");
            }
            accepted += 1;
        }
    }
    check!(
        format_args!("pointers/{}", hypercall_name(sweep.number)),
        accepted == 0,
        "{accepted} calls were not refused"
    );
}

fn vcpu_operations() {
    for operation in VCPU_OPERATIONS {
        let answer = BAD.map(|pointer| call(__HYPERVISOR_vcpu_op, [operation.into(), 0, pointer, 0, 0, 0]));
        check!(
            format_args!("pointers/vcpu_op/{operation}"),
            answer.iter().all(|&answer| refused(answer)),
            "{answer:?}"
        );
    }
}

pub(crate) fn run() {
    for sweep in SWEEPS {
        sweep_one(sweep);
    }
    vcpu_operations();
    // A trap table that cannot be read, as opposed to none.
    let answer = BAD.map(|pointer| {
        if pointer == 0 {
            -1
        } else {
            call(__HYPERVISOR_set_trap_table, [pointer, 0, 0, 0, 0, 0])
        }
    });
    check!(
        "pointers/set_trap_table",
        answer.iter().all(|&answer| refused(answer)),
        "{answer:?}"
    );
    guest_rt::trap::install_table();
}
