//! Sums up deal types for the event of a comparison, within the size of an event. Pure.

use std::collections::BTreeMap;

use rollbook_proto::v1::TypeClasses;

use super::rules::Class;
use super::tally::OTHER;

/// Maximum number of deal types counted separately.
const MAX_TYPES: usize = 64;

/// The longest name of a deal type, in characters; types are free text of the source.
const MAX_TYPE_CHARS: usize = 64;

/// Deals per type and class: the types with the most deals by name, then all others under one name.
pub(super) fn by_type(counts: &BTreeMap<String, BTreeMap<Class, u64>>) -> Vec<TypeClasses> {
    let deals = |classes: &BTreeMap<Class, u64>| classes.values().sum::<u64>();
    let mut types: Vec<_> = counts.iter().collect();
    // The sort is stable: among equals the first by name stays first.
    types.sort_by_key(|(_, classes)| std::cmp::Reverse(deals(classes)));
    let (named, rest) = types.split_at(types.len().min(MAX_TYPES));
    let mut kept: BTreeMap<String, TypeClasses> = BTreeMap::new();
    for (name, classes) in named {
        let name: String = name.chars().take(MAX_TYPE_CHARS).collect();
        add(kept.entry(name).or_default(), classes);
    }
    let mut other = kept.remove(OTHER).unwrap_or_default();
    for (_, classes) in rest {
        add(&mut other, classes);
    }
    let is_other = other != TypeClasses::default();
    let named = kept.into_iter();
    named
        .chain(is_other.then(|| (OTHER.to_owned(), other)))
        .map(|(deal_type, classes)| TypeClasses {
            deal_type,
            ..classes
        })
        .collect()
}

fn add(to: &mut TypeClasses, classes: &BTreeMap<Class, u64>) {
    for (class, deals) in classes {
        let sum = match class {
            Class::Equal => &mut to.equal,
            Class::WithinTolerance => &mut to.within_tolerance,
            Class::Ignored => &mut to.ignored,
            Class::Expected => &mut to.expected,
            Class::Warning => &mut to.warnings,
            Class::Unexpected => &mut to.unexpected,
            Class::Regression => &mut to.regressions,
        };
        *sum += deals;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn many_long_types_are_counted_and_fit_into_the_event() {
        let mut counts: BTreeMap<String, BTreeMap<Class, u64>> = (0..200u64)
            .map(|n| {
                let name = format!("{n:03}{}", "x".repeat(5_000));
                (
                    name,
                    BTreeMap::from([(Class::Equal, n), (Class::Regression, 1)]),
                )
            })
            .collect();
        counts.insert(OTHER.to_owned(), BTreeMap::from([(Class::Warning, 1_000)]));
        let found = by_type(&counts);
        assert_eq!(found.len(), MAX_TYPES);
        assert!(found.iter().all(|t| t.deal_type.len() <= MAX_TYPE_CHARS));
        assert!(
            found[0].deal_type.starts_with("137"),
            "{}",
            found[0].deal_type
        );
        let other = found.last().unwrap();
        assert_eq!((&*other.deal_type, other.warnings), (OTHER, 1_000));
        assert_eq!((other.equal, other.regressions), ((0..137).sum(), 137));
        let all: u64 = found.iter().map(|t| t.equal + t.regressions).sum();
        assert_eq!(all, (0..200).sum::<u64>() + 200);
    }

    #[test]
    fn few_types_are_listed_individually() {
        let counts = BTreeMap::from([
            ("square".to_owned(), BTreeMap::from([(Class::Expected, 3)])),
            (
                "triangle".to_owned(),
                BTreeMap::from([(Class::Unexpected, 2)]),
            ),
        ]);
        let found = by_type(&counts);
        let names: Vec<&str> = found.iter().map(|t| &*t.deal_type).collect();
        assert_eq!(names, ["square", "triangle"]);
        assert_eq!((found[0].expected, found[1].unexpected), (3, 2));
    }
}
