//! These tests check versions through S3: what a write replaces, what a read finds, and what the
//! answers name.

use crate::multipart::{complete, create, upload_part};
use crate::support::{BUCKET, Refusal, delete, list_all, make_bucket, refusal};
use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    BucketVersioningStatus, Delete, EncodingType, ObjectIdentifier, VersioningConfiguration,
};
use ringbolt_tests::client::MAIN;
use ringbolt_tests::raw_http::Answer;
use ringbolt_tests::signed_http::Signer;
use ringbolt_tests::{Content, Server, ServerOptions};

async fn keep_versions(client: &Client, status: BucketVersioningStatus) {
    let configuration = VersioningConfiguration::builder().status(status.clone()).build();
    let request = client.put_bucket_versioning().bucket(BUCKET).versioning_configuration(configuration);
    request.send().await.map_err(refusal).expect("set the versioning");
    let read = client.get_bucket_versioning().bucket(BUCKET).send().await.expect("read the versioning");
    assert_eq!(read.status, Some(status));
}

async fn enabled() -> (Server, Client) {
    let server = Server::start(ServerOptions::default());
    let client = server.client(&MAIN);
    make_bucket(&client).await;
    keep_versions(&client, BucketVersioningStatus::Enabled).await;
    (server, client)
}

/// Puts a text and returns the id of its version, if the answer names one.
async fn write(client: &Client, key: &str, text: &str) -> Option<String> {
    let body = ByteStream::from(text.as_bytes().to_vec());
    let answer = client.put_object().bucket(BUCKET).key(key).body(body).send().await.map_err(refusal);
    answer.expect("put").version_id
}

/// Reads a version, or the newest, and returns its text and the id that the answer names.
async fn read(client: &Client, key: &str, version: Option<&str>) -> Result<(String, String), Refusal> {
    let request = client.get_object().bucket(BUCKET).key(key).set_version_id(version.map(str::to_owned));
    let answer = request.send().await.map_err(refusal)?;
    let body = answer.body.collect().await.expect("the body").to_vec();
    Ok((String::from_utf8(body).expect("a text"), answer.version_id.unwrap_or_default()))
}

async fn delete_version(client: &Client, key: &str, version: &str) -> Result<Option<bool>, Refusal> {
    let request = client.delete_object().bucket(BUCKET).key(key).version_id(version);
    Ok(request.send().await.map_err(refusal)?.delete_marker)
}

/// Deletes without naming a version, and returns the id of the delete marker that this added.
async fn mark(client: &Client, key: &str) -> String {
    let answer = client.delete_object().bucket(BUCKET).key(key).send().await.expect("delete");
    assert_eq!(answer.delete_marker, Some(true), "{key}");
    answer.version_id.expect("the id of the marker")
}

/// Holds an entry of a list of versions: key, id, whether it is a delete marker, whether it is the
/// newest.
type Entry = (String, String, bool, bool);

/// Lists the versions under a prefix in pages, and returns them with the common prefixes. Within a
/// page the SDK sorts delete markers apart: pages of one entry keep the order of the answer.
async fn list(
    client: &Client,
    prefix: &str,
    delimiter: Option<&str>,
    page: i32,
) -> (Vec<Entry>, Vec<String>) {
    let (mut entries, mut prefixes, mut marker) = (Vec::new(), Vec::new(), (None, None));
    loop {
        let request = client.list_object_versions().bucket(BUCKET).prefix(prefix).max_keys(page);
        let request = request.set_delimiter(delimiter.map(str::to_owned)).encoding_type(EncodingType::Url);
        let request = request.set_key_marker(marker.0).set_version_id_marker(marker.1);
        let answer = request.send().await.map_err(refusal).expect("a page");
        let versions = answer.versions().iter().map(|of| (of.key(), of.version_id(), false, of.is_latest()));
        let markers =
            answer.delete_markers().iter().map(|of| (of.key(), of.version_id(), true, of.is_latest()));
        let before = entries.len() + prefixes.len();
        entries.extend(versions.chain(markers).map(|(key, id, is_marker, is_latest)| {
            let text = |text: Option<&str>| text.expect("a text").to_owned();
            (text(key), text(id), is_marker, is_latest.expect("newest or not"))
        }));
        prefixes.extend(answer.common_prefixes().iter().filter_map(|one| one.prefix().map(str::to_owned)));
        let found = entries.len() + prefixes.len() - before;
        assert!(found <= usize::try_from(page).expect("a size"), "a page of {page} has {found}");
        if answer.is_truncated() != Some(true) {
            return (entries, prefixes);
        }
        marker = (answer.next_key_marker, answer.next_version_id_marker);
        assert!(marker.0.is_some(), "a page that is not the last names no next one");
    }
}

/// Returns the ids of a key's versions, newest first, with a star before those of delete markers.
async fn stack(client: &Client, key: &str) -> Vec<String> {
    let (entries, _) = list(client, key, None, 1).await;
    let newest: Vec<bool> = entries.iter().map(|entry| entry.3).collect();
    assert!(newest.iter().skip(1).all(|newest| !newest) && newest.first() != Some(&false), "{entries:?}");
    let shown = |(_, id, is_marker, _): Entry| if is_marker { format!("*{id}") } else { id };
    entries.into_iter().map(shown).collect()
}

#[tokio::test]
async fn every_write_is_a_version_and_every_delete_a_marker() {
    let (_server, client) = enabled().await;
    let first = write(&client, "k", "first").await.expect("an id");
    let second = write(&client, "k", "second").await.expect("an id");
    let (lower, upper) = (mark(&client, "k").await, mark(&client, "k").await);
    let all = [format!("*{upper}"), format!("*{lower}"), second.clone(), first.clone()];
    assert_eq!(stack(&client, "k").await, all);
    let gone = read(&client, "k", None).await.expect_err("the newest is a marker");
    assert!(gone.is(404, "NoSuchKey"), "{gone:?}");
    assert_eq!(read(&client, "k", Some(&first)).await, Ok(("first".to_owned(), first.clone())));

    for marker in [&upper, &lower] {
        assert_eq!(delete_version(&client, "k", marker).await, Ok(Some(true)));
    }
    assert_eq!(read(&client, "k", None).await, Ok(("second".to_owned(), second.clone())));
    assert_eq!(delete_version(&client, "k", &second).await, Ok(None));
    assert_eq!(read(&client, "k", None).await, Ok(("first".to_owned(), first.clone())));
    // What is gone already is deleted without an error, and without a marker for it.
    assert_eq!(delete_version(&client, "k", &second).await, Ok(None));
    assert_eq!(stack(&client, "k").await, std::slice::from_ref(&first));
    assert_eq!(delete_version(&client, "k", &first).await, Ok(None));
    client.delete_bucket().bucket(BUCKET).send().await.expect("nothing is left in the bucket");
}

#[tokio::test]
async fn there_is_one_null_version_wherever_it_stands() {
    let server = Server::start(ServerOptions::default());
    let client = server.client(&MAIN);
    make_bucket(&client).await;
    assert_eq!(write(&client, "k", "plain").await, None);
    assert_eq!(read(&client, "k", None).await, Ok(("plain".to_owned(), String::new())));
    keep_versions(&client, BucketVersioningStatus::Enabled).await;
    let kept = write(&client, "k", "kept").await.expect("an id");
    assert_eq!(stack(&client, "k").await, [kept.as_str(), "null"]);
    assert_eq!(read(&client, "k", Some("null")).await, Ok(("plain".to_owned(), "null".to_owned())));

    keep_versions(&client, BucketVersioningStatus::Suspended).await;
    for _ in 0..2 {
        assert_eq!(mark(&client, "k").await, "null");
        assert_eq!(stack(&client, "k").await, ["*null", kept.as_str()]);
    }
    assert_eq!(write(&client, "k", "again").await, None);
    assert_eq!(stack(&client, "k").await, ["null", kept.as_str()]);
    assert_eq!(read(&client, "k", None).await, Ok(("again".to_owned(), "null".to_owned())));

    keep_versions(&client, BucketVersioningStatus::Enabled).await;
    let later = write(&client, "k", "later").await.expect("an id");
    assert_eq!(stack(&client, "k").await, [later.as_str(), "null", kept.as_str()]);
    keep_versions(&client, BucketVersioningStatus::Suspended).await;
    let upload = create(&client, "k").await.expect("create");
    let part = upload_part(&client, "k", &upload, 1, Content::new(1, 100).bytes()).await.expect("a part");
    let completed = complete(&client, "k", &upload, vec![part]).await;
    completed.expect("complete");
    assert_eq!(stack(&client, "k").await, ["null", later.as_str(), kept.as_str()]);
    assert_eq!(delete_version(&client, "k", "null").await, Ok(None));
    assert_eq!(stack(&client, "k").await, [later, kept]);
}

#[tokio::test]
async fn versions_that_are_not_there_are_told_apart() {
    let (server, client) = enabled().await;
    let id = write(&client, "k", "text").await.expect("an id");
    let other = write(&client, "other", "text").await.expect("an id");
    let marker = mark(&client, "marked").await;
    for version in [other.as_str(), marker.as_str(), "null"] {
        let missing = read(&client, "k", Some(version)).await.expect_err("no such version");
        assert!(missing.is(404, "NoSuchVersion"), "{version}: {missing:?}");
        assert_eq!(delete_version(&client, "k", version).await, Ok(None), "{version}");
    }
    let swapped = format!("{}{}", &id[16..], &id[..16]);
    for malformed in ["x", "nul", "NULL", &id[1..], swapped.get(1..).unwrap_or_default()] {
        let refused = read(&client, "k", Some(malformed)).await.expect_err("not an id");
        assert!(refused.is(400, "InvalidArgument"), "{malformed}: {refused:?}");
        let refused = delete_version(&client, "k", malformed).await.expect_err("not an id");
        assert!(refused.is(400, "InvalidArgument"), "{malformed}: {refused:?}");
    }
    assert_eq!(stack(&client, "k").await, [id]);

    let signer = Signer { endpoint: server.endpoint(), account: &MAIN };
    let named = format!("/{BUCKET}/marked?versionId={marker}");
    for (method, target, status) in [
        ("GET", format!("/{BUCKET}/marked"), 404),
        ("HEAD", format!("/{BUCKET}/marked"), 404),
        ("GET", named.clone(), 405),
        ("HEAD", named, 405),
    ] {
        let answer = signer.send(method, &target, "", b"").await.expect("an answer");
        assert_eq!(answer.status, status, "{method} {target}: {}", answer.head);
        assert_eq!(header(&answer, "x-amz-delete-marker"), Some("true"), "{method} {target}");
        assert_eq!(header(&answer, "x-amz-version-id"), Some(marker.as_str()), "{method} {target}");
        assert_eq!(header(&answer, "allow"), (status == 405).then_some("DELETE"), "{method} {target}");
        assert_eq!(header(&answer, "last-modified").is_some(), status == 405, "{method} {target}");
    }
}

fn header<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    let fields = answer.head.lines().filter_map(|line| line.split_once(':'));
    let mut named = fields.filter(|(field, _)| field.eq_ignore_ascii_case(name));
    named.next().map(|(_, value)| value.trim())
}

#[tokio::test]
async fn a_copy_takes_the_version_that_it_names() {
    let (_server, client) = enabled().await;
    let old = write(&client, "k", "old").await.expect("an id");
    write(&client, "k", "new").await.expect("an id");
    let copy = |to: &str, source: &str| {
        client.copy_object().bucket(BUCKET).key(to).copy_source(format!("{BUCKET}/{source}")).send()
    };
    // An old version comes back by a copy onto itself, which changes nothing else.
    let restored = copy("k", &format!("k?versionId={old}")).await.map_err(refusal).expect("restore");
    assert_eq!(restored.copy_source_version_id.as_deref(), Some(old.as_str()));
    let id = restored.version_id.expect("an id");
    assert_eq!(read(&client, "k", None).await, Ok(("old".to_owned(), id)));
    assert_eq!(stack(&client, "k").await.len(), 3);

    let marker = mark(&client, "k").await;
    let refused = refusal(copy("to", "k").await.expect_err("the newest is a marker"));
    assert!(refused.is(404, "NoSuchKey"), "{refused:?}");
    let by_id = format!("k?versionId={marker}");
    let refused = refusal(copy("to", &by_id).await.expect_err("a marker has no content"));
    assert!(refused.is(400, "InvalidRequest"), "{refused:?}");
    let upload = create(&client, "to").await.expect("create");
    let part = client.upload_part_copy().bucket(BUCKET).key("to").upload_id(upload).part_number(1);
    let part = part.copy_source(format!("{BUCKET}/{by_id}"));
    let refused = refusal(part.send().await.expect_err("a marker has no content"));
    assert!(refused.is(400, "InvalidRequest"), "{refused:?}");
    copy("to", &format!("k?versionId={old}")).await.expect("an old version below a marker");
    assert_eq!(read(&client, "to", None).await.expect("the copy").0, "old");
}

#[tokio::test]
async fn pages_of_every_size_make_the_same_list() {
    let (_server, client) = enabled().await;
    for key in ["a", "a/1", "a/2", "b", "c/d/1", "c/d/2"] {
        for round in 0..3 {
            write(&client, key, &format!("{key} {round}")).await;
        }
    }
    for key in ["a/1", "a/2", "b"] {
        mark(&client, key).await;
    }
    keep_versions(&client, BucketVersioningStatus::Suspended).await;
    write(&client, "b", "null").await;
    mark(&client, "c/d/1").await;
    for (prefix, delimiter) in [("", None), ("", Some("/")), ("a", None), ("c/", Some("/")), ("b", None)] {
        let (in_order, prefixes) = list(&client, prefix, delimiter, 1).await;
        for page in [2, 3, 5, 1000] {
            let (mut entries, found) = list(&client, prefix, delimiter, page).await;
            let mut expected = in_order.clone();
            entries.sort();
            expected.sort();
            assert_eq!((entries, &found), (expected, &prefixes), "{prefix:?} {delimiter:?} by {page}");
        }
    }
    let (all, _) = list(&client, "", None, 1).await;
    assert_eq!(all.len(), 6 * 3 + 3 + 2);
    assert!(all.is_sorted_by_key(|entry| entry.0.clone()), "{all:?}");
    // What is only marked is in no list of objects, nor makes a common prefix there.
    let names: Vec<String> = list_all(&client, 2).await.into_iter().map(|(key, _)| key).collect();
    assert_eq!(names, ["a", "b", "c/d/2"]);
    let answer = client.list_objects_v2().bucket(BUCKET).delimiter("/").send().await.expect("a list");
    let prefixes: Vec<_> = answer.common_prefixes().iter().filter_map(|one| one.prefix()).collect();
    assert_eq!(prefixes, ["c/"]);
    assert_eq!(list(&client, "", Some("/"), 1000).await.1, ["a/", "c/"]);
}

#[tokio::test]
async fn a_list_of_deletes_says_what_became_of_each_version() {
    let (_server, client) = enabled().await;
    let id = write(&client, "k", "text").await.expect("an id");
    let marker = mark(&client, "k").await;
    let object = |key: &str, version: Option<&str>| {
        let object = ObjectIdentifier::builder().key(key).set_version_id(version.map(str::to_owned));
        object.build().expect("an object")
    };
    let list = Delete::builder()
        .objects(object("k", Some(&id)))
        .objects(object("k", Some(&marker)))
        .objects(object("new", None))
        .objects(object("other", Some(&id)))
        .objects(object("k", Some("malformed")));
    let list = list.build().expect("a list");
    let answer = client.delete_objects().bucket(BUCKET).delete(list).send().await.expect("delete");
    let deleted: Vec<_> = answer.deleted().iter().map(|one| (one.key(), one.version_id())).collect();
    let new = (Some("new"), None);
    assert_eq!(
        deleted,
        [(Some("k"), Some(id.as_str())), (Some("k"), Some(&marker)), new, (Some("other"), Some(&id))]
    );
    let markers: Vec<_> =
        answer.deleted().iter().map(|one| (one.delete_marker(), one.delete_marker_version_id())).collect();
    assert_eq!(markers[0], (None, None));
    assert_eq!(markers[1], (Some(true), Some(marker.as_str())));
    assert_eq!(markers[3], (None, None));
    let (is_marker, new) = markers[2];
    assert_eq!(is_marker, Some(true));
    assert_eq!(stack(&client, "new").await, [format!("*{}", new.expect("the id of the marker"))]);
    let errors: Vec<_> = answer.errors().iter().map(|one| (one.version_id(), one.code())).collect();
    assert_eq!(errors, [(Some("malformed"), Some("InvalidArgument"))]);
    assert_eq!(stack(&client, "k").await, Vec::<String>::new());
}

#[tokio::test]
async fn conditions_look_at_the_newest_version_and_at_what_is_named() {
    let (_server, client) = enabled().await;
    let conditional =
        |condition: &str| client.delete_object().bucket(BUCKET).key("k").if_match(condition).send();
    let put = || client.put_object().bucket(BUCKET).key("k");
    // Where there is no version, a delete with a condition writes no marker.
    for condition in ["*", "\"other\""] {
        conditional(condition).await.map_err(refusal).expect("nothing to delete");
    }
    assert_eq!(stack(&client, "k").await, Vec::<String>::new());
    let first = put().if_none_match("*").send().await.expect("put");
    let (tag, id) = (first.e_tag.expect("a tag"), first.version_id.expect("an id"));
    let refused = refusal(conditional("\"other\"").await.expect_err("another object"));
    assert!(refused.is(412, "PreconditionFailed"), "{refused:?}");
    assert_eq!(conditional(&tag).await.expect("delete").delete_marker, Some(true));
    let refused = refusal(conditional(&tag).await.expect_err("a marker has no tag"));
    assert!(refused.is(412, "PreconditionFailed"), "{refused:?}");
    let refused = refusal(put().if_match("*").send().await.expect_err("a marker is no object"));
    assert!(refused.is(404, "NoSuchKey"), "{refused:?}");
    // A version that is named is judged by itself, wherever it stands.
    let named = |condition: &str| {
        let request = client.delete_object().bucket(BUCKET).key("k").version_id(&id).if_match(condition);
        request.send()
    };
    let refused = refusal(named("\"other\"").await.expect_err("another object"));
    assert!(refused.is(412, "PreconditionFailed"), "{refused:?}");
    named(&tag).await.expect("delete the version");
    named("\"other\"").await.map_err(refusal).expect("it is gone");
    put().if_none_match("*").send().await.expect("there is only a marker");
}

#[tokio::test]
async fn a_kill_changes_neither_ids_nor_order() {
    let (mut server, client) = enabled().await;
    for round in 0..20 {
        write(&client, "k", &format!("text {round}")).await;
        if round % 5 == 4 {
            mark(&client, "k").await;
        }
    }
    keep_versions(&client, BucketVersioningStatus::Suspended).await;
    write(&client, "k", "null").await;
    delete(&client, "only-marked").await.expect("delete");
    let before = (list(&client, "", None, 1).await, read(&client, "k", None).await);
    assert_eq!(before.0.0.len(), 20 + 4 + 1 + 1);
    server.kill();
    server.start_again();
    let client = server.client(&MAIN);
    assert_eq!((list(&client, "", None, 1).await, read(&client, "k", None).await), before);
    let read = client.get_bucket_versioning().bucket(BUCKET).send().await.expect("read the versioning");
    assert_eq!(read.status, Some(BucketVersioningStatus::Suspended));
    // What is written now stands above all that was written before.
    keep_versions(&client, BucketVersioningStatus::Enabled).await;
    let newest = write(&client, "k", "newest").await.expect("an id");
    assert_eq!(stack(&client, "k").await.first(), Some(&newest));
}
