//! Tools around the engine: bench, plan, disk.
