//! Whatever is signed is an event or is not; what it does to a row does not depend on the order, and is done once.
#![no_main]

use billhook_core::decide::{Plan, plan};
use billhook_core::event::decode;
use billhook_core::order::{Merged, Row, merge};
use billhook_core::scope::{Mode, Source};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bodies: &[u8]| {
    for source in Source::ALL {
        // Two bodies, to be merged with each other.
        let changes: Vec<_> = bodies
            .splitn(2, |byte| *byte == 0)
            .filter_map(|body| decode(source, Mode::Test, body).ok())
            .filter_map(|event| match plan(&event, Mode::Test) {
                Plan::Keep(change) => Some(*change),
                Plan::Ignore(_) => None,
            })
            .collect();
        let [one, rest @ ..] = &changes[..] else {
            continue;
        };
        let row = Row::first(&one.incoming);
        assert!(!matches!(merge(Some(&row), &one.incoming), Merged::Changed(_)));
        if let [other] = rest
            && other.key == one.key
        {
            let merged = |row: &Row, change| match merge(Some(row), change) {
                Merged::Changed(row) => row,
                Merged::Known | Merged::Stale => row.clone(),
            };
            let there = merged(&row, &other.incoming);
            let back = merged(&Row::first(&other.incoming), &one.incoming);
            assert_eq!(there, back);
            let _ = there.shown();
        }
    }
});
