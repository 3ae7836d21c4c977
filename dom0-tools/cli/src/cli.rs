//! The command line's grammar: one variant a command, the arguments stand with each command.

use clap::{Parser, Subcommand};

use crate::commands::*;
use crate::context::GlobalOptions;

/// The whole command line.
#[derive(Parser)]
#[command(name = "xlr", version, about = "Creates, watches, changes and ends domains")]
#[command(
    disable_help_subcommand = false,
    subcommand_required = true,
    arg_required_else_help = true
)]
pub struct Cli {
    /// Options for every command.
    #[command(flatten)]
    pub global: GlobalOptions,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Subcommand)]
pub enum Command {
    /// Make a domain from a configuration file and start it
    Create(create::CreateArgs),
    /// Change the configuration that is used when the domain next restarts
    ConfigUpdate(config_update::ConfigUpdateArgs),
    /// End a domain at once, without asking it
    Destroy(destroy::DestroyArgs),
    /// Ask a domain to shut down
    Shutdown(shutdown::ShutdownArgs),
    /// Ask a domain to reboot
    Reboot(reboot::RebootArgs),
    /// Stop a domain from running
    Pause(pause::PauseArgs),
    /// Let a paused domain run
    Unpause(unpause::UnpauseArgs),
    /// Give a domain a new name
    Rename(rename::RenameArgs),
    /// Write a domain to a file, and end it
    Save(save::SaveArgs),
    /// Make a domain from a file that save has written
    Restore(restore::RestoreArgs),
    /// Move a running domain to another host
    Migrate(migrate::MigrateArgs),
    /// Receive a domain that migrate sends
    MigrateReceive(migrate_receive::MigrateReceiveArgs),
    /// Set the memory a domain shall have now (its balloon target)
    MemSet(mem_set::MemSetArgs),
    /// Set the most memory a domain may have
    MemMax(mem_max::MemMaxArgs),
    /// Set how many vcpus a domain uses
    VcpuSet(vcpu_set::VcpuSetArgs),
    /// Choose the CPUs a vcpu may run on
    VcpuPin(vcpu_pin::VcpuPinArgs),
    /// Show or set weights and caps
    #[command(visible_aliases = ["sched-credit", "sched-credit2"])]
    Sched(sched::SchedArgs),
    /// Give a running domain a disk
    BlockAttach(block_attach::BlockAttachArgs),
    /// List the disks of domains
    BlockList(block_list::BlockListArgs),
    /// Take a disk from a running domain
    BlockDetach(block_detach::BlockDetachArgs),
    /// Give a running domain a network interface
    NetworkAttach(network_attach::NetworkAttachArgs),
    /// List the network interfaces of domains
    NetworkList(network_list::NetworkListArgs),
    /// Take a network interface from a running domain
    NetworkDetach(network_detach::NetworkDetachArgs),
    /// Serve as the device backend of this domain
    Devd(devd::DevdArgs),
    /// Keep on_poweroff, on_reboot and on_crash, and clean up after ended domains
    Supervise(supervise::SuperviseArgs),
    /// Write what the store has of Domain-0; for Dom0's own start
    #[command(hide = true)]
    InitDom0(init_dom0::InitDom0Args),
    /// Send a domain nmi, reset, init, power, sleep or s3resume
    Trigger(trigger::TriggerArgs),
    /// Send a Linux guest a magic SysRq letter
    Sysrq(sysrq::SysrqArgs),
    /// List domains
    List(list::ListArgs),
    /// List guests by UUID
    VmList(vm_list::VmListArgs),
    /// Tell about the machine and the hypervisor
    Info(info::InfoArgs),
    /// Attach to a domain's console; ctrl-] leaves it
    Console(console::ConsoleArgs),
    /// List the vcpus of domains
    VcpuList(vcpu_list::VcpuListArgs),
    /// Watch domains live
    Top(top::TopArgs),
    /// Follow what happens to domains
    Events(events::EventsArgs),
    /// Print the hypervisor's messages
    Dmesg(dmesg::DmesgArgs),
    /// Send debug keys to the hypervisor
    DebugKeys(debug_keys::DebugKeysArgs),
    /// Tell how long domains have run
    Uptime(uptime::UptimeArgs),
    /// Print the id of a named domain
    Domid(domid::DomidArgs),
    /// Print the name of a domain
    Domname(domname::DomnameArgs),
    /// Print a shell's completion script
    Completion(completion::CompletionArgs),
}
