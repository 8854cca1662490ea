//! Why a deal has no outputs.

use rollbook_ledger::error_code::Coded;

/// Why a deal cannot be computed. The deal becomes an error row of the snapshot; other deals are
/// still computed. No error is retryable: the same inventory gives the same error.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Coded)]
pub enum DealError {
    /// The inventory is not JSON, or not an array of item objects.
    #[error("RB-DEAL-1: inventory does not parse: {reason}; correct the deal's inventory JSON")]
    Malformed {
        /// The position and reason that the parser gives.
        reason: String,
    },
    /// An item has no id.
    #[error("RB-DEAL-2: inventory item {index} (from 0) has no item_id; give every item an id")]
    MissingItemId {
        /// Its position in the array, from 0.
        index: usize,
    },
    /// Two items have the same id, so the inventory was merged wrongly.
    #[error("RB-DEAL-3: item id {item:?} occurs more than once; remove the copy")]
    DuplicateItem {
        /// The repeated id.
        item: String,
    },
    /// An item has a kind that no rule knows.
    #[error(
        "RB-DEAL-4: item {item:?} has inventory_type {value:?}; \
         use application, infrastructure, organization or vendor"
    )]
    UnknownInventoryType {
        /// The item's id.
        item: String,
        /// The text that was found.
        value: String,
    },
    /// A field holds a value that its rule cannot use.
    #[error("RB-DEAL-5: item {item:?}, field {field}: {reason}")]
    BadField {
        /// The item's id, or its position when it has none.
        item: String,
        /// The field's name; fields of `data` are written `data.name`.
        field: &'static str,
        /// What is wrong and what is accepted.
        reason: String,
    },
    /// A stored `deal_type` that is neither a type nor a built-in alias.
    #[error(
        "RB-DEAL-6: deal_type {value:?} is not acquisition, carveout or divestiture and has no \
         built-in alias; correct the deal, or map the value before migration 004"
    )]
    InvalidDealType {
        /// The stored text, cut to 64 characters.
        value: String,
    },
    /// A sum exceeds the range of 64-bit cents.
    #[error("RB-DEAL-7: {what} exceeds the range of 64-bit cents; check the inventory's numbers")]
    Overflow {
        /// The figure that did not fit.
        what: &'static str,
    },
}
