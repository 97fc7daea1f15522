//! The TCP states of a connection of which only the client's side is heard, and how long each is remembered.
//!
//! ```text
//!            SYN              ACK               FIN
//!   (none) ─────► SYN_RECV ─────► ESTABLISHED ─────► FIN_WAIT
//!                    │ FIN             │ RST
//!                    ▼                 ▼
//!                TIME_WAIT           CLOSE
//! ```
//! These are the transitions of IPVS for directly routed connections (its "input only" table). The director never
//! sees the server's FIN, so FIN_WAIT is where an orderly connection ends.

use super::record::ConnectionState;
use super::wheel::duration_ticks;
use crate::config::Timeouts;
use crate::wire::tcp_flag;
use core::time::Duration;

/// The state after a segment with these flags. RST counts before SYN, SYN before FIN, FIN before ACK; a segment
/// with none of them closes.
#[inline]
pub(crate) const fn after_segment(state: ConnectionState, flags: u8) -> ConnectionState {
    use ConnectionState as S;
    if flags & tcp_flag::RST != 0 {
        match state {
            S::SynReceived => S::SynReceived,
            _ => S::Close,
        }
    } else if flags & tcp_flag::SYN != 0 {
        match state {
            S::Established => S::Established,
            _ => S::SynReceived,
        }
    } else if flags & tcp_flag::FIN != 0 {
        match state {
            S::Established | S::FinWait => S::FinWait,
            S::SynReceived | S::TimeWait => S::TimeWait,
            S::None | S::Close | S::Udp => S::Close,
        }
    } else if flags & tcp_flag::ACK != 0 {
        match state {
            S::None | S::SynReceived | S::Established | S::Udp => S::Established,
            S::FinWait | S::TimeWait | S::Close => state,
        }
    } else {
        S::Close
    }
}

/// Time-outs in ticks, by state.
#[derive(Debug, Clone)]
pub(crate) struct StateTimeouts([u32; 8]);

impl StateTimeouts {
    pub(crate) fn new(timeouts: &Timeouts) -> Self {
        let mut ticks = [0; 8];
        for number in 0..8u8 {
            ticks[usize::from(number)] = duration_ticks(match ConnectionState::from_number(number) {
                ConnectionState::None => Duration::from_secs(2),
                ConnectionState::SynReceived => Duration::from_secs(60),
                ConnectionState::Established => timeouts.tcp,
                ConnectionState::FinWait => timeouts.tcp_fin,
                ConnectionState::TimeWait => Duration::from_secs(120),
                ConnectionState::Close => Duration::from_secs(10),
                ConnectionState::Udp => timeouts.udp,
            });
        }
        Self(ticks)
    }

    #[inline]
    pub(crate) const fn of(&self, state: ConnectionState) -> u32 {
        self.0[state as usize & 7]
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::println;

    /// The whole table, as recorded from a kernel (rows: state; columns: SYN, FIN, ACK, RST, none).
    #[test]
    fn the_whole_table() {
        use ConnectionState as S;
        let flags = [
            ("SYN", tcp_flag::SYN),
            ("FIN", tcp_flag::FIN),
            ("ACK", tcp_flag::ACK),
            ("RST", tcp_flag::RST),
            ("none", 0),
        ];
        let table = [
            (S::None, [S::SynReceived, S::Close, S::Established, S::Close, S::Close]),
            (S::SynReceived, [S::SynReceived, S::TimeWait, S::Established, S::SynReceived, S::Close]),
            (S::Established, [S::Established, S::FinWait, S::Established, S::Close, S::Close]),
            (S::FinWait, [S::SynReceived, S::FinWait, S::FinWait, S::Close, S::Close]),
            (S::TimeWait, [S::SynReceived, S::TimeWait, S::TimeWait, S::Close, S::Close]),
            (S::Close, [S::SynReceived, S::Close, S::Close, S::Close, S::Close]),
        ];
        for (state, expected) in table {
            for ((name, flag), expected) in flags.iter().zip(expected) {
                println!("{state:>12} + {name:<4} -> {expected}");
                assert_eq!(after_segment(state, *flag), expected, "{state} + {name}");
            }
        }
    }

    #[test]
    fn precedence_is_rst_syn_fin_ack() {
        use ConnectionState as S;
        assert_eq!(after_segment(S::Established, 0xff), S::Close);
        assert_eq!(after_segment(S::FinWait, tcp_flag::SYN | tcp_flag::FIN | tcp_flag::ACK), S::SynReceived);
        assert_eq!(after_segment(S::Established, tcp_flag::FIN | tcp_flag::ACK), S::FinWait);
    }
}
