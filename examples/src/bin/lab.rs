//! `lab`: a cluster without a director, to try one in: a client behind a router, a host for the director, and real servers that hold the
//! VIP and keep quiet about it, each a network namespace with a TCP/IP stack of its own. docs/operating.md can be followed in it.
//!
//! ```text
//! client ── router ──┬── director (nobody answers for the VIP yet)
//!                    ├── server1
//!                    └── server2 ...
//! ```
//! It needs no root where users may make namespaces, changes nothing outside of its own, and leaves nothing behind. It runs no director
//! and checks nothing: `quickstart` does.

#[cfg(not(target_os = "linux"))]
fn main() -> std::process::ExitCode {
    eprintln!("lab: network namespaces are Linux's; `quickstart` simulates a cluster on any system");
    std::process::ExitCode::from(2)
}

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    linux::main()
}

#[cfg(target_os = "linux")]
mod linux {
    use std::io::Write;
    use std::process::ExitCode;
    use std::time::Duration;

    use clap::{Parser, value_parser};
    use lvs_testkit::lab::{self, Interrupt, Topology, TopologyOptions, http};

    /// It could not be built.
    const FAILED: u8 = 2;

    /// A cluster without a director, to try one in. Stays up until Ctrl-C.
    #[derive(Debug, Parser)]
    #[command(name = "lab", version, max_term_width = 100)]
    struct Options {
        /// How many real servers, 1 to 16
        #[arg(long, value_name = "N", default_value_t = 3, value_parser = value_parser!(u8).range(1..=16))]
        servers: u8,
    }

    pub(super) fn main() -> ExitCode {
        let options = Options::parse();
        match run(&options) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("lab: {error}");
                ExitCode::from(FAILED)
            }
        }
    }

    fn run(options: &Options) -> Result<(), Box<dyn std::error::Error>> {
        let interrupt = Interrupt::install()?;
        lab::enter()?;
        // Without offloads frames are as on a wire, which AF_XDP needs.
        let net = Topology::b(TopologyOptions {
            servers: usize::from(options.servers),
            offload: false,
            ..TopologyOptions::default()
        })?;
        // Each server's page is its name.
        let web = |server: &lab::RealServer| {
            http::Server::start(&server.host, ([0; 16], 80).into(), server.host.name())
        };
        let _web = net.servers.iter().map(web).collect::<Result<Vec<_>, _>>()?;
        // Whoever closed the pipe does not want it.
        let _ = std::io::stdout().lock().write_all(description(&net).as_bytes());
        while !interrupt.wait(Duration::from_secs(3600)) {}
        Ok(())
    }

    /// Who is there, and how to get to him.
    fn description(net: &Topology) -> String {
        let mut text = format!("VIP {}, web servers on port 80; no director yet\n", net.vips.v4);
        let mut host = |host: &lab::Host, addresses: String| {
            text += &format!("\n{} {addresses}\n  {}\n", host.name(), host.enter_command());
        };
        host(&net.client, net.client_addresses.v4.to_string());
        if let (Some(router), Some(gateway)) = (&net.router, &net.gateway) {
            host(router, gateway.v4.to_string());
        }
        host(&net.director, net.dips[0][0].address().to_string());
        for server in &net.servers {
            host(&server.host, server.addresses.v4.to_string());
        }
        text + "\nEach command opens a shell in a host. Up until Ctrl-C.\n"
    }
}
