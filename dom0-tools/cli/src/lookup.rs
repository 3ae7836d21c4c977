//! From what a user calls a domain to its number, and back.

use anyhow::Result;
use xenctrl::{DomId, Hypervisor};
use xenstore_client::Store;

use crate::context::Context;
use crate::failure::Failure;

/// Domain numbers from here on mean something else (`DOMID_SELF` and its kin).
const FIRST_RESERVED: DomId = 0x7ff0;

/// The number of the domain called `text`: digits are a number, anything else a name. The domain exists.
pub fn domain(context: &mut Context, text: &str) -> Result<DomId> {
    let (hypervisor, store) = context.both()?;
    find(hypervisor, store, text)?.ok_or_else(|| unknown(text))
}

/// As [`domain`], none where there is no such domain.
pub fn find(hypervisor: &dyn Hypervisor, store: &mut impl Store, text: &str) -> Result<Option<DomId>> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return by_name(hypervisor, store, text);
    }
    let Some(domid) = text.parse().ok().filter(|&domid: &DomId| domid < FIRST_RESERVED) else {
        return Ok(None);
    };
    match hypervisor.domain_info(domid) {
        Ok(_) => Ok(Some(domid)),
        Err(error) if error.is_no_domain() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The number of the domain named `name`; digits are a name here.
pub fn by_name(hypervisor: &dyn Hypervisor, store: &mut impl Store, name: &str) -> Result<Option<DomId>> {
    let domids: Vec<DomId> = hypervisor.list_domains(0)?.iter().map(|info| info.domid).collect();
    let names = names_of(store, &domids)?;
    let owner = names.iter().position(|found| found.as_deref() == Some(name));
    Ok(owner.map(|at| domids[at]))
}

/// The names of domains, in their order; none where the store has none. Asked for together: with hundreds of domains the
/// ways to the daemon and back would cost more than all else that `xlr` does.
pub fn names_of(store: &mut impl Store, domids: &[DomId]) -> xenstore_client::Result<Vec<Option<String>>> {
    let paths: Vec<String> = domids
        .iter()
        .map(|domid| format!("/local/domain/{domid}/name"))
        .collect();
    let text = |value: Vec<u8>| String::from_utf8_lossy(&value).into_owned();
    Ok(store
        .read_each(&paths)?
        .into_iter()
        .map(|value| value.map(text))
        .collect())
}

/// A domain's name, none where the store has none.
pub fn name_of(store: &mut impl Store, domid: DomId) -> Result<Option<String>> {
    Ok(store.read_optional(&format!("/local/domain/{domid}/name"))?)
}

/// The failure of a command whose domain does not exist, in xl's words.
pub fn unknown(text: &str) -> anyhow::Error {
    Failure::new(
        1,
        format!("{text} is an invalid domain identifier (rc=-6); see xlr list"),
    )
}

/// Numbers of all guests, Domain-0 and the dying not among them.
pub fn guests(hypervisor: &dyn Hypervisor) -> Result<Vec<DomId>> {
    let domains = hypervisor.list_domains(1)?;
    let alive = domains.iter().filter(|info| info.domid != 0 && !info.dying);
    Ok(alive.map(|info| info.domid).collect())
}
