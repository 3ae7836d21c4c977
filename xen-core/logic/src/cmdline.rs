//! The hypervisor's command line.

use crate::dom0_mem::Dom0Mem;

/// How much is logged: a message is shown if its weight is at most the level's.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Level {
    /// Nothing but a panic.
    None,
    /// Errors.
    Error,
    /// Warnings too.
    Warning,
    /// What is being done, too.
    Info,
    /// Everything.
    Debug,
}

impl Level {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "none" => Level::None,
            "error" => Level::Error,
            "warning" => Level::Warning,
            "info" => Level::Info,
            "debug" | "all" => Level::Debug,
            _ => return None,
        })
    }
}

/// A threshold, and a higher one up to which messages are shown at a limited rate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Threshold {
    /// Shown in any case.
    pub always: Level,
    /// Shown as long as there are not too many.
    pub limited: Level,
}

impl Threshold {
    /// `LEVEL` or `LEVEL/LIMITED_LEVEL`.
    fn parse(text: &str) -> Option<Self> {
        let (always, limited) = text.split_once('/').unwrap_or((text, text));
        let (always, limited) = (Level::parse(always)?, Level::parse(limited)?);
        Some(Self {
            always,
            limited: limited.max(always),
        })
    }
}

/// A 16550 serial port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Com {
    /// Bits a second; none leaves what the firmware set.
    pub baud: Option<u32>,
    /// Line control register: data bits, parity, stop bits.
    pub line: u8,
    /// First I/O port.
    pub port: u16,
    /// ISA interrupt; 0 means polling.
    pub irq: u8,
}

impl Com {
    /// The usual first port.
    pub const COM1: Com = Com {
        baud: None,
        line: 3,
        port: 0x3f8,
        irq: 4,
    };
    /// The usual second port.
    pub const COM2: Com = Com {
        baud: None,
        line: 3,
        port: 0x2f8,
        irq: 3,
    };

    /// `BAUD[,DPS[,PORT[,IRQ]]]`: `115200,8n1,0x3f8,4`; `auto` for BAUD keeps the firmware's rate.
    fn parse(self, text: &str) -> Option<Self> {
        let mut com = self;
        let mut parts = text.split(',');
        com.baud = match parts.next()? {
            "auto" => None,
            rate => Some(parse_number(rate)?)
                .filter(|r| (1..=115_200).contains(r))
                .map(Some)?,
        };
        if let Some(format) = parts.next().filter(|p| !p.is_empty()) {
            com.line = parse_line_format(format)?;
        }
        if let Some(port) = parts.next().filter(|p| !p.is_empty()) {
            com.port = u16::try_from(parse_number(port)?).ok()?;
        }
        if let Some(irq) = parts.next().filter(|p| !p.is_empty()) {
            com.irq = u8::try_from(parse_number(irq)?).ok().filter(|i| *i < 16)?;
        }
        parts.next().is_none().then_some(com)
    }
}

/// Data bits, parity, stop bits, as in `8n1`, to the line control register.
fn parse_line_format(text: &str) -> Option<u8> {
    let [data, parity, stop] = <[u8; 3]>::try_from(text.as_bytes()).ok()?;
    let data = data.checked_sub(b'5').filter(|d| *d <= 3)?;
    let stop = stop.checked_sub(b'1').filter(|s| *s <= 1)?;
    let parity = match parity {
        b'n' => 0,
        b'o' => 1,
        b'e' => 3,
        b'm' => 5,
        b's' => 7,
        _ => return None,
    };
    Some(data | stop << 2 | parity << 3)
}

/// Decimal, or hexadecimal after `0x`.
fn parse_number(text: &str) -> Option<u32> {
    match text.strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None => text
            .bytes()
            .all(|b| b.is_ascii_digit())
            .then(|| text.parse().ok())
            .flatten(),
    }
}

fn parse_bool(text: Option<&str>) -> Option<bool> {
    match text {
        None | Some("1" | "yes" | "on" | "true" | "enable") => Some(true),
        Some("0" | "no" | "off" | "false" | "disable") => Some(false),
        _ => None,
    }
}

/// Which port carries the console.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ConsolePort {
    /// No console; messages go to the ring only.
    None,
    /// `com1`.
    Com1,
    /// `com2`.
    Com2,
}

/// How many vcpus Dom0 gets: `N` or `MIN-MAX`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VcpuRange {
    /// At least so many.
    pub min: u32,
    /// At most so many.
    pub max: u32,
}

impl VcpuRange {
    fn parse(text: &str) -> Option<Self> {
        let range = match text.split_once('-') {
            None => parse_number(text).map(|n| Self { min: n, max: n }),
            Some((min, "")) => Some(Self {
                min: parse_number(min)?,
                max: u32::MAX,
            }),
            Some(("", max)) => Some(Self {
                min: 1,
                max: parse_number(max)?,
            }),
            Some((min, max)) => Some(Self {
                min: parse_number(min)?,
                max: parse_number(max)?,
            }),
        };
        range.filter(|r| 1 <= r.min && r.min <= r.max)
    }

    /// How many vcpus that makes on a machine with `cpus` CPUs, if a domain may have `limit`.
    pub fn choose(self, cpus: u32, limit: u32) -> u32 {
        cpus.clamp(self.min, self.max).min(limit)
    }
}

/// The scheduler asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scheduler {
    /// Proportional share with weights and caps: the only one there is, under both of Xen's names for it.
    Credit,
}

/// What the command line says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// Levels of the hypervisor's own messages.
    pub loglvl: Threshold,
    /// Levels of messages about what guests do.
    pub guest_loglvl: Threshold,
    /// Where the console is.
    pub console: ConsolePort,
    /// First serial port.
    pub com1: Com,
    /// Second serial port.
    pub com2: Com,
    /// Dom0's memory.
    pub dom0_mem: Dom0Mem,
    /// Dom0's vcpus; all CPUs if nothing is said.
    pub dom0_max_vcpus: Option<VcpuRange>,
    /// Most CPUs to start.
    pub maxcpus: Option<u32>,
    /// Stay after a crash, instead of rebooting.
    pub noreboot: bool,
    /// Scheduler.
    pub sched: Scheduler,
}

impl Options {
    /// What holds if nothing is said.
    pub const DEFAULT: Options = Options {
        loglvl: Threshold {
            always: Level::Info,
            limited: Level::Info,
        },
        guest_loglvl: Threshold {
            always: Level::Error,
            limited: Level::Warning,
        },
        console: ConsolePort::Com1,
        com1: Com::COM1,
        com2: Com::COM2,
        dom0_mem: Dom0Mem {
            size: None,
            min: None,
            max: None,
        },
        dom0_max_vcpus: None,
        maxcpus: None,
        noreboot: false,
        sched: Scheduler::Credit,
    };
}

/// Something on the command line that has no effect.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Problem<'a> {
    /// There is no option of this name.
    Unknown(&'a str),
    /// The option is known, its value makes no sense: the whole word.
    BadValue(&'a str),
    /// There is no such scheduler.
    UnknownScheduler(&'a str),
}

impl core::fmt::Display for Problem<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Problem::Unknown(word) => write!(f, "command line: unknown option '{word}' ignored"),
            Problem::BadValue(word) => write!(f, "command line: invalid value in '{word}', option ignored"),
            Problem::UnknownScheduler(name) => {
                write!(
                    f,
                    "command line: unknown scheduler '{name}' in 'sched={name}', using credit"
                )
            }
        }
    }
}

/// Reads the command line up to a word `--`; what is wrong with it goes to `report`, and leaves the default.
pub fn parse<'a>(text: &'a str, mut report: impl FnMut(Problem<'a>)) -> Options {
    let mut options = Options::DEFAULT;
    for word in text.split_ascii_whitespace().take_while(|w| *w != "--") {
        if let Err(problem) = options.apply(word) {
            report(problem);
        }
    }
    options
}

impl Options {
    fn apply<'a>(&mut self, word: &'a str) -> Result<(), Problem<'a>> {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (word, None),
        };
        let text = value.unwrap_or("");
        let done = match name {
            "loglvl" => Threshold::parse(text).map(|v| self.loglvl = v),
            "guest_loglvl" => Threshold::parse(text).map(|v| self.guest_loglvl = v),
            "console" => self.set_console(text),
            "com1" => Com::COM1.parse(text).map(|v| self.com1 = v),
            "com2" => Com::COM2.parse(text).map(|v| self.com2 = v),
            "dom0_mem" => Dom0Mem::parse(text).ok().map(|v| self.dom0_mem = v),
            "dom0_max_vcpus" => VcpuRange::parse(text).map(|v| self.dom0_max_vcpus = Some(v)),
            "maxcpus" => parse_number(text).filter(|n| *n > 0).map(|v| self.maxcpus = Some(v)),
            "nosmp" => parse_bool(value).map(|v| self.maxcpus = v.then_some(1)),
            "noreboot" => parse_bool(value).map(|v| self.noreboot = v),
            // Read by the trace module, which knows the words.
            "trace" => Some(()),
            "sched" if matches!(text, "credit" | "credit2") => {
                self.sched = Scheduler::Credit;
                Some(())
            }
            "sched" => return Err(Problem::UnknownScheduler(text)),
            _ => return Err(Problem::Unknown(name)),
        };
        done.ok_or(Problem::BadValue(word))
    }

    /// `com1`, `com2` or `none`, the first that we have; `vga` is left to Dom0.
    fn set_console(&mut self, text: &str) -> Option<()> {
        let mut port = None;
        for name in text.split(',') {
            let this = match name {
                "com1" => Some(ConsolePort::Com1),
                "com2" => Some(ConsolePort::Com2),
                "none" => Some(ConsolePort::None),
                "vga" => None,
                _ => return None,
            };
            port = port.or(this);
        }
        self.console = port.unwrap_or(ConsolePort::None);
        Some(())
    }
}

/// The value of the last option `name`, empty if it has none.
pub fn value<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let words = text.split_ascii_whitespace().take_while(|w| *w != "--");
    let values = words.filter_map(|w| match w.split_once('=') {
        Some((n, value)) => (n == name).then_some(value),
        None => (w == name).then_some(""),
    });
    values.last()
}

/// The arguments of a command line, after the image's name, which every loader but GRUB 2 puts first.
pub fn strip_image_name<'a>(text: &'a str, loader: &str) -> &'a str {
    let text = text.trim_start();
    let is_grub2 = loader
        .strip_prefix("GRUB ")
        .is_some_and(|version| !version.starts_with('0'));
    if is_grub2 {
        return text;
    }
    text.split_once(' ').map_or("", |(_, rest)| rest.trim_start())
}

#[cfg(test)]
#[path = "cmdline_tests.rs"]
mod tests;
