use super::*;
use crate::dom0_mem::Amount;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use proptest::prelude::*;

fn problems(text: &str) -> Vec<String> {
    let mut all = Vec::new();
    parse(text, |p| all.push(p.to_string()));
    all
}

#[test]
fn a_full_line() {
    let line = "console=com1 com1=115200,8n1,0x3f8,4 loglvl=all guest_loglvl=warning/all dom0_mem=512M,max:1G \
                dom0_max_vcpus=1-4 noreboot sched=credit";
    let o = parse(line, |p| panic!("{p}"));
    assert_eq!(
        o.loglvl,
        Threshold {
            always: Level::Debug,
            limited: Level::Debug
        }
    );
    assert_eq!(
        o.guest_loglvl,
        Threshold {
            always: Level::Warning,
            limited: Level::Debug
        }
    );
    assert_eq!(
        o.com1,
        Com {
            baud: Some(115_200),
            ..Com::COM1
        }
    );
    assert_eq!(o.dom0_mem.size, Some(Amount::Exactly(512 << 20)));
    assert_eq!(o.dom0_max_vcpus.map(|r| r.choose(8, 32)), Some(4));
    assert!(o.noreboot);
}

#[test]
fn problems_are_named() {
    assert_eq!(problems("iommu=off"), ["command line: unknown option 'iommu' ignored"]);
    assert_eq!(
        problems("dom0_mem=12Q"),
        ["command line: invalid value in 'dom0_mem=12Q', option ignored"]
    );
    assert_eq!(
        problems("sched=fifo"),
        ["command line: unknown scheduler 'fifo' in 'sched=fifo', using credit"]
    );
    assert_eq!(
        problems("com1=115200,9n1 dom0_max_vcpus=0 loglvl noreboot=maybe console=tty").len(),
        5
    );
    assert!(problems("noreboot=off -- root=/dev/sda").is_empty());
}

#[test]
fn vcpu_ranges() {
    assert_eq!(VcpuRange::parse("2-").unwrap().choose(1, 32), 2);
    assert_eq!(VcpuRange::parse("-2").unwrap().choose(4, 32), 2);
    assert_eq!(VcpuRange::parse("64").unwrap().choose(4, 32), 32);
    assert_eq!(VcpuRange::parse("3-2"), None);
}

#[test]
fn image_names() {
    assert_eq!(strip_image_name("paravane.elf loglvl=all", "qemu"), "loglvl=all");
    assert_eq!(strip_image_name(" loglvl=all x", "GRUB 2.06"), "loglvl=all x");
    assert_eq!(strip_image_name("/boot/x a", "GRUB 0.97"), "a");
    assert_eq!(strip_image_name("x", "qemu"), "");
}

proptest! {
    #[test]
    fn no_line_makes_it_panic(line in ".{0,80}", name in "(com1|loglvl|dom0_mem|dom0_max_vcpus|console|sched|maxcpus)", value in "[0-9a-z,:/-]{0,12}") {
        parse(&line, |_| ());
        parse(&alloc::format!("{name}={value}"), |_| ());
    }
}
