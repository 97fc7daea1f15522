//! Bodies of the fuzz target `control`, which a test calls, too. They panic where a promise is broken.

use std::cell::OnceCell;
use std::ffi::OsString;
use std::num::NonZeroU16;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use lvs_core::connection::HeapMemory;
use lvs_core::director::DirectorGroup;
use lvs_core::{DirectorConfig, Instant, InterfaceConfig, MacAddr, PortId};

use super::message::{read_request, write_request};
use super::{Caller, Command, CommandLine, GroupHandler, Handler, Name, Request, Tracer, call};
use crate::rules::{self, Call};

/// Requests or command lines in one input.
const MOST: usize = 16;
/// No message is longer, in bytes, whatever it is about.
const LONGEST_MESSAGE: usize = 2048;

/// A director without frames, made when the first request comes: most of what is thrown at it is none.
#[derive(Default)]
struct World {
    handler: OnceCell<Box<dyn Handler>>,
    stop: AtomicBool,
}

impl World {
    fn handler() -> Box<dyn Handler> {
        let mut eth0 =
            InterfaceConfig::new(PortId(0), MacAddr([2, 0, 0, 0, 0, 2]), "10.9.0.2/24".parse().unwrap());
        eth0.addresses.push("fd00:9::2/64".parse().unwrap());
        let mut config = DirectorConfig::new(vec![eth0], [7; 32]);
        (config.max_connections, config.max_templates) = (64, 64);
        let (group, _members) =
            DirectorGroup::new(&config, Instant::ZERO, NonZeroU16::MIN, &HeapMemory).unwrap();
        let handler = GroupHandler::new(group, || Instant::ZERO, "").with_tracer(Arc::clone(&Tracer::new()));
        Box::new(handler)
    }

    /// Carries out what a client asks for that goes before it is answered; or refuses, in words that a terminal only shows.
    fn ask(&self, request: Request) {
        let (server, client) = UnixStream::pair().unwrap();
        drop(client);
        let handler = self.handler.get_or_init(Self::handler);
        if let Err(refusal) = handler.handle(request, &mut Caller::new(&server, &self.stop)) {
            harmless(&refusal.text);
        }
    }
}

/// Says something, and nothing that a terminal acts upon. Rules may be quoted with their line breaks.
fn harmless(text: &str) {
    assert!(!text.is_empty() && !text.contains(|c: char| c.is_control() && c != '\n'), "{text:?}");
}

/// As [`harmless`], and short.
fn short(text: &str) {
    harmless(text);
    assert!(text.len() <= LONGEST_MESSAGE, "{} bytes: {text}", text.len());
}

/// Any bytes as the lines of a client that goes before it is answered, to a director without frames. What can be read is written
/// and read as the same; whatever it asks for is done or refused.
pub fn lines(bytes: &[u8]) {
    let world = World::default();
    for line in bytes.split(|byte| *byte == b'\n').take(MOST) {
        match read_request(line) {
            Ok(request) => {
                let written = write_request(&request).unwrap();
                assert_eq!(read_request(written.as_bytes()), Ok(request.clone()));
                world.ask(request);
            }
            Err(refusal) => harmless(&refusal.text),
        }
    }
}

/// Any bytes as command lines of `lvsadm`, one a line. Words stand between spaces, or, in a line that has any, between zero bytes,
/// so that there may be spaces in them, and ends of lines (byte 1). Each is read or refused in few words; what is read is written and read as the same, and asked
/// of a director without frames.
pub fn command_lines(bytes: &[u8]) {
    let world = World::default();
    for line in bytes.split(|byte| *byte == b'\n').take(MOST) {
        let apart = line.contains(&0);
        let words = line.split(|byte| *byte == if apart { 0 } else { b' ' });
        let words = words.filter(|word| apart || !word.is_empty());
        let byte = |byte: &u8| if apart && *byte == 1 { b'\n' } else { *byte };
        let words: Vec<OsString> =
            words.map(|word| OsString::from_vec(word.iter().map(byte).collect())).collect();
        let read = match CommandLine::read(&words) {
            Ok(read) => read,
            Err(error) => {
                short(&error.to_string());
                continue;
            }
        };
        assert_eq!(CommandLine::read(read.words()).as_ref(), Ok(&read), "{:?}", read.words());
        if let Command::Ipvsadm(words) = &read.command {
            world.ipvsadm(words);
        } else if let Some(request) = read.command.request() {
            world.ask(request);
        }
    }
}

impl World {
    fn ipvsadm(&self, words: &[String]) {
        let mut asked = 0;
        let result = call(words, |name| {
            asked += 1;
            looked_up(name)
        });
        assert!(asked <= 2 * words.len());
        match result {
            Ok(Call::Edit(line)) => {
                // The director reads it as a line of a file: it is one, and means what the words meant.
                let lines = rules::parse(line.as_bytes());
                assert!(lines.as_ref().is_ok_and(|rules| rules.len() == 1), "{line:?}: {lines:?}");
                let again: Vec<&[u8]> = line.split_whitespace().map(str::as_bytes).collect();
                assert!(matches!(rules::call(&again), Ok(Call::Edit(_))), "{line:?}");
                self.ask(Request::Rules { text: line });
            }
            Ok(_) => {}
            Err(error) => short(&error.ipvsadm().0),
        }
    }
}

/// Some names are known, and stand for numbers, for nothing of use, and for themselves.
fn looked_up(name: Name<'_>) -> Option<String> {
    Some(match name {
        Name::Host(name) if name.starts_with('v') => "10.9.0.9".to_owned(),
        Name::Host(name) if name.starts_with('s') => "[fd00:9::9]".to_owned(),
        Name::Port(name) if name.starts_with('h') => "80".to_owned(),
        Name::Host(name) | Name::Port(name) if name.starts_with('x') => name.to_owned(),
        Name::Host(_) | Name::Port(_) => return None,
    })
}
