//! Lists of CPUs: `0-3,5,^1`, `all,^7`, `nodes:0-1,^node:1`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The CPUs of a machine, as far as lists of them need to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// For each CPU, the NUMA node it belongs to.
    pub node_of: Vec<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Group {
    All,
    Cpus(u32, u32),
    Nodes(u32, u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Term {
    excluded: bool,
    group: Group,
}

/// A list of CPUs whose meaning depends on the machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct CpuList {
    text: String,
    terms: Vec<Term>,
}

impl CpuList {
    /// Every CPU.
    pub fn all() -> Self {
        Self {
            text: "all".into(),
            terms: vec![Term {
                excluded: false,
                group: Group::All,
            }],
        }
    }

    /// One flag for each CPU of `host`. Terms apply from left to right; a list that begins with an exclusion begins
    /// with all CPUs. It is an error when nothing is left, or when a CPU or node is named that `host` has not.
    pub fn resolve(&self, host: &Host) -> Result<Vec<bool>, String> {
        let begins_full = self.terms.first().is_some_and(|term| term.excluded);
        let mut chosen = vec![begins_full; host.node_of.len()];
        for term in &self.terms {
            self.check(term.group, host)?;
            for (cpu, (flag, &node)) in chosen.iter_mut().zip(&host.node_of).enumerate() {
                let cpu = u32::try_from(cpu).unwrap_or(u32::MAX);
                let matches = match term.group {
                    Group::All => true,
                    Group::Cpus(first, last) => (first..=last).contains(&cpu),
                    Group::Nodes(first, last) => (first..=last).contains(&node),
                };
                if matches {
                    *flag = !term.excluded;
                }
            }
        }
        if chosen.contains(&true) {
            Ok(chosen)
        } else {
            Err(format!("{:?} leaves no CPU", self.text))
        }
    }

    fn check(&self, group: Group, host: &Host) -> Result<(), String> {
        let highest_node = host.node_of.iter().copied().max().unwrap_or(0);
        match group {
            Group::Cpus(_, last) if usize::try_from(last).is_ok_and(|last| last >= host.node_of.len()) => Err(format!(
                "{:?} names CPU {last}; this machine has {} CPUs",
                self.text,
                host.node_of.len()
            )),
            Group::Nodes(_, last) if last > highest_node => Err(format!(
                "{:?} names node {last}; the highest node here is {highest_node}",
                self.text
            )),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for CpuList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for CpuList {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refusal = || format!("{text:?} is no list of CPUs; write it as \"0-3,5,^1\", \"all\" or \"nodes:0-1\"");
        let mut terms = Vec::new();
        for word in text.split(',') {
            let word = word.trim();
            let (excluded, word) = match word.strip_prefix('^') {
                Some(word) => (true, word),
                None => (false, word),
            };
            terms.push(Term {
                excluded,
                group: group(word).ok_or_else(refusal)?,
            });
        }
        Ok(Self {
            text: text.to_owned(),
            terms,
        })
    }
}

fn group(word: &str) -> Option<Group> {
    if word == "all" {
        return Some(Group::All);
    }
    let (is_node, range) = match word.strip_prefix("nodes:").or_else(|| word.strip_prefix("node:")) {
        Some("all") => return Some(Group::All),
        Some(range) => (true, range),
        None => (false, word),
    };
    let (first, last) = match range.split_once('-') {
        Some((first, last)) => (number(first)?, number(last.trim_start_matches('^'))?),
        None => (number(range)?, number(range)?),
    };
    let (first, last) = (first <= last).then_some((first, last))?;
    Some(if is_node {
        Group::Nodes(first, last)
    } else {
        Group::Cpus(first, last)
    })
}

fn number(text: &str) -> Option<u32> {
    let text = text.trim();
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

impl From<CpuList> for String {
    fn from(list: CpuList) -> Self {
        list.text
    }
}

impl TryFrom<String> for CpuList {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// Which CPUs a domain's vcpus may run on, or should.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Affinity {
    /// Nothing was said.
    #[default]
    Unset,
    /// The same list for all vcpus.
    Every(CpuList),
    /// A list for each vcpu from 0 on; those after the last may run anywhere.
    Each(Vec<CpuList>),
}

impl Affinity {
    /// The list for `vcpu`, none where nothing was said.
    pub fn of(&self, vcpu: u32) -> Option<&CpuList> {
        match self {
            Self::Unset => None,
            Self::Every(list) => Some(list),
            Self::Each(lists) => lists.get(usize::try_from(vcpu).ok()?),
        }
    }
}
