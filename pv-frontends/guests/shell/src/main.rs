//! A small console: what the guest was given, its memory, event channels and devices, and the store. Type `help`.
#![no_std]
#![no_main]
#![allow(unreachable_pub, reason = "a program's modules speak to each other only")]
extern crate alloc;

mod commands;
mod line;

use guest_rt::{exit, print, println};

guest_rt::main!(main);

fn main() -> u8 {
    println!("A guest in Rust. Type help.");
    let mut session = commands::Session::new();
    loop {
        print!("> ");
        let Some(line) = line::read() else {
            println!("nobody can type here");
            return 1;
        };
        let words: alloc::vec::Vec<&str> = line.split_ascii_whitespace().collect();
        if let ["exit", rest @ ..] = words.as_slice() {
            exit::exit(rest.first().and_then(|word| word.parse().ok()).unwrap_or(0));
        }
        session.run(&words);
    }
}
