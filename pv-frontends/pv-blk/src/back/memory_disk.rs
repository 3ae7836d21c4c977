//! A disk that is memory.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::disk::{Disk, DiskError, Ended, Geometry, Job, Work};
use crate::SECTOR_SIZE;

/// A disk that holds its contents in memory and does everything at once: for tests, and for guests that need no more.
#[derive(Debug)]
pub struct MemoryDisk {
    bytes: Vec<u8>,
    geometry: Geometry,
    done: VecDeque<Ended<Vec<u8>>>,
}

impl MemoryDisk {
    /// A disk with these contents. A last part of a sector is cut off.
    pub fn new(mut bytes: Vec<u8>) -> Self {
        bytes.truncate(bytes.len() - bytes.len() % SECTOR_SIZE);
        let geometry = Geometry {
            sectors: (bytes.len() / SECTOR_SIZE) as u64,
            sector_size: SECTOR_SIZE as u32,
            physical_sector_size: SECTOR_SIZE as u32,
            read_only: false,
            flush: true,
            discard: Some(crate::negotiation::Discard {
                granularity: SECTOR_SIZE as u32,
                alignment: 0,
                secure: true,
            }),
        };
        Self {
            bytes,
            geometry,
            done: VecDeque::new(),
        }
    }

    /// The same disk, with another geometry to be told of. Its size stays.
    pub fn with_geometry(mut self, geometry: Geometry) -> Self {
        let sectors = self.geometry.sectors;
        self.geometry = Geometry { sectors, ..geometry };
        self
    }

    /// The contents.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn range(&mut self, sector: u64, len: usize) -> Result<&mut [u8], DiskError> {
        let start = usize::try_from(sector)
            .ok()
            .and_then(|sector| sector.checked_mul(SECTOR_SIZE));
        let range = start.and_then(|start| self.bytes.get_mut(start..start.checked_add(len)?));
        range.ok_or(DiskError::Failed)
    }

    fn carry_out(&mut self, work: &mut Work<Vec<u8>>) -> Result<(), DiskError> {
        match work {
            Work::Read { sector, buffer } => {
                let from = self.range(*sector, buffer.len())?;
                buffer.copy_from_slice(from);
            }
            Work::Write { sector, buffer } => self.range(*sector, buffer.len())?.copy_from_slice(buffer),
            Work::Flush => {}
            Work::Discard { sector, sectors, .. } => {
                let len = usize::try_from(*sectors)
                    .ok()
                    .and_then(|count| count.checked_mul(SECTOR_SIZE));
                self.range(*sector, len.ok_or(DiskError::Failed)?)?.fill(0);
            }
        }
        Ok(())
    }
}

impl Disk for MemoryDisk {
    type Buffer = Vec<u8>;

    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn allocate(&mut self, bytes: usize) -> Option<Vec<u8>> {
        Some(alloc::vec![0; bytes])
    }

    fn start(&mut self, mut job: Job<Vec<u8>>) -> Result<(), Job<Vec<u8>>> {
        let result = self.carry_out(&mut job.work);
        self.done.push_back((job, result));
        Ok(())
    }

    fn poll(&mut self) -> Option<Ended<Vec<u8>>> {
        self.done.pop_front()
    }
}
