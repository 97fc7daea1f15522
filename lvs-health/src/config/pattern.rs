//! Regular expressions that pages are searched for.

use std::fmt;
use std::sync::Arc;

use regex_automata::hybrid::LazyStateID;
use regex_automata::hybrid::dfa::{self, Cache, DFA};
use regex_automata::nfa::thompson;
use regex_automata::util::{start, syntax};

/// A regular expression over the bytes of a page, as keepalived's `regex`, but for what takes more than linear time.
///
/// A page is hostile: a search takes time in proportion to its length, whatever the expression, and can be made in pieces, so that
/// nobody waits for it. So there is neither look-around nor a backreference, nor anything else of PCRE's that goes back. Otherwise it reads as PCRE does without UTF: `.` is a byte, `\w`,
/// `\d`, `\s`, `\b` and a lack of case are ASCII's, a backslash before a sign makes it mean itself (`\<` too), and `$` is the end of
/// the page or of its last line.
///
/// Equal are patterns with the same expression and options.
#[derive(Clone)]
pub struct Pattern {
    expression: Box<str>,
    options: PatternOptions,
    /// Shared by all probes of a check.
    compiled: Arc<DFA>,
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
        let syntax = syntax::Config::new()
            .unicode(false)
            .utf8(false)
            .case_insensitive(options.caseless)
            .multi_line(options.multiline)
            .dot_matches_new_line(options.dotall);
        let nfa = thompson::Config::new()
            .utf8(false)
            .which_captures(thompson::WhichCaptures::None)
            .nfa_size_limit(Some(Self::MAX_SIZE));
        let nfa = thompson::Compiler::new()
            .syntax(syntax)
            .configure(nfa)
            .build(&without_word_edges(expression))
            .map_err(
                |error| if error.size_limit().is_some() { PatternError::Size } else { syntax_error(&error) },
            )?;
        // What is remembered makes a search faster; an expression that needs more than that for one step gets it.
        let config = DFA::config().cache_capacity(MAX_CACHE).skip_cache_capacity_check(true);
        let compiled = dfa::Builder::new()
            .configure(config)
            .build_from_nfa(nfa)
            .map_err(|error| syntax_error(&error))?;
        Ok(Self { expression: expression.into(), options, compiled: Arc::new(compiled) })
    }

    /// Whether a page has it. Takes time in proportion to the page's length.
    #[must_use]
    pub fn is_in(&self, page: &[u8]) -> bool {
        let mut search = self.search();
        search.take(page);
        search.finish()
    }

    /// Begins a search of a page that comes in pieces.
    pub(crate) fn search(&self) -> PatternSearch {
        let mut cache = self.compiled.create_cache();
        // Only a search that may give up is refused, and this one may not.
        let state = self.compiled.start_state(&mut cache, &start::Config::new()).ok();
        PatternSearch {
            compiled: Arc::clone(&self.compiled),
            cache,
            progress: state.map_or(Progress::Over(false), Progress::At),
            is_end_before_newline: self.expression.contains('$'),
            newline: false,
            work: 0,
        }
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

/// A search of one page. It remembers states of the expression, not the page.
pub(crate) struct PatternSearch {
    compiled: Arc<DFA>,
    cache: Cache,
    progress: Progress,
    is_end_before_newline: bool,
    /// The page's last byte so far is a newline, and not looked at yet: it may be the last one.
    newline: bool,
    work: usize,
}

#[derive(Clone, Copy)]
enum Progress {
    At(LazyStateID),
    /// It was found, or never will be.
    Over(bool),
}

impl PatternSearch {
    /// Goes on. Answers whether it was found.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> bool {
        for &byte in bytes {
            let Progress::At(_) = self.progress else { break };
            if std::mem::replace(&mut self.newline, byte == b'\n') {
                self.step(b'\n');
            }
            if byte != b'\n' {
                self.step(byte);
            }
        }
        matches!(self.progress, Progress::Over(true))
    }

    /// The page is over. Answers whether it was found.
    pub(crate) fn finish(mut self) -> bool {
        if self.newline {
            // PCRE: "the dollar character is an assertion that is true only if the current matching point is at the end of the
            // subject string, or immediately before a newline at the end of the string".
            if self.is_end_before_newline && self.is_found_at_end() {
                return true;
            }
            self.step(b'\n');
        }
        self.is_found_at_end()
    }

    /// Steps of which the way was not known yet, since this was asked last. Each may look at all of the expression: some
    /// microseconds for one of [`Pattern::MAX_SIZE`]; the others take nanoseconds.
    pub(crate) const fn take_work(&mut self) -> usize {
        std::mem::replace(&mut self.work, 0)
    }

    fn step(&mut self, byte: u8) {
        let Progress::At(state) = self.progress else { return };
        if !state.is_tagged() {
            let next = self.compiled.next_state_untagged(&self.cache, state, byte);
            if !next.is_tagged() {
                self.progress = Progress::At(next);
                return;
            }
        }
        self.work += 1;
        self.progress = match self.compiled.next_state(&mut self.cache, state, byte) {
            Ok(next) if next.is_match() => Progress::Over(true),
            Ok(next) if !next.is_dead() => Progress::At(next),
            // As at its beginning: it does not give up.
            _ => Progress::Over(false),
        };
    }

    /// A match is told one step later; the end is a step too.
    fn is_found_at_end(&self) -> bool {
        match self.progress {
            Progress::Over(found) => found,
            // The step may clear the cache, and with it the state that another may have to begin at.
            Progress::At(state) => self
                .compiled
                .next_eoi_state(&mut self.cache.clone(), state)
                .is_ok_and(|state| state.is_match()),
        }
    }
}

/// Bytes of states that a search remembers. One that needs more of them forgets all and goes on, more slowly.
const MAX_CACHE: usize = 64 << 10;

/// `\<` and `\>` mean the edges of words to the crate `regex-automata`, and themselves to everybody else.
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

/// What is wrong stands at the end of the innermost error, below a picture of the expression.
fn syntax_error(error: &dyn std::error::Error) -> PatternError {
    let innermost = std::iter::successors(Some(error), |error| error.source()).last();
    PatternError::Syntax(last_line(&innermost.map(ToString::to_string).unwrap_or_default()))
}

fn last_line(text: &str) -> String {
    let line = text.lines().last().unwrap_or_default().trim();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::random::Random;

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

    proptest! {
        /// Searched in pieces, a page has what it has for the crate `regex`, which does it otherwise.
        #[test]
        fn a_search_in_pieces_finds_what_a_whole_one_finds(
            expression in proptest::sample::select(vec![
                "^ab", "ab$", "^$", "$", "", "a.{3}b", r"\bab\b", r"\Bb", "(ab|ba)+c", "a[^b]*c$", r"\n$", r"a\n\n", "c?$", "(?m)^a$",
                r"^(ab|\n)*$", r"\xff",
            ]),
            multiline: bool, dotall: bool, caseless: bool,
            page in proptest::collection::vec(proptest::sample::select(b"aabbcB\n\n -\xff".to_vec()), 0..40),
            piece in 1usize..9,
        ) {
            let pattern = Pattern::new(expression, PatternOptions { caseless, multiline, dotall }).unwrap();
            let oracle = regex::bytes::RegexBuilder::new(expression).unicode(false).case_insensitive(caseless)
                .multi_line(multiline).dot_matches_new_line(dotall).build().unwrap();
            let without_newline = page.strip_suffix(b"\n").filter(|_| expression.contains('$'));
            let found = oracle.is_match(&page) || without_newline.is_some_and(|page| oracle.is_match(page));
            let mut search = pattern.search();
            let early = page.chunks(piece).any(|piece| search.take(piece));
            prop_assert_eq!(early || search.finish(), found);
        }
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let dotall = PatternOptions { dotall: true, ..NONE };
        let mut random = Random::new(3);
        let page: Vec<u8> = (0..50_000).map(|_| if random.next() >> 63 == 0 { b'a' } else { b'c' }).collect();
        for expression in ["a.{300}b", "a.{120}b|c.{120}d"] {
            let mut search = Pattern::new(expression, dotall).unwrap().search();
            assert!(!search.take(&page));
            assert!(search.take_work() > 40_000, "{expression}: each step is a new one");
            let bytes = search.cache.memory_usage();
            assert!((4 << 10..=128 << 10).contains(&bytes), "{expression}: {bytes}");
            assert!(search.cache.clear_count() > 0, "{expression}: it forgot, and went on");
        }
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
