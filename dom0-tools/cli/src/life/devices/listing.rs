//! What the store says of the two ends of a device.

use anyhow::Result;
use serde::Serialize;
use xenctrl::DomId;
use xenstore_client::{Client, Store};

use super::{Class, Device, remove};
use crate::context::Context;
use crate::lookup;

/// The two ends of a device.
#[derive(Clone, Debug, Serialize)]
pub struct Ends {
    /// The domain that serves it.
    pub backend_id: DomId,
    /// The domain that uses it.
    pub frontend_id: DomId,
    /// State of the frontend; -1 where it has none.
    pub state: i64,
    /// Port of the frontend, -1 where it has none or several.
    pub event_channel: i64,
    /// Grants of its rings: one for a disk, transmit and receive for an interface.
    pub ring_ref: Vec<i64>,
    /// Directory of the backend.
    pub backend_path: String,
}

impl Ends {
    /// A node of the backend, empty where it is missing.
    pub fn backend_value(&self, store: &mut impl Store, name: &str) -> Result<String> {
        Ok(store
            .read_optional(&format!("{}/{name}", self.backend_path))?
            .unwrap_or_default())
    }
}

/// A row for each device of the named domains that `wanted` says yes to; `row` makes it of the domain's name, the device
/// and its ends.
///
/// # Errors
/// There is no such domain; the store's.
pub fn rows<R>(
    context: &mut Context,
    domains: &[String],
    wanted: impl Fn(Class) -> bool,
    mut row: impl FnMut(&mut Client, &str, &Device, Ends) -> Result<R>,
) -> Result<Vec<R>> {
    let mut rows = Vec::new();
    for domain in domains {
        let domid = lookup::domain(context, domain)?;
        let store = context.store()?;
        let devices = remove::devices_of(store, domid)?;
        for device in devices.iter().filter(|device| wanted(device.class)) {
            let ends = ends(store, device)?;
            rows.push(row(store, domain, device, ends)?);
        }
    }
    Ok(rows)
}

/// Reads both ends of `device`.
fn ends(store: &mut impl Store, device: &Device) -> Result<Ends> {
    let frontend = device.frontend();
    let mut number = |name: &str| -> Result<i64> {
        let text = store.read_optional(&format!("{frontend}/{name}"))?;
        Ok(text.and_then(|text| text.parse().ok()).unwrap_or(-1))
    };
    let rings: &[&str] = if device.class == Class::Vif {
        &["tx-ring-ref", "rx-ring-ref"]
    } else {
        &["ring-ref"]
    };
    Ok(Ends {
        backend_id: device.backend_domid,
        frontend_id: device.domid,
        state: number("state")?,
        event_channel: number("event-channel")?,
        ring_ref: rings.iter().map(|name| number(name)).collect::<Result<_>>()?,
        backend_path: device.backend(),
    })
}
