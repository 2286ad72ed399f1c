//! The embedded store from outside: adding, realising, collecting, and what stock Nix makes of it.

mod adding;
mod collecting;
mod full;
mod kit;
mod nix;
mod realising;
mod suite;
