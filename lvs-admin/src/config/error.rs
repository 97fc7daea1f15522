//! Where a configuration file is wrong, or odd, and how to say so.

use std::fmt;
use std::sync::Arc;

/// A line of a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The file, as whoever asked for it called it.
    pub file: Arc<str>,
    /// The line, from 1.
    pub line: usize,
}

impl Place {
    /// That line of that file.
    #[must_use]
    pub fn new(file: &Arc<str>, line: usize) -> Self {
        Self { file: Arc::clone(file), line }
    }

    pub(crate) fn error(&self, problem: impl Into<String>, expected: impl Into<String>) -> FileError {
        let (problem, expected) = (shown(&problem.into()), shown(&expected.into()));
        FileError(Box::new(Fault { place: self.clone(), problem, expected }))
    }

    pub(crate) fn notice(&self, text: impl Into<String>) -> Notice {
        Notice { place: self.clone(), text: shown(&text.into()) }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // An included file's name is as hostile as what stands in it.
        write!(f, "{}:{}", shown(&self.file), self.line)
    }
}

/// A configuration file is wrong; nothing of it was used.
///
/// Its text is one line: `file:3: which field, and what is wrong with it; expected what would be right`. Words of the file
/// are in it without control characters, so that it can be shown on a terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileError(Box<Fault>);

/// Apart, so that results stay small.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Fault {
    place: Place,
    problem: String,
    expected: String,
}

impl FileError {
    /// Where.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.0.place
    }

    /// The field and what is wrong with it.
    #[must_use]
    pub fn problem(&self) -> &str {
        &self.0.problem
    }

    /// What would be right.
    #[must_use]
    pub fn expected(&self) -> &str {
        &self.0.expected
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Fault { place, problem, expected } = &*self.0;
        write!(f, "{place}: {problem}; expected {expected}")
    }
}

impl std::error::Error for FileError {}

/// Something in a file that has no effect here, or another one than its author may think.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Where.
    pub place: Place,
    /// What.
    pub text: String,
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.text)
    }
}

/// Text without what a terminal would act upon.
fn shown(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// A word of a file for a message: shortened.
pub(crate) fn excerpt(word: &str) -> String {
    const LONGEST: usize = 40;
    match word.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}...", &word[..end]),
        None => word.to_owned(),
    }
}
