//! What forwards: the director with its run loop, or a plain loop of read and write to compare with.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::sync::mpsc;
use std::time::Duration;

use afpacket::sync::RawPacketStream;
use lvs_core::config::{DestinationConfig, Knobs, SchedulerKind, ServiceConfig, ServiceKey};
use lvs_core::director::TurnBuffers;
use lvs_core::{
    Change, Director, DirectorConfig, FrameIo, Instant, InterfaceConfig, MacAddr, PortId, Subnet,
};
use lvs_hugepages::HugePages;
use lvs_io_afpacket::{PacketConfig, PacketIo};
use lvs_io_tap::{KernelEnd, KernelEndConfig, TapConfig, TapIo};
use lvs_io_xdp::{XdpConfig, XdpIo};
use lvs_testkit::lab::{Host, Stop, Task};

use super::net::{BACK, BACK_MAC, BRIDGE, FRONT, Net, TAP};
use super::{Io, sys};
use crate::machine::pin;
use crate::subject::{SEED, server_mac};
use crate::traffic::{DIRECTOR_MAC, Family, PORT};

/// Which forwarder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Forwarder {
    /// The director on this backend.
    Director(Io),
    /// A frame is read, addressed, written: the `afpacket` crate as it comes, with a large receive buffer.
    Plain,
}

/// Room for all source ports there are, and some.
const MAX_CONNECTIONS: u32 = 1 << 17;
/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_millis(20);
/// Bytes of the plain forwarder's receive buffer.
const RECEIVE_BUFFER: i32 = 32 << 20;

/// Where a director works, and for whom.
#[derive(Debug, Clone)]
pub(super) struct Site {
    /// Its interfaces: name, Ethernet address, DIP.
    pub(super) interfaces: Vec<(&'static str, MacAddr, Subnet)>,
    pub(super) vip: SocketAddr,
    /// The real server.
    pub(super) server: IpAddr,
    pub(super) server_mac: MacAddr,
}

impl Site {
    /// Where the cards of [`Net`] are, as this backend sees them.
    fn of(io: Io) -> Self {
        if io == Io::Tap { Self::on_a_bridge() } else { Self::two_armed() }
    }

    fn on_a_bridge() -> Self {
        let dip = "192.168.0.208/24".parse().expect("a subnet");
        let server = [192, 168, 0, 188].into();
        Self { interfaces: vec![(TAP, DIRECTOR_MAC, dip)], server, ..Self::two_armed() }
    }

    /// Between the cards of [`Net`].
    fn two_armed() -> Self {
        let subnet = |text: &str| text.parse().expect("a subnet");
        Self {
            interfaces: vec![
                (FRONT, DIRECTOR_MAC, subnet("192.168.0.208/24")),
                (BACK, BACK_MAC, subnet("192.168.1.208/24")),
            ],
            vip: SocketAddr::new(Family::Ipv4.vip(), PORT),
            server: [192, 168, 1, 1].into(),
            server_mac: server_mac(0),
        }
    }
}

impl Forwarder {
    /// Starts it, and waits until it is ready.
    pub(super) fn start(self, net: &Net) -> io::Result<Task<io::Result<()>>> {
        match self {
            Self::Director(io) => {
                let task = start(&net.director, move |stop, ready| direct(io, &Site::of(io), stop, ready))?;
                net.introduce().map_err(io::Error::other)?;
                Ok(task)
            }
            Self::Plain => start(&net.director, read_and_write),
        }
    }
}

/// Starts a director on a site in `host`, and waits until it is ready.
pub(super) fn start_director(host: &Host, io: Io, site: Site) -> io::Result<Task<io::Result<()>>> {
    start(host, move |stop, ready| direct(io, &site, stop, ready))
}

/// Starts a thread on the forwarder's core, and waits until it says that it is ready.
fn start(
    host: &Host,
    work: impl FnOnce(&Stop, &mpsc::Sender<()>) -> io::Result<()> + Send + 'static,
) -> io::Result<Task<io::Result<()>>> {
    let (ready, is_ready) = mpsc::channel();
    let task = host.spawn(move |stop| {
        pin(1);
        work(stop, &ready)
    });
    if is_ready.recv().is_err() {
        // It has ended: with an error, since nobody told it to.
        task.stop()?;
        return Err(io::Error::other("the forwarder ended"));
    }
    Ok(task)
}

/// Opens the backend and runs a director on it.
fn direct(io: Io, site: &Site, stop: &Stop, ready: &mpsc::Sender<()>) -> io::Result<()> {
    let names = site.interfaces.iter().map(|(name, ..)| *name);
    match io {
        Io::Afpacket => {
            let mut io = PacketIo::open(&PacketConfig::new(names)).map_err(io::Error::other)?;
            run(&mut io, site, stop, ready)
        }
        Io::Xdp => {
            let mut io = XdpIo::open(&XdpConfig::new(names)).map_err(io::Error::other)?;
            let own = site.interfaces.iter().map(|(.., dip)| dip.address());
            let take: Vec<Subnet> = own.chain([site.vip.ip()]).filter_map(single).collect();
            io.set_addresses(&take, &[]).map_err(io::Error::other)?;
            run(&mut io, site, stop, ready)
        }
        Io::Tap => {
            let mut io = TapIo::open(TapConfig::new(names.clone())).map_err(io::Error::other)?;
            let mut config = KernelEndConfig::default();
            config.bridge = Some(BRIDGE.to_owned());
            let set_up = |name| KernelEnd::set_up(name, &config);
            let _ends = names.map(set_up).collect::<Result<Vec<_>, _>>().map_err(io::Error::other)?;
            run(&mut io, site, stop, ready)
        }
    }
}

/// An address as a subnet of its own.
fn single(address: IpAddr) -> Option<Subnet> {
    Subnet::new(address, if address.is_ipv4() { 32 } else { 128 })
}

/// `sloppy_tcp`, so that a flow begins with any segment.
fn director(site: &Site, now: Instant) -> io::Result<Director<HugePages>> {
    let ports = (0..).map(PortId).zip(&site.interfaces);
    let interfaces = ports.map(|(port, (_, mac, dip))| InterfaceConfig::new(port, *mac, *dip)).collect();
    let mut config = DirectorConfig::new(interfaces, SEED);
    config.max_connections = MAX_CONNECTIONS;
    config.knobs = Knobs { sloppy_tcp: true, ..Knobs::default() };
    let memory = HugePages::new().prefault(true);
    let mut director = Director::with_memory(config, now, &memory).map_err(io::Error::other)?;
    let service = ServiceKey::tcp(site.vip.ip(), site.vip.port());
    let changes = [
        Change::AddService(ServiceConfig::new(service, SchedulerKind::RoundRobin)),
        Change::AddDestination(service, DestinationConfig::new(site.server, site.vip.port())),
        Change::SetStaticNeighbour { address: site.server, mac: Some(site.server_mac) },
    ];
    director.apply(now, &changes).map_err(io::Error::other)?;
    Ok(director)
}

/// The run loop, as programs have it.
fn run<I: FrameIo>(io: &mut I, site: &Site, stop: &Stop, ready: &mpsc::Sender<()>) -> io::Result<()> {
    let failed = |error: I::Error| io::Error::other(error.to_string());
    let start = std::time::Instant::now();
    let clock = || Instant::from_micros(start.elapsed().as_micros() as u64);
    let mut director = director(site, clock())?;
    let mut buffers = TurnBuffers::new();
    let mut announced = false;
    while !stop.requested() {
        let received = director.turn(io, &mut buffers, clock).map_err(failed)?;
        while director.poll_event().is_some() {}
        // Announcements are sent three times; what is counted begins when they are over.
        if !announced && director.is_announced() && start.elapsed() > Duration::from_millis(100) {
            announced = true;
            let _ = ready.send(());
        }
        if received == 0 {
            let due = director.poll_timeout().map(|due| due.saturating_duration_since(clock()));
            io.wait(Some(due.map_or(LONGEST_WAIT, |due| due.min(LONGEST_WAIT)))).map_err(failed)?;
        }
    }
    Ok(())
}

/// The plain forwarder. It spins: the core is its own.
fn read_and_write(stop: &Stop, ready: &mpsc::Sender<()>) -> io::Result<()> {
    let open = |interface| {
        let mut socket = RawPacketStream::new()?;
        socket.bind(interface)?;
        socket.set_non_blocking()?;
        // Heard from other interfaces before it was bound to this one.
        socket.drain();
        Ok::<_, io::Error>(socket)
    };
    let (mut front, mut back) = (open(FRONT)?, open(BACK)?);
    // Without the right to it, it stays as it is.
    let _ = sys::receive_buffer(&front, RECEIVE_BUFFER);
    let _ = ready.send(());
    let mut frame = [0; 2048];
    while !stop.requested() {
        match front.read(&mut frame) {
            Ok(len) => {
                frame[..6].copy_from_slice(&server_mac(0).0);
                frame[6..12].copy_from_slice(&BACK_MAC.0);
                // A frame that the card does not take is lost, and missed at the sink.
                let _ = back.write(&frame[..len]);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::yield_now(),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
