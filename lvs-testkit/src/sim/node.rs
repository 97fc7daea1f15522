//! What can be attached to a simulated network.

use std::any::Any;
use std::fmt;
use std::marker::PhantomData;

use lvs_core::{Instant, PortId};

/// A device in a [`Network`](super::Network): it is given frames and the time, and gives frames.
///
/// The names tell the kind of a call, as in `lvs-core`: `handle_*` takes input, `poll_*` yields output. No call
/// blocks or reads a clock. [`Host`](super::Host), [`Switch`](super::Switch), [`DirectorNode`](super::DirectorNode)
/// and [`Station`](super::Station) are nodes; an appliance of your own becomes one in a few lines:
///
/// ```
/// use lvs_core::{Instant, PortId};
/// use lvs_testkit::sim::{LinkOptions, Network, Node, Station};
///
/// /// A cable with two ends.
/// #[derive(Default)]
/// struct Repeater(Vec<(PortId, Vec<u8>)>);
///
/// impl Node for Repeater {
///     fn handle_frame(&mut self, _: Instant, port: PortId, frame: Vec<u8>) {
///         self.0.push((PortId(1 - port.0), frame));
///     }
///
///     fn poll_transmit(&mut self, _: Instant) -> Option<(PortId, Vec<u8>)> {
///         self.0.pop()
///     }
/// }
///
/// let mut net = Network::new(1);
/// let (a, b) = (net.add("a", Station::new()), net.add("b", Station::new()));
/// let middle = net.add("middle", Repeater::default());
/// net.connect((a, 0), (middle, 0), LinkOptions::default());
/// net.connect((middle, 1), (b, 0), LinkOptions::default());
/// net[a].send(PortId(0), vec![0xff; 60]);
/// net.run_until_idle(std::time::Duration::from_secs(1));
/// assert_eq!(net[b].take_received().len(), 1);
/// ```
pub trait Node: Any {
    /// A frame came in by a port. Tags are in its bytes; there is no frame check sequence.
    fn handle_frame(&mut self, now: Instant, port: PortId, frame: Vec<u8>);

    /// The next frame to send, if any. Called after every other call until it answers `None`. Frames to a port
    /// without a link are lost.
    fn poll_transmit(&mut self, now: Instant) -> Option<(PortId, Vec<u8>)>;

    /// Does what is due. Early or repeated calls must be harmless: it is called, too, after somebody has changed
    /// the node from outside.
    fn handle_timeout(&mut self, now: Instant) {
        let _ = now;
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called at the latest. Asked after every other call.
    fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// A port's link went down or came up.
    fn handle_link(&mut self, now: Instant, port: PortId, up: bool) {
        let _ = (now, port, up);
    }

    /// The node is now part of a network; from this number it may draw whatever it needs of chance.
    fn start(&mut self, seed: u64) {
        let _ = seed;
    }

    /// Its state in a line or more, shown when a run does not end as it should.
    fn state(&self) -> String {
        String::new()
    }
}

/// The name of a node of type `N` in its network; indexes it.
pub struct NodeId<N> {
    pub(super) index: usize,
    kind: PhantomData<fn() -> N>,
}

impl<N> NodeId<N> {
    pub(super) const fn new(index: usize) -> Self {
        Self { index, kind: PhantomData }
    }
}

impl<N> Clone for NodeId<N> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<N> Copy for NodeId<N> {}

impl<N> PartialEq for NodeId<N> {
    fn eq(&self, other: &Self) -> bool {
        self.index == other.index
    }
}

impl<N> Eq for NodeId<N> {}

impl<N> fmt::Debug for NodeId<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeId({})", self.index)
    }
}
