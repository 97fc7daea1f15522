//! What the TCP servers of a lab share: accepting, a thread a connection, a bounded end.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::error::{Context, LabError};
use super::host::Host;
use super::task::{Stop, Task};

/// How often a thread that waits for input looks whether it shall stop.
pub(super) const GLANCE: Duration = Duration::from_millis(50);

/// More connections than this are closed at once; no test needs them at the same time.
const MOST_CONNECTIONS: usize = 1024;

/// Accepts on `address` inside `host` and gives each connection to `serve` on a thread of its own.
/// `serve` returns soon after `Stop` is requested; read timeouts of [`GLANCE`] are set already.
pub(super) fn serve_tcp<F>(host: &Host, address: SocketAddr, serve: F) -> Result<Task<()>, LabError>
where
    F: Fn(TcpStream, &Stop) + Send + Sync + 'static,
{
    let what = || format!("{}: listen on {address}", host.name());
    let listener = host.run(|| TcpListener::bind(address)).context(what)?;
    listener.set_nonblocking(true).context(what)?;
    let (inside, serve) = (host.clone(), Arc::new(serve));
    Ok(host.spawn(move |stop| {
        let mut connections: Vec<Task<()>> = Vec::new();
        while !stop.requested() {
            connections.retain(|task| !task.is_finished());
            if !wait_readable(&listener, GLANCE) {
                continue;
            }
            let Ok((stream, _)) = listener.accept() else { continue };
            if connections.len() >= MOST_CONNECTIONS || prepare(&stream).is_err() {
                continue;
            }
            let serve = serve.clone();
            connections.push(inside.spawn(move |stop| serve(stream, stop)));
        }
        // All at once, then one after the other: so they end in the time of the slowest.
        connections.iter().for_each(Task::request_stop);
    }))
}

/// Whether something can be read within `timeout`.
pub(super) fn wait_readable(socket: &impl AsFd, timeout: Duration) -> bool {
    let mut sockets = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
    let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX);
    poll(&mut sockets, timeout).is_ok_and(|ready| ready > 0)
}

/// Whether a read that timed out may be tried again.
pub(super) fn timed_out(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}

fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(GLANCE))?;
    stream.set_write_timeout(Some(GLANCE))
}
