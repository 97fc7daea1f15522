//! A director on a `FrameIo` of one's own: frames in datagrams between Unix sockets, which is how QEMU, passt and others hand
//! a virtual network card's frames to another program (`qemu-system-x86_64 -netdev dgram,...`).
//!
//! ```text
//! own_io /run/card.sock /run/director.sock 192.168.0.208/24 192.168.0.250:80 192.168.0.188 192.168.0.111
//! ```
//! The first path is the other end's socket, the second the director's own. Runs until the other end goes away.

use std::error::Error;
use std::io::{self, ErrorKind};
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant as SystemTime};

use lvs_core::config::{Change, DestinationConfig, SchedulerKind, ServiceConfig, ServiceKey};
use lvs_core::director::TurnBuffers;
use lvs_core::io::{BatchHandler, Capabilities, IoStatistics, Meta};
use lvs_core::{
    Director, DirectorConfig, Frame, FrameIo, Instant, InterfaceConfig, MacAddr, PortId, Verdict,
};

const LONGEST: usize = 1514;

struct Datagrams {
    socket: UnixDatagram,
    statistics: IoStatistics,
}

// From here on it is thirty lines.
impl FrameIo for Datagrams {
    type Error = io::Error;

    fn ports(&self) -> u16 {
        1
    }

    fn capabilities(&self, _: PortId) -> Capabilities {
        Capabilities { longest_frame: LONGEST, headroom: 0, offload: false }
    }

    fn receive(&mut self, handler: &mut BatchHandler<'_>) -> io::Result<usize> {
        let mut buffer = [0; LONGEST];
        let len = match self.socket.recv(&mut buffer) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(0),
            len => len?,
        };
        self.statistics.received += 1;
        let mut frame = Frame::new(&mut buffer[..len], PortId(0));
        if let Some(Verdict::Transmit(port)) = handler(std::slice::from_mut(&mut frame)).first() {
            self.transmit(*port, &Meta::default(), frame.bytes())?;
        }
        Ok(1)
    }

    fn transmit(&mut self, _: PortId, _: &Meta, frame: &[u8]) -> io::Result<()> {
        match self.socket.send(frame) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => self.statistics.transmit_lost += 1,
            sent => self.statistics.transmitted += u64::from(sent? == frame.len()),
        }
        Ok(())
    }

    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        // Looking twice in a millisecond is good enough for an example; a real backend sleeps on the socket.
        std::thread::sleep(timeout.unwrap_or(Duration::MAX).min(Duration::from_micros(500)));
        Ok(())
    }

    fn statistics(&self) -> IoStatistics {
        self.statistics
    }
}
// Up to here.

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [other_end, own_end, dip, vip, servers @ ..] = &arguments[..] else {
        return Err("usage: own_io OTHER.SOCK OWN.SOCK DIP/LEN VIP:PORT RIP...".into());
    };
    let vip: std::net::SocketAddr = vip.parse()?;
    let started = SystemTime::now();
    let clock = || Instant::from_micros(started.elapsed().as_micros() as u64);

    let socket = UnixDatagram::bind(own_end)?;
    socket.connect(other_end)?;
    socket.set_nonblocking(true)?;
    let mut io = Datagrams { socket, statistics: IoStatistics::default() };

    let card = InterfaceConfig::new(PortId(0), MacAddr([2, 0, 0, 0, 0, 0xd0]), dip.parse()?);
    let mut director = Director::new(DirectorConfig::new(vec![card], lvs_examples::run::seed()?), clock())?;
    let http = ServiceKey::tcp(vip.ip(), vip.port());
    let mut changes = vec![Change::AddService(ServiceConfig::new(http, SchedulerKind::RoundRobin))];
    for server in servers {
        changes.push(Change::AddDestination(http, DestinationConfig::new(server.parse()?, vip.port())));
    }
    director.apply(clock(), &changes)?;

    let mut buffers = TurnBuffers::new();
    loop {
        match director.turn(&mut io, &mut buffers, clock) {
            Ok(0) => io.wait(director.poll_timeout().map(|due| due.saturating_duration_since(clock())))?,
            Ok(_) => {}
            Err(error)
                if matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset) =>
            {
                let IoStatistics { received, transmitted, .. } = io.statistics();
                println!("the other end is gone; {received} frames received, {transmitted} sent");
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        }
    }
}
