//! What is said of a guest in the boot module.
//!
//! Below `guests/NAME/` stand `kernel` (an ELF file), perhaps `initrd`, and perhaps `config`: lines `KEY=VALUE`, where
//! `#` begins a comment.
//!
//! | key | value | without it |
//! |---|---|---|
//! | `memory` | MiB | 32 |
//! | `vcpus` | how many | 1 |
//! | `extra` | the kernel's command line | empty |
//! | `disk` | `DEVICE[,N[,r]]`: the guest's `xvda`, …; which of this domain's disks; read-only; may be repeated | none |
//! | `net` | `yes`, or a MAC address; may be repeated | none |
//! | `on_reboot` | `restart` or `destroy`: what becomes of it when it reboots | `restart` |
use crate::archive::Files;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// A disk of a guest.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DiskConfig {
    /// What the guest calls it.
    pub device: String,
    /// Which of the driver domain's disks stands behind it.
    pub backing: usize,
    /// The guest may not write to it.
    pub read_only: bool,
}

/// A network interface of a guest.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct NetConfig {
    /// Its address; none for one that is made up.
    pub mac: Option<[u8; 6]>,
}

/// A guest as it is given.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GuestConfig<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its kernel.
    pub kernel: &'a [u8],
    /// Its initial RAM disk.
    pub initrd: Option<&'a [u8]>,
    /// Memory, in MiB.
    pub memory: u64,
    /// Vcpus.
    pub vcpus: u32,
    /// The kernel's command line.
    pub extra: &'a str,
    /// Its disks.
    pub disks: Vec<DiskConfig>,
    /// Its network interfaces.
    pub nets: Vec<NetConfig>,
    /// It is started anew when it reboots.
    pub restarts: bool,
}

/// What is wrong with a guest.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ConfigError<'a> {
    /// There is no kernel below `guests/NAME`.
    NoKernel(&'a str),
    /// A line that is none of those known: guest and line.
    Line(&'a str, &'a str),
    /// A configuration that is not text.
    NoText(&'a str),
}

impl fmt::Display for ConfigError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoKernel(name) => write!(f, "guests/{name}/kernel is missing"),
            Self::Line(name, line) => write!(f, "guests/{name}/config: `{line}` is not understood"),
            Self::NoText(name) => write!(f, "guests/{name}/config is no text"),
        }
    }
}

/// The guests in a boot module, in the order in which they are named first.
///
/// # Errors
/// The first that is not right.
pub fn read_guests(module: &[u8]) -> Result<Vec<GuestConfig<'_>>, ConfigError<'_>> {
    let mut guests: Vec<(GuestConfig<'_>, &[u8])> = Vec::new();
    for (path, data) in Files::new(module) {
        let Some((name, file)) = path.strip_prefix("guests/").and_then(|rest| rest.split_once('/')) else {
            continue;
        };
        let index = guests
            .iter()
            .position(|(guest, _)| guest.name == name)
            .unwrap_or_else(|| {
                guests.push((empty(name), &[]));
                guests.len() - 1
            });
        let (guest, config) = &mut guests[index];
        match file {
            "kernel" => guest.kernel = data,
            "initrd" => guest.initrd = Some(data),
            "config" => *config = data,
            _ => {}
        }
    }
    guests
        .into_iter()
        .map(|(guest, config)| complete(guest, config))
        .collect()
}

fn complete<'a>(mut guest: GuestConfig<'a>, config: &'a [u8]) -> Result<GuestConfig<'a>, ConfigError<'a>> {
    read_lines(&mut guest, config)?;
    Ok(guest)
}

fn empty(name: &str) -> GuestConfig<'_> {
    GuestConfig {
        name,
        kernel: &[],
        initrd: None,
        memory: 32,
        vcpus: 1,
        extra: "",
        disks: Vec::new(),
        nets: Vec::new(),
        restarts: true,
    }
}

fn read_lines<'a>(guest: &mut GuestConfig<'a>, config: &'a [u8]) -> Result<(), ConfigError<'a>> {
    if guest.kernel.is_empty() {
        return Err(ConfigError::NoKernel(guest.name));
    }
    let text = core::str::from_utf8(config).map_err(|_| ConfigError::NoText(guest.name))?;
    for line in text.lines().map(str::trim) {
        if !line.is_empty() && !line.starts_with('#') {
            set(guest, line).ok_or(ConfigError::Line(guest.name, line))?;
        }
    }
    Ok(())
}

fn set<'a>(guest: &mut GuestConfig<'a>, line: &'a str) -> Option<()> {
    let (key, value) = line.split_once('=')?;
    let value = value.trim();
    match key.trim() {
        "memory" => guest.memory = value.parse().ok().filter(|memory| (1..=1 << 20).contains(memory))?,
        "vcpus" => guest.vcpus = value.parse().ok().filter(|vcpus| (1..=128).contains(vcpus))?,
        "extra" => guest.extra = value,
        "disk" => guest.disks.push(disk(value)?),
        "net" => guest.nets.push(NetConfig { mac: mac(value)? }),
        "on_reboot" => guest.restarts = restarts(value)?,
        _ => return None,
    }
    Some(())
}

fn disk(value: &str) -> Option<DiskConfig> {
    let mut parts = value.split(',').map(str::trim);
    let device = parts.next().filter(|device| !device.is_empty())?;
    let backing = parts.next().map_or(Some(0), |number| number.parse().ok())?;
    let read_only = match parts.next() {
        None | Some("w") => false,
        Some("r") => true,
        Some(_) => return None,
    };
    parts.next().is_none().then(|| DiskConfig {
        device: device.into(),
        backing,
        read_only,
    })
}

fn restarts(value: &str) -> Option<bool> {
    match value {
        "restart" => Some(true),
        "destroy" => Some(false),
        _ => None,
    }
}

fn mac(value: &str) -> Option<Option<[u8; 6]>> {
    if value == "yes" || value == "true" {
        return Some(None);
    }
    let mut bytes = [0; 6];
    let mut parts = value.split(':');
    for byte in &mut bytes {
        *byte = u8::from_str_radix(parts.next()?, 16).ok()?;
    }
    parts.next().is_none().then_some(Some(bytes))
}

/// The number of a virtual disk (`docs/misc/vbd-interface.txt` of Xen): `xvd` and letters, then perhaps a partition;
/// none for other names.
pub fn device_number(name: &str) -> Option<u32> {
    const MAJOR: u32 = 202;
    let rest = name.strip_prefix("xvd")?;
    let letters = rest.bytes().take_while(u8::is_ascii_lowercase).count();
    let digits = &rest[letters..];
    let disk = match &rest.as_bytes()[..letters] {
        [one] => u32::from(one - b'a'),
        [high, low] => (u32::from(high - b'a') + 1) * 26 + u32::from(low - b'a'),
        _ => return None,
    };
    let partition: u32 = if digits.is_empty() { 0 } else { digits.parse().ok()? };
    if disk < 16 && partition < 16 {
        Some(MAJOR << 8 | disk << 4 | partition)
    } else {
        (partition < 256).then_some(1 << 28 | disk << 8 | partition)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guest(config: &'static str) -> Result<GuestConfig<'static>, ConfigError<'static>> {
        let mut guest = empty("g");
        guest.kernel = b"k";
        read_lines(&mut guest, config.as_bytes()).map(|()| guest)
    }

    #[test]
    fn all_keys_are_read() {
        let text = "# a guest\nmemory = 64\nvcpus=2\nextra=a=b c\ndisk=xvda\ndisk=xvdb,1,r\nnet=yes\nnet=0:16:3e:1:2:ff\non_reboot=destroy\n";
        let guest = guest(text).unwrap();
        assert!(!guest.restarts);
        assert_eq!((guest.memory, guest.vcpus, guest.extra), (64, 2, "a=b c"));
        let disks: Vec<_> = guest
            .disks
            .iter()
            .map(|disk| (&*disk.device, disk.backing, disk.read_only))
            .collect();
        assert_eq!(disks, [("xvda", 0, false), ("xvdb", 1, true)]);
        let macs: Vec<_> = guest.nets.iter().map(|net| net.mac).collect();
        assert_eq!(macs, [None, Some([0, 0x16, 0x3e, 1, 2, 0xff])]);
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for line in [
            "memory=",
            "memory=0",
            "vcpus=x",
            "colour=red",
            "disk=,1",
            "disk=xvda,0,q",
            "net=1:2",
            "on_reboot=never",
            "words",
        ] {
            assert_eq!(guest(line), Err(ConfigError::Line("g", line)));
        }
        assert_eq!(read_lines(&mut empty("g"), b""), Err(ConfigError::NoKernel("g")));
    }

    #[test]
    fn disks_have_the_numbers_that_xen_documents() {
        assert_eq!(device_number("xvda"), Some(51712));
        assert_eq!(device_number("xvda1"), Some(51713));
        assert_eq!(device_number("xvdb"), Some(51728));
        assert_eq!(device_number("xvdq"), Some(1 << 28 | 16 << 8));
        assert_eq!(device_number("xvdaa"), Some(1 << 28 | 26 << 8));
        for name in ["sda", "xvd", "xvda99999", "xvd1"] {
            assert_eq!(device_number(name), None, "{name}");
        }
    }
}
