//! `log`: the ledger, in sentences or as JSON.

use futures::StreamExt;
use jiff::Timestamp;
use rollbook_ledger::clock;
use rollbook_ledger::journal::event_type;
use rollbook_ledger::projection::change::sentence;
use rollbook_ledger::projection::rows::TimelineRow;
use rollbook_ledger::runbook::Span;
use rollbook_proto::v1::Commit;
use rollbook_server::api::ErrorBody;

use super::Session;
use crate::args::LogArgs;
use crate::exit::{Exit, Failure, Outcome};
use crate::print::{self, line};

/// The longest log line that is read, in bytes: a full commit as JSON fits.
const MAX_LINE_BYTES: usize = 1024 * 1024;

/// `log`.
pub(crate) async fn log(session: &Session, args: LogArgs) -> Outcome {
    let mut query = vec![
        ("after", args.after.to_string()),
        ("follow", args.follow.to_string()),
    ];
    let now = Timestamp::now();
    for (name, given) in [("since", &args.since), ("until", &args.until)] {
        if let Some(text) = given {
            query.push((name, moment(name, text, now)?.to_string()));
        }
    }
    for (name, values) in [
        ("actor", &args.actors),
        ("type", &args.types),
        ("environment", &args.environments),
    ] {
        query.extend(values.iter().map(|value| (name, value.clone())));
    }
    if let Some(aggregate) = &args.aggregate {
        query.push(("aggregate", aggregate.clone()));
    }
    let is_whole = query.len() == 3 && args.after == 0 && !args.follow;
    let (mut found, mut last) = (false, args.after);
    let response = session.client.stream("/v1/log", &query).await?;
    let read = each_commit(response, |text| {
        found = true;
        last = sequence_of(text).unwrap_or(last);
        if session.json {
            line(text);
        } else {
            for text in sentences(text, &args) {
                line(text);
            }
        }
    })
    .await;
    if let Err(failure) = read {
        let again = session.client.typed_with(&["--after", &last.to_string()]);
        let message = format!("{}; continue with: {again}", failure.message);
        return Err(Failure { message, ..failure });
    }
    match args.aggregate {
        Some(aggregate) if !found && is_whole => Err(Failure::own(
            Exit::Usage,
            "RB-CLI-24",
            format!(
                "nothing on the ledger is about `{aggregate}`; `rollbook list` and `rollbook flag list` show the ids"
            ),
        )
        .meaning(session.rollout_meant(&aggregate).await)),
        _ => {
            if !found && !args.follow {
                print::note("no commit matches; names of people and environments are compared exactly");
            }
            Ok(Exit::Success)
        }
    }
}

/// The sequence of a line of the log.
fn sequence_of(text: &str) -> Option<u64> {
    let value: serde_json::Value = serde_json::from_str(text).ok()?;
    value["sequence"].as_u64()
}

/// A time as typed: RFC 3339, or a span before now.
fn moment(name: &str, text: &str, now: Timestamp) -> Result<Timestamp, Failure> {
    let ago = |span: Span| now.checked_sub(span.to_signed()).ok();
    let found = print::typed_time(text)
        .parse::<Timestamp>()
        .ok()
        .or_else(|| text.parse::<Span>().ok().and_then(ago));
    found.ok_or_else(|| {
        Failure::own(
            Exit::Usage,
            "RB-CLI-102",
            format!(
                "--{name} is `{text}`, which is neither a time nor a span; write 2026-01-31T22:00:00Z, or 2h for two hours ago"
            ),
        )
    })
}

/// The events of a commit in sentences, one each, as far as their types were asked for.
pub(crate) fn sentences(text: &str, args: &LogArgs) -> Vec<String> {
    let value: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
    let commit: Commit = match serde_json::from_value(value["commit"].clone()) {
        Ok(commit) => commit,
        // Of a later version: shown as it is rather than not at all.
        Err(_) => return vec![print::visible(text)],
    };
    let actor = commit.actor.map(|actor| actor.name).unwrap_or_default();
    let aggregate = format!("{} {}", commit.aggregate, commit.aggregate_id);
    let row = |(idx, event)| TimelineRow {
        sequence: value["sequence"].as_u64().unwrap_or_default(),
        idx,
        recorded_at: clock::from_proto(commit.recorded_at.as_ref()),
        actor: actor.clone(),
        event: event_type(event).to_owned(),
        rollout: String::new(),
        aggregate: aggregate.clone(),
        subject: String::new(),
        sentence: sentence(event, &actor, &aggregate),
    };
    (0..)
        .zip(&commit.events)
        .map(row)
        .filter(|row| args.types.is_empty() || args.types.contains(&row.event))
        .map(|row| match &args.aggregate {
            Some(_) => print::timeline_row(&row),
            None => print::timeline_row_of_any(&row),
        })
        .collect()
}

/// Calls `each` for every commit of an answer of the log. Fails if the answer does not end as it
/// should; what came before was complete.
pub(crate) async fn each_commit(
    response: reqwest::Response,
    mut each: impl FnMut(&str),
) -> Result<(), Failure> {
    let mut reason = None;
    let read = each_line(response, |text| {
        if reason.is_some() {
            return;
        }
        match serde_json::from_str::<ErrorBody>(text) {
            Ok(ended) => {
                let exit = Exit::from(ended.class);
                reason = Some(Failure::whole(exit, ended.code, ended.message));
            }
            Err(_) => each(text),
        }
    })
    .await;
    reason.map_or(read, Err)
}

/// Calls `each` for every line as it arrives.
pub(crate) async fn each_line(
    response: reqwest::Response,
    mut each: impl FnMut(&str),
) -> Result<(), Failure> {
    let mut bytes = response.bytes_stream();
    let mut rest = Vec::new();
    while let Some(chunk) = bytes.next().await {
        let chunk = chunk.map_err(|error| {
            Failure::own(
                Exit::Unavailable,
                "RB-CLI-20",
                format!("the connection broke: {}", error.without_url()),
            )
        })?;
        rest.extend_from_slice(&chunk);
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let whole: Vec<u8> = rest.drain(..=end).collect();
            each(String::from_utf8_lossy(&whole).trim_end());
        }
        if rest.len() > MAX_LINE_BYTES {
            return Err(Failure::own(
                Exit::Integrity,
                "RB-CLI-21",
                "a line of the answer is longer than 1 MiB",
            ));
        }
    }
    if !rest.is_empty() {
        each(&String::from_utf8_lossy(&rest));
    }
    Ok(())
}
