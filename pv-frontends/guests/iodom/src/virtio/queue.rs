//! A virtqueue that owns what is under way in it, so that nobody touches memory that a device has.
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::sync::atomic::{Ordering, fence};

use virtio_drivers::queue::VirtQueue;
use virtio_drivers::transport::Transport;

use super::dma::{DmaBuffer, DmaHal};

/// Something for a device to do: what it reads first, data, and where it writes its answer.
#[derive(Debug)]
pub(crate) struct Chain<T> {
    /// Read by the device before all else; may be empty.
    pub(crate) header: Vec<u8>,
    /// The data, and how many bytes of the buffer it is.
    pub(crate) data: Option<(DmaBuffer, usize)>,
    /// The device writes the data.
    pub(crate) is_inbound: bool,
    /// Written by the device after all else; may be empty.
    pub(crate) answer: Vec<u8>,
    /// The owner's own.
    pub(crate) tag: T,
}

impl<T> Chain<T> {
    /// What the device reads and what it writes. The lists are the same for the same chain.
    fn lists(&mut self) -> (Vec<&[u8]>, Vec<&mut [u8]>) {
        let mut inputs: Vec<&[u8]> = Vec::with_capacity(2);
        let mut outputs: Vec<&mut [u8]> = Vec::with_capacity(2);
        if !self.header.is_empty() {
            inputs.push(&self.header);
        }
        if let Some((buffer, length)) = &mut self.data {
            let data = &mut buffer.as_mut()[..*length];
            if self.is_inbound {
                outputs.push(data);
            } else {
                inputs.push(data);
            }
        }
        if !self.answer.is_empty() {
            outputs.push(&mut self.answer);
        }
        (inputs, outputs)
    }
}

/// A queue of a device, with `SIZE` descriptors.
pub(crate) struct Queue<T, const SIZE: usize> {
    /// Kept apart: it holds all descriptors, and a stack has little room.
    ring: Box<VirtQueue<DmaHal, SIZE>>,
    number: u16,
    /// What the device has, by the first descriptor.
    away: Vec<Option<Chain<T>>>,
}

impl<T, const SIZE: usize> Queue<T, SIZE> {
    /// Sets a queue up.
    ///
    /// # Errors
    /// The device has no such queue; there is no memory.
    pub(crate) fn new(transport: &mut impl Transport, number: u16, indirect: bool) -> virtio_drivers::Result<Self> {
        Ok(Self {
            ring: Box::new(VirtQueue::new(transport, number, indirect, false)?),
            number,
            away: (0..SIZE).map(|_| None).collect(),
        })
    }

    /// Hands a chain to the device.
    ///
    /// # Errors
    /// The chain, where the queue has no room.
    pub(crate) fn submit(&mut self, transport: &mut impl Transport, mut chain: Chain<T>) -> Result<(), Chain<T>> {
        let (inputs, mut outputs) = chain.lists();
        // SAFETY: the chain's memory is on the heap or in the pool, so it stays where it is when the chain moves into
        // `away`, where nobody touches it until it is popped.
        let token = unsafe { self.ring.add(&inputs, &mut outputs) };
        let Ok(token) = token else { return Err(chain) };
        self.away[usize::from(token)] = Some(chain);
        // The device looks for more after it has asked to be notified: one of the two sees the other.
        fence(Ordering::SeqCst);
        if self.ring.should_notify() {
            transport.notify(self.number);
        }
        Ok(())
    }

    /// The next chain that the device is done with, and how many bytes it wrote.
    pub(crate) fn complete(&mut self) -> Option<(Chain<T>, usize)> {
        let token = self.ring.peek_used()?;
        let mut chain = self.away.get_mut(usize::from(token))?.take()?;
        let (inputs, mut outputs) = chain.lists();
        // SAFETY: the chain that was added under this token.
        let popped = unsafe { self.ring.pop_used(token, &inputs, &mut outputs) };
        let written = popped.unwrap_or(0) as usize;
        Some((chain, written))
    }
}
