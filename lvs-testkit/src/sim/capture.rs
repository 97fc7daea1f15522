//! Frames as they pass a port.

use lvs_core::{Instant, PortId};

/// Which way a frame goes, seen from the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Into the node.
    In,
    /// Out of the node.
    Out,
}

/// A frame at a port, as it is seen.
#[derive(Debug)]
pub struct Sighting<'a> {
    /// When.
    pub at: Instant,
    /// The node's name.
    pub node: &'a str,
    /// The port.
    pub port: PortId,
    /// Which way it goes.
    pub direction: Direction,
    /// Its bytes.
    pub frame: &'a [u8],
}

/// A frame at a port, as it was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CapturedFrame {
    /// When it was seen.
    pub at: Instant,
    /// Which way it went, seen from the node.
    pub direction: Direction,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// The name of a capture in its network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CaptureId(pub(super) usize);

/// What is kept of one port.
#[derive(Debug)]
pub(super) struct Capture {
    pub(super) node: usize,
    pub(super) port: PortId,
    pub(super) frames: Vec<CapturedFrame>,
}
