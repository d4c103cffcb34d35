//! main
mod train;
fn main() {
    let d = train::train(
        &[
            "events/stripe".into(),
            "events/bearbilling".into(),
            "events/lives".into(),
        ],
        1,
    )
    .unwrap();
    std::fs::write("crates/store/dictionaries/1.zdict", d).unwrap();
}
