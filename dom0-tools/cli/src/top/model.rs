//! What a person has chosen, and what each key does to it.

use std::cmp::Ordering;
use std::time::Duration;

use super::keys::Key;
use super::sample::Row;

/// By what domains are sorted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Sort {
    /// Number
    Id,
    /// Name
    Name,
    /// Share of the CPUs
    Cpu,
    /// CPU time in all
    Time,
    /// Memory
    Memory,
    /// Vcpus
    Vcpus,
    /// Network bytes
    Net,
    /// Disk sectors
    Disk,
}

impl Sort {
    /// All, as the arrows go through them; each with its key and heading.
    pub const ALL: [(Self, char, &'static str); 8] = [
        (Self::Name, 'n', "NAME"),
        (Self::Id, 'i', "ID"),
        (Self::Cpu, 'c', "CPU%"),
        (Self::Time, 't', "TIME"),
        (Self::Memory, 'm', "MEM"),
        (Self::Vcpus, 'v', "VCPUS"),
        (Self::Net, 'x', "NET"),
        (Self::Disk, 'd', "DISK"),
    ];

    /// The order of two rows: largest first, names and numbers ascending; equals by number.
    pub fn compare(self, a: &Row, b: &Row) -> Ordering {
        let by_id = a.domain.info.domid.cmp(&b.domain.info.domid);
        let net = |row: &Row| row.traffic.sent + row.traffic.received;
        let disk = |row: &Row| row.traffic.read_sectors + row.traffic.written_sectors;
        let order = match self {
            Self::Id => by_id,
            Self::Name => a.domain.shown_name().cmp(b.domain.shown_name()),
            Self::Cpu => b.percent.total_cmp(&a.percent),
            Self::Time => b.domain.info.cpu_time.cmp(&a.domain.info.cpu_time),
            Self::Memory => b.domain.info.tot_pages.cmp(&a.domain.info.tot_pages),
            Self::Vcpus => b.domain.info.online_vcpus.cmp(&a.domain.info.online_vcpus),
            Self::Net => net(b).cmp(&net(a)),
            Self::Disk => disk(b).cmp(&disk(a)),
        };
        order.then(by_id)
    }
}

/// What to do after a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Show the same sample in another way.
    Redraw,
    /// Look again.
    Refresh,
    /// Leave.
    Quit,
    /// Nothing.
    Stay,
}

/// The choices.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Model {
    /// Sorted by.
    pub sort: Sort,
    /// The other way round.
    pub reverse: bool,
    /// A line for each vcpu.
    pub vcpus: bool,
    /// The help is shown.
    pub help: bool,
    /// No new looks until the key is pressed again.
    pub frozen: bool,
    /// Time between two looks.
    pub delay: Duration,
    /// First row shown.
    pub scroll: usize,
}

/// Shortest and longest time between looks.
const DELAYS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(3600));

impl Model {
    /// As the command line says.
    pub fn new(sort: Sort, reverse: bool, vcpus: bool, delay: Duration) -> Self {
        let delay = delay.clamp(DELAYS.0, DELAYS.1);
        Self {
            sort,
            reverse,
            vcpus,
            help: false,
            frozen: false,
            delay,
            scroll: 0,
        }
    }

    /// What a key does.
    pub fn press(&mut self, key: Key, rows: usize) -> Step {
        match key {
            Key::Interrupt | Key::Char('q' | 'Q') => return Step::Quit,
            Key::Escape if self.help => self.help = false,
            Key::Escape => return Step::Quit,
            Key::Char('h' | '?') => self.help = !self.help,
            Key::Char('r' | 'R') => self.reverse = !self.reverse,
            Key::Char('p' | 'P') => self.frozen = !self.frozen,
            Key::Char(' ') => return Step::Refresh,
            Key::Char('V') => {
                self.vcpus = !self.vcpus;
                return Step::Refresh;
            }
            Key::Char('+') => self.delay = (self.delay * 2).min(DELAYS.1),
            Key::Char('-') => self.delay = (self.delay / 2).max(DELAYS.0),
            Key::Left => self.turn(Sort::ALL.len() - 1),
            Key::Right => self.turn(1),
            Key::Up => self.scroll = self.scroll.saturating_sub(1),
            Key::Down => self.scroll = (self.scroll + 1).min(rows.saturating_sub(1)),
            Key::Char(letter) => match Sort::ALL.iter().find(|(_, key, _)| *key == letter) {
                // The same key again turns the order round.
                Some((sort, _, _)) if *sort == self.sort => self.reverse = !self.reverse,
                Some((sort, _, _)) => (self.sort, self.reverse) = (*sort, false),
                None => return Step::Stay,
            },
        }
        Step::Redraw
    }

    fn turn(&mut self, by: usize) {
        let now = Sort::ALL
            .iter()
            .position(|(sort, _, _)| *sort == self.sort)
            .unwrap_or(0);
        self.sort = Sort::ALL[(now + by) % Sort::ALL.len()].0;
        self.reverse = false;
    }

    /// The rows in order.
    pub fn arrange<'a>(&self, rows: &'a [Row]) -> Vec<&'a Row> {
        let mut sorted: Vec<&Row> = rows.iter().collect();
        sorted.sort_by(|a, b| self.sort.compare(a, b));
        if self.reverse {
            sorted.reverse();
        }
        sorted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::top::sample::Traffic;
    use crate::view::domains::tests::plain;

    fn model() -> Model {
        Model::new(Sort::Cpu, false, false, Duration::from_secs(3))
    }

    fn row(domid: u16, name: &str, percent: f64) -> Row {
        Row {
            domain: plain(domid, name),
            percent,
            traffic: Traffic::default(),
            vcpus: Vec::new(),
        }
    }

    fn order(model: &Model, rows: &[Row]) -> Vec<u16> {
        model.arrange(rows).iter().map(|row| row.domain.info.domid).collect()
    }

    #[test]
    fn the_busiest_come_first_and_keys_change_that() {
        let rows = [row(0, "Domain-0", 3.0), row(1, "zoo", 50.0), row(2, "ape", 3.0)];
        let mut model = model();
        assert_eq!(order(&model, &rows), [1, 0, 2]);
        assert_eq!(model.press(Key::Char('n'), 3), Step::Redraw);
        assert_eq!(order(&model, &rows), [0, 2, 1]);
        model.press(Key::Char('n'), 3);
        assert_eq!(order(&model, &rows), [1, 2, 0]);
        model.press(Key::Right, 3);
        assert_eq!((model.sort, model.reverse), (Sort::Id, false));
        model.press(Key::Left, 3);
        model.press(Key::Left, 3);
        assert_eq!(model.sort, Sort::Disk);
    }

    #[test]
    fn keys_end_refresh_and_slow_it_down() {
        let mut model = model();
        for key in [Key::Char('q'), Key::Interrupt, Key::Escape] {
            assert_eq!(model.press(key, 1), Step::Quit);
        }
        model.press(Key::Char('h'), 1);
        assert_eq!((model.press(Key::Escape, 1), model.help), (Step::Redraw, false));
        assert_eq!(model.press(Key::Char(' '), 1), Step::Refresh);
        assert_eq!(model.press(Key::Char('~'), 1), Step::Stay);
        model.press(Key::Char('+'), 1);
        assert_eq!(model.delay, Duration::from_secs(6));
        (0..20).for_each(|_| {
            model.press(Key::Char('-'), 1);
        });
        assert_eq!(model.delay, Duration::from_millis(100));
        model.press(Key::Down, 2);
        model.press(Key::Down, 2);
        assert_eq!(model.scroll, 1);
    }
}
