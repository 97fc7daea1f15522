//! What `start` and `stop` have to do, worked out before anything is done. Pure: facts and a state in, steps out.
//!
//! The order is the point. On the way up the settings come before the address, on the way down the address goes first: there
//! is no moment at which the host holds a VIP and would answer for it.

use std::fmt;
use std::net::IpAddr;

use crate::facts::{Facts, Key, alone, sysctl};
use crate::state::{Setting, Started, State};

/// One change, and how to take it back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    Set { interface: String, key: Key, from: i32, to: i32 },
    Add(IpAddr),
    Remove(IpAddr),
}

/// Everything that is to be done.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Plan {
    pub(crate) steps: Vec<Step>,
    /// What need not be done and why, in sentences.
    pub(crate) notes: Vec<String>,
    /// What is to be remembered once all is done.
    pub(crate) state: State,
}

impl Step {
    pub(crate) fn inverse(&self) -> Self {
        match self {
            Self::Set { interface, key, from, to } => {
                Self::Set { interface: interface.clone(), key: *key, from: *to, to: *from }
            }
            Self::Add(vip) => Self::Remove(*vip),
            Self::Remove(vip) => Self::Add(*vip),
        }
    }

    /// The same by the usual programs.
    pub(crate) fn command(&self) -> String {
        match self {
            Self::Set { interface, key, to, .. } => set_command(&key.sysctl(interface), *to),
            Self::Add(vip) => format!("ip address add {} dev lo", alone(*vip)),
            Self::Remove(vip) => format!("ip address del {} dev lo", alone(*vip)),
        }
    }
}

/// What was done, after it was done.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Set { interface, key, from, to } => write!(f, "{}: {from} -> {to}", key.sysctl(interface)),
            Self::Add(vip) => write!(f, "lo: {} added", alone(*vip)),
            Self::Remove(vip) => write!(f, "lo: {} removed", alone(*vip)),
        }
    }
}

pub(crate) fn set_command(name: &str, value: i32) -> String {
    format!("sysctl -w {name}={value}")
}

/// Where settings matter: `all` covers interfaces that come later, and an interface's own value holds if something puts `all`
/// back. The larger of both counts, so a harmful value in either must go.
pub(crate) fn places(interfaces: &[String]) -> impl Iterator<Item = &str> {
    std::iter::once("all").chain(interfaces.iter().map(String::as_str))
}

/// What makes this host a real server for `vips`, with a director behind `interfaces`.
///
/// # Errors
/// Where the outcome would not be a real server: a sentence with the cure.
pub(crate) fn start(
    vips: &[IpAddr],
    interfaces: &[String],
    facts: &Facts,
    state: &State,
) -> Result<Plan, String> {
    refuse(vips, facts)?;
    let mut plan = Plan { state: state.clone(), ..Plan::default() };
    // IPv6 has no need of settings: the kernel answers solicitations only for addresses of the interface that it was asked on.
    if vips.iter().any(IpAddr::is_ipv4) {
        for place in places(interfaces) {
            Key::ALL.into_iter().for_each(|key| plan.quiet(place, key, facts));
        }
    }
    vips.iter().for_each(|vip| plan.hold(*vip, facts));
    Ok(plan)
}

fn refuse(vips: &[IpAddr], facts: &Facts) -> Result<(), String> {
    for vip in vips {
        if let Some(held) = facts.holders(*vip).find(|held| facts.is_seen(&held.interface)) {
            let (subnet, name) = (held.subnet, &held.interface);
            return Err(format!(
                "{vip} is on {name} of this host: whoever asks there gets an answer, whatever the settings. If it is a VIP, \
                 take it off first (ip address del {subnet} dev {name}); if it is this host's own address, it cannot be a VIP"
            ));
        }
        let off =
            ["lo"].into_iter().find(|place| facts.ipv6.get(*place).is_some_and(|it| it.disable_ipv6 != 0));
        if let (true, Some(place)) = (vip.is_ipv6(), off) {
            let name = sysctl("ipv6", place, "disable_ipv6");
            return Err(format!(
                "{vip}: {name} is 1, so {place} takes no IPv6 address; {}",
                set_command(&name, 0)
            ));
        }
        if vip.is_ipv6() && facts.ipv6.is_empty() {
            return Err(format!("{vip}: this kernel has no IPv6"));
        }
    }
    Ok(())
}

impl Plan {
    fn quiet(&mut self, place: &str, key: Key, facts: &Facts) {
        let Some(value) = facts.value(place, key) else { return };
        let name = key.sysctl(place);
        if key.is_safe(value) {
            self.notes.push(format!("{name} is {value} already"));
            return;
        }
        let to = key.cure();
        self.steps.push(Step::Set { interface: place.to_owned(), key, from: value, to });
        let known = self.state.settings.iter_mut().find(|it| it.interface == place && it.key == key);
        match known {
            // Somebody changed it since the first start; what was before that one is what counts.
            Some(setting) => setting.set = to,
            None => {
                self.state.settings.push(Setting {
                    interface: place.to_owned(),
                    key,
                    before: value,
                    set: to,
                });
            }
        }
    }

    fn hold(&mut self, vip: IpAddr, facts: &Facts) {
        let known = self.state.vips.iter_mut().find(|started| started.vip == vip);
        let on_lo = facts.holders(vip).find(|held| !facts.is_seen(&held.interface));
        if let Some(held) = on_lo {
            self.notes.push(format!("{} is on {} already", held.subnet, held.interface));
            if known.is_none() {
                self.state.vips.push(Started { vip, added: false });
            }
            return;
        }
        self.steps.push(Step::Add(vip));
        match known {
            Some(started) => started.added = true,
            None => self.state.vips.push(Started { vip, added: true }),
        }
    }
}

/// What undoes the `start` of `vips`; of all that were started, if none are named. The settings go back with the last IPv4 VIP.
pub(crate) fn stop(vips: &[IpAddr], facts: &Facts, state: &State) -> Plan {
    let mut plan = Plan::default();
    let named = |vip: &IpAddr| vips.is_empty() || vips.contains(vip);
    for vip in vips.iter().filter(|vip| state.vips.iter().all(|started| started.vip != **vip)) {
        plan.notes.push(match facts.holders(*vip).next() {
            Some(held) => format!("{vip} was not started here: it stays on {}", held.interface),
            None => format!("{vip} was not started and is not there"),
        });
    }
    for started in &state.vips {
        if named(&started.vip) {
            plan.release(*started, facts);
        } else {
            plan.state.vips.push(*started);
        }
    }
    if plan.state.vips.iter().any(|started| started.vip.is_ipv4()) {
        plan.state.settings.clone_from(&state.settings);
        if !state.settings.is_empty() {
            plan.notes.push("the settings stay for the VIPs that remain".to_owned());
        }
    } else {
        state.settings.iter().for_each(|setting| plan.put_back(setting, facts));
    }
    plan
}

impl Plan {
    fn release(&mut self, started: Started, facts: &Facts) {
        let vip = started.vip;
        if !started.added {
            self.notes.push(format!("{vip} was there before start: it stays"));
        } else if facts.has_on_lo(vip) {
            self.steps.push(Step::Remove(vip));
        } else {
            self.notes.push(format!("{} is not on lo any more", alone(vip)));
        }
    }

    fn put_back(&mut self, setting: &Setting, facts: &Facts) {
        let Setting { interface, key, before, set } = setting;
        let name = key.sysctl(interface);
        match facts.value(interface, *key) {
            None => self.notes.push(format!("{name} is gone with its interface")),
            Some(value) if value == *set => self.steps.push(Step::Set {
                interface: interface.clone(),
                key: *key,
                from: value,
                to: *before,
            }),
            Some(value) if value == *before => {
                self.notes.push(format!("{name} is {before} already, as before start"));
            }
            Some(value) => self.notes.push(format!(
                "{name} was changed to {value} since start, which set {set} (before: {before}): left alone"
            )),
        }
    }
}

#[cfg(test)]
mod tests;
