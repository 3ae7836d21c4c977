//! A whole saved domain: xl's header, libxl's stream around libxc's.

use std::io::{Read, Write};

use anyhow::{Context, Result, bail, ensure};
use migration_stream::{Source, libxl, xl};
use xenctrl::{DomId, Hypervisor};
use xenstore_client::{Client, Store};
use xl_config::{DomainConfig, Uuid};

use super::progress::Progress;
use super::send::{Took, send};
use super::{libxl_config, receive};
use crate::life::Tools;
use crate::life::create::{Created, Request, create_filled};
use crate::life::layout::domain_path;
use crate::life::record::Records;
use crate::view::{domains::Domain, long_list};

/// The configuration that a domain is saved with, as JSON: what it was made from and what has changed since.
pub fn configuration(
    hypervisor: &dyn Hypervisor,
    store: &mut Client,
    records: &Records,
    domid: DomId,
) -> Result<Vec<u8>> {
    let info = hypervisor.domain_info(domid)?;
    ensure!(!info.is_hvm, "only paravirtual guests can be saved");
    let value = match records.load(Uuid(info.uuid))? {
        Some(record) => libxl_config::write(&current(store, domid, record.config)?)?,
        None => {
            let name = store.read_optional(&format!("{}/name", domain_path(domid)))?;
            long_list::configuration(hypervisor, store, &Domain { info, name })?
        }
    };
    serde_json::to_vec_pretty(&value).context("the configuration cannot be written as JSON")
}

/// What was changed while the domain ran.
fn current(store: &mut Client, domid: DomId, mut config: DomainConfig) -> Result<DomainConfig> {
    let path = domain_path(domid);
    if let Some(name) = store.read_optional(&format!("{path}/name"))? {
        config.name = name;
    }
    let target = store.read_optional(&format!("{path}/memory/target"))?;
    if let Some(kib) = target.and_then(|text| text.trim().parse().ok()).filter(|kib| *kib != 0) {
        config.memory_kib = kib;
        config.max_memory_kib = config.max_memory_kib.max(kib);
    }
    let mut online = 0;
    for vcpu in 0..config.max_vcpus {
        let word = store.read_optional(&format!("{path}/cpu/{vcpu}/availability"))?;
        online += u32::from(word.as_deref() == Some("online"));
    }
    config.vcpus = online.clamp(1, config.max_vcpus);
    Ok(config)
}

/// Writes libxl's stream of a domain.
pub fn write(
    hypervisor: &dyn Hypervisor,
    domid: DomId,
    to: &mut impl Write,
    progress: &mut Progress,
    live: bool,
    suspend: &mut dyn FnMut() -> Result<()>,
) -> Result<Took> {
    libxl::write_header(to)?;
    libxl::write_libxc(to)?;
    let took = send(hypervisor, domid, to, progress, live, suspend)?;
    libxl::write_end(to)?;
    to.flush()?;
    Ok(took)
}

/// Reads header and configuration of a saved domain.
pub fn read_configuration<R: Read>(from: &mut Source<R>) -> Result<(DomainConfig, xl::Header)> {
    let header = xl::read(from)?;
    Ok((libxl_config::read(&header.config)?, header))
}

/// Makes the domain whose libxl stream follows.
pub fn restore<R: Read>(
    tools: Tools<'_>,
    store: &mut Client,
    request: Request,
    from: &mut Source<R>,
    progress: &mut Progress,
) -> Result<Created> {
    libxl::read_header(from)?;
    let mut filled = false;
    create_filled(tools, store, request, &mut |hypervisor, domid, config| {
        ensure!(!filled, "the stream was read already");
        filled = true;
        let limits = (config.max_vcpus, config.max_memory_kib / 4);
        let mut rings = None;
        loop {
            match libxl::read_record(from)? {
                libxl::Record::Libxc if rings.is_none() => {
                    rings = Some(receive::receive(hypervisor, domid, limits, from, progress)?);
                }
                libxl::Record::Libxc => bail!("the stream has two domains"),
                libxl::Record::End => break,
                libxl::Record::Emulator | libxl::Record::CheckpointEnd | libxl::Record::Unknown(_) => {}
            }
        }
        rings.context("the stream has no domain")
    })
    .context("the domain cannot be restored")
}
