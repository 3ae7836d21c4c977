//! `xenstore ls`: a tree by indentation, or one full path a line.

use std::io::Write;

use anyhow::{Context, Result};
use clap::Args;
use xenstore_client::{Client, Store};

use crate::quote::quoted;

/// Options of `ls`.
#[derive(Args, Debug)]
pub(crate) struct LsArgs {
    /// Full paths in the place of a tree
    #[arg(short)]
    full: bool,
    /// Also who owns each node and who may read and write it
    #[arg(short)]
    permissions: bool,
    /// Where to begin
    #[arg(default_value = "/")]
    nodes: Vec<String>,
}

/// Prints nodes and all below them. A node that goes away meanwhile is left out.
pub(crate) fn ls(client: &mut Client, args: &LsArgs, out: &mut impl Write) -> Result<()> {
    for node in &args.nodes {
        let names = client.directory(node).with_context(|| node.clone())?;
        descend(client, args, out, node.trim_end_matches('/'), names, 0)?;
    }
    Ok(())
}

fn descend(
    client: &mut Client,
    args: &LsArgs,
    out: &mut impl Write,
    parent: &str,
    names: Vec<String>,
    depth: usize,
) -> Result<()> {
    for name in names {
        let path = format!("{parent}/{name}");
        let Some(value) = present(client.read(&path))? else {
            continue;
        };
        let shown = if args.full {
            path.clone()
        } else {
            format!("{}{name}", " ".repeat(depth))
        };
        let rights = if args.permissions {
            rights(client, &path)?
        } else {
            String::new()
        };
        writeln!(out, "{shown} = \"{}\"{rights}", quoted(&value))?;
        let names = present(client.directory(&path))?.unwrap_or_default();
        descend(client, args, out, &path, names, depth + 1)?;
    }
    Ok(())
}

fn present<T>(result: xenstore_client::Result<T>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_missing() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// As `   (n0,r3)`.
fn rights(client: &mut Client, path: &str) -> Result<String> {
    let list = present(client.permissions(path))?.unwrap_or_default();
    let words: Vec<String> = list
        .iter()
        .map(|entry| format!("{}{}", char::from(entry.access.letter()), entry.domain))
        .collect();
    Ok(format!("   ({})", words.join(",")))
}
