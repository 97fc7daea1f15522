//! VLAN tags: AF_XDP carries them in the bytes only, so one that is held beside a frame is written into it.

use lvs_core::io::{Frame, NoRoomError, VlanTag};

/// Bytes of the two Ethernet addresses, behind which a tag stands.
const ADDRESSES: usize = 12;
/// Bytes of a tag.
pub(crate) const TAG: usize = 4;

/// The bytes of a tag.
pub(crate) const fn bytes(tag: VlanTag) -> [u8; TAG] {
    let ([a, b], [c, d]) = (tag.tpid.to_be_bytes(), tag.tci.to_be_bytes());
    [a, b, c, d]
}

/// Writes the tag of a frame's metadata, if it has one, behind its addresses.
///
/// # Errors
/// If there is no headroom, or the frame has no addresses.
pub(crate) fn write(frame: &mut Frame<'_>) -> Result<(), NoRoomError> {
    let Some(tag) = frame.meta().vlan else { return Ok(()) };
    let addresses: [u8; ADDRESSES] = *frame.bytes().first_chunk().ok_or(NoRoomError)?;
    frame.grow_front(TAG)?;
    let (front, behind) = frame.bytes_mut().split_at_mut(ADDRESSES);
    front.copy_from_slice(&addresses);
    behind[..TAG].copy_from_slice(&bytes(tag));
    frame.meta_mut().vlan = None;
    Ok(())
}

/// Copies a frame with a tag, if there is one, to the front of `to`. Answers the length; `None` if there is
/// no room, or the frame has no addresses.
pub(crate) fn copy(frame: &[u8], tag: Option<VlanTag>, to: &mut [u8]) -> Option<usize> {
    let (addresses, rest) = frame.split_at_checked(ADDRESSES)?;
    let tag = tag.map(bytes);
    let tag = tag.as_ref().map_or(&[][..], |tag| tag.as_slice());
    let mut at = 0;
    for part in [addresses, tag, rest] {
        to.get_mut(at..at + part.len())?.copy_from_slice(part);
        at += part.len();
    }
    Some(at)
}

#[cfg(test)]
mod tests {
    use lvs_core::io::{Meta, PortId};

    use super::*;

    const TAG_42: VlanTag = VlanTag { tpid: 0x8100, tci: 0x202a };
    const PLAIN: [u8; 16] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 8, 0, 0x45, 0xaa];
    const TAGGED: [u8; 20] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0x81, 0, 0x20, 0x2a, 8, 0, 0x45, 0xaa];

    #[test]
    fn a_tag_beside_goes_into_the_bytes() {
        let meta = Meta { vlan: Some(TAG_42), ..Meta::default() };
        let mut buffer = [0; 20];
        buffer[4..].copy_from_slice(&PLAIN);
        let mut frame = Frame::within(&mut buffer, 4, 16, PortId(0), meta).unwrap();
        write(&mut frame).unwrap();
        assert_eq!((frame.bytes(), frame.meta().vlan), (&TAGGED[..], None));
        write(&mut frame).unwrap();
        assert_eq!(frame.bytes(), TAGGED, "once");
        frame.meta_mut().vlan = Some(TAG_42);
        assert_eq!(write(&mut frame), Err(NoRoomError));
    }

    #[test]
    fn a_copy_has_its_tag() {
        let mut to = [0; 20];
        assert_eq!(copy(&PLAIN, Some(TAG_42), &mut to), Some(20));
        assert_eq!(to, TAGGED);
        assert_eq!(copy(&PLAIN, None, &mut to), Some(16));
        assert_eq!(to[..16], PLAIN);
        assert_eq!(copy(&PLAIN, Some(TAG_42), &mut to[..19]), None);
        assert_eq!(copy(&PLAIN[..11], None, &mut to), None);
    }
}
