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
use crate::wire::{sctp_chunk, tcp_flag};
use core::time::Duration;

/// The state after a segment with these flags. RST counts before SYN, SYN before FIN, FIN before ACK; a segment
/// with none of them closes. `secure` is the knob `secure_tcp`.
#[inline]
pub(crate) const fn after_segment(state: ConnectionState, flags: u8, secure: bool) -> ConnectionState {
    use ConnectionState as S;
    if flags & tcp_flag::RST != 0 {
        match state {
            S::SynReceived => S::SynReceived,
            _ => S::Close,
        }
    } else if flags & tcp_flag::SYN != 0 {
        match state {
            S::Established => S::Established,
            S::SynReceived | S::SynAck if secure => state,
            _ if secure => S::SynAck,
            _ => S::SynReceived,
        }
    } else if flags & tcp_flag::FIN != 0 {
        match state {
            S::Established | S::FinWait => S::FinWait,
            S::SynReceived | S::SynAck | S::TimeWait => S::TimeWait,
            _ => S::Close,
        }
    } else if flags & tcp_flag::ACK != 0 {
        match state {
            S::FinWait | S::TimeWait | S::Close => state,
            _ => S::Established,
        }
    } else {
        S::Close
    }
}

/// The SCTP state after a packet of the client with this first chunk. As IPVS for directly routed associations, as far as
/// recorded; an INIT that is repeated, or comes after the end, waits longer.
pub(crate) const fn after_chunk(state: ConnectionState, chunk: u8) -> ConnectionState {
    use ConnectionState as S;
    match chunk {
        sctp_chunk::INIT => match state {
            S::None => S::SctpInit1,
            S::SctpInit1 | S::SctpInit | S::SctpRejected | S::SctpClosed => S::SctpInit,
            _ => state,
        },
        sctp_chunk::INIT_ACK => match state {
            S::None | S::SctpInit1 | S::SctpInit => S::SctpCookieSent,
            _ => state,
        },
        sctp_chunk::ABORT | sctp_chunk::SHUTDOWN_COMPLETE => S::SctpClosed,
        sctp_chunk::SHUTDOWN => match state {
            S::SctpEstablished => S::SctpShutdownReceived,
            _ => state,
        },
        sctp_chunk::SHUTDOWN_ACK => match state {
            S::SctpEstablished | S::SctpShutdownReceived => S::SctpShutdownAckSent,
            _ => state,
        },
        sctp_chunk::ERROR => match state {
            S::SctpInit1 | S::SctpInit | S::SctpCookieSent => S::SctpRejected,
            _ => state,
        },
        sctp_chunk::COOKIE_ECHO | sctp_chunk::COOKIE_ACK => match state {
            S::None | S::SctpInit1 | S::SctpInit | S::SctpCookieSent => S::SctpEstablished,
            _ => state,
        },
        _ => match state {
            S::None => S::SctpEstablished,
            _ => state,
        },
    }
}

const STATES: usize = 17;

/// Time-outs in ticks, by state.
#[derive(Debug, Clone)]
pub(crate) struct StateTimeouts([u32; STATES]);

impl StateTimeouts {
    pub(crate) fn new(timeouts: &Timeouts) -> Self {
        use ConnectionState as S;
        let mut ticks = [0; STATES];
        for (number, ticks) in (0..).zip(&mut ticks) {
            *ticks = duration_ticks(match S::from_number(number) {
                S::None => Duration::from_secs(2),
                S::SynReceived => Duration::from_secs(60),
                S::Established => timeouts.tcp,
                S::FinWait => timeouts.tcp_fin,
                S::TimeWait | S::SynAck => Duration::from_secs(120),
                S::Close => Duration::from_secs(10),
                S::Udp => timeouts.udp,
                S::SctpEstablished => Duration::from_secs(900),
                S::SctpInit1 | S::SctpRejected => Duration::from_secs(4),
                S::SctpInit
                | S::SctpCookieSent
                | S::SctpShutdownReceived
                | S::SctpShutdownAckSent
                | S::SctpClosed => Duration::from_secs(61),
                // Templates live as long as their service says.
                S::Assured => Duration::ZERO,
            });
        }
        Self(ticks)
    }

    #[inline]
    pub(crate) const fn of(&self, state: ConnectionState) -> u32 {
        let number = state as usize;
        if number < STATES { self.0[number] } else { 0 }
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
                assert_eq!(after_segment(state, *flag, false), expected, "{state} + {name}");
            }
        }
    }

    #[test]
    fn precedence_is_rst_syn_fin_ack() {
        use ConnectionState as S;
        assert_eq!(after_segment(S::Established, 0xff, false), S::Close);
        assert_eq!(
            after_segment(S::FinWait, tcp_flag::SYN | tcp_flag::FIN | tcp_flag::ACK, false),
            S::SynReceived
        );
        assert_eq!(after_segment(S::Established, tcp_flag::FIN | tcp_flag::ACK, false), S::FinWait);
    }
}
