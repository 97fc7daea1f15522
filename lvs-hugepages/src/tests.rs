use lvs_core::connection::{Line, TableMemory};
use lvs_core::{Director, DirectorConfig, Instant, InterfaceConfig, PortId};

use super::*;

const LINES_PER_HUGE_PAGE: usize = HUGE_PAGE / size_of::<Line>();

fn is_zero(lines: &[Line]) -> bool {
    // A line shows its numbers only when it is printed; all of them must be zero.
    let zero = format!("{:?}", Line::default());
    lines.iter().step_by(61).chain(lines.last()).all(|line| format!("{line:?}") == zero)
}

#[test]
fn memory_is_zero_aligned_and_as_long_as_asked() {
    let memory = HugePages::new();
    for count in
        [0, 1, 63, 64, 1000, LINES_PER_HUGE_PAGE - 1, LINES_PER_HUGE_PAGE, LINES_PER_HUGE_PAGE * 3 + 1]
    {
        for memory in [memory.clone(), memory.clone().prefault(true), memory.clone().explicit(true)] {
            let mut lines = memory.lines(count).unwrap();
            assert_eq!(lines.len(), count);
            assert!(is_zero(&lines));
            let aligned =
                if cfg!(target_os = "linux") && count >= LINES_PER_HUGE_PAGE { HUGE_PAGE } else { 64 };
            assert_eq!(lines.as_ptr().addr() % aligned, 0);
            // All of it can be written.
            lines.fill(Line::default());
        }
    }
}

#[test]
fn memory_is_given_back_once() {
    let memory = HugePages::new().prefault(true);
    let (a, b) = (memory.lines(LINES_PER_HUGE_PAGE).unwrap(), memory.lines(LINES_PER_HUGE_PAGE).unwrap());
    assert_eq!(memory.clone().bytes(), 2 * HUGE_PAGE);
    let kept = b.as_ptr().addr()..b.as_ptr().addr() + HUGE_PAGE;
    drop(a);
    assert_eq!(memory.bytes(), HUGE_PAGE);
    assert_eq!(memory.live.ranges().as_slice(), std::slice::from_ref(&kept));
    assert!(is_zero(&b), "the other one is still there");
    drop(b);
    assert_eq!((memory.bytes(), memory.backing()), (0, Backing::default()));
    // Many times over: what is not given back, or given back twice, shows.
    for _ in 0..10_000 {
        drop(HugePages::new().lines(LINES_PER_HUGE_PAGE).unwrap());
    }
}

#[test]
fn too_much_is_refused() {
    let memory = HugePages::new();
    for count in [usize::MAX, usize::MAX / 64, 1 << 56] {
        assert!(memory.lines(count).is_none());
    }
    assert_eq!(memory.bytes(), 0);
}

#[cfg(target_os = "linux")]
#[test]
fn what_the_kernel_says_is_what_is_told() {
    let memory = HugePages::new();
    assert_eq!(memory.pages(), Pages::Ordinary, "nothing is nothing");
    let _lines = memory.lines(LINES_PER_HUGE_PAGE * 8).unwrap();
    let first = memory.backing();
    assert!(first.resident > 0, "the first page is touched");
    let full = HugePages::new().prefault(true);
    let _filled = full.lines(LINES_PER_HUGE_PAGE * 8).unwrap();
    let backing = full.backing();
    assert!(backing.resident >= 16 << 20, "{backing:?}");
    let switch = std::fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled").unwrap_or_default();
    if switch.is_empty() || switch.contains("[never]") {
        assert_eq!(full.pages(), Pages::Ordinary, "{backing:?}");
    } else if full.pages() == Pages::Ordinary {
        // Allowed, but the kernel may have none left.
        eprintln!("SKIPPED: the kernel gave no huge pages ({backing:?}): their use was not tested");
    } else {
        assert!(backing.huge >= 14 << 20, "{backing:?}");
        assert_eq!(memory.pages(), Pages::Huge, "{first:?}");
    }
}

#[test]
fn a_director_lives_in_it() {
    let mac = "02:00:00:00:00:02".parse().unwrap();
    let eth0 = InterfaceConfig::new(PortId(0), mac, "192.168.0.208/24".parse().unwrap());
    let memory = HugePages::new();
    let director =
        Director::with_memory(DirectorConfig::new(vec![eth0], [7; 32]), Instant::ZERO, &memory).unwrap();
    assert!(memory.bytes() >= 80 << 20, "80 bytes for each of a million connections");
    // It moves to another thread with its tables.
    std::thread::spawn(move || drop(director)).join().unwrap();
    assert_eq!(memory.bytes(), 0);
}

#[test]
fn pages_have_names() {
    assert_eq!(format!("{} {:>5}", Pages::Huge, Pages::Ordinary), "huge    4k");
}
