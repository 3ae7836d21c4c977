//! Interrupt lines, ports and PCI functions.
use crate::control::{BAD, at, call, is, operate, sysctl};
use guest_rt::pages::{self, PTE_DATA, PTE_READ_ONLY, protect, take_page};
use guest_rt::{check, hypercall, io_port, trap};
use xen_abi::*;

/// The status of the keyboard's controller: reading it changes nothing.
const PORT: u64 = 0x64;
/// Bus, device and function of the machine's LPC bridge, which this kernel does not use, and of none at all.
const BRIDGE: (u8, u8) = (0, 0x1f << 3);
const NONE: (u8, u8) = (0, 0x1d << 3 | 5);

/// A byte from a port; may trap, so it is called by `catch`.
pub extern "C" fn read_byte(port: u64) -> u64 {
    let value: u8;
    // SAFETY: reads a port whose reading has no effect; may trap, `catch` resumes.
    unsafe { core::arch::asm!("in al, dx", out("al") value, in("dx") port as u16, options(nomem, nostack)) };
    value.into()
}

fn set_iopl(iopl: u32) -> i64 {
    hypercall::physdev_op(PHYSDEVOP_set_iopl, &mut physdev_set_iopl { iopl })
}

fn bitmap() {
    let page = take_page();
    for word in 0..512 {
        page.write(word, u64::MAX);
    }
    let set = |nr_ports: u32| {
        let mut ask = physdev_set_iobitmap {
            bitmap: page.address(),
            nr_ports,
            _pad: 0,
        };
        hypercall::physdev_op(PHYSDEVOP_set_iobitmap, &mut ask)
    };
    set_iopl(0);
    let answer = set(4096 * 8);
    let closed = trap::catch(read_byte, PORT);
    page.write(PORT as usize / 64, !(1 << (PORT % 64)));
    let open = trap::catch(read_byte, PORT);
    let beside = trap::catch(read_byte, PORT + 2);
    check!(
        "set_iobitmap/bits",
        answer == 0 && closed.is_err_and(|t| t.vector == 13) && open.is_ok() && beside.is_err(),
        "{answer} {closed:x?} {open:x?} {beside:x?}"
    );
    let answer = set(PORT as u32);
    let behind = trap::catch(read_byte, PORT);
    check!(
        "set_iobitmap/short",
        answer == 0 && behind.is_err(),
        "{answer} {behind:x?}"
    );
    let answer = set(65537);
    check!("set_iobitmap/too-long", is(answer, Errno::EINVAL), "{answer}");
    let mut bad = physdev_set_iobitmap {
        bitmap: BAD,
        nr_ports: 65536,
        _pad: 0,
    };
    let answer = hypercall::physdev_op(PHYSDEVOP_set_iobitmap, &mut bad);
    check!("set_iobitmap/pointer", is(answer, Errno::EINVAL), "{answer}");
    set(0);
}

fn lines() {
    const VERSION: u32 = 1;
    let ask = |apic_physbase: u64, reg: u32| {
        let mut ask = physdev_apic {
            apic_physbase,
            reg,
            value: 0,
        };
        (hypercall::physdev_op(PHYSDEVOP_apic_read, &mut ask), ask.value)
    };
    let (answer, version) = ask(0xfec0_0000, VERSION);
    let entries = (version >> 16 & 0xff) + 1;
    check!(
        "apic_read/version",
        answer == 0 && entries == 24,
        "{answer} {version:#x}"
    );
    let (answer, _) = ask(0xfee0_0000, VERSION);
    check!("apic_read/none", is(answer, Errno::EINVAL), "{answer}");

    let vector = |op: u32, irq: u32| {
        let mut ask = physdev_irq { irq, vector: 0 };
        (hypercall::physdev_op(op, &mut ask), ask.vector)
    };
    let (answer, number) = vector(PHYSDEVOP_alloc_irq_vector, 5);
    check!("alloc_irq_vector/line", answer == 0 && number == 5, "{answer} {number}");
    let (answer, _) = vector(PHYSDEVOP_alloc_irq_vector, 100_000);
    // Stock Xen takes any number here.
    check!(
        "alloc_irq_vector/no-line",
        answer == 0 || is(answer, Errno::EINVAL),
        "{answer}"
    );
    let (answer, _) = vector(PHYSDEVOP_free_irq_vector, 5);
    // Stock Xen has dropped it.
    check!(
        "free_irq_vector/line",
        answer == 0 || is(answer, Errno::ENOSYS),
        "{answer}"
    );
    let (answer, number) = vector(PHYSDEVOP_alloc_irq_vector, 5);
    check!("free_irq_vector/again", answer == 0 && number == 5, "{answer} {number}");
}

fn free_numbers() {
    let ask = |typ: i32| {
        let mut ask = physdev_get_free_pirq { typ, pirq: 0 };
        (hypercall::physdev_op(PHYSDEVOP_get_free_pirq, &mut ask), ask.pirq)
    };
    let (answer, message) = ask(MAP_PIRQ_TYPE_MSI);
    check!(
        "get_free_pirq/message",
        answer == 0 && message >= 16,
        "{answer} {message}"
    );
    let (answer, line) = ask(MAP_PIRQ_TYPE_GSI);
    check!("get_free_pirq/line", answer == 0 && line >= 16, "{answer} {line}");
    // It is free: a line that is mapped at it gets it, and the next answer is another.
    let mut map = physdev_map_pirq {
        domid: DOMID_SELF,
        typ: MAP_PIRQ_TYPE_GSI,
        index: 6,
        pirq: line as i32,
        ..Default::default()
    };
    let mapped = hypercall::physdev_op(PHYSDEVOP_map_pirq, &mut map);
    let (answer, next) = ask(MAP_PIRQ_TYPE_GSI);
    check!(
        "get_free_pirq/taken",
        (mapped, answer) == (0, 0) && map.pirq == line as i32 && next != line,
        "{mapped} {answer}: {line}, mapped {}, then {next}",
        map.pirq
    );
    let mut unmap = physdev_unmap_pirq {
        domid: DOMID_SELF,
        pirq: map.pirq,
        ..Default::default()
    };
    hypercall::physdev_op(PHYSDEVOP_unmap_pirq, &mut unmap);
    let (answer, _) = ask(77);
    // Stock Xen takes any other type for a message.
    check!(
        "get_free_pirq/type",
        answer == 0 || is(answer, Errno::EINVAL),
        "{answer}"
    );
}

/// Which node a function is at; none where the hypervisor knows no such function.
fn node((bus, devfn): (u8, u8)) -> (i64, u32) {
    let mut device = physdev_pci_device { seg: 0, bus, devfn };
    let mut node = 77u32;
    let ask = xen_sysctl_pcitopoinfo {
        num_devs: 1,
        _pad: 0,
        devs: at(&mut device),
        nodes: at(&mut node),
    };
    (sysctl(XEN_SYSCTL_pcitopoinfo, |r| r.set_payload(&ask)).0, node)
}

fn old(op: u32, (bus, devfn): (u8, u8)) -> i64 {
    hypercall::physdev_op(op, &mut physdev_manage_pci { bus, devfn })
}

fn device(op: u32, (bus, devfn): (u8, u8)) -> i64 {
    hypercall::physdev_op(op, &mut physdev_pci_device { seg: 0, bus, devfn })
}

fn add_extended((bus, devfn): (u8, u8)) -> i64 {
    let mut add = physdev_manage_pci_ext {
        bus,
        devfn,
        ..Default::default()
    };
    hypercall::physdev_op(PHYSDEVOP_manage_pci_add_ext, &mut add)
}

/// Functions come and go; that the hypervisor knows one is seen by its node.
fn functions() {
    let known = |at| node(at) == (0, 0);
    let unknown = |at| node(at) == (0, XEN_INVALID_DEV);
    let answer = old(PHYSDEVOP_manage_pci_add, BRIDGE);
    check!(
        "manage_pci_add/known",
        answer == 0 && !unknown(BRIDGE),
        "{answer} {:x?}",
        node(BRIDGE)
    );
    check!("pcitopoinfo/none", unknown(NONE), "{:x?}", node(NONE));
    let ask = xen_sysctl_pcitopoinfo {
        num_devs: 1,
        _pad: 0,
        devs: BAD,
        nodes: BAD,
    };
    let (answer, _) = sysctl(XEN_SYSCTL_pcitopoinfo, |r| r.set_payload(&ask));
    check!("pcitopoinfo/pointer", is(answer, Errno::EFAULT), "{answer}");
    let (answer, _) = sysctl(XEN_SYSCTL_pcitopoinfo, |_| ());
    check!("pcitopoinfo/no-list", is(answer, Errno::EINVAL), "{answer}");
    let answer = old(PHYSDEVOP_manage_pci_remove, BRIDGE);
    check!(
        "manage_pci_remove/gone",
        answer == 0 && unknown(BRIDGE),
        "{answer} {:x?}",
        node(BRIDGE)
    );
    let answer = old(PHYSDEVOP_manage_pci_remove, BRIDGE);
    check!("manage_pci_remove/none", is(answer, Errno::ENODEV), "{answer}");
    let answer = add_extended(BRIDGE);
    check!(
        "manage_pci_add_ext/known",
        answer == 0 && !unknown(BRIDGE),
        "{answer} {:x?}",
        node(BRIDGE)
    );
    let args = [PHYSDEVOP_manage_pci_add_ext.into(), BAD, 0, 0, 0, 0];
    let answer = call(__HYPERVISOR_physdev_op, args);
    check!("manage_pci_add_ext/pointer", is(answer, Errno::EFAULT), "{answer}");
    let answer = device(PHYSDEVOP_pci_device_remove, BRIDGE);
    check!(
        "pci_device_remove/gone",
        answer == 0 && unknown(BRIDGE),
        "{answer} {:x?}",
        node(BRIDGE)
    );
    let answer = device(PHYSDEVOP_pci_device_remove, BRIDGE);
    check!("pci_device_remove/none", is(answer, Errno::ENODEV), "{answer}");
    let answer = old(PHYSDEVOP_manage_pci_add, BRIDGE);
    check!(
        "manage_pci_add/again",
        answer == 0 && !unknown(BRIDGE),
        "{answer} {:x?}",
        node(BRIDGE)
    );
    check!(
        "pcitopoinfo/node",
        known(BRIDGE) || node(BRIDGE) == (0, XEN_INVALID_NODE_ID),
        "{:x?}",
        node(BRIDGE)
    );
}

/// What has no message interrupts has none to set again, and none to prepare.
fn messages() {
    for (name, op) in [
        ("restore_msi", PHYSDEVOP_restore_msi),
        ("restore_msi_ext", PHYSDEVOP_restore_msi_ext),
    ] {
        let ask = |at| {
            if op == PHYSDEVOP_restore_msi {
                old(op, at)
            } else {
                device(op, at)
            }
        };
        let answer = ask(BRIDGE);
        check!(format_args!("{name}/no-message"), answer == 0, "{answer}");
        let answer = ask(NONE);
        check!(format_args!("{name}/none"), is(answer, Errno::ENODEV), "{answer}");
    }
    for (name, op) in [
        ("prepare_msix", PHYSDEVOP_prepare_msix),
        ("release_msix", PHYSDEVOP_release_msix),
    ] {
        let answer = device(op, NONE);
        check!(format_args!("{name}/none"), is(answer, Errno::ENODEV), "{answer}");
        // (Stock Xen does not survive this for a function without MSI-X.)
    }
    let Some(card) = with_msix() else {
        check!("prepare_msix/function", false, "no function has MSI-X");
        return;
    };
    let added = old(PHYSDEVOP_manage_pci_add, card);
    check!("prepare_msix/add", added == 0, "{added}");
    for (name, op) in [
        ("prepare_msix", PHYSDEVOP_prepare_msix),
        ("release_msix", PHYSDEVOP_release_msix),
    ] {
        let answer = device(op, card);
        check!(format_args!("{name}/function"), answer == 0, "{answer}");
    }
    let answer = device(PHYSDEVOP_restore_msi_ext, card);
    check!("restore_msi_ext/function", answer == 0, "{answer}");
}

fn configuration((bus, devfn): (u8, u8), register: u8) -> u32 {
    let place = 1 << 31 | u32::from(bus) << 16 | u32::from(devfn) << 8 | u32::from(register & 0xfc);
    io_port::write_u32(0xcf8, place);
    io_port::read_u32(0xcfc)
}

/// A function on bus 0 with the capability.
fn with_msix() -> Option<(u8, u8)> {
    const MSIX: u32 = 0x11;
    (0..=255u8).map(|devfn| (0, devfn)).find(|&at| {
        let has_list = configuration(at, 0) != u32::MAX && configuration(at, 4) & 1 << 20 != 0;
        let mut next = if has_list {
            configuration(at, 0x34) as u8 & 0xfc
        } else {
            0
        };
        for _ in 0..48 {
            if next < 0x40 {
                return false;
            }
            let head = configuration(at, next);
            if head & 0xff == MSIX {
                return true;
            }
            next = (head >> 8) as u8 & 0xfc;
        }
        false
    })
}

/// The page is in the hypervisor's hands then, to write: it can not become a table.
fn eoi_page() {
    let page = take_page();
    let set = |gmfn: u64| {
        operate(
            __HYPERVISOR_physdev_op,
            PHYSDEVOP_pirq_eoi_gmfn_v2,
            &mut physdev_pirq_eoi_gmfn { gmfn },
        )
    };
    let answer = set(1 << 36);
    check!("pirq_eoi_gmfn_v2/no-page", is(answer, Errno::EINVAL), "{answer}");
    let answer = set(page.mfn());
    let seen = page.read(0);
    check!("pirq_eoi_gmfn_v2/set", answer == 0, "{answer} {seen:#x}");
    for word in 0..512 {
        page.write(word, 0);
    }
    protect(page, PTE_READ_ONLY);
    let pinned = pages::extended(MMUEXT_PIN_L1_TABLE, page.mfn(), 0);
    protect(page, PTE_DATA);
    check!("pirq_eoi_gmfn_v2/in-use", pinned < 0, "{pinned}");
    let answer = set(take_page().mfn());
    check!("pirq_eoi_gmfn_v2/twice", is(answer, Errno::EBUSY), "{answer}");
}

pub fn run() {
    bitmap();
    set_iopl(1);
    lines();
    free_numbers();
    functions();
    messages();
    eoi_page();
}
