//! As much HTTP/1.1 as a test of a load balancer needs: a server with one page, a client that fetches.
//!
//! It answers every well-formed request with the same page, has no paths, no chunks and no TLS.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::error::LabError;
use super::host::Host;
use super::server::{serve_tcp, timed_out};
use super::task::{Stop, Task};

/// Longest head of a request or an answer, in bytes.
const LONGEST_HEAD: usize = 16 * 1024;

/// A web server in a host. It ends when it is dropped.
#[derive(Debug)]
pub struct Server {
    counters: Arc<Counters>,
    _task: Task<()>,
}

#[derive(Debug, Default)]
struct Counters {
    connections: AtomicU64,
    requests: AtomicU64,
}

impl Server {
    /// Serves `page` on `address` (`0.0.0.0:80` or `[::]:80` for all addresses of the host, the VIP
    /// among them). Connections are kept alive unless the client asks to close them.
    ///
    /// # Errors
    /// If the host has no such address, or the port is taken.
    pub fn start(host: &Host, address: SocketAddr, page: &str) -> Result<Self, LabError> {
        let counters = Arc::new(Counters::default());
        let (counted, page) = (counters.clone(), page.to_owned());
        let task = serve_tcp(host, address, move |stream, stop| {
            counted.connections.fetch_add(1, Ordering::SeqCst);
            // A client that goes away in the middle is not the server's trouble.
            let _ = serve(stream, stop, &page, &counted.requests);
        })?;
        Ok(Self { counters, _task: task })
    }

    /// Connections accepted so far.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.counters.connections.load(Ordering::SeqCst)
    }

    /// Requests answered so far.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.counters.requests.load(Ordering::SeqCst)
    }
}

/// What a server answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The status, 200 if all is well.
    pub status: u16,
    /// The page.
    pub body: String,
    /// The client's address and port.
    pub local: SocketAddr,
}

/// Fetches a page from inside `host` over a connection of its own.
///
/// # Errors
/// If the answer is not complete within `timeout`, or is no HTTP.
pub fn get(host: &Host, server: SocketAddr, path: &str, timeout: Duration) -> io::Result<Response> {
    let deadline = Instant::now() + timeout;
    let mut client = Client::connect(host, server, timeout)?;
    client.request(path, true, deadline.saturating_duration_since(Instant::now()))
}

/// A connection that stays open from one request to the next.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    server: SocketAddr,
    /// Bytes behind the last answer.
    rest: Vec<u8>,
}

impl Client {
    /// Connects from inside `host`.
    ///
    /// # Errors
    /// If there is no connection within `timeout`.
    pub fn connect(host: &Host, server: SocketAddr, timeout: Duration) -> io::Result<Self> {
        let stream = host.run(|| TcpStream::connect_timeout(&server, timeout))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, server, rest: Vec::new() })
    }

    /// Fetches a page and keeps the connection.
    ///
    /// # Errors
    /// If the answer is not complete within `timeout`, or is no HTTP.
    pub fn get(&mut self, path: &str, timeout: Duration) -> io::Result<Response> {
        self.request(path, false, timeout)
    }

    fn request(&mut self, path: &str, close: bool, timeout: Duration) -> io::Result<Response> {
        let deadline = Instant::now() + timeout;
        let connection = if close { "close" } else { "keep-alive" };
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: {connection}\r\n\r\n", self.server);
        self.stream.set_write_timeout(Some(remaining(deadline)?))?;
        self.stream.write_all(request.as_bytes())?;
        let head = loop {
            if let Some(end) = head_end(&self.rest)? {
                break self.rest.drain(..end).collect::<Vec<u8>>();
            }
            self.fill(deadline)?;
        };
        let head = String::from_utf8_lossy(&head);
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        let length: Option<usize> = header(&head, "content-length").and_then(|value| value.parse().ok());
        let (Some(status), Some(length)) = (status, length) else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("no HTTP answer: {head:?}")));
        };
        while self.rest.len() < length {
            self.fill(deadline)?;
        }
        let body = String::from_utf8_lossy(&self.rest.drain(..length).collect::<Vec<u8>>()).into_owned();
        Ok(Response { status, body, local: self.stream.local_addr()? })
    }

    fn fill(&mut self, deadline: Instant) -> io::Result<()> {
        self.stream.set_read_timeout(Some(remaining(deadline)?))?;
        let mut buffer = [0; 4096];
        match self.stream.read(&mut buffer) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                self.rest.extend(&buffer[..count]);
                Ok(())
            }
            Err(error) if timed_out(&error) => Err(io::ErrorKind::TimedOut.into()),
            Err(error) => Err(error),
        }
    }
}

/// Answers requests until the client closes, something is wrong, or it is time to stop.
fn serve(mut stream: TcpStream, stop: &Stop, page: &str, requests: &AtomicU64) -> io::Result<()> {
    let mut pending = Vec::new();
    while !stop.requested() {
        let Some(end) = head_end(&pending)? else {
            let mut buffer = [0; 4096];
            match stream.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => pending.extend(&buffer[..count]),
                Err(error) if timed_out(&error) => {}
                Err(error) => return Err(error),
            }
            continue;
        };
        let head: Vec<u8> = pending.drain(..end).collect();
        let head = String::from_utf8_lossy(&head);
        let close = header(&head, "connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        let connection = if close { "close" } else { "keep-alive" };
        requests.fetch_add(1, Ordering::SeqCst);
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\nConnection: {connection}\r\n\r\n{page}",
            page.len()
        );
        stream.write_all(answer.as_bytes())?;
        if close {
            return Ok(());
        }
    }
    Ok(())
}

/// Where the head ends, if it is complete.
fn head_end(bytes: &[u8]) -> io::Result<Option<usize>> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4);
    if end.is_none() && bytes.len() > LONGEST_HEAD {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a head longer than 16 KiB"));
    }
    Ok(end)
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().skip(1).find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.trim().eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

fn remaining(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_found_and_bounded() {
        assert_eq!(head_end(b"GET / HTTP/1.1\r\n\r\nrest").unwrap(), Some(18));
        assert_eq!(head_end(b"GET / HTTP/1.1\r\n").unwrap(), None);
        assert!(head_end(&[b'a'; LONGEST_HEAD + 1]).is_err());
        assert_eq!(header("GET / HTTP/1.1\r\nconnection: Close\r\n", "Connection"), Some("Close"));
        assert_eq!(header("GET / HTTP/1.1\r\n", "Connection"), None);
    }
}
