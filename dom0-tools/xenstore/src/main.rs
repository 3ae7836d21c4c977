//! `xenstore`: the store in a shell, with the words and the output of Xen's own `xenstore-*` commands.
#![forbid(unsafe_code)]

mod listing;
mod quote;

use std::io::{self, BufWriter, ErrorKind, Write};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use xenstore_client::{Client, Permission, Store};

#[derive(Parser)]
#[command(name = "xenstore", version, about = "Looks into xenstore and changes it")]
struct Cli {
    #[command(subcommand)]
    command: Sub,
}

#[derive(Subcommand)]
enum Sub {
    /// Print a node and all below it
    Ls(listing::LsArgs),
    /// Print the values of nodes
    Read {
        /// Print each node's path before its value
        #[arg(short)]
        paths: bool,
        /// Nodes
        #[arg(required = true)]
        nodes: Vec<String>,
    },
    /// Set values; nodes that are missing are made
    Write {
        /// A node and its value, as often as you like; all are set at once
        #[arg(required = true, num_args = 2.., value_names = ["PATH", "VALUE"], allow_hyphen_values = true)]
        pairs: Vec<String>,
    },
    /// Remove nodes and all below them
    Rm {
        /// Nodes
        #[arg(required = true)]
        nodes: Vec<String>,
    },
    /// Print the names of a node's children
    List {
        /// Nodes
        #[arg(required = true)]
        nodes: Vec<String>,
    },
    /// End with 0 if all nodes are there, else with 1
    Exists {
        /// Nodes
        #[arg(required = true)]
        nodes: Vec<String>,
    },
    /// Set who may read and write a node
    Chmod {
        /// Node
        node: String,
        /// The owner first, then others: a letter of n, r, w, b and a domain's number, as in `n0 r3`
        #[arg(required = true)]
        list: Vec<String>,
    },
    /// Print the path of each change at or below nodes
    Watch {
        /// End after so many changes; the first is the watch itself
        #[arg(short, value_name = "COUNT")]
        number: Option<u64>,
        /// End after so many seconds
        #[arg(short, value_name = "SECONDS")]
        timeout: Option<u64>,
        /// Nodes
        #[arg(required = true)]
        nodes: Vec<String>,
    },
    /// Say something to the daemon, as `xenstore control help`
    Control {
        /// Command and arguments
        #[arg(required = true)]
        words: Vec<String>,
    },
}

fn main() -> ExitCode {
    let mut out = BufWriter::new(io::stdout().lock());
    let result = run(Cli::parse().command, &mut out).and_then(|code| Ok(out.flush().map(|()| code)?));
    match result {
        Ok(code) => code,
        // Whoever read the output has seen enough.
        Err(error)
            if error
                .downcast_ref()
                .is_some_and(|e: &io::Error| e.kind() == ErrorKind::BrokenPipe) =>
        {
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("xenstore: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Sub, out: &mut impl Write) -> Result<ExitCode> {
    let mut client = Client::open()?;
    match command {
        Sub::Ls(args) => listing::ls(&mut client, &args, out)?,
        Sub::Read { paths, nodes } => {
            for node in nodes {
                let value = quote::quoted(&client.read(&node).with_context(|| node.clone())?);
                if paths {
                    writeln!(out, "{node}: {value}")?;
                } else {
                    writeln!(out, "{value}")?;
                }
            }
        }
        Sub::Write { pairs } => write(&mut client, &pairs)?,
        Sub::Rm { nodes } => {
            for node in nodes {
                if !client.remove(&node)? {
                    bail!("{node}: no such node");
                }
            }
        }
        Sub::List { nodes } => {
            for node in nodes {
                for name in client.directory(&node).with_context(|| node.clone())? {
                    writeln!(out, "{name}")?;
                }
            }
        }
        Sub::Exists { nodes } => {
            for node in nodes {
                if !client.exists(&node)? {
                    return Ok(ExitCode::FAILURE);
                }
            }
        }
        Sub::Chmod { node, list } => {
            let parse = |word: &String| Permission::parse(word.as_bytes()).ok();
            match list.iter().map(parse).collect::<Option<Vec<_>>>() {
                Some(list) => client.set_permissions(&node, &list).with_context(|| node.clone())?,
                None => bail!(
                    "{}: a letter of n, r, w, b and a domain's number are expected, as in n0",
                    list.join(" ")
                ),
            }
        }
        Sub::Watch { number, timeout, nodes } => watch(&mut client, &nodes, number, timeout, out)?,
        Sub::Control { words } => {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            writeln!(out, "{}", client.control(&words)?.trim_end())?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Sets all pairs, or none.
fn write(client: &mut Client, pairs: &[String]) -> Result<()> {
    if !pairs.len().is_multiple_of(2) {
        bail!("{}: a value is missing", pairs[pairs.len() - 1]);
    }
    client.transaction(|store| {
        for pair in pairs.chunks_exact(2) {
            store.write(&pair[0], &pair[1])?;
        }
        Ok(())
    })?;
    Ok(())
}

fn watch(
    client: &mut Client,
    nodes: &[String],
    number: Option<u64>,
    timeout: Option<u64>,
    out: &mut impl Write,
) -> Result<()> {
    for node in nodes {
        client.watch(node, node)?;
    }
    let mut left = number.unwrap_or(u64::MAX);
    while left > 0 {
        let Some(event) = client.wait_event(timeout.map(Duration::from_secs))? else {
            bail!("nothing more changed in {} s", timeout.unwrap_or_default());
        };
        writeln!(out, "{}", event.path)?;
        out.flush()?;
        left -= 1;
    }
    Ok(())
}
