//! The head of an HTTP request.

/// Most bytes of a head.
pub(crate) const LONGEST_HEAD: usize = 4096;

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wish {
    Greeting,
    Echo,
    Md5,
    Data(u64),
    Md5Of(u64),
    End,
    /// Something else: the status of the answer.
    Refused(u16),
}

/// A request, without its body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Request {
    pub(crate) wish: Wish,
    /// Bytes of the body.
    pub(crate) body: u64,
}

/// Where a head ends in `bytes`, if it does.
pub(crate) fn find_end(bytes: &[u8]) -> Option<usize> {
    bytes
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .map(|at| at + 4)
}

impl Request {
    /// Reads a head. What makes no sense is refused, and so is read no further.
    pub(crate) fn parse(head: &[u8]) -> Self {
        Self::parse_text(head).unwrap_or(Self {
            wish: Wish::Refused(400),
            body: 0,
        })
    }

    fn parse_text(head: &[u8]) -> Option<Self> {
        let mut lines = core::str::from_utf8(head).ok()?.split("\r\n");
        let mut words = lines.next()?.split(' ');
        let (method, path) = (words.next()?, words.next()?);
        let mut body = 0;
        for line in lines {
            let Some((name, value)) = line.split_once(':') else {
                continue;
            };
            if name.eq_ignore_ascii_case("content-length") {
                body = value.trim().parse().ok()?;
            }
        }
        let number = |prefix: &str| path.strip_prefix(prefix).and_then(|text| text.parse().ok());
        let wish = match (method, path) {
            ("GET", "/") => Wish::Greeting,
            ("POST", "/echo") => Wish::Echo,
            ("POST", "/md5") => Wish::Md5,
            (_, "/end") => Wish::End,
            ("GET", _) => match (number("/data/"), number("/md5/")) {
                (Some(len), _) => Wish::Data(len),
                (_, Some(len)) => Wish::Md5Of(len),
                _ => Wish::Refused(404),
            },
            _ => Wish::Refused(405),
        };
        Some(Self { wish, body })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read_as_far_as_they_matter() {
        let parse = |text: &str| Request::parse(text.as_bytes());
        let request = parse("POST /echo HTTP/1.1\r\nHost: x\r\ncontent-LENGTH:  12 \r\n\r\n");
        assert_eq!((request.wish, request.body), (Wish::Echo, 12));
        assert_eq!(parse("GET /data/1000 HTTP/1.0\r\n\r\n").wish, Wish::Data(1000));
        assert_eq!(parse("GET /md5/7 HTTP/1.0\r\n\r\n").wish, Wish::Md5Of(7));
        assert_eq!(parse("GET /none HTTP/1.0\r\n\r\n").wish, Wish::Refused(404));
        assert_eq!(parse("PUT / HTTP/1.0\r\n\r\n").wish, Wish::Refused(405));
        assert_eq!(
            parse("POST /echo HTTP/1.0\r\nContent-Length: many\r\n\r\n").wish,
            Wish::Refused(400)
        );
        assert_eq!(parse("nonsense\r\n\r\n").wish, Wish::Refused(400));
        assert_eq!(find_end(b"GET / HTTP/1.0\r\n\r\nbody"), Some(18));
        assert_eq!(find_end(b"GET / HTTP/1.0\r\n"), None);
    }
}
