//! Would this host answer for a VIP or announce it, and would it take the packets of a director? Pure: facts in, findings out.

mod quiet;

use std::net::IpAddr;

use lvs_core::Subnet;
use serde::Serialize;

use crate::facts::{Facts, Held, alone, sysctl};
use crate::plan::{Step, set_command};
use crate::state::State;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    /// The cluster does not work, or is bypassed.
    Error,
    /// It may be meant so, or does harm only under conditions.
    Warning,
}

/// A fault, with what shows it and what ends it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    pub(crate) id: &'static str,
    pub(crate) severity: Severity,
    pub(crate) evidence: String,
    /// Commands; comments begin with `#`.
    pub(crate) cure: Vec<String>,
}

/// What is asked about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Question<'a> {
    pub(crate) vips: &'a [IpAddr],
    /// The interfaces that carry packets of the director.
    pub(crate) interfaces: &'a [String],
    pub(crate) director: Option<IpAddr>,
}

/// All findings, in the order in which a packet and its answer meet them.
pub(crate) fn check(question: Question<'_>, facts: &Facts, state: &State) -> Vec<Finding> {
    let mut check = Check { facts, state, question, findings: Vec::new() };
    question.vips.iter().for_each(|vip| check.holding(*vip));
    check.quiet();
    if question.vips.iter().any(IpAddr::is_ipv4) {
        check.reverse_path();
    }
    check.gateways();
    check.findings
}

struct Check<'a> {
    facts: &'a Facts,
    state: &'a State,
    question: Question<'a>,
    findings: Vec<Finding>,
}

use Severity::{Error, Warning};

impl Check<'_> {
    fn add(&mut self, id: &'static str, severity: Severity, evidence: String, cure: Vec<String>) {
        self.findings.push(Finding { id, severity, evidence, cure });
    }

    fn holding(&mut self, vip: IpAddr) {
        let holders: Vec<&Held> = self.facts.holders(vip).collect();
        for held in &holders {
            let (name, subnet) = (&held.interface, held.subnet);
            if self.facts.is_seen(name) {
                self.on_interface(held);
            } else if subnet != alone(vip) {
                let what = format!(
                    "{vip} is on {name} as {subnet}: the host takes all of {} for its own",
                    network(subnet)
                );
                let cure = vec![
                    format!("ip address del {subnet} dev {name}"),
                    format!("ip address add {} dev {name}", alone(vip)),
                ];
                self.add("vip-prefix", Error, what, cure);
            }
            if self.facts.interface(name).is_some_and(|it| !it.up) {
                let what = format!("{name}, which holds {vip}, is down");
                self.add("holder-down", Error, what, vec![format!("ip link set {name} up")]);
            }
        }
        if holders.is_empty() {
            let what = format!("no interface holds {vip}: packets that a director sends here are not taken");
            self.add("vip-missing", Error, what, vec![Step::Add(vip).command()]);
        }
        if vip.is_ipv6() {
            self.ipv6_off(vip);
        }
    }

    fn on_interface(&mut self, held: &Held) {
        let (vip, name, subnet) = (held.subnet.address(), &held.interface, held.subnet);
        let label = held.label.as_ref().map_or(String::new(), |label| format!(" (label {label})"));
        let (protocol, settings) =
            if vip.is_ipv4() { ("ARP", ", whatever arp_ignore is") } else { ("NDP", "") };
        let duplicate =
            if held.duplicate { "; another machine has it already, so it is not even used" } else { "" };
        let what =
            format!("{vip} is on {name}{label}, so {protocol} is answered for it there{settings}{duplicate}");
        let mut cure = vec![format!("ip address del {subnet} dev {name}")];
        if !self.facts.has_on_lo(vip) {
            cure.push(Step::Add(vip).command());
        }
        if vip.is_ipv4() && self.facts.effective(name, |it| it.arp_ignore) == 8 {
            return;
        }
        self.add("vip-on-interface", self.severity_on(name), what, cure);
    }

    fn ipv6_off(&mut self, vip: IpAddr) {
        let places = std::iter::once("lo").chain(self.question.interfaces.iter().map(String::as_str));
        let off: Vec<&str> = places
            .filter(|place| self.facts.ipv6.get(*place).is_none_or(|it| it.disable_ipv6 != 0))
            .collect();
        for place in off {
            let name = sysctl("ipv6", place, "disable_ipv6");
            let what = format!("IPv6 is switched off on {place} ({name} is not 0): {vip} cannot be served");
            self.add("ipv6-off", Error, what, vec![set_command(&name, 0)]);
        }
    }

    /// Under strict filtering a packet is taken only on the interface by which a reply to its sender would leave. The larger of
    /// `all` and the interface counts, so 2 (loose) on the interface outweighs the 1 of `all`.
    fn reverse_path(&mut self) {
        let back: Vec<&str> =
            self.facts.default_routes.iter().filter(|it| !it.ipv6).map(|it| it.interface.as_str()).collect();
        for name in self.question.interfaces {
            let value = self.facts.effective(name, |it| it.rp_filter);
            if value != 1 || back.is_empty() || back.contains(&name.as_str()) {
                continue;
            }
            let what = format!(
                "{name}: rp_filter is 1 (strict), and the way back to clients leads by {}: their packets are dropped here",
                back.join(", ")
            );
            self.add("rp-filter", Error, what, vec![set_command(&sysctl("ipv4", name, "rp_filter"), 2)]);
        }
    }

    fn gateways(&mut self) {
        for ipv6 in [false, true] {
            if self.question.vips.iter().all(|vip| vip.is_ipv6() != ipv6) {
                continue;
            }
            let (family, flag) = if ipv6 { ("IPv6", " -6") } else { ("IPv4", "") };
            let routes: Vec<_> = self.facts.default_routes.iter().filter(|it| it.ipv6 == ipv6).collect();
            if routes.is_empty() {
                let what = format!(
                    "there is no {family} default route: clients outside of this host's subnets get no reply, and with rp_filter their \
                     requests are dropped"
                );
                self.add(
                    "no-default-route",
                    Warning,
                    what,
                    vec![format!("ip{flag} route add default via ROUTER")],
                );
            }
            for gateway in routes.iter().filter_map(|it| it.gateway) {
                let role = if Some(gateway) == self.question.director {
                    "the director"
                } else if self.question.vips.contains(&gateway) {
                    "a VIP"
                } else {
                    continue;
                };
                let what = format!(
                    "the default gateway {gateway} is {role}: replies must go to clients by a router, never back by the director"
                );
                let cure = vec![format!("ip{flag} route replace default via ROUTER")];
                self.add("gateway-is-director", Error, what, cure);
            }
        }
    }
}

/// The subnet with its host bits cleared.
fn network(subnet: Subnet) -> Subnet {
    let shift = u32::from(subnet.prefix_len());
    let address = match subnet.address() {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - shift).unwrap_or(0);
            IpAddr::V4((address.to_bits() & mask).into())
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - shift).unwrap_or(0);
            IpAddr::V6((address.to_bits() & mask).into())
        }
    };
    Subnet::new(address, subnet.prefix_len()).unwrap_or(subnet)
}

#[cfg(test)]
mod tests;
