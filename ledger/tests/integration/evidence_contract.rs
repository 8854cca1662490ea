//! The contract suite for every adapter of the evidence store.

use std::io::Read;
use std::os::unix::fs::FileExt;

use bytes::Bytes;
use rollbook_ledger::evidence::{EvidenceError, EvidenceStore};
use sha2::{Digest, Sha256};

use crate::s3::S3;

/// Access to the stored content behind the store's back.
trait Place {
    /// Returns the stored bytes of a digest.
    fn content(&self, sha256: &str) -> Vec<u8>;
    fn replace(&self, sha256: &str, content: &[u8]);
    /// Returns the number of stored objects.
    fn count(&self) -> usize;
}

struct Directory(tempfile::TempDir);

impl Directory {
    fn path(&self, sha256: &str) -> std::path::PathBuf {
        self.0.path().join(&sha256[..2]).join(sha256)
    }
}

impl Place for Directory {
    fn content(&self, sha256: &str) -> Vec<u8> {
        std::fs::read(self.path(sha256)).unwrap()
    }

    fn replace(&self, sha256: &str, content: &[u8]) {
        std::fs::write(self.path(sha256), content).unwrap();
    }

    fn count(&self) -> usize {
        let prefixes = std::fs::read_dir(self.0.path()).unwrap();
        prefixes
            .map(|prefix| std::fs::read_dir(prefix.unwrap().path()).unwrap().count())
            .sum()
    }
}

fn key(sha256: &str) -> String {
    format!("some/prefix/{}/{sha256}", &sha256[..2])
}

impl Place for S3 {
    fn content(&self, sha256: &str) -> Vec<u8> {
        S3::content(self, &key(sha256))
    }

    fn replace(&self, sha256: &str, content: &[u8]) {
        S3::replace(self, &key(sha256), content);
    }

    fn count(&self) -> usize {
        self.keys().len()
    }
}

/// Opens the server's store with these variables, which override its user's.
pub fn open(
    s3: &S3,
    location: &str,
    other: &[(&str, &str)],
) -> Result<EvidenceStore, EvidenceError> {
    let variables = s3.variables();
    EvidenceStore::open_with(location, |name| {
        let other = other.iter().find(|(key, _)| *key == name);
        let usual = variables.iter().find(|(key, _)| *key == name);
        other
            .map(|(_, value)| (*value).to_owned())
            .or_else(|| usual.map(|(_, value)| value.clone()))
    })
}

#[tokio::test]
async fn a_directory() {
    let directory = Directory(tempfile::tempdir().unwrap());
    let store = EvidenceStore::open(directory.0.path().to_str().unwrap()).unwrap();
    contract(&store, &directory).await;
}

#[tokio::test]
async fn a_bucket_of_s3() {
    let s3 = S3::start();
    contract(&open(&s3, &s3.location(), &[]).unwrap(), &s3).await;
}

/// Runs every case of the contract on an empty store.
async fn contract(store: &EvidenceStore, place: &dyn Place) {
    store.check().await.unwrap();
    assert_eq!(place.count(), 0, "a check writes nothing");
    bytes_are_found_under_their_sha256(store, place).await;
    the_same_bytes_at_once_from_many_writers_are_harmless(store, place).await;
    large_content_can_be_read_at_random(store, place).await;
    empty_content_is_kept_too(store).await;
    a_flipped_byte_is_found_on_every_kind_of_read_and_healed_by_storing_again(store, place).await;
    bad_addresses_and_absent_evidence_are_named(store).await;
}

async fn bytes_are_found_under_their_sha256(store: &EvidenceStore, place: &dyn Place) {
    let evidence = store
        .put(Bytes::from_static(b"abc"), "text/plain", "stdout")
        .await
        .unwrap();
    // FIPS 180-4, the digest of "abc".
    assert_eq!(
        evidence.sha256,
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    );
    let described = (evidence.media_type.as_str(), evidence.name.as_str());
    assert_eq!(
        (evidence.size_bytes, described),
        (3, ("text/plain", "stdout"))
    );
    assert_eq!(place.content(&evidence.sha256), b"abc");
    assert!(store.exists(&evidence.sha256).await.unwrap());
    assert_eq!(&store.get(&evidence.sha256).await.unwrap()[..], b"abc");
}

async fn the_same_bytes_at_once_from_many_writers_are_harmless(
    store: &EvidenceStore,
    place: &dyn Place,
) {
    let before = place.count();
    let writers = (0..16).map(|_| {
        let store = store.clone();
        async move { store.put(Bytes::from(vec![7u8; 100_000]), "x", "y").await }
    });
    let written: Vec<_> = futures::future::join_all(writers).await;
    let first = written[0].as_ref().unwrap().clone();
    assert!(written.iter().all(|w| w.as_ref().unwrap() == &first));
    assert_eq!(place.count(), before + 1, "nothing else stays behind");
}

async fn large_content_can_be_read_at_random(store: &EvidenceStore, place: &dyn Place) {
    let before = place.count();
    let content: Vec<u8> = (0..20_000_000u32).map(|n| (n / 3) as u8).collect();
    let evidence = store
        .put(content.clone().into(), "application/octet-stream", "part")
        .await
        .unwrap();
    assert_eq!(evidence.sha256, hex::encode(Sha256::digest(&content)));
    assert_eq!(evidence.size_bytes, 20_000_000);
    assert_eq!(place.count(), before + 1);

    let mut file = store.open_file(&evidence.sha256).await.unwrap();
    let mut back = Vec::new();
    file.read_to_end(&mut back).unwrap();
    assert!(back == content);
    let mut middle = [0; 5];
    file.read_exact_at(&mut middle, 9_000_000).unwrap();
    assert_eq!(middle[..], content[9_000_000..9_000_005]);

    let mut checked = store.open_checked(&evidence.sha256).await.unwrap();
    assert_eq!(checked.peek(19_999_998, 2).unwrap(), content[19_999_998..]);
    checked.read(100, 200, &mut back).unwrap();
    assert_eq!(back, content[100..200]);
    checked.finish().unwrap();
}

async fn empty_content_is_kept_too(store: &EvidenceStore) {
    let empty = store.put(Bytes::new(), "x", "empty").await.unwrap();
    assert_eq!(empty.size_bytes, 0);
    assert!(store.get(&empty.sha256).await.unwrap().is_empty());
    assert!(store.exists(&empty.sha256).await.unwrap());
}

async fn a_flipped_byte_is_found_on_every_kind_of_read_and_healed_by_storing_again(
    store: &EvidenceStore,
    place: &dyn Place,
) {
    let content = Bytes::from_static(b"the figures of record");
    let evidence = store.put(content.clone(), "x", "y").await.unwrap();
    let mut damaged = place.content(&evidence.sha256);
    damaged[4] ^= 1;
    place.replace(&evidence.sha256, &damaged);
    let error = store.get(&evidence.sha256).await.unwrap_err();
    assert!(matches!(error, EvidenceError::Corrupt { .. }), "{error}");
    assert!(error.to_string().starts_with("RB-EVIDENCE-3: "));
    assert!(!error.is_retryable());
    let error = store.open_file(&evidence.sha256).await.unwrap_err();
    assert!(matches!(error, EvidenceError::Corrupt { .. }), "{error}");
    let checked = store.open_checked(&evidence.sha256).await.unwrap();
    let error = checked.finish().unwrap_err();
    assert!(matches!(error, EvidenceError::Corrupt { .. }), "{error}");
    store.put(content.clone(), "x", "y").await.unwrap();
    assert_eq!(store.get(&evidence.sha256).await.unwrap(), content);
}

async fn bad_addresses_and_absent_evidence_are_named(store: &EvidenceStore) {
    let upper = "A".repeat(64);
    let wide = "é".repeat(32);
    for bad in ["", "../../etc/passwd", "abc", &upper, &wide] {
        let error = store.get(bad).await.unwrap_err();
        assert!(matches!(error, EvidenceError::Address { .. }), "{error}");
        assert!(store.exists(bad).await.is_err());
    }
    let absent = "0".repeat(64);
    assert!(!store.exists(&absent).await.unwrap());
    for error in [
        store.get(&absent).await.unwrap_err(),
        store.open_file(&absent).await.unwrap_err(),
    ] {
        assert!(matches!(error, EvidenceError::NotFound { .. }), "{error}");
        assert!(!error.is_retryable());
    }
}
