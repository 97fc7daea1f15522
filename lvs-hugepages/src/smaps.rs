//! Reads `/proc/self/smaps` (proc(5)): how much of some address ranges is resident, and in huge pages.

use std::ops::Range;

use crate::Backing;

/// Adds up all mappings that overlap one of the ranges. A mapping that the kernel has merged out of several ranges counts
/// once.
pub(crate) fn backing(text: &str, ranges: &[Range<usize>]) -> Backing {
    let mut sum = Backing::default();
    let mut counts = false;
    for line in text.lines() {
        if let Some(mapping) = mapping(line) {
            counts = ranges.iter().any(|range| range.start < mapping.end && mapping.start < range.end);
        } else if counts {
            add(&mut sum, line);
        }
    }
    sum
}

/// The addresses of a mapping, if this is the line that begins one: `7f00-7f10 rw-p 00000000 00:00 0`.
fn mapping(line: &str) -> Option<Range<usize>> {
    let (start, end) = line.split_once(' ')?.0.split_once('-')?;
    Some(usize::from_str_radix(start, 16).ok()?..usize::from_str_radix(end, 16).ok()?)
}

/// Lines like `AnonHugePages:      2048 kB`. Pages that were set aside (`Private_Hugetlb`) are not part of `Rss`.
fn add(sum: &mut Backing, line: &str) {
    let Some((name, value)) = line.split_once(':') else { return };
    let Some(kib) = value.trim().strip_suffix(" kB").and_then(|number| number.parse::<u64>().ok()) else {
        return;
    };
    let bytes = kib * 1024;
    match name {
        "Rss" => sum.resident += bytes,
        "AnonHugePages" => sum.huge += bytes,
        "Private_Hugetlb" => {
            sum.resident += bytes;
            sum.huge += bytes;
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
55d0c8000000-55d0c8400000 rw-p 00000000 00:00 0                          [heap]
Rss:                4096 kB
AnonHugePages:      4096 kB
VmFlags: rd wr mr mw me ac sd
7f0000000000-7f0000600000 rw-p 00000000 00:00 0
Size:               6144 kB
KernelPageSize:        4 kB
Rss:                4100 kB
Anonymous:          4100 kB
AnonHugePages:      4096 kB
Private_Hugetlb:       0 kB
VmFlags: rd wr mr mw me ac sd hg
7f0000800000-7f0000a00000 rw-p 00000000 00:10 77      /anon_hugepage (deleted)
Rss:                   0 kB
AnonHugePages:         0 kB
Private_Hugetlb:    2048 kB
";

    #[test]
    fn only_our_mappings_count() {
        let of = |ranges: &[Range<usize>]| backing(TEXT, ranges);
        // Two ranges in one mapping.
        let two = [0x7f00_0000_0000..0x7f00_0020_0000, 0x7f00_0040_0000..0x7f00_0060_0000];
        assert_eq!(of(&two), Backing { resident: 4100 << 10, huge: 4 << 20 });
        let gap = 0x7f00_0060_0000..0x7f00_0070_0000;
        assert_eq!(of(&[gap.clone(), gap]), Backing::default());
        let all = [two[0].clone(), 0x7f00_0090_0000..0x7f00_00a0_0000];
        assert_eq!(of(&all), Backing { resident: 6148 << 10, huge: 6 << 20 });
    }

    #[test]
    fn nonsense_is_no_mapping() {
        let everything = 0..usize::MAX;
        let text = "x-y z\nRss: 7 kB\n-\n:\nRss: kB\n";
        assert_eq!(backing(text, std::slice::from_ref(&everything)), Backing::default());
    }
}
