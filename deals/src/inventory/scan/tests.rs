use proptest::prelude::*;

use super::super::read::read;
use super::*;
use crate::generate::{GenerateOptions, generate};

/// Whether both readers agree on an input.
fn same(json: &[u8]) -> bool {
    let Some(scanned) = scan(json) else {
        return true;
    };
    let mut read = match read(json) {
        Ok(read) => read,
        // Allowed only for a number that no double holds; the scanner reports it with its field.
        Err(error) => {
            let is_bad = |value| matches!(value, Scalar::BadNumber(_));
            let mut items = scanned.items();
            let named = items.any(|mut it| Field::ALL.into_iter().any(|f| is_bad(it.take(f))));
            assert!(named, "what is scanned can be read: {error}");
            return true;
        }
    };
    let agree = scanned.items().zip(&mut read).all(|(mut scanned, read)| {
        Field::ALL
            .into_iter()
            .all(|field| scanned.take(field) == read.take(field))
    });
    agree && scanned.items().len() == read.len()
}

#[test]
fn every_generated_inventory_is_read_the_fast_way() {
    for deal in generate(GenerateOptions::new(300, 5)) {
        let json = deal.inventory_json.as_bytes();
        assert!(scan(json).is_some(), "{}", deal.inventory_json);
        assert!(same(json), "{}", deal.inventory_json);
    }
}

#[test]
fn unusual_texts_and_numbers_are_read_too() {
    for (data, scanned) in [
        (r#"{"vendor": "a\"b\\c\u00e9\n"}"#, true),
        (
            "{\"vendor\": \"\u{e9}\u{1f600}, longer than one word\"}",
            true,
        ),
        (r#"{"v\u0065ndor": "x"}"#, true),
        (r#"{"unread": [1, {"a": [null, true, 2.5]}, "]}"]}"#, true),
        (r#"{"users": {"a": 1}}"#, true),
        (r#"{"users": 12.25}"#, true),
        (r#"{"users": 1000000000001}"#, true),
        ("null", true),
        (r#"{"users": -1}"#, true),
        (r#"{"users": -0}"#, true),
        (r#"{"users": -1e-9}"#, true),
        (r#"{"users": 1e3}"#, true),
        (r#"{"users": 12.5E+2}"#, true),
        (r#"{"users": 1e999}"#, true),
        (r#"{"users": 0.30000000000000004}"#, true),
        (r#"{"users": 9999999999999999999}"#, true),
        (r#"{"users": 01}"#, false),
        (r#"{"users": -01}"#, false),
        (r#"{"users": 1.}"#, false),
        (r#"{"users": 1.e5}"#, false),
        (r#"{"users": 1e}"#, false),
        (r#"{"users": -}"#, false),
        (r#"{"users": .5}"#, false),
        (r#"{"users": NaN}"#, false),
        (r#"{"users": 1, "users": 2}"#, false),
        (r#"{"vendor": "\ud800"}"#, false),
        ("{\"vendor\": \"a\tb\"}", false),
        (r#"{"vendor": "x",}"#, false),
        (r#"{"vendor" "x"}"#, false),
        ("[]", false),
    ] {
        let json = format!(r#" [ {{"item_id": "x", "data": {data} }} ] "#);
        assert_eq!(scan(json.as_bytes()).is_some(), scanned, "{json}");
        assert!(same(json.as_bytes()), "{json}");
    }
    for nothing in ["", "null", "[] x", "[", "[{}", "{}", "[1]", "[{},]"] {
        assert!(scan(nothing.as_bytes()).is_none(), "{nothing}");
    }
}

fn json() -> impl Strategy<Value = Vec<u8>> {
    (0_u64..400).prop_map(|seed| {
        let deals = generate(GenerateOptions::new(20, seed));
        let mut small = deals.filter(|deal| deal.inventory_json.len() < 3_000);
        small
            .next()
            .map_or_else(Vec::new, |deal| deal.inventory_json.into_bytes())
    })
}

/// Bytes with a meaning in JSON, so that many broken inputs are nearly valid.
const MEANINGFUL: &[u8] = b"\"\\{}[]:,.-+eE0123456789 ntfu\n\t\x1f\x7f\xc3\xa9\xff";

proptest! {
    #[test]
    fn what_is_scanned_is_what_is_read(
        mut json in json(),
        edits in prop::collection::vec((0.0_f64..1.0, 0..MEANINGFUL.len(), 0..3_u8), 0..4),
    ) {
        for (place, byte, kind) in edits {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
            let place = (json.len() as f64 * place) as usize;
            match kind {
                0 => json.insert(place, MEANINGFUL[byte]),
                1 if place < json.len() => json[place] = MEANINGFUL[byte],
                _ if place < json.len() => drop(json.remove(place)),
                _ => {}
            }
        }
        prop_assert!(same(&json), "{}", String::from_utf8_lossy(&json));
    }

    #[test]
    fn any_text_is_read_whole(text in any::<String>(), key in any::<String>()) {
        let json = format!(
            r#"[{{"name":{},{}:"x","status":{}}}]"#,
            serde_json::to_string(&text).unwrap(),
            serde_json::to_string(&format!("{key}!")).unwrap(),
            serde_json::to_string(&format!("{text}{key}")).unwrap(),
        );
        let scanned = scan(json.as_bytes()).expect("it is JSON");
        let mut item = scanned.items().next().expect("it has an item");
        prop_assert_eq!(item.take(Field::Name), Scalar::Text(text.clone().into()));
        let status = format!("{text}{key}");
        prop_assert_eq!(item.take(Field::Status), Scalar::Text(status.into()));
    }
}
