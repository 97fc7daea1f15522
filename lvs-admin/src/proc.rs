//! The texts that the kernel shows under `/proc/net`: `ip_vs`, `ip_vs_conn` and `ip_vs_stats`.
//!
//! Monitoring that reads these files on a kernel director can read the same from this one. All numbers that the kernel
//! writes in hexadecimal are hexadecimal here. The order is that in which the values come; the kernel's is that of its
//! hash tables.

use std::borrow::Borrow;
use std::fmt::{self, Write};
use std::net::{IpAddr, Ipv6Addr};

use lvs_core::config::{ClientMask, ServiceConfig, ServiceKey};
use lvs_core::connection::ConnectionRecord;
use lvs_core::listing::{Rates, ServiceListing, Statistics};

use crate::listing::protocol_name;

/// `/proc/net/ip_vs`: services and their real servers in list order. `table_size` is that of the connection table.
///
/// The kernel leaves out the one-packet mark of IPv6 services, and which marks are of IPv6; so does this.
///
/// # Errors
/// Those of `out`.
pub fn services(out: &mut impl Write, services: &[ServiceListing], table_size: u32) -> fmt::Result {
    writeln!(out, "IP Virtual Server version 1.2.1 (size={table_size})")?;
    out.write_str(
        "Prot LocalAddress:Port Scheduler Flags\n  \
         -> RemoteAddress:Port Forward Weight ActiveConn InActConn\n",
    )?;
    for service in services {
        service_line(out, &service.config)?;
        for destination in &service.destinations {
            let config = &destination.config;
            write!(out, "  -> {}:{:04X}      ", endpoint_address(config.address), config.port)?;
            let (forwarding, weight) = (config.forwarding.name(), config.weight);
            writeln!(
                out,
                "{forwarding:<7} {weight:<6} {:<10} {:<10}",
                destination.active, destination.inactive
            )?;
        }
    }
    Ok(())
}

fn service_line(out: &mut impl Write, config: &ServiceConfig) -> fmt::Result {
    let scheduler = config.scheduler;
    let ops = if config.one_packet { "ops " } else { "" };
    match config.key {
        ServiceKey::Address { protocol, address, port } => {
            write!(out, "{protocol}  {}:{port:04X} {scheduler} ", endpoint_address(address))?;
            if address.is_ipv4() {
                write!(out, "{ops} ")?;
            }
        }
        ServiceKey::Mark { mark, .. } => write!(out, "FWM  {mark:08X} {scheduler} {ops}")?,
        _ => return Err(fmt::Error),
    }
    if let Some(persistence) = &config.persistence {
        // In hundredths of a second, and an IPv6 prefix length with its bytes the other way round.
        let mask = match persistence.mask {
            ClientMask::V4(mask) => mask,
            ClientMask::V6(length) => u32::from(length).swap_bytes(),
        };
        write!(out, "persistent {} {mask:08X}", persistence.timeout.as_millis() / 10)?;
    }
    out.write_char('\n')
}

/// `/proc/net/ip_vs_conn`: connections and templates in the order in which they come. Nothing is collected.
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

/// The line above the connections, for callers that fetch them in portions.
///
/// # Errors
/// Those of `out`.
pub fn connection_header(out: &mut impl Write) -> fmt::Result {
    out.write_str("Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData\n")
}

/// The line of one connection or template. It expires in that many seconds, rounded down.
///
/// # Errors
/// Those of `out`.
pub fn connection(out: &mut impl Write, record: &ConnectionRecord) -> fmt::Result {
    write!(out, "{:<3}", protocol_name(record))?;
    for end in [record.client, record.virtual_address, record.destination] {
        write!(out, " {} {:04X}", Hexadecimal(end.ip()), end.port())?;
    }
    writeln!(out, " {:<11} {:>7}", record.state, record.expires_in.as_secs())
}

/// `/proc/net/ip_vs_stats`: totals and per-second rates of all services together.
///
/// # Errors
/// Those of `out`.
pub fn statistics(out: &mut impl Write, totals: &Statistics, rates: &Rates) -> fmt::Result {
    let Statistics { connections, in_packets, out_packets, in_bytes, out_bytes } = *totals;
    out.write_str(
        "   Total Incoming Outgoing         Incoming         Outgoing\n   \
         Conns  Packets  Packets            Bytes            Bytes\n",
    )?;
    writeln!(out, "{connections:8X} {in_packets:8X} {out_packets:8X} {in_bytes:16X} {out_bytes:16X}\n")?;
    let Rates { connections, in_packets, out_packets, in_bytes, out_bytes } = *rates;
    out.write_str(" Conns/s   Pkts/s   Pkts/s          Bytes/s          Bytes/s\n")?;
    writeln!(out, "{connections:8X} {in_packets:8X} {out_packets:8X} {in_bytes:16X} {out_bytes:16X}")
}

/// An address before a colon and a port: IPv6 in brackets.
fn endpoint_address(address: IpAddr) -> String {
    if address.is_ipv6() { format!("[{}]", Hexadecimal(address)) } else { Hexadecimal(address).to_string() }
}

/// An IPv4 address as eight capital digits, an IPv6 address as eight groups of four small ones.
struct Hexadecimal(IpAddr);

impl fmt::Display for Hexadecimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(address) => write!(f, "{:08X}", address.to_bits()),
            IpAddr::V6(address) => groups(f, address),
        }
    }
}

fn groups(f: &mut fmt::Formatter<'_>, address: Ipv6Addr) -> fmt::Result {
    for (number, group) in address.segments().into_iter().enumerate() {
        write!(f, "{}{group:04x}", if number == 0 { "" } else { ":" })?;
    }
    Ok(())
}
