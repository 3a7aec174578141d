//! This module computes how the server splits `--memory`: what remains for the index and for the
//! read cache.
//!
//! Invariant: the split is the same as the server's; a test of the server compares the two.

/// The program needs this much before anything else, and `BASE_BYTES_PER_CORE` for each core.
pub const BASE_BYTES: f64 = (48u64 << 20) as f64;
pub const BASE_BYTES_PER_CORE: f64 = (8u64 << 20) as f64;
/// Half of the memory is for the base, the read cache and the index.
pub const REST_SHARE: f64 = 0.5;
pub const CACHE_SHARE_OF_REST: f64 = 0.25;
pub const INDEX_SHARE_OF_REST: f64 = (1.0 - CACHE_SHARE_OF_REST) * 4.0 / 5.0;

/// Returns the size of the largest index with a `--memory` of `memory_bytes`.
pub fn index_bytes_max(memory_bytes: f64, cores: f64) -> f64 {
    rest(memory_bytes, cores) * INDEX_SHARE_OF_REST
}

/// Returns the size of the read cache, unless `--read-cache` sets it.
pub fn read_cache_bytes(memory_bytes: f64, cores: f64) -> f64 {
    rest(memory_bytes, cores) * CACHE_SHARE_OF_REST
}

/// Returns the `--memory` that an index of `index_bytes` needs.
pub fn memory_for_index(index_bytes: f64, cores: f64) -> f64 {
    (index_bytes / INDEX_SHARE_OF_REST + base(cores)) / REST_SHARE
}

fn rest(memory_bytes: f64, cores: f64) -> f64 {
    (memory_bytes * REST_SHARE - base(cores)).max(0.0)
}

fn base(cores: f64) -> f64 {
    BASE_BYTES + BASE_BYTES_PER_CORE * cores
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_for_an_index_holds_it() {
        for index_bytes in [1e6, 1e9, 1e12] {
            let memory = memory_for_index(index_bytes, 8.0);
            assert!((index_bytes_max(memory, 8.0) / index_bytes - 1.0).abs() < 1e-9);
        }
        assert_eq!(index_bytes_max(1e6, 8.0), 0.0);
    }
}
