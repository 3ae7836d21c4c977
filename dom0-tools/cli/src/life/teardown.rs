//! Taking a domain away with everything that was made for it. Each step may find its work done already: whoever died
//! in the middle, the next one goes on.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use xenctrl::{DomId, DomainInfo, Hypervisor};
use xenstore_client::{Client, Store};
use xl_config::Uuid;

use super::Tools;
use super::devices::presence::Presence;
use super::devices::remove;
use super::layout::{domain_path, toolstack_path, vm_path};
use crate::message;

/// How long the kernel may take to let go of devices.
const RELEASE_TIME: Duration = Duration::from_secs(20);
/// How long a dead domain may take until its last frame is back.
const DEATH_TIME: Duration = Duration::from_secs(10);

/// Takes away the domain with `uuid`, wherever the making of it had come to. `domid` is the number it is remembered
/// by. The record is the caller's to remove.
pub fn tear_down(tools: Tools<'_>, store: &mut Client, uuid: Uuid, domid: Option<DomId>) -> Result<()> {
    let living = find(tools.hypervisor, uuid)?;
    let remembered = domid.filter(|&domid| belongs_to(store, domid, uuid).unwrap_or(false));
    let number = living.as_ref().map(|info| info.domid).or(remembered);
    if let Some(domid) = number {
        take_apart(tools.hypervisor, store, domid, living.is_some())?;
    }
    store.transaction(|store| {
        store.remove(&vm_path(uuid))?;
        remove::prune_upwards(store, &vm_path(uuid), 1)
    })?;
    tools.records.libxl().remove(number, uuid)?;
    if let Some(info) = living {
        wait_gone(tools.hypervisor, store, info.domid, uuid)?;
    }
    Ok(())
}

/// The domain with that UUID, be it alive or dying.
pub fn find(hypervisor: &dyn Hypervisor, uuid: Uuid) -> Result<Option<DomainInfo>> {
    Ok(hypervisor.list_domains(1)?.into_iter().find(|info| info.uuid == uuid.0))
}

/// Whether what the store has under a number is this domain's, and not that of a later one with the same number.
fn belongs_to(store: &mut impl Store, domid: DomId, uuid: Uuid) -> Result<bool> {
    let vm = store.read_optional(&format!("{}/vm", domain_path(domid)))?;
    Ok(vm.is_none_or(|vm| vm == vm_path(uuid)))
}

fn take_apart(hypervisor: &dyn Hypervisor, store: &mut Client, domid: DomId, is_living: bool) -> Result<()> {
    let devices = remove::devices_of(store, domid)?;
    let presence = Presence::new();
    remove::begin(store, &devices)?;
    if is_living {
        match hypervisor.destroy_domain(domid) {
            Err(error) if !error.is_no_domain() => return Err(error).context("the domain cannot be destroyed"),
            _ => {}
        }
    }
    let released = remove::forget(store, &presence, &devices, Instant::now() + RELEASE_TIME);
    store.transaction(|store| {
        store.remove(&domain_path(domid))?;
        store.remove(&toolstack_path(domid))?;
        remove::prune_upwards(store, &toolstack_path(domid), 1)?;
        for class in ["console", "vbd", "vif", "qdisk"] {
            for (root, levels) in [("/local/domain/0/backend", 2), ("/local/domain/0/error/backend", 3)] {
                let path = format!("{root}/{class}/{domid}");
                store.remove(&path)?;
                remove::prune_upwards(store, &path, levels)?;
            }
        }
        Ok(())
    })?;
    released
}

/// Waits until the hypervisor has the last frame back; tells it when that takes too long.
fn wait_gone(hypervisor: &dyn Hypervisor, store: &mut Client, domid: DomId, uuid: Uuid) -> Result<()> {
    const TOKEN: &str = "xlr-gone";
    let end = Instant::now() + DEATH_TIME;
    if !is_there(hypervisor, domid, uuid)? {
        return Ok(());
    }
    store.watch("@releaseDomain", TOKEN)?;
    let result = loop {
        match is_there(hypervisor, domid, uuid) {
            Ok(true) => {}
            other => break other.map(|_| true),
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break Ok(false);
        }
        // The end of a domain's last frame is announced, but not on every hypervisor at once.
        if let Err(error) = store.wait_event(Some(left.min(Duration::from_millis(250)))) {
            break Err(error.into());
        }
    };
    store.unwatch("@releaseDomain", TOKEN)?;
    if !result? {
        message::warn(format_args!(
            "domain {domid} is dead, but some of its memory is still mapped; see xlr list"
        ));
    }
    Ok(())
}

fn is_there(hypervisor: &dyn Hypervisor, domid: DomId, uuid: Uuid) -> Result<bool> {
    match hypervisor.domain_info(domid) {
        Ok(info) => Ok(info.uuid == uuid.0),
        Err(error) if error.is_no_domain() => Ok(false),
        Err(error) => Err(error.into()),
    }
}
