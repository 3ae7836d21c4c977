//! `xlr list`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use crate::context::Context;
use crate::view::colour::{Paint, Tone};
use crate::view::cpu_ranges::cpu_ranges;
use crate::view::domains::{self, Domain, uuid_text};
use crate::view::{json, long_list};

/// What stands behind `xlr list`.
#[derive(Args, Debug)]
pub struct ListArgs {
    /// Each domain's configuration, as JSON in xl's form
    #[arg(short = 'l', long)]
    pub long: bool,
    /// Also UUID and reason of shutdown
    #[arg(short = 'v', long)]
    pub verbose: bool,
    /// Also security labels
    #[arg(short = 'Z', long)]
    pub context: bool,
    /// Also the cpupool
    #[arg(short = 'c', long)]
    pub cpupool: bool,
    /// Also the NUMA node affinity
    #[arg(short = 'n', long)]
    pub numa: bool,
    /// Names or ids of domains; all when none is given
    pub domains: Vec<String>,
    /// Print state, memory, vcpus and times as JSON instead of a table
    #[arg(long)]
    pub json: bool,
}

/// Runs the command.
pub fn run(args: &ListArgs, context: &mut Context) -> Result<ExitCode> {
    let list = domains::gather(context, &args.domains)?;
    if args.long {
        let configurations = long_list::configurations(context, &list)?;
        return json::print(&configurations);
    }
    if args.json {
        return json::print(&list.iter().map(Domain::record).collect::<Vec<_>>());
    }
    let nodes = if args.numa {
        node_affinities(context)?
    } else {
        String::new()
    };
    let pools = if args.cpupool {
        pool_names(context, &list)?
    } else {
        Vec::new()
    };
    let paint = Paint::stdout();
    let mut text = paint.tone(Tone::Strong, &header(args)) + "\n";
    for (index, domain) in list.iter().enumerate() {
        let pool = pools.get(index).map_or("", String::as_str);
        text += &row(args, domain, pool, &nodes, paint);
        text.push('\n');
    }
    json::print_text(&text)
}

fn header(args: &ListArgs) -> String {
    let mut text = "Name                                        ID   Mem VCPUs\tState\tTime(s)".to_owned();
    if args.verbose {
        text += "   UUID                            Reason-Code\tSecurity Label";
    }
    if args.context && !args.verbose {
        text += "   Security Label";
    }
    if args.cpupool {
        text += "         Cpupool";
    }
    if args.numa {
        text += " NODE Affinity";
    }
    text
}

fn row(args: &ListArgs, domain: &Domain, pool: &str, nodes: &str, paint: Paint) -> String {
    let (info, name) = (&domain.info, domain.shown_name());
    let (memory, seconds) = (domain.mebibytes(), domain.cpu_seconds());
    let state = paint.tone(domain.state().tone(), &domain.flags());
    let mut text = format!(
        "{name:<40} {:5} {memory:5} {:5}     {state}  {seconds:8.1}",
        info.domid, info.online_vcpus
    );
    if args.verbose {
        let reason = info
            .shutdown
            .map_or("-".to_owned(), |reason| format!("{:x}", reason.code()));
        text += &format!(" {} {reason:>8}", uuid_text(&info.uuid));
    }
    if args.verbose || args.context {
        text += &format!(" {:>16}", "-");
    }
    if args.cpupool {
        text += &format!("{pool:>16}");
    }
    if args.numa {
        text += &format!(" {nodes}");
    }
    text
}

/// No operation of PV's control interface tells a domain's nodes; on one node there is nothing to tell.
fn node_affinities(context: &mut Context) -> Result<String> {
    let nodes = context.hypervisor()?.numa_info()?.len().max(1);
    Ok(cpu_ranges(&xenctrl::CpuMap::all(nodes), nodes))
}

fn pool_names(context: &mut Context, list: &[Domain]) -> Result<Vec<String>> {
    use xenstore_client::Store;
    let store = context.store()?;
    let mut names = Vec::new();
    for domain in list {
        let pool = domain.info.cpupool;
        let name = store.read_optional(&format!("/local/pool/{pool}/name"))?;
        names.push(name.unwrap_or_else(|| format!("Pool-{pool}")));
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::view::domains::tests::plain;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: ListArgs,
    }

    fn args(words: &[&str]) -> ListArgs {
        Line::parse_from([&["list"], words].concat()).args
    }

    // The expected lines are what xl 4.17 printed.

    #[test]
    fn the_table_is_xl_s() {
        let mut dom0 = plain(0, "Domain-0");
        dom0.info.running = true;
        dom0.info.tot_pages = 262_144;
        dom0.info.cpu_time = 72_000_000_000;
        let args = args(&[]);
        assert_eq!(
            header(&args),
            "Name                                        ID   Mem VCPUs\tState\tTime(s)"
        );
        assert_eq!(
            row(&args, &dom0, "", "", Paint::off()),
            "Domain-0                                     0  1024     1     r-----      72.0"
        );
        assert_eq!(
            row(&args, &plain(1, "g1"), "", "", Paint::off()),
            "g1                                           1   256     1     ------       7.9"
        );
    }

    #[test]
    fn the_verbose_table_is_xl_s() {
        let args = args(&["-v"]);
        let mut dom0 = plain(0, "Domain-0");
        dom0.info.running = true;
        dom0.info.tot_pages = 262_144;
        dom0.info.cpu_time = 72_700_000_000;
        assert_eq!(
            header(&args),
            "Name                                        ID   Mem VCPUs\tState\tTime(s)   UUID                            \
             Reason-Code\tSecurity Label"
        );
        assert_eq!(
            row(&args, &dom0, "", "", Paint::off()),
            "Domain-0                                     0  1024     1     r-----      72.7 \
             00000000-0000-0000-0000-000000000000        -                -"
        );
    }
}
