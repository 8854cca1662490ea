//! The evidence store on a real directory.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;

use bytes::Bytes;
use rollbook_ledger::evidence::{EvidenceError, EvidenceStore};
use sha2::{Digest, Sha256};

fn store() -> (tempfile::TempDir, EvidenceStore) {
    let directory = tempfile::tempdir().unwrap();
    let location = directory.path().join("evidence");
    let store = EvidenceStore::open(location.to_str().unwrap()).unwrap();
    (directory, store)
}

fn stored_path(directory: &tempfile::TempDir, sha256: &str) -> std::path::PathBuf {
    directory
        .path()
        .join("evidence")
        .join(&sha256[..2])
        .join(sha256)
}

#[tokio::test]
async fn bytes_are_found_under_their_sha256() {
    let (directory, store) = store();
    let evidence = store
        .put(Bytes::from_static(b"abc"), "text/plain", "stdout")
        .await
        .unwrap();
    // FIPS 180-4, the digest of "abc".
    assert_eq!(
        evidence.sha256,
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    );
    assert_eq!(
        (
            evidence.size_bytes,
            evidence.media_type.as_str(),
            evidence.name.as_str()
        ),
        (3, "text/plain", "stdout")
    );
    assert!(stored_path(&directory, &evidence.sha256).is_file());
    assert!(store.exists(&evidence.sha256).await.unwrap());
    assert_eq!(&store.get(&evidence.sha256).await.unwrap()[..], b"abc");
}

#[tokio::test]
async fn the_same_bytes_at_once_from_many_writers_are_harmless() {
    let (directory, store) = store();
    let writers = (0..16).map(|_| {
        let store = store.clone();
        async move { store.put(Bytes::from(vec![7u8; 100_000]), "x", "y").await }
    });
    let written: Vec<_> = futures::future::join_all(writers).await;
    let first = written[0].as_ref().unwrap().clone();
    assert!(written.iter().all(|w| w.as_ref().unwrap() == &first));
    let parent = stored_path(&directory, &first.sha256);
    let names: Vec<_> = std::fs::read_dir(parent.parent().unwrap())
        .unwrap()
        .collect();
    assert_eq!(names.len(), 1, "no temporary files stay behind");
}

#[tokio::test]
async fn a_large_file_is_streamed_and_can_be_opened_at_random() {
    let (directory, store) = store();
    let path = directory.path().join("large");
    let content: Vec<u8> = (0..20_000_000u32).map(|n| (n / 3) as u8).collect();
    std::fs::write(&path, &content).unwrap();
    let evidence = store
        .put_file(&path, "application/octet-stream", "part")
        .await
        .unwrap();
    assert_eq!(evidence.sha256, hex::encode(Sha256::digest(&content)));
    assert_eq!(evidence.size_bytes, 20_000_000);
    let mut file = store.open_file(&evidence.sha256).await.unwrap();
    let mut back = Vec::new();
    file.read_to_end(&mut back).unwrap();
    assert!(back == content);
    let small = directory.path().join("small");
    std::fs::File::create(&small)
        .unwrap()
        .write_all(b"")
        .unwrap();
    let empty = store.put_file(&small, "x", "empty").await.unwrap();
    assert_eq!(empty.size_bytes, 0);
    assert!(store.get(&empty.sha256).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_flipped_byte_is_found_on_every_kind_of_read_and_healed_by_storing_again() {
    let (directory, store) = store();
    let content = Bytes::from_static(b"the figures of record");
    let evidence = store.put(content.clone(), "x", "y").await.unwrap();
    let path = stored_path(&directory, &evidence.sha256);
    let mut damaged = std::fs::read(&path).unwrap();
    damaged[4] ^= 1;
    std::fs::write(&path, damaged).unwrap();
    let error = store.get(&evidence.sha256).await.unwrap_err();
    assert!(matches!(error, EvidenceError::Corrupt { .. }), "{error}");
    assert!(error.to_string().starts_with("RB-EVIDENCE-3: "));
    assert!(!error.is_retryable());
    let error = store.open_file(&evidence.sha256).await.unwrap_err();
    assert!(matches!(error, EvidenceError::Corrupt { .. }), "{error}");
    store.put(content.clone(), "x", "y").await.unwrap();
    assert_eq!(store.get(&evidence.sha256).await.unwrap(), content);
}

#[tokio::test]
async fn bad_addresses_and_absent_evidence_are_named() {
    let (_directory, store) = store();
    let upper = "A".repeat(64);
    let wide = "é".repeat(32);
    for bad in ["", "../../etc/passwd", "abc", &upper, &wide] {
        let error = store.get(bad).await.unwrap_err();
        assert!(matches!(error, EvidenceError::Address { .. }), "{error}");
        assert!(store.exists(bad).await.is_err());
    }
    let absent = "0".repeat(64);
    assert!(!store.exists(&absent).await.unwrap());
    let error = store.get(&absent).await.unwrap_err();
    assert!(matches!(error, EvidenceError::NotFound { .. }), "{error}");
    assert!(!error.is_retryable());
}

#[tokio::test]
async fn a_store_that_cannot_be_written_says_so() {
    // A file where the directory of the address must be: refused for every user, root included.
    let (directory, store) = store();
    let root = directory.path().join("evidence");
    std::fs::write(root.join("ba"), b"in the way").unwrap();
    let error = store
        .put(Bytes::from_static(b"abc"), "x", "y")
        .await
        .unwrap_err();
    assert!(error.to_string().starts_with("RB-EVIDENCE-"), "{error}");
    assert!(!store.exists(&"c".repeat(64)).await.unwrap());

    let error = store
        .put_file(&directory.path().join("absent"), "x", "y")
        .await
        .unwrap_err();
    assert!(matches!(error, EvidenceError::Source { .. }), "{error}");

    std::fs::set_permissions(&root, std::fs::Permissions::from_mode(0o555)).unwrap();
    // The superuser writes regardless of the mode; everyone else must be told.
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
    for bad in ["", "s3://bucket/x", "file://relative", "file:///a%20b"] {
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
