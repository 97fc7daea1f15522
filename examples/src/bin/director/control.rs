//! The socket by which `lvsadm` and other programs edit and list a running director, and what edits have to pass.

use std::net::IpAddr;
use std::sync::Arc;

use lvs_admin::control::{self, Check, Handler, Server, ServerError};
use lvs_core::Change;
use lvs_examples::host::Host;

use crate::options::Control;
use crate::setup::Setup;

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
