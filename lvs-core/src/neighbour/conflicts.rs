//! Which claims on the director's addresses were reported lately, so that a station that keeps claiming, or
//! invents Ethernet addresses, does not flood anybody with reports.

use core::net::IpAddr;
use core::time::Duration;

use arrayvec::ArrayVec;

use crate::addr::MacAddr;
use crate::time::Instant;

/// The same claim is reported once in this time.
const QUIET: Duration = Duration::from_secs(10);
/// So many reports there are in that time at most.
const MOST: usize = 64;

/// Claims reported during the last ten seconds, oldest first.
#[derive(Debug, Default)]
pub(super) struct Conflicts {
    lately: ArrayVec<(Instant, IpAddr, MacAddr), MOST>,
}

impl Conflicts {
    /// Whether a claim is to be reported now; if so it is noted. Looks at 64 entries at most.
    pub(super) fn is_news(&mut self, now: Instant, address: IpAddr, mac: MacAddr) -> bool {
        self.lately.retain(|(at, _, _)| now < *at + QUIET);
        if self.lately.iter().any(|&(_, a, m)| (a, m) == (address, mac)) {
            return false;
        }
        self.lately.try_push((now, address, mac)).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_claim_once_in_ten_seconds_and_64_in_all() {
        let mut conflicts = Conflicts::default();
        let vip = IpAddr::from([10, 0, 0, 1]);
        let mac = |n: u8| MacAddr([2, 0, 0, 0, 0, n]);
        let at = Instant::from_secs;
        for n in 0..64 {
            assert!(conflicts.is_news(at(1), vip, mac(n)), "{n}");
            assert!(!conflicts.is_news(at(10), vip, mac(n)), "{n}");
        }
        assert!(!conflicts.is_news(at(10), vip, mac(64)));
        assert!(conflicts.is_news(at(11), vip, mac(64)));
        assert!(conflicts.is_news(at(11), vip, mac(0)));
    }
}
