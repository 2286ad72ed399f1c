//! The embedded store from outside: adding, realising, isolating, collecting, and what stock Nix makes of it.

mod adding;
mod collecting;
mod edges;
mod full;
mod head_start;
mod isolation;
mod kit;
mod nix;
mod realising;
mod room;
mod suite;
