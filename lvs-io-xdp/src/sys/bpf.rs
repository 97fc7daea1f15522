//! Maps, programs and links through bpf(2). Structures and numbers are those of include/uapi/linux/bpf.h;
//! each structure is as much of `union bpf_attr` as its command reads.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::ptr;

use super::own;

const BPF_MAP_CREATE: libc::c_int = 0;
const BPF_MAP_UPDATE_ELEM: libc::c_int = 2;
const BPF_MAP_DELETE_ELEM: libc::c_int = 3;
const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_LINK_CREATE: libc::c_int = 28;
const BPF_PROG_TYPE_XDP: u32 = 6;
/// The attach type BPF_XDP.
const BPF_XDP: u32 = 37;
const NAME_LENGTH: usize = 16;

/// What a map is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MapDescription {
    pub(crate) kind: MapKind,
    pub(crate) key_size: u32,
    pub(crate) value_size: u32,
    pub(crate) max_entries: u32,
    /// At most 15 letters, digits and underscores; what `bpftool map` shows.
    pub(crate) name: &'static str,
}

/// The kinds of maps that are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MapKind {
    /// From a prefix to a value; the longest prefix that fits is found (BPF_MAP_TYPE_LPM_TRIE).
    LongestPrefix,
    /// From a queue's number to an AF_XDP socket (BPF_MAP_TYPE_XSKMAP).
    Sockets,
}

#[repr(C)]
struct MapCreate {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    map_flags: u32,
    inner_map_fd: u32,
    numa_node: u32,
    name: [u8; NAME_LENGTH],
}

/// Makes a map.
pub(crate) fn create_map(description: &MapDescription) -> io::Result<OwnedFd> {
    const BPF_F_NO_PREALLOC: u32 = 1;
    let (map_type, map_flags) = match description.kind {
        MapKind::LongestPrefix => (11, BPF_F_NO_PREALLOC),
        MapKind::Sockets => (17, 0),
    };
    let attributes = MapCreate {
        map_type,
        key_size: description.key_size,
        value_size: description.value_size,
        max_entries: description.max_entries,
        map_flags,
        inner_map_fd: 0,
        numa_node: 0,
        name: terminated(description.name),
    };
    // SAFETY: this command reads the structure, which holds no pointers.
    unsafe { bpf(BPF_MAP_CREATE, &attributes) }.map(own)
}

#[repr(C)]
struct Element {
    map: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// Sets the value of a key. The sizes are those the map was made with.
pub(crate) fn update(map: &OwnedFd, key: &[u8], value: &[u8]) -> io::Result<()> {
    let attributes = Element {
        map: number(map),
        padding: 0,
        key: key.as_ptr() as u64,
        value: value.as_ptr() as u64,
        flags: 0,
    };
    // SAFETY: the kernel reads key and value, as many bytes as the map was made for: the callers pass slices
    // of that length, which live through the call.
    unsafe { bpf(BPF_MAP_UPDATE_ELEM, &attributes) }.map(|_| ())
}

/// Removes a key.
pub(crate) fn delete(map: &OwnedFd, key: &[u8]) -> io::Result<()> {
    let attributes = Element { map: number(map), padding: 0, key: key.as_ptr() as u64, value: 0, flags: 0 };
    // SAFETY: the kernel reads the key, as many bytes as the map was made for: the callers pass a slice of
    // that length, which lives through the call.
    unsafe { bpf(BPF_MAP_DELETE_ELEM, &attributes) }.map(|_| ())
}

#[repr(C)]
struct ProgramLoad {
    prog_type: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; NAME_LENGTH],
    interface: u32,
    expected_attach_type: u32,
}

/// Loads an XDP program. If the kernel's verifier refuses it, the error's text is what the verifier says.
pub(crate) fn load_program(instructions: &[u64], name: &str) -> io::Result<OwnedFd> {
    match try_load(instructions, name, &mut []) {
        Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EACCES)) => {
            // Once more, to hear why.
            let mut log = vec![0; 1 << 16];
            let error = try_load(instructions, name, &mut log).err().unwrap_or(error);
            let text: String = log.iter().take_while(|byte| **byte != 0).map(|b| char::from(*b)).collect();
            if text.is_empty() { Err(error) } else { Err(io::Error::new(error.kind(), text)) }
        }
        result => result,
    }
}

fn try_load(instructions: &[u64], name: &str, log: &mut [u8]) -> io::Result<OwnedFd> {
    let license = c"MIT OR Apache-2.0";
    let attributes = ProgramLoad {
        prog_type: BPF_PROG_TYPE_XDP,
        instruction_count: instructions.len() as u32,
        instructions: instructions.as_ptr() as u64,
        license: license.as_ptr() as u64,
        log_level: u32::from(!log.is_empty()),
        log_size: log.len() as u32,
        log: if log.is_empty() { 0 } else { log.as_mut_ptr() as u64 },
        kernel_version: 0,
        flags: 0,
        name: terminated(name),
        interface: 0,
        expected_attach_type: BPF_XDP,
    };
    // SAFETY: the kernel reads so many instructions and a terminated text, and writes a log of at most that
    // size; all of them live through the call.
    unsafe { bpf(BPF_PROG_LOAD, &attributes) }.map(own)
}

/// In which place of the kernel a program sees a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the driver.
    Driver,
    /// Behind the driver, in code for all of them.
    Generic,
}

#[repr(C)]
struct LinkCreate {
    program: u32,
    interface: u32,
    attach_type: u32,
    flags: u32,
}

/// Attaches an XDP program to an interface for as long as the link that is answered is open.
pub(crate) fn attach(program: &OwnedFd, interface: u32, place: Place) -> io::Result<OwnedFd> {
    const XDP_FLAGS_SKB_MODE: u32 = 1 << 1;
    const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;
    let attributes = LinkCreate {
        program: number(program),
        interface,
        attach_type: BPF_XDP,
        flags: match place {
            Place::Driver => XDP_FLAGS_DRV_MODE,
            Place::Generic => XDP_FLAGS_SKB_MODE,
        },
    };
    // SAFETY: this command reads the structure, which holds no pointers.
    unsafe { bpf(BPF_LINK_CREATE, &attributes) }.map(own)
}

fn number(descriptor: &OwnedFd) -> u32 {
    descriptor.as_fd().as_raw_fd().cast_unsigned()
}

fn terminated(name: &str) -> [u8; NAME_LENGTH] {
    let mut bytes = [0; NAME_LENGTH];
    for (to, from) in bytes[..NAME_LENGTH - 1].iter_mut().zip(name.bytes()) {
        *to = from;
    }
    bytes
}

/// # Safety
/// `attributes` begins as the kernel's structure for `command`, has no uninitialised bytes, and addresses in
/// it are of memory that the kernel may read or write as the command does.
unsafe fn bpf<T>(command: libc::c_int, attributes: &T) -> io::Result<RawFd> {
    let pointer = ptr::from_ref(attributes);
    // SAFETY: the kernel reads `size_of::<T>()` bytes of the structure; the rest is the caller's promise.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, pointer, size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as RawFd) }
}

#[cfg(test)]
pub(crate) mod trial {
    //! Runs a program once over given bytes (BPF_PROG_TEST_RUN).

    use super::*;

    #[repr(C)]
    struct TestRun {
        program: u32,
        result: u32,
        data_in_size: u32,
        data_out_size: u32,
        data_in: u64,
        data_out: u64,
        repeat: u32,
        duration: u32,
    }

    /// What the program answers for a frame of at least 14 bytes.
    pub(crate) fn run(program: &OwnedFd, frame: &[u8]) -> io::Result<u32> {
        const BPF_PROG_TEST_RUN: libc::c_int = 10;
        let mut attributes = TestRun {
            program: number(program),
            result: u32::MAX,
            data_in_size: frame.len() as u32,
            data_out_size: 0,
            data_in: frame.as_ptr() as u64,
            data_out: 0,
            repeat: 1,
            duration: 0,
        };
        let pointer = &raw mut attributes;
        // SAFETY: the kernel reads the frame, which lives through the call, and writes into the structure.
        let result =
            unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_TEST_RUN, pointer, size_of::<TestRun>()) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(attributes.result) }
    }
}
