//! When a check asks, and how many answers it takes to believe them.

use std::time::Duration;

use super::ConfigError;

/// What a server is held to be before its first result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Assume {
    /// Up, so that a director that has just started serves at once. It takes `fall` failures to lose it. The default, as with
    /// keepalived.
    #[default]
    Up,
    /// Down (`alpha`): nobody is sent there before one success. One is enough, since nothing has been wrong yet.
    Down,
}

/// When a check asks.
///
/// ```text
///  up    probe ──ok──┐ interval from start to start, less a random part of it (jitter)
///          ▲         │
///          └─────────┘  fails: again after retry_delay, `fall` failures in a row ──► down
///  down  probe ──fails── interval; `rise` successes in a row ──► up
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// From the start of one probe to the start of the next (`delay_loop`). 10 ms to 1 day. Default 2 s. Shorter finds a dead
    /// server sooner and costs more.
    pub interval: Duration,
    /// How long an answer may take (`connect_timeout`, `misc_timeout`), all of a page included. 1 ms to 10 min. Default 1 s. Above
    /// what the server needs under load: a slow server that is taken away makes the others slower.
    pub timeout: Duration,
    /// By how much an interval may be shorter, in percent, drawn anew each time; 0 to 50. Default 10. It keeps checks that met
    /// by accident from staying together. It never makes an interval longer, so bounds hold.
    pub jitter_percent: u32,
    /// So many failures in a row make a server down (`retry` + 1). 1 to 1000. Default 2: one lost frame is nobody's fault.
    pub fall: u32,
    /// So many successes in a row make it up again. 1 to 1000. Default 2. keepalived knows 1 only.
    pub rise: u32,
    /// From a failure to the next probe, while failures are being counted (`delay_before_retry`). At most 1 day. Default 0.2 s.
    pub retry_delay: Duration,
    /// What holds before the first result. Default up.
    pub assume: Assume,
    /// First probes are spread over this time (`warmup`). At most 1 day. Default: the interval, so that load is even from the
    /// beginning.
    pub warmup: Option<Duration>,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(2),
            timeout: Duration::from_secs(1),
            jitter_percent: 10,
            fall: 2,
            rise: 2,
            retry_delay: Duration::from_millis(200),
            assume: Assume::Up,
            warmup: None,
        }
    }
}

impl Timing {
    /// The longest time from the moment a server stops answering until it gets no new connections:
    /// `interval + timeout + (fall - 1) * (retry_delay + timeout)`. With `fall` 1 that is one interval and one time-out. A server
    /// that refuses instead of keeping silent is found a time-out a probe sooner.
    #[must_use]
    pub fn detection_bound(&self) -> Duration {
        let more = (self.retry_delay + self.timeout).saturating_mul(self.fall.saturating_sub(1));
        self.interval + self.timeout + more
    }

    /// The longest time from the moment a server answers again until it gets new connections, unless flap damping holds it:
    /// `rise * max(interval, timeout) + timeout`.
    #[must_use]
    pub fn recovery_bound(&self) -> Duration {
        self.interval.max(self.timeout).saturating_mul(self.rise) + self.timeout
    }

    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        const DAY: Duration = Duration::from_secs(86_400);
        if !(Duration::from_millis(10)..=DAY).contains(&self.interval) {
            return Err(ConfigError::Interval);
        }
        if !(Duration::from_millis(1)..=Duration::from_secs(600)).contains(&self.timeout) {
            return Err(ConfigError::Timeout);
        }
        match self {
            Self { retry_delay, .. } if *retry_delay > DAY => Err(ConfigError::RetryDelay),
            Self { warmup: Some(warmup), .. } if *warmup > DAY => Err(ConfigError::Warmup),
            Self { fall, .. } if !(1..=1000).contains(fall) => Err(ConfigError::Fall),
            Self { rise, .. } if !(1..=1000).contains(rise) => Err(ConfigError::Rise),
            Self { jitter_percent: 51.., .. } => Err(ConfigError::Jitter),
            _ => Ok(()),
        }
    }
}

/// Keeps a server out that goes up and down and up.
///
/// A penalty in seconds runs off by itself as time passes. Every time the server goes down, `cost` is added, up to `max`. A fall that
/// brings it above `suppress` makes the server held: it gets no new connections, whatever its checks say, until the penalty is
/// down to `reuse`. So nobody is held longer than `max - reuse` after the last fall. A service is never left without any server by
/// this: where nobody else is up, held servers serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Damping {
    /// What a fall costs. Default 60 s.
    pub cost: Duration,
    /// Above this penalty a server is held. Default 150 s: the third fall within 15 s intervals, or the fourth within 30 s.
    pub suppress: Duration,
    /// At this penalty it is let go. Default 60 s.
    pub reuse: Duration,
    /// The penalty never gets above this. Default 300 s: held for 4 minutes after the last fall at most.
    pub max: Duration,
}

impl Default for Damping {
    fn default() -> Self {
        Self {
            cost: Duration::from_secs(60),
            suppress: Duration::from_secs(150),
            reuse: Duration::from_secs(60),
            max: Duration::from_secs(300),
        }
    }
}

impl Damping {
    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        let ordered = self.reuse < self.suppress && self.suppress < self.max;
        if ordered && self.max <= Duration::from_secs(86_400) { Ok(()) } else { Err(ConfigError::Damping) }
    }
}
