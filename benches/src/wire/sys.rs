//! The system calls that no safe wrapper offers: a map and a program through bpf(2), running the program as a source of
//! frames, and a large receive buffer. The only module of `wire` with `unsafe`.
//!
//! Structures and numbers are those of include/uapi/linux/bpf.h; each structure is as much of `union bpf_attr` as its command
//! reads.

#![expect(unsafe_code, reason = "bpf(2) is in no safe crate")]

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

const MAP_CREATE: libc::c_int = 0;
const MAP_LOOKUP: libc::c_int = 1;
const MAP_UPDATE: libc::c_int = 2;
const PROGRAM_LOAD: libc::c_int = 5;
const PROGRAM_RUN: libc::c_int = 10;
const MAP_TYPE_ARRAY: u32 = 2;
const PROGRAM_TYPE_XDP: u32 = 6;
/// The frames that the program answers about are real ones (BPF_F_TEST_XDP_LIVE_FRAMES).
const LIVE_FRAMES: u32 = 1 << 1;

/// A map of one value of 24 bytes.
#[derive(Debug)]
pub(super) struct Map(OwnedFd);

/// A loaded XDP program.
#[derive(Debug)]
pub(super) struct Program(OwnedFd);

#[repr(C)]
struct MapAttributes {
    kind: u32,
    key_size: u32,
    value_size: u32,
    entries: u32,
    flags: u32,
}

#[repr(C)]
struct Element {
    map: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

#[repr(C)]
struct ProgramAttributes {
    kind: u32,
    count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
}

#[repr(C)]
struct RunAttributes {
    program: u32,
    result: u32,
    data_in_size: u32,
    data_out_size: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    context_in_size: u32,
    context_out_size: u32,
    context_in: u64,
    context_out: u64,
    flags: u32,
    processor: u32,
    batch: u32,
    padding: u32,
}

impl Map {
    pub(super) fn new() -> io::Result<Self> {
        let attributes =
            MapAttributes { kind: MAP_TYPE_ARRAY, key_size: 4, value_size: 24, entries: 1, flags: 0 };
        // SAFETY: the command reads the structure, which holds no addresses.
        unsafe { bpf(MAP_CREATE, &attributes) }.map(|number| Self(own(number)))
    }

    /// For an instruction that names the map.
    pub(super) fn number(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    pub(super) fn set(&self, value: &[u64; 3]) -> io::Result<()> {
        let key = 0u32;
        let attributes = self.element(&key, value.as_ptr() as u64);
        // SAFETY: the kernel reads a key of 4 and a value of 24 bytes, which live through the call.
        unsafe { bpf(MAP_UPDATE, &attributes) }.map(|_| ())
    }

    pub(super) fn get(&self) -> io::Result<[u64; 3]> {
        let (key, mut value) = (0u32, [0u64; 3]);
        let attributes = self.element(&key, value.as_mut_ptr() as u64);
        // SAFETY: the kernel reads a key of 4 bytes and writes a value of 24, which live through the call.
        unsafe { bpf(MAP_LOOKUP, &attributes) }?;
        Ok(value)
    }

    fn element(&self, key: &u32, value: u64) -> Element {
        let key = std::ptr::from_ref(key) as u64;
        Element { map: self.number() as u32, padding: 0, key, value, flags: 0 }
    }
}

impl Program {
    /// Loads an XDP program. If the kernel's verifier refuses it, the error says what the verifier says.
    pub(super) fn load(instructions: &[u64]) -> io::Result<Self> {
        let mut log = vec![0u8; 1 << 16];
        let attributes = ProgramAttributes {
            kind: PROGRAM_TYPE_XDP,
            count: instructions.len() as u32,
            instructions: instructions.as_ptr() as u64,
            license: c"MIT".as_ptr() as u64,
            log_level: 1,
            log_size: log.len() as u32,
            log: log.as_mut_ptr() as u64,
            kernel_version: 0,
            flags: 0,
        };
        // SAFETY: the kernel reads `count` instructions and a terminated string and writes at most `log_size` bytes; all
        // of them live through the call.
        match unsafe { bpf(PROGRAM_LOAD, &attributes) } {
            Ok(number) => Ok(Self(own(number))),
            Err(error) => {
                let said = String::from_utf8_lossy(log.split(|byte| *byte == 0).next().unwrap_or_default());
                Err(io::Error::new(error.kind(), format!("{error} {}", said.trim())))
            }
        }
    }

    /// Runs the program over copies of `frame`, which go where it says, until a signal comes (`Interrupted`) or it has
    /// run 2^31 times. Works in the network namespace of the calling thread.
    pub(super) fn run_live(&self, frame: &[u8]) -> io::Result<()> {
        let attributes = RunAttributes {
            program: self.0.as_raw_fd() as u32,
            result: 0,
            data_in_size: frame.len() as u32,
            data_out_size: 0,
            data_in: frame.as_ptr() as u64,
            data_out: 0,
            repeat: i32::MAX as u32,
            duration: 0,
            context_in_size: 0,
            context_out_size: 0,
            context_in: 0,
            context_out: 0,
            flags: LIVE_FRAMES,
            processor: 0,
            batch: 64,
            padding: 0,
        };
        // SAFETY: the kernel reads `frame`, which lives through the call, and writes nothing but two numbers into the
        // structure, which nobody else reads.
        unsafe { bpf(PROGRAM_RUN, &attributes) }.map(|_| ())
    }
}

/// Makes the receive buffer of a socket so large, also beyond the system's limit.
pub(super) fn receive_buffer(socket: &impl AsRawFd, bytes: i32) -> io::Result<()> {
    let length = size_of::<i32>() as libc::socklen_t;
    let number = socket.as_raw_fd();
    let value = (&raw const bytes).cast();
    // SAFETY: `bytes` is an int that outlives the call, and `length` is its size.
    let result = unsafe { libc::setsockopt(number, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, value, length) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn own(number: RawFd) -> OwnedFd {
    // SAFETY: the kernel has just made this descriptor for us, and nobody else has seen its number.
    unsafe { OwnedFd::from_raw_fd(number) }
}

/// # Safety
/// `attributes` begins as the kernel's structure for `command`, has no uninitialised bytes, and addresses in it are of
/// memory that the kernel may read or write as the command does.
unsafe fn bpf<T>(command: libc::c_int, attributes: &T) -> io::Result<RawFd> {
    let pointer = std::ptr::from_ref(attributes);
    // SAFETY: the kernel reads `size_of::<T>()` bytes of the structure; the rest is the caller's promise.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, pointer, size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as RawFd) }
}
