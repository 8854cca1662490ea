use proptest::prelude::*;

use super::super::plain::read;
use super::super::{Inventory, parse};
use super::*;
use crate::generate::{GenerateOptions, generate};

/// Whether both readers agree on an input, and whether `parse` answers what the plain one does.
fn same(json: &[u8]) -> bool {
    let plain = || read(json).and_then(|items| Inventory::of(items.into_iter()));
    if !json.trim_ascii().is_empty() && format!("{:?}", parse(json)) != format!("{:?}", plain()) {
        return false;
    }
    let Some(scanned) = scan(json) else {
        return true;
    };
    let mut read = read(json).expect("what is scanned can be read");
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

/// A value as JSON text: of any kind, also out of range, nested too deep and not JSON at all.
fn value() -> BoxedStrategy<String> {
    let odd = prop::sample::select(vec![
        "null",
        "true",
        "false",
        "0",
        "-0",
        "-1",
        "12.25",
        "1e3",
        "1E-7",
        "-1e-9",
        "1e999",
        "-1e999",
        "123456789012.345678",
        "0.30000000000000004",
        "1000000000001",
        "18446744073709551616",
        "123456789012345678901234567890",
        "01",
        "1.",
        "1.e5",
        "1e",
        "-",
        ".5",
        "+1",
        "NaN",
        "Infinity",
        "tru",
        "\"\\ud800\"",
        "\"\\u00e9\\n\\\"\"",
        "\"a\tb\"",
        "\"12.5\"",
        "\"application\"",
        "\"active\"",
        "\"buyer\"",
        "\"unknown\"",
        "\"1e13\"",
    ]);
    let text = any::<String>().prop_map(|text| serde_json::Value::from(text).to_string());
    let deep = (25..35_usize).prop_map(|depth| "[".repeat(depth) + &"]".repeat(depth));
    let leaf = prop_oneof![
        6 => odd.prop_map(str::to_owned),
        2 => text,
        1 => any::<f64>().prop_map(|number| number.to_string()),
        1 => any::<u64>().prop_map(|number| number.to_string()),
        1 => deep,
    ];
    leaf.prop_recursive(2, 6, 3, |inner| {
        let member = (key(), inner.clone()).prop_map(|(key, value)| format!("{key}:{value}"));
        prop_oneof![
            prop::collection::vec(inner, 0..3).prop_map(|all| format!("[{}]", all.join(","))),
            prop::collection::vec(member, 0..3).prop_map(|all| format!("{{{}}}", all.join(","))),
        ]
    })
    .boxed()
}

/// A key as JSON text: of a field, also with escapes, or of none.
fn key() -> impl Strategy<Value = String> {
    let known = || prop::sample::select(Field::ALL.map(Field::key).to_vec());
    prop_oneof![
        8 => known().prop_map(|key| format!("\"{key}\"")),
        1 => known().prop_map(|key| {
            let (first, rest) = key.split_at(1);
            format!("\"\\u00{:02x}{rest}\"", first.as_bytes()[0])
        }),
        2 => any::<String>().prop_map(|key| serde_json::Value::from(key).to_string()),
    ]
}

/// An inventory as JSON text, whose keys may repeat. Most have what an item needs.
fn inventory() -> impl Strategy<Value = String> {
    let members = || {
        prop::collection::vec((key(), value()), 0..5).prop_map(|all| {
            let member = |(key, value)| format!("{key} :{value}");
            all.into_iter().map(member).collect::<Vec<_>>().join(", ")
        })
    };
    let data = prop_oneof![
        8 => members().prop_map(|members| format!("{{{members}}}")),
        1 => value(),
    ];
    let item = (0..6_u8, 0..4_usize, members(), data, 0..8_u8).prop_map(
        |(id, kind, members, data, other)| {
            let kind = ["application", "infrastructure", "organization", "vendor"][kind];
            let named = format!(r#""item_id":"{id}","inventory_type":"{kind}""#);
            match other {
                0 => format!("{{{named},\n{members}}}"),
                1 => format!("{{{members}}}"),
                _ => format!(r#"{{{named},"data":{data}}}"#),
            }
        },
    );
    prop::collection::vec(item, 0..4).prop_map(|items| format!("[{}]", items.join(" ,")))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn odd_and_truncated_inventories_are_read_alike(json in inventory(), kept in 0.0_f64..1.3) {
        let json = json.as_bytes();
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        let end = (json.len() as f64 * kept) as usize;
        let json = json.get(..end).unwrap_or(json);
        prop_assert!(same(json), "{}", String::from_utf8_lossy(json));
    }
}

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
