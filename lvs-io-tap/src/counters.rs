//! What the kernel counts of a device besides what we count.

use std::fs;

/// Frames to the device that found its queues full, since it was made; `None` if it is not in the calling thread's network
/// namespace, or the kernel does not tell.
pub(crate) fn dropped(device: &str) -> Option<u64> {
    parse(&fs::read_to_string("/proc/thread-self/net/dev").ok()?, device)
}

/// The twelfth figure behind the name (proc_net(5)): the kernel's end sends what we receive.
fn parse(text: &str, device: &str) -> Option<u64> {
    let figures = text.lines().find_map(|line| line.trim().strip_prefix(device)?.strip_prefix(':'))?;
    figures.split_whitespace().nth(11)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figure_is_that_of_the_device_and_of_nobody_else() {
        let text = "Inter-|   Receive  |  Transmit\n face |bytes packets\n  tap01: 0 0 0 9 0 0 0 0 0 0 0 8 0 0 0 0\n\
                    \x20  tap0: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n  bad: 1 2\n";
        assert_eq!(parse(text, "tap0"), Some(12));
        assert_eq!(parse(text, "tap01"), Some(8));
        assert_eq!((parse(text, "tap"), parse(text, "bad"), parse(text, "")), (None, None, None));
        assert_eq!(dropped("lo"), Some(0));
    }
}
