//! What AF_XDP cannot live with: frames whose checksums were left to hardware, and frames that were merged.

use lvs_core::Frame;
use lvs_doctor::{Check, Fault, Finding, Outcome};
use lvs_netdev::{Device, ReceiveOffloads};

use crate::report::Report;

/// What was heard on an interface that AF_XDP could not have carried on.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Unfit {
    unfinished: u64,
    merged: u64,
}

impl Unfit {
    pub(crate) fn look(&mut self, frame: &Frame<'_>) {
        // What the kernel merged has an unfinished checksum besides, and that is not its sender's doing.
        if frame.meta().gso.is_some() {
            self.merged += 1;
        } else if frame.meta().checksum.is_some() {
            self.unfinished += 1;
        }
    }

    pub(crate) fn tell(self, name: &str, report: &mut Report) {
        // An interface that has gone meanwhile merges nothing.
        let offloads = Device::find(name).map(|device| device.receive_offloads()).unwrap_or_default();
        for (check, finding) in [self.unfinished(name), self.merged(name, offloads)] {
            report.checks.push(check);
            report.findings.extend(finding);
        }
    }

    fn unfinished(self, name: &str) -> (Check, Option<Finding>) {
        let what = format!("frames come in complete on {name}, as AF_XDP needs them");
        if self.unfinished == 0 {
            return (Check::new(Outcome::Passed, what, ""), None);
        }
        let evidence = format!(
            "{} frames came in on {name} whose checksums the sender left to hardware; AF_XDP passes them on unfinished, and \
             whoever gets them throws them away",
            self.unfinished
        );
        let cure = vec![
            format!(
                "# at the other ends of the virtual cables that lead to {name} (PEER: their interfaces):"
            ),
            "ethtool -K PEER tx off".to_owned(),
            "# or run the director with --io afpacket, which carries them".to_owned(),
        ];
        let finding = Finding { cure, ..Finding::new(Fault::UnfinishedChecksums, evidence) };
        (Check::new(Outcome::Failed, what, ""), Some(finding))
    }

    fn merged(self, name: &str, offloads: ReceiveOffloads) -> (Check, Option<Finding>) {
        let what = format!("frames come in unmerged on {name}, as AF_XDP needs them");
        let merged = self.merged;
        let (evidence, cure) = match offloads {
            ReceiveOffloads { lro: true, .. } => (
                format!(
                    "LRO of {name} is on: the device merges TCP segments into frames that are longer than AF_XDP can carry, \
                     and they get lost ({merged} came in meanwhile)"
                ),
                format!("ethtool -K {name} lro off"),
            ),
            _ if merged > 0 => (
                format!(
                    "{merged} merged frames came in on {name}, which are longer than AF_XDP can carry; with GRO that concerns \
                     generic mode only"
                ),
                format!("ethtool -K {name} lro off gro off"),
            ),
            // On with nearly every card, and harmless with nearly every driver: no finding by itself.
            ReceiveOffloads { gro: true, .. } => {
                let detail = "none did, but GRO is on; it matters where the driver cannot run XDP programs";
                return (Check::new(Outcome::Unknown, what, detail), None);
            }
            _ => return (Check::new(Outcome::Passed, what, ""), None),
        };
        let finding = Finding { cure: vec![cure], ..Finding::new(Fault::MergedFrames, evidence) };
        (Check::new(Outcome::Failed, what, ""), Some(finding))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_merges_is_a_fault_and_a_kernel_that_may_is_none_until_it_does() {
        let judge = |lro, gro, merged| {
            let unfit = Unfit { unfinished: 0, merged };
            let (check, finding) = unfit.merged("eth7", ReceiveOffloads { lro, gro, vlan: true });
            (check.outcome, finding.map(|finding| (finding.fault, finding.cure.join("\n"))))
        };
        let fault = |cure: &str| (Outcome::Failed, Some((Fault::MergedFrames, cure.to_owned())));
        assert_eq!(judge(false, false, 0), (Outcome::Passed, None));
        assert_eq!(judge(false, true, 0), (Outcome::Unknown, None));
        assert_eq!(judge(false, true, 1), fault("ethtool -K eth7 lro off gro off"));
        // Veth and other software devices merge without saying so.
        assert_eq!(judge(false, false, 1), fault("ethtool -K eth7 lro off gro off"));
        for (gro, merged) in [(false, 0), (true, 0), (true, 1)] {
            assert_eq!(judge(true, gro, merged), fault("ethtool -K eth7 lro off"));
        }
    }
}
