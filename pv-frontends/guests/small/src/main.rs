//! A guest of 8 MiB, of which there may be many. It says that it is up, in the store (`data/up`) and on its console; then
//! it answers: what is written to `data/ping` is written to `data/pong`, and a line typed at the console is repeated
//! behind `heard `. Before each answer it looks at a MiB of memory that it filled at first. It ends when `data/ping` says
//! `exit`.
#![no_std]
#![no_main]
extern crate alloc;
use alloc::string::String;
use alloc::vec::Vec;
use guest_rt::{Machine, console, ports, println};
use pv_hal::{Hal, Port};
use pv_xenbus::{Error, Nodes, RingStore, Store};

guest_rt::main!(main);

/// Words of the memory that is watched.
const WORDS: usize = (1 << 20) / 8;

/// What a word of it holds.
fn pattern(index: usize) -> u64 {
    (index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Says whether the memory still holds what it was filled with.
fn look_after(memory: &[u64]) {
    // The compiler may not conclude that nobody has written here.
    let is_same = |(index, word): (usize, &u64)| core::hint::black_box(*word) == pattern(index);
    let verdict = if memory.iter().enumerate().all(is_same) {
        "is as it was"
    } else {
        "has CHANGED"
    };
    println!("memory {verdict}");
}

fn main() -> Result<(), Error> {
    let memory: Vec<u64> = (0..WORDS).map(pattern).collect();
    let store = RingStore::new(&Machine)?;
    let watch = store.watch("data/ping")?;
    store.write("data/up", 1)?;
    println!("SMALL UP");
    let ports: Vec<Port> = console::port().map(Port).into_iter().chain(store.port()).collect();
    let mut line = String::new();
    loop {
        if let Some(port) = console::port() {
            ports::take(port);
        }
        hear(&mut line);
        while store.take_event(watch).is_some() {
            match store.read_optional("data/ping")? {
                Some(word) if word == "exit" => return Ok(()),
                Some(word) => {
                    look_after(&memory);
                    store.write("data/pong", word)?;
                }
                None => {}
            }
        }
        Machine.wait(&ports, None);
    }
}

/// Takes what was typed, and repeats whole lines.
fn hear(line: &mut String) {
    while let Some(byte) = console::read_byte() {
        match byte {
            b'\r' | b'\n' if !line.is_empty() => println!("heard {}", core::mem::take(line)),
            b' '..=b'~' if line.len() < 80 => line.push(byte.into()),
            _ => {}
        }
    }
}
