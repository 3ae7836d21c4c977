//! Sets of CPUs as tools pass them (`xenctl_bitmap`).

use crate::guest::GuestPtr;
use crate::mm::layout::NR_CPUS;
use xen_abi::{Errno, xenctl_bitmap};

const _: () = assert!(NR_CPUS <= 64);

/// Bytes of a guest's bitmap that matter, and the mask of the bits that it has.
fn extent(map: &xenctl_bitmap) -> (usize, u64) {
    let bytes = u64::from(map.nr_bits).div_ceil(8).min(8) as usize;
    let valid = if map.nr_bits >= 64 {
        u64::MAX
    } else {
        (1 << map.nr_bits) - 1
    };
    (bytes, valid)
}

/// Copies a mask of up to 64 CPUs into a guest's bitmap. What it has beyond them stays.
///
/// # Errors
/// `EFAULT`.
pub fn write(map: &xenctl_bitmap, mask: u64) -> Result<(), Errno> {
    let (bytes, valid) = extent(map);
    GuestPtr::<u8>::new(map.bitmap).write_slice(&(mask & valid).to_le_bytes()[..bytes])
}

/// Copies a guest's bitmap in, up to 64 CPUs of it.
///
/// # Errors
/// `EFAULT`.
pub fn read(map: &xenctl_bitmap) -> Result<u64, Errno> {
    let (bytes, valid) = extent(map);
    let mut mask = [0u8; 8];
    GuestPtr::<u8>::new(map.bitmap).read_slice(&mut mask[..bytes])?;
    Ok(u64::from_le_bytes(mask) & valid)
}
