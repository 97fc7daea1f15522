//! What the workers of a group share: the programs with their addresses, and what was told already. Which queues are whose.
//!
//! ```text
//!   eth0   redirect program ── addresses (one set for all)
//!            │ queue 0 ─► socket of worker 0 ─┐  memory of worker 0
//!            │ queue 2 ─► socket of worker 0 ─┘
//!            └ queue 1 ─► socket of worker 1 ──  memory of worker 1
//! ```
//! The card chooses the queue of a frame (RSS), and a program can redirect a frame to a socket of the queue that it came by and
//! to no other: the kernel refuses. So no program can give the frames of a client to one worker; that is done behind, from
//! worker to worker.

use std::num::NonZeroU16;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use lvs_core::Subnet;

use crate::addresses::{AddressError, Addresses};
use crate::attached::Attached;
use crate::config::XdpConfig;
use crate::engine::Opened;
use crate::error::OpenError;
use crate::port::Port;
use crate::warning::Warning;

/// Shared by all workers of a group.
pub(crate) struct Shared {
    pub(crate) workers: NonZeroU16,
    addresses: Mutex<Addresses>,
    /// The program of each port. Workers have them; with the last one the program goes.
    programs: Mutex<Vec<Weak<Attached>>>,
    /// Of which ports it was told that unfinished checksums come in.
    unfinished: Box<[AtomicBool]>,
}

impl Shared {
    pub(crate) fn new(addresses: Addresses, ports: usize, workers: NonZeroU16) -> Self {
        Self {
            workers,
            addresses: Mutex::new(addresses),
            programs: Mutex::new((0..ports).map(|_| Weak::new()).collect()),
            unfinished: (0..ports).map(|_| AtomicBool::new(false)).collect(),
        }
    }

    /// The program of a port's interface; it is attached by the worker that comes first.
    pub(crate) fn program(
        &self,
        at: usize,
        port: &Port,
        config: &XdpConfig,
        warnings: &mut Vec<Warning>,
    ) -> Result<Arc<Attached>, OpenError> {
        let mut programs = lock(&self.programs);
        if let Some(attached) = programs.get(at).and_then(Weak::upgrade)
            && attached.index == port.link.index()
        {
            return Ok(attached);
        }
        let attached =
            Attached::new(port, config.attachment, self.workers, &lock(&self.addresses), warnings)?;
        let attached = Arc::new(attached);
        if let Some(place) = programs.get_mut(at) {
            *place = Arc::downgrade(&attached);
        }
        Ok(attached)
    }

    /// Whether unfinished checksums on a port are news.
    pub(crate) fn is_first_unfinished(&self, port: usize) -> bool {
        self.unfinished.get(port).is_some_and(|told| !told.swap(true, Ordering::Relaxed))
    }
}

/// The queues of a worker among those that an interface has: every n-th, so that each has about as many, and number n of the
/// worker sends if any does.
pub(crate) fn queues_of(opened: Opened, queues: u32) -> impl Iterator<Item = u32> {
    (u32::from(opened.worker)..queues).step_by(usize::from(opened.workers.get()))
}

/// Says which frames come to the sockets of a group, from any thread; see
/// [`XdpIo::set_addresses`](crate::XdpIo::set_addresses). Clones are the same.
#[derive(Clone)]
pub struct AddressControl(pub(crate) Arc<Shared>);

impl AddressControl {
    /// As [`XdpIo::set_addresses`](crate::XdpIo::set_addresses), for all workers.
    ///
    /// # Errors
    /// As there.
    pub fn set(&self, take: &[Subnet], leave: &[Subnet]) -> Result<(), AddressError> {
        lock(&self.0.addresses).set(take, leave)
    }
}

impl std::fmt::Debug for AddressControl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AddressControl").finish_non_exhaustive()
    }
}

/// Nothing behind these locks is left half changed by a panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_queue_has_one_worker_and_each_worker_its_share() {
        for workers in 1..=8u16 {
            let workers = NonZeroU16::new(workers).unwrap();
            for queues in u32::from(workers.get())..=20 {
                let of = |worker| queues_of(Opened { worker, workers }, queues).collect::<Vec<_>>();
                let shares: Vec<_> = (0..workers.get()).map(of).collect();
                let mut all = shares.concat();
                all.sort_unstable();
                assert_eq!(all, (0..queues).collect::<Vec<_>>(), "{workers} workers, {queues} queues");
                let (least, most) =
                    (queues / u32::from(workers.get()), queues.div_ceil(workers.get().into()));
                for (worker, share) in (0u32..).zip(&shares) {
                    assert_eq!(
                        share[0], worker,
                        "the first one sends if as many queues send as there are workers"
                    );
                    assert!((least..=most).contains(&(share.len() as u32)), "{shares:?}");
                }
            }
        }
    }
}
