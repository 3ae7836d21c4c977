//! Registers of a device in memory.
use crate::window;

/// Mapped registers of a device; they stay mapped. Offsets are in bytes; each access panics when it leaves them or is
/// not aligned, as slices do.
#[derive(Debug)]
pub struct Registers {
    address: u64,
    length: u64,
}

macro_rules! access {
    ($read:ident, $write:ident, $type:ty) => {
        /// Reads a register.
        pub fn $read(&self, offset: u64) -> $type {
            let at = self.place(offset, size_of::<$type>() as u64) as *const $type;
            // SAFETY: an aligned place in the mapping, which is a device's: nothing that Rust knows lies there.
            unsafe { at.read_volatile() }
        }

        /// Writes a register. What the device does of it is the caller's affair, memory that it is told to use included.
        pub fn $write(&self, offset: u64, value: $type) {
            let at = self.place(offset, size_of::<$type>() as u64) as *mut $type;
            // SAFETY: as for reading.
            unsafe { at.write_volatile(value) }
        }
    };
}

impl Registers {
    /// Maps `length` bytes from machine address `address` on; the error is the hypervisor's.
    pub fn map(address: u64, length: u64) -> Result<Registers, i64> {
        let address = window::map_device(address, length)?;
        Ok(Registers { address, length })
    }

    /// Where they are mapped.
    pub fn address(&self) -> u64 {
        self.address
    }

    fn place(&self, offset: u64, size: u64) -> u64 {
        let is_inside = offset.checked_add(size).is_some_and(|end| end <= self.length);
        let at = self.address.wrapping_add(offset);
        assert!(is_inside && at.is_multiple_of(size), "register at {offset:#x}");
        at
    }

    access!(read_u8, write_u8, u8);
    access!(read_u16, write_u16, u16);
    access!(read_u32, write_u32, u32);
}
