//! One object a frame.

use lvs_admin::json::{Explained as Object, Sent};

use crate::player::Explained;

/// The object of a frame, in a line. What is to be said besides stands behind the reasons.
pub(crate) fn line(explained: &Explained) -> String {
    let time = explained.time.as_micros() as f64 / 1e6;
    let mut object = Object::new(explained.number, time, &explained.explanation);
    for remark in &explained.remarks {
        if !object.why.is_empty() {
            object.why += "; ";
        }
        object.why += remark;
    }
    let out = explained.out.iter();
    object.out = out.map(|left| Sent::new(left.destination, left.source, left.bytes)).collect();
    serde_json::to_string(&object).expect("plain values") + "\n"
}
