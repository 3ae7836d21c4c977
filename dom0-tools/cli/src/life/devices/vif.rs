//! Network interfaces: their nodes, and connecting them once the backend has made them.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use xenctrl::DomId;
use xenstore_client::{Client, Store};
use xl_config::{Vif, VifMode};

use super::presence::has_driver;
use super::{Class, Device, backend, hotplug, network};
use crate::life::nodes::Nodes;

/// The bridge of an interface that names none, as in xl.
pub const DEFAULT_BRIDGE: &str = "xenbr0";
/// Node of a backend that is connected without a script: `bridge`, `routed` or `nat`.
pub const MODE_NODE: &str = "paravane-mode";
/// Largest packet where nothing says otherwise, in bytes.
const DEFAULT_MTU: u32 = 1500;

/// An interface that is ready to be announced.
#[derive(Debug)]
pub struct PreparedVif {
    /// The device.
    pub device: Device,
    vif: Vif,
    script: Option<String>,
}

impl PreparedVif {
    /// Checks what can be checked before there is an interface. `vif` has its address and number.
    pub fn new(vif: &Vif, domid: DomId, backend_domid: DomId) -> Result<Self> {
        let devid = vif.devid.context("the interface has no number")?;
        if vif.mac.is_none() {
            bail!("the interface has no MAC address");
        }
        let device = Device {
            class: Class::Vif,
            domid,
            devid,
            backend_domid,
        };
        let mut script = None;
        if backend_domid == 0 {
            script = vif.script.as_deref().map(hotplug::find_script).transpose()?;
            if script.is_none() {
                network::check(vif)?;
            }
            if !has_driver("vif") {
                bail!("no network backend is loaded; try: modprobe xen-netback");
            }
        }
        Ok(Self {
            device,
            vif: vif.clone(),
            script,
        })
    }

    /// What is written to announce it.
    pub fn nodes(&self) -> Nodes {
        let vif = &self.vif;
        let mut own = Vec::new();
        // Linux's backend insists on a script's name; the mode beside it says that nobody runs it.
        let script = self.script.clone().unwrap_or_else(|| usual_script(vif.mode).to_owned());
        own.push(("script", script));
        if self.script.is_none() {
            own.push((MODE_NODE, mode_name(vif.mode).into()));
        }
        own.extend(vif.mac.map(|mac| ("mac", mac.to_string())));
        let addresses: Vec<String> = vif.ip.iter().map(ToString::to_string).collect();
        if !addresses.is_empty() {
            own.push(("ip", addresses.join(" ")));
        }
        own.extend(vif.rate.map(|rate| ("rate", rate.to_string())));
        own.extend(bridge_of(vif).map(|bridge| ("bridge", bridge.to_owned())));
        own.extend(vif.gatewaydev.iter().map(|name| ("gatewaydev", name.clone())));
        own.extend(vif.vifname.iter().map(|name| ("vifname", name.clone())));
        own.push(("handle", self.device.devid.to_string()));
        own.push(("type", "vif".into()));
        own.push(("hotplug-status", String::new()));
        let mut frontend = vec![
            ("handle", self.device.devid.to_string()),
            ("trusted", u8::from(vif.trusted).to_string()),
            ("mtu", self.mtu().to_string()),
        ];
        frontend.extend(vif.mac.map(|mac| ("mac", mac.to_string())));
        self.device.nodes(&own, &frontend)
    }

    fn mtu(&self) -> u32 {
        let bridged = || network::mtu_of(bridge_of(&self.vif)?);
        self.vif.mtu.or_else(bridged).unwrap_or(DEFAULT_MTU)
    }

    /// Waits until the backend has made the interface, and connects it.
    pub fn finish(self, store: &mut Client, time: Duration) -> Result<()> {
        backend::wait_ready(store, &self.device, time)?;
        if self.device.backend_domid != 0 {
            return Ok(());
        }
        let name = name_of(&self.device, self.vif.vifname.as_deref());
        match &self.script {
            Some(script) => {
                hotplug::run_vif(script, &self.device, &name, &self.vif, "online")?;
                hotplug::wait_connected(store, &self.device, time)
            }
            None => {
                network::connect(&self.device, &name, &self.vif, self.mtu())?;
                Ok(store.write(&format!("{}/hotplug-status", self.device.backend()), "connected")?)
            }
        }
    }
}

fn usual_script(mode: VifMode) -> &'static str {
    match mode {
        VifMode::Bridge => "/etc/xen/scripts/vif-bridge",
        VifMode::Routed => "/etc/xen/scripts/vif-route",
        VifMode::Nat => "/etc/xen/scripts/vif-nat",
    }
}

fn mode_name(mode: VifMode) -> &'static str {
    match mode {
        VifMode::Bridge => "bridge",
        VifMode::Routed => "routed",
        VifMode::Nat => "nat",
    }
}

/// The mode of an interface that is connected without a script, by its backend's node.
pub fn mode_of(name: &str) -> Option<VifMode> {
    [VifMode::Bridge, VifMode::Routed, VifMode::Nat]
        .into_iter()
        .find(|&mode| mode_name(mode) == name)
}

/// The bridge of an interface: the one it names, or the usual one where it is bridged or has a script.
pub fn bridge_of(vif: &Vif) -> Option<&str> {
    let usual = vif.mode == VifMode::Bridge;
    vif.bridge.as_deref().or(usual.then_some(DEFAULT_BRIDGE))
}

/// The interface's name in the backend's domain.
pub fn name_of(device: &Device, chosen: Option<&str>) -> String {
    chosen.map_or_else(|| format!("vif{}.{}", device.domid, device.devid), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn announces_what_libxl_announces() {
        let mut vif: Vif = "bridge=xenbr0,mac=00:16:3e:11:22:33,ip=10.0.0.2,rate=10Mb/s"
            .parse()
            .expect("a vif");
        vif.devid = Some(0);
        let device = Device {
            class: Class::Vif,
            domid: 1,
            devid: 0,
            backend_domid: 0,
        };
        let nodes = PreparedVif {
            device,
            vif,
            script: None,
        }
        .nodes();
        let backend = "/local/domain/0/backend/vif/1/0";
        for (name, value) in [
            ("frontend", "/local/domain/1/device/vif/0"),
            ("frontend-id", "1"),
            ("online", "1"),
            ("state", "1"),
            ("mac", "00:16:3e:11:22:33"),
            ("ip", "10.0.0.2"),
            ("rate", "62500,50000"),
            ("bridge", "xenbr0"),
            ("handle", "0"),
            ("type", "vif"),
        ] {
            assert_eq!(nodes.value(&format!("{backend}/{name}")), Some(value), "{name}");
        }
        let frontend = "/local/domain/1/device/vif/0";
        for (name, value) in [
            ("backend", backend),
            ("handle", "0"),
            ("mac", "00:16:3e:11:22:33"),
            ("trusted", "1"),
        ] {
            assert_eq!(nodes.value(&format!("{frontend}/{name}")), Some(value), "{name}");
        }
    }
}
