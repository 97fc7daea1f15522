//! A reader of Prometheus' text format that lets nothing pass: the format's grammar, and what `promtool check metrics` objects to.

use std::collections::{HashMap, HashSet};

/// Samples by family: name of the sample, labels in order, value.
pub(crate) type Samples = Vec<(String, Vec<(String, String)>, f64)>;

/// Reads metrics.
///
/// # Errors
/// Says what is wrong with which line.
pub(crate) fn read(text: &str) -> Result<HashMap<String, (String, Samples)>, String> {
    if !text.ends_with('\n') {
        return Err("does not end with a line".into());
    }
    let mut families: HashMap<String, (String, Samples)> = HashMap::new();
    let mut series = HashSet::new();
    let mut current: Option<(String, Option<String>)> = None;
    for line in text.lines() {
        let said = |what: &str| format!("{what}: {line}");
        let wrong = |what: &str| Err(said(what));
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let Some((name, help)) = rest.split_once(' ') else { return wrong("no help text") };
            if families.contains_key(name) {
                return wrong("a family twice, or torn apart");
            }
            if help.trim().is_empty() || name.contains(|c: char| c.is_ascii_uppercase() || c == ':') {
                return wrong("no help, camel case or a colon");
            }
            current = Some((name.to_owned(), None));
            families.insert(name.to_owned(), (String::new(), Vec::new()));
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let Some((name, kind)) = rest.split_once(' ') else { return wrong("no type") };
            match &mut current {
                Some((family, found @ None)) if family == name => *found = Some(kind.to_owned()),
                _ => return wrong("a type without help, or twice"),
            }
            check_name(name, kind).map_err(|what| said(&what))?;
            families.get_mut(name).unwrap().0 = kind.to_owned();
        } else if line.starts_with('#') || line.is_empty() {
            return wrong("a line that has no business here");
        } else {
            let (name, labels, value) = sample(line).map_err(|what| said(&what))?;
            let Some((family, Some(kind))) = &current else { return wrong("a sample before its type") };
            let suffix = name.strip_prefix(family.as_str());
            let fits = match kind.as_str() {
                "histogram" => matches!(suffix, Some("_bucket" | "_sum" | "_count")),
                _ => suffix == Some(""),
            };
            if !fits {
                return wrong("a sample of another family");
            }
            if kind == "counter" && (value < 0.0 || !value.is_finite()) {
                return wrong("a counter that is no count");
            }
            let mut sorted = labels.clone();
            sorted.sort();
            if !series.insert((name.clone(), sorted)) {
                return wrong("a series twice");
            }
            families.get_mut(family).unwrap().1.push((name, labels, value));
        }
    }
    for (name, (kind, samples)) in &families {
        if samples.is_empty() {
            return Err(format!("{name} has no samples"));
        }
        if kind == "histogram" {
            check_histogram(samples).map_err(|what| format!("{name}: {what}"))?;
        }
    }
    Ok(families)
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn check_name(name: &str, kind: &str) -> Result<(), String> {
    if !is_name(name) {
        return Err("not a name".into());
    }
    if (kind == "counter") != name.ends_with("_total") {
        return Err("_total is for counters, and for all of them".into());
    }
    if !matches!(kind, "counter" | "gauge" | "histogram") {
        return Err("not a type that is used here".into());
    }
    if ["_bucket", "_count", "_sum"].iter().any(|end| name.ends_with(end)) {
        return Err("a suffix of histograms".into());
    }
    const UNITS: [&str; 14] = [
        "milliseconds",
        "microseconds",
        "nanoseconds",
        "ms",
        "us",
        "ns",
        "minutes",
        "hours",
        "days",
        "kilobytes",
        "megabytes",
        "bits",
        "percent",
        "milli",
    ];
    let words: Vec<&str> = name.split('_').collect();
    if words.iter().any(|word| UNITS.contains(word)) {
        return Err("not a base unit".into());
    }
    if words.iter().any(|word| ["counter", "gauge", "histogram", "summary"].contains(word)) {
        return Err("the type in the name".into());
    }
    Ok(())
}

type Sample = (String, Vec<(String, String)>, f64);

fn sample(line: &str) -> Result<Sample, String> {
    let end = line.find(['{', ' ']).ok_or("no value")?;
    let (name, mut rest) = line.split_at(end);
    if !is_name(name) {
        return Err("not a name".into());
    }
    let mut labels: Vec<(String, String)> = Vec::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (label, after) = rest.split_once("=\"").ok_or("no label")?;
            if !is_name(label) || label.starts_with("__") || labels.iter().any(|(other, _)| other == label) {
                return Err(format!("label {label:?}"));
            }
            let mut value = String::new();
            let mut characters = after.char_indices();
            let close = loop {
                match characters.next().ok_or("a value without end")? {
                    (at, '"') => break at,
                    (_, '\\') => value.push(match characters.next().map(|(_, c)| c) {
                        Some('n') => '\n',
                        Some(c @ ('\\' | '"')) => c,
                        _ => return Err("an escape that there is not".into()),
                    }),
                    (_, c) => value.push(c),
                }
            };
            labels.push((label.to_owned(), value));
            rest = &after[close + 1..];
            match rest.strip_prefix(',') {
                Some(more) => rest = more,
                None => break,
            }
        }
        rest = rest.strip_prefix('}').ok_or("no closing brace")?;
    }
    let value = rest.strip_prefix(' ').ok_or("no space before the value")?;
    Ok((name.to_owned(), labels, value.parse().map_err(|_| "not a number")?))
}

fn check_histogram(samples: &Samples) -> Result<(), String> {
    let of = |suffix: &str| samples.iter().filter(|(name, ..)| name.ends_with(suffix)).collect::<Vec<_>>();
    let (buckets, counts, sums) = (of("_bucket"), of("_count"), of("_sum"));
    let ([count], [_]) = (&counts[..], &sums[..]) else { return Err("one count and one sum".into()) };
    let mut last = (f64::NEG_INFINITY, 0.0);
    for (_, labels, value) in &buckets {
        let [(name, bound)] = &labels[..] else { return Err("one label".into()) };
        let bound: f64 = if bound == "+Inf" { f64::INFINITY } else { bound.parse().map_err(|_| "bound")? };
        if name != "le" || bound <= last.0 || *value < last.1 {
            return Err("buckets out of order".into());
        }
        last = (bound, *value);
    }
    if last != (f64::INFINITY, count.2) { Err("the last bucket is not all".into()) } else { Ok(()) }
}

#[test]
fn it_is_strict() {
    let good = "# HELP a_total A.\n# TYPE a_total counter\na_total{x=\"1\\\"\"} 1\na_total{x=\"2\"} 2\n";
    assert_eq!(read(good).unwrap()["a_total"].1[0].1, [("x".to_owned(), "1\"".to_owned())]);
    for (from, to) in [
        ("# HELP a_total A.\n", ""),
        ("# TYPE a_total counter\n", ""),
        ("x=\"2\"", "x=\"1\\\"\""),
        ("} 2", "} two"),
        ("} 2", "} -2"),
        ("{x=\"2\"}", "{9=\"2\"}"),
        ("{x=\"2\"}", "{x=\"2\",x=\"3\"}"),
        ("\\\"", "\\q"),
        ("counter", "gauge"),
        ("a_total{x=\"2\"}", "b_total"),
        ("a_total", "a_ms_total"),
        ("A.", " "),
    ] {
        let bad = good.replace(from, to);
        assert!(bad != good && read(&bad).is_err(), "{bad}");
    }
    assert!(read(&format!("{good}{good}")).is_err());
    let histogram = "# HELP h H.\n# TYPE h histogram\nh_bucket{le=\"1\"} 2\nh_bucket{le=\"+Inf\"} 3\nh_sum 4\nh_count 3\n";
    read(histogram).unwrap();
    assert!(read(&histogram.replace("h_count 3", "h_count 4")).is_err());
    assert!(read(&histogram.replace("} 2", "} 5")).is_err());
}
