//! `rollbook fleet`.

use rollbook_ledger::projection::views::{WorkerRow, WorkerStatus};
use rollbook_server::api::FleetAnswer;

use super::Session;
use crate::exit::{Exit, Outcome};
use crate::print::{self, DIM, line, paint};

/// Lists the workers that are present and what they do, then recently departed ones.
pub(crate) async fn run(session: &Session) -> Outcome {
    let answer: FleetAnswer = session.client.get("/v1/fleet", &[]).await?;
    if session.json {
        print::json(&answer)?;
        return Ok(Exit::Success);
    }
    for worker in &answer.workers {
        let labels = labels_of(&worker.labels);
        line(format!(
            "{:<28} {:<20} steps {}/{}  shards {}/{}  {:>8} deals/s  {}",
            worker.name,
            labels,
            worker.steps,
            worker.concurrency,
            worker.shards,
            worker.threads,
            worker.deals_per_second,
            paint(
                DIM,
                format!("{} deals since {:.0}", worker.deals, worker.since)
            ),
        ));
    }
    if answer.workers.is_empty() {
        line("no worker is present; start one with `rollbook worker`");
    }
    let heard = |row: &WorkerRow| answer.workers.iter().any(|there| there.name == row.worker);
    for row in answer.recorded.data.iter().filter(|row| !heard(row)) {
        let (what, when) = match row.status {
            WorkerStatus::Present => ("silent", row.joined_at),
            gone => (gone.as_str(), row.left_at),
        };
        let since = when.map_or_else(String::new, |when| format!("{when:.0}"));
        let text = format!(
            "{:<28} {:<20} {what} {since}",
            row.worker,
            labels_of(&row.labels)
        );
        line(paint(DIM, text));
    }
    let recorded = answer.recorded.as_of.sequence;
    line(paint(
        DIM,
        format!(
            "as of {:.0}, record as of sequence {recorded}",
            answer.as_of
        ),
    ));
    Ok(Exit::Success)
}

fn labels_of(labels: &[String]) -> String {
    match labels {
        [] => "-".to_owned(),
        labels => labels.join(","),
    }
}
