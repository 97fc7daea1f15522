//! Figures: as JSON, one object a line, and as tables with bars for people.
//!
//! Goals are what the project set itself for the machine it is built on. They are no promise: another machine, or a busy
//! one, has other figures. What compares is two figures of the same run.

use std::fmt;

use serde::Serialize;

use crate::traffic::Family;

/// What a frame of some kind costs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FrameCost {
    /// The IP version.
    pub family: Family,
    /// How many flows the frames belong to.
    pub flows: u32,
    /// Nanoseconds in the director.
    pub ns_per_frame: f64,
    /// Nanoseconds in the baseline.
    pub baseline_ns: f64,
    /// Allocations in the director, over all measured frames.
    pub allocations: u64,
    /// `huge` or `4k`: where the director's tables were.
    pub pages: String,
}

/// One figure.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "case", rename_all = "snake_case")]
pub enum Figure {
    /// A frame of an established connection.
    Established(FrameCost),
    /// A frame that makes a connection.
    NewConnection(FrameCost),
    /// A frame to an address that is not served.
    NotOurs(FrameCost),
    /// An ARP question that is answered.
    ArpReply(FrameCost),
    /// What a connection takes.
    Memory {
        /// The IP version.
        family: Family,
        /// Table, index and timer of a full table, by connections.
        bytes_per_connection: f64,
    },
    /// What a frame of an established connection costs under attack.
    Flood {
        /// `random` addresses against a full table, or `colliding` ones.
        attack: &'static str,
        /// Nanoseconds under attack.
        ns_per_frame: f64,
        /// Under attack by without.
        ratio: f64,
        /// Established frames that did not reach their server.
        lost: u64,
    },
    /// The longest batches while all connections expire.
    Expiry {
        /// The IP version.
        family: Family,
        /// How many expire.
        connections: u32,
        /// Microseconds of the longest batch: median of the rounds.
        longest_us: f64,
        /// Microseconds that one batch in 10,000 takes longer than, all rounds together.
        p9999_us: f64,
        /// As `longest_us`, while nothing expires: what the machine adds.
        quiet_us: f64,
    },
    /// What several workers carry together.
    Workers {
        /// How many there are, each on a processor of its own.
        workers: u16,
        /// Established frames a second of all of them by those of one worker alone.
        ratio: f64,
    },
}

/// Rounds to tenths: more is noise.
#[must_use]
pub fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

/// The middle one of some values, or the mean of the middle two; 0 of none.
#[must_use]
pub fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    match values.len() {
        0 => 0.0,
        n if n % 2 == 0 => (values[half - 1] + values[half]) / 2.0,
        _ => values[half],
    }
}

impl Figure {
    /// One line of JSON.
    ///
    /// # Panics
    /// Never: all figures can be written.
    #[must_use]
    pub fn json(&self) -> String {
        serde_json::to_string(self).expect("plain values")
    }

    /// The most that it should be on the machine that the goals are for.
    #[must_use]
    pub fn goal(&self) -> Option<f64> {
        use Family::{Ipv4, Ipv6};
        match self {
            Self::Established(cost) => match (cost.family, cost.flows) {
                (Ipv4, 1000) => Some(12.0),
                (Ipv4, 100_000) => Some(14.0),
                (Ipv4, 1_000_000) => Some(20.0),
                (Ipv4, 10_000_000) => Some(35.0),
                (Ipv6, 1_000_000) => Some(30.0),
                _ => None,
            },
            Self::NewConnection(cost) => (cost.family == Ipv4 && cost.flows == 1_000_000).then_some(40.0),
            Self::NotOurs(_) => Some(8.0),
            Self::ArpReply(_) => None,
            Self::Memory { family, .. } => Some(if *family == Ipv4 { 96.0 } else { 160.0 }),
            Self::Flood { .. } => Some(2.0),
            Self::Expiry { connections, .. } => (*connections == 1_000_000).then_some(100.0),
            Self::Workers { .. } => Some(1.6),
        }
    }

    /// The value that the goal is for.
    #[must_use]
    pub const fn value(&self) -> f64 {
        match self {
            Self::Established(cost)
            | Self::NewConnection(cost)
            | Self::NotOurs(cost)
            | Self::ArpReply(cost) => cost.ns_per_frame,
            Self::Memory { bytes_per_connection, .. } => *bytes_per_connection,
            Self::Flood { ratio, .. } => *ratio,
            Self::Expiry { longest_us, .. } => *longest_us,
            Self::Workers { ratio, .. } => *ratio,
        }
    }

    /// `met`, `missed`, or nothing where there is no goal.
    #[must_use]
    pub fn verdict(&self) -> Option<&'static str> {
        let (value, goal) = (self.value(), self.goal()?);
        // Of what workers carry more is better.
        let is_met = if matches!(self, Self::Workers { .. }) { value >= goal } else { value <= goal };
        Some(if is_met { "met" } else { "missed" })
    }
}

/// Nanoseconds a cell of a bar stands for.
const NS_PER_CELL: f64 = 5.0;
/// Cells of the longest bar.
const CELLS: f64 = 40.0;

/// A bar of so many cells, to an eighth; one that would be too long ends with `»`.
#[must_use]
pub fn bar(cells: f64) -> String {
    let cells = cells.max(0.0);
    if cells > CELLS {
        return format!("{}»", "█".repeat(CELLS as usize));
    }
    let eighths = (cells * 8.0).round() as usize;
    let rest = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"][eighths % 8];
    format!("{}{rest}", "█".repeat(eighths / 8))
}

/// 1,234,567.
#[must_use]
pub fn thousands(number: u32) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// As people read it: two lines with bars for what a frame costs, one line for anything else.
impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let goal = match (self.goal(), self.verdict()) {
            (Some(goal), Some(verdict)) => format!("   goal {goal}: {verdict}"),
            _ => String::new(),
        };
        match self {
            Self::Established(cost) => cost.write(f, "established frame", &goal),
            Self::NewConnection(cost) => cost.write(f, "frame that makes a connection", &goal),
            Self::NotOurs(cost) => cost.write(f, "frame that is not for a service", &goal),
            Self::ArpReply(cost) => cost.write(f, "ARP question, answered", &goal),
            Self::Memory { family, bytes_per_connection } => {
                writeln!(
                    f,
                    "memory of a connection, {}: {bytes_per_connection:.1} bytes{goal}",
                    family.name()
                )
            }
            Self::Flood { attack, ns_per_frame, ratio, lost } => writeln!(
                f,
                "established frame during a flood of {attack} addresses: {ns_per_frame:.1} ns, {ratio:.2} times as \
                 much as without{goal}; {lost} frames lost"
            ),
            Self::Expiry { family, connections, longest_us, p9999_us, quiet_us } => writeln!(
                f,
                "longest batch while {} connections expire, {}: {longest_us:.1} us{goal}; one in 10,000 takes longer \
                 than {p9999_us:.1} us; while nothing expires: {quiet_us:.1} us",
                thousands(*connections),
                family.name()
            ),
            Self::Workers { workers, ratio } => {
                writeln!(
                    f,
                    "{workers} workers carry {ratio:.2} times as many established frames as one{goal}"
                )
            }
        }
    }
}

impl FrameCost {
    fn write(&self, f: &mut fmt::Formatter<'_>, what: &str, goal: &str) -> fmt::Result {
        let Self { family, flows, ns_per_frame, baseline_ns, allocations, pages } = self;
        let allocations =
            if *allocations == 0 { "no allocation".to_owned() } else { format!("{allocations} ALLOCATIONS") };
        writeln!(f, "{what}, {}, {} flows, {pages} pages, {allocations}", family.name(), thousands(*flows))?;
        writeln!(f, "  director  {ns_per_frame:7.1} ns  {}{goal}", bar(*ns_per_frame / NS_PER_CELL))?;
        writeln!(f, "  hashbrown {baseline_ns:7.1} ns  {}", bar(*baseline_ns / NS_PER_CELL))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(flows: u32, ns_per_frame: f64) -> FrameCost {
        FrameCost {
            family: Family::Ipv4,
            flows,
            ns_per_frame,
            baseline_ns: 70.0,
            allocations: 0,
            pages: "huge".to_owned(),
        }
    }

    #[test]
    fn a_line_of_json_is_as_documented() {
        assert_eq!(
            Figure::NewConnection(cost(1000, 56.3)).json(),
            "{\"case\":\"new_connection\",\"family\":\"ipv4\",\"flows\":1000,\"ns_per_frame\":56.3,\
             \"baseline_ns\":70.0,\"allocations\":0,\"pages\":\"huge\"}"
        );
        let memory = Figure::Memory { family: Family::Ipv6, bytes_per_connection: 160.0 };
        assert_eq!(memory.json(), "{\"case\":\"memory\",\"family\":\"ipv6\",\"bytes_per_connection\":160.0}");
    }

    #[test]
    fn people_see_goal_and_bars() {
        assert_eq!(
            Figure::Established(cost(100_000, 12.5)).to_string(),
            "established frame, IPv4, 100,000 flows, huge pages, no allocation\n  \
             director     12.5 ns  ██▌   goal 14: met\n  \
             hashbrown    70.0 ns  ██████████████\n"
        );
        assert!(Figure::Established(cost(1000, 12.1)).to_string().contains("goal 12: missed"));
        assert!(!Figure::Established(cost(77, 12.1)).to_string().contains("goal"));
        assert!(bar(1e6).ends_with('»'));
        assert_eq!(bar(-1.0), "");
    }

    #[test]
    fn numbers_are_readable() {
        assert_eq!([0, 999, 1000, 1_234_567].map(thousands), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!((median(&[]), median(&[3.0, 1.0, 2.0]), median(&[4.0, 1.0])), (0.0, 2.0, 2.5));
        assert_eq!(tenths(1.26), 1.3);
    }
}
