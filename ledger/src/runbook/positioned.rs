//! Parses YAML (and therefore JSON) into a caller's type, with a position for every error. For
//! files that accompany a runbook.

use serde::de::DeserializeOwned;

use super::diagnostic::Path;
use super::document::{self, MAX_FILE_BYTES, Node, Position};

/// An error in a document, with its position; line and column count from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{line}:{column}: {message}")]
pub struct Misplaced {
    /// Line.
    pub line: u32,
    /// Column.
    pub column: u32,
    /// The problem.
    pub message: String,
}

impl Misplaced {
    fn at(at: Position, message: impl Into<String>) -> Self {
        Self {
            line: at.line,
            column: at.column,
            message: message.into(),
        }
    }
}

/// A parsed document.
#[derive(Debug, Clone)]
pub struct Positioned(Node);

impl Positioned {
    /// Parses a document of at most one mebibyte.
    pub fn parse(text: &str) -> Result<Self, Misplaced> {
        if text.len() > MAX_FILE_BYTES {
            let message = format!("it has {} bytes, more than {MAX_FILE_BYTES}", text.len());
            return Err(Misplaced::at(Position::START, message));
        }
        document::parse(text)
            .map(Self)
            .map_err(|error| Misplaced::at(error.at, error.message))
    }

    /// Deserializes the document.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Misplaced> {
        serde_path_to_error::deserialize(self.0.to_json()).map_err(|error| {
            let path = path_of(error.path());
            Misplaced::at(self.0.locate(&path), error.inner().to_string())
        })
    }

    /// Builds an error about an item of a list at a top-level key of the document.
    pub fn complain(&self, list: &str, index: usize, message: impl Into<String>) -> Misplaced {
        let path = Path::root().key(list).index(index);
        Misplaced::at(self.0.locate(&path), message)
    }
}

/// Converts the path of a deserialization error.
pub(super) fn path_of(path: &serde_path_to_error::Path) -> Path {
    use serde_path_to_error::Segment;
    path.iter()
        .fold(Path::root(), |path, segment| match segment {
            Segment::Seq { index } => path.index(*index),
            Segment::Map { key } => path.key(key),
            Segment::Enum { variant } => path.key(variant),
            Segment::Unknown => path,
        })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Item {
        #[allow(dead_code)]
        count: u32,
    }

    #[derive(Debug, Deserialize)]
    struct List {
        items: Vec<Item>,
    }

    #[test]
    fn complaints_have_a_place_in_yaml_and_json() {
        for (text, line, column) in [
            ("items:\n  - count: 1\n  - count: x\n", 3, 12),
            (
                "{\n \"items\": [\n  {\"count\": 1},\n  {\"count\": -1}\n ]\n}",
                4,
                13,
            ),
            ("items:\n  - count: 1\n    other: 2\n", 3, 12),
        ] {
            let error = Positioned::parse(text).unwrap().read::<List>().unwrap_err();
            assert_eq!((error.line, error.column), (line, column), "{error}");
        }
        let error = Positioned::parse("items: [").unwrap_err();
        assert_eq!(error.line, 1, "{error}");
        let document = Positioned::parse("items:\n  - count: 1\n  - count: 2\n").unwrap();
        assert_eq!(document.read::<List>().unwrap().items.len(), 2);
        let place = document.complain("items", 1, "no");
        assert_eq!((place.line, place.to_string()), (3, "3:5: no".to_owned()));
    }
}
