//! Requests of web pages from other origins (CORS): the configuration of buckets, preflights, and
//! what answers say to such pages.
//!
//! Invariants:
//! - A rule that can not be kept to is refused when it is put. What is stored is the document as it
//!   was understood, so what is shown is what is in force.
//! - A preflight is answered to anybody, by the rules alone: policies and signatures do not count.
//! - The first rule that a request fits decides, as in S3. A request without Origin has no rule.
//! - What depends on these headers says so by Vary, whether a rule was found or not.

use super::Server;
use super::access::Caller;
use super::answer_xml::XmlAnswer;
use super::configuration::{CORS, missing};
use super::error::{invalid_request, not_implemented};
use super::parsed::BucketForms;
use super::target::Target;
use super::xml_reader::{XmlReader, malformed, set, unknown};
use crate::xml::XmlWriter;
use http::header::{
    self, ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, HeaderName, HeaderValue,
    ORIGIN, VARY,
};
use http::{Method, Request, Response, StatusCode};
use ringbolt_engine::types::{Bucket, ConfigKind};
use s3s::dto::*;
use s3s::{Body, S3Request, S3Response, S3Result};
use std::sync::Arc;

/// The most elements of a document: more do not fit into the longest one.
pub const ELEMENTS_MAX: usize = 4 << 10;
/// The most rules of a bucket, as S3 limits them.
const RULES_MAX: usize = 100;
const ID_CHARS_MAX: usize = 255;
/// The most headers that a preflight may ask for; each is compared with those of the rules.
const ASKED_MAX: usize = 100;
/// The methods that a rule may allow.
const METHODS: [&str; 5] = ["GET", "PUT", "POST", "DELETE", "HEAD"];
/// The headers that the answer to a page of another origin depends on.
const VARIES: HeaderValue =
    HeaderValue::from_static("Origin, Access-Control-Request-Headers, Access-Control-Request-Method");
const ANY: &str = "*";

/// The document of a PutBucketCors: the rules of a bucket, of which there is at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CorsRules {
    rules: Vec<CorsRule>,
}

/// Which requests of which pages are allowed, and what the answers to them say.
#[derive(Clone, Debug, PartialEq, Eq)]
struct CorsRule {
    id: Option<String>,
    origins: Vec<Pattern>,
    methods: Vec<&'static str>,
    /// The headers that a page may send, whose case does not matter.
    headers: Vec<Pattern>,
    /// The headers that a page may read.
    exposed: Vec<String>,
    max_age_s: Option<u32>,
}

/// A text that may have one `*`, which stands for any characters, or none.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern {
    before: String,
    /// What stands behind the `*`, if there is one.
    after: Option<String>,
}

impl Pattern {
    /// Reads a pattern. Returns None if it has more than one wildcard.
    fn parse(text: &str) -> Option<Self> {
        match text.split_once('*') {
            None => Some(Self { before: text.to_owned(), after: None }),
            Some((_, after)) if after.contains('*') => None,
            Some((before, after)) => Some(Self { before: before.to_owned(), after: Some(after.to_owned()) }),
        }
    }

    fn fits(&self, text: &str) -> bool {
        match &self.after {
            None => self.before == text,
            Some(after) => text.strip_prefix(self.before.as_str()).is_some_and(|rest| rest.ends_with(after)),
        }
    }

    /// Returns whether it fits the name of a header, whose case does not matter.
    fn fits_name(&self, name: &str) -> bool {
        let Some(after) = &self.after else { return self.before.eq_ignore_ascii_case(name) };
        let Some((start, rest)) = name.split_at_checked(self.before.len()) else { return false };
        let end = rest.len().checked_sub(after.len()).and_then(|at| rest.get(at..));
        start.eq_ignore_ascii_case(&self.before) && end.is_some_and(|end| end.eq_ignore_ascii_case(after))
    }

    fn is_any(&self) -> bool {
        self.before.is_empty() && self.after.as_deref() == Some("")
    }

    fn show(&self) -> String {
        match &self.after {
            None => self.before.clone(),
            Some(after) => format!("{}*{after}", self.before),
        }
    }
}

impl CorsRules {
    /// Reads the document. Fails if it is malformed, or has a rule that can not be kept to.
    pub fn read(mut reader: XmlReader<'_>) -> S3Result<Self> {
        reader.root("CORSConfiguration")?;
        let mut rules = Vec::new();
        while let Some(name) = reader.child()? {
            if name != "CORSRule" {
                return Err(unknown(&name));
            }
            if rules.len() == RULES_MAX {
                return Err(invalid_request(format!(
                    "The number of CORS rules should not exceed allowed limit of {RULES_MAX} rules."
                )));
            }
            rules.push(CorsRule::read(&mut reader)?);
        }
        reader.end()?;
        if rules.is_empty() {
            return Err(malformed("there is no CORSRule"));
        }
        Ok(Self { rules })
    }

    /// Returns the rules of a bucket, or None if it has none.
    pub fn of_bucket(bucket: &Bucket) -> Option<Self> {
        let value = bucket.value_of(ConfigKind::CORS)?;
        match XmlReader::new(value, ELEMENTS_MAX).and_then(Self::read) {
            Ok(rules) => Some(rules),
            Err(error) => {
                tracing::error!(bucket = bucket.name, %error, "the CORS rules of a bucket can not be read");
                None
            }
        }
    }

    /// Returns the value of a bucket's configuration that holds the rules.
    fn encode(&self) -> Vec<u8> {
        XmlWriter::document("CORSConfiguration", None, |root| self.show(root)).into_bytes()
    }

    fn show(&self, root: &mut XmlWriter) {
        for rule in &self.rules {
            root.element("CORSRule", |element| rule.show(element));
        }
    }

    /// Finds the rule for a request, and the origin that its answer names. `headers` are those that
    /// the page asks to send.
    fn find<'a>(&self, origin: &'a str, method: &str, headers: &[String]) -> Option<(&CorsRule, &'a str)> {
        if headers.len() > ASKED_MAX {
            return None;
        }
        self.rules.iter().find_map(|rule| {
            let pattern = rule.origins.iter().find(|pattern| pattern.fits(origin))?;
            let is_allowed = |header: &String| rule.headers.iter().any(|pattern| pattern.fits_name(header));
            let fits = rule.methods.contains(&method) && headers.iter().all(is_allowed);
            fits.then_some((rule, if pattern.is_any() { ANY } else { origin }))
        })
    }
}

impl CorsRule {
    fn read(reader: &mut XmlReader<'_>) -> S3Result<Self> {
        let (mut id, mut max_age_s) = (None, None);
        let mut rule = Self {
            id: None,
            origins: Vec::new(),
            methods: Vec::new(),
            headers: Vec::new(),
            exposed: Vec::new(),
            max_age_s: None,
        };
        while let Some(name) = reader.child()? {
            let text = reader.text()?;
            match name.as_str() {
                "ID" => set(&mut id, &name, text)?,
                "AllowedOrigin" => rule.origins.push(read_pattern(&name, &text)?),
                "AllowedHeader" => rule.headers.push(read_pattern(&name, &text)?),
                "AllowedMethod" => rule.methods.push(read_method(&text)?),
                "ExposeHeader" => rule.exposed.push(read_exposed(&text)?),
                "MaxAgeSeconds" => set(&mut max_age_s, &name, read_age(&text)?)?,
                _ => return Err(unknown(&name)),
            }
        }
        if rule.origins.is_empty() || rule.methods.is_empty() {
            return Err(malformed("a CORSRule needs an AllowedOrigin and an AllowedMethod"));
        }
        if id.as_ref().is_some_and(|id: &String| id.chars().count() > ID_CHARS_MAX) {
            return Err(invalid_request(format!(
                "The ID of a CORS rule should not exceed allowed limit of {ID_CHARS_MAX} characters."
            )));
        }
        (rule.id, rule.max_age_s) = (id, max_age_s);
        Ok(rule)
    }

    fn show(&self, element: &mut XmlWriter) {
        element.optional("ID", self.id.as_deref());
        self.methods.iter().for_each(|method| element.text("AllowedMethod", method));
        self.origins.iter().for_each(|origin| element.text("AllowedOrigin", origin.show()));
        self.headers.iter().for_each(|header| element.text("AllowedHeader", header.show()));
        element.optional("MaxAgeSeconds", self.max_age_s);
        self.exposed.iter().for_each(|header| element.text("ExposeHeader", header));
    }

    /// Returns the headers of an answer to a page whose origin the answer names so.
    fn headers(&self, origin: &str) -> HeaderMap {
        let mut headers = HeaderMap::with_capacity(8);
        let mut insert = |name, value: String| {
            // Names and methods are ASCII, and the origin came as a header.
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(name, value);
            }
        };
        insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.to_owned());
        insert(ACCESS_CONTROL_ALLOW_METHODS, self.methods.join(", "));
        if !self.exposed.is_empty() {
            insert(ACCESS_CONTROL_EXPOSE_HEADERS, self.exposed.join(", "));
        }
        if let Some(age) = self.max_age_s {
            insert(ACCESS_CONTROL_MAX_AGE, age.to_string());
        }
        if origin != ANY {
            insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, "true".to_owned());
        }
        headers
    }
}

/// Reads an origin or the name of a header, in which one `*` may stand.
fn read_pattern(name: &str, text: &str) -> S3Result<Pattern> {
    let text = text.trim();
    if text.is_empty() {
        return Err(malformed(format_args!("{name} is empty")));
    }
    if name == "AllowedHeader" && HeaderName::try_from(text).is_err() {
        return Err(invalid_request(format!("{name} {text:?} is not the name of a header.")));
    }
    if text.chars().any(|letter| letter.is_whitespace() || letter.is_control()) {
        return Err(invalid_request(format!("{name} {text:?} can not have spaces.")));
    }
    let pattern = Pattern::parse(text);
    pattern.ok_or_else(|| invalid_request(format!("{name} {text:?} can not have more than one wildcard.")))
}

fn read_method(text: &str) -> S3Result<&'static str> {
    let known = METHODS.into_iter().find(|method| *method == text.trim());
    known.ok_or_else(|| {
        invalid_request(format!(
            "Found unsupported HTTP method in CORS config. Unsupported method is {}",
            text.trim().chars().take(40).collect::<String>()
        ))
    })
}

fn read_exposed(text: &str) -> S3Result<String> {
    let text = text.trim();
    if text.contains('*') {
        return Err(invalid_request(format!(
            "ExposeHeader {text:?} contains wildcard. We currently do not support wildcard for ExposeHeader."
        )));
    }
    match HeaderName::try_from(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err(invalid_request(format!("ExposeHeader {text:?} is not the name of a header."))),
    }
}

fn read_age(text: &str) -> S3Result<u32> {
    let age: i64 = text.trim().parse().map_err(|_| malformed("MaxAgeSeconds is no number"))?;
    let fits = u32::try_from(age).ok().filter(|age| *age <= i32::MAX as u32);
    fits.ok_or_else(|| invalid_request(format!("MaxAgeSeconds must be from 0 to {}.", i32::MAX)))
}

/// Returns the headers that the answer to a request gets for the page that sent it, or None if the
/// bucket has no rules or the request no origin.
pub fn headers_for(bucket: &Bucket, method: &Method, headers: &HeaderMap) -> Option<HeaderMap> {
    let origin = headers.get(ORIGIN)?;
    let rules = BucketForms::of(bucket).cors.as_ref()?;
    let text = |value: &HeaderValue| value.to_str().unwrap_or_default().to_owned();
    // No browser sends it but with a preflight. S3 gives it precedence all the same.
    let method = headers.get(ACCESS_CONTROL_REQUEST_METHOD).map_or(method.to_string(), text);
    let found = rules.find(origin.to_str().unwrap_or_default(), &method, &[]);
    let mut answer = found.map_or_else(HeaderMap::new, |(rule, origin)| rule.headers(origin));
    answer.insert(VARY, VARIES);
    Some(answer)
}

/// Answers a preflight: whether a page of another origin may send what it is about to send. `site` is
/// the bucket whose website it asks for, if it does.
pub fn preflight(server: &Server, request: &Request<Body>, site: Option<String>) -> S3Result<Response<Body>> {
    let headers = request.headers();
    if request.uri().path() == "*" {
        return Err(not_implemented("OPTIONS for the whole server"));
    }
    let Some(origin) = headers.get(ORIGIN) else {
        return Ok(refused(
            StatusCode::BAD_REQUEST,
            "Insufficient information. Origin request header needed.",
        ));
    };
    let method = headers.get(ACCESS_CONTROL_REQUEST_METHOD).and_then(|value| value.to_str().ok());
    let Some(method) = method.filter(|method| METHODS.contains(method)) else {
        let shown: String = method.unwrap_or("null").chars().take(40).collect();
        let message = format!("Invalid Access-Control-Request-Method: {shown}");
        return Ok(refused(StatusCode::BAD_REQUEST, &message));
    };
    let (name, kind) = match site {
        Some(site) => (Some(site), "OBJECT"),
        None => {
            let target = Target::parse(request.uri(), headers, server.domains.as_ref())?;
            let kind = match (&target.bucket, &target.key) {
                (Some(_), Some(_)) => "OBJECT",
                (Some(_), None) => "BUCKET",
                (None, _) => "SERVICE",
            };
            (target.bucket, kind)
        }
    };
    let Some(bucket) = name.and_then(|name| server.core.bucket(&name)) else {
        return Ok(forbidden("Bucket not found", method, kind));
    };
    Ok(judge(&bucket, origin, method, headers, kind))
}

/// Judges a preflight by the rules of its bucket. `kind` is what the request names, as S3 calls it.
pub fn judge(
    bucket: &Bucket,
    origin: &HeaderValue,
    method: &str,
    headers: &HeaderMap,
    kind: &str,
) -> Response<Body> {
    let Some(rules) = &BucketForms::of(bucket).cors else {
        return forbidden("CORS is not enabled for this bucket.", method, kind);
    };
    let asked = asked_headers(headers);
    let found = rules.find(origin.to_str().unwrap_or_default(), method, &asked);
    let mut response = match found {
        None => forbidden(
            "This CORS request is not allowed. This is usually because the evaluation of Origin, request method / \
             Access-Control-Request-Method or Access-Control-Request-Headers are not whitelisted by the \
             resource's CORS spec.",
            method,
            kind,
        ),
        Some((rule, origin)) => {
            let mut response = Response::new(Body::empty());
            *response.headers_mut() = rule.headers(origin);
            if !asked.is_empty()
                && let Ok(value) = HeaderValue::try_from(asked.join(", "))
            {
                response.headers_mut().insert(ACCESS_CONTROL_ALLOW_HEADERS, value);
            }
            response
        }
    };
    response.headers_mut().insert(VARY, VARIES);
    response
}

/// Returns the headers that a page asks to send, in lower case.
fn asked_headers(headers: &HeaderMap) -> Vec<String> {
    let values = headers.get_all(ACCESS_CONTROL_REQUEST_HEADERS).iter();
    let names = values.flat_map(|value| value.to_str().unwrap_or("?").split(','));
    let names = names.map(str::trim).filter(|name| !name.is_empty());
    // One more than may be asked for tells that there are too many.
    names.take(ASKED_MAX + 1).map(str::to_ascii_lowercase).collect()
}

fn refused(status: StatusCode, message: &str) -> Response<Body> {
    error(status, "BadRequest", message, |_| {})
}

fn forbidden(message: &str, method: &str, kind: &str) -> Response<Body> {
    error(StatusCode::FORBIDDEN, "AccessForbidden", &format!("CORSResponse: {message}"), |error| {
        error.text("Method", method);
        error.text("ResourceType", kind);
    })
}

/// Makes the document of an error, to which the resource and the request's id are added later.
fn error(status: StatusCode, code: &str, message: &str, more: impl FnOnce(&mut XmlWriter)) -> Response<Body> {
    let text = XmlWriter::document("Error", None, |error| {
        error.text("Code", code);
        error.text("Message", message);
        more(error);
    });
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    response
}

/// Reads the document, if it is one. What is taken must come back from the form in which it is stored.
/// It is for fuzzing.
pub(crate) fn judge_rules(document: &[u8]) {
    let read = |document: &[u8]| XmlReader::new(document, ELEMENTS_MAX).and_then(CorsRules::read);
    let Ok(rules) = read(document) else { return };
    assert_eq!(read(&rules.encode()).ok().as_ref(), Some(&rules), "what is stored is another document");
    for rule in &rules.rules {
        assert!(rule.headers("https://app.example.com").len() >= 2, "a header can not be written");
    }
    rules.find("https://app.example.com", "GET", &["x-amz-date".to_owned()]);
}

/// Answers PutBucketCors.
pub async fn put_bucket_cors(
    server: &Server,
    mut request: S3Request<PutBucketCorsInput>,
) -> S3Result<S3Response<PutBucketCorsOutput>> {
    let caller = Caller::take(&mut request);
    let input = request.input;
    let bucket = server.bucket_of(&caller, &input.bucket, input.expected_bucket_owner.as_deref())?;
    let Some(rules) = request.extensions.remove::<Arc<CorsRules>>() else {
        return Err(malformed("the document is missing"));
    };
    server.configure(&bucket, ConfigKind::CORS, Some(rules.encode())).await?;
    Ok(S3Response::new(PutBucketCorsOutput::default()))
}

/// Answers GetBucketCors.
pub async fn get_bucket_cors(
    server: &Server,
    mut request: S3Request<GetBucketCorsInput>,
) -> S3Result<S3Response<GetBucketCorsOutput>> {
    let caller = Caller::take(&mut request);
    let input = request.input;
    let bucket = server.bucket_of(&caller, &input.bucket, input.expected_bucket_owner.as_deref())?;
    let Some(rules) = &BucketForms::of(&bucket).cors else { return missing(CORS) };
    let mut response = S3Response::new(GetBucketCorsOutput::default());
    response.extensions.insert(XmlAnswer::document("CORSConfiguration", |root| rules.show(root)));
    Ok(response)
}

/// Answers DeleteBucketCors.
pub async fn delete_bucket_cors(
    server: &Server,
    mut request: S3Request<DeleteBucketCorsInput>,
) -> S3Result<S3Response<DeleteBucketCorsOutput>> {
    let caller = Caller::take(&mut request);
    let input = request.input;
    let bucket = server.bucket_of(&caller, &input.bucket, input.expected_bucket_owner.as_deref())?;
    server.configure(&bucket, ConfigKind::CORS, None).await?;
    Ok(S3Response::new(DeleteBucketCorsOutput::default()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use s3s::S3ErrorCode;

    const ORIGIN_OF_PAGE: &str = "https://app.example.com";

    fn read(inner: &str) -> Result<CorsRules, S3ErrorCode> {
        let document = format!("<CORSConfiguration>{inner}</CORSConfiguration>");
        let rules = XmlReader::new(document.as_bytes(), ELEMENTS_MAX).and_then(CorsRules::read);
        rules.map_err(|error| error.code().clone())
    }

    fn rule(inner: &str) -> String {
        format!("<CORSRule>{inner}</CORSRule>")
    }

    fn simple(origin: &str, method: &str) -> String {
        rule(&format!("<AllowedOrigin>{origin}</AllowedOrigin><AllowedMethod>{method}</AllowedMethod>"))
    }

    fn bucket(inner: &str) -> Bucket {
        let value = read(inner).unwrap().encode();
        Bucket { config: vec![(ConfigKind::CORS, value.into())], ..crate::s3::testing_bucket() }
    }

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair =
            |(name, value): &(&'static str, &'static str)| (name.parse().unwrap(), value.parse().unwrap());
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn what_was_put_is_shown_and_read_again() {
        let inner = rule(
            "<ID>a&lt;b</ID><AllowedMethod>PUT</AllowedMethod><AllowedMethod>GET</AllowedMethod>\
             <AllowedOrigin>https://*.example.com</AllowedOrigin><AllowedHeader>X-Amz-*</AllowedHeader>\
             <MaxAgeSeconds>3000</MaxAgeSeconds><ExposeHeader>ETag</ExposeHeader>",
        );
        let rules = read(&inner).unwrap();
        let shown = XmlWriter::fragment(|root| rules.show(root));
        assert_eq!(shown, inner);
        assert_eq!(CorsRules::of_bucket(&bucket(&inner)), Some(rules));
    }

    #[test]
    fn what_can_not_be_kept_to_is_refused() {
        let whole = |inner: &str| {
            let needed = "<AllowedOrigin>*</AllowedOrigin><AllowedMethod>GET</AllowedMethod>";
            rule(&format!("{needed}{inner}"))
        };
        let malformed = [
            String::new(),
            rule(""),
            rule("<AllowedOrigin>*</AllowedOrigin>"),
            rule("<AllowedMethod>GET</AllowedMethod>"),
            simple("", "GET"),
            "<Rule/>".to_owned(),
            whole("<X/>"),
            whole("<ID>1</ID><ID>2</ID>"),
            whole("<MaxAgeSeconds>soon</MaxAgeSeconds>"),
            whole("<MaxAgeSeconds/>"),
            whole("<AllowedHeader/>"),
        ];
        for inner in malformed {
            assert_eq!(read(&inner), Err(S3ErrorCode::MalformedXML), "{inner}");
        }
        let invalid = [
            simple("http://*.*", "GET"),
            simple("http://a b", "GET"),
            simple("*", "get"),
            simple("*", "PATCH"),
            simple("*", "OPTIONS"),
            simple("*", "*"),
            whole("<AllowedHeader>x-*-*</AllowedHeader>"),
            whole("<AllowedHeader>x y</AllowedHeader>"),
            whole("<ExposeHeader>*</ExposeHeader>"),
            whole("<ExposeHeader>a:b</ExposeHeader>"),
            whole("<MaxAgeSeconds>-1</MaxAgeSeconds>"),
            whole(&format!("<ID>{}</ID>", "\u{e9}".repeat(256))),
            simple("*", "GET").repeat(101),
        ];
        for inner in invalid {
            assert_eq!(read(&inner), Err(S3ErrorCode::InvalidRequest), "{inner}");
        }
        assert!(read(&simple("*", "GET").repeat(100)).is_ok());
        assert!(read(&whole(&format!("<ID>{}</ID>", "\u{e9}".repeat(255)))).is_ok());
    }

    #[test]
    fn one_star_stands_for_anything() {
        for (pattern, text, expected) in [
            ("*", "https://a", true),
            ("*", "", true),
            ("https://a", "https://a", true),
            ("https://a", "https://A", false),
            ("https://a", "https://a.b", false),
            ("*suffix", "foo.suffix", true),
            ("*suffix", "foo.suffix.get", false),
            ("start*end", "startend", true),
            ("start*end", "start12end", true),
            ("start*end", "0start12end", false),
            ("startx*xend", "startxend", false),
            ("prefix*", "bla.prefix", false),
        ] {
            assert_eq!(Pattern::parse(pattern).unwrap().fits(text), expected, "{pattern} and {text}");
        }
        assert_eq!(Pattern::parse("a*b*c"), None);
        for (pattern, name, expected) in [
            ("*", "x-amz-date", true),
            ("X-Amz-*", "x-amz-date", true),
            ("X-Amz-*", "x-am", false),
            ("x-*-Date", "x-amz-date", true),
            ("x-*-date", "x-date", false),
            ("Content-Type", "content-type", true),
            ("content", "content-type", false),
        ] {
            assert_eq!(Pattern::parse(pattern).unwrap().fits_name(name), expected, "{pattern} and {name}");
        }
    }

    #[test]
    fn an_answer_names_the_origin_unless_the_rule_names_any() {
        let first = rule(
            "<AllowedOrigin>https://*.example.com</AllowedOrigin><AllowedMethod>PUT</AllowedMethod>\
             <AllowedMethod>POST</AllowedMethod><ExposeHeader>ETag</ExposeHeader><ExposeHeader>x-b</ExposeHeader>\
             <MaxAgeSeconds>7</MaxAgeSeconds>",
        );
        let bucket = bucket(&format!("{first}{}", simple("*", "GET")));
        let answer = |method: &Method, pairs: &[_]| headers_for(&bucket, method, &headers(pairs));
        let own = answer(&Method::PUT, &[("origin", ORIGIN_OF_PAGE)]).unwrap();
        assert_eq!(own["access-control-allow-origin"], ORIGIN_OF_PAGE);
        assert_eq!(own["access-control-allow-methods"], "PUT, POST");
        assert_eq!(own["access-control-allow-credentials"], "true");
        assert_eq!(own["access-control-expose-headers"], "ETag, x-b");
        assert_eq!(own["access-control-max-age"], "7");
        assert_eq!(own["vary"], VARIES);
        let any = answer(&Method::GET, &[("origin", ORIGIN_OF_PAGE)]).unwrap();
        assert_eq!(any["access-control-allow-origin"], "*");
        assert_eq!((any.len(), &any["access-control-allow-methods"]), (3, &HeaderValue::from_static("GET")));
        let none = answer(&Method::DELETE, &[("origin", ORIGIN_OF_PAGE)]).unwrap();
        assert_eq!((none.len(), &none["vary"]), (1, &VARIES));
        let asked = [("origin", ORIGIN_OF_PAGE), ("access-control-request-method", "GET")];
        assert_eq!(answer(&Method::PUT, &asked).unwrap()["access-control-allow-origin"], "*");
        assert_eq!(answer(&Method::GET, &[]), None);
        assert_eq!(headers_for(&crate::s3::testing_bucket(), &Method::GET, &headers(&asked)), None);
    }

    #[test]
    fn a_preflight_is_judged_by_origin_method_and_headers() {
        let inner = rule(
            "<AllowedOrigin>https://app.example.com</AllowedOrigin><AllowedMethod>PUT</AllowedMethod>\
             <AllowedHeader>Content-Type</AllowedHeader><AllowedHeader>x-amz-*</AllowedHeader>",
        );
        let bucket = bucket(&inner);
        let asks = |origin: &'static str, method: &str, names: &'static str| {
            let asked = headers(&[("access-control-request-headers", names)]);
            judge(&bucket, &HeaderValue::from_static(origin), method, &asked, "OBJECT")
        };
        let allowed = asks(ORIGIN_OF_PAGE, "PUT", "Content-Type,, X-Amz-Date ,x-amz-meta-a");
        assert_eq!(allowed.status(), StatusCode::OK);
        assert_eq!(
            allowed.headers()["access-control-allow-headers"],
            "content-type, x-amz-date, x-amz-meta-a"
        );
        for (origin, method, names) in [
            ("https://evil.example.com", "PUT", ""),
            (ORIGIN_OF_PAGE, "GET", ""),
            (ORIGIN_OF_PAGE, "PUT", "authorization"),
            (ORIGIN_OF_PAGE, "PUT", "content-type, content-md5"),
        ] {
            let refused = asks(origin, method, names);
            assert_eq!(refused.status(), StatusCode::FORBIDDEN, "{origin} {method} {names}");
            assert_eq!((refused.headers().len(), &refused.headers()["vary"]), (2, &VARIES));
            let text = String::from_utf8(refused.body().bytes().unwrap().to_vec()).unwrap();
            assert!(text.contains("<Code>AccessForbidden</Code><Message>CORSResponse: This CORS"), "{text}");
        }
        let without = judge(
            &crate::s3::testing_bucket(),
            &HeaderValue::from_static(ORIGIN_OF_PAGE),
            "PUT",
            &HeaderMap::new(),
            "BUCKET",
        );
        let text = String::from_utf8(without.body().bytes().unwrap().to_vec()).unwrap();
        assert!(text.contains("CORSResponse: CORS is not enabled for this bucket."), "{text}");
        assert!(text.contains("<Method>PUT</Method><ResourceType>BUCKET</ResourceType>"), "{text}");
    }
}
