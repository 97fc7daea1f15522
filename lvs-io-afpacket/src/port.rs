//! One interface: its socket, what waits to be sent by it, and the state of its link.
//!
//! The ring is kept apart (see [`packet_io`](crate::packet_io)): frames of one port's ring are lent out
//! while they are sent by the sockets of others.

use std::io::{self, IoSlice};
use std::num::NonZeroU16;
use std::os::fd::{AsRawFd, RawFd};
use std::time::{Duration, Instant};

use afpacket::sync::RawPacketStream;
use libc::c_int;
use lvs_core::addr::MacAddr;
use lvs_core::io::{IoEvent, Meta, PortId};
use lvs_netdev::{Device, LinkWatch, Look};

use crate::config::{BLOCK_BYTES, PacketConfig};
use crate::error::{IoError, OpenError};
use crate::outbox::Outbox;
use crate::ring::Ring;
use crate::send::{self, Busy};
use crate::{steer, sys};

/// An open interface.
pub(crate) struct Port {
    name: String,
    socket: RawPacketStream,
    promiscuous: bool,
    groups: Vec<MacAddr>,
    link: LinkWatch,
    outbox: Outbox,
    /// Frames taken by the wire, and not.
    pub(crate) transmitted: u64,
    pub(crate) lost: u64,
    ring_drops: std::cell::Cell<u64>,
}

impl Port {
    /// Opens, binds and configures the socket, and maps its ring.
    pub(crate) fn open(name: &str, config: &PacketConfig, now: Instant) -> Result<(Self, Ring), OpenError> {
        let device = Device::find(name)?;
        device.mac()?;
        let kernel = |operation| move |source| OpenError::Kernel { name: name.to_owned(), operation, source };
        let socket = RawPacketStream::new().map_err(|source| match source.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => OpenError::MissingRights,
            _ => kernel("opening a packet socket")(source),
        })?;
        sys::set_close_on_exec(&socket).map_err(kernel("setting close-on-exec"))?;
        set_options(&socket, name, config)?;
        let mut port = Self {
            name: name.to_owned(),
            socket,
            promiscuous: config.promiscuous,
            groups: Vec::new(),
            link: LinkWatch::new(device, now)?,
            outbox: Outbox::new(),
            transmitted: 0,
            lost: 0,
            ring_drops: std::cell::Cell::new(0),
        };
        let index = port.bind().map_err(|source| lvs_netdev::lookup_failed(name, source))?;
        // Until it was bound the socket heard all interfaces. The kernel throws that away when it makes the
        // ring, which is why binding comes first.
        let ring = port.make_ring(config.ring_bytes)?;
        port.link.follow(index, now);
        Ok((port, ring))
    }

    /// Founds a group of sockets that share out the frames of the interface, and answers its number. No other program has it.
    pub(crate) fn found_group(&self, members: NonZeroU16) -> Result<u16, OpenError> {
        self.share(UNIQUE_ID, 0, members)?;
        let number: c_int = sys::fanout(&self.socket).map_err(|source| self.fanout_refused(source))?;
        Ok(number as u16)
    }

    /// Joins a group that another socket has founded.
    pub(crate) fn join_group(&self, number: u16, members: NonZeroU16) -> Result<(), OpenError> {
        self.share(0, number, members)
    }

    fn share(&self, flags: u32, number: u16, members: NonZeroU16) -> Result<(), OpenError> {
        let kind = |flags: u32| (libc::PACKET_FANOUT_CBPF | flags) << 16 | u32::from(number);
        let set = |flags| sys::set_option(&self.socket, libc::SOL_PACKET, libc::PACKET_FANOUT, &kind(flags));
        // Groups have an option of their own for what PACKET_IGNORE_OUTGOING says, since Linux 6.2. Without it the host's own
        // frames are heard too, and dropped by their Ethernet source.
        set(flags | IGNORE_OUTGOING).or_else(|_| set(flags)).map_err(|source| self.fanout_refused(source))?;
        sys::set_program(&self.socket, libc::SOL_PACKET, libc::PACKET_FANOUT_DATA, &steer::program(members))
            .map_err(|source| self.fanout_refused(source))
    }

    fn fanout_refused(&self, source: io::Error) -> OpenError {
        OpenError::Option {
            name: self.name.clone(),
            option: "PACKET_FANOUT",
            cure: "Linux 4.12 or later is needed",
            source,
        }
    }

    /// For error messages.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// For poll(2).
    pub(crate) fn descriptor(&self) -> RawFd {
        self.socket.as_raw_fd()
    }

    /// Binds to the interface that has the name now, and asks it again for what was asked of the one before. Answers its
    /// number.
    fn bind(&mut self) -> io::Result<u32> {
        self.socket.bind(&self.name)?;
        let index = self.link.device().index().map_err(|_| io::Error::from_raw_os_error(libc::ENODEV))?;
        if self.promiscuous {
            self.socket.set_promisc(&self.name, true)?;
        }
        self.groups.iter().try_for_each(|&group| self.add_group(index, group))?;
        Ok(index)
    }

    fn make_ring(&self, bytes: usize) -> Result<Ring, OpenError> {
        let blocks = bytes.div_ceil(BLOCK_BYTES);
        let bytes = blocks * BLOCK_BYTES;
        let refused = |source| OpenError::Ring { name: self.name.clone(), bytes, source };
        // The kernel checks these numbers against each other, but places frames of any length one behind
        // the other; they are bounded by 2^30 (see the configuration).
        let request = libc::tpacket_req3 {
            tp_block_size: BLOCK_BYTES as u32,
            tp_block_nr: blocks as u32,
            tp_frame_size: RING_FRAME,
            tp_frame_nr: (bytes / RING_FRAME as usize) as u32,
            tp_retire_blk_tov: RETIRE_MILLISECONDS,
            tp_sizeof_priv: 0,
            tp_feature_req_word: 0,
        };
        sys::set_option(&self.socket, libc::SOL_PACKET, libc::PACKET_RX_RING, &request).map_err(refused)?;
        let region = sys::map(&self.socket, bytes).map_err(refused)?;
        Ok(Ring::new(region, BLOCK_BYTES))
    }

    /// Sends messages out of a ring.
    pub(crate) fn send(&mut self, messages: &[IoSlice<'_>]) -> Result<(), IoError> {
        let outcome = send::all(
            messages,
            |rest| sys::send_batch(&self.socket, rest),
            |busy| match busy {
                Busy::Device => std::thread::yield_now(),
                Busy::Socket => {
                    let mut entry = [sys::poll_entry(self.socket.as_raw_fd(), libc::POLLOUT)];
                    // Whatever comes of it, the next attempt tells.
                    let _ = sys::poll(&mut entry, Some(SOCKET_BUSY));
                }
            },
        )
        .map_err(|source| IoError::new(Some(&self.name), "sending", source))?;
        self.transmitted += outcome.sent;
        self.lost += outcome.lost;
        if outcome.link_down {
            self.link.went_down(Instant::now());
        }
        Ok(())
    }

    /// Sends a frame from elsewhere with the next [`flush`](Self::flush), or before.
    pub(crate) fn send_copy(&mut self, meta: &Meta, frame: &[u8]) -> Result<(), IoError> {
        if !self.outbox.has_room(frame.len()) {
            self.flush()?;
        }
        if !self.outbox.has_room(frame.len()) || !self.outbox.push(meta, frame) {
            self.lost += 1;
        }
        Ok(())
    }

    /// Sends what [`send_copy`](Self::send_copy) has collected.
    pub(crate) fn flush(&mut self) -> Result<(), IoError> {
        if self.outbox.is_empty() {
            return Ok(());
        }
        let mut outbox = std::mem::replace(&mut self.outbox, Outbox::unallocated());
        let result = self.send(&outbox.messages());
        outbox.clear();
        self.outbox = outbox;
        result
    }

    /// Lets frames to a group address in, now and after the interface was replaced.
    pub(crate) fn join(&mut self, group: MacAddr) -> Result<(), IoError> {
        if self.groups.contains(&group) {
            return Ok(());
        }
        match self.add_group(self.link.index(), group) {
            Ok(()) => {}
            // The interface is gone; its successor is asked when it comes.
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => {}
            Err(error) => return Err(IoError::new(Some(&self.name), "PACKET_ADD_MEMBERSHIP", error)),
        }
        self.groups.push(group);
        Ok(())
    }

    fn add_group(&self, index: u32, group: MacAddr) -> io::Result<()> {
        let mut address = [0; 8];
        address[..6].copy_from_slice(&group.0);
        let request = libc::packet_mreq {
            mr_ifindex: index.cast_signed(),
            mr_type: libc::PACKET_MR_MULTICAST as u16,
            mr_alen: 6,
            mr_address: address,
        };
        sys::set_option(&self.socket, libc::SOL_PACKET, libc::PACKET_ADD_MEMBERSHIP, &request)
    }

    /// Takes note of an error that poll(2) reported.
    pub(crate) fn take_error(&mut self, now: Instant) -> Result<(), IoError> {
        let error = sys::take_error(&self.socket)
            .map_err(|source| IoError::new(Some(&self.name), "SO_ERROR", source))?;
        if error.is_some_and(|error| error.raw_os_error() == Some(libc::ENETDOWN)) {
            self.link.went_down(now);
        }
        Ok(())
    }

    /// Looks at the link if it is time to. Binds again if the interface was deleted and there is a new one of
    /// that name.
    pub(crate) fn look(&mut self, now: Instant) {
        match self.link.look(now) {
            Look::NotDue => return,
            Look::Same => {}
            Look::Replaced(_) => match self.bind() {
                Ok(index) => self.link.follow(index, now),
                // If the new one is gone again, or refuses, the next look tries anew.
                Err(_) => {
                    self.link.lost();
                    return;
                }
            },
        }
        self.ring_drops();
    }

    /// When [`look`](Self::look) wants to be called.
    pub(crate) fn next_look(&self) -> Instant {
        self.link.next_look()
    }

    pub(crate) fn has_event(&self) -> bool {
        self.link.has_event()
    }

    pub(crate) fn poll_event(&mut self, port: PortId) -> Option<IoEvent> {
        self.link.poll_event(port)
    }

    /// Frames that the ring had no room for.
    pub(crate) fn ring_drops(&self) -> u64 {
        let new = sys::take_ring_drops(&self.socket).unwrap_or(0);
        self.ring_drops.set(self.ring_drops.get() + new);
        self.ring_drops.get()
    }
}

fn set_options(socket: &RawPacketStream, name: &str, config: &PacketConfig) -> Result<(), OpenError> {
    let set = |number: c_int, option, value: c_int, cure| {
        sys::set_option(socket, libc::SOL_PACKET, number, &value).map_err(|source| OpenError::Option {
            name: name.to_owned(),
            option,
            cure,
            source,
        })
    };
    let version = libc::tpacket_versions::TPACKET_V3 as c_int;
    set(libc::PACKET_VERSION, "TPACKET_V3", version, "Linux 3.2 or later is needed, with CONFIG_PACKET")?;
    set(libc::PACKET_VNET_HDR, "PACKET_VNET_HDR", 1, "rings with it need Linux 4.6 or later")?;
    set(libc::PACKET_IGNORE_OUTGOING, "PACKET_IGNORE_OUTGOING", 1, "Linux 4.20 or later is needed")?;
    if config.bypass_qdisc {
        set(libc::PACKET_QDISC_BYPASS, "PACKET_QDISC_BYPASS", 1, "leave bypass_qdisc off")?;
    }
    // A batch of merged frames has 4 MiB, the default buffer a few hundred KiB. Beyond the limit for
    // everybody (net.core.wmem_max) only with CAP_NET_ADMIN; without, a full buffer is waited for.
    if sys::set_option(socket, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, &SEND_BUFFER).is_err() {
        let _ = sys::set_option(socket, libc::SOL_SOCKET, libc::SO_SNDBUF, &SEND_BUFFER);
    }
    Ok(())
}

/// The kernel chooses a number that no other group has (PACKET_FANOUT_FLAG_UNIQUEID).
const UNIQUE_ID: u32 = 0x2000;
/// PACKET_FANOUT_FLAG_IGNORE_OUTGOING.
const IGNORE_OUTGOING: u32 = 0x4000;

/// The kernel hands a block over when it is that old, full or not. 1 is the least.
const RETIRE_MILLISECONDS: u32 = 1;

/// A number that the kernel wants to be consistent and otherwise ignores for this kind of ring.
const RING_FRAME: u32 = 2048;

/// Bytes of frames that may be on their way at a time.
const SEND_BUFFER: c_int = 8 << 20;

/// How long to wait for the socket's buffer to empty, each time.
const SOCKET_BUSY: Duration = Duration::from_millis(1);
