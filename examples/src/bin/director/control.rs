//! The socket by which `lvsadm` and other programs edit and list a running director, and what edits have to pass.

use std::net::IpAddr;
use std::sync::Arc;

use lvs_admin::control::{self, Check, Handler, Server, ServerError};
use lvs_core::Change;
use lvs_core::connection::TableMemory;
use lvs_core::director::DirectorGroup;
use lvs_examples::host::Host;

use crate::health::Health;
use crate::options::Control;
use crate::setup::{NoWay, Setup, leads};

/// Starts it, if there is to be one. It ends when it is dropped.
///
/// # Errors
/// If the one that was asked for cannot be had. The usual one is done without, after a warning: several directors may run on a host,
/// each in a network namespace.
pub(crate) fn start(wanted: &Control, handler: Arc<dyn Handler>) -> Result<Option<Server>, ServerError> {
    let path = match wanted {
        Control::Nowhere => return Ok(None),
        Control::At(path) => Some(path.clone()),
        Control::Usual => control::default_path(),
    };
    let Some(path) = path else {
        tracing::warn!("no control socket: XDG_RUNTIME_DIR is not set; --control PATH gives one");
        return Ok(None);
    };
    match Server::start(&path, handler) {
        Ok(server) => {
            tracing::info!("control socket: {}", path.display());
            Ok(Some(server))
        }
        Err(error) if *wanted == Control::Usual => {
            tracing::warn!("no control socket: {error}; --control PATH gives one");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// What edits have to pass besides the director's own rules, whether they come over the socket or out of the file.
pub(crate) fn edit_check(setup: &Setup) -> Box<Check> {
    let allow_local_vip = setup.loaded.configuration.allow_local_vip;
    Box::new(move |changes| changes.iter().try_for_each(|change| check(change, allow_local_vip)))
}

/// What edits by hand have to pass: that, and there must be a way to a real server, and its checks must have no say.
pub(crate) fn hand_check<M: TableMemory + 'static>(setup: &Setup, health: Arc<Health<M>>) -> Box<Check>
where
    DirectorGroup<M>: Send + Sync,
{
    let (any, interfaces) = (edit_check(setup), setup.config.interfaces.clone());
    Box::new(move |changes| {
        any(changes)?;
        changes.iter().try_for_each(|change| {
            let (key, added) = match change {
                Change::AddDestination(key, server) => (key, Some(server.address)),
                Change::EditDestination(key, _) => (key, None),
                Change::RemoveDestination { service, .. } | Change::DrainDestination { service, .. } => {
                    (service, None)
                }
                _ => return Ok(()),
            };
            if health.is_monitored(key) {
                return Err(format!(
                    "{key}: its real servers come and go as their checks say; change the file and reload it, or say how a server is \
                     with lvsadm --force down|maintenance -r RIP"
                ));
            }
            match added.filter(|address| !leads(&interfaces, *address)) {
                Some(address) => Err(format!("{}", NoWay(address))),
                None => Ok(()),
            }
        })
    })
}

/// What this host has to say of an edit: the same as of the rules that the director is started with.
fn check(change: &Change, allow_local_vip: bool) -> Result<(), String> {
    let vip = match change {
        Change::AddService(service) => service.key.address(),
        Change::AddMarkRule(rule) => Some(rule.destination.address()),
        _ => None,
    };
    let Some(vip) = vip else {
        return Ok(());
    };
    match held_by(vip) {
        Some(interface) if !allow_local_vip => Err(format!(
            "{vip} is held by this host's kernel, on {interface}, which would answer clients itself; take it away: \
             ip address del {vip} dev {interface}"
        )),
        _ => Ok(()),
    }
}

/// The interface on which the host's kernel has an address.
fn held_by(address: IpAddr) -> Option<String> {
    Host::look().ok()?.holder_of(address).map(|held| held.interface.clone())
}
