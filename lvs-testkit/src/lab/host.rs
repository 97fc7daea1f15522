//! A host: a network namespace with a TCP/IP stack of its own, and threads that work inside.

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use nix::sched::{CloneFlags, setns, unshare};

use super::enter::{entered, in_user_namespace};
use super::error::{Context, LabError};
use super::netlink::{NETLINK_ROUTE, Netlink};
use super::task::{Stop, Task};

/// A network namespace of this process. Clones are the same host; it goes with the last of them.
#[derive(Clone)]
pub struct Host(Arc<Inner>);

struct Inner {
    name: String,
    namespace: File,
    netlink: Mutex<Netlink>,
}

/// Set in every new host: what a namespace inherits depends on the machine, and noise that nobody asked
/// for (router solicitations, duplicate address detection) makes captures differ from run to run.
const SYSCTLS: &[(&str, &str)] = &[
    ("net/ipv4/ip_forward", "0"),
    ("net/ipv4/conf/all/arp_ignore", "0"),
    ("net/ipv4/conf/default/arp_ignore", "0"),
    ("net/ipv4/conf/all/arp_announce", "0"),
    ("net/ipv4/conf/default/arp_announce", "0"),
    ("net/ipv4/conf/all/arp_filter", "0"),
    ("net/ipv4/conf/default/arp_filter", "0"),
    ("net/ipv4/conf/all/rp_filter", "0"),
    ("net/ipv4/conf/default/rp_filter", "0"),
    ("net/ipv4/conf/all/send_redirects", "0"),
    ("net/ipv4/conf/default/send_redirects", "0"),
    ("net/ipv6/conf/all/forwarding", "0"),
    ("net/ipv6/conf/all/disable_ipv6", "0"),
    ("net/ipv6/conf/default/disable_ipv6", "0"),
    ("net/ipv6/conf/default/accept_dad", "0"),
    ("net/ipv6/conf/default/dad_transmits", "0"),
    ("net/ipv6/conf/default/accept_ra", "0"),
    ("net/ipv6/conf/default/router_solicitations", "0"),
];

impl Host {
    /// A host with nothing but `lo`, which is up. All ARP settings are the kernel's defaults, nothing is
    /// forwarded, reverse path filters are off; IPv6 (where the kernel has it) runs without duplicate
    /// address detection and router solicitations.
    ///
    /// # Errors
    /// If [`enter`](super::enter) was not called, or the kernel refuses.
    pub fn new(name: &str) -> Result<Self, LabError> {
        let fail = |error: io::Error| LabError::new(format!("host {name}"), error);
        entered().map_err(fail)?;
        let (namespace, netlink) = thread::scope(|scope| scope.spawn(make_namespace).join())
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            .map_err(fail)?;
        let host = Self(Arc::new(Inner { name: name.to_owned(), namespace, netlink: Mutex::new(netlink) }));
        host.set_link("lo", true)?;
        Ok(host)
    }

    /// The name it was given.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Runs `work` on a thread inside the host and waits for its result. Sockets made inside belong to
    /// the host and may be used anywhere afterwards.
    ///
    /// # Panics
    /// With the panic of `work`; or if the system has no thread left.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let thread = thread::Builder::new().name(self.0.name.clone()).spawn_scoped(scope, || {
                self.move_in();
                work()
            });
            thread.expect("the system has a thread left").join()
        })
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Starts a thread inside the host that works until it is told to stop, which happens when the
    /// handle is dropped at the latest. Threads that it starts are in the host too.
    ///
    /// # Panics
    /// If the system has no thread left.
    pub fn spawn<T: Send + 'static>(&self, work: impl FnOnce(&Stop) -> T + Send + 'static) -> Task<T> {
        let host = self.clone();
        Task::start(&self.0.name, move |stop| {
            host.move_in();
            work(stop)
        })
        .expect("the system has a thread left")
    }

    /// Sets a sysctl, as in `host.sysctl("net.ipv4.conf.eth0.arp_ignore", "1")`. Names with slashes
    /// instead of dots are taken as they are (for interfaces with a dot in their name).
    ///
    /// # Errors
    /// If there is no such sysctl, or the kernel refuses the value.
    pub fn sysctl(&self, name: &str, value: &str) -> Result<(), LabError> {
        let path = sysctl_path(name);
        self.run(|| fs::write(&path, value)).context(|| format!("{}: sysctl {name}={value}", self.name()))
    }

    /// Reads a sysctl.
    ///
    /// # Errors
    /// If there is no such sysctl.
    pub fn read_sysctl(&self, name: &str) -> Result<String, LabError> {
        let path = sysctl_path(name);
        let text =
            self.run(|| fs::read_to_string(&path)).context(|| format!("{}: sysctl {name}", self.name()))?;
        Ok(text.trim_end().to_owned())
    }

    /// Lets the host forward, IPv4 and IPv6: makes it a router.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn forward(&self) -> Result<(), LabError> {
        self.sysctl("net.ipv4.ip_forward", "1")?;
        self.sysctl("net.ipv6.conf.all.forwarding", "1")
    }

    /// Holds a virtual IP address as a real server does: on `lo`, alone in its subnet (/32 or /128).
    ///
    /// # Errors
    /// If the host has it already.
    pub fn hold_vip(&self, vip: IpAddr) -> Result<(), LabError> {
        self.add_address("lo", super::route::host_subnet(vip))
    }

    /// Gives a virtual IP address up.
    ///
    /// # Errors
    /// If the host does not have it.
    pub fn release_vip(&self, vip: IpAddr) -> Result<(), LabError> {
        self.remove_address("lo", super::route::host_subnet(vip))
    }

    /// Makes a real server silent about its VIPs: `arp_ignore=1` and `arp_announce=2`, on `all` and on
    /// `interface`. `false` restores the kernel's defaults, under which it answers.
    ///
    /// # Errors
    /// If there is no such interface.
    pub fn quiet_arp(&self, interface: &str, quiet: bool) -> Result<(), LabError> {
        let (ignore, announce) = if quiet { ("1", "2") } else { ("0", "0") };
        for place in ["all", interface] {
            self.sysctl(&format!("net/ipv4/conf/{place}/arp_ignore"), ignore)?;
            self.sysctl(&format!("net/ipv4/conf/{place}/arp_announce"), announce)?;
        }
        Ok(())
    }

    /// A shell command that enters the host from outside, while this process lives.
    #[must_use]
    pub fn enter_command(&self) -> String {
        let process = std::process::id();
        let descriptor = self.0.namespace.as_raw_fd();
        // A user namespace that one is in already cannot be entered, so root must not name it.
        let user = if in_user_namespace() {
            format!(" --preserve-credentials --user=/proc/{process}/ns/user")
        } else {
            String::new()
        };
        format!("nsenter{user} --net=/proc/{process}/fd/{descriptor}")
    }

    /// The descriptor of the namespace, for moving devices into it.
    pub(super) fn descriptor(&self) -> i32 {
        self.0.namespace.as_raw_fd()
    }

    pub(super) fn netlink(&self) -> MutexGuard<'_, Netlink> {
        // A panic between request and answer leaves an answer with an old sequence number: harmless.
        self.0.netlink.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn move_in(&self) {
        setns(&self.0.namespace, CloneFlags::CLONE_NEWNET).expect("a thread may enter a namespace it made");
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Host").field(&self.0.name).finish()
    }
}

/// Runs on a thread that ends afterwards, so the rest of the process stays where it is.
fn make_namespace() -> io::Result<(File, Netlink)> {
    unshare(CloneFlags::CLONE_NEWNET)?;
    for (name, value) in SYSCTLS {
        match fs::write(sysctl_path(name), value) {
            // A kernel without IPv6 is no reason to give up before anybody wants IPv6.
            Err(error) if error.kind() == io::ErrorKind::NotFound && name.contains("ipv6") => {}
            Err(error) => return Err(io::Error::new(error.kind(), format!("sysctl {name}: {error}"))),
            Ok(()) => {}
        }
    }
    Ok((File::open("/proc/thread-self/ns/net")?, Netlink::open(NETLINK_ROUTE)?))
}

fn sysctl_path(name: &str) -> String {
    if name.contains('/') {
        format!("/proc/sys/{name}")
    } else {
        format!("/proc/sys/{}", name.replace('.', "/"))
    }
}
