//! What somebody may have meant by a name that nothing has.

/// The most names suggested at once.
const AT_MOST: usize = 3;
/// The most names listed where none is close.
const LISTED: usize = 30;

/// Returns the known name closest to `wrong`, if one is close enough.
pub fn closest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (wrong.chars().count() / 3).max(1);
    within(wrong, known, limit).into_iter().next()
}

/// Suggests "did you mean", or else a shortened list of the known names.
pub fn suggest(wrong: &str, known: &[&str]) -> Option<String> {
    if let Some(name) = closest(wrong, known.iter().copied()) {
        return Some(format!("did you mean `{name}`?"));
    }
    if known.is_empty() {
        return None;
    }
    let shown: Vec<String> = known
        .iter()
        .take(LISTED)
        .map(|name| format!("`{name}`"))
        .collect();
    let more = if known.len() > LISTED { ", …" } else { "" };
    Some(format!("known: {}{more}", shown.join(", ")))
}

/// Suggests the ids that are closest to one that nothing has, or that it begins: "did you mean `1.2`
/// or `1.3`?". Ids differ by little, so all that are equally close are named, and none if the id is
/// too short to tell.
pub fn did_you_mean<'a>(
    wrong: &str,
    known: impl IntoIterator<Item = &'a str> + Clone,
) -> Option<String> {
    if known.clone().into_iter().any(|name| name == wrong) {
        return None;
    }
    let length = wrong.chars().count();
    let mut meant = within(wrong, known.clone(), length / 3);
    if meant.is_empty() && length > 2 {
        let begun = |name: &&str| name.to_lowercase().starts_with(&wrong.to_lowercase());
        meant = known.into_iter().filter(begun).collect();
        meant.dedup();
    }
    meant.truncate(AT_MOST);
    let names: Vec<String> = meant.iter().map(|name| format!("`{name}`")).collect();
    let (last, others) = names.split_last()?;
    Some(if others.is_empty() {
        format!("did you mean {last}?")
    } else {
        format!("did you mean {} or {last}?", others.join(", "))
    })
}

/// Puts a question before what else may help.
pub(crate) fn leading(meant: &Option<String>) -> String {
    meant
        .as_ref()
        .map_or_else(String::new, |meant| format!("{meant} "))
}

/// The names with the smallest number of edits, if that is not above `limit`, in their order.
fn within<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>, limit: usize) -> Vec<&'a str> {
    let wrong = wrong.to_lowercase();
    let mut best = limit;
    let mut found: Vec<&str> = Vec::new();
    for name in known {
        let distance = strsim::damerau_levenshtein(&wrong, &name.to_lowercase());
        if distance > best {
            continue;
        }
        if distance < best {
            found.clear();
            best = distance;
        }
        if !found.contains(&name) {
            found.push(name);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closest_ids_are_suggested() {
        let steps = ["1.1", "1.2", "2.1", "10.4"];
        let meant = |wrong: &str| did_you_mean(wrong, steps).unwrap_or_default();
        assert_eq!(meant("1.3"), "did you mean `1.1` or `1.2`?");
        assert_eq!(meant("104"), "did you mean `10.4`?");
        assert_eq!(meant("7.7"), "");
        assert_eq!(meant("1"), "");
        let environments = ["production", "staging"];
        let meant = |wrong: &str| did_you_mean(wrong, environments).unwrap_or_default();
        assert_eq!(meant("prodution"), "did you mean `production`?");
        assert_eq!(meant("prod"), "did you mean `production`?");
        assert_eq!(meant("Staging"), "did you mean `staging`?");
        assert_eq!(meant("moon"), "");
        assert_eq!(did_you_mean("staging", environments), None);
        assert_eq!(did_you_mean("a", []), None);
    }

    #[test]
    fn keys_are_suggested_or_listed() {
        let known = ["run", "http", "sql"];
        assert_eq!(
            suggest("rn", &known).as_deref(),
            Some("did you mean `run`?")
        );
        assert_eq!(
            suggest("teleport", &known).as_deref(),
            Some("known: `run`, `http`, `sql`")
        );
        assert_eq!(suggest("run", &[]), None);
    }
}
