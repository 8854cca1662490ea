//! Compares texts by their first bytes.

/// The first 16 bytes of a text, padded with zeros, as a big-endian number: if two texts have
/// different numbers, the numbers are ordered as the texts are.
#[inline]
pub fn first_bytes(text: &str) -> u128 {
    const HALF: usize = size_of::<u64>();
    let bytes = text.as_bytes();
    if let Some(whole) = bytes.first_chunk() {
        return u128::from_be_bytes(*whole);
    }
    match (bytes.first_chunk::<HALF>(), bytes.last_chunk::<HALF>()) {
        (Some(first), Some(last)) => {
            // Shift out of the second half the bytes that both halves contain, possibly all of
            // them.
            let common = 8 * (2 * HALF - bytes.len()) as u32;
            let last = u64::from_be_bytes(*last).checked_shl(common);
            u128::from(u64::from_be_bytes(*first)) << 64 | u128::from(last.unwrap_or_default())
        }
        _ => {
            let mut whole = [0; 2 * HALF];
            whole
                .iter_mut()
                .zip(bytes)
                .for_each(|(to, from)| *to = *from);
            u128::from_be_bytes(whole)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_bytes_order_texts_of_any_length_as_their_bytes_do() {
        let texts: Vec<String> = (0..20)
            .flat_map(|length| {
                let start = "abcdefghijklmnopqrst".get(..length).unwrap_or_default();
                ["", "a", "z"].map(|end| format!("{start}{end}"))
            })
            .collect();
        for left in &texts {
            for right in &texts {
                let ranks = first_bytes(left).cmp(&first_bytes(right));
                assert!(ranks.is_eq() || ranks == left.cmp(right), "{left} {right}");
                let start = |text: &str| text.bytes().take(16).collect::<Vec<_>>();
                assert_eq!(ranks.is_eq(), start(left) == start(right), "{left} {right}");
            }
        }
    }
}
