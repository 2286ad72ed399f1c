//! The client of a Nix daemon against one that plays what a real one said, word for word or cut short, and one that
//! says what no daemon should.

mod exchanges;
mod faults;
mod operations;
mod peer;
mod pool;
mod random;
mod recorded;
