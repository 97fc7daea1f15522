//! Which words there are: those that count, those that are left out, and why.

use std::collections::HashMap;

use super::tree::Node;
use crate::config::{Assembly, FileError, excerpt, nearest};

/// What may stand in a block.
pub(super) struct Block {
    /// Words that count.
    pub(super) taken: &'static [&'static str],
    /// Those of them that may stand there more than once.
    pub(super) repeated: &'static [&'static str],
    /// Words that are left out, with the reason for the notice.
    pub(super) left_out: &'static [(&'static str, &'static str)],
    /// Words that cannot be left out, with what to write instead.
    pub(super) refused: &'static [(&'static str, &'static str)],
}

impl Block {
    /// The nodes that count, in order, after all others were seen to. A word that comes again counts as keepalived has it:
    /// the last one.
    pub(super) fn sort<'n>(
        &self,
        nodes: &'n [Node],
        assembly: &mut Assembly,
    ) -> Result<Vec<&'n Node>, FileError> {
        let mut found: Vec<Option<&Node>> = Vec::new();
        let mut once: HashMap<&str, usize> = HashMap::new();
        for node in nodes {
            let word = node.keyword.as_str();
            if self.taken.contains(&word) {
                if !self.repeated.contains(&word)
                    && let Some(earlier) = once.insert(word, found.len())
                    && let Some(earlier) = found[earlier].take()
                {
                    let text = format!("{word} comes again on line {}, which counts", node.place.line);
                    assembly.notice(&earlier.place, text);
                }
                found.push(Some(node));
            } else if let Some((_, reason)) = self.left_out.iter().find(|(name, _)| *name == word) {
                assembly.notice(&node.place, format!("{word}: {reason}; left out"));
            } else if let Some((_, instead)) = self.refused.iter().find(|(name, _)| *name == word) {
                return Err(node
                    .place
                    .error(format!("{word} is not supported, and cannot be left out"), *instead));
            } else {
                let names =
                    |list: &[(&'static str, &str)]| list.iter().map(|(name, _)| *name).collect::<Vec<_>>();
                let known = [self.taken, &names(self.left_out), &names(self.refused)].concat();
                let expected = match nearest::nearest(word, known.iter().copied()) {
                    Some(near) => format!("`{near}`, which is the nearest known word"),
                    None => format!("one of {}", self.taken.join(", ")),
                };
                return Err(node.place.error(format!("{} is not known here", excerpt(word)), expected));
            }
        }
        Ok(found.into_iter().flatten().collect())
    }
}

const VRRP: &str = "this director does not speak VRRP";
const STATIC: &str = "a director sets no addresses and routes";
const SCRIPT: &str = "no programs are run on events; the log and the control socket tell of them";
const MAIL: &str = "no mail is sent";
const SNMP: &str = "there is no SNMP";
const TRACKING: &str = "nothing is tracked but real servers";
const PROCESS: &str = "it is about keepalived's own processes";
const BFD: &str = "this director does not speak BFD";

pub(super) const TOP: Block = Block {
    taken: &["global_defs", "virtual_server_group", "virtual_server"],
    repeated: &["global_defs", "virtual_server_group", "virtual_server"],
    left_out: &[
        ("vrrp_instance", VRRP),
        ("vrrp_sync_group", VRRP),
        ("vrrp_script", VRRP),
        ("vrrp_track_process", VRRP),
        ("vrrp_track_file", VRRP),
        ("track_file", TRACKING),
        ("track_process", TRACKING),
        ("track_bfd", TRACKING),
        ("track_group", TRACKING),
        ("static_ipaddress", STATIC),
        ("static_routes", STATIC),
        ("static_rules", STATIC),
        ("garp_group", VRRP),
        ("interface_up_down_delays", VRRP),
        ("linkbeat_interfaces", VRRP),
        ("linkbeat_use_polling", VRRP),
        ("bfd_instance", BFD),
        ("SSL", "checks show no certificate of their own"),
        ("instance", PROCESS),
        ("use_pid_dir", PROCESS),
        ("child_wait_time", PROCESS),
        ("include_check", "files that are missing are always told"),
    ],
    refused: &[
        ("net_namespace", "the director to be started in that namespace"),
        ("net_namespace_ipvs", "the director to be started in that namespace"),
    ],
};

pub(super) const GLOBAL: Block = Block {
    taken: &["lvs_timeouts"],
    repeated: &[],
    left_out: &[
        ("router_id", "nothing here has a name of its own"),
        ("notification_email", MAIL),
        ("notification_email_from", MAIL),
        ("smtp_server", MAIL),
        ("smtp_helo_name", MAIL),
        ("smtp_connect_timeout", MAIL),
        ("smtp_alert", MAIL),
        ("smtp_alert_vrrp", MAIL),
        ("smtp_alert_checker", MAIL),
        ("no_email_faults", MAIL),
        ("lvs_sync_daemon", "connections are not synchronised with ip_vs"),
        ("lvs_flush", "a director starts without services"),
        ("lvs_flush_on_stop", "a director ends with its services"),
        ("lvs_netlink_cmd_rcv_bufs", PROCESS),
        ("lvs_netlink_cmd_rcv_bufs_force", PROCESS),
        ("lvs_netlink_monitor_rcv_bufs", PROCESS),
        ("lvs_netlink_monitor_rcv_bufs_force", PROCESS),
        ("enable_script_security", SCRIPT),
        ("script_user", "checks say with user whom they run as"),
        ("startup_script", SCRIPT),
        ("startup_script_timeout", SCRIPT),
        ("shutdown_script", SCRIPT),
        ("shutdown_script_timeout", SCRIPT),
        ("notify_fifo", SCRIPT),
        ("notify_fifo_script", SCRIPT),
        ("vrrp_notify_fifo", SCRIPT),
        ("vrrp_notify_fifo_script", SCRIPT),
        ("lvs_notify_fifo", SCRIPT),
        ("lvs_notify_fifo_script", SCRIPT),
        ("dynamic_interfaces", VRRP),
        ("default_interface", VRRP),
        ("nftables", VRRP),
        ("nftables_priority", VRRP),
        ("nftables_counters", VRRP),
        ("nftables_ifindex", VRRP),
        ("nftables_ipvs", "groups are services of their own here"),
        ("nftables_ipvs_start_fwmark", "groups are services of their own here"),
        ("enable_traps", SNMP),
        ("enable_dbus", PROCESS),
        ("process_names", PROCESS),
        ("process_name", PROCESS),
        ("max_auto_priority", PROCESS),
        ("min_auto_priority_delay", PROCESS),
        ("umask", PROCESS),
        ("json_version", PROCESS),
        ("reload_check_config", "a reload always checks first"),
        ("reload_time_file", PROCESS),
        ("reload_repeat", PROCESS),
        ("reload_file", PROCESS),
        ("tmp_config_directory", PROCESS),
        ("config_save_dir", PROCESS),
        ("data_use_instance", PROCESS),
        ("use_symlink_paths", SCRIPT),
        ("set_supplementary_groups", SCRIPT),
        ("random_seed", PROCESS),
        ("disable_local_igmp", VRRP),
        ("fifo_write_vrrp_states_on_reload", VRRP),
    ],
    refused: &[],
};

/// Words of `global_defs` that begin so are about something else altogether.
pub(super) const GLOBAL_PREFIXES: [(&str, &str); 5] =
    [("vrrp_", VRRP), ("bfd_", BFD), ("checker_", PROCESS), ("snmp_", SNMP), ("dbus_", PROCESS)];

const METHOD_WORDS: &[&str] = &[
    "delay_loop",
    "lvs_sched",
    "lb_algo",
    "lvs_method",
    "lb_kind",
    "persistence_timeout",
    "persistence_granularity",
    "protocol",
    "alpha",
    "quorum",
    "hysteresis",
    "inhibit_on_failure",
    "virtualhost",
    "connect_timeout",
    "retry",
    "nb_get_retry",
    "delay_before_retry",
    "warmup",
    "sorry_server",
    "sorry_server_inhibit",
    "sorry_server_lvs_method",
    "real_server",
    "ops",
    "sh-port",
    "sh-fallback",
    "mh-port",
    "mh-fallback",
    "flag-1",
    "flag-2",
    "flag-3",
    "ip_family",
];

pub(super) const VIRTUAL_SERVER: Block = Block {
    taken: METHOD_WORDS,
    repeated: &["real_server"],
    left_out: &[
        ("omega", SCRIPT),
        ("quorum_up", SCRIPT),
        ("quorum_down", SCRIPT),
        ("ha_suspend", "the VIP is the director's own, so checks always run"),
        ("smtp_alert", MAIL),
        ("snmp_name", SNMP),
        ("persistence_engine", "clients are told apart by their address, not by their call"),
        ("nat_mask", "nothing is translated"),
        ("net_mask", "nothing is translated"),
    ],
    refused: &[],
};

pub(super) const REAL_SERVER: Block = Block {
    taken: &[
        "weight",
        "lvs_method",
        "lb_kind",
        "uthreshold",
        "lthreshold",
        "inhibit_on_failure",
        "virtualhost",
        "alpha",
        "connect_timeout",
        "retry",
        "nb_get_retry",
        "delay_before_retry",
        "warmup",
        "delay_loop",
        "HTTP_GET",
        "SSL_GET",
        "TCP_CHECK",
        "DNS_CHECK",
        "MISC_CHECK",
        "PING_CHECK",
        "UDP_CHECK",
    ],
    repeated: &["HTTP_GET", "SSL_GET", "TCP_CHECK", "DNS_CHECK", "MISC_CHECK", "PING_CHECK", "UDP_CHECK"],
    left_out: &[
        ("notify_up", SCRIPT),
        ("notify_down", SCRIPT),
        ("smtp_alert", MAIL),
        ("snmp_name", SNMP),
        ("SMTP_CHECK", "there is no such check, so that the server counts as up without it"),
        ("BFD_CHECK", "there is no such check, so that the server counts as up without it"),
        ("FILE_CHECK", "there is no such check, so that the server counts as up without it"),
    ],
    refused: &[],
};

const CHECK_LEFT_OUT: &[(&str, &str)] = &[
    ("bind_if", "checks go out by the director's interfaces"),
    ("fwmark", "the packets of checks are not marked"),
    ("log_all_failures", "every failed check is logged"),
];

/// What may stand in a check of that name, or nothing if there is no such check.
pub(super) fn check(name: &str) -> Option<Block> {
    const fn block(taken: &'static [&'static str], repeated: &'static [&'static str]) -> Block {
        Block { taken, repeated, left_out: CHECK_LEFT_OUT, refused: &[] }
    }
    // Tables of constants can be joined by hand only; each begins with what all of them take.
    macro_rules! joined {
        ($($word:literal),*) => {
            &[
                "connect_ip", "connect_port", "bindto", "bind_port", "connect_timeout", "alpha", "retry", "nb_get_retry",
                "delay_before_retry", "warmup", "delay_loop", $($word),*
            ]
        };
    }
    Some(match name {
        "TCP_CHECK" | "PING_CHECK" => block(joined!(), &[]),
        "HTTP_GET" => block(joined!("http_protocol", "fast_recovery", "url", "virtualhost"), &["url"]),
        "SSL_GET" => Block {
            taken: joined!("http_protocol", "fast_recovery", "url", "virtualhost", "enable_sni", "sni_name"),
            repeated: &["url"],
            left_out: &[
                ("tls_compliant", "TLS is always ended in order"),
                ("bind_if", "checks go out by the director's interfaces"),
                ("fwmark", "the packets of checks are not marked"),
                ("log_all_failures", "every failed check is logged"),
            ],
            refused: &[],
        },
        "DNS_CHECK" => block(joined!("type", "name"), &[]),
        "UDP_CHECK" => {
            block(joined!("payload", "require_reply", "min_reply_length", "max_reply_length"), &[])
        }
        "MISC_CHECK" => Block {
            taken: &[
                "misc_path",
                "misc_timeout",
                "misc_dynamic",
                "user",
                "alpha",
                "retry",
                "nb_get_retry",
                "delay_before_retry",
                "warmup",
                "delay_loop",
            ],
            repeated: &[],
            left_out: &[("log_all_failures", "every failed check is logged")],
            refused: &[],
        },
        _ => return None,
    })
}

pub(super) const URL: Block = Block {
    taken: &["path", "digest", "status_code", "virtualhost", "regex", "regex_no_match", "regex_options"],
    repeated: &[],
    left_out: &[
        ("regex_stack", "expressions take as much memory as they need"),
        ("tls_compliant", "TLS is always ended in order"),
    ],
    refused: &[
        ("regex_min_offset", "an expression that needs no offset"),
        ("regex_max_offset", "an expression that needs no offset"),
    ],
};

#[cfg(test)]
mod tests {
    use super::*;

    /// What every check takes but MISC_CHECK.
    const CONNECTION: &[&str] = &["connect_ip", "connect_port", "bindto", "bind_port", "connect_timeout"];
    /// What every check takes.
    const COMMON: &[&str] = &["alpha", "retry", "nb_get_retry", "delay_before_retry", "warmup", "delay_loop"];

    #[test]
    fn every_check_takes_what_all_take() {
        for name in REAL_SERVER.repeated {
            let block = check(name).unwrap();
            assert!(COMMON.iter().all(|word| block.taken.contains(word)), "{name}");
            let connects = CONNECTION.iter().all(|word| block.taken.contains(word));
            assert_eq!(connects, *name != "MISC_CHECK", "{name}");
        }
        assert!(check("SMTP_CHECK").is_none());
    }
}
