//! The example `own_io`, used as a virtual machine monitor would: its other end is a socket of this test.

use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use lvs_core::MacAddr;
use lvs_testkit::frames::{self, TcpFlags, socket, v4};

const SERVER: MacAddr = MacAddr([2, 0, 0, 0, 0, 0xbc]);
const DIRECTOR: MacAddr = MacAddr([2, 0, 0, 0, 0, 0xd0]);

#[test]
fn frames_in_datagrams_are_balanced() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let card = UnixDatagram::bind(path("card")).unwrap();
    card.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let director = Command::new(env!("CARGO_BIN_EXE_own_io"))
        .args([path("card"), path("director")])
        .args(["192.168.0.208/24", "192.168.0.250:80", "192.168.0.188"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // It announces the VIP and asks for the real server; the server answers.
    let mut buffer = [0; 2048];
    let mut announced = false;
    let mut receive = || {
        let (len, from) = card.recv_from(&mut buffer).expect("a frame within ten seconds");
        assert_eq!(from.as_pathname(), Some(path("director").as_path()));
        buffer[..len].to_vec()
    };
    loop {
        let line = frames::describe(&receive());
        announced |= line.contains("192.168.0.250");
        if line.contains("who-has 192.168.0.188") {
            break;
        }
    }
    card.connect(path("director")).unwrap();
    let reply = frames::arp_reply(SERVER, v4("192.168.0.188"), DIRECTOR, v4("192.168.0.208"));
    card.send(&reply.build()).unwrap();
    let syn = frames::tcp(socket("110.0.0.1:40000"), socket("192.168.0.250:80"))
        .flags(TcpFlags::SYN)
        .macs(MacAddr([2, 0, 0, 0, 0, 0x0f]), DIRECTOR)
        .build();
    card.send(&syn).unwrap();
    let started = Instant::now();
    let forwarded = loop {
        let frame = receive();
        announced |= frames::describe(&frame).contains("192.168.0.250 ");
        if frame[..6] == SERVER.0 && frame[12..] == syn[12..] {
            break frame;
        }
        assert!(started.elapsed() < Duration::from_secs(10));
    };
    assert_eq!(forwarded[6..12], DIRECTOR.0);
    assert!(announced);
    drop(card);
    let output = director.wait_with_output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("2 frames received"), "{text}");
}
