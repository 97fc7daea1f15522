//! A line of a rules file taken apart into words.
//!
//! Words are separated by white space; a `#` at the beginning of a word starts a comment that reaches to the
//! end of the line. That is all: as in `ipvsadm -R` there is no quoting and no escaping, and bytes that are
//! not UTF-8 are no matter of this stage (they may stand in a comment).

use std::ops::Range;

/// A word and where it stands in its line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Word<'a> {
    pub(super) bytes: &'a [u8],
    /// The offset of its first byte in the line.
    pub(super) start: usize,
}

impl<'a> Word<'a> {
    pub(super) fn range(self) -> Range<usize> {
        self.start..self.start + self.bytes.len()
    }

    /// The part of the word from byte `at` (at most its length) on.
    pub(super) fn tail(self, at: usize) -> Self {
        Self { bytes: &self.bytes[at..], start: self.start + at }
    }

    /// The parts of a word between separators.
    pub(super) fn split(self, separator: u8) -> impl Iterator<Item = Self> {
        let mut start = self.start;
        self.bytes.split(move |&byte| byte == separator).map(move |bytes| {
            let part = Word { bytes, start };
            start += bytes.len() + 1;
            part
        })
    }
}

/// The words of a line, without its comment.
pub(super) fn words(line: &[u8]) -> Vec<Word<'_>> {
    let mut words = Vec::new();
    let mut at = 0;
    while let Some(skipped) = line[at..].iter().position(|&byte| !is_space(byte)) {
        let start = at + skipped;
        if line[start] == b'#' {
            break;
        }
        let length = line[start..].iter().position(|&byte| is_space(byte)).unwrap_or(line.len() - start);
        words.push(Word { bytes: &line[start..start + length], start });
        at = start + length;
    }
    words
}

/// As C's `isspace`, so that the carriage return of a CRLF file disappears here.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | 0x0b | 0x0c)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(line: &[u8]) -> Vec<(&[u8], usize)> {
        words(line).into_iter().map(|word| (word.bytes, word.start)).collect()
    }

    #[test]
    fn white_space_separates_and_a_hash_ends() {
        assert_eq!(texts(b" -A\t-t  x:1 \r"), [(&b"-A"[..], 1), (b"-t", 4), (b"x:1", 8)]);
        assert_eq!(texts(b"-C # all -A"), [(&b"-C"[..], 0)]);
        assert_eq!(texts(b"#\xff\x00"), []);
        assert_eq!(texts(b"a#b"), [(&b"a#b"[..], 0)]);
        assert_eq!(texts(b""), []);
        assert_eq!(texts(b" \t\r"), []);
    }

    #[test]
    fn parts_know_where_they_stand() {
        let parts: Vec<_> =
            Word { bytes: b"a,,bc", start: 3 }.split(b',').map(|part| (part.bytes, part.start)).collect();
        assert_eq!(parts, [(&b"a"[..], 3), (b"", 5), (b"bc", 6)]);
    }
}
