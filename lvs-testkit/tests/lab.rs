//! The lab on real kernels. Where namespaces are not allowed every test is marked ignored, aloud.

use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};

#[cfg(target_os = "linux")]
mod on_linux;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    #[cfg(target_os = "linux")]
    let trials = on_linux::trials();
    #[cfg(not(target_os = "linux"))]
    let trials = Vec::<Trial>::new();
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// A test that is ignored if it cannot run here.
#[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "there are no tests elsewhere"))]
fn trial(name: &str, possible: bool, test: fn() -> Result<(), Failed>) -> Trial {
    Trial::test(name, test).with_ignored_flag(!possible)
}
