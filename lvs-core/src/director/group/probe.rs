//! What a group offers to whoever makes health checks, on one thread of the caller's choice.

use core::net::IpAddr;
use core::task::Waker;

use super::super::{ProbeReply, RepeatedSyn, ServerRoute};
use super::DirectorGroup;
use super::shared::lock;
use crate::connection::TableMemory;
use crate::listing::NeighbourUsage;

impl<M: TableMemory> DirectorGroup<M> {
    /// As [`Director::poll_probe_reply`](crate::Director::poll_probe_reply), whichever worker got the frame. Disturbs no worker.
    pub fn poll_probe_reply(&self, buffer: &mut [u8]) -> Option<ProbeReply> {
        lock(&self.shared.probe_replies).pop(buffer)
    }

    /// As [`Director::poll_repeated_syn`](crate::Director::poll_repeated_syn), whichever worker saw it.
    #[must_use]
    pub fn poll_repeated_syn(&self) -> Option<RepeatedSyn> {
        self.shared.common().suspects.pop()
    }

    /// What wakes whoever makes health checks, called when a worker has something for [`poll_probe_reply`](Self::poll_probe_reply)
    /// or [`poll_repeated_syn`](Self::poll_repeated_syn) and there was nothing before. It must not wait.
    pub fn set_probe_waker(&self, waker: Waker) {
        *lock(&self.shared.probe_waker) = Some(waker);
    }

    /// As [`Director::route`](crate::Director::route).
    #[must_use]
    pub fn route(&self, server: IpAddr) -> Option<ServerRoute> {
        self.shared.common().route(server)
    }

    /// As [`Director::neighbour_usage`](crate::Director::neighbour_usage).
    #[must_use]
    pub fn neighbour_usage(&self) -> NeighbourUsage {
        self.shared.common().neighbours.usage()
    }
}
