//! Which frames a trace shows: a small language, and a sampling rate.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::str::FromStr;

use lvs_core::config::{Protocol, ServiceKey};
use lvs_core::{DropReason, Subnet};

use super::{Connection, Explanation, FrameProtocol, What, drop_words};

/// The grammar of filters, for help texts.
pub const GRAMMAR: &str = "\
filter  =  nothing, or terms with spaces between: all of them must hold
term    =  [!]KEY=VALUE[,VALUE...]      one of the values must hold; with ! none may

address     ADDRESS[/LEN]               source or destination (ARP: sender or target), or real server
source      ADDRESS[/LEN]
destination ADDRESS[/LEN]
server      ADDRESS[/LEN]               the real server that was chosen
port        PORT[-PORT]                 source or destination port
protocol    tcp udp sctp icmp arp other
service     tcp:VIP:PORT udp:VIP:PORT sctp:VIP:PORT mark:N mark6:N
                                        the service that took the flow: frames that open connections
connection  new known none
verdict     transmit pass hold drop
reason      a drop reason, as in no_service
sample      N                           every Nth only of the frames whose headers fit; once, without !
";

/// Filters that people want, for help texts.
const EXAMPLES: &str = "\
connection=new                            who opens a connection, and which server gets it
address=110.0.0.1 protocol=tcp,icmp       everything of one client
server=192.168.0.188 connection=new       what goes to this real server, and why
verdict=drop !reason=own_frame,consumed   what is lost; in single quotes, as a shell may take ! for itself
sample=1000                               a look at what comes
";

/// All there is to say about filters, for help texts: the [`GRAMMAR`], the drop reasons and what they mean, and examples.
#[must_use]
pub fn filter_help() -> String {
    let line = |reason: &DropReason| format!("{:<23} {}\n", reason.slug(), drop_words(*reason));
    let reasons: String = DropReason::ALL.iter().map(line).collect();
    format!("{GRAMMAR}\nDrop reasons:\n\n{reasons}\nExamples:\n\n{EXAMPLES}")
}

/// The longest filter, in bytes.
const MAX_BYTES: usize = 4096;

/// Which frames are wanted. The default wants all.
///
/// ```
/// use lvs_admin::explain::Filter;
///
/// let filter: Filter = "address=110.0.0.0/24 verdict=drop !reason=own_frame,consumed sample=10".parse()?;
/// assert_eq!(filter.sample().get(), 10);
/// let error = "verdict=lost".parse::<Filter>().unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "verdict=lost: `lost` is no verdict; expected transmit, pass, hold or drop",
/// );
/// # Ok::<(), lvs_admin::explain::FilterError>(())
/// ```
///
/// See [`GRAMMAR`]. Parsing takes time in proportion to the text, matching in proportion to the number of values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    terms: Vec<Term>,
    sample: NonZeroU32,
}

impl Default for Filter {
    fn default() -> Self {
        Self { terms: Vec::new(), sample: NonZeroU32::MIN }
    }
}

/// Why a text is no filter: the term, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{term}: {problem}")]
pub struct FilterError {
    /// The term, shortened.
    pub term: String,
    /// What is wrong with it, and what was expected.
    pub problem: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Term {
    negated: bool,
    tests: Vec<Test>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Test {
    Address(Subnet),
    Source(Subnet),
    Destination(Subnet),
    Server(Subnet),
    Port(u16, u16),
    Protocol(FrameProtocol),
    Service(ServiceKey),
    Connection(Connection),
    Verdict(&'static str),
    Reason(DropReason),
}

impl Filter {
    /// Every how many frames one is looked at.
    #[must_use]
    pub const fn sample(&self) -> NonZeroU32 {
        self.sample
    }

    /// Whether a frame may be wanted, as far as its headers tell.
    #[must_use]
    pub fn wants(&self, frame: &What) -> bool {
        self.terms.iter().all(|term| {
            let answers = term.tests.iter().map(|test| test.on_headers(frame));
            if term.negated {
                !answers.into_iter().any(|answer| answer == Some(true))
            } else {
                answers.into_iter().any(|answer| answer != Some(false))
            }
        })
    }

    /// Whether a frame is wanted whatever becomes of it: its headers alone tell.
    #[must_use]
    pub fn surely_wants(&self, frame: &What) -> bool {
        self.terms.iter().all(|term| {
            let mut answers = term.tests.iter().map(|test| test.on_headers(frame));
            if term.negated {
                answers.all(|answer| answer == Some(false))
            } else {
                answers.any(|answer| answer == Some(true))
            }
        })
    }

    /// Whether a frame is wanted, sampling aside.
    #[must_use]
    pub fn matches(&self, explanation: &Explanation) -> bool {
        self.terms.iter().all(|term| term.tests.iter().any(|test| test.holds(explanation)) != term.negated)
    }
}

impl Test {
    /// What the headers alone say; `None` if they do not tell.
    fn on_headers(&self, frame: &What) -> Option<bool> {
        let within = |subnet: &Subnet, address: Option<IpAddr>| address.is_some_and(|a| subnet.contains(a));
        match self {
            // The real server may have it.
            Self::Address(subnet) => {
                (within(subnet, frame.source) || within(subnet, frame.destination)).then_some(true)
            }
            Self::Source(subnet) => Some(within(subnet, frame.source)),
            Self::Destination(subnet) => Some(within(subnet, frame.destination)),
            Self::Port(low, high) => {
                let fits = |port: u16| (*low..=*high).contains(&port);
                Some(frame.ports.is_some_and(|(a, b)| fits(a) || fits(b)))
            }
            Self::Protocol(protocol) => Some(frame.protocol == *protocol),
            Self::Server(_) | Self::Service(_) | Self::Connection(_) | Self::Verdict(_) | Self::Reason(_) => {
                None
            }
        }
    }

    fn holds(&self, explanation: &Explanation) -> bool {
        let server = || explanation.server();
        match self {
            Self::Address(subnet) => {
                self.on_headers(&explanation.frame) == Some(true)
                    || server().is_some_and(|a| subnet.contains(a))
            }
            Self::Server(subnet) => server().is_some_and(|address| subnet.contains(address)),
            Self::Service(key) => explanation.service() == Some(*key),
            Self::Connection(connection) => explanation.connection() == *connection,
            Self::Verdict(name) => explanation.verdict_name() == *name,
            Self::Reason(reason) => explanation.reason() == Some(*reason),
            Self::Source(_) | Self::Destination(_) | Self::Port(..) | Self::Protocol(_) => {
                self.on_headers(&explanation.frame) == Some(true)
            }
        }
    }
}

impl FromStr for Filter {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        if text.len() > MAX_BYTES {
            let problem = format!("the filter is longer than {MAX_BYTES} bytes; leave something out");
            return Err(FilterError { term: shortened(text), problem });
        }
        let mut filter = Self::default();
        let mut sampled = false;
        for word in text.split_whitespace() {
            let wrong = |problem: String| FilterError { term: shortened(word), problem };
            let (negated, rest) = word.strip_prefix('!').map_or((false, word), |rest| (true, rest));
            let Some((key, values)) = rest.split_once('=') else {
                return Err(wrong(format!("expected KEY=VALUE with one of the keys {}", KEYS.join(", "))));
            };
            if key == "sample" {
                if negated || sampled {
                    return Err(wrong("sample stands once, without !".to_owned()));
                }
                filter.sample = values.parse().map_err(|_| {
                    wrong(format!("`{}` is no number of frames; expected 1 or more", shortened(values)))
                })?;
                sampled = true;
                continue;
            }
            let tests = values.split(',').map(|value| test(key, value).map_err(wrong));
            let tests = tests.collect::<Result<Vec<Test>, FilterError>>()?;
            filter.terms.push(Term { negated, tests });
        }
        Ok(filter)
    }
}

const KEYS: &[&str] = &[
    "address",
    "source",
    "destination",
    "server",
    "port",
    "protocol",
    "service",
    "connection",
    "verdict",
    "reason",
    "sample",
];

fn test(key: &str, value: &str) -> Result<Test, String> {
    let shown = shortened(value);
    Ok(match key {
        "address" => Test::Address(subnet(value)?),
        "source" => Test::Source(subnet(value)?),
        "destination" => Test::Destination(subnet(value)?),
        "server" => Test::Server(subnet(value)?),
        "port" => {
            let (low, high) = value.split_once('-').unwrap_or((value, value));
            match (low.parse(), high.parse()) {
                (Ok(low), Ok(high)) if low <= high => Test::Port(low, high),
                _ => return Err(format!("`{shown}` is no port; expected 0 to 65535, or LOW-HIGH")),
            }
        }
        "protocol" => {
            let found = FrameProtocol::ALL.iter().find(|(name, _)| *name == value);
            let Some((_, protocol)) = found else {
                return Err(format!("`{shown}` is no protocol; expected tcp, udp, sctp, icmp, arp or other"));
            };
            Test::Protocol(*protocol)
        }
        "service" => Test::Service(service(value).ok_or_else(|| {
            format!("`{shown}` is no service; expected tcp:VIP:PORT, udp:..., sctp:..., mark:N or mark6:N")
        })?),
        "connection" => Test::Connection(match value {
            "new" => Connection::New,
            "known" => Connection::Known,
            "none" => Connection::None,
            _ => return Err(format!("`{shown}` is no kind of connection; expected new, known or none")),
        }),
        "verdict" => Test::Verdict(match value {
            "transmit" => "transmit",
            "pass" => "pass",
            "hold" => "hold",
            "drop" => "drop",
            _ => return Err(format!("`{shown}` is no verdict; expected transmit, pass, hold or drop")),
        }),
        "reason" => {
            let found = DropReason::ALL.iter().find(|reason| reason.slug() == value);
            Test::Reason(*found.ok_or_else(|| {
                let slugs: Vec<&str> = DropReason::ALL.iter().map(|reason| reason.slug()).collect();
                format!("`{shown}` is no drop reason; expected one of {}", slugs.join(", "))
            })?)
        }
        _ => {
            return Err(format!("`{}` is no key; expected one of {}", shortened(key), KEYS.join(", ")));
        }
    })
}

fn subnet(text: &str) -> Result<Subnet, String> {
    let address = || {
        let address: IpAddr = text.parse().ok()?;
        Subnet::new(address, if address.is_ipv4() { 32 } else { 128 })
    };
    let found = if text.contains('/') { text.parse().ok() } else { address() };
    found.ok_or_else(|| format!("`{}` is no address; expected ADDRESS or ADDRESS/LEN", shortened(text)))
}

fn service(text: &str) -> Option<ServiceKey> {
    let (kind, rest) = text.split_once(':')?;
    let protocol = match kind {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        "sctp" => Protocol::Sctp,
        "mark" => return rest.parse().ok().map(ServiceKey::mark),
        "mark6" => return rest.parse().ok().map(ServiceKey::mark_v6),
        _ => return None,
    };
    let socket: std::net::SocketAddr = rest.parse().ok()?;
    Some(ServiceKey::Address { protocol, address: socket.ip(), port: socket.port() })
}

/// Text of somebody else's, fit for a message.
pub(crate) fn shortened(text: &str) -> String {
    let mut short: String = text.chars().map(|c| if c.is_control() { '?' } else { c }).take(40).collect();
    if text.chars().count() > 40 {
        short.push_str("...");
    }
    short
}
