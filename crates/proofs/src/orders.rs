//! Orders of delivery: all of them, or some by chance.

/// A source of chance that repeats itself, so that what it finds can be found again.
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// Starts it.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: usize) -> usize {
        // SplitMix64: <https://prng.di.unimi.it/splitmix64.c>.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let bound = u64::try_from(bound).unwrap_or(u64::MAX);
        usize::try_from((z ^ (z >> 31)) % bound).unwrap_or_default()
    }

    /// True in `percent` of 100 cases.
    pub fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// The numbers below `count` in some order, about 30 % of them a second time at another place.
    pub fn deliveries(&mut self, count: usize) -> Vec<usize> {
        let mut order: Vec<_> = (0..count).collect();
        for n in 0..count {
            if self.percent(30) {
                order.push(n);
            }
        }
        for n in (1..order.len()).rev() {
            order.swap(n, self.below(n + 1));
        }
        order
    }
}

/// Every order of the numbers below `count`.
#[must_use]
pub fn permutations(count: usize) -> Vec<Vec<usize>> {
    let mut all = vec![Vec::new()];
    for n in 0..count {
        all = all
            .iter()
            .flat_map(|order| {
                (0..=order.len()).map(|at| {
                    let mut longer = order.clone();
                    longer.insert(at, n);
                    longer
                })
            })
            .collect();
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn there_are_as_many_orders_as_there_must_be() {
        for (count, orders) in [(0, 1), (1, 1), (3, 6), (5, 120)] {
            let all: BTreeSet<_> = permutations(count).into_iter().collect();
            assert_eq!(all.len(), orders);
        }
    }

    #[test]
    fn a_delivery_leaves_nothing_out() {
        let mut chance = Chance::new(1);
        let orders: Vec<_> = (0..200).map(|_| chance.deliveries(20)).collect();
        for order in &orders {
            assert_eq!(order.iter().collect::<BTreeSet<_>>().len(), 20);
        }
        let deliveries: usize = orders.iter().map(Vec::len).sum();
        assert!((200 * 25..200 * 27).contains(&deliveries), "{deliveries}");
    }
}
