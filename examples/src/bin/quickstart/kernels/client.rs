//! The client's kernel fetches the page.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use lvs_testkit::lab::{Host, http};

use crate::evidence::{Answer, Network};

/// How long the client waits for a page: two retransmissions of a lost SYN.
const PATIENCE: Duration = Duration::from_secs(3);

/// Fetches the page from `client`. Answers how long it took, and what came.
pub(crate) fn fetch_once(client: &Host, network: &Network) -> (Duration, Result<Answer, String>) {
    let start = Instant::now();
    let outcome = fetch_one(client, network);
    (start.elapsed(), outcome)
}

fn fetch_one(client: &Host, network: &Network) -> Result<Answer, String> {
    let address: SocketAddr = network.virtual_service;
    let response = http::get(client, address, "/", PATIENCE).map_err(|error| error.to_string())?;
    if response.status != 200 {
        return Err(format!("HTTP status {}", response.status));
    }
    network.answer(response.local, &response.body)
}
