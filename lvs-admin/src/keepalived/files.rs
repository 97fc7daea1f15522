//! How a configuration reaches the files that it includes, and which files a pattern means.

use std::collections::BTreeMap;

/// Where files come from. Paths are the file's own words, put behind the folder of the file that includes them.
pub trait Files {
    /// The bytes of a file. Better refuse a file of more than [`MAX_BYTES`](super::MAX_BYTES) than read it.
    ///
    /// # Errors
    /// Why it cannot be read, in words.
    fn read(&mut self, path: &str) -> Result<Vec<u8>, String>;

    /// The names of everything in a folder, without the folder; `.` is the current one. Asked for patterns only.
    ///
    /// # Errors
    /// Why it cannot be listed, in words.
    fn list(&mut self, folder: &str) -> Result<Vec<String>, String>;
}

/// Files in memory, by their paths.
impl Files for BTreeMap<String, Vec<u8>> {
    fn read(&mut self, path: &str) -> Result<Vec<u8>, String> {
        self.get(path).cloned().ok_or_else(|| "there is no such file".to_owned())
    }

    fn list(&mut self, folder: &str) -> Result<Vec<String>, String> {
        let prefix = match folder {
            "." => String::new(),
            folder => format!("{}/", folder.trim_end_matches('/')),
        };
        let inside = self.keys().filter_map(|path| path.strip_prefix(&prefix));
        let mut names: Vec<_> =
            inside.map(|rest| rest.split('/').next().unwrap_or(rest).to_owned()).collect();
        names.dedup();
        Ok(names)
    }
}

/// Whether a path is a pattern.
pub(super) fn is_pattern(path: &str) -> bool {
    path.contains(['*', '?', '['])
}

/// The folder of a file: what is before its last slash.
pub(super) fn folder(path: &str) -> &str {
    match path.rsplit_once('/') {
        Some(("", _)) => "/",
        Some((folder, _)) => folder,
        None => ".",
    }
}

/// A path as it is seen from a folder.
pub(super) fn join(folder: &str, path: &str) -> String {
    match folder {
        _ if path.starts_with('/') => path.to_owned(),
        "." => path.to_owned(),
        folder => format!("{}/{path}", folder.trim_end_matches('/')),
    }
}

/// The paths that a pattern means, sorted; at most `most` and one. Folders that cannot be listed hold nothing.
pub(super) fn expand(files: &mut dyn Files, pattern: &str, most: usize) -> Vec<String> {
    let (start, rest) = match pattern.strip_prefix('/') {
        Some(rest) => ("/", rest),
        None => (".", pattern),
    };
    let mut found = vec![start.to_owned()];
    for part in rest.split('/').filter(|part| !part.is_empty()) {
        let mut next = Vec::new();
        for folder in found {
            if next.len() > most {
                break;
            }
            if !is_pattern(part) {
                next.push(join(&folder, part));
                continue;
            }
            let mut names = files.list(&folder).unwrap_or_default();
            names.retain(|name| matches(part, name));
            names.sort();
            next.extend(names.iter().map(|name| join(&folder, name)));
        }
        next.truncate(most + 1);
        found = next;
    }
    found
}

/// Whether a name fits a pattern of `*`, `?` and `[a-z]`, `[!a-z]`. A dot at its beginning has to be written. Takes time
/// proportional to the product of their lengths.
fn matches(pattern: &str, name: &str) -> bool {
    if name.starts_with('.') && !pattern.starts_with('.') {
        return false;
    }
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    // Where to go on if it does not fit: the last star takes a letter more.
    let mut again: Option<(usize, usize)> = None;
    while n < name.len() {
        if pattern.get(p) == Some(&'*') {
            again = Some((p, n));
            p += 1;
        } else if let Some(width) = fits(&pattern[p..], name[n]) {
            (p, n) = (p + width, n + 1);
        } else if let Some((star, taken)) = again {
            again = Some((star, taken + 1));
            (p, n) = (star + 1, taken + 1);
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|&c| c == '*')
}

/// How much of the pattern takes this letter.
fn fits(pattern: &[char], letter: char) -> Option<usize> {
    match pattern {
        ['?', ..] => Some(1),
        ['[', set @ ..] => {
            let (negated, set) = match set {
                ['!' | '^', set @ ..] => (true, set),
                set => (false, set),
            };
            // A bracket that comes first stands for itself.
            let end = 1 + set.iter().skip(1).position(|&c| c == ']')?;
            let (mut inside, mut at) = (false, 0);
            while at < end {
                if at + 2 < end && set[at + 1] == '-' {
                    inside |= (set[at]..=set[at + 2]).contains(&letter);
                    at += 3;
                } else {
                    inside |= set[at] == letter;
                    at += 1;
                }
            }
            (inside != negated).then_some(end + 2 + usize::from(negated))
        }
        [c, ..] => (*c == letter).then_some(1),
        [] => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_as_in_a_shell() {
        for (pattern, name, expected) in [
            ("*.conf", "a.conf", true),
            ("*.conf", ".conf", false),
            (".*", ".conf", true),
            ("*", "", true),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("?", "", false),
            ("vs-[0-9].conf", "vs-7.conf", true),
            ("vs-[!0-9].conf", "vs-7.conf", false),
            ("[]]", "]", true),
            ("[a-]", "-", true),
            ("[", "[", false),
            ("**a", "ba", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
        let stars = "*a".repeat(500);
        assert!(!matches(&stars, &"b".repeat(5000)));
    }

    #[test]
    fn patterns_give_sorted_paths_of_files() {
        let paths = ["/etc/k/b.conf", "/etc/k/a.conf", "/etc/k/x/c.conf", "here.conf", "sub/one"];
        let mut files: BTreeMap<String, Vec<u8>> =
            paths.iter().map(|path| ((*path).to_owned(), Vec::new())).collect();
        assert_eq!(expand(&mut files, "/etc/k/*.conf", 9), ["/etc/k/a.conf", "/etc/k/b.conf"]);
        assert_eq!(
            expand(&mut files, "/etc/*/*/c.conf", 9),
            ["/etc/k/a.conf/c.conf", "/etc/k/b.conf/c.conf", "/etc/k/x/c.conf"]
        );
        assert_eq!(expand(&mut files, "*.conf", 9), ["here.conf"]);
        assert_eq!(expand(&mut files, "/etc/k/*", 1).len(), 2);
        assert_eq!([folder("a"), folder("/a"), folder("b/a")], [".", "/", "b"]);
        assert_eq!(join("/", "a"), "/a");
    }
}
