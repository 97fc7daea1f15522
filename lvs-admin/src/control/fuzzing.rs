//! Body of the fuzz target `control`, which a test calls, too. It panics where a promise is broken.

use std::num::NonZeroU16;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use lvs_core::connection::HeapMemory;
use lvs_core::director::DirectorGroup;
use lvs_core::{DirectorConfig, Instant, InterfaceConfig, MacAddr, PortId};

use super::message::{read_request, write_request};
use super::{Caller, GroupHandler, Handler, Tracer};

/// Requests in one input.
const MOST: usize = 16;

/// Any bytes as the lines of a client that goes before it is answered, to a director without frames. What can be read is written
/// and read as the same; whatever it asks for is done or refused, in words that a terminal only shows.
pub fn lines(bytes: &[u8]) {
    let mut eth0 =
        InterfaceConfig::new(PortId(0), MacAddr([2, 0, 0, 0, 0, 2]), "10.9.0.2/24".parse().unwrap());
    eth0.addresses.push("fd00:9::2/64".parse().unwrap());
    let mut config = DirectorConfig::new(vec![eth0], [7; 32]);
    (config.max_connections, config.max_templates) = (64, 64);
    let (group, _members) = DirectorGroup::new(&config, Instant::ZERO, NonZeroU16::MIN, &HeapMemory).unwrap();
    let handler = GroupHandler::new(group, || Instant::ZERO, "").with_tracer(Arc::clone(&Tracer::new()));
    let stop = AtomicBool::new(false);
    for line in bytes.split(|byte| *byte == b'\n').take(MOST) {
        let refusal = match read_request(line) {
            Ok(request) => {
                let written = write_request(&request).unwrap();
                assert_eq!(read_request(written.as_bytes()), Ok(request.clone()));
                let (server, client) = UnixStream::pair().unwrap();
                drop(client);
                handler.handle(request, &mut Caller::new(&server, &stop)).err()
            }
            Err(refusal) => Some(refusal),
        };
        // Rules may be quoted with their line breaks.
        let shown = |text: &str| !text.contains(|c: char| c.is_control() && c != '\n');
        if let Some(refusal) = refusal {
            assert!(!refusal.text.is_empty() && shown(&refusal.text), "{refusal:?}");
        }
    }
}
