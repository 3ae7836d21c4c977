//! Settings to a domain: each key is read once, each refusal names its line.

use std::fmt::Display;
use std::str::FromStr;
use std::sync::Arc;

use crate::action::{Action, Actions};
use crate::cpus::{Affinity, CpuList};
use crate::devices::{read_disks, read_vifs};
use crate::document::{Document, Kind, Setting, Value};
use crate::domain::{Boot, DomainConfig, Limits, TscMode};
use crate::keys::{Treatment, similar, treatment};
use crate::problem::{Place, Problem, Severity};

/// Where Debian's packages put the kernels that `firmware=` names.
const FIRMWARE_DIR: &str = "/usr/lib/xen-4.17/boot";
/// What libxl gives a guest whose configuration does not say.
const DEFAULT_MEMORY_MIB: i64 = 32;
/// More than the hypervisor can have, and far from overflow in KiB or bytes.
const MAX_MEMORY_MIB: i64 = 16 << 20;
/// Vcpus of a PV guest, at most: Xen's limit.
const MAX_VCPUS: i64 = 8192;

/// Turns settings into a domain. The domain is missing when a problem is an error.
pub fn interpret(document: &Document) -> (Option<DomainConfig>, Vec<Problem>) {
    let mut reader = Reader {
        document,
        problems: Vec::new(),
    };
    reader.check_keys();
    reader.check_type();
    let config = reader.domain();
    let mut problems = reader.problems;
    problems.sort_by_key(|problem| problem.place.line);
    let refused = problems.iter().any(|problem| problem.severity == Severity::Error);
    ((!refused).then_some(config), problems)
}

/// Reads keys of a document and gathers what is wrong with them.
pub(crate) struct Reader<'a> {
    document: &'a Document,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    pub(crate) fn get(&self, key: &str) -> Option<Setting> {
        self.document.effective(key)
    }

    pub(crate) fn refuse(&mut self, place: Place, subject: impl Into<String>, message: impl Into<String>) {
        self.problems.push(Problem::error(place, subject, message));
    }

    fn refuse_setting(&mut self, setting: &Setting, message: impl Into<String>) {
        self.refuse(setting.place.clone(), &*setting.key, message);
    }

    fn warn_setting(&mut self, setting: &Setting, message: impl Into<String>) {
        self.problems
            .push(Problem::warning(setting.place.clone(), &*setting.key, message));
    }

    /// A string; an error where it is a list.
    fn text(&mut self, key: &str) -> Option<(Setting, String)> {
        let setting = self.get(key)?;
        match setting.value.as_text() {
            Some(text) if text.contains('\0') => self.refuse_setting(&setting, "a zero byte cannot stand in it"),
            Some(text) => {
                let text = text.to_owned();
                return Some((setting, text));
            }
            None => self.refuse_setting(&setting, "must be a string, not a list"),
        }
        None
    }

    fn number(&mut self, key: &str, least: i64, most: i64) -> Option<i64> {
        let setting = self.get(key)?;
        let value = match &setting.value.kind {
            Kind::Number { value, .. } => Some(*value),
            Kind::Text(text) => crate::parser::number(text.trim()),
            Kind::List(_) => None,
        };
        match value {
            Some(value) if (least..=most).contains(&value) => return Some(value),
            Some(value) => self.refuse_setting(&setting, format!("{value} is out of range; write {least} to {most}")),
            None => self.refuse_setting(&setting, format!("must be a number, not {}", describe(&setting.value))),
        }
        None
    }

    fn flag(&mut self, key: &str) -> bool {
        self.number(key, i64::MIN, i64::MAX).is_some_and(|value| value != 0)
    }

    fn parsed<T: FromStr>(&mut self, key: &str) -> Option<T>
    where
        T::Err: Display,
    {
        let (setting, text) = self.text(key)?;
        text.parse()
            .map_err(|error: T::Err| self.refuse_setting(&setting, error.to_string()))
            .ok()
    }

    /// Names keys that are unknown, without effect, refused, or set twice.
    fn check_keys(&mut self) {
        let document = self.document;
        for (at, setting) in document.settings.iter().enumerate() {
            let later = &document.settings[at + 1..];
            let shadowed = later
                .iter()
                .find(|s| s.key == setting.key && s.place.source == setting.place.source);
            if let Some(by) = shadowed.filter(|by| !by.append) {
                self.warn_setting(setting, format!("is set again in line {}, which counts", by.place.line));
                continue;
            }
            if later.iter().any(|s| s.key == setting.key && !s.append) {
                continue;
            }
            self.check_treatment(setting);
        }
    }

    fn check_treatment(&mut self, setting: &Setting) {
        match treatment(&setting.key) {
            Some(Treatment::Honoured) => {}
            Some(Treatment::Foreign(_) | Treatment::Warned(_) | Treatment::Refused(_))
                if is_nothing(&setting.value) => {}
            Some(Treatment::Foreign(why)) => self.warn_setting(setting, format!("has no effect: it {why}")),
            Some(Treatment::Warned(why)) => self.warn_setting(setting, format!("has no effect: {why}")),
            Some(Treatment::Refused(why)) => self.refuse_setting(setting, why),
            None => match similar(&setting.key) {
                Some(known) => self.warn_setting(setting, format!("unknown key, ignored; did you mean {known}?")),
                None => self.warn_setting(setting, "unknown key, ignored"),
            },
        }
    }

    fn check_type(&mut self) {
        if let Some((setting, text)) = self.text("type")
            && text != "pv"
        {
            self.refuse_setting(&setting, format!("{text:?} guests are not built; write type=\"pv\""));
        }
        if let Some((setting, text)) = self.text("builder")
            && !matches!(&*text, "generic" | "linux" | "pv")
        {
            self.refuse_setting(&setting, format!("{text:?} guests are not built; write type=\"pv\""));
        }
        if let Some((setting, text)) = self.text("pool")
            && !matches!(&*text, "Pool-0" | "0")
        {
            self.refuse_setting(&setting, format!("there is no CPU pool {text:?}; there is Pool-0 only"));
        }
        if let Some((setting, text)) = self.text("passthrough")
            && !matches!(&*text, "disabled" | "default" | "0")
        {
            self.refuse_setting(
                &setting,
                "devices of the machine cannot be passed to a guest; write \"disabled\"",
            );
        }
        if let Some(setting) = self.get("on_soft_reset")
            && setting
                .value
                .as_text()
                .is_none_or(|text| !matches!(text, "soft-reset" | "destroy"))
        {
            self.warn_setting(&setting, "has no effect: PV guests cannot reset themselves softly");
        }
    }

    fn domain(&mut self) -> DomainConfig {
        let vcpus = self.number("vcpus", 1, MAX_VCPUS).and_then(|n| u32::try_from(n).ok());
        let max_vcpus = self
            .number("maxvcpus", 1, MAX_VCPUS)
            .and_then(|n| u32::try_from(n).ok());
        let max_vcpus = max_vcpus.or(vcpus).unwrap_or(1);
        let vcpus = vcpus.unwrap_or(max_vcpus);
        if vcpus > max_vcpus {
            self.refuse_key("maxvcpus", format!("is less than vcpus={vcpus}"));
        }
        let (memory_kib, max_memory_kib) = self.memory();
        DomainConfig {
            name: self.name(),
            uuid: self.parsed("uuid"),
            vcpus,
            max_vcpus,
            memory_kib,
            max_memory_kib,
            hard_affinity: self.affinity("cpus", max_vcpus),
            soft_affinity: self.affinity("cpus_soft", max_vcpus),
            weight: self.number("cpu_weight", 1, 65_535).and_then(|n| u16::try_from(n).ok()),
            cap: self.number("cap", 0, 65_535).and_then(|n| u16::try_from(n).ok()),
            boot: self.boot(),
            actions: self.actions(),
            limits: self.limits(),
            tsc_mode: self.tsc_mode(),
            msr_relaxed: self.flag("msr_relaxed"),
            rtc_offset_s: self.rtc_offset(),
            driver_domain: self.flag("driver_domain"),
            disks: read_disks(self),
            vifs: read_vifs(self),
        }
    }

    fn refuse_key(&mut self, key: &str, message: String) {
        match self.get(key) {
            Some(setting) => self.refuse_setting(&setting, message),
            None => self.refuse(self.whole(), key, message),
        }
    }

    fn whole(&self) -> Place {
        Place::new(&Arc::clone(&self.document.source), 0)
    }

    fn name(&mut self) -> String {
        let Some((setting, name)) = self.text("name") else {
            if self.get("name").is_none() {
                self.refuse(self.whole(), "name", "is missing; add name=\"…\"");
            }
            return String::new();
        };
        let printable = name.chars().all(|c| !c.is_control() && c != '/');
        if name.is_empty() || name.len() > 80 || !printable {
            self.refuse_setting(
                &setting,
                "must be 1 to 80 characters without slashes and control characters",
            );
        } else if name.bytes().all(|b| b.is_ascii_digit()) {
            self.refuse_setting(
                &setting,
                "a name of digits only would be taken for a domain's id; add a letter",
            );
        } else if name == "Domain-0" {
            self.refuse_setting(&setting, "Domain-0 is taken by this domain; choose another name");
        }
        name
    }

    /// Memory and its maximum in KiB.
    fn memory(&mut self) -> (u64, u64) {
        let memory = self.number("memory", 1, MAX_MEMORY_MIB);
        let most = self.number("maxmem", 1, MAX_MEMORY_MIB);
        if memory.is_none() && most.is_none() && self.get("memory").is_none() && self.get("maxmem").is_none() {
            let message = format!("is missing; the domain gets {DEFAULT_MEMORY_MIB} MiB, as xl gives it");
            self.problems.push(Problem::warning(self.whole(), "memory", message));
        }
        let memory = memory.or(most).unwrap_or(DEFAULT_MEMORY_MIB);
        let most = most.unwrap_or(memory);
        if most < memory {
            self.refuse_key("maxmem", format!("is less than memory={memory}"));
        }
        (memory.unsigned_abs() * 1024, most.unsigned_abs() * 1024)
    }

    fn affinity(&mut self, key: &str, max_vcpus: u32) -> Affinity {
        let Some(setting) = self.get(key) else {
            return Affinity::Unset;
        };
        let Kind::List(values) = &setting.value.kind else {
            return self.parsed(key).map_or(Affinity::Unset, Affinity::Every);
        };
        let mut lists = Vec::new();
        for (at, value) in values.iter().enumerate() {
            let parsed = value
                .as_text()
                .ok_or_else(|| "must be a string".to_owned())
                .and_then(CpuList::from_str);
            match parsed {
                Ok(list) => lists.push(list),
                Err(message) => {
                    let place = Place::new(&setting.place.source, value.line);
                    self.refuse(place, format!("{key}[{at}]"), message);
                }
            }
        }
        if u32::try_from(lists.len()).is_ok_and(|count| count > max_vcpus) {
            self.warn_setting(
                &setting,
                format!("has more elements than the domain has vcpus ({max_vcpus})"),
            );
        }
        Affinity::Each(lists)
    }

    fn boot(&mut self) -> Boot {
        let mut kernel = self.path("kernel");
        if let Some((setting, firmware)) = self.text("firmware") {
            match &*firmware {
                "pvgrub32" | "pvgrub64" if kernel.is_none() => kernel = Some(format!("{FIRMWARE_DIR}/{firmware}.bin")),
                "pvgrub32" | "pvgrub64" => self.refuse_setting(&setting, "kernel= is given, too; leave one out"),
                other => self.refuse_setting(&setting, format!("{other:?} is for HVM guests; name a kernel=")),
            }
        }
        if kernel.is_none()
            && ["kernel", "firmware", "bootloader"]
                .iter()
                .all(|key| self.get(key).is_none())
        {
            self.refuse(self.whole(), "kernel", "is missing; add kernel=\"/path/to/vmlinuz\"");
        }
        Boot {
            kernel: kernel.unwrap_or_default(),
            ramdisk: self.path("ramdisk"),
            command_line: self.command_line(),
        }
    }

    fn path(&mut self, key: &str) -> Option<String> {
        self.text(key).map(|(_, path)| path).filter(|path| !path.is_empty())
    }

    fn command_line(&mut self) -> String {
        let root = self.text("root").map(|(_, text)| text);
        let extra = self.text("extra").map(|(_, text)| text);
        if let Some((setting, line)) = self.text("cmdline") {
            if root.is_some() || extra.is_some() {
                self.warn_setting(&setting, "root= and extra= have no effect beside it");
            }
            return line;
        }
        match (root, extra) {
            (Some(root), Some(extra)) => format!("root={root} {extra}"),
            (Some(root), None) => format!("root={root}"),
            (None, extra) => extra.unwrap_or_default(),
        }
    }

    fn actions(&mut self) -> Actions {
        let default = Actions::default();
        let mut read = |key: &str, default: Action| self.parsed(key).unwrap_or(default);
        Actions {
            poweroff: read("on_poweroff", default.poweroff),
            reboot: read("on_reboot", default.reboot),
            crash: read("on_crash", default.crash),
            watchdog: read("on_watchdog", default.watchdog),
        }
    }

    fn limits(&mut self) -> Limits {
        let mut read = |key: &str, least, most| self.number(key, least, most).and_then(|n| u32::try_from(n).ok());
        Limits {
            grant_frames: read("max_grant_frames", 1, 1 << 20),
            maptrack_frames: read("max_maptrack_frames", 0, 1 << 20),
            grant_version: read("max_grant_version", 1, 2),
            event_channels: read("max_event_channels", 1, 131_071),
        }
    }

    fn tsc_mode(&mut self) -> TscMode {
        let Some((setting, text)) = self.text("tsc_mode") else {
            return TscMode::Default;
        };
        match &*text {
            "default" | "0" => TscMode::Default,
            "always_emulate" | "1" => TscMode::AlwaysEmulate,
            "native" | "2" => TscMode::Native,
            "native_paravirt" | "3" => {
                self.warn_setting(&setting, "native_paravirt no longer exists; native is used");
                TscMode::Native
            }
            other => {
                let message = format!("{other:?} is no mode; write \"default\", \"always_emulate\" or \"native\"");
                self.refuse_setting(&setting, message);
                TscMode::Default
            }
        }
    }

    fn rtc_offset(&mut self) -> i32 {
        if let Some(setting) = self.get("localtime")
            && self.flag("localtime")
        {
            self.warn_setting(
                &setting,
                "has no effect: give the guest a time zone, or set rtc_timeoffset",
            );
        }
        let offset = self.number("rtc_timeoffset", i32::MIN.into(), i32::MAX.into());
        offset.and_then(|offset| i32::try_from(offset).ok()).unwrap_or(0)
    }
}

/// Zero, an empty string or an empty list: the key says that there is nothing.
fn is_nothing(value: &Value) -> bool {
    match &value.kind {
        Kind::Number { value, .. } => *value == 0,
        Kind::Text(text) => matches!(&**text, "" | "0"),
        Kind::List(values) => values.is_empty(),
    }
}

fn describe(value: &Value) -> String {
    match &value.kind {
        Kind::Text(text) => format!("{text:?}"),
        _ => value.describe().to_owned(),
    }
}
