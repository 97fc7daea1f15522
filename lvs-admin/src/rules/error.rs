//! Where a rules file is wrong: line, bytes, the problem, and how to show it.

use std::fmt;
use std::ops::Range;

pub use super::problem::Problem;
use super::problem::printable;

/// A rules file is wrong; nothing of it was used.
///
/// Its text is `line 3: what is wrong; expected what would be right`.
/// With the file's name in front it comes from [`RulesError::display`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RulesError {
    line: usize,
    column: Range<usize>,
    problem: Problem,
    /// Apart, so that results stay small.
    excerpt: Box<Excerpt>,
}

impl RulesError {
    pub(super) fn new(line: usize, text: &[u8], fault: Fault) -> Self {
        let excerpt = Box::new(Excerpt::of(text, &fault.range));
        Self { line, column: fault.range, problem: fault.problem, excerpt }
    }

    /// The number of the line, from 1.
    #[must_use]
    pub const fn line(&self) -> usize {
        self.line
    }

    /// The bytes of the line that are at fault, from 0.
    #[must_use]
    pub const fn column(&self) -> &Range<usize> {
        &self.column
    }

    /// What is wrong.
    #[must_use]
    pub const fn problem(&self) -> &Problem {
        &self.problem
    }

    /// What ipvsadm prints where a call of it is wrong like this, without the end of the line, and its exit status.
    #[must_use]
    pub fn ipvsadm(&self) -> (String, u8) {
        self.problem.ipvsadm(self.column.start == 0 || self.column.start == 1)
    }

    /// The message as `file:3: what is wrong; expected what would be right`, on one line.
    #[must_use]
    pub const fn display<'a>(&'a self, file: &'a str) -> Located<'a> {
        Located { error: self, file, excerpt: false }
    }
}

impl fmt::Display for RulesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}; expected {}", self.line, self.problem, self.problem.expected())
    }
}

impl std::error::Error for RulesError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.problem {
            Problem::Refused { error, .. } => Some(error),
            _ => None,
        }
    }
}

/// A [`RulesError`] together with the name of its file, for display.
#[derive(Debug, Clone, Copy)]
pub struct Located<'a> {
    error: &'a RulesError,
    file: &'a str,
    excerpt: bool,
}

impl Located<'_> {
    /// Adds the line itself and carets under the bytes at fault: two more lines.
    ///
    /// Of a long line a part is shown; characters that a terminal would act upon are replaced.
    #[must_use]
    pub const fn with_excerpt(mut self) -> Self {
        self.excerpt = true;
        self
    }
}

impl fmt::Display for Located<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { error, file, excerpt } = *self;
        write!(f, "{file}:{}: {}; expected {}", error.line, error.problem, error.problem.expected())?;
        if excerpt {
            let Excerpt { text, carets } = &*error.excerpt;
            let (indent, width) = (carets.start, carets.end - carets.start);
            write!(f, "\n  {text}\n  {:indent$}{:^<width$}", "", "")?;
        }
        Ok(())
    }
}

/// What one stage of the parser finds wrong with the line at hand.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) range: Range<usize>,
    pub(super) problem: Problem,
}

impl Fault {
    pub(super) const fn new(range: Range<usize>, problem: Problem) -> Self {
        Self { range, problem }
    }
}

/// The part of a line that is shown with a message.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Excerpt {
    text: String,
    /// The columns of `text`, in characters, under which carets stand; at least one.
    carets: Range<usize>,
}

impl Excerpt {
    /// How many bytes of a line are shown, and how many of a longer one before the fault.
    const WIDTH: usize = 96;
    const BEFORE: usize = 40;

    fn of(line: &[u8], fault: &Range<usize>) -> Self {
        let whole = line.len() <= Self::WIDTH;
        let start = if whole { 0 } else { fault.start.saturating_sub(Self::BEFORE) };
        let end = line.len().min(start + Self::WIDTH);
        let shown = |from: usize, to: usize| -> String {
            let piece = line.get(from..to).unwrap_or_default();
            String::from_utf8_lossy(piece)
                .chars()
                .map(|c| if c == '\t' { ' ' } else { printable(c) })
                .collect()
        };
        let before = shown(start, fault.start.min(end));
        let at = shown(fault.start, fault.end.min(end));
        let after = shown(fault.end, end);
        let column = before.chars().count();
        let carets = column..column + at.chars().count().max(1);
        Self { text: format!("{before}{at}{after}").trim_end().to_owned(), carets }
    }
}
