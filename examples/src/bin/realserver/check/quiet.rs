//! Whether neighbours would hear of a VIP: by ARP, which Linux answers for every address of the host and asks with the source of
//! the packet that waits, or by NDP, which keeps to the addresses of the interface.

use std::net::IpAddr;

use super::Severity::{Error, Warning};
use super::{Check, Finding, Severity, network};
use crate::facts::{Held, Key};
use crate::plan::set_command;

impl<'a> Check<'a> {
    /// Everything about the IPv4 and IPv6 VIPs together.
    pub(super) fn quiet(&mut self) {
        let vips = self.question.vips;
        if vips.iter().any(IpAddr::is_ipv4) {
            self.answering();
        }
        for vip in vips {
            if vip.is_ipv4() { self.announcing(*vip) } else { self.solicitations(*vip) }
        }
        self.recipes();
    }

    /// Errors where the director is, warnings elsewhere.
    pub(super) fn severity_on(&self, interface: &str) -> Severity {
        if self.question.interfaces.iter().any(|name| name == interface) { Error } else { Warning }
    }

    /// The interfaces whose neighbours could hear of a VIP: those named first.
    fn heard_on(&self) -> Vec<&'a str> {
        let others = self.facts.interfaces.iter().filter(|it| it.up && self.facts.is_seen(&it.name));
        let others = others.map(|it| it.name.as_str());
        let named = self.question.interfaces.iter().map(String::as_str);
        named.clone().chain(others.filter(|name| named.clone().all(|it| it != *name))).collect()
    }

    fn answering(&mut self) {
        let key = Key::ArpIgnore;
        let vips = self.question.vips.iter().filter(|vip| vip.is_ipv4());
        let vips = vips.map(ToString::to_string).collect::<Vec<_>>().join(", ");
        for name in self.heard_on() {
            let value = self.facts.effective(name, |it| it.arp_ignore);
            let numbers = self.numbers(name, key);
            if !key.is_safe(value) {
                let what = format!(
                    "{name}: {numbers}: ARP requests for {vips} that come in there are answered{}",
                    reserved(value > 3)
                );
                self.add("arp-answers", self.severity_on(name), what, self.cure(name, key));
            } else if value == 8 && self.severity_on(name) == Error {
                let what = format!(
                    "{name}: {numbers}: ARP is answered for no address at all, the RIP included; only static entries reach this host"
                );
                let eights =
                    ["all", name].into_iter().filter(|place| self.facts.value(place, key) == Some(8));
                let cure = eights.map(|place| set_command(&key.sysctl(place), key.cure())).collect();
                self.add("arp-silent", Warning, what, cure);
            }
        }
    }

    /// A reply has the VIP as its source, and Linux takes that as the sender of the ARP request for the gateway, if it may.
    fn announcing(&mut self, vip: IpAddr) {
        let key = Key::ArpAnnounce;
        for name in self.heard_on() {
            let value = self.facts.effective(name, |it| it.arp_announce);
            if value == 1 {
                self.announce_1(vip, name);
            } else if !key.is_safe(value) {
                let what = format!(
                    "{name}: {}: ARP requests there carry {vip} as their sender when a reply waits, and whoever hears them sends \
                     packets for it here{}",
                    self.numbers(name, key),
                    reserved(value > 2)
                );
                self.add("arp-announces", self.severity_on(name), what, self.cure(name, key));
            } else if self.severity_on(name) == Error && !self.has_ipv4(name) {
                let what = format!(
                    "{name} has no IPv4 address: its ARP requests borrow one of another interface, which may be {vip}"
                );
                let cure = vec![format!("ip address add RIP/LENGTH dev {name}")];
                self.add("interface-without-address", Warning, what, cure);
            }
        }
    }

    /// With 1 the kernel keeps the packet's source if it lies in a subnet of the interface together with the target
    /// (`inet_addr_onlink`), and a VIP usually does.
    fn announce_1(&mut self, vip: IpAddr, name: &str) {
        let near = |it: &&Held| it.interface == name && it.subnet.address() != vip && it.subnet.contains(vip);
        let (severity, why) = match self.facts.addresses.iter().find(near) {
            Some(held) => {
                let subnet = network(held.subnet);
                let why = format!(
                    "{vip} lies in its subnet {subnet}, so ARP requests there still carry it as their sender"
                );
                (self.severity_on(name), why)
            }
            None => {
                (Warning, format!("it helps only as long as {name} has no address in the subnet of {vip}"))
            }
        };
        let what = format!("{name}: {}: 1 is no cure: {why}", self.numbers(name, Key::ArpAnnounce));
        self.add("arp-announce-1", severity, what, self.cure(name, Key::ArpAnnounce));
    }

    fn has_ipv4(&self, name: &str) -> bool {
        self.facts.addresses.iter().any(|it| it.interface == name && it.subnet.address().is_ipv4())
    }

    /// Linux answers a solicitation only for addresses of the interface it came in on (`ndisc_recv_ns`), and takes a waiting
    /// packet's source as the sender of its own only if that interface has it (`ndisc_solicit`). What remains is the proxy.
    fn solicitations(&mut self, vip: IpAddr) {
        let setting = |place: &str| self.facts.ipv6.get(place).copied().unwrap_or_default();
        let proxied: Vec<&String> =
            self.facts.proxied.iter().filter(|it| it.1 == vip).map(|it| &it.0).collect();
        for name in proxied {
            let proxy = setting(name).proxy_ndp != 0 || setting("all").proxy_ndp != 0;
            if setting(name).forwarding != 0 && proxy {
                let what = format!(
                    "{name}: the host is an NDP proxy for {vip} (proxy_ndp, forwarding and an entry): it answers for it"
                );
                let cure = vec![format!("ip -6 neighbour del proxy {vip} dev {name}")];
                self.add("ndp-proxy", self.severity_on(name), what, cure);
            }
        }
    }

    /// Settings that somebody made in good faith and that do not help.
    fn recipes(&mut self) {
        let leaks =
            |finding: &Finding| matches!(finding.id, "arp-answers" | "arp-announces" | "arp-announce-1");
        if !self.findings.iter().any(|finding| leaks(finding) && finding.severity == Error) {
            return;
        }
        let lo = self.facts.ipv4.get("lo").copied().unwrap_or_default();
        if lo.arp_ignore != 0 || lo.arp_announce != 0 {
            let what = format!(
                "lo: arp_ignore is {}, arp_announce is {}: settings of lo have no effect, since no ARP request comes in on lo or \
                 leaves by it; the larger of `all` and the card's own counts",
                lo.arp_ignore, lo.arp_announce
            );
            self.add("recipe-lo", Warning, what, self.cures());
        }
        let filters: Vec<&str> = ["all", "lo"]
            .into_iter()
            .chain(self.question.interfaces.iter().map(String::as_str))
            .filter(|place| self.facts.ipv4.get(*place).is_some_and(|it| it.arp_filter != 0))
            .collect();
        if !filters.is_empty() {
            let what = format!(
                "arp_filter is set ({}): it chooses the card that answers, and does not keep any from answering for an address on lo",
                filters.join(", ")
            );
            self.add("recipe-arp-filter", Warning, what, self.cures());
        }
    }

    /// `arp_ignore is 1 (all 0, eth0 1)`, and who changed it if `start` had set it.
    fn numbers(&self, name: &str, key: Key) -> String {
        let value = |place: &str| self.facts.value(place, key).unwrap_or(0);
        let (all, own) = (value("all"), value(name));
        let drift = self.state.settings.iter().find(|it| {
            it.key == key && (it.interface == "all" || it.interface == name) && value(&it.interface) != it.set
        });
        let drift = drift.map_or(String::new(), |it| {
            format!("; start had set {} on {}, something changed it since", it.set, it.interface)
        });
        format!("{key} is {} (all {all}, {name} {own}{drift})", all.max(own))
    }

    /// What brings one setting of an interface right.
    fn cure(&self, name: &str, key: Key) -> Vec<String> {
        let places = ["all", name].into_iter();
        places
            .filter(|place| self.facts.value(place, key).is_some_and(|value| !key.is_safe(value)))
            .map(|place| set_command(&key.sysctl(place), key.cure()))
            .collect()
    }

    /// What brings all settings right.
    fn cures(&self) -> Vec<String> {
        let names = self.question.interfaces.iter().map(String::as_str);
        let mut all: Vec<String> = Vec::new();
        for (name, key) in names.flat_map(|name| Key::ALL.map(|key| (name, key))) {
            for command in self.cure(name, key) {
                if !all.contains(&command) {
                    all.push(command);
                }
            }
        }
        all
    }
}

const fn reserved(is: bool) -> &'static str {
    if is { " (the kernel takes this reserved value for 0)" } else { "" }
}
