//! What one boot recorded: areas, their steps, what each step printed.

use std::collections::BTreeMap;

/// One command of an area's script.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// As the script has it.
    pub command: String,
    /// What it printed, line by line.
    pub lines: Vec<String>,
    /// Its exit status; None where the boot ended first.
    pub status: Option<i32>,
}

/// Marks in the recorded text; each printed line begins with `LINE`, so that none can be taken for a mark.
const AREA: &str = "@@AREA ";
const STEP: &str = "@@STEP ";
const STATUS: &str = "@@STATUS ";
const END: &str = "@@END ";
const LINE: char = '|';

/// The text of one area within that of a boot, if it came to its end.
pub fn whole<'a>(text: &'a str, area: &str) -> Option<&'a str> {
    let begin = text.find(&format!("{AREA}{area}\n"))?;
    let end = format!("{END}{area}\n");
    let length = text[begin..].find(&end)? + end.len();
    Some(&text[begin..begin + length])
}

/// Reads the steps of all areas in a text. An area that broke off has a last step without status.
pub fn parse(text: &str) -> BTreeMap<String, Vec<Step>> {
    let mut areas: BTreeMap<String, Vec<Step>> = BTreeMap::new();
    let mut area = String::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix(AREA) {
            name.clone_into(&mut area);
            areas.insert(area.clone(), Vec::new());
            continue;
        }
        let Some(steps) = areas.get_mut(&area) else { continue };
        if let Some(command) = line.strip_prefix(STEP) {
            steps.push(Step {
                command: command.to_owned(),
                ..Step::default()
            });
        } else if let Some(step) = steps.last_mut() {
            if let Some(printed) = line.strip_prefix(LINE) {
                step.lines.push(printed.to_owned());
            } else if let Some(status) = line.strip_prefix(STATUS) {
                step.status = status.trim().parse().ok();
            }
        }
    }
    areas
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "@@AREA a\n@@STEP xl x\n|one\n|@@STATUS 7\n@@STATUS 3\n@@STEP y\n@@STATUS 0\n@@END a\n@@AREA b\n@@STEP z\n|half";

    #[test]
    fn steps_are_read_and_output_is_never_a_mark() {
        let areas = parse(TEXT);
        let first = &areas["a"][0];
        assert_eq!((first.command.as_str(), first.status), ("xl x", Some(3)));
        assert_eq!(first.lines, ["one", "@@STATUS 7"]);
        assert_eq!(areas["a"].len(), 2);
        assert_eq!(areas["b"][0].status, None);
    }

    #[test]
    fn only_whole_areas_are_kept() {
        assert!(whole(TEXT, "a").is_some_and(|text| parse(text)["a"].len() == 2));
        assert!(whole(TEXT, "b").is_none() && whole(TEXT, "c").is_none());
    }
}
