use super::{domain, problems};
use crate::{BackendType, CpuList, Disk, DiskFormat, Host, Rate, Vif, VifMode, VirtualDevice};

fn disk(text: &str) -> Disk {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn refusal<T: std::str::FromStr<Err = String>>(text: &str) -> String {
    text.parse::<T>().err().unwrap_or_else(|| panic!("{text} was taken"))
}

#[test]
fn disks_positional_named_and_old_are_the_same() {
    let wanted = disk("/dev/vg/guest-volume,,hda");
    for text in [
        "/dev/vg/guest-volume,raw,hda,rw",
        "format=raw, vdev=hda, access=rw, target=/dev/vg/guest-volume",
        "raw:/dev/vg/guest-volume,hda,w",
        "phy:/dev/vg/guest-volume,hda,w",
        "vg/guest-volume,,hda",
    ] {
        assert_eq!(disk(text), wanted, "{text}");
    }
    let cd = disk("/root/image.iso,,hdc,cdrom");
    for text in [
        "/root/image.iso,,hdc,,cdrom",
        "/root/image.iso,raw,hdc,devtype=cdrom",
        "format=raw, vdev=hdc, access=ro, devtype=cdrom, target=/root/image.iso",
        "raw:/root/image.iso,hdc:cdrom,ro",
    ] {
        assert_eq!(disk(text), cd, "{text}");
    }
    assert!(cd.cdrom && !cd.writable);
    assert_eq!(disk(",hdc:cdrom,r").target, None);
}

#[test]
fn disks_have_all_their_parameters() {
    let text = "qcow2,vdev=xvdb,/a,backend=drv,backendtype=qdisk,script=block-x,no-discard,untrusted,direct-io-safe";
    assert!(
        refusal::<Disk>(&text.replace("qcow2,", ",")).contains("no format"),
        "target first, then format"
    );
    let text =
        "format=qcow2,vdev=xvdb,backend=drv,backendtype=qdisk,no-discard,untrusted,direct-io-safe,target=/a,b=c ";
    let d = disk(text);
    assert_eq!(d.target.as_deref(), Some("/a,b=c "));
    assert_eq!(
        (d.format, d.backend_type),
        (DiskFormat::Qcow2, Some(BackendType::Qdisk))
    );
    assert_eq!(
        (d.backend.as_deref(), d.discard, d.trusted, d.direct_io_safe),
        (Some("drv"), Some(false), false, true)
    );
    let d = disk("script=block-iscsi,vdev=xvda,target=iqn.2001:x");
    assert_eq!(
        (d.script.as_deref(), d.target.as_deref()),
        (Some("block-iscsi"), Some("iqn.2001:x"))
    );
    assert_eq!(disk("iscsi:iqn.x,xvda,w").script.as_deref(), Some("block-iscsi"));
    assert_eq!(disk("tap:aio:/a,xvda,w").target.as_deref(), Some("/a"));
}

#[test]
fn refused_disks_say_why() {
    assert!(refusal::<Disk>("/a").contains("name in the guest is missing"));
    assert!(refusal::<Disk>("/a,raw,xvda,w,x").contains("one parameter too many"));
    assert!(refusal::<Disk>("/a,raw,vda").contains("is no name of a disk"));
    assert!(refusal::<Disk>("/a,floppy,xvda").contains("is no format"));
    assert!(refusal::<Disk>("/a,raw,xvda,x").contains("is no access"));
    assert!(refusal::<Disk>(",raw,xvda").contains("has no target"));
    assert!(refusal::<Disk>("/a,raw,xvda,vdev=xvdb").contains("given twice"));
    assert!(refusal::<Disk>("foo:/a,xvda,w").contains("prefix foo"));
    assert!(refusal::<Disk>("/a,raw,hdc,w,cdrom").contains("cannot be writable"));
    let printed = problems("disk=['/a,raw,xvda',\n'/b,raw,xvda',\n'/c']");
    assert_eq!(
        printed[0],
        "t.cfg:2: disk[1]: xvda is also the disk of line 1; choose another name"
    );
    assert!(printed[1].starts_with("t.cfg:3: disk[2]: "), "{printed:?}");
}

#[test]
fn virtual_devices_have_xens_numbers() {
    let number = |name: &str| name.parse::<VirtualDevice>().expect("a device").number;
    assert_eq!(number("xvda"), 51_712);
    assert_eq!(number("xvdb1"), 51_729);
    assert_eq!(number("xvdp15"), 0xcaff);
    assert_eq!(number("xvdq"), 1 << 28 | 16 << 8);
    assert_eq!(number("xvda16"), 1 << 28 | 16);
    assert_eq!(number("xvdaa"), 1 << 28 | 26 << 8);
    assert_eq!(number("hda"), 0x300);
    assert_eq!(number("hdd2"), 22 << 8 | 64 | 2);
    assert_eq!(number("sdb3"), 0x813);
    assert_eq!(number("d1p2"), 202 << 8 | 1 << 4 | 2);
    assert_eq!(number("51712"), 51_712);
    assert_eq!(number("0xca00"), 51_712);
    for bad in [
        "", "xvd", "xvdA", "hde", "sdq", "sda16", "xvda256", "0", "-1", "xvdaaaaa", "dp", "ram0",
    ] {
        assert!(bad.parse::<VirtualDevice>().is_err(), "{bad}");
    }
}

#[test]
fn interfaces_have_all_their_parameters() {
    let v: Vif = "mac=00:16:3E:74:3d:76, bridge=br1,ip=10.0.0.2 10.0.0.3,vifname=web0,rate=10Mb/s,devid=3,mtu=9000,untrusted,model=e1000,type=vif,backend=drv"
        .parse()
        .expect("an interface");
    assert_eq!(v.mac.expect("set").to_string(), "00:16:3e:74:3d:76");
    assert_eq!(
        (v.bridge.as_deref(), v.vifname.as_deref(), v.backend.as_deref()),
        (Some("br1"), Some("web0"), Some("drv"))
    );
    assert_eq!((v.ip.len(), v.devid, v.mtu, v.trusted), (2, Some(3), Some(9000), false));
    assert_eq!(
        v.rate,
        Some(Rate {
            bytes: 62_500,
            interval_us: 50_000
        }),
        "what stock xl computes"
    );
    let v: Vif = "ip=10.0.0.2,gatewaydev=eth0".parse().expect("an interface");
    assert_eq!(v.mode, VifMode::Routed);
    assert_eq!(
        "ip=10.0.0.2,nat".parse::<Vif>().expect("an interface").mode,
        VifMode::Nat
    );
    assert!(refusal::<Vif>("routed").contains("add ip="));
    assert!(refusal::<Vif>("mac=01:16:3e:00:00:01").contains("multicast"));
    assert!(refusal::<Vif>("mac=1:2:3").contains("no MAC"));
    assert!(refusal::<Vif>("bridge=a/b").contains("no name"));
    assert!(refusal::<Vif>("foo=1").contains("foo= is no parameter"));
    assert!(refusal::<Vif>("type=ioemu").contains("HVM"));
    assert_eq!(domain("vif=['mac=00:16:3e:0:0:1','']").vifs.len(), 2);
    assert_eq!(problems("vif=['mac=00:16:3e:0:0:1','mac=00:16:3e:00:00:01']").len(), 1);
}

#[test]
fn rates_are_xls() {
    let rate = |text: &str| text.parse::<Rate>().map(|rate| rate.to_string());
    assert_eq!(rate("1MB/s@20ms").as_deref(), Ok("20000,20000"));
    assert_eq!(rate("250KB/s").as_deref(), Ok("12500,50000"));
    assert_eq!(rate("1GB/s@1s").as_deref(), Ok("1000000000,1000000"));
    for bad in [
        "",
        "10",
        "10MB",
        "MB/s",
        "1B/s@1us",
        "99999999999999999999GB/s",
        "10MB/s@0s",
        "9GB/s@1s",
    ] {
        assert!(rate(bad).is_err(), "{bad}");
    }
}

#[test]
fn cpu_lists_follow_the_manual() {
    let host = Host {
        node_of: (0..16).map(|cpu| cpu / 4).collect(),
    };
    let cpus = |text: &str| -> Vec<usize> {
        let flags = text
            .parse::<CpuList>()
            .expect("a list")
            .resolve(&host)
            .expect("CPUs of this machine");
        flags
            .iter()
            .enumerate()
            .filter_map(|(cpu, &flag)| flag.then_some(cpu))
            .collect()
    };
    assert_eq!(cpus("0-3,5,^1"), [0, 2, 3, 5]);
    assert_eq!(cpus("nodes:0-3,^node:2"), [0, 1, 2, 3, 4, 5, 6, 7, 12, 13, 14, 15]);
    assert_eq!(cpus("1,node:1,^6"), [1, 4, 5, 7]);
    assert_eq!(cpus("all,^5-15"), [0, 1, 2, 3, 4]);
    assert_eq!(cpus("^1-15"), [0]);
    assert!(
        "0-3"
            .parse::<CpuList>()
            .expect("a list")
            .resolve(&Host { node_of: vec![0] })
            .is_err()
    );
    assert!("0,^0".parse::<CpuList>().expect("a list").resolve(&host).is_err());
    for bad in ["", "a", "3-1", "1,,2", "-", "node:", "4294967296"] {
        assert!(bad.parse::<CpuList>().is_err(), "{bad}");
    }
}
