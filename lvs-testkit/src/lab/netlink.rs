//! Requests to the kernel over a netlink socket, one at a time, each waited for.
//!
//! The socket belongs to the namespace it was opened in for good, so a host opens it once inside and any
//! thread can use it. Nothing here listens to notifications.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkDeserializable, NetlinkHeader, NetlinkMessage,
    NetlinkPayload, NetlinkSerializable,
};
use netlink_sys::{Socket, SocketAddr};
use nix::sys::socket::{setsockopt, sockopt::ReceiveTimeout};

pub(super) use netlink_sys::protocols::{NETLINK_GENERIC, NETLINK_NETFILTER, NETLINK_ROUTE};

/// The kernel answers at once; this is for the case that it does not answer at all.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

pub(super) struct Netlink {
    socket: Socket,
    sequence: u32,
}

impl Netlink {
    /// A socket in the namespace of the calling thread.
    pub(super) fn open(protocol: isize) -> io::Result<Self> {
        let mut socket = Socket::new(protocol)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        let patience = nix::sys::time::TimeVal::new(PATIENCE.as_secs() as _, 0);
        setsockopt(&socket.as_fd(), ReceiveTimeout, &patience)?;
        Ok(Self { socket, sequence: 0 })
    }

    /// Sends a request and waits for the acknowledgement.
    pub(super) fn change<M>(&mut self, message: M, flags: u16) -> io::Result<()>
    where
        M: NetlinkSerializable + NetlinkDeserializable,
    {
        self.exchange(message, NLM_F_ACK | flags).map(drop)
    }

    /// Sends a request and returns the answers.
    pub(super) fn ask<M>(&mut self, message: M) -> io::Result<Vec<M>>
    where
        M: NetlinkSerializable + NetlinkDeserializable,
    {
        self.exchange(message, NLM_F_ACK)
    }

    /// Asks for everything of a kind.
    pub(super) fn dump<M>(&mut self, message: M) -> io::Result<Vec<M>>
    where
        M: NetlinkSerializable + NetlinkDeserializable,
    {
        self.exchange(message, NLM_F_DUMP)
    }

    /// Answers come until an acknowledgement, an error or the end of a dump.
    fn exchange<M>(&mut self, message: M, flags: u16) -> io::Result<Vec<M>>
    where
        M: NetlinkSerializable + NetlinkDeserializable,
    {
        self.sequence += 1;
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        header.sequence_number = self.sequence;
        let mut request = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(message));
        request.finalize();
        let mut bytes = vec![0; request.buffer_len()];
        request.serialize(&mut bytes);
        self.socket.send(&bytes, 0)?;
        let mut answers = Vec::new();
        loop {
            let (bytes, _) = self.socket.recv_from_full()?;
            if self.read_datagram(&bytes, &mut answers)? {
                return Ok(answers);
            }
        }
    }

    /// Reads the messages of a datagram; `true` when the exchange is over.
    fn read_datagram<M>(&self, mut bytes: &[u8], answers: &mut Vec<M>) -> io::Result<bool>
    where
        M: NetlinkSerializable + NetlinkDeserializable,
    {
        while !bytes.is_empty() {
            let message = NetlinkMessage::<M>::deserialize(bytes)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            let (header, payload) = message.into_parts();
            // An answer to a request that was given up earlier is not ours.
            if header.sequence_number == self.sequence {
                match payload {
                    NetlinkPayload::Error(error) if error.code.is_none() => return Ok(true),
                    NetlinkPayload::Error(error) => return Err(error.to_io()),
                    NetlinkPayload::Done(_) => return Ok(true),
                    NetlinkPayload::InnerMessage(answer) => answers.push(answer),
                    _ => {}
                }
            }
            let length = (header.length as usize).next_multiple_of(4);
            bytes = bytes.get(length..).unwrap_or_default();
        }
        Ok(false)
    }
}
