//! Rows of the source become deals, and deals become batches of bounded size.

use super::calculator::RawDeal;

/// Most deals in one batch.
const BATCH_DEALS: usize = 1024;
/// A batch is closed when its inventories reach this size, in bytes; one deal may exceed it.
const BATCH_BYTES: usize = 4 * 1024 * 1024;

/// Whether a row of the source is a whole deal or one item of its inventory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RowShape {
    /// The inventory column holds the whole array; every id occurs once.
    Whole,
    /// One item per row, rows of one deal adjacent; a NULL item is a deal without inventory.
    Item,
}

/// Collects source rows into batches and checks their order.
#[derive(Debug)]
pub(super) struct Batcher {
    shape: RowShape,
    current: Option<RawDeal>,
    deals: Vec<RawDeal>,
    bytes: usize,
}

impl Batcher {
    pub(super) fn new(shape: RowShape) -> Self {
        Self {
            shape,
            current: None,
            deals: Vec::new(),
            bytes: 0,
        }
    }

    /// Takes one row; gives a batch when one is full. `Err` says what is wrong with the order.
    pub(super) fn push(
        &mut self,
        id: Option<&str>,
        deal_type: Option<&str>,
        inventory: Option<&[u8]>,
    ) -> Result<Option<Vec<RawDeal>>, String> {
        let Some(id) = id else {
            return Err("an id is NULL".to_owned());
        };
        if let Some(current) = &mut self.current {
            match id.as_bytes().cmp(current.id.as_bytes()) {
                std::cmp::Ordering::Greater => {}
                std::cmp::Ordering::Equal if self.shape == RowShape::Item => {
                    if let Some(item) = inventory {
                        append_item(&mut current.inventory, item);
                    }
                    return Ok(None);
                }
                std::cmp::Ordering::Equal => return Err(format!("id {id:?} occurs twice")),
                std::cmp::Ordering::Less => {
                    return Err(format!("id {id:?} comes after {:?}", current.id));
                }
            }
        }
        let inventory = match (self.shape, inventory) {
            (_, None) => b"[]".to_vec(),
            (RowShape::Whole, Some(array)) => array.to_vec(),
            (RowShape::Item, Some(item)) => {
                let mut array = b"[]".to_vec();
                append_item(&mut array, item);
                array
            }
        };
        let next = RawDeal {
            id: id.to_owned(),
            deal_type: deal_type.map(str::to_owned),
            inventory,
        };
        if let Some(done) = self.current.replace(next) {
            self.bytes += done.inventory.len();
            self.deals.push(done);
        }
        if self.deals.len() >= BATCH_DEALS || self.bytes >= BATCH_BYTES {
            self.bytes = 0;
            return Ok(Some(std::mem::take(&mut self.deals)));
        }
        Ok(None)
    }

    /// What is left when the source has ended.
    pub(super) fn finish(mut self) -> Vec<RawDeal> {
        self.deals.extend(self.current.take());
        self.deals
    }
}

/// Puts an item before the closing bracket of an array this module began.
fn append_item(array: &mut Vec<u8>, item: &[u8]) {
    array.pop();
    if array.len() > 1 {
        array.push(b',');
    }
    array.extend_from_slice(item);
    array.push(b']');
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn collect(
        shape: RowShape,
        rows: &[(&str, Option<&str>)],
    ) -> Result<Vec<(String, String)>, String> {
        let mut batcher = Batcher::new(shape);
        let mut deals = Vec::new();
        for (id, inventory) in rows {
            let full = batcher.push(Some(id), None, inventory.map(str::as_bytes))?;
            deals.extend(full.unwrap_or_default());
        }
        deals.extend(batcher.finish());
        Ok(deals
            .into_iter()
            .map(|d| (d.id, String::from_utf8(d.inventory).unwrap()))
            .collect())
    }

    #[test]
    fn items_of_one_deal_become_one_array() {
        let deals = collect(
            RowShape::Item,
            &[
                ("a", Some("{\"n\":1}")),
                ("a", Some("{\"n\":2}")),
                ("b", None),
                ("c", Some("3")),
            ],
        )
        .unwrap();
        let expected = [("a", "[{\"n\":1},{\"n\":2}]"), ("b", "[]"), ("c", "[3]")];
        assert_eq!(deals, expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
    }

    #[test]
    fn an_id_twice_out_of_order_or_null_is_refused() {
        let twice = collect(RowShape::Whole, &[("a", None), ("a", None)]).unwrap_err();
        assert_eq!(twice, "id \"a\" occurs twice");
        // Byte order: upper case before lower case.
        let order = collect(RowShape::Whole, &[("a", None), ("B", None)]).unwrap_err();
        assert_eq!(order, "id \"B\" comes after \"a\"");
        let mut batcher = Batcher::new(RowShape::Whole);
        assert!(batcher.push(None, None, None).is_err());
    }

    #[test]
    fn batches_are_bounded_by_deals_and_by_bytes_and_lose_nothing() {
        let mut batcher = Batcher::new(RowShape::Whole);
        let big = vec![b' '; BATCH_BYTES / 2 + 1];
        let (mut seen, mut batches) = (0, 0);
        for n in 0..5000 {
            let inventory = if n < 10 { &big[..] } else { b"[]" };
            if let Some(batch) = batcher
                .push(Some(&format!("{n:06}")), None, Some(inventory))
                .unwrap()
            {
                assert!(batch.len() <= BATCH_DEALS);
                assert!(batch.iter().map(|d| d.inventory.len()).sum::<usize>() <= 2 * BATCH_BYTES);
                seen += batch.len();
                batches += 1;
            }
        }
        assert!(batches >= 9, "{batches}");
        assert_eq!(seen + batcher.finish().len(), 5000);
    }
}
