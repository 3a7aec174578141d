//! Certificates that an authority signs for this server, by ACME (RFC 8555): it is asked for one, looks by
//! TLS-ALPN-01 (RFC 8737) whether the server is at the names, and signs.
//!
//! Invariants:
//! - The certificate in use is replaced only by one that was read whole with its key and is for all names.
//! - What was signed is not ordered again because it could not be written.
//! - What fails is tried again later and later, as long as the server runs and nobody asks for more, so that
//!   no authority counts it as an abuser.
//! - A proof is shown only while its order runs.

use super::Errand;
use super::https::{Https, HttpsError, RequestError};
use crate::tls::{CertificateInfo, Proof, ProofError, Tls, TlsSetupError, ordered};
use crate::unix_time::now_s;
use crate::whole_file::{self, FileError};
use bytes::Bytes;
use futures_util::FutureExt;
use http::Request;
use http::header::RETRY_AFTER;
use http_body_util::{BodyExt, Full};
use instant_acme::{
    Account, AuthorizationStatus, BodyWrapper, BytesResponse, ChallengeType, Error, HttpClient, Identifier,
    Key, NewOrder, Order, OrderStatus, Problem, RetryPolicy,
};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use std::io;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::Receiver;
use tokio::time::Instant;
use zeroize::Zeroizing;

const ACCOUNT_FILE: &str = "acme-account.key";
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
/// How long all of an order may take.
const ORDER_TIME: Duration = Duration::from_secs(20 * 60);
/// The longest that an authority may have us wait between two looks at an order.
const RETRY_AFTER_MOST_S: u64 = 60 * 60;

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
    #[error("the authority wants proofs of other names than were ordered, such as {host}")]
    OtherName { host: String },
    #[error("the order is {0:?}, and nothing is said why")]
    NotReady(OrderStatus),
    #[error("the order took longer than {} minutes", ORDER_TIME.as_secs() / 60)]
    TookTooLong,
    #[error("a bug ended the order; its message is above")]
    Bug,
    #[error(transparent)]
    Proof(#[from] ProofError),
    #[error("can not make the request for a certificate: {0}")]
    Request(#[from] rcgen::Error),
    #[error("can not {action} {}: {source}", path.display())]
    File { action: &'static str, path: PathBuf, source: io::Error },
    #[error("the key of the account in {} can not be used; move it away, and the server makes another one", path.display())]
    Account { path: PathBuf },
    #[error(transparent)]
    Tls(#[from] TlsSetupError),
    #[error("what the authority signed is not the certificate for {hosts:?} that was ordered: {problem}")]
    OtherCertificate { hosts: Vec<String>, problem: String },
    #[error("{} was written, and another certificate is in use", path.display())]
    NotInUse { path: PathBuf },
}

/// A certificate that was signed, and its key.
struct Signed {
    chain: String,
    key: Zeroizing<String>,
}

/// The ordering of certificates.
pub struct Orders {
    options: AcmeOptions,
    /// Where the account and the certificate are kept.
    data_dir: PathBuf,
    tls: Vec<Arc<Tls>>,
    /// A certificate that was signed and could not be taken into use. No other is ordered before.
    signed: Option<Signed>,
}

impl Orders {
    /// `tls` is all that is to have the certificate.
    pub fn new(options: AcmeOptions, data_dir: PathBuf, tls: Vec<Arc<Tls>>) -> Self {
        Self { options, data_dir, tls, signed: None }
    }

    /// Orders a certificate whenever one is due, until nobody can ask any more.
    pub async fn run(mut self, mut asked: Receiver<Errand>) {
        let (mut failures, mut not_before) = (0, None::<Instant>);
        loop {
            let held_back = not_before.map(|time| time.saturating_duration_since(Instant::now()));
            let wait = match (self.time_left(), held_back.filter(|wait| !wait.is_zero())) {
                (Some(left), _) => left,
                (None, Some(wait)) => wait,
                (None, None) => {
                    let apart = match self.order_and_install().await {
                        Ok(()) => {
                            failures = 0;
                            ORDERS_APART
                        }
                        Err(error) => {
                            let wait = wait_after(failures);
                            failures += 1;
                            let (hosts, again_in_s) = (&self.options.hosts, wait.as_secs());
                            let in_use_until = self.in_use_until();
                            tracing::error!(%error, ?hosts, again_in_s, in_use_until, "no certificate could be had");
                            wait
                        }
                    };
                    not_before = Some(Instant::now() + apart);
                    continue;
                }
            };
            match tokio::time::timeout(wait.min(SLEEP_MOST), asked.recv()).await {
                Ok(None) => return,
                Ok(Some(Errand::LookAtCertificates)) => {
                    not_before = None;
                    if self.time_left().is_some() {
                        tracing::info!(until = self.in_use_until(), "the certificate in use will do");
                    }
                    // Those that wait behind it are answered with it.
                    while asked.try_recv().is_ok() {}
                }
                Err(_) => {}
            }
        }
    }

    fn in_use(&self) -> Option<CertificateInfo> {
        self.tls.first()?.certificates().into_iter().next()
    }

    /// Returns how long the certificate in use will do. None: another one is due, as there is none of an
    /// authority or it ends soon.
    fn time_left(&self) -> Option<Duration> {
        let certificate = self.in_use().filter(|certificate| self.is_ordered(certificate))?;
        let left_s = u64::try_from(ordered::renewal_s(&certificate) - now_s()).ok()?;
        (left_s > 0).then(|| Duration::from_secs(left_s))
    }

    fn is_ordered(&self, certificate: &CertificateInfo) -> bool {
        certificate.path == ordered::path_in(&self.data_dir)
    }

    /// Returns the day on which the certificate in use ends.
    fn in_use_until(&self) -> String {
        self.in_use().map(|certificate| certificate.last_day()).unwrap_or_default()
    }

    /// Takes a new certificate into use, which is ordered if none is there that could not be before.
    async fn order_and_install(&mut self) -> Result<(), OrderError> {
        let signed = match self.signed.take() {
            Some(signed) => signed,
            None => self.order_in_time().await?,
        };
        if let Err(error) = self.install(&signed) {
            self.signed = Some(signed);
            return Err(error);
        }
        let (hosts, until) = (&self.options.hosts, self.in_use_until());
        tracing::info!(?hosts, until, "a certificate was signed, and is in use");
        Ok(())
    }

    /// Orders a certificate. Whatever an authority does has an end here.
    async fn order_in_time(&self) -> Result<Signed, OrderError> {
        // It may send what the library did not expect. The server goes on without it.
        let order = AssertUnwindSafe(self.order()).catch_unwind();
        let ended = tokio::time::timeout(ORDER_TIME, order).await.map_err(|_| OrderError::TookTooLong)?;
        let signed = ended.map_err(|_| OrderError::Bug)??;
        let hosts = &self.options.hosts;
        let other = |problem| OrderError::OtherCertificate { hosts: hosts.clone(), problem };
        ordered::check(&self.data_dir, &signed.chain, &signed.key, hosts).map_err(other)?;
        Ok(signed)
    }

    async fn order(&self) -> Result<Signed, OrderError> {
        let (hosts, directory) = (&self.options.hosts, &self.options.directory.url);
        tracing::info!(?hosts, directory, "ordering a certificate");
        let names: Vec<Identifier> = hosts.iter().cloned().map(Identifier::Dns).collect();
        let mut order = self.account().await?.new_order(&NewOrder::new(&names)).await?;
        let shown = Shown(&self.tls);
        shown.prove(&mut order, hosts).await?;
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
        Ok(Signed { chain, key: Zeroizing::new(key.serialize_pem()) })
    }

    /// Writes a certificate, and has all use it.
    fn install(&self, signed: &Signed) -> Result<(), OrderError> {
        let path = ordered::path_in(&self.data_dir);
        ordered::write(&self.data_dir, &signed.chain, &signed.key)
            .map_err(|error| file_error(path.clone(), error))?;
        for tls in &self.tls {
            tls.reload()?;
            if !tls.certificates().first().is_some_and(|certificate| self.is_ordered(certificate)) {
                return Err(OrderError::NotInUse { path });
            }
        }
        Ok(())
    }

    /// Returns the account at the authority. Whoever asks for one with a key that has one gets that, so
    /// that the key is all there is to keep.
    async fn account(&self) -> Result<Account, OrderError> {
        let Directory { url, authorities } = &self.options.directory;
        let https = Https::new(authorities.as_deref())?;
        let builder = Account::builder_with_http(Box::new(https));
        let (account, _) = builder.create_from_key(self.account_key()?, url.clone()).await?;
        if let Some(address) = &self.options.contact {
            account.update_contacts(&[&format!("mailto:{address}")]).await?;
        }
        Ok(account)
    }

    /// Returns the key of the account, which is made and kept if there is none.
    fn account_key(&self) -> Result<(Key, PrivateKeyDer<'static>), OrderError> {
        let path = self.data_dir.join(ACCOUNT_FILE);
        let der = match std::fs::read(&path) {
            Ok(der) => Zeroizing::new(der),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let (_, der) = Key::generate_pkcs8()?;
                let der = Zeroizing::new(der.secret_pkcs8_der().to_vec());
                whole_file::replace(&path, &der, 0o600).map_err(|error| file_error(path.clone(), error))?;
                tracing::info!(path = %path.display(), "made the key of an account at the authority");
                der
            }
            Err(source) => return Err(OrderError::File { action: "read", path, source }),
        };
        let der = PrivatePkcs8KeyDer::from(der.to_vec());
        let key = Key::from_pkcs8_der(der.clone_key()).map_err(|_| OrderError::Account { path })?;
        Ok((key, PrivateKeyDer::Pkcs8(der)))
    }
}

fn file_error(path: PathBuf, error: FileError) -> OrderError {
    OrderError::File { action: error.action, path, source: error.source }
}

/// Returns how long to wait after a failure that so many came before.
fn wait_after(failures: u32) -> Duration {
    RETRY_FIRST.saturating_mul(3u32.saturating_pow(failures)).min(RETRY_MOST)
}

/// The proofs of an order, shown until this is dropped.
struct Shown<'a>(&'a [Arc<Tls>]);

impl Shown<'_> {
    /// Shows the proof of each name that is not proven yet, and says so to the authority.
    async fn prove(&self, order: &mut Order, hosts: &[String]) -> Result<(), OrderError> {
        let mut proofs = Vec::new();
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization?;
            if authorization.status == AuthorizationStatus::Valid {
                continue;
            }
            let host = authorization.identifier().to_string();
            // Each name once: what more there were could have no end.
            if !hosts.contains(&host) || proofs.len() >= hosts.len() {
                return Err(OrderError::OtherName { host });
            }
            let Some(mut challenge) = authorization.challenge(ChallengeType::TlsAlpn01) else {
                return Err(OrderError::NoProofOffered { host });
            };
            proofs.push(Proof::new(&host, challenge.key_authorization().digest().as_ref())?);
            for tls in self.0 {
                tls.set_proofs(proofs.clone())?;
            }
            match challenge.set_ready().await {
                // It looked at once.
                Err(Error::Api(problem)) if is_of_proof(&problem) => {
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

/// Tells whether a problem is that the authority saw no proof, or another one.
fn is_of_proof(problem: &Problem) -> bool {
    let kind = problem.r#type.as_deref().and_then(|kind| kind.strip_prefix("urn:ietf:params:acme:error:"));
    matches!(kind, Some("connection" | "dns" | "incorrectResponse" | "tls" | "unauthorized"))
}

/// Fails with what the authority says of the first name that it does not believe. It may say nothing, or not
/// answer: then what was known before says more.
async fn not_proven(order: &mut Order) -> Result<(), OrderError> {
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        if authorization.refresh().await.is_err() {
            return Ok(());
        }
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
            let answer = https.send(request).await;
            let mut answer = answer.map_err(|error: RequestError| Error::Other(Box::new(error)))?;
            // The library adds it to the time, whatever it is.
            let wait_s: Option<u128> =
                answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
            if wait_s.is_some_and(|wait_s| wait_s > u128::from(RETRY_AFTER_MOST_S)) {
                answer.headers_mut().remove(RETRY_AFTER);
            }
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
