//! The policy in a simulated machine that makes the moves hv makes: turns, wakes, idle steals, gifts.

use super::*;
use std::vec::Vec;

const STEP: u64 = 50_000;

struct Task {
    entity: Entity,
    cpu: usize,
    /// Runs this long, then sleeps this long; `None` never sleeps.
    pattern: Option<(u64, u64)>,
    left: u64,
    wakes_at: Option<u64>,
    became_ready: u64,
    ran: u64,
    longest_wait: u64,
    /// Its domain's number among the budgets.
    domain: usize,
}

struct Cpu {
    queue: RunQueue<usize>,
    running: Option<(usize, u64)>,
}

struct Machine {
    now: u64,
    cpus: Vec<Cpu>,
    tasks: Vec<Task>,
    /// By domain; each task is one of its own, unless it says otherwise.
    budgets: Vec<Budget>,
}

impl Machine {
    fn new(cpus: usize) -> Self {
        let cpus = (0..cpus)
            .map(|_| Cpu {
                queue: RunQueue::new(),
                running: None,
            })
            .collect();
        Machine {
            now: 0,
            cpus,
            tasks: Vec::new(),
            budgets: Vec::new(),
        }
    }

    fn add(&mut self, weight: u32, affinity: u64, pattern: Option<(u64, u64)>) -> usize {
        let mut entity = Entity::new();
        entity.affinity = affinity;
        entity.set_weight(weight);
        let left = pattern.map_or(u64::MAX, |p| p.0);
        let (wakes_at, became_ready) = (Some(self.now), 0);
        self.tasks.push(Task {
            entity,
            cpu: 0,
            pattern,
            left,
            wakes_at,
            became_ready,
            ran: 0,
            longest_wait: 0,
            domain: self.budgets.len(),
        });
        self.budgets.push(Budget::unlimited());
        self.tasks.len() - 1
    }

    /// Gives a task's domain a cap in percent of one CPU.
    fn cap(&mut self, t: usize, percent: u32) {
        self.budgets[self.tasks[t].domain] = Budget::new(percent, self.now);
    }

    /// How long a task may run, or when its domain's cap lets it.
    fn allowance(&mut self, t: usize) -> Result<u64, u64> {
        self.budgets[self.tasks[t].domain].allowance(self.now)
    }

    fn idle(&self) -> u64 {
        let idle = |c: &Cpu| c.running.is_none() && c.queue.is_empty();
        self.cpus
            .iter()
            .enumerate()
            .filter(|(_, c)| idle(c))
            .fold(0, |m, (n, _)| m | 1 << n)
    }

    fn load(&self, cpu: usize) -> u32 {
        let c = &self.cpus[cpu];
        c.queue.load() + c.running.map_or(0, |(t, _)| self.tasks[t].entity.weight())
    }

    fn wake(&mut self, t: usize) {
        let online = (1 << self.cpus.len()) - 1;
        let to = choose_cpu(self.tasks[t].entity.affinity, online, self.idle(), self.tasks[t].cpu);
        self.advance(to);
        self.adopt(t, to);
        let task = &mut self.tasks[t];
        task.became_ready = self.now;
        self.cpus[to].queue.enter_woken(t, &mut task.entity);
    }

    /// Brings a CPU's clock up to the one that runs there.
    fn advance(&mut self, cpu: usize) {
        if let Some((t, since)) = self.cpus[cpu].running {
            let running = &self.tasks[t].entity;
            let vtime = running.vtime + running.cost(self.now - since);
            self.cpus[cpu].queue.advance(vtime);
        }
    }

    fn adopt(&mut self, t: usize, to: usize) {
        if self.tasks[t].cpu != to {
            self.cpus[to].queue.adopt(&mut self.tasks[t].entity, self.now);
            self.tasks[t].cpu = to;
        }
    }

    fn stop(&mut self, cpu: usize) -> Option<usize> {
        let (t, since) = self.cpus[cpu].running.take()?;
        let ran = self.now - since;
        self.tasks[t].entity.charge(ran);
        self.tasks[t].ran += ran;
        self.budgets[self.tasks[t].domain].charge(ran, self.now);
        Some(t)
    }

    /// An idle CPU takes a waiting task from the most loaded other one.
    fn steal(&mut self, cpu: usize) {
        let waiting = |c: &usize| *c != cpu && !self.cpus[*c].queue.is_empty();
        let Some(from) = (0..self.cpus.len()).filter(waiting).max_by_key(|c| self.load(*c)) else {
            return;
        };
        let tasks = &self.tasks;
        if let Some(t) = self.cpus[from].queue.give_away(|t, _| tasks[t].entity.allows(cpu)) {
            self.adopt(t, cpu);
            self.cpus[cpu].queue.enter(t, &self.tasks[t].entity);
        }
    }

    /// A CPU where tasks wait gives one to the least loaded other one, if that is no less even.
    fn push(&mut self, cpu: usize) {
        let Some(to) = (0..self.cpus.len()).filter(|c| *c != cpu).min_by_key(|c| self.load(*c)) else {
            return;
        };
        let (from_load, to_load) = (self.load(cpu), self.load(to));
        let tasks = &self.tasks;
        let may = |t: usize, w| tasks[t].entity.allows(to) && worth_moving(from_load, to_load, w);
        if let Some(t) = self.cpus[cpu].queue.give_away(may) {
            self.advance(to);
            self.adopt(t, to);
            self.cpus[to].queue.enter(t, &self.tasks[t].entity);
        }
    }

    fn step(&mut self) {
        for t in 0..self.tasks.len() {
            if self.tasks[t].wakes_at.is_some_and(|at| at <= self.now) {
                self.tasks[t].wakes_at = None;
                self.wake(t);
            }
        }
        for cpu in 0..self.cpus.len() {
            if let Some((t, since)) = self.cpus[cpu].running {
                let ran = self.now - since;
                if ran >= self.tasks[t].left {
                    self.stop(cpu);
                    let (run, sleep) = self.tasks[t].pattern.unwrap();
                    self.tasks[t].left = run;
                    self.tasks[t].wakes_at = Some(self.now + sleep);
                } else if self.allowance(t).is_ok_and(|ns| ns <= ran) {
                    self.stop(cpu);
                    self.tasks[t].left = self.tasks[t].left.saturating_sub(ran);
                    self.tasks[t].wakes_at = Some(self.allowance(t).err().unwrap_or(self.now));
                } else if self.cpus[cpu].queue.preempt(&self.tasks[t].entity, ran) == Some(Preempt::Now) {
                    self.stop(cpu);
                    self.tasks[t].left = self.tasks[t].left.saturating_sub(ran);
                    self.tasks[t].became_ready = self.now;
                    self.cpus[cpu].queue.enter(t, &self.tasks[t].entity);
                }
            }
            let now = self.now;
            if self.cpus[cpu].queue.is_empty() && self.cpus[cpu].running.is_none() {
                self.steal(cpu);
            } else if self.cpus[cpu].queue.push_due(now) {
                self.push(cpu);
            }
            while self.cpus[cpu].running.is_none()
                && let Some(t) = self.cpus[cpu].queue.take_next()
            {
                if let Err(until) = self.allowance(t) {
                    self.tasks[t].wakes_at = Some(until);
                    continue;
                }
                let task = &mut self.tasks[t];
                task.longest_wait = task.longest_wait.max(self.now - task.became_ready);
                self.cpus[cpu].running = Some((t, self.now));
            }
        }
        self.now += STEP;
    }

    fn run(&mut self, ns: u64) {
        let end = self.now + ns;
        while self.now < end {
            self.step();
        }
        for cpu in 0..self.cpus.len() {
            if let Some(t) = self.stop(cpu) {
                self.cpus[cpu].running = Some((t, self.now));
            }
        }
    }

    fn share(&self, t: usize) -> f64 {
        self.tasks[t].ran as f64 / self.now as f64
    }
}

const SECOND: u64 = 1_000_000_000;

fn assert_share(m: &Machine, t: usize, want: f64, slack: f64) {
    let got = m.share(t);
    assert!((got - want).abs() <= want * slack, "task {t}: {got:.3}, not {want:.3}");
}

#[test]
fn shares_follow_weights_on_one_cpu() {
    let mut m = Machine::new(1);
    let a = m.add(256, !0, None);
    let b = m.add(512, !0, None);
    m.run(10 * SECOND);
    assert_share(&m, a, 1.0 / 3.0, 0.05);
    assert_share(&m, b, 2.0 / 3.0, 0.05);
}

#[test]
fn many_equals_share_equally() {
    let mut m = Machine::new(2);
    let all: Vec<_> = (0..8).map(|_| m.add(256, !0, None)).collect();
    m.run(20 * SECOND);
    for t in all {
        assert_share(&m, t, 0.25, 0.05);
    }
}

#[test]
fn three_on_two_cpus_share_equally() {
    let mut m = Machine::new(2);
    let all: Vec<_> = (0..3).map(|_| m.add(256, !0, None)).collect();
    m.run(20 * SECOND);
    for t in all {
        assert_share(&m, t, 2.0 / 3.0, 0.1);
    }
}

#[test]
fn a_lone_task_never_stops() {
    let mut m = Machine::new(2);
    let a = m.add(256, !0, None);
    m.run(SECOND);
    assert_share(&m, a, 1.0, 0.001);
    assert!(m.tasks[a].longest_wait <= STEP);
}

#[test]
fn affinity_is_obeyed_and_work_is_conserved() {
    let mut m = Machine::new(2);
    let pinned: Vec<_> = (0..2).map(|_| m.add(256, 0b01, None)).collect();
    let free: Vec<_> = (0..2).map(|_| m.add(256, !0, None)).collect();
    m.run(10 * SECOND);
    assert!(pinned.iter().all(|t| m.tasks[*t].cpu == 0));
    let total: f64 = pinned.iter().chain(&free).map(|t| m.share(*t)).sum();
    assert!(total > 1.99, "{total}");
    // Two pinned tasks share CPU 0, or less where the free ones come by.
    for t in pinned {
        assert!((0.3..=0.55).contains(&m.share(t)), "{}", m.share(t));
    }
}

#[test]
fn a_task_that_wakes_runs_soon_among_hogs() {
    let mut m = Machine::new(1);
    let hogs: Vec<_> = (0..4).map(|_| m.add(256, !0, None)).collect();
    let quick = m.add(256, !0, Some((200_000, 10_000_000)));
    // At first it has earned no credit yet.
    m.run(SECOND);
    m.tasks[quick].longest_wait = 0;
    m.run(10 * SECOND);
    let wait = m.tasks[quick].longest_wait;
    assert!(wait <= MIN_TURN + 2 * STEP, "waited {wait} ns");
    for t in hogs {
        assert!(m.share(t) > 0.22, "{}", m.share(t));
    }
}

#[test]
fn wakers_do_not_starve_a_hog() {
    let mut m = Machine::new(1);
    let hog = m.add(256, !0, None);
    // Each sleeps so briefly that together they could use the whole CPU.
    let wakers: Vec<_> = (0..4).map(|_| m.add(256, !0, Some((400_000, 100_000)))).collect();
    m.run(10 * SECOND);
    assert!(m.share(hog) > 0.18, "{}", m.share(hog));
    assert!(m.tasks[hog].longest_wait < 60_000_000, "{}", m.tasks[hog].longest_wait);
    for t in wakers {
        assert!(m.share(t) > 0.1, "{}", m.share(t));
    }
}

#[test]
fn weights_hold_with_sleepers_and_two_cpus() {
    let mut m = Machine::new(2);
    let heavy: Vec<_> = (0..2).map(|_| m.add(512, !0, None)).collect();
    let light: Vec<_> = (0..2).map(|_| m.add(256, !0, None)).collect();
    m.add(256, !0, Some((100_000, 20_000_000)));
    m.run(20 * SECOND);
    let sum = |v: &[usize]| v.iter().map(|t| m.share(*t)).sum::<f64>();
    let ratio = sum(&heavy) / sum(&light);
    assert!((1.8..=2.2).contains(&ratio), "{ratio}");
}

#[test]
fn a_late_comer_does_not_lock_the_others_out() {
    let mut m = Machine::new(1);
    let old = [m.add(256, !0, None), m.add(256, !0, None)];
    m.run(10 * SECOND);
    let before: Vec<_> = old.iter().map(|t| m.tasks[*t].ran).collect();
    let late = m.add(256, !0, None);
    m.run(3 * SECOND);
    for (t, before) in old.iter().zip(before) {
        let got = (m.tasks[*t].ran - before) as f64 / (3 * SECOND) as f64;
        assert!((got - 1.0 / 3.0).abs() < 0.02, "{got}");
    }
    assert!(m.tasks[late].ran > SECOND * 9 / 10);
}

/// Two guests with weights 256 and 512 beside Dom0, which is busy now and then, on one CPU.
#[test]
fn two_guests_and_dom0_keep_their_weights() {
    let mut m = Machine::new(1);
    let dom0 = m.add(256, !0, Some((300_000, 5_000_000)));
    let light = m.add(256, !0, None);
    let heavy = m.add(512, !0, None);
    m.run(20 * SECOND);
    let rest = 1.0 - m.share(dom0);
    assert_share(&m, light, rest / 3.0, 0.05);
    assert_share(&m, heavy, rest * 2.0 / 3.0, 0.05);
}

#[test]
fn caps_hold_beside_weights() {
    let mut m = Machine::new(1);
    let capped = m.add(512, !0, None);
    let free = m.add(256, !0, None);
    m.cap(capped, 30);
    m.run(20 * SECOND);
    assert_share(&m, capped, 0.3, 0.05);
    assert_share(&m, free, 0.7, 0.05);
}

#[test]
fn a_cap_above_the_share_takes_nothing_away() {
    let mut m = Machine::new(1);
    let capped = m.add(256, !0, None);
    let other = m.add(256, !0, None);
    m.cap(capped, 80);
    m.run(20 * SECOND);
    assert_share(&m, capped, 0.5, 0.05);
    assert_share(&m, other, 0.5, 0.05);
}

#[test]
fn a_domains_vcpus_share_its_cap() {
    let mut m = Machine::new(2);
    let first = m.add(256, !0, None);
    let second = m.add(256, !0, None);
    m.tasks[second].domain = m.tasks[first].domain;
    m.cap(first, 50);
    m.run(20 * SECOND);
    let both = m.share(first) + m.share(second);
    assert!((both - 0.5).abs() < 0.025, "{both}");
}

#[test]
fn small_caps_hold_for_guests_that_sleep() {
    let mut m = Machine::new(1);
    let capped = m.add(256, !0, Some((2_000_000, 1_000_000)));
    m.add(256, !0, None);
    m.cap(capped, 10);
    m.run(20 * SECOND);
    assert_share(&m, capped, 0.1, 0.05);
}

/// One that has long run alone is no debtor of one that comes later.
#[test]
fn a_late_comer_does_not_lock_a_lone_one_out() {
    let mut m = Machine::new(1);
    let old = m.add(256, !0, None);
    m.run(20 * SECOND);
    let (before, late) = (m.tasks[old].ran, m.add(256, !0, None));
    m.run(2 * SECOND);
    let got = (m.tasks[old].ran - before) as f64 / (2 * SECOND) as f64;
    assert!((got - 0.5).abs() < 0.02, "{got}");
    assert!(m.tasks[old].longest_wait < 20_000_000 && m.tasks[late].longest_wait < 20_000_000);
}
