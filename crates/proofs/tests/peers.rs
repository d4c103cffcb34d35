//! The comparison of write rules, and the page that shows it.

use billhook_proofs::peers::{Count, counts, refetch_counts, report};

fn wrong(row: usize) -> Vec<usize> {
    counts()[row].1.iter().map(|count| count.wrong).collect()
}

/// The counts of the first comparison, from which the histories were reconstructed.
#[test]
fn the_models_go_wrong_as_often_as_they_were_seen_to() {
    for (row, first_three) in [
        [576, 60, 3],
        [540, 40, 0],
        [360, 0, 3],
        [360, 0, 3],
        [576, 0, 3],
        [480, 60, 3],
        [0, 0, 0],
    ]
    .iter()
    .enumerate()
    {
        assert_eq!(wrong(row)[..3], first_three[..], "{}", counts()[row].0);
    }
}

#[test]
fn every_order_is_played_with_every_late_duplicate() {
    for (rule, counts) in counts() {
        let all: Vec<_> = counts.iter().map(|count| count.all).collect();
        assert_eq!(all, [720, 120, 6, 2 * 24], "{rule}");
    }
}

#[test]
fn only_the_path_of_states_is_never_wrong() {
    let (ours, models) = (counts().len() - 1, 0..counts().len() - 1);
    assert_eq!(wrong(ours), [0; 4]);
    for model in models {
        assert_ne!(wrong(model), [0; 4], "{}", counts()[model].0);
    }
}

#[test]
fn only_a_guarded_refetch_is_never_wrong() {
    let [unguarded, guarded] = refetch_counts();
    assert_eq!(unguarded.1, Count { wrong: 1, all: 3 });
    assert_eq!(guarded.1, Count { wrong: 0, all: 3 });
}

#[test]
fn the_page_shows_what_the_program_prints() {
    let page = include_str!("../../../docs/order.md");
    assert!(
        page.contains(&report()),
        "docs/order.md must hold this, from `cargo run -p billhook-proofs --bin peers`:\n{}",
        report()
    );
}
