//! Checklist items: each is answered on its own, so each must be distinct.

use std::collections::HashMap;

use super::super::diagnostic::Code;
use super::super::step::Action;
use super::Linter;
use crate::person;

pub(super) fn check(linter: &mut Linter<'_>) {
    for placed in linter.steps() {
        let Action::Manual(manual) = &placed.step.action else {
            continue;
        };
        let path = placed.path.key("manual").key("checklist");
        let mut seen: HashMap<String, usize> = HashMap::new();
        for (i, item) in manual.checklist.iter().enumerate() {
            let normal = person::normal(item);
            if normal.is_empty() {
                linter.error(
                    Code::Checklist,
                    &path.index(i),
                    format!("item {} says nothing", i + 1),
                    None,
                );
            } else if let Some(first) = seen.insert(normal, i) {
                linter.error(
                    Code::Checklist,
                    &path.index(i),
                    format!("item {} is the same as item {}: `{item}`", i + 1, first + 1),
                    None,
                );
            }
        }
    }
}
