//! This test serves stripes over six drives: two are lost, come back, one is lost for good and replaced, and
//! whatever is stored is read all the while.

use crate::drive_set::{assert_all, drive_flags, list, ringbolt, until_whole};
use crate::metrics::metrics;
use crate::support::{BUCKET, flags, make_bucket, put};
use aws_sdk_s3::config::interceptors::BeforeDeserializationInterceptorContextRef;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart, StorageClass};
use ringbolt_tests::client::MAIN;
use ringbolt_tests::{Content, Server, ServerOptions, binary};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

const OBJECTS: u64 = 24;
const RECEIPT: &str = "x-ringbolt-durability";

fn content(number: u64) -> Content {
    let sizes = [1000, 70_000, 1 << 20, 300_000, 5_000_000, 20 << 20];
    Content::new(number, sizes[number as usize % sizes.len()])
}

async fn put_more(server: &Server, numbers: std::ops::Range<u64>) {
    let client = server.client(&MAIN);
    for number in numbers {
        put(&client, &format!("key/{number}"), content(number)).await.expect("put");
    }
}

/// The receipt in an answer.
#[derive(Clone, Debug, Default)]
struct Receipt(Arc<Mutex<Option<String>>>);

impl Intercept for Receipt {
    fn name(&self) -> &'static str {
        "receipt"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        *self.0.lock().expect("unpoisoned") = context.response().headers().get(RECEIPT).map(str::to_owned);
        Ok(())
    }
}

impl Receipt {
    /// Returns what it says, but for the view.
    fn take(&self) -> String {
        let said = self.0.lock().expect("unpoisoned").take().expect("a receipt");
        let (views, others): (Vec<&str>, Vec<&str>) =
            said.split("; ").partition(|part| part.starts_with("view="));
        assert_eq!(views.len(), 1, "{said}");
        others.join("; ")
    }
}

/// Stores an object, and returns what the receipt says, after a look at those of a part and of its upload.
async fn receipt(server: &Server, length: usize) -> String {
    let (client, receipt) = (server.client(&MAIN), Receipt::default());
    macro_rules! ask {
        ($request:expr) => {
            $request
                .customize()
                .interceptor(receipt.clone())
                .mutate_request(|request| {
                    request.headers_mut().insert(RECEIPT, "please");
                })
                .send()
                .await
                .expect("it is done")
        };
    }
    let bytes = |length: usize| vec![7; length].into();
    let key = "receipt";
    let upload = client.create_multipart_upload().bucket(BUCKET).key(key).send().await.expect("an upload");
    let upload = upload.upload_id().expect("an id").to_owned();
    let part = client.upload_part().bucket(BUCKET).key(key).upload_id(&upload).part_number(1);
    let stored = ask!(part.body(bytes(300_000)));
    let of_part = receipt.take();
    assert!(of_part.contains("stripe=4+"), "{of_part}");
    let part = CompletedPart::builder().part_number(1).set_e_tag(stored.e_tag).build();
    let parts = CompletedMultipartUpload::builder().parts(part).build();
    let complete = client.complete_multipart_upload().bucket(BUCKET).key(key).upload_id(&upload);
    ask!(complete.multipart_upload(parts));
    assert_eq!(receipt.take(), of_part, "nothing has changed meanwhile");
    let source = format!("{BUCKET}/{key}");
    ask!(
        client
            .copy_object()
            .bucket(BUCKET)
            .key(key)
            .copy_source(source)
            .storage_class(StorageClass::Standard)
    );
    assert_eq!(receipt.take(), of_part);
    client.put_object().bucket(BUCKET).key(key).body(bytes(length)).send().await.expect("stored");
    ask!(client.put_object().bucket(BUCKET).key(key).body(bytes(length)));
    let said = receipt.take();
    client.delete_object().bucket(BUCKET).key(key).send().await.expect("deleted");
    said
}

fn serve_with(server: &mut Server, drives: &[&Path]) {
    server.set_flags(flags(&drive_flags(drives)));
    server.start_again();
}

#[tokio::test]
async fn stripes_over_six_drives_survive_any_two() {
    let directory = tempfile::tempdir_in(binary::scratch_dir()).expect("a directory");
    let drives: Vec<PathBuf> = (0..6).map(|number| directory.path().join(format!("d{number}"))).collect();
    let all: Vec<&Path> = drives.iter().map(PathBuf::as_path).collect();
    let without = |lost: &[usize]| -> Vec<&Path> {
        all.iter().enumerate().filter(|(at, _)| !lost.contains(at)).map(|(_, path)| *path).collect()
    };
    let format = ["format", "--size", "256MiB", "--redundancy", "4+2"];
    let (done, said) = ringbolt(&[&format, drive_flags(&all[..5]).as_slice()].concat());
    assert!(!done && said.contains("4+2 needs a drive for each member, 5 were given"), "{said}");
    let (done, said) = ringbolt(&[&format, drive_flags(&all).as_slice()].concat());
    assert!(done && said.contains("striped over 4 drives with parity on 2 more"), "{said}");
    let options = ServerOptions { flags: flags(&drive_flags(&all)), ..ServerOptions::default() };
    let mut server = Server::start(options);
    make_bucket(&server.client(&MAIN)).await;
    put_more(&server, 0..OBJECTS).await;
    assert_all(&server, OBJECTS, content).await;
    assert_eq!(metrics(&server).await["ringbolt_reads_decoded_total"], 0);
    assert_eq!(receipt(&server, 300_000).await, "copies=3; stripe=4+2; degraded=no");
    assert_eq!(receipt(&server, 1000).await, "copies=3; degraded=no");
    server.kill();

    // Two are gone: everything is read, and with one of them more is stored.
    serve_with(&mut server, &without(&[1, 4]));
    assert_all(&server, OBJECTS, content).await;
    assert!(metrics(&server).await["ringbolt_reads_decoded_total"] > 0, "parity stands in");
    server.kill();
    serve_with(&mut server, &without(&[4]));
    // One is missing, and another one may not be up to date yet.
    let said = receipt(&server, 300_000).await;
    assert!(said.contains("stripe=4+") && said.ends_with("degraded=yes"), "{said}");
    assert!(!said.contains("stripe=4+2"), "{said}");
    put_more(&server, OBJECTS..OBJECTS + 12).await;
    assert_all(&server, OBJECTS + 12, content).await;
    server.kill();

    // Both are back, and have everything when they are whole.
    serve_with(&mut server, &all);
    until_whole(&server, 6).await;
    assert!(server.stop().success());
    let (done, said) = ringbolt(&[&["check", "--deep"], drive_flags(&all).as_slice()].concat());
    assert!(done && said.contains("no damage; all data was read") && !said.contains("another one"), "{said}");
    serve_with(&mut server, &without(&[0, 5]));
    assert_all(&server, OBJECTS + 12, content).await;
    server.kill();

    // One is lost for good, and another one takes its place.
    let new = directory.path().join("new");
    let left = drive_flags(&all[1..]);
    let to = ["drive", "replace", "--new", new.to_str().expect("text")];
    let (done, said) = ringbolt(&[&to, left.as_slice()].concat());
    assert!(done && said.contains("takes the place of drive 0"), "{said}");
    let given = [&all[1..], &[new.as_path()]].concat();
    serve_with(&mut server, &given);
    put_more(&server, OBJECTS + 12..OBJECTS + 18).await;
    until_whole(&server, 6).await;
    assert_eq!(list(&server)["bytes_by_losses_survived"][0]["bytes"], json!(0));
    assert!(server.stop().success());
    let (done, said) = ringbolt(&[&["check", "--deep"], drive_flags(&given).as_slice()].concat());
    assert!(done && said.contains("no damage; all data was read") && !said.contains("another one"), "{said}");
    serve_with(&mut server, &given[2..]);
    assert_all(&server, OBJECTS + 18, content).await;
    assert!(server.stop().success());
}

/// Four drives have stripes by default. One is shown, taken offline under the server, pulled, and given again.
#[tokio::test]
async fn a_drive_is_taken_offline_pulled_and_given_again() {
    let directory = tempfile::tempdir_in(binary::scratch_dir()).expect("a directory");
    let drives: Vec<PathBuf> = (0..4).map(|number| directory.path().join(format!("d{number}"))).collect();
    let all: Vec<&Path> = drives.iter().map(PathBuf::as_path).collect();
    let (done, said) = ringbolt(&[&["format", "--size", "256MiB"], drive_flags(&all).as_slice()].concat());
    assert!(done && said.contains("striped over 2 drives with parity on 2 more"), "{said}");
    let mut server =
        Server::start(ServerOptions { flags: flags(&drive_flags(&all)), ..ServerOptions::default() });
    make_bucket(&server.client(&MAIN)).await;
    put_more(&server, 0..12).await;
    let data = server.data_dir().display().to_string();
    let drive = |arguments: &[&str]| ringbolt(&[&["drive"], arguments, &["--data", &data]].concat());

    let (done, said) = drive(&["identify", "1", "--seconds", "1"]);
    assert!(done && said.contains("d1: shown for 1 s") && said.contains("every other half second"), "{said}");
    for (number, reason) in [("4", "there is no drive \"4\" here"), ("-1", "unexpected argument")] {
        let (done, said) = drive(&["offline", number]);
        assert!(!done && said.contains(reason), "{said}");
    }
    let (done, said) = drive(&["identify", "4"]);
    assert!(!done && said.contains("there is no drive 4 at this start"), "{said}");

    let writing = server.client(&MAIN);
    let puts = (12..24).map(|number| {
        let writing = writing.clone();
        async move { put(&writing, &format!("key/{number}"), content(number)).await.expect("put") }
    });
    let data_of_task = data.clone();
    let offline =
        tokio::task::spawn_blocking(move || ringbolt(&["drive", "offline", "1", "--data", &data_of_task]));
    let (_, outcome) = tokio::join!(futures_util::future::join_all(puts), offline);
    let (done, said) = outcome.expect("it ran");
    assert!(done && said.contains("drive 1 is out since view") && said.contains("may be pulled"), "{said}");
    assert!(said.contains("drive 1: taken offline by the operator"), "{said}");
    let (done, said) = drive(&["offline", "1"]);
    assert!(!done && said.contains("out of the view already"), "{said}");
    // It is pulled, and nobody notices.
    let pulled = directory.path().join("pulled");
    std::fs::rename(&drives[1], &pulled).expect("renamed");
    put_more(&server, 24..30).await;
    assert_all(&server, 30, content).await;
    let (done, said) = drive(&["offline", "2"]);
    assert!(!done && said.contains("large objects could not be stored"), "{said}");
    let (done, said) = drive(&["offline", "2", "--force"]);
    assert!(done, "one more may go: {said}");
    let (done, said) = drive(&["offline", "3"]);
    assert!(!done && said.contains("can not go on without the drive"), "{said}");
    assert_all(&server, 30, content).await;
    server.kill();

    std::fs::rename(&pulled, &drives[1]).expect("renamed");
    serve_with(&mut server, &all);
    until_whole(&server, 4).await;
    assert_all(&server, 30, content).await;
    assert!(server.stop().success());
}
