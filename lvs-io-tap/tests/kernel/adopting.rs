//! Descriptors that somebody else has opened: a manager of virtual machines, a supervisor, this test.
#![expect(unsafe_code, reason = "stands in for a program that opens TAP devices by itself")]

use std::fs::{File, OpenOptions};
use std::io;
use std::num::NonZeroU16;
use std::os::fd::{AsRawFd, OwnedFd};

use libtest_mimic::Failed;
use lvs_core::io::{FrameIo, PortId};
use lvs_io_tap::{OpenError, TapConfig, TapIo, TapPort};
use lvs_testkit::frames::{self, describe, socket};
use lvs_testkit::lab::{Host, Switch, SwitchOptions};

use crate::bench::{collect, frame, join, open, settle};
use crate::{Outcome, Test};

pub(crate) const TESTS: &[Test] = &[
    ("an_adopted_descriptor_works_with_headers_of_any_size_and_without", adopted),
    ("a_device_in_another_namespace_is_served_all_the_same", elsewhere),
    ("adopted_queues_are_shared_out_among_workers", adopted_queues),
    ("descriptors_of_other_things_are_refused", refused),
];

/// Opens a device as another program would: waiting, kept by programs that are started, and with a header of its choice.
fn foreign(host: &Host, name: &str, flags: i32, header: Option<i32>) -> Result<OwnedFd, Failed> {
    let file = host.run(|| -> io::Result<File> {
        let file = OpenOptions::new().read(true).write(true).open("/dev/net/tun")?;
        // SAFETY: zero is valid for every member of this structure of numbers.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
            *to = from as libc::c_char;
        }
        request.ifr_ifru.ifru_flags = flags as libc::c_short;
        // SAFETY: the kernel reads and writes within the structure, whose name is terminated.
        if unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request) } < 0 {
            return Err(io::Error::last_os_error());
        }
        if let Some(size) = header {
            // SAFETY: the kernel reads an int that lives through the call.
            if unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETVNETHDRSZ, &raw const size) } < 0 {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(file)
    })?;
    Ok(file.into())
}

const TAP: i32 = libc::IFF_TAP | libc::IFF_NO_PI;

fn adopted() -> Outcome {
    for (flags, header) in [
        (TAP, None),
        (TAP | libc::IFF_VNET_HDR, Some(10)),
        (TAP | libc::IFF_VNET_HDR, Some(12)),
        (TAP | libc::IFF_VNET_HDR, Some(24)),
    ] {
        let offloads = header.is_some();
        let switch = Switch::new("switch", SwitchOptions { snooping: false, querier: false })?;
        let host = switch.host();
        let mut tester = open(host, [TapPort::new("tester")])?;
        let descriptor = foreign(host, "foreign", flags, header)?;
        let mut io = open(host, [TapPort::adopt(descriptor)])?;
        assert_eq!(io.interface(PortId(0)), Some("foreign"));
        assert_eq!(io.capabilities(PortId(0)).offload, offloads);
        let _ends = [join(host, "tester")?, join(host, "foreign")?];
        settle(&mut tester)?;
        settle(&mut io)?;
        let (bytes, meta) =
            frames::tcp(socket("10.0.0.1:1"), socket("10.0.0.2:80")).payload(&[7; 4200]).build_merged(1400);
        tester.transmit(PortId(0), &meta, &bytes)?;
        let received = collect(&mut io, if offloads { 1 } else { 3 })?;
        for one in &received {
            assert_eq!(one.meta.gso.is_some(), offloads);
            let whole = !describe(&one.bytes).contains("bad cksum");
            assert!(offloads || whole, "{}", describe(&one.bytes));
            io.transmit(PortId(0), &one.meta, &one.bytes)?;
        }
        // The kernel cuts nothing that nobody else needs cut: the tester takes it as it was sent.
        let back = collect(&mut tester, received.len())?;
        for (back, there) in back.iter().zip(&received) {
            assert!(back.bytes == there.bytes);
        }
    }
    Ok(())
}

/// A supervisor opens the device where the bridge is; the program that gets it is somewhere else and cannot see it.
fn elsewhere() -> Outcome {
    let switch = Switch::new("switch", SwitchOptions { snooping: false, querier: false })?;
    let host = switch.host();
    let descriptor = foreign(host, "given", TAP, None)?;
    let mut io = open(&Host::new("elsewhere")?, [TapPort::adopt(descriptor)])?;
    let mut tester = open(host, [TapPort::new("tester")])?;
    let _ends = [join(host, "tester")?, join(host, "given")?];
    settle(&mut tester)?;
    settle(&mut io)?;
    tester.transmit(PortId(0), &Default::default(), &frame(1, 1514))?;
    assert_eq!(collect(&mut io, 1)?[0].bytes, frame(1, 1514));
    host.remove_link("given")?;
    let error = io.receive(&mut |_| unreachable!("no frame was sent")).err().ok_or("it is gone")?;
    assert!(error.is_gone(), "{error}");
    Ok(())
}

fn adopted_queues() -> Outcome {
    let host = Host::new("host")?;
    let flags = TAP | libc::IFF_VNET_HDR | libc::IFF_MULTI_QUEUE;
    let queues = [foreign(&host, "many", flags, None)?, foreign(&host, "many", flags, None)?];
    let config = TapConfig::of([TapPort::adopt_queues(queues)]);
    let group = host.run(|| TapIo::open_group(config, NonZeroU16::new(2).expect("two")))?;
    assert_eq!(group.len(), 2);
    assert!(group.iter().all(|io| io.interface(PortId(0)) == Some("many")));
    let queues = [foreign(&host, "a", TAP, None)?, foreign(&host, "b", TAP, None)?];
    let config = TapConfig::of([TapPort::adopt_queues(queues)]);
    let error = host.run(|| TapIo::open_group(config, NonZeroU16::new(2).expect("two"))).err();
    assert!(error.is_some_and(|error| error.to_string().contains("one belongs to a, another to b")));
    Ok(())
}

fn refused() -> Outcome {
    let host = Host::new("host")?;
    let table = [
        (foreign(&host, "tun0", libc::IFF_TUN | libc::IFF_NO_PI, None)?, "tun0 is a TUN device"),
        (OpenOptions::new().read(true).open("/dev/net/tun")?.into(), "attached to no device"),
        (File::open("/dev/null")?.into(), "TUNGETIFF"),
    ];
    for (descriptor, word) in table {
        let error =
            host.run(|| TapIo::open(TapConfig::of([TapPort::adopt(descriptor)]))).err().ok_or("no TAP")?;
        assert!(matches!(error, OpenError::NotTapDescriptor { .. }), "{error:?}");
        assert!(error.to_string().contains(word), "{error}");
    }
    Ok(())
}
