//! Domains' memory by memory_op, mmuext_op and foreign mappings.

use alloc::vec;
use alloc::vec::Vec;
use core::mem::offset_of;

use xen_abi::{self as abi, Errno, e820entry, mmuext_op};
use zerocopy::IntoBytes;

use super::{Answer, Named, operation};
use crate::door::{Arg, Block, Door};
use crate::{DomId, Resource, Result};
use crate::{Memory, PinLevel};

/// Entries of the machine's memory map that are asked for: more than firmware gives.
const MAP_ENTRIES: usize = 512;

fn reservation<D: Door + ?Sized>(
    door: &D,
    cmd: u32,
    domid: DomId,
    order: u32,
    list: Block<'_>,
    count: usize,
) -> Answer<usize> {
    let mut arg = abi::xen_memory_reservation {
        nr_extents: count as u64,
        extent_order: order,
        domid,
        ..Default::default()
    };
    let handle = offset_of!(abi::xen_memory_reservation, extent_start);
    let done = operation(door, abi::__HYPERVISOR_memory_op, cmd, &mut arg, vec![(handle, list)])?;
    usize::try_from(done).map_err(|_| Errno::EINVAL.into())
}

fn mmuext<D: Door + ?Sized>(door: &D, domid: DomId, operations: &[mmuext_op]) -> Answer<()> {
    let mut done = 0u32;
    let mut args = [
        Arg::Memory(Block::input(operations.as_bytes())),
        Arg::Word(operations.len() as u64),
        Arg::Memory(Block::structure(&mut done)),
        Arg::Word(domid.into()),
    ];
    door.call(abi::__HYPERVISOR_mmuext_op, &mut args)?;
    if done as usize == operations.len() {
        Ok(())
    } else {
        Err(Errno::EINVAL.into())
    }
}

impl<D: Door + ?Sized> Memory for D {
    type Mapping = D::Mapping;

    fn populate(&self, domid: DomId, order: u32, extents: &mut [u64]) -> Result<usize> {
        let count = extents.len();
        let list = Block::both(extents.as_mut_bytes());
        reservation(self, abi::XENMEM_populate_physmap, domid, order, list, count)
            .named("give memory to a domain", Some(domid))
    }

    fn decrease_reservation(&self, domid: DomId, mfns: &[u64]) -> Result<usize> {
        let list = Block::input(mfns.as_bytes());
        reservation(self, abi::XENMEM_decrease_reservation, domid, 0, list, mfns.len())
            .named("take memory from a domain", Some(domid))
    }

    fn claim_pages(&self, domid: DomId, pages: u64) -> Result<()> {
        let mut arg = abi::xen_memory_reservation {
            nr_extents: pages,
            domid,
            ..Default::default()
        };
        operation(
            self,
            abi::__HYPERVISOR_memory_op,
            abi::XENMEM_claim_pages,
            &mut arg,
            vec![],
        )
        .named("claim memory for a domain", Some(domid))?;
        Ok(())
    }

    fn set_memory_map(&self, domid: DomId, map: &[e820entry]) -> Result<()> {
        let mut arg = abi::xen_foreign_memory_map {
            domid,
            map: abi::xen_memory_map {
                nr_entries: map.len() as u32,
                ..Default::default()
            },
            ..Default::default()
        };
        let handle = offset_of!(abi::xen_foreign_memory_map, map) + offset_of!(abi::xen_memory_map, buffer);
        let handles = vec![(handle, Block::input(map.as_bytes()))];
        operation(
            self,
            abi::__HYPERVISOR_memory_op,
            abi::XENMEM_set_memory_map,
            &mut arg,
            handles,
        )
        .named("set the memory map", Some(domid))?;
        Ok(())
    }

    fn machine_memory_map(&self) -> Result<Vec<e820entry>> {
        let mut list = vec![e820entry::default(); MAP_ENTRIES];
        let mut arg = abi::xen_memory_map {
            nr_entries: MAP_ENTRIES as u32,
            ..Default::default()
        };
        let handle = offset_of!(abi::xen_memory_map, buffer);
        let handles = vec![(handle, Block::output(list.as_mut_slice().as_mut_bytes()))];
        operation(
            self,
            abi::__HYPERVISOR_memory_op,
            abi::XENMEM_machine_memory_map,
            &mut arg,
            handles,
        )
        .named("get the machine's memory map", None)?;
        list.truncate(arg.nr_entries as usize);
        Ok(list)
    }

    fn maximum_gpfn(&self, domid: DomId) -> Result<u64> {
        let mut arg = abi::xen_memory_domain { domid };
        let answer = operation(
            self,
            abi::__HYPERVISOR_memory_op,
            abi::XENMEM_maximum_gpfn,
            &mut arg,
            vec![],
        );
        answer.map(|pfn| pfn as u64).named("get the highest frame", Some(domid))
    }

    fn pin_tables(&self, domid: DomId, tables: &[(PinLevel, u64)]) -> Result<()> {
        let operations: Vec<mmuext_op> = tables
            .iter()
            .map(|(level, mfn)| mmuext_op {
                cmd: match level {
                    PinLevel::L1 => abi::MMUEXT_PIN_L1_TABLE,
                    PinLevel::L2 => abi::MMUEXT_PIN_L2_TABLE,
                    PinLevel::L3 => abi::MMUEXT_PIN_L3_TABLE,
                    PinLevel::L4 => abi::MMUEXT_PIN_L4_TABLE,
                },
                arg1: *mfn,
                ..Default::default()
            })
            .collect();
        mmuext(self, domid, &operations).named("pin page tables", Some(domid))
    }

    fn unpin_tables(&self, domid: DomId, mfns: &[u64]) -> Result<()> {
        let operations: Vec<mmuext_op> = mfns
            .iter()
            .map(|mfn| mmuext_op {
                cmd: abi::MMUEXT_UNPIN_TABLE,
                arg1: *mfn,
                ..Default::default()
            })
            .collect();
        mmuext(self, domid, &operations).named("unpin page tables", Some(domid))
    }

    fn map_foreign(&self, domid: DomId, mfns: &[u64], writable: bool) -> Result<D::Mapping> {
        self.map_frames(domid, mfns, writable).named("map memory", Some(domid))
    }

    fn map_resource(&self, domid: DomId, what: Resource, index: u32, count: usize) -> Result<D::Mapping> {
        self.map_resource_frames(domid, what, index, count)
            .named("map a resource", Some(domid))
    }
}
