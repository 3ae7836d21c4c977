//! Names of disks in guests (`xvda`, `sdb1`, `hdc`) and their numbers, as xen-vbd-interface(7) pairs them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A disk as the guest sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct VirtualDevice {
    /// Its name, as configured.
    pub name: String,
    /// Its number in xenstore.
    pub number: u32,
}

impl fmt::Display for VirtualDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl FromStr for VirtualDevice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let name = text.strip_prefix("/dev/").unwrap_or(text);
        match number_of(name) {
            Some(number) => Ok(Self {
                name: name.to_owned(),
                number,
            }),
            None => Err(format!(
                "{text:?} is no name of a disk in a guest; write xvda, xvdb1, sda or hda"
            )),
        }
    }
}

impl From<VirtualDevice> for String {
    fn from(device: VirtualDevice) -> Self {
        device.name
    }
}

impl TryFrom<String> for VirtualDevice {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

fn number_of(name: &str) -> Option<u32> {
    if let Some(rest) = name.strip_prefix("xvd") {
        let (disk, partition) = letters(rest)?;
        return Some(xvd(disk, partition));
    }
    if let Some(rest) = name.strip_prefix("hd") {
        let (disk, partition) = letters(rest)?;
        let major = if disk < 2 { 3 } else { 22 };
        return (disk < 4 && partition < 64).then_some(major << 8 | (disk & 1) << 6 | partition);
    }
    if let Some(rest) = name.strip_prefix("sd") {
        let (disk, partition) = letters(rest)?;
        return (disk < 16 && partition < 16).then_some(8 << 8 | disk << 4 | partition);
    }
    if let Some(rest) = name.strip_prefix('d')
        && let Some((disk, partition)) = rest.split_once('p')
    {
        let (disk, partition) = (decimal(disk)?, decimal(partition)?);
        return (disk < 1 << 20 && partition < 256).then(|| xvd(disk, partition));
    }
    let number = crate::parser::number(name)?;
    u32::try_from(number)
        .ok()
        .filter(|&number| number > 0 && number < 1 << 29)
}

fn xvd(disk: u32, partition: u32) -> u32 {
    if disk < 16 && partition < 16 {
        202 << 8 | disk << 4 | partition
    } else {
        1 << 28 | disk << 8 | partition
    }
}

/// `a` is 0, `z` 25, `aa` 26; a partition number may follow.
fn letters(text: &str) -> Option<(u32, u32)> {
    let digits_at = text.find(|c: char| c.is_ascii_digit()).unwrap_or(text.len());
    let (letters, digits) = text.split_at(digits_at);
    if letters.is_empty() || letters.len() > 4 {
        return None;
    }
    let mut disk = 0;
    for letter in letters.bytes() {
        if !letter.is_ascii_lowercase() {
            return None;
        }
        disk = disk * 26 + u32::from(letter - b'a') + 1;
    }
    let partition = if digits.is_empty() { 0 } else { decimal(digits)? };
    let disk = disk - 1;
    (disk < 1 << 20 && partition < 256).then_some((disk, partition))
}

fn decimal(digits: &str) -> Option<u32> {
    if digits.is_empty() || digits.len() > 7 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}
