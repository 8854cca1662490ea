//! Bucketing by flagd's fractional algorithm, version 3: MurmurHash3-x86-32 with seed 0 over the
//! canonical CBOR of `[salt, targetingKey]`, `bucket = hash × total ÷ 2^32`.
//!
//! Source: OpenFeature flagd, ADR on fractional bucketing, version 3. The flag's definition names
//! the algorithm, so that a later version never moves anyone.

/// The algorithm's name in `FlagDefined.bucketing`.
pub const BUCKETING: &str = "flagd-fractional-v3";

/// The number of buckets: one per thousandth of a percent.
pub const TOTAL_MILLIS: u32 = 100_000;

/// Returns the bucket of a key, in `0..TOTAL_MILLIS`. A key is on if its bucket is below
/// `percentage_millis`, so raising a percentage drops nobody.
pub fn bucket(salt: &str, targeting_key: &str) -> u32 {
    let mut encoded = vec![0x82]; // array of two
    encode_text(salt, &mut encoded);
    encode_text(targeting_key, &mut encoded);
    // Reading from memory cannot fail.
    let hash = murmur3::murmur3_32(&mut std::io::Cursor::new(&encoded), 0).unwrap_or(0);
    let bucket = (u64::from(hash) * u64::from(TOTAL_MILLIS)) >> 32;
    u32::try_from(bucket).unwrap_or(TOTAL_MILLIS - 1)
}

/// Encodes a text as core-deterministic CBOR (RFC 8949 §4.2): major type 3, shortest length.
fn encode_text(text: &str, into: &mut Vec<u8>) {
    const MAJOR: u8 = 3 << 5;
    let length = text.len();
    if let Ok(short) = u8::try_from(length) {
        if short < 24 {
            into.push(MAJOR | short);
        } else {
            into.extend([MAJOR | 24, short]);
        }
    } else if let Ok(medium) = u16::try_from(length) {
        into.push(MAJOR | 25);
        into.extend(medium.to_be_bytes());
    } else if let Ok(long) = u32::try_from(length) {
        into.push(MAJOR | 26);
        into.extend(long.to_be_bytes());
    } else {
        into.push(MAJOR | 27);
        into.extend(u64::try_from(length).unwrap_or(u64::MAX).to_be_bytes());
    }
    into.extend(text.as_bytes());
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Decodes what `encode_text` writes, independently of it.
    fn decode(bytes: &[u8]) -> (String, usize) {
        assert_eq!(bytes[0] >> 5, 3, "a text");
        let (length, start) = match bytes[0] & 31 {
            n @ 0..24 => (usize::from(n), 1),
            24 => {
                assert!(bytes[1] >= 24, "shortest form");
                (usize::from(bytes[1]), 2)
            }
            25 => {
                let n = u16::from_be_bytes([bytes[1], bytes[2]]);
                assert!(n > 255, "shortest form");
                (usize::from(n), 3)
            }
            26 => {
                let n = u32::from_be_bytes(bytes[1..5].try_into().unwrap());
                assert!(n > 65_535, "shortest form");
                (usize::try_from(n).unwrap(), 5)
            }
            other => panic!("length {other}"),
        };
        let text = String::from_utf8(bytes[start..start + length].to_vec()).unwrap();
        (text, start + length)
    }

    #[test]
    fn texts_at_the_edges_of_each_length_form_are_read_back() {
        for length in [0, 1, 23, 24, 255, 256, 65_535, 65_536] {
            let text = "x".repeat(length);
            let mut bytes = Vec::new();
            encode_text(&text, &mut bytes);
            assert_eq!(decode(&bytes), (text, bytes.len()), "{length}");
        }
        let mut bytes = Vec::new();
        // RFC 8949, appendix A.
        encode_text("IETF", &mut bytes);
        assert_eq!(bytes, [0x64, 0x49, 0x45, 0x54, 0x46]);
        bytes.clear();
        encode_text("\u{6c34}", &mut bytes);
        assert_eq!(bytes, [0x63, 0xe6, 0xb0, 0xb4]);
    }

    #[test]
    fn the_hash_is_murmur3_x86_32() {
        // Published test vectors of MurmurHash3_x86_32, seed 0.
        for (text, hash) in [
            ("", 0),
            ("hello", 0x248b_fa47),
            ("hello, world", 0x149b_bb7f),
        ] {
            let found = murmur3::murmur3_32(&mut std::io::Cursor::new(text), 0).unwrap();
            assert_eq!(found, hash, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_back(text in any::<String>()) {
            let mut bytes = Vec::new();
            encode_text(&text, &mut bytes);
            prop_assert_eq!(decode(&bytes), (text, bytes.len()));
        }

        #[test]
        fn any_key_has_a_bucket(salt in any::<String>(), key in any::<String>()) {
            prop_assert!(bucket(&salt, &key) < TOTAL_MILLIS);
            prop_assert_eq!(bucket(&salt, &key), bucket(&salt, &key));
        }
    }

    #[test]
    fn buckets_are_spread_evenly() {
        let half = (0..20_000)
            .filter(|n| bucket("DEAL_TYPE_AWARENESS", &format!("user-{n}")) < 50_000)
            .count();
        // Binomial(20000, 1/2): five standard deviations are 354.
        assert!((9_646..=10_354).contains(&half), "{half}");
    }
}
