//! The matrix of areas, for the terminal and as docs/parity.md.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::record::Step;
use super::rules::{Intended, Rules, Verdict};

/// One area.
#[derive(Debug)]
pub struct Row {
    /// Its name.
    pub area: String,
    /// Commands and how they compare.
    pub steps: Vec<(String, Verdict)>,
}

impl Row {
    /// Compares an area's steps. Both ran the same script, so the steps stand in the same order; what one lacks, because
    /// its boot ended, differs.
    pub fn new(area: &str, xen: &[Step], ours: &[Step], rules: &Rules) -> Self {
        let count = xen.len().max(ours.len());
        let lost = Step::default();
        let steps = (0..count).map(|at| {
            let (left, right) = (xen.get(at).unwrap_or(&lost), ours.get(at).unwrap_or(&lost));
            let command = xen.get(at).or(ours.get(at)).map(|step| step.command.clone());
            // No reason explains a command that did not come to its end.
            let verdict = match (left.status, right.status) {
                (Some(_), Some(_)) => rules.compare(area, left, right),
                (None, None) => Verdict::Different(vec!["neither came to its end".to_owned()]),
                (None, _) => Verdict::Different(vec!["-did not come to its end".to_owned()]),
                (_, None) => Verdict::Different(vec!["+did not come to its end".to_owned()]),
            };
            (command.unwrap_or_default(), verdict)
        });
        Self {
            area: area.to_owned(),
            steps: steps.collect(),
        }
    }

    fn count(&self, is: impl Fn(&Verdict) -> bool) -> usize {
        self.steps.iter().filter(|(_, verdict)| is(verdict)).count()
    }

    /// Commands, those alike, those that differ by intent, those that differ.
    fn counts(&self) -> [usize; 4] {
        [
            self.steps.len(),
            self.count(|verdict| *verdict == Verdict::Same),
            self.count(|verdict| matches!(verdict, Verdict::Intended(_))),
            self.count(|verdict| matches!(verdict, Verdict::Different(_))),
        ]
    }
}

/// All areas.
#[derive(Debug)]
pub struct Matrix {
    /// In the order they were asked for.
    pub rows: Vec<Row>,
    /// The rules that verdicts refer to.
    pub intended: Vec<Intended>,
}

impl Matrix {
    /// Whether nothing differs but by intent, and every area ran.
    pub fn holds(&self) -> bool {
        self.rows
            .iter()
            .all(|row| !row.steps.is_empty() && row.counts()[3] == 0)
    }

    /// The unexplained differences, as text.
    pub fn complaints(&self) -> String {
        let mut text = String::new();
        for row in &self.rows {
            if row.steps.is_empty() {
                let _ = writeln!(text, "{}: no command ran", row.area);
            }
            for (command, verdict) in &row.steps {
                if let Verdict::Different(lines) = verdict {
                    let _ = writeln!(text, "{}: {command}", row.area);
                    for line in lines {
                        let _ = writeln!(text, "    {line}");
                    }
                }
            }
        }
        text
    }

    /// Reasons that were used, with the commands they explain.
    fn reasons(&self) -> Vec<(&str, BTreeSet<String>)> {
        let mut reasons: Vec<(&str, BTreeSet<String>)> = Vec::new();
        for row in &self.rows {
            for (command, verdict) in &row.steps {
                let Verdict::Intended(rules) = verdict else { continue };
                for &rule in rules {
                    let reason = self.intended[rule].reason.as_str();
                    let at = reasons.iter().position(|(known, _)| *known == reason);
                    let at = at.unwrap_or_else(|| {
                        reasons.push((reason, BTreeSet::new()));
                        reasons.len() - 1
                    });
                    reasons[at].1.insert(command.clone());
                }
            }
        }
        reasons
    }
}

const HEADINGS: [&str; 5] = ["area", "commands", "alike", "by intent", "different"];

/// For the terminal: differences, then a line an area.
pub fn terminal(matrix: &Matrix) -> String {
    let mut text = matrix.complaints();
    if !text.is_empty() {
        text = format!("- stock Xen, + Paravane:\n{text}\n");
    }
    let [area, rest @ ..] = HEADINGS;
    let _ = writeln!(text, "{area:<14}{}", rest.map(|word| format!("{word:>11}")).concat());
    for row in &matrix.rows {
        let counts = row.counts().map(|count| format!("{count:>11}")).concat();
        let _ = writeln!(text, "{:<14}{counts}", row.area);
    }
    let verdict = if matrix.holds() {
        "no unexplained difference"
    } else {
        "there are unexplained differences"
    };
    let _ = writeln!(text, "{verdict}");
    text
}

/// A command as a table's cell.
fn cell(command: &str) -> String {
    let fence = if command.contains('`') { "``" } else { "`" };
    format!("{fence}{}{fence}", command.replace('|', "\\|"))
}

/// docs/parity.md; `all` are the areas there are.
pub fn page(matrix: &Matrix, all: &[String]) -> String {
    let mut text = String::from(
        "# Parity with stock Xen

Written by `cargo xtask parity`, which boots Debian's root disk with Debian's own tools on stock Xen 4.17 and on Paravane,
runs the same commands on both and compares what they print and how they end. What must differ between any two runs
(times, ids, addresses) is made alike by tests/parity/normal.txt; differences that are meant are listed with their reasons
in tests/parity/intended.txt and below.

",
    );
    let _ = writeln!(text, "| {} |", HEADINGS.join(" | "));
    let _ = writeln!(text, "|---|---|---|---|---|");
    for row in &matrix.rows {
        let counts = row.counts().map(|count| count.to_string()).join(" | ");
        let _ = writeln!(text, "| {} | {counts} |", row.area);
    }
    for area in all
        .iter()
        .filter(|area| matrix.rows.iter().all(|row| row.area != **area))
    {
        let _ = writeln!(text, "| {area} | not run | | | |");
    }
    let complaints = matrix.complaints();
    if complaints.is_empty() {
        text += "\nThere is no unexplained difference.\n";
    } else {
        let _ = writeln!(
            text,
            "\n## Unexplained\n\n`-` is stock Xen's, `+` ours.\n\n```\n{complaints}```"
        );
    }
    text += "\n## Differences that are meant\n\n| reason | seen in |\n|---|---|\n";
    for (reason, commands) in matrix.reasons() {
        let mut cells: Vec<String> = commands.iter().take(4).map(|command| cell(command)).collect();
        if commands.len() > cells.len() {
            cells.push(format!("{} more", commands.len() - cells.len()));
        }
        let _ = writeln!(text, "| {reason} | {} |", cells.join(", "));
    }
    text += "\n## Commands\n";
    for row in &matrix.rows {
        let _ = writeln!(text, "\n### {}\n\n```", row.area);
        for (command, verdict) in &row.steps {
            let mark = match verdict {
                Verdict::Same => "=",
                Verdict::Intended(_) => "~",
                Verdict::Different(_) => "!",
            };
            let _ = writeln!(text, "{mark} {command}");
        }
        text += "```\n";
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::rules::Normal;
    use super::*;

    fn step(command: &str, line: &str) -> Step {
        Step {
            command: command.to_owned(),
            lines: vec![line.to_owned()],
            status: Some(0),
        }
    }

    fn matrix(ours: &[Step]) -> Matrix {
        let rules = Rules {
            normal: Normal::parse("").unwrap(),
            intended: Intended::parse("a | two | .* | builds have names\n").unwrap(),
        };
        let xen = [step("one", "x"), step("two", "x")];
        Matrix {
            rows: vec![Row::new("a", &xen, ours, &rules)],
            intended: rules.intended,
        }
    }

    #[test]
    fn a_meant_difference_is_told_with_its_reason() {
        let matrix = matrix(&[step("one", "x"), step("two", "y")]);
        assert!(matrix.holds());
        assert_eq!(matrix.rows[0].counts(), [2, 1, 1, 0]);
        let page = page(&matrix, &["a".to_owned(), "b".to_owned()]);
        assert!(page.contains("| builds have names | `two` |"));
        assert!(page.contains("| b | not run |") && !page.contains("| a | not run |"));
    }

    #[test]
    fn what_one_of_them_lacks_differs() {
        let matrix = matrix(&[step("one", "x")]);
        assert!(!matrix.holds());
        assert!(terminal(&matrix).contains("+did not come to its end"));
        let empty = Matrix {
            rows: vec![Row {
                area: "a".to_owned(),
                steps: Vec::new(),
            }],
            intended: Vec::new(),
        };
        assert!(!empty.holds());
    }
}
