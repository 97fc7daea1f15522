//! The map of the network: who is connected to whom, with addresses and Ethernet addresses.

use crate::evidence::{Card, Network};
use crate::layout::Paint;

/// Columns between the walls of the boxes, without the space at either wall.
const CLIENT: usize = 23;
const ROUTER: usize = 43;
const STATION: usize = 77;
/// The length of the wire between client and router.
const WIRE: usize = 8;
/// Where in the router's floor the wire to the switch leaves.
const PLUG: usize = 23;

/// Draws it.
pub(crate) fn draw(network: &Network, paint: Paint) -> String {
    let mut rows = clients_side(network, paint);
    rows.extend(director(network, paint));
    rows.extend(servers(network, paint));
    rows.push(String::new());
    rows.push("   request  client ─▶ router ─▶ director ─▶ real server".to_owned());
    rows.push(
        "   reply    real server ─▶ router ─▶ client              never through the director".to_owned(),
    );
    rows.join("\n") + "\n"
}

/// Client and router side by side, and the wire down to the switch.
fn clients_side(network: &Network, paint: Paint) -> Vec<String> {
    let Network { client, router_outside: outside, router_inside: inside, .. } = network;
    let card = |card: &Card| format!("{} {:<16} {}", card.interface, card.address.to_string(), card.mac);
    let (gap, wire) = (" ".repeat(WIRE), "─".repeat(WIRE));
    let floor = format!("{}┬{}", "─".repeat(PLUG), "─".repeat(ROUTER + 1 - PLUG));
    // The plug's column, counted from the left wall of the client's box.
    let plug = 1 + (CLIENT + 2) + 1 + WIRE + 1 + PLUG;
    vec![
        format!("   {}{gap}{}", lid("client", CLIENT, paint), lid("router", ROUTER, paint)),
        format!("   │ {:<CLIENT$} ├{wire}┤ {:<ROUTER$} │", client.address.to_string(), card(outside)),
        format!("   │ {:<CLIENT$} │{gap}│ {:<ROUTER$} │", client.mac.to_string(), card(inside)),
        format!("   └{}┘{gap}└{floor}┘", "─".repeat(CLIENT + 2)),
        format!("   ┌─ switch {}┘", "─".repeat(plug - 10)),
    ]
}

fn director(network: &Network, paint: Paint) -> Vec<String> {
    let (Card { host, address, mac, .. }, vip) = (&network.director, network.virtual_service);
    vec![
        format!("   │  {}", lid(host, STATION, paint)),
        row("├──┤", &format!("VIP {:<23}  answered for by this program, not by the kernel", vip.to_string())),
        row("│  │", &format!("DIP {:<23}  {mac}", address.to_string())),
        format!("   │  └{}┘", "─".repeat(STATION + 2)),
    ]
}

fn servers(network: &Network, paint: Paint) -> Vec<String> {
    let (count, vip) = (network.servers.len(), network.virtual_service.ip());
    let mut rows = vec![format!("   │  {}", lid("real servers", STATION, paint))];
    for (at, server) in network.servers.iter().enumerate() {
        let (Card { host, address, mac, .. }, weight) = (&server.card, server.weight);
        let branch = if at + 1 == count { "└──┤" } else { "├──┤" };
        rows.push(row(
            branch,
            &format!("{host:<9} {:<17}  {mac}  weight {weight}  {vip} on lo", address.to_string()),
        ));
    }
    rows.push(format!("      └{}┘", "─".repeat(STATION + 2)));
    rows
}

/// The upper wall of a box, with its title in it.
fn lid(title: &str, width: usize, paint: Paint) -> String {
    format!("┌ {} {}┐", paint.strong(title), "─".repeat(width - title.chars().count()))
}

/// A row of a box on the switch.
fn row(branch: &str, text: &str) -> String {
    format!("   {branch} {text:<STATION$} │")
}
