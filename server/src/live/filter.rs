//! Selects the events that a client wants.

use std::collections::BTreeSet;

use rollbook_ledger::ids::{EnvironmentId, RolloutId};
use rollbook_proto::EVENT_NAMES;

use super::event::About;
use super::signals::PROGRESS;

/// Each set filters separately; an empty one matches everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Filter {
    rollouts: BTreeSet<String>,
    types: BTreeSet<String>,
    environments: BTreeSet<String>,
}

impl Filter {
    /// The filter of a query; ignores its other parameters.
    ///
    /// # Errors
    /// A value is invalid: it would never match anything.
    pub(crate) fn of(query: &[(String, String)]) -> Result<Self, String> {
        let mut filter = Self::default();
        for (name, value) in query {
            let (set, wrong) = match name.as_str() {
                "rollout" => (&mut filter.rollouts, RolloutId::new(value).err()),
                "environment" => (&mut filter.environments, EnvironmentId::new(value).err()),
                "type" => {
                    if !EVENT_NAMES.contains(&value.as_str()) && value != PROGRESS {
                        return Err(format!(
                            "there is no type of event `{value}`; it is {PROGRESS} or one of {}",
                            EVENT_NAMES.join(", ")
                        ));
                    }
                    (&mut filter.types, None)
                }
                _ => continue,
            };
            if let Some(wrong) = wrong {
                return Err(wrong.to_string());
            }
            set.insert(value.clone());
        }
        Ok(filter)
    }

    /// Whether it matches everything.
    pub(crate) fn is_everything(&self) -> bool {
        *self == Self::default()
    }

    /// Whether an event of this type and subject matches.
    pub(crate) fn wants(&self, name: &str, about: &About) -> bool {
        let wanted = |set: &BTreeSet<String>, value: &Option<String>| {
            set.is_empty() || value.as_ref().is_some_and(|value| set.contains(value))
        };
        (self.types.is_empty() || self.types.contains(name))
            && wanted(&self.rollouts, &about.rollout)
            && wanted(&self.environments, &about.environment)
    }

    /// Whether the filter excludes every event in the rollout's own commits.
    pub(crate) fn leaves_out(&self, rollout: &str) -> bool {
        !self.rollouts.is_empty() && !self.rollouts.contains(rollout)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn filter(query: &[(&str, &str)]) -> Result<Filter, String> {
        let query: Vec<_> = query
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        Filter::of(&query)
    }

    fn about(rollout: Option<&str>, environment: Option<&str>) -> About {
        About {
            rollout: rollout.map(str::to_owned),
            environment: environment.map(str::to_owned),
        }
    }

    #[test]
    fn values_of_one_name_are_alternatives_and_names_are_conditions() {
        let all = filter(&[("after", "7")]).unwrap();
        assert!(all.wants("worker_joined", &about(None, None)));
        let some = filter(&[
            ("rollout", "a"),
            ("rollout", "b"),
            ("type", "step_started"),
            ("environment", "local"),
        ])
        .unwrap();
        assert!(some.wants("step_started", &about(Some("b"), Some("local"))));
        for (name, rollout, environment) in [
            ("step_finished", Some("a"), Some("local")),
            ("step_started", Some("c"), Some("local")),
            ("step_started", Some("a"), Some("production")),
            ("step_started", None, Some("local")),
        ] {
            assert!(
                !some.wants(name, &about(rollout, environment)),
                "{name} {rollout:?}"
            );
        }
        assert!(some.leaves_out("c") && !some.leaves_out("a") && !all.leaves_out("c"));
    }

    #[test]
    fn a_filter_that_matches_nothing_is_refused() {
        let wrong = filter(&[("type", "step_startet")]).unwrap_err();
        assert!(wrong.contains("step_started"), "{wrong}");
        assert!(filter(&[("type", "progress")]).is_ok());
        assert!(filter(&[("rollout", "a b")]).is_err());
        assert!(filter(&[("environment", "")]).is_err());
    }
}
