//! TCP and UDP as users of a host have them.

use std::net::{IpAddr, SocketAddr};

use super::connection::{Connection, ConnectionId};
use super::serve::{Conversation, Datagram, Echo, Page};
use super::{Host, Phase};

impl Host {
    /// Opens a TCP connection from the next free port. It begins with the next step of the network.
    pub fn open(&mut self, remote: SocketAddr) -> ConnectionId {
        let port = self.stack.next_port();
        match self.source_for(remote.ip()) {
            Some(source) => self.open_from(SocketAddr::new(source, port), remote),
            None => {
                let nowhere = if remote.is_ipv4() { IpAddr::from([0; 4]) } else { IpAddr::from([0; 16]) };
                let mut connection = Connection::new(SocketAddr::new(nowhere, port), remote);
                connection.phase = Phase::Unreachable;
                self.stack.add_connection(connection)
            }
        }
    }

    /// The same from an address and port of the caller's choice.
    pub fn open_from(&mut self, local: SocketAddr, remote: SocketAddr) -> ConnectionId {
        self.stack.add_connection(Connection::new(local, remote))
    }

    /// Opens a connection, asks for a page by HTTP, and reads until the server closes. See [`Connection::page`].
    pub fn fetch(&mut self, remote: SocketAddr, path: &str) -> ConnectionId {
        let id = self.open(remote);
        self.write(id, format!("GET {path} HTTP/1.0\r\nHost: {}\r\n\r\n", remote.ip()).as_bytes());
        id
    }

    /// A connection that was opened here.
    ///
    /// # Panics
    /// If it has been taken.
    #[must_use]
    #[track_caller]
    pub fn connection(&self, id: ConnectionId) -> &Connection {
        self.stack.connection(id).expect("a connection that nobody has taken")
    }

    /// The same, and forgets it; if it is still open it is reset.
    ///
    /// # Panics
    /// If it has been taken.
    #[track_caller]
    pub fn take_connection(&mut self, id: ConnectionId) -> Connection {
        self.stack.take_connection(id).expect("a connection that nobody has taken")
    }

    /// Sends bytes on a connection, behind what is to be sent already. Without effect if it is over or finished.
    ///
    /// # Panics
    /// If it has been taken.
    #[track_caller]
    pub fn write(&mut self, id: ConnectionId, bytes: &[u8]) {
        let connection = self.stack.connection_mut(id).expect("a connection that nobody has taken");
        if !connection.finished && !connection.phase.is_over() {
            connection.to_send.extend(bytes);
        }
    }

    /// Says that nothing more will be sent on a connection (FIN). What comes is still read.
    ///
    /// # Panics
    /// If it has been taken.
    #[track_caller]
    pub fn finish(&mut self, id: ConnectionId) {
        self.stack.connection_mut(id).expect("a connection that nobody has taken").finished = true;
    }

    /// Answers connections to a TCP port, on all addresses, with conversations made by `make`. A second call for the
    /// same port changes what later connections get.
    pub fn listen(&mut self, port: u16, make: impl FnMut() -> Box<dyn Conversation> + 'static) {
        self.stack.listen(port, Box::new(make));
    }

    /// Answers HTTP requests to a port with a page.
    pub fn serve_page(&mut self, port: u16, body: &str) {
        let body = body.as_bytes().to_vec();
        self.listen(port, move || Box::new(Page::new(&body)));
    }

    /// Sends back what comes on connections to a port.
    pub fn serve_echo(&mut self, port: u16) {
        self.listen(port, || Box::new(Echo));
    }

    /// Listens on a TCP port no more: new connections are refused, others go on.
    pub fn stop_listening(&mut self, port: u16) {
        self.stack.stop_listening(port);
    }

    /// How many connections to a port there were since it was first listened on.
    #[must_use]
    pub fn accepted(&self, port: u16) -> u64 {
        self.stack.accepted(port)
    }

    /// Sends back every datagram that comes to a UDP port.
    pub fn serve_udp_echo(&mut self, port: u16) {
        self.stack.bind_udp(port, true);
    }

    /// Sends a datagram from a UDP port, and from now on keeps what comes to that port. `false` if there is no route or
    /// too much waits to be sent.
    pub fn send_udp(&mut self, port: u16, remote: SocketAddr, bytes: &[u8]) -> bool {
        let Some(source) = self.source_for(remote.ip()) else { return false };
        self.send_udp_from(SocketAddr::new(source, port), remote, bytes)
    }

    /// The same from an address of the caller's choice.
    pub fn send_udp_from(&mut self, local: SocketAddr, remote: SocketAddr, bytes: &[u8]) -> bool {
        self.stack.bind_udp(local.port(), false);
        self.stack.send_udp(local.port(), local.ip(), remote, bytes)
    }

    /// The datagrams that came to ports that [`send_udp`](Self::send_udp) has used, oldest first; the last 4096 are
    /// kept.
    pub fn take_datagrams(&mut self) -> Vec<Datagram> {
        self.stack.take_datagrams()
    }
}
