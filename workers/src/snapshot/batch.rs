//! Turns source rows into deals, and deals into batches of bounded size.

use bytes::Bytes;

use super::calculator::RawDeal;

/// Maximum number of deals in a batch.
pub(super) const BATCH_DEALS: usize = 256;
/// A batch is closed when its inventories reach this size, in bytes; one deal alone may exceed it.
pub(super) const BATCH_BYTES: usize = 1024 * 1024;

/// Whether a row of the source is a whole deal or one item of its inventory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RowShape {
    /// The inventory column holds the whole array; each id occurs once.
    Whole,
    /// One item per row, with the rows of a deal adjacent; a NULL item means a deal without
    /// inventory.
    Item,
}

/// Collects source rows into batches.
#[derive(Debug)]
pub(super) struct Batcher {
    shape: RowShape,
    /// Maximum number of deals in a batch.
    most: usize,
    /// The deal whose items are still arriving, and the items read so far.
    current: Option<(RawDeal, Vec<u8>)>,
    deals: Vec<RawDeal>,
    bytes: usize,
}

impl Batcher {
    pub(super) fn new(shape: RowShape, most: usize) -> Self {
        Self {
            shape,
            most,
            current: None,
            deals: Vec::new(),
            bytes: 0,
        }
    }

    /// Adds one row; returns a batch when one is full.
    pub(super) fn push(
        &mut self,
        id: &str,
        deal_type: Option<&str>,
        inventory: Option<Bytes>,
    ) -> Option<Vec<RawDeal>> {
        let deal = |inventory| RawDeal {
            id: id.to_owned(),
            deal_type: deal_type.map(str::to_owned),
            inventory,
        };
        match self.shape {
            RowShape::Whole => self.add(deal(inventory.unwrap_or(EMPTY))),
            RowShape::Item => match &mut self.current {
                Some((current, items)) if current.id == id => {
                    append_item(items, inventory.as_deref());
                }
                _ => {
                    self.close_current();
                    let mut items = b"[]".to_vec();
                    append_item(&mut items, inventory.as_deref());
                    self.current = Some((deal(EMPTY), items));
                }
            },
        }
        (self.deals.len() >= self.most || self.bytes >= BATCH_BYTES).then(|| self.take())
    }

    /// Returns the deals still buffered when the source has ended.
    pub(super) fn finish(mut self) -> Vec<RawDeal> {
        self.close_current();
        self.deals
    }

    fn add(&mut self, deal: RawDeal) {
        self.bytes += deal.inventory.len();
        self.deals.push(deal);
    }

    fn close_current(&mut self) {
        if let Some((mut deal, items)) = self.current.take() {
            deal.inventory = Bytes::from(items);
            self.add(deal);
        }
    }

    fn take(&mut self) -> Vec<RawDeal> {
        self.bytes = 0;
        std::mem::replace(&mut self.deals, Vec::with_capacity(self.most))
    }
}

/// The inventory of a deal without items.
const EMPTY: Bytes = Bytes::from_static(b"[]");

/// Inserts an item before the closing bracket of an array that this module started.
fn append_item(array: &mut Vec<u8>, item: Option<&[u8]>) {
    let Some(item) = item else {
        return;
    };
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

    fn collect(shape: RowShape, rows: &[(&str, Option<&'static str>)]) -> Vec<(String, String)> {
        let mut batcher = Batcher::new(shape, BATCH_DEALS);
        let mut deals = Vec::new();
        for (id, inventory) in rows {
            let inventory = inventory.map(|text| Bytes::from_static(text.as_bytes()));
            deals.extend(batcher.push(id, None, inventory).unwrap_or_default());
        }
        deals.extend(batcher.finish());
        deals
            .into_iter()
            .map(|d| (d.id, String::from_utf8(d.inventory.to_vec()).unwrap()))
            .collect()
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
        );
        let expected = [("a", "[{\"n\":1},{\"n\":2}]"), ("b", "[]"), ("c", "[3]")];
        assert_eq!(deals, expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
    }

    #[test]
    fn whole_inventories_stay_apart_even_under_one_id() {
        let deals = collect(RowShape::Whole, &[("a", Some("[1]")), ("a", None)]);
        let expected = [("a", "[1]"), ("a", "[]")];
        assert_eq!(deals, expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
    }

    #[test]
    fn batches_are_bounded_by_deals_and_by_bytes_and_lose_nothing() {
        let mut batcher = Batcher::new(RowShape::Whole, BATCH_DEALS);
        let big = Bytes::from(vec![b' '; BATCH_BYTES / 2 + 1]);
        let (mut seen, mut batches) = (0, 0);
        for n in 0..5000 {
            let inventory = (n < 10).then(|| big.clone());
            if let Some(batch) = batcher.push(&format!("{n:06}"), None, inventory) {
                assert!(batch.len() <= BATCH_DEALS);
                assert!(batch.iter().map(|d| d.inventory.len()).sum::<usize>() <= 2 * BATCH_BYTES);
                seen += batch.len();
                batches += 1;
            }
        }
        assert!(batches >= 20, "{batches}");
        assert_eq!(seen + batcher.finish().len(), 5000);
    }
}
