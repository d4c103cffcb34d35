//! Prints how write rules that are in use do on four short histories, as it stands in `docs/order.md`.

#[expect(clippy::print_stdout, reason = "this is what the program prints")]
fn main() {
    print!("{}", billhook_proofs::peers::report());
}
