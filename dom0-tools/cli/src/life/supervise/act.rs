//! Carrying out what was decided, one domain at a time, each under its lock.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use xenctrl::{DomId, DomainInfo};
use xenstore_client::{Client, Store};
use xl_config::Uuid;

use super::decide::{Decision, decide};
use super::known::Known;
use super::{Reasons, remove_stale_locks};
use crate::life::create::{Request, create, create_locked};
use crate::life::devices::{blkd, remove};
use crate::life::layout::{domain_path, vm_path};
use crate::life::record::{BuildLock, Record, Records, Stage, boot_id};
use crate::life::teardown::{find, tear_down};
use crate::life::{DEVICE_TIME, Tools, random};
use crate::lookup;
use crate::{failure, message};

/// Looks at the domains that there is a reason to look at. What fails is told, and tried again at the next look.
pub fn look(tools: Tools<'_>, store: &mut Client, known: &mut Known, reasons: &Reasons) {
    for &uuid in &reasons.locks {
        let looked = wait_for_let_go(tools.records, uuid).and_then(|lock| look_after(tools, store, uuid, lock));
        if let Err(error) = looked {
            tell(&error.context(uuid.to_string()));
        }
    }
    if reasons.all {
        look_after_all(tools, store, known);
    }
}

fn look_after_all(tools: Tools<'_>, store: &mut Client, known: &mut Known) {
    let wanting = match find_wanting(tools, known) {
        Ok(wanting) => wanting,
        Err(error) => return tell(&error),
    };
    for (uuid, name) in wanting {
        let lock = tools.records.lock_quietly(uuid);
        if let Err(error) = lock.and_then(|lock| look_after(tools, store, uuid, lock)) {
            tell(&error.context(name));
        }
    }
    remove_stale_locks(tools.records);
    if let Err(error) = keep_block_backend(store) {
        tell(&error);
    }
}

/// The domains for which there may be something to do: seen without their locks, so it is decided again under them. What
/// changes behind this look wakes us.
fn find_wanting(tools: Tools<'_>, known: &mut Known) -> Result<Vec<(Uuid, String)>> {
    known.refresh(tools.records)?;
    let domains = tools.hypervisor.list_domains(1)?;
    let domains: BTreeMap<[u8; 16], &DomainInfo> = domains.iter().map(|info| (info.uuid, info)).collect();
    let boot = boot_id();
    let wanting = known
        .records()
        .filter(|record| decide(record, domains.get(&record.uuid.0).copied(), &boot) != Decision::Leave);
    Ok(wanting
        .map(|record| (record.uuid, record.config.name.clone()))
        .collect())
}

/// The lock that somebody has just let go of; none where another has it by now. When a process dies the kernel tells that
/// its file is closed a moment before it undoes the lock, and says nothing more.
fn wait_for_let_go(records: &Records, uuid: Uuid) -> Result<Option<BuildLock>> {
    const TRIES: u32 = 10;
    const PAUSE: Duration = Duration::from_millis(5);
    for _ in 1..TRIES {
        if let Some(lock) = records.lock_quietly(uuid)? {
            return Ok(Some(lock));
        }
        std::thread::sleep(PAUSE);
    }
    records.lock_quietly(uuid)
}

fn tell(error: &anyhow::Error) {
    message::say(format_args!("supervise: {}", failure::text(error)));
}

/// Starts the block backend again where it has ended and disks wait for it: guests do not notice.
fn keep_block_backend(store: &mut Client) -> Result<()> {
    let has_disks = !store.directory_or_empty("/local/domain/0/backend/qdisk")?.is_empty();
    if has_disks && !cfg!(test) {
        blkd::ensure()
    } else {
        Ok(())
    }
}

fn look_after(tools: Tools<'_>, store: &mut Client, uuid: Uuid, lock: Option<BuildLock>) -> Result<()> {
    // Whoever holds the lock is at work on the domain, and letting go of it wakes us.
    let Some(lock) = lock else { return Ok(()) };
    let Some(record) = tools.records.load(uuid)? else {
        lock.release();
        return Ok(());
    };
    let domain = match record.domid.and_then(|domid| tools.hypervisor.domain_info(domid).ok()) {
        Some(info) if info.uuid == uuid.0 => Some(info),
        _ => find(tools.hypervisor, uuid)?,
    };
    let decision = decide(&record, domain.as_ref(), &boot_id());
    if decision != Decision::Leave {
        let number = record
            .domid
            .map_or_else(String::new, |domid| format!(" (domain {domid})"));
        let reason = domain.and_then(|info| info.shutdown);
        let reason = reason.map_or_else(String::new, |reason| format!(" after {reason:?}"));
        message::say(format_args!(
            "supervise: {}{number}: {decision:?}{reason}",
            record.config.name
        ));
    }
    match decision {
        Decision::Leave => {}
        Decision::Forget => tools.records.remove(uuid)?,
        Decision::TakeAway => {
            tear_down(tools, store, uuid, record.domid)?;
            tools.records.remove(uuid)?;
        }
        Decision::Preserve => preserve(tools, store, record)?,
        Decision::RenameRestart => rename_restart(tools, store, record)?,
        Decision::Restart => return restart(tools, store, record, lock),
    }
    lock.release();
    Ok(())
}

fn preserve(tools: Tools<'_>, store: &mut Client, mut record: Record) -> Result<()> {
    record.stage = Stage::Preserved;
    tools.records.save(&record)?;
    if let Some(domid) = record.domid {
        release_devices(store, domid)?;
    }
    Ok(())
}

/// A domain that is kept for examination no longer needs its devices; its successor may.
fn release_devices(store: &mut Client, domid: DomId) -> Result<()> {
    let devices = remove::devices_of(store, domid)?;
    remove::take_away(store, &devices, DEVICE_TIME)
}

fn restart(tools: Tools<'_>, store: &mut Client, mut record: Record, lock: BuildLock) -> Result<()> {
    let uuid = record.uuid;
    record.stage = Stage::Restarting;
    tools.records.save(&record)?;
    tear_down(tools, store, uuid, record.domid)?;
    let request = request_of(record);
    let created = create_locked(tools, store, request, lock);
    if created.is_err() {
        // It will not succeed by itself: what is left is told, and not tried for ever.
        tools.records.remove(uuid)?;
    }
    created.map(drop).context("it cannot be made again")
}

fn request_of(record: Record) -> Request {
    let mut config = record.next_config.unwrap_or(record.config);
    config.uuid = Some(record.uuid);
    Request {
        config,
        source: record.source,
        paused: false,
    }
}

fn rename_restart(tools: Tools<'_>, store: &mut Client, mut record: Record) -> Result<()> {
    let successor = record.clone();
    let domid = record.domid.context("it has no number")?;
    record.config.name = free_name(tools, store, &record.config.name)?;
    record.stage = Stage::Preserved;
    store.transaction(|store| {
        store.write(&format!("{}/name", domain_path(domid)), &record.config.name)?;
        store.write(&format!("{}/name", vm_path(record.uuid)), &record.config.name)
    })?;
    tools.records.save(&record)?;
    release_devices(store, domid)?;
    let mut request = request_of(successor);
    request.config.uuid = Some(random::uuid()?);
    create(tools, store, request)
        .map(drop)
        .context("its successor cannot be made")
}

/// `name-1` or the next that is free, as xl names them.
fn free_name(tools: Tools<'_>, store: &mut Client, name: &str) -> Result<String> {
    for number in 1..u32::MAX {
        let candidate = format!("{name}-{number}");
        if lookup::by_name(tools.hypervisor, store, &candidate)?.is_none() {
            return Ok(candidate);
        }
    }
    anyhow::bail!("all names after {name} are taken")
}
