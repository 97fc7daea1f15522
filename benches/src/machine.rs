//! What a program ran on.

use std::fmt;

/// The machine, as far as it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// The processor's name.
    pub processor: String,
    /// How many of them this process may use.
    pub processors: usize,
    /// The operating system and its release.
    pub system: String,
}

impl Machine {
    /// Looks.
    #[must_use]
    pub fn look() -> Self {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        let release = read("/proc/sys/kernel/osrelease");
        Self {
            processor: model(&read("/proc/cpuinfo")).unwrap_or(std::env::consts::ARCH).to_owned(),
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            system: format!("{} {}", std::env::consts::OS, release.trim()).trim_end().to_owned(),
        }
    }
}

fn model(cpuinfo: &str) -> Option<&str> {
    let line = cpuinfo.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim())
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} usable), {}", self.processor, self.processors, self.system)
    }
}

/// Bytes of memory that can be had without swapping; `None` where the system does not say.
#[must_use]
pub fn memory_available() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}

/// The processors that this process may use, by number. Empty where the system does not say.
#[cfg(target_os = "linux")]
#[must_use]
pub fn processors() -> Vec<usize> {
    use nix::sched::{CpuSet, sched_getaffinity};
    let Ok(usable) = sched_getaffinity(nix::unistd::Pid::from_raw(0)) else { return Vec::new() };
    (0..CpuSet::count()).filter(|processor| usable.is_set(*processor).unwrap_or(false)).collect()
}

/// The processors that this process may use, by number. Empty where the system does not say.
#[cfg(not(target_os = "linux"))]
#[must_use]
pub fn processors() -> Vec<usize> {
    Vec::new()
}

/// Keeps the calling thread on the `nth` of the processors that it may use, if there is more than one.
#[cfg(target_os = "linux")]
pub fn pin(nth: usize) {
    use nix::sched::{CpuSet, sched_setaffinity};
    let usable = processors();
    if usable.len() > 1 {
        let mut one = CpuSet::new();
        // Nothing depends on it but the steadiness of the figures.
        let _ = one
            .set(usable[nth % usable.len()])
            .and_then(|()| sched_setaffinity(nix::unistd::Pid::from_raw(0), &one));
    }
}

/// Keeps the calling thread on a processor, where that can be done.
#[cfg(not(target_os = "linux"))]
pub const fn pin(_nth: usize) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_processor() {
        let text = "processor\t: 0\nvendor_id\t: X\nmodel name\t: An Imaginary 9000\nstepping\t: 1\n";
        assert_eq!(model(text), Some("An Imaginary 9000"));
        assert_eq!(model("processor : 0\n"), None);
        assert!(!Machine::look().to_string().contains("()"));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn finds_the_memory() {
        assert!(memory_available().unwrap() > 1 << 20);
    }
}
