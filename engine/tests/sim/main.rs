//! The engine under the simulator: its promises, in every order of events that a seed chooses.

mod aimed;
mod buckets;
mod check;
mod checkpoint;
mod cleaner;
mod compact;
mod cores;
mod damage;
mod device;
mod failure;
mod faults;
mod full;
mod growing;
mod identity;
mod index_cap;
mod leaks;
mod locks;
mod model;
mod persistence;
mod request;
mod scrub;
mod smoke;
mod space;
mod start;
mod versions;
mod world;
