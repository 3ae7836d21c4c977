//! A sample as text: for a screen, or a table for scripts.

use std::time::Duration;

use super::model::{Model, Sort};
use super::sample::{Row, Sample};
use crate::view::colour::{Paint, Tone};
use crate::view::domains::{Domain, State};

/// The screen's size.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Characters in a line.
    pub columns: usize,
    /// Lines.
    pub lines: usize,
}

/// The whole screen, a string a line, none wider or more than fits.
pub fn screen(sample: &Sample, model: &Model, clock: &str, size: Size, paint: Paint) -> Vec<String> {
    let mut lines = Vec::new();
    let plain = |lines: &mut Vec<String>, text: String| lines.push(cut(&text, size.columns));
    plain(&mut lines, summary(sample, clock, model));
    plain(&mut lines, machine(sample));
    lines.push(String::new());
    if model.help {
        HELP.lines().for_each(|line| plain(&mut lines, line.to_owned()));
    } else {
        lines.push(paint.tone(Tone::Strong, &cut(&heading(model), size.columns)));
        for row in model.arrange(&sample.rows).into_iter().skip(model.scroll) {
            lines.push(paint.tone(row.domain.state().tone(), &cut(&live_row(row), size.columns)));
            row.vcpus.iter().for_each(|vcpu| {
                let text = if vcpu.online {
                    format!("  vcpu {:<3} on cpu {:<3} {:6.1}%", vcpu.number, vcpu.cpu, vcpu.percent)
                } else {
                    format!("  vcpu {:<3} offline", vcpu.number)
                };
                plain(&mut lines, text);
            });
        }
    }
    lines.truncate(size.lines.saturating_sub(1));
    lines.push(paint.tone(Tone::Strong, &cut(FOOT, size.columns)));
    lines.truncate(size.lines);
    lines
}

const FOOT: &str = "q quit  h help  n i c t m v x d sort  r reverse  V vcpus  p freeze  + - pace  space now";

const HELP: &str = "\
Sort by:  n name   i id     c CPU share  t CPU time
          m memory v vcpus  x network    d disk      (again: the other way round)
left, right  the column to sort by     up, down  scroll
r reverse    V a line for each vcpu    p freeze    space look now
+ slower     - faster                  h, ?, esc close this
q, ctrl-C    quit
State: r running  b blocked  p paused  s shut down  c crashed  d dying
NET and DISK count since the devices were made, in KiB.";

fn summary(sample: &Sample, clock: &str, model: &Model) -> String {
    let count = |state: State| sample.rows.iter().filter(|row| row.domain.state() == state).count();
    let states = [
        State::Running,
        State::Runnable,
        State::Blocked,
        State::Paused,
        State::Shutdown,
        State::Crashed,
        State::Dying,
    ];
    let counts = states.iter().filter(|state| count(**state) > 0);
    let counts: Vec<String> = counts
        .map(|state| format!("{} {}", count(*state), state.word()))
        .collect();
    let frozen = if model.frozen { "  [frozen]" } else { "" };
    let pace = model.delay.as_secs_f64();
    format!(
        "xlr top  {clock}  {} domains: {}  every {pace} s{frozen}",
        sample.rows.len(),
        counts.join(", ")
    )
}

fn machine(sample: &Sample) -> String {
    let info = &sample.machine;
    let used = info.total_pages.saturating_sub(info.free_pages);
    let busy: f64 = sample.rows.iter().map(|row| row.percent).sum();
    format!(
        "Memory {} MiB, {} used, {} free   CPUs {} at {} MHz, {busy:.1}% of {}% busy",
        info.total_pages / 256,
        used / 256,
        info.free_pages / 256,
        info.nr_cpus,
        info.cpu_khz / 1000,
        info.nr_cpus * 100,
    )
}

fn heading(model: &Model) -> String {
    let mark = |sort: Sort, text: &str| {
        let arrow = if model.reverse { '^' } else { 'v' };
        if sort == model.sort {
            format!("{text}{arrow}")
        } else {
            text.to_owned()
        }
    };
    format!(
        "{:<24} {:>5} STATE  {:>7} {:>10} {:>9} {:>9} {:>6} {:>11} {:>11} {:>11} {:>11}",
        mark(Sort::Name, "NAME"),
        mark(Sort::Id, "ID"),
        mark(Sort::Cpu, "CPU%"),
        mark(Sort::Time, "TIME"),
        mark(Sort::Memory, "MEM MiB"),
        "MAX MiB",
        mark(Sort::Vcpus, "VCPUS"),
        mark(Sort::Net, "NET out"),
        "NET in",
        mark(Sort::Disk, "DISK read"),
        "DISK write",
    )
}

fn live_row(row: &Row) -> String {
    let (info, traffic) = (&row.domain.info, &row.traffic);
    let most = most_kib(row).map_or("no limit".to_owned(), |kib| (kib / 1024).to_string());
    format!(
        "{:<24} {:5} {} {:7.1} {:10.1} {:9} {most:>9} {:6} {:11} {:11} {:11} {:11}",
        cut(row.domain.shown_name(), 24),
        info.domid,
        row.domain.flags(),
        row.percent,
        row.domain.cpu_seconds(),
        row.domain.mebibytes(),
        info.online_vcpus,
        traffic.sent / 1024,
        traffic.received / 1024,
        traffic.read_sectors / 2,
        traffic.written_sectors / 2,
    )
}

/// Most memory in KiB; none where there is no limit, as Dom0 mostly has none.
fn most_kib(row: &Row) -> Option<u64> {
    // Xen says all ones in pages, or in bytes shifted to pages, for "as much as you like".
    row.domain.info.max_pages.checked_mul(4).filter(|kib| *kib < 1 << 33)
}

/// The columns of xentop's batch mode, for scripts that read those.
pub fn batch(sample: &Sample, model: &Model) -> String {
    let mut text = "      NAME  STATE   CPU(sec) CPU(%)     MEM(k) MEM(%)  MAXMEM(k) MAXMEM(%) VCPUS NETS NETTX(k) \
                    NETRX(k) VBDS   VBD_OO   VBD_RD   VBD_WR  VBD_RSECT  VBD_WSECT SSID\n"
        .to_owned();
    for row in model.arrange(&sample.rows) {
        text += &batch_row(row, sample.machine.total_pages * 4);
        for vcpu in &row.vcpus {
            text += &format!(
                "VCPUs(sec): {:3}: {:9}s\n",
                vcpu.number,
                Duration::from_nanos(vcpu.time).as_secs()
            );
        }
    }
    text
}

/// xentop's six letters, which have another order than those of `list`.
fn batch_flags(domain: &Domain) -> String {
    let letters = domain.flags();
    "dsbcpr"
        .chars()
        .map(|letter| if letters.contains(letter) { letter } else { '-' })
        .collect()
}

fn batch_row(row: &Row, machine_kib: u64) -> String {
    let (info, traffic) = (&row.domain.info, &row.traffic);
    let memory = info.tot_pages * 4;
    let share = |kib: u64| kib as f64 * 100.0 / machine_kib.max(1) as f64;
    let most = most_kib(row);
    format!(
        "{:>10} {:>6} {:10.0} {:6.1} {memory:10} {:6.1} {:>10} {:>9} {:5} {:4} {:8} {:8} {:4} {:8} {:8} {:8} {:10} {:10} {:4}\n",
        row.domain.shown_name(),
        batch_flags(&row.domain),
        row.domain.cpu_seconds().floor(),
        row.percent,
        share(memory),
        most.map_or("no limit".to_owned(), |kib| kib.to_string()),
        most.map_or("n/a".to_owned(), |kib| format!("{:.1}", share(kib))),
        info.online_vcpus,
        traffic.nets,
        traffic.sent / 1024,
        traffic.received / 1024,
        traffic.disks,
        traffic.delayed,
        traffic.reads,
        traffic.writes,
        traffic.read_sectors,
        traffic.written_sectors,
        info.ssidref,
    )
}

/// At most `width` characters. Control characters, which a name might hold, become dots.
fn cut(text: &str, width: usize) -> String {
    text.chars()
        .take(width)
        .map(|c| if c.is_control() { '.' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use proptest::prelude::*;
    use xenctrl::PhysInfo;

    use super::*;
    use crate::top::sample::Traffic;
    use crate::view::domains::tests::plain;

    fn sample(names: &[&str]) -> Sample {
        let rows = names.iter().enumerate().map(|(id, name)| Row {
            domain: plain(id as u16, name),
            percent: 12.34,
            traffic: Traffic {
                nets: 1,
                sent: 2048,
                ..Traffic::default()
            },
            vcpus: Vec::new(),
        });
        let machine = PhysInfo {
            total_pages: 1 << 20,
            free_pages: 1 << 19,
            nr_cpus: 2,
            ..PhysInfo::default()
        };
        Sample {
            at: Instant::now(),
            machine,
            rows: rows.collect(),
        }
    }

    fn model() -> Model {
        Model::new(Sort::Id, false, false, Duration::from_secs(3))
    }

    #[test]
    fn batch_has_xentop_s_columns() {
        let text = batch(&sample(&["Domain-0"]), &model());
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[0].len(), 19);
        assert_eq!(lines[1].len(), 19);
        assert_eq!(lines[1][..6], ["Domain-0", "------", "7", "12.3", "262144", "6.2"]);
        assert_eq!(lines[1][10], "2");
    }

    #[test]
    fn letters_stand_as_in_xentop() {
        let mut domain = plain(1, "g1");
        domain.info.running = true;
        assert_eq!(batch_flags(&domain), "-----r");
        (domain.info.running, domain.info.blocked) = (false, true);
        assert_eq!(batch_flags(&domain), "--b---");
    }

    #[test]
    fn no_limit_is_said_so() {
        let mut one = sample(&["Domain-0"]);
        one.rows[0].domain.info.max_pages = u64::MAX;
        assert!(batch(&one, &model()).contains(" no limit       n/a "));
    }

    #[test]
    fn the_screen_shows_states_help_and_who_is_sorted() {
        let size = Size {
            columns: 200,
            lines: 40,
        };
        let lines = screen(&sample(&["Domain-0", "g1"]), &model(), "12:00:00", size, Paint::off());
        assert!(lines[0].contains("2 domains: 2 runnable"), "{}", lines[0]);
        assert!(lines[3].contains("IDv"), "{}", lines[3]);
        assert!(lines[5].starts_with("g1 "));
        let mut helping = model();
        helping.help = true;
        let lines = screen(&sample(&["g1"]), &helping, "12:00:00", size, Paint::off());
        assert!(lines.iter().any(|line| line.starts_with("Sort by:")));
    }

    proptest! {
        #[test]
        fn nothing_leaves_the_screen(columns in 0usize..120, lines in 0usize..12, name: String, help: bool, scroll in 0usize..9) {
            let size = Size { columns, lines };
            let model = Model { help, scroll, ..model() };
            let shown = screen(&sample(&["Domain-0", &name]), &model, "12:00:00", size, Paint::off());
            prop_assert!(shown.len() <= lines);
            for line in &shown {
                prop_assert!(line.chars().count() <= columns);
                prop_assert!(!line.chars().any(char::is_control));
            }
        }
    }
}
