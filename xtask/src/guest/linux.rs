//! A guest under Linux's backends: Dom0 with Debian's kernel and our tools starts it.

use std::io::{IsTerminal, Write, stdin, stdout};
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail};

use super::GuestArgs;
use super::needs::Needs;
use crate::dom0::initramfs::Additions;
use crate::machine::Machine;
use crate::machine::guest::{Guest, Seen};
use crate::progress::note;
use crate::run::{self, Extract, RunArgs};
use crate::setup::Overrides;
use crate::{command, guest_program, workspace};

const SCRIPT: &[u8] = include_bytes!("linux.sh");

/// The guest's configuration for `xlr create`.
fn config(needs: &Needs, words: &str) -> String {
    let mut text = format!(
        "name = \"{0}\"\nkernel = \"/paravane/{0}\"\nmemory = {1}\nvcpus = {2}\nextra = \"{words}\"\n\
         on_poweroff = \"destroy\"\non_reboot = \"destroy\"\non_crash = \"destroy\"\n",
        needs.name, needs.memory, needs.vcpus
    );
    if needs.disk > 0 {
        text += &format!(
            "disk = [ \"format=raw, vdev=xvda, access=rw, target=/tmp/{}.img\" ]\n",
            needs.name
        );
    }
    if needs.net {
        text += "vif = [ \"bridge=xenbr0\" ]\n";
    }
    text
}

/// What Dom0 is given to run a guest: its image, its configuration, the script, and the guest's own files.
pub fn files_for_dom0(needs: &Needs, words: &str) -> Result<Vec<(String, Vec<u8>)>> {
    let name = &needs.name;
    let image = guest_program::guest(name)?;
    let mut files = vec![
        ("guest.sh".to_owned(), SCRIPT.to_vec()),
        (name.clone(), workspace::read(&image)?),
        (format!("{name}.cfg"), config(needs, words).into_bytes()),
    ];
    if needs.disk > 0 {
        files.push((format!("{name}.disk"), format!("{}\n", needs.disk).into_bytes()));
    }
    let folder = workspace::root().join("pv-frontends/guests").join(name);
    for entry in std::fs::read_dir(&folder)? {
        let path = entry?.path();
        let script = path
            .file_name()
            .and_then(|file| file.to_str())
            .filter(|file| file.ends_with(".sh"));
        if let Some(script) = script {
            let is_counterpart = ["dom0.sh", "peer.sh"].contains(&script);
            let inside = if is_counterpart {
                format!("{name}.peer.sh")
            } else {
                script.to_owned()
            };
            files.push((inside, workspace::read(&path)?));
        }
    }
    for other in &needs.beside {
        files.push((other.clone(), workspace::read(&guest_program::guest(other)?)?));
    }
    Ok(files)
}

/// The command that runs a guest there.
pub fn command_for_dom0(needs: &Needs) -> String {
    format!("sh /paravane/guest.sh {}", needs.name)
}

/// Runs a guest and gives what it printed; nothing where a terminal has seen it.
pub fn run(
    args: &GuestArgs,
    over: &Overrides,
    needs: &Needs,
    words: &str,
    scratch: &Path,
    show: &mut dyn FnMut(&str),
) -> Result<Option<String>> {
    let mark = run::fresh_mark();
    let mut files = files_for_dom0(needs, words)?;
    // What comes on our own input is typed at the guest's console.
    let is_typed = needs.interactive;
    if is_typed {
        files.push(("typed".to_owned(), Vec::new()));
    }
    let additions = Additions {
        command: Some((command_for_dom0(needs), mark.clone())),
        files,
        tools: true,
        cold: false,
    };
    let options = RunArgs {
        smp: args.smp,
        hv: args.hv.clone(),
        icount: args.icount,
        hv_append: args.hv_append.clone(),
        tools: true,
        ..RunArgs::plain()
    };
    let machine = run::machine(&options, over, &additions, scratch)?;
    if is_typed && args.typed.is_none() && stdin().is_terminal() && stdout().is_terminal() {
        note("the machine boots; the guest's console follows");
        watch(&machine)?;
        return Ok(None);
    }
    let limit = Duration::from_secs(args.limit);
    let input = is_typed.then(|| args.typed.clone().map_or(Input::Standard, Input::Text));
    follow(&machine, &mark, limit, input, show).map(Some)
}

/// A terminal of our own: QEMU reads and writes it, and the guest's last line is on it.
fn watch(machine: &Machine) -> Result<()> {
    let mut command = machine.command();
    command::run(command.args(["-serial", "mon:stdio"]))
}

/// What is typed at a guest's console.
enum Input {
    /// Our own standard input.
    Standard,
    Text(String),
}

/// Boots, shows what the guest prints and gives it.
fn follow(
    machine: &Machine,
    mark: &str,
    limit: Duration,
    input: Option<Input>,
    show: &mut dyn FnMut(&str),
) -> Result<String> {
    let mut guest = Guest::start(machine)?;
    let mut extract = Extract::default();
    let mut output = String::new();
    let begin = format!("{mark} BEGIN\n");
    let mut look = |text: &str, is_begun_enough: bool| {
        let (new, status) = extract.advance(text, mark);
        let (own, hypervisor) = run::split_hypervisor_lines(&new);
        eprint!("{hypervisor}");
        own.lines().for_each(&mut *show);
        let _ = stdout().flush();
        output.push_str(&own);
        // Words of the guest's own, be it a prompt.
        let has_begun = text.split_once(&begin).is_some_and(|(_, rest)| !rest.trim().is_empty());
        (status.is_some() || is_begun_enough && has_begun).then_some(status)
    };
    if let Some(input) = input {
        // The guest's first words: it listens from then on.
        let begun = guest.wait_for(limit, |text| look(text, true));
        if matches!(begun, Seen::Found(None)) {
            match input {
                Input::Text(text) => guest.send(&text)?,
                Input::Standard => {
                    for line in stdin().lines() {
                        guest.send(&format!("{}\n", line?))?;
                    }
                }
            }
        }
    }
    let left = limit.saturating_sub(guest.age());
    match guest.wait_for(left, |text| look(text, false)) {
        Seen::Found(_) => Ok(output),
        seen => {
            eprint!("{}", guest.text());
            match seen {
                Seen::Ended => bail!("the machine ended before the guest did; its console is above"),
                _ => bail!(
                    "the guest did not end within {} s; the console is above",
                    limit.as_secs()
                ),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_gets_the_devices_that_it_needs() {
        let mut needs = Needs {
            name: "x".to_owned(),
            memory: 16,
            vcpus: 2,
            disk: 0,
            net: false,
            interactive: false,
            beside: Vec::new(),
            extra: String::new(),
        };
        let plain = config(&needs, "a b");
        assert!(plain.contains("memory = 16\nvcpus = 2\nextra = \"a b\"") && !plain.contains("disk"));
        needs.disk = 8;
        needs.net = true;
        let both = config(&needs, "");
        assert!(both.contains("/tmp/x.img") && both.contains("vif = "));
    }
}
