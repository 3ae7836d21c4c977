//! Names of domains: no two have the same, and whoever gives one sees to that in one transaction of the store.

use anyhow::{Result, bail};
use xenctrl::DomId;
use xenstore_client::{Client, Store};
use xl_config::Uuid;

use super::Tools;
use super::layout::{domain_path, vm_path};
use crate::lookup;

/// The number under which the store has a domain of that name.
pub fn owner(store: &mut impl Store, name: &str) -> xenstore_client::Result<Option<DomId>> {
    let list = store.directory_or_empty("/local/domain")?;
    let domids: Vec<DomId> = list.iter().filter_map(|number| number.parse().ok()).collect();
    let names = lookup::names_of(store, &domids)?;
    let owner = names.iter().position(|found| found.as_deref() == Some(name));
    Ok(owner.map(|at| domids[at]))
}

/// Calls a domain `name` from now on, in the store and in its record.
///
/// # Errors
/// Another domain has the name; the store's and the record's.
pub fn give(tools: Tools<'_>, store: &mut Client, domid: DomId, uuid: Uuid, name: &str) -> Result<()> {
    let other = store.transaction(|store| {
        if let Some(owner) = owner(store, name)?.filter(|owner| *owner != domid) {
            return Ok(Some(owner));
        }
        store.write(&format!("{}/name", domain_path(domid)), name)?;
        if store.exists(&vm_path(uuid))? {
            store.write(&format!("{}/name", vm_path(uuid)), name)?;
        }
        Ok(None)
    })?;
    if let Some(owner) = other {
        bail!("the name {name:?} is taken by domain {owner}");
    }
    if let Some(mut record) = tools.records.load(uuid)? {
        name.clone_into(&mut record.config.name);
        tools.records.save(&record)?;
    }
    Ok(())
}
