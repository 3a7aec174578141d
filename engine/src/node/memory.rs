//! The division of a node's memory. The server follows this formula and the planner counts with it.
//!
//! A quarter is for I/O buffers, an eighth for the connections of whoever serves the node, and an
//! eighth for what their requests hold. The other half is for the program, the read cache and the
//! index. A fifth of the index's part is reserved for the allocator's overhead, and for an index
//! that recovery packs a little worse.
//!
//! Invariants: the parts are never more than the whole, unless the whole is below [`least_bytes`].
//! Nothing here does I/O.

/// Memory of the program itself, its threads and its small structures, bytes.
pub const BASE_BYTES: u64 = 48 << 20;
/// Memory that each core adds to [`BASE_BYTES`].
pub const BASE_BYTES_PER_CORE: u64 = 8 << 20;
/// Smallest index that is worth starting a node for, bytes.
pub const INDEX_BYTES_MIN: u64 = 16 << 20;
/// Fewest buffer bytes of a core: for a body, the log and a reader at once, with the alignment of
/// the region.
const BUFFER_BYTES_PER_CORE_MIN: u64 = 12 << 20;

/// One part in this many of the memory.
const BUFFERS_PART: u64 = 4;
const CONNECTIONS_PART: u64 = 8;
const REQUESTS_PART: u64 = 8;
/// The half that is left for the base, the read cache and the index.
const REST_PART: u64 = 2;
/// The parts of that half, less the base, that the read cache gets by default, and at most.
const READ_CACHE_PART: u64 = 4;
const READ_CACHE_PART_MAX: u64 = 2;
/// The part of the index's share that its allocator needs.
const ALLOCATOR_PART: u64 = 5;

/// Share of the memory for the base, the read cache and the index.
pub const REST_SHARE: f64 = 1.0 / REST_PART as f64;
/// Share of the read cache in that part less the base, by default.
pub const READ_CACHE_SHARE_OF_REST: f64 = 1.0 / READ_CACHE_PART as f64;
/// Share of the index in the same part less the base.
pub const INDEX_SHARE_OF_REST: f64 =
    (1.0 - READ_CACHE_SHARE_OF_REST) * (ALLOCATOR_PART - 1) as f64 / ALLOCATOR_PART as f64;

/// The parts of a node's memory, in bytes for the whole node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryShares {
    /// Memory for the buffers that drives read and write.
    pub buffer_bytes: u64,
    /// Memory for the connections of whoever serves the node.
    pub connection_bytes: u64,
    /// Memory for what the requests of these connections hold.
    pub request_bytes: u64,
    /// Memory for small objects that are kept after a read.
    pub read_cache_bytes: u64,
    /// Limit for the memory of the index.
    pub index_bytes_max: u64,
}

impl MemoryShares {
    /// Divides `memory_bytes` on a node of `cores` cores. `read_cache_bytes` is the wanted size of
    /// the read cache, which gets at most half of what it shares with the index; `None` gives it
    /// the usual share.
    pub fn new(memory_bytes: u64, read_cache_bytes: Option<u64>, cores: u64) -> Self {
        let rest = (memory_bytes / REST_PART).saturating_sub(base_bytes(cores));
        let read_cache_bytes =
            read_cache_bytes.unwrap_or(rest / READ_CACHE_PART).min(rest / READ_CACHE_PART_MAX);
        Self {
            buffer_bytes: memory_bytes / BUFFERS_PART,
            connection_bytes: memory_bytes / CONNECTIONS_PART,
            request_bytes: memory_bytes / REQUESTS_PART,
            read_cache_bytes,
            index_bytes_max: (rest - read_cache_bytes) / ALLOCATOR_PART * (ALLOCATOR_PART - 1),
        }
    }
}

/// Returns the smallest memory that a node of `cores` cores works with, bytes.
pub fn least_bytes(cores: u64) -> u64 {
    let for_index = REST_PART * (base_bytes(cores) + INDEX_BYTES_MIN);
    for_index.max(BUFFERS_PART * BUFFER_BYTES_PER_CORE_MIN * cores)
}

/// Returns the memory with which [`MemoryShares`] has `index_bytes` for the index, beside the usual
/// read cache.
pub fn memory_for_index(index_bytes: f64, cores: u64) -> f64 {
    (index_bytes / INDEX_SHARE_OF_REST + base_bytes(cores) as f64) / REST_SHARE
}

fn base_bytes(cores: u64) -> u64 {
    BASE_BYTES + BASE_BYTES_PER_CORE * cores
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_for_an_index_holds_it() {
        for index_bytes in [1e6, 1e9, 1e12] {
            let memory = memory_for_index(index_bytes, 8);
            let shares = MemoryShares::new(memory as u64, None, 8);
            assert!((shares.index_bytes_max as f64 / index_bytes - 1.0).abs() < 1e-5);
        }
        assert_eq!(MemoryShares::new(1_000_000, None, 8).index_bytes_max, 0);
    }

    #[test]
    fn the_parts_are_never_more_than_the_whole() {
        for cores in [1, 2, 4, 16, 96] {
            let least = least_bytes(cores);
            for memory in [least, 3 * least, 100 << 30] {
                for read_cache in [None, Some(0), Some(memory)] {
                    let shares = MemoryShares::new(memory, read_cache, cores);
                    let front = shares.connection_bytes + shares.request_bytes;
                    let index = shares.index_bytes_max.div_ceil(ALLOCATOR_PART - 1) * ALLOCATOR_PART;
                    let rest = shares.read_cache_bytes + index + base_bytes(cores);
                    assert!(shares.buffer_bytes + front + rest <= memory, "{cores} cores, {memory} bytes");
                    assert!(shares.index_bytes_max >= INDEX_BYTES_MIN / 4);
                }
            }
        }
    }
}
