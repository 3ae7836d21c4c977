//! `list -l`: each domain's configuration as it is now, as JSON in the form that xl prints.
//!
//! What a toolstack wrote down at creation is the ground; names, memory, vcpus, devices and scheduling come from the
//! running system. So guests made by Debian's xl are shown like ours.

use std::path::PathBuf;

use anyhow::Result;
use serde_json::{Map, Value, json};
use xenctrl::{DomId, Hypervisor};
use xenstore_client::{Client, Store};

use super::domains::{Domain, uuid_text};
use super::scheduler;
use crate::context::Context;

/// One entry for each domain: its number and its configuration.
///
/// # Errors
/// Hypervisor or store cannot be asked.
pub fn configurations(context: &mut Context, list: &[Domain]) -> Result<Vec<Value>> {
    let (control, store) = context.both()?;
    list.iter()
        .map(|domain| Ok(json!({ "domid": domain.info.domid, "config": configuration(control, store, domain)? })))
        .collect()
}

/// One domain's configuration.
///
/// # Errors
/// As [`configurations`].
pub fn configuration(control: &dyn Hypervisor, store: &mut Client, domain: &Domain) -> Result<Value> {
    let domid = domain.info.domid;
    let mut config = written_down(domain);
    let creation = section(&mut config, "c_info");
    creation.insert("type".into(), if domain.info.is_hvm { "hvm" } else { "pv" }.into());
    creation.insert("name".into(), domain.name.clone().into());
    if domid != 0 {
        creation.insert("uuid".into(), uuid_text(&domain.info.uuid).into());
    }
    build_section(control, store, domain, section(&mut config, "b_info"))?;
    for (class, key) in [("vbd", "disks"), ("vif", "nics")] {
        let devices = devices(store, domid, class)?;
        if !devices.is_empty() {
            config.insert(key.into(), devices.into());
        }
    }
    Ok(config.into())
}

/// What xl's library keeps of a domain, or nothing.
fn written_down(domain: &Domain) -> Map<String, Value> {
    let file = format!(
        "userdata-d.{}.{}.libxl-json",
        domain.info.domid,
        uuid_text(&domain.info.uuid)
    );
    let text = std::fs::read(PathBuf::from("/var/lib/xen").join(file)).unwrap_or_default();
    match serde_json::from_slice(text.strip_suffix(&[0]).unwrap_or(&text)) {
        Ok(Value::Object(map)) => map,
        // None, or not one that we understand: the running system says enough.
        _ => Map::new(),
    }
}

/// The object under `key`, made if it is not there.
fn section<'a>(config: &'a mut Map<String, Value>, key: &str) -> &'a mut Map<String, Value> {
    let slot = config.entry(key).or_insert_with(|| Value::Object(Map::new()));
    if !slot.is_object() {
        *slot = Value::Object(Map::new());
    }
    match slot {
        Value::Object(map) => map,
        _ => unreachable!("just made an object"),
    }
}

fn build_section(
    control: &dyn Hypervisor,
    store: &mut Client,
    domain: &Domain,
    build: &mut Map<String, Value>,
) -> Result<()> {
    let (info, domid) = (&domain.info, domain.info.domid);
    if domid != 0 {
        build.insert("max_vcpus".into(), info.max_vcpu_id.wrapping_add(1).into());
        build.insert("avail_vcpus".into(), available_vcpus(store, domain)?.into());
    }
    let memory = |store: &mut Client, node: &str| -> Result<Option<u64>> {
        let text = store.read_optional(&format!("/local/domain/{domid}/memory/{node}"))?;
        Ok(text.and_then(|text| text.trim().parse().ok()))
    };
    let most = memory(store, "static-max")?.unwrap_or(info.max_pages.saturating_mul(4));
    build.insert("max_memkb".into(), most.into());
    build.insert(
        "target_memkb".into(),
        memory(store, "target")?.unwrap_or(info.tot_pages * 4).into(),
    );
    let sched_id = control.sched_id()?;
    // Schedulers without weights have no parameters to tell.
    if let Ok(params) = control.sched_params(domid, sched_id) {
        let name = scheduler::name(sched_id);
        let params = json!({ "sched": name, "weight": params.weight, "cap": params.cap });
        build.insert("sched_params".into(), params);
    }
    let vm = format!("/vm/{}/image", uuid_text(&info.uuid));
    for node in ["kernel", "cmdline", "ramdisk"] {
        if let Some(text) = store.read_optional(&format!("{vm}/{node}"))? {
            build.insert(node.into(), text.into());
        }
    }
    if !info.is_hvm {
        build.entry("type.pv").or_insert_with(|| json!({}));
    }
    Ok(())
}

/// The vcpus that the guest has been told to use.
fn available_vcpus(store: &mut Client, domain: &Domain) -> Result<Vec<u32>> {
    let mut vcpus = Vec::new();
    for vcpu in 0..domain.info.max_vcpu_id.wrapping_add(1) {
        let path = format!("/local/domain/{}/cpu/{vcpu}/availability", domain.info.domid);
        if store.read_optional(&path)?.is_some_and(|text| text == "online") {
            vcpus.push(vcpu);
        }
    }
    Ok(vcpus)
}

/// The devices of a class, under the keys of xl's JSON.
fn devices(store: &mut Client, domid: DomId, class: &str) -> Result<Vec<Value>> {
    let mut list = Vec::new();
    let base = format!("/local/domain/{domid}/device/{class}");
    for id in store.directory_or_empty(&base)? {
        let Some(backend) = store.read_optional(&format!("{base}/{id}/backend"))? else {
            continue;
        };
        let mut read = |node: &str| store.read_optional(&format!("{backend}/{node}"));
        list.push(if class == "vbd" {
            let read_only = read("mode")?.is_none_or(|mode| !mode.starts_with('w'));
            let mut disk = json!({ "pdev_path": read("params")?, "vdev": read("dev")?, "format": "raw" });
            if !read_only {
                disk["readwrite"] = 1.into();
            }
            disk
        } else {
            json!({
                "devid": id.parse::<u32>().ok(),
                "mac": read("mac")?,
                "ip": read("ip")?,
                "bridge": read("bridge")?,
                "nictype": "vif",
            })
        });
    }
    list.iter_mut().for_each(drop_nulls);
    Ok(list)
}

/// xl prints no key that has no value.
fn drop_nulls(value: &mut Value) {
    if let Value::Object(map) = value {
        map.retain(|_, value| !value.is_null());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_is_made_where_there_is_none_or_nonsense() {
        let mut config = Map::new();
        config.insert("b_info".into(), 3.into());
        section(&mut config, "b_info").insert("a".into(), 1.into());
        section(&mut config, "c_info");
        assert_eq!(Value::Object(config), json!({ "b_info": { "a": 1 }, "c_info": {} }));
    }

    #[test]
    fn keys_without_values_are_left_out() {
        let mut value = json!({ "a": null, "b": 1 });
        drop_nulls(&mut value);
        assert_eq!(value, json!({ "b": 1 }));
    }
}
