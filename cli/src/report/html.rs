//! The report as one self-contained HTML page.

use pulldown_cmark::{Options, Parser, html as render};

use super::{Material, markdown};

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;color:#1c2430;background:#fff}\
table{border-collapse:collapse;width:100%;margin:1rem 0;font-size:.92em}th,td{border:1px solid #d5dbe3;padding:.35rem .6rem;text-align:left;vertical-align:top}\
th{background:#f2f5f8}code{background:#f2f5f8;padding:.1em .3em;border-radius:3px;overflow-wrap:anywhere}h1,h2{line-height:1.2}h2{margin-top:2.2rem;border-bottom:1px solid #d5dbe3;padding-bottom:.3rem}\
@media (prefers-color-scheme:dark){body{background:#14181f;color:#dde3ea}th,code{background:#222933}th,td,h2{border-color:#39424f}}";

/// Renders the report. Text from the ledger is escaped: the Markdown is rendered with raw HTML
/// escaped.
pub(crate) fn html(material: &Material) -> String {
    let text = markdown(material);
    let parser = Parser::new_ext(&text, Options::ENABLE_TABLES);
    let mut body = String::with_capacity(text.len() * 2);
    render::push_html(&mut body, parser);
    let title = escape(&material.status.view.data.rollout.rollout);
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\"><title>{title}</title><style>{STYLE}</style></head><body>\n{body}</body></html>\n"
    )
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
