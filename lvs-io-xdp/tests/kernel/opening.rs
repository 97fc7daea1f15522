//! What can go wrong when interfaces are opened.

use std::thread;

use caps::{CapSet, Capability};
use lvs_core::io::{FrameIo, PortId};
use lvs_io_xdp::{
    Attachment, DeviceError, OpenError, Warning, XdpConfig, XdpIo, interface_mac, interface_mtu,
};
use lvs_testkit::lab::Host;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::Test;
use crate::bench::{Hosts, collect, frame, settle, subnet};

pub(crate) const TESTS: &[Test] = &[
    ("names_that_are_wrong_are_refused_with_a_reason", wrong_names),
    ("sizes_out_of_range_are_refused", wrong_sizes),
    ("missing_rights_are_named", missing_rights),
    ("too_little_lockable_memory_is_explained", memory_limit),
    ("a_second_one_on_the_same_interface_is_refused", second),
    ("a_refused_opening_leaves_nothing_behind", nothing_stays),
    ("longer_frames_get_more_memory", longer_frames),
    ("offloads_that_spoil_frames_are_told", warnings),
];

fn refused(host: &Host, names: &[&str]) -> OpenError {
    host.run(|| XdpIo::open(&XdpConfig::new(names.iter().copied())).expect_err("this must not open"))
}

fn wrong_names() {
    let hosts = Hosts::new();
    let device = &hosts.device;
    let missing = refused(device, &["eth0", "eth7"]);
    assert!(
        matches!(&missing, OpenError::Device(DeviceError::NoSuchInterface { name, .. }) if name == "eth7"),
        "{missing:?}"
    );
    let text = missing.to_string();
    assert!(["eth7", "eth0", "eth1", "lo"].iter().all(|part| text.contains(part)), "{text}");
    assert!(
        matches!(refused(device, &["eth0", "eth0"]), OpenError::DuplicateInterface(name) if name == "eth0")
    );
    assert!(matches!(
        refused(device, &["lo"]),
        OpenError::Device(DeviceError::NotEthernet { hardware_type: 772, .. })
    ));
    assert!(matches!(
        refused(device, &["abcdefghijklmnop"]),
        OpenError::Device(DeviceError::NameTooLong { .. })
    ));
    assert!(matches!(refused(device, &[]), OpenError::NoInterface));
    device.run(|| {
        assert!(interface_mac("eth0").unwrap().is_unicast());
        assert_eq!(interface_mtu("eth0").unwrap(), 1500);
        let io = XdpIo::open(&XdpConfig::new(["eth0"])).unwrap();
        assert_eq!((io.ports(), io.interface(PortId(0))), (1, Some("eth0")));
        assert_eq!((io.interface(PortId(1)), io.mode(PortId(1))), (None, None));
        assert_eq!(format!("{io:?}"), "[\"eth0\"]");
    });
}

fn wrong_sizes() {
    let hosts = Hosts::new();
    for entries in [0, 32, 63, 100, 65_536, u32::MAX] {
        let receive = hosts.open(|config| config.receive_entries = entries).unwrap_err();
        assert!(receive.to_string().contains("receive_entries"), "{receive}");
        let transmit = hosts.open(|config| config.transmit_entries = entries).unwrap_err();
        assert!(matches!(transmit, OpenError::OutOfRange { value, .. } if value == entries), "{transmit:?}");
    }
    for most in [0, 1_048_577] {
        let error = hosts.open(|config| config.max_addresses = most).unwrap_err();
        assert!(error.to_string().contains("max_addresses"), "{error}");
    }
    let mut io = hosts.open(|config| config.max_addresses = 1).unwrap();
    io.set_addresses(&[subnet("10.0.0.1/32"), subnet("fd00::1/128")], &[]).unwrap();
    assert!(io.set_addresses(&[subnet("10.0.0.1/32"), subnet("10.0.0.2/32")], &[]).is_err());
}

fn missing_rights() {
    let hosts = Hosts::new();
    // Rights belong to threads: these end with their own.
    let without = |rights: &'static [Capability]| {
        thread::scope(|scope| {
            let thread = scope.spawn(|| {
                hosts.device.run(|| {
                    for right in rights {
                        caps::drop(None, CapSet::Effective, *right).unwrap();
                    }
                    XdpIo::open(&XdpConfig::new(["eth0"])).expect_err("this must not open")
                })
            });
            thread.join().unwrap()
        })
    };
    let all = [Capability::CAP_NET_ADMIN, Capability::CAP_NET_RAW, Capability::CAP_BPF];
    for right in [&[Capability::CAP_NET_RAW][..], &[Capability::CAP_NET_ADMIN]] {
        // CAP_SYS_ADMIN stands in for CAP_BPF, and for CAP_NET_ADMIN where programs are loaded.
        let right: &'static [Capability] = Box::leak([right, &[Capability::CAP_SYS_ADMIN]].concat().into());
        let error = without(right);
        let OpenError::MissingRights { missing, .. } = &error else { panic!("{error:?}") };
        assert_eq!(missing, &[right[0].to_string().as_str()], "{error}");
    }
    let nothing: &'static [Capability] = Box::leak([&all[..], &[Capability::CAP_SYS_ADMIN]].concat().into());
    let error = without(nothing);
    let text = error.to_string();
    assert!(text.contains("missing CAP_NET_ADMIN and CAP_NET_RAW and CAP_BPF"), "{text}");
    assert!(text.contains("setcap cap_net_admin,cap_net_raw,cap_bpf+ep"), "{text}");
}

fn memory_limit() {
    const HARD: u64 = 8 << 20;
    let hosts = Hosts::new();
    let open = |receive_entries| {
        hosts.device.run(|| {
            for right in [Capability::CAP_IPC_LOCK, Capability::CAP_SYS_RESOURCE] {
                caps::drop(None, CapSet::Effective, right).unwrap();
            }
            let mut config = XdpConfig::new(["eth0"]);
            (config.receive_entries, config.transmit_entries) = (receive_entries, 64);
            XdpIo::open(&config).map(drop)
        })
    };
    // The limits are not set back: that takes a right of its own, and with CAP_IPC_LOCK, which the other
    // tests have, they do not count.
    let (_, hard) = getrlimit(Resource::RLIMIT_MEMLOCK).unwrap();
    setrlimit(Resource::RLIMIT_MEMLOCK, 1 << 20, hard.min(HARD)).unwrap();
    open(512).expect("up to the hard limit it helps itself");
    let error = open(8192).expect_err("there is too little");
    assert!(
        matches!(error, OpenError::MemoryLimit { bytes, limit } if bytes > 16 << 20 && limit == hard.min(HARD)),
        "{error:?}"
    );
    assert!(error.to_string().contains("ulimit -l"), "{error}");
}

fn second() {
    let hosts = Hosts::new();
    for first in [Attachment::Native, Attachment::Generic] {
        let io = hosts.open(|config| config.attachment = first).unwrap();
        for then in [Attachment::Native, Attachment::Generic, Attachment::NativeOrGeneric] {
            let error = hosts.open(|config| config.attachment = then).expect_err("it is in use");
            assert!(
                matches!(&error, OpenError::InUse { name, .. } if name == "eth0"),
                "{first:?} {then:?} {error:?}"
            );
            assert!(error.to_string().contains("ip link set eth0 xdp off"), "{error}");
        }
        drop(io);
    }
    hosts.open(|_| {}).expect("it is free again");
}

fn nothing_stays() {
    let hosts = Hosts::new();
    let only_second = hosts.device.run(|| XdpIo::open(&XdpConfig::new(["eth1"]))).unwrap();
    // eth0 is opened, then eth1 refused.
    assert!(matches!(hosts.open(|_| {}), Err(OpenError::InUse { name, .. }) if name == "eth1"));
    let first = hosts.device.run(|| XdpIo::open(&XdpConfig::new(["eth0"])));
    first.expect("eth0 is free");
    drop(only_second);
}

fn longer_frames() {
    for (mtu, longest) in [(1770, 1792), (1771, 3840), (3000, 3840)] {
        let hosts = Hosts::with_mtu(mtu);
        let mut device = hosts.open(|_| {}).unwrap();
        assert_eq!(device.capabilities(PortId(0)).longest_frame, longest);
        device.set_addresses(&[subnet("0.0.0.0/0")], &[]).unwrap();
        settle(&mut device);
        let mut left = Hosts::tester(&hosts.left);
        let long = frame(1, mtu as usize + 14);
        left.transmit(PortId(0), &lvs_core::io::Meta::default(), &long).unwrap();
        left.flush().unwrap();
        assert_eq!(collect(&mut device, 1), [long]);
    }
    let error = Hosts::with_mtu(9000).open(|_| {}).expect_err("too long");
    assert!(matches!(error, OpenError::MtuTooLarge { mtu: 9000, most: 3818, .. }), "{error:?}");
}

fn warnings() {
    let hosts = Hosts::new();
    hosts.device.set_features("eth0", &[("rx-gro", true)]).unwrap();
    let generic = hosts.open(|config| config.attachment = Attachment::Generic).unwrap();
    let gro = |io: &XdpIo| {
        io.warnings().iter().any(|w| matches!(w, Warning::Gro { interface } if interface == "eth0"))
    };
    assert!(gro(&generic), "{:?}", generic.warnings());
    drop(generic);
    let native = hosts.open(|config| config.attachment = Attachment::Native).unwrap();
    assert!(!gro(&native), "{:?}", native.warnings());
}
