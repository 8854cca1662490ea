//! Credentials issued by AWS: to a machine, a container, a role.

use std::sync::Arc;

use async_trait::async_trait;
use object_store::CredentialProvider;
use object_store::aws::{AwsCredential, AwsCredentialProvider};

/// Marks a failure to fetch credentials, so that it can be found in the error of the request that
/// needed them.
#[derive(Debug, thiserror::Error)]
#[error("no credentials")]
pub(super) struct NotFetched;

/// Wraps a credential provider, so that its failures can be told from those of S3.
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
            tracing::warn!(%source, "AWS provides no credentials for the evidence store");
            object_store::Error::Generic {
                store: "S3",
                source: Box::new(NotFetched),
            }
        })
    }
}
