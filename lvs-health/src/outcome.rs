//! What a probe found, with a reason in words.

use std::fmt;

/// The result of one probe.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The server did as it should.
    Success {
        /// The weight that the check wants the server to have, where it says one.
        weight: Option<u32>,
    },
    /// It did not.
    Failure(Failure),
    /// The probe could not be carried out, and that is no fault of the server's: a right, a port or a file is missing here. The
    /// server's state stays as it is.
    Undecided(Failure),
}

impl Outcome {
    /// A success without a weight.
    pub const SUCCESS: Self = Self::Success { weight: None };

    pub(crate) fn failure(kind: FailureKind, text: impl Into<String>) -> Self {
        Self::Failure(Failure::new(kind, text))
    }

    pub(crate) fn undecided(text: impl Into<String>) -> Self {
        Self::Undecided(Failure::new(FailureKind::Local, text))
    }
}

macro_rules! failure_kinds {
    ($( $(#[$doc:meta])* $name:ident = $slug:literal, )*) => {
        /// What kind of failure it was. Each has a stable slug for metrics and JSON.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum FailureKind { $( $(#[$doc])* $name, )* }

        impl FailureKind {
            /// All kinds.
            pub const ALL: &'static [Self] = &[ $( Self::$name, )* ];

            /// The stable name: lower case, underscores.
            #[must_use]
            pub const fn slug(self) -> &'static str {
                match self { $( Self::$name => $slug, )* }
            }
        }
    };
}

failure_kinds! {
    /// Nothing came back in time.
    NoAnswer = "no_answer",
    /// The server's Ethernet address is not known.
    NoNeighbour = "no_neighbour",
    /// The port is closed.
    Refused = "refused",
    /// The connection was made, and broken off.
    Reset = "reset",
    /// An ICMP error came back.
    Unreachable = "unreachable",
    /// The server sent the probe back instead of taking it.
    SentBack = "sent_back",
    /// The connection was made, but the answer did not come to an end in time.
    Slow = "slow",
    /// An HTTP status that is not among the good ones.
    Status = "status",
    /// A body, reply or record that is not the expected one.
    Content = "content",
    /// What came back breaks its protocol.
    Malformed = "malformed",
    /// TLS did not come about, or the certificate is not to be believed.
    Tls = "tls",
    /// A command said so.
    Command = "command",
    /// A prober did not report in time.
    Overdue = "overdue",
    /// The probe could not be carried out here.
    Local = "local",
}

/// Why a probe failed: for machines, and in words for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// For metrics and rules.
    pub kind: FailureKind,
    /// For people. At most 512 bytes, without control characters: parts of it may have come from the network.
    text: Box<str>,
}

impl Failure {
    const MAX_TEXT: usize = 512;

    /// A failure with its reason. What is too long is cut, what is not printable replaced.
    #[must_use]
    pub fn new(kind: FailureKind, text: impl Into<String>) -> Self {
        let text: String = text.into();
        let mut clean = String::with_capacity(text.len().min(Self::MAX_TEXT));
        for c in text.chars() {
            if clean.len() + c.len_utf8() > Self::MAX_TEXT {
                break;
            }
            clean.push(if c.is_control() { ' ' } else { c });
        }
        Self { kind, text: clean.into_boxed_str() }
    }

    /// The reason in words.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_short_and_printable() {
        let failure = Failure::new(FailureKind::Content, format!("a\u{1b}[31m\n{}", "é".repeat(1000)));
        assert!(failure.text().len() <= 512);
        assert!(failure.text().starts_with("a [31m é"));
    }

    #[test]
    fn slugs_are_distinct() {
        for (i, a) in FailureKind::ALL.iter().enumerate() {
            assert!(FailureKind::ALL[..i].iter().all(|b| b.slug() != a.slug()));
        }
    }
}
