//! The crate against the running kernel, in network namespaces of its own. Needs root or unprivileged user namespaces; where
//! there are neither, says so and ignores every test.

use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Failed, Trial};
use lvs_core::io::{IoEvent, PortId};
use lvs_netdev::{Device, DeviceError, LinkWatch, Look, interface_mac, interface_mtu, interface_names};
use lvs_testkit::lab::{self, Host, Nic, cable};

type Outcome = Result<(), Failed>;

/// A name and what to run.
type Test = (&'static str, fn() -> Outcome);

fn main() {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    let entered = lab::enter();
    if let Err(reason) = &entered {
        eprintln!("SKIPPED, all tests with the kernel: {reason}");
    }
    let tests: [Test; 5] = [
        ("interfaces_are_described", description),
        ("an_interface_is_asked_where_it_was_found", namespaces),
        ("changes_of_a_link_are_told_once", changes),
        ("an_interface_of_the_same_name_is_told_apart", replaced),
        ("offloads_are_as_they_were_set", offloads),
    ];
    let trials =
        tests.into_iter().map(|(name, test)| Trial::test(name, test).with_ignored_flag(entered.is_err()));
    libtest_mimic::run(&arguments, trials.collect()).exit();
}

/// Two hosts with a cable.
fn hosts() -> Result<(Host, Host), Failed> {
    let (near, far) = (Host::new("near")?, Host::new("far")?);
    cable(Nic::new(&near, "eth0"), Nic::new(&far, "eth0"))?;
    Ok((near, far))
}

fn description() -> Outcome {
    let (near, far) = hosts()?;
    near.set_mtu("eth0", 1400)?;
    let truth = near.interface("eth0")?;
    near.run(|| -> Outcome {
        assert_eq!(interface_mac("eth0")?, truth.mac);
        assert_eq!(interface_mtu("eth0")?, 1400);
        assert_eq!(interface_names(), ["lo", "eth0"]);
        let device = Device::find("eth0")?;
        assert_eq!((device.index()?, device.name()), (truth.index, "eth0"));
        // IFF_UP, IFF_BROADCAST, IFF_RUNNING.
        assert_eq!(device.flags()? & 0x43, 0x43);
        let queues = device.queues()?.ok_or("veth tells its queues")?;
        assert!(
            (queues.used, queues.sending) == (1, 1) && queues.most >= 1 && !queues.combined,
            "{queues:?}"
        );
        let error = Device::find("eth7").err().ok_or("there is no eth7")?;
        assert_eq!(
            error.to_string(),
            "there is no interface \"eth7\" in this network namespace; there are: lo, eth0"
        );
        Ok(())
    })?;
    assert_ne!(far.run(|| interface_mac("eth0"))?, truth.mac);
    Ok(())
}

fn namespaces() -> Outcome {
    let (near, far) = hosts()?;
    let device = near.run(|| Device::find("eth0"))?;
    near.set_mtu("eth0", 1300)?;
    assert_eq!(far.run(|| device.mtu())?, 1300);
    near.remove_link("eth0")?;
    assert!(matches!(device.mtu(), Err(DeviceError::NoSuchInterface { .. })));
    assert!(!device.is_running());
    Ok(())
}

const PORT: PortId = PortId(3);
const DOWN: Option<IoEvent> = Some(IoEvent::LinkDown(PORT));
const UP: Option<IoEvent> = Some(IoEvent::LinkUp(PORT));

/// Looks until there is an event; real time passes.
fn next_event(watch: &mut LinkWatch) -> Option<IoEvent> {
    let end = Instant::now() + Duration::from_secs(5);
    while !watch.has_event() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(5));
        let _ = watch.look(Instant::now());
    }
    watch.poll_event(PORT)
}

fn changes() -> Outcome {
    let (near, far) = hosts()?;
    let mut watch = near.run(|| LinkWatch::new(Device::find("eth0")?, Instant::now()))?;
    assert_eq!(watch.poll_event(PORT), UP);
    assert_eq!(watch.look(Instant::now()), Look::NotDue);
    // At the other end, and at this one.
    for host in [&far, &near] {
        host.set_link("eth0", false)?;
        assert_eq!(next_event(&mut watch), DOWN);
        assert!(!watch.is_up() && !watch.has_event());
        host.set_link("eth0", true)?;
        assert_eq!(next_event(&mut watch), UP);
        assert!(watch.is_up() && !watch.has_event());
    }
    watch.went_down(Instant::now());
    assert_eq!(next_event(&mut watch), DOWN);
    assert_eq!(next_event(&mut watch), UP, "the next look sees what is true");
    Ok(())
}

fn replaced() -> Outcome {
    let (near, far) = hosts()?;
    let mut watch = near.run(|| LinkWatch::new(Device::find("eth0")?, Instant::now()))?;
    assert_eq!(watch.poll_event(PORT), UP);
    near.remove_link("eth0")?;
    assert_eq!(next_event(&mut watch), DOWN);
    cable(Nic::new(&near, "eth0"), Nic::new(&far, "eth0"))?;
    let later = |seconds| Instant::now() + Duration::from_secs(seconds);
    let index = near.interface("eth0")?.index;
    assert_eq!(watch.look(later(2)), Look::Replaced(index));
    assert!(!watch.is_up());
    watch.lost();
    assert_eq!(watch.look(later(4)), Look::Replaced(index), "again, as nobody followed");
    watch.follow(index, later(4));
    assert_eq!((watch.index(), watch.poll_event(PORT)), (index, UP));
    assert_eq!(watch.look(later(8)), Look::Same);
    Ok(())
}

fn offloads() -> Outcome {
    let (near, _far) = hosts()?;
    let device = near.run(|| Device::find("eth0"))?;
    for on in [true, false, true] {
        near.set_features("eth0", &[("rx-gro", on), ("rx-vlan-hw-parse", on)])?;
        let offloads = device.receive_offloads();
        assert_eq!((offloads.gro, offloads.vlan, offloads.lro), (on, on, false));
    }
    Ok(())
}
