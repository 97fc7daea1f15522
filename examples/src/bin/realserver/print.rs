//! What would be done, as text to read and to paste: commands for now, configuration for the next boot.

use std::fmt::{self, Write};
use std::net::IpAddr;

use crate::facts::{Key, alone};
use crate::plan::{Plan, places, set_command};

/// The commands of a plan, with what needs none as comments.
pub(crate) fn commands(plan: &Plan) -> String {
    let notes = plan.notes.iter().map(|note| format!("# {note}\n"));
    let steps = plan.steps.iter().map(|step| step.command() + "\n");
    let nothing = plan.steps.is_empty().then(|| "# nothing to do\n".to_owned());
    notes.chain(steps).chain(nothing).collect()
}

/// Configuration files with which the host is a real server from boot on. Whole, whatever is so already.
pub(crate) fn persistent(vips: &[IpAddr], interfaces: &[String]) -> Result<String, fmt::Error> {
    let mut text = String::new();
    let settings: Vec<(String, i32)> = if vips.iter().any(IpAddr::is_ipv4) {
        places(interfaces).flat_map(|place| Key::ALL.map(|key| (key.sysctl(place), key.cure()))).collect()
    } else {
        Vec::new()
    };
    writeln!(text, "\n# To make it last: sysctl.d, and one of the two others.")?;
    if !settings.is_empty() {
        writeln!(text, "\n# /etc/sysctl.d/60-lvs-realserver.conf")?;
        for (name, value) in &settings {
            writeln!(text, "{name} = {value}")?;
        }
    }
    writeln!(
        text,
        "\n# /etc/systemd/network/60-lvs-realserver.network (systemd-networkd)\n[Match]\nName=lo\n\n[Network]"
    )?;
    for vip in vips {
        writeln!(text, "Address={}", alone(*vip))?;
    }
    writeln!(
        text,
        "\n# /etc/network/interfaces.d/lvs-realserver (ifupdown)\nauto lo\niface lo inet loopback"
    )?;
    for (name, value) in &settings {
        writeln!(text, "    pre-up {}", set_command(name, *value))?;
    }
    for vip in vips {
        writeln!(text, "    up ip address add {} dev lo", alone(*vip))?;
    }
    for vip in vips {
        writeln!(text, "    down ip address del {} dev lo", alone(*vip))?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::samples::{host, ip, real_server};
    use crate::plan;
    use crate::state::State;

    #[test]
    fn commands_come_in_the_order_in_which_they_are_safe() {
        let start = |facts| {
            plan::start(&[ip("192.168.0.250")], &["eth0".to_owned()], &facts, &State::default()).unwrap()
        };
        assert_eq!(
            commands(&start(host())),
            "sysctl -w net.ipv4.conf.all.arp_ignore=1\n\
             sysctl -w net.ipv4.conf.all.arp_announce=2\n\
             sysctl -w net.ipv4.conf.eth0.arp_ignore=1\n\
             sysctl -w net.ipv4.conf.eth0.arp_announce=2\n\
             ip address add 192.168.0.250/32 dev lo\n"
        );
        let done = commands(&start(real_server(&["192.168.0.250"])));
        assert!(
            done.lines().all(|line| line.starts_with("# ")) && done.ends_with("# nothing to do\n"),
            "{done}"
        );
    }

    #[test]
    fn the_files_are_whole() {
        let text = persistent(&[ip("192.168.0.250"), ip("fd00::250")], &["eth0.5".to_owned()]).unwrap();
        for line in [
            "net.ipv4.conf.all.arp_ignore = 1",
            "net/ipv4/conf/eth0.5/arp_announce = 2",
            "Address=192.168.0.250/32",
            "Address=fd00::250/128",
            "    pre-up sysctl -w net.ipv4.conf.all.arp_announce=2",
            "    up ip address add fd00::250/128 dev lo",
            "    down ip address del 192.168.0.250/32 dev lo",
        ] {
            assert!(text.lines().any(|it| it == line), "{line} is missing:\n{text}");
        }
        let v6 = persistent(&[ip("fd00::250")], &["eth0".to_owned()]).unwrap();
        assert!(!v6.contains("net.ipv4.conf"), "IPv6 needs no settings:\n{v6}");
    }
}
