use std::cell::RefCell;
use std::rc::Rc;

use super::*;
use crate::sim::Station;

const MILLI: Duration = Duration::from_millis(1);

fn pair(seed: u64, options: LinkOptions) -> (Network, NodeId<Station>, NodeId<Station>, LinkId) {
    let mut net = Network::new(seed);
    let (a, b) = (net.add("a", Station::new()), net.add("b", Station::new()));
    let link = net.connect((a, 0), (b, 0), options);
    (net, a, b, link)
}

/// Sends everything back by the port it came in by.
#[derive(Default)]
struct Mirror(Vec<(PortId, Vec<u8>)>);

impl Node for Mirror {
    fn handle_frame(&mut self, _: Instant, port: PortId, frame: Vec<u8>) {
        self.0.push((port, frame));
    }

    fn poll_transmit(&mut self, _: Instant) -> Option<(PortId, Vec<u8>)> {
        self.0.pop()
    }
}

#[test]
fn a_frame_takes_the_time_of_its_link() {
    let (mut net, a, b, link) = pair(1, LinkOptions { delay: 7 * MILLI, ..LinkOptions::default() });
    net[a].send(PortId(0), vec![1; 60]);
    assert_eq!(net.run_until_idle(Duration::from_secs(1)), 7 * MILLI);
    assert_eq!(net[b].take_received(), [(Instant::from_millis(7), PortId(0), vec![1; 60])]);
    assert_eq!((net.link_statistics(link).sent, net.link_statistics(link).delivered), (1, 1));
    net.run_for(Duration::from_secs(86_400));
    assert_eq!(net.now(), Instant::from_micros(86_400_007_000));
    assert!(!net.step(), "nothing will ever happen");
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = |seed| {
        let options = LinkOptions {
            loss: 0.2,
            duplication: 0.2,
            reordering: 0.3,
            jitter: MILLI,
            ..LinkOptions::default()
        };
        let (mut net, a, b, _) = pair(seed, options);
        for n in 0..200 {
            net[a].send(PortId(0), vec![n; 60]);
            net.run_for(MILLI / 4);
        }
        net.run_until_idle(Duration::from_secs(1));
        net[b].take_received()
    };
    let first = run(5);
    assert_eq!(first, run(5));
    assert_ne!(first, run(6));
    assert!(!first.is_sorted_by_key(|(_, _, frame)| frame[0]), "some were overtaken");
    let distinct: std::collections::BTreeSet<u8> = first.iter().map(|(_, _, frame)| frame[0]).collect();
    assert!((130..190).contains(&distinct.len()), "{} of 200 came through", distinct.len());
    assert!(first.len() > distinct.len() + 15, "some came twice");
}

#[test]
fn a_link_that_goes_down_loses_what_is_under_way() {
    let (mut net, a, b, link) = pair(1, LinkOptions { delay: MILLI, ..LinkOptions::default() });
    net[a].send(PortId(0), vec![1; 60]);
    assert_eq!(net.frames_under_way(), 1);
    net.set_link(link, false);
    net[a].send(PortId(0), vec![2; 60]);
    net.run_until_idle(Duration::from_secs(1));
    net.set_link(link, true);
    net[a].send(PortId(0), vec![3; 60]);
    net.run_until_idle(Duration::from_secs(1));
    assert_eq!(net[b].take_received().len(), 1);
    assert_eq!(net.link_statistics(link).down, 2);
}

#[test]
fn captures_and_the_tap_see_both_ends() {
    let (mut net, a, b, _) = pair(1, LinkOptions { loss: 1.0, ..LinkOptions::default() });
    let seen = Rc::new(RefCell::new(Vec::new()));
    let tap = Rc::clone(&seen);
    net.set_tap(move |s| tap.borrow_mut().push((s.node.to_owned(), s.direction)));
    let (out, arrived) = (net.capture(a, 0), net.capture(b, 0));
    net[a].send(PortId(0), vec![1; 60]);
    net.run_until_idle(MILLI);
    net.set_link_options(net.link_of(a, 0).unwrap(), LinkOptions::default());
    net[a].send(PortId(0), vec![2; 60]);
    net.run_until_idle(MILLI);
    assert_eq!(net.captured(out).iter().map(|f| f.bytes[0]).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(net.take_captured(arrived).len(), 1);
    assert!(net.captured(arrived).is_empty());
    let expected = [("a", Direction::Out), ("a", Direction::Out), ("b", Direction::In)];
    assert_eq!(*seen.borrow(), expected.map(|(node, way)| (node.to_owned(), way)));
}

#[test]
fn a_run_without_end_fails_and_shows_why() {
    let mut net = Network::new(99);
    let (a, b) = (net.add("left", Mirror::default()), net.add("right", Mirror::default()));
    net.connect((a, 0), (b, 0), LinkOptions::default());
    net[a].0.push((
        PortId(0),
        crate::frames::arp_request(MacAddr([2; 6]), [1, 2, 3, 4].into(), [5; 4].into()).build(),
    ));
    let failure = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| net.run_until_idle(MILLI)));
    let text = *failure.unwrap_err().downcast::<String>().unwrap();
    for part in ["still under way after 1ms", "seed 99", "to port 0 of ", "who-has 5.5.5.5", "left: "] {
        assert!(text.contains(part), "{part}: {text}");
    }
    net.set_step_limit(100);
    let endless =
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| net.run_for(Duration::from_secs(1))));
    assert!(endless.unwrap_err().downcast::<String>().unwrap().contains("has taken 100 steps"));
}

#[test]
fn a_condition_that_cannot_come_true_fails() {
    let (mut net, ..) = pair(1, LinkOptions::default());
    let failure = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| net.run_until(MILLI, |_| false)));
    assert!(failure.unwrap_err().downcast::<String>().unwrap().contains("nothing will ever happen"));
}

use lvs_core::MacAddr;
