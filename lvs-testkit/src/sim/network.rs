//! The network: nodes, links, and the events that are to come, in order of their time.

use std::any::Any;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt::Write as _;
use std::ops::{Index, IndexMut};
use std::time::Duration;

use lvs_core::{Instant, PortId};

use super::capture::{Capture, CaptureId, CapturedFrame, Direction, Sighting};
use super::link::{Link, LinkOptions, LinkStatistics};
use super::node::{Node, NodeId};
use super::random::Random;
use crate::frames::describe;

/// The name of a link in its network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LinkId(usize);

/// A network in virtual time. See the [module](super) for an example.
///
/// Nodes are reached by index with the [`NodeId`] that [`add`](Self::add) gave: `net[client]`. What is changed that
/// way takes effect at the next step. The same seed and the same calls give the same run, frame for frame; if a
/// test panics the seed is printed.
pub struct Network {
    now: Instant,
    seed: u64,
    random: Random,
    nodes: Vec<Slot>,
    links: Vec<Link>,
    events: BinaryHeap<Reverse<Event>>,
    sequence: u64,
    under_way: usize,
    last_frame: Instant,
    /// Nodes that somebody has changed from outside.
    touched: Vec<usize>,
    captures: Vec<Capture>,
    tap: Option<Box<Tap>>,
    step_limit: u64,
}

type Tap = dyn FnMut(&Sighting<'_>);

struct Slot {
    name: String,
    node: Box<dyn Node>,
    /// By port: the link and which end of it.
    ports: Vec<Option<(usize, usize)>>,
    /// The timer event that counts; others are left-overs.
    armed: Option<Instant>,
    touched: bool,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Event {
    at: Instant,
    sequence: u64,
    what: Happening,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Happening {
    /// A frame reaches that end of that link.
    Arrival { link: usize, end: usize, frame: Vec<u8> },
    /// A node's time has come.
    Timeout { node: usize },
}

/// Steps that one run may take unless told otherwise.
const STEP_LIMIT: u64 = 50_000_000;

impl Network {
    /// An empty network at time zero. All chance in it comes from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            now: Instant::ZERO,
            seed,
            random: Random::new(seed),
            nodes: Vec::new(),
            links: Vec::new(),
            events: BinaryHeap::new(),
            sequence: 0,
            under_way: 0,
            last_frame: Instant::ZERO,
            touched: Vec::new(),
            captures: Vec::new(),
            tap: None,
            step_limit: STEP_LIMIT,
        }
    }

    /// The time, which stands still while no step is made.
    #[must_use]
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// The seed it was made with.
    #[must_use]
    pub const fn seed(&self) -> u64 {
        self.seed
    }

    /// How many steps one run may take before it counts as endless. Default: 50 million.
    pub const fn set_step_limit(&mut self, steps: u64) {
        self.step_limit = steps;
    }

    /// Adds a node. The name is for displays; two nodes may share one.
    pub fn add<N: Node>(&mut self, name: &str, mut node: N) -> NodeId<N> {
        let index = self.nodes.len();
        node.start(self.random.next());
        self.nodes.push(Slot {
            name: name.to_owned(),
            node: Box::new(node),
            ports: Vec::new(),
            armed: None,
            touched: false,
        });
        self.touch(index);
        NodeId::new(index)
    }

    /// Connects a port of a node with a port of another (or the same) one.
    ///
    /// # Panics
    /// If a port is taken, or an option is out of range.
    #[track_caller]
    pub fn connect<A: Node, B: Node>(
        &mut self,
        a: (NodeId<A>, u16),
        b: (NodeId<B>, u16),
        options: LinkOptions,
    ) -> LinkId {
        options.check();
        let link = self.links.len();
        let ends = [(a.0.index, a.1), (b.0.index, b.1)];
        for (end, (node, port)) in ends.into_iter().enumerate() {
            let slot = &mut self.nodes[node];
            let port = usize::from(port);
            if slot.ports.len() <= port {
                slot.ports.resize(port + 1, None);
            }
            assert!(slot.ports[port].is_none(), "port {port} of {} has a link already", slot.name);
            slot.ports[port] = Some((link, end));
            self.touch(node);
        }
        self.links.push(Link::new(options, ends));
        LinkId(link)
    }

    /// Changes how a link treats the frames that are sent from now on.
    ///
    /// # Panics
    /// If an option is out of range.
    #[track_caller]
    pub fn set_link_options(&mut self, link: LinkId, options: LinkOptions) {
        options.check();
        self.links[link.0].options = options;
    }

    /// Takes a link down or up and tells the nodes at both ends. What is under way on it is lost.
    pub fn set_link(&mut self, link: LinkId, up: bool) {
        let link = &mut self.links[link.0];
        if std::mem::replace(&mut link.up, up) == up {
            return;
        }
        for (node, port) in link.ends {
            self.nodes[node].node.handle_link(self.now, PortId(port), up);
            self.touch(node);
        }
    }

    /// What became of the frames of a link.
    #[must_use]
    pub fn link_statistics(&self, link: LinkId) -> LinkStatistics {
        self.links[link.0].statistics
    }

    /// The link at a port of a node.
    #[must_use]
    pub fn link_of<N: Node>(&self, node: NodeId<N>, port: u16) -> Option<LinkId> {
        let (link, _) = (*self.nodes[node.index].ports.get(usize::from(port))?)?;
        Some(LinkId(link))
    }

    /// A node's name.
    #[must_use]
    pub fn name<N>(&self, node: NodeId<N>) -> &str {
        &self.nodes[node.index].name
    }

    /// Keeps all frames that pass a port from now on. A frame that the link loses is seen where it was sent.
    pub fn capture<N: Node>(&mut self, node: NodeId<N>, port: u16) -> CaptureId {
        self.captures.push(Capture { node: node.index, port: PortId(port), frames: Vec::new() });
        CaptureId(self.captures.len() - 1)
    }

    /// The frames that were kept since the capture began or was last emptied, oldest first.
    #[must_use]
    pub fn captured(&self, capture: CaptureId) -> &[CapturedFrame] {
        &self.captures[capture.0].frames
    }

    /// The same, and forgets them.
    pub fn take_captured(&mut self, capture: CaptureId) -> Vec<CapturedFrame> {
        std::mem::take(&mut self.captures[capture.0].frames)
    }

    /// Shows every frame at every port to `tap`, going out and coming in. There is one tap; a second takes its place.
    pub fn set_tap(&mut self, tap: impl FnMut(&Sighting<'_>) + 'static) {
        self.tap = Some(Box::new(tap));
    }

    /// When the next thing will happen, if nobody does anything from outside.
    #[must_use]
    pub fn next_event(&mut self) -> Option<Instant> {
        self.settle();
        self.events.peek().map(|Reverse(event)| event.at)
    }

    /// How many frames are under way.
    #[must_use]
    pub fn frames_under_way(&mut self) -> usize {
        self.settle();
        self.under_way
    }

    /// Lets the next thing happen, and time pass until then. `false` if nothing will ever happen.
    pub fn step(&mut self) -> bool {
        self.settle();
        let Some(Reverse(event)) = self.events.pop() else { return false };
        self.now = self.now.max(event.at);
        match event.what {
            Happening::Arrival { link, end, frame } => self.arrive(link, end, frame),
            Happening::Timeout { node } => {
                let slot = &mut self.nodes[node];
                if slot.armed == Some(event.at) {
                    slot.armed = None;
                    slot.node.handle_timeout(self.now);
                    self.collect(node);
                }
            }
        }
        true
    }

    /// Lets so much time pass, and all happen that is due in it.
    ///
    /// # Panics
    /// If it takes more steps than may be; the message shows the state.
    #[track_caller]
    pub fn run_for(&mut self, duration: Duration) {
        let end = self.now + duration;
        let mut steps = 0;
        while self.next_event().is_some_and(|at| at <= end) {
            self.step();
            self.count(&mut steps, "run_for");
        }
        self.now = end;
    }

    /// Runs until the condition holds; it is asked after each step. Answers how long it took.
    ///
    /// # Panics
    /// If it does not hold after `limit`, or can never come to hold because nothing happens any more; the message
    /// shows the state.
    #[track_caller]
    pub fn run_until(&mut self, limit: Duration, mut condition: impl FnMut(&Self) -> bool) -> Duration {
        let start = self.now;
        let end = start + limit;
        let mut steps = 0;
        self.settle();
        while !condition(self) {
            match self.next_event() {
                Some(at) if at <= end => self.step(),
                Some(_) => self.fail(&format!("the condition does not hold after {limit:?}")),
                None => self.fail("the condition does not hold, and nothing will ever happen"),
            };
            self.count(&mut steps, "run_until");
        }
        self.now.saturating_duration_since(start)
    }

    /// Runs until no frame is under way. What nodes have planned for later (retransmissions, refreshes) does not
    /// count; see [`run_until_quiet`](Self::run_until_quiet). Answers how long it took.
    ///
    /// # Panics
    /// If frames are still under way after `limit`; the message shows the state.
    #[track_caller]
    pub fn run_until_idle(&mut self, limit: Duration) -> Duration {
        let (start, mut steps) = (self.now, 0);
        while self.frames_under_way() > 0 {
            self.step();
            self.count(&mut steps, "run_until_idle");
            if self.now > start + limit {
                self.fail(&format!("frames are still under way after {limit:?}"));
            }
        }
        self.now.saturating_duration_since(start)
    }

    /// Runs until for the time of `quiet` no frame was under way. Answers how long it took, that time included.
    ///
    /// # Panics
    /// If it is not quiet after `limit`; the message shows the state.
    #[track_caller]
    pub fn run_until_quiet(&mut self, quiet: Duration, limit: Duration) -> Duration {
        let (start, mut steps) = (self.now, 0);
        self.last_frame = self.now;
        loop {
            let waiting = self.frames_under_way() > 0;
            let end = self.last_frame + quiet;
            match self.next_event() {
                Some(at) if waiting || at <= end => self.step(),
                _ => {
                    self.now = end;
                    return self.now.saturating_duration_since(start);
                }
            };
            self.count(&mut steps, "run_until_quiet");
            if self.now > start + limit {
                self.fail(&format!("not quiet for {quiet:?} within {limit:?}"));
            }
        }
    }

    /// Everything that is known, for a person: time, seed, what is under way where, and the state of each node.
    #[must_use]
    pub fn state(&self) -> String {
        let mut text = format!(
            "at {:?} with seed {}; {} frames under way\n",
            self.now.saturating_duration_since(Instant::ZERO),
            self.seed,
            self.under_way
        );
        let mut events: Vec<&Event> = self.events.iter().map(|Reverse(event)| event).collect();
        events.sort_unstable();
        for event in events.iter().take(SHOWN) {
            let at = event.at.saturating_duration_since(Instant::ZERO);
            // Writing to a String cannot fail.
            let _ = match &event.what {
                Happening::Arrival { link, end, frame } => {
                    let (node, port) = self.links[*link].ends[*end];
                    writeln!(
                        text,
                        "  {at:?} to port {port} of {}: {}",
                        self.nodes[node].name,
                        describe(frame)
                    )
                }
                Happening::Timeout { node } => {
                    writeln!(text, "  {at:?} time-out of {}", self.nodes[*node].name)
                }
            };
        }
        if events.len() > SHOWN {
            let _ = writeln!(text, "  and {} more events", events.len() - SHOWN);
        }
        for slot in self.nodes.iter().take(4 * SHOWN) {
            let _ = writeln!(text, "{}: {}", slot.name, slot.node.state().trim_end());
        }
        if self.nodes.len() > 4 * SHOWN {
            let _ = writeln!(text, "and {} more nodes", self.nodes.len() - 4 * SHOWN);
        }
        text
    }

    #[track_caller]
    fn fail(&self, what: &str) -> ! {
        panic!("{what}: {}", self.state());
    }

    #[track_caller]
    fn count(&self, steps: &mut u64, what: &str) {
        *steps += 1;
        if *steps > self.step_limit {
            self.fail(&format!("{what} has taken {} steps and does not end", self.step_limit));
        }
    }

    fn touch(&mut self, node: usize) {
        if !std::mem::replace(&mut self.nodes[node].touched, true) {
            self.touched.push(node);
        }
    }

    /// Nodes that were changed from outside do what follows from it.
    fn settle(&mut self) {
        while let Some(node) = self.touched.pop() {
            self.nodes[node].touched = false;
            self.nodes[node].node.handle_timeout(self.now);
            self.collect(node);
        }
    }

    fn arrive(&mut self, link: usize, end: usize, frame: Vec<u8>) {
        self.under_way -= 1;
        self.last_frame = self.now;
        let state = &mut self.links[link];
        if !state.up {
            state.statistics.down += 1;
            return;
        }
        state.statistics.delivered += 1;
        let (node, port) = state.ends[end];
        self.show(node, PortId(port), Direction::In, &frame);
        self.nodes[node].node.handle_frame(self.now, PortId(port), frame);
        self.collect(node);
    }

    /// Takes what a node wants to send, and notes when its time comes.
    fn collect(&mut self, node: usize) {
        while let Some((port, frame)) = self.nodes[node].node.poll_transmit(self.now) {
            self.show(node, port, Direction::Out, &frame);
            let at = self.nodes[node].ports.get(usize::from(port.0)).copied().flatten();
            let Some((link, from)) = at else { continue };
            let [first, second] = self.links[link].arrivals(self.now, from, &frame, &mut self.random);
            if let Some(second) = second {
                self.send(second, link, 1 - from, frame.clone());
            }
            if let Some(first) = first {
                self.send(first, link, 1 - from, frame);
            }
        }
        let slot = &mut self.nodes[node];
        let due = slot.node.poll_timeout().map(|due| due.max(self.now));
        if due.is_some() && slot.armed != due {
            self.sequence += 1;
            slot.armed = due;
            let (at, sequence) = (due.unwrap_or(self.now), self.sequence);
            self.events.push(Reverse(Event { at, sequence, what: Happening::Timeout { node } }));
        } else {
            slot.armed = due;
        }
    }

    fn send(&mut self, at: Instant, link: usize, end: usize, frame: Vec<u8>) {
        self.sequence += 1;
        self.under_way += 1;
        let event = Event { at, sequence: self.sequence, what: Happening::Arrival { link, end, frame } };
        self.events.push(Reverse(event));
    }

    fn show(&mut self, node: usize, port: PortId, direction: Direction, frame: &[u8]) {
        for capture in self.captures.iter_mut().filter(|c| c.node == node && c.port == port) {
            capture.frames.push(CapturedFrame { at: self.now, direction, bytes: frame.to_vec() });
        }
        if let Some(tap) = &mut self.tap {
            let name = &self.nodes[node].name;
            tap(&Sighting { at: self.now, node: name, port, direction, frame });
        }
    }
}

/// How many events a state shows.
const SHOWN: usize = 20;

impl<N: Node> Index<NodeId<N>> for Network {
    type Output = N;

    /// # Panics
    /// If the name is of another network.
    fn index(&self, id: NodeId<N>) -> &N {
        let node: &dyn Any = &*self.nodes[id.index].node;
        node.downcast_ref().expect("a name of this network")
    }
}

impl<N: Node> IndexMut<NodeId<N>> for Network {
    /// # Panics
    /// If the name is of another network.
    fn index_mut(&mut self, id: NodeId<N>) -> &mut N {
        self.touch(id.index);
        let node: &mut dyn Any = &mut *self.nodes[id.index].node;
        node.downcast_mut().expect("a name of this network")
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the simulated network had seed {} and stood at {:?}", self.seed, self.now);
        }
    }
}

#[cfg(test)]
mod tests;
