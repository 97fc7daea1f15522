//! Values by number, in memory taken at the start.

use std::ops::{Index, IndexMut};

#[derive(Debug)]
pub(super) struct Slots<T> {
    slots: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Slots<T> {
    pub(super) fn new(capacity: u32) -> Self {
        let mut slots = Vec::new();
        slots.resize_with(capacity as usize, || None);
        Self { slots, free: (0..capacity).rev().collect() }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// `None` if all are taken.
    pub(super) fn insert(&mut self, value: T) -> Option<u32> {
        let number = self.free.pop()?;
        self.slots[number as usize] = Some(value);
        Some(number)
    }

    pub(super) fn remove(&mut self, number: u32) -> Option<T> {
        let value = self.slots[number as usize].take()?;
        self.free.push(number);
        Some(value)
    }

    pub(super) fn get(&self, number: u32) -> Option<&T> {
        self.slots.get(number as usize)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, number: u32) -> Option<&mut T> {
        self.slots.get_mut(number as usize)?.as_mut()
    }
}

impl<T> Index<u32> for Slots<T> {
    type Output = T;

    /// # Panics
    /// If nothing has that number; numbers come from within the monitor only.
    fn index(&self, number: u32) -> &T {
        self.get(number).expect("the number of a value that exists")
    }
}

impl<T> IndexMut<u32> for Slots<T> {
    fn index_mut(&mut self, number: u32) -> &mut T {
        self.get_mut(number).expect("the number of a value that exists")
    }
}
