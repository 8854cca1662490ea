//! A plan with one step, and all the ports that its action may use.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use rollbook_ledger::clock::{Clock, SystemClock};
use rollbook_ledger::evidence::EvidenceStore;
use rollbook_ledger::flag::{ChangeToUndo, FlagUndo, flag_undo};
use rollbook_ledger::ids::{EnvironmentId, FlagKey};
use rollbook_ledger::journal::StoredCommit;
use rollbook_ledger::runbook::model::{FlagSpec, SecretRef};
use rollbook_ledger::runbook::{Plan, Step};
use rollbook_proto::v1;
use rollbook_workers::executor::{
    self, Cancel, EffectMark, ExecutorError, Facts, FlagCause, FlagPort, FlagReading, Outcome,
    OutputLine, OutputSink, PortError, ProcessSecrets, SampleSink, SecretResolver, StepContext,
    Tools,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::calculators::{auditor, calculators};

/// Secrets from a map, so that the process's own environment stays untouched.
#[derive(Debug, Default)]
pub struct Secrets(pub BTreeMap<String, String>);

impl SecretResolver for Secrets {
    fn resolve(&self, reference: &SecretRef) -> Result<String, ExecutorError> {
        match reference {
            SecretRef::Env(name) if self.0.contains_key(name) => Ok(self.0[name].clone()),
            other => ProcessSecrets::default().resolve(other),
        }
    }
}

#[derive(Debug, Default)]
pub struct Lines(pub Mutex<Vec<OutputLine>>);

impl OutputSink for Lines {
    fn line(&self, line: OutputLine) {
        self.0.lock().unwrap().push(line);
    }
}

#[derive(Debug, Default)]
pub struct Recorded(pub Mutex<Vec<v1::Measurement>>);

#[async_trait]
impl SampleSink for Recorded {
    async fn record(&self, measurement: v1::Measurement) -> Result<(), PortError> {
        self.0.lock().unwrap().push(measurement);
        Ok(())
    }
}

/// Flags in memory, with the history that `value_before` reads.
#[derive(Debug, Default)]
pub struct Flags(pub Mutex<BTreeMap<(String, String), FlagHistory>>);

type FlagHistory = (FlagReading, Vec<v1::FlagChanged>);

#[async_trait]
impl FlagPort for Flags {
    async fn read(
        &self,
        environment: &EnvironmentId,
        key: &FlagKey,
    ) -> Result<Option<FlagReading>, PortError> {
        let flags = self.0.lock().unwrap();
        Ok(flags
            .get(&(environment.to_string(), key.to_string()))
            .map(|(reading, _)| reading.clone()))
    }

    async fn define(
        &self,
        environment: &EnvironmentId,
        key: &FlagKey,
        spec: &FlagSpec,
        _: &FlagCause,
    ) -> Result<(), PortError> {
        let reading = FlagReading {
            setting: v1::FlagSetting {
                mode: v1::FlagMode::Off.into(),
                ..Default::default()
            },
            safe: executor::setting_of(&spec.safe, &spec.safe),
            sequence: 1,
        };
        self.0.lock().unwrap().insert(
            (environment.to_string(), key.to_string()),
            (reading, Vec::new()),
        );
        Ok(())
    }

    async fn flag_undo(
        &self,
        environment: &EnvironmentId,
        key: &FlagKey,
        cause: &FlagCause,
        target: &v1::FlagSetting,
        to_safe: bool,
    ) -> Result<Option<(FlagReading, FlagUndo)>, PortError> {
        let flags = self.0.lock().unwrap();
        let Some((reading, changes)) = flags.get(&(environment.to_string(), key.to_string()))
        else {
            return Ok(None);
        };
        let history: Vec<StoredCommit> = changes.iter().map(stored).collect();
        let change = ChangeToUndo {
            rollout: &cause.rollout,
            step: &cause.step,
            target,
            to_safe,
        };
        let way = flag_undo(&history, &reading.setting, &reading.safe, &change);
        Ok(Some((reading.clone(), way)))
    }

    async fn set(
        &self,
        environment: &EnvironmentId,
        key: &FlagKey,
        setting: v1::FlagSetting,
        expect: Option<&v1::FlagSetting>,
        cause: &FlagCause,
    ) -> Result<(), PortError> {
        let mut flags = self.0.lock().unwrap();
        let (reading, history) = flags
            .get_mut(&(environment.to_string(), key.to_string()))
            .unwrap();
        if expect.is_some_and(|expect| *expect != reading.setting) {
            return Err(PortError::Refused {
                reason: "RB-FLAG-7".to_owned(),
            });
        }
        history.push(v1::FlagChanged {
            from: Some(reading.setting.clone()),
            to: Some(setting.clone()),
            reason: cause.reason.clone(),
            rollout_id: cause.rollout.to_string(),
            step_id: cause.step.to_string(),
        });
        reading.setting = setting;
        Ok(())
    }
}

/// A change as the ledger would store it.
fn stored(changed: &v1::FlagChanged) -> StoredCommit {
    StoredCommit::new(
        1,
        SystemClock.now(),
        v1::Commit {
            events: vec![v1::Event {
                kind: Some(v1::event::Kind::FlagChanged(changed.clone())),
            }],
            ..v1::Commit::default()
        },
    )
}

/// A step of a plan and its context.
pub struct Fixture {
    pub step: Step,
    pub context: StepContext,
    pub lines: Arc<Lines>,
    pub samples: Arc<Recorded>,
    pub flags: Arc<Flags>,
    dir: TempDir,
}

/// A runbook with one step `1.1`; `sections` adds `sources`, `metrics`, ….
pub fn plan(step: Value, sections: Value) -> Arc<Plan> {
    let mut fields = json!({"id": "1.1", "title": "the step"});
    merge(&mut fields, step);
    let mut runbook = json!({
        "apiVersion": "rollbook/v1",
        "kind": "Runbook",
        "metadata": {"name": "test", "version": "1", "owner": "tests"},
        "environments": {"staging": {}, "production": {"protected": true}},
        "phases": [{"id": "1", "title": "the phase", "steps": [fields]}],
    });
    merge(&mut runbook, sections);
    let runbook = serde_json::from_value(runbook).unwrap();
    Arc::new(Plan::from_runbook(runbook, BTreeMap::new()).unwrap())
}

fn merge(into: &mut Value, from: Value) {
    let into = into.as_object_mut().unwrap();
    if let Value::Object(from) = from {
        into.extend(from);
    }
}

impl Fixture {
    pub fn new(step: Value) -> Self {
        Self::with(step, json!({}), &[])
    }

    pub fn with(step: Value, sections: Value, secrets: &[(&str, &str)]) -> Self {
        let plan = plan(step, sections);
        let dir = TempDir::new().unwrap();
        let secrets = secrets
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let secrets: Arc<dyn SecretResolver> = Arc::new(Secrets(secrets));
        let (lines, samples, flags) = (
            Arc::new(Lines::default()),
            Arc::new(Recorded::default()),
            Arc::new(Flags::default()),
        );
        let id = "1.1".parse().unwrap();
        let step = plan.step(&id).unwrap().1.clone();
        let evidence = dir.path().join("evidence");
        let context = StepContext {
            redactor: executor::redactor_for(plan.runbook(), secrets.as_ref()).unwrap(),
            plan,
            rollout: "test-1".parse().unwrap(),
            step: id,
            environment: "staging".parse().unwrap(),
            params: Arc::new(BTreeMap::from([("deal-count".to_owned(), "7".to_owned())])),
            attempt: 1,
            worker: "host/1".to_owned(),
            started_at: SystemClock.now(),
            causation_id: String::new(),
            facts: Arc::new(Facts::default()),
            tools: Tools {
                sampling: Arc::new(tokio::sync::Semaphore::new(executor::context::SAMPLES)),
                evidence: EvidenceStore::open(evidence.to_str().unwrap()).unwrap(),
                clock: Arc::new(SystemClock),
                secrets,
                output: lines.clone(),
                progress: Arc::new(executor::NoProgress),
                flags: flags.clone(),
                http: executor::http_client().unwrap(),
                calculators: calculators(),
                auditor: auditor(),
                shards: None,
            },
            samples: samples.clone(),
            cancel: Cancel::new(),
            lease: None,
            effect: EffectMark::default(),
        };
        Self {
            step,
            context,
            lines,
            samples,
            flags,
            dir,
        }
    }

    /// The directory of its evidence.
    pub fn evidence_dir(&self) -> std::path::PathBuf {
        self.dir.path().join("evidence")
    }

    pub async fn execute(&self) -> Outcome {
        executor::execute(&self.step, &self.context).await
    }

    /// The stored text of the evidence of this name.
    pub async fn evidence(&self, outcome: &Outcome, name: &str) -> String {
        let found = outcome.evidence.iter().find(|e| e.name == name);
        let found = found.unwrap_or_else(|| panic!("no evidence {name} in {outcome:?}"));
        let bytes = self
            .context
            .tools
            .evidence
            .get(&found.sha256)
            .await
            .unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// The last number measured under this name.
pub fn number(outcome: &Outcome, metric: &str) -> Option<f64> {
    let found = outcome
        .measurements
        .iter()
        .rev()
        .find(|measurement| measurement.metric == metric);
    found
        .unwrap_or_else(|| panic!("no {metric} in {outcome:?}"))
        .value
}
