//! What is asked about real servers, and what follows from the answers, as plain data.
//!
//! Names and defaults are those of keepalived. Whatever carries the checks out is not here.

mod words;

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use lvs_core::config::Timeouts;

use lvs_health::config::{PatternError, PatternOptions};

use super::{duration, excerpt};
pub use words::listing;

/// When a service has enough real servers, and what stands in if it has not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServiceHealth {
    /// What becomes of a real server that is down, unless it says [`inhibit_on_failure`](super::Server::inhibit_on_failure).
    /// Default automatic; keepalived's is to remove it.
    pub on_down: OnDown,
    /// Whether a server that goes up and down again and again is kept out for a while. Default yes.
    pub damping: bool,
    /// The weight that the real servers which are up must have together. Default 1.
    pub quorum: u32,
    /// How much more than the quorum brings it back, and how much less loses it. Below the quorum. Default 0.
    pub hysteresis: u32,
    /// Takes the connections while the quorum is missed. Default none.
    pub sorry_server: Option<SorryServer>,
}

impl Default for ServiceHealth {
    fn default() -> Self {
        Self { on_down: OnDown::Automatic, damping: true, quorum: 1, hysteresis: 0, sorry_server: None }
    }
}

/// What becomes of a real server that is down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnDown {
    /// Weight 0, so that its connections go on and it keeps its place; but removed where the scheduler would refuse clients that
    /// it gives to a server of weight 0 (dh, sh and mh without fallback).
    #[default]
    Automatic,
    /// Weight 0.
    Quiesce,
    /// Removed, and added again when it is back.
    Remove,
    /// Weight 0, and what is left of its connections is ended after this time.
    Drain(Duration),
}

/// As in the TOML file.
impl fmt::Display for OnDown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Automatic => f.write_str("auto"),
            Self::Quiesce => f.write_str("quiesce"),
            Self::Remove => f.write_str("remove"),
            Self::Drain(deadline) => write!(f, "drain {}", duration::text(*deadline)),
        }
    }
}

impl OnDown {
    /// The reverse of its text.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "auto" => Self::Automatic,
            "quiesce" => Self::Quiesce,
            "remove" => Self::Remove,
            _ => {
                let deadline = duration::parse(text.strip_prefix("drain ")?.trim())?;
                Self::Drain(Some(deadline).filter(|time| *time <= Timeouts::MAX)?)
            }
        })
    }
}

/// A real server for the time when there are not enough others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SorryServer {
    /// Its address, of the service's family.
    pub address: IpAddr,
    /// Whether it stays in the service with weight 0 while it is not needed, so that its connections go on. Default no.
    pub inhibit: bool,
}

/// One question that a real server is asked again and again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What is asked.
    pub kind: CheckKind,
    /// Where and from where.
    pub target: Target,
    /// How often and how long.
    pub timing: Timing,
    /// Whether the server counts as down until the first answer. Default no.
    pub alpha: bool,
}

/// Where a check goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Target {
    /// The way that the question takes, if it is [`Tcp`](CheckKind::Tcp) or [`Http`](CheckKind::Http) without TLS. Default that
    /// of clients.
    pub via: Via,
    /// The address that is asked. Default the real server's.
    pub address: Option<IpAddr>,
    /// The port that is asked, not 0. Default the service's.
    pub port: Option<u16>,
    /// The address that asks. Default the director's choice.
    pub source: Option<IpAddr>,
    /// The port that asks, not 0. Default any.
    pub source_port: Option<u16>,
}

/// The way that a question takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Via {
    /// The way of clients' packets: to the real server's Ethernet address, for the VIP. Finds servers that lack the VIP. Where an
    /// address that asks or is asked is named, it is [`Rip`](Self::Rip) all the same.
    #[default]
    Vip,
    /// To the real server's own address, over the kernel's sockets.
    Rip,
}

/// How often is asked, and when an answer counts as missing. Each time at most 31 days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// From one check to the next. Not 0. Default 60 s.
    pub delay_loop: Duration,
    /// How long an answer may take. Not 0. Default 5 s.
    pub connect_timeout: Duration,
    /// How often a failed check of a server that is up is repeated before it counts as down. Default 1, dns 3, command 0.
    pub retry: u32,
    /// How many good answers in a row bring a server back. Not 0. Default 1.
    pub rise: u32,
    /// The time before such a repetition. Default 1 s, http 3 s, dns the `delay_loop`.
    pub delay_before_retry: Duration,
    /// The first check comes at a random time within this. Default the `delay_loop`.
    pub warmup: Duration,
}

impl Timing {
    pub(crate) const DELAY_LOOP: Duration = Duration::from_secs(60);
    pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CheckKind {
    /// Whether a TCP connection can be made.
    Tcp,
    /// Whether an echo request is answered.
    Ping,
    /// Whether pages come, over TLS or not.
    Http(HttpCheck),
    /// Whether a datagram brings an answer, or at least no ICMP error.
    Udp(UdpCheck),
    /// Whether a name server answers.
    Dns(DnsCheck),
    /// What a program says by its exit status.
    Command(CommandCheck),
}

impl CheckKind {
    /// As in the TOML file.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Ping => "ping",
            Self::Http(HttpCheck { tls: None, .. }) => "http",
            Self::Http(HttpCheck { tls: Some(_), .. }) => "https",
            Self::Udp(_) => "udp",
            Self::Dns(_) => "dns",
            Self::Command(_) => "command",
        }
    }

    /// The default of [`Timing::retry`].
    pub(crate) const fn default_retry(&self) -> u32 {
        match self {
            Self::Dns(_) => 3,
            Self::Command(_) => 0,
            _ => 1,
        }
    }

    /// The default of [`Timing::delay_before_retry`].
    pub(crate) const fn default_delay_before_retry(&self, delay_loop: Duration) -> Duration {
        match self {
            Self::Dns(_) => delay_loop,
            Self::Http(_) => Duration::from_secs(3),
            _ => Duration::from_secs(1),
        }
    }
}

/// Which pages have to come, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpCheck {
    /// Over TLS.
    pub tls: Option<Tls>,
    /// Which HTTP is spoken. Default 1.0.
    pub version: HttpVersion,
    /// After a failure the pages are asked for at once one after the other, not a `delay_loop` apart. Default no.
    pub fast_recovery: bool,
    /// The pages, 1 to 64.
    pub urls: Vec<Url>,
}

/// What is particular to TLS.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tls {
    /// Say which host is meant (SNI): the name here or else the page's virtual host. Default no.
    pub send_sni: bool,
    /// The name to say.
    pub sni: Option<String>,
    /// Whether the certificate has to lead to a well-known root and name the host. In the TOML file yes
    /// unless it says no; keepalived never looks.
    pub verify: bool,
}

/// HTTP as spoken by a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HttpVersion {
    /// 1.0.
    #[default]
    V1_0,
    /// 1.0 with a line `Connection: close`.
    V1_0Close,
    /// 1.1.
    V1_1,
}

impl HttpVersion {
    pub(crate) const ALL: [Self; 3] = [Self::V1_0, Self::V1_0Close, Self::V1_1];

    /// As in the files: `1.0`, `1.0C` or `1.1`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::V1_0 => "1.0",
            Self::V1_0Close => "1.0C",
            Self::V1_1 => "1.1",
        }
    }
}

/// A page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    /// Its path. Default `/`.
    pub path: String,
    /// The host it belongs to. Default the real server's address.
    pub virtual_host: Option<String>,
    /// The status codes that are good, from first to last; 1 to 16 ranges. Default 200 to 299.
    pub status: Vec<(u16, u16)>,
    /// The MD5 sum that the page must have.
    pub digest: Option<[u8; 16]>,
    /// What the page must contain.
    pub regex: Option<Pattern>,
}

impl Default for Url {
    fn default() -> Self {
        Self { path: "/".to_owned(), virtual_host: None, status: vec![Self::GOOD], digest: None, regex: None }
    }
}

impl Url {
    pub(crate) const GOOD: (u16, u16) = (200, 299);
}

/// A regular expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    /// The expression, as [`lvs_health::config::Pattern`] takes it.
    pub expression: String,
    /// Whether the page must not contain it. Default no.
    pub no_match: bool,
    /// Whether upper and lower case are the same. Default no.
    pub caseless: bool,
    /// Whether `^` and `$` are the ends of lines. Default no.
    pub multiline: bool,
    /// Whether `.` takes the end of a line too. Default no.
    pub dotall: bool,
}

impl Pattern {
    /// What is wrong with it, and what would be right; nothing if lvs-health carries it out.
    pub(crate) fn fault(&self) -> Option<(String, &'static str)> {
        let Self { ref expression, no_match: _, caseless, multiline, dotall } = *self;
        let options = PatternOptions { caseless, multiline, dotall };
        let error = lvs_health::config::Pattern::new(expression, options).err()?;
        let cure = match error {
            PatternError::Size => "fewer signs and repetitions",
            _ => "an expression without look-around, backreferences and others of PCRE's own",
        };
        Some((format!("`{}`: {error}", excerpt(expression)), cure))
    }
}

/// What a datagram says, and what has to come back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UdpCheck {
    /// What is sent, at most 1024 bytes. Default something random.
    pub payload: Option<Vec<u8>>,
    /// What has to come back; `None` if an answer is not needed.
    pub reply: Option<Reply>,
}

/// The answer to a datagram.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The bytes it begins with, each with the bits of it that count; as far as the answer goes.
    pub pattern: Vec<MaskedByte>,
    /// Its least length. Default 0.
    pub min_length: u16,
    /// Its greatest length. Default 255.
    pub max_length: u16,
}

impl Default for Reply {
    fn default() -> Self {
        Self { pattern: Vec::new(), min_length: 0, max_length: 255 }
    }
}

/// A byte of which some bits count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MaskedByte {
    /// The byte; bits that do not count are 0.
    pub value: u8,
    /// The bits that count: 0xff, 0xf0, 0x0f or 0.
    pub mask: u8,
}

/// What a name server is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsCheck {
    /// For records of this type. Default SOA.
    pub record: RecordType,
    /// For this name. Default `.`.
    pub name: String,
}

/// Types of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(missing_docs, reason = "the names say it")]
pub enum RecordType {
    A,
    Aaaa,
    Cname,
    Mx,
    Ns,
    #[default]
    Soa,
    Txt,
}

impl RecordType {
    pub(crate) const ALL: [Self; 7] =
        [Self::A, Self::Aaaa, Self::Cname, Self::Mx, Self::Ns, Self::Soa, Self::Txt];

    /// As in zone files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::Aaaa => "AAAA",
            Self::Cname => "CNAME",
            Self::Mx => "MX",
            Self::Ns => "NS",
            Self::Soa => "SOA",
            Self::Txt => "TXT",
        }
    }
}

/// A program whose exit status tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandCheck {
    /// The program and its arguments, as one line.
    pub command: String,
    /// How long it may take. Not 0. Default the `delay_loop`.
    pub timeout: Duration,
    /// Whether a status from 2 on sets the server's weight: to the status less 2. Default no.
    pub dynamic: bool,
    /// The user, and the group behind a space, that it runs as. Default: whoever runs the checks decides.
    pub user: Option<String>,
}

/// The longest text of a check (a path, a host, an expression, a command), in bytes.
pub const MAX_TEXT: usize = 4096;
/// The most repetitions of a failed check.
pub const MAX_RETRY: u32 = 1000;
/// The most checks of a real server.
pub const MAX_CHECKS: usize = 32;
/// The most pages of a check.
pub const MAX_URLS: usize = 64;
/// The most ranges of status codes of a page.
pub const MAX_STATUS_RANGES: usize = 16;
/// The longest payload of a datagram.
pub const MAX_PAYLOAD: usize = 1024;

/// Whether one of the checks has no port to ask: its own or the service's, which a mark and a service on all ports lack.
pub(crate) fn lacks_port(checks: &[Check], service_port: u16) -> bool {
    let asks_a_port = |check: &Check| !matches!(check.kind, CheckKind::Ping | CheckKind::Command(_));
    service_port == 0 && checks.iter().any(|check| asks_a_port(check) && check.target.port.is_none())
}

/// What would be right if a text of a check is unusable. Some of them go into requests: no control characters.
pub(crate) fn unusable(text: &str, spaces: bool) -> Option<&'static str> {
    if text.is_empty() || text.len() > MAX_TEXT {
        return Some("a text of 1 to 4096 bytes");
    }
    if text.contains(char::is_control) {
        return Some("a text without control characters");
    }
    (!spaces && text.contains(char::is_whitespace)).then_some("a text without spaces")
}

/// `200-299,301`
pub(crate) fn ranges(ranges: &[(u16, u16)]) -> String {
    let each = ranges.iter().map(|&(first, last)| range(first, last));
    each.collect::<Vec<_>>().join(",")
}

pub(crate) fn range(first: u16, last: u16) -> String {
    if first == last { first.to_string() } else { format!("{first}-{last}") }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Two digits a byte; `x` for one that does not count.
pub(crate) fn masked_hex(bytes: &[MaskedByte]) -> String {
    let digit = |value: u8, mask: u8| if mask & 0xf == 0 { "x".to_owned() } else { format!("{value:x}") };
    let byte = |MaskedByte { value, mask }: &MaskedByte| {
        digit(value >> 4, mask >> 4) + &digit(value & 0xf, mask & 0xf)
    };
    bytes.iter().map(byte).collect()
}

/// Digits of bytes, in groups as wanted: two digits are a byte, a digit alone in its group or at its end too. `x` for a digit
/// that does not count. `None` if there is anything else or more than [`MAX_PAYLOAD`] bytes.
pub(crate) fn parse_masked_hex(text: &str) -> Option<Vec<MaskedByte>> {
    let digit = |c: u8| match c {
        b'x' | b'X' => Some((0, 0)),
        _ => Some((char::from(c).to_digit(16)? as u8, 0xf)),
    };
    let mut bytes = Vec::new();
    for group in text.split_ascii_whitespace() {
        for pair in group.as_bytes().chunks(2) {
            let (high, low) = match *pair {
                [high, low] => (digit(high)?, digit(low)?),
                [low] => ((0, 0xf), digit(low)?),
                _ => return None,
            };
            bytes.push(MaskedByte { value: high.0 << 4 | low.0, mask: high.1 << 4 | low.1 });
        }
    }
    (bytes.len() <= MAX_PAYLOAD).then_some(bytes)
}

/// The same without `x`.
pub(crate) fn parse_hex(text: &str) -> Option<Vec<u8>> {
    parse_masked_hex(text)?.into_iter().map(|byte| (byte.mask == 0xff).then_some(byte.value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_make_bytes_as_keepalived_reads_them() {
        let bytes = parse_hex("Ab12f 3 456 546443123").unwrap();
        assert_eq!(bytes, [0xab, 0x12, 0x0f, 0x03, 0x45, 0x06, 0x54, 0x64, 0x43, 0x12, 0x03]);
        let masked = parse_masked_hex("1x Xf xx").unwrap();
        assert_eq!(masked_hex(&masked), "1xxfxx");
        assert_eq!(masked[0], MaskedByte { value: 0x10, mask: 0xf0 });
        assert_eq!(parse_hex("1x"), None);
        assert_eq!(parse_masked_hex("g0"), None);
        assert_eq!(parse_masked_hex(&"00".repeat(MAX_PAYLOAD + 1)), None);
    }
}
