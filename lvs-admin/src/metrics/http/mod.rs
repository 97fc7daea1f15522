//! The HTTP server: a thread of its own, GET and HEAD only, four paths, bounds for everything.
//!
//! ```text
//!   TcpListener ─► at most 64 connections ─► one request after the other ─► Answers ─► source: a snapshot,
//!                  others wait in the          header: 16 KiB, 5 s          at most every 250 ms
//!                  kernel's queue              connection: 60 s
//! ```
//!
//! Everything runs on one thread, so snapshots are taken one at a time. It never waits for a client: a slow one only keeps its place,
//! and that for a bounded time.

mod answer;
mod host;
mod page;

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::{Notify, Semaphore};
use tokio::task::LocalSet;

use self::answer::Answers;
pub use self::page::PAGE;
use super::snapshot::Snapshot;

/// Bytes of a request's first line and headers.
const MAX_HEADER: usize = 16 << 10;
/// Headers of a request.
const MAX_HEADERS: usize = 64;
/// How long the server waits after the system refused to accept a connection: there are no descriptors left, say.
const PAUSE: Duration = Duration::from_millis(100);

/// What a server may be told.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// Names that it may be called by, besides `localhost` and IP addresses. Requests that name another host are refused: the page of
    /// somebody else could otherwise read the answers in a visitor's browser, by giving its own name the server's address.
    pub hosts: Vec<String>,
    /// How old a snapshot may be that is shown once more. At least 250 ms; 500 ms by default.
    pub refresh: Duration,
    /// How many connections are served at one time; 64 by default. Others wait.
    pub max_connections: usize,
    /// How long a request may take to arrive, and a connection may be idle; 5 s by default.
    pub patience: Duration,
    /// How long a connection may last, 60 s by default. Then it is closed between two requests, or after `patience`.
    pub lifetime: Duration,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            hosts: Vec::new(),
            refresh: Duration::from_millis(500),
            max_connections: 64,
            patience: Duration::from_secs(5),
            lifetime: Duration::from_secs(60),
        }
    }
}

/// It is no address to listen at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no address to listen at; expected PORT (on 127.0.0.1), ADDRESS:PORT or [ADDRESS]:PORT")]
pub struct ListenAddressError(String);

/// An address to listen at as people write it: `9798` is on 127.0.0.1, any other address must be said.
///
/// # Errors
/// If it is neither a port nor an address with a port.
pub fn listen_address(text: &str) -> Result<SocketAddr, ListenAddressError> {
    let port = text.parse().map(|port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port));
    port.or_else(|_| text.parse()).map_err(|_| ListenAddressError(text.to_owned()))
}

/// A server that runs. Dropping it closes all connections and waits for its thread.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: Arc<Notify>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Serves what `source` says at this socket, on a thread of its own, until dropped.
    ///
    /// `source` is called on that thread when somebody looks, at most once a [`ServerOptions::refresh`]. Its warnings are filled in
    /// here. If it panics, whoever asked gets no answer, and the next one calls it again.
    ///
    /// # Errors
    /// If the system refuses: no thread, no descriptors.
    pub fn start(
        listener: TcpListener,
        options: ServerOptions,
        source: impl FnMut() -> Snapshot + Send + 'static,
    ) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        let listener = {
            let _inside = runtime.enter();
            tokio::net::TcpListener::from_std(listener)?
        };
        let stop = Arc::new(Notify::new());
        let stopped = Arc::clone(&stop);
        let serve = move || {
            let answers = Rc::new(Answers::new(source, &options));
            let local = LocalSet::new();
            // What still runs when it is over goes with the set.
            local.spawn_local(async move { accept(&listener, &options, &answers).await });
            local.block_on(&runtime, stopped.notified());
        };
        let thread = thread::Builder::new().name("metrics".to_owned()).spawn(serve)?;
        Ok(Self { address, stop, thread: Some(thread) })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panic has been told where it happened.
            let _ = thread.join();
        }
    }
}

async fn accept(listener: &tokio::net::TcpListener, options: &ServerOptions, answers: &Rc<Answers>) {
    let seats = Arc::new(Semaphore::new(options.max_connections.max(1)));
    while let Ok(seat) = Arc::clone(&seats).acquire_owned().await {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let (answers, options) = (Rc::clone(answers), options.clone());
        tokio::task::spawn_local(async move {
            let _seat = seat;
            serve(stream, &options, &answers).await;
        });
    }
}

/// One connection, from its first request to its last.
async fn serve(stream: tokio::net::TcpStream, options: &ServerOptions, answers: &Rc<Answers>) {
    // Answers go out in one piece; waiting for more to send would only delay them.
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| {
        let response = answers.answer(&request);
        async { Ok::<_, Infallible>(response) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(options.patience)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEADER);
    let mut connection = std::pin::pin!(http.serve_connection(TokioIo::new(stream), service));
    // A client that has gone, or sends nonsense, is no news.
    if tokio::time::timeout(options.lifetime, connection.as_mut()).await.is_err() {
        connection.as_mut().graceful_shutdown();
        let _ = tokio::time::timeout(options.patience, connection).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_alone_is_on_loopback() {
        assert_eq!(listen_address("9798").unwrap().to_string(), "127.0.0.1:9798");
        assert_eq!(listen_address("0.0.0.0:1").unwrap().to_string(), "0.0.0.0:1");
        assert_eq!(listen_address("[::1]:80").unwrap().to_string(), "[::1]:80");
        for wrong in ["", ":80", "65536", "::1", "localhost:80"] {
            assert!(listen_address(wrong).is_err(), "{wrong}");
        }
    }
}
