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
}

struct Cpu {
    queue: RunQueue<usize>,
    running: Option<(usize, u64)>,
}

struct Machine {
    now: u64,
    cpus: Vec<Cpu>,
    tasks: Vec<Task>,
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
        });
        self.tasks.len() - 1
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
        self.adopt(t, to);
        let task = &mut self.tasks[t];
        task.became_ready = self.now;
        self.cpus[to].queue.enter_woken(t, &mut task.entity);
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
            if self.cpus[cpu].running.is_none()
                && let Some(t) = self.cpus[cpu].queue.take_next()
            {
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
