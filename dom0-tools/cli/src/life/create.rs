//! Making a domain. The order is such that whatever fails, or is killed, leaves nothing that is not remembered.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use xenctrl::{CreateDomain, DomId, Hypervisor};
use xenstore_client::{Client, Store};
use xl_config::{DomainConfig, TscMode, Uuid};

use super::devices::disk::PreparedDisk;
use super::devices::presence::Presence;
use super::devices::vif::PreparedVif;
use super::image::Image;
use super::layout::Rings;
use super::record::{BuildLock, Record, Stage, boot_id};
use super::settle::settle;
use super::teardown::{find, tear_down};
use super::{DEVICE_TIME, Tools, attach, layout, name, tune};
use crate::message;

/// What libxl lets a domain have beyond its memory, in KiB: rings and page tables of its own kernel.
const SLACK_KIB: u64 = 1024;

/// A domain to be made.
pub struct Request {
    /// Its configuration.
    pub config: DomainConfig,
    /// The file it came from.
    pub source: String,
    /// Whether it stays paused.
    pub paused: bool,
}

/// Fills the memory of a domain that is empty, and sets its vcpus up; where its rings are.
pub type Fill<'a> = &'a mut dyn FnMut(&dyn Hypervisor, DomId, &DomainConfig) -> Result<Rings>;

/// A domain that was made.
#[derive(Clone, Debug)]
pub struct Created {
    /// Its number.
    pub domid: DomId,
    /// Its UUID.
    pub uuid: Uuid,
}

/// Makes a domain. On an error nothing of it is left.
pub fn create(tools: Tools<'_>, store: &mut Client, mut request: Request) -> Result<Created> {
    let uuid = settle(&mut request.config)?;
    // Usually nobody has it; the supervisor may be just looking whether somebody has.
    let lock = tools.records.wait_for_lock(uuid)?;
    create_locked(tools, store, request, lock)
}

/// As [`create`], for a caller who holds the domain's lock; it is free at the end.
pub fn create_locked(tools: Tools<'_>, store: &mut Client, request: Request, lock: BuildLock) -> Result<Created> {
    let result = boot(tools, store, request);
    lock.release();
    result
}

/// Makes a domain whose memory `fill` brings, from a saved one. On an error nothing of it is left.
pub fn create_filled(tools: Tools<'_>, store: &mut Client, mut request: Request, fill: Fill<'_>) -> Result<Created> {
    let uuid = settle(&mut request.config)?;
    let lock = tools.records.wait_for_lock(uuid)?;
    let result = make(tools, store, request, fill);
    lock.release();
    result
}

fn boot(tools: Tools<'_>, store: &mut Client, request: Request) -> Result<Created> {
    let image = Image::load(&request.config.boot, tools.kernels)?;
    make(tools, store, request, &mut |hypervisor, domid, config| {
        image
            .place(hypervisor, domid, config)
            .context("the guest cannot be built")
    })
}

fn make(tools: Tools<'_>, store: &mut Client, mut request: Request, fill: Fill<'_>) -> Result<Created> {
    let uuid = settle(&mut request.config)?;
    if find(tools.hypervisor, uuid)?.is_some() {
        bail!("there is a domain with UUID {uuid} already; leave uuid= out, or destroy that one");
    }
    check_memory(tools.hypervisor, &request.config)?;
    let record = Record {
        uuid,
        domid: None,
        stage: Stage::Building,
        boot_id: boot_id(),
        source: request.source,
        config: request.config,
        next_config: None,
    };
    tools.records.save(&record)?;
    let mut creation = Creation { tools, store, record };
    match creation.run(fill, request.paused) {
        Ok(domid) => Ok(Created { domid, uuid }),
        Err(error) => {
            let domid = creation.record.domid;
            match tear_down(tools, store, uuid, domid).and_then(|()| tools.records.remove(uuid)) {
                Ok(()) => Err(error),
                Err(second) => {
                    Err(error.context(format!("and what was made so far could not be taken away: {second:#}")))
                }
            }
        }
    }
}

fn check_memory(hypervisor: &dyn Hypervisor, config: &DomainConfig) -> Result<()> {
    let info = hypervisor.phys_info()?;
    let free_kib = info.free_pages.saturating_sub(info.outstanding_pages) * 4;
    if free_kib < config.memory_kib + SLACK_KIB {
        let missing = (config.memory_kib + SLACK_KIB - free_kib).div_ceil(1024);
        bail!(
            "memory: {} MiB are asked for and {} MiB are free; take {missing} MiB from Domain-0 with xlr mem-set 0, or ask for less",
            config.memory_kib / 1024,
            free_kib / 1024
        );
    }
    Ok(())
}

struct Creation<'a> {
    tools: Tools<'a>,
    store: &'a mut Client,
    record: Record,
}

impl Creation<'_> {
    fn run(&mut self, fill: Fill<'_>, paused: bool) -> Result<DomId> {
        let hypervisor = self.tools.hypervisor;
        let domid = self.make_empty()?;
        let (disks, vifs) = self.announce(domid)?;
        let notes = self.tools.records.libxl();
        notes.write(domid, self.record.uuid, &self.record.config)?;
        let rings = fill(hypervisor, domid, &self.record.config)?;
        message::detail(format_args!("domain {domid} has its memory"));
        self.introduce(domid, &rings)?;
        self.finish_devices(disks, vifs)?;
        message::detail(format_args!(
            "domain {domid} is known to xenstored, its backends are ready"
        ));
        tune::tune(hypervisor, domid, &self.record.config)?;
        if !paused {
            hypervisor.unpause_domain(domid)?;
        }
        // Only a record that says so keeps the supervisor from cleaning up.
        self.record.stage = Stage::Running;
        self.tools.records.save(&self.record)?;
        Ok(domid)
    }

    /// A domain without memory.
    fn make_empty(&mut self) -> Result<DomId> {
        let (hypervisor, config) = (self.tools.hypervisor, &self.record.config);
        let mut with = CreateDomain::new(self.record.uuid.0, config.max_vcpus);
        let limits = &config.limits;
        if let Some(highest) = limits.event_channels {
            with.max_evtchn_port = highest;
        }
        if let Some(frames) = limits.grant_frames {
            with.max_grant_frames = i32::try_from(frames).context("max_grant_frames")?;
        }
        if let Some(frames) = limits.maptrack_frames {
            with.max_maptrack_frames = i32::try_from(frames).context("max_maptrack_frames")?;
        }
        if let Some(version) = limits.grant_version {
            with.max_grant_version = version;
        }
        let domid = hypervisor.create_domain(&with)?;
        let (vcpus, kib) = (config.max_vcpus, config.max_memory_kib + SLACK_KIB);
        let (tsc, offset) = (config.tsc_mode, config.rtc_offset_s);
        self.record.domid = Some(domid);
        self.tools.records.save(&self.record)?;
        hypervisor.set_max_vcpus(domid, vcpus)?;
        hypervisor.set_max_mem(domid, kib)?;
        match tsc {
            TscMode::Default => {}
            TscMode::AlwaysEmulate => hypervisor.set_tsc_info(domid, 1, 0, 0)?,
            TscMode::Native => hypervisor.set_tsc_info(domid, 2, 0, 0)?,
        }
        if offset != 0 {
            hypervisor.set_time_offset(domid, offset.into())?;
        }
        Ok(domid)
    }

    /// Everything in the store but the rings: backends begin their work while memory is filled.
    fn announce(&mut self, domid: DomId) -> Result<(Vec<PreparedDisk>, Vec<PreparedVif>)> {
        let config = self.record.config.clone();
        let mut disks = Vec::new();
        for (at, disk) in config.disks.iter().enumerate() {
            let backend = attach::backend_domid(self.tools.hypervisor, self.store, disk.backend.as_deref())?;
            let prepared = PreparedDisk::new(self.store, disk, domid, backend);
            disks.push(prepared.with_context(|| format!("{}: disk[{at}]", self.record.source))?);
        }
        let mut vifs = Vec::new();
        for (at, vif) in config.vifs.iter().enumerate() {
            let backend = attach::backend_domid(self.tools.hypervisor, self.store, vif.backend.as_deref())?;
            let prepared = PreparedVif::new(vif, domid, backend);
            vifs.push(prepared.with_context(|| format!("{}: vif[{at}]", self.record.source))?);
        }
        let base = layout::base(domid, self.record.uuid, &config, &start_time());
        let devices = disks
            .iter()
            .map(PreparedDisk::nodes)
            .chain(vifs.iter().map(PreparedVif::nodes));
        let devices: Vec<_> = devices.collect();
        let owner = self.store.transaction(|store| {
            // Read in the transaction, so that two who take the same name at once conflict.
            if let Some(owner) = name::owner(store, &config.name)?.filter(|&owner| owner != domid) {
                return Ok(Some(owner));
            }
            store.remove(&layout::domain_path(domid))?;
            base.write(store)?;
            devices.iter().try_for_each(|nodes| nodes.write(store))?;
            Ok(None)
        })?;
        match owner {
            Some(owner) => bail!(
                "the name {:?} is taken by domain {owner}; choose another, or destroy that one",
                config.name
            ),
            None => Ok((disks, vifs)),
        }
    }

    fn introduce(&mut self, domid: DomId, rings: &layout::Rings) -> Result<()> {
        let nodes = layout::rings(domid, rings);
        self.store.transaction(|store| nodes.write(store))?;
        let introduced = self.store.introduce(domid, rings.store_frame, rings.store_port);
        introduced.context("xenstored does not take the domain up")
    }

    fn finish_devices(&mut self, disks: Vec<PreparedDisk>, vifs: Vec<PreparedVif>) -> Result<()> {
        let presence = Presence::new();
        for (at, vif) in vifs.into_iter().enumerate() {
            let result = vif.finish(self.store, DEVICE_TIME);
            result.with_context(|| format!("{}: vif[{at}]", self.record.source))?;
        }
        for (at, disk) in disks.into_iter().enumerate() {
            let result = disk.finish(self.store, &presence, DEVICE_TIME);
            result.with_context(|| format!("{}: disk[{at}]", self.record.source))?;
        }
        Ok(())
    }
}

/// Now, as the store's `start_time` has it.
fn start_time() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{}.{:02}", now.as_secs(), now.subsec_millis() / 10)
}
