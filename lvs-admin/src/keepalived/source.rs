//! Files into lines of words: comments, conditional lines, definitions and includes are dealt with here.

use std::collections::HashMap;
use std::sync::Arc;

use super::files::{self, Files};
use super::split::{self, Token, Unterminated};
use super::{
    MAX_BYTES, MAX_DEFINITIONS, MAX_DEPTH, MAX_EXPANDED_BYTES, MAX_FILES, MAX_LINE_BYTES, MAX_LINES,
    MAX_SUBSTITUTIONS, Options,
};
use crate::config::{FileError, Notice, Place, excerpt};

/// A line that says something.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) place: Place,
    pub(super) tokens: Vec<Token>,
}

/// Reads files and collects their lines.
pub(super) struct Source<'a> {
    files: &'a mut dyn Files,
    options: &'a Options,
    definitions: HashMap<String, String>,
    /// The files that are being read, each included by the one before it.
    open: Vec<String>,
    pub(super) lines: Vec<Line>,
    pub(super) notices: Vec<Notice>,
    used: Used,
}

/// How much of what is bounded was used.
#[derive(Default)]
struct Used {
    bytes: usize,
    files: usize,
    lines: usize,
    expanded: usize,
    substitutions: usize,
}

/// What a line becomes when its parameters are replaced.
enum Expanded {
    One(String),
    /// A definition of several lines, alone on its line.
    Several(String),
}

impl<'a> Source<'a> {
    pub(super) fn new(files: &'a mut dyn Files, options: &'a Options) -> Self {
        Self {
            files,
            options,
            definitions: HashMap::new(),
            open: Vec::new(),
            lines: Vec::new(),
            notices: Vec::new(),
            used: Used::default(),
        }
    }

    /// Reads a file and all that it includes; `from` is the line that asks for it.
    pub(super) fn file(&mut self, path: &str, from: &Place) -> Result<(), FileError> {
        let name = excerpt(path);
        if self.open.iter().any(|open| open == path) {
            return Err(from.error(
                format!("{name} includes itself"),
                "files that do not include each other in a circle",
            ));
        }
        if self.open.len() >= MAX_DEPTH {
            return Err(from.error(
                "includes are nested too deep",
                format!("at most {MAX_DEPTH} files inside each other"),
            ));
        }
        self.used.files += 1;
        if self.used.files > MAX_FILES {
            return Err(from.error("too many files are included", format!("at most {MAX_FILES}")));
        }
        let bytes = self.files.read(path).map_err(|error| {
            from.error(format!("{name} cannot be read: {error}"), "a file that is there and may be read")
        })?;
        self.used.bytes += bytes.len();
        if self.used.bytes > MAX_BYTES {
            return Err(from
                .error("the configuration is too long", format!("at most {MAX_BYTES} bytes in all files")));
        }
        self.open.push(path.to_owned());
        let file: Arc<str> = path.into();
        let text = String::from_utf8_lossy(&bytes);
        let mut lines = text.strip_prefix('\u{feff}').unwrap_or(&text).lines().enumerate();
        while let Some((index, line)) = lines.next() {
            let place = Place::new(&file, index + 1);
            let mut line = split::without_comment(line).trim().to_owned();
            if is_definition(line.as_str()) {
                // Of several lines, as long as each ends with a backslash.
                while let Some(begun) = line.strip_suffix('\\') {
                    let Some((_, next)) = lines.next() else { break };
                    line = format!("{}\n{}", begun.trim_end(), split::without_comment(next).trim());
                    too_long(&line, &place)?;
                }
            }
            self.line(&place, &line, 0)?;
        }
        self.open.pop();
        Ok(())
    }

    /// A line without comment; `depth` counts the definitions of several lines around it.
    fn line(&mut self, place: &Place, line: &str, depth: usize) -> Result<(), FileError> {
        self.used.lines += 1;
        if self.used.lines > MAX_LINES {
            return Err(place.error(
                "the configuration has too many lines",
                format!("at most {MAX_LINES}, definitions replaced"),
            ));
        }
        self.used.expanded += line.len();
        if self.used.expanded > MAX_EXPANDED_BYTES {
            let expected = format!("at most {MAX_EXPANDED_BYTES} bytes, definitions replaced");
            return Err(place.error("the configuration is too long", expected));
        }
        too_long(line, place)?;
        let Some(line) = self.condition(line) else { return Ok(()) };
        if let Some((name, value)) = definition(line) {
            return self.define(place, name, value);
        }
        let line = match self.expand(place, line)? {
            Expanded::One(expanded) => {
                self.used.expanded += expanded.len().saturating_sub(line.len());
                expanded
            }
            Expanded::Several(_) if depth >= MAX_DEPTH => {
                return Err(place.error(
                    "definitions are nested too deep",
                    format!("at most {MAX_DEPTH} inside each other"),
                ));
            }
            Expanded::Several(lines) => {
                return lines.lines().try_for_each(|line| self.line(place, line.trim(), depth + 1));
            }
        };
        // A definition can hold a condition.
        let Some(line) = self.condition(&line) else { return Ok(()) };
        if let Some(rest) = line.strip_prefix('~') {
            let what = excerpt(rest.split('(').next().unwrap_or_default());
            return Err(place.error(format!("~{what} is not supported"), "the lines themselves, written out"));
        }
        let tokens = split::tokens(line).map_err(|Unterminated(quote)| {
            place.error(
                format!("a string that begins with {quote} does not end on its line"),
                format!("another {quote}"),
            )
        })?;
        match &tokens[..] {
            [] => Ok(()),
            [Token::Word(word), rest @ ..] if word.starts_with("include") && word != "include_check" => {
                self.include(place, word, rest)
            }
            _ => {
                self.lines.push(Line { place: place.clone(), tokens });
                Ok(())
            }
        }
    }

    /// The line without its condition, if the condition holds.
    fn condition<'l>(&self, line: &'l str) -> Option<&'l str> {
        let Some(rest) = line.strip_prefix('@') else { return Some(line) };
        let (wanted, rest) = match rest.strip_prefix('^') {
            Some(rest) => (false, rest),
            None => (true, rest),
        };
        let (id, line) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        let is = self.options.config_id.as_deref() == Some(id);
        (is == wanted).then_some(line.trim_start())
    }

    fn define(&mut self, place: &Place, name: &str, value: &str) -> Result<(), FileError> {
        if self.definitions.len() >= MAX_DEFINITIONS && !self.definitions.contains_key(name) {
            return Err(place.error("there are too many definitions", format!("at most {MAX_DEFINITIONS}")));
        }
        self.definitions.insert(name.to_owned(), value.to_owned());
        Ok(())
    }

    /// Puts values in the place of parameters, also in the values. Parameters that are not defined stay.
    fn expand(&mut self, place: &Place, line: &str) -> Result<Expanded, FileError> {
        let alone = parameter(line).filter(|(_, length)| *length == line.len());
        if let Some(value) = alone.and_then(|(name, _)| self.definitions.get(name))
            && value.contains('\n')
        {
            return Ok(Expanded::Several(value.clone()));
        }
        let mut out = String::new();
        self.expand_into(place, line, &mut out, 0)?;
        Ok(Expanded::One(out))
    }

    fn expand_into(
        &mut self,
        place: &Place,
        text: &str,
        out: &mut String,
        depth: usize,
    ) -> Result<(), FileError> {
        if depth > MAX_DEPTH {
            return Err(place.error(
                "definitions are nested too deep",
                "definitions that do not name each other in a circle",
            ));
        }
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            out.push_str(&rest[..at]);
            rest = &rest[at..];
            let Some((name, length)) = parameter(rest) else {
                out.push('$');
                rest = &rest[1..];
                continue;
            };
            self.used.substitutions += 1;
            if self.used.substitutions > MAX_SUBSTITUTIONS {
                return Err(
                    place.error("too many parameters are replaced", format!("at most {MAX_SUBSTITUTIONS}"))
                );
            }
            match self.value(place, name)? {
                Some(value) if value.contains('\n') => {
                    return Err(place.error(
                        format!("the definition ${} has several lines", excerpt(name)),
                        "it to stand alone on its line",
                    ));
                }
                Some(value) => self.expand_into(place, &value, out, depth + 1)?,
                None => out.push_str(&rest[..length]),
            }
            too_long(out, place)?;
            rest = &rest[length..];
        }
        out.push_str(rest);
        too_long(out, place)
    }

    /// What a parameter stands for.
    fn value(&self, place: &Place, name: &str) -> Result<Option<String>, FileError> {
        if let Some(value) = self.definitions.get(name) {
            return Ok(Some(value.clone()));
        }
        let own = match name {
            "_PWD" => files::folder(&place.file).to_owned(),
            // Quoted, so that they do not begin a comment in a definition.
            "_HASH" => "\\#".to_owned(),
            "_BANG" => "\\!".to_owned(),
            "_INSTANCE" => match &self.options.config_id {
                Some(id) => id.clone(),
                None => return Ok(None),
            },
            name if ["_ENV", "_RANDOM"].contains(&name.split(' ').next().unwrap_or_default()) => {
                return Err(
                    place.error(format!("${{{}}} is not supported", excerpt(name)), "the value itself")
                );
            }
            _ => return Ok(None),
        };
        Ok(Some(own))
    }

    fn include(&mut self, place: &Place, word: &str, rest: &[Token]) -> Result<(), FileError> {
        const KNOWN: [&str; 6] = ["include", "includea", "includeb", "includem", "includer", "includew"];
        let (true, [Token::Word(path)]) = (KNOWN.contains(&word), rest) else {
            return Err(
                place.error(format!("{} stands here", excerpt(word)), "include FILE, on a line of its own")
            );
        };
        let path = files::join(files::folder(&place.file), path);
        if !files::is_pattern(&path) {
            return self.file(&path, place);
        }
        let all = files::expand(self.files, &path, MAX_FILES);
        if all.is_empty() {
            let problem = format!("no file fits {}", excerpt(&path));
            if matches!(word, "include" | "includer" | "includeb") {
                self.notices.push(place.notice(problem));
                return Ok(());
            }
            return Err(place.error(problem, "a file that does, or include, which does not mind"));
        }
        all.iter().try_for_each(|path| self.file(path, place))
    }
}

fn too_long(line: &str, place: &Place) -> Result<(), FileError> {
    if line.len() > MAX_LINE_BYTES {
        return Err(place
            .error("the line is too long", format!("at most {MAX_LINE_BYTES} bytes, parameters replaced")));
    }
    Ok(())
}

/// Whether a line, behind its condition if it has one, is a definition.
fn is_definition(line: &str) -> bool {
    let line = match line.strip_prefix('@') {
        Some(rest) => rest.split_once(char::is_whitespace).map_or("", |(_, rest)| rest.trim_start()),
        None => line,
    };
    definition(line).is_some()
}

/// `$NAME=VALUE`
fn definition(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.strip_prefix('$')?.split_once('=')?;
    (name_length(name) == name.len() && !name.is_empty())
        .then_some((name, value.trim_start_matches([' ', '\t'])))
}

/// `$NAME` before white space or the end, or `${NAME}`, at the beginning of a text: the name, and how long it is with all.
fn parameter(text: &str) -> Option<(&str, usize)> {
    let rest = text.strip_prefix('$')?;
    if let Some(rest) = rest.strip_prefix('{') {
        let end = rest.find('}')?;
        return Some((&rest[..end], end + 3));
    }
    let length = name_length(rest);
    let ends = rest[length..].chars().next().is_none_or(char::is_whitespace);
    (length > 0 && ends).then_some((&rest[..length], length + 1))
}

/// How much of a text is a name: letters, digits and underscores, no digit first.
fn name_length(text: &str) -> usize {
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        return 0;
    }
    text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len())
}
