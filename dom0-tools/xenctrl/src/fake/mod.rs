//! A hypervisor inside of a test: domains are entries of a map, machine memory is a temporary file.
//!
//! It refuses what the real one refuses as far as tools can run into it: domains that do not exist, memory past a
//! limit, foreign frames, page tables that break the rules of typing (see `tables`).

mod domain;
mod machine;
mod memory;
mod migration;
mod tables;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use privcmd::{DomId, Mapping, PAGE_SIZE, Port};
use xen_abi::{Errno, vcpu_guest_context};

use crate::CpuMap;
use crate::{CpuPolicy, DomainInfo, EventStatus, PinLevel, SchedParams, TscInfo};
use crate::{Result, refusal};

/// The fake. All its state is behind a lock, so that it can be shared as the real one is.
#[derive(Debug)]
pub struct Fake {
    memory: File,
    cpus: usize,
    state: Mutex<State>,
}

/// What a domain of the fake consists of.
#[derive(Debug)]
pub(crate) struct FakeDomain {
    info: DomainInfo,
    /// pfn to mfn, as populated.
    p2m: BTreeMap<u64, u64>,
    contexts: BTreeMap<u32, Box<vcpu_guest_context>>,
    ports: Vec<EventStatus>,
    /// Level of each pinned table.
    pinned: BTreeMap<u64, PinLevel>,
    parts: BTreeMap<(u32, u8), Vec<u8>>,
    tsc: TscInfo,
    policy: CpuPolicy,
    logs_dirty: bool,
    dirty: BTreeSet<u64>,
    grant_frames: Vec<u64>,
    max_grant_frames: u32,
    affinity: BTreeMap<u32, (CpuMap, CpuMap)>,
    sched: SchedParams,
    max_evtchn_port: Port,
    pauses: u32,
}

#[derive(Debug)]
pub(crate) struct State {
    /// Owner of each machine frame.
    owners: Vec<Option<DomId>>,
    domains: BTreeMap<DomId, FakeDomain>,
    next_domid: DomId,
    failures: BTreeMap<&'static str, Errno>,
    /// Largest extent that populate gives, as an order.
    largest_order: u32,
    console: Vec<u8>,
    debug_keys: String,
    sched_global: (u32, u32),
}

fn refused(errno: Errno) -> io::Error {
    io::Error::from_raw_os_error(errno.0.into())
}

impl Fake {
    /// A machine with so many pages and CPUs, and a Dom0 that needs none of them.
    ///
    /// # Panics
    /// Where no temporary file can be made.
    pub fn new(pages: usize, cpus: usize) -> Self {
        let memory = tempfile::tempfile().expect("a temporary file for machine memory");
        memory
            .set_len((pages * PAGE_SIZE) as u64)
            .expect("room for machine memory");
        let fake = Self {
            memory,
            cpus,
            state: Mutex::new(State {
                owners: vec![None; pages],
                domains: BTreeMap::new(),
                next_domid: 1,
                failures: BTreeMap::new(),
                largest_order: 9,
                console: b"(XEN) fake\n".to_vec(),
                debug_keys: String::new(),
                sched_global: (0, 1000),
            }),
        };
        fake.lock().domains.insert(0, FakeDomain::new(0, [0; 16]));
        fake
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on operation `action` (the words of its error after "cannot") fails with `errno`.
    pub fn fail(&self, action: &'static str, errno: Errno) {
        self.lock().failures.insert(action, errno);
    }

    /// Memory is fragmented: no extent above this order.
    pub fn limit_extents(&self, order: u32) {
        self.lock().largest_order = order;
    }

    /// Free pages.
    pub fn free_pages(&self) -> usize {
        self.lock().owners.iter().filter(|owner| owner.is_none()).count()
    }

    /// Machine frame of a domain's frame.
    pub fn mfn(&self, domid: DomId, pfn: u64) -> Option<u64> {
        self.lock().domains.get(&domid)?.p2m.get(&pfn).copied()
    }

    /// Bytes of a machine frame.
    ///
    /// # Panics
    /// For a frame that the machine does not have.
    pub fn frame(&self, mfn: u64) -> [u8; PAGE_SIZE] {
        let mut bytes = [0; PAGE_SIZE];
        let page = Mapping::of_pages(&self.memory, &[mfn], false).expect("a frame of the machine");
        page.read(0, &mut bytes);
        bytes
    }

    /// A domain shuts down by itself.
    pub fn guest_shuts_down(&self, domid: DomId, reason: crate::ShutdownReason) {
        if let Some(domain) = self.lock().domains.get_mut(&domid) {
            domain.info.shutdown = Some(reason);
        }
    }

    /// Debug keys that were pressed.
    pub fn debug_keys(&self) -> String {
        self.lock().debug_keys.clone()
    }

    /// Runs an operation on a domain, unless it was told to fail.
    fn on_domain<T>(
        &self,
        action: &'static str,
        domid: DomId,
        run: impl FnOnce(&mut FakeDomain) -> io::Result<T>,
    ) -> Result<T> {
        self.on_state(action, Some(domid), |state| {
            run(state.domains.get_mut(&domid).ok_or_else(|| refused(Errno::ESRCH))?)
        })
    }

    fn on_state<T>(
        &self,
        action: &'static str,
        domid: Option<DomId>,
        run: impl FnOnce(&mut State) -> io::Result<T>,
    ) -> Result<T> {
        let mut state = self.lock();
        let result = match state.failures.get(action) {
            Some(errno) => Err(refused(*errno)),
            None => run(&mut state),
        };
        result.map_err(|error| refusal(action, domid, error))
    }
}

impl FakeDomain {
    fn new(domid: DomId, uuid: [u8; 16]) -> Self {
        Self {
            info: DomainInfo {
                domid,
                uuid,
                dying: false,
                shutdown: None,
                paused: domid != 0,
                blocked: false,
                running: domid == 0,
                debugged: false,
                is_hvm: false,
                is_xenstore_domain: false,
                flags: 0,
                tot_pages: 0,
                max_pages: 0,
                outstanding_pages: 0,
                shr_pages: 0,
                paged_pages: 0,
                shared_info_frame: 0,
                cpu_time: 0,
                online_vcpus: u32::from(domid == 0),
                max_vcpu_id: if domid == 0 { 0 } else { u32::MAX },
                ssidref: 0,
                cpupool: 0,
            },
            p2m: BTreeMap::new(),
            contexts: BTreeMap::new(),
            ports: Vec::new(),
            pinned: BTreeMap::new(),
            parts: BTreeMap::new(),
            tsc: TscInfo::default(),
            policy: CpuPolicy::default(),
            logs_dirty: false,
            dirty: BTreeSet::new(),
            grant_frames: Vec::new(),
            max_grant_frames: 64,
            affinity: BTreeMap::new(),
            sched: SchedParams { weight: 256, cap: 0 },
            max_evtchn_port: 1023,
            pauses: u32::from(domid != 0),
        }
    }
}

impl State {
    /// Finds a free, aligned run of `count` frames and gives it to `domid`.
    fn allocate(&mut self, domid: DomId, count: usize) -> Option<u64> {
        let starts = (0..self.owners.len()).step_by(count);
        let is_free = |start: &usize| {
            let run = self.owners.get(*start..*start + count);
            run.is_some_and(|run| run.iter().all(Option::is_none))
        };
        let start = starts.into_iter().find(is_free)?;
        self.owners[start..start + count].fill(Some(domid));
        Some(start as u64)
    }

    fn owner(&self, mfn: u64) -> Option<DomId> {
        *self.owners.get(usize::try_from(mfn).ok()?)?
    }
}
