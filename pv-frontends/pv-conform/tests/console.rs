//! The console cases against pv-console's backend on the fake machine, and against one that reads nothing.

use pv_conform::{Bench, Tally, console, run};
use pv_console::Back;
use pv_hal::fake::{Domain, Machine};
use pv_xenbus::Nodes;
use pv_xenbus::fake::{LocalClient, LocalStore};

fn try_cases(is_deaf: bool, broken: Option<&str>) -> (Tally, Vec<String>) {
    let machine = Machine::new();
    let (daemon, guest) = (machine.add_domain(0), machine.add_domain(1));
    let (ring, port) = machine.console_backend(guest.id());
    let store = LocalStore::new();
    let client = store.client(&guest);
    client.write("console/ring-ref", ring).unwrap();
    client.write("console/port", port).unwrap();
    let mut back = Back::new(&daemon, guest.id(), ring, port).expect("a console");
    daemon.spawn(move || {
        back.take_event();
        let mut buffer = [0; 300];
        // What makes no sense is left alone until it does.
        while !is_deaf && back.try_read(&mut buffer).is_ok_and(|count| count > 0) {}
    });
    let mut lines = Vec::new();
    let mut bench: Bench<Domain, LocalClient> = Bench::new(guest, client);
    let wanted = broken.unwrap_or("console/");
    let tally = run(&console::cases(), &mut bench, wanted, broken, &mut |line| {
        lines.push(line.to_string())
    });
    (tally, lines)
}

#[test]
fn our_backend_behaves_in_every_case() {
    let (tally, lines) = try_cases(false, None);
    assert_eq!((tally.failed, tally.skipped), (0, 0), "{lines:#?}");
}

#[test]
fn every_case_can_fail() {
    for case in console::cases::<Domain, LocalClient>() {
        let (tally, lines) = try_cases(false, Some(case.name));
        assert_eq!(tally.failed, 1, "{lines:?}");
    }
}

#[test]
fn a_console_that_nobody_reads_is_found_out() {
    let (tally, lines) = try_cases(true, None);
    assert!(tally.failed >= 4, "{lines:#?}");
}
