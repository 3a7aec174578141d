//! Benchmarks: see docs/bench.md.
