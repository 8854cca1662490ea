//! Writes the runbooks that a storm rolls out.

use std::path::PathBuf;

use super::random::Random;
use crate::record::{EFFECTS, Effect, MARKERS, NOTICES, PlanRecord, StepRecord};

/// The variable that gives workers the URL of the PostgreSQL.
pub(crate) const SHARED_URL: &str = "STORM_DATABASE_URL";

/// The persons who may act in every runbook.
pub(crate) const PERSONS: [&str; 3] = ["alice", "bob", "carol"];

/// A runbook, with what the judge must know about it.
#[derive(Debug)]
pub(crate) struct GeneratedRunbook {
    pub(crate) yaml: String,
    pub(crate) record: PlanRecord,
}

/// The surroundings of a storm's rollouts.
#[derive(Debug, Clone)]
pub(crate) struct StormEnvironment {
    /// The directory of the record.
    pub(crate) directory: PathBuf,
    /// Whether there is a PostgreSQL that steps can change.
    pub(crate) shared: bool,
    /// The URL to which notices are posted.
    pub(crate) hook: Option<String>,
}

/// Builds the text of a runbook step by step.
struct Text<'a> {
    around: &'a StormEnvironment,
    rollout: &'a str,
    flag: String,
    phases: String,
    steps: Vec<StepRecord>,
}

impl Text<'_> {
    fn phase(&mut self, id: &str) {
        self.phases.push_str(&format!(
            "  - id: \"{id}\"\n    title: Phase {id}\n    steps:\n"
        ));
    }

    fn step(&mut self, id: &str, effect: Effect, body: &str) {
        self.phases
            .push_str(&format!("      - id: \"{id}\"\n        title: Step {id}\n"));
        for line in body.lines() {
            self.phases.push_str(&format!("        {line}\n"));
        }
        self.steps.push(StepRecord {
            id: id.to_owned(),
            effect,
        });
    }

    /// Adds a command that leaves marks when it begins and ends.
    fn run(&mut self, id: &str, effect: Effect, milliseconds: u64) {
        let markers = self.around.directory.join(MARKERS);
        let markers = markers.display();
        let (mark, of) = (
            "$ROLLBOOK_ROLLOUT $ROLLBOOK_STEP $ROLLBOOK_ATTEMPT",
            self.rollout,
        );
        let seconds = format!("{}.{:03}", milliseconds / 1000, milliseconds % 1000);
        let mut body = format!(
            "run:\n  command: |\n    echo \"begin {mark}\" >> {markers}\n    sleep {seconds}\n    echo \"end {mark}\" >> {markers}\n"
        );
        match effect {
            Effect::None => body.push_str("changes: nothing\n"),
            _ => body.push_str(&format!(
                "verify: {{run: {{command: \"grep -q '^end {of} {id} ' {markers}\"}}}}\nundo: none\n"
            )),
        }
        if effect == Effect::Idempotent {
            body.push_str("idempotent: true\n");
        }
        self.step(id, effect, &body);
    }

    /// Adds the insertion of a row that must not exist twice.
    fn sql(&mut self, id: &str) {
        let rollout = self.rollout;
        let body = format!(
            "sql:\n  source: effects\n  deploy: \"INSERT INTO effects (rollout, step) VALUES ('{rollout}', '{id}');\"\n\
             \x20 verify: \"SELECT json(CASE count(*) WHEN 1 THEN '1' ELSE 'not there once' END) FROM effects WHERE rollout = '{rollout}' AND step = '{id}';\"\n\
             \x20 revert: \"DELETE FROM effects WHERE rollout = '{rollout}' AND step = '{id}';\"\n"
        );
        self.step(id, Effect::Row, &body);
    }

    /// The same in PostgreSQL.
    fn shared_sql(&mut self, id: &str) {
        let of = format!("rollout = '{}' AND step = '{id}'", self.rollout);
        let body = format!(
            "sql:\n  source: shared\n  deploy: \"INSERT INTO effects (rollout, step) VALUES ('{}', '{id}');\"\n\
             \x20 verify: \"SELECT 1 / (count(*) = 1)::int FROM effects WHERE {of};\"\n\
             \x20 revert: \"DELETE FROM effects WHERE {of};\"\n",
            self.rollout
        );
        self.step(id, Effect::Row, &body);
    }

    fn set_flag(&mut self, id: &str, to: &str) {
        let body = format!("flag: {{key: {}, to: {to}}}\n", self.flag);
        self.step(id, Effect::None, &body);
    }

    fn watch(&mut self, id: &str, seconds: u64) {
        let body = format!(
            "watch:\n  for: {seconds}s\n  every: 1s\n  thresholds:\n    - {{metric: load, fail: value > 5}}\n"
        );
        self.step(id, Effect::None, &body);
    }

    fn person(&mut self, id: &str) {
        let body =
            "manual: {instructions: Look., checklist: [It is as it should be], role: crew}\n";
        self.step(id, Effect::None, body);
    }

    fn gate(&mut self) {
        self.phases
            .push_str("    gate:\n      statement: Go on.\n      sign_offs: [{role: crew}]\n");
    }

    fn build(self) -> GeneratedRunbook {
        let directory = self.around.directory.display();
        let shared = match self.around.shared {
            true => {
                format!("  shared: {{kind: postgres, url: {{local: {{env: {SHARED_URL}}}}}}}\n")
            }
            false => String::new(),
        };
        let mut notices = vec!["begun", "ended"];
        let mut channels = format!("  told: {{file: \"{directory}/{NOTICES}\"}}\n");
        let mut posts = String::new();
        if let Some(url) = &self.around.hook {
            notices.extend(["begun by post", "ended by post"]);
            channels.push_str(&format!("  post: {{webhook: {{value: \"{url}\"}}}}\n"));
            posts.push_str(
                "  - {id: begun-by-post, channel: post, audience: crew, anchor: started, subject: begun by post, body: It has begun.}\n\
                 \x20 - {id: ended-by-post, channel: post, audience: crew, anchor: closed, subject: ended by post, body: It has ended.}\n",
            );
        }
        let yaml = format!(
            "apiVersion: rollbook/v1\nkind: Runbook\n\
             metadata: {{name: storm, version: \"1.0\", owner: storm}}\n\
             environments: {{local: {{}}}}\n\
             roles: {{crew: [{}]}}\n\
             channels:\n{channels}\
             sources:\n  effects: {{kind: sqlite, url: {{local: {{value: \"sqlite:{directory}/{EFFECTS}\"}}}}}}\n{shared}\
             flags:\n  {}: {{description: Switched by a storm, owner: crew}}\n\
             metrics:\n  load: {{run: {{command: echo 1}}}}\n\
             notices:\n\
             \x20 - {{id: begun, channel: told, audience: crew, anchor: started, subject: begun, body: It has begun.}}\n\
             \x20 - {{id: ended, channel: told, audience: crew, anchor: closed, subject: ended, body: It has ended.}}\n\
             {posts}\
             phases:\n{}",
            PERSONS.join(", "),
            self.flag,
            self.phases
        );
        GeneratedRunbook {
            yaml,
            record: PlanRecord {
                rollout: self.rollout.to_owned(),
                steps: self.steps,
                notices: notices.into_iter().map(str::to_owned).collect(),
            },
        }
    }
}

/// The ids under which the notices of a rollout are posted.
pub(crate) fn posted(rollout: &str) -> [String; 2] {
    ["begun", "ended"].map(|what| format!("{rollout}/notice/{what}-by-post"))
}

fn text<'a>(around: &'a StormEnvironment, rollout: &'a str) -> Text<'a> {
    Text {
        around,
        rollout,
        flag: rollout.to_uppercase().replace('-', "_"),
        phases: String::new(),
        steps: Vec::new(),
    }
}

/// A short runbook: some seconds of everything.
pub(crate) fn small(
    around: &StormEnvironment,
    rollout: &str,
    random: &mut Random,
) -> GeneratedRunbook {
    let mut text = text(around, rollout);
    text.phase("1");
    text.run("1.1", Effect::Once, random.between(100, 2_500));
    text.sql("1.2");
    text.run("1.3", Effect::Idempotent, random.between(100, 2_500));
    text.set_flag("1.4", "on");
    if around.shared {
        text.shared_sql("1.5");
    }
    if random.percent(50) {
        text.gate();
    }
    text.phase("2");
    if random.percent(50) {
        text.person("2.1");
    }
    text.run("2.2", Effect::None, random.between(50, 500));
    text.watch("2.3", random.between(1, 3));
    text.run("2.4", Effect::Once, random.between(100, 1_000));
    text.build()
}

/// A long runbook: more steps, for longer.
pub(crate) fn long(
    around: &StormEnvironment,
    rollout: &str,
    random: &mut Random,
) -> GeneratedRunbook {
    let mut text = text(around, rollout);
    for phase in 1..=4 {
        text.phase(&phase.to_string());
        let mut number = 0;
        let mut id = || {
            number += 1;
            format!("{phase}.{number}")
        };
        text.run(&id(), Effect::Once, random.between(500, 4_000));
        text.sql(&id());
        text.run(&id(), Effect::Idempotent, random.between(500, 4_000));
        text.run(&id(), Effect::Once, random.between(50, 300));
        text.set_flag(&id(), if phase % 2 == 1 { "on" } else { "off" });
        text.watch(&id(), random.between(3, 8));
        if around.shared {
            text.shared_sql(&id());
        } else {
            text.sql(&id());
        }
        if phase % 2 == 0 {
            text.person(&id());
        }
        text.gate();
    }
    text.build()
}
