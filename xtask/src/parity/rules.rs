//! What must differ between two runs is made alike; what differs by intent is known, with its reason.

use anyhow::{Context, Result};
use regex_lite::Regex;

use super::record::Step;

/// What is replaced in every line before lines are compared.
#[derive(Debug)]
pub struct Normal(Vec<(Regex, String)>);

/// A difference that is meant: lines of a command's output that may differ, or its status.
#[derive(Debug)]
pub struct Intended {
    area: Regex,
    command: Regex,
    line: Regex,
    /// Why.
    pub reason: String,
}

/// How a step of one hypervisor compares with the other's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The same output and status.
    Same,
    /// What differs is meant; the indices of the rules that say so.
    Intended(Vec<usize>),
    /// These lines differ: `-` stock Xen's, `+` ours.
    Different(Vec<String>),
}

/// Lines of a rules file that say something.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().enumerate().map(|(at, line)| (at + 1, line.trim()));
    lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

impl Normal {
    /// Reads `PATTERN => REPLACEMENT` lines.
    pub fn parse(text: &str) -> Result<Self> {
        let rule = |(at, line): (usize, &str)| {
            let (pattern, replacement) = line
                .split_once(" =>")
                .with_context(|| format!("line {at}: no ` => `"))?;
            let pattern = Regex::new(pattern.trim()).with_context(|| format!("line {at}"))?;
            Ok((pattern, replacement.trim().to_owned()))
        };
        Ok(Self(lines(text).map(rule).collect::<Result<_>>()?))
    }

    /// A line with all replacements done, runs of blanks made one. None where nothing is left.
    fn apply(&self, line: &str) -> Option<String> {
        let mut line = line.split_whitespace().collect::<Vec<_>>().join(" ");
        for (pattern, replacement) in &self.0 {
            line = pattern.replace_all(&line, replacement.as_str()).into_owned();
        }
        let line = line.trim().to_owned();
        (!line.is_empty()).then_some(line)
    }

    /// A step's output and status as they are compared.
    fn of(&self, step: &Step) -> Vec<String> {
        let mut lines: Vec<String> = step.lines.iter().filter_map(|line| self.apply(line)).collect();
        lines.extend(step.status.map(|status| format!("status {status}")));
        lines
    }
}

impl Intended {
    /// Reads `AREA | COMMAND | LINE | REASON` lines; the first three are patterns, the line's with its status line.
    pub fn parse(text: &str) -> Result<Vec<Self>> {
        let rule = |(at, line): (usize, &str)| {
            let mut fields = line.split(" | ").map(str::trim);
            let mut field = || {
                fields
                    .next()
                    .with_context(|| format!("line {at}: four fields are needed"))
            };
            let mut pattern = || Regex::new(&format!("^(?:{})$", field()?)).with_context(|| format!("line {at}"));
            let (area, command, line) = (pattern()?, pattern()?, pattern()?);
            let reason = field()?.to_owned();
            Ok(Self {
                area,
                command,
                line,
                reason,
            })
        };
        lines(text).map(rule).collect()
    }
}

/// Both rule books.
#[derive(Debug)]
pub struct Rules {
    /// What is made alike.
    pub normal: Normal,
    /// What is meant.
    pub intended: Vec<Intended>,
}

impl Rules {
    /// Compares one step of both.
    pub fn compare(&self, area: &str, xen: &Step, ours: &Step) -> Verdict {
        let (left, right) = (self.normal.of(xen), self.normal.of(ours));
        let mut used = Vec::new();
        let mut unexplained = Vec::new();
        for line in difference(&left, &right) {
            let rule = self.intended.iter().position(|rule| {
                rule.area.is_match(area) && rule.command.is_match(&xen.command) && rule.line.is_match(&line[1..])
            });
            match rule {
                Some(index) if !used.contains(&index) => used.push(index),
                Some(_) => {}
                None => unexplained.push(line),
            }
        }
        match (used.is_empty(), unexplained.is_empty()) {
            (true, true) => Verdict::Same,
            (false, true) => Verdict::Intended(used),
            _ => Verdict::Different(unexplained),
        }
    }
}

/// Lines that are in one text only, in their order, by a longest common subsequence.
fn difference(left: &[String], right: &[String]) -> Vec<String> {
    let width = right.len() + 1;
    let mut common = vec![0u32; (left.len() + 1) * width];
    for i in (0..left.len()).rev() {
        for j in (0..right.len()).rev() {
            common[i * width + j] = if left[i] == right[j] {
                common[(i + 1) * width + j + 1] + 1
            } else {
                common[(i + 1) * width + j].max(common[i * width + j + 1])
            };
        }
    }
    let (mut i, mut j, mut lines) = (0, 0, Vec::new());
    while i < left.len() || j < right.len() {
        if i < left.len() && j < right.len() && left[i] == right[j] {
            i += 1;
            j += 1;
        } else if j == right.len() || (i < left.len() && common[(i + 1) * width + j] >= common[i * width + j + 1]) {
            lines.push(format!("-{}", left[i]));
            i += 1;
        } else {
            lines.push(format!("+{}", right[j]));
            j += 1;
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(lines: &[&str], status: i32) -> Step {
        Step {
            command: "xl info".to_owned(),
            lines: lines.iter().map(|&line| line.to_owned()).collect(),
            status: Some(status),
        }
    }

    fn rules() -> Rules {
        Rules {
            normal: Normal::parse("# times\n[0-9]+\\.[0-9]+ => TIME\n^noise.* =>\n").unwrap(),
            intended: Intended::parse("info.* | xl info | build .* | builds have names\n").unwrap(),
        }
    }

    #[test]
    fn what_must_differ_is_made_alike() {
        let (xen, ours) = (step(&["a   1.5", "noise"], 0), step(&["a 22.75"], 0));
        assert_eq!(rules().compare("information", &xen, &ours), Verdict::Same);
    }

    #[test]
    fn what_is_meant_is_explained_and_nothing_else() {
        let (xen, ours) = (step(&["build x", "b"], 0), step(&["build y", "b"], 0));
        assert_eq!(rules().compare("information", &xen, &ours), Verdict::Intended(vec![0]));
        assert!(matches!(rules().compare("life", &xen, &ours), Verdict::Different(_)));
        let worse = step(&["build y", "c"], 0);
        let lines = vec!["-b".to_owned(), "+c".to_owned()];
        assert_eq!(rules().compare("information", &xen, &worse), Verdict::Different(lines));
    }

    #[test]
    fn a_status_is_compared() {
        let verdict = rules().compare("a", &step(&["b"], 0), &step(&["b"], 1));
        let lines = vec!["-status 0".to_owned(), "+status 1".to_owned()];
        assert_eq!(verdict, Verdict::Different(lines));
    }

    #[test]
    fn errors_name_the_line() {
        assert!(Normal::parse("\nx\n").unwrap_err().to_string().contains("line 2"));
        assert!(
            Intended::parse("a | b | c\n")
                .unwrap_err()
                .to_string()
                .contains("line 1")
        );
    }
}
