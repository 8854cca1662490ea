//! The ways in which programs write a secret, as regular expressions over bytes.
//!
//! A secret is found as it is; escaped, wholly or partly, for JSON, a shell, a URL, a form or XML;
//! and as a whole in hexadecimal and in Base64, at any offset within a longer encoded text.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;

/// A secret longer than this is searched for in its common spellings only: each further spelling
/// would cost memory per byte.
const MAX_ALL_SPELLINGS_BYTES: usize = 1024;

/// The encodings of a shorter secret occur in too many harmless texts.
const MIN_ENCODED_BYTES: usize = 4;

/// Fewer Base64 characters than this are not specific to a secret.
const MIN_BASE64_CHARS: usize = 5;

/// Lines of a multi-line secret (a private key) that have at least this many bytes are secrets of
/// their own, because tools print keys line by line. Shorter ones (`}` of a JSON key file) are not
/// specific.
const MIN_LINE_BYTES: usize = 8;

/// A line break that encoders may insert.
const LINE_BREAK: &str = r"(?:\r?\n|\\n)?";

/// The regular expressions that match every spelling of a secret, without Unicode mode.
pub(super) fn spellings(secret: &str) -> Vec<String> {
    let mut found = Vec::new();
    if secret.len() > MAX_ALL_SPELLINGS_BYTES {
        found.push(literal(secret.as_bytes()));
        found.push(literal(json_escaped(secret).as_bytes()));
        let form: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
        found.push(literal(form.as_bytes()));
    } else if !secret.is_empty() {
        found.push(secret.chars().map(any_escape).collect());
        if secret.len() >= MIN_ENCODED_BYTES {
            found.push(hexadecimal(secret.as_bytes()));
            found.extend((0..3).filter_map(|before| base64(secret.as_bytes(), before)));
        }
    }
    if secret.contains('\n') {
        let lines = secret.lines().map(str::trim);
        found.extend(
            lines
                .filter(|line| line.len() >= MIN_LINE_BYTES)
                .flat_map(spellings),
        );
    }
    found
}

fn json_escaped(text: &str) -> String {
    let quoted = serde_json::Value::String(text.to_owned()).to_string();
    quoted
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        .unwrap_or(&quoted)
        .to_owned()
}

/// Matches exactly these bytes.
fn literal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!(r"\x{byte:02x}")).collect()
}

/// Matches the two hexadecimal digits of a byte, in either case.
fn digits(byte: u8) -> String {
    any_case(&format!("{byte:02x}"))
}

/// Matches hexadecimal digits in either case.
fn any_case(digits: &str) -> String {
    digits
        .chars()
        .map(|digit| match digit {
            '0'..='9' => digit.to_string(),
            letter => format!("[{letter}{}]", letter.to_ascii_uppercase()),
        })
        .collect()
}

/// Matches one character, escaped or not.
fn any_escape(c: char) -> String {
    let mut buffer = [0_u8; 4];
    let bytes = c.encode_utf8(&mut buffer).as_bytes().to_owned();
    let as_is = literal(&bytes);
    let mut units = [0_u16; 2];
    let json: String = c
        .encode_utf16(&mut units)
        .iter()
        .flat_map(|unit| unit.to_be_bytes())
        .map(digits)
        .collect::<Vec<_>>()
        .chunks(2)
        .map(|unit| format!(r"\\u{}", unit.concat()))
        .collect();
    let percent: String = bytes.iter().map(|b| format!("%{}", digits(*b))).collect();
    let octal: String = bytes.iter().map(|b| format!(r"\\{b:03o}")).collect();
    let code = u32::from(c);
    let reference = format!(
        "&#(?:0{{0,7}}{code}|[xX]0{{0,7}}{});",
        any_case(&format!("{code:x}"))
    );
    let mut ways = vec![as_is.clone(), percent, json, octal, reference];
    if c.is_ascii_punctuation() || c == ' ' {
        ways.push(format!(r"\\{as_is}"));
    }
    let further: &[&str] = match c {
        ' ' => &[r"\+"],
        '\n' => &[r"\\n", r"\r\n", "%0[dD]%0[aA]"],
        '\r' => &[r"\\r"],
        '\t' => &[r"\\t"],
        '\u{8}' => &[r"\\b"],
        '\u{c}' => &[r"\\f"],
        '&' => &["&amp;"],
        '<' => &["&lt;"],
        '>' => &["&gt;"],
        '"' => &["&quot;"],
        '\'' => &["&apos;", r#"'"'"'"#, r"'\\''"],
        _ => &[],
    };
    ways.extend(further.iter().map(|&way| way.to_owned()));
    format!("(?:{})", ways.join("|"))
}

/// Matches bytes as `xxd`, `hexdump -C`, `od`, lists of bytes and escapes write them.
fn hexadecimal(bytes: &[u8]) -> String {
    let pairs: Vec<String> = bytes.iter().map(|byte| digits(*byte)).collect();
    // `hexdump -C` ends its lines with the characters and begins them with the offset.
    pairs.join(r"(?:[ :-]|  |\\x|,? ?0[xX]|\r?\n[ \t]?|  \|[^|\n]{1,16}\|\r?\n[0-9a-f]{8}  )?")
}

/// The part of the Base64 text that depends on the secret alone, if `before` bytes precede it in
/// its group of three, together with the character it shares with what follows.
fn base64(secret: &[u8], before: usize) -> Option<String> {
    let mut group = vec![0_u8; before];
    group.extend_from_slice(secret);
    let text = STANDARD_NO_PAD.encode(&group);
    // In a partly filled first group: the characters that contain bits of what precedes the secret.
    let first = match before {
        0 => 0,
        1 => 2,
        _ => 3,
    };
    let last = group.len() * 8 / 6;
    let own = text.get(first..last)?;
    if own.len() < MIN_BASE64_CHARS {
        return None;
    }
    let characters: Vec<String> = own
        .chars()
        .map(|c| match c {
            '+' => r"(?:\+|-|%2[bB])".to_owned(),
            '/' => r"(?:\\?/|_|%2[fF])".to_owned(),
            other => other.to_string(),
        })
        .collect();
    let mut pattern = characters.join(LINE_BREAK);
    if !group.len().is_multiple_of(3) {
        pattern.push_str("(?:[A-Za-z0-9+/_-](?:=|%3[dD]){0,2})?");
    }
    Some(pattern)
}
