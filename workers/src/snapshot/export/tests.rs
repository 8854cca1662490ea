#![allow(clippy::unwrap_used)]

use super::*;
use crate::snapshot::values::Values;

fn metrics() -> Vec<MetricInfo> {
    let metrics = [("price", "cents"), ("state", "text"), ("items", "count")];
    metrics
        .map(|(name, unit)| MetricInfo {
            name: name.to_owned(),
            unit: unit.to_owned(),
        })
        .into()
}

fn rows() -> Vec<Row> {
    let row = |id: &str, deal_type, outcome| Row::new(id.to_owned(), deal_type, outcome);
    let figures = |price, items, state: Option<&str>| {
        Ok(Values {
            numbers: vec![price, items],
            texts: vec![state.map(str::to_owned)],
        })
    };
    vec![
        row("-7", Some("circle"), figures(-5, 3, Some("=open, \"now\""))),
        row("a", None, figures(i64::MAX, i64::MIN, None)),
        row("b", Some("square"), figures(0, 0, Some(""))),
        row(
            "c",
            Some("square"),
            Err("RB-DEAL-1: no,\nreally".to_owned()),
        ),
    ]
}

fn written(format: Format) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = RowWriter::new(format, &mut bytes, &metrics(), "here").unwrap();
    for row in rows() {
        writer.push(&row, "here").unwrap();
    }
    writer.finish("here").unwrap();
    bytes
}

/// The text with the digests of the rows in place of their numbers.
fn with_digests(text: &str) -> String {
    let rows = rows().into_iter().enumerate();
    rows.fold(text.to_owned(), |text, (place, row)| {
        text.replace(&format!("{{{place}}}"), &hex::encode(row.digest))
    })
}

#[test]
fn csv_is_exact_and_tells_null_from_an_empty_text() {
    let expected = "\
deal_id,deal_type,status,error,price,state,items,digest
-7,circle,success,,-0.05,\"'=open, \"\"now\"\"\",3,{0}
a,NULL,success,,92233720368547758.07,,-9223372036854775808,{1}
b,square,success,,0.00,\"\",0,{2}
c,square,error,\"RB-DEAL-1: no,
really\",,,,{3}
";
    let text = String::from_utf8(written(Format::Csv)).unwrap();
    assert_eq!(text, with_digests(expected));
}

#[test]
fn json_lines_have_the_form_of_a_programs_answers() {
    let expected = r#"{"deal_id":"-7","deal_type":"circle","metrics":{"price":"-0.05","state":"=open, \"now\"","items":3},"digest":"{0}"}
{"deal_id":"a","deal_type":"NULL","metrics":{"price":"92233720368547758.07","state":null,"items":-9223372036854775808},"digest":"{1}"}
{"deal_id":"b","deal_type":"square","metrics":{"price":"0.00","state":"","items":0},"digest":"{2}"}
{"deal_id":"c","deal_type":"square","error":"RB-DEAL-1: no,\nreally","digest":"{3}"}
"#;
    let text = String::from_utf8(written(Format::JsonLines)).unwrap();
    assert_eq!(text, with_digests(expected));
}

#[test]
fn parquet_has_the_bytes_of_a_part() {
    let mut part = PartWriter::new(&metrics()).unwrap();
    rows().iter().for_each(|row| part.push(row).unwrap());
    let (bytes, _) = part.finish().unwrap();
    assert_eq!(written(Format::Parquet), bytes);
}

/// Takes a few bytes, then none.
struct Full(usize);

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self
            .0
            .checked_sub(bytes.len())
            .ok_or(io::ErrorKind::StorageFull)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn why_nothing_more_could_be_written_is_known_in_every_format() {
    for format in [Format::Parquet, Format::Csv, Format::JsonLines] {
        let (out, failure) = Watched::new(Full(60));
        let mut writer = RowWriter::new(format, out, &metrics(), "here").unwrap();
        let mut push = || rows().iter().try_for_each(|row| writer.push(row, "here"));
        let pushed = push();
        assert!(
            pushed.and_then(|()| writer.finish("here")).is_err(),
            "{format:?}"
        );
        let kind = failure.lock().unwrap().as_ref().map(io::Error::kind);
        assert_eq!(kind, Some(io::ErrorKind::StorageFull), "{format:?}");
    }
}
