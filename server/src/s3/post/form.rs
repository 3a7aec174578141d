//! A browser's upload form: multipart/form-data, RFC 7578, as far as S3 uses it.
//!
//! Invariants: names are lower-case, as S3 compares them without case. The file is the last field that
//! counts; what comes after it is ignored, as S3 does. What comes before it is limited as S3 limits it,
//! so that the work on a form's fields is small whatever the form.

use bytes::Bytes;
use s3s::{S3Error, S3Result, s3_error};

/// S3's limit on everything before the file's bytes.
const BEFORE_FILE_BYTES_MAX: usize = 20 * 1024;

/// The file of the form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// What the browser called it; may be empty.
    pub name: String,
    pub bytes: Bytes,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Form {
    /// Lower-case name and value, in the order of the form.
    pub fields: Vec<(String, String)>,
    pub file: Option<File>,
}

fn malformed(reason: &str) -> S3Error {
    s3_error!(
        MalformedPOSTRequest,
        "The body of your POST request is not well-formed multipart/form-data: {reason}"
    )
}

/// The boundary in a Content-Type; None if that is not multipart/form-data at all.
pub fn boundary_of(content_type: &str) -> Option<S3Result<String>> {
    let mut pieces = content_type.split(';');
    if !pieces.next()?.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let boundary = pieces.find_map(|piece| {
        let (name, value) = piece.split_once('=')?;
        name.trim().eq_ignore_ascii_case("boundary").then(|| value.trim().trim_matches('"').to_owned())
    });
    Some(
        boundary.filter(|text| (1..=70).contains(&text.len())).ok_or_else(|| malformed("it has no boundary")),
    )
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

impl Form {
    pub fn parse(body: &Bytes, boundary: &str) -> S3Result<Self> {
        let delimiter = format!("\r\n--{boundary}");
        let opening = &delimiter.as_bytes()[2..];
        let mut at = match find(body, opening) {
            // A preamble must end in a line break.
            Some(0) => opening.len(),
            Some(start) if body[..start].ends_with(b"\r\n") => start + opening.len(),
            _ => return Err(malformed("its first boundary is missing")),
        };
        let mut form = Self::default();
        while form.file.is_none() && !body[at..].starts_with(b"--") {
            let head_start =
                at + find(&body[at..], b"\r\n").ok_or_else(|| malformed("a boundary does not end"))? + 2;
            let head_length =
                find(&body[head_start..], b"\r\n\r\n").ok_or_else(|| malformed("a field has no head"))?;
            let start = head_start + head_length + 4;
            if start > BEFORE_FILE_BYTES_MAX {
                return Err(s3_error!(
                    MaxPostPreDataLengthExceededError,
                    "Your POST request fields preceding the upload file have more than {BEFORE_FILE_BYTES_MAX} bytes"
                ));
            }
            let length =
                find(&body[start..], delimiter.as_bytes()).ok_or_else(|| malformed("a field has no end"))?;
            form.add(&body[head_start..start - 4], body.slice(start..start + length))?;
            at = start + length + delimiter.len();
        }
        Ok(form)
    }

    fn add(&mut self, head: &[u8], bytes: Bytes) -> S3Result<()> {
        let head = std::str::from_utf8(head).map_err(|_| malformed("the head of a field is not UTF-8"))?;
        let disposition = head
            .split("\r\n")
            .filter_map(|line| line.split_once(':'))
            .find(|(name, _)| name.trim().eq_ignore_ascii_case("content-disposition"))
            .ok_or_else(|| malformed("a field has no Content-Disposition"))?
            .1;
        let name = parameter(disposition, "name").ok_or_else(|| malformed("a field has no name"))?;
        let name = name.to_ascii_lowercase();
        if name == "file" {
            self.file = Some(File { name: parameter(disposition, "filename").unwrap_or_default(), bytes });
            return Ok(());
        }
        let value =
            String::from_utf8(bytes.into()).map_err(|_| malformed("the value of a field is not UTF-8"))?;
        self.fields.push((name, value));
        Ok(())
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// A parameter of Content-Disposition. Browsers write `"` in a name as `%22`, so a quote always ends it.
fn parameter(disposition: &str, name: &str) -> Option<String> {
    let mut rest = disposition;
    while let Some((_, after)) = rest.split_once(';') {
        let (key, value) = after.trim_start().split_once('=')?;
        let (value, tail) = match value.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => value.split_at(value.find(';').unwrap_or(value.len())),
        };
        if key.trim().eq_ignore_ascii_case(name) {
            return Some(value.trim().replace("%22", "\""));
        }
        rest = tail;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Form, S3Error> {
        Form::parse(&Bytes::from(text.replace('\n', "\r\n").into_bytes()), "XX")
    }

    #[test]
    fn fields_and_file() {
        let text = "--XX\nContent-Disposition: form-data; name=\"kEy\"\n\na\nb\n--XX\ncontent-disposition: form-data; \
                    name=file; filename=\"f;1.txt\"\nContent-Type: text/plain\n\n--X\n\n--XX\nContent-Disposition: \
                    form-data; name=\"submit\"\n\ngo\n--XX--\n";
        let form = parse(text).unwrap();
        assert_eq!(form.fields, [("key".to_owned(), "a\r\nb".to_owned())]);
        assert_eq!(form.file, Some(File { name: "f;1.txt".to_owned(), bytes: Bytes::from("--X\r\n") }));
    }

    #[test]
    fn cut_forms_are_malformed() {
        let whole = "--XX\nContent-Disposition: form-data; name=\"file\"\n\nabc\n--XX--\n";
        assert!(parse(whole).is_ok());
        for cut in [0, 3, 6, 30, 52, 56, 57] {
            assert!(parse(&whole[..cut]).is_err(), "{cut}");
        }
    }

    #[test]
    fn fields_before_the_file_are_limited() {
        let form = |length: usize| {
            let value = "v".repeat(length);
            parse(&format!(
                "--XX\nContent-Disposition: form-data; name=\"a\"\n\n{value}\n--XX\nContent-Disposition: \
                 form-data; name=\"file\"\n\nabc\n--XX--\n"
            ))
        };
        assert!(form(BEFORE_FILE_BYTES_MAX - 200).is_ok());
        let refused = form(BEFORE_FILE_BYTES_MAX).unwrap_err();
        assert_eq!(refused.code(), &s3s::S3ErrorCode::MaxPostPreDataLengthExceededError);
    }

    #[test]
    fn boundaries() {
        let boundary = |text| boundary_of(text).map(|result| result.ok());
        assert_eq!(boundary("multipart/form-data; boundary=a1"), Some(Some("a1".to_owned())));
        assert_eq!(
            boundary("Multipart/Form-Data; charset=x; Boundary=\"a 1\""),
            Some(Some("a 1".to_owned()))
        );
        assert_eq!(boundary("multipart/form-data"), Some(None));
        assert_eq!(boundary("text/plain; boundary=a"), None);
    }
}
