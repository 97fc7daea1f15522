//! Frames explained to people: a line a frame, and what was decided under it. `explain` shows so what a capture holds, and
//! `lvsadm --trace` what a running director does.

use crate::layout::{Paint, labelled};

/// What is said of a frame in one line.
#[derive(Debug, Clone, Copy)]
pub struct Headline<'a> {
    /// Its number.
    pub number: u64,
    /// When it came.
    pub time: &'a str,
    /// What it is.
    pub what: &'a str,
    /// `transmit`, `drop` or another, which gives the verdict its colour.
    pub verdict: &'a str,
}

/// A frame: an empty line, the headline, and under it labels and sentences in two columns.
#[must_use]
pub fn frame<L: AsRef<str>, T: AsRef<str>>(
    headline: &Headline<'_>,
    lines: impl IntoIterator<Item = (L, T)>,
    paint: Paint,
) -> String {
    let Headline { number, time, what, verdict } = *headline;
    let mut text = format!("\n{number:>5} {time}  {}\n", paint.strong(what));
    for (label, line) in lines {
        let lines = labelled(6, 13, label.as_ref(), line.as_ref());
        text += &match (label.as_ref(), verdict) {
            ("verdict", "transmit") => paint.good(lines.trim_end()) + "\n",
            ("verdict", "drop") => paint.bad(lines.trim_end()) + "\n",
            _ => lines,
        };
    }
    text
}

/// The time of day of so many seconds since 1970, in UTC and with microseconds as in a director's log: `07:42:29.000001Z`.
#[must_use]
pub fn time_of_day(seconds: f64) -> String {
    // What is no time is the beginning of it.
    let micros = (seconds * 1e6).round() as u64;
    let (seconds, micros) = (micros / 1_000_000, micros % 1_000_000);
    let (hours, minutes, seconds) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{hours:02}:{minutes:02}:{seconds:02}.{micros:06}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_has_a_headline_and_two_columns() {
        let headline = Headline { number: 7, time: "0.5", what: "ARP", verdict: "drop" };
        let long = "word ".repeat(20);
        let text = frame(&headline, [("verdict", "drop, no_room"), ("note", long.trim())], Paint::off());
        let words = "word ".repeat(16);
        let expected = format!(
            "\n    7 0.5  ARP\n      verdict      drop, no_room\n      note         {}\n{:19}{}\n",
            words.trim(),
            "",
            "word ".repeat(4).trim()
        );
        assert_eq!(text, expected);
    }

    #[test]
    fn the_time_of_day() {
        assert_eq!(time_of_day(0.0), "00:00:00.000000Z");
        assert_eq!(time_of_day(1_795_824_289.592_146), "00:04:49.592146Z");
        assert_eq!(time_of_day(86_399.999_999_9), "00:00:00.000000Z");
        assert_eq!(time_of_day(-1.0), "00:00:00.000000Z");
        assert_eq!(time_of_day(f64::NAN), "00:00:00.000000Z");
        assert_eq!(time_of_day(f64::INFINITY).len(), 16);
    }
}
