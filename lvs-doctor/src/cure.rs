//! The cures, as lines for a shell. Those that begin with `#` say where the others belong.

use std::net::IpAddr;

use lvs_core::MacAddr;

/// Who is at fault, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Culprit {
    Server(IpAddr),
    Gateway(IpAddr),
    Unknown,
}

impl Culprit {
    pub(crate) const fn address(self) -> Option<IpAddr> {
        match self {
            Self::Server(address) | Self::Gateway(address) => Some(address),
            Self::Unknown => None,
        }
    }

    /// With its Ethernet address, for the middle of a sentence.
    pub(crate) fn name(self, mac: MacAddr) -> String {
        match self {
            Self::Server(address) => format!("real server {address} ({mac})"),
            Self::Gateway(address) => format!("gateway {address} ({mac})"),
            Self::Unknown => format!("an unknown machine ({mac})"),
        }
    }
}

/// For who answers or announces a VIP.
pub(crate) fn quiet(culprit: Culprit, mac: MacAddr, vip: IpAddr) -> Vec<String> {
    let sysctls = || {
        ["sysctl -w net.ipv4.conf.all.arp_ignore=1", "sysctl -w net.ipv4.conf.all.arp_announce=2"]
            .map(str::to_owned)
    };
    let move_to_lo = || {
        let card = format!("$(ip -o -6 address show to {vip} | awk '$2 != \"lo\" {{ print $2; exit }}')");
        [format!("ip -6 address flush to {vip} dev {card}"), format!("ip -6 address add {vip}/128 dev lo")]
    };
    let mut lines = Vec::new();
    match (culprit, vip) {
        (Culprit::Gateway(gateway), _) => {
            lines.push(format!("# on the gateway {gateway} ({mac}), which answers for others (proxy ARP):"));
            let family =
                if vip.is_ipv4() { "net.ipv4.conf.all.proxy_arp" } else { "net.ipv6.conf.all.proxy_ndp" };
            lines.push(format!("sysctl -w {family}=0"));
            return lines;
        }
        (Culprit::Server(address), _) => lines.push(format!("# on the real server {address} ({mac}):")),
        (Culprit::Unknown, _) => lines.push(format!("# on the machine with {mac}, if it is a real server:")),
    }
    match vip {
        IpAddr::V4(_) => {
            lines.extend(sysctls());
            lines.push(format!(
                "# if it goes on, the VIP is on a network card there and belongs on lo (ip address show to {vip})"
            ));
        }
        IpAddr::V6(_) => {
            lines.push("# (the VIP is on a network card, where it is announced; on lo it is not)".to_owned());
            lines.extend(move_to_lo());
        }
    }
    if culprit == Culprit::Unknown {
        lines.push(format!("# if it is another director of this cluster: name it with --director-mac {mac}"));
    }
    lines
}

/// For a real server that lacks the VIP.
pub(crate) fn hold_vip(server: IpAddr, mac: MacAddr, vip: IpAddr) -> Vec<String> {
    let mut lines = vec![format!("# on the real server {server} ({mac}):")];
    match vip {
        IpAddr::V4(_) => {
            // Quiet before it has anything to tell.
            lines.push("sysctl -w net.ipv4.conf.all.arp_ignore=1".to_owned());
            lines.push("sysctl -w net.ipv4.conf.all.arp_announce=2".to_owned());
            lines.push(format!("ip address add {vip}/32 dev lo"));
        }
        IpAddr::V6(_) => lines.push(format!("ip -6 address add {vip}/128 dev lo")),
    }
    lines.push(format!(
        "# if it has it (ip address show to {vip}), a packet filter drops what is sent to it:"
    ));
    lines.push("nft list ruleset".to_owned());
    lines
}

/// For a port that a filter guards.
pub(crate) fn open_port(server: IpAddr, mac: MacAddr) -> Vec<String> {
    vec![
        format!("# on the real server {server} ({mac}), find the rule that drops it:"),
        "nft list ruleset".to_owned(),
    ]
}

/// For a port where nobody listens.
pub(crate) fn listen(server: IpAddr, mac: MacAddr, udp: bool, port: u16) -> Vec<String> {
    let kind = if udp { 'u' } else { 't' };
    vec![
        format!(
            "# on the real server {server} ({mac}), start the service, or let it listen on the VIP or all addresses:"
        ),
        format!("ss -ln{kind} sport = :{port}"),
    ]
}

/// For a machine that is not found.
pub(crate) fn bring_up(what: &str, address: IpAddr) -> Vec<String> {
    vec![
        format!("# on the {what}: is it on, is its card up, has it this address?"),
        format!("ip address show to {address}"),
    ]
}

/// For an MTU that is too small.
pub(crate) fn widen(server: IpAddr, mac: MacAddr, mtu: u16) -> Vec<String> {
    vec![
        format!("# on the real server {server} ({mac}), or on a switch on the way to it:"),
        format!("ip link set mtu {mtu} dev $(ip -o address show to {server} | awk '{{ print $2; exit }}')"),
    ]
}
