//! This module is a writer: it makes one change after another until the server is gone.

use super::error::TortureError;
use super::journal::{Entry, Journal, Operation, Upload, Version};
use super::report::Totals;
use super::stack::{Change, NULL};
use super::{BUCKET, VERSIONS};
use ringbolt_tool_common::content::Dice;
use ringbolt_tool_common::s3::answer::{Answer, elements};
use ringbolt_tool_common::s3::client::Client;
use std::io;

/// S3 accepts no smaller parts except the last.
const PART_BYTES: usize = 5 << 20;
const SMALL_BYTES_MAX: usize = 64 << 10;
/// A key with so many versions loses one before it gets another.
const VERSIONS_MAX: usize = 12;

/// Makes the changes of one writer.
pub struct Writer<'a> {
    pub number: usize,
    pub keys: usize,
    /// This is the number of live bytes from which on the writer writes small objects and deletes
    /// more.
    pub share_bytes: usize,
    /// Says that the versioning of the second bucket is suspended.
    pub suspended: bool,
    pub client: Client,
    pub journal: &'a mut Journal,
    pub dice: Dice,
    pub totals: Totals,
}

impl Writer<'_> {
    /// Writes until the connection breaks, which a kill causes.
    ///
    /// # Errors
    /// Fails when the server gives a response that is not allowed.
    pub fn write(&mut self) -> Result<(), TortureError> {
        loop {
            let (operation, body) = self.choose();
            self.journal.append(Entry::Begin(operation.clone()))?;
            let Ok(answer) = self.perform(&operation, &body) else { return Ok(()) };
            let is_gone = operation == Operation::Abort && answer.status == 404;
            match answer.status {
                200..300 => self.acknowledged(&operation, &answer, body.len())?,
                _ if is_gone => self.journal.append(Entry::Done(String::new()))?,
                // A limit was reached, or the drive is full: nothing was stored, and the data must
                // be intact nevertheless.
                status @ (503 | 507) => {
                    self.totals.refused += 1;
                    self.journal.append(Entry::Refused(status))?;
                }
                _ => return Err(self.judge(&operation, &answer)),
            }
        }
    }

    fn choose(&mut self) -> (Operation, Vec<u8>) {
        let roll = self.dice.below(100);
        if self.dice.below(3) == 0 {
            return self.choose_version(roll);
        }
        let full = self.journal.model.live_bytes() > self.share_bytes;
        let key = format!("writer-{}/key-{:04}", self.number, self.dice.below(self.keys));
        if let Some(upload) = &self.journal.model.upload
            && (upload.ending || roll < 40)
        {
            return continue_upload(upload, self.dice.below(20) == 0);
        }
        if roll < if full { 70 } else { 50 } && roll >= 40 {
            return (Operation::Delete { key }, Vec::new());
        }
        let tag = self.dice.next();
        if roll < 60 && !full && self.journal.model.upload.is_none() {
            let size = PART_BYTES + self.dice.below(2 * PART_BYTES);
            return (Operation::Create { key, version: Version::new(tag, size).0 }, Vec::new());
        }
        let size = self.dice.size_bytes();
        let size = if full { size % (SMALL_BYTES_MAX + 1) } else { size };
        let (version, body) = Version::new(tag, size);
        (Operation::Put { key, version }, body)
    }

    /// Chooses a change of the bucket that keeps versions. There are fewer keys, so that most have
    /// several versions.
    fn choose_version(&mut self, roll: usize) -> (Operation, Vec<u8>) {
        let (number, suspended) = (self.number, self.suspended);
        let key = format!("writer-{number}/stack-{:04}", self.dice.below(self.keys.div_ceil(4)));
        let full = self.journal.model.live_bytes() > self.share_bytes;
        let (chosen, tag) = (self.dice.next(), self.dice.next());
        let size = self.dice.size_bytes();
        let stack = self.journal.model.stacks.get(&key).map_or(&[][..], |state| &state.certain);
        let removes = stack.len() >= VERSIONS_MAX || roll < if full { 60 } else { 25 };
        if removes && !stack.is_empty() {
            let id = stack[chosen as usize % stack.len()].id.clone();
            return (Operation::Remove { key, id }, Vec::new());
        }
        if (50..70).contains(&roll) {
            return (Operation::Mark { key, suspended }, Vec::new());
        }
        let (version, body) = Version::new(tag, if full { size % (SMALL_BYTES_MAX + 1) } else { size });
        (Operation::PutVersion { key, version, suspended }, body)
    }

    fn perform(&mut self, operation: &Operation, body: &[u8]) -> io::Result<Answer> {
        let upload = self.journal.model.upload.as_ref();
        let (key, id, number) =
            upload.map_or(("", "", 0), |upload| (&upload.key, &upload.id, upload.parts.len() + 1));
        let on_upload = format!("/{BUCKET}/{key}?uploadId={id}");
        match operation {
            Operation::Put { key, .. } => self.client.send("PUT", &path_of(key), body),
            Operation::Delete { key } => self.client.ask("DELETE", &path_of(key)),
            Operation::Create { key, .. } => {
                self.client.send("POST", &format!("{}?uploads", path_of(key)), &[])
            }
            Operation::Part => self.client.send("PUT", &format!("{on_upload}&partNumber={number}"), body),
            Operation::Complete => {
                let parts = upload.map_or(String::new(), parts_xml);
                self.client.send("POST", &on_upload, parts.as_bytes())
            }
            Operation::Abort => self.client.ask("DELETE", &on_upload),
            Operation::PutVersion { key, .. } => self.client.send("PUT", &versions_path(key), body),
            Operation::Mark { key, .. } => self.client.ask("DELETE", &versions_path(key)),
            Operation::Remove { key, id } => {
                self.client.ask("DELETE", &format!("{}?versionId={id}", versions_path(key)))
            }
        }
    }

    fn acknowledged(
        &mut self,
        operation: &Operation,
        answer: &Answer,
        sent_bytes: usize,
    ) -> Result<(), TortureError> {
        let text = match operation {
            Operation::Create { .. } => elements(&answer.text(), "UploadId").next().map(str::to_owned),
            Operation::Part => answer.header("etag").map(|etag| etag.trim_matches('"').to_owned()),
            Operation::Complete => elements(&answer.text(), "ETag").next().map(str::to_owned),
            Operation::PutVersion { .. } | Operation::Mark { .. } => added_version(operation, answer),
            Operation::Put { .. } | Operation::Delete { .. } => Some(String::new()),
            Operation::Abort | Operation::Remove { .. } => Some(String::new()),
        };
        let Some(text) = text else { return Err(self.judge(operation, answer)) };
        self.journal.append(Entry::Done(text))?;
        self.totals.acknowledged(operation, sent_bytes);
        Ok(())
    }

    /// Judges a response that no client should get. "No such upload" or "no such part" in response
    /// to a part or a completion is a loss, because both were acknowledged.
    fn judge(&self, operation: &Operation, answer: &Answer) -> TortureError {
        let text = answer.text();
        let code = elements(&text, "Code").next().unwrap_or_default().to_owned();
        match &self.journal.model.upload {
            Some(upload) if matches!(code.as_str(), "NoSuchUpload" | "InvalidPart") => TortureError::Loss {
                key: upload.key.clone(),
                expected: format!("upload {} with {} acknowledged parts", upload.id, upload.parts.len()),
                found: format!("{} {code}", answer.status),
            },
            _ => TortureError::Answer {
                operation: format!("{operation:?}"),
                status: answer.status,
                body: text,
            },
        }
    }
}

/// Returns the id of the version that a request has added; `None` if the answer does not say what it
/// must. An answer to a put does not name the null version.
fn added_version(operation: &Operation, answer: &Answer) -> Option<String> {
    let (_, change) = Change::of(operation)?;
    let is_marker = answer.header("x-amz-delete-marker") == Some("true");
    let named = answer.header("x-amz-version-id");
    let id = match operation {
        Operation::PutVersion { .. } => named.unwrap_or(NULL),
        _ => named.filter(|_| is_marker)?,
    };
    change.can_have(id).then(|| id.to_owned())
}

/// Returns the path of a key in the bucket that keeps versions.
pub fn versions_path(key: &str) -> String {
    format!("/{VERSIONS}/{key}")
}

/// Returns the path of a key; the keys of this test need no percent-encoding.
pub fn path_of(key: &str) -> String {
    format!("/{BUCKET}/{key}")
}

fn continue_upload(upload: &Upload, give_up: bool) -> (Operation, Vec<u8>) {
    let sent = upload.parts.len() * PART_BYTES;
    if upload.ending || give_up {
        return (Operation::Abort, Vec::new());
    }
    if sent >= upload.version.size_bytes {
        return (Operation::Complete, Vec::new());
    }
    let (_, bytes) = Version::new(upload.version.tag, upload.version.size_bytes);
    let end = (sent + PART_BYTES).min(bytes.len());
    (Operation::Part, bytes[sent..end].to_vec())
}

fn parts_xml(upload: &Upload) -> String {
    let part = |(at, etag): (usize, &String)| {
        format!("<Part><PartNumber>{}</PartNumber><ETag>\"{etag}\"</ETag></Part>", at + 1)
    };
    let parts: String = upload.parts.iter().enumerate().map(part).collect();
    format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>")
}
