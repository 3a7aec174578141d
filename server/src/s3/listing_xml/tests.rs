use super::*;
use crate::s3::headers::{CHECKSUM_ALGORITHM, CHECKSUM_TYPE};
use crate::s3::listing_by_s3s as by_s3s;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use quick_xml::Reader;
use quick_xml::events::Event;
use ringbolt_engine::types::UploadId;

/// A child of a document's root: its name, and the names and texts of all that is in it.
type Child = (String, Vec<(String, String)>);

/// Parses a document into the root's name and its children.
fn parse(document: &str) -> (String, Vec<Child>) {
    assert!(!document.contains('\r'), "readers take a carriage return for a line feed");
    let mut reader = Reader::from_str(document);
    let (mut root, mut children) = (String::new(), Vec::<Child>::new());
    let mut open: Vec<(String, String)> = Vec::new();
    loop {
        match reader.read_event().expect("well-formed") {
            Event::Start(start) => {
                let name = String::from_utf8(start.name().as_ref().to_vec()).expect("a name");
                match open.len() {
                    0 => root = name.clone(),
                    1 => children.push((name.clone(), Vec::new())),
                    _ => {}
                }
                open.push((name, String::new()));
            }
            Event::Text(text) => {
                if let Some((_, sum)) = open.last_mut() {
                    sum.push_str(std::str::from_utf8(&text).expect("text"));
                }
            }
            Event::GeneralRef(reference) => {
                let name = std::str::from_utf8(&reference).expect("text");
                open.last_mut().expect("within an element").1.push(letter_of(name));
            }
            Event::End(_) => {
                let (name, text) = open.pop().expect("what ends was opened");
                if let (Some((_, within)), false) = (children.last_mut(), open.is_empty()) {
                    within.push((name, text));
                }
            }
            Event::Decl(_) => {}
            Event::Eof => break,
            other => panic!("{other:?} is in no listing"),
        }
    }
    assert!(open.is_empty());
    (root, children)
}

fn letter_of(reference: &str) -> char {
    match reference {
        "lt" => '<',
        "gt" => '>',
        "amp" => '&',
        "apos" => '\'',
        "quot" => '"',
        number => {
            let number = number.strip_prefix('#').expect("a known entity or a number");
            number.parse().ok().and_then(char::from_u32).expect("a letter")
        }
    }
}

/// Returns the children of that name.
fn named<'a>(children: &'a [Child], names: &[&str]) -> Vec<&'a Child> {
    children.iter().filter(|(name, _)| names.contains(&name.as_str())).collect()
}

/// Returns the text of an element within each of these children.
fn texts<'a>(children: &[&'a Child], element: &str) -> Vec<&'a str> {
    let text = |(_, within): &&'a Child| {
        within.iter().find(|(name, _)| name == element).map(|(_, text)| text.as_str())
    };
    children.iter().filter_map(text).collect()
}

/// Checks that the documents have the same elements with the same texts. Entries of each name and
/// all that are not entries have the same order; in ours common prefixes are behind all entries.
fn assert_alike(ours: &str, of_s3s: &str, entries: &[&str]) {
    let ((root, children), (expected_root, expected)) = (parse(ours), parse(of_s3s));
    assert_eq!(root, expected_root);
    assert_eq!(children.len(), expected.len());
    for name in entries.iter().chain(&["CommonPrefixes"]) {
        assert_eq!(named(&children, &[name]), named(&expected, &[name]));
    }
    let is_entry = |child: &&Child| entries.contains(&child.0.as_str()) || child.0 == "CommonPrefixes";
    let frame =
        |children: &[Child]| children.iter().filter(|child| !is_entry(child)).cloned().collect::<Vec<_>>();
    assert_eq!(frame(&children), frame(&expected));
    let last_entry = children.iter().rposition(|(name, _)| entries.contains(&name.as_str()));
    let first_prefix = children.iter().position(|(name, _)| name == "CommonPrefixes");
    assert!(first_prefix.is_none() || last_entry < first_prefix);
}

fn text() -> impl Strategy<Value = String> {
    let awkward = select(
        "<>&'\"\0\u{1}\t\n\r\u{1f}\u{7f}\u{85}\u{2028}\u{fffd}\u{fffe}\u{ffff}\u{ff01}% +*~é/"
            .chars()
            .collect::<Vec<_>>(),
    );
    let letter = prop_oneof![awkward, proptest::char::range('a', 'z'), any::<char>()];
    vec(letter, 0..12).prop_map(|letters| letters.into_iter().collect())
}

/// The engine's names are bytes: a prefix may end within a letter.
fn name() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![9 => text().prop_map(String::into_bytes), 1 => vec(any::<u8>(), 0..12)]
}

fn etag() -> impl Strategy<Value = Etag> {
    (any::<[u8; 16]>(), prop_oneof![Just(0), any::<u16>()]).prop_map(|(md5, parts)| Etag { md5, parts })
}

/// Times up to the year 9999, for s3s has no form for later ones.
fn time() -> impl Strategy<Value = u64> {
    prop_oneof![0..253_402_300_800_000_u64, 1_600_000_000_000..1_900_000_000_000_u64]
}

fn size() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), 0..5_000_u64, 0..=i64::MAX as u64]
}

fn listing() -> impl Strategy<Value = Listing> {
    let owner = (proptest::option::of(text()), text());
    let encoding = select(vec![Encoding::Plain, Encoding::Url]);
    (owner, encoding, 0..=1000, text(), proptest::option::of(text())).prop_map(
        |((display_name, id), encoding, max, prefix, delimiter)| {
            let bucket = Bucket { owner: id.clone(), ..crate::s3::testing_bucket() };
            let owner = Owner { display_name, id: Some(id) };
            Listing { bucket: Rc::new(bucket), owner, encoding, max, prefix, delimiter }
        },
    )
}

fn item() -> impl Strategy<Value = ListItem> {
    let class = select(StorageClass::ALL.to_vec());
    let object =
        (name(), size(), time(), etag(), class).prop_map(|(key, size_bytes, modified_ms, etag, class)| {
            ListItem::Object { key, size_bytes, modified_ms, etag, class }
        });
    prop_oneof![3 => object, 1 => name().prop_map(ListItem::CommonPrefix)]
}

fn page() -> impl Strategy<Value = ListPage> {
    (vec(item(), 0..12), any::<bool>()).prop_map(|(items, truncated)| ListPage {
        items,
        truncated,
        next: Vec::new(),
    })
}

#[derive(Clone, Debug)]
struct Version {
    item: ListItem,
    id: String,
    is_latest: bool,
    is_marker: bool,
}

impl Version {
    fn entry(&self) -> VersionEntry<'_, &str> {
        match &self.item {
            ListItem::Object { key, size_bytes, modified_ms, etag, class } => VersionEntry::Version {
                key,
                version_id: &self.id,
                is_latest: self.is_latest,
                is_marker: self.is_marker,
                size_bytes: *size_bytes,
                modified_ms: *modified_ms,
                etag: *etag,
                class: *class,
            },
            ListItem::CommonPrefix(prefix) => VersionEntry::CommonPrefix(prefix),
        }
    }
}

fn version() -> impl Strategy<Value = Version> {
    let id = prop_oneof![Just("null".to_owned()), "[0-9a-f]{32}"];
    let version = (item(), id, any::<bool>(), any::<bool>());
    version.prop_map(|(item, id, is_latest, is_marker)| Version { item, id, is_latest, is_marker })
}

fn upload_item() -> impl Strategy<Value = UploadItem> {
    let checksum = select(vec![None, Some(("CRC64NVME", "FULL_OBJECT")), Some(("SHA256", "COMPOSITE"))]);
    let upload = (any::<u128>(), name(), time(), checksum).prop_map(|(id, key, initiated_ms, checksum)| {
        let names = [CHECKSUM_ALGORITHM, CHECKSUM_TYPE];
        let values = checksum.into_iter().flat_map(|(algorithm, kind)| [algorithm, kind]);
        let attributes = names.into_iter().zip(values);
        UploadItem::Upload(UploadInfo {
            id: UploadId(id),
            key,
            initiated_ms,
            attributes: attributes.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            parts: Vec::new(),
        })
    });
    prop_oneof![3 => upload, 1 => name().prop_map(UploadItem::CommonPrefix)]
}

type Place = (Vec<u8>, Option<String>);

fn place() -> impl Strategy<Value = Place> {
    (name(), proptest::option::of("[0-9a-f]{32}"))
}

fn marker((key, id): &Place) -> Marker<'_> {
    Marker { key, id: id.clone() }
}

/// Returns a document in the form of s3s, which writes no line feed behind the declaration, and
/// does not escape the quotes of an ETag.
fn in_the_form_of_s3s(document: &str) -> String {
    let text = document.replacen("?>\n", "?>", 1);
    text.replace("<ETag>&quot;", "<ETag>\"").replace("&quot;</ETag>", "\"</ETag>")
}

proptest! {
    #[test]
    fn objects_are_written_as_s3s_writes_them(
        listing in listing(),
        page in page(),
        names in (text(), proptest::option::of(text()), proptest::option::of(name())),
        shows_owner: bool,
    ) {
        let (marker, start_after, next) = names;
        let ours = listing.objects(&marker, next.as_deref(), &page);
        let of_s3s = by_s3s::objects(&listing, &marker, next.as_deref(), &page);
        prop_assert_eq!(in_the_form_of_s3s(ours.text()), of_s3s.as_str());
        assert_alike(ours.text(), &of_s3s, &["Contents"]);

        let token = start_after.as_deref().map(|_| "dG9rZW4");
        let next_token = next.map(|_| "bmV4dA".to_owned());
        let place = Continuation { token, start_after: start_after.as_deref(), next_token };
        let ours = listing.objects_v2(&place, shows_owner, &page);
        let of_s3s = by_s3s::objects_v2(&listing, &place, shows_owner, &page);
        prop_assert_eq!(in_the_form_of_s3s(ours.text()), of_s3s.as_str());
        assert_alike(ours.text(), &of_s3s, &["Contents"]);
    }

    #[test]
    fn versions_are_written_as_s3s_writes_them(
        listing in listing(),
        versions in vec(version(), 0..12),
        from in place(),
        next in proptest::option::of(place()),
    ) {
        let (from, next) = (marker(&from), next.as_ref().map(marker));
        let entries: Vec<VersionEntry<'_, &str>> = versions.iter().map(Version::entry).collect();
        let ours = listing.versions(&from, next.as_ref(), entries.iter().cloned());
        let of_s3s = by_s3s::versions(&listing, &from, next.as_ref(), &entries);
        assert_alike(ours.text(), &of_s3s, &["Version", "DeleteMarker"]);
        let (_, children) = parse(ours.text());
        let ids = versions.iter().filter(|version| matches!(version.item, ListItem::Object { .. }));
        let ids: Vec<&str> = ids.map(|version| version.id.as_str()).collect();
        let shown = named(&children, &["Version", "DeleteMarker"]);
        prop_assert_eq!(texts(&shown, "VersionId"), ids, "entries are in the order of the page");
    }

    #[test]
    fn uploads_are_written_as_s3s_writes_them(
        listing in listing(),
        items in vec(upload_item(), 0..12),
        from in place(),
        next in proptest::option::of(place()),
    ) {
        let page = UploadPage { items, truncated: next.is_some() };
        let (from, next) = (marker(&from), next.as_ref().map(marker));
        let ours = listing.uploads(&from, next.as_ref(), &page, &|_| unreachable!("one account"));
        let of_s3s = by_s3s::uploads(&listing, &from, next.as_ref(), &page);
        assert_alike(ours.text(), &of_s3s, &["Upload"]);
    }

    #[test]
    fn keys_come_back_from_the_document(listing in listing(), keys in vec(text(), 0..12)) {
        let object = |key: &String| ListItem::Object {
            key: key.clone().into_bytes(),
            size_bytes: 1,
            modified_ms: 0,
            etag: Etag::default(),
            class: Default::default(),
        };
        let page = ListPage { items: keys.iter().map(object).collect(), ..ListPage::default() };
        let (_, children) = parse(listing.objects("", None, &page).text());
        let shown = texts(&named(&children, &["Contents"]), "Key").into_iter();
        let shown: Vec<String> = match listing.encoding {
            Encoding::Plain => shown.map(str::to_owned).collect(),
            Encoding::Url => shown.map(decoded).collect(),
        };
        prop_assert_eq!(shown, keys);
    }
}

fn decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8().expect("UTF-8").into_owned()
}

#[test]
fn both_ways_that_are_measured_write_a_whole_page() {
    use by_s3s::{Kind, Sample};
    let mut sample = Sample::new(1000);
    for kind in Kind::ALL {
        // s3s writes no line feed behind the declaration, and does not escape the quotes of an ETag.
        let more = if kind == Kind::Uploads { 1 } else { 1 + 1000 * 10 };
        let bytes = sample.write(kind);
        assert_eq!(bytes, sample.write_by_s3s(kind) + more, "{kind:?}");
        assert!(bytes > 200_000, "{kind:?}: {bytes} bytes");
    }
}
