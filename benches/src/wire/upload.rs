//! One TCP connection through the director, from kernel to kernel, with checksums and segmentation left to the receiver as
//! Linux has it by default (with AF_XDP done by the sender). One bridge connects client, director and real server; replies go straight to the client.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use lvs_core::MacAddr;
use lvs_testkit::lab::{Host, Topology, TopologyOptions};
use nix::sys::socket::{setsockopt, sockopt::TcpCongestion};

use super::forwarder::{Site, start_director};
use super::net::TAP;
use super::{Error, Figure, Io, Options};
use crate::report::median;

const TCP_PORT: u16 = 5001;
/// The director's Ethernet address on a TAP device.
const TAP_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0x31, 21]);
/// Bytes of a write and a read.
const CHUNK: usize = 256 << 10;
/// Longer than anything here takes: a connection that stands still this long is a failure.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) fn run(options: &Options) -> Result<Figure, Error> {
    // AF_XDP sockets can neither finish checksums nor cut segments, and take frames of one buffer.
    let offload = options.io != Io::Xdp;
    let net = Topology::a(TopologyOptions { servers: 1, offload, ..TopologyOptions::default() })?;
    if options.io == Io::Xdp {
        // The ends may merge what arrives.
        net.client.set_features("eth0", &[("rx-gro", true)])?;
        net.servers[0].host.set_features("eth0", &[("rx-gro", true)])?;
        for switch in &net.switches {
            // With a port that takes frames of any length at the other end, the driver runs no XDP program.
            if let Some(port) = switch.port_of(net.director.name(), "eth0") {
                switch.host().set_mtu(&port, net.director.interface("eth0")?.mtu)?;
            }
        }
    }
    let server = &net.servers[0];
    let service = SocketAddr::new(net.vips.v4, TCP_PORT);
    // On a TAP device the director is another station, on the bridge itself; the host with the DIP stands by.
    let (host, interface) = match options.io {
        Io::Tap => (net.switches[0].host(), (TAP, TAP_MAC, "192.168.31.21/24".parse()?)),
        _ => (&net.director, ("eth0", net.director_macs[0], net.dips[0][0])),
    };
    let site = Site {
        interfaces: vec![interface],
        vip: service,
        server: server.addresses.v4,
        server_mac: server.mac,
    };
    let io = options.io;
    let task = start_director(host, io, site)?;
    let listener = server.host.run(|| TcpListener::bind(service))?;
    let (mut rates, mut again) = (Vec::new(), Vec::new());
    for _ in 0..options.rounds {
        let before = retransmitted(&net.client)?;
        rates.push(upload(&net.client, &listener, service, options.time)?);
        again.push((retransmitted(&net.client)? - before) as f64);
    }
    task.stop()?;
    let gbit_s = (median(&rates) * 100.0).round() / 100.0;
    Ok(Figure::Upload { io, gbit_s, retransmits: median(&again) as u64 })
}

/// One connection that sends for a time; answers the Gbit/s that arrived, from the first byte to the last.
fn upload(client: &Host, listener: &TcpListener, service: SocketAddr, time: Duration) -> io::Result<f64> {
    let mut stream = client.run(|| TcpStream::connect_timeout(&service, PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    // BBR, a default that is found often, sends at a rate that it estimates; this one sends what fits. Without it the
    // default will do.
    let _ = setsockopt(&stream, TcpCongestion, &OsString::from("cubic"));
    let (mut accepted, _) = listener.accept()?;
    accepted.set_read_timeout(Some(PATIENCE))?;
    let start = Instant::now();
    thread::scope(|scope| {
        let sender = scope.spawn(move || {
            let chunk = vec![0x5a; CHUNK];
            while start.elapsed() < time {
                stream.write_all(&chunk)?;
            }
            // Closes: the receiver sees the end.
            drop(stream);
            Ok::<_, io::Error>(())
        });
        let (mut buffer, mut bytes) = (vec![0; CHUNK], 0);
        loop {
            match accepted.read(&mut buffer)? {
                0 => break,
                count => bytes += count,
            }
        }
        let seconds = start.elapsed().as_secs_f64();
        sender.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        Ok(bytes as f64 * 8.0 / seconds / 1e9)
    })
}

/// TCP segments that a host has sent again (proc_net(5)): only this connection is there.
fn retransmitted(host: &Host) -> io::Result<u64> {
    let text = host.run(|| std::fs::read_to_string("/proc/thread-self/net/snmp"))?;
    figure(&text, "RetransSegs").ok_or_else(|| io::Error::other("no RetransSegs in /proc/net/snmp"))
}

/// The names are in one line, the figures in the next.
fn figure(text: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines().filter(|line| line.starts_with("Tcp:"));
    let at = lines.next()?.split_whitespace().position(|found| found == name)?;
    lines.next()?.split_whitespace().nth(at)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_figure_by_its_name() {
        let text = "Ip: A B\nIp: 1 2\nTcp: RtoMin MaxConn RetransSegs\nTcp: 200 -1 17\n";
        assert_eq!((figure(text, "RetransSegs"), figure(text, "B")), (Some(17), None));
    }
}
