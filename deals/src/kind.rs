//! The three deal types, and what a stored `deal_type` means.

use serde::{Deserialize, Serialize};

use super::error::DealError;

/// What happens to the target of a deal (deal rules §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DealType {
    /// The target joins the buyer: consolidate.
    Acquisition,
    /// The target leaves its parent and must stand alone, with transition services in the meantime.
    Carveout,
    /// The target is sold off and its systems are extracted; no transition services.
    Divestiture,
}

impl DealType {
    /// Every type, in the order of the rule tables.
    pub const ALL: [Self; 3] = [Self::Acquisition, Self::Carveout, Self::Divestiture];

    /// What happens to the target, in a sentence.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Acquisition => "the target joins the buyer",
            Self::Carveout => {
                "the target leaves its parent and must stand alone, with transition services"
            }
            Self::Divestiture => {
                "the target is sold off and its systems are extracted, without transition services"
            }
        }
    }

    /// What a deal without a type, or with a blank one, counts as.
    pub const WITHOUT_TYPE: Self = Self::Acquisition;

    /// The value stored in `deals.deal_type`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Acquisition => "acquisition",
            Self::Carveout => "carveout",
            Self::Divestiture => "divestiture",
        }
    }

    /// Accepts exactly the values that the CHECK `valid_deal_type` accepts: no case folding, no
    /// trimming, no alias.
    #[must_use]
    pub fn parse_strict(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }

    /// The type that a deal is computed as when deal-type awareness is on: its own, or the one that
    /// migration 004 will give it (NULL, blank and built-in aliases).
    ///
    /// # Errors
    /// [`DealError::InvalidDealType`] for a value that nothing maps; the type is never guessed.
    pub fn resolve(stored: Option<&str>) -> Result<Self, DealError> {
        match classify(stored) {
            TypeClass::Valid(kind) | TypeClass::Alias(kind) => Ok(kind),
            TypeClass::Null => Ok(Self::WITHOUT_TYPE),
            TypeClass::Invalid => Err(DealError::InvalidDealType {
                value: stored.unwrap_or_default().chars().take(64).collect(),
            }),
        }
    }
}

impl std::fmt::Display for DealType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a stored `deal_type` is interpreted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TypeClass {
    /// One of the three values, exactly as the CHECK constraint requires.
    Valid(DealType),
    /// NULL or blank; counts as an acquisition.
    Null,
    /// Another spelling, or a word with a built-in meaning.
    Alias(DealType),
    /// Anything else; a person must map it.
    Invalid,
}

/// The built-in aliases (deal rules, decisions: "Unknown deal types in migration 004"). The same
/// rows seed `deal_type_alias` in migration 004; a test compares the two lists.
pub const BUILT_IN_ALIASES: [(&str, DealType); 11] = [
    ("merger", DealType::Acquisition),
    ("investment", DealType::Acquisition),
    ("other", DealType::Acquisition),
    ("bolt_on", DealType::Acquisition),
    ("platform", DealType::Acquisition),
    ("carve-out", DealType::Carveout),
    ("carve_out", DealType::Carveout),
    ("spinoff", DealType::Carveout),
    ("spin-off", DealType::Carveout),
    ("sale", DealType::Divestiture),
    ("disposal", DealType::Divestiture),
];

/// White space that migration 004 trims, so that SQL and Rust agree on every value.
fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\u{b}' | '\u{c}')
}

/// Interprets a stored `deal_type`. Aliases are compared trimmed and ignoring ASCII case.
#[must_use]
pub fn classify(stored: Option<&str>) -> TypeClass {
    let Some(stored) = stored else {
        return TypeClass::Null;
    };
    if let Some(kind) = DealType::parse_strict(stored) {
        return TypeClass::Valid(kind);
    }
    let trimmed = stored.trim_matches(is_blank);
    if trimmed.is_empty() {
        return TypeClass::Null;
    }
    let own_names = DealType::ALL.map(|kind| (kind.as_str(), kind));
    own_names
        .into_iter()
        .chain(BUILT_IN_ALIASES)
        .find(|(alias, _)| trimmed.eq_ignore_ascii_case(alias))
        .map_or(TypeClass::Invalid, |(_, kind)| TypeClass::Alias(kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_values_are_classified() {
        use DealType::{Acquisition, Carveout, Divestiture};
        for (stored, expected) in [
            (Some("acquisition"), TypeClass::Valid(Acquisition)),
            (Some("carveout"), TypeClass::Valid(Carveout)),
            (Some("divestiture"), TypeClass::Valid(Divestiture)),
            (None, TypeClass::Null),
            (Some(""), TypeClass::Null),
            (Some(" \t\n"), TypeClass::Null),
            (Some(" Acquisition"), TypeClass::Alias(Acquisition)),
            (Some("MERGER"), TypeClass::Alias(Acquisition)),
            (Some("bolt_on"), TypeClass::Alias(Acquisition)),
            (Some(" Carve-Out "), TypeClass::Alias(Carveout)),
            (Some("spin-off"), TypeClass::Alias(Carveout)),
            (Some("Disposal"), TypeClass::Alias(Divestiture)),
            (Some("joint_venture"), TypeClass::Invalid),
            (Some("carve out"), TypeClass::Invalid),
            (Some("\u{a0}sale"), TypeClass::Invalid),
        ] {
            assert_eq!(classify(stored), expected, "{stored:?}");
        }
    }

    #[test]
    fn an_unmapped_type_is_an_error_and_never_guessed() {
        assert_eq!(DealType::resolve(None), Ok(DealType::Acquisition));
        assert_eq!(DealType::resolve(Some("Sale")), Ok(DealType::Divestiture));
        let error = DealType::resolve(Some("lbo")).unwrap_err().to_string();
        assert!(error.contains("\"lbo\""), "{error}");
    }
}
