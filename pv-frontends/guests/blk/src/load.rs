//! Requests as fast as the disk answers, by the interface that does not wait.

use alloc::vec::Vec;
use core::time::Duration;

use guest_rt::Machine;
use pv_blk::front::{Buffer, Error, Operation};
use pv_hal::{Hal, Port};

use crate::Disk;

/// What to do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) write: bool,
    /// Of each request.
    pub(crate) sectors: u32,
    /// Requests in flight.
    pub(crate) depth: u32,
    /// Requests in all.
    pub(crate) requests: u32,
}

/// How it went.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome {
    pub(crate) spent: Duration,
    /// How often the guest slept.
    pub(crate) waits: u32,
}

impl Load {
    /// Spreads requests over the disk. Writes write back what was read there, so the disk stays as it is.
    pub(crate) fn run(self, disk: &mut Disk) -> Result<Outcome, Error> {
        let total = disk.properties().ok_or(Error::Disconnected)?.sectors;
        let places = total / u64::from(self.sectors);
        if places < u64::from(self.depth) {
            return Err(Error::OutOfRange);
        }
        let mut idle = self.buffers(disk)?;
        let mut waits = 0;
        let (mut begun, mut ended) = (0, 0);
        let start = Machine.now();
        while ended < self.requests {
            while begun < self.requests {
                let Some((place, buffer)) = idle.pop() else { break };
                // A write goes to the place that its buffer was read from, a read anywhere.
                let place = if self.write {
                    place
                } else {
                    u64::from(begun) * 7919 % places
                };
                let sector = place * u64::from(self.sectors);
                let operation = match self.write {
                    true => Operation::Write {
                        sector,
                        sectors: self.sectors,
                    },
                    false => Operation::Read {
                        sector,
                        sectors: self.sectors,
                    },
                };
                disk.device()
                    .submit(operation, Some(buffer))
                    .map_err(|refused| refused.error)?;
                begun += 1;
            }
            disk.device().publish();
            waits += self.land(disk, &mut idle, &mut ended)?;
        }
        let spent = Machine.now() - start;
        Ok(Outcome { spent, waits })
    }

    /// Takes in what is complete, and waits where nothing is; how often it waited.
    fn land(self, disk: &mut Disk, idle: &mut Vec<(u64, Buffer<Machine>)>, ended: &mut u32) -> Result<u32, Error> {
        let mut waits = 0;
        let before = *ended;
        while *ended == before {
            while let Some(completion) = disk.device().poll_completion() {
                completion.result?;
                let sector = match completion.operation {
                    Operation::Read { sector, .. } | Operation::Write { sector, .. } => sector,
                    _ => 0,
                };
                let buffer = completion.buffer.ok_or(Error::Failed)?;
                idle.push((sector / u64::from(self.sectors), buffer));
                *ended += 1;
            }
            if *ended == before && !disk.device().arm() {
                let ports: Vec<Port> = disk.ports().collect();
                Machine.wait(&ports, None);
                waits += 1;
                if disk.has_news() {
                    disk.poll_bus()?;
                }
            }
        }
        Ok(waits)
    }

    /// A buffer for each request in flight, with what the disk holds at its place.
    fn buffers(self, disk: &mut Disk) -> Result<Vec<(u64, Buffer<Machine>)>, Error> {
        let mut idle = Vec::new();
        for place in 0..u64::from(self.depth) {
            let buffer = disk.device().buffer(self.sectors)?;
            let sector = place * u64::from(self.sectors);
            let request = disk.device().read(sector, self.sectors, buffer);
            request.map_err(|refused| refused.error)?;
            disk.device().publish();
            let completion = disk.wait(None)?.ok_or(Error::Disconnected)?;
            completion.result?;
            idle.push((place, completion.buffer.ok_or(Error::Failed)?));
        }
        Ok(idle)
    }
}
