//! Credentials that AWS hands out: to a machine, a container, a role.

use std::sync::Arc;

use async_trait::async_trait;
use object_store::CredentialProvider;
use object_store::aws::{AwsCredential, AwsCredentialProvider};

/// Credentials could not be fetched. Found again in the error of whatever needed them.
#[derive(Debug, thiserror::Error)]
#[error("no credentials")]
pub(super) struct NotFetched;

/// Another provider, whose failures are told from those of S3.
#[derive(Debug)]
pub(super) struct Named {
    inner: AwsCredentialProvider,
}

impl Named {
    pub(super) fn around(inner: AwsCredentialProvider) -> AwsCredentialProvider {
        Arc::new(Self { inner })
    }
}

#[async_trait]
impl CredentialProvider for Named {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let fetched = self.inner.get_credential().await;
        fetched.map_err(|source| {
            tracing::warn!(%source, "AWS hands out no credentials for the evidence store");
            object_store::Error::Generic {
                store: "S3",
                source: Box::new(NotFetched),
            }
        })
    }
}
