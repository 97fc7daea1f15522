//! The known word that an unknown one was probably meant to be.

/// The nearest of `known` by edits of a letter, if it is near at all. Words longer than 64 bytes are near to none.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    const LONGEST: usize = 64;
    if word.len() > LONGEST {
        return None;
    }
    let lower = word.to_ascii_lowercase();
    let near = |candidate: &&str| distance(lower.as_bytes(), candidate.to_ascii_lowercase().as_bytes());
    let best = known.into_iter().min_by_key(near)?;
    let most = word.len().div_ceil(3);
    (near(&best) <= most).then_some(best)
}

/// `; did you mean ...?` in the form of an expectation: the nearest word, or all of them if none is near.
pub(crate) fn suggestion(word: &str, known: &[&str]) -> String {
    match nearest(word, known.iter().copied()) {
        Some(near) => format!("`{near}`, which is the nearest known word"),
        None => format!("one of {}", known.join(", ")),
    }
}

/// Insertions, deletions, replacements and swaps of neighbours that turn `a` into `b`.
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for (i, &left) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, &right) in b.iter().enumerate() {
            let replaced = above[j] + usize::from(left != right);
            let mut least = replaced.min(above[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && left == b[j - 1] && a[i - 1] == right {
                least = least.min(before[j - 1] + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_near_and_another_word_is_not() {
        let known = ["delay_loop", "lvs_sched", "lvs_method", "weight"];
        assert_eq!(nearest("wieght", known), Some("weight"));
        assert_eq!(nearest("Delay_Lop", known), Some("delay_loop"));
        assert_eq!(nearest("lvs_shed", known), Some("lvs_sched"));
        assert_eq!(nearest("banana", known), None);
        assert_eq!(nearest(&"x".repeat(65), known), None);
        assert_eq!(nearest("x", []), None);
        assert_eq!(suggestion("banana", &known[..2]), "one of delay_loop, lvs_sched");
    }

    #[test]
    fn the_distance_counts_slips() {
        for (a, b, slips) in
            [("", "", 0), ("", "ab", 2), ("ab", "ba", 1), ("abc", "adc", 1), ("abc", "ac", 1)]
        {
            assert_eq!(distance(a.as_bytes(), b.as_bytes()), slips, "{a} {b}");
            assert_eq!(distance(b.as_bytes(), a.as_bytes()), slips, "{b} {a}");
        }
    }
}
