//! Probes over sockets: a thread of lvs-health's, begun when the first of them is due, and again should it end.

use std::io;

use lvs_health::sockets::{SocketConfig, SocketProber};
use lvs_health::{Outcome, ProbeId};

/// The prober, if there is one.
pub(super) struct Sockets {
    prober: Option<SocketProber>,
    seed: u64,
}

impl Sockets {
    pub(super) const fn new(seed: u64) -> Self {
        Self { prober: None, seed }
    }

    /// One that can start probes. Without it, servers that fail would go on serving: so another takes the place of one that has
    /// ended, whatever it was that ended it.
    pub(super) fn prober(
        &mut self,
        spawn: impl FnOnce(SocketConfig) -> io::Result<SocketProber>,
    ) -> Option<&mut SocketProber> {
        if self.prober.as_ref().is_some_and(SocketProber::has_ended) {
            tracing::error!(
                "health checks over sockets: their thread has ended; another one takes its place"
            );
            self.prober = None;
            // No identifier is used twice.
            self.seed = self.seed.wrapping_add(1);
        }
        if self.prober.is_none() {
            match spawn(SocketConfig::new(self.seed)) {
                Ok(prober) => self.prober = Some(prober),
                Err(error) => tracing::error!("health checks over sockets: {error}"),
            }
        }
        self.prober.as_mut()
    }

    /// The next probe that has ended.
    pub(super) fn poll_outcome(&mut self) -> Option<(ProbeId, Outcome)> {
        self.prober.as_mut()?.poll_outcome()
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::sync::Arc;
    use std::thread;
    use std::time::{Duration, Instant};

    use lvs_core::config::ServiceKey;
    use lvs_health::ProbeOrder;
    use lvs_health::config::{Probe, SocketMethod, SocketProbe};

    use super::*;

    #[test]
    fn another_thread_takes_the_place_of_one_that_has_ended() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let order = |serial| ProbeOrder {
            id: ProbeId::new(0, serial),
            service: ServiceKey::tcp("192.0.2.1".parse().unwrap(), address.port()),
            server: address.ip(),
            probe: Arc::new(Probe::Socket(SocketProbe::new(SocketMethod::Tcp))),
            timeout: Duration::from_secs(5),
        };
        let mut sockets = Sockets::new(7);
        let dies = |config| SocketProber::spawn(config, || panic!("provoked by a test"));
        let prober = sockets.prober(dies).unwrap();
        prober.start(order(1));
        let start = Instant::now();
        while !prober.has_ended() {
            assert!(start.elapsed() < Duration::from_secs(10));
            thread::sleep(Duration::from_millis(1));
        }
        let lives = |config: SocketConfig| {
            assert_eq!(config.seed, 8);
            SocketProber::spawn(config, || {})
        };
        sockets.prober(lives).unwrap().start(order(2));
        let start = Instant::now();
        let outcome = loop {
            assert!(start.elapsed() < Duration::from_secs(10));
            if let Some(outcome) = sockets.poll_outcome() {
                break outcome;
            }
        };
        assert_eq!(outcome, (ProbeId::new(0, 2), Outcome::SUCCESS));
        assert!(sockets.prober(|_| unreachable!("it lives")).is_some());
    }
}
