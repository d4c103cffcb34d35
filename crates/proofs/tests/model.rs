//! The models, checked in full, and with each fault.

#![expect(
    clippy::print_stdout,
    reason = "how much was checked is a result, shown by --nocapture"
)]

use billhook_proofs::link_model::{self, LinkModel};
use billhook_proofs::write_model::{Fault, WriteModel};
use stateright::{Checker, HasDiscoveries, Model};

#[test]
fn the_write_rule_loses_nothing_and_does_nothing_twice() {
    for model in WriteModel::all() {
        let name = model.name();
        let checked = model.checker().threads(2).spawn_dfs().join();
        checked.assert_properties();
        println!("{name}: {} states", checked.unique_state_count());
        assert!(checked.unique_state_count() > 10_000);
    }
}

#[test]
fn every_fault_in_the_write_rule_is_found() {
    for (fault, broken) in [
        (Fault::MarkBeforeEffect, "nothing is lost"),
        (Fault::MarkBeforeEffect, "a mark follows its effect"),
        (Fault::AckBeforeEffect, "nothing is lost"),
        (Fault::UnguardedFirstWrite, "nothing is lost"),
        (Fault::UnguardedFirstWrite, "no version goes back"),
        (Fault::UnguardedMerge, "nothing is lost"),
        (Fault::GuardedBySecond, "nothing is lost"),
        (Fault::GuardedBySecond, "nothing takes effect twice"),
        (Fault::BaseNotCopied, "nothing is lost"),
        (Fault::FinalUndone, "nothing is lost"),
        (Fault::FloorNotKept, "nothing is lost"),
        (Fault::FirstsNotKept, "nothing is lost"),
    ] {
        let model = WriteModel::broken_by(fault);
        let name = model.name();
        let checked = model
            .checker()
            .finish_when(HasDiscoveries::AllOf([broken].into()))
            .spawn_dfs()
            .join();
        let path = checked.discovery(broken);
        assert!(path.is_some(), "{fault:?} must break: {broken}");
        println!(
            "{fault:?} breaks \"{broken}\" in {} steps: {name}",
            path.unwrap().into_actions().len()
        );
    }
}

#[test]
fn every_object_shows_its_customer_whoever_comes_first() {
    for model in LinkModel::all(None) {
        let name = model.name().to_owned();
        let checked = model.checker().threads(2).spawn_dfs().join();
        checked.assert_properties();
        println!("{name}: {} states", checked.unique_state_count());
        assert!(checked.unique_state_count() > 10_000);
    }
}

#[test]
fn every_fault_in_the_linking_is_found() {
    let broken = "every row shows its customer once all events are marked";
    for fault in [
        link_model::Fault::LookBeforeNote,
        link_model::Fault::NoSecondLook,
        link_model::Fault::ChildrenBeforeRow,
        link_model::Fault::NoGrandchildren,
        link_model::Fault::DuplicatesStop,
        link_model::Fault::BlindLink,
        link_model::Fault::EndsWithAWrite,
        link_model::Fault::LinkedOnce,
        link_model::Fault::LateCustomer,
        link_model::Fault::DiesUnheld,
    ] {
        let found = LinkModel::all(Some(fault)).into_iter().find_map(|model| {
            let name = model.name().to_owned();
            let finish = HasDiscoveries::AllOf([broken].into());
            let checked = model.checker().finish_when(finish).spawn_bfs().join();
            let path = checked.discovery(broken)?;
            Some((name, path.into_actions().len()))
        });
        let Some((name, steps)) = found else {
            panic!("{fault:?} must be found");
        };
        println!("{fault:?} is found in {steps} steps: {name}");
    }
}
