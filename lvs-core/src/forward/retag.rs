//! VLAN tags of frames whose way out has others than their way in, and of frames that the director makes.

use crate::config::VlanPath;
use crate::io::{Frame, Meta, NoRoomError, VlanTag};

/// Bytes of the two Ethernet addresses, behind which tags stand.
const ADDRESSES: usize = 12;
const TAG: usize = 4;

/// Gives a frame the tags of `path` instead of those it has. `network` is where its network header begins. The outer
/// tag goes into the metadata, an inner one into the bytes.
///
/// # Errors
/// If an inner tag finds no headroom; the frame is as before.
pub(crate) fn retag(frame: &mut Frame<'_>, network: usize, path: VlanPath) -> Result<(), NoRoomError> {
    let [outer, inner] = path.tags();
    let wanted = if inner.is_some() { TAG } else { 0 };
    let present = network.saturating_sub(ADDRESSES + 2);
    let addresses: [u8; ADDRESSES] = *frame.bytes().first_chunk().ok_or(NoRoomError)?;
    if wanted > present {
        frame.grow_front(wanted - present)?;
    } else {
        frame.shrink_front(present - wanted);
    }
    let moved = present as isize - wanted as isize;
    let meta = frame.meta_mut();
    meta.vlan = outer;
    if let Some(partial) = &mut meta.checksum {
        partial.start = partial.start.saturating_add_signed(-moved as i16);
    }
    if let Some(gso) = &mut meta.gso
        && gso.header_length > 0
    {
        gso.header_length = gso.header_length.saturating_add_signed(-moved as i16);
    }
    if let Some(front) = frame.bytes_mut().first_chunk_mut() {
        *front = addresses;
    }
    if let Some(tag) = inner
        && let Some(bytes) = frame.bytes_mut().get_mut(ADDRESSES..ADDRESSES + TAG)
    {
        bytes.copy_from_slice(&tag_bytes(tag));
    }
    Ok(())
}

/// How long an untagged frame of `len` bytes becomes in the bytes when it is sent through `path`.
pub(crate) const fn tagged_len(len: usize, path: VlanPath) -> usize {
    match path.tags() {
        [_, Some(_)] => len + TAG,
        _ => len,
    }
}

/// Copies an untagged frame with the tags of `path` to `to`, which must be [`tagged_len`] long. The outer tag goes into
/// `meta`.
pub(crate) fn write_tagged(untagged: &[u8], path: VlanPath, meta: &mut Meta, to: &mut [u8]) {
    let [outer, inner] = path.tags();
    meta.vlan = outer;
    let Some((addresses, rest)) = untagged.split_at_checked(ADDRESSES) else {
        return;
    };
    let (front, mut behind) = to.split_at_mut(ADDRESSES);
    front.copy_from_slice(addresses);
    if let Some(tag) = inner {
        let (place, further) = behind.split_at_mut(TAG);
        place.copy_from_slice(&tag_bytes(tag));
        behind = further;
    }
    behind.copy_from_slice(rest);
}

const fn tag_bytes(tag: VlanTag) -> [u8; TAG] {
    let ([a, b], [c, d]) = (tag.tpid.to_be_bytes(), tag.tci.to_be_bytes());
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::io::{PartialChecksum, PortId};
    use std::vec::Vec;

    const ADDR: [u8; 12] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];

    fn frame_bytes(tags: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::from(ADDR);
        bytes.extend_from_slice(tags);
        bytes.extend_from_slice(&[0x08, 0x00, 0x45, 0xaa]);
        bytes
    }

    fn retagged(tags: &[u8], headroom: usize, path: VlanPath) -> Result<(Vec<u8>, Meta), NoRoomError> {
        let mut buffer = std::vec![0; headroom];
        buffer.extend(frame_bytes(tags));
        let len = buffer.len() - headroom;
        let meta = Meta {
            checksum: Some(PartialChecksum { start: 34 + tags.len() as u16, offset: 16 }),
            ..Meta::default()
        };
        let mut frame = Frame::within(&mut buffer, headroom, len, PortId(0), meta).unwrap();
        retag(&mut frame, 14 + tags.len(), path)?;
        Ok((frame.bytes().into(), *frame.meta()))
    }

    #[test]
    fn every_way_in_to_every_way_out() {
        let one = [0x81, 0, 0, 10];
        let two = [0x88, 0xa8, 0, 5, 0x81, 0, 0, 10];
        for tags in [&[][..], &one, &two] {
            let (bytes, meta) = retagged(tags, 0, VlanPath::UNTAGGED).unwrap();
            assert_eq!((bytes, meta.vlan), (frame_bytes(&[]), None));
            assert_eq!(meta.checksum.unwrap().start, 34);

            let (bytes, meta) = retagged(tags, 0, VlanPath::tagged(7)).unwrap();
            assert_eq!((bytes, meta.vlan), (frame_bytes(&[]), Some(VlanTag { tpid: 0x8100, tci: 7 })));

            let path = VlanPath { outer: 7, inner: 8 };
            let (bytes, meta) = retagged(tags, 4, path).unwrap();
            assert_eq!(bytes, frame_bytes(&[0x81, 0, 0, 8]));
            assert_eq!(meta.vlan, Some(VlanTag { tpid: 0x88a8, tci: 7 }));
            assert_eq!(meta.checksum.unwrap().start, 38);
            let mut copy = std::vec![0; tagged_len(16, path)];
            let mut made = Meta::default();
            write_tagged(&frame_bytes(&[]), path, &mut made, &mut copy);
            assert_eq!((copy, made.vlan), (bytes, meta.vlan));
        }
        assert_eq!(retagged(&[], 3, VlanPath { outer: 7, inner: 8 }), Err(NoRoomError));
    }
}
