//! Guest memory by virtual address: a [`GuestPtr`] is an allegation, copied from or to once, and never referenced.
//!
//! Copies go through the guest's current address space, may meet a page fault, and then report `EFAULT`.
//! The caller validates what was copied, not what stands in the guest.

use crate::arch::x86::usercopy;
use crate::mm::layout::{HOLE_END, HOLE_START};
use core::marker::PhantomData;
use core::mem::size_of;
use xen_abi::Errno;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// What may cross the border in both directions: any bytes make one, and it has no padding that could leak.
pub trait Wire: FromBytes + IntoBytes + Immutable + Copy {}
impl<T: FromBytes + IntoBytes + Immutable + Copy> Wire for T {}

/// An address that the guest says holds a `T`, or an array of them (`XEN_GUEST_HANDLE`).
pub struct GuestPtr<T> {
    addr: u64,
    of: PhantomData<*mut T>,
}

impl<T> Clone for GuestPtr<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for GuestPtr<T> {}

/// Whether `len` bytes at `addr` lie outside the hypervisor's hole and inside the canonical ranges.
#[inline]
pub fn access_ok(addr: u64, len: u64) -> bool {
    match addr.checked_add(len) {
        Some(end) => end <= 1 << 47 || addr >= HOLE_END,
        None => addr >= HOLE_END && addr.wrapping_add(len) == 0,
    }
}

const _: () = assert!(HOLE_START == !0 << 47);

impl<T: Wire> GuestPtr<T> {
    /// Takes the guest's word for it.
    #[inline]
    pub fn new(addr: u64) -> Self {
        Self { addr, of: PhantomData }
    }

    /// The guest virtual address.
    #[inline]
    pub fn addr(self) -> u64 {
        self.addr
    }

    /// Whether the guest passed no handle at all.
    #[inline]
    pub fn is_null(self) -> bool {
        self.addr == 0
    }

    /// The `index`th element from here.
    #[inline]
    pub fn at(self, index: u64) -> Self {
        Self::new(self.addr.wrapping_add(index.wrapping_mul(size_of::<T>() as u64)))
    }

    /// Copies one element in.
    ///
    /// # Errors
    /// `EFAULT` where the guest has no readable memory, or names the hypervisor's.
    #[inline]
    pub fn read(self) -> Result<T, Errno> {
        let mut value = T::new_zeroed();
        // SAFETY: `value` is a `T` of its own, valid for any bytes (`FromBytes`).
        unsafe { self.copy_in(core::ptr::from_mut(&mut value).cast(), size_of::<T>()) }?;
        Ok(value)
    }

    /// Copies one element out.
    ///
    /// # Errors
    /// `EFAULT` where the guest has no writable memory, or names the hypervisor's.
    #[inline]
    pub fn write(self, value: &T) -> Result<(), Errno> {
        self.write_slice(core::slice::from_ref(value))
    }

    /// Fills `to` from the guest's array.
    ///
    /// # Errors
    /// `EFAULT`; `to` then holds a part of it.
    pub fn read_slice(self, to: &mut [T]) -> Result<(), Errno> {
        let len = size_of_val(to);
        // SAFETY: `to` is exclusive, and valid for any bytes (`FromBytes`).
        unsafe { self.copy_in(to.as_mut_ptr().cast(), len) }
    }

    /// Copies `from` to the guest's array.
    ///
    /// # Errors
    /// `EFAULT`; the guest may then have a part of it.
    #[inline]
    pub fn write_slice(self, from: &[T]) -> Result<(), Errno> {
        let len = size_of_val(from);
        if !access_ok(self.addr, len as u64) {
            return Err(Errno::EFAULT);
        }
        // SAFETY: the source is a slice of ours without padding (`IntoBytes`); the target is outside the
        // hypervisor's hole, and a fault there ends the copy.
        match unsafe { usercopy::copy_to_guest(self.addr, from.as_ptr().cast(), len) } {
            0 => Ok(()),
            _ => Err(Errno::EFAULT),
        }
    }

    /// # Safety
    /// `to` is valid for writes of `len` bytes.
    #[inline]
    unsafe fn copy_in(self, to: *mut u8, len: usize) -> Result<(), Errno> {
        if !access_ok(self.addr, len as u64) {
            return Err(Errno::EFAULT);
        }
        // SAFETY: the caller vouches for the target; the source is outside the hypervisor's hole, and a fault
        // there ends the copy.
        match unsafe { usercopy::copy_from_guest(to, self.addr, len) } {
            0 => Ok(()),
            _ => Err(Errno::EFAULT),
        }
    }
}
