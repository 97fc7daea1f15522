//! Plain text in 100 columns: colours where they are wanted, wrapping, headings.

use std::io::IsTerminal;

use anstyle::{AnsiColor, Style};

/// No line is longer.
pub const WIDTH: usize = 100;

/// Colours text, or does not. Pad first: what it adds has no width but counts as characters.
#[derive(Debug, Clone, Copy)]
pub struct Paint {
    on: bool,
}

impl Paint {
    /// Colours where stdout is a terminal and `NO_COLOR` is not set (no-color.org).
    #[must_use]
    pub fn for_stdout() -> Self {
        Self { on: std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none() }
    }

    /// No colours.
    #[must_use]
    pub const fn off() -> Self {
        Self { on: false }
    }

    fn paint(self, style: Style, text: &str) -> String {
        if self.on { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }

    /// A heading with its explanation under it.
    #[must_use]
    pub fn heading(self, title: &str, explanation: &str) -> String {
        let title = self.paint(Style::new().bold().fg_color(Some(AnsiColor::Cyan.into())), title);
        let mut text = format!("\n{title}\n");
        for line in wrap(explanation, WIDTH - 2) {
            text += &format!("  {}\n", self.dim(&line));
        }
        if explanation.is_empty() { text } else { text + "\n" }
    }

    /// What deserves attention.
    #[must_use]
    pub fn strong(self, text: &str) -> String {
        self.paint(Style::new().bold(), text)
    }

    /// What may be skipped.
    #[must_use]
    pub fn dim(self, text: &str) -> String {
        self.paint(Style::new().dimmed(), text)
    }

    /// What is as it should be.
    #[must_use]
    pub fn good(self, text: &str) -> String {
        self.paint(Style::new().fg_color(Some(AnsiColor::Green.into())), text)
    }

    /// What is not.
    #[must_use]
    pub fn bad(self, text: &str) -> String {
        self.paint(Style::new().bold().fg_color(Some(AnsiColor::Red.into())), text)
    }
}

/// Breaks text into lines of at most `width` characters, between words; a word that is longer has a line of its
/// own.
#[must_use]
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// A label and text beside it, wrapped; `indent` columns before the label, which takes `label_width`.
#[must_use]
pub fn labelled(indent: usize, label_width: usize, label: &str, text: &str) -> String {
    let beside = indent + label_width;
    let mut lines = String::new();
    for (at, line) in wrap(text, WIDTH - beside).into_iter().enumerate() {
        let label = if at == 0 { label } else { "" };
        lines += &format!("{:indent$}{label:<label_width$}{line}\n", "");
    }
    lines
}

/// A part of `whole`, drawn `width` characters wide.
#[must_use]
pub fn bar(part: usize, whole: usize, width: usize) -> String {
    let filled = (part * width * 2).checked_div(whole.max(1)).unwrap_or_default().div_ceil(2).min(width);
    "█".repeat(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_wrapped_between_words() {
        assert_eq!(wrap("one two  three", 7), ["one two", "three"]);
        assert_eq!(wrap("unbreakable so", 5), ["unbreakable", "so"]);
        assert!(wrap("", 5).is_empty());
        assert_eq!(labelled(2, 4, "a", "b c"), "  a   b c\n");
    }

    #[test]
    fn bars_are_in_proportion() {
        assert_eq!(bar(10, 20, 10).chars().count(), 5);
        assert_eq!(bar(0, 20, 10), "");
        assert_eq!(bar(0, 0, 10), "");
        assert_eq!(bar(20, 20, 10).chars().count(), 10);
    }

    #[test]
    fn without_colour_text_stays_as_it_is() {
        assert_eq!(Paint::off().bad("x"), "x");
        assert_ne!(Paint { on: true }.bad("x"), "x");
    }
}
