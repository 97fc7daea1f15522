//! TCP connections: connected and closed, or with one HTTP request, perhaps inside TLS.

use std::io::{self, Read, Write};
use std::net::SocketAddr;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use super::tls::Session;
use super::{from_error, open};
use crate::config::{SocketMethod, SocketProbe};
use crate::http::{self, Response, Share};
use crate::outcome::Outcome;

pub(super) struct Stream {
    socket: TcpStream,
    request: Vec<u8>,
    sent: usize,
    response: Option<Response>,
    session: Option<Session>,
    connected: bool,
    more: bool,
}

impl Stream {
    pub(super) fn connect(
        probe: &SocketProbe,
        target: SocketAddr,
        registry: &Registry,
        token: Token,
    ) -> Result<Self, Outcome> {
        let (http, session) = match &probe.method {
            SocketMethod::Http(http) => (Some(http), None),
            SocketMethod::Https(http, tls) => (Some(http), Some(Session::new(tls, http, target)?)),
            _ => (None, None),
        };
        let socket = start_connect(probe, target).map_err(|error| from_error(&error, target))?;
        let mut socket = TcpStream::from_std(socket.into());
        registry
            .register(&mut socket, token, Interest::READABLE | Interest::WRITABLE)
            .map_err(|error| from_error(&error, target))?;
        let request = http.map(|http| http::request(http, &target.to_string())).unwrap_or_default();
        let response = http.map(Response::new);
        Ok(Self { socket, request, sent: 0, response, session, connected: false, more: false })
    }

    pub(super) const fn was_connected(&self) -> bool {
        self.connected
    }

    /// Whether there was more to read than one call may. The system does not tell of it again.
    pub(super) const fn has_more(&self) -> bool {
        self.more
    }

    pub(super) fn advance(&mut self, target: SocketAddr) -> Option<Outcome> {
        self.more = false;
        match self.try_advance() {
            Ok(outcome) => outcome,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            Err(error) => Some(from_error(&error, target)),
        }
    }

    fn try_advance(&mut self) -> io::Result<Option<Outcome>> {
        if !self.connected {
            if let Some(error) = self.socket.take_error()? {
                return Err(error);
            }
            match self.socket.peer_addr() {
                Ok(_) => self.connected = true,
                Err(error) if error.kind() == io::ErrorKind::NotConnected => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        let Some(response) = &mut self.response else {
            return Ok(Some(Outcome::SUCCESS));
        };
        if let Some(session) = &mut self.session {
            if self.sent == 0 {
                session.write(&self.request)?;
                self.sent = self.request.len();
            }
            let mut share = Share::WHOLE;
            let outcome = session.advance(&mut self.socket, response, &mut share)?;
            self.more = outcome.is_none();
            return Ok(outcome);
        }
        while self.sent < self.request.len() {
            self.sent += self.socket.write(&self.request[self.sent..])?;
        }
        let outcome = read_response(&mut self.socket, response)?;
        self.more = outcome.is_none();
        Ok(outcome)
    }
}

/// Reads what there is and judges it. `None` if there may be more.
fn read_response(from: &mut impl Read, response: &mut Response) -> io::Result<Option<Outcome>> {
    let mut buffer = [0; 16 * 1024];
    let piece = response.piece().min(buffer.len());
    let mut share = Share::WHOLE;
    while !share.is_over() {
        match from.read(&mut buffer[..piece])? {
            0 => return Ok(Some(response.handle_end())),
            read => {
                if let Some(outcome) = response.handle_bytes(&buffer[..read]) {
                    return Ok(Some(outcome));
                }
                share.take(read, response);
            }
        }
    }
    Ok(None)
}

fn start_connect(probe: &SocketProbe, target: SocketAddr) -> io::Result<socket2::Socket> {
    let socket = open(probe, target.ip(), socket2::Type::STREAM, socket2::Protocol::TCP)?;
    match socket.connect(&target.into()) {
        Ok(()) => Ok(socket),
        // EINPROGRESS: it goes on by itself.
        Err(error) if error.raw_os_error() == Some(nix::errno::Errno::EINPROGRESS as i32) => Ok(socket),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{BodyMatch, HttpProbe};

    /// A server that never stops.
    struct Endless(u64);

    impl Read for Endless {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
            // Chunks of one byte, so that most of what comes counts for no limit of a body.
            let bytes = if self.0 == 0 { head.to_vec() } else { b"1;aaaaaaaaaaaa\r\nx\r\n".repeat(800) };
            let taken = bytes.len().min(buffer.len());
            buffer[..taken].copy_from_slice(&bytes[..taken]);
            self.0 += taken as u64;
            Ok(taken)
        }
    }

    #[test]
    fn an_answer_that_does_not_end_is_left_for_others() {
        let probe = HttpProbe { body: BodyMatch::Md5([0; 16]), body_limit: 16 << 20, ..HttpProbe::new("/") };
        let (mut server, mut response) = (Endless(0), Response::new(&probe));
        for turn in 1..4 {
            assert_eq!(read_response(&mut server, &mut response).unwrap(), None);
            assert!((turn * 64 * 1024..turn * 80 * 1024).contains(&server.0), "{turn}: {}", server.0);
        }
    }
}
