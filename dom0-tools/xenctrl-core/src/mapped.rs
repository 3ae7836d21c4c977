//! Memory of another domain, mapped here.

/// Mapped pages whose bytes their owner may change at any time: seen by copies alone, unmapped when dropped.
///
/// Offsets are in bytes from the start. Each access panics when it leaves the mapping, as slices do: check what a
/// guest says before it becomes an offset.
#[allow(clippy::len_without_is_empty)]
pub trait Mapped {
    /// Bytes; never 0.
    fn len(&self) -> usize;
    /// Copies bytes out. Bytes that change meanwhile may come from before or after the change.
    fn read(&self, offset: usize, into: &mut [u8]);
    /// Copies bytes in.
    fn write(&self, offset: usize, from: &[u8]);
    /// Copies from another mapping.
    fn copy_from(&self, offset: usize, from: &Self, from_offset: usize, len: usize);
    /// Sets all bytes of a range.
    fn fill(&self, offset: usize, len: usize, byte: u8);
}
