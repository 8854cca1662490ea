//! Behaviour specific to an evidence store in a directory.

use std::os::unix::fs::PermissionsExt;

use bytes::Bytes;
use rollbook_ledger::evidence::{EvidenceError, EvidenceStore};

fn store() -> (tempfile::TempDir, EvidenceStore) {
    let directory = tempfile::tempdir().unwrap();
    let location = directory.path().join("evidence");
    let store = EvidenceStore::open(location.to_str().unwrap()).unwrap();
    (directory, store)
}

#[tokio::test]
async fn a_store_that_cannot_be_written_says_so() {
    // A file where the digest's directory must go makes the write fail for every user, including
    // root.
    let (directory, store) = store();
    let root = directory.path().join("evidence");
    std::fs::write(root.join("ba"), b"in the way").unwrap();
    let error = store
        .put(Bytes::from_static(b"abc"), "x", "y")
        .await
        .unwrap_err();
    assert!(error.to_string().starts_with("RB-EVIDENCE-"), "{error}");
    assert!(!store.exists(&"c".repeat(64)).await.unwrap());

    std::fs::set_permissions(&root, std::fs::Permissions::from_mode(0o555)).unwrap();
    // Root can write regardless of the mode; everyone else must get an error.
    let superuser = std::fs::write(root.join("probe"), b"").is_ok();
    let other = store.put(Bytes::from_static(b"other"), "x", "y").await;
    std::fs::set_permissions(&root, std::fs::Permissions::from_mode(0o755)).unwrap();
    match other {
        Ok(_) => assert!(superuser),
        Err(error) => assert!(matches!(error, EvidenceError::Denied { .. }), "{error}"),
    }
}

#[test]
fn locations_that_name_no_directory_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("file://{}/by-url", directory.path().display());
    EvidenceStore::open(&url).unwrap();
    assert!(directory.path().join("by-url").is_dir());
    for bad in ["", "ftp://host/x", "file://relative", "file:///a%20b"] {
        let error = EvidenceStore::open(bad).unwrap_err();
        assert!(
            matches!(error, EvidenceError::Location { .. }),
            "{bad}: {error}"
        );
    }
    std::fs::write(directory.path().join("file"), b"").unwrap();
    let below_a_file = directory.path().join("file").join("store");
    let error = EvidenceStore::open(below_a_file.to_str().unwrap()).unwrap_err();
    assert!(matches!(error, EvidenceError::Denied { .. }), "{error}");
}
