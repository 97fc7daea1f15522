//! From observations to an explanation.

use lvs_core::observe::Observation;
use lvs_core::{MacAddr, Verdict};

use super::{Explanation, Scheduled, Step, What};

/// Takes the observations of frames, one frame after the other.
///
/// Memory is that of one frame and its steps; it is used again for the next.
#[derive(Debug, Default)]
pub struct Notes {
    explanation: Option<Explanation>,
    /// The frame's bytes as they came.
    before: Vec<u8>,
}

impl Notes {
    /// For the first frame.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes an observation. Answers the explanation when it was the frame's last one, the verdict; it stays until the
    /// next frame comes.
    ///
    /// Takes time in proportion to the frame's length and, when a scheduler was asked, to the number of servers.
    pub fn note(&mut self, observation: &Observation<'_>) -> Option<&Explanation> {
        match *observation {
            Observation::Frame { bytes, meta, packet, interface, .. } => {
                let what = What::of(bytes, meta, packet, interface.is_some());
                self.begin(what, bytes);
            }
            Observation::Verdict { verdict, bytes } => return self.end(verdict, bytes),
            ref other => {
                if let (Some(explanation), Some(step)) = (&mut self.explanation, step(other)) {
                    explanation.steps.push(step);
                }
            }
        }
        None
    }

    fn begin(&mut self, frame: What, bytes: &[u8]) {
        self.before.clear();
        self.before.extend_from_slice(bytes);
        let mut steps = self.explanation.take().map(|last| last.steps).unwrap_or_default();
        steps.clear();
        // Verdict and what follows from it are filled in at the end.
        let (verdict, macs) = (Verdict::Pass, (MacAddr::default(), MacAddr::default()));
        self.explanation = Some(Explanation { frame, steps, verdict, macs, changed: 0, length: 0 });
    }

    fn end(&mut self, verdict: Verdict, bytes: &[u8]) -> Option<&Explanation> {
        let explanation = self.explanation.as_mut()?;
        let mac = |at: usize| bytes.get(at..at + 6).and_then(|mac| mac.first_chunk()).copied().map(MacAddr);
        let changed = self.before.iter().zip(bytes).skip(12).filter(|(a, b)| a != b).count();
        explanation.verdict = verdict;
        explanation.macs = (mac(0).unwrap_or_default(), mac(6).unwrap_or_default());
        explanation.changed = changed + self.before.len().abs_diff(bytes.len());
        explanation.length = bytes.len();
        Some(explanation)
    }
}

/// The step that an observation between the first and the last tells of.
fn step(observation: &Observation<'_>) -> Option<Step> {
    Some(match *observation {
        Observation::Known { before, after, destination, .. } => Step::Known { before, after, destination },
        Observation::Forgotten { because, .. } => Step::Forgotten(because),
        Observation::Service { key } => Step::Service(key),
        Observation::OnePacket => Step::OnePacket,
        Observation::Scheduled { flow, scheduler, state, servers, picked, grounds } => {
            let flow = (flow.client(), flow.virtual_socket());
            let servers = servers.to_vec();
            Step::Scheduled(Scheduled { scheduler, flow, state, servers, picked, grounds })
        }
        Observation::Persisted { destination, .. } => Step::Persisted { destination },
        Observation::Hashed { servers, picked, because } => {
            Step::Hashed { destination: servers.get(picked)?.address, because }
        }
        Observation::Quoted { flow, destination } => {
            let (protocol, flow) = (flow.protocol(), (flow.client(), flow.virtual_socket()));
            Step::Quoted { protocol, flow, destination }
        }
        Observation::Piece { destination } => Step::Piece { destination },
        Observation::Held { because } => Step::Held(because),
        Observation::Answered { answer } => Step::Answered(answer),
        _ => return None,
    })
}
