//! The loads, the script that runs them in the guest, and what it prints.

use std::collections::BTreeMap;

use anyhow::{Result, bail};

/// A load of a certain length.
#[derive(Debug)]
pub struct Load {
    /// Row of the table.
    pub name: &'static str,
    /// What it does, with `{n}` for its length.
    pub about: &'static str,
    /// Its command, with `{n}` for its length.
    pub command: &'static str,
    /// Its length.
    pub length: u32,
}

const fn load(name: &'static str, length: u32, about: &'static str, command: &'static str) -> Load {
    Load {
        name,
        about,
        command,
        length,
    }
}

/// All of them.
pub const LOADS: [Load; 9] = [
    load("fork", 500, "{n} forks", "stress-ng --fork 1 --fork-ops {n}"),
    load("exec", 100, "{n} execs", "stress-ng --exec 1 --exec-ops {n}"),
    load(
        "ctxsw",
        20_000,
        "{n} context switches",
        "stress-ng --switch 1 --switch-ops {n}",
    ),
    load(
        "pipe",
        20_000,
        "{n} pipe operations",
        "stress-ng --pipe 1 --pipe-ops {n}",
    ),
    load(
        "fault",
        2000,
        "{n} page faults with file writes",
        "stress-ng --fault 1 --fault-ops {n}",
    ),
    load(
        "mmap",
        20,
        "{n} maps of 4 MiB, touched",
        "stress-ng --mmap 1 --mmap-ops {n} --mmap-bytes 4m",
    ),
    load("hackbench", 50, "hackbench -l {n} -g 2", "hackbench -l {n} -g 2"),
    load(
        "cpu",
        5,
        "{n} integer loops",
        "stress-ng --cpu 1 --cpu-ops {n} --cpu-method int32",
    ),
    load(
        "shell",
        100,
        "{n} x /bin/true from bash",
        "bash -c 'for i in $(seq {n}); do /bin/true; done'",
    ),
];

/// How many times its length each load runs, by name.
pub type Factors = BTreeMap<&'static str, u32>;

/// A text with its length put in.
pub fn with_length(text: &str, length: u32) -> String {
    text.replace("{n}", &length.to_string())
}

/// The script: each load runs once to warm up and `samples` times to be measured; counters are read outside of the
/// measured time, those of the last run. The loads' files stand in memory: waits for a disk are not what is measured.
pub fn script(factors: &Factors, samples: u32, counters: bool) -> String {
    let mut text = String::from(
        "read -r up rest < /proc/uptime\nread -r cpu user nice system idle iowait rest < /proc/stat\n\
         echo \"UP $up $idle $iowait\"\nexport PATH=/usr/bin:/bin:/usr/sbin:/sbin\n\
         mount -t tmpfs tmpfs /mnt && cd /mnt\n",
    );
    if counters {
        text += "/run/busybox insmod /run/xen-privcmd.ko\ncount() { /run/dom0-load --counters $1; }\n";
    } else {
        text += "count() { :; }\n";
    }
    text += &format!(
        "b() {{ local n=$1 t0 t1 i; shift; \"$@\" >/tmp/out 2>&1\n\
         for i in $(seq {samples}); do count reset; t0=$(date +%s%N)\n\
         \"$@\" >/tmp/out 2>&1 || echo \"BENCH $n failed: $(tail -n 1 /tmp/out)\"\n\
         t1=$(date +%s%N); [ $i -lt {samples} ] || count $n; echo \"BENCH $n $(((t1 - t0) / 1000))\"; done; }}\n"
    );
    for load in &LOADS {
        if let Some(factor) = factors.get(load.name) {
            text += &format!("b {} {}\n", load.name, with_length(load.command, load.length * factor));
        }
    }
    text + "echo BENCH-END\nsync\n/run/busybox poweroff -f\n"
}

/// What one boot measured.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Microseconds of each run by load; `init` and `boot` are the times from the kernel's start to init and to the
    /// script.
    pub times: BTreeMap<String, Vec<f64>>,
    /// Trace counters by load.
    pub counters: BTreeMap<String, BTreeMap<String, u64>>,
}

/// The unit of /proc/stat (`USER_HZ`).
const TICKS_PER_SECOND: f64 = 100.0;

/// Reads the script's lines. The waits of Dom0's CPU for its disk (/proc/stat's idle and iowait) are no part of the
/// time to the script: a clock that counts instructions runs on by leaps while nothing runs, as far as the host's disk
/// is slow.
pub fn parse(console: &str) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    let add = |times: &mut BTreeMap<String, Vec<f64>>, name: &str, time| {
        times.entry(name.to_owned()).or_default().push(time);
    };
    for line in console.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["INIT", "UP", up] => {
                if let Ok(seconds) = up.parse::<f64>() {
                    add(&mut outcome.times, "init", seconds * 1e6);
                }
            }
            ["UP", up, waits @ ..] => {
                let waited = waits.iter().filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / TICKS_PER_SECOND;
                if let Ok(seconds) = up.parse::<f64>() {
                    add(&mut outcome.times, "boot", (seconds - waited) * 1e6);
                }
            }
            ["BENCH", name, "failed:", what @ ..] => bail!("{name} failed: {}", what.join(" ")),
            ["BENCH", name, time] => {
                if let Ok(time) = time.parse() {
                    add(&mut outcome.times, name, time);
                }
            }
            ["COUNT", load, value, counter @ ..] => {
                if let Ok(value) = value.parse() {
                    outcome
                        .counters
                        .entry((*load).to_owned())
                        .or_default()
                        .insert(counter.join(" "), value);
                }
            }
            _ => {}
        }
    }
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read() {
        let outcome =
            parse("INIT UP 2.5\nUP 4.25 40 60\nCOUNT fork 12 cr3 loads\nnoise\nBENCH fork 798\nBENCH fork 799\n")
                .unwrap();
        assert_eq!(outcome.times["init"], [2.5e6]);
        assert_eq!(outcome.times["boot"], [3.25e6]);
        assert_eq!(outcome.times["fork"], [798.0, 799.0]);
        assert_eq!(outcome.counters["fork"]["cr3 loads"], 12);
        assert!(parse("BENCH fork failed: no such file").is_err());
    }

    #[test]
    fn lengths_go_into_commands() {
        let text = script(&Factors::from([("fork", 2)]), 5, false);
        assert!(text.contains("b fork stress-ng --fork 1 --fork-ops 1000\n"), "{text}");
        assert!(!text.contains("hackbench"));
    }
}
