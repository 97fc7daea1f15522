//! The AF_XDP sockets of several interfaces as one [`FrameIo`].

use std::io;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use arrayvec::ArrayVec;
use lvs_core::io::{
    BatchHandler, Capabilities, Frame, FrameIo, IoEvent, IoStatistics, MAX_BATCH, Meta, PortId,
};
use lvs_core::{MacAddr, Subnet};
use lvs_netdev::Look;

use crate::addresses::AddressError;
use crate::alarm::Alarm;
use crate::config::XdpConfig;
use crate::engine::Engine;
use crate::error::{IoError, OpenError};
use crate::exchange::{Batch, Received};
use crate::group::{AddressControl, Shared};
use crate::heard::{self, Heard};
use crate::mode::Mode;
use crate::opening::Opening;
use crate::outbound::{Way, Ways};
use crate::port::Port;
use crate::queue::Queue;
use crate::umem::HEADROOM;
use crate::warning::Warning;
use crate::{outbound, sys, tag, unfinished};

/// Frames in and out of network interfaces through AF_XDP sockets.
///
/// Ports are numbered in the order of [`XdpConfig::interfaces`]. Nothing is redirected before
/// [`set_addresses`](Self::set_addresses) says what; everything else goes to the kernel as if this were not
/// there, and of that ARP, NDP and MLD queries are handed out as well. When this is dropped, or the process
/// ends however it does, the kernel gets everything again.
///
/// **`Pass`** about a redirected frame loses it, since the kernel has not seen it; this is counted (see
/// [`details`](Self::details)). The director says so of frames that are not for its Ethernet address.
///
/// **Checksums and merged frames.** AF_XDP carries no metadata: a frame with an unfinished checksum must not
/// be sent, and a sender that leaves checksums to the hardware (other ends of veth pairs do) sends frames that
/// nobody can use. Some frames of each port are looked at; the first of that kind is told as
/// [`IoEvent::UnfinishedChecksums`]. The cure is `ethtool -K PEER tx off`.
///
/// **Links.** [`poll_event`](FrameIo::poll_event) tells the state of each link once after opening, and each
/// change within a second. A deleted interface is a link that is down; when there is one of the same name
/// again, all sockets are opened anew, and frames that were in their rings are lost. In a group each worker tells of all
/// links, and opens its own sockets anew.
///
/// **Loss.** `receive_lost` counts frames for which there was no memory or which were longer than it.
/// `transmit_lost` counts frames that were not taken: the ring stayed full, the link is down, longer than the
/// MTU, unfinished, for a port that does not exist. What a driver loses after it took a frame is not seen.
pub struct XdpIo {
    engine: Option<Engine>,
    ports: Vec<Port>,
    shared: Arc<Shared>,
    /// Its number in the group.
    worker: u16,
    alarm: Arc<Alarm>,
    config: XdpConfig,
    warnings: Vec<Warning>,
    poll_entries: Vec<libc::pollfd>,
    /// The queue that is looked at first.
    turn: usize,
    /// Batches until links and packet sockets are looked at even though there is no pause.
    until_look: u32,
    /// Batches of which a frame may still be examined until then.
    samples: u32,
    longest_frame: usize,
    received: u64,
    receive_lost: u64,
    /// Frames lost that belong to no port.
    transmit_lost: u64,
    details: XdpStatistics,
}

/// What is counted besides [`IoStatistics`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct XdpStatistics {
    /// Redirected frames with the verdict `Pass`: neither the kernel nor anybody else got them.
    pub passed_lost: u64,
    /// Frames with unfinished checksums among those that were looked at.
    pub unfinished_checksums: u64,
    /// Descriptors from the kernel that made no sense. Anything but 0 is a fault of the kernel or a driver.
    pub nonsense: u64,
}

impl XdpIo {
    pub(crate) fn of(opening: Opening) -> Result<Self, OpenError> {
        let Opening { engine, ports, shared, worker, config, warnings } = opening;
        let alarm = Alarm::new().map_err(|source| OpenError::Kernel {
            name: config.interfaces[0].clone(),
            operation: "making an event descriptor",
            source,
        })?;
        let mut io = Self {
            longest_frame: engine.umem.longest_frame(),
            engine: Some(engine),
            ports,
            shared,
            worker,
            alarm: Arc::new(alarm),
            config,
            warnings,
            poll_entries: Vec::new(),
            turn: 0,
            until_look: BATCHES_BETWEEN_LOOKS,
            samples: SAMPLES,
            received: 0,
            receive_lost: 0,
            transmit_lost: 0,
            details: XdpStatistics::default(),
        };
        io.renew_poll_entries();
        Ok(io)
    }

    /// Says which frames come here instead of to the kernel: those with a destination in `take`, and ARP and
    /// neighbour discovery that asks for such an address. What is in `leave` stays with the kernel although a
    /// shorter prefix is taken. The longest prefix counts; of equal ones the taken one.
    ///
    /// `take` is to hold all addresses that the director answers for: VIPs, prefixes of mark rules, its own
    /// addresses that the host's kernel does not have. `leave` holds the kernel's own.
    ///
    /// May be called at any time. Only what differs is changed, in O(n log n). In a group it is said for all workers,
    /// whichever is told.
    ///
    /// # Errors
    /// If there are more than [`max_addresses`](XdpConfig::max_addresses) of a family, and nothing is changed then; or the
    /// kernel refuses.
    pub fn set_addresses(&mut self, take: &[Subnet], leave: &[Subnet]) -> Result<(), AddressError> {
        self.address_control().set(take, leave)
    }

    /// What says this from another thread.
    #[must_use]
    pub fn address_control(&self) -> AddressControl {
        AddressControl(Arc::clone(&self.shared))
    }

    /// Ends a [`wait`](FrameIo::wait) from another thread, the one that goes on or the next: for a worker's inbox.
    #[must_use]
    pub fn waker(&self) -> Waker {
        Waker::from(Arc::clone(&self.alarm))
    }

    /// The name of a port's interface.
    #[must_use]
    pub fn interface(&self, port: PortId) -> Option<&str> {
        self.ports.get(usize::from(port.0)).map(|port| port.name.as_str())
    }

    /// How a port's frames come and go; `None` if there is no such port, or its interface was deleted.
    #[must_use]
    pub fn mode(&self, port: PortId) -> Option<Mode> {
        Some(self.engine.as_ref()?.gates.get(usize::from(port.0))?.mode)
    }

    /// What was found wrong when the interfaces were opened, as far as it is no error. In a group the first one has it.
    #[must_use]
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// What has been counted besides [`statistics`](FrameIo::statistics).
    #[must_use]
    pub const fn details(&self) -> XdpStatistics {
        self.details
    }

    /// Looks at the links where it is time to.
    fn look(&mut self) {
        self.until_look = BATCHES_BETWEEN_LOOKS;
        self.samples = SAMPLES;
        let now = Instant::now();
        let mut replaced = false;
        for port in &mut self.ports {
            replaced |= matches!(port.look(now), Look::Replaced(_));
        }
        if replaced {
            self.renew(now);
        }
    }

    /// Opens everything anew, for interfaces that were replaced. If one is missing, or refuses, the next look tries again.
    fn renew(&mut self, now: Instant) {
        let found: Result<Vec<u32>, _> = self.ports.iter().map(|port| port.device().index()).collect();
        let Ok(found) = found else { return };
        if let Some(engine) = self.engine.take() {
            self.receive_lost += receive_losses(&engine);
        }
        for (port, index) in self.ports.iter_mut().zip(found) {
            port.link.follow(index, now);
        }
        let mut warnings = Vec::new();
        match Engine::open(&self.config, &self.ports, &self.shared, self.worker, &mut warnings) {
            Ok(engine) => {
                self.longest_frame = engine.umem.longest_frame();
                self.engine = Some(engine);
                for port in &mut self.ports {
                    port.link.follow(port.link.index(), now);
                }
            }
            Err(_) => {
                for port in &mut self.ports {
                    port.link.went_down(now);
                    // The next look finds a replacement again.
                    port.link.lost();
                }
            }
        }
        self.renew_poll_entries();
    }

    fn renew_poll_entries(&mut self) {
        self.poll_entries.clear();
        self.poll_entries.push(sys::poll_entry(self.alarm.descriptor()));
        let Some(engine) = &self.engine else { return };
        self.poll_entries.extend(engine.queues.iter().map(|queue| sys::poll_entry(queue.socket())));
        self.poll_entries
            .extend(engine.gates.iter().filter_map(|gate| gate.heard.as_ref()).map(sys::poll_entry));
    }

    /// What is to be done once a call: memory comes back from the transmit side and goes to the receive side.
    fn turn_over(&mut self) {
        let Some(engine) = &mut self.engine else { return };
        for queue in &mut engine.queues {
            self.details.nonsense += queue.reap(&engine.umem, &mut engine.ledger);
        }
    }

    /// Receives a batch from the next queue that has frames.
    fn receive_redirected(&mut self) -> Option<(usize, usize, Batch)> {
        let engine = self.engine.as_mut()?;
        let count = engine.queues.len();
        let ready = (0..count).map(|i| (self.turn + i) % count).find(|&i| engine.queues[i].is_ready())?;
        self.turn = (ready + 1) % count;
        let mut batch = Batch::new();
        let queue = &mut engine.queues[ready];
        self.details.nonsense += queue.receive(&engine.umem, &mut engine.ledger, &mut batch);
        queue.refill(&engine.umem, &mut engine.ledger);
        Some((queue.port, queue.place, batch))
    }

    /// Takes what the kernel kept and the packet sockets heard, of the first port that has something.
    fn receive_heard(&mut self) -> Option<(usize, Batch)> {
        let engine = self.engine.as_mut()?;
        for (at, gate) in engine.gates.iter().enumerate() {
            let Some(heard) = &gate.heard else { continue };
            let mut batch = Batch::new();
            while !batch.is_full() {
                let Some(mut frame) = engine.ledger.take() else { break };
                let buffer = &mut engine.umem.bytes(&mut frame)[HEADROOM..];
                match heard::receive(heard, buffer) {
                    Heard::Frame(len) => batch.push(Received { frame, start: HEADROOM, len }),
                    Heard::TooLong => {
                        self.receive_lost += 1;
                        engine.ledger.put_back(frame);
                    }
                    Heard::Nothing => {
                        engine.ledger.put_back(frame);
                        break;
                    }
                }
            }
            if !batch.is_empty() {
                return Some((at, batch));
            }
        }
        None
    }

    /// Hands a batch out and carries out the verdicts. Answers how many frames there were.
    fn handle(
        &mut self,
        port: usize,
        place: usize,
        redirected: bool,
        mut batch: Batch,
        handler: &mut BatchHandler<'_>,
    ) -> Result<usize, IoError> {
        self.received += batch.len() as u64;
        let ways = self.lend(port, &mut batch, handler);
        let count = batch.len();
        let mut ways = ways.into_iter();
        let mut result = Ok(());
        for received in batch {
            // A handler that answers too few verdicts drops the rest.
            let way = ways.next().unwrap_or(Way::Back);
            self.details.passed_lost += u64::from(redirected && matches!(way, Way::Pass));
            // One that fails does not keep the others' memory.
            result = result.and(self.go(received, way, place));
        }
        result.and_then(|()| self.kick()).map(|()| count)
    }

    /// Lends the frames of a batch to the handler. Answers the way of each.
    fn lend(&mut self, port: usize, batch: &mut Batch, handler: &mut BatchHandler<'_>) -> Ways {
        let Some(engine) = &self.engine else { return Ways::new() };
        let mut frames = ArrayVec::<Frame<'_>, MAX_BATCH>::new();
        for Received { frame, start, len } in batch {
            let bytes = engine.umem.bytes(frame);
            // `Exchange::receive` has checked that the frame lies in its memory.
            if let Ok(frame) = Frame::within(bytes, *start, *len, PortId(port as u16), Meta::default()) {
                frames.push(frame);
            }
        }
        if self.samples > 0 {
            self.samples -= 1;
            if frames.first().is_some_and(|frame| unfinished::is_unfinished(frame.bytes())) {
                self.details.unfinished_checksums += 1;
                self.ports[port].saw_unfinished(|| self.shared.is_first_unfinished(port));
            }
        }
        let verdicts = handler(&mut frames);
        frames.iter_mut().zip(verdicts).map(|(frame, verdict)| Way::of(frame, verdict)).collect()
    }

    /// Sends a frame its way.
    fn go(&mut self, received: Received, way: Way, place: usize) -> Result<(), IoError> {
        let Some(engine) = &mut self.engine else { return Ok(()) };
        let (port, sent) = match way {
            Way::Back | Way::Pass => {
                engine.ledger.put_back(received.frame);
                return Ok(());
            }
            Way::Impossible(port) => (port, None),
            Way::Out { port, start, len } => (port, Some((start, len))),
        };
        let at = usize::from(port.0);
        match (self.ports.get_mut(at), sent) {
            (Some(port), Some((start, len))) => {
                let frame = Received { start, len, ..received };
                self.details.nonsense += outbound::send(engine, port, at, place, frame)?;
            }
            (Some(port), None) => {
                port.lost += 1;
                engine.ledger.put_back(received.frame);
            }
            (None, _) => {
                self.transmit_lost += 1;
                engine.ledger.put_back(received.frame);
            }
        }
        Ok(())
    }

    /// Makes everything leave that waits in a transmit ring.
    fn kick(&mut self) -> Result<(), IoError> {
        let Some(engine) = &mut self.engine else { return Ok(()) };
        for queue in &mut engine.queues {
            if queue.wants_kick() {
                let port = &mut self.ports[queue.port];
                if !port.link.is_up() {
                    continue;
                }
                outbound::kick(queue, port)?;
            }
        }
        Ok(())
    }
}

impl FrameIo for XdpIo {
    type Error = IoError;

    fn ports(&self) -> u16 {
        // Each has a queue, and there are fewer of them than can be numbered.
        self.ports.len() as u16
    }

    fn capabilities(&self, _port: PortId) -> Capabilities {
        Capabilities { longest_frame: self.longest_frame, headroom: HEADROOM, offload: false }
    }

    fn receive(&mut self, handler: &mut BatchHandler<'_>) -> Result<usize, IoError> {
        self.turn_over();
        self.until_look -= 1;
        if self.until_look == 0 {
            self.look();
        }
        if self.until_look.is_multiple_of(BATCHES_BETWEEN_LISTENING)
            && let Some((port, batch)) = self.receive_heard()
        {
            return self.handle(port, 0, false, batch, handler);
        }
        while let Some((port, place, batch)) = self.receive_redirected() {
            if !batch.is_empty() {
                return self.handle(port, place, true, batch, handler);
            }
        }
        if let Some((port, batch)) = self.receive_heard() {
            return self.handle(port, 0, false, batch, handler);
        }
        self.kick()?;
        self.look();
        Ok(0)
    }

    fn transmit(&mut self, port: PortId, meta: &Meta, frame: &[u8]) -> Result<(), IoError> {
        let at = usize::from(port.0);
        let Some(out) = self.ports.get_mut(at) else {
            self.transmit_lost += 1;
            return Ok(());
        };
        let Some(engine) = &mut self.engine else {
            out.lost += 1;
            return Ok(());
        };
        for queue in &mut engine.queues {
            self.details.nonsense += queue.reap(&engine.umem, &mut engine.ledger);
        }
        let finished = meta.checksum.is_none() && meta.gso.is_none();
        let Some(mut free) = engine.ledger.take() else {
            out.lost += 1;
            return Ok(());
        };
        let room = &mut engine.umem.bytes(&mut free)[HEADROOM..];
        match tag::copy(frame, meta.vlan, room) {
            Some(len) if finished => {
                let frame = Received { frame: free, start: HEADROOM, len };
                self.details.nonsense += outbound::send(engine, out, at, 0, frame)?;
            }
            _ => {
                engine.ledger.put_back(free);
                out.lost += 1;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), IoError> {
        self.kick()
    }

    fn wait(&mut self, timeout: Option<Duration>) -> Result<(), IoError> {
        self.turn_over();
        self.kick()?;
        self.look();
        let mut stuck = false;
        if let Some(engine) = &mut self.engine {
            for queue in &mut engine.queues {
                queue.refill(&engine.umem, &mut engine.ledger);
                stuck |= queue.wants_kick() && self.ports[queue.port].link.is_up();
            }
            if engine.queues.iter().any(Queue::is_ready) {
                return Ok(());
            }
        }
        if self.ports.iter().any(Port::has_event) {
            return Ok(());
        }
        let now = Instant::now();
        let until_look =
            self.ports.iter().map(|port| port.link.next_look().saturating_duration_since(now)).min();
        // No time-out is longer than any.
        let timeout = timeout.into_iter().chain(until_look).chain(stuck.then_some(STUCK)).min();
        match sys::poll(&mut self.poll_entries, timeout) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            Err(error) => return Err(IoError::new(None, "poll", error)),
        }
        if self.poll_entries.first().is_some_and(|entry| entry.revents != 0) {
            self.alarm.clear();
        }
        self.take_errors();
        self.look();
        Ok(())
    }

    fn join_multicast(&mut self, port: PortId, group: MacAddr) -> Result<(), IoError> {
        let at = usize::from(port.0);
        let Some(port) = self.ports.get_mut(at) else {
            return Err(IoError::new(None, "join_multicast: no such port", io::ErrorKind::NotFound.into()));
        };
        if port.groups.contains(&group) {
            return Ok(());
        }
        if let Some(heard) = self.engine.as_ref().and_then(|engine| engine.gates[at].heard.as_ref()) {
            match heard::join(heard, port.link.index(), group) {
                Ok(()) => {}
                // The interface is gone; its successor is asked when it comes.
                Err(error) if error.raw_os_error() == Some(libc::ENODEV) => {}
                Err(error) => return Err(IoError::new(Some(&port.name), "PACKET_ADD_MEMBERSHIP", error)),
            }
        }
        port.groups.push(group);
        Ok(())
    }

    fn poll_event(&mut self) -> Option<IoEvent> {
        self.ports.iter_mut().zip(0..).find_map(|(port, number)| port.poll_event(PortId(number)))
    }

    fn statistics(&self) -> IoStatistics {
        let mut statistics = IoStatistics {
            received: self.received,
            transmitted: 0,
            receive_lost: self.receive_lost + self.engine.as_ref().map_or(0, receive_losses),
            transmit_lost: self.transmit_lost,
        };
        for port in &self.ports {
            statistics.transmitted += port.transmitted;
            statistics.transmit_lost += port.lost;
        }
        statistics
    }
}

impl XdpIo {
    /// Takes note of errors that poll(2) reported.
    fn take_errors(&mut self) {
        let Some(engine) = &self.engine else { return };
        let now = Instant::now();
        let queues = engine.queues.iter().map(|queue| (queue.port, queue.socket()));
        let heard = engine.gates.iter().enumerate();
        let heard = heard.filter_map(|(port, gate)| Some((port, gate.heard.as_ref()?)));
        // The first entry is the alarm's.
        for (entry, (port, socket)) in self.poll_entries.iter().skip(1).zip(queues.chain(heard)) {
            if entry.revents & !libc::POLLIN == 0 {
                continue;
            }
            // Taking it away keeps the next wait from ending at once.
            let error = sys::xsk::take_error(socket).unwrap_or_default();
            if error.is_some_and(|error| error.raw_os_error() == Some(libc::ENETDOWN)) {
                self.ports[port].link.went_down(now);
            }
        }
    }
}

impl std::fmt::Debug for XdpIo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.ports.iter().map(|port| &port.name)).finish()
    }
}

fn receive_losses(engine: &Engine) -> u64 {
    let of = |queue: &Queue| {
        let losses = queue.losses();
        losses.receive_dropped + losses.receive_ring_full
    };
    engine.queues.iter().map(of).sum()
}

/// Looking costs a clock reading; in a pause it is made at every call.
const BATCHES_BETWEEN_LOOKS: u32 = 256;
/// Listening costs a system call a port; in a pause it is made at every call. Divides the number above.
const BATCHES_BETWEEN_LISTENING: u32 = 32;
/// So many batches between two looks have their first frame examined.
const SAMPLES: u32 = 32;
/// How long to wait before the kernel is asked again to transmit what it refused.
const STUCK: Duration = Duration::from_millis(1);
