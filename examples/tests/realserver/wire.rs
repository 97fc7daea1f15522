//! What neighbours hear of a VIP, on the wire.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use libtest_mimic::Failed;
use lvs_core::MacAddr;
use lvs_testkit::frames::{self, arp_request, neighbour_solicitation, socket};
use lvs_testkit::lab::{Capture, CapturedFrame, Host, http, send_frame};

use crate::machine::{DIP, Machine, VIP, VIP6, ip};
use crate::{Outcome, Test};

pub(crate) const TESTS: &[Test] = &[
    ("arp_requests_for_the_vip_are_not_answered_after_start", arp_requests),
    ("packets_for_the_vip_are_taken_and_replies_do_not_announce_it", arp_announcements),
    ("linux_does_not_tell_of_a_vip_on_lo_by_ndp", ndp),
];

/// Long enough for an answer on an idle machine, and then some.
const ANSWER: Duration = Duration::from_millis(300);
const PATIENCE: Duration = Duration::from_secs(10);

/// Whether the real server says in any frame that `address` is its own.
fn tells(frame: &CapturedFrame, mac: MacAddr, address: &[u8]) -> bool {
    let bytes = &frame.bytes;
    let from_it = bytes.get(6..12) == Some(&mac.0[..]);
    from_it
        && match bytes.get(12..14) {
            // ARP: the sender's address.
            Some([8, 6]) => bytes.get(28..32) == Some(address),
            // ICMPv6 136, an advertisement of the target; or 135 with the source.
            Some([0x86, 0xdd]) => match bytes.get(54) {
                Some(136) => bytes.get(62..78) == Some(address),
                Some(135) => bytes.get(22..38) == Some(address),
                _ => false,
            },
            _ => false,
        }
}

fn arp_requests() -> Outcome {
    let machine = Machine::new()?;
    let director = &machine.net.director;
    let vip: Ipv4Addr = VIP.parse()?;
    let question = arp_request(machine.net.director_macs[0], DIP.parse()?, vip).build();
    let answered = || -> Result<bool, Failed> {
        let capture = Capture::start(&machine.host, "eth0")?;
        send_frame(director, "eth0", &question)?;
        Ok(capture.wait_for(ANSWER, |frame| tells(frame, machine.mac, &vip.octets())).is_some())
    };
    machine.host.hold_vip(vip.into())?;
    assert!(answered()?, "with the kernel's defaults it is: otherwise this test tests nothing");
    machine.host.release_vip(vip.into())?;
    machine.run_well(&format!("start --vip {VIP}"))?;
    assert!(!answered()?);
    // And its own address is answered for.
    let capture = Capture::start(&machine.host, "eth0")?;
    let own: Ipv4Addr = "192.168.0.188".parse()?;
    send_frame(director, "eth0", &arp_request(machine.net.director_macs[0], DIP.parse()?, own).build())?;
    assert!(capture.wait_for(PATIENCE, |frame| tells(frame, machine.mac, &own.octets())).is_some());
    Ok(())
}

/// Forgets the gateway, so that the next packet to it needs a question.
fn forget(host: &Host, gateway: &str) -> Outcome {
    if host.neighbour(ip(gateway))?.is_some() {
        host.remove_neighbour("eth0", ip(gateway))?;
    }
    Ok(())
}

/// A SYN to the VIP as a director sends it; the frames of the real server until it has replied.
fn reply_to_syn(machine: &Machine, vip: &str, client: &str, port: u16) -> Result<Vec<CapturedFrame>, Failed> {
    let bracket = |text: &str| if text.contains(':') { format!("[{text}]") } else { text.to_owned() };
    let (from, to) = (format!("{}:{port}", bracket(client)), format!("{}:80", bracket(vip)));
    let syn = frames::tcp(socket(&from), socket(&to)).flags(frames::TcpFlags::SYN);
    let syn = syn.macs(machine.net.director_macs[0], machine.mac).build();
    let capture = Capture::start(&machine.host, "eth0")?;
    send_frame(&machine.net.director, "eth0", &syn)?;
    let answer = format!("{vip}.80 > {client}.{port}: Flags [S.]");
    let replied = capture.wait_for(PATIENCE, |frame| frame.describe().contains(&answer));
    let frames = capture.stop()?.frames;
    if replied.is_none() {
        let lines: Vec<String> = frames.iter().map(CapturedFrame::describe).collect();
        return Err(format!("no `{answer}`:\n{}", lines.join("\n")).into());
    }
    Ok(frames)
}

fn arp_announcements() -> Outcome {
    let machine = Machine::new()?;
    let vip: Ipv4Addr = VIP.parse()?;
    let _page = http::Server::start(&machine.host, SocketAddr::from(([0, 0, 0, 0], 80)), "page")?;
    let tells = |frames: &[CapturedFrame]| frames.iter().any(|it| tells(it, machine.mac, &vip.octets()));
    let asks =
        |frames: &[CapturedFrame]| frames.iter().any(|it| it.describe().contains("who-has 192.168.0.15"));

    machine.host.hold_vip(vip.into())?;
    forget(&machine.host, "192.168.0.15")?;
    let frames = reply_to_syn(&machine, VIP, "110.0.0.1", 40_001)?;
    assert!(tells(&frames), "with the kernel's defaults it does: otherwise this test tests nothing");
    machine.host.release_vip(vip.into())?;

    machine.run_well(&format!("start --vip {VIP}"))?;
    forget(&machine.host, "192.168.0.15")?;
    let frames = reply_to_syn(&machine, VIP, "110.0.0.1", 40_002)?;
    let lines: Vec<String> = frames.iter().map(CapturedFrame::describe).collect();
    assert!(asks(&frames), "it had to ask: {lines:#?}");
    assert!(!tells(&frames), "{lines:#?}");
    Ok(())
}

fn ndp() -> Outcome {
    let machine = Machine::new()?;
    let vip: Ipv6Addr = VIP6.parse()?;
    let _page = http::Server::start(&machine.host, "[::]:80".parse()?, "page")?;
    machine.run_well(&format!("start --vip {VIP6}"))?;

    assert!(!answers_solicitation(&machine)?);
    forget(&machine.host, "fd00:192::15")?;
    let frames = reply_to_syn(&machine, VIP6, "fd00:110::1", 40_001)?;
    let lines: Vec<String> = frames.iter().map(CapturedFrame::describe).collect();
    assert!(!frames.iter().any(|it| tells(it, machine.mac, &vip.octets())), "{lines:#?}");
    let asks = |it: &CapturedFrame| {
        it.bytes.get(54) == Some(&135) && it.bytes.get(6..12) == Some(&machine.mac.0[..])
    };
    assert!(frames.iter().any(asks), "it had to ask: {lines:#?}");

    // An address on the card itself is answered for.
    machine.host.add_address("eth0", "fd00:192::250/128".parse()?)?;
    assert!(answers_solicitation(&machine)?);
    Ok(())
}

/// Whether the real server answers a solicitation for the IPv6 VIP.
pub(crate) fn answers_solicitation(machine: &Machine) -> Result<bool, Failed> {
    let vip: Ipv6Addr = VIP6.parse()?;
    let question =
        neighbour_solicitation(machine.net.director_macs[0], "fd00:192::208".parse()?, vip).build();
    let capture = Capture::start(&machine.host, "eth0")?;
    send_frame(&machine.net.director, "eth0", &question)?;
    // A proxy waits a moment before it answers (RFC 4861 section 7.2.8); Linux up to 0.8 s.
    let patience = Duration::from_millis(1200);
    Ok(capture.wait_for(patience, |frame| tells(frame, machine.mac, &vip.octets())).is_some())
}
