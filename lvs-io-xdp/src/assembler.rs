//! A small assembler for eBPF: instructions of 64 bits, and labels for jumps forward (RFC 9669).
//!
//! It knows the instructions that the [program](crate::program) needs and no others.

use std::os::fd::RawFd;

/// A register. `R0` takes results, `R1` to `R5` arguments (lost in calls), `R6` to `R9` are kept, `R10` is
/// the end of the stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Register {
    R0,
    R1,
    R2,
    R3,
    R6 = 6,
    R7,
    R8,
    R9,
    R10,
}

/// How wide a load or store is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Width {
    Byte,
    Half,
    Word,
}

impl Width {
    const fn code(self) -> u8 {
        match self {
            Self::Word => 0x00,
            Self::Half => 0x08,
            Self::Byte => 0x10,
        }
    }
}

/// A place in the program that is jumped to; a name for people.
pub(crate) type Label = &'static str;

// Classes, operations and modes (RFC 9669, sections 3 and 4 to 5).
const LOAD_IMMEDIATE_64: u8 = 0x18;
const LOAD: u8 = 0x61;
const STORE_IMMEDIATE: u8 = 0x62;
const STORE: u8 = 0x63;
const ADD_IMMEDIATE: u8 = 0x07;
const MOVE_IMMEDIATE: u8 = 0xb7;
const MOVE: u8 = 0xbf;
const JUMP: u8 = 0x05;
const JUMP_EQUAL_IMMEDIATE: u8 = 0x15;
const JUMP_NOT_EQUAL_IMMEDIATE: u8 = 0x55;
const JUMP_GREATER: u8 = 0x2d;
const CALL: u8 = 0x85;
const EXIT: u8 = 0x95;
/// The immediate of a 64-bit load is the descriptor of a map.
const PSEUDO_MAP: u8 = 1;

#[derive(Debug, Clone, Copy)]
struct Instruction {
    code: u8,
    destination: u8,
    source: u8,
    offset: i16,
    immediate: i32,
}

impl Instruction {
    /// As it lies in memory. The halves of the byte with the registers follow the machine's byte order.
    const fn encode(self) -> u64 {
        let registers = if cfg!(target_endian = "little") {
            self.source << 4 | self.destination
        } else {
            self.destination << 4 | self.source
        };
        let ([a, b], [c, d, e, f]) = (self.offset.to_ne_bytes(), self.immediate.to_ne_bytes());
        u64::from_ne_bytes([self.code, registers, a, b, c, d, e, f])
    }
}

/// A program in the making.
#[derive(Debug, Default)]
pub(crate) struct Assembler {
    instructions: Vec<Instruction>,
    /// Jumps whose labels are still to come.
    jumps: Vec<(usize, Label)>,
}

impl Assembler {
    fn put(&mut self, code: u8, destination: Register, source: Register, offset: i16, immediate: i32) {
        let (destination, source) = (destination as u8, source as u8);
        self.instructions.push(Instruction { code, destination, source, offset, immediate });
    }

    /// `to = from`
    pub(crate) fn copy(&mut self, to: Register, from: Register) {
        self.put(MOVE, to, from, 0, 0);
    }

    /// `to = value`
    pub(crate) fn set(&mut self, to: Register, value: i32) {
        self.put(MOVE_IMMEDIATE, to, Register::R0, 0, value);
    }

    /// `to += value`
    pub(crate) fn add(&mut self, to: Register, value: i32) {
        self.put(ADD_IMMEDIATE, to, Register::R0, 0, value);
    }

    /// `to = *(from + offset)`
    pub(crate) fn load(&mut self, width: Width, to: Register, from: Register, offset: i16) {
        self.put(LOAD | width.code(), to, from, offset, 0);
    }

    /// `*(to + offset) = from`, 32 bits
    pub(crate) fn store(&mut self, to: Register, offset: i16, from: Register) {
        self.put(STORE, to, from, offset, 0);
    }

    /// `*(to + offset) = value`, 32 bits
    pub(crate) fn store_value(&mut self, to: Register, offset: i16, value: i32) {
        self.put(STORE_IMMEDIATE, to, Register::R0, offset, value);
    }

    /// `to = map`; takes two places
    pub(crate) fn load_map(&mut self, to: Register, map: RawFd) {
        let destination = to as u8;
        let first = Instruction {
            code: LOAD_IMMEDIATE_64,
            destination,
            source: PSEUDO_MAP,
            offset: 0,
            immediate: map,
        };
        let second = Instruction { code: 0, destination: 0, source: 0, offset: 0, immediate: 0 };
        self.instructions.extend([first, second]);
    }

    /// Calls the kernel's function of this number.
    pub(crate) fn call(&mut self, function: i32) {
        self.put(CALL, Register::R0, Register::R0, 0, function);
    }

    /// Ends the program with the answer in `R0`.
    pub(crate) fn exit(&mut self) {
        self.put(EXIT, Register::R0, Register::R0, 0, 0);
    }

    /// Goes to a label.
    pub(crate) fn jump(&mut self, label: Label) {
        self.jump_by(JUMP, Register::R0, Register::R0, 0, label);
    }

    /// Goes to a label if `left == value`.
    pub(crate) fn jump_if_equal(&mut self, left: Register, value: i32, label: Label) {
        self.jump_by(JUMP_EQUAL_IMMEDIATE, left, Register::R0, value, label);
    }

    /// Goes to a label if `left != value`.
    pub(crate) fn jump_if_not_equal(&mut self, left: Register, value: i32, label: Label) {
        self.jump_by(JUMP_NOT_EQUAL_IMMEDIATE, left, Register::R0, value, label);
    }

    /// Goes to a label if `left > right`.
    pub(crate) fn jump_if_greater(&mut self, left: Register, right: Register, label: Label) {
        self.jump_by(JUMP_GREATER, left, right, 0, label);
    }

    fn jump_by(&mut self, code: u8, left: Register, right: Register, value: i32, label: Label) {
        self.jumps.push((self.instructions.len(), label));
        self.put(code, left, right, 0, value);
    }

    /// Here is what jumps to `label` go to.
    ///
    /// # Panics
    /// If the program is longer than a jump.
    pub(crate) fn label(&mut self, label: Label) {
        let here = self.instructions.len();
        self.jumps.retain(|&(from, wanted)| {
            if wanted == label {
                // Counted from the instruction after the jump.
                self.instructions[from].offset = i16::try_from(here - from - 1).expect("a short program");
            }
            wanted != label
        });
    }

    /// The program.
    ///
    /// # Panics
    /// If a label is missing.
    pub(crate) fn finish(self) -> Vec<u64> {
        assert!(self.jumps.is_empty(), "labels are missing: {:?}", self.jumps);
        self.instructions.into_iter().map(Instruction::encode).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Register::{R1, R2, R10};
    use super::*;

    fn bytes(build: impl FnOnce(&mut Assembler)) -> Vec<[u8; 8]> {
        let mut assembler = Assembler::default();
        build(&mut assembler);
        assembler.finish().into_iter().map(u64::to_ne_bytes).collect()
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn instructions_are_encoded_as_the_standard_says() {
        let program = bytes(|a| {
            a.copy(R1, R10);
            a.add(R1, -8);
            a.load(Width::Half, R2, R1, 12);
            a.store(R10, -4, R2);
            a.store_value(R10, -8, 32);
            a.load_map(R1, 7);
            a.call(51);
            a.exit();
        });
        let expected: [[u8; 8]; 9] = [
            [0xbf, 0xa1, 0, 0, 0, 0, 0, 0],
            [0x07, 0x01, 0, 0, 0xf8, 0xff, 0xff, 0xff],
            [0x69, 0x12, 12, 0, 0, 0, 0, 0],
            [0x63, 0x2a, 0xfc, 0xff, 0, 0, 0, 0],
            [0x62, 0x0a, 0xf8, 0xff, 32, 0, 0, 0],
            [0x18, 0x11, 0, 0, 7, 0, 0, 0],
            [0; 8],
            [0x85, 0, 0, 0, 51, 0, 0, 0],
            [0x95, 0, 0, 0, 0, 0, 0, 0],
        ];
        assert_eq!(program, expected);
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn jumps_lead_to_their_labels_and_a_map_counts_twice() {
        let program = bytes(|a| {
            a.jump_if_equal(R1, 5, "end");
            a.jump_if_greater(R1, R2, "middle");
            a.load_map(R1, 0);
            a.label("middle");
            a.jump("end");
            a.exit();
            a.label("end");
            a.exit();
        });
        assert_eq!(program[0], [0x15, 0x01, 5, 0, 5, 0, 0, 0]);
        assert_eq!(program[1], [0x2d, 0x21, 2, 0, 0, 0, 0, 0]);
        assert_eq!(program[4], [0x05, 0, 1, 0, 0, 0, 0, 0]);
    }

    #[test]
    #[should_panic(expected = "labels are missing")]
    fn a_jump_to_nowhere_is_noticed() {
        bytes(|a| a.jump("nowhere"));
    }
}
