//! Disk specifications of xl-disk-configuration(5), positional, named and with xend's prefixes.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::vdev::VirtualDevice;

/// Format of what stands behind a disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DiskFormat {
    /// The disk's bytes as they are.
    #[default]
    Raw,
    /// QEMU's old format.
    Qcow,
    /// QEMU's format.
    Qcow2,
    /// Connectix' and Microsoft's format.
    Vhd,
    /// QEMU's enhanced disk format.
    Qed,
}

impl FromStr for DiskFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "" | "raw" => Self::Raw,
            "qcow" => Self::Qcow,
            "qcow2" => Self::Qcow2,
            "vhd" => Self::Vhd,
            "qed" => Self::Qed,
            other => {
                return Err(format!(
                    "{other:?} is no format of a disk; write raw or qcow2 (the order is target,format,vdev,access)"
                ));
            }
        })
    }
}

/// Who serves a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BackendType {
    /// The kernel's block backend, on a block device or a loop device.
    Phy,
    /// A process in Dom0.
    Qdisk,
    /// Something that is neither.
    Standalone,
}

/// One disk of a domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    /// Path of device or file; with a script, whatever the script understands. None is an empty drive.
    pub target: Option<String>,
    /// Format of the target.
    pub format: DiskFormat,
    /// The disk in the guest.
    pub vdev: VirtualDevice,
    /// Whether the guest may write.
    pub writable: bool,
    /// Whether the guest shall see a CD drive.
    pub cdrom: bool,
    /// Name or id of the backend's domain; none for Domain-0.
    pub backend: Option<String>,
    /// Who shall serve it; none lets the toolstack choose.
    pub backend_type: Option<BackendType>,
    /// Program that makes a block device of the target.
    pub script: Option<String>,
    /// Whether a process that serves the disk may use O_DIRECT.
    pub direct_io_safe: bool,
    /// Whether discard is offered; none leaves it to the backend.
    pub discard: Option<bool>,
    /// Whether the guest should trust the backend.
    pub trusted: bool,
}

/// What has been said so far.
#[derive(Default)]
struct Draft {
    target: Option<String>,
    format: Option<DiskFormat>,
    vdev: Option<VirtualDevice>,
    access: Option<bool>,
    empty_target: bool,
    empty_access: bool,
    cdrom: bool,
    backend: Option<String>,
    backend_type: Option<BackendType>,
    script: Option<String>,
    direct_io_safe: bool,
    discard: Option<bool>,
    untrusted: bool,
}

impl FromStr for Disk {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.contains('\0') {
            return Err("a disk cannot be named with a zero byte".into());
        }
        let mut draft = Draft::default();
        let mut rest = draft.strip_prefixes(text.trim_start())?;
        while let Some(at) = rest {
            rest = draft.parameter(at.trim_start())?;
        }
        draft.finish()
    }
}

impl Draft {
    /// Takes `phy:`, `tap:aio:` and the like from the front; gives what is left.
    fn strip_prefixes<'a>(&mut self, mut text: &'a str) -> Result<Option<&'a str>, String> {
        while let Some((prefix, rest)) = text.split_once(':') {
            match prefix {
                "raw" | "qcow" | "qcow2" | "vhd" | "qed" => self.format = Some(prefix.parse()?),
                "iscsi" | "nbd" | "enbd" | "drbd" => {
                    self.script = Some(format!("block-{prefix}"));
                    self.format = self.format.or(Some(DiskFormat::Raw));
                }
                "tapdisk" | "tap2" | "tap" | "aio" | "ioemu" | "file" | "phy" => {
                    self.format = self.format.or(Some(DiskFormat::Raw));
                }
                _ if prefix.bytes().all(|b| b.is_ascii_alphanumeric()) && rest.starts_with('/') => {
                    return Err(format!("the prefix {prefix}: is not known; write the path alone"));
                }
                _ => break,
            }
            text = rest;
        }
        Ok((!text.is_empty()).then_some(text))
    }

    /// Takes one parameter from the front of `text`; gives what follows its comma.
    fn parameter<'a>(&mut self, text: &'a str) -> Result<Option<&'a str>, String> {
        if let Some(target) = text.strip_prefix("target=") {
            once(&mut self.target, target.to_owned(), "target")?;
            return Ok(None);
        }
        let (word, rest) = match text.split_once(',') {
            Some((word, rest)) => (word, Some(rest)),
            None => (text, None),
        };
        match word.split_once('=') {
            Some((key, value)) => self.named(key.trim_end(), value.trim_end())?,
            None if self.flag(word.trim_end()) => {}
            None => self.positional(word.trim_end())?,
        }
        Ok(rest.filter(|rest| !rest.trim().is_empty()))
    }

    fn named(&mut self, key: &str, value: &str) -> Result<(), String> {
        match key {
            "format" if value.is_empty() => Ok(()),
            "format" => once(&mut self.format, value.parse()?, key),
            "vdev" => once(&mut self.vdev, value.parse()?, key),
            "access" => self.access(value),
            "devtype" => match value {
                "cdrom" => self.set_cdrom(),
                "disk" | "" => Ok(()),
                other => Err(format!(
                    "devtype={other} is not known; write devtype=cdrom or leave it out"
                )),
            },
            "backend" => once(&mut self.backend, value.to_owned(), key),
            "backendtype" => once(&mut self.backend_type, backend_type(value)?, key),
            "script" => once(&mut self.script, value.to_owned(), key),
            "specification" if matches!(value, "xen" | "") => Ok(()),
            "specification" => Err(format!("specification={value} is not built; write specification=xen")),
            "colo-host" | "colo-port" | "colo-export" | "active-disk" | "hidden-disk" => {
                Err(format!("{key} belongs to COLO, which is not built; leave it out"))
            }
            other => Err(format!(
                "{other}= is no parameter of a disk; a target with an equals sign goes last, as target=…"
            )),
        }
    }

    fn set_cdrom(&mut self) -> Result<(), String> {
        self.cdrom = true;
        Ok(())
    }

    fn flag(&mut self, word: &str) -> bool {
        match word {
            "cdrom" => self.cdrom = true,
            "direct-io-safe" => self.direct_io_safe = true,
            "discard" => self.discard = Some(true),
            "no-discard" => self.discard = Some(false),
            "trusted" => self.untrusted = false,
            "untrusted" => self.untrusted = true,
            _ => return false,
        }
        true
    }

    fn positional(&mut self, word: &str) -> Result<(), String> {
        if self.target.is_none() && !self.empty_target {
            match word {
                "" => self.empty_target = true,
                path => self.target = Some(path.to_owned()),
            }
            return Ok(());
        }
        // xend's empty drive: ",hdc:cdrom,r" leaves the format out.
        let xend_drive = self.empty_target && self.vdev.is_none() && word.ends_with(":cdrom");
        if self.format.is_none() {
            self.format = Some(if xend_drive { DiskFormat::Raw } else { word.parse()? });
            if !xend_drive {
                return Ok(());
            }
        }
        if self.vdev.is_none() {
            return self.positional_vdev(word);
        }
        if self.access.is_none() && !self.empty_access {
            self.empty_access = word.is_empty();
            return self.access(word);
        }
        Err(format!(
            "{word:?} is one parameter too many; the order is target,format,vdev,access"
        ))
    }

    fn positional_vdev(&mut self, word: &str) -> Result<(), String> {
        let (name, kind) = word.split_once(':').unwrap_or((word, "disk"));
        match kind {
            "cdrom" => self.cdrom = true,
            "disk" => {}
            other => return Err(format!("{other:?} is no type of disk; write {name}:cdrom or {name}")),
        }
        self.vdev = Some(name.parse()?);
        Ok(())
    }

    fn access(&mut self, word: &str) -> Result<(), String> {
        match word {
            "" => Ok(()),
            "r" | "ro" => once(&mut self.access, false, "access"),
            "w" | "rw" => once(&mut self.access, true, "access"),
            "w!" => Err("w! (shared writing) is refused; write w, and share a disk read-only only".into()),
            other => Err(format!("{other:?} is no access; write r or w")),
        }
    }

    fn finish(self) -> Result<Disk, String> {
        let Some(vdev) = self.vdev else {
            return Err("the disk's name in the guest is missing; write target,raw,xvda,w".into());
        };
        let target = self.target.filter(|target| !target.is_empty());
        if target.is_none() && !self.cdrom {
            return Err(format!(
                "{vdev} has no target; name the device or file that stands behind it"
            ));
        }
        if self.cdrom && self.access == Some(true) {
            return Err(format!("{vdev} is a CD drive and cannot be writable; write ro"));
        }
        let target = target.map(|target| match self.script {
            None if !target.starts_with('/') => format!("/dev/{target}"),
            _ => target,
        });
        Ok(Disk {
            target,
            format: self.format.unwrap_or_default(),
            vdev,
            writable: self.access.unwrap_or(!self.cdrom),
            cdrom: self.cdrom,
            backend: self.backend.filter(|name| !name.is_empty()),
            backend_type: self.backend_type,
            script: self.script.filter(|name| !name.is_empty()),
            direct_io_safe: self.direct_io_safe,
            discard: self.discard,
            trusted: !self.untrusted,
        })
    }
}

fn backend_type(value: &str) -> Result<BackendType, String> {
    match value {
        "phy" => Ok(BackendType::Phy),
        "qdisk" | "tap" => Ok(BackendType::Qdisk),
        "standalone" => Ok(BackendType::Standalone),
        other => Err(format!(
            "{other:?} is no backendtype; write phy or qdisk, or leave it out"
        )),
    }
}

fn once<T>(slot: &mut Option<T>, value: T, name: &str) -> Result<(), String> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(format!("{name} is given twice; leave one out")),
    }
}
