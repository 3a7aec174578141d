//! This module carries the operations of a job out as requests of S3.

use super::failure::Failure;
use super::line::{Call, Line, Sink};
use super::shared::Shared;
use super::sign::push_encoded;
use crate::engine::objects::KEYS_OF_A_PAGE;
use crate::engine::{Operation, Verb};
use crate::spec::Direction;
use ringbolt_tool_common::s3::answer::elements;

/// Carries out one operation, and returns the bytes transferred.
///
/// # Errors
/// Fails when the operation fails.
pub async fn carry_out(
    shared: &Shared,
    line: &mut Line,
    operation: &Operation,
    buffer: &mut Box<[u8]>,
) -> Result<u64, Failure> {
    request(shared, line, operation, buffer).await.map_err(|failure| line.at(failure))
}

async fn request(
    shared: &Shared,
    line: &mut Line,
    operation: &Operation,
    buffer: &mut Box<[u8]>,
) -> Result<u64, Failure> {
    let number = operation.number;
    match operation.verb {
        Verb::Read => get(shared, line, Direction::Read, operation, buffer).await,
        Verb::ReadBack => get(shared, line, Direction::Write, operation, buffer).await,
        Verb::Write => {
            shared.name(line, Direction::Write, number);
            put(shared, line, operation.length, buffer).await
        }
        Verb::Trim => {
            shared.name(line, Direction::Trim, number);
            line.render(&shared.signer, "DELETE", None);
            line.exchange(Call::PLAIN, buffer).await?;
            Ok(operation.length)
        }
        Verb::Head => {
            shared.name(line, Direction::Read, number);
            line.render(&shared.signer, "HEAD", None);
            line.exchange(Call { head_only: true, ..Call::PLAIN }, buffer).await?;
            let expected = shared.objects.size_bytes(Direction::Read, number);
            match line.length {
                Some(bytes) if bytes == expected => Ok(0),
                Some(bytes) => Err(Failure::OtherLength { bytes, expected }),
                None => Err(Failure::Lacks("Content-Length")),
            }
        }
        Verb::List => list(shared, line, number, buffer).await,
        Verb::Copy => copy(shared, line, operation, buffer).await,
        Verb::Multipart => multipart(shared, line, operation, buffer).await,
        // What a PUT has acknowledged is durable as far as the protocol can tell.
        Verb::Sync | Verb::DataSync => Ok(0),
    }
}

/// Gets an object, or the range of it that the operation names, and checks that the response is the
/// right one.
async fn get(
    shared: &Shared,
    line: &mut Line,
    of: Direction,
    operation: &Operation,
    buffer: &mut Box<[u8]>,
) -> Result<u64, Failure> {
    let Operation { verb, offset, length, number, .. } = *operation;
    let whole = shared.objects.size_bytes(of, number);
    let is_part = verb == Verb::Read && shared.objects.range_bytes.is_some() && length < whole;
    shared.name(line, of, number);
    line.pieces.range = is_part.then(|| (offset, offset + length - 1));
    line.render(&shared.signer, "GET", None);
    let (expected, status) = if is_part { (length, 206) } else { (whole, 200) };
    let call = Call { sink: Sink::Buffer, body_bytes_max: whole, ..Call::PLAIN };
    let bytes = line.exchange(call, buffer).await?;
    if line.status != status {
        return Err(Failure::OtherStatus { status: line.status, expected: status });
    }
    if is_part {
        right_range(&line.content_range, (offset, length, whole))?;
    }
    if bytes != expected {
        return Err(Failure::OtherLength { bytes, expected });
    }
    Ok(bytes)
}

/// Checks a Content-Range, `bytes FIRST-LAST/WHOLE`; the whole may be `*` (RFC 9110, 14.4).
fn right_range(value: &[u8], (offset, length, whole): (u64, u64, u64)) -> Result<(), Failure> {
    let text = String::from_utf8_lossy(value);
    let expected = format!("bytes {offset}-{}/{whole}", offset + length - 1);
    let unknown = format!("bytes {offset}-{}/*", offset + length - 1);
    if text == expected || text == unknown {
        return Ok(());
    }
    Err(Failure::OtherRange { found: text.into_owned(), expected })
}

/// Stores the first `length` bytes of the buffer under the path that is set.
pub async fn put(
    shared: &Shared,
    line: &mut Line,
    length: u64,
    buffer: &mut Box<[u8]>,
) -> Result<u64, Failure> {
    line.render(&shared.signer, "PUT", Some(length));
    line.exchange(Call { upload: Some((0, length as usize)), ..Call::PLAIN }, buffer).await?;
    Ok(length)
}

async fn list(shared: &Shared, line: &mut Line, number: u64, buffer: &mut Box<[u8]>) -> Result<u64, Failure> {
    let mut prefix = Vec::new();
    shared.objects.push_page_prefix(number, &mut prefix);
    shared.name_bucket(line);
    line.pieces.query.extend_from_slice(format!("list-type=2&max-keys={KEYS_OF_A_PAGE}&prefix=").as_bytes());
    push_encoded(&prefix, &mut line.pieces.query);
    line.render(&shared.signer, "GET", None);
    let bytes = line.exchange(Call::PLAIN, buffer).await?;
    let expected = shared.objects.count.saturating_sub(number / KEYS_OF_A_PAGE * KEYS_OF_A_PAGE);
    let expected = expected.min(KEYS_OF_A_PAGE);
    let keys = line.text.split(|byte| *byte == b'<').filter(|rest| rest.starts_with(b"Key>")).count() as u64;
    if keys < expected {
        return Err(Failure::ShortList { keys, expected });
    }
    Ok(bytes)
}

async fn copy(
    shared: &Shared,
    line: &mut Line,
    operation: &Operation,
    buffer: &mut Box<[u8]>,
) -> Result<u64, Failure> {
    shared.name_bucket(line);
    // An object cannot be copied to itself.
    line.pieces.path.extend_from_slice(b"/copies/");
    shared.objects.push_key(Direction::Write, operation.number, &mut line.pieces.path);
    line.pieces.copy_source.extend_from_slice(shared.bucket_path());
    line.pieces.copy_source.push(b'/');
    shared.objects.push_key(Direction::Read, operation.number, &mut line.pieces.copy_source);
    line.render(&shared.signer, "PUT", Some(0));
    line.exchange(Call::PLAIN, buffer).await?;
    right_document(line, "CopyObjectResult")?;
    Ok(operation.length)
}

/// Checks the document of Copy or Complete, which answer 200 before they are done and may report an
/// error in the body.
fn right_document(line: &Line, name: &'static str) -> Result<(), Failure> {
    let text = String::from_utf8_lossy(&line.text);
    if text.contains("<Error>") {
        return Err(Failure::refused(200, &line.text));
    }
    if text.contains(name) { Ok(()) } else { Err(Failure::Lacks(name)) }
}

async fn multipart(
    shared: &Shared,
    line: &mut Line,
    operation: &Operation,
    buffer: &mut Box<[u8]>,
) -> Result<u64, Failure> {
    shared.name(line, Direction::Write, operation.number);
    line.pieces.query.extend_from_slice(b"uploads=");
    line.render(&shared.signer, "POST", Some(0));
    line.exchange(Call { repeatable: false, ..Call::PLAIN }, buffer).await?;
    let text = String::from_utf8_lossy(&line.text).into_owned();
    let upload = elements(&text, "UploadId").next().ok_or(Failure::Lacks("UploadId"))?;
    let mut encoded = Vec::new();
    push_encoded(upload.as_bytes(), &mut encoded);
    let outcome = parts_and_end(shared, line, operation, &encoded, buffer).await;
    let outcome = outcome.map_err(|failure| line.at(failure));
    if outcome.is_err() {
        set_query(line, &[b"uploadId=", &encoded]);
        line.render(&shared.signer, "DELETE", None);
        // The first failure is the one to report; the server has to clean up an upload that stays.
        let _ = line.exchange(Call::PLAIN, buffer).await;
    }
    outcome
}

fn set_query(line: &mut Line, pieces: &[&[u8]]) {
    line.pieces.query.clear();
    for piece in pieces {
        line.pieces.query.extend_from_slice(piece);
    }
}

async fn parts_and_end(
    shared: &Shared,
    line: &mut Line,
    operation: &Operation,
    upload: &[u8],
    buffer: &mut Box<[u8]>,
) -> Result<u64, Failure> {
    let mut document = String::from("<CompleteMultipartUpload>");
    let (mut number, mut start) = (1, 0);
    while start < operation.length || number == 1 {
        let end = (start + shared.part_bytes).min(operation.length);
        set_query(line, &[format!("partNumber={number}&uploadId=").as_bytes(), upload]);
        line.render(&shared.signer, "PUT", Some(end - start));
        let call = Call { upload: Some((start as usize, end as usize)), ..Call::PLAIN };
        line.exchange(call, buffer).await?;
        if line.etag.is_empty() {
            return Err(Failure::Lacks("ETag"));
        }
        let etag = String::from_utf8_lossy(&line.etag);
        document.push_str(&format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>"));
        (number, start) = (number + 1, end);
    }
    document.push_str("</CompleteMultipartUpload>");
    set_query(line, &[b"uploadId=", upload]);
    line.render(&shared.signer, "POST", Some(document.len() as u64));
    let mut document: Box<[u8]> = document.into_bytes().into();
    let call = Call { upload: Some((0, document.len())), repeatable: false, ..Call::PLAIN };
    line.exchange(call, &mut document).await?;
    right_document(line, "CompleteMultipartUploadResult")?;
    Ok(operation.length)
}
