//! The program `quickstart`, from outside: what it prints, how it ends, and that nothing of it stays.
//!
//! Where namespaces are not allowed the tests that need them say so and count as ignored.

#[cfg(target_os = "linux")]
mod arp_problem;
#[cfg(target_os = "linux")]
mod endings;
#[cfg(target_os = "linux")]
mod output;
#[cfg(target_os = "linux")]
mod program;
#[cfg(target_os = "linux")]
mod rights;
#[cfg(target_os = "linux")]
mod trials;

#[cfg(not(target_os = "linux"))]
fn main() {}

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    trials::run()
}
