//! The smallest director: one interface, one service, two real servers.
//!
//! ```text
//! minimal eth0 192.168.0.208/24 192.168.0.250:80 192.168.0.188 192.168.0.111
//! ```

use std::error::Error;
use std::time::Instant as SystemTime;

use lvs_core::config::{Change, DestinationConfig, SchedulerKind, ServiceConfig, ServiceKey};
use lvs_core::director::TurnBuffers;
use lvs_core::{Director, DirectorConfig, FrameIo, Instant, InterfaceConfig, PortId};
use lvs_io_afpacket::{PacketConfig, PacketIo, interface_mac};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [interface, dip, vip, servers @ ..] = &arguments[..] else {
        return Err("usage: minimal INTERFACE DIP/LEN VIP:PORT RIP...".into());
    };
    let vip: std::net::SocketAddr = vip.parse()?;
    let started = SystemTime::now();
    let clock = || Instant::from_micros(started.elapsed().as_micros() as u64);

    let eth0 = InterfaceConfig::new(PortId(0), interface_mac(interface)?, dip.parse()?);
    let mut director = Director::new(DirectorConfig::new(vec![eth0], lvs_examples::run::seed()?), clock())?;

    let http = ServiceKey::tcp(vip.ip(), vip.port());
    let mut changes = vec![Change::AddService(ServiceConfig::new(http, SchedulerKind::RoundRobin))];
    for server in servers {
        changes.push(Change::AddDestination(http, DestinationConfig::new(server.parse()?, vip.port())));
    }
    director.apply(clock(), &changes)?;

    let mut io = PacketIo::open(&PacketConfig::new([interface.as_str()]))?;
    let mut buffers = TurnBuffers::new();
    loop {
        if director.turn(&mut io, &mut buffers, clock)? == 0 {
            let wait = director.poll_timeout().map(|due| due.saturating_duration_since(clock()));
            io.wait(wait)?;
        }
    }
}
