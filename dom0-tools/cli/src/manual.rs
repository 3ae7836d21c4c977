//! Holds docs/xlr.md complete: every command and every option that help shows is in it.

use clap::CommandFactory;

use crate::cli::Cli;

const MANUAL: &str = include_str!("../../../docs/xlr.md");

/// The part of the manual that tells of `command`: its row of a table, and its own section if it has one.
fn part(command: &str) -> String {
    let rows = MANUAL.lines().filter(|line| {
        let first = line
            .strip_prefix('|')
            .and_then(|rest| rest.split(" | ").next())
            .unwrap_or_default();
        first.split('`').any(|words| words.split(' ').next() == Some(command))
    });
    let mut text: String = rows.collect::<Vec<_>>().join("\n");
    if let Some(section) = MANUAL
        .split("\n### ")
        .find(|section| section.starts_with(&format!("{command}\n")))
    {
        text += section;
    }
    text
}

#[test]
fn the_manual_names_every_command_and_option() {
    let mut root = Cli::command();
    root.build();
    let mut missing = Vec::new();
    for command in root.get_subcommands().filter(|command| !command.is_hide_set()) {
        let (name, text) = (command.get_name(), part(command.get_name()));
        let section = MANUAL.contains(&format!("\n### {name}\n"));
        if text.is_empty() && !section {
            missing.push(name.to_owned());
        }
        for option in command
            .get_arguments()
            .filter(|arg| !arg.is_hide_set() && !arg.is_positional())
        {
            let short = option.get_short().map(|short| format!("-{short}"));
            let long = option.get_long().map(|long| format!("--{long}"));
            for spelling in short.into_iter().chain(long) {
                // Told once for all commands.
                if !["-h", "--help", "--json"].contains(&spelling.as_str()) && !text.contains(&spelling) {
                    missing.push(format!("{name} {spelling}"));
                }
            }
        }
    }
    assert!(missing.is_empty(), "docs/xlr.md lacks: {missing:?}");
}

#[test]
fn the_manual_names_no_command_that_is_not_there() {
    let root = Cli::command();
    for line in MANUAL
        .lines()
        .filter(|line| line.starts_with("| `") && !line.starts_with("| `-"))
    {
        let name = line
            .trim_start_matches("| `")
            .split([' ', '`'])
            .next()
            .unwrap_or_default();
        // A key of the configuration.
        if name.contains('=') {
            continue;
        }
        let known = name == "help" || root.get_subcommands().any(|command| command.get_name() == name);
        assert!(known, "docs/xlr.md tells of '{name}'");
    }
}
