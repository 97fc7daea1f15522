//! One HTTP request, and what its answer means, bit by bit and within bounds. Knows no connection: bytes in, an outcome out.

use std::fmt::Write as _;

use md5::{Digest as _, Md5};
use sha2::Sha256;

#[cfg(feature = "regex")]
use crate::config::PatternSearch;
use crate::config::{BodyMatch, HttpProbe, HttpVersion};
use crate::outcome::{FailureKind, Outcome};

/// The longest head of a response: status line and headers.
const MAX_HEAD: usize = 8 * 1024;

/// The most headers.
const MAX_HEADERS: usize = 64;

/// What a probe may do with a response until others have their turn. One server's page, however laborious, keeps nobody waiting.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Share {
    bytes: usize,
    work: usize,
}

impl Share {
    /// Some milliseconds at worst.
    pub(crate) const WHOLE: Self = Self { bytes: 64 * 1024, work: 2048 };

    /// The same, where bytes come in small numbers.
    pub(crate) const OF_WORK: Self = Self { bytes: usize::MAX, ..Self::WHOLE };

    /// Takes what this many bytes cost, those of headers and encryption included.
    pub(crate) const fn take(&mut self, bytes: usize, response: &mut Response) {
        self.bytes = self.bytes.saturating_sub(bytes);
        self.work = self.work.saturating_sub(response.take_work());
    }

    pub(crate) const fn is_over(&self) -> bool {
        self.bytes == 0 || self.work == 0
    }
}

/// The request as bytes. `address` names the host where the probe does not.
pub(crate) fn request(probe: &HttpProbe, address: &str) -> Vec<u8> {
    let version = match probe.version {
        HttpVersion::Http10 => "1.0",
        HttpVersion::Http11 => "1.1",
    };
    let mut text = String::with_capacity(128 + probe.path.len());
    let host = probe.host.as_deref().unwrap_or(address);
    let _ = write!(
        text,
        "GET {} HTTP/{version}\r\nHost: {host}\r\nUser-Agent: lvs-health\r\nAccept: */*\r\nConnection: close\r\n\r\n",
        probe.path
    );
    text.into_bytes()
}

/// A response as it comes in.
pub(crate) struct Response {
    probe: HttpProbe,
    head: Vec<u8>,
    body: Option<Body>,
}

/// What is known about a body once the head is over.
struct Body {
    /// Bytes still to come, if the head said so.
    left: Option<u64>,
    chunks: Option<Chunks>,
    seen: usize,
    matcher: Matcher,
}

enum Matcher {
    Contains(Search),
    Md5(Md5),
    Sha256(Sha256),
    #[cfg(feature = "regex")]
    Pattern(Box<PatternSearch>),
}

impl Response {
    pub(crate) fn new(probe: &HttpProbe) -> Self {
        Self { probe: probe.clone(), head: Vec::new(), body: None }
    }

    /// Bytes have come. Answers as soon as the outcome is certain; more bytes are not needed then.
    pub(crate) fn handle_bytes(&mut self, bytes: &[u8]) -> Option<Outcome> {
        if self.body.is_some() {
            return self.handle_body(bytes);
        }
        let room = MAX_HEAD - self.head.len();
        let (taken, rest) = bytes.split_at(bytes.len().min(room));
        self.head.extend_from_slice(taken);
        let head = std::mem::take(&mut self.head);
        match parse_head(&head) {
            Ok(Some(parsed)) => self.begin_body(&parsed, head.get(parsed.length..).unwrap_or_default(), rest),
            Ok(None) if head.len() >= MAX_HEAD => {
                Some(Outcome::failure(FailureKind::Malformed, "the response's headers are longer than 8 KiB"))
            }
            Ok(None) => {
                self.head = head;
                None
            }
            Err(why) => Some(Outcome::failure(FailureKind::Malformed, why)),
        }
    }

    /// The server has closed the connection.
    pub(crate) fn handle_end(&mut self) -> Outcome {
        let Some(body) = self.body.take() else {
            let why = if self.head.is_empty() {
                "the connection was closed without a response"
            } else {
                "the connection was closed in the middle of the response's headers"
            };
            return Outcome::failure(FailureKind::Malformed, why);
        };
        let cut = body.left.is_some_and(|left| left > 0) || body.chunks.is_some();
        if cut {
            Outcome::failure(FailureKind::Content, "the body was cut off")
        } else {
            body.finish(&self.probe.body)
        }
    }

    /// How many bytes to hand over at a time, so that work can be counted before it is too much.
    pub(crate) const fn piece(&self) -> usize {
        match self.probe.body {
            #[cfg(feature = "regex")]
            BodyMatch::Pattern { .. } => 1024,
            _ => 16 * 1024,
        }
    }

    /// Work since this was asked last, in units of which a thousand take some milliseconds at worst: only an expression makes any
    /// that is worth counting.
    const fn take_work(&mut self) -> usize {
        #[cfg(feature = "regex")]
        if let Some(Body { matcher: Matcher::Pattern(search), .. }) = &mut self.body {
            return search.take_work();
        }
        0
    }

    fn begin_body(&mut self, head: &Head, first: &[u8], rest: &[u8]) -> Option<Outcome> {
        if !self.probe.status.iter().any(|range| range.contains(&head.status)) {
            let text = format!("HTTP status {}, which is not a good one", head.status);
            return Some(Outcome::failure(FailureKind::Status, text));
        }
        let matcher = match &self.probe.body {
            BodyMatch::Any => return Some(Outcome::SUCCESS),
            BodyMatch::Contains(text) => Matcher::Contains(Search::new(text)),
            BodyMatch::Md5(_) => Matcher::Md5(Md5::new()),
            BodyMatch::Sha256(_) => Matcher::Sha256(Sha256::new()),
            #[cfg(feature = "regex")]
            BodyMatch::Pattern { pattern, .. } => Matcher::Pattern(Box::new(pattern.search())),
        };
        let chunks = head.chunked.then(Chunks::default);
        self.body =
            Some(Body { left: head.length_of_body.filter(|_| !head.chunked), chunks, seen: 0, matcher });
        self.handle_body(first).or_else(|| self.handle_body(rest))
    }

    fn handle_body(&mut self, bytes: &[u8]) -> Option<Outcome> {
        let limit = self.probe.body_limit;
        let body = self.body.as_mut()?;
        let found =
            if body.chunks.is_some() { body.take_chunks(bytes, limit) } else { body.take(bytes, limit) };
        match found {
            Taken::More => None,
            #[cfg(feature = "regex")]
            Taken::Found if matches!(self.probe.body, BodyMatch::Pattern { .. }) => {
                self.body.take().map(|body| body.finish(&self.probe.body))
            }
            Taken::Found => Some(Outcome::SUCCESS),
            Taken::End => self.body.take().map(|body| body.finish(&self.probe.body)),
            #[cfg(feature = "regex")]
            Taken::Long if matches!(self.probe.body, BodyMatch::Pattern { .. }) => {
                self.body.take().map(|body| body.finish(&self.probe.body))
            }
            Taken::Long => Some(match self.probe.body {
                BodyMatch::Contains(_) => Outcome::failure(
                    FailureKind::Content,
                    format!("the text is not in the first {limit} bytes of the body"),
                ),
                _ => Outcome::failure(FailureKind::Content, format!("the body is longer than {limit} bytes")),
            }),
            Taken::Broken => {
                Some(Outcome::failure(FailureKind::Malformed, "the body's chunks are malformed"))
            }
        }
    }
}

/// What came of some bytes of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Taken {
    More,
    Found,
    End,
    Long,
    Broken,
}

impl Body {
    fn take(&mut self, bytes: &[u8], limit: usize) -> Taken {
        let most = self
            .left
            .map_or(bytes.len(), |left| usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len()));
        let bytes = &bytes[..most];
        let taken = &bytes[..bytes.len().min(limit - self.seen)];
        self.seen += taken.len();
        match &mut self.matcher {
            Matcher::Contains(search) => {
                if search.take(taken) {
                    return Taken::Found;
                }
            }
            Matcher::Md5(digest) => digest.update(taken),
            Matcher::Sha256(digest) => digest.update(taken),
            #[cfg(feature = "regex")]
            Matcher::Pattern(search) => {
                if search.take(taken) {
                    return Taken::Found;
                }
            }
        }
        if taken.len() < bytes.len() {
            return Taken::Long;
        }
        self.left = self.left.map(|left| left - most as u64);
        if self.left == Some(0) { Taken::End } else { Taken::More }
    }

    fn take_chunks(&mut self, mut bytes: &[u8], limit: usize) -> Taken {
        while let Some(chunks) = &mut self.chunks {
            match chunks.next(&mut bytes) {
                Chunk::More => return Taken::More,
                Chunk::Data(data) => match self.take(data, limit) {
                    Taken::More => {}
                    other => return other,
                },
                Chunk::End => return Taken::End,
                Chunk::Broken => return Taken::Broken,
            }
        }
        Taken::More
    }

    fn finish(self, wanted: &BodyMatch) -> Outcome {
        let (good, found) = match (self.matcher, wanted) {
            (Matcher::Contains(_), _) => {
                return Outcome::failure(FailureKind::Content, "the text is not in the body");
            }
            #[cfg(feature = "regex")]
            (Matcher::Pattern(search), BodyMatch::Pattern { pattern, wanted }) => {
                return match (search.finish(), *wanted) {
                    (true, true) | (false, false) => Outcome::SUCCESS,
                    (false, true) => {
                        let text = format!("the body has nothing that fits {}", pattern.expression());
                        Outcome::failure(FailureKind::Content, text)
                    }
                    (true, false) => {
                        let text = format!("the body has what must not be there: {}", pattern.expression());
                        Outcome::failure(FailureKind::Content, text)
                    }
                };
            }
            (Matcher::Md5(digest), BodyMatch::Md5(wanted)) => {
                let digest = digest.finalize();
                (digest[..] == wanted[..], hex(&digest))
            }
            (Matcher::Sha256(digest), BodyMatch::Sha256(wanted)) => {
                let digest = digest.finalize();
                (digest[..] == wanted[..], hex(&digest))
            }
            _ => (false, String::new()),
        };
        if good {
            Outcome::SUCCESS
        } else {
            Outcome::failure(FailureKind::Content, format!("the body is another one: its digest is {found}"))
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// What a head says.
struct Head {
    length: usize,
    status: u16,
    length_of_body: Option<u64>,
    chunked: bool,
}

/// `None` if it is not complete yet.
fn parse_head(bytes: &[u8]) -> Result<Option<Head>, String> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let length = match response.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => return Err(format!("what came back is not HTTP: {error}")),
    };
    let mut head = Head { length, status: response.code.unwrap_or(0), length_of_body: None, chunked: false };
    for header in response.headers.iter() {
        let value = header.value.trim_ascii();
        if header.name.eq_ignore_ascii_case("content-length") {
            let number = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
            head.length_of_body = Some(number.ok_or("the response's Content-Length is not a number")?);
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            head.chunked = value.to_ascii_lowercase().ends_with(b"chunked");
        }
    }
    Ok(Some(head))
}

/// Takes a chunked body apart (RFC 9112, section 7.1).
#[derive(Default)]
struct Chunks {
    state: ChunkState,
    left: u64,
    /// Bytes of the line that is being read.
    line: usize,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum ChunkState {
    #[default]
    Size,
    Extension,
    Data,
    AfterData,
}

enum Chunk<'a> {
    More,
    Data(&'a [u8]),
    End,
    Broken,
}

impl Chunks {
    /// The longest line in front of a chunk.
    const MAX_LINE: usize = 256;

    fn next<'a>(&mut self, bytes: &mut &'a [u8]) -> Chunk<'a> {
        loop {
            if self.state == ChunkState::Data && self.left > 0 {
                let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
                let (data, rest) = bytes.split_at(most);
                *bytes = rest;
                self.left -= most as u64;
                return if data.is_empty() { Chunk::More } else { Chunk::Data(data) };
            }
            let Some((&byte, rest)) = bytes.split_first() else {
                return Chunk::More;
            };
            *bytes = rest;
            self.line += 1;
            match (self.state, byte) {
                _ if self.line > Self::MAX_LINE => return Chunk::Broken,
                (ChunkState::Size | ChunkState::Extension, b'\n') if self.line > 1 => {
                    // The last chunk is empty; trailers behind it are nobody's business here.
                    if self.left == 0 {
                        return Chunk::End;
                    }
                    self.state = ChunkState::Data;
                }
                (ChunkState::Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                    let digit = u64::from((byte as char).to_digit(16).unwrap_or(0));
                    match self.left.checked_mul(16) {
                        Some(left) => self.left = left + digit,
                        None => return Chunk::Broken,
                    }
                }
                (ChunkState::Size, b';' | b' ' | b'\r') if self.line > 1 => {
                    self.state = ChunkState::Extension;
                }
                (ChunkState::Extension, _) => {}
                (ChunkState::Data, b'\r') => self.state = ChunkState::AfterData,
                (ChunkState::Data | ChunkState::AfterData, b'\n') => {
                    self.state = ChunkState::Size;
                    self.line = 0;
                }
                _ => return Chunk::Broken,
            }
            if self.state == ChunkState::Data {
                self.line = 0;
            }
        }
    }
}

/// Looks for a text in bytes that come in pieces (Knuth, Morris, Pratt): one step a byte, whatever the text.
struct Search {
    text: Vec<u8>,
    /// How much of the text is still matched after a mismatch behind each of its bytes.
    fallback: Vec<usize>,
    matched: usize,
}

impl Search {
    fn new(text: &[u8]) -> Self {
        let mut fallback = vec![0; text.len()];
        let mut matched = 0;
        for at in 1..text.len() {
            while matched > 0 && text[at] != text[matched] {
                matched = fallback[matched - 1];
            }
            matched += usize::from(text[at] == text[matched]);
            fallback[at] = matched;
        }
        Self { text: text.to_vec(), fallback, matched: 0 }
    }

    fn take(&mut self, bytes: &[u8]) -> bool {
        for &byte in bytes {
            while self.matched > 0 && byte != self.text[self.matched] {
                self.matched = self.fallback[self.matched - 1];
            }
            self.matched += usize::from(self.text[self.matched] == byte);
            if self.matched == self.text.len() {
                self.matched = 0;
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn probe(body: BodyMatch) -> HttpProbe {
        HttpProbe { body, ..HttpProbe::new("/") }
    }

    /// The outcome of a response that comes in pieces of that size, and then ends.
    fn judge(probe: &HttpProbe, bytes: &[u8], piece: usize) -> Outcome {
        let mut response = Response::new(probe);
        bytes
            .chunks(piece.max(1))
            .find_map(|piece| response.handle_bytes(piece))
            .unwrap_or_else(|| response.handle_end())
    }

    fn kind(outcome: &Outcome) -> Option<FailureKind> {
        if let Outcome::Failure(failure) = outcome { Some(failure.kind) } else { None }
    }

    #[test]
    fn a_request_names_path_and_host() {
        let mut probe = HttpProbe::new("/alive?x=1");
        let text = String::from_utf8(request(&probe, "[fd00::1]:8080")).unwrap();
        assert!(
            text.starts_with("GET /alive?x=1 HTTP/1.0\r\nHost: [fd00::1]:8080\r\n")
                && text.ends_with("\r\n\r\n")
        );
        probe.host = Some("www.example".into());
        probe.version = HttpVersion::Http11;
        assert!(request(&probe, "x").starts_with(b"GET /alive?x=1 HTTP/1.1\r\nHost: www.example\r\n"));
    }

    #[test]
    fn responses_are_judged_whatever_the_pieces() {
        // MD5 and SHA-256 of "hello".
        let md5 = BodyMatch::Md5([
            0x5d, 0x41, 0x40, 0x2a, 0xbc, 0x4b, 0x2a, 0x76, 0xb9, 0x71, 0x9d, 0x91, 0x10, 0x17, 0xc5, 0x92,
        ]);
        let sha = BodyMatch::Sha256(Sha256::digest(b"hello").into());
        let text = BodyMatch::Contains(b"ell".to_vec());
        let plain = b"HTTP/1.0 200 OK\r\n\r\nhello".as_slice();
        let sized = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloPIPELINED".as_slice();
        let chunked =
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"
                .as_slice();
        let cut = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello".as_slice();
        let cut_chunk = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n".as_slice();
        for piece in [1, 2, 3, 7, 1000] {
            for response in [plain, sized, chunked] {
                for body in [&md5, &sha, &text, &BodyMatch::Any] {
                    assert_eq!(
                        judge(&probe(body.clone()), response, piece),
                        Outcome::SUCCESS,
                        "{body:?} {piece}"
                    );
                }
                let other = judge(&probe(BodyMatch::Md5([0; 16])), response, piece);
                assert_eq!(kind(&other), Some(FailureKind::Content));
                let absent = judge(&probe(BodyMatch::Contains(b"elo".to_vec())), response, piece);
                assert_eq!(kind(&absent), Some(FailureKind::Content));
            }
            for response in [cut, cut_chunk] {
                assert_eq!(kind(&judge(&probe(md5.clone()), response, piece)), Some(FailureKind::Content));
            }
        }
    }

    #[cfg(feature = "regex")]
    #[test]
    fn expressions_are_looked_for_in_all_of_a_body() {
        use crate::config::{Pattern, PatternOptions};
        let pattern = |expression, wanted| {
            let pattern = Pattern::new(expression, PatternOptions::default()).unwrap();
            HttpProbe { body_limit: 1000, ..probe(BodyMatch::Pattern { pattern, wanted }) }
        };
        let text = |outcome| match outcome {
            Outcome::Failure(failure) => failure.text().to_owned(),
            other => format!("{other:?}"),
        };
        let chunked =
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n, you!\r\n0\r\n\r\n";
        for piece in [1, 3, 1000] {
            assert_eq!(judge(&pattern("lo, (you|we)!$", true), chunked, piece), Outcome::SUCCESS);
            assert_eq!(judge(&pattern("we!", false), chunked, piece), Outcome::SUCCESS);
            assert_eq!(
                text(judge(&pattern("we", true), chunked, piece)),
                "the body has nothing that fits we"
            );
            let refused = judge(&pattern("y.u", false), chunked, piece);
            assert_eq!(text(refused), "the body has what must not be there: y.u");
        }
        let cut = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello";
        assert_eq!(text(judge(&pattern("hello", true), cut, 7)), "the body was cut off");
        // An endless page: its beginning is looked at, as far as it takes.
        for (expression, wanted, last, good) in
            [("[xy]z", true, 3, false), ("x+", true, 0, true), ("x+", false, 0, false)]
        {
            let mut endless = Response::new(&pattern(expression, wanted));
            assert_eq!(endless.handle_bytes(b"HTTP/1.0 200 OK\r\n\r\n"), None);
            let (pieces, outcome) =
                (0..).find_map(|at| Some((at, endless.handle_bytes(&[b'x'; 300])?))).unwrap();
            assert_eq!((pieces, outcome == Outcome::SUCCESS), (last, good), "{expression}");
        }
    }

    #[test]
    fn hostile_responses_are_bounded_and_judged() {
        let any = probe(BodyMatch::Any);
        let bad_status = judge(&any, b"HTTP/1.0 500 Oops\r\n\r\n", 5);
        assert!(
            matches!(&bad_status, Outcome::Failure(f) if f.text() == "HTTP status 500, which is not a good one")
        );
        assert_eq!(kind(&judge(&any, b"SSH-2.0-OpenSSH\r\n", 100)), Some(FailureKind::Malformed));
        assert_eq!(kind(&judge(&any, b"", 1)), Some(FailureKind::Malformed));
        assert_eq!(kind(&judge(&any, b"HTTP/1.0 200 OK\r\nA: b", 1)), Some(FailureKind::Malformed));
        let huge = [b"HTTP/1.0 200 OK\r\nA: ".as_slice(), &[b'x'; 20_000]].concat();
        assert_eq!(kind(&judge(&any, &huge, 1460)), Some(FailureKind::Malformed));
        let many = [b"HTTP/1.0 200 OK\r\n".as_slice(), &b"A: b\r\n".repeat(100)].concat();
        assert_eq!(kind(&judge(&any, &many, 1460)), Some(FailureKind::Malformed));
        let length = b"HTTP/1.0 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n";
        assert_eq!(kind(&judge(&any, length, 1460)), Some(FailureKind::Malformed));
        // An endless body, and an endless chunk size.
        let mut endless = Response::new(&HttpProbe { body_limit: 10_000, ..probe(BodyMatch::Md5([0; 16])) });
        assert_eq!(endless.handle_bytes(b"HTTP/1.0 200 OK\r\n\r\n"), None);
        let pieces = (0..).position(|_| endless.handle_bytes(&[b'x'; 1000]).is_some());
        assert_eq!(pieces, Some(10));
        for size in ["fffffffffffffffff\r\n", "zz\r\n", "\r\n", "1\r\nab"] {
            let text = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{size}");
            let outcome = judge(&probe(BodyMatch::Md5([0; 16])), text.as_bytes(), 1);
            assert_eq!(kind(&outcome), Some(FailureKind::Malformed), "{size:?}");
        }
    }

    proptest! {
        #[test]
        fn a_search_finds_what_windows_find(
            text in proptest::collection::vec(0u8..3, 1..6), body in proptest::collection::vec(0u8..3, 0..80), piece in 1usize..9,
        ) {
            let mut search = Search::new(&text);
            let found = body.chunks(piece).any(|piece| search.take(piece));
            prop_assert_eq!(found, body.windows(text.len()).any(|window| window == text));
        }

        #[test]
        fn garbage_is_judged_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), piece in 1usize..50) {
            let response = [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".as_slice(), &bytes].concat();
            let probe = probe(BodyMatch::Md5([0; 16]));
            prop_assert!(kind(&judge(&probe, &response, piece)).is_some());
            prop_assert!(kind(&judge(&probe, &bytes, piece)).is_some());
        }
    }
}
