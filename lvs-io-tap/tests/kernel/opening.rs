//! What can go wrong when devices are opened, what a kept device remembers, and the kernel's end.

use std::num::NonZeroU16;

use caps::{CapSet, Capability};
use libtest_mimic::Failed;
use lvs_core::io::{FrameIo, PortId};
use lvs_core::verdict::Verdict;
use lvs_io_tap::{KernelEnd, KernelEndConfig, OpenError, Step, TapConfig, TapIo, TapPort};
use lvs_testkit::frames::{self, describe, socket};
use lvs_testkit::lab::{Host, Nic, Switch, SwitchOptions, cable};

use crate::bench::{BRIDGE, collect, frame, join, open, settle};
use crate::{Outcome, Test};

pub(crate) const TESTS: &[Test] = &[
    ("names_that_are_wrong_are_refused_with_a_reason", wrong_names),
    ("missing_rights_are_explained", missing_rights),
    ("a_kept_device_needs_no_rights_of_its_owner", kept),
    ("a_kept_device_forgets_what_its_last_program_chose", stale),
    ("one_program_has_a_device_at_a_time", busy),
    ("several_queues_need_a_device_made_for_them", queues),
    ("the_kernels_end_is_set_up_and_put_back", kernel_end),
    ("the_bridges_mtu_becomes_the_devices", bridge_mtu),
];

fn refused(host: &Host, config: TapConfig, workers: u16) -> Result<OpenError, Failed> {
    let workers = NonZeroU16::new(workers).ok_or("a worker")?;
    match host.run(|| TapIo::open_group(config, workers)) {
        Ok(io) => Err(format!("{io:?} should not open").into()),
        Err(error) => Ok(error),
    }
}

fn wrong_names() -> Outcome {
    let host = Host::new("host")?;
    let error = refused(&host, TapConfig::new(["abcdefghijklmnop"]), 1)?;
    assert!(error.to_string().contains("16 bytes; the kernel allows 15"), "{error}");
    let error = refused(&host, TapConfig::new(["lo"]), 1)?;
    assert!(matches!(&error, OpenError::NotTap { name } if name == "lo"), "{error:?}");
    let error = refused(&host, TapConfig::new(["lo"]), 2)?;
    assert!(matches!(&error, OpenError::NotTap { name } if name == "lo"), "{error:?}");
    // Two patterns are two devices; a name and a pattern that becomes it are one.
    let io = open(&host, [TapPort::new("t%d"), TapPort::new("t%d")])?;
    assert_eq!((io.interface(PortId(0)), io.interface(PortId(1))), (Some("t0"), Some("t1")));
    assert_eq!(io.interface(PortId(2)), None);
    // The longest name that is allowed.
    let io = open(&host, [TapPort::new("abcdefghijklmno")])?;
    assert_eq!(io.interface(PortId(0)), Some("abcdefghijklmno"));
    drop(io);
    assert!(host.interface("abcdefghijklmno").is_err(), "what was made goes with its program");
    Ok(())
}

/// Runs without CAP_NET_ADMIN. Rights belong to threads: this one ends with its own.
fn without_rights<T: Send>(host: &Host, work: impl FnOnce() -> T + Send) -> T {
    host.run(|| {
        caps::drop(None, CapSet::Effective, Capability::CAP_NET_ADMIN).expect("rights can be given up");
        work()
    })
}

fn missing_rights() -> Outcome {
    let host = Host::new("host")?;
    let error = without_rights(&host, || TapIo::open(TapConfig::new(["mine0"])))
        .err()
        .ok_or("no right, no device")?;
    assert!(matches!(&error, OpenError::MissingRights { .. }), "{error:?}");
    let text = error.to_string();
    for part in ["CAP_NET_ADMIN", "setcap cap_net_admin+ep", "ip tuntap add dev mine0 mode tap user $USER"] {
        assert!(text.contains(part), "{text}");
    }
    let _io = open(&host, [TapPort::new("mine0")])?;
    let error = without_rights(&host, || KernelEnd::set_up("mine0", &KernelEndConfig::default()));
    let text = error.err().ok_or("no right, no change")?.to_string();
    assert!(text.contains("CAP_NET_ADMIN") && text.contains("`ip link set dev mine0 up`"), "{text}");
    Ok(())
}

/// A device that stays, made by somebody with rights for the user who runs this.
fn keep(host: &Host, name: &str, edit: impl FnOnce(&mut TapPort)) -> Result<(), Failed> {
    let mut port = TapPort::new(name);
    port.keep = true;
    port.owner = Some(nix::unistd::geteuid().as_raw());
    edit(&mut port);
    open(host, [port]).map(drop)
}

fn kept() -> Outcome {
    let switch = Switch::new("switch", SwitchOptions { snooping: false, querier: false })?;
    let host = switch.host();
    let mut tester = open(host, [TapPort::new("tester")])?;
    let _end = join(host, "tester")?;
    keep(host, "kept", |_| {})?;
    let _kept_end = join(host, "kept")?;
    let mut io = without_rights(host, || TapIo::open(TapConfig::new(["kept"])))?;
    // All is as it should be, so nothing has to be changed, and no right is missing.
    let mut config = KernelEndConfig::default();
    config.bridge = Some(BRIDGE.to_owned());
    let end = without_rights(host, || KernelEnd::set_up("kept", &config))?;
    assert_eq!(end.steps(), []);
    settle(&mut io)?;
    settle(&mut tester)?;
    tester.transmit(PortId(0), &Default::default(), &frame(1, 60))?;
    collect(&mut io, 1)?;
    drop(io);
    assert!(host.interface("kept").is_ok());
    // A user who is not the owner.
    keep(host, "theirs", |port| port.owner = Some(4_000_000))
        .or_else(|_| keep(host, "theirs", |port| port.owner = Some(nix::unistd::geteuid().as_raw() + 1)))
        .or_else(|error| {
            // In a user namespace there are no other users.
            eprintln!("SKIPPED, another user's device: {error:?}");
            Ok::<_, Failed>(())
        })?;
    if host.interface("theirs").is_ok() {
        let error = without_rights(host, || TapIo::open(TapConfig::new(["theirs"]))).err();
        assert!(matches!(error, Some(OpenError::MissingRights { .. })), "{error:?}");
    }
    Ok(())
}

fn stale() -> Outcome {
    let switch = Switch::new("switch", SwitchOptions { snooping: false, querier: false })?;
    // With offloads and without in turns: what comes in is always what was asked for.
    for (before, now) in [(true, false), (false, true)] {
        keep(switch.host(), "stale", |port| port.offloads = before)?;
        let mut port = TapPort::new("stale");
        port.offloads = now;
        let host = switch.host();
        let mut tester = open(host, [TapPort::new("tester")])?;
        let mut io = open(host, [port])?;
        let _ends = [join(host, "tester")?, join(host, "stale")?];
        settle(&mut tester)?;
        settle(&mut io)?;
        let (bytes, meta) =
            frames::tcp(socket("10.0.0.1:1"), socket("10.0.0.2:80")).payload(&[7; 4200]).build_merged(1400);
        tester.transmit(PortId(0), &meta, &bytes)?;
        let received = collect(&mut io, if now { 1 } else { 3 })?;
        for one in &received {
            assert_eq!(one.meta.gso.is_some(), now);
            assert!(now || !describe(&one.bytes).contains("bad cksum"), "{}", describe(&one.bytes));
        }
        assert_eq!(io.capabilities(PortId(0)).offload, now);
    }
    Ok(())
}

fn busy() -> Outcome {
    let host = Host::new("host")?;
    let _first = open(&host, [TapPort::new("only")])?;
    let error = refused(&host, TapConfig::new(["only"]), 1)?;
    assert!(matches!(&error, OpenError::Busy { name } if name == "only"), "{error:?}");
    Ok(())
}

fn queues() -> Outcome {
    let host = Host::new("host")?;
    keep(&host, "single", |_| {})?;
    let error = refused(&host, TapConfig::new(["single"]), 2)?;
    assert!(matches!(error, OpenError::SingleQueue { queues: 2, .. }), "{error:?}");
    assert!(error.to_string().contains("multi_queue"), "{error}");
    let error = refused(&host, TapConfig::new(["many"]), 257)?;
    assert!(matches!(error, OpenError::TooManyQueues { queues: 257, .. }), "{error:?}");
    // A device for several queues that is kept is good for one, too.
    let two = NonZeroU16::new(2).ok_or("two")?;
    let mut port = TapPort::new("multi");
    port.keep = true;
    drop(host.run(|| TapIo::open_group(TapConfig::of([port]), two))?);
    drop(open(&host, [TapPort::new("multi")])?);
    assert_eq!(host.run(|| TapIo::open_group(TapConfig::new(["multi"]), two))?.len(), 2);
    Ok(())
}

fn kernel_end() -> Outcome {
    let switch = Switch::new("switch", SwitchOptions { snooping: false, querier: false })?;
    let host = switch.host();
    keep(host, "kept", |_| {})?;
    let before = host.interface("kept")?;
    let _io = open(host, [TapPort::new("kept")])?;
    let end = join(host, "kept")?;
    let expected =
        [Step::Mtu { from: 1500, to: 65_521 }, Step::Joined { bridge: BRIDGE.to_owned() }, Step::Up];
    assert_eq!(end.steps(), expected);
    let interface = host.interface("kept")?;
    assert!(interface.up && interface.carrier && interface.mtu == 65_521, "{interface:?}");
    let undone = end.undo();
    assert!(undone.iter().eq(expected.iter().rev()), "{undone:?}");
    let after = host.interface("kept")?;
    assert_eq!((after.up, after.mtu), (before.up, before.mtu));
    // Another device of the same name is left alone.
    let end = join(host, "kept")?;
    host.remove_link("kept")?;
    keep(host, "kept", |_| {})?;
    host.set_link("kept", true)?;
    assert_eq!(end.undo(), []);
    assert!(host.interface("kept")?.up);
    let mut config = KernelEndConfig::default();
    for (bridge, word) in [("lo", "lo is no bridge"), ("br7", "ip link add dev br7 type bridge")] {
        config.bridge = Some(bridge.to_owned());
        let error = host.run(|| KernelEnd::set_up("kept", &config)).err().ok_or("no bridge")?;
        assert!(error.to_string().contains(word), "{error}");
    }
    Ok(())
}

/// The lab's bridges have the longest MTU there is; one whose ports have less has less.
fn bridge_mtu() -> Outcome {
    let switch = Switch::new("switch", SwitchOptions { snooping: false, querier: false })?;
    let (host, other) = (switch.host(), Host::new("other")?);
    cable(Nic::new(host, "p0").mtu(1450), Nic::new(&other, "eth0").mtu(1450))?;
    host.set_mtu(BRIDGE, 1450)?;
    let mut port = TapPort::new("small");
    port.offloads = false;
    let mut io = open(host, [port])?;
    let end = join(host, "small")?;
    assert_eq!(end.steps()[0], Step::Mtu { from: 1500, to: 1450 });
    assert_eq!(host.interface("small")?.mtu, 1450);
    // An MTU may be raised again: buffers are never for less than usual.
    assert_eq!(io.capabilities(PortId(0)).longest_frame, 1522);
    assert_eq!(io.receive(&mut |frames| frames.iter().map(|_| Verdict::Pass).collect())?, 0);
    Ok(())
}
