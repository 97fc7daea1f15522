//! A UDP echo that signs its answers, and the question to it.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::error::{Context, LabError};
use super::host::Host;
use super::server::GLANCE;
use super::task::Task;

/// Answers every datagram with its own name, a colon, and what it got. It ends when it is dropped.
#[derive(Debug)]
pub struct Echo {
    answered: Arc<AtomicU64>,
    _task: Task<()>,
}

impl Echo {
    /// Listens on `address` inside `host` and signs with the host's name. For a service on a VIP give
    /// the VIP itself: only so are the answers sent with it as their source.
    ///
    /// # Errors
    /// If the host has no such address, or the port is taken.
    pub fn start(host: &Host, address: SocketAddr) -> Result<Self, LabError> {
        let what = || format!("{}: UDP on {address}", host.name());
        let socket = host.run(|| UdpSocket::bind(address)).context(what)?;
        socket.set_read_timeout(Some(GLANCE)).context(what)?;
        let answered = Arc::new(AtomicU64::new(0));
        let (counter, name) = (answered.clone(), host.name().to_owned());
        let task = host.spawn(move |stop| {
            let mut buffer = vec![0; 65_536];
            while !stop.requested() {
                let Ok((count, client)) = socket.recv_from(&mut buffer) else { continue };
                let mut answer = format!("{name}:").into_bytes();
                answer.extend(&buffer[..count]);
                // Counted first: whoever has the answer finds it counted.
                counter.fetch_add(1, Ordering::SeqCst);
                let _ = socket.send_to(&answer, client);
            }
        });
        Ok(Self { answered, _task: task })
    }

    /// Datagrams answered so far.
    #[must_use]
    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::SeqCst)
    }
}

/// Sends a datagram from inside `host` and waits for the answer from the same address.
///
/// # Errors
/// If none has come within `timeout`, or the network says that none will.
pub fn ask(host: &Host, server: SocketAddr, payload: &[u8], timeout: Duration) -> io::Result<Vec<u8>> {
    let any: SocketAddr = if server.is_ipv4() { ([0; 4], 0).into() } else { ([0; 16], 0).into() };
    let socket = host.run(|| UdpSocket::bind(any))?;
    socket.connect(server)?;
    socket.set_read_timeout(Some(timeout))?;
    socket.send(payload)?;
    let mut buffer = vec![0; 65_536];
    let count = socket.recv(&mut buffer)?;
    buffer.truncate(count);
    Ok(buffer)
}
