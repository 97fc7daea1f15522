//! What the schedulers chose from, in words: one sentence for each of the fourteen.

use lvs_core::config::SchedulerKind;
use lvs_core::scheduler::{Grounds, Measure, SchedulerState, Server};

use super::{Names, Scheduled};

/// Servers that a sentence names besides the one that was picked.
const SHOWN: usize = 3;

impl Scheduled {
    /// The servers that it chose among.
    pub(super) fn list(&self) -> String {
        let weights = self.scheduler == SchedulerKind::WeightedRoundRobin;
        let names: Vec<String> = self
            .servers
            .iter()
            .map(|server| {
                let Server { address, weight, .. } = server;
                if weights { format!("{address} (weight {weight})") } else { address.to_string() }
            })
            .collect();
        match &names[..] {
            [first, second, .., last] if names.len() > 4 => {
                format!("{first}, {second} ... {last} ({} in all)", names.len())
            }
            _ => names.join(", "),
        }
    }

    /// The scheduler's name, what it went by, and whom it chose.
    pub(super) fn sentence(&self, names: &impl Names) -> String {
        let Self { scheduler, .. } = self;
        let inputs = self.inputs();
        let Some(server) = self.server() else {
            return format!("{scheduler}: {inputs}; nobody may be chosen{}", self.why_nobody());
        };
        let server = names.server(server.address);
        let choice = match self.scheduler {
            SchedulerKind::RoundRobin | SchedulerKind::WeightedRoundRobin => "so it is the turn of",
            _ => "so it goes to",
        };
        let passed = self.passed_over();
        format!("{scheduler}: {inputs}; {passed}{choice} {server}")
    }

    fn inputs(&self) -> String {
        match self.state {
            SchedulerState::RoundRobin { last: None } => "it begins with the first of them".to_owned(),
            SchedulerState::RoundRobin { last: Some(at) } => format!("the last pick was {}", self.name(at)),
            SchedulerState::WeightedRoundRobin { last, current_weight, max_weight, step } => {
                let last = last.map_or_else(
                    || "nobody was picked yet".to_owned(),
                    |at| format!("the last pick was {}", self.name(at)),
                );
                format!(
                    "{last}, this round asks for weight {current_weight} (from {max_weight} down by {step})"
                )
            }
            SchedulerState::Least { measure } => self.measured(measure),
            SchedulerState::Hash => self.entry(),
            SchedulerState::Locality => self.memory(),
            SchedulerState::TwoChoices => self.lots(),
            _ => "a scheduler of the application's own".to_owned(),
        }
    }

    /// By what measure the servers stand how.
    fn measured(&self, measure: Measure) -> String {
        let overhead = |server: &Server| server.overhead().to_string();
        let weighted = |server: &Server| format!("{}/{}", server.overhead(), server.weight);
        let delay = |server: &Server| format!("{}/{}", u64::from(server.active) + 1, server.weight);
        match measure {
            Measure::Connections => {
                format!("the least of 256*active+inactive: {}", self.values(overhead))
            }
            Measure::WeightedConnections => {
                format!("the least of (256*active+inactive)/weight: {}", self.values(weighted))
            }
            Measure::ExpectedDelay => format!("the least of (active+1)/weight: {}", self.values(delay)),
            Measure::NeverQueue if self.server().is_some_and(|server| server.active == 0) => {
                let active = |server: &Server| server.active.to_string();
                format!("the first without an active connection: {}", self.values(active))
            }
            Measure::NeverQueue => {
                format!("nobody is idle, so the least of (active+1)/weight: {}", self.values(delay))
            }
            Measure::Failover => {
                format!("the largest weight: {}", self.values(|server| server.weight.to_string()))
            }
            Measure::Overflow => {
                let value = |server: &Server| {
                    let Server { weight, active, .. } = server;
                    let over = if active > weight { ", over" } else { "" };
                    format!("{weight} ({active} active{over})")
                };
                format!("the largest weight that no more connections are active than: {}", self.values(value))
            }
        }
    }

    /// The entry of a table that a hash gave.
    fn entry(&self) -> String {
        let what = match self.scheduler {
            SchedulerKind::DestinationHashing => format!("the virtual address {}", self.flow.1.ip()),
            _ => format!("the client {}", self.flow.0.ip()),
        };
        let Grounds::Entry { number, of, holder, with_port } = self.grounds else {
            return format!("by a hash of {what}");
        };
        let port = if with_port { format!(" and port {}", self.flow.0.port()) } else { String::new() };
        let holder_name = holder.map_or_else(|| "nobody".to_owned(), |at| self.name(at));
        let text = format!("the hash of {what}{port} gives entry {number} of {of}, which is {holder_name}'s");
        match holder {
            Some(at) if self.picked.is_some() && self.picked != Some(at) => {
                let why =
                    self.servers.get(at).map_or("gone", |server| out(server).unwrap_or("not to be had"));
                format!("{text}, who is {why}: the next entry that is somebody's to be had")
            }
            _ => text,
        }
    }

    /// What was remembered of the destination address.
    fn memory(&self) -> String {
        let address = self.flow.1.ip();
        let weighted = |server: &Server| format!("{}/{}", server.overhead(), server.weight);
        let least = || format!("the least of (256*active+inactive)/weight: {}", self.values(weighted));
        let set = self.scheduler == SchedulerKind::LocalityWithReplication;
        match self.grounds {
            Grounds::Memory { remembered: Some(at) } => {
                let name = self.name(at);
                let known = if set {
                    format!("{address} has a set of servers, of which {name} is the least loaded")
                } else {
                    format!("{address} went to {name} before")
                };
                if self.picked == Some(at) {
                    known
                } else {
                    let load = self.servers.get(at).map_or_else(String::new, |server| {
                        format!(" ({} active, weight {})", server.active, server.weight)
                    });
                    format!("{known}, which is overloaded{load} while another one is half idle; {}", least())
                }
            }
            _ => format!("nobody to be had is remembered for {address}; {}", least()),
        }
    }

    /// Who was drawn.
    fn lots(&self) -> String {
        let Grounds::Lots { first, second } = self.grounds else {
            return "nobody has a weight to draw by".to_owned();
        };
        let stands = |at: usize| match self.servers.get(at) {
            Some(server) => format!("{} ({}/{})", server.address, server.overhead(), server.weight),
            None => self.name(at),
        };
        if first == second {
            return format!("both lots gave {}", stands(first));
        }
        format!(
            "the lots gave {} and {}; less (256*active+inactive)/weight counts",
            stands(first),
            stands(second)
        )
    }

    /// The servers' values, the picked one's in any case.
    fn values(&self, value: impl Fn(&Server) -> String) -> String {
        let count = self.servers.len();
        let is_shown = |at: usize| count <= SHOWN + 1 || at < SHOWN || self.picked == Some(at);
        let mut parts: Vec<String> = Vec::new();
        let mut left_out = 0;
        for (at, server) in self.servers.iter().enumerate() {
            if !is_shown(at) {
                left_out += 1;
                continue;
            }
            let address = server.address;
            parts.push(match out(server) {
                Some(why) => format!("{address} out ({why})"),
                None => format!("{address} {}", value(server)),
            });
        }
        if left_out > 0 {
            parts.push(format!("{left_out} more"));
        }
        parts.join(", ")
    }

    /// Servers whose turn it would have been, for round robin.
    fn passed_over(&self) -> String {
        let (SchedulerState::RoundRobin { last }, Some(picked)) = (self.state, self.picked) else {
            return String::new();
        };
        let (count, first) = (self.servers.len(), last.map_or(0, |last| last + 1));
        let turns = (0..count).map(|n| (first + n) % count).take_while(|at| *at != picked);
        let out =
            turns.filter_map(|at| self.servers.get(at)).filter_map(|server| Some((server, out(server)?)));
        let passed: Vec<String> = out
            .take(SHOWN)
            .map(|(server, why)| format!("{} is passed over ({why})", server.address))
            .collect();
        if passed.is_empty() { String::new() } else { format!("{}; ", passed.join(", ")) }
    }

    fn why_nobody(&self) -> String {
        if self.servers.is_empty() {
            return ": the service has no real server".to_owned();
        }
        if matches!(self.state, SchedulerState::Least { .. }) {
            // The list of values says it already.
            return String::new();
        }
        let whys = self.servers.iter().filter_map(|server| Some((server, out(server)?)));
        let out: Vec<String> =
            whys.take(SHOWN).map(|(server, why)| format!("{} is out ({why})", server.address)).collect();
        if out.is_empty() { String::new() } else { format!(": {}", out.join(", ")) }
    }

    fn name(&self, at: usize) -> String {
        self.servers.get(at).map_or_else(|| "?".to_owned(), |server| server.address.to_string())
    }
}

/// Why a server gets no new connections, if it gets none.
const fn out(server: &Server) -> Option<&'static str> {
    if server.weight == 0 {
        Some("weight 0")
    } else if server.overloaded {
        Some("as many connections as it may have")
    } else {
        None
    }
}
