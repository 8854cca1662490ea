//! A random sequence that never changes: SplitMix64 (Steele, Lea, Flood 2014). It is implemented
//! here because the seed identifies the data, and general-purpose crates do not promise the same
//! sequence across versions.

pub(super) struct Random {
    state: u64,
}

impl Random {
    /// The stream of one deal.
    pub(super) fn for_deal(seed: u64, index: u64) -> Self {
        let mut random = Self { state: seed };
        let mixed = random.next();
        Self {
            state: mixed ^ mix(index.wrapping_add(1)),
        }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.state)
    }

    /// A number from `low` to `high`, both included. The modulo bias is below 2^-40 for the ranges
    /// used here.
    pub(super) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high.saturating_sub(low) + 1)
    }

    pub(super) fn percent(&mut self, chance: u64) -> bool {
        self.between(0, 99) < chance
    }

    /// One entry of a list; the empty string if the list is empty.
    pub(super) fn pick(&mut self, choices: &[&'static str]) -> &'static str {
        let last = u64::try_from(choices.len()).unwrap_or(1).saturating_sub(1);
        let index = usize::try_from(self.between(0, last)).unwrap_or(0);
        choices.get(index).copied().unwrap_or_default()
    }

    pub(super) fn weighted(&mut self, choices: &[(&'static str, u64)]) -> &'static str {
        let total: u64 = choices.iter().map(|(_, weight)| weight).sum();
        let mut drawn = self.between(0, total.saturating_sub(1));
        for (choice, weight) in choices {
            if drawn < *weight {
                return choice;
            }
            drawn -= weight;
        }
        ""
    }

    /// An id in the form of a random UUID. Its last 60 bits are a bijection of the index, so no two
    /// deals of a seed share an id.
    pub(super) fn uuid(&mut self, index: u64) -> String {
        const TAIL_BITS: u64 = (1 << 60) - 1;
        let head = self.next();
        // Odd multipliers are invertible modulo 2^60.
        let tail = index.wrapping_mul(0x9E37_79B9_7F4A_7C15) & TAIL_BITS;
        format!(
            "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
            head >> 32,
            (head >> 16) & 0xffff,
            head & 0xfff,
            tail >> 48,
            tail & 0xffff_ffff_ffff,
        )
    }
}

fn mix(state: u64) -> u64 {
    let first = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let second = (first ^ (first >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    second ^ (second >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_matches_the_reference_implementation() {
        // First outputs of SplitMix64 for seed 1234567, from the reference implementation.
        let mut random = Random { state: 1_234_567 };
        let found = [random.next(), random.next(), random.next()];
        let expected = [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
        ];
        assert_eq!(found, expected);
    }
}
