//! A domain's configuration as saved domains carry it: `libxl_domain_config` in JSON, as Xen's tools write and read it.
//!
//! What those tools have no word for stands beside it under a key of our own, which they pass over.

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Map, Value, json};
use xl_config::{Action, Actions, Affinity, BackendType, Boot, Disk, DiskFormat, DomainConfig, Limits, Rate, TscMode};
use xl_config::{Uuid, Vif, VifMode};

/// Our own key: the configuration as our records have it.
const OWN: &str = "paravane";
/// Most devices of a kind that are believed.
const MOST_DEVICES: usize = 4096;

/// The configuration as JSON for a saved domain.
pub fn write(config: &DomainConfig) -> Result<Value> {
    let mut build = json!({
        "max_vcpus": config.max_vcpus,
        "avail_vcpus": (0..config.vcpus).collect::<Vec<_>>(),
        "max_memkb": config.max_memory_kib,
        "target_memkb": config.memory_kib,
        "video_memkb": 0,
        "kernel": config.boot.kernel,
        "cmdline": config.boot.command_line,
        "type.pv": {},
        "arch_x86": { "msr_relaxed": boolean(config.msr_relaxed) },
    });
    if let Some(ramdisk) = &config.boot.ramdisk {
        build["ramdisk"] = json!(ramdisk);
    }
    match config.tsc_mode {
        TscMode::Default => {}
        TscMode::AlwaysEmulate => build["tsc_mode"] = json!("always_emulate"),
        TscMode::Native => build["tsc_mode"] = json!("native"),
    }
    if config.rtc_offset_s != 0 {
        build["rtc_timeoffset"] = json!(config.rtc_offset_s);
    }
    if config.weight.is_some() || config.cap.is_some() {
        build["sched_params"] = json!({ "weight": config.weight.unwrap_or(256), "cap": config.cap.unwrap_or(0) });
    }
    for (key, limit) in [
        ("max_grant_frames", config.limits.grant_frames),
        ("max_maptrack_frames", config.limits.maptrack_frames),
        ("max_grant_version", config.limits.grant_version),
        ("event_channels", config.limits.event_channels),
    ] {
        if let Some(limit) = limit {
            build[key] = json!(limit);
        }
    }
    let mut creation = json!({ "type": "pv", "name": config.name, "run_hotplug_scripts": "True" });
    if let Some(uuid) = config.uuid {
        creation["uuid"] = json!(uuid);
    }
    if config.driver_domain {
        creation["driver_domain"] = json!("True");
    }
    let mut whole = json!({ "c_info": creation, "b_info": build });
    if !config.disks.is_empty() {
        whole["disks"] = config.disks.iter().map(write_disk).collect();
    }
    if !config.vifs.is_empty() {
        whole["nics"] = config.vifs.iter().map(write_vif).collect();
    }
    let actions = &config.actions;
    for (key, action) in [
        ("on_poweroff", actions.poweroff),
        ("on_reboot", actions.reboot),
        ("on_watchdog", actions.watchdog),
        ("on_crash", actions.crash),
    ] {
        if action != Action::Destroy {
            whole[key] = json!(action_word(action));
        }
    }
    whole[OWN] = serde_json::to_value(config).context("the configuration cannot be written as JSON")?;
    Ok(whole)
}

/// libxl's `defbool`.
fn boolean(set: bool) -> &'static str {
    if set { "True" } else { "False" }
}

fn action_word(action: Action) -> &'static str {
    match action {
        Action::Destroy => "destroy",
        Action::Restart => "restart",
        Action::RenameRestart => "rename_restart",
        Action::Preserve => "preserve",
    }
}

fn write_disk(disk: &Disk) -> Value {
    let mut value = json!({ "vdev": disk.vdev, "format": disk.format });
    let mut put = |key: &str, word: Value| value[key] = word;
    if let Some(target) = &disk.target {
        put("pdev_path", json!(target));
    } else {
        put("format", json!("empty"));
    }
    match disk.backend_type {
        Some(BackendType::Phy) => put("backend", json!("phy")),
        Some(BackendType::Qdisk) => put("backend", json!("qdisk")),
        Some(BackendType::Standalone) | None => {}
    }
    if let Some(script) = &disk.script {
        put("script", json!(script));
    }
    if let Some(backend) = &disk.backend {
        put("backend_domname", json!(backend));
    }
    if disk.writable {
        put("readwrite", json!(1));
    }
    if disk.cdrom {
        put("is_cdrom", json!(1));
        put("removable", json!(1));
    }
    if disk.direct_io_safe {
        put("direct_io_safe", json!(true));
    }
    if let Some(discard) = disk.discard {
        put("discard_enable", json!(boolean(discard)));
    }
    value
}

fn write_vif(vif: &Vif) -> Value {
    let mut value = json!({ "nictype": "vif" });
    let mut put = |key: &str, word: Option<Value>| {
        if let Some(word) = word {
            value[key] = word;
        }
    };
    put("devid", vif.devid.map(|devid| json!(devid)));
    put("mac", vif.mac.map(|mac| json!(mac)));
    put("bridge", vif.bridge.as_ref().map(|bridge| json!(bridge)));
    put("script", vif.script.as_ref().map(|script| json!(script)));
    put("backend_domname", vif.backend.as_ref().map(|backend| json!(backend)));
    put("ifname", vif.vifname.as_ref().map(|name| json!(name)));
    put("gatewaydev", vif.gatewaydev.as_ref().map(|device| json!(device)));
    put("mtu", vif.mtu.map(|mtu| json!(mtu)));
    let addresses: Vec<String> = vif.ip.iter().map(ToString::to_string).collect();
    put("ip", (!addresses.is_empty()).then(|| json!(addresses.join(" "))));
    if let Some(rate) = &vif.rate {
        put("rate_bytes_per_interval", Some(json!(rate.bytes)));
        put("rate_interval_usecs", Some(json!(rate.interval_us)));
    }
    value
}

/// The configuration of a saved domain.
pub fn read(text: &[u8]) -> Result<DomainConfig> {
    let whole: Value = serde_json::from_slice(text).context("the saved configuration is no JSON")?;
    let own = whole.get(OWN).map(|own| serde_json::from_value(own.clone()));
    let config = match own {
        Some(Ok(own)) => own,
        // Of another release of ours, perhaps: the rest says enough.
        Some(Err(_)) | None => read_libxl(&whole)?,
    };
    check(&config)?;
    Ok(config)
}

/// What no configuration may say, whoever wrote it.
fn check(config: &DomainConfig) -> Result<()> {
    let name = &config.name;
    let is_name = !name.is_empty() && name.len() <= 80 && !name.contains(|c: char| c.is_control() || c == '/');
    ensure!(is_name, "the saved domain's name {name:?} is no name");
    ensure!(
        (1..=8192).contains(&config.max_vcpus) && (1..=config.max_vcpus).contains(&config.vcpus),
        "the saved domain has {} of {} vcpus",
        config.vcpus,
        config.max_vcpus
    );
    ensure!(
        config.memory_kib != 0 && config.max_memory_kib >= config.memory_kib && config.max_memory_kib < 1 << 40,
        "the saved domain has {} of {} KiB of memory",
        config.memory_kib,
        config.max_memory_kib
    );
    ensure!(
        config.disks.len() <= MOST_DEVICES && config.vifs.len() <= MOST_DEVICES,
        "the saved domain has too many devices"
    );
    Ok(())
}

/// An object of the JSON; empty where there is none.
fn section<'a>(whole: &'a Value, key: &str) -> Section<'a> {
    Section {
        map: whole.get(key).and_then(Value::as_object),
        key: key.to_owned(),
    }
}

/// An object and what it is called in errors.
struct Section<'a> {
    map: Option<&'a Map<String, Value>>,
    key: String,
}

impl<'a> Section<'a> {
    fn get(&self, key: &str) -> Option<&'a Value> {
        self.map?.get(key).filter(|value| !value.is_null())
    }

    fn text(&self, key: &str) -> Option<String> {
        self.get(key).and_then(Value::as_str).map(str::to_owned)
    }

    fn number<T: TryFrom<i64>>(&self, key: &str) -> Result<Option<T>> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        let number = value.as_i64().and_then(|number| T::try_from(number).ok());
        number
            .map(Some)
            .with_context(|| format!("{}.{key} is {value}, which is no number that fits", self.key))
    }

    /// A `defbool`, a boolean or a number.
    fn flag(&self, key: &str) -> bool {
        match self.get(key) {
            Some(Value::String(text)) => text == "True",
            Some(Value::Bool(set)) => *set,
            Some(Value::Number(number)) => number.as_i64() != Some(0),
            _ => false,
        }
    }

    fn parsed<T: std::str::FromStr<Err = String>>(&self, key: &str) -> Result<Option<T>> {
        let parse = |text: String| text.parse().map_err(anyhow::Error::msg);
        self.text(key)
            .map(parse)
            .transpose()
            .with_context(|| format!("{}.{key}", self.key))
    }
}

fn read_libxl(whole: &Value) -> Result<DomainConfig> {
    let (creation, build) = (section(whole, "c_info"), section(whole, "b_info"));
    match creation.text("type").as_deref() {
        Some("pv") => {}
        other => bail!(
            "the saved domain is of type {}; only paravirtual guests can be restored here",
            other.unwrap_or("none")
        ),
    }
    let nested = build.get("type.pv").cloned().unwrap_or_default();
    let nested = section_of(&nested, "type.pv");
    let boot_word = |key: &str| build.text(key).or_else(|| nested.text(key));
    let max_vcpus = build.number("max_vcpus")?.unwrap_or(1);
    let max_memory_kib = build
        .number("max_memkb")?
        .context("the saved domain has no max_memkb")?;
    let scheduling = build.get("sched_params").cloned().unwrap_or_default();
    let scheduling = section_of(&scheduling, "sched_params");
    Ok(DomainConfig {
        name: creation.text("name").context("the saved domain has no name")?,
        uuid: creation.parsed::<Uuid>("uuid")?,
        vcpus: available(&build, max_vcpus),
        max_vcpus,
        memory_kib: build.number("target_memkb")?.unwrap_or(max_memory_kib),
        max_memory_kib,
        hard_affinity: Affinity::Unset,
        soft_affinity: Affinity::Unset,
        weight: positive(scheduling.number::<i64>("weight")?),
        cap: positive(scheduling.number::<i64>("cap")?),
        boot: Boot {
            kernel: boot_word("kernel").unwrap_or_default(),
            ramdisk: boot_word("ramdisk"),
            command_line: boot_word("cmdline").unwrap_or_default(),
        },
        actions: read_actions(whole)?,
        limits: Limits {
            grant_frames: build.number("max_grant_frames")?,
            maptrack_frames: build.number("max_maptrack_frames")?,
            grant_version: build.number("max_grant_version")?,
            event_channels: build.number("event_channels")?,
        },
        tsc_mode: match build.text("tsc_mode").as_deref() {
            Some("always_emulate") => TscMode::AlwaysEmulate,
            Some("native" | "native_paravirt") => TscMode::Native,
            _ => TscMode::Default,
        },
        msr_relaxed: section_of(build.get("arch_x86").unwrap_or(&Value::Null), "arch_x86").flag("msr_relaxed"),
        rtc_offset_s: build.number("rtc_timeoffset")?.unwrap_or(0),
        driver_domain: creation.flag("driver_domain"),
        disks: read_list(whole, "disks", read_disk)?,
        vifs: read_list(whole, "nics", read_vif)?,
    })
}

fn section_of<'a>(value: &'a Value, key: &str) -> Section<'a> {
    Section {
        map: value.as_object(),
        key: key.to_owned(),
    }
}

/// Negative numbers stand for the scheduler's defaults.
fn positive(number: Option<i64>) -> Option<u16> {
    number.and_then(|number| u16::try_from(number).ok())
}

fn available(build: &Section<'_>, most: u32) -> u32 {
    let listed = build.get("avail_vcpus").and_then(Value::as_array);
    let count = listed.map_or(most, |list| u32::try_from(list.len()).unwrap_or(most));
    count.clamp(1, most.max(1))
}

fn read_actions(whole: &Value) -> Result<Actions> {
    let action = |key: &str| match whole.get(key).and_then(Value::as_str) {
        None => Ok(Action::Destroy),
        // What is not built here keeps what the user wants to look at, or starts again.
        Some("coredump_destroy") => Ok(Action::Preserve),
        Some("coredump_restart") => Ok(Action::Restart),
        Some(word) => word.parse().map_err(anyhow::Error::msg).with_context(|| key.to_owned()),
    };
    Ok(Actions {
        poweroff: action("on_poweroff")?,
        reboot: action("on_reboot")?,
        crash: action("on_crash")?,
        watchdog: action("on_watchdog")?,
    })
}

fn read_list<T>(whole: &Value, key: &str, read: impl Fn(&Section<'_>) -> Result<T>) -> Result<Vec<T>> {
    let Some(list) = whole.get(key).and_then(Value::as_array) else {
        return Ok(Vec::new());
    };
    ensure!(list.len() <= MOST_DEVICES, "{key}: {} are too many", list.len());
    let element = |(at, value): (usize, &Value)| read(&section_of(value, &format!("{key}[{at}]")));
    list.iter().enumerate().map(element).collect()
}

fn read_disk(from: &Section<'_>) -> Result<Disk> {
    let format = match from.text("format").as_deref() {
        None | Some("unknown" | "empty" | "raw") => DiskFormat::Raw,
        Some(word) => word.parse().map_err(anyhow::Error::msg)?,
    };
    Ok(Disk {
        target: from.text("pdev_path").filter(|path| !path.is_empty()),
        format,
        vdev: from
            .parsed("vdev")?
            .with_context(|| format!("{} has no vdev", from.key))?,
        writable: from.flag("readwrite"),
        cdrom: from.flag("is_cdrom"),
        backend: from.text("backend_domname"),
        // Only what xl.cfg can ask for is a choice; a toolstack decides the rest anew.
        backend_type: match from.text("backend").as_deref() {
            Some("qdisk") => Some(BackendType::Qdisk),
            Some("phy") => Some(BackendType::Phy),
            _ => None,
        },
        script: from.text("script"),
        direct_io_safe: from.flag("direct_io_safe"),
        discard: from.get("discard_enable").map(|_| from.flag("discard_enable")),
        trusted: true,
    })
}

fn read_vif(from: &Section<'_>) -> Result<Vif> {
    let words = from.text("ip").unwrap_or_default();
    let addresses: std::result::Result<Vec<_>, _> = words
        .split_ascii_whitespace()
        .map(|word| word.split('/').next().unwrap_or(word).parse())
        .collect();
    let rate = match from.number("rate_bytes_per_interval")? {
        Some(bytes) => Some(Rate {
            bytes,
            interval_us: from.number("rate_interval_usecs")?.unwrap_or(50_000),
        }),
        None => None,
    };
    Ok(Vif {
        mac: from.parsed("mac")?,
        mode: VifMode::Bridge,
        bridge: from.text("bridge"),
        ip: addresses.with_context(|| format!("{}.ip is {words:?}", from.key))?,
        // xl's own script does what is done here without one.
        script: from.text("script").filter(|script| !script.ends_with("vif-bridge")),
        backend: from.text("backend_domname"),
        vifname: from.text("ifname"),
        gatewaydev: from.text("gatewaydev"),
        rate,
        devid: from.number("devid")?,
        mtu: from.number("mtu")?,
        trusted: true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As stock Xen 4.17 wrote it.
    const STOCK: &str = r#"{ "c_info": { "type": "pv", "name": "g1", "uuid": "4b739afa-d49c-4d53-8aef-aceccdd7e12a",
        "run_hotplug_scripts": "True" }, "b_info": { "max_vcpus": 2, "avail_vcpus": [ 0, 1 ], "max_memkb": 131072,
        "target_memkb": 131072, "video_memkb": 0, "sched_params": { "sched": "credit2", "weight": 256, "cap": 0 },
        "claim_mode": "True", "kernel": "/boot/vmlinuz", "cmdline": "console=hvc0", "ramdisk": "/boot/domu.gz",
        "type.pv": { }, "arch_arm": { }, "arch_x86": { "msr_relaxed": "False" } }, "disks": [ { "pdev_path": "/dev/ram0",
        "vdev": "xvda", "format": "raw", "readwrite": 1, "colo_restore_enable": "False" } ], "nics": [ { "devid": 0,
        "mac": "00:16:3e:6b:b2:8c", "bridge": "xenbr0", "nictype": "vif" } ], "on_reboot": "restart",
        "on_soft_reset": "soft_reset" }"#;

    #[test]
    fn stock_xens_configuration_is_understood() {
        let config = read(STOCK.as_bytes()).expect("understood");
        assert_eq!((config.name.as_str(), config.vcpus, config.max_vcpus), ("g1", 2, 2));
        assert_eq!(
            (config.memory_kib, config.weight, config.cap),
            (131_072, Some(256), Some(0))
        );
        assert_eq!(config.boot.ramdisk.as_deref(), Some("/boot/domu.gz"));
        assert_eq!(
            (config.actions.reboot, config.actions.crash),
            (Action::Restart, Action::Destroy)
        );
        let disk = &config.disks[0];
        assert_eq!(
            (disk.target.as_deref(), disk.writable, disk.vdev.number),
            (Some("/dev/ram0"), true, 51_712)
        );
        assert_eq!(config.vifs[0].bridge.as_deref(), Some("xenbr0"));
        assert_eq!(
            config.vifs[0].mac.map(|mac| mac.to_string()).as_deref(),
            Some("00:16:3e:6b:b2:8c")
        );
    }

    #[test]
    fn what_is_written_is_read_again_with_our_key_and_without() {
        let config = read(STOCK.as_bytes()).expect("understood");
        let mut written = write(&config).expect("written");
        assert_eq!(read(written.to_string().as_bytes()).expect("read"), config);
        written.as_object_mut().expect("an object").remove(OWN);
        assert_eq!(read(written.to_string().as_bytes()).expect("read"), config);
        for key in ["c_info", "b_info", "disks", "nics", "on_reboot"] {
            assert!(written.get(key).is_some(), "{key}");
        }
    }

    #[test]
    fn nonsense_is_refused_with_its_place() {
        let refused = |from: &str, to: &str, said: &str| {
            let error = format!("{:#}", read(STOCK.replace(from, to).as_bytes()).expect_err(said));
            assert!(error.contains(said), "{error}");
        };
        refused("\"type\": \"pv\"", "\"type\": \"hvm\"", "type hvm");
        refused("\"vdev\": \"xvda\"", "\"vdev\": \"nonsense\"", "disks[0].vdev");
        refused("00:16:3e:6b:b2:8c", "01:16:3e:6b:b2:8c", "nics[0].mac");
        refused("\"max_vcpus\": 2", "\"max_vcpus\": -2", "b_info.max_vcpus");
        refused("\"name\": \"g1\"", "\"name\": \"../g1\"", "is no name");
        refused("\"max_memkb\": 131072", "\"max_memkb\": 1", "131072 of 1 KiB");
        assert!(read(b"[").is_err());
    }
}
