//! Builds and starts one guest without a toolstack or a store, shows its console for some seconds, destroys it:
//! `start_guest KERNEL INITRD|- MIB SECONDS [COMMAND LINE]`. For trying the builder on a real hypervisor.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use domain_builder::{Channel, Params, build};
use kernel_cache::Cache;
use privcmd::{EventChannel, Mapping};
use xenctrl::{CreateDomain, Domains, Live, Memory};

/// Offsets in the console's ring (`public/io/console.h`).
const OUT: usize = 1024;
const OUT_SIZE: u32 = 2048;
const OUT_CONS: usize = 3080;
const OUT_PROD: usize = 3084;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Prints what the guest wrote since the last time.
fn drain(ring: &Mapping) -> bool {
    let (mut from, to) = (
        ring.load_u32(OUT_CONS, Ordering::Relaxed),
        ring.load_u32(OUT_PROD, Ordering::Acquire),
    );
    let mut bytes = Vec::new();
    while from != to && bytes.len() < OUT_SIZE as usize {
        let at = OUT + (from & (OUT_SIZE - 1)) as usize;
        bytes.push(ring.atomic_u8(at).load(Ordering::Relaxed));
        from = from.wrapping_add(1);
    }
    ring.store_u32(OUT_CONS, from, Ordering::Release);
    let _ = std::io::stdout().write_all(&bytes);
    !bytes.is_empty()
}

fn run(live: &Live, domid: u16, args: &[String]) -> Result<()> {
    let (mib, seconds): (u64, u64) = (args[3].parse()?, args[4].parse()?);
    let started = Instant::now();
    live.set_max_vcpus(domid, 1)?;
    live.set_max_mem(domid, (mib + 1) * 1024)?;
    let console = live.alloc_unbound(domid, 0)?;
    let store = live.alloc_unbound(domid, 0)?;
    let kernel = Cache::new("/tmp/kernels").load(Path::new(&args[1]))?;
    println!("EXAMPLE kernel {:?}", started.elapsed());
    let initrd = match args[2].as_str() {
        "-" => None,
        path => {
            let file = File::open(path)?;
            let len = file.metadata()?.len() as usize;
            Some(Mapping::of_file_to_read(&file, len)?)
        }
    };
    let channel = |port| Channel { domid: 0, port };
    let params = Params {
        pages: mib * 256,
        command_line: args.get(5).map_or("", String::as_str),
        initrd: initrd.as_ref(),
        console: channel(console),
        store: channel(store),
        flags: 0,
    };
    let built = build(live, domid, &kernel, &params)?;
    println!("EXAMPLE built {:?}", started.elapsed());
    let events = EventChannel::open()?;
    let port = events.bind_interdomain(domid, console)?;
    let ring = live.map_foreign(domid, &[built.console_mfn], true)?;
    live.unpause_domain(domid)?;
    while started.elapsed() < Duration::from_secs(seconds) {
        if drain(&ring) {
            events.notify(port)?;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    println!("\nEXAMPLE end {:?}", live.domain_info(domid)?);
    Ok(())
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().collect();
    if args.len() < 5 {
        return Err("usage: start_guest KERNEL INITRD|- MIB SECONDS [COMMAND LINE]".into());
    }
    let live = Live::open()?;
    println!("EXAMPLE on {:?}", xenctrl::Machine::version(&live)?);
    let before = xenctrl::Machine::phys_info(&live)?.free_pages;
    for round in 0..2 {
        let domid = live.create_domain(&CreateDomain::new([round; 16], 1))?;
        let result = run(&live, domid, &args);
        live.destroy_domain(domid)?;
        result?;
    }
    let after = xenctrl::Machine::phys_info(&live)?.free_pages;
    println!("EXAMPLE free pages {before} before, {after} after");
    Ok(())
}
