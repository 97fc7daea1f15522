//! The server's side: a thread that accepts, and one for each client.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, Backlog, MsgFlags, SockFlag, SockType, UnixAddr, sockopt};
use nix::sys::stat::Mode;

use super::message::{Answer, Fault, MAX_REQUEST, Refusal, Reply, Request, read_request};

/// How many clients are served at one time.
pub const MAX_CLIENTS: usize = 16;
/// How long a request may take to arrive once it has begun, and an answer to be taken.
const ARRIVAL: Duration = Duration::from_secs(5);
/// How long a client may say nothing.
const IDLE: Duration = Duration::from_secs(60);
/// How often threads look whether it is over.
pub(super) const LOOK: Duration = Duration::from_millis(100);

/// What carries out requests: the director program.
pub trait Handler: Send + Sync + 'static {
    /// Carries out a request, and gives the lines of the answer to the caller.
    ///
    /// # Errors
    /// A refusal becomes the answer.
    fn handle(&self, request: Request, caller: &mut Caller<'_>) -> Result<(), Refusal>;
}

/// A client that waits for an answer.
#[derive(Debug)]
pub struct Caller<'a> {
    stream: &'a UnixStream,
    stop: &'a AtomicBool,
}

impl<'a> Caller<'a> {
    pub(super) const fn new(stream: &'a UnixStream, stop: &'a AtomicBool) -> Self {
        Self { stream, stop }
    }

    /// Sends a line of the answer.
    ///
    /// # Errors
    /// The client has gone, or has not taken the line within five seconds. The connection is closed then.
    pub fn answer(&mut self, reply: Reply) -> io::Result<()> {
        let sent = write_within(self.stream, &line_of(&Answer::Ok(reply))?, ARRIVAL);
        if sent.is_err() {
            // Behind a line that was cut off nothing can be understood.
            let _ = self.stream.shutdown(Shutdown::Both);
        }
        sent
    }

    /// Whether the server ends.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Whether the client is there and the server goes on: to be asked now and then by what answers for a long time.
    #[must_use]
    pub fn waits(&self) -> bool {
        if self.is_over() {
            return false;
        }
        // A client that has said its last word may still listen; one that has closed the connection does not.
        let mut look = [nix::poll::PollFd::new(self.stream.as_fd(), nix::poll::PollFlags::empty())];
        let seen = nix::poll::poll(&mut look, nix::poll::PollTimeout::ZERO);
        matches!(seen, Ok(0) | Err(Errno::EINTR))
    }
}

/// A control socket could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Another director listens there.
    #[error("--control {0}: a director listens there already; give this one another path")]
    InUse(String),
    /// Something that is no socket lies there.
    #[error("--control {0}: there is something that is no socket; remove it or give another path")]
    NoSocket(String),
    /// The system refuses.
    #[error("--control {path}: {what}: {source}")]
    System {
        /// The path.
        path: String,
        /// What was being done.
        what: &'static str,
        /// What the system says.
        source: io::Error,
    },
}

/// A control socket that is served. Dropping it closes the socket, removes it and waits for the clients' threads.
#[derive(Debug)]
pub struct Server {
    path: PathBuf,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Listens at `path` and serves clients until dropped. A socket that nobody listens at any more is replaced; its directory is
    /// made if it is missing, for its owner alone.
    ///
    /// # Errors
    /// If another director listens there, or the system refuses.
    pub fn start(path: &Path, handler: Arc<dyn Handler>) -> Result<Self, ServerError> {
        let listener = listen(path)?;
        let stop = Arc::new(AtomicBool::new(false));
        let thread = {
            let stop = Arc::clone(&stop);
            let accept = move || accept(&listener, &handler, &stop);
            thread::Builder::new().name("control".to_owned()).spawn(accept)
        };
        let thread = thread.map_err(|source| ServerError::System {
            path: path.display().to_string(),
            what: "starting a thread",
            source,
        })?;
        Ok(Self { path: path.to_owned(), stop, thread: Some(thread) })
    }

    /// Where it listens.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic of a handler has been told where it happened.
            let _ = thread.join();
        }
        let _ = std::fs::remove_file(&self.path);
    }
}

/// A listening socket at this path that only its owner may use.
fn listen(path: &Path) -> Result<UnixListener, ServerError> {
    let name = || path.display().to_string();
    let system = |what| move |source: io::Error| ServerError::System { path: name(), what, source };
    if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty())
        && !directory.exists()
    {
        use std::os::unix::fs::DirBuilderExt;
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory);
        made.map_err(system("making its directory"))?;
    }
    match UnixStream::connect(path) {
        Ok(_) => return Err(ServerError::InUse(name())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(_) => {
            use std::os::unix::fs::FileTypeExt;
            let kind = std::fs::symlink_metadata(path).map_err(system("looking at it"))?.file_type();
            if !kind.is_socket() {
                return Err(ServerError::NoSocket(name()));
            }
            std::fs::remove_file(path).map_err(system("removing what an ended director left"))?;
        }
    }
    let bound = || -> nix::Result<OwnedFd> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = nix::sys::socket::socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
        // Linux gives the socket's mode to what it makes at the path: nobody else may connect for a moment either.
        nix::sys::stat::fchmod(&socket, Mode::S_IRUSR | Mode::S_IWUSR)?;
        nix::sys::socket::bind(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
        nix::sys::socket::listen(&socket, Backlog::new(MAX_CLIENTS as i32)?)?;
        Ok(socket)
    };
    let socket = bound().map_err(|error| system("listening")(error.into()))?;
    Ok(UnixListener::from(socket))
}

/// Counts a client as long as it lives.
struct Seat(Arc<AtomicUsize>);

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn accept(listener: &UnixListener, handler: &Arc<dyn Handler>, stop: &Arc<AtomicBool>) {
    let taken = Arc::new(AtomicUsize::new(0));
    let mut threads: Vec<JoinHandle<()>> = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let Ok((stream, _)) = listener.accept() else {
            // Nobody is there, or for the moment there is no descriptor for anybody.
            let mut waits = [nix::poll::PollFd::new(listener.as_fd(), nix::poll::PollFlags::POLLIN)];
            let _ = nix::poll::poll(&mut waits, LOOK.as_millis() as u16);
            continue;
        };
        threads.retain(|thread| !thread.is_finished());
        taken.fetch_add(1, Ordering::Relaxed);
        let seat = Seat(Arc::clone(&taken));
        if taken.load(Ordering::Relaxed) > MAX_CLIENTS {
            let text = format!("{MAX_CLIENTS} clients are being served; try again later");
            turn_away(stream, Refusal::new(Fault::Busy, text));
            continue;
        }
        if !may(&stream) {
            let text = "this socket is for root and for the user that the director runs as";
            turn_away(stream, Refusal::new(Fault::Refused, text));
            continue;
        }
        let (handler, stop) = (Arc::clone(handler), Arc::clone(stop));
        let serve = move || {
            let _seat = seat;
            // A client that has gone is no news.
            let _ = Conversation::new(stream, stop).and_then(|mut talk| talk.serve(&*handler));
        };
        // Without a thread the client is dropped, which it notices.
        threads.extend(thread::Builder::new().name("client".to_owned()).spawn(serve));
    }
    for thread in threads {
        let _ = thread.join();
    }
}

/// Whether the other end may give orders.
fn may(stream: &UnixStream) -> bool {
    let credentials = nix::sys::socket::getsockopt(&stream.as_fd(), sockopt::PeerCredentials);
    credentials.is_ok_and(|peer| peer.uid() == 0 || peer.uid() == nix::unistd::geteuid().as_raw())
}

fn turn_away(mut stream: UnixStream, refusal: Refusal) {
    // Whoever does not listen will see that the connection is closed.
    let _ = stream.set_nonblocking(true);
    if let Ok(line) = line_of(&Answer::Error(refusal)) {
        let _ = stream.write_all(&line);
    }
}

fn line_of(answer: &Answer) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(answer)?;
    line.push(b'\n');
    Ok(line)
}

/// Writes all of it in this time: a client that takes it byte by byte would otherwise keep its place, and the server from ending,
/// for as long as it likes.
fn write_within(stream: &UnixStream, mut bytes: &[u8], time: Duration) -> io::Result<()> {
    let until = Instant::now() + time;
    // A write that waits goes on as long as there is room now and then: its time-out is for each piece of the kernel's.
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    while !bytes.is_empty() {
        match nix::sys::socket::send(stream.as_raw_fd(), bytes, flags) {
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => {
                let left = until.saturating_duration_since(Instant::now());
                let mut room = [nix::poll::PollFd::new(stream.as_fd(), nix::poll::PollFlags::POLLOUT)];
                // In milliseconds; what is more than a minute is looked at again then.
                let left = u16::try_from(left.as_millis()).unwrap_or(60_000);
                if left == 0 {
                    return Err(io::ErrorKind::TimedOut.into());
                }
                match nix::poll::poll(&mut room, left) {
                    Ok(_) | Err(Errno::EINTR) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// A client being served.
struct Conversation {
    stream: UnixStream,
    stop: Arc<AtomicBool>,
    /// What has arrived and is no whole line yet.
    arrived: Vec<u8>,
    /// How much of it has been searched for an end of line.
    searched: usize,
}

impl Conversation {
    fn new(stream: UnixStream, stop: Arc<AtomicBool>) -> io::Result<Self> {
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(LOOK))?;
        Ok(Self { stream, stop, arrived: Vec::new(), searched: 0 })
    }

    fn serve(&mut self, handler: &dyn Handler) -> io::Result<()> {
        while let Some(line) = self.line()? {
            let mut caller = Caller::new(&self.stream, &self.stop);
            let result = read_request(&line).and_then(|request| handler.handle(request, &mut caller));
            if let Err(refusal) = result {
                write_within(&self.stream, &line_of(&Answer::Error(refusal))?, ARRIVAL)?;
            }
        }
        Ok(())
    }

    /// The next line; `None` when the client has gone, has said nothing for too long, or it is over.
    fn line(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut begun = Instant::now();
        let mut buffer = [0; 16 << 10];
        loop {
            if let Some(at) = self.arrived[self.searched..].iter().position(|byte| *byte == b'\n') {
                let rest = self.arrived.split_off(self.searched + at + 1);
                let mut line = std::mem::replace(&mut self.arrived, rest);
                self.searched = 0;
                line.pop();
                return Ok(Some(line));
            }
            self.searched = self.arrived.len();
            if self.arrived.len() > MAX_REQUEST {
                let text = format!("the request is longer than {MAX_REQUEST} bytes");
                let line = line_of(&Answer::Error(Refusal::new(Fault::Malformed, text)))?;
                write_within(&self.stream, &line, ARRIVAL)?;
                return Ok(None);
            }
            let patience = if self.arrived.is_empty() { IDLE } else { ARRIVAL };
            if self.stop.load(Ordering::Relaxed) || begun.elapsed() > patience {
                return Ok(None);
            }
            match self.stream.read(&mut buffer) {
                Ok(0) => return Ok(None),
                Ok(count) => {
                    if self.arrived.is_empty() {
                        begun = Instant::now();
                    }
                    self.arrived.extend_from_slice(&buffer[..count]);
                }
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_takes_an_answer_bit_by_bit_is_let_go() {
        let (server, mut client) = UnixStream::pair().unwrap();
        let drip = thread::spawn(move || {
            let mut buffer = [0; 4096];
            while client.read(&mut buffer).is_ok_and(|read| read > 0) {
                thread::sleep(Duration::from_millis(20));
            }
        });
        let start = Instant::now();
        let written = write_within(&server, &vec![b'x'; 4 << 20], Duration::from_millis(300));
        assert!(written.is_err() && start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
        drop(server);
        drip.join().unwrap();
        let (server, mut client) = UnixStream::pair().unwrap();
        write_within(&server, b"all of it", Duration::from_secs(5)).unwrap();
        drop(server);
        let mut text = String::new();
        client.read_to_string(&mut text).unwrap();
        assert_eq!(text, "all of it");
    }
}
