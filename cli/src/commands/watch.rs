//! `rollbook status --watch`: a frame redrawn in place at a terminal, a line for each change
//! elsewhere, a status for each change as JSON. Ends with the rollout.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use rollbook_ledger::projection::rows::TimelineRow;
use rollbook_ledger::projection::views::{Page, PageCursor, ViewAnswer};
use rollbook_ledger::runbook::Plan;
use rollbook_server::api::StatusAnswer;
use tokio::signal::unix::SignalKind;
use tokio::time::MissedTickBehavior;

use super::Session;
use super::status::{exit_of, show};
use crate::client::Client;
use crate::exit::{Exit, Failure, Outcome};
use crate::interrupt;
use crate::print::{DIM, line, note, paint};
use crate::progress::Steps;
use crate::status::changes::{self, Told};
use crate::status::frame::Frame;
use crate::status::{Picture, as_of, is_over, tree};
use crate::terminal::{self, Screen};

/// Interval between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(300);

/// Interval between two frames while nothing changes but elapsed times.
const DRAW_EVERY: Duration = Duration::from_secs(1);

/// A server that has not answered for this long is shown as lost.
const LOST_AFTER: Duration = Duration::from_secs(5);

/// That a lost server is back.
const ANSWERS_AGAIN: &str = "the server answers again";

/// Rows of the timeline in one answer of the server.
const PAGE: u32 = 1_000;

/// `status --watch`.
pub(crate) async fn watch(session: &Session, id: &str) -> Outcome {
    if session.json {
        return as_json(session, id).await;
    }
    let mut watched = Watched::begin(session.clone(), id).await?;
    match Screen::open() {
        Some(screen) => at_terminal(&mut watched, screen).await,
        None => in_lines(&mut watched).await,
    }
}

/// A status whenever anything has changed. A server that no longer answers is asked again.
async fn as_json(session: &Session, id: &str) -> Outcome {
    let mut session = session.clone();
    let mut answer = session.status_of(id).await?;
    show(&session, &answer).await?;
    while !is_over(&answer) {
        let next = again(&mut session, id).await?;
        if changes::is_news(&answer, &next) {
            show(&session, &next).await?;
        }
        answer = next;
    }
    Ok(exit_of(&answer))
}

/// The next status, however long the server does not answer.
async fn again(session: &mut Session, id: &str) -> Result<StatusAnswer, Failure> {
    let mut was_lost = false;
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let failure = match session.status_of(id).await {
            Ok(answer) => {
                if was_lost {
                    note(ANSWERS_AGAIN);
                }
                return Ok(answer);
            }
            Err(failure) => failure,
        };
        if !was_lost {
            note(no_answer(&failure.message));
        }
        was_lost = true;
        reach_again(session, failure)?;
    }
}

/// Prepares to ask a server again that did not answer; anything else that it says is a failure.
fn reach_again(session: &mut Session, failure: Failure) -> Result<(), Failure> {
    if failure.exit != Exit::Unavailable {
        return Err(failure);
    }
    // A server that was started again may have another address.
    session.client = Client::new(&session.config, None)?;
    Ok(())
}

fn no_answer(why: &str) -> String {
    format!("no answer, trying again: {why}")
}

/// A rollout that is being watched, as last seen.
struct Watched {
    session: Session,
    id: String,
    answer: StatusAnswer,
    plan: Option<Plan>,
    /// When the server last answered.
    answered: Instant,
    /// Why it did not answer the last time.
    lost: Option<String>,
}

impl Watched {
    /// The first look. A server that does not answer it is a failure.
    async fn begin(session: Session, id: &str) -> Result<Self, Failure> {
        let answer = session.status_of(id).await?;
        let plan = session.plan_of(id, None).await.ok();
        Ok(Self {
            session,
            id: id.to_owned(),
            answer,
            plan,
            answered: Instant::now(),
            lost: None,
        })
    }

    /// Requests the status. Does not change `self`, which can be drawn meanwhile.
    async fn look(&self) -> Result<(StatusAnswer, Option<Plan>), Failure> {
        let answer = self.session.status_of(&self.id).await?;
        let digest = &answer.view.data.rollout.plan_digest;
        let known = self.plan.as_ref().map(Plan::digest);
        let plan = if known == Some(digest) {
            None
        } else {
            self.session.plan_of(&self.id, None).await.ok()
        };
        Ok((answer, plan))
    }

    /// Takes what a look found. A server that does not answer is asked again; anything else that
    /// it says ends the watching. Returns whether there is anything new to show.
    fn take(
        &mut self,
        found: Result<(StatusAnswer, Option<Plan>), Failure>,
    ) -> Result<bool, Failure> {
        let before = self.lost.clone();
        match found {
            Ok((answer, plan)) => {
                let is_new = self.answer != answer || plan.is_some() || before.is_some();
                self.answer = answer;
                self.plan = plan.or(self.plan.take());
                self.answered = Instant::now();
                self.lost = None;
                Ok(is_new)
            }
            Err(failure) => {
                self.lose(failure)?;
                Ok(self.lost != before)
            }
        }
    }

    fn lose(&mut self, failure: Failure) -> Result<(), Failure> {
        let why = failure.message.clone();
        reach_again(&mut self.session, failure)?;
        self.lost = Some(why);
        Ok(())
    }

    /// For how many seconds the server has not answered, and why.
    fn silence(&self) -> Option<(u64, String)> {
        let passed = self.answered.elapsed();
        let why = match &self.lost {
            Some(why) => why.clone(),
            None if passed >= LOST_AFTER => "the server takes long".to_owned(),
            None => return None,
        };
        Some((passed.as_secs(), why))
    }

    fn picture(&self, width: usize) -> Picture<'_> {
        Picture {
            answer: &self.answer,
            plan: self.plan.as_ref(),
            now: Timestamp::now(),
            width,
        }
    }

    fn draw(&self, screen: &mut Screen) {
        let (height, width) = screen.size();
        let frame = Frame::of(&self.picture(width), self.silence().as_ref());
        screen.draw(&frame.within(height));
    }
}

/// Redraws a frame whenever something changes, the terminal included, and every second.
async fn at_terminal(watched: &mut Watched, mut screen: Screen) -> Outcome {
    interrupt::set_parting_message(format!(
        "\n{0} goes on; `rollbook status {0} --watch` watches it again",
        watched.id
    ));
    let mut resized = interrupt::handler(SignalKind::window_change())?;
    let mut ticks = tokio::time::interval(DRAW_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut is_new = true;
    loop {
        if is_over(&watched.answer) {
            let (_, width) = screen.size();
            screen.draw(&Frame::of(&watched.picture(width), None).whole());
            return Ok(exit_of(&watched.answer));
        }
        if is_new {
            watched.draw(&mut screen);
        }
        let found = {
            let look = async {
                tokio::time::sleep(LOOK_EVERY).await;
                watched.look().await
            };
            tokio::pin!(look);
            loop {
                tokio::select! {
                    found = &mut look => break found,
                    _ = ticks.tick() => watched.draw(&mut screen),
                    _ = resized.recv() => watched.draw(&mut screen),
                }
            }
        };
        is_new = watched.take(found)?;
    }
}

/// Prints the status once, then a line for each event and each change of what is blocked.
async fn in_lines(watched: &mut Watched) -> Outcome {
    for text in tree(&watched.picture(terminal::width())) {
        line(text);
    }
    let mut told = Told::all(&watched.answer);
    let mut steps = Steps::default();
    let mut cursor = PageCursor {
        sequence: watched.answer.view.as_of.sequence,
        idx: u32::MAX,
        ordinal: 0,
    };
    // The position of the views up to which the events have been requested.
    let mut read_to = cursor.sequence;
    let mut was_lost = false;
    loop {
        let position = watched.answer.view.as_of.sequence;
        if position > read_to {
            match events(&watched.session, &watched.id, &mut cursor).await {
                Ok(()) => read_to = position,
                Err(failure) => watched.lose(failure)?,
            }
        }
        let lost = watched.lost.as_ref();
        match (lost, was_lost) {
            (Some(why), false) => note(no_answer(why)),
            (None, true) => note(ANSWERS_AGAIN),
            _ => {}
        }
        was_lost = lost.is_some();
        // An answer from before the last event printed would take back what that event says.
        let is_behind = cursor.sequence > position;
        if !was_lost && !is_behind {
            // What is about to change by itself is not worth a line.
            if !watched.answer.due {
                for text in told.changes(&watched.answer, Timestamp::now()) {
                    line(text);
                }
            }
            for text in steps.due(&watched.answer.progress) {
                note(text);
            }
            if is_over(&watched.answer) {
                line(paint(DIM, as_of(&watched.answer.view)));
                return Ok(exit_of(&watched.answer));
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
        let found = watched.look().await;
        watched.take(found)?;
    }
}

/// Prints the events after the cursor and moves it behind them.
async fn events(session: &Session, id: &str, cursor: &mut PageCursor) -> Result<(), Failure> {
    loop {
        let query = [
            ("after_sequence", cursor.sequence.to_string()),
            ("after_idx", cursor.idx.to_string()),
            ("limit", PAGE.to_string()),
        ];
        let path = format!("/v1/rollouts/{id}/timeline");
        let page: ViewAnswer<Page<TimelineRow>> = session.client.get(&path, &query).await?;
        for row in &page.data.rows {
            line(changes::event(row));
            (cursor.sequence, cursor.idx) = (row.sequence, row.idx);
        }
        if page.data.next.is_none() {
            return Ok(());
        }
    }
}
