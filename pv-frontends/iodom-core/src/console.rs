//! A guest's console: its lines, and what is typed to it.
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use pv_hal::{Access, Channel, DomId, Error, GrantRef, Hal, Port};
use pv_ring::Broken;
use pv_ring::bytes::Layout;

/// Longest line that is kept together.
const LONGEST: usize = 400;
/// Most bytes that wait to be typed.
const TYPED: usize = 4096;
/// Bytes that are taken at a time, and how often one look takes some: two rings full. A guest that prints as fast as it
/// is read keeps nobody else waiting.
const TAKEN: usize = 512;
const LOOKS: usize = 8;

/// The end that reads a guest's console.
pub struct Console<H: Hal> {
    page: H::Mapping,
    channel: Channel<H>,
    line: Vec<u8>,
    typed: VecDeque<u8>,
}

impl<H: Hal> Console<H> {
    /// Takes up the ring that the guest's builder has granted by the reserved reference; `port` is the guest's.
    ///
    /// # Errors
    /// As [`Hal::map`] and [`Hal::bind_interdomain`].
    pub fn new(hal: &H, domid: u16, port: u32) -> Result<Self, Error> {
        let grant = GrantRef(xen_abi::GNTTAB_RESERVED_CONSOLE);
        Ok(Self {
            page: hal.map(DomId(domid), &[grant], Access::ReadWrite)?,
            channel: Channel::bind(hal, DomId(domid), Port(port))?,
            line: Vec::new(),
            typed: VecDeque::new(),
        })
    }

    /// The port that reports output.
    pub fn port(&self) -> Port {
        self.channel.port()
    }

    /// Hands complete lines to `print`, without their ends, and passes on what was typed; true if there may be more at
    /// once. A ring that the guest has spoilt is let alone until the next time.
    pub fn poll(&mut self, print: &mut dyn FnMut(&[u8])) -> bool {
        self.channel.take_event();
        (0..LOOKS).all(|_| self.step(print).unwrap_or(false))
    }

    fn step(&mut self, print: &mut dyn FnMut(&[u8])) -> Result<bool, Broken> {
        let mut bytes = [0; TAKEN];
        let taken = Layout::CONSOLE_OUT.take(&self.page, &mut bytes)?;
        for &byte in &bytes[..taken] {
            match byte {
                b'\r' => {}
                b'\n' => self.end_line(print),
                byte => {
                    self.line.push(byte);
                    if self.line.len() >= LONGEST {
                        self.end_line(print);
                    }
                }
            }
        }
        let put = Layout::CONSOLE_IN.put(&self.page, self.typed.make_contiguous())?;
        self.typed.drain(..put);
        if taken + put > 0 {
            self.channel.notify();
        }
        Ok(taken > 0)
    }

    fn end_line(&mut self, print: &mut dyn FnMut(&[u8])) {
        print(&self.line);
        self.line.clear();
    }

    /// Prints what is left of an unfinished line.
    pub fn finish(&mut self, print: &mut dyn FnMut(&[u8])) {
        self.poll(print);
        if !self.line.is_empty() {
            self.end_line(print);
        }
    }

    /// Types bytes; those that have no room are dropped.
    pub fn type_bytes(&mut self, bytes: &[u8]) {
        let room = TYPED - self.typed.len().min(TYPED);
        self.typed.extend(&bytes[..bytes.len().min(room)]);
    }
}
