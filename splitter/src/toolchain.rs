//! The host's tools as content-addressed store paths: *toolchain snapshots*.
//!
//! What a command names of the host ([`Request`]: programs, system headers and libraries) is followed to what it needs
//! ([`follow`]: packages, or for what no package owns the programs and libraries themselves), closed over dependencies
//! ([`Selection`]), listed ([`listing`]), copied into a tree and given to a store ([`snapshot`]). [`Toolchains`] answers
//! requests and remembers. A snapshot is a function of the command and the host, never of a project; it is seen at its
//! usual places ([`Places`]), with nothing else of the host. Runs no command but compilers and interpreters, to ask them.
//!
//! | of the host | by |
//! |---|---|
//! | files of packages | dpkg's lists, with `Depends` and `Pre-Depends`, without [`selection::LEFT_OUT`] |
//! | `/etc/alternatives` | the choices whose program is in a selected package |
//! | files of packages in `/etc` | only where a link from `/usr` leads to them, never host-made ones such as keys |
//! | programs without a package | their loader, libraries, interpreter; a compiler's own directories; Python's library |
//! | `/etc/ld.so.cache` | made anew, of the entries that a program in the snapshot needs |
//! | the rest of `/etc`, `/var`, `/home` | nothing |

pub mod alternatives;
pub mod dpkg;
pub mod driver;
pub mod elf;
pub mod follow;
pub mod host;
pub mod listing;
pub mod loader_cache;
pub mod program;
pub mod remembered;
pub mod seed;
pub mod selection;
pub mod snapshot;
pub mod toolchains;
pub mod walk;

#[cfg(test)]
mod end_to_end;

pub use driver::native_march;
pub use program::{interpreter, is_elf, resolve_program};
pub use selection::{Request, Selection, is_left_out, select};
pub use snapshot::{Mount, Places};
pub use toolchains::{MEMORY, Probe, Snapshot, ToolchainError, Toolchains};
