//! Lines typed at the console, with an echo and a backspace.
use alloc::string::String;
use guest_rt::{console, ports, print};

/// Longest line; the rest is dropped.
const MOST: usize = 256;

/// Sleeps until a byte is typed; `None` without a console that can be typed at.
fn next_byte() -> Option<u8> {
    let port = console::port()?;
    loop {
        // The event is taken first: what is typed after the look below raises another.
        ports::take(port);
        if let Some(byte) = console::read_byte() {
            return Some(byte);
        }
        ports::wait(core::iter::once(port), None);
    }
}

/// The next line without its end; `None` where nobody can type.
pub fn read() -> Option<String> {
    let mut line = String::new();
    loop {
        match next_byte()? {
            b'\r' | b'\n' => {
                print!("\n");
                return Some(line);
            }
            8 | 127 if line.pop().is_some() => print!("\u{8} \u{8}"),
            byte @ b' '..=b'~' if line.len() < MOST => {
                line.push(byte.into());
                print!("{}", char::from(byte));
            }
            _ => {}
        }
    }
}
