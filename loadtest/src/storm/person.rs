//! Simulated persons: they open rollouts, do what `status` asks for, and record what was
//! acknowledged.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::StormError;
use super::plans::{GeneratedRunbook, PERSONS};
use super::random::Random;
use crate::process;
use crate::record::{ACKNOWLEDGED, Acknowledged, PLANS, Recorder, SEEN, Seen};

/// The interval between two checks of a rollout.
const LOOK_EVERY: Duration = Duration::from_millis(600);
/// The interval between two reads of the ledger.
const FOLLOW_EVERY: Duration = Duration::from_secs(1);
/// How long to wait for an answer before the same command is sent again.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// The access of persons to the system. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct ApiClient {
    pub(crate) http: reqwest::Client,
    /// The addresses of the API; any of them serves.
    pub(crate) addresses: Arc<Vec<String>>,
    pub(crate) rollbook: PathBuf,
    pub(crate) directory: PathBuf,
    pub(crate) recorder: Arc<Recorder>,
    /// Cancelled when persons must stop acting.
    pub(crate) closing: CancellationToken,
    turn: Arc<AtomicU64>,
}

/// The answer to a command.
enum Answer {
    Acknowledged,
    Refused,
    /// The desk closed before an answer came.
    Unknown,
}

impl ApiClient {
    pub(crate) fn new(
        addresses: Vec<String>,
        rollbook: PathBuf,
        directory: PathBuf,
        recorder: Arc<Recorder>,
    ) -> Result<Self, StormError> {
        let http = reqwest::Client::builder()
            .no_proxy()
            .connect_timeout(Duration::from_secs(3))
            .timeout(ANSWER_LIMIT)
            .build()
            .map_err(|error| StormError::Silent {
                what: format!("an HTTP client: {error}"),
            })?;
        Ok(Self {
            http,
            addresses: Arc::new(addresses),
            rollbook,
            directory,
            recorder,
            closing: CancellationToken::new(),
            turn: Arc::new(AtomicU64::new(0)),
        })
    }

    /// The next address: persons do not stay with one server.
    fn address(&self) -> String {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let count = u64::try_from(self.addresses.len()).unwrap_or(1).max(1);
        let index = usize::try_from(turn % count).unwrap_or(0);
        self.addresses.get(index).cloned().unwrap_or_default()
    }

    /// The API's response to a query; `None` without one.
    pub(crate) async fn get(&self, path: &str) -> Option<Value> {
        let url = format!("{}{path}", self.address());
        let response = self.http.get(url).send().await.ok()?;
        let response = response.error_for_status().ok()?;
        response.json().await.ok()
    }

    /// Sends a command, always with the same key, until it is answered.
    async fn command(
        &self,
        rollout: &str,
        actor: &str,
        body: &Value,
    ) -> Result<Answer, StormError> {
        let command_id = Uuid::now_v7().to_string();
        let mut tries = 0;
        while !self.closing.is_cancelled() {
            tries += 1;
            let url = format!("{}/v1/rollouts/{rollout}/commands", self.address());
            let request = self
                .http
                .post(url)
                .header("rollbook-actor", actor)
                .header("idempotency-key", &command_id)
                .json(body);
            let answer = match request.send().await {
                Ok(response) if response.status().is_success() => response.json::<Value>().await,
                Ok(response) if response.status().is_client_error() => return Ok(Answer::Refused),
                Ok(_) | Err(_) => {
                    tokio::time::sleep(LOOK_EVERY).await;
                    continue;
                }
            };
            // A response that was cut off does not count.
            let Ok(answer) = answer else { continue };
            self.recorder.append(
                ACKNOWLEDGED,
                &Acknowledged {
                    rollout: rollout.to_owned(),
                    what: text(&body["command"]),
                    actor: actor.to_owned(),
                    command_id: Some(command_id),
                    sequence: answer["sequence"].as_u64().unwrap_or(0),
                    events: answer["events"].as_array().map_or(0, Vec::len),
                    tries,
                },
            )?;
            return Ok(Answer::Acknowledged);
        }
        Ok(Answer::Unknown)
    }

    /// Opens a rollout by the command line and drives it to its end.
    pub(crate) async fn roll_out(
        self,
        made: GeneratedRunbook,
        mut random: Random,
    ) -> Result<(), StormError> {
        let id = made.record.rollout.clone();
        let file = self.directory.join(format!("{id}.yaml"));
        std::fs::write(&file, &made.yaml).map_err(StormError::files(&file))?;
        self.recorder.append(PLANS, &made.record)?;
        if !self.open(&id, &file).await? {
            return Ok(());
        }
        if random.percent(25) {
            let pause = json!({"command": "pause", "reason": "a look at it"});
            self.command(&id, "bob", &pause).await?;
        }
        while !self.closing.is_cancelled() {
            tokio::time::sleep(LOOK_EVERY).await;
            let Some(status) = self.get(&format!("/v1/rollouts/{id}")).await else {
                continue;
            };
            if !status["data"]["closed_at"].is_null() {
                return Ok(());
            }
            for blocked in status["blocked"].as_array().into_iter().flatten() {
                self.unblock(&id, blocked).await?;
            }
        }
        Ok(())
    }

    /// Opens a rollout; returns whether it is on the ledger.
    async fn open(&self, id: &str, file: &std::path::Path) -> Result<bool, StormError> {
        let mut tries = 0;
        while !self.closing.is_cancelled() {
            tries += 1;
            let mut command = process::clean(&self.rollbook);
            command
                .arg("open")
                .arg(file)
                .args(["--env", "local", "--id", id, "--as", "alice", "--json"])
                .args(["--server", &self.address()])
                .current_dir(&self.directory)
                .kill_on_drop(true);
            let ran = command.output().await.map_err(StormError::files(file))?;
            if ran.status.success() {
                let answer: Value = serde_json::from_slice(&ran.stdout).unwrap_or_default();
                self.recorder.append(
                    ACKNOWLEDGED,
                    &Acknowledged {
                        rollout: id.to_owned(),
                        what: "open".to_owned(),
                        actor: "alice".to_owned(),
                        command_id: None,
                        sequence: answer["sequence"].as_u64().unwrap_or(0),
                        events: answer["events"].as_array().map_or(0, Vec::len),
                        tries,
                    },
                )?;
                return Ok(true);
            }
            match ran.status.code() {
                // Unavailable, or ended with the storm: try again.
                Some(7) | None => {}
                // It was recorded although the answer was lost.
                _ if self.get(&format!("/v1/rollouts/{id}")).await.is_some() => return Ok(true),
                _ if tries > 1 => {}
                code => {
                    return Err(StormError::Refused {
                        id: id.to_owned(),
                        code,
                        said: String::from_utf8_lossy(&ran.stderr).into_owned(),
                    });
                }
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(false)
    }

    /// Does what a line of `status` says would unblock a rollout.
    async fn unblock(&self, id: &str, blocked: &Value) -> Result<(), StormError> {
        // The first command named is the best.
        let remedy = &blocked["remedies"][0];
        let what = text(match remedy["gate"] {
            Value::Null => &remedy["step"],
            ref gate => gate,
        });
        let what = what.as_str();
        let [alice, bob, carol] = PERSONS;
        let (actor, body) = match text(&remedy["command"]).as_str() {
            "start" => (alice, json!({"command": "start"})),
            "resume" => (bob, json!({"command": "resume", "reason": "seen"})),
            "complete" => {
                let answer = json!({"item": "It is as it should be", "answer": "pass", "note": ""});
                let body = json!({"command": "complete", "step": what, "checklist": [answer]});
                (bob, body)
            }
            "approve" => {
                let mut body = json!({"command": "approve", "gate": what, "role": "crew"});
                // Sign exactly what was shown.
                let shown = self.get(&format!("/v1/rollouts/{id}/gates/{what}")).await;
                if let Some(seen) = shown.and_then(|shown| Some(shown["seen"].as_str()?.to_owned()))
                {
                    body["seen"] = json!(seen);
                }
                (carol, body)
            }
            "retry" => {
                // As in the operator guide: first make sure that nothing of the step is still
                // running.
                if !process::of_step(id, what).is_empty() {
                    return Ok(());
                }
                let body =
                    json!({"command": "retry", "step": what, "reason": "nothing of it runs"});
                (alice, body)
            }
            _ => return Ok(()),
        };
        // A refusal means that somebody else was first; `status` shows what is left.
        self.command(id, actor, &body).await?;
        Ok(())
    }

    /// Reads the ledger as it grows and records which commits were shown.
    pub(crate) async fn read_ledger(self) -> Result<(), StormError> {
        let mut after = 0;
        while !self.closing.is_cancelled() {
            tokio::time::sleep(FOLLOW_EVERY).await;
            let url = format!("{}/v1/log?after={after}&limit=1000", self.address());
            let Ok(response) = self.http.get(url).send().await else {
                continue;
            };
            if !response.status().is_success() {
                continue;
            }
            let Ok(body) = response.text().await else {
                continue;
            };
            for line in body.lines() {
                let Ok(stored) = serde_json::from_str::<Value>(line) else {
                    break;
                };
                // A last line without a sequence gives the reason why the log ended early.
                let Some(sequence) = stored["sequence"].as_u64() else {
                    break;
                };
                let seen = Seen {
                    sequence,
                    commit: text(&stored["commit"]["id"]),
                };
                after = seen.sequence;
                self.recorder.append(SEEN, &seen)?;
            }
        }
        Ok(())
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
