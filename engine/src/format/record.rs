//! Records, the entries of the log. Each one states one change.
//!
//! Invariants:
//! - A record is an envelope, an rkyv payload (checked by crc, then by bytecheck) and, for a small
//!   object, the object's bytes.
//! - Records start on multiples of 8 bytes. A record's place is (extent, offset, length of all
//!   three parts).
//! - Payload types are versioned by name: a new field is a new type and a new `version`, and old
//!   ones stay readable. rkyv is pinned, little-endian and unaligned, so that the bytes are the
//!   same everywhere.

use std::mem::{offset_of, size_of};

use rkyv::rancor::Error as RkyvError;
use rkyv::{Archive, Deserialize, Serialize};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::parts::{AsPacked, packed_bytes, split_table};
use super::set::SetV1;
use super::{FormatDamage, Le16, Le32, Le64};

pub use super::parts::{PartV1, RunV1, SegmentV1};

pub const ENVELOPE_BYTES: usize = size_of::<RecordEnvelopeOnDisk>();
pub const RECORD_ALIGNMENT: usize = 8;
/// Flag of a copy that the cleaner made. It counts only if the index still has the version, and its
/// change of what the record holds.
pub const FLAG_MOVED: u16 = 1;
/// Flag of a record that replaces a damaged one. The record says what the index knew of the version,
/// whose data or metadata can no longer be read.
pub const FLAG_LOST: u16 = 2;
/// Flag of a record of the place, which says where things lie and changes nothing that a user sees:
/// a cleaner's copy, a set, the log's next set. Users' records are the same on every replica of a
/// shard; records of the place are not.
pub const FLAG_PLACE: u16 = 4;
/// The flags that this program knows. (One more will say that a record is encrypted: key id and tag
/// will then follow the envelope, as records are read one by one. Records that are not encrypted
/// stay as short as they are.)
const FLAGS: u16 = FLAG_MOVED | FLAG_LOST | FLAG_PLACE;

/// The version is its key's null version.
pub const STATE_NULL: u8 = 1;
/// The version is a delete marker.
pub const STATE_MARKER: u8 = 2;

/// The envelope: the first bytes of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct RecordEnvelopeOnDisk {
    /// The crc32c of everything behind this field (envelope, payload, data) XOR the mark of the
    /// record's place.
    pub crc: Le32,
    /// The [`Mutation::kind`] of the payload.
    pub kind: u8,
    pub version: u8,
    /// A combination of [`FLAG_MOVED`], [`FLAG_LOST`] and [`FLAG_PLACE`].
    pub flags: Le16,
    /// Bytes of the payload.
    pub meta_length: Le32,
    /// Bytes of the object that follow the payload.
    pub data_length: Le32,
    /// Generation of the object, upload or bucket that the record is about.
    pub generation: Le64,
}

const _: () = {
    assert!(ENVELOPE_BYTES == 24);
    assert!(offset_of!(RecordEnvelopeOnDisk, meta_length) == 8);
    assert!(offset_of!(RecordEnvelopeOnDisk, generation) == 16);
};

/// A version of a key. The bytes of an object are inline behind the payload if there are no
/// segments.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
pub struct PutV1 {
    pub bucket: u32,
    pub key: Vec<u8>,
    /// Number of the version. Versions of a key that were written later have greater ones.
    pub generation: u64,
    /// Number of times that the slices were moved. If it is not 0, the record only says where the
    /// slices of a version are that is there already.
    pub change: u32,
    /// Bits [`STATE_NULL`] and [`STATE_MARKER`].
    pub state: u8,
    /// Generation of the version that this one replaces; 0 if there is none.
    pub removes: u64,
    /// Generation of the key's null version after this record; 0 if there is none.
    pub null: u64,
    pub size: u64,
    pub modified_ms: u64,
    pub md5: [u8; 16],
    /// Number of parts in the ETag; 0 for an object that was stored in one piece.
    pub etag_parts: u16,
    /// The upload from which the object was completed.
    pub upload: Option<u128>,
    pub attributes: Vec<(String, String)>,
    /// Empty if there are none, or so many that they lie in a table.
    #[rkyv(with = AsPacked)]
    pub parts: Vec<PartV1>,
    /// The bodies that make up the object, in order, and the table of its parts if it has one.
    #[rkyv(with = AsPacked)]
    pub segments: Vec<SegmentV1>,
}

impl PutV1 {
    /// Returns a length that the record does not exceed, without inline data, bytes.
    pub fn record_bytes_max(&self) -> usize {
        // Texts and lists are behind a pointer and a length, and padded.
        const FIXED_BYTES: usize = ENVELOPE_BYTES + 192;
        const ITEM_BYTES: usize = 32;
        let of_attributes = |attributes: &[(String, String)]| -> usize {
            attributes.iter().map(|(name, value)| ITEM_BYTES + name.len() + value.len()).sum()
        };
        FIXED_BYTES
            + self.key.len()
            + of_attributes(&self.attributes)
            + packed_bytes(&self.parts)
            + packed_bytes(&self.segments)
    }

    /// Returns whether the version is its key's null version.
    pub fn is_null(&self) -> bool {
        self.state & STATE_NULL != 0
    }

    /// Returns whether the version is a delete marker.
    pub fn is_marker(&self) -> bool {
        self.state & STATE_MARKER != 0
    }
}

/// A version is removed.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct DeleteV1 {
    pub bucket: u32,
    pub key: Vec<u8>,
    /// Generation of the version.
    pub removes: u64,
    /// Generation of the key's null version after this record; 0 if there is none.
    pub null: u64,
}

/// The metadata of a version changes. Its data stay where they are.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct MetaV1 {
    pub bucket: u32,
    pub key: Vec<u8>,
    /// Generation of the version.
    pub generation: u64,
    /// Number of this change of the version's metadata, from 1.
    pub change: u32,
    pub modified_ms: u64,
    /// All attributes of the version from now on.
    pub attributes: Vec<(String, String)>,
}

/// An upload, in the log and in a checkpoint.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct UploadV1 {
    pub bucket: u32,
    pub key: Vec<u8>,
    pub id: u128,
    pub initiated_ms: u64,
    pub attributes: Vec<(String, String)>,
    pub parts: Vec<UploadPartV1>,
}

/// A part of an upload, with its body.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct UploadPartV1 {
    pub info: PartV1,
    pub segment: SegmentV1,
}

/// A part is added to an upload, or replaced.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct PartPutV1 {
    pub bucket: u32,
    pub key: Vec<u8>,
    pub upload: u128,
    pub part: UploadPartV1,
}

/// An upload is aborted.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct UploadAbortV1 {
    pub bucket: u32,
    pub key: Vec<u8>,
    pub upload: u128,
}

/// A bucket, in the log and in a checkpoint.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct BucketV1 {
    pub id: u32,
    pub name: String,
    pub owner: String,
    pub created_ms: u64,
    pub attributes: Vec<(String, String)>,
    /// The values of the bucket's configuration by kind, ascending.
    pub config: Vec<(u16, Vec<u8>)>,
}

/// A kind of a bucket's configuration is set or removed.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct BucketConfigV1 {
    pub bucket: u32,
    pub kind: u16,
    /// The new value; `None` to remove it.
    pub value: Option<Vec<u8>>,
}

/// A bucket is deleted.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct BucketDeleteV1 {
    pub id: u32,
}

/// What time it was. Where versions are locked, their retentions are judged by it.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockV1 {
    /// Unix time in milliseconds.
    pub now_ms: u64,
}

/// Records of the node are put or removed, all at once. In a checkpoint this is a piece of them, which
/// removes none.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct NodeRecordsV1 {
    /// Number of the change. It grows with every change of any record of the node.
    pub revision: u64,
    pub records: Vec<NodeRecordV1>,
}

/// A record of the node: a name and its value.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct NodeRecordV1 {
    pub name: String,
    /// The new value; `None` to remove the name.
    pub value: Option<Vec<u8>>,
}

/// The log continues at the start of this set. This is always the last record of the last batch of
/// a set, behind the record of the set that it names.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct LogExtentV1 {
    /// Number of the set.
    pub extent: u32,
    pub log_number: u64,
}

/// The change that a record states.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mutation {
    Put(PutV1),
    Delete(DeleteV1),
    UploadCreate(UploadV1),
    UploadPart(PartPutV1),
    UploadAbort(UploadAbortV1),
    BucketPut(BucketV1),
    BucketDelete(BucketDeleteV1),
    LogExtent(LogExtentV1),
    Meta(MetaV1),
    BucketConfig(BucketConfigV1),
    /// This is where a set lies.
    SetPut(SetV1),
    Clock(ClockV1),
    NodeRecords(NodeRecordsV1),
}

pub(super) fn encode<T>(value: &T) -> Vec<u8>
where
    T: for<'a> Serialize<
        rkyv::api::high::HighSerializer<
            rkyv::util::AlignedVec,
            rkyv::ser::allocator::ArenaHandle<'a>,
            RkyvError,
        >,
    >,
{
    match rkyv::to_bytes::<RkyvError>(value) {
        Ok(bytes) => bytes.into_vec(),
        Err(error) => panic!("a value in memory always serialises: {error}"),
    }
}

macro_rules! decode {
    ($type:ty, $bytes:expr) => {
        rkyv::from_bytes::<$type, RkyvError>($bytes).map_err(|_| FormatDamage::Field("record payload"))
    };
}

/// The [`Mutation::kind`] of the record of a version.
pub const PUT_KIND: u8 = 1;
/// The [`Mutation::kind`] of the record of a version's metadata.
pub const META_KIND: u8 = 9;

impl Mutation {
    /// Returns the kind that the envelope carries.
    pub fn kind(&self) -> u8 {
        match self {
            Self::Put(_) => PUT_KIND,
            Self::Delete(_) => 2,
            Self::UploadCreate(_) => 3,
            Self::UploadPart(_) => 4,
            Self::UploadAbort(_) => 5,
            Self::BucketPut(_) => 6,
            Self::BucketDelete(_) => 7,
            Self::LogExtent(_) => 8,
            Self::Meta(_) => META_KIND,
            Self::BucketConfig(_) => 10,
            Self::SetPut(_) => 11,
            Self::Clock(_) => 12,
            Self::NodeRecords(_) => 13,
        }
    }

    /// Returns the rkyv payload.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Put(value) => encode(value),
            Self::Delete(value) => encode(value),
            Self::UploadCreate(value) => encode(value),
            Self::UploadPart(value) => encode(value),
            Self::UploadAbort(value) => encode(value),
            Self::BucketPut(value) => encode(value),
            Self::BucketDelete(value) => encode(value),
            Self::LogExtent(value) => encode(value),
            Self::Meta(value) => encode(value),
            Self::BucketConfig(value) => encode(value),
            Self::SetPut(value) => encode(value),
            Self::Clock(value) => encode(value),
            Self::NodeRecords(value) => encode(value),
        }
    }

    /// Decodes a payload of this kind and version.
    pub(crate) fn decode(kind: u8, version: u8, bytes: &[u8]) -> Result<Self, FormatDamage> {
        if version != 1 {
            return Err(FormatDamage::Version(u32::from(version)));
        }
        Ok(match kind {
            PUT_KIND => Self::Put(decode!(PutV1, bytes)?),
            2 => Self::Delete(decode!(DeleteV1, bytes)?),
            3 => Self::UploadCreate(decode!(UploadV1, bytes)?),
            4 => Self::UploadPart(decode!(PartPutV1, bytes)?),
            5 => Self::UploadAbort(decode!(UploadAbortV1, bytes)?),
            6 => Self::BucketPut(decode!(BucketV1, bytes)?),
            7 => Self::BucketDelete(decode!(BucketDeleteV1, bytes)?),
            8 => Self::LogExtent(decode!(LogExtentV1, bytes)?),
            META_KIND => Self::Meta(decode!(MetaV1, bytes)?),
            10 => Self::BucketConfig(decode!(BucketConfigV1, bytes)?),
            11 => Self::SetPut(decode!(SetV1, bytes)?),
            12 => Self::Clock(decode!(ClockV1, bytes)?),
            13 => Self::NodeRecords(decode!(NodeRecordsV1, bytes)?),
            _ => return Err(FormatDamage::Field("record kind")),
        })
    }
}

/// A record ready to be placed: envelope and payload together, and the inline data apart, so that
/// it is copied only once. The mark of its place is added to the checksum by [`Self::place`], when
/// the place is known.
pub struct EncodedRecord {
    /// Envelope and payload.
    pub head: Vec<u8>,
    /// The inline data of a small object; otherwise empty.
    pub data: Vec<u8>,
}

impl EncodedRecord {
    pub fn new(mutation: &Mutation, generation: u64, flags: u16, data: Vec<u8>) -> Self {
        Self::from_parts(mutation.kind(), flags, generation, &mutation.encode(), data)
    }

    fn from_parts(kind: u8, flags: u16, generation: u64, meta: &[u8], data: Vec<u8>) -> Self {
        let mut envelope = RecordEnvelopeOnDisk {
            crc: Le32::new(0),
            kind,
            version: 1,
            flags: Le16::new(flags),
            meta_length: Le32::new(meta.len() as u32),
            data_length: Le32::new(data.len() as u32),
            generation: Le64::new(generation),
        };
        let crc = crc32c::crc32c(&envelope.as_bytes()[4..]);
        let crc = crc32c::crc32c_append(crc32c::crc32c_append(crc, meta), &data);
        envelope.crc = Le32::new(crc);
        let mut head = Vec::with_capacity(ENVELOPE_BYTES + meta.len());
        head.extend_from_slice(envelope.as_bytes());
        head.extend_from_slice(meta);
        Self { head, data }
    }

    /// Returns the length in bytes without alignment padding.
    pub fn length(&self) -> usize {
        self.head.len() + self.data.len()
    }

    /// Copies the record to the start of `target`, for a place with this mark.
    pub fn place(&self, target: &mut [u8], mark: u32) {
        let (head, data) = target[..self.length()].split_at_mut(self.head.len());
        head.copy_from_slice(&self.head);
        data.copy_from_slice(&self.data);
        for (byte, marked) in head.iter_mut().zip(mark.to_le_bytes()) {
            *byte ^= marked;
        }
    }
}

/// A record in a buffer whose checksum was verified.
pub struct RecordView<'a> {
    pub envelope: RecordEnvelopeOnDisk,
    meta: &'a [u8],
    /// The inline data of a small object; otherwise empty.
    pub data: &'a [u8],
}

impl<'a> RecordView<'a> {
    /// Checks the record that starts at `bytes` and lies at a place of the log with this mark.
    ///
    /// # Errors
    /// Returns what is wrong with the record; [`FormatDamage::Short`] when it is longer than
    /// `bytes`.
    pub fn parse(bytes: &'a [u8], mark: u32) -> Result<Self, FormatDamage> {
        let (envelope, rest) =
            RecordEnvelopeOnDisk::read_from_prefix(bytes).map_err(|_| FormatDamage::Short)?;
        let meta_length = envelope.meta_length.get() as usize;
        let length = meta_length
            .checked_add(envelope.data_length.get() as usize)
            .ok_or(FormatDamage::Field("length"))?;
        let body = rest.get(..length).ok_or(FormatDamage::Short)?;
        let crc = crc32c::crc32c_append(crc32c::crc32c(&envelope.as_bytes()[4..]), body);
        if crc ^ mark != envelope.crc.get() {
            return Err(FormatDamage::Checksum);
        }
        if envelope.flags.get() & !FLAGS != 0 {
            return Err(FormatDamage::Field("record flags"));
        }
        let (meta, data) = body.split_at(meta_length);
        Ok(Self { envelope, meta, data })
    }

    /// Returns the mark of the place that the record at `bytes` was written for. The value means
    /// nothing unless the record is whole.
    pub fn apparent_mark(bytes: &[u8]) -> u32 {
        let Ok((envelope, rest)) = RecordEnvelopeOnDisk::read_from_prefix(bytes) else { return 0 };
        let length = u64::from(envelope.meta_length.get()) + u64::from(envelope.data_length.get());
        let body = rest.get(..length as usize).unwrap_or_default();
        crc32c::crc32c_append(crc32c::crc32c(&envelope.as_bytes()[4..]), body) ^ envelope.crc.get()
    }

    /// Returns the length in bytes without alignment padding.
    pub fn length(&self) -> usize {
        ENVELOPE_BYTES + self.meta.len() + self.data.len()
    }

    /// Returns whether the record is a copy that the cleaner made.
    pub fn is_moved(&self) -> bool {
        self.envelope.flags.get() & FLAG_MOVED != 0
    }

    /// Returns whether the record replaces a damaged one.
    pub fn is_loss(&self) -> bool {
        self.envelope.flags.get() & FLAG_LOST != 0
    }

    /// Returns whether the object that the record puts can be read: the record does not replace a
    /// damaged one, and its size agrees with its data or segments.
    pub fn is_whole(&self, put: &PutV1) -> bool {
        if self.is_loss() {
            return false;
        }
        if put.segments.is_empty() {
            return put.size == self.data.len() as u64;
        }
        split_table(&put.segments, put.size).is_some()
    }

    /// Decodes the payload.
    ///
    /// # Errors
    /// Returns [`FormatDamage`] when the kind or version is unknown, or when bytecheck refuses the
    /// payload.
    pub fn mutation(&self) -> Result<Mutation, FormatDamage> {
        Mutation::decode(self.envelope.kind, self.envelope.version, self.meta)
    }

    /// Checks the record of an object that starts at `bytes`, at a place of the log with this mark.
    ///
    /// # Errors
    /// Returns what of it is damaged.
    pub fn of_put(bytes: &'a [u8], mark: u32) -> Result<(Self, PutV1), &'static str> {
        let view = Self::parse(bytes, mark).map_err(|_| "record")?;
        match view.mutation() {
            Ok(Mutation::Put(put)) => Ok((view, put)),
            _ => Err("record payload"),
        }
    }

    /// Checks the record of a change of metadata that starts at `bytes`, at a place of the log with
    /// this mark.
    ///
    /// # Errors
    /// Returns what of it is damaged.
    pub fn of_meta(bytes: &'a [u8], mark: u32) -> Result<(Self, MetaV1), &'static str> {
        let view = Self::parse(bytes, mark).map_err(|_| "metadata record")?;
        match view.mutation() {
            Ok(Mutation::Meta(meta)) => Ok((view, meta)),
            _ => Err("metadata payload"),
        }
    }

    /// Returns the same record, marked as the cleaner's copy.
    pub fn moved_copy(&self) -> EncodedRecord {
        let flags = self.envelope.flags.get() | FLAG_MOVED | FLAG_PLACE;
        let generation = self.envelope.generation.get();
        EncodedRecord::from_parts(self.envelope.kind, flags, generation, self.meta, self.data.to_vec())
    }
}

/// Encodes the time of a checkpoint.
pub fn encode_clock(clock: &ClockV1) -> Vec<u8> {
    encode(clock)
}

/// Decodes what [`encode_clock`] returned.
///
/// # Errors
/// Returns [`FormatDamage::Field`] when bytecheck refuses the bytes.
pub fn decode_clock(bytes: &[u8]) -> Result<ClockV1, FormatDamage> {
    decode!(ClockV1, bytes)
}

/// Encodes the uploads of a checkpoint.
pub fn encode_uploads(uploads: &Vec<UploadV1>) -> Vec<u8> {
    encode(uploads)
}

/// Decodes what [`encode_uploads`] returned.
///
/// # Errors
/// Returns [`FormatDamage::Field`] when bytecheck refuses the bytes.
pub fn decode_uploads(bytes: &[u8]) -> Result<Vec<UploadV1>, FormatDamage> {
    decode!(Vec<UploadV1>, bytes)
}

/// Encodes the buckets of a checkpoint.
pub fn encode_buckets(buckets: &Vec<BucketV1>) -> Vec<u8> {
    encode(buckets)
}

/// Decodes what [`encode_buckets`] returned.
///
/// # Errors
/// Returns [`FormatDamage::Field`] when bytecheck refuses the bytes.
pub fn decode_buckets(bytes: &[u8]) -> Result<Vec<BucketV1>, FormatDamage> {
    decode!(Vec<BucketV1>, bytes)
}

/// Encodes a piece of the node's records for a checkpoint.
pub fn encode_node_records(records: &NodeRecordsV1) -> Vec<u8> {
    encode(records)
}

/// Decodes what [`encode_node_records`] returned.
///
/// # Errors
/// Returns [`FormatDamage::Field`] when bytecheck refuses the bytes.
pub fn decode_node_records(bytes: &[u8]) -> Result<NodeRecordsV1, FormatDamage> {
    decode!(NodeRecordsV1, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARK: u32 = 0x1234_5678;

    fn example() -> Mutation {
        Mutation::Put(PutV1 {
            bucket: 1,
            key: b"a/key".to_vec(),
            generation: 5,
            change: 0,
            state: STATE_NULL,
            removes: 4,
            null: 5,
            size: 3,
            modified_ms: 1_700_000_000_000,
            md5: [7; 16],
            etag_parts: 0,
            upload: Some(9),
            attributes: vec![("content-type".into(), "text/plain".into())],
            parts: vec![],
            segments: vec![SegmentV1 {
                generation: 5,
                length: 70_000,
                runs: vec![RunV1 { extent: 8, unit: 12, slices: 0 }],
            }],
        })
    }

    #[test]
    fn golden_bytes_and_round_trip() {
        let encoded = EncodedRecord::new(&example(), 5, 0, b"abc".to_vec());
        let mut bytes = vec![0; encoded.length()];
        encoded.place(&mut bytes, MARK);
        assert_eq!(&bytes[4..8], &[1, 1, 0, 0]);
        assert_eq!((bytes.len(), crc32c::crc32c(&bytes)), (195, 0xca7c930f), "the golden record changed");
        let view = RecordView::parse(&bytes, MARK).expect("valid");
        assert_eq!(view.mutation().expect("valid"), example());
        assert_eq!(view.data, b"abc");
        let copy = view.moved_copy();
        let mut copied = vec![0; copy.length()];
        copy.place(&mut copied, !MARK);
        let moved = RecordView::parse(&copied, !MARK).expect("valid");
        assert!(moved.is_moved() && !view.is_moved());
        assert_eq!(moved.mutation().expect("valid"), example());
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_seen() {
        let encoded = EncodedRecord::new(&example(), 5, 0, b"abc".to_vec());
        let mut bytes = vec![0; encoded.length()];
        encoded.place(&mut bytes, MARK);
        assert!(RecordView::parse(&bytes, MARK + 1).is_err(), "a record of another place was believed");
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(RecordView::parse(&flipped, MARK).is_err(), "bit {bit} was not noticed");
        }
        for cut in 0..bytes.len() {
            assert!(RecordView::parse(&bytes[..cut], MARK).is_err());
        }
    }

    #[test]
    fn golden_node_records() {
        let records = NodeRecordsV1 {
            revision: 0x0102_0304,
            records: vec![
                NodeRecordV1 { name: "key/one".to_owned(), value: Some(vec![1, 2, 3]) },
                NodeRecordV1 { name: "a-name-that-is-longer".to_owned(), value: None },
            ],
        };
        let bytes = encode_node_records(&records);
        assert_eq!(
            (bytes.len(), crc32c::crc32c(&bytes)),
            (74, 0x238f_859a),
            "the golden records of the node changed"
        );
        assert_eq!(decode_node_records(&bytes).as_ref(), Ok(&records));
        assert!(decode_node_records(&bytes[1..]).is_err());
        let mutation = Mutation::NodeRecords(records);
        let encoded = EncodedRecord::new(&mutation, 0, 0, Vec::new());
        let mut record = vec![0; encoded.length()];
        encoded.place(&mut record, MARK);
        assert_eq!((record[4], &record[ENVELOPE_BYTES..]), (13, bytes.as_slice()));
        let view = RecordView::parse(&record, MARK).expect("valid");
        assert_eq!(view.mutation(), Ok(mutation));
    }

    #[test]
    fn golden_time() {
        let clock = ClockV1 { now_ms: 0x0102_0304_0506_0708 };
        assert_eq!(encode_clock(&clock), [8, 7, 6, 5, 4, 3, 2, 1], "the golden time changed");
        assert_eq!(decode_clock(&[8, 7, 6, 5, 4, 3, 2, 1]), Ok(clock));
        assert!(decode_clock(&[0; 7]).is_err());
        let encoded = EncodedRecord::new(&Mutation::Clock(clock), 0, 0, Vec::new());
        let mut bytes = vec![0; encoded.length()];
        encoded.place(&mut bytes, MARK);
        assert_eq!(
            (bytes[4], bytes.len()),
            (12, ENVELOPE_BYTES + 8),
            "kind and length of the record changed"
        );
        let view = RecordView::parse(&bytes, MARK).expect("valid");
        assert_eq!(view.mutation(), Ok(Mutation::Clock(clock)));
    }
}
