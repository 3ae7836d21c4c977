//! The end of a console that reads: lines, and rings that a guest has spoilt.
use iodom_core::console::Console;
use pv_hal::fake::{Domain, Machine};
use pv_hal::{DomId, Hal, Memory};
use pv_ring::bytes::Layout;
use std::sync::atomic::Ordering;

fn ends() -> (Domain, Console<Domain>) {
    let machine = Machine::new();
    let (driver, guest) = (machine.add_domain(0), machine.add_domain(1));
    let (_, port) = machine.console_backend(DomId(1));
    let console = Console::new(&driver, 1, port.0).expect("a console");
    (guest, console)
}

fn lines(console: &mut Console<Domain>) -> Vec<String> {
    let mut all = Vec::new();
    console.poll(&mut |line| all.push(String::from_utf8_lossy(line).into_owned()));
    all
}

#[test]
fn lines_come_whole_and_without_their_ends() {
    let (guest, mut console) = ends();
    let (page, _) = guest.console_ring().unwrap();
    Layout::CONSOLE_OUT.put(&page, b"one\r\ntw").unwrap();
    assert_eq!(lines(&mut console), ["one"]);
    Layout::CONSOLE_OUT.put(&page, b"o\n\nthree").unwrap();
    assert_eq!(lines(&mut console), ["two", ""]);
    let mut rest = Vec::new();
    console.finish(&mut |line| rest.push(line.to_vec()));
    assert_eq!(rest, [b"three"]);
}

#[test]
fn a_line_without_end_is_cut() {
    let (guest, mut console) = ends();
    let (page, _) = guest.console_ring().unwrap();
    Layout::CONSOLE_OUT.put(&page, &[b'x'; 1000]).unwrap();
    let lengths: Vec<usize> = lines(&mut console).iter().map(String::len).collect();
    assert_eq!(lengths, [400, 400]);
}

#[test]
fn what_is_typed_reaches_the_guest_in_order() {
    let (guest, mut console) = ends();
    let (page, _) = guest.console_ring().unwrap();
    let text: Vec<u8> = (0..2000u32).map(|index| index as u8).collect();
    console.type_bytes(&text);
    let mut read = Vec::new();
    while read.len() < text.len() {
        assert!(lines(&mut console).is_empty());
        let mut some = [0; 300];
        let count = Layout::CONSOLE_IN.take(&page, &mut some).unwrap();
        assert!(count > 0, "{} bytes have come", read.len());
        read.extend_from_slice(&some[..count]);
    }
    assert_eq!(read, text);
}

#[test]
fn a_spoilt_ring_is_left_alone_until_it_makes_sense_again() {
    let (guest, mut console) = ends();
    let (page, _) = guest.console_ring().unwrap();
    page.store_u32(Layout::CONSOLE_OUT.producer, 0x8000_0000, Ordering::SeqCst);
    assert!(lines(&mut console).is_empty());
    assert_eq!(page.load_u32(Layout::CONSOLE_OUT.consumer, Ordering::SeqCst), 0);
    page.store_u32(Layout::CONSOLE_OUT.producer, 0, Ordering::SeqCst);
    Layout::CONSOLE_OUT.put(&page, b"again\n").unwrap();
    assert_eq!(lines(&mut console), ["again"]);
}

#[test]
fn a_guest_that_prints_without_end_is_left_for_a_while() {
    let (guest, mut console) = ends();
    let (page, _) = guest.console_ring().unwrap();
    let print_more = || Layout::CONSOLE_OUT.put(&page, &[b'\n'; 2048]).unwrap();
    print_more();
    let mut lines = 0;
    let mut print = |_: &[u8]| {
        lines += 1;
        print_more();
    };
    assert!(console.poll(&mut print), "there is more");
    assert_eq!(lines, 4096);
    let (page, _) = guest.console_ring().unwrap();
    Layout::CONSOLE_OUT.take(&page, &mut [0; 2048]).unwrap();
    assert!(!console.poll(&mut |_| {}));
}
