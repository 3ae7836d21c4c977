//! The commands, a file each.

pub mod block_attach;
pub mod block_detach;
pub mod block_list;
pub mod completion;
pub mod config_update;
pub mod console;
pub mod create;
pub mod debug_keys;
pub mod destroy;
pub mod devd;
pub mod dmesg;
pub mod domid;
pub mod domname;
pub mod events;
pub mod info;
pub mod init_dom0;
pub mod list;
pub mod mem_max;
pub mod mem_set;
pub mod migrate;
pub mod migrate_receive;
pub mod network_attach;
pub mod network_detach;
pub mod network_list;
pub mod pause;
pub mod reboot;
pub mod rename;
pub mod restore;
pub mod save;
pub mod sched;
pub mod shutdown;
pub mod start;
pub mod supervise;
pub mod sysrq;
pub mod top;
pub mod trigger;
pub mod unpause;
pub mod uptime;
pub mod vcpu_list;
pub mod vcpu_pin;
pub mod vcpu_set;
pub mod vm_list;

use std::process::ExitCode;

use anyhow::Result;

use crate::cli::Command;
use crate::context::Context;

/// Runs `command`; its code is the program's.
pub fn run(command: Command, context: &mut Context) -> Result<ExitCode> {
    match command {
        Command::Create(args) => create::run(&args, context),
        Command::ConfigUpdate(args) => config_update::run(&args, context),
        Command::Destroy(args) => destroy::run(&args, context),
        Command::Shutdown(args) => shutdown::run(&args, context),
        Command::Reboot(args) => reboot::run(&args, context),
        Command::Pause(args) => pause::run(&args, context),
        Command::Unpause(args) => unpause::run(&args, context),
        Command::Rename(args) => rename::run(&args, context),
        Command::Save(args) => save::run(&args, context),
        Command::Restore(args) => restore::run(&args, context),
        Command::Migrate(args) => migrate::run(&args, context),
        Command::MigrateReceive(args) => migrate_receive::run(&args, context),
        Command::MemSet(args) => mem_set::run(&args, context),
        Command::MemMax(args) => mem_max::run(&args, context),
        Command::VcpuSet(args) => vcpu_set::run(&args, context),
        Command::VcpuPin(args) => vcpu_pin::run(&args, context),
        Command::Sched(args) => sched::run(&args, context),
        Command::BlockAttach(args) => block_attach::run(&args, context),
        Command::BlockList(args) => block_list::run(&args, context),
        Command::BlockDetach(args) => block_detach::run(&args, context),
        Command::NetworkAttach(args) => network_attach::run(&args, context),
        Command::NetworkList(args) => network_list::run(&args, context),
        Command::NetworkDetach(args) => network_detach::run(&args, context),
        Command::Devd(args) => devd::run(&args, context),
        Command::Supervise(args) => supervise::run(&args, context),
        Command::InitDom0(args) => init_dom0::run(&args, context),
        Command::Trigger(args) => trigger::run(&args, context),
        Command::Sysrq(args) => sysrq::run(&args, context),
        Command::List(args) => list::run(&args, context),
        Command::VmList(args) => vm_list::run(&args, context),
        Command::Info(args) => info::run(&args, context),
        Command::Console(args) => console::run(&args, context),
        Command::VcpuList(args) => vcpu_list::run(&args, context),
        Command::Top(args) => top::run(&args, context),
        Command::Events(args) => events::run(&args, context),
        Command::Dmesg(args) => dmesg::run(&args, context),
        Command::DebugKeys(args) => debug_keys::run(&args, context),
        Command::Uptime(args) => uptime::run(&args, context),
        Command::Domid(args) => domid::run(&args, context),
        Command::Domname(args) => domname::run(&args, context),
        Command::Completion(args) => completion::run(&args, context),
    }
}
