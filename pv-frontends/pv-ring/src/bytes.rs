//! Rings of bytes, as the console (`public/io/console.h`) and xenstore (`public/io/xs_wire.h`) have: a power of two of
//! bytes and two indexes that run freely, the producer's and the consumer's, somewhere in a shared page.
use crate::Broken;
use crate::layout::available;
use core::sync::atomic::{Ordering, fence};
use pv_hal::Memory;

/// Where a ring of bytes lies in its page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Layout {
    /// Offset of the bytes.
    pub bytes: usize,
    /// Number of bytes, a power of two.
    pub size: u32,
    /// Offset of the index up to which the consumer has read.
    pub consumer: usize,
    /// Offset of the index up to which the producer has written.
    pub producer: usize,
}

impl Layout {
    /// From the guest to the daemon: `out` of `struct xencons_interface`.
    pub const CONSOLE_OUT: Layout = Layout {
        bytes: 1024,
        size: 2048,
        consumer: 3080,
        producer: 3084,
    };
    /// From the daemon to the guest: `in` of `struct xencons_interface`.
    pub const CONSOLE_IN: Layout = Layout {
        bytes: 0,
        size: 1024,
        consumer: 3072,
        producer: 3076,
    };
    /// Requests, from the guest to the daemon: `req` of `struct xenstore_domain_interface`.
    pub const STORE_REQUESTS: Layout = Layout {
        bytes: 0,
        size: 1024,
        consumer: 2048,
        producer: 2052,
    };
    /// Replies and watch events: `rsp` of `struct xenstore_domain_interface`.
    pub const STORE_REPLIES: Layout = Layout {
        bytes: 1024,
        size: 1024,
        consumer: 2056,
        producer: 2060,
    };

    /// Bytes that wait to be read.
    ///
    /// # Errors
    /// The indexes are farther apart than the ring is long.
    pub fn used(&self, memory: &impl Memory) -> Result<u32, Broken> {
        let consumer = memory.load_u32(self.consumer, Ordering::Acquire);
        available(memory.load_u32(self.producer, Ordering::Acquire), consumer, self.size)
    }

    /// Puts in what fits, as the only producer; answers how many bytes those were. The consumer is to be notified if
    /// there were any.
    ///
    /// # Errors
    /// As [`used`](Self::used); the ring is left as it is.
    pub fn put(&self, memory: &impl Memory, from: &[u8]) -> Result<usize, Broken> {
        let producer = memory.load_u32(self.producer, Ordering::Relaxed);
        let consumer = memory.load_u32(self.consumer, Ordering::Acquire);
        let used = available(producer, consumer, self.size)?;
        // The consumer's reads of the room that it gave free come before these writes.
        fence(Ordering::SeqCst);
        let count = from.len().min((self.size - used) as usize);
        let (first, second) = self.split(producer, count);
        memory.write(self.offset(producer), &from[..first]);
        memory.write(self.bytes, &from[first..first + second]);
        if count > 0 {
            memory.store_u32(self.producer, producer.wrapping_add(count as u32), Ordering::Release);
        }
        Ok(count)
    }

    /// Takes what is there and fits into `into`, as the only consumer; answers how many bytes those were. The producer
    /// is to be notified if there were any: it may wait for room.
    ///
    /// # Errors
    /// As [`used`](Self::used); the ring is left as it is.
    pub fn take(&self, memory: &impl Memory, into: &mut [u8]) -> Result<usize, Broken> {
        let consumer = memory.load_u32(self.consumer, Ordering::Relaxed);
        let producer = memory.load_u32(self.producer, Ordering::Acquire);
        let count = into.len().min(available(producer, consumer, self.size)? as usize);
        let (first, second) = self.split(consumer, count);
        memory.read(self.offset(consumer), &mut into[..first]);
        memory.read(self.bytes, &mut into[first..first + second]);
        if count > 0 {
            memory.store_u32(self.consumer, consumer.wrapping_add(count as u32), Ordering::Release);
        }
        Ok(count)
    }

    fn offset(&self, index: u32) -> usize {
        self.bytes + (index & (self.size - 1)) as usize
    }

    /// Bytes up to the ring's end, and bytes from its beginning on.
    fn split(&self, index: u32, count: usize) -> (usize, usize) {
        let first = count.min((self.size - (index & (self.size - 1))) as usize);
        (first, count - first)
    }
}
