//! `rollbook flag`.

use rollbook_ledger::flag::FlagCommand as Change;
use rollbook_ledger::ids::{EnvironmentId, FlagKey};
use rollbook_ledger::projection::rows::{FlagHistoryRow, FlagRow};
use rollbook_ledger::projection::views::ViewAnswer;
use rollbook_ledger::runbook::model::FlagTarget;
use rollbook_proto::v1;
use rollbook_workers::executor::setting_of;
use serde_json::Value;

use super::{Session, authority};
use crate::args::{FlagArg, FlagCommand, FlagDefineArgs, FlagSetArgs};
use crate::exit::{Exit, Failure, Outcome};
use crate::print::{self, BOLD, DIM, YELLOW, line, paint};
use crate::status::as_of;

/// `flag …`.
pub(crate) async fn run(session: &Session, command: FlagCommand) -> Outcome {
    match command {
        FlagCommand::Define(args) => define(session, args).await,
        FlagCommand::List { environment } => list(session, environment).await,
        FlagCommand::Get(args) => get(session, args).await,
        FlagCommand::Set(args) => set(session, args).await,
        FlagCommand::History(args) => history(session, args).await,
    }
}

/// `on`, `off`, `safe`, `parallel`, `25%`, `beta:a,b`.
fn target(text: &str) -> Result<FlagTarget, Failure> {
    if let Some(labels) = text.strip_prefix("beta:") {
        return Ok(FlagTarget::Beta(
            labels
                .split(',')
                .map(|label| label.trim().to_owned())
                .collect(),
        ));
    }
    if let Some(number) = text.strip_suffix('%') {
        return percentage(number.trim())
            .map(FlagTarget::Percentage)
            .ok_or_else(|| {
                Failure::own(Exit::Usage, "RB-CLI-40", format!(
                    "`{text}` is not a percentage from 0 to 100 with at most three decimals; write for example 25%"
                ))
            });
    }
    match text {
        "on" => Ok(FlagTarget::On),
        "off" => Ok(FlagTarget::Off),
        "safe" => Ok(FlagTarget::Safe),
        "parallel" => Ok(FlagTarget::Parallel),
        other => Err(Failure::own(
            Exit::Usage,
            "RB-CLI-41",
            format!("`{other}` is not a setting; say on, off, safe, parallel, 25% or beta:label"),
        )),
    }
}

/// From 0 to 100 with at most three decimals: what a flag can represent exactly.
fn percentage(text: &str) -> Option<f64> {
    let decimals = text
        .split_once('.')
        .map_or(0, |(_, decimals)| decimals.len());
    let plain = text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.');
    let number: f64 = text.parse().ok()?;
    (plain && decimals <= 3 && (0.0..=100.0).contains(&number)).then_some(number)
}

/// The URL path of a flag, once both words are valid in a path.
fn path_of(environment: &str, key: &str) -> Result<String, Failure> {
    let environment = EnvironmentId::new(environment).map_err(Failure::usage)?;
    let key = FlagKey::new(key).map_err(Failure::usage)?;
    Ok(format!("/v1/flags/{environment}/{key}"))
}

pub(super) async fn send(
    session: &Session,
    environment: &str,
    key: &str,
    command: &Change,
) -> Outcome {
    let actor = session.config.actor()?;
    let path = format!("{}/commands", path_of(environment, key)?);
    let answer: Value = session.client.command(&path, &actor, command).await?;
    if session.json {
        print::json(&answer)?;
    } else if answer["events"].as_array().is_none_or(Vec::is_empty) {
        line(format!(
            "{key} in {environment}: nothing to do; as of sequence {}",
            answer["sequence"]
        ));
    } else {
        line(format!(
            "{key} in {environment}: recorded at sequence {}",
            answer["sequence"]
        ));
    }
    let events: Vec<v1::Event> =
        serde_json::from_value(answer["events"].clone()).unwrap_or_default();
    Ok(authority::exit_of(&events, session.json))
}

async fn define(session: &Session, args: FlagDefineArgs) -> Outcome {
    let command = Change::Define {
        description: args.description,
        owner: args.owner,
        safe: setting_of(&target(&args.safe)?, &FlagTarget::Off),
        initial: setting_of(&FlagTarget::Off, &FlagTarget::Off),
        retire_by: args.retire_by,
        salt: None,
    };
    send(session, &args.flag.environment, &args.flag.key, &command).await
}

async fn set(session: &Session, args: FlagSetArgs) -> Outcome {
    let command = match target(&args.to)? {
        FlagTarget::Safe => Change::Safe {
            reason: args.reason,
            rollout: None,
            step: None,
        },
        to => Change::Set {
            to: setting_of(&to, &FlagTarget::Off),
            reason: args.reason,
            rollout: None,
            step: None,
            expect: None,
        },
    };
    let command = if args.glass.break_glass {
        Change::BreakGlass {
            of: Box::new(command),
        }
    } else {
        command
    };
    send(session, &args.environment, &args.key, &command).await
}

async fn list(session: &Session, environment: Option<String>) -> Outcome {
    let query: Vec<(&str, String)> = environment
        .iter()
        .map(|name| ("environment", name.clone()))
        .collect();
    let answer: ViewAnswer<Vec<FlagRow>> = session.client.get("/v1/flags", &query).await?;
    if session.json {
        print::json(&answer)?;
        return Ok(Exit::Success);
    }
    for flag in &answer.data {
        line(format!(
            "{:<32} {:<12} {:<12} safe {:<8} by {} {}",
            flag.key,
            flag.environment,
            flag.setting.0.to_string(),
            flag.safe.0.to_string(),
            flag.changed_by,
            paint(DIM, &flag.reason)
        ));
    }
    match &environment {
        Some(wrong) if answer.data.is_empty() => {
            let meant = session.environment_meant(wrong).await;
            line(format!("no flags are defined in {wrong}{meant}"));
        }
        None if answer.data.is_empty() => line("no flags are defined"),
        _ => {}
    }
    line(paint(DIM, as_of(&answer)));
    Ok(Exit::Success)
}

async fn get(session: &Session, args: FlagArg) -> Outcome {
    let path = path_of(&args.environment, &args.key)?;
    let answer: Value = session.client.get(&path, &[]).await?;
    if session.json {
        print::json(&answer)?;
        return Ok(Exit::Success);
    }
    let rows: ViewAnswer<Vec<FlagRow>> = session
        .client
        .get("/v1/flags", &[("environment", args.environment.clone())])
        .await?;
    if let Some(flag) = rows.data.iter().find(|flag| flag.key == args.key) {
        line(format!(
            "{} in {}: {}",
            paint(BOLD, &flag.key),
            flag.environment,
            paint(BOLD, &flag.setting.0)
        ));
        line(format!(
            "  {}; owner {}; safe value {}",
            flag.description, flag.owner, flag.safe.0
        ));
        line(format!(
            "  last change by {}: {}",
            flag.changed_by, flag.reason
        ));
    }
    for (kind, what) in [("requests", "asks to"), ("reviews", "used break-glass to")] {
        for (id, of) in answer["flag"][kind].as_object().into_iter().flatten() {
            let text = |field: &str| of[field].as_str().unwrap_or_default().to_owned();
            line(paint(
                YELLOW,
                format!(
                    "  {id}: {} {what} {}: {}",
                    text("by"),
                    text("what"),
                    text("reason")
                ),
            ));
        }
    }
    line(paint(DIM, as_of(&rows)));
    Ok(Exit::Success)
}

async fn history(session: &Session, args: FlagArg) -> Outcome {
    let path = format!("{}/history", path_of(&args.environment, &args.key)?);
    let answer: ViewAnswer<Vec<FlagHistoryRow>> = session.client.get(&path, &[]).await?;
    if session.json {
        print::json(&answer)?;
        return Ok(Exit::Success);
    }
    for row in &answer.data {
        let setting = |value: &Option<
            rollbook_ledger::projection::row::Json<rollbook_ledger::projection::words::FlagSetting>,
        >| {
            value
                .as_ref()
                .map_or_else(|| "–".to_owned(), |setting| setting.0.to_string())
        };
        line(format!(
            "{:>6}  {}  {:<14} {:<8} {} → {}  {} {}",
            row.sequence,
            row.changed_at.map(print::time).unwrap_or_default(),
            row.changed_by,
            row.change,
            setting(&row.before),
            setting(&row.after),
            row.reason,
            paint(DIM, format!("{} {}", row.rollout, row.step)),
        ));
    }
    line(paint(DIM, as_of(&answer)));
    Ok(Exit::Success)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentage_is_taken_exactly_or_not_at_all() {
        for (text, number) in [
            ("0", 0.0),
            ("25", 25.0),
            ("0.125", 0.125),
            ("100.000", 100.0),
        ] {
            assert_eq!(percentage(text), Some(number), "{text}");
        }
        for text in [
            "", "101", "100.001", "-1", "0.0005", "NaN", "inf", "1e1", "1.2.3", "+5",
        ] {
            assert_eq!(percentage(text), None, "{text}");
        }
    }
}
