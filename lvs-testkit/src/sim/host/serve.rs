//! What a host says to those who connect to it.

use std::collections::VecDeque;
use std::net::SocketAddr;

/// One side of a TCP conversation, without I/O: the side that was connected to.
pub trait Conversation {
    /// Bytes came in.
    fn receive(&mut self, bytes: &[u8], answer: &mut Answer);

    /// The other side will say no more. Unless told otherwise, neither does this one.
    fn ended(&mut self, answer: &mut Answer) {
        answer.finish();
    }
}

/// What is still to be said in a conversation.
#[derive(Debug, Default)]
pub struct Answer {
    pub(super) bytes: VecDeque<u8>,
    pub(super) finished: bool,
}

impl Answer {
    /// Says this, behind what is to be said already.
    pub fn send(&mut self, bytes: &[u8]) {
        if !self.finished {
            self.bytes.extend(bytes);
        }
    }

    /// Says nothing more.
    pub const fn finish(&mut self) {
        self.finished = true;
    }
}

/// A datagram that came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Datagram {
    /// Where it was sent to.
    pub local: SocketAddr,
    /// Who sent it.
    pub remote: SocketAddr,
    /// What it carries.
    pub bytes: Vec<u8>,
}

/// Answers every HTTP request with the same page, and closes.
#[derive(Debug)]
pub(super) struct Page {
    body: Vec<u8>,
    request: Vec<u8>,
}

/// Bytes of a request that are read before it counts as none.
const LONGEST_REQUEST: usize = 64 * 1024;

impl Page {
    pub(super) fn new(body: &[u8]) -> Self {
        Self { body: body.to_vec(), request: Vec::new() }
    }
}

impl Conversation for Page {
    fn receive(&mut self, bytes: &[u8], answer: &mut Answer) {
        self.request.extend(bytes);
        let whole = self.request.windows(4).any(|four| four == b"\r\n\r\n");
        if whole {
            let head = "HTTP/1.0 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n";
            answer.send(format!("{head}Content-Length: {}\r\n\r\n", self.body.len()).as_bytes());
            answer.send(&self.body);
        }
        if whole || self.request.len() > LONGEST_REQUEST {
            answer.finish();
        }
    }
}

/// Sends back what comes.
#[derive(Debug)]
pub(super) struct Echo;

impl Conversation for Echo {
    fn receive(&mut self, bytes: &[u8], answer: &mut Answer) {
        answer.send(bytes);
    }
}
