//! The matrix for people and for machines.

use std::fmt::Write;

use super::matrix::{Matrix, Verdict};

fn word(verdict: Option<&Verdict>) -> &'static str {
    match verdict {
        Some(Verdict::Pass) => "pass",
        Some(Verdict::Fail(_)) => "FAIL",
        Some(Verdict::NotApplicable(_)) => "n/a",
        None => "-",
    }
}

fn why(verdict: Option<&Verdict>) -> &str {
    match verdict {
        Some(Verdict::Fail(why) | Verdict::NotApplicable(why)) => why,
        _ => "",
    }
}

/// For a terminal: a line a case, then the reasons, then the counts.
pub fn terminal(matrix: &Matrix) -> String {
    let mut text = String::new();
    for (number, column) in matrix.0.iter().enumerate() {
        let _ = writeln!(text, "[{}] {}", number + 1, column.title);
    }
    let cases = matrix.cases();
    let width = cases.iter().map(|name| name.len()).max().unwrap_or(0);
    for name in &cases {
        let cells: Vec<String> = matrix
            .0
            .iter()
            .map(|column| format!("{:<5}", word(column.verdicts.get(*name))))
            .collect();
        let _ = writeln!(text, "{name:<width$}  {}", cells.join(" ").trim_end());
    }
    for (number, column) in matrix.0.iter().enumerate() {
        for (name, verdict) in &column.verdicts {
            if !why(Some(verdict)).is_empty() {
                let _ = writeln!(
                    text,
                    "[{}] {name}: {} {}",
                    number + 1,
                    word(Some(verdict)),
                    why(Some(verdict))
                );
            }
        }
        let _ = writeln!(text, "[{}] {}", number + 1, column.summary());
    }
    text
}

/// Text within XML or HTML.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .chars()
        .filter(|&c| !c.is_control() || c == '\n')
        .collect()
}

/// A page of its own.
pub fn html(matrix: &Matrix) -> String {
    let mut text = String::from(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Conformance</title><style>\n\
         body { font-family: sans-serif } td, th { padding: 0.2em 0.8em; text-align: left }\n\
         .pass { background: #d5f0d5 } .FAIL { background: #f5c0c0 } .na { background: #eee }\n\
         </style></head><body>\n<h1>Conformance</h1>\n<table>\n<tr><th>case</th>",
    );
    for column in &matrix.0 {
        let _ = write!(text, "<th>{}</th>", escaped(&column.title));
    }
    text += "</tr>\n";
    for name in matrix.cases() {
        let _ = write!(text, "<tr><td>{}</td>", escaped(name));
        for column in &matrix.0 {
            let verdict = column.verdicts.get(name);
            let class = word(verdict).replace('/', "");
            let reason = escaped(why(verdict));
            let _ = write!(text, "<td class=\"{class}\" title=\"{reason}\">{}</td>", word(verdict));
        }
        text += "</tr>\n";
    }
    text += "<tr><th>in all</th>";
    for column in &matrix.0 {
        let _ = write!(text, "<th>{}</th>", escaped(&column.summary()));
    }
    text + "</tr>\n</table>\n</body></html>\n"
}

/// JUnit's XML: a suite a run.
pub fn junit(matrix: &Matrix) -> String {
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
    for column in &matrix.0 {
        let [_, failed, skipped] = column.counts();
        let title = escaped(&column.title);
        let errors = usize::from(column.broken_off.is_some());
        let _ = writeln!(
            text,
            "  <testsuite name=\"{title}\" tests=\"{}\" failures=\"{failed}\" errors=\"{errors}\" skipped=\"{skipped}\">",
            column.verdicts.len() + errors
        );
        for (name, verdict) in &column.verdicts {
            let (protocol, case) = name.split_once('/').unwrap_or(("", name));
            let _ = write!(
                text,
                "    <testcase classname=\"{}\" name=\"{}\"",
                escaped(protocol),
                escaped(case)
            );
            text += &match verdict {
                Verdict::Pass => "/>\n".to_owned(),
                Verdict::Fail(why) => format!("><failure message=\"{}\"/></testcase>\n", escaped(why)),
                Verdict::NotApplicable(why) => format!("><skipped message=\"{}\"/></testcase>\n", escaped(why)),
            };
        }
        if let Some(why) = &column.broken_off {
            let _ = writeln!(
                text,
                "    <testcase classname=\"run\" name=\"end\"><error message=\"{}\"/></testcase>",
                escaped(why)
            );
        }
        text += "  </testsuite>\n";
    }
    text + "</testsuites>\n"
}

#[cfg(test)]
mod tests {
    use super::super::matrix::tests::column;
    use super::*;

    fn matrix() -> Matrix {
        Matrix(vec![
            column("cases 2\ncase a/x pass\ncase a/y fail 1 < 2 & \"3\"\nguest: exit 1\n"),
            column("cases 2\ncase a/x n/a no vif\n"),
        ])
    }

    #[test]
    fn every_case_has_a_line_with_all_runs() {
        let text = terminal(&matrix());
        assert!(
            text.contains("a/x  pass  n/a\n") && text.contains("a/y  FAIL  -\n"),
            "{text}"
        );
        assert!(
            text.contains("[1] a/y: FAIL 1 < 2 & \"3\"\n") && text.contains("1 of 2 cases ran"),
            "{text}"
        );
    }

    #[test]
    fn reasons_are_escaped() {
        let (page, xml) = (html(&matrix()), junit(&matrix()));
        for text in [&page, &xml] {
            assert!(text.contains("1 &lt; 2 &amp; &quot;3&quot;"), "{text}");
        }
        assert!(
            xml.contains("tests=\"2\" failures=\"1\" errors=\"0\" skipped=\"0\""),
            "{xml}"
        );
        assert!(xml.contains("<error message=\"1 of 2 cases ran\"/>"), "{xml}");
        assert!(
            page.contains("<td class=\"FAIL\"") && page.contains("<td class=\"na\" title=\"no vif\">"),
            "{page}"
        );
    }
}
