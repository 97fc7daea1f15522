//! A question to a name server and what its answer must be (RFC 1035, section 4). No names are looked up here.

#[cfg(any(test, all(target_os = "linux", feature = "sockets")))]
use crate::config::DnsProbe;
#[cfg(any(test, all(target_os = "linux", feature = "sockets")))]
use crate::outcome::{FailureKind, Outcome};

/// Labels with their lengths, ended by an empty one. `None` if it is not a name.
pub(crate) fn encode_name(name: &str) -> Option<Vec<u8>> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let mut wire = Vec::with_capacity(name.len() + 2);
    for label in name.split('.').filter(|_| !name.is_empty()) {
        // RFC 1035, 2.3.4: "labels 63 octets or less, names 255 octets or less".
        if label.is_empty() || label.len() > 63 || !label.bytes().all(|byte| byte.is_ascii_graphic()) {
            return None;
        }
        wire.push(label.len() as u8);
        wire.extend_from_slice(label.as_bytes());
    }
    wire.push(0);
    (wire.len() <= 255).then_some(wire)
}

#[cfg(any(test, all(target_os = "linux", feature = "sockets")))]
/// The question as a datagram. Recursion is desired, as a client would.
pub(crate) fn query(probe: &DnsProbe, id: u16) -> Option<Vec<u8>> {
    let mut message = Vec::with_capacity(64);
    message.extend_from_slice(&id.to_be_bytes());
    message.extend_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    message.extend_from_slice(&encode_name(&probe.name)?);
    message.extend_from_slice(&probe.record_type.to_be_bytes());
    message.extend_from_slice(&[0, 1]);
    Some(message)
}

#[cfg(any(test, all(target_os = "linux", feature = "sockets")))]
/// What an answer means. `None` if it is none to this question, and one may still come.
pub(crate) fn judge(query: &[u8], answer: &[u8]) -> Option<Outcome> {
    let (head, rest) = answer.split_first_chunk::<12>()?;
    let (asked, question) = query.split_first_chunk::<12>()?;
    let is_response = head[2] & 0x80 != 0;
    if head[..2] != asked[..2] || !is_response {
        return None;
    }
    let code = head[3] & 0x0f;
    // An error may come without the question; a success must repeat it.
    let repeats = rest.get(..question.len()).is_some_and(|echoed| echoed.eq_ignore_ascii_case(question));
    match code {
        0 if repeats && head[4..6] == [0, 1] => Some(Outcome::SUCCESS),
        0 => {
            Some(Outcome::failure(FailureKind::Malformed, "the name server's answer is to another question"))
        }
        _ => {
            let name = match code {
                1 => "FORMERR",
                2 => "SERVFAIL",
                3 => "NXDOMAIN",
                4 => "NOTIMP",
                5 => "REFUSED",
                _ => "an error",
            };
            Some(Outcome::failure(
                FailureKind::Content,
                format!("the name server answered {name} (code {code})"),
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_encoded_or_refused() {
        assert_eq!(encode_name(".").unwrap(), [0]);
        assert_eq!(encode_name("www.example.").unwrap(), b"\x03www\x07example\x00");
        for bad in ["a..b", ".a", "a b", &"x".repeat(64), &"abcdefg.".repeat(40)] {
            assert_eq!(encode_name(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_answer_is_to_the_question_or_is_none() {
        let probe = DnsProbe { name: "example".into(), record_type: 1 };
        let query = query(&probe, 0x1234).unwrap();
        assert_eq!(query, b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x07example\x00\x00\x01\x00\x01");
        let mut answer = query.clone();
        assert_eq!(judge(&query, &answer), None, "a question is no answer");
        answer[2] = 0x81;
        assert_eq!(judge(&query, &answer), Some(Outcome::SUCCESS));
        answer[13] = b'E';
        assert_eq!(judge(&query, &answer), Some(Outcome::SUCCESS), "names have no case");
        answer[13] = b'x';
        assert!(
            matches!(judge(&query, &answer), Some(Outcome::Failure(f)) if f.kind == FailureKind::Malformed)
        );
        answer[3] = 3;
        assert!(matches!(judge(&query, &answer), Some(Outcome::Failure(f)) if f.text().contains("NXDOMAIN")));
        answer[0] = 0;
        assert_eq!(judge(&query, &answer), None);
        assert_eq!(judge(&query, b"\x12"), None);
    }
}
