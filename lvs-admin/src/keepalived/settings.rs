//! Settings that a virtual server gives to its real servers, and these to their checks, each unless it has its own.

use std::time::Duration;

use super::tree::Node;
use crate::config::FileError;
use crate::config::health::{self, CheckKind, Timing};

/// What was said so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Settings {
    delay_loop: Option<Duration>,
    connect_timeout: Option<Duration>,
    retry: Option<u32>,
    delay_before_retry: Option<Duration>,
    warmup: Option<Duration>,
    pub(super) alpha: bool,
    pub(super) inhibit_on_failure: bool,
    pub(super) virtual_host: Option<String>,
}

impl Settings {
    /// The same with what the nodes say; other words are not looked at.
    pub(super) fn with(&self, nodes: &[&Node]) -> Result<Self, FileError> {
        let mut settings = self.clone();
        for node in nodes {
            match node.keyword.as_str() {
                "delay_loop" => settings.delay_loop = Some(node.timer(false)?),
                "connect_timeout" => settings.connect_timeout = Some(node.timer(false)?),
                "retry" | "nb_get_retry" => settings.retry = Some(node.number(0..=health::MAX_RETRY)?),
                "delay_before_retry" => settings.delay_before_retry = Some(node.timer(true)?),
                "warmup" => settings.warmup = Some(node.timer(true)?),
                "alpha" => settings.alpha = node.switch()?,
                "inhibit_on_failure" => settings.inhibit_on_failure = node.switch()?,
                "virtualhost" => settings.virtual_host = Some(node.text(false)?),
                _ => {}
            }
        }
        Ok(settings)
    }

    pub(super) fn delay_loop(&self) -> Duration {
        self.delay_loop.unwrap_or(Timing::DELAY_LOOP)
    }

    /// All of it for a check of that kind.
    pub(super) fn timing(&self, kind: &CheckKind) -> Timing {
        let delay_loop = self.delay_loop();
        Timing {
            delay_loop,
            connect_timeout: self.connect_timeout.unwrap_or(Timing::CONNECT_TIMEOUT),
            retry: self.retry.unwrap_or(kind.default_retry()),
            rise: 1,
            delay_before_retry: self
                .delay_before_retry
                .unwrap_or_else(|| kind.default_delay_before_retry(delay_loop)),
            warmup: self.warmup.unwrap_or(delay_loop),
        }
    }
}
