//! Scripts that a configuration names, run as xl runs them.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use xenstore_client::{Client, Store};
use xl_config::Vif;

use super::{Device, backend, vif};

/// Where scripts without a slash in their name are.
const SCRIPTS: &str = "/etc/xen/scripts";

/// The path of the script called `name`; it exists.
pub fn find_script(name: &str) -> Result<String> {
    let path = if name.contains('/') {
        name.to_owned()
    } else {
        format!("{SCRIPTS}/{name}")
    };
    if !Path::new(&path).is_file() {
        bail!("the script {path} does not exist; leave script= out, or install it");
    }
    Ok(path)
}

/// Runs a disk's script: `action` is `add` or `remove`.
pub fn run_block(script: &str, device: &Device, action: &str) -> Result<()> {
    run(command(script, device).arg(action), script)
}

/// Runs an interface's script: `action` is `online` or `offline`.
pub fn run_vif(script: &str, device: &Device, name: &str, vif: &Vif, action: &str) -> Result<()> {
    let mut command = command(script, device);
    command.arg(action).arg("type_if=vif").env("vif", name);
    if let Some(gatewaydev) = &vif.gatewaydev {
        command.env("netdev", gatewaydev).env("gatewaydev", gatewaydev);
    }
    if let Some(mtu) = vif.mtu {
        command.env("mtu", mtu.to_string());
    }
    if let Some(bridge) = vif::bridge_of(vif) {
        command.env("bridge", bridge);
    }
    run(&mut command, script)
}

fn command(script: &str, device: &Device) -> Command {
    let mut command = Command::new(script);
    command
        .env("script", script)
        .env("XENBUS_TYPE", device.class.backend_name())
        .env("XENBUS_PATH", relative(&device.backend()))
        .env("XENBUS_BASE_PATH", "backend")
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    command
}

/// Scripts get the backend's path relative to its domain's directory.
fn relative(path: &str) -> &str {
    path.find("/backend/").map_or(path, |at| &path[at + 1..])
}

fn run(command: &mut Command, script: &str) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot run {script}"))?;
    if !status.success() {
        bail!("{script} failed: {status}");
    }
    Ok(())
}

/// Waits until a script has reported that the device is connected.
pub fn wait_connected(store: &mut Client, device: &Device, time: Duration) -> Result<()> {
    let path = device.backend();
    let mut refusal = None;
    let connected = backend::wait_for(store, &path, Instant::now() + time, |store| {
        let status = store.read_optional(&format!("{path}/hotplug-status"))?;
        refusal = store.read_optional(&format!("{path}/hotplug-error"))?;
        Ok(refusal.is_some() || matches!(status.as_deref(), Some("connected" | "error")))
    })?;
    match refusal {
        Some(text) => bail!("{device}: its script reports: {text}"),
        None if connected => Ok(()),
        None => bail!("{device}: its script did not report within {} s", time.as_secs()),
    }
}
