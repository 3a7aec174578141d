//! Conversions from the records of objects and parts to the engine's public types.

use crate::format::record::{PartV1, PutV1};
use crate::types::{Etag, ObjectInfo, PartInfo, UploadId};

/// Converts the record of an object, whose metadata were not changed since.
pub fn info_of(put: &PutV1) -> ObjectInfo {
    ObjectInfo {
        size_bytes: put.size,
        modified_ms: put.modified_ms,
        etag: Etag { md5: put.md5, parts: put.etag_parts },
        attributes: put.attributes.clone(),
        parts: put.parts.iter().map(part_info).collect(),
        upload: put.upload.map(UploadId),
        generation: put.generation,
        is_null: put.is_null(),
        metadata_change: 0,
    }
}

/// Converts a part's record.
pub fn part_info(part: &PartV1) -> PartInfo {
    PartInfo {
        number: part.number,
        size_bytes: part.size,
        modified_ms: part.modified_ms,
        etag: Etag { md5: part.md5, parts: 0 },
        checksum: part.checksum.clone(),
    }
}
