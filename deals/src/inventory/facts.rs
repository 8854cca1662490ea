//! What the rules read from each field, for people and for the reader: which items have it, how its
//! value is read, and what counts where there is none.

use serde::Serialize;

use super::fields::{HOSTED_BY_PARENT, OWNED_BY_PARENT, YesOrNo};
use super::raw::Field;
use super::{
    Complexity, CostStatus, Deployment, Entity, InfrastructureKind, ItemKind, NOTES_OF_PARENT,
    Status,
};
use crate::category::AppCategory;

/// How the value of a field is read. Words are compared trimmed, without regard to ASCII case, and
/// with `-` and blanks as `_`.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reading {
    /// An object with further fields.
    Fields,
    /// A text that must be there.
    Id,
    /// Any text; empty where there is none.
    Text,
    /// A number, rounded up to a whole one.
    Count {
        /// What counts where there is none.
        missing: i64,
    },
    /// A number of dollars, read as cents; unknown where there is none.
    Dollars,
    /// A number with up to six decimal places; 0 where there is none.
    Quantity,
    /// True or false; false where there is none.
    YesOrNo,
    /// A word of a list.
    Word {
        /// The words that mean the same, in groups; the first of each is its name.
        words: fn() -> Vec<Vec<&'static str>>,
        /// What another word counts as.
        other: Other,
    },
    /// A text in which these words are looked for.
    Mentions(&'static [&'static str]),
}

/// What a word that is on no list counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Other {
    /// It is an error of the deal.
    Refused,
    /// As if the field were this.
    Is(&'static str),
}

/// What is known of a field.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts {
    /// The items whose field is read.
    pub(crate) kinds: &'static [ItemKind],
    /// How.
    pub(crate) reading: Reading,
    /// What the rules take from it.
    pub(crate) meaning: &'static str,
}

/// One field as it is printed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FieldDescription {
    /// Its name; fields of `data` are written `data.name`.
    pub field: &'static str,
    /// The inventory types that have it.
    pub of: Vec<&'static str>,
    /// How its value is read.
    pub read_as: &'static str,
    /// What counts where there is none.
    pub missing: String,
    /// The words it may have; those of one group mean the same.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub words: Vec<Vec<&'static str>>,
    /// What any other word counts as.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub other_words: Option<&'static str>,
    /// What the rules take from it.
    pub meaning: &'static str,
}

impl ItemKind {
    const ALL: [Self; 4] = [
        Self::Application,
        Self::Infrastructure,
        Self::Organization,
        Self::Vendor,
    ];

    /// Its name as `inventory_type`.
    pub(crate) fn as_str(self) -> &'static str {
        let named = Self::WORDS.iter().find(|(_, kind)| *kind == self);
        named.map_or("", |(word, _)| word)
    }
}

/// The words of a list in groups of the same meaning; no word at all is not one of them.
fn grouped<T: PartialEq + Copy>(words: &[(&'static str, T)]) -> Vec<Vec<&'static str>> {
    let mut groups: Vec<(T, Vec<&'static str>)> = Vec::new();
    for (word, meaning) in words.iter().filter(|(word, _)| !word.is_empty()) {
        match groups.iter_mut().find(|(known, _)| known == meaning) {
            Some((_, group)) => group.push(word),
            None => groups.push((*meaning, vec![word])),
        }
    }
    groups.into_iter().map(|(_, group)| group).collect()
}

/// The words of each category.
pub(crate) fn category_words() -> Vec<Vec<&'static str>> {
    grouped(AppCategory::WORDS)
}

impl Facts {
    /// What a count is where there is none.
    #[inline(always)]
    pub(super) const fn missing_count(self) -> i64 {
        match self.reading {
            Reading::Count { missing } => missing,
            _ => 0,
        }
    }
}

impl Field {
    /// What is known of the field.
    #[inline(always)]
    pub(crate) const fn facts(self) -> Facts {
        use ItemKind::{Application, Infrastructure, Organization};
        const ALL: &[ItemKind] = &ItemKind::ALL;
        const APPLICATION: &[ItemKind] = &[Application];
        const INFRASTRUCTURE: &[ItemKind] = &[Infrastructure];
        const ORGANIZATION: &[ItemKind] = &[Organization];
        const OWNED: &[ItemKind] = &[Application, Infrastructure];
        const PLACED: &[ItemKind] = &[Infrastructure, Organization];
        const NONE: Reading = Reading::Count { missing: 0 };
        let (kinds, reading, meaning) = match self {
            Self::ItemId => (ALL, Reading::Id, "identifies the item within its deal"),
            Self::InventoryType => (
                ALL,
                Reading::Word {
                    words: || grouped(ItemKind::WORDS),
                    other: Other::Refused,
                },
                "what kind of item it is",
            ),
            Self::Entity => (
                ALL,
                Reading::Word {
                    words: || grouped(Entity::WORDS),
                    other: Other::Refused,
                },
                "which company has the item; only synergies read the buyer's",
            ),
            Self::Name => (ALL, Reading::Text, "stands for the ERP without a vendor"),
            Self::Status => (
                ALL,
                Reading::Word {
                    words: || grouped(Status::WORDS),
                    other: Other::Is("an item that does not count"),
                },
                "only active items count; all are checked",
            ),
            Self::Data => (ALL, Reading::Fields, "the fields below"),
            Self::Vendor => (
                APPLICATION,
                Reading::Text,
                "tells the complexity of the ERP",
            ),
            Self::Category => (
                APPLICATION,
                Reading::Word {
                    words: category_words,
                    other: Other::Is("other"),
                },
                "factor, complexity, synergies, separation",
            ),
            Self::Users => (APPLICATION, NONE, "people who use it"),
            Self::Cost => (APPLICATION, Reading::Dollars, "yearly cost"),
            Self::CostStatus => (
                APPLICATION,
                Reading::Word {
                    words: || grouped(CostStatus::WORDS),
                    other: Other::Is("known"),
                },
                "unknown: no cost is known; internal_no_cost: it is 0",
            ),
            Self::Hosting => (
                OWNED,
                Reading::Mentions(&HOSTED_BY_PARENT),
                "makes the item the parent's",
            ),
            Self::DeploymentType => (
                APPLICATION,
                Reading::Word {
                    words: || grouped(Deployment::WORDS),
                    other: Other::Is("unknown"),
                },
                "factor of moving it",
            ),
            Self::Complexity => (
                APPLICATION,
                Reading::Word {
                    words: || grouped(Complexity::WORDS),
                    other: Other::Is("not stated: it is inferred"),
                },
                "factor of moving it",
            ),
            Self::Notes => (
                APPLICATION,
                Reading::Mentions(&NOTES_OF_PARENT),
                "makes its category one shared with the parent",
            ),
            Self::ApiIntegrations => (APPLICATION, NONE, "API integrations"),
            Self::SsoRequired => (
                APPLICATION,
                Reading::YesOrNo,
                "single sign-on must be set up",
            ),
            Self::DataVolumeGb => (APPLICATION, Reading::Quantity, "data to move, gigabytes"),
            Self::CustomInterfaces => (APPLICATION, NONE, "custom interfaces"),
            Self::HostedByParent => (OWNED, Reading::YesOrNo, "makes the item the parent's"),
            Self::Ownership => (
                OWNED,
                Reading::Word {
                    words: || OWNED_BY_PARENT.iter().map(|word| vec![*word]).collect(),
                    other: Other::Is("the company's own"),
                },
                "makes the item the parent's",
            ),
            Self::Kind => (
                INFRASTRUCTURE,
                Reading::Word {
                    words: || grouped(InfrastructureKind::WORDS),
                    other: Other::Is("a kind that drives nothing"),
                },
                "which driver it counts for",
            ),
            Self::Location => (PLACED, Reading::Text, "distinct ones are the sites"),
            Self::Count => (
                INFRASTRUCTURE,
                Reading::Count { missing: 1 },
                "how many there are",
            ),
            Self::Headcount => (ORGANIZATION, NONE, "people; before data.fte"),
            Self::Fte => (ORGANIZATION, NONE, "people, if there is no headcount"),
        };
        Facts {
            kinds,
            reading,
            meaning,
        }
    }

    /// The field as it is printed.
    pub(crate) fn describe(self) -> FieldDescription {
        let facts = self.facts();
        let (mut words, mut other_words) = (Vec::new(), None);
        let (read_as, missing) = match facts.reading {
            Reading::Fields => ("object", "no further fields".to_owned()),
            Reading::Id => ("text", "refused".to_owned()),
            Reading::Text => ("text", "empty".to_owned()),
            Reading::Count { missing } => ("number, rounded up", missing.to_string()),
            Reading::Dollars => ("dollars, rounded to cents", "unknown".to_owned()),
            Reading::Quantity => ("number", "0".to_owned()),
            Reading::YesOrNo => {
                words = grouped(YesOrNo::WORDS);
                other_words = Some("refused");
                ("true or false", "false".to_owned())
            }
            Reading::Word {
                words: known,
                other,
            } => {
                words = known();
                let counts_as = match other {
                    Other::Refused => "refused",
                    Other::Is(what) => what,
                };
                other_words = Some(counts_as);
                let missing = match self {
                    Self::Entity | Self::Status | Self::CostStatus => {
                        words.first().and_then(|group| group.first()).copied()
                    }
                    _ => None,
                };
                ("word", missing.unwrap_or(counts_as).to_owned())
            }
            Reading::Mentions(mentioned) => {
                words = mentioned.iter().map(|word| vec![*word]).collect();
                ("text with one of the words", "none of them".to_owned())
            }
        };
        FieldDescription {
            field: self.path(),
            of: facts.kinds.iter().map(|kind| kind.as_str()).collect(),
            read_as,
            missing,
            words,
            other_words,
            meaning: facts.meaning,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::parse;

    /// An inventory with one item of a kind, and a field set to a value.
    fn with(kind: ItemKind, field: Field, value: Value) -> Value {
        let mut item = json!({"item_id": "x", "inventory_type": kind.as_str(), "data": {}});
        match field.path().strip_prefix("data.") {
            Some(key) => item["data"][key] = value,
            None => item[field.path()] = value,
        }
        json!([item])
    }

    fn parsed(inventory: &Value) -> Result<String, String> {
        let json = inventory.to_string();
        let inventory = parse(json.as_bytes());
        inventory
            .map(|it| format!("{it:?}"))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn exactly_the_fields_of_an_item_are_read() {
        for field in Field::ALL {
            for kind in ItemKind::ALL {
                // A nested value fits no field but `data`.
                let refused = parsed(&with(kind, field, json!([1]))).is_err();
                let is_read = field.facts().kinds.contains(&kind);
                assert_eq!(refused, is_read, "{} of {kind:?}", field.path());
            }
        }
    }

    #[test]
    fn a_missing_field_counts_as_it_is_described() {
        for field in Field::ALL {
            let facts = field.facts();
            let described = field.describe();
            let value = match facts.reading {
                Reading::Fields | Reading::Id | Reading::Dollars => continue,
                Reading::Text | Reading::Mentions(_) => json!(""),
                Reading::Count { missing } => json!(missing),
                Reading::Quantity => json!(0),
                Reading::YesOrNo => json!(false),
                Reading::Word { words, other } => {
                    let known = words().concat();
                    assert!(!known.is_empty(), "{}", field.path());
                    match other {
                        Other::Refused if field == Field::InventoryType => continue,
                        _ if known.contains(&described.missing.as_str()) => {
                            json!(described.missing)
                        }
                        _ => json!("?"),
                    }
                }
            };
            // The category is kept as it is written, too.
            if field == Field::Category {
                continue;
            }
            for kind in facts.kinds {
                let without = with(*kind, Field::Data, json!({}));
                let stated = with(*kind, field, value.clone());
                assert_eq!(
                    parsed(&stated),
                    parsed(&without),
                    "{}: {value}",
                    field.path()
                );
            }
        }
    }

    #[test]
    fn other_words_count_as_they_are_described() {
        for field in Field::ALL {
            let Reading::Word { words, other } = field.facts().reading else {
                continue;
            };
            for kind in field.facts().kinds {
                let of = |word: &str| parsed(&with(*kind, field, json!(word)));
                assert_eq!(
                    of("?").is_err(),
                    other == Other::Refused,
                    "{}",
                    field.path()
                );
                for group in words() {
                    let readings: Vec<_> = group.iter().map(|word| of(word)).collect();
                    let is_same = field == Field::Category
                        || readings.iter().all(|it| Some(it) == readings.first());
                    assert!(is_same, "{}: {group:?}: {readings:?}", field.path());
                }
            }
        }
    }

    #[test]
    fn every_category_has_words_that_mean_it() {
        for category in AppCategory::ALL {
            let group = category_words()
                .into_iter()
                .find(|group| group.contains(&category.as_str()));
            let group = group.unwrap_or_default();
            assert!(!group.is_empty(), "{category:?}");
            for word in group {
                assert_eq!(AppCategory::from_text(word), category, "{word}");
            }
        }
        assert_eq!(category_words().len(), AppCategory::ALL.len());
    }
}
