//! What the cases' guest says, by case and backend.

use std::collections::BTreeMap;

/// How a case ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As expected.
    Pass,
    /// Otherwise, and why.
    Fail(String),
    /// There was nothing to expect, and why.
    NotApplicable(String),
}

/// One run of all cases.
#[derive(Clone, Debug)]
pub struct Column {
    /// Which frontends and backends.
    pub title: String,
    /// By the cases' names.
    pub verdicts: BTreeMap<String, Verdict>,
    /// What went wrong with the run itself.
    pub broken_off: Option<String>,
}

impl Column {
    /// Reads the guest's lines: `cases N`, then `case NAME pass`, `case NAME fail WHY`, `case NAME n/a WHY`. A run that
    /// did not come to its end is a failure, whatever its cases were.
    pub fn parse(title: String, lines: &[String], error: Option<anyhow::Error>) -> Self {
        let mut verdicts = BTreeMap::new();
        let mut announced = None;
        for line in lines {
            let line = line.trim();
            if let Some(count) = line.strip_prefix("cases ") {
                announced = count.parse::<usize>().ok();
            }
            let Some((name, rest)) = line.strip_prefix("case ").and_then(|rest| rest.split_once(' ')) else {
                continue;
            };
            let (word, why) = rest.split_once(' ').unwrap_or((rest, ""));
            let verdict = match word {
                "pass" => Verdict::Pass,
                "n/a" => Verdict::NotApplicable(why.to_owned()),
                _ => Verdict::Fail(why.to_owned()),
            };
            verdicts.insert(name.to_owned(), verdict);
        }
        let ended = lines.iter().any(|line| line.contains("guest: exit "));
        let broken_off = match (error, announced) {
            (Some(error), _) => Some(format!("{error:#}")),
            (None, None) => Some("the guest announced no cases".to_owned()),
            (None, Some(count)) if count != verdicts.len() => Some(format!("{} of {count} cases ran", verdicts.len())),
            (None, Some(_)) => (!ended).then(|| "the guest did not come to its end".to_owned()),
        };
        Self {
            title,
            verdicts,
            broken_off,
        }
    }

    /// Cases that passed, failed, did not apply.
    pub fn counts(&self) -> [usize; 3] {
        let count = |is: fn(&Verdict) -> bool| self.verdicts.values().filter(|verdict| is(verdict)).count();
        [
            count(|verdict| *verdict == Verdict::Pass),
            count(|verdict| matches!(verdict, Verdict::Fail(_))),
            count(|verdict| matches!(verdict, Verdict::NotApplicable(_))),
        ]
    }

    /// The counts in words.
    pub fn summary(&self) -> String {
        let [passed, failed, skipped] = self.counts();
        let off = self
            .broken_off
            .as_ref()
            .map(|why| format!("; {why}"))
            .unwrap_or_default();
        format!("{passed} passed, {failed} failed, {skipped} not applicable{off}")
    }
}

/// All runs.
#[derive(Clone, Debug)]
pub struct Matrix(pub Vec<Column>);

impl Matrix {
    /// The cases of all runs, in order.
    pub fn cases(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self
            .0
            .iter()
            .flat_map(|column| column.verdicts.keys())
            .map(String::as_str)
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Whether there was any case.
    pub fn has_cases(&self) -> bool {
        self.0.iter().any(|column| !column.verdicts.is_empty())
    }

    /// Failed cases, and runs that broke off.
    pub fn failures(&self) -> usize {
        self.0
            .iter()
            .map(|column| column.counts()[1] + usize::from(column.broken_off.is_some()))
            .sum()
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A run from the guest's text.
    pub fn column(text: &str) -> Column {
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        Column::parse("ours, theirs".to_owned(), &lines, None)
    }

    #[test]
    fn lines_become_verdicts() {
        let run = column("cases 3\ncase a/x pass\ncase a/y fail no & answer\ncase b/z n/a no vif\nguest: exit 1\n");
        assert_eq!(run.counts(), [1, 1, 1]);
        assert_eq!(run.verdicts["a/y"], Verdict::Fail("no & answer".to_owned()));
        assert_eq!(Matrix(vec![run]).failures(), 1);
    }

    #[test]
    fn a_run_that_breaks_off_is_a_failure() {
        for text in ["", "cases 2\ncase a pass\nguest: exit 0\n", "cases 1\ncase a pass\n"] {
            let matrix = Matrix(vec![column(text)]);
            assert_eq!(matrix.failures(), 1, "{text}");
        }
        let good = column("cases 1\ncase a pass\nguest: exit 0\n");
        assert_eq!(Matrix(vec![good]).failures(), 0);
        let lines = ["cases 0".to_owned(), "guest: exit 0".to_owned()];
        let failed = Column::parse(String::new(), &lines, Some(anyhow::anyhow!("no machine")));
        assert_eq!(Matrix(vec![failed]).failures(), 1);
    }
}
