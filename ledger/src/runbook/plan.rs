//! The pinned plan: a runbook with parameters substituted and files inlined, its canonical
//! bytes and their digest. Everything that a rollout executes or is judged by stands in it.
//!
//! Canonical form: JSON Canonicalization Scheme (RFC 8785) of [`Document`]; the digest is the
//! lower-case hex SHA-256 of those bytes. Two plans with the same digest are the same plan.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use rollbook_proto::v1;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::model::{Environment, Phase, Runbook};
use super::order::Order;
use super::step::{Action, Step};
use crate::ids::{EnvironmentId, IdError, PhaseId, StepId};
use crate::person;

mod effect;

pub use effect::{EffectiveUndo, effective_undo, has_effect, only_reads, undo_verified_by};

/// What `format` says in the canonical document.
pub const FORMAT: &str = "rollbook/plan/v1";

/// The largest canonical plan, in bytes: a runbook and its inlined files.
pub const MAX_PLAN_BYTES: usize = 16 * 1024 * 1024;

/// Why bytes or a runbook are not a plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Larger than [`MAX_PLAN_BYTES`].
    #[error("RB-PLAN-1: the plan has {size} bytes, more than {MAX_PLAN_BYTES}; split the runbook")]
    TooLarge {
        /// Size in bytes.
        size: usize,
    },
    /// Not the JSON of a plan.
    #[error("RB-PLAN-2: the plan cannot be read: {0}; open the rollout again from its runbook")]
    Decode(String),
    /// Of another format version.
    #[error(
        "RB-PLAN-3: the plan has format `{found}`, this program reads `{FORMAT}`; use the version that wrote it"
    )]
    Format {
        /// What stands there.
        found: String,
    },
    /// Readable, but not the bytes that this program would write.
    #[error(
        "RB-PLAN-4: the plan is not in canonical form (digest {digest} expected); do not edit plan documents"
    )]
    NotCanonical {
        /// Digest of the canonical form.
        digest: String,
    },
    /// An id of the runbook is not an id.
    #[error(transparent)]
    Id(#[from] IdError),
    /// An id stands twice.
    #[error("RB-PLAN-5: {what} `{id}` stands twice; give each its own id")]
    Duplicate {
        /// `phase` or `step`.
        what: &'static str,
        /// The id.
        id: String,
    },
    /// A need names nothing.
    #[error("RB-PLAN-6: {what} needs `{need}`, which does not exist")]
    Dangling {
        /// The step or phase that needs.
        what: String,
        /// The name.
        need: String,
    },
    /// A number JSON cannot hold.
    #[error("RB-PLAN-7: the plan cannot be written as canonical JSON: {0}")]
    Encode(String),
}

/// The canonical document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// [`FORMAT`].
    pub format: String,
    /// Effective parameters: given values and defaults.
    #[serde(default)]
    pub params: BTreeMap<String, String>,
    /// The runbook, parameters substituted, files inlined.
    pub runbook: Runbook,
}

/// What must be done before a step may start.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Needs {
    /// These steps: explicit `needs`, or the step before in its phase.
    pub steps: Vec<StepId>,
    /// These phases, their gates included: the needs of the step's phase. The same for every
    /// step of a phase, so that `needs: []` cannot jump a gate.
    pub phases: Vec<PhaseId>,
}

/// A step with where it stands.
#[derive(Debug, Clone, Copy)]
pub struct PlannedStep<'a> {
    /// Its phase's id.
    pub phase_id: &'a PhaseId,
    /// Its phase.
    pub phase: &'a Phase,
    /// Its id.
    pub id: &'a StepId,
    /// The step.
    pub step: &'a Step,
}

/// A pinned plan. Ids are valid and unique, needs name existing steps and phases.
#[derive(Debug, Clone)]
pub struct Plan {
    document: Document,
    canonical: Vec<u8>,
    digest: String,
    phases: Vec<PhaseId>,
    steps: Vec<(usize, usize, StepId, Needs)>,
    by_phase: HashMap<PhaseId, usize>,
    by_step: HashMap<StepId, usize>,
    /// Roles and persons in the one spelling of their names.
    roles: BTreeMap<String, Vec<String>>,
    order: Order,
    /// For each phase the nodes, in the order, of the phases that must have passed before it.
    phases_before: Vec<Vec<usize>>,
    feeds: HashMap<StepId, Vec<StepId>>,
    /// Those that steps name.
    environments: BTreeSet<String>,
}

impl PartialEq for Plan {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

impl Plan {
    /// Pins a runbook whose parameters are substituted and whose files are inlined. `params`
    /// are the effective parameters.
    pub fn from_runbook(
        runbook: Runbook,
        params: BTreeMap<String, String>,
    ) -> Result<Self, PlanError> {
        Self::from_document(Document {
            format: FORMAT.to_owned(),
            params,
            runbook,
        })
    }

    /// Reads a pinned plan. Only canonical bytes are accepted, so that
    /// `from_canonical(bytes)?.digest()` is the SHA-256 of `bytes`.
    pub fn from_canonical(bytes: &[u8]) -> Result<Self, PlanError> {
        if bytes.len() > MAX_PLAN_BYTES {
            return Err(PlanError::TooLarge { size: bytes.len() });
        }
        let document: Document =
            serde_json::from_slice(bytes).map_err(|e| PlanError::Decode(e.to_string()))?;
        if document.format != FORMAT {
            return Err(PlanError::Format {
                found: document.format,
            });
        }
        let plan = Self::from_document(document)?;
        if plan.canonical == bytes {
            Ok(plan)
        } else {
            Err(PlanError::NotCanonical {
                digest: plan.digest,
            })
        }
    }

    fn from_document(document: Document) -> Result<Self, PlanError> {
        let canonical = serde_json_canonicalizer::to_vec(&document)
            .map_err(|e| PlanError::Encode(e.to_string()))?;
        if canonical.len() > MAX_PLAN_BYTES {
            return Err(PlanError::TooLarge {
                size: canonical.len(),
            });
        }
        let digest = hex::encode(Sha256::digest(&canonical));
        let roles = document.runbook.roles.iter().map(|(role, members)| {
            let members = members.iter().map(|person| person::normal(person));
            (person::normal(role), members.collect())
        });
        let mut plan = Self {
            roles: roles.collect(),
            document,
            canonical,
            digest,
            phases: Vec::new(),
            steps: Vec::new(),
            by_phase: HashMap::new(),
            by_step: HashMap::new(),
            order: Order::default(),
            phases_before: Vec::new(),
            feeds: HashMap::new(),
            environments: BTreeSet::new(),
        };
        plan.index()?;
        plan.order = plan.in_order();
        plan.feeds = plan.what_feeds();
        Ok(plan)
    }

    fn index(&mut self) -> Result<(), PlanError> {
        for (p, phase) in self.document.runbook.phases.iter().enumerate() {
            let phase_id = PhaseId::new(&phase.id)?;
            if self.by_phase.insert(phase_id.clone(), p).is_some() {
                return Err(PlanError::Duplicate {
                    what: "phase",
                    id: phase.id.clone(),
                });
            }
            self.phases.push(phase_id);
        }
        let step_ids: HashSet<&str> = self
            .document
            .runbook
            .phases
            .iter()
            .flat_map(|phase| phase.steps.iter().map(|step| step.id.as_str()))
            .collect();
        let phases = &self.document.runbook.phases;
        let count: usize = phases.iter().map(|phase| phase.steps.len()).sum();
        for (p, phase) in phases.iter().enumerate() {
            let phases = self.phase_needs(p, phase)?;
            let nodes = phases.iter().filter_map(|id| self.by_phase.get(id));
            self.phases_before
                .push(nodes.map(|need| count + need).collect());
            let mut before: Option<StepId> = None;
            for (s, step) in phase.steps.iter().enumerate() {
                let id = StepId::new(&step.id)?;
                self.environments.extend(step.environment.clone());
                let steps = match &step.needs {
                    None => before.iter().cloned().collect(),
                    Some(needs) => needs
                        .iter()
                        .map(|need| {
                            if step_ids.contains(need.as_str()) {
                                Ok(StepId::new(need)?)
                            } else {
                                Err(PlanError::Dangling {
                                    what: format!("step `{}`", step.id),
                                    need: need.clone(),
                                })
                            }
                        })
                        .collect::<Result<Vec<_>, PlanError>>()?,
                };
                let needs = Needs {
                    steps,
                    phases: phases.clone(),
                };
                if self.by_step.insert(id.clone(), self.steps.len()).is_some() {
                    return Err(PlanError::Duplicate {
                        what: "step",
                        id: step.id.clone(),
                    });
                }
                self.steps.push((p, s, id.clone(), needs));
                before = Some(id);
            }
        }
        Ok(())
    }

    fn phase_needs(&self, at: usize, phase: &Phase) -> Result<Vec<PhaseId>, PlanError> {
        match &phase.needs {
            None => Ok(at
                .checked_sub(1)
                .and_then(|before| self.phases.get(before))
                .cloned()
                .into_iter()
                .collect()),
            Some(needs) => needs
                .iter()
                .map(|need| {
                    self.phases
                        .iter()
                        .find(|id| id.as_str() == need)
                        .cloned()
                        .ok_or_else(|| PlanError::Dangling {
                            what: format!("phase `{}`", phase.id),
                            need: need.clone(),
                        })
                })
                .collect(),
        }
    }

    /// The steps and phases in an order in which each comes after what it needs.
    fn in_order(&self) -> Order {
        let count = self.steps.len();
        let mut before: Vec<Vec<usize>> = vec![Vec::new(); count + self.phases.len()];
        for (at, (phase, _, _, needs)) in self.steps.iter().enumerate() {
            let steps = needs.steps.iter().filter_map(|id| self.by_step.get(id));
            let phases = needs.phases.iter().filter_map(|id| self.by_phase.get(id));
            if let Some(nodes) = before.get_mut(at) {
                nodes.extend(steps);
                nodes.extend(phases.map(|phase| count + phase));
            }
            if let Some(nodes) = before.get_mut(count + phase) {
                nodes.push(at);
            }
        }
        Order::of(before)
    }

    /// For each comparison the captures before it that it compares.
    fn what_feeds(&self) -> HashMap<StepId, Vec<StepId>> {
        let mut captures: HashMap<(&str, &str), usize> = HashMap::new();
        for (at, planned) in self.steps().enumerate() {
            if let Action::Snapshot(taken) = &planned.step.action {
                captures.insert((&taken.of, &taken.label), at);
            }
        }
        let mut feeds = HashMap::new();
        for (at, planned) in self.steps().enumerate() {
            let Action::Compare(compared) = &planned.step.action else {
                continue;
            };
            let ancestors = self.order.all_before(at);
            let fed = [&compared.before, &compared.after]
                .into_iter()
                .filter_map(|label| captures.get(&(compared.of.as_str(), label.as_str())))
                .filter(|capture| ancestors.contains(*capture))
                .filter_map(|capture| self.steps.get(*capture))
                .map(|(.., id, _)| id.clone())
                .collect();
            feeds.insert(planned.id.clone(), fed);
        }
        feeds
    }

    /// The captures before this step that it compares; empty for all but comparisons.
    pub(crate) fn feeds(&self, id: &StepId) -> &[StepId] {
        self.feeds.get(id).map_or(&[], Vec::as_slice)
    }

    /// For each step the greatest value, with its step, among all steps before it, however far.
    /// One walk over the plan.
    pub(crate) fn latest_before<'p>(
        &'p self,
        value: impl Fn(&'p StepId) -> Option<u64>,
    ) -> Vec<(&'p StepId, Option<(u64, &'p StepId)>)> {
        let own = |node: usize| {
            let (.., id, _) = self.steps.get(node)?;
            Some((value(id)?, id))
        };
        let before = self.order.greatest_before(own);
        let ids = self.steps.iter().map(|(.., id, _)| id);
        ids.zip(before).collect()
    }

    /// The runbook.
    pub fn runbook(&self) -> &Runbook {
        &self.document.runbook
    }

    /// Effective parameters.
    pub fn params(&self) -> &BTreeMap<String, String> {
        &self.document.params
    }

    /// The canonical bytes, as kept in the evidence store.
    pub fn canonical_json(&self) -> &[u8] {
        &self.canonical
    }

    /// Lower-case hex SHA-256 of the canonical bytes.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// The phases in order.
    pub fn phases(&self) -> impl Iterator<Item = (&PhaseId, &Phase)> {
        self.phases.iter().zip(&self.document.runbook.phases)
    }

    /// One phase.
    pub fn phase(&self, id: &PhaseId) -> Option<&Phase> {
        self.document.runbook.phases.get(*self.by_phase.get(id)?)
    }

    /// The phases that must have passed before this one.
    pub fn needs_of_phase(&self, id: &PhaseId) -> Option<Vec<PhaseId>> {
        let at = *self.by_phase.get(id)?;
        self.phase_needs(at, self.document.runbook.phases.get(at)?)
            .ok()
    }

    /// All steps, in the order of the runbook.
    pub fn steps(&self) -> impl Iterator<Item = PlannedStep<'_>> {
        self.steps.iter().filter_map(|entry| self.planned(entry))
    }

    fn planned<'a>(
        &'a self,
        (p, s, id, _): &'a (usize, usize, StepId, Needs),
    ) -> Option<PlannedStep<'a>> {
        #[cfg(test)]
        VISITED.with(|count| count.set(count.get() + 1));
        let phase = self.document.runbook.phases.get(*p)?;
        Some(PlannedStep {
            phase_id: self.phases.get(*p)?,
            phase,
            id,
            step: phase.steps.get(*s)?,
        })
    }

    /// A step with its phase.
    pub fn step(&self, id: &StepId) -> Option<(&Phase, &Step)> {
        let planned = self.planned(self.steps.get(*self.by_step.get(id)?)?)?;
        Some((planned.phase, planned.step))
    }

    /// The id of a step's phase, which is also the id of its gate.
    pub fn phase_of(&self, id: &StepId) -> Option<&PhaseId> {
        let (p, ..) = self.steps.get(*self.by_step.get(id)?)?;
        self.phases.get(*p)
    }

    /// What must be done before a step.
    pub fn needs(&self, id: &StepId) -> Option<&Needs> {
        let (.., needs) = self.steps.get(*self.by_step.get(id)?)?;
        Some(needs)
    }

    /// Steps and phases with what comes before and after each. The nodes are the steps in the
    /// order of the runbook, then the phases.
    pub(crate) fn order(&self) -> &Order {
        &self.order
    }

    /// How many steps there are.
    pub(crate) fn step_count(&self) -> usize {
        self.steps.len()
    }

    /// The step at a node of the order.
    pub(crate) fn step_at(&self, node: usize) -> Option<PlannedStep<'_>> {
        self.planned(self.steps.get(node)?)
    }

    /// The phase at a node of the order.
    pub(crate) fn phase_at(&self, node: usize) -> Option<&PhaseId> {
        self.phases.get(node.checked_sub(self.steps.len())?)
    }

    /// The nodes of the phases that must have passed before the phase at this node.
    pub(crate) fn phase_nodes_before(&self, node: usize) -> &[usize] {
        node.checked_sub(self.steps.len())
            .and_then(|phase| self.phases_before.get(phase))
            .map_or(&[], Vec::as_slice)
    }

    /// How a step's effect is taken back. `None`: no such step.
    pub fn undo(&self, id: &StepId) -> Option<EffectiveUndo<'_>> {
        self.step(id).map(|(_, step)| effective_undo(step))
    }

    /// The environment a step acts in: its own, or the rollout's.
    pub fn environment_of<'a>(&'a self, step: &'a Step, rollout: &'a EnvironmentId) -> &'a str {
        step.environment.as_deref().unwrap_or(rollout.as_str())
    }

    /// Every environment that a rollout in `rollout` acts in: its own, and those of its steps.
    pub fn environments_of<'a>(&'a self, rollout: &'a EnvironmentId) -> BTreeSet<&'a str> {
        let own = self.environments.iter().map(String::as_str);
        // A step without one of its own acts in the rollout's.
        own.chain([rollout.as_str()]).collect()
    }

    /// A declared environment.
    pub fn environment(&self, name: &str) -> Option<&Environment> {
        self.document.runbook.environments.get(name)
    }

    /// Role → its persons, each name in its one spelling.
    pub fn roles(&self) -> &BTreeMap<String, Vec<String>> {
        &self.roles
    }

    /// The persons of a role, each name in its one spelling; empty when there is no such role.
    pub fn role_members(&self, role: &str) -> &[String] {
        self.roles
            .get(role)
            .or_else(|| self.roles.get(&person::normal(role)))
            .map_or(&[], Vec::as_slice)
    }

    /// The roles of a person.
    pub fn roles_of<'a>(&'a self, person: &'a str) -> impl Iterator<Item = &'a str> {
        self.roles
            .iter()
            .filter(move |(_, members)| members.iter().any(|m| m == person))
            .map(|(role, _)| role.as_str())
    }

    /// The skeleton that `RolloutOpened` carries.
    pub fn outline(&self) -> v1::PlanOutline {
        outline_of(&self.document.runbook)
    }
}

/// The skeleton of a runbook.
pub fn outline_of(runbook: &Runbook) -> v1::PlanOutline {
    let step = |step: &Step| v1::StepOutline {
        id: step.id.clone(),
        title: step.title.clone(),
        kind: step.action.kind().to_owned(),
        critical: step.critical,
    };
    let phase = |phase: &Phase| v1::PhaseOutline {
        id: phase.id.clone(),
        title: phase.title.clone(),
        steps: phase.steps.iter().map(step).collect(),
        gate: phase.gate.is_some(),
    };
    v1::PlanOutline {
        phases: runbook.phases.iter().map(phase).collect(),
        success_metrics: runbook.success.iter().map(|s| s.name.clone()).collect(),
        runbook: runbook.metadata.name.clone(),
        runbook_version: runbook.metadata.version.clone(),
    }
}

#[cfg(test)]
thread_local! {
    /// How often a step was visited: the unit in which the cost of rules is counted.
    pub(crate) static VISITED: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests;
