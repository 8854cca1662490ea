//! The deals of a snapshot that could not be computed.

use std::borrow::Cow;

use rollbook_ledger::evidence::EvidenceStore;
use serde::Serialize;

use super::row::RowFields;
use super::{Snapshot, SnapshotError};

/// A deal without figures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ErrorRow {
    /// The deal's id.
    pub deal_id: String,
    /// The type as stored; `NULL` when the deal has none.
    pub deal_type: String,
    /// The code that the error has, if it has one; that of a program of the user need not.
    pub code: Option<String>,
    /// What was wrong, without the code.
    pub message: String,
}

impl ErrorRow {
    fn of(deal_id: &str, deal_type: &str, error: &str) -> Self {
        let (code, message) = split(error);
        Self {
            deal_id: deal_id.to_owned(),
            deal_type: deal_type.to_owned(),
            code: code.map(str::to_owned),
            message: message.into_owned(),
        }
    }
}

/// A row keeps only the text of its error, which starts with the code. What a program of the user
/// says may look the same; nothing is decided by it.
fn split(error: &str) -> (Option<&str>, Cow<'_, str>) {
    let whole = || (None, Cow::Borrowed(error));
    let Some((code, message)) = error.split_once(": ") else {
        return whole();
    };
    let mut parts = code.splitn(3, '-');
    let (begin, module, number) = (parts.next(), parts.next(), parts.next());
    let is_code = begin == Some("RB")
        && module
            .is_some_and(|it| !it.is_empty() && it.bytes().all(|byte| byte.is_ascii_uppercase()))
        && number.is_some_and(|it| !it.is_empty() && it.bytes().all(|byte| byte.is_ascii_digit()));
    match is_code {
        true => (Some(code), Cow::Borrowed(message)),
        false => whole(),
    }
}

/// The first error rows of a snapshot in key order, at most `limit`. The manifest counts all of
/// them. Parts without errors are not read.
pub async fn error_rows(
    snapshot: &Snapshot,
    store: &EvidenceStore,
    limit: usize,
) -> Result<Vec<ErrorRow>, SnapshotError> {
    let mut found = Vec::new();
    for (place, part) in snapshot.manifest.parts.iter().enumerate() {
        if found.len() >= limit {
            break;
        }
        if part.errors == 0 {
            continue;
        }
        for row in snapshot.read_rows(store, place).await? {
            if let Some(error) = row.error()
                && found.len() < limit
            {
                found.push(ErrorRow::of(&row.deal_id, &row.deal_type, error));
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_split_into_code_and_message() {
        for (error, code, message) in [
            (
                "RB-DEAL-3: item id: twice",
                Some("RB-DEAL-3"),
                "item id: twice",
            ),
            ("no such product", None, "no such product"),
            ("RB-deal-3: no", None, "RB-deal-3: no"),
            ("RB-DEAL-x: no", None, "RB-DEAL-x: no"),
            ("RB--3: no", None, "RB--3: no"),
            ("RB-DEAL-3", None, "RB-DEAL-3"),
        ] {
            assert_eq!(split(error), (code, Cow::Borrowed(message)), "{error}");
        }
    }
}
