//! States of connections of which the client's side alone is heard, as tables.

use std::time::Duration;

use lvs_core::config::Timeouts;
use lvs_core::connection::ConnectionState;

use super::Signal;
use ConnectionState as S;

/// Of the flags of a segment the first of RST, SYN, FIN, ACK counts; a segment with none of them closes.
pub(super) fn after(before: S, signal: Signal, secure: bool) -> S {
    match signal {
        Signal::Tcp(flags) => {
            let column = [4, 2, 1, 16].iter().position(|flag| flags & flag != 0).unwrap_or(4);
            let (_, row) = TCP.into_iter().find(|(state, _)| *state == before).expect("a TCP state");
            match row[column] {
                // With secure_tcp a SYN does not lead to SYN_RECV any more, but leaves it in peace.
                S::SynReceived if secure && column == 1 => {
                    if matches!(before, S::SynReceived | S::SynAck) {
                        before
                    } else {
                        S::SynAck
                    }
                }
                after => after,
            }
        }
        Signal::Udp => S::Udp,
        Signal::Sctp(chunk) => {
            let row = SCTP.into_iter().find(|(types, _)| types.contains(&chunk)).map_or(DATA, |(_, row)| row);
            row.iter().find(|(states, _)| states.contains(&before)).map_or(before, |(_, after)| *after)
        }
    }
}

/// Columns: RST, SYN, FIN, ACK, none.
const TCP: [(S, [S; 5]); 7] = [
    (S::None, [S::Close, S::SynReceived, S::Close, S::Established, S::Close]),
    (S::SynReceived, [S::SynReceived, S::SynReceived, S::TimeWait, S::Established, S::Close]),
    (S::SynAck, [S::Close, S::SynReceived, S::TimeWait, S::Established, S::Close]),
    (S::Established, [S::Close, S::Established, S::FinWait, S::Established, S::Close]),
    (S::FinWait, [S::Close, S::SynReceived, S::FinWait, S::FinWait, S::Close]),
    (S::TimeWait, [S::Close, S::SynReceived, S::TimeWait, S::TimeWait, S::Close]),
    (S::Close, [S::Close, S::SynReceived, S::Close, S::Close, S::Close]),
];

type SctpRow = &'static [(&'static [S], S)];

const DATA: SctpRow = &[(&[S::None], S::SctpEstablished)];
const COOKIE: SctpRow = &[(&[S::None, S::SctpInit1, S::SctpInit, S::SctpCookieSent], S::SctpEstablished)];
const OVER: SctpRow = &[(
    &[
        S::None,
        S::SctpInit1,
        S::SctpInit,
        S::SctpCookieSent,
        S::SctpEstablished,
        S::SctpShutdownReceived,
        S::SctpShutdownAckSent,
        S::SctpRejected,
        S::SctpClosed,
    ],
    S::SctpClosed,
)];

/// By type of the first chunk (RFC 9260 section 3.2): from where to where. All else stays.
const SCTP: [(&[u8], SctpRow); 7] = [
    (
        &[1],
        &[
            (&[S::None], S::SctpInit1),
            (&[S::SctpInit1, S::SctpInit, S::SctpRejected, S::SctpClosed], S::SctpInit),
        ],
    ),
    (&[2], &[(&[S::None, S::SctpInit1, S::SctpInit], S::SctpCookieSent)]),
    (&[6, 14], OVER),
    (&[7], &[(&[S::SctpEstablished], S::SctpShutdownReceived)]),
    (&[8], &[(&[S::SctpEstablished, S::SctpShutdownReceived], S::SctpShutdownAckSent)]),
    (&[9], &[(&[S::SctpInit1, S::SctpInit, S::SctpCookieSent], S::SctpRejected)]),
    (&[10, 11], COOKIE),
];

/// How long a state is remembered.
pub(super) fn timeout(state: S, timeouts: &Timeouts) -> Duration {
    let seconds = match state {
        S::Established => return timeouts.tcp,
        S::FinWait => return timeouts.tcp_fin,
        S::Udp => return timeouts.udp,
        S::SynReceived => 60,
        S::TimeWait | S::SynAck => 120,
        S::Close => 10,
        S::SctpInit1 | S::SctpRejected => 4,
        S::SctpEstablished => 900,
        S::None => 2,
        _ => 61,
    };
    Duration::from_secs(seconds)
}

pub(super) const fn is_active(state: S) -> bool {
    matches!(state, S::SynReceived | S::SynAck | S::Established | S::SctpEstablished)
}
