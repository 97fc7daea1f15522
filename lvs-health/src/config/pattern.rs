//! Regular expressions that pages are searched for.

use std::fmt;
use std::sync::Arc;

use regex::bytes::{Regex, RegexBuilder};

/// A regular expression over the bytes of a page, as keepalived's `regex`, but for what takes more than linear time.
///
/// A page is hostile: a search takes time in proportion to its length, whatever the expression. So there is neither look-around nor
/// a backreference, nor anything else of PCRE's that goes back. Otherwise it reads as PCRE does without UTF: `.` is a byte, `\w`,
/// `\d`, `\s`, `\b` and a lack of case are ASCII's, a backslash before a sign makes it mean itself (`\<` too), and `$` is the end of
/// the page or of its last line.
///
/// Equal are patterns with the same expression and options.
#[derive(Clone)]
pub struct Pattern {
    expression: Box<str>,
    options: PatternOptions,
    /// Shared, with its caches, by all probes of a check.
    compiled: Arc<Regex>,
}

/// How an expression is to be read. All off by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct PatternOptions {
    /// Upper and lower case are the same.
    pub caseless: bool,
    /// `^` and `$` are the ends of lines.
    pub multiline: bool,
    /// `.` takes the end of a line too.
    pub dotall: bool,
}

/// An expression that is not carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PatternError {
    /// It is none, or one of another dialect: what is wrong, in words.
    #[error("{0}")]
    Syntax(String),
    /// It takes too much memory: its repetitions multiply.
    #[error("it takes more than {} KiB when compiled", Pattern::MAX_SIZE >> 10)]
    Size,
}

impl Pattern {
    /// The most bytes that a compiled expression may take, some hundred signs or repetitions of one. At worst a search looks at all
    /// of them for each byte of a page.
    pub const MAX_SIZE: usize = 32 << 10;

    /// Compiles an expression.
    ///
    /// # Errors
    /// If it is none, needs going back, or becomes larger than [`MAX_SIZE`](Self::MAX_SIZE).
    pub fn new(expression: &str, options: PatternOptions) -> Result<Self, PatternError> {
        let compiled = RegexBuilder::new(&without_word_edges(expression))
            .unicode(false)
            .case_insensitive(options.caseless)
            .multi_line(options.multiline)
            .dot_matches_new_line(options.dotall)
            .size_limit(Self::MAX_SIZE)
            .dfa_size_limit(MAX_CACHE)
            .build()
            .map_err(|error| match error {
                regex::Error::CompiledTooBig(_) => PatternError::Size,
                other => PatternError::Syntax(last_line(&other.to_string())),
            })?;
        Ok(Self { expression: expression.into(), options, compiled: Arc::new(compiled) })
    }

    /// Whether a page has it. Takes time in proportion to the page's length.
    #[must_use]
    pub fn is_in(&self, page: &[u8]) -> bool {
        // PCRE: "the dollar character is an assertion that is true only if the current matching point is at the end of the subject
        // string, or immediately before a newline at the end of the string".
        let without_newline = page.strip_suffix(b"\n").filter(|_| self.expression.contains('$'));
        self.compiled.is_match(page) || without_newline.is_some_and(|page| self.compiled.is_match(page))
    }

    /// As it was given.
    #[must_use]
    pub fn expression(&self) -> &str {
        &self.expression
    }

    /// As they were given.
    #[must_use]
    pub const fn options(&self) -> PatternOptions {
        self.options
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        (&self.expression, self.options) == (&other.expression, other.options)
    }
}

impl Eq for Pattern {}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { expression, options, .. } = self;
        f.debug_struct("Pattern")
            .field("expression", expression)
            .field("options", options)
            .finish_non_exhaustive()
    }
}

/// Bytes of states that a search remembers in each direction. Without enough of them it takes the slow way.
const MAX_CACHE: usize = 256 << 10;

/// `\<` and `\>` mean the edges of words to the crate `regex`, and themselves to everybody else.
fn without_word_edges(expression: &str) -> String {
    let mut text = String::with_capacity(expression.len());
    let mut signs = expression.chars();
    while let Some(sign) = signs.next() {
        match (sign, sign == '\\') {
            (_, false) => text.push(sign),
            (_, true) => match signs.next() {
                Some(edge @ ('<' | '>')) => text.push(edge),
                other => text.extend(std::iter::once('\\').chain(other)),
            },
        }
    }
    text
}

/// What is wrong stands at the end, below a picture of the expression.
fn last_line(text: &str) -> String {
    let line = text.lines().last().unwrap_or_default().trim();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: PatternOptions = PatternOptions { caseless: false, multiline: false, dotall: false };

    fn is_in(expression: &str, options: PatternOptions, page: &[u8]) -> bool {
        Pattern::new(expression, options).unwrap().is_in(page)
    }

    #[test]
    fn expressions_read_as_keepaliveds() {
        for (expression, page, found) in [
            ("Welcome, (guest|friend)", "<p>Welcome, friend!</p>", true),
            ("Welcome, (guest|friend)", "Welcome, stranger", false),
            (r"load: \d+\.\d{2}\b", "load: 12.50;", true),
            (r"load: \d+\.\d{2}\b", "load: 12.500", false),
            (r"\<b\>\/\-x", "<b>/-x", true),
            (r"[\<a]\\<", r"a\<", true),
            ("^ok$", "ok", true),
            ("^ok$", "ok\n", true),
            ("^ok$", "ok\n\n", false),
            ("ok$", "ok\nfail", false),
            ("a.b", "a\nb", false),
            ("ok", "OK", false),
            ("é+", "caf\u{e9}", true),
            ("(?i)ok", "OK", true),
        ] {
            assert_eq!(is_in(expression, NONE, page.as_bytes()), found, "{expression} in {page:?}");
        }
        assert!(is_in("caf.,", NONE, b"caf\xe9, a page in Latin-1"), "a byte, whatever it is");
        assert!(is_in(r"caf\xe9", NONE, b"caf\xe9"));
        assert!(is_in("ok", PatternOptions { caseless: true, ..NONE }, b"OK"));
        assert!(is_in("ok$", PatternOptions { multiline: true, ..NONE }, b"ok\nfail"));
        assert!(is_in("a.b", PatternOptions { dotall: true, ..NONE }, b"a\nb"));
    }

    #[test]
    fn what_cannot_be_carried_out_is_named() {
        for (expression, why) in [
            ("(?=a)b", "look-around, including look-ahead and look-behind, is not supported"),
            ("(?<!a)b", "look-around, including look-ahead and look-behind, is not supported"),
            (r"(a)\1", "backreferences are not supported"),
            ("(a", "unclosed group"),
            ("a{2,1}", "invalid repetition count range, the start must be <= the end"),
            ("(?>a)", "unrecognized flag"),
            (r"a\K", "unrecognized escape sequence"),
            ("((a{100}){100}){100}", "it takes more than 32 KiB when compiled"),
        ] {
            let error = Pattern::new(expression, NONE).unwrap_err();
            assert_eq!(error.to_string(), why, "{expression}");
        }
    }

    #[test]
    fn the_same_words_are_the_same_pattern() {
        let caseless = PatternOptions { caseless: true, ..NONE };
        let make = |expression, options| Pattern::new(expression, options).unwrap();
        assert_eq!(make("a", NONE), make("a", NONE));
        assert_ne!(make("a", NONE), make("a", caseless));
        assert_ne!(make("a", NONE), make("b", NONE));
    }
}
