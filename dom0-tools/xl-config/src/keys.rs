//! Every key of xl.cfg(5), and what becomes of it for a paravirtual guest.

/// What becomes of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Treatment {
    /// `interpret` acts on it.
    Honoured,
    /// It concerns HVM or PVH guests, or other machines; named in a warning.
    Foreign(&'static str),
    /// It concerns PV guests and has no effect here; named in a warning unless it is empty or zero.
    Warned(&'static str),
    /// The guest would lack something it needs; an error unless it is empty or zero.
    Refused(&'static str),
}

use Treatment::{Foreign, Honoured, Refused, Warned};

const HVM: &str = "concerns HVM guests only";
const ARM: &str = "concerns Arm machines only";
const DEVICE_MODEL: &str = "concerns a device model (QEMU), which PV guests here do not have";
const NO_DISPLAY: &str = "framebuffers are not built; use the console";
const PASSTHROUGH: &str = "devices of the machine cannot be passed to a guest; remove the line";
const NO_BACKEND: &str = "there is no backend for it; remove the line";

/// The treatment of `key`, none for a key that xl.cfg(5) does not know.
pub(crate) fn treatment(key: &str) -> Option<Treatment> {
    KEYS.iter()
        .find(|(name, _)| *name == key)
        .map(|&(_, treatment)| treatment)
}

/// The known key that looks most like `key`, if one does.
pub(crate) fn similar(key: &str) -> Option<&'static str> {
    let distance = |name: &str| edit_distance(key.as_bytes(), name.as_bytes());
    let (name, distance) = KEYS
        .iter()
        .map(|(name, _)| (*name, distance(name)))
        .min_by_key(|&(_, d)| d)?;
    (distance <= 2 && distance < name.len() / 2).then_some(name)
}

fn edit_distance(a: &[u8], b: &[u8]) -> usize {
    if a.len().abs_diff(b.len()) > 2 {
        return usize::MAX;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, &x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, &y) in b.iter().enumerate() {
            let above = row[j + 1];
            row[j + 1] = (diagonal + usize::from(x != y)).min(above + 1).min(row[j] + 1);
            diagonal = above;
        }
    }
    row[b.len()]
}

#[rustfmt::skip]
const KEYS: &[(&str, Treatment)] = &[
    ("name", Honoured), ("type", Honoured), ("builder", Honoured), ("uuid", Honoured), ("pool", Honoured),
    ("vcpus", Honoured), ("maxvcpus", Honoured), ("cpus", Honoured), ("cpus_soft", Honoured),
    ("cpu_weight", Honoured), ("cap", Honoured), ("memory", Honoured), ("maxmem", Honoured),
    ("on_poweroff", Honoured), ("on_reboot", Honoured), ("on_watchdog", Honoured), ("on_crash", Honoured),
    ("on_soft_reset", Honoured), ("kernel", Honoured), ("ramdisk", Honoured), ("cmdline", Honoured),
    ("root", Honoured), ("extra", Honoured), ("firmware", Honoured), ("max_grant_frames", Honoured),
    ("max_maptrack_frames", Honoured), ("max_grant_version", Honoured), ("max_event_channels", Honoured),
    ("driver_domain", Honoured), ("passthrough", Honoured), ("disk", Honoured), ("vif", Honoured),
    ("tsc_mode", Honoured), ("msr_relaxed", Honoured), ("rtc_timeoffset", Honoured), ("localtime", Honoured),
    ("bootloader", Refused("boot loaders are not run; name the guest's kernel with kernel= and ramdisk=")),
    ("bootloader_args", Warned("no boot loader is run")),
    ("cpu_period", Warned("belongs to a scheduler that is not in use")),
    ("cpu_slice", Warned("belongs to a scheduler that is not in use")),
    ("latency", Warned("belongs to a scheduler that is not in use")),
    ("extratime", Warned("belongs to a scheduler that is not in use")),
    ("period", Warned("belongs to a scheduler that is not in use")),
    ("budget", Warned("belongs to a scheduler that is not in use")),
    ("seclabel", Warned("there is no security module; the label is not set")),
    ("init_seclabel", Warned("there is no security module; the label is not set")),
    ("nomigrate", Warned("guests cannot be migrated in any case")),
    ("vnuma", Refused("virtual NUMA does not exist for PV guests; remove the line")),
    ("xend_suspend_evtchn_compat", Warned("the suspend node is always created")),
    ("vmtrace_buf_kb", Refused("processor traces are not built; remove the line")),
    ("cpuid", Warned("the guest sees the hypervisor's own CPUID policy")),
    ("e820_host", Warned("the guest has a plain memory map; it has no devices of the machine")),
    ("mca_caps", Warned("machine checks are not forwarded to guests")),
    ("timer_mode", Foreign(HVM)), ("vpmu", Foreign(ARM)), ("device_tree", Foreign(ARM)),
    ("gic_version", Foreign(ARM)), ("vuart", Foreign(ARM)), ("tee", Foreign(ARM)), ("dtdev", Foreign(ARM)),
    ("vtpm", Refused(NO_BACKEND)), ("p9", Refused(NO_BACKEND)), ("pvcalls", Refused(NO_BACKEND)),
    ("vfb", Refused(NO_DISPLAY)), ("channel", Refused(NO_BACKEND)), ("vdispl", Refused(NO_BACKEND)),
    ("vsnd", Refused(NO_BACKEND)), ("vkb", Refused(NO_BACKEND)), ("virtio", Refused(NO_BACKEND)),
    ("usbctrl", Refused(NO_BACKEND)), ("usbdev", Refused(NO_BACKEND)),
    ("pci", Refused(PASSTHROUGH)), ("ioports", Refused(PASSTHROUGH)), ("iomem", Refused(PASSTHROUGH)),
    ("irqs", Refused(PASSTHROUGH)),
    ("pci_permissive", Warned("no devices are passed through")), ("pci_msitranslate", Warned("no devices are passed through")),
    ("pci_seize", Warned("no devices are passed through")), ("pci_power_mgmt", Foreign(HVM)),
    ("gfx_passthru", Foreign(HVM)), ("rdm", Foreign(HVM)), ("rdm_mem_boundary", Foreign(HVM)),
    ("vnc", Warned(NO_DISPLAY)), ("vnclisten", Warned(NO_DISPLAY)), ("vncdisplay", Warned(NO_DISPLAY)),
    ("vncunused", Warned(NO_DISPLAY)), ("vncpasswd", Warned(NO_DISPLAY)), ("sdl", Warned(NO_DISPLAY)),
    ("opengl", Warned(NO_DISPLAY)), ("keymap", Warned(NO_DISPLAY)), ("display", Warned(NO_DISPLAY)),
    ("xauthority", Warned(NO_DISPLAY)), ("nographic", Foreign(HVM)), ("videoram", Foreign(HVM)),
    ("stdvga", Foreign(HVM)), ("vga", Foreign(HVM)), ("spice", Foreign(HVM)), ("spicehost", Foreign(HVM)),
    ("spiceport", Foreign(HVM)), ("spicetls_port", Foreign(HVM)), ("spicedisable_ticketing", Foreign(HVM)),
    ("spicepasswd", Foreign(HVM)), ("spiceagent_mouse", Foreign(HVM)), ("spicevdagent", Foreign(HVM)),
    ("spice_clipboard_sharing", Foreign(HVM)), ("spiceusbredirection", Foreign(HVM)),
    ("spice_image_compression", Foreign(HVM)), ("spice_streaming_video", Foreign(HVM)),
    ("serial", Foreign(HVM)), ("soundhw", Foreign(HVM)), ("vkb_device", Foreign(HVM)), ("usb", Foreign(HVM)),
    ("usbversion", Foreign(HVM)), ("usbdevice", Foreign(HVM)), ("vendor_device", Foreign(HVM)),
    ("boot", Foreign(HVM)), ("hdtype", Foreign(HVM)), ("hap", Foreign(HVM)), ("oos", Foreign(HVM)),
    ("shadow_memory", Foreign(HVM)), ("bios", Foreign(HVM)), ("bios_path_override", Foreign(HVM)),
    ("pae", Foreign(HVM)), ("acpi", Foreign(HVM)), ("acpi_s3", Foreign(HVM)), ("acpi_s4", Foreign(HVM)),
    ("acpi_laptop_slate", Foreign(HVM)), ("apic", Foreign(HVM)), ("nx", Foreign(HVM)), ("hpet", Foreign(HVM)),
    ("altp2m", Foreign(HVM)), ("altp2mhvm", Foreign(HVM)), ("nestedhvm", Foreign(HVM)),
    ("acpi_firmware", Foreign(HVM)), ("smbios_firmware", Foreign(HVM)), ("ms_vm_genid", Foreign(HVM)),
    ("vpt_align", Foreign(HVM)), ("mmio_hole", Foreign(HVM)), ("xen_platform_pci", Foreign(HVM)),
    ("viridian", Foreign(HVM)), ("max_altp2m", Foreign(HVM)), ("assisted_xapic", Foreign(HVM)),
    ("assisted_x2apic", Foreign(HVM)), ("pvshim", Foreign("concerns PVH guests only")),
    ("pvshim_path", Foreign("concerns PVH guests only")), ("pvshim_cmdline", Foreign("concerns PVH guests only")),
    ("pvshim_extra", Foreign("concerns PVH guests only")), ("device_model_version", Foreign(DEVICE_MODEL)),
    ("device_model_override", Foreign(DEVICE_MODEL)), ("device_model", Foreign(DEVICE_MODEL)),
    ("device_model_user", Foreign(DEVICE_MODEL)), ("dm_restrict", Foreign(DEVICE_MODEL)),
    ("device_model_stubdomain_override", Foreign(DEVICE_MODEL)),
    ("device_model_stubdomain_seclabel", Foreign(DEVICE_MODEL)), ("device_model_args", Foreign(DEVICE_MODEL)),
    ("device_model_args_pv", Foreign(DEVICE_MODEL)), ("device_model_args_hvm", Foreign(DEVICE_MODEL)),
    ("stubdomain_kernel", Foreign(DEVICE_MODEL)), ("stubdomain_cmdline", Foreign(DEVICE_MODEL)),
    ("stubdomain_ramdisk", Foreign(DEVICE_MODEL)), ("stubdomain_memory", Foreign(DEVICE_MODEL)),
];
