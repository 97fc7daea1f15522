//! One object a frame.

use lvs_admin::explain::Plain;
use lvs_core::Verdict;
use serde::Serialize;

use crate::player::Explained;

#[derive(Serialize)]
struct Object {
    frame: u64,
    time: f64,
    what: String,
    service: Option<String>,
    connection: &'static str,
    server: Option<String>,
    why: String,
    verdict: &'static str,
    reason: Option<&'static str>,
    out: Vec<Out>,
}

#[derive(Serialize)]
struct Out {
    dst_mac: String,
    src_mac: String,
    bytes: usize,
}

/// The object of a frame, in a line.
///
/// A frame that the director holds has the verdict `transmit`: it leaves, if only later (in the `out` of the frame that
/// it waited for) or in pieces.
pub(crate) fn line(explained: &Explained) -> String {
    let explanation = &explained.explanation;
    let verdict = match explanation.verdict {
        Verdict::Hold => "transmit",
        _ => explanation.verdict_name(),
    };
    let mut why = explanation.why(&Plain);
    for remark in &explained.remarks {
        if !why.is_empty() {
            why += "; ";
        }
        why += remark;
    }
    let out = explained.out.iter().map(|left| Out {
        dst_mac: left.destination.to_string(),
        src_mac: left.source.to_string(),
        bytes: left.bytes,
    });
    let object = Object {
        frame: explained.number,
        time: explained.time.as_micros() as f64 / 1e6,
        what: explanation.what(),
        service: explanation.service().map(|key| key.to_string()),
        connection: explanation.connection().name(),
        server: explanation.server().map(|address| address.to_string()),
        why,
        verdict,
        reason: explanation.reason().map(lvs_core::DropReason::slug),
        out: out.collect(),
    };
    serde_json::to_string(&object).expect("plain values") + "\n"
}
