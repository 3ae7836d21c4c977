//! From the words of a command line to a domain's configuration.

use std::fs;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result};
use xl_config::{Document, DomainConfig, Severity, interpret, parse, parse_pair};

use crate::failure::Failure;
use crate::message;

/// Where a bare NAME is looked for, as NAME and as NAME.cfg.
const DIRECTORIES: [&str; 2] = ["/etc/paravane", "/etc/xen"];
/// No configuration is longer, in bytes; a disk image named by mistake is.
const MAX_LENGTH: u64 = 1 << 20;

/// A configuration and where it came from.
#[derive(Debug)]
pub struct Loaded {
    /// The domain that is described.
    pub config: DomainConfig,
    /// The file's path, or `command line`.
    pub source: String,
}

/// Reads the file and the `key=value` pairs among `words`; `named` is the file where an option names it. Warnings go
/// to standard error unless `quiet`; errors are the failure's message.
pub fn load(named: Option<&str>, words: &[String], quiet: bool) -> Result<Loaded> {
    let (file, pairs) = match (named, words.split_first()) {
        (Some(file), _) => (Some(file), words),
        (None, Some((first, rest))) if !is_pair(first) => (Some(&**first), rest),
        (None, _) => (None, words),
    };
    let source = file.map_or_else(|| "command line".to_owned(), find);
    let mut problems = Vec::new();
    let mut document = Document::empty(&source);
    if file.is_some() {
        let (read, found) = parse(&source, &read_text(&source)?);
        (document, problems) = (read, found);
    }
    for word in pairs {
        let (pair, found) = parse_pair(word);
        document.overlay(pair);
        problems.extend(found);
    }
    let (config, found) = interpret(&document);
    // A broken line may be why something is missing: what is broken comes first, alone.
    if problems.is_empty() {
        problems = found;
    }
    let (errors, warnings): (Vec<_>, Vec<_>) = problems.iter().partition(|p| p.severity == Severity::Error);
    if !quiet {
        warnings.iter().for_each(message::say);
    }
    match config {
        Some(config) if errors.is_empty() => Ok(Loaded { config, source }),
        _ => {
            let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
            Err(Failure::new(1, lines.join("\nxlr: ")))
        }
    }
}

/// Whether a word is `key=value` and not the name of a file.
fn is_pair(word: &str) -> bool {
    let key = word.split_once('=').map(|(key, _)| key.trim_end_matches('+').trim());
    key.is_some_and(|key| !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'))
        && !Path::new(word).exists()
}

fn find(name: &str) -> String {
    if name.contains('/') || Path::new(name).exists() {
        return name.to_owned();
    }
    let candidates = DIRECTORIES
        .iter()
        .flat_map(|dir| [format!("{dir}/{name}"), format!("{dir}/{name}.cfg")]);
    candidates
        .into_iter()
        .find(|path| Path::new(path).is_file())
        .unwrap_or_else(|| name.to_owned())
}

fn read_text(path: &str) -> Result<String> {
    let refuse = |message: String| Failure::new(3, message);
    let read = || -> std::io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        fs::File::open(path)?.take(MAX_LENGTH + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().map_err(|error| refuse(format!("Failed to read config file: {path}: {error}")))?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > MAX_LENGTH) {
        return Err(refuse(format!("{path} is longer than 1 MiB; is it a configuration?")));
    }
    String::from_utf8(bytes)
        .map_err(|error| {
            let line = 1 + error.as_bytes()[..error.utf8_error().valid_up_to()]
                .iter()
                .filter(|&&b| b == b'\n')
                .count();
            refuse(format!("{path}:{line}: is not UTF-8 text"))
        })
        .context("the configuration cannot be read")
        .map_err(|error| error.downcast::<Failure>().map_or_else(|error| error, Into::into))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|&word| word.to_owned()).collect()
    }

    #[test]
    fn pairs_go_over_the_file() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("a.cfg");
        fs::write(&path, "name='a'\nkernel='/k'\nmemory=64\n").expect("written");
        let path = path.to_str().expect("UTF-8");
        let loaded = load(None, &words(&[path, "memory=128", "name=b"]), true).expect("a configuration");
        assert_eq!((loaded.config.memory_kib, &*loaded.config.name), (128 * 1024, "b"));
        let loaded = load(Some(path), &words(&["vcpus=2"]), true).expect("a configuration");
        assert_eq!((loaded.config.vcpus, loaded.source.as_str()), (2, path));
    }

    #[test]
    fn errors_have_xls_codes_and_name_the_line() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("a.cfg");
        let path_text = path.to_str().expect("UTF-8");
        let failure = |words: &[String]| {
            let error = load(None, words, true).expect_err("refused");
            error.downcast::<Failure>().expect("with a code")
        };
        assert_eq!(failure(&words(&["/nonexistent.cfg"])).code, 3);
        fs::write(&path, "foo bar\n").expect("written");
        let refused = failure(&words(&[path_text]));
        assert_eq!(refused.code, 1);
        assert!(
            refused.message.contains("a.cfg:1: foo: an = must follow"),
            "{}",
            refused.message
        );
        fs::write(&path, b"name='a'\nx='\xff'\n").expect("written");
        assert!(failure(&words(&[path_text])).message.contains("a.cfg:2: is not UTF-8"));
    }
}
