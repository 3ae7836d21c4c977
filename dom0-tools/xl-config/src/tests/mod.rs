//! Tests of the whole way from text to domain.

mod devices;
mod properties;
mod syntax;

use crate::{DomainConfig, Problem, Severity, interpret, parse};

/// Reads `text` as the file `t.cfg`.
fn read(text: &str) -> (Option<DomainConfig>, Vec<Problem>) {
    let (document, mut problems) = parse("t.cfg", text);
    let (config, more) = interpret(&document);
    let refused = problems.iter().any(|problem| problem.severity == Severity::Error);
    problems.extend(more);
    (config.filter(|_| !refused), problems)
}

/// The domain of `text` beside a name and a kernel, which must be without problems.
fn domain(text: &str) -> DomainConfig {
    let (config, problems) = read(&format!("{text}\nname='g'\nkernel='/k'\nmemory=64\n"));
    assert_eq!(problems, [], "of {text:?}");
    config.expect("a domain without problems")
}

/// The problems of `text` beside a name, a kernel and memory, as they are printed.
fn problems(text: &str) -> Vec<String> {
    let (_, problems) = read(&format!("{text}\nname='g'\nkernel='/k'\nmemory=64\n"));
    problems.iter().map(ToString::to_string).collect()
}
