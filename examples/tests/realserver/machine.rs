//! A real server to be, in topology B: with the kernel's defaults, without a VIP.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::fs;
use std::net::IpAddr;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Output};
use std::thread;
use std::time::{Duration, Instant};

use caps::{CapSet, Capability};
use libtest_mimic::Failed;
use lvs_core::MacAddr;
use lvs_testkit::lab::{Host, Topology, TopologyOptions};
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::route::{RouteAttribute, RouteMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getegid, geteuid};
use serde_json::Value;

use crate::Outcome;
use crate::netlink::Netlink;

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_realserver");
pub(crate) const VIP: &str = "192.168.0.250";
pub(crate) const VIP6: &str = "fd00:192::250";
pub(crate) const DIP: &str = "192.168.0.208";

/// Set for the second self: what it does before it becomes the program.
const FIRST: &str = "LVS_REALSERVER_TEST_FIRST";
/// Gives CAP_NET_ADMIN up.
const DROP: &str = "drop";
/// Moves into a user namespace of its own, in which it has every right, but none over the network it is in.
const ESTRANGE: &str = "estrange";
/// The exit code of a second self that got nowhere.
const GOT_NOWHERE: u8 = 99;

/// In the second self: becomes the program. Elsewhere `None`.
pub(crate) fn become_the_program() -> Option<ExitCode> {
    let first = std::env::var(FIRST).ok()?;
    let become_it = || -> Result<Infallible, Box<dyn std::error::Error>> {
        if first == DROP {
            // What is not in the bounding set, root does not get with its next program either.
            caps::drop(None, CapSet::Bounding, Capability::CAP_NET_ADMIN)?;
        } else {
            let (uid, gid) = (geteuid(), getegid());
            unshare(CloneFlags::CLONE_NEWUSER)?;
            fs::write("/proc/self/setgroups", "deny")?;
            fs::write("/proc/self/uid_map", format!("0 {uid} 1"))?;
            fs::write("/proc/self/gid_map", format!("0 {gid} 1"))?;
        }
        let mut command = Command::new(PROGRAM);
        Err(command.args(std::env::args_os().skip(1)).env_remove(FIRST).exec().into())
    };
    let Err(error) = become_it();
    eprintln!("the program could not be started: {error}");
    Some(ExitCode::from(GOT_NOWHERE))
}

pub(crate) struct Machine {
    pub(crate) net: Topology,
    /// The real server.
    pub(crate) host: Host,
    pub(crate) mac: MacAddr,
    directory: tempfile::TempDir,
}

/// What a run of the program left.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Machine {
    pub(crate) fn new() -> Result<Self, Failed> {
        let options = TopologyOptions { servers: 1, quiet_arp: false, hold_vip: false, ..Default::default() };
        let net = Topology::b(options)?;
        let server = &net.servers[0];
        let (host, mac) = (server.host.clone(), server.mac);
        let machine = Self { net, host, mac, directory: tempfile::tempdir()? };
        machine.settle()?;
        Ok(machine)
    }

    /// Waits until the kernel has put in all of the routes to its own IPv6 addresses, which it does a little later.
    fn settle(&self) -> Outcome {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let lists = self.host.run(kernel_lists)?;
            let count =
                |words: &[&str]| lists.iter().filter(|it| words.iter().all(|word| it.contains(word))).count();
            let addresses = count(&["NewAddress", "family: Inet6"]);
            if count(&["Tentative"]) == 0 && addresses == count(&["NewRoute", "family: Inet6", "kind: Local"])
            {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(format!("IPv6 does not settle: {lists:#?}").into());
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// The file in which the program remembers; a test may put something else there.
    pub(crate) fn state(&self) -> PathBuf {
        self.directory.path().join("lvs/realserver.json")
    }

    /// Runs the program with words separated by spaces.
    pub(crate) fn run(&self, words: &str) -> Result<Ran, Failed> {
        let mut command = Command::new(PROGRAM);
        self.output(command.args(words.split_whitespace()))
    }

    /// The same without CAP_NET_ADMIN.
    pub(crate) fn run_without_admin(&self, words: &str) -> Result<Ran, Failed> {
        self.second_self(words, DROP)
    }

    /// The same with all rights over nothing. `None`, said aloud, where user namespaces are not allowed.
    pub(crate) fn run_as_stranger(&self, words: &str) -> Result<Option<Ran>, Failed> {
        let ran = self.second_self(words, ESTRANGE)?;
        if ran.code == Some(i32::from(GOT_NOWHERE)) {
            eprintln!("SKIPPED, the rest of a test that needs a user namespace: {}", ran.stderr.trim());
            return Ok(None);
        }
        Ok(Some(ran))
    }

    fn second_self(&self, words: &str, first: &str) -> Result<Ran, Failed> {
        let mut command = Command::new(std::env::current_exe()?);
        self.output(command.args(words.split_whitespace()).env(FIRST, first))
    }

    fn output(&self, command: &mut Command) -> Result<Ran, Failed> {
        command.arg("--state").arg(self.state());
        let Output { status, stdout, stderr } = self.host.run(|| command.output())?;
        Ok(Ran {
            code: status.code(),
            stdout: String::from_utf8(stdout)?,
            stderr: String::from_utf8(stderr)?,
        })
    }

    /// A run that must end well and without complaint.
    pub(crate) fn run_well(&self, words: &str) -> Result<Ran, Failed> {
        let ran = self.run(words)?;
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{words}: {ran:#?}");
        Ok(ran)
    }

    /// What `check` finds, as ids with severity; and its exit code must agree.
    pub(crate) fn findings(&self, words: &str) -> Result<Vec<Value>, Failed> {
        let ran = self.run(&format!("check --json {words}"))?;
        let object: Value = serde_json::from_str(&ran.stdout)?;
        let found = object["findings"].as_array().ok_or("a list")?.clone();
        let ok = found.iter().all(|it| it["severity"] != "error");
        assert_eq!((&object["ok"], ran.code), (&Value::Bool(ok), Some(i32::from(!ok))), "{ran:#?}");
        Ok(found)
    }

    /// Everything that the program could have changed: all addresses and routes as the kernel lists them, and all of
    /// `net.ipv4.conf`.
    pub(crate) fn everything(&self) -> Result<Everything, Failed> {
        let mut all = self.host.run(kernel_lists)?;
        let settings = self.host.run(|| -> std::io::Result<Vec<String>> {
            let mut settings = Vec::new();
            for place in fs::read_dir("/proc/sys/net/ipv4/conf")? {
                let place = place?.path();
                for entry in fs::read_dir(&place)? {
                    let path = entry?.path();
                    // Of the write-only ones (flush) nothing can be said.
                    let value = fs::read_to_string(&path).unwrap_or_default();
                    settings.push(format!("{} {}", path.display(), value.trim()));
                }
            }
            Ok(settings)
        })?;
        all.extend(settings);
        Ok(Everything(all))
    }

    pub(crate) fn set(&self, name: &str, value: i32) -> Result<(), Failed> {
        Ok(self.host.sysctl(&format!("net.ipv4.conf.{name}"), &value.to_string())?)
    }

    pub(crate) fn value(&self, name: &str) -> Result<i32, Failed> {
        Ok(self.host.read_sysctl(&format!("net.ipv4.conf.{name}"))?.parse()?)
    }
}

/// Lines about a host. Two that differ print the difference only.
#[derive(Clone, PartialEq)]
pub(crate) struct Everything(BTreeSet<String>);

impl Everything {
    /// Checks that nothing has changed since.
    pub(crate) fn is_still(&self, now: &Self) -> Outcome {
        if self == now {
            return Ok(());
        }
        let lines = |sign, some: &Self, other: &Self| {
            some.0.difference(&other.0).map(|line| format!("{sign} {line}\n")).collect::<String>()
        };
        Err(format!("the host has changed:\n{}{}", lines('-', self, now), lines('+', now, self)).into())
    }
}

/// Addresses and routes, but for times in them.
fn kernel_lists() -> std::io::Result<BTreeSet<String>> {
    let mut netlink = Netlink::open()?;
    let mut answers = netlink.dump(RouteNetlinkMessage::GetAddress(AddressMessage::default()))?;
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut message = RouteMessage::default();
        message.header.address_family = family;
        answers.extend(netlink.dump(RouteNetlinkMessage::GetRoute(message))?);
    }
    for answer in &mut answers {
        match answer {
            RouteNetlinkMessage::NewAddress(it) => {
                it.attributes.retain(|attribute| !matches!(attribute, AddressAttribute::CacheInfo(_)));
            }
            RouteNetlinkMessage::NewRoute(it) => {
                it.attributes.retain(|attribute| !matches!(attribute, RouteAttribute::CacheInfo(_)));
            }
            _ => {}
        }
    }
    Ok(answers.iter().map(|answer| format!("{answer:?}")).collect())
}

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}
