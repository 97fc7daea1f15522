//! `--keep`: the cluster stays up, and the user is told how to get into it and what to try there.

use lvs_testkit::lab::{Host, Topology};

use crate::evidence::Network;
use crate::layout::Paint;

/// What to say about a cluster that stays up.
pub(crate) fn invitation(topology: &Topology, network: &Network, paint: Paint) -> String {
    let mut text = paint.heading(
        "STILL UP, UNTIL CTRL-C",
        "Each of these, in another terminal, opens a shell in a host of this network.",
    );
    for host in topology.hosts() {
        text += &format!("  {}\n    {}\n", paint.strong(host.name()), host.enter_command());
    }
    text += &paint.heading("TO TRY", "");
    let router = topology.router.as_ref().unwrap_or(&topology.client);
    let vip = network.virtual_service;
    let mut attempt = |what: &str, host: &Host, command: &str| {
        text += &format!("  {}\n    {} {command}\n", paint.strong(what), host.enter_command());
    };
    attempt(
        "fetch the page from the client, again and again",
        &topology.client,
        &format!("curl -s http://{vip}/"),
    );
    attempt("whom does the router take for the VIP?", router, "cat /proc/net/arp");
    attempt(
        "why do the real servers accept packets to the VIP?",
        &topology.servers[0].host,
        "ip -brief address",
    );
    attempt(
        "watch requests come in and leave again, and no reply, at the director",
        &topology.director,
        &format!("tcpdump -eni eth0 host {}", vip.ip()),
    );
    text
}
