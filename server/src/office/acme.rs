//! Certificates that an authority signs for this server, by ACME (RFC 8555): it is asked for one, looks by
//! TLS-ALPN-01 (RFC 8737) whether the server is at the names, and signs.
//!
//! Invariants:
//! - The certificate in use is replaced only by one that was read whole with its key and is for all names.
//! - What fails is tried again later and later, so that no authority counts the server as an abuser.
//! - A proof is shown only while its order runs.

use super::Errand;
use super::https::{Https, HttpsError, RequestError};
use crate::tls::{Proof, ProofError, Tls, TlsSetupError, ordered};
use crate::unix_time::now_s;
use crate::whole_file;
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use instant_acme::{
    Account, AccountCredentials, AuthorizationStatus, BodyWrapper, BytesResponse, ChallengeType, Error,
    HttpClient, Identifier, NewAccount, NewOrder, Order, OrderStatus, Problem, RetryPolicy,
};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;
use tokio::sync::mpsc::Receiver;
use zeroize::Zeroizing;

const ACCOUNT_FILE: &str = "acme-account.json";
/// How long after the first failure the next try begins; each further one waits three times as long.
const RETRY_FIRST: Duration = Duration::from_secs(5 * 60);
const RETRY_MOST: Duration = Duration::from_secs(12 * 60 * 60);
/// The least time between two orders that succeed, whatever certificates say of themselves.
const ORDERS_APART: Duration = Duration::from_secs(60 * 60);
/// The longest sleep: the wall clock may be set meanwhile.
const SLEEP_MOST: Duration = Duration::from_secs(6 * 60 * 60);
/// How long an authority may look at proofs, and how long it may take to sign.
const PATIENCE: RetryPolicy = RetryPolicy::new()
    .initial_delay(Duration::from_millis(500))
    .backoff(1.5)
    .timeout(Duration::from_secs(5 * 60));
const NO_SUCH_ACCOUNT: &str = "urn:ietf:params:acme:error:accountDoesNotExist";

/// Where an authority takes orders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    /// The URL of its directory.
    pub url: String,
    /// The authorities that are trusted for the connection to it, as PEM. None: those of this machine.
    pub authorities: Option<PathBuf>,
}

/// What certificates are ordered for, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcmeOptions {
    pub directory: Directory,
    /// The names that the certificate is for.
    pub hosts: Vec<String>,
    /// A mail address that the authority may write to.
    pub contact: Option<String>,
}

/// The reason why there is no new certificate.
#[derive(Debug, thiserror::Error)]
enum OrderError {
    #[error(transparent)]
    Https(#[from] HttpsError),
    #[error("the authority: {0}")]
    Authority(#[from] Error),
    #[error(
        "the authority offers no proof by TLS-ALPN-01 for {host}; take one that does, or get the certificate by a \
         tool of your own and give it by --tls-cert and --tls-key"
    )]
    NoProofOffered { host: String },
    #[error(
        "the authority does not believe that this server is at {host}: {reason}; {host} has to lead to it by port 443"
    )]
    NotProven { host: String, reason: String },
    #[error("the order is {0:?}, and nothing is said why")]
    NotReady(OrderStatus),
    #[error(transparent)]
    Proof(#[from] ProofError),
    #[error("can not make the request for a certificate: {0}")]
    Request(#[from] rcgen::Error),
    #[error("can not {action} {}: {source}", path.display())]
    File { action: &'static str, path: PathBuf, source: io::Error },
    #[error("{} can not be read ({problem}); move it away, and the server makes an account anew", path.display())]
    Account { path: PathBuf, problem: String },
    #[error(transparent)]
    Tls(#[from] TlsSetupError),
    #[error("what the authority signed is not the certificate for {hosts:?} that was ordered: {problem}")]
    OtherCertificate { hosts: Vec<String>, problem: String },
}

/// An account as it is kept.
#[derive(Deserialize, Serialize)]
struct KeptAccount {
    directory: String,
    credentials: AccountCredentials,
}

/// The ordering of certificates.
pub struct Orders {
    options: AcmeOptions,
    /// Where the account and the certificate are kept.
    data_dir: PathBuf,
    tls: Vec<Arc<Tls>>,
}

impl Orders {
    /// `tls` is all that is to have the certificate.
    pub fn new(options: AcmeOptions, data_dir: PathBuf, tls: Vec<Arc<Tls>>) -> Self {
        Self { options, data_dir, tls }
    }

    /// Orders a certificate whenever one is due, until nobody can ask any more.
    pub async fn run(self, mut asked: Receiver<Errand>) {
        let mut failures = 0;
        loop {
            let wait = match self.time_to_order() {
                Some(left) if left > Duration::ZERO => left,
                _ => match self.order().await {
                    Ok(()) => {
                        failures = 0;
                        self.time_to_order().unwrap_or_default().max(ORDERS_APART)
                    }
                    Err(error) => {
                        let wait = wait_after(failures);
                        failures += 1;
                        let (hosts, again_in_s) = (&self.options.hosts, wait.as_secs());
                        tracing::error!(%error, ?hosts, again_in_s, "no certificate could be had");
                        wait
                    }
                },
            };
            match tokio::time::timeout(wait.min(SLEEP_MOST), asked.recv()).await {
                Ok(None) => return,
                Ok(Some(Errand::LookAtCertificates)) | Err(_) => {}
            }
        }
    }

    /// Returns how long the certificate in use will do. None: there is none of an authority.
    fn time_to_order(&self) -> Option<Duration> {
        let in_use = self.tls.first()?.certificates();
        let certificate = in_use.first()?;
        let is_ordered = certificate.path == ordered::files_in(&self.data_dir).chain;
        let left_s = ordered::renewal_s(certificate) - now_s();
        is_ordered.then(|| Duration::from_secs(u64::try_from(left_s).unwrap_or(0)))
    }

    async fn order(&self) -> Result<(), OrderError> {
        let (hosts, directory) = (&self.options.hosts, &self.options.directory.url);
        tracing::info!(?hosts, directory, "ordering a certificate");
        let names: Vec<Identifier> = hosts.iter().cloned().map(Identifier::Dns).collect();
        let account = self.account().await?;
        let ordered = account.new_order(&NewOrder::new(&names)).await;
        if let Err(Error::Api(Problem { r#type: Some(kind), .. })) = &ordered
            && kind == NO_SUCH_ACCOUNT
        {
            // The authority forgot it, as one on trial does: the next try makes another.
            self.forget_account()?;
        }
        let mut order = ordered?;
        let shown = Shown(&self.tls);
        shown.prove(&mut order).await?;
        let status = order.poll_ready(&PATIENCE).await;
        if !matches!(status, Ok(OrderStatus::Ready)) {
            not_proven(&mut order).await?;
        }
        match status? {
            OrderStatus::Ready => {}
            other => return Err(OrderError::NotReady(other)),
        }
        drop(shown);
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(hosts.clone())?;
        params.distinguished_name = DistinguishedName::new();
        order.finalize_csr(params.serialize_request(&key)?.der()).await?;
        let chain = order.poll_certificate(&PATIENCE).await?;
        self.install(&chain, &Zeroizing::new(key.serialize_pem()))
    }

    /// Takes a certificate into use.
    fn install(&self, chain: &str, key: &str) -> Result<(), OrderError> {
        let (directory, hosts) = (&self.data_dir, &self.options.hosts);
        let other = |problem| OrderError::OtherCertificate { hosts: hosts.clone(), problem };
        ordered::check(directory, chain, key, hosts).map_err(other)?;
        ordered::write(directory, chain, key)
            .map_err(|error| self.file_error(&ordered::files_in(directory).chain, error))?;
        for tls in &self.tls {
            tls.reload()?;
        }
        let ends_s = self.tls.first().and_then(|tls| Some(tls.certificates().first()?.ends_s));
        let until = ends_s.and_then(|ends_s| OffsetDateTime::from_unix_timestamp(ends_s).ok());
        let until = until.map(|end| end.date().to_string()).unwrap_or_default();
        tracing::info!(?hosts, until, "a certificate was signed, and is in use");
        Ok(())
    }

    /// Returns the account at the authority, which is made if there is none.
    async fn account(&self) -> Result<Account, OrderError> {
        let Directory { url, authorities } = &self.options.directory;
        let https = Https::new(authorities.as_deref())?;
        let builder = Account::builder_with_http(Box::new(https));
        if let Some(kept) = self.kept_account()?
            && kept.directory == *url
        {
            return Ok(builder.from_credentials(kept.credentials).await?);
        }
        let contact = self.options.contact.as_ref().map(|address| format!("mailto:{address}"));
        let contact: Vec<&str> = contact.as_deref().into_iter().collect();
        let new =
            NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
        let (account, credentials) = builder.create(&new, url.clone(), None).await?;
        let kept = KeptAccount { directory: url.clone(), credentials };
        let path = self.account_path();
        let unreadable =
            |error: serde_json::Error| OrderError::Account { path: path.clone(), problem: error.to_string() };
        let text = Zeroizing::new(serde_json::to_vec(&kept).map_err(unreadable)?);
        whole_file::replace(&path, &text, 0o600).map_err(|error| self.file_error(&path, error))?;
        tracing::info!(directory = url, account = account.id(), "made an account at the authority");
        Ok(account)
    }

    fn kept_account(&self) -> Result<Option<KeptAccount>, OrderError> {
        let path = self.account_path();
        let text = match std::fs::read(&path) {
            Ok(text) => Zeroizing::new(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(OrderError::File { action: "read", path, source }),
        };
        let kept = serde_json::from_slice(&text);
        kept.map(Some).map_err(|error| OrderError::Account { path, problem: error.to_string() })
    }

    fn forget_account(&self) -> Result<(), OrderError> {
        let path = self.account_path();
        std::fs::remove_file(&path).map_err(|source| OrderError::File { action: "remove", path, source })
    }

    fn account_path(&self) -> PathBuf {
        self.data_dir.join(ACCOUNT_FILE)
    }

    fn file_error(&self, path: &Path, error: whole_file::FileError) -> OrderError {
        OrderError::File { action: error.action, path: path.to_owned(), source: error.source }
    }
}

/// Returns how long to wait after a failure that so many came before.
fn wait_after(failures: u32) -> Duration {
    RETRY_FIRST.saturating_mul(3u32.saturating_pow(failures)).min(RETRY_MOST)
}

/// The proofs of an order, shown until this is dropped.
struct Shown<'a>(&'a [Arc<Tls>]);

impl Shown<'_> {
    /// Shows the proof of each name that is not proven yet, and says so to the authority.
    async fn prove(&self, order: &mut Order) -> Result<(), OrderError> {
        let mut proofs = Vec::new();
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization?;
            if authorization.status == AuthorizationStatus::Valid {
                continue;
            }
            let host = authorization.identifier().to_string();
            let Some(mut challenge) = authorization.challenge(ChallengeType::TlsAlpn01) else {
                return Err(OrderError::NoProofOffered { host });
            };
            proofs.push(Proof::new(&host, challenge.key_authorization().digest().as_ref())?);
            for tls in self.0 {
                tls.set_proofs(proofs.clone())?;
            }
            match challenge.set_ready().await {
                // It looked at once.
                Err(Error::Api(problem)) => {
                    return Err(OrderError::NotProven { host, reason: problem.to_string() });
                }
                other => other?,
            }
        }
        Ok(())
    }
}

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        for tls in self.0 {
            if let Err(error) = tls.set_proofs(Vec::new()) {
                tracing::warn!(%error, "proofs of an order are shown on");
            }
        }
    }
}

/// Fails with what the authority says of the first name that it does not believe. It may say nothing.
async fn not_proven(order: &mut Order) -> Result<(), OrderError> {
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        authorization.refresh().await?;
        let host = authorization.identifier().to_string();
        let said = authorization.challenges.iter().find_map(|challenge| challenge.error.as_ref());
        if let Some(problem) = said {
            return Err(OrderError::NotProven { host, reason: problem.to_string() });
        }
    }
    Ok(())
}

impl HttpClient for Https {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let https = self.clone();
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.unwrap_or_else(|never| match never {});
            let request = Request::from_parts(head, Full::new(body.to_bytes()));
            let answer =
                https.send(request).await.map_err(|error: RequestError| Error::Other(Box::new(error)))?;
            Ok(BytesResponse::from(answer.map(Full::new)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_waits_longer_up_to_half_a_day() {
        let waits: Vec<u64> = (0..6).map(|failures| wait_after(failures).as_secs() / 60).collect();
        assert_eq!(waits, [5, 15, 45, 135, 405, 720]);
        assert_eq!(wait_after(u32::MAX), RETRY_MOST);
    }
}
