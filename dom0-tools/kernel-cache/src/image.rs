//! From a kernel file as distributions ship it to a kernel that can be built into a guest.

use std::fmt;

use domain_builder::KernelError;
use kernel_image::{BzImageError, Packing, find_payload};
use privcmd::Mapping;

use crate::unpack::{UnpackError, unpack};

/// A kernel whose stored form lies in a mapped file, or in memory.
pub type Kernel = domain_builder::Kernel<Mapping>;

/// Why a file is no kernel for a PV guest.
#[derive(Debug)]
pub enum ImageError {
    /// Its container.
    Container(BzImageError),
    /// Its packed data.
    Unpack(UnpackError),
    /// The executable in it.
    Kernel(KernelError),
}

impl fmt::Display for ImageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Container(error) => error.fmt(f),
            Self::Unpack(error) => error.fmt(f),
            Self::Kernel(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ImageError {}

/// The kernel in a file: ELF, packed ELF or bzImage.
///
/// # Errors
/// Why it cannot be started as a PV guest.
pub fn read_image(file: &[u8]) -> Result<Kernel, ImageError> {
    let payload = find_payload(file).map_err(ImageError::Container)?;
    if payload.packing == Packing::Plain {
        return Kernel::from_elf(payload.data).map_err(ImageError::Kernel);
    }
    let elf = unpack(payload.packing, payload.data, payload.unpacked_len).map_err(ImageError::Unpack)?;
    Kernel::from_elf(&elf).map_err(ImageError::Kernel)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Boots of all packings begin alike; the rest is anything.
    fn files() -> impl Strategy<Value = Vec<u8>> {
        let magic = prop::sample::select(vec![
            &b"\x7fELF\x02\x01"[..],
            b"\x1f\x8b\x08",
            b"\xfd7zXZ\0",
            b"\x28\xb5\x2f\xfd",
            b"\x02\x21\x4c\x18",
            b"",
        ]);
        (magic, prop::collection::vec(any::<u8>(), 0..1200), any::<bool>()).prop_map(|(magic, rest, is_bzimage)| {
            let mut file = [magic, &rest].concat();
            if is_bzimage && file.len() > 0x250 {
                file[0x202..0x206].copy_from_slice(b"HdrS");
            }
            file
        })
    }

    proptest! {
        #[test]
        fn any_file_gives_a_kernel_or_an_error(file in files()) {
            // It must come back; what it says is for the cases of the parts.
            let _ = read_image(&file);
        }
    }
}
