//! The document of a bucket's website: read, judged, and written again as it was understood.
//!
//! Invariant: a document is taken whole or refused, so what is shown is what is in force.

use crate::host::url_encode;
use crate::s3::error::{invalid_argument, invalid_request};
use crate::s3::xml_reader::{XmlReader, malformed, set, unknown};
use crate::xml::XmlWriter;
use http::StatusCode;
use percent_encoding::{AsciiSet, utf8_percent_encode};
use s3s::S3Result;

/// The most elements of a document: 50 rules with ten each.
pub const ELEMENTS_MAX: usize = 1 << 10;
/// The most rules of a website, as S3 limits them.
const RULES_MAX: usize = 50;
const KEY_BYTES_MAX: usize = 1024;

/// What a website's address begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    Http,
    Https,
}

impl Scheme {
    /// Returns the name, as addresses have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    fn read(text: &str) -> S3Result<Self> {
        match text.trim() {
            "http" => Ok(Self::Http),
            "https" => Ok(Self::Https),
            _ => Err(invalid_request(
                "Invalid protocol, protocol can be http or https. If not defined the protocol will be selected \
                 automatically.",
            )),
        }
    }
}

/// Where all requests of a website are sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Everywhere {
    pub host: String,
    pub scheme: Option<Scheme>,
}

/// When a rule counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    /// The status of the error that would be answered.
    pub error: Option<u16>,
    /// What the requested key begins with.
    pub prefix: Option<String>,
}

/// What becomes of the requested key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NewKey {
    Same,
    /// Another key.
    Whole(String),
    /// Another begin in the place of the prefix of the condition.
    Prefix(String),
}

/// Where a rule sends a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    pub host: Option<String>,
    pub scheme: Option<Scheme>,
    pub status: Option<StatusCode>,
    pub key: NewKey,
}

/// A rule by which requests are sent elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoutingRule {
    pub condition: Condition,
    pub redirect: Redirect,
}

impl RoutingRule {
    /// Returns whether the rule counts for a key, and for the status of the error that it ends in, if it
    /// does.
    pub fn counts(&self, key: &str, error: Option<StatusCode>) -> bool {
        let prefix = self.condition.prefix.as_deref().unwrap_or_default();
        self.condition.error == error.map(|status| status.as_u16()) && key.starts_with(prefix)
    }

    /// Returns the path, without its first slash, that the redirection names in the place of `key`.
    pub fn new_path(&self, key: &str) -> String {
        match &self.redirect.key {
            NewKey::Same => url_encode(key.as_bytes()),
            NewKey::Whole(new) => text_of_uri(new),
            NewKey::Prefix(new) => {
                let prefix = self.condition.prefix.as_deref().unwrap_or_default();
                let rest = key.strip_prefix(prefix).unwrap_or(key);
                format!("{}{}", text_of_uri(new), url_encode(rest.as_bytes()))
            }
        }
    }
}

/// Returns what a document says of an address, as it stands there: it may have a query or a fragment.
/// Only what no address can have is encoded.
fn text_of_uri(text: &str) -> String {
    const BARE: &AsciiSet = &percent_encoding::CONTROLS
        .add(b' ')
        .add(b'"')
        .add(b'<')
        .add(b'>')
        .add(b'\\')
        .add(b'^')
        .add(b'`')
        .add(b'{')
        .add(b'|')
        .add(b'}');
    utf8_percent_encode(text, BARE).to_string()
}

/// How a bucket is served as a website.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Website {
    /// All requests are sent to another host.
    Elsewhere(Everywhere),
    /// Its objects are the pages.
    Pages(Pages),
}

/// The pages of a website, and what is asked for where there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pages {
    /// What the key of the page of a directory ends with.
    pub index: String,
    /// The key of the page that is shown in the place of an error.
    pub error: Option<String>,
    pub rules: Vec<RoutingRule>,
}

impl Website {
    /// Reads the document. Fails if it is malformed, or says what can not be.
    pub fn read(mut reader: XmlReader<'_>) -> S3Result<Self> {
        reader.root("WebsiteConfiguration")?;
        let (mut elsewhere, mut index, mut error, mut rules) = (None, None, None, None);
        while let Some(name) = reader.child()? {
            match name.as_str() {
                "RedirectAllRequestsTo" => set(&mut elsewhere, &name, read_everywhere(&mut reader)?)?,
                "IndexDocument" => set(&mut index, &name, read_one(&mut reader, "Suffix")?)?,
                "ErrorDocument" => set(&mut error, &name, read_one(&mut reader, "Key")?)?,
                "RoutingRules" => set(&mut rules, &name, read_rules(&mut reader)?)?,
                _ => return Err(unknown(&name)),
            }
        }
        reader.end()?;
        if let Some(elsewhere) = elsewhere {
            if index.is_some() || error.is_some() || rules.is_some() {
                return Err(invalid_request(
                    "RedirectAllRequestsTo cannot be provided in conjunction with other Routing Rules.",
                ));
            }
            return Ok(Self::Elsewhere(elsewhere));
        }
        let Some(index) = index else {
            return Err(invalid_argument(
                "A value for IndexDocument Suffix must be provided if RedirectAllRequestsTo is empty",
            ));
        };
        if index.is_empty() || index.contains('/') || index.len() > KEY_BYTES_MAX {
            return Err(invalid_argument("The IndexDocument Suffix is not well formed"));
        }
        if error.as_ref().is_some_and(|key: &String| key.is_empty() || key.len() > KEY_BYTES_MAX) {
            return Err(invalid_argument("The ErrorDocument Key is not well formed"));
        }
        Ok(Self::Pages(Pages { index, error, rules: rules.unwrap_or_default() }))
    }

    /// Writes the content of the document.
    pub fn show(&self, root: &mut XmlWriter) {
        match self {
            Self::Elsewhere(everywhere) => root.element("RedirectAllRequestsTo", |to| {
                to.text("HostName", &everywhere.host);
                to.optional("Protocol", everywhere.scheme.map(Scheme::name));
            }),
            Self::Pages(pages) => pages.show(root),
        }
    }
}

impl Pages {
    fn show(&self, root: &mut XmlWriter) {
        root.element("IndexDocument", |index| index.text("Suffix", &self.index));
        if let Some(key) = &self.error {
            root.element("ErrorDocument", |error| error.text("Key", key));
        }
        if self.rules.is_empty() {
            return;
        }
        root.element("RoutingRules", |rules| {
            for rule in &self.rules {
                rules.element("RoutingRule", |shown| rule.show(shown));
            }
        });
    }
}

impl RoutingRule {
    fn show(&self, rule: &mut XmlWriter) {
        if self.condition != Condition::default() {
            rule.element("Condition", |condition| {
                condition.optional("HttpErrorCodeReturnedEquals", self.condition.error);
                condition.optional("KeyPrefixEquals", self.condition.prefix.as_ref());
            });
        }
        rule.element("Redirect", |redirect| {
            redirect.optional("Protocol", self.redirect.scheme.map(Scheme::name));
            redirect.optional("HostName", self.redirect.host.as_ref());
            match &self.redirect.key {
                NewKey::Same => {}
                NewKey::Whole(key) => redirect.text("ReplaceKeyWith", key),
                NewKey::Prefix(prefix) => redirect.text("ReplaceKeyPrefixWith", prefix),
            }
            redirect.optional("HttpRedirectCode", self.redirect.status.map(|status| status.as_u16()));
        });
    }
}

/// Reads the text of the one element that the current one has.
fn read_one(reader: &mut XmlReader<'_>, wanted: &str) -> S3Result<String> {
    let mut text = None;
    while let Some(name) = reader.child()? {
        if name != wanted {
            return Err(unknown(&name));
        }
        set(&mut text, &name, reader.text()?)?;
    }
    text.ok_or_else(|| malformed(format_args!("there is no {wanted}")))
}

/// Reads the name of a host, which may have a port.
fn read_host(text: &str) -> S3Result<String> {
    let text = text.trim();
    let is_host = text.parse::<http::uri::Authority>().is_ok() && !text.contains('@');
    match is_host {
        true => Ok(text.to_owned()),
        false => Err(invalid_request("The HostName is not the name of a host.")),
    }
}

fn read_everywhere(reader: &mut XmlReader<'_>) -> S3Result<Everywhere> {
    let (mut host, mut scheme) = (None, None);
    while let Some(name) = reader.child()? {
        let text = reader.text()?;
        match name.as_str() {
            "HostName" => set(&mut host, &name, read_host(&text)?)?,
            "Protocol" => set(&mut scheme, &name, Scheme::read(&text)?)?,
            _ => return Err(unknown(&name)),
        }
    }
    let host = host.ok_or_else(|| malformed("RedirectAllRequestsTo has no HostName"))?;
    Ok(Everywhere { host, scheme })
}

fn read_rules(reader: &mut XmlReader<'_>) -> S3Result<Vec<RoutingRule>> {
    let mut rules = Vec::new();
    while let Some(name) = reader.child()? {
        if name != "RoutingRule" {
            return Err(unknown(&name));
        }
        if rules.len() == RULES_MAX {
            return Err(invalid_request(format!(
                "The number of website routing rules should not exceed allowed limit of {RULES_MAX} rules."
            )));
        }
        rules.push(read_rule(reader)?);
    }
    Ok(rules)
}

fn read_rule(reader: &mut XmlReader<'_>) -> S3Result<RoutingRule> {
    let (mut condition, mut redirect) = (None, None);
    while let Some(name) = reader.child()? {
        match name.as_str() {
            "Condition" => set(&mut condition, &name, read_condition(reader)?)?,
            "Redirect" => set(&mut redirect, &name, read_redirect(reader)?)?,
            _ => return Err(unknown(&name)),
        }
    }
    let redirect = redirect.ok_or_else(|| malformed("a RoutingRule has no Redirect"))?;
    Ok(RoutingRule { condition: condition.unwrap_or_default(), redirect })
}

fn read_condition(reader: &mut XmlReader<'_>) -> S3Result<Condition> {
    let mut condition = Condition::default();
    while let Some(name) = reader.child()? {
        let text = reader.text()?;
        match name.as_str() {
            "HttpErrorCodeReturnedEquals" => set(&mut condition.error, &name, read_error(&text)?)?,
            "KeyPrefixEquals" => set(&mut condition.prefix, &name, read_key(&name, text)?)?,
            _ => return Err(unknown(&name)),
        }
    }
    if condition == Condition::default() {
        return Err(invalid_request(
            "Condition cannot be empty. To redirect all requests without a condition, the condition element \
             shouldn't be present.",
        ));
    }
    Ok(condition)
}

fn read_error(text: &str) -> S3Result<u16> {
    let code = text.trim();
    let known = code.parse().ok().filter(|status| code.len() == 3 && (400..600).contains(status));
    known.ok_or_else(|| {
        let shown: String = code.chars().take(20).collect();
        invalid_request(format!(
            "The provided HTTP error code ({shown}) is not valid. Valid codes are 4XX or 5XX."
        ))
    })
}

fn read_key(name: &str, text: String) -> S3Result<String> {
    match text.len() <= KEY_BYTES_MAX {
        true => Ok(text),
        false => Err(invalid_request(format!("{name} has {KEY_BYTES_MAX} bytes at most."))),
    }
}

fn read_redirect(reader: &mut XmlReader<'_>) -> S3Result<Redirect> {
    let (mut host, mut scheme, mut status, mut whole, mut prefix) = (None, None, None, None, None);
    while let Some(name) = reader.child()? {
        let text = reader.text()?;
        match name.as_str() {
            "HostName" => set(&mut host, &name, read_host(&text)?)?,
            "Protocol" => set(&mut scheme, &name, Scheme::read(&text)?)?,
            "HttpRedirectCode" => set(&mut status, &name, read_status(&text)?)?,
            "ReplaceKeyWith" => set(&mut whole, &name, read_key(&name, text)?)?,
            "ReplaceKeyPrefixWith" => set(&mut prefix, &name, read_key(&name, text)?)?,
            _ => return Err(unknown(&name)),
        }
    }
    let key = match (whole, prefix) {
        (None, None) => NewKey::Same,
        (Some(key), None) => NewKey::Whole(key),
        (None, Some(prefix)) => NewKey::Prefix(prefix),
        (Some(_), Some(_)) => {
            return Err(invalid_request("You can only define ReplaceKeyPrefix or ReplaceKey but not both."));
        }
    };
    if host.is_none() && scheme.is_none() && status.is_none() && key == NewKey::Same {
        return Err(invalid_request("Redirect cannot be empty: it says where a request is sent."));
    }
    Ok(Redirect { host, scheme, status, key })
}

fn read_status(text: &str) -> S3Result<StatusCode> {
    let code = text.trim();
    let known = code.parse().ok().filter(|status| code.len() == 3 && (301..400).contains(status));
    known.and_then(|status| StatusCode::from_u16(status).ok()).ok_or_else(|| {
        let shown: String = code.chars().take(20).collect();
        invalid_request(format!(
            "The provided HTTP redirect code ({shown}) is not valid. Valid codes are 3XX except 300."
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use s3s::S3ErrorCode;

    fn read(inner: &str) -> Result<Website, S3ErrorCode> {
        let document = format!("<WebsiteConfiguration>{inner}</WebsiteConfiguration>");
        let website = XmlReader::new(document.as_bytes(), ELEMENTS_MAX).and_then(Website::read);
        website.map_err(|error| error.code().clone())
    }

    const INDEX: &str = "<IndexDocument><Suffix>index.html</Suffix></IndexDocument>";

    fn rule(condition: &str, redirect: &str) -> String {
        format!("<RoutingRule>{condition}<Redirect>{redirect}</Redirect></RoutingRule>")
    }

    fn with_rules(rules: &str) -> String {
        format!("{INDEX}<RoutingRules>{rules}</RoutingRules>")
    }

    const HOST: &str = "<HostName>h</HostName>";

    #[test]
    fn what_was_put_is_shown() {
        let rules = rule(
            "<Condition><HttpErrorCodeReturnedEquals>404</HttpErrorCodeReturnedEquals>\
             <KeyPrefixEquals>a&amp;b/</KeyPrefixEquals></Condition>",
            "<Protocol>https</Protocol><HostName>h.example.com:8443</HostName>\
             <ReplaceKeyPrefixWith>c/</ReplaceKeyPrefixWith><HttpRedirectCode>307</HttpRedirectCode>",
        ) + &rule("", "<ReplaceKeyWith>all.html</ReplaceKeyWith>");
        let error = "<ErrorDocument><Key>errors/4xx.html</Key></ErrorDocument>";
        for inner in [
            INDEX.to_owned(),
            format!("{INDEX}{error}"),
            format!("{INDEX}{error}<RoutingRules>{rules}</RoutingRules>"),
            format!("<RedirectAllRequestsTo>{HOST}</RedirectAllRequestsTo>"),
            format!("<RedirectAllRequestsTo>{HOST}<Protocol>https</Protocol></RedirectAllRequestsTo>"),
        ] {
            let website = read(&inner).unwrap_or_else(|error| panic!("{inner}: {error:?}"));
            assert_eq!(XmlWriter::fragment(|root| website.show(root)), inner);
        }
    }

    #[test]
    fn what_can_not_be_is_refused() {
        let argument = [
            String::new(),
            "<ErrorDocument><Key>e</Key></ErrorDocument>".to_owned(),
            INDEX.replace("index.html", ""),
            INDEX.replace("index.html", "a/index.html"),
            format!("{INDEX}<ErrorDocument><Key/></ErrorDocument>"),
        ];
        for inner in argument {
            assert_eq!(read(&inner), Err(S3ErrorCode::InvalidArgument), "{inner}");
        }
        let both = "<ReplaceKeyWith>a</ReplaceKeyWith><ReplaceKeyPrefixWith>b</ReplaceKeyPrefixWith>";
        let error = |code: &str| {
            let condition =
                "<HttpErrorCodeReturnedEquals>CODE</HttpErrorCodeReturnedEquals>".replace("CODE", code);
            with_rules(&rule(&format!("<Condition>{condition}</Condition>"), HOST))
        };
        let status =
            |code: &str| with_rules(&rule("", &format!("<HttpRedirectCode>{code}</HttpRedirectCode>")));
        let request = [
            format!("{INDEX}<RedirectAllRequestsTo>{HOST}</RedirectAllRequestsTo>"),
            "<RedirectAllRequestsTo><HostName>a b</HostName></RedirectAllRequestsTo>".to_owned(),
            "<RedirectAllRequestsTo><HostName>h/p</HostName></RedirectAllRequestsTo>".to_owned(),
            "<RedirectAllRequestsTo><HostName>u@h</HostName></RedirectAllRequestsTo>".to_owned(),
            with_rules(&rule("", "<Protocol>ftp</Protocol>")),
            with_rules(&rule("", both)),
            with_rules(&rule("", "")),
            with_rules(&rule("<Condition/>", HOST)),
            with_rules(&rule("", HOST).repeat(51)),
            error("200"),
            error("4040"),
            error("+404"),
            status("300"),
            status("200"),
            status("0301"),
        ];
        for inner in request {
            assert_eq!(read(&inner), Err(S3ErrorCode::InvalidRequest), "{inner}");
        }
        let malformed = [
            "<Pages/>".to_owned(),
            format!("{INDEX}{INDEX}"),
            "<IndexDocument/>".to_owned(),
            "<RedirectAllRequestsTo/>".to_owned(),
            with_rules("<RoutingRule/>"),
            with_rules("<Rule/>"),
            with_rules(&rule("<Condition><X>1</X></Condition>", HOST)),
        ];
        for inner in malformed {
            assert_eq!(read(&inner), Err(S3ErrorCode::MalformedXML), "{inner}");
        }
        assert!(read(&with_rules(&rule("", HOST).repeat(50))).is_ok());
        assert!(read(&error("404")).is_ok() && read(&status("301")).is_ok());
    }

    #[test]
    fn a_rule_counts_by_prefix_and_by_error() {
        let website = read(&with_rules(
            &[
                rule(
                    "<Condition><KeyPrefixEquals>docs/</KeyPrefixEquals></Condition>",
                    "<ReplaceKeyPrefixWith>documents/</ReplaceKeyPrefixWith>",
                ),
                rule(
                    "<Condition><HttpErrorCodeReturnedEquals>404</HttpErrorCodeReturnedEquals></Condition>",
                    "<ReplaceKeyWith>#!/search?q=\u{e9} 1</ReplaceKeyWith>",
                ),
                rule("", "<ReplaceKeyPrefixWith>new/</ReplaceKeyPrefixWith>"),
            ]
            .concat(),
        ));
        let Ok(Website::Pages(Pages { rules, .. })) = website else { panic!("{website:?}") };
        let counts = |key: &str, error| rules.iter().map(|rule| rule.counts(key, error)).collect::<Vec<_>>();
        assert_eq!(counts("docs/a", None), [true, false, true]);
        assert_eq!(counts("a", None), [false, false, true]);
        assert_eq!(counts("docs/a", Some(StatusCode::NOT_FOUND)), [false, true, false]);
        assert_eq!(counts("a", Some(StatusCode::FORBIDDEN)), [false, false, false]);
        let paths: Vec<_> = rules.iter().map(|rule| rule.new_path("docs/a?b")).collect();
        assert_eq!(paths, ["documents/a%3Fb", "#!/search?q=%C3%A9%201", "new/docs/a%3Fb"]);
    }
}
