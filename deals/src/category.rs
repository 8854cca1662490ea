//! Application categories: maps the words of inventories to the words of the rules.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::word::{trimmed, words};

/// A category that some rule names (deal rules §3 "Per-application" and §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)] // The variants are the category words themselves.
pub enum AppCategory {
    Analytics,
    Collaboration,
    Communication,
    CoreBusiness,
    Crm,
    Custom,
    Database,
    Devops,
    Email,
    Erp,
    FileSharing,
    Finance,
    Hcm,
    Identity,
    IndustryVertical,
    Infrastructure,
    Manufacturing,
    /// No category, or one that no rule names.
    Other,
    Productivity,
    Security,
    SupplyChain,
}

impl AppCategory {
    /// Every category, in the order of their names.
    pub const ALL: [Self; 21] = [
        Self::Analytics,
        Self::Collaboration,
        Self::Communication,
        Self::CoreBusiness,
        Self::Crm,
        Self::Custom,
        Self::Database,
        Self::Devops,
        Self::Email,
        Self::Erp,
        Self::FileSharing,
        Self::Finance,
        Self::Hcm,
        Self::Identity,
        Self::IndustryVertical,
        Self::Infrastructure,
        Self::Manufacturing,
        Self::Other,
        Self::Productivity,
        Self::Security,
        Self::SupplyChain,
    ];

    /// The name used in the model file and in synergies.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Analytics => "analytics",
            Self::Collaboration => "collaboration",
            Self::Communication => "communication",
            Self::CoreBusiness => "core_business",
            Self::Crm => "crm",
            Self::Custom => "custom",
            Self::Database => "database",
            Self::Devops => "devops",
            Self::Email => "email",
            Self::Erp => "erp",
            Self::FileSharing => "file_sharing",
            Self::Finance => "finance",
            Self::Hcm => "hcm",
            Self::Identity => "identity",
            Self::IndustryVertical => "industry_vertical",
            Self::Infrastructure => "infrastructure",
            Self::Manufacturing => "manufacturing",
            Self::Other => "other",
            Self::Productivity => "productivity",
            Self::Security => "security",
            Self::SupplyChain => "supply_chain",
        }
    }

    /// Maps one spelling to a category. Text is trimmed, ASCII case is ignored, and space, `-` and
    /// `/` are read as `_`. Two words for the same thing in the sources (finance/financial,
    /// hcm/hr/hris, BI/analytics) are one category. Anything unknown is [`AppCategory::Other`].
    #[must_use]
    pub fn from_text(text: &str) -> Self {
        // Fast path: nearly every text is exactly one of the words.
        Self::of_word(text)
            .or_else(|| Self::of_word(&folded(text)))
            .unwrap_or(Self::Other)
    }
}

words!(AppCategory {
    "analytics" | "bi" | "bi_analytics" | "business_intelligence" => Self::Analytics,
    "collaboration" => Self::Collaboration,
    "communication" => Self::Communication,
    "core_business" => Self::CoreBusiness,
    "crm" => Self::Crm,
    "custom" => Self::Custom,
    "database" => Self::Database,
    "devops" => Self::Devops,
    "email" => Self::Email,
    "erp" => Self::Erp,
    "file_sharing" => Self::FileSharing,
    "finance" | "financial" | "accounting" => Self::Finance,
    "hcm" | "hr" | "hris" | "human_resources" => Self::Hcm,
    "identity" => Self::Identity,
    "industry_vertical" => Self::IndustryVertical,
    "infrastructure" => Self::Infrastructure,
    "manufacturing" => Self::Manufacturing,
    "other" => Self::Other,
    "productivity" => Self::Productivity,
    "security" => Self::Security,
    "supply_chain" => Self::SupplyChain,
});

/// The form in which category texts are compared: trimmed, in lower case, with `_` for space, `-`
/// and `/`.
pub(super) fn folded(text: &str) -> Cow<'_, str> {
    let text = trimmed(text);
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    if text.bytes().all(plain) {
        Cow::Borrowed(text)
    } else {
        let separator = |c: char| matches!(c, ' ' | '-' | '/');
        Cow::Owned(text.to_ascii_lowercase().replace(separator, "_"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_are_normalised_and_unknown_categories_become_other() {
        for (text, expected) in [
            (" ERP ", AppCategory::Erp),
            ("Supply Chain", AppCategory::SupplyChain),
            ("file-sharing", AppCategory::FileSharing),
            ("Financial", AppCategory::Finance),
            ("BI/Analytics", AppCategory::Analytics),
            ("HRIS", AppCategory::Hcm),
            ("legal", AppCategory::Other),
            ("", AppCategory::Other),
        ] {
            assert_eq!(AppCategory::from_text(text), expected, "{text:?}");
        }
        for category in AppCategory::ALL {
            assert_eq!(AppCategory::from_text(category.as_str()), category);
        }
    }
}
