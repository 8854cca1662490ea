//! The pinned plan: a runbook with parameters substituted and files inlined, its canonical bytes
//! and their digest. It contains everything that a rollout executes or is judged by.
//!
//! The canonical form is the JSON Canonicalization Scheme (RFC 8785) of [`Document`]; the digest is
//! the lower-case hex SHA-256 of those bytes. Plans with the same digest are the same plan.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use rollbook_proto::v1;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::model::{Environment, Phase, Runbook};
use super::order::Order;
use super::step::Step;
use crate::error_code::Coded;
use crate::ids::{EnvironmentId, IdError, PhaseId, StepId};
use crate::person;

mod effect;

pub use effect::{EffectiveUndo, effective_undo, has_effect, only_reads, undo_verified_by};

/// The value of `format` in the canonical document.
pub const FORMAT: &str = "rollbook/plan/v1";

/// Maximum size of a canonical plan in bytes, with its inlined files.
pub const MAX_PLAN_BYTES: usize = 16 * 1024 * 1024;

/// Why bytes or a runbook are not a valid plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Coded)]
pub enum PlanError {
    /// It is larger than [`MAX_PLAN_BYTES`].
    #[error("RB-PLAN-1: the plan has {size} bytes, more than {MAX_PLAN_BYTES}; split the runbook")]
    TooLarge {
        /// Size in bytes.
        size: usize,
    },
    /// It is not the JSON of a plan.
    #[error("RB-PLAN-2: the plan cannot be read: {0}; open the rollout again from its runbook")]
    Decode(String),
    /// It has another format version.
    #[error(
        "RB-PLAN-3: the plan has format `{found}`, this program reads `{FORMAT}`; use the version that wrote it"
    )]
    Format {
        /// The version found.
        found: String,
    },
    /// It is readable, but not in canonical form.
    #[error(
        "RB-PLAN-4: the plan is not in canonical form (digest {digest} expected); do not edit plan documents"
    )]
    NotCanonical {
        /// Digest of the canonical form.
        digest: String,
    },
    /// The runbook contains an invalid id.
    #[error(transparent)]
    Id(#[from] IdError),
    /// The runbook contains a duplicate id.
    #[error("RB-PLAN-5: {what} `{id}` occurs twice; give each its own id")]
    Duplicate {
        /// `phase` or `step`.
        what: &'static str,
        /// The id.
        id: String,
    },
    /// A need names nothing.
    #[error("RB-PLAN-6: {what} needs `{need}`, which does not exist")]
    Dangling {
        /// The step or phase with the need.
        what: String,
        /// The name.
        need: String,
    },
    /// The plan contains a number that JSON cannot represent.
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
    /// The runbook, with parameters substituted and files inlined.
    pub runbook: Runbook,
}

/// What must be done before a step can start.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Needs {
    /// The steps: its explicit `needs`, or the previous step of its phase.
    pub steps: Vec<StepId>,
    /// The phases including their gates: the needs of the step's phase. They are the same for every
    /// step of a phase, so that `needs: []` cannot bypass a gate.
    pub phases: Vec<PhaseId>,
}

/// A step with its position in the plan.
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

/// A pinned plan. Its ids are valid and unique, and needs name existing steps and phases.
#[derive(Debug, Clone)]
pub struct Plan {
    document: Document,
    canonical: Vec<u8>,
    digest: String,
    phases: Vec<PhaseId>,
    steps: Vec<(usize, usize, StepId, Needs)>,
    by_phase: HashMap<PhaseId, usize>,
    by_step: HashMap<StepId, usize>,
    /// Roles and their members, with normalized names.
    roles: BTreeMap<String, Vec<String>>,
    order: Order,
    /// For each phase, the nodes of the phases that must have passed before it.
    phases_before: Vec<Vec<usize>>,
    feeds: HashMap<StepId, Vec<StepId>>,
    /// The environments that steps name.
    environments: BTreeSet<String>,
}

impl PartialEq for Plan {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

impl Plan {
    /// Pins a runbook whose parameters are substituted and whose files are inlined; `params` are
    /// the effective parameters.
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

    /// Decodes a pinned plan. Accepts only canonical bytes, so that
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

    /// Orders steps and phases so that each comes after what it needs.
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

    /// Finds the earlier captures that each comparison compares.
    fn what_feeds(&self) -> HashMap<StepId, Vec<StepId>> {
        let mut captures: HashMap<(&str, &str), usize> = HashMap::new();
        for (at, planned) in self.steps().enumerate() {
            if let Some(taken) = planned.step.action.kind().capture() {
                captures.insert((&taken.of, &taken.label), at);
            }
        }
        let mut feeds = HashMap::new();
        for (at, planned) in self.steps().enumerate() {
            let Some(compared) = planned.step.action.kind().comparison() else {
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

    /// Returns the earlier captures that this step compares; empty unless it is a comparison.
    pub(crate) fn feeds(&self, id: &StepId) -> &[StepId] {
        self.feeds.get(id).map_or(&[], Vec::as_slice)
    }

    /// Returns for each step the greatest value among all steps before it, with that step, in one
    /// walk over the plan.
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

    /// Returns the runbook.
    pub fn runbook(&self) -> &Runbook {
        &self.document.runbook
    }

    /// Returns the effective parameters.
    pub fn params(&self) -> &BTreeMap<String, String> {
        &self.document.params
    }

    /// Returns the canonical bytes, as stored in the evidence store.
    pub fn canonical_json(&self) -> &[u8] {
        &self.canonical
    }

    /// Returns the lower-case hex SHA-256 of the canonical bytes.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Iterates over the phases, in order.
    pub fn phases(&self) -> impl Iterator<Item = (&PhaseId, &Phase)> {
        self.phases.iter().zip(&self.document.runbook.phases)
    }

    /// Returns a phase.
    pub fn phase(&self, id: &PhaseId) -> Option<&Phase> {
        self.document.runbook.phases.get(*self.by_phase.get(id)?)
    }

    /// Returns the phases that must have passed before this one.
    pub fn needs_of_phase(&self, id: &PhaseId) -> Option<Vec<PhaseId>> {
        let at = *self.by_phase.get(id)?;
        self.phase_needs(at, self.document.runbook.phases.get(at)?)
            .ok()
    }

    /// Iterates over all steps, in the order of the runbook.
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

    /// Returns a step with its phase.
    pub fn step(&self, id: &StepId) -> Option<(&Phase, &Step)> {
        let planned = self.planned(self.steps.get(*self.by_step.get(id)?)?)?;
        Some((planned.phase, planned.step))
    }

    /// Returns the id of a step's phase, which is also the id of its gate.
    pub fn phase_of(&self, id: &StepId) -> Option<&PhaseId> {
        let (p, ..) = self.steps.get(*self.by_step.get(id)?)?;
        self.phases.get(*p)
    }

    /// Returns what must be done before a step.
    pub fn needs(&self, id: &StepId) -> Option<&Needs> {
        let (.., needs) = self.steps.get(*self.by_step.get(id)?)?;
        Some(needs)
    }

    /// Returns the order of steps and phases. Its nodes are the steps in the order of the runbook,
    /// then the phases.
    pub(crate) fn order(&self) -> &Order {
        &self.order
    }

    /// Returns the number of steps.
    pub(crate) fn step_count(&self) -> usize {
        self.steps.len()
    }

    /// Returns the step at a node of the order.
    pub(crate) fn step_at(&self, node: usize) -> Option<PlannedStep<'_>> {
        self.planned(self.steps.get(node)?)
    }

    /// Returns the phase at a node of the order.
    pub(crate) fn phase_at(&self, node: usize) -> Option<&PhaseId> {
        self.phases.get(node.checked_sub(self.steps.len())?)
    }

    /// Returns the nodes of the phases that must have passed before the phase at this node.
    pub(crate) fn phase_nodes_before(&self, node: usize) -> &[usize] {
        node.checked_sub(self.steps.len())
            .and_then(|phase| self.phases_before.get(phase))
            .map_or(&[], Vec::as_slice)
    }

    /// Returns how a step's effect is undone; `None` if there is no such step.
    pub fn undo(&self, id: &StepId) -> Option<EffectiveUndo<'_>> {
        self.step(id).map(|(_, step)| effective_undo(step))
    }

    /// Returns the environment a step acts in: its own, or the rollout's.
    pub fn environment_of<'a>(&'a self, step: &'a Step, rollout: &'a EnvironmentId) -> &'a str {
        step.environment.as_deref().unwrap_or(rollout.as_str())
    }

    /// Returns every environment that a rollout in `rollout` acts in: its own and those of its
    /// steps.
    pub fn environments_of<'a>(&'a self, rollout: &'a EnvironmentId) -> BTreeSet<&'a str> {
        let own = self.environments.iter().map(String::as_str);
        // A step without its own environment acts in the rollout's.
        own.chain([rollout.as_str()]).collect()
    }

    /// Returns a declared environment.
    pub fn environment(&self, name: &str) -> Option<&Environment> {
        self.document.runbook.environments.get(name)
    }

    /// Returns the roles with their members, with normalized names.
    pub fn roles(&self) -> &BTreeMap<String, Vec<String>> {
        &self.roles
    }

    /// Returns the members of a role, with normalized names; empty if there is no such role.
    pub fn role_members(&self, role: &str) -> &[String] {
        self.roles
            .get(role)
            .or_else(|| self.roles.get(&person::normal(role)))
            .map_or(&[], Vec::as_slice)
    }

    /// Iterates over the roles of a person.
    pub fn roles_of<'a>(&'a self, person: &'a str) -> impl Iterator<Item = &'a str> {
        self.roles
            .iter()
            .filter(move |(_, members)| members.iter().any(|m| m == person))
            .map(|(role, _)| role.as_str())
    }

    /// Returns the outline that `RolloutOpened` carries: phases, steps and gates.
    pub fn outline(&self) -> v1::PlanOutline {
        outline_of(&self.document.runbook)
    }
}

/// Returns the outline of a runbook.
pub fn outline_of(runbook: &Runbook) -> v1::PlanOutline {
    let step = |step: &Step| v1::StepOutline {
        id: step.id.clone(),
        title: step.title.clone(),
        kind: step.action.kind().name().to_owned(),
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
    /// How often a step was visited: the unit in which tests count the cost of the rules.
    pub(crate) static VISITED: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests;
