//! A frame of `status --watch`: what matters now, cut to the height of the terminal.

use super::phase::Course;
use super::{Picture, as_of, blocked, figures, gate, head, is_over, phase, running, step};
use crate::layout::{cut, listed, rows, width_of, wrapped};
use crate::print::{BOLD, DIM, RED, paint};

/// What a line belongs to. Where a frame is too tall, lines are hidden from the last of these on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Head,
    Blocked,
    Running,
    Current,
    Finished,
    /// Steps of a current phase that are done.
    Done,
    Later,
}

/// The lines of a frame.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    lines: Vec<(Part, String)>,
    /// How to see what is hidden.
    all: String,
    width: usize,
}

impl Frame {
    /// Draws a frame. `lost`: why the server does not answer, and since when in seconds.
    pub(crate) fn of(picture: &Picture<'_>, lost: Option<&(u64, String)>) -> Self {
        let mut frame = Self {
            lines: Vec::new(),
            all: format!("rollbook status {}", picture.rollout().rollout),
            width: picture.width,
        };
        frame.add(Part::Head, head::lines(picture));
        if let Some((seconds, why)) = lost {
            let text = format!(
                "no answer for {}, trying again: {why}",
                figures::seconds(*seconds)
            );
            frame.add(Part::Head, wrapped("  ", &text, RED, 4, picture.width));
        }
        frame.part(Part::Blocked, blocked::lines(picture));
        frame.part(Part::Blocked, head::alerts(picture));
        frame.part(Part::Running, running::lines(picture));
        frame.phases(picture);
        frame.foot(picture);
        frame
    }

    fn phases(&mut self, picture: &Picture<'_>) {
        let columns = step::Columns::of(picture);
        let mut first = true;
        for detail in picture
            .detail()
            .phases
            .iter()
            .filter(|it| !it.phase.dropped)
        {
            let course = phase::course(detail, picture);
            let part = match course {
                Course::Finished => Part::Finished,
                Course::Current => Part::Current,
                Course::Later => Part::Later,
            };
            if std::mem::take(&mut first) {
                self.add(Part::Current, vec![String::new()]);
            }
            self.add(part, vec![phase::folded(detail, picture)]);
            if course != Course::Current {
                continue;
            }
            for row in detail.steps.iter().filter(|row| phase::is_shown(row)) {
                let part = if step::is_done(row) && !step::is_bad(row) {
                    Part::Done
                } else {
                    part
                };
                self.add(part, vec![step::row(row, columns, picture.now)]);
                self.add(part, step::message(row, picture.width));
            }
            if let Some(detail) = &detail.gate_detail {
                self.add(part, gate::lines(detail, picture));
            }
        }
    }

    fn foot(&mut self, picture: &Picture<'_>) {
        let fresh = as_of(&picture.answer.view);
        let mut parts = vec![fresh];
        if !is_over(picture.answer) {
            parts.push("Ctrl-C ends only the watching".to_owned());
        }
        self.add(Part::Head, listed("", &parts, DIM, 0, picture.width));
    }

    fn add(&mut self, part: Part, lines: Vec<String>) {
        self.lines
            .extend(lines.into_iter().map(|line| (part, line)));
    }

    /// Adds lines with an empty one before them.
    fn part(&mut self, part: Part, lines: Vec<String>) {
        if !lines.is_empty() {
            self.add(part, vec![String::new()]);
            self.add(part, lines);
        }
    }

    /// All lines.
    pub(crate) fn whole(self) -> Vec<String> {
        self.lines.into_iter().map(|(_, line)| line).collect()
    }

    /// The lines for a terminal of this height, whose last row is for the cursor; one of them says
    /// what is hidden.
    pub(crate) fn within(mut self, height: usize) -> Vec<String> {
        let room = height.saturating_sub(1).max(1);
        let taken = self.lines.iter().map(|(_, line)| rows(line, self.width));
        let mut taken: Vec<usize> = taken.collect();
        let mut all: usize = taken.iter().sum();
        if all <= room {
            return self.whole();
        }
        let mut hidden: Vec<(Part, String)> = Vec::new();
        let mut place = self.lines.len();
        while all + 1 > room {
            let Some(at) = least_needed(&self.lines) else {
                break;
            };
            hidden.push(self.lines.remove(at));
            all = all.saturating_sub(taken.remove(at));
            place = place.min(at);
        }
        let told = told(&hidden);
        let how = format!("… hidden: {told} (`{}` shows all)", self.all);
        let note = if width_of(&how) <= self.width {
            how
        } else {
            cut(&format!("… hidden: {told}"), self.width)
        };
        let note = paint(BOLD, note);
        self.lines
            .insert(place.min(self.lines.len()), (Part::Head, note));
        self.whole()
    }
}

/// The line that is missed least: of the least needed part, the oldest of what is done, otherwise the
/// last line. The head is the last to go.
fn least_needed(lines: &[(Part, String)]) -> Option<usize> {
    let part = lines.iter().map(|(part, _)| *part).max()?;
    let of = |(one, _): &(Part, String)| *one == part;
    match part {
        Part::Finished | Part::Done => lines.iter().position(of),
        _ => lines.iter().rposition(of),
    }
}

/// What is hidden, counted.
fn told(hidden: &[(Part, String)]) -> String {
    let parts = [
        (
            Part::Blocked,
            "line of what is blocked",
            "lines of what is blocked",
        ),
        (Part::Running, "line of what runs", "lines of what runs"),
        (
            Part::Current,
            "line of the current phase",
            "lines of the current phase",
        ),
        (Part::Finished, "finished phase", "finished phases"),
        (Part::Done, "line of done steps", "lines of done steps"),
        (Part::Later, "later phase", "later phases"),
        (Part::Head, "line of the head", "lines of the head"),
    ];
    let counted = parts.iter().filter_map(|(part, one, many)| {
        let lines = hidden
            .iter()
            .filter(|(of, line)| of == part && !line.is_empty())
            .count();
        match lines {
            0 => None,
            1 => Some(format!("1 {one}")),
            _ => Some(format!("{lines} {many}")),
        }
    });
    counted.collect::<Vec<_>>().join(", ")
}
