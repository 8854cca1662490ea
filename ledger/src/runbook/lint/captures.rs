//! Labels of captures: each is taken once, before it is compared.

use std::collections::HashSet;

use super::super::diagnostic::Code;
use super::Linter;
use crate::suggestion::suggest;

pub(super) fn check(linter: &mut Linter<'_>) {
    let mut labels: HashSet<(&str, &str)> = HashSet::new();
    for placed in linter.steps() {
        let kind = placed.step.action.kind();
        let path = placed.path.key(kind.name());
        if let Some(taken) = kind.capture()
            && !labels.insert((&taken.of, &taken.label))
        {
            linter.error(
                Code::Duplicate,
                &path.key("label"),
                format!(
                    "snapshot `{}` already has a label `{}`",
                    taken.of, taken.label
                ),
                Some("give each capture its own label".to_owned()),
            );
        }
        let Some(compared) = kind.comparison() else {
            continue;
        };
        for (key, label) in [("before", &compared.before), ("after", &compared.after)] {
            if labels.contains(&(compared.of.as_str(), label.as_str())) {
                continue;
            }
            let mut known: Vec<&str> = labels
                .iter()
                .filter(|(of, _)| *of == compared.of)
                .map(|(_, label)| *label)
                .collect();
            known.sort_unstable();
            linter.error(
                Code::UnknownLabel,
                &path.key(key),
                format!(
                    "no step before this one captures `{}` as `{label}`",
                    compared.of
                ),
                suggest(label, &known),
            );
        }
    }
}
