//! What attaching and detaching have in common with each other and not with making a domain.

use anyhow::{Context, Result};
use xenctrl::{DomId, Hypervisor};
use xenstore_client::Store;
use xl_config::{DomainConfig, Uuid};

use super::Tools;
use crate::lookup;

/// The domain that serves a device; Domain-0 where none is named.
pub fn backend_domid(hypervisor: &dyn Hypervisor, store: &mut impl Store, name: Option<&str>) -> Result<DomId> {
    let Some(name) = name else { return Ok(0) };
    let found = lookup::find(hypervisor, store, name)?;
    found.with_context(|| format!("backend={name}: there is no such domain; start it first"))
}

/// Changes what a domain is made of at its next restart. Domains of other toolstacks have no record.
pub fn remember(tools: Tools<'_>, uuid: Uuid, change: impl Fn(&mut DomainConfig)) -> Result<()> {
    let Some(mut record) = tools.records.load(uuid)? else {
        return Ok(());
    };
    change(&mut record.config);
    if let Some(next) = &mut record.next_config {
        change(next);
    }
    tools.records.save(&record)
}
