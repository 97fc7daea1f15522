//! What can go wrong when interfaces are opened, and what is in the ring at the start.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use caps::{CapSet, Capability};
use lvs_core::io::{FrameIo, Meta, PortId};
use lvs_io_afpacket::{
    DeviceError, OpenError, PacketConfig, PacketIo, interface_mac, interface_mtu, interface_names,
};

use crate::Test;
use crate::bench::{collect, frame};
use crate::namespace::Veth;

pub(crate) const TESTS: &[Test] = &[
    ("names_that_are_wrong_are_refused_with_a_reason", wrong_names),
    ("sizes_out_of_range_are_refused", wrong_sizes),
    ("missing_rights_are_explained", missing_rights),
    ("interfaces_are_described", description),
    ("nothing_of_other_interfaces_is_heard", other_interfaces),
    ("all_options_together_work", all_options),
];

fn refused(names: &[&str]) -> OpenError {
    PacketIo::open(&PacketConfig::new(names.iter().copied())).expect_err("this must not open")
}

fn wrong_names() {
    let _veth = Veth::new("wn0", "wn1").unwrap();
    let missing = refused(&["wn0", "wn7"]);
    assert!(
        matches!(&missing, OpenError::Device(DeviceError::NoSuchInterface { name, .. }) if name == "wn7"),
        "{missing:?}"
    );
    let text = missing.to_string();
    assert!(["wn7", "wn0", "wn1", "lo"].iter().all(|part| text.contains(part)), "{text}");
    assert!(matches!(refused(&["wn0", "wn0"]), OpenError::DuplicateInterface(name) if name == "wn0"));
    assert!(matches!(
        refused(&["lo"]),
        OpenError::Device(DeviceError::NotEthernet { hardware_type: 772, .. })
    ));
    assert!(matches!(refused(&["abcdefghijklmnop"]), OpenError::Device(DeviceError::NameTooLong { .. })));
    assert!(matches!(refused(&[]), OpenError::NoInterface));
    // The longest name that is allowed.
    let _long = Veth::new("abcdefghijklmno", "lon1").unwrap();
    let io = PacketIo::open(&PacketConfig::new(["abcdefghijklmno"])).unwrap();
    assert_eq!(io.interface(PortId(0)), Some("abcdefghijklmno"));
    assert_eq!(io.interface(PortId(1)), None);
}

fn wrong_sizes() {
    let _veth = Veth::new("ws0", "ws1").unwrap();
    let mut config = PacketConfig::new(["ws0"]);
    for bytes in [0, (1 << 20) - 1, (1 << 30) + 1, usize::MAX] {
        config.ring_bytes = bytes;
        let error = PacketIo::open(&config).expect_err("out of range");
        assert!(matches!(error, OpenError::RingBytes(said) if said == bytes), "{error:?}");
    }
    config.ring_bytes = (1 << 20) + 1;
    PacketIo::open(&config).unwrap();
}

fn missing_rights() {
    let _veth = Veth::new("mr0", "mr1").unwrap();
    // Rights belong to threads: this one ends with its own.
    let error = thread::spawn(|| {
        caps::drop(None, CapSet::Effective, Capability::CAP_NET_RAW).unwrap();
        refused(&["mr0"])
    })
    .join()
    .unwrap();
    assert!(matches!(error, OpenError::MissingRights), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("CAP_NET_RAW") && text.contains("setcap cap_net_raw+ep"), "{text}");
}

fn description() {
    let _veth = Veth::new("ds0", "ds1").unwrap();
    let (a, b) = (interface_mac("ds0").unwrap(), interface_mac("ds1").unwrap());
    assert!(a.is_unicast() && b.is_unicast() && a != b);
    assert_eq!(interface_mtu("ds0").unwrap(), 1500);
    let names = interface_names();
    assert!(["lo", "ds0", "ds1"].iter().all(|name| names.iter().any(|n| n == name)), "{names:?}");
}

fn other_interfaces() {
    let _noisy = Veth::new("oi0", "oi1").unwrap();
    let _quiet = Veth::new("oi2", "oi3").unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let noise = thread::spawn({
        let stop = Arc::clone(&stop);
        move || {
            let mut io = PacketIo::open(&PacketConfig::new(["oi0"])).unwrap();
            while !stop.load(Ordering::Relaxed) {
                io.transmit(PortId(0), &Meta::default(), &frame(1, 60)).unwrap();
            }
            io.flush().unwrap();
            io.statistics().transmitted
        }
    });
    for _ in 0..10 {
        let mut config = PacketConfig::new(["oi3"]);
        config.ring_bytes = 1 << 20;
        let mut io = PacketIo::open(&config).unwrap();
        collect(&mut io, 0);
    }
    stop.store(true, Ordering::Relaxed);
    assert!(noise.join().unwrap() > 1_000);
}

fn all_options() {
    let _veth = Veth::new("ao0", "ao1").unwrap();
    let mut config = PacketConfig::new(["ao0", "ao1"]);
    (config.promiscuous, config.bypass_qdisc, config.ring_bytes) = (true, true, 1 << 20);
    let mut io = PacketIo::open(&config).unwrap();
    assert_eq!(io.ports(), 2);
    crate::bench::settle(&mut io);
    io.transmit(PortId(0), &Meta::default(), &frame(1, 60)).unwrap();
    io.flush().unwrap();
    // It comes in at the other end, and not again at the end that sent it.
    let received = collect(&mut io, 1);
    assert_eq!((received[0].port, &received[0].bytes), (PortId(1), &frame(1, 60)));
}
