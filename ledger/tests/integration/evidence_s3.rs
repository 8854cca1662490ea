//! Failures of a bucket, and how they are reported.

use bytes::Bytes;
use rollbook_ledger::evidence::{EvidenceError, EvidenceStore};

use crate::evidence_contract::open;
use crate::s3::{BUCKET, S3};

/// Calls every operation of the store, each of which must fail.
async fn failures(store: &EvidenceStore) -> Vec<EvidenceError> {
    let address = "1".repeat(64);
    vec![
        store.check().await.unwrap_err(),
        store.exists(&address).await.unwrap_err(),
        store.get(&address).await.unwrap_err(),
        store.open_file(&address).await.unwrap_err(),
        store
            .put(Bytes::from_static(b"x"), "x", "y")
            .await
            .unwrap_err(),
    ]
}

#[tokio::test]
async fn a_missing_bucket() {
    let s3 = S3::start();
    let store = open(&s3, "s3://another-bucket/x", &[]).unwrap();
    for error in failures(&store).await {
        assert!(matches!(error, EvidenceError::NoBucket { .. }), "{error}");
        assert!(
            error
                .to_string()
                .contains("s3://another-bucket/x at http://")
        );
        assert!(!error.is_retryable());
    }
}

#[tokio::test]
async fn credentials_that_are_unknown_wrong_or_not_permitted() {
    let s3 = S3::start();
    let wrong = "a-wrong-secret-of-forty-characters-really";
    for other in [
        [("AWS_SECRET_ACCESS_KEY", wrong)],
        [("AWS_ACCESS_KEY_ID", "AKIANOBODY")],
    ] {
        let store = open(&s3, &s3.location(), &other).unwrap();
        for error in failures(&store).await {
            assert!(matches!(error, EvidenceError::Refused { .. }), "{error:?}");
            assert!(!error.is_retryable());
            let shown = format!("{error} {error:?} {store:?}");
            assert!(
                !shown.contains(wrong) && !shown.contains(s3.secret()),
                "{shown}"
            );
        }
    }
    assert!(s3.keys().is_empty());

    let store = open(&s3, &s3.location(), &[]).unwrap();
    let kept = store.put(Bytes::from_static(b"x"), "x", "y").await.unwrap();
    s3.allow(&["s3:GetObject", "s3:ListBucket"]);
    assert_eq!(&store.get(&kept.sha256).await.unwrap()[..], b"x");
    let error = store
        .put(Bytes::from_static(b"other"), "x", "y")
        .await
        .unwrap_err();
    assert!(error.to_string().contains("AccessDenied"), "{error}");
    assert!(error.to_string().contains("s3:PutObject"), "{error}");
}

#[tokio::test]
async fn a_server_that_does_not_answer() {
    let mut s3 = S3::start();
    let store = open(&s3, &format!("s3://{BUCKET}"), &[]).unwrap();
    let kept = store.put(Bytes::from_static(b"x"), "x", "y").await.unwrap();
    assert_eq!(
        s3.keys(),
        [format!("{}/{}", &kept.sha256[..2], kept.sha256)]
    );
    s3.stop();
    let error = store.get(&kept.sha256).await.unwrap_err();
    assert!(
        matches!(error, EvidenceError::Unreachable { .. }),
        "{error}"
    );
    assert!(error.to_string().contains(&s3.endpoint()), "{error}");
    assert!(error.is_retryable());
}

#[tokio::test]
async fn missing_credentials() {
    let with = |variables: &'static [(&str, &str)]| {
        EvidenceStore::open_with("s3://some-bucket", move |name| {
            let found = variables.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    };
    for (variables, said) in [
        (&[("AWS_EC2_METADATA_DISABLED", "true")][..], "none are set"),
        (
            &[("AWS_ACCESS_KEY_ID", "AKIA")],
            "AWS_SECRET_ACCESS_KEY is not set",
        ),
        (
            &[("AWS_SECRET_ACCESS_KEY", "s")],
            "AWS_ACCESS_KEY_ID is not set",
        ),
    ] {
        let error = with(variables).unwrap_err();
        assert!(
            matches!(error, EvidenceError::Credentials { .. }),
            "{error}"
        );
        assert!(error.to_string().contains(said), "{error}");
    }
    // A role whose credentials cannot be fetched fails only when they are needed.
    let store = with(&[
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1:1/"),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "/dev/null"),
    ])
    .unwrap();
    let error = store.check().await.unwrap_err();
    assert!(
        matches!(error, EvidenceError::Credentials { .. }),
        "{error}"
    );
}

#[test]
fn locations_and_variables_that_name_no_bucket_are_refused() {
    let none = |_: &str| None;
    for bad in [
        "s3://",
        "s3://ab",
        "s3://Bucket/x",
        "s3://bucket//x",
        "s3://bucket/../x",
        "s3://bucket/a%20b",
        "s3://bucket/x?endpoint=http://h",
    ] {
        let error = EvidenceStore::open_with(bad, none).unwrap_err();
        assert!(
            matches!(error, EvidenceError::Location { .. }),
            "{bad}: {error}"
        );
    }
    let error = EvidenceStore::open_with("s3://key:hunter2@bucket/x", none).unwrap_err();
    assert!(error.to_string().contains("AWS_*"), "{error}");
    assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");

    for (name, value, said) in [
        (
            "AWS_ENDPOINT_URL",
            "http://127.0.0.1:9000",
            "AWS_ALLOW_HTTP",
        ),
        ("AWS_ENDPOINT_URL", "https://u:hunter2@host", "without user"),
        ("AWS_ENDPOINT_URL_S3", "minio:9000", "https://HOST"),
        ("AWS_VIRTUAL_HOSTED_STYLE_REQUEST", "perhaps", "neither"),
    ] {
        let error = EvidenceStore::open_with("s3://bucket", |asked| {
            (asked == name).then(|| value.to_owned())
        })
        .unwrap_err();
        assert!(error.to_string().contains(said), "{error}");
        assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
    }
}
