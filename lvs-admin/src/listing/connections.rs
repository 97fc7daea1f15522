//! Connections: `ipvsadm -Lnc`.

use std::borrow::Borrow;
use std::fmt::{self, Write};

use lvs_core::connection::ConnectionRecord;

/// Lists connections in the order in which they come; ipvsadm does not sort them either, also not with
/// `--sort`. Nothing is collected: a million of them take no memory here.
///
/// # Errors
/// Those of `out`.
pub fn connections<R>(out: &mut impl Write, records: impl IntoIterator<Item = R>) -> fmt::Result
where
    R: Borrow<ConnectionRecord>,
{
    connection_header(out)?;
    records.into_iter().try_for_each(|record| connection(out, record.borrow()))
}

/// The two lines above the connections, for callers that fetch them in portions.
///
/// # Errors
/// Those of `out`.
pub fn connection_header(out: &mut impl Write) -> fmt::Result {
    out.write_str(
        "IPVS connection entries\n\
         pro expire state       source             virtual            destination\n",
    )
}

/// The line of one connection or template. It expires in `MM:SS`, rounded down; minutes go beyond 59.
///
/// A template has the client's port 0 and the state NONE or ASSURED; that of a marked service has the protocol IP
/// and the mark as its virtual address.
///
/// # Errors
/// Those of `out`.
pub fn connection(out: &mut impl Write, record: &ConnectionRecord) -> fmt::Result {
    let seconds = record.expires_in.as_secs();
    writeln!(
        out,
        "{:<3} {:02}:{:02}  {:<11} {:<18} {:<18} {}",
        protocol_name(record),
        seconds / 60,
        seconds % 60,
        record.state,
        record.client,
        record.virtual_address,
        record.destination,
    )
}

/// The protocol; `IP` where it is any.
pub(crate) const fn protocol_name(record: &ConnectionRecord) -> &'static str {
    match record.protocol {
        Some(protocol) => protocol.name(),
        None => "IP",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lvs_core::config::Protocol;
    use lvs_core::connection::ConnectionState;
    use std::time::Duration;

    #[test]
    fn minutes_go_beyond_an_hour() {
        let record = ConnectionRecord {
            protocol: Some(Protocol::Tcp),
            template: false,
            client: "203.0.113.7:40112".parse().unwrap(),
            virtual_address: "192.0.2.10:80".parse().unwrap(),
            destination: "198.51.100.11:80".parse().unwrap(),
            state: ConnectionState::Established,
            expires_in: Duration::from_millis(7_384_900),
            timeout: Duration::from_secs(7_500),
            packets: 3,
        };
        let mut text = String::new();
        connection(&mut text, &record).unwrap();
        assert_eq!(text, "TCP 123:04  ESTABLISHED 203.0.113.7:40112  192.0.2.10:80      198.51.100.11:80\n");
    }
}
