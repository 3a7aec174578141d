//! This test serves stripes over six drives: two are lost, come back, one is lost for good and replaced, and whatever
//! is stored is read all the while.

use crate::drive_set::{assert_all, drive_flags, list, ringbolt, until_whole};
use crate::metrics::metrics;
use crate::support::{BUCKET, flags, make_bucket, put};
use aws_sdk_s3::presigning::PresigningConfig;
use ringbolt_tests::client::MAIN;
use ringbolt_tests::{Content, Server, ServerOptions, binary, raw_http};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::Duration;

const OBJECTS: u64 = 24;

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

/// Stores an object, and returns what the receipt says without the view, after a look at the receipt of a part.
async fn receipt(server: &Server, length: usize) -> String {
    let client = server.client(&MAIN);
    let valid = || PresigningConfig::expires_in(Duration::from_secs(300)).expect("an expiry");
    let of = |answer: raw_http::Answer| {
        assert_eq!(answer.status, 200, "{}", answer.head);
        let line = answer.head.lines().find_map(|line| line.strip_prefix("x-ringbolt-durability: "));
        let parts: Vec<&str> = line.unwrap_or_else(|| panic!("{}", answer.head)).split("; ").collect();
        assert!(parts.iter().any(|part| part.starts_with("view=")), "{parts:?}");
        parts.into_iter().filter(|part| !part.starts_with("view=")).collect::<Vec<_>>().join("; ")
    };
    let ask = "x-ringbolt-durability: please\r\n";
    let body = vec![7; length];
    let upload =
        client.create_multipart_upload().bucket(BUCKET).key("upload").send().await.expect("an upload");
    let upload = upload.upload_id().expect("an id").to_owned();
    let part = client.upload_part().bucket(BUCKET).key("upload").upload_id(&upload).part_number(1);
    let url = part.presigned(valid()).await.expect("sign");
    let of_part = of(raw_http::request_with("PUT", url.uri(), ask, &vec![7; 300_000]).await.expect("a part"));
    assert!(of_part.contains("stripe=4+"), "{of_part}");
    let etag =
        client.list_parts().bucket(BUCKET).key("upload").upload_id(&upload).send().await.expect("parts");
    let etag = etag.parts()[0].e_tag().expect("a tag").to_owned();
    let complete = client.complete_multipart_upload().bucket(BUCKET).key("upload").upload_id(&upload);
    let url = complete.presigned(valid()).await.expect("sign");
    let list = format!(
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part></CompleteMultipartUpload>"
    );
    let completed = of(raw_http::request_with("POST", url.uri(), ask, list.as_bytes()).await.expect("done"));
    assert_eq!(completed, of_part, "nothing has changed meanwhile");
    let url = client.put_object().bucket(BUCKET).key("receipt").presigned(valid()).await.expect("sign");
    let plain = raw_http::request("PUT", url.uri(), &body).await.expect("put");
    assert!(plain.status == 200 && !plain.head.contains("x-ringbolt-durability"), "{}", plain.head);
    of(raw_http::request_with("PUT", url.uri(), ask, &body).await.expect("put"))
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
    let said = receipt(&server, 300_000).await;
    assert!(said.ends_with("stripe=4+1; degraded=yes"), "{said}");
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
