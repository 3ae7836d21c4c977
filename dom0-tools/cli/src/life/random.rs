//! Random numbers for UUIDs and MAC addresses.

use std::fs::File;
use std::io::Read;

use anyhow::{Context, Result};
use xl_config::{MacAddress, Uuid};

/// A fresh UUID.
pub fn uuid() -> Result<Uuid> {
    bytes().map(Uuid::from_random)
}

/// A fresh MAC address in Xen's range.
pub fn mac() -> Result<MacAddress> {
    bytes().map(MacAddress::from_random)
}

fn bytes<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    let read = |bytes: &mut [u8]| File::open("/dev/urandom")?.read_exact(bytes);
    read(&mut bytes).context("/dev/urandom cannot be read")?;
    Ok(bytes)
}
