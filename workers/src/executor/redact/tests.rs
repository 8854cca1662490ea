use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use proptest::prelude::*;

use super::*;

fn contains(haystack: &[u8], needle: &str) -> bool {
    haystack
        .windows(needle.len())
        .any(|window| window == needle.as_bytes())
}

fn in_pieces(redactor: &Redactor, bytes: &[u8], piece: usize) -> Vec<u8> {
    let mut stream = redactor.stream();
    let mut out = Vec::new();
    for chunk in bytes.chunks(piece) {
        out.extend(stream.push(chunk));
    }
    out.extend(stream.finish());
    out
}

#[test]
fn spellings_of_a_secret_are_taken_out() {
    let redactor = Redactor::new(["p@ss \"wörd\"/1", "line-one-long\nline-two-long"]).unwrap();
    for spelled in [
        r#"p@ss "wörd"/1"#,
        r#"p@ss \"wörd\"/1"#,
        r#"p@ss \"w\u00f6rd\"\/1"#,
        r#"\u0070@ss\u0020\u0022w\u00F6rd\"\/1"#,
        "p%40ss+%22w%C3%B6rd%22%2F1",
        "p%40ss%20%22w%c3%b6rd%22%2f1",
        "p@ss%20\"wörd%22/1",
        "%70%40%73%73%20%22%77%C3%b6%72%64%22%2f%31",
        r#"p\@ss\ \"wörd\"/1"#,
        "p@ss &quot;wörd&quot;/1",
        "7040737320227 7c3b672642 22f31".replace(' ', "").as_str(),
        "70:40:73:73:20:22:77:C3:B6:72:64:22:2F:31",
        "p@ss &#x22;w&#246;rd&#34;&#X2F;1",
        "&#112;@ss &quot;w&#x00f6;rd\"/1",
        r#"p\100ss \042w\303\266rd"/1"#,
        "70 0x40 0x73,0x73, 0x20, 0x22, 0x77, 0xc3, 0xb6, 0x72, 0x64, 0x22, 0x2f, 0x31",
        "70 40 73 73 20 22 77 c3  b6 72 64 22  |xxxp@ss \"w..rd\"|\n00000010  2f 31",
        "line-two-long",
    ] {
        let text = format!("before {spelled} after");
        assert_eq!(redactor.text(&text), "before [redacted] after", "{spelled}");
        for piece in [1, 2, 3, 7] {
            let out = in_pieces(&redactor, text.as_bytes(), piece);
            assert_eq!(out, b"before [redacted] after", "{spelled} by {piece}");
        }
    }
}

#[test]
fn base64_is_recognised_wherever_the_secret_begins() {
    let secret = "hunter2?>~secret";
    let redactor = Redactor::new([secret]).unwrap();
    for before in ["", "u", "us", "user", "user:"] {
        for after in ["", "\n", "@h", "@host"] {
            let whole = format!("{before}{secret}{after}");
            for encoded in [STANDARD.encode(&whole), URL_SAFE.encode(&whole)] {
                let mut wrapped = encoded.clone();
                wrapped.insert(8, '\n');
                for text in [encoded, wrapped] {
                    let out = redactor.text(&format!("Basic {text}\n"));
                    assert!(out.contains(MASK), "{text}: {out}");
                    let kept = out.replace(MASK, "").replace("Basic ", "");
                    assert!(
                        kept.trim().len() <= before.len() * 2 + after.len() * 2 + 4,
                        "{whole}: {out}"
                    );
                }
            }
        }
    }
}

#[test]
fn what_cannot_be_a_secret_is_not_held_back() {
    let redactor = Redactor::new(["a-rather-long-secret-value"]).unwrap();
    let mut stream = redactor.stream();
    assert_eq!(stream.push(b"a line\n"), b"a line\n");
    assert_eq!(stream.push(b"a-rather"), b"");
    assert_eq!(stream.push(b" odd one\n"), b"a-rather odd one\n");
}

#[test]
fn an_empty_secret_and_no_secret_change_nothing() {
    assert_eq!(Redactor::new([""]).unwrap().text("abc"), "abc");
    assert_eq!(Redactor::none().text("abc"), "abc");
}

#[test]
fn a_long_secret_goes_with_its_lines() {
    let line = "MIIEpAIBAAKCAQEA0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKL";
    let key = format!(
        "-----BEGIN KEY-----\n{}\n-----END KEY-----",
        [line; 60].join("\n")
    );
    let redactor = Redactor::new([&key]).unwrap();
    assert_eq!(redactor.text(&format!("x {key} y")), "x [redacted] y");
    assert_eq!(redactor.text(&format!("> {line}")), "> [redacted]");
}

/// Writes a character in one of several ways.
fn written(c: char, how: u8) -> String {
    let mut buffer = [0_u8; 4];
    let utf8 = c.encode_utf8(&mut buffer).as_bytes().to_owned();
    let mut units = [0_u16; 2];
    match how {
        0 => utf8.iter().map(|b| format!("%{b:02X}")).collect(),
        1 => utf8.iter().map(|b| format!("%{b:02x}")).collect(),
        2 => c
            .encode_utf16(&mut units)
            .iter()
            .map(|unit| format!("\\u{unit:04x}"))
            .collect(),
        _ => c.to_string(),
    }
}

proptest! {
    // Upper case and digits, because the mask and the lower-case text around it cannot form such
    // secrets.
    #[test]
    fn no_secret_survives_however_the_bytes_are_cut(
        secrets in prop::collection::vec("[A-C]{1,6}", 1..4),
        pieces in prop::collection::vec(("[a-cA-C]{0,12}", 0usize..4), 0..12),
        piece in 1usize..9,
    ) {
        let redactor = Redactor::new(&secrets).unwrap();
        let mut text = String::new();
        for (before, which) in &pieces {
            text.push_str(before);
            if let Some(secret) = secrets.get(*which) {
                text.push_str(secret);
            }
        }
        let out = in_pieces(&redactor, text.as_bytes(), piece);
        prop_assert_eq!(&out, &redactor.bytes(text.as_bytes()), "cuts do not matter");
        for secret in &secrets {
            prop_assert!(!contains(&out, secret), "{} in {:?}", secret, String::from_utf8_lossy(&out));
        }
    }

    #[test]
    fn any_mixture_of_escapes_is_recognised(
        secret in prop::collection::vec((any::<char>(), 0u8..4), 4..20),
        piece in 1usize..9,
    ) {
        let plain: String = secret.iter().map(|(c, _)| c).collect();
        let mixed: String = secret.iter().map(|(c, how)| written(*c, *how)).collect();
        let redactor = Redactor::new([&plain]).unwrap();
        let out = in_pieces(&redactor, format!("({mixed})").as_bytes(), piece);
        prop_assert_eq!(String::from_utf8_lossy(&out), "([redacted])");
    }
}
