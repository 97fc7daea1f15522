//! How a port's frames come and go, for logs.

use std::fmt;

/// How a port's frames come and go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Mode {
    /// The redirect program runs in the driver (native), or behind it (generic).
    pub native: bool,
    /// Frames go between memory and device without a copy by the kernel.
    pub zero_copy: bool,
    /// How many receive queues the interface has. Each has a socket; those of a group are shared out among the workers.
    pub queues: u16,
}

/// As in `native, zero-copy, 4 queues`.
impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if self.native { "native" } else { "generic" };
        let copy = if self.zero_copy { "zero-copy" } else { "copy mode" };
        let plural = if self.queues == 1 { "" } else { "s" };
        write!(f, "{place}, {copy}, {} queue{plural}", self.queues)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_says_all_of_it() {
        assert_eq!(
            Mode { native: true, zero_copy: true, queues: 4 }.to_string(),
            "native, zero-copy, 4 queues"
        );
        assert_eq!(
            Mode { native: false, zero_copy: false, queues: 1 }.to_string(),
            "generic, copy mode, 1 queue"
        );
    }
}
