//! Reads the upload form of a browser while it arrives: multipart/form-data, RFC 7578, as far as S3
//! uses it.
//!
//! Invariants:
//! - Names are in lower case, as S3 compares them without case, and none comes twice: what is
//!   judged is what is used.
//! - The file is the last field that counts. What comes after it is ignored, as S3 does.
//! - What comes before the file's bytes is limited as S3 limits it. Of the file, no more is held
//!   than may be the beginning of its end.
//! - Each byte is looked at once, however the form is cut on its way.

use crate::s3::error::invalid_argument;
use bytes::{Bytes, BytesMut};
use memchr::memmem::Finder;
use s3s::{S3Error, S3Result, s3_error};

/// The most bytes before those of the file, as S3 limits them.
pub const BEFORE_FILE_BYTES_MAX: usize = 20 * 1024;
/// The most white space between a boundary and the end of its line, in bytes.
const PADDING_BYTES_MAX: usize = 64;

/// The fields of a form before its file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Form {
    /// The name, in lower case, and the value of each field, in the order of the form.
    pub fields: Vec<(String, String)>,
    /// The name that the browser gave the file, without the path to it. It may be empty.
    pub file_name: String,
}

fn malformed(reason: &str) -> S3Error {
    s3_error!(
        MalformedPOSTRequest,
        "The body of your POST request is not well-formed multipart/form-data: {reason}"
    )
}

/// Returns the boundary in a Content-Type, or None if that is not multipart/form-data at all. The
/// inner result fails if there is no valid boundary.
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

impl Form {
    /// Returns the value of a field.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn add(&mut self, name: String, value: &[u8]) -> S3Result<()> {
        if self.get(&name).is_some() {
            return Err(invalid_argument(format!("The form has the field {name} more than once")));
        }
        let value = str::from_utf8(value).map_err(|_| malformed("the value of a field is not UTF-8"))?;
        self.fields.push((name, value.to_owned()));
        Ok(())
    }

    /// Puts the file's name where the fields ask for it. They are judged after that, as S3 does,
    /// and limited as before.
    fn expand(&mut self) -> S3Result<()> {
        const PLACE: &str = "${filename}";
        let mut total = 0;
        for (name, value) in &mut self.fields {
            // These were signed before the file was chosen.
            let places = match name.as_str() {
                "policy" | "signature" | "x-amz-signature" => 0,
                _ => value.matches(PLACE).count(),
            };
            total += name.len() + value.len() - places * PLACE.len() + places * self.file_name.len();
            if total > BEFORE_FILE_BYTES_MAX {
                return Err(too_much());
            }
            if places > 0 {
                *value = value.replace(PLACE, &self.file_name);
            }
        }
        Ok(())
    }
}

/// What [`Reader::step`] has read.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing can be read without more of the body.
    More,
    /// All fields before the file were read: the file's bytes begin.
    File(Form),
    /// These are bytes of the file.
    Bytes(Bytes),
    /// The file has ended, or the form has without a file.
    End,
}

#[derive(Debug)]
enum State {
    /// A boundary is awaited, after what precedes the first one, or after the value of the field
    /// with this name.
    Before(Option<String>),
    Boundary,
    Head,
    File,
    End,
}

/// What follows something that looks like a boundary.
enum Mark {
    Next(usize),
    Last,
    /// It is no boundary: the bytes belong to the value.
    NoBoundary,
    Unknown,
}

/// Reads a form that arrives in pieces.
#[derive(Debug)]
pub struct Reader {
    /// The delimiter, `\r\n--boundary`.
    delimiter: Finder<'static>,
    input: BytesMut,
    /// The number of bytes of the input in which no delimiter begins.
    searched: usize,
    /// The number of bytes that were taken out of the input before those of the file.
    before_file: usize,
    state: State,
    form: Form,
}

impl Reader {
    /// Makes a reader of a form with this boundary.
    pub fn new(boundary: &str) -> Self {
        // The first boundary may begin the body; elsewhere the end of a line is part of it.
        let input = BytesMut::from(&b"\r\n"[..]);
        let delimiter = Finder::new(&format!("\r\n--{boundary}")).into_owned();
        let (state, form) = (State::Before(None), Form::default());
        Self { delimiter, input, searched: 0, before_file: 0, state, form }
    }

    /// Adds a piece of the body.
    pub fn push(&mut self, bytes: &[u8]) {
        // What follows the file is ignored, and not kept.
        if !matches!(self.state, State::End) {
            self.input.extend_from_slice(bytes);
        }
    }

    /// Reads on. Fails if the form is malformed, or too long before its file.
    pub fn step(&mut self) -> S3Result<Step> {
        loop {
            let step = match std::mem::replace(&mut self.state, State::End) {
                State::Before(name) => self.before(name)?,
                State::Boundary => self.boundary()?,
                State::Head => self.head()?,
                State::File => return Ok(self.file()),
                State::End => return Ok(Step::End),
            };
            match step {
                Some(Step::More) if self.before_file + self.input.len() > BEFORE_FILE_BYTES_MAX => {
                    return Err(too_much());
                }
                Some(step) => return Ok(step),
                None => {}
            }
        }
    }

    /// Returns the error of a body that ends here.
    pub fn cut_short(&self) -> S3Error {
        malformed(match self.state {
            State::Before(None) => "its first boundary is missing",
            State::Before(Some(_)) => "a field has no end",
            State::Boundary => "a boundary does not end",
            State::Head => "a field has no head",
            State::File | State::End => "its file has no end",
        })
    }

    fn take(&mut self, count: usize) -> S3Result<BytesMut> {
        self.before_file += count;
        self.searched = 0;
        if self.before_file > BEFORE_FILE_BYTES_MAX {
            return Err(too_much());
        }
        Ok(self.input.split_to(count))
    }

    /// Returns where the next delimiter begins.
    fn find_delimiter(&mut self) -> Option<usize> {
        let found = self.delimiter.find(&self.input[self.searched..]).map(|at| self.searched + at);
        self.searched = match found {
            Some(at) => at,
            None => self.searched.max((self.input.len() + 1).saturating_sub(self.delimiter.needle().len())),
        };
        found
    }

    fn before(&mut self, name: Option<String>) -> S3Result<Option<Step>> {
        let Some(at) = self.find_delimiter() else {
            self.state = State::Before(name);
            return Ok(Some(Step::More));
        };
        let value = self.take(at)?;
        if let Some(name) = name {
            self.form.add(name, &value)?;
        }
        self.take(self.delimiter.needle().len())?;
        self.state = State::Boundary;
        Ok(None)
    }

    fn boundary(&mut self) -> S3Result<Option<Step>> {
        match mark(&self.input) {
            Mark::Next(count) => {
                self.take(count)?;
                self.state = State::Head;
                Ok(None)
            }
            Mark::Last => Ok(Some(Step::End)),
            Mark::NoBoundary => Err(malformed("a boundary does not end its line")),
            Mark::Unknown => {
                self.state = State::Boundary;
                Ok(Some(Step::More))
            }
        }
    }

    fn head(&mut self) -> S3Result<Option<Step>> {
        const END: &[u8] = b"\r\n\r\n";
        let Some(at) = memchr::memmem::find(&self.input[self.searched..], END).map(|at| self.searched + at)
        else {
            self.searched = self.searched.max((self.input.len() + 1).saturating_sub(END.len()));
            self.state = State::Head;
            return Ok(Some(Step::More));
        };
        let head = self.take(at + END.len())?;
        let (name, file_name) = names_of(&head)?;
        if name != "file" {
            self.state = State::Before(Some(name));
            return Ok(None);
        }
        self.form.file_name = file_name;
        self.form.expand()?;
        self.state = State::File;
        Ok(Some(Step::File(std::mem::take(&mut self.form))))
    }

    fn file(&mut self) -> Step {
        self.state = State::File;
        let needle = self.delimiter.needle().len();
        while let Some(at) = self.find_delimiter() {
            match mark(&self.input[at + needle..]) {
                Mark::NoBoundary => self.searched = at + 1,
                Mark::Unknown => return self.bytes(at),
                Mark::Next(_) | Mark::Last if at > 0 => return self.bytes(at),
                Mark::Next(_) | Mark::Last => {
                    (self.state, self.input) = (State::End, BytesMut::new());
                    return Step::End;
                }
            }
        }
        self.bytes(self.searched)
    }

    fn bytes(&mut self, count: usize) -> Step {
        self.searched -= count;
        match count {
            0 => Step::More,
            count => Step::Bytes(self.input.split_to(count).freeze()),
        }
    }
}

fn too_much() -> S3Error {
    s3_error!(
        MaxPostPreDataLengthExceededError,
        "Your POST request fields preceding the upload file have more than {BEFORE_FILE_BYTES_MAX} bytes"
    )
}

fn mark(behind: &[u8]) -> Mark {
    let padding = behind.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    match &behind[padding..] {
        _ if padding > PADDING_BYTES_MAX => Mark::NoBoundary,
        [b'\r', b'\n', ..] => Mark::Next(padding + 2),
        [b'-', b'-', ..] if padding == 0 => Mark::Last,
        [] | [b'\r'] => Mark::Unknown,
        [b'-'] if padding == 0 => Mark::Unknown,
        _ => Mark::NoBoundary,
    }
}

/// Returns the name of a field, and that of its file.
fn names_of(head: &[u8]) -> S3Result<(String, String)> {
    let head = str::from_utf8(head).map_err(|_| malformed("the head of a field is not UTF-8"))?;
    let mut dispositions = head
        .split("\r\n")
        .filter_map(|line| line.split_once(':'))
        .filter(|(name, _)| name.trim().eq_ignore_ascii_case("content-disposition"));
    let (Some((_, disposition)), None) = (dispositions.next(), dispositions.next()) else {
        return Err(malformed("a field has no Content-Disposition, or two"));
    };
    let name = parameter(disposition, "name").ok_or_else(|| malformed("a field has no name"))?;
    let file_name = parameter(disposition, "filename").unwrap_or_default();
    // Some browsers tell where the file was on their machine.
    let file_name = file_name.rsplit(['/', '\\']).next().unwrap_or_default().to_owned();
    Ok((name.to_ascii_lowercase(), file_name))
}

/// Returns a parameter of Content-Disposition. Browsers write `"` in a name as `%22`, so a quote
/// always ends it.
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

/// Reads a whole form in pieces of `size` bytes, for tests and fuzzing. Returns its fields, and its
/// file if that has an end.
pub fn read_in_pieces(body: &[u8], boundary: &str, size: usize) -> S3Result<(Option<Form>, Option<Vec<u8>>)> {
    let mut reader = Reader::new(boundary);
    let (mut form, mut file) = (None, Vec::new());
    let mut pieces = body.chunks(size);
    loop {
        match reader.step()? {
            Step::More => match pieces.next() {
                Some(piece) => reader.push(piece),
                None if form.is_some() => return Ok((form, None)),
                None => return Err(reader.cut_short()),
            },
            Step::File(fields) => form = Some(fields),
            Step::Bytes(bytes) => file.extend_from_slice(&bytes),
            Step::End => return Ok((form.clone(), form.map(|_| file))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same however it is cut.
    fn parse(text: &str) -> Result<(Option<Form>, Option<Vec<u8>>), S3Error> {
        let body = text.replace('\n', "\r\n").into_bytes();
        let whole = read_in_pieces(&body, "XX", body.len().max(1));
        for size in [1, 2, 7, 30] {
            let cut = read_in_pieces(&body, "XX", size);
            match (&whole, &cut) {
                (Ok(whole), Ok(cut)) => assert_eq!(whole, cut, "pieces of {size}"),
                (Err(whole), Err(cut)) => assert_eq!(whole.code(), cut.code(), "pieces of {size}"),
                _ => panic!("{whole:?} whole, {cut:?} in pieces of {size}"),
            }
        }
        whole
    }

    #[test]
    fn fields_and_file() {
        let text = "--XX\nContent-Disposition: form-data; name=\"kEy\"\n\na\nb\n--XX\nContent-Disposition: form-data; \
                    name=empty\n\n\n--XX \t\ncontent-disposition: form-data; name=file; filename=\"f;1.txt\"\n\
                    Content-Type: text/plain\n\n--X\n--XXY\n\n--XX\n\
                    Content-Disposition: form-data; name=\"submit\"\n\ngo\n--XX--\n";
        let (form, file) = parse(text).unwrap();
        let form = form.unwrap();
        let fields =
            [("key", "a\r\nb"), ("empty", "")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!((form.fields, form.file_name.as_str()), (fields.to_vec(), "f;1.txt"));
        assert_eq!(file.as_deref(), Some(b"--X\r\n--XXY\r\n".as_slice()));
        let empty = "lenient\n--XX\nContent-Disposition: form-data; name=\"file\"\n\n\n--XX--";
        assert_eq!(parse(empty).unwrap().1.as_deref(), Some(b"".as_slice()));
        assert_eq!(parse("--XX--").unwrap(), (None, None));
    }

    #[test]
    fn cut_forms_are_malformed_or_have_no_end() {
        let whole = "--XX\nContent-Disposition: form-data; name=\"file\"\n\nabc\n--XX--\n";
        assert_eq!(parse(whole).unwrap().1.as_deref(), Some(b"abc".as_slice()));
        for cut in 0..whole.len() - 1 {
            let end = parse(&whole[..cut]).map(|(_, file)| file);
            assert!(matches!(end, Err(_) | Ok(None)), "{cut}: {end:?}");
        }
        for bad in [
            "--XXY\nContent-Disposition: form-data; name=\"file\"\n\nabc\n--XX--\n",
            "--XX\nContent-Type: text/plain\n\nabc\n--XX--\n",
            "--XX\nContent-Disposition: form-data; name=\"a\"\nContent-Disposition: form-data; name=\"b\"\n\nabc\n--XX--\n",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_field_comes_once() {
        let form = |names: &[&str]| {
            let field = |name: &&str| format!("--XX\nContent-Disposition: form-data; name=\"{name}\"\n\nv\n");
            parse(&format!("{}--XX--", names.iter().map(field).collect::<String>()))
        };
        assert!(form(&["a", "b", "file"]).is_ok());
        let refused = form(&["Content-Type", "b", "content-type", "file"]).unwrap_err();
        assert_eq!(refused.code(), &s3s::S3ErrorCode::InvalidArgument);
        assert!(form(&["a", "file", "a", "file"]).is_ok(), "what follows the file is ignored");
    }

    #[test]
    fn the_file_s_name_goes_into_every_field_and_the_way_to_it_into_none() {
        let form = |file_name: &str| {
            let field = |name: &str, value: &str| {
                format!("--XX\nContent-Disposition: form-data; name=\"{name}\"\n\n{value}\n")
            };
            let fields = field("key", "up/${filename}") + &field("x-amz-meta-n", "${filename}+${filename}");
            let text = format!(
                "{fields}{}--XX\nContent-Disposition: form-data; name=\"file\"; filename=\"{file_name}\"\n\nv\n--XX--",
                field("policy", "${filename}")
            );
            let form = parse(&text).unwrap().0.unwrap();
            ["key", "x-amz-meta-n", "policy"].map(|name| form.get(name).unwrap().to_owned())
        };
        for way in ["a.txt", "C:\\docs\\a.txt", "/docs/mine/a.txt", "C:\\docs/a.txt"] {
            assert_eq!(form(way), ["up/a.txt", "a.txt+a.txt", "${filename}"], "{way}");
        }
    }

    #[test]
    fn fields_with_the_file_s_name_in_them_are_limited() {
        let form = |places: usize, length: usize| {
            parse(&format!(
                "--XX\nContent-Disposition: form-data; name=\"k\"\n\n{}\n--XX\nContent-Disposition: form-data; \
                 name=\"file\"; filename=\"{}\"\n\nabc\n--XX--",
                "${filename}".repeat(places),
                "f".repeat(length)
            ))
        };
        assert!(form(20, (BEFORE_FILE_BYTES_MAX - 1) / 20).is_ok());
        let refused = form(20, BEFORE_FILE_BYTES_MAX / 20).unwrap_err();
        assert_eq!(refused.code(), &s3s::S3ErrorCode::MaxPostPreDataLengthExceededError);
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
        let mut reader = Reader::new("XX");
        reader.push(&[b'-'; BEFORE_FILE_BYTES_MAX]);
        assert!(reader.step().is_err(), "what has no boundary is limited too");
    }

    #[test]
    fn of_a_file_hardly_anything_is_held() {
        let mut reader = Reader::new("XX");
        reader.push(b"--XX\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\n");
        assert!(matches!(reader.step(), Ok(Step::File(_))));
        for _ in 0..100 {
            reader.push(&[b'\r'; 5000]);
            while !matches!(reader.step().unwrap(), Step::More) {}
            assert!(reader.input.len() < 10, "{} bytes are held", reader.input.len());
        }
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
