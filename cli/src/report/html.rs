//! The report as one self-contained HTML page: no scripts, nothing fetched.

use pulldown_cmark::{CowStr, Event, HeadingLevel, Options, Parser, Tag, TagEnd, html as render};
use rollbook_ledger::projection::words::{Health, RolloutEnding};

use super::markdown::{exceptions, outcome};
use super::{Material, markdown};
use crate::print::duration;

const STYLE: &str = include_str!("style.css");

/// Renders the report. Text from the ledger is escaped: the Markdown is rendered with raw HTML
/// escaped, and only this module adds tags.
pub(crate) fn html(material: &Material) -> String {
    let text = markdown(material);
    let mut events: Vec<Event> = Parser::new_ext(&text, Options::ENABLE_TABLES).collect();
    let sections = name_headings(&mut events);
    let top = format!("{}{}", summary(material), contents(&sections));
    let mut body = String::with_capacity(text.len() * 2);
    render::push_html(&mut body, dressed(events, top).into_iter());
    let title = escape(&material.status.view.data.rollout.rollout);
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\"><title>{title}</title><style>{STYLE}</style></head><body>\n{body}</body></html>\n"
    )
}

/// The answer first: how it ended, its health, what did not go by the plan, how long it took.
fn summary(material: &Material) -> String {
    let detail = &material.status.view.data;
    let rollout = &detail.rollout;
    let ended = outcome(detail);
    let end = match rollout.outcome {
        Some(RolloutEnding::Succeeded) if ended == RolloutEnding::Succeeded.as_str() => "good",
        Some(RolloutEnding::Failed) => "bad",
        _ => "note",
    };
    let health = match rollout.health {
        Health::Healthy => "good",
        Health::Critical => "bad",
        Health::NeedsAttention | Health::NoData => "note",
    };
    let score = rollout
        .health_score
        .map_or_else(String::new, |score| format!(", {score} of 100"));
    let found = exceptions::found(detail, &material.timeline).len();
    let (span, end_of_span) = match rollout.closed_at {
        Some(closed) => ("From start to end", Some(closed)),
        None => (
            "From start until now",
            material.status.view.as_of.recorded_at,
        ),
    };
    let took = rollout
        .started_at
        .zip(end_of_span)
        .and_then(|(started, end)| u64::try_from(end.duration_since(started).as_millis()).ok())
        .map_or_else(|| "not started".to_owned(), duration);
    let cards = [
        (end, "Outcome", escape(&ended)),
        (
            health,
            "Health",
            escape(&format!("{}{score}", rollout.health)),
        ),
        (
            if found == 0 { "good" } else { "note" },
            "Exceptions",
            format!("<a href=\"#exceptions\">{found}</a>"),
        ),
        ("", span, escape(&took)),
    ];
    let mut out = String::from("<dl class=\"cards\">\n");
    for (class, name, value) in cards {
        out.push_str(&format!(
            "<div class=\"{class}\"><dt>{name}</dt><dd>{value}</dd></div>\n"
        ));
    }
    out.push_str("</dl>\n");
    out
}

/// Links to the sections.
fn contents(sections: &[(String, String)]) -> String {
    let mut out = String::from("<nav aria-label=\"Sections\"><ul>\n");
    for (id, title) in sections {
        out.push_str(&format!(
            "<li><a href=\"#{id}\">{}</a></li>\n",
            escape(title)
        ));
    }
    out.push_str("</ul></nav>\n");
    out
}

/// Gives each section (heading of level 2) the id that its title makes; returns ids and titles. A title says
/// nothing of the ledger, so ids differ and stay.
fn name_headings(events: &mut [Event]) -> Vec<(String, String)> {
    let mut sections = Vec::new();
    for index in 0..events.len() {
        let Some((head, rest)) = events[index..].split_first_mut() else {
            break;
        };
        let Event::Start(Tag::Heading { level, id, .. }) = head else {
            continue;
        };
        if *level != HeadingLevel::H2 {
            continue;
        }
        let title: String = rest
            .iter()
            .take_while(|event| !matches!(event, Event::End(TagEnd::Heading(_))))
            .filter_map(text_of)
            .collect();
        let named = slug(&title);
        *id = Some(CowStr::from(named.clone()));
        sections.push((named, title));
    }
    sections
}

/// Letters and digits of a title, with hyphens between words.
fn slug(title: &str) -> String {
    let words = title.split(|c: char| !c.is_ascii_alphanumeric());
    let words: Vec<String> = words
        .filter(|word| !word.is_empty())
        .map(str::to_ascii_lowercase)
        .collect();
    words.join("-")
}

fn text_of<'a>(event: &'a Event) -> Option<&'a str> {
    match event {
        Event::Text(text) | Event::Code(text) => Some(text),
        _ => None,
    }
}

/// Adds `top` below the title, a box around each table that is named after its section, and marks cells that are
/// a time or a state.
fn dressed<'a>(events: Vec<Event<'a>>, top: String) -> Vec<Event<'a>> {
    let mut out = Vec::with_capacity(events.len() * 2);
    let mut top = Some(top);
    let mut section = "facts".to_owned();
    let mut cell = None;
    for event in events {
        match &event {
            Event::Start(Tag::Heading { id: Some(id), .. }) => section = id.to_string(),
            Event::Start(Tag::Table(_)) => {
                out.push(html_block(format!(
                    "<div class=\"table {section}\" tabindex=\"0\">\n"
                )));
            }
            Event::Start(Tag::TableCell) => cell = Some(out.len() + 1),
            Event::End(TagEnd::TableCell) => {
                let from = cell.take().unwrap_or(out.len());
                if let Some((open, close)) = mark(&out[from..]) {
                    out.insert(from, Event::InlineHtml(CowStr::from(open)));
                    out.push(Event::InlineHtml(CowStr::from(close)));
                }
            }
            _ => {}
        }
        let ends_table = matches!(event, Event::End(TagEnd::Table));
        let ends_title = matches!(event, Event::End(TagEnd::Heading(HeadingLevel::H1)));
        out.push(event);
        if ends_table {
            out.push(html_block("</div>\n".to_owned()));
        }
        if ends_title && let Some(top) = top.take() {
            out.push(html_block(top));
        }
    }
    out
}

fn html_block(text: String) -> Event<'static> {
    Event::Html(CowStr::from(text))
}

/// The tags around the content of a cell, if the whole of it is a time or a state.
fn mark(content: &[Event]) -> Option<(&'static str, &'static str)> {
    let texts: Vec<&str> = content
        .iter()
        .map(|event| match event {
            Event::Text(text) => Some(text.as_ref()),
            _ => None,
        })
        .collect::<Option<_>>()?;
    let text = texts.concat();
    if is_time(&text) {
        return Some(("<time>", "</time>"));
    }
    let class = match text.as_str() {
        "pass" | "passed" | "given" | "succeeded" => "<span class=\"good\">",
        "fail" | "failed" | "error" | "refused" | "undo failed" => "<span class=\"bad\">",
        "warning"
        | "inconclusive"
        | "skipped"
        | "undone"
        | "undone, not verified"
        | "voided"
        | "interrupted" => "<span class=\"note\">",
        _ => return None,
    };
    Some((class, "</span>"))
}

/// Whether a text is a time as the report writes it: `2026-11-29 17:16:39 UTC`.
fn is_time(text: &str) -> bool {
    const FORM: &[u8] = b"0000-00-00 00:00:00 UTC";
    text.len() == FORM.len()
        && text.bytes().zip(FORM).all(|(byte, form)| match form {
            b'0' => byte.is_ascii_digit(),
            form => byte == *form,
        })
}

/// Escapes text: nothing in it opens a tag, ends an attribute or starts an entity.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // Replaces control characters, and those that change the text direction.
            '\t' | '\n' => out.push(c),
            c if c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c) => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(text: &str) -> String {
        let mut events: Vec<Event> = Parser::new_ext(text, Options::ENABLE_TABLES).collect();
        let sections = name_headings(&mut events);
        let mut out = String::new();
        render::push_html(&mut out, dressed(events, contents(&sections)).into_iter());
        out
    }

    #[test]
    fn sections_are_linked_and_tables_are_in_a_box_of_their_own() {
        let page = page("# Title\n\n## Steps and checks\n\n| A |\n|---|\n| b |\n");
        let link = "<li><a href=\"#steps-and-checks\">Steps and checks</a></li>";
        assert!(page.contains(link), "{page}");
        assert!(page.contains("<h2 id=\"steps-and-checks\">"), "{page}");
        let boxed = "<div class=\"table steps-and-checks\" tabindex=\"0\">\n<table>";
        assert!(page.contains(boxed), "{page}");
        assert!(page.contains("</table>\n</div>"), "{page}");
    }

    #[test]
    fn only_a_cell_that_is_nothing_else_is_marked_as_a_time_or_a_state() {
        let page = page(
            "| A | B |\n|---|---|\n| pass | 2026-11-29 17:16:39 UTC |\n| pass it | x |\n| fail | 2026 |\n",
        );
        assert!(page.contains("<span class=\"good\">pass</span>"), "{page}");
        assert!(page.contains("<span class=\"bad\">fail</span>"), "{page}");
        let time = "<td><time>2026-11-29 17:16:39 UTC</time></td>";
        assert!(page.contains(time), "{page}");
        assert!(page.contains("<td>pass it</td>"), "{page}");
        assert!(page.contains("<td>2026</td>"), "{page}");
    }
}
