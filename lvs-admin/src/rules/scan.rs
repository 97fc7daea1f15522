//! Words sorted into one command, its options with their values, and what is left over.
//!
//! The conventions are those of ipvsadm's option parser: the first option is the command; short options may
//! be clustered (`-gw 2`) and carry their value attached (`-w2`, `-w=2`) or in the next word, long ones
//! likewise (`--weight=2`, `--weight 2`); a value that is required is taken as it stands, even if it begins
//! with a dash (`--timeout` takes three); after `--` nothing is an option. Whether an option makes sense is not judged here.

use std::ops::Range;

use super::error::{Fault, Problem};
use super::problem::excerpt;
use super::table::{self, CommandSpec, Named, OptionSpec, Value};
use super::words::Word;

/// A command as it was spelled.
#[derive(Debug)]
pub(super) struct GivenCommand {
    pub(super) spec: &'static CommandSpec,
    pub(super) name: &'static str,
    pub(super) range: Range<usize>,
}

/// An option as it was spelled, with its values.
#[derive(Debug)]
pub(super) struct GivenOption<'a> {
    pub(super) spec: &'static OptionSpec,
    pub(super) name: &'static str,
    pub(super) range: Range<usize>,
    /// As many as the option takes; an optional one may be missing.
    pub(super) values: Vec<Word<'a>>,
}

impl<'a> GivenOption<'a> {
    /// The value of an option that takes one.
    pub(super) fn value(&self) -> Option<Word<'a>> {
        self.values.first().copied()
    }
}

/// A line, sorted.
#[derive(Debug)]
pub(super) struct Scanned<'a> {
    pub(super) command: GivenCommand,
    pub(super) options: Vec<GivenOption<'a>>,
    /// Words that are neither options nor their values.
    pub(super) arguments: Vec<Word<'a>>,
}

/// Sorts the words of a line, of which there is at least one.
///
/// # Errors
/// An unknown option, a missing or superfluous value, no command or two.
pub(super) fn scan<'a>(words: &[Word<'a>]) -> Result<Scanned<'a>, Fault> {
    let mut scan = Scan { words, at: 0, command: None, options: Vec::new(), arguments: Vec::new() };
    while let Some(word) = scan.next_word() {
        match word.bytes {
            b"--" => {
                scan.arguments.extend_from_slice(&words[scan.at..]);
                scan.at = words.len();
            }
            [b'-', b'-', ..] => scan.long(word)?,
            [b'-', _, ..] => scan.cluster(word)?,
            _ => scan.arguments.push(word),
        }
    }
    match scan.command {
        Some(command) => Ok(Scanned { command, options: scan.options, arguments: scan.arguments }),
        None => Err(no_command(words[0])),
    }
}

struct Scan<'w, 'a> {
    words: &'w [Word<'a>],
    at: usize,
    command: Option<GivenCommand>,
    options: Vec<GivenOption<'a>>,
    arguments: Vec<Word<'a>>,
}

impl<'a> Scan<'_, 'a> {
    fn next_word(&mut self) -> Option<Word<'a>> {
        let word = self.words.get(self.at).copied()?;
        self.at += 1;
        Some(word)
    }

    /// `--name`, `--name=value` or `--name value`.
    fn long(&mut self, word: Word<'a>) -> Result<(), Fault> {
        let equals = word.bytes.iter().position(|&byte| byte == b'=');
        let name = Word { bytes: &word.bytes[..equals.unwrap_or(word.bytes.len())], ..word };
        let command = self.command.as_ref().map(|command| command.spec.command);
        let named = table::long(name.bytes, command).ok_or_else(|| self.unknown(name))?;
        let attached = equals.map(|at| word.tail(at + 1));
        self.take(named, name, attached)
    }

    /// `-a`, `-abc`, `-avalue` or `-a=value`.
    fn cluster(&mut self, word: Word<'a>) -> Result<(), Fault> {
        let mut at = 1;
        while at < word.bytes.len() {
            let letter = Word { bytes: &word.bytes[at..=at], start: word.start + at };
            let named = table::short(word.bytes[at]).ok_or_else(|| self.unknown(letter))?;
            at += 1;
            let takes_value = matches!(named, Named::Option(spec, _) if spec.value != Value::None);
            if takes_value {
                let rest = word.tail(at);
                let attached = match rest.bytes {
                    [] => None,
                    [b'=', ..] => Some(rest.tail(1)),
                    _ => Some(rest),
                };
                return self.take(named, letter, attached);
            }
            self.take(named, letter, None)?;
        }
        Ok(())
    }

    /// Enters a command or an option, whose value is attached or stands in the next word.
    fn take(&mut self, named: Named, place: Word<'a>, attached: Option<Word<'a>>) -> Result<(), Fault> {
        let (spec, name) = match (named, &self.command) {
            (Named::Command(_, name), _) if attached.is_some() => {
                return Err(Fault::new(place.range(), Problem::UnexpectedValue { option: name }));
            }
            (Named::Command(spec, name), None) => {
                self.command = Some(GivenCommand { spec, name, range: place.range() });
                return Ok(());
            }
            (Named::Command(_, second), Some(first)) => {
                return Err(Fault::new(place.range(), Problem::SecondCommand { first: first.name, second }));
            }
            (Named::Option(_, name), None) => {
                return Err(Fault::new(place.range(), Problem::NoCommand { found: name.to_owned() }));
            }
            (Named::Option(spec, name), Some(_)) => (spec, name),
        };
        let values = self.values(spec.value, name, &place, attached)?;
        self.options.push(GivenOption { spec, name, range: place.range(), values });
        Ok(())
    }

    /// The values of an option: attached to it, in the words that follow, or both.
    fn values(
        &mut self,
        takes: Value,
        option: &'static str,
        place: &Word<'a>,
        attached: Option<Word<'a>>,
    ) -> Result<Vec<Word<'a>>, Fault> {
        let fault = |problem| Err(Fault::new(place.range(), problem));
        match (takes, attached) {
            (Value::None, None) => Ok(Vec::new()),
            (Value::None, Some(_)) => fault(Problem::UnexpectedValue { option }),
            (Value::ThreeTimeouts, attached) => {
                let wanted = if attached.is_some() { 2 } else { 3 };
                let next = &self.words[self.at..];
                let next = &next[..next.len().min(wanted)];
                self.at += next.len();
                let values: Vec<_> = attached.into_iter().chain(next.iter().copied()).collect();
                match values.len() {
                    3 => Ok(values),
                    given => fault(Problem::MissingTimeouts { option, given }),
                }
            }
            (_, Some(value)) => Ok(vec![value]),
            (Value::Required(what), None) => match self.next_word() {
                Some(value) => Ok(vec![value]),
                None => fault(Problem::MissingValue { option, what }),
            },
            (Value::Optional, None) => match self.words.get(self.at) {
                Some(value) if !value.bytes.starts_with(b"-") => Ok(self.next_word().into_iter().collect()),
                _ => Ok(Vec::new()),
            },
        }
    }

    fn unknown(&self, place: Word<'_>) -> Fault {
        let dash = if place.bytes.starts_with(b"--") { "" } else { "-" };
        let name = format!("{dash}{}", excerpt(place.bytes));
        let known = match &self.command {
            Some(command) => table::option_names(command.spec.command),
            None => table::command_names(),
        };
        let known = if known.is_empty() { "nothing more".to_owned() } else { known };
        Fault::new(place.range(), Problem::UnknownOption { name, known })
    }
}

fn no_command(found: Word<'_>) -> Fault {
    Fault::new(found.range(), Problem::NoCommand { found: excerpt(found.bytes) })
}

#[cfg(test)]
mod tests {
    use super::super::words::words;
    use super::*;

    /// Command, options with values, and arguments, as text.
    fn sorted(line: &str) -> Result<String, Problem> {
        let text = |word: &Word<'_>| String::from_utf8_lossy(word.bytes).into_owned();
        let scanned = scan(&words(line.as_bytes())).map_err(|fault| fault.problem)?;
        let mut out = vec![scanned.command.name.to_owned()];
        for option in &scanned.options {
            let values: Vec<_> = option.values.iter().map(text).collect();
            let equals = if values.is_empty() { "" } else { "=" };
            out.push(format!("{}{equals}{}", option.name, values.join(",")));
        }
        out.extend(scanned.arguments.iter().map(text));
        Ok(out.join(" "))
    }

    #[test]
    fn values_stand_apart_or_attached() {
        for line in ["-a -w 2", "-a -w2", "-a -w=2", "-aw2", "-aw 2"] {
            assert_eq!(sorted(line).unwrap(), "-a -w=2", "{line}");
        }
        for line in ["--add-server --weight 2", "--add-server --weight=2"] {
            assert_eq!(sorted(line).unwrap(), "--add-server --weight=2", "{line}");
        }
        assert_eq!(sorted("-at x:1 -gr y").unwrap(), "-a -t=x:1 -g -r=y");
        assert_eq!(sorted("-a -w -1").unwrap(), "-a -w=-1");
        assert_eq!(sorted("-a --weight=").unwrap(), "-a --weight=");
        assert_eq!(sorted("-A -p -s rr").unwrap(), "-A -p -s=rr");
        assert_eq!(sorted("-A -p 300 -s rr").unwrap(), "-A -p=300 -s=rr");
        assert_eq!(sorted("-A -p300").unwrap(), "-A -p=300");
    }

    #[test]
    fn three_values_may_begin_attached() {
        assert_eq!(sorted("-A --timeout 1 2 3 -o").unwrap(), "-A --timeout=1,2,3 -o");
        assert_eq!(sorted("-A --timeout=1 2 3 4").unwrap(), "-A --timeout=1,2,3 4");
        assert_eq!(
            sorted("-A --timeout 1 2").unwrap_err(),
            Problem::MissingTimeouts { option: "--timeout", given: 2 }
        );
        // The same name lists the director's time-outs after -L.
        assert_eq!(sorted("-L --timeout").unwrap(), "-L --timeout");
    }

    #[test]
    fn what_is_no_option_is_an_argument() {
        assert_eq!(sorted("--set 1 2 3").unwrap(), "--set 1 2 3");
        assert_eq!(sorted("-C - -- -w").unwrap(), "-C - -w");
    }

    #[test]
    fn spelling_mistakes_are_named() {
        let name = |line| match sorted(line) {
            Err(Problem::UnknownOption { name, .. }) => name,
            other => panic!("{line}: {other:?}"),
        };
        assert_eq!(name("-Q"), "-Q");
        assert_eq!(name("-A -gQ"), "-Q");
        assert_eq!(name("-A --wait=3"), "--wait");
        assert_eq!(name("--set -1 0 0"), "-1");
        assert!(matches!(sorted("-A --gatewaying=1"), Err(Problem::UnexpectedValue { .. })));
        assert!(matches!(sorted("--clear=1"), Err(Problem::UnexpectedValue { .. })));
        assert!(matches!(sorted("-A -t"), Err(Problem::MissingValue { .. })));
        assert!(matches!(sorted("-A -D"), Err(Problem::SecondCommand { first: "-A", second: "-D" })));
        assert!(matches!(sorted("-t x:1 -A"), Err(Problem::NoCommand { .. })));
        assert!(matches!(sorted("hello"), Err(Problem::NoCommand { .. })));
        assert!(matches!(sorted("--"), Err(Problem::NoCommand { .. })));
    }
}
