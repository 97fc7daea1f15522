//! Which addresses come to the director's AF_XDP sockets instead of to the host's kernel: they follow the services.
//!
//! What an edit adds is taken before it is carried out, or the first clients would be the kernel's; what it removes is left to the
//! kernel afterwards.

use lvs_admin::control::Follower;
use lvs_core::config::ServiceKey;
use lvs_core::connection::TableMemory;
use lvs_core::director::DirectorGroup;
use lvs_core::{Change, Subnet};
use lvs_examples::backend::Addresses;
use lvs_io_xdp::AddressControl;

/// Follows the edits of a group.
pub(crate) struct Taken<M: TableMemory> {
    group: DirectorGroup<M>,
    control: AddressControl,
    /// What is taken and left whatever the services are.
    own: Addresses,
}

impl<M: TableMemory> Taken<M> {
    pub(crate) const fn new(group: DirectorGroup<M>, control: AddressControl, own: Addresses) -> Self {
        Self { group, control, own }
    }

    /// Takes what the director serves now, and these changes would add.
    fn take_with(&self, changes: &[Change]) -> Result<(), String> {
        let keys = self.group.services().into_iter().map(|service| service.config.key);
        let marks = self.group.mark_rules().into_iter().map(|rule| rule.destination);
        let all = self.own.and(
            keys.chain(changes.iter().filter_map(added_key)),
            marks.chain(changes.iter().filter_map(added_mark)),
        );
        self.control.set(&all.take, &all.leave).map_err(|error| error.to_string())
    }
}

impl<M> Follower for Taken<M>
where
    M: TableMemory,
    DirectorGroup<M>: Send + Sync,
{
    fn before(&self, changes: &[Change]) -> Result<(), String> {
        if changes.iter().any(adds) { self.take_with(changes) } else { Ok(()) }
    }

    fn after(&self, changes: &[Change]) {
        if changes.iter().any(|change| adds(change) || removes(change))
            && let Err(error) = self.take_with(&[])
        {
            // What is taken too much is no service any more: the director passes it to nobody.
            tracing::warn!(
                event = "addresses",
                "addresses that are not served any more still come here: {error}"
            );
        }
    }
}

fn added_key(change: &Change) -> Option<ServiceKey> {
    match change {
        Change::AddService(service) => Some(service.key),
        _ => None,
    }
}

fn added_mark(change: &Change) -> Option<Subnet> {
    match change {
        Change::AddMarkRule(rule) => Some(rule.destination),
        _ => None,
    }
}

const fn adds(change: &Change) -> bool {
    matches!(change, Change::AddService(_) | Change::AddMarkRule(_))
}

const fn removes(change: &Change) -> bool {
    matches!(change, Change::RemoveService(_) | Change::ClearMarkRules | Change::Clear)
}
