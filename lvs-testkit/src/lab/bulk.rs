//! Bulk TCP, compared byte for byte: a server that takes or gives a known stream, and its client.
//!
//! The stream is pseudo-random and depends on a seed, so bytes that are lost, doubled, swapped or
//! changed are found, and where. Sockets are the kernel's, with whatever offloads the cards have.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::error::LabError;
use super::host::Host;
use super::server::{GLANCE, serve_tcp, timed_out};
use super::task::{Stop, Task};

/// Length of the pattern that repeats: a prime, so that it meets no power of two.
const PATTERN: usize = 1_048_573;
const CHUNK: usize = 256 * 1024;
const UPLOAD: u8 = b'u';
const DOWNLOAD: u8 = b'd';

/// A peer for [`upload`] and [`download`]. It ends when it is dropped.
#[derive(Debug)]
pub struct Server {
    _task: Task<()>,
}

impl Server {
    /// Listens on `address` inside `host`.
    ///
    /// # Errors
    /// If the host has no such address, or the port is taken.
    pub fn start(host: &Host, address: SocketAddr) -> Result<Self, LabError> {
        let task = serve_tcp(host, address, |stream, stop| {
            // What goes wrong here, the client notices.
            let _ = serve(stream, stop);
        })?;
        Ok(Self { _task: task })
    }
}

/// A transfer that arrived whole and unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transfer {
    /// Payload bytes, all of them compared.
    pub bytes: u64,
    /// From the first byte sent to the confirmation of the last.
    pub elapsed: Duration,
}

impl Transfer {
    /// Gigabits of payload in a second.
    #[must_use]
    pub fn gigabits_per_second(&self) -> f64 {
        self.bytes as f64 * 8.0 / self.elapsed.as_secs_f64() / 1e9
    }
}

/// Sends `bytes` bytes from inside `host`; the server compares them.
///
/// # Errors
/// If it does not succeed within `timeout`, or a byte arrived wrong (`InvalidData`, which says where).
pub fn upload(host: &Host, server: SocketAddr, bytes: u64, timeout: Duration) -> io::Result<Transfer> {
    transfer(host, server, UPLOAD, bytes, timeout, |mut stream, seed, within| {
        send(&mut stream, seed, bytes, within)?;
        let mut verdict = [0; 8];
        read_exact(&mut stream, &mut verdict, within)?;
        check(u64::from_be_bytes(verdict), bytes)
    })
}

/// Fetches `bytes` bytes to `host` and compares them.
///
/// # Errors
/// As for [`upload`].
pub fn download(host: &Host, server: SocketAddr, bytes: u64, timeout: Duration) -> io::Result<Transfer> {
    transfer(host, server, DOWNLOAD, bytes, timeout, |mut stream, seed, within| {
        check(receive(&mut stream, seed, bytes, within)?, bytes)
    })
}

/// Whether to go on; an error when it is too late.
type Within<'a> = &'a dyn Fn() -> io::Result<()>;

fn transfer(
    host: &Host,
    server: SocketAddr,
    operation: u8,
    bytes: u64,
    timeout: Duration,
    work: impl FnOnce(TcpStream, u64, Within<'_>) -> io::Result<()>,
) -> io::Result<Transfer> {
    let start = Instant::now();
    let mut stream = host.run(|| TcpStream::connect_timeout(&server, timeout))?;
    stream.set_read_timeout(Some(GLANCE))?;
    stream.set_write_timeout(Some(GLANCE))?;
    let seed = u64::from(stream.local_addr()?.port());
    let mut order = vec![operation];
    order.extend(bytes.to_be_bytes());
    order.extend(seed.to_be_bytes());
    stream.write_all(&order)?;
    let within = || if start.elapsed() < timeout { Ok(()) } else { Err(io::ErrorKind::TimedOut.into()) };
    work(stream, seed, &within)?;
    Ok(Transfer { bytes, elapsed: start.elapsed() })
}

fn serve(mut stream: TcpStream, stop: &Stop) -> io::Result<()> {
    let within = || if stop.requested() { Err(io::ErrorKind::Interrupted.into()) } else { Ok(()) };
    let mut order = [0; 17];
    read_exact(&mut stream, &mut order, &within)?;
    let [operation, a, b, c, d, e, f, g, h, rest @ ..] = order;
    let (bytes, seed) = (u64::from_be_bytes([a, b, c, d, e, f, g, h]), u64::from_be_bytes(rest));
    match operation {
        UPLOAD => {
            let right = receive(&mut stream, seed, bytes, &within)?;
            stream.write_all(&right.to_be_bytes())
        }
        DOWNLOAD => send(&mut stream, seed, bytes, &within),
        _ => Ok(()),
    }
}

fn send(stream: &mut TcpStream, seed: u64, bytes: u64, within: Within<'_>) -> io::Result<()> {
    let pattern = pattern(seed);
    let mut sent = 0;
    while sent < bytes {
        within()?;
        match stream.write(expected(&pattern, sent, bytes)) {
            Ok(count) => sent += count as u64,
            Err(error) if timed_out(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// How many bytes were right before the first wrong one, or before the sender ended.
fn receive(stream: &mut TcpStream, seed: u64, bytes: u64, within: Within<'_>) -> io::Result<u64> {
    let pattern = pattern(seed);
    let mut buffer = vec![0; CHUNK];
    let mut right = 0;
    while right < bytes {
        within()?;
        let wanted = expected(&pattern, right, bytes);
        match stream.read(&mut buffer[..wanted.len()]) {
            Ok(0) => return Ok(right),
            Ok(count) if buffer[..count] == wanted[..count] => right += count as u64,
            Ok(count) => {
                let same = buffer[..count].iter().zip(wanted).take_while(|(a, b)| a == b).count();
                return Ok(right + same as u64);
            }
            Err(error) if timed_out(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(right)
}

/// The stream from position `at` on, as far as one call goes.
fn expected(pattern: &[u8], at: u64, bytes: u64) -> &[u8] {
    let begin = (at % PATTERN as u64) as usize;
    let left = usize::try_from(bytes - at).unwrap_or(usize::MAX);
    &pattern[begin..PATTERN.min(begin + CHUNK.min(left))]
}

fn read_exact(stream: &mut TcpStream, buffer: &mut [u8], within: Within<'_>) -> io::Result<()> {
    let mut filled = 0;
    while filled < buffer.len() {
        within()?;
        match stream.read(&mut buffer[filled..]) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => filled += count,
            Err(error) if timed_out(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn check(right: u64, bytes: u64) -> io::Result<()> {
    if right == bytes {
        return Ok(());
    }
    let text = format!("of {bytes} bytes the first {right} arrived right, the next did not");
    Err(io::Error::new(io::ErrorKind::InvalidData, text))
}

/// xorshift64: enough to make neighbouring words differ.
fn pattern(seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(PATTERN + 8);
    while bytes.len() < PATTERN {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(PATTERN);
    bytes
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    /// Sends `tamper`ed bytes of a stream to `receive` over a local connection.
    fn received(bytes: u64, tamper: impl FnOnce(&mut Vec<u8>) + Send) -> u64 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::scope(|scope| {
            scope.spawn(move || {
                let pattern = pattern(5);
                let mut stream: Vec<u8> =
                    (0..bytes).map(|at| pattern[(at % PATTERN as u64) as usize]).collect();
                tamper(&mut stream);
                TcpStream::connect(address).unwrap().write_all(&stream).unwrap();
            });
            receive(&mut listener.accept().unwrap().0, 5, bytes, &|| Ok(())).unwrap()
        })
    }

    #[test]
    fn a_stream_is_compared_byte_for_byte() {
        let bytes = 2 * PATTERN as u64 + 12_345;
        assert_eq!(received(bytes, |_| ()), bytes);
        assert_eq!(received(bytes, |stream| stream[1_500_000] ^= 1), 1_500_000);
        assert_eq!(received(bytes, |stream| stream.truncate(999)), 999);
        // A byte is missing: the next ones may be equal by chance, but not for long.
        let right = received(bytes, |stream| {
            stream.remove(777_777);
        });
        assert!((777_777..777_785).contains(&right), "{right}");
        assert!(check(5, 6).unwrap_err().to_string().contains("the first 5"));
    }
}
