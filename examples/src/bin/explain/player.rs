//! The capture played to the director, one frame at a time, in the capture's time.

use std::fs::File;
use std::io::BufWriter;
use std::time::Duration;

use lvs_admin::explain::{Explainer, Explanation, Filter};
use lvs_core::director::TRANSMIT_BUFFER;
use lvs_core::io::{Gso, GsoKind, Meta};
use lvs_core::{Change, Director, Event, Frame, Instant, MacAddr, PortId, Verdict};
use lvs_testkit::capture::{CaptureWriter, CapturedPacket, LONGEST_PACKET};
use lvs_testkit::frames::{self, Summary};

use crate::plan::Plan;
use crate::survey;

/// Where what leaves is written.
pub(crate) type Output = CaptureWriter<BufWriter<File>>;

const HEADROOM: usize = 64;
/// Timers that are run through between two frames; a gap of years is then jumped over.
const MOST_TIMERS: usize = 20_000;

/// A frame of the capture, and what came of it.
#[derive(Debug)]
pub(crate) struct Explained {
    pub(crate) number: u64,
    /// Since 1970.
    pub(crate) time: Duration,
    /// Since the first frame.
    pub(crate) since: Duration,
    pub(crate) explanation: Explanation,
    /// What leaves because of it, itself included.
    pub(crate) out: Vec<Left>,
    /// What is to be said besides.
    pub(crate) remarks: Vec<String>,
}

/// A frame that leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Left {
    pub(crate) destination: MacAddr,
    pub(crate) source: MacAddr,
    /// Its length.
    pub(crate) bytes: usize,
    /// What it is, if it is not the frame that came in.
    pub(crate) own: Option<String>,
}

/// Plays a capture.
pub(crate) struct Player {
    director: Director,
    plan: Plan,
    output: Option<Output>,
    /// The time of the first frame.
    start: Option<Duration>,
    now: Instant,
    buffer: [u8; TRANSMIT_BUFFER],
}

impl Player {
    pub(crate) fn new(plan: Plan, output: Option<Output>) -> Result<Self, String> {
        let director = plan.director()?;
        Ok(Self { director, plan, output, start: None, now: Instant::ZERO, buffer: [0; TRANSMIT_BUFFER] })
    }

    /// Gives the next frame to the director.
    pub(crate) fn play(&mut self, packet: &CapturedPacket) -> Result<Explained, String> {
        let start = *self.start.get_or_insert(packet.time);
        let since = packet.time.saturating_sub(start);
        self.pass_to((Instant::ZERO + since).max(self.now))?;
        let mut remarks = Vec::new();
        self.follow_stations(packet, &mut remarks);
        let (mut bytes, meta) = self.prepared(packet, &mut remarks);
        let length = bytes.len() - 2 * HEADROOM;
        let frame = Frame::within(&mut bytes, HEADROOM, length, PortId(packet.interface), meta);
        let mut frame = frame.map_err(|error| error.to_string())?;
        let mut found = None;
        let mut explainer = Explainer::new(Filter::default(), |one: &Explanation| found = Some(one.clone()));
        let verdict = self.director.handle_frame_observed(self.now, &mut frame, &mut explainer);
        let explanation = found.ok_or("the director has not said what it did")?;
        let mut out = Vec::new();
        if let Verdict::Transmit(port) = verdict {
            out.push(left(frame.bytes(), None));
            self.write(port, frame.bytes(), packet.missing())?;
        }
        out.extend(self.send()?);
        self.listen(&mut remarks);
        Ok(Explained { number: packet.number, time: packet.time, since, explanation, out, remarks })
    }

    /// Sees to it that everything is written.
    pub(crate) fn finish(self) -> Result<(), String> {
        self.output
            .map_or(Ok(()), |output| output.finish().map(drop))
            .map_err(|error| format!("--out: {error}"))
    }

    /// Lets time pass: what the director does by itself it does when it is due.
    fn pass_to(&mut self, until: Instant) -> Result<(), String> {
        for _ in 0..MOST_TIMERS {
            let Some(due) = self.director.poll_timeout().filter(|due| *due <= until) else { break };
            self.now = due.max(self.now);
            self.director.handle_timeout(self.now);
            self.send()?;
        }
        self.now = until;
        self.director.handle_timeout(until);
        self.send()?;
        self.listen(&mut Vec::new());
        Ok(())
    }

    /// A next hop that says that it has another Ethernet address now has it from now on.
    fn follow_stations(&mut self, packet: &CapturedPacket, remarks: &mut Vec<String>) {
        let heard = Summary::of(&packet.bytes).as_ref().and_then(survey::heard);
        let Some((address, mac)) = heard.filter(|(address, _)| self.plan.learnt.contains(address)) else {
            return;
        };
        if self.plan.stations.insert(address, mac).is_some_and(|before| before != mac) {
            remarks.push(format!("{address} is at {mac} from now on"));
            // It was a next hop before, and the address is one of a station: nothing to refuse.
            let _ = self.director.apply(self.now, &[Change::SetStaticNeighbour { address, mac: Some(mac) }]);
        }
    }

    /// The frame in a buffer with room, as it was on the wire.
    fn prepared(&self, packet: &CapturedPacket, remarks: &mut Vec<String>) -> (Vec<u8>, Meta) {
        let missing = packet.missing();
        let whole = packet.bytes.len() + missing;
        let padded = if whole <= LONGEST_PACKET { whole } else { packet.bytes.len() };
        if missing > 0 {
            remarks.push(format!(
                "{} of its {whole} bytes are in the capture (snap length); zeros stand for the others",
                packet.bytes.len()
            ));
        }
        let mut buffer = vec![0; HEADROOM + padded + HEADROOM];
        buffer[HEADROOM..HEADROOM + packet.bytes.len()].copy_from_slice(&packet.bytes);
        let mut meta = Meta::default();
        if let Some(gso) = merged(&packet.bytes, padded, self.plan.mtu()) {
            remarks.push(
                "longer than the MTU: taken for segments that the sender left to its hardware to cut"
                    .to_owned(),
            );
            meta.gso = Some(gso);
        }
        (buffer, meta)
    }

    /// Takes what the director wants to send.
    fn send(&mut self) -> Result<Vec<Left>, String> {
        let mut all = Vec::new();
        let mut buffer = self.buffer;
        while let Some(outgoing) = self.director.poll_transmit(self.now, &mut buffer) {
            let mut bytes = buffer.get(..outgoing.len).unwrap_or_default().to_vec();
            if let Some(partial) = outgoing.meta.checksum {
                frames::finish_checksum(&mut bytes, partial);
            }
            all.push(left(&bytes, Some(())));
            self.write(outgoing.port, &bytes, 0)?;
        }
        Ok(all)
    }

    fn write(&mut self, port: PortId, frame: &[u8], missing: usize) -> Result<(), String> {
        let since = Duration::from_micros(self.now.as_micros());
        let time = self.start.unwrap_or_default().saturating_add(since);
        let there = frame.len().saturating_sub(missing);
        let Some(output) = &mut self.output else { return Ok(()) };
        let written = output.write_cut(time, port.0, &frame[..there], frame.len(), None);
        written.map_err(|error| format!("--out: {error}"))
    }

    /// What the director reports.
    fn listen(&mut self, remarks: &mut Vec<String>) {
        while let Some(event) = self.director.poll_event() {
            match event {
                Event::AddressConflict { address, mac, .. } => remarks.push(format!(
                    "{mac} claims {address}, which is the director's; a real server needs arp_ignore=1 and \
                     arp_announce=2 (the ARP problem)"
                )),
                Event::TableFull => remarks.push("the connection table is full".to_owned()),
                _ => {}
            }
        }
    }
}

fn left(bytes: &[u8], own: Option<()>) -> Left {
    let mac = |at: usize| bytes.get(at..at + 6).and_then(|mac| mac.first_chunk()).copied().map(MacAddr);
    Left {
        destination: mac(0).unwrap_or_default(),
        source: mac(6).unwrap_or_default(),
        bytes: bytes.len(),
        own: own.map(|()| frames::describe(bytes)).map(|line| match line.split_once(": ") {
            Some((_, rest)) => rest.to_owned(),
            None => line,
        }),
    }
}

/// How a TCP segment that is longer than the MTU is to be cut: a capture on the sender's side sees it before that.
fn merged(bytes: &[u8], length: usize, mtu: u16) -> Option<Gso> {
    let frame = Summary::of(bytes)?;
    let ip = frame.ip.as_ref().filter(|ip| ip.tcp.is_some() && ip.fragment.is_none())?;
    let headers = if ip.source.is_ipv4() { 40 } else { 60 };
    if length <= frame.network_offset + usize::from(mtu) {
        return None;
    }
    let kind = if ip.source.is_ipv4() { GsoKind::Tcp4 } else { GsoKind::Tcp6 };
    Some(Gso { kind, size: mtu.saturating_sub(headers).max(1), header_length: 0, ecn: false })
}
