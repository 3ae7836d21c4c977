//! The few things that a guest's counterpart asks of `wget`, for hosts whose own may be missing or, linked statically, may
//! not find its name services: started by that name, xtask is that program.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

/// Whether this process was started by the name `wget`.
pub fn is_asked_for() -> bool {
    std::env::args_os().next().is_some_and(|name| {
        std::path::Path::new(&name)
            .file_name()
            .is_some_and(|file| file == "wget")
    })
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Request {
    authority: String,
    path: String,
    /// `-` for standard output.
    output: String,
    body: Option<String>,
    timeout: u64,
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Request> {
    let mut request = Request {
        timeout: 60,
        ..Request::default()
    };
    while let Some(word) = words.next() {
        let mut value = || words.next().with_context(|| format!("{word} wants a value"));
        match word.as_str() {
            "-q" => {}
            "-T" => request.timeout = value()?.parse()?,
            "-O" => request.output = value()?,
            _ => match (word.strip_prefix("--post-file="), word.strip_prefix("http://")) {
                (Some(file), _) => request.body = Some(file.to_owned()),
                (_, Some(rest)) => {
                    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
                    request.authority = authority.to_owned();
                    request.path = format!("/{path}");
                }
                _ => bail!("{word} is not understood"),
            },
        }
    }
    ensure!(!request.authority.is_empty(), "no http:// address");
    Ok(request)
}

/// The body of an answer with status 200.
fn body(answer: &[u8]) -> Result<&[u8]> {
    let end = answer
        .windows(4)
        .position(|bytes| bytes == b"\r\n\r\n")
        .context("an answer without end of head")?;
    let head = String::from_utf8_lossy(&answer[..end]);
    let status = head.split_whitespace().nth(1).unwrap_or_default();
    ensure!(status == "200", "status {status}");
    let body = &answer[end + 4..];
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse::<usize>().ok())?
    });
    ensure!(
        length.is_none_or(|length| length == body.len()),
        "{} bytes of {length:?}",
        body.len()
    );
    Ok(body)
}

fn fetch(request: &Request) -> Result<Vec<u8>> {
    let timeout = Some(Duration::from_secs(request.timeout));
    let address = if request.authority.contains(':') {
        request.authority.clone()
    } else {
        format!("{}:80", request.authority)
    };
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(timeout)?;
    stream.set_write_timeout(timeout)?;
    let sent = match &request.body {
        Some(file) => std::fs::read(file)?,
        None => Vec::new(),
    };
    let method = if request.body.is_some() { "POST" } else { "GET" };
    write!(
        stream,
        "{method} {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        request.path,
        request.authority,
        sent.len()
    )?;
    // An echo answers while it is still being asked.
    let mut writer = stream.try_clone()?;
    let written = std::thread::spawn(move || writer.write_all(&sent));
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    written.join().ok().context("the writer died")??;
    Ok(body(&answer)?.to_vec())
}

/// `wget` by that name.
pub fn main() -> ExitCode {
    let result = parse(std::env::args().skip(1)).and_then(|request| {
        let body = fetch(&request)?;
        match request.output.as_str() {
            "-" => std::io::stdout().write_all(&body)?,
            file => std::fs::write(file, body)?,
        }
        Ok(())
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("wget: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_understood() {
        let words = "-q -T 5 -O - --post-file=/tmp/x http://127.0.0.1:80/echo"
            .split(' ')
            .map(str::to_owned);
        let request = parse(words).unwrap();
        assert_eq!(
            (request.authority.as_str(), request.path.as_str()),
            ("127.0.0.1:80", "/echo")
        );
        assert_eq!((request.output.as_str(), request.timeout), ("-", 5));
        assert_eq!(request.body.as_deref(), Some("/tmp/x"));
        assert!(parse(["--other".to_owned()].into_iter()).is_err());
        assert!(parse(std::iter::empty()).is_err());
    }

    #[test]
    fn short_and_failed_answers_are_errors() {
        assert_eq!(body(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab").unwrap(), b"ab");
        assert_eq!(body(b"HTTP/1.1 200 OK\r\n\r\nab").unwrap(), b"ab");
        assert!(body(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab").is_err());
        assert!(body(b"HTTP/1.1 404 No\r\n\r\n").is_err());
        assert!(body(b"HTTP/1.1 200 OK\r\n").is_err());
    }
}
