//! Times as people write them: `5s`, `500ms`, `2m`, `1.5h`, or a number of seconds.

use std::time::Duration;

/// The time that a text says; a number alone is seconds. Exact to the nanosecond, at most 999,999,999,999 of a unit.
pub(crate) fn parse(text: &str) -> Option<Duration> {
    const SECOND: u128 = 1_000_000_000;
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = match unit.trim() {
        "ms" => SECOND / 1000,
        "" | "s" => SECOND,
        "m" | "min" => 60 * SECOND,
        "h" => 3600 * SECOND,
        "d" => 86_400 * SECOND,
        _ => return None,
    };
    let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str, most: usize| {
        (1..=most).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
    };
    if !digits(whole, 12) || !digits(part, 9) {
        return None;
    }
    let whole: u128 = whole.parse().ok()?;
    let part: u128 = format!("{part:0<9}").parse().ok()?;
    let nanos = (whole * SECOND + part) * unit / SECOND;
    Some(Duration::new(u64::try_from(nanos / SECOND).ok()?, (nanos % SECOND) as u32))
}

/// The time in seconds, exactly, as in `2.5s`.
pub(crate) fn text(time: Duration) -> String {
    let (seconds, nanos) = (time.as_secs(), time.subsec_nanos());
    if nanos == 0 {
        return format!("{seconds}s");
    }
    let part = format!("{nanos:09}");
    format!("{seconds}.{}s", part.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_every_form() {
        for (written, millis) in [
            ("5", 5000),
            ("5s", 5000),
            ("5 s", 5000),
            ("500ms", 500),
            ("2m", 120_000),
            ("2min", 120_000),
            ("1.5h", 5_400_000),
            ("1d", 86_400_000),
            ("0.25", 250),
            ("0", 0),
        ] {
            assert_eq!(parse(written), Some(Duration::from_millis(millis)), "{written}");
        }
        for bad in
            ["", "s", "-1", "+1", "1e3", ".5", "5.", "1..2", "5 years", "1234567890123", "0.1234567891"]
        {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        for nanos in [0, 1, 500_000_000, 1_000_000_000, 2_718_280_000, u64::from(u32::MAX) * 7_777_777] {
            let time = Duration::from_nanos(nanos);
            assert_eq!(parse(&text(time)), Some(time));
        }
    }
}
