//! Which names interfaces can have.

use crate::error::DeviceError;

/// The longest name, in bytes: the kernel's field has 16, the last of which is 0.
pub const LONGEST_NAME: usize = libc::IFNAMSIZ - 1;

/// Whether an interface can have this name; whether one has, is not asked. Backends that make interfaces call this before
/// the name gets anywhere near the kernel.
///
/// # Errors
/// [`DeviceError::NameTooLong`] or [`DeviceError::ImpossibleName`].
pub fn check_name(name: &str) -> Result<(), DeviceError> {
    if name.len() > LONGEST_NAME {
        return Err(DeviceError::NameTooLong { name: name.to_owned() });
    }
    if !is_possible(name) {
        return Err(DeviceError::ImpossibleName { name: name.to_owned() });
    }
    Ok(())
}

/// The kernel's rule (`dev_valid_name` in net/core/dev.c), but for the length.
pub(crate) fn is_possible(name: &str) -> bool {
    let forbidden = |byte: u8| matches!(byte, b'/' | b':' | 0 | b' ' | 0x09..=0x0d | 0xa0);
    !matches!(name, "" | "." | "..") && !name.bytes().any(forbidden)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_held_to_the_kernels_rule() {
        for name in ["lo", "eth0", "br-1.5", "...", "a@b", "fifteen-bytes-x", "größe"] {
            assert!(check_name(name).is_ok(), "{name:?}");
        }
        for name in ["", ".", "..", "a/b", "eth0:1", "a b", "a\n", "a\0b", "a\u{b}", "no\u{a0}break"] {
            let error = check_name(name).unwrap_err();
            assert!(matches!(error, DeviceError::ImpossibleName { .. }), "{name:?}: {error:?}");
            assert!(error.to_string().contains(&format!("{name:?}")), "{error}");
        }
        for name in ["sixteen-bytes-xx", "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", &"x".repeat(1000)] {
            assert!(matches!(check_name(name), Err(DeviceError::NameTooLong { .. })), "{name:?}");
        }
    }
}
