//! `rollbook fleet`.

use rollbook_server::api::FleetAnswer;

use super::Session;
use crate::exit::{Exit, Outcome};
use crate::print::{self, DIM, line, paint};

/// Lists the workers that are there and what they do.
pub(crate) async fn run(session: &Session) -> Outcome {
    let answer: FleetAnswer = session.client.get("/v1/fleet", &[]).await?;
    if session.json {
        print::json(&answer)?;
        return Ok(Exit::Done);
    }
    for worker in &answer.workers {
        let labels = match worker.labels.as_slice() {
            [] => "-".to_owned(),
            labels => labels.join(","),
        };
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
        line("no worker is there; start one with `rollbook worker`");
    }
    line(paint(DIM, format!("as of {:.0}", answer.as_of)));
    Ok(Exit::Done)
}
