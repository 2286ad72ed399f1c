//! Files of a store in memory, kept in large pages: a compiler that lies in small ones starts and runs slower, as each is to be mapped.
#![expect(unsafe_code, reason = "mapping a file where it may be taken together has no safe form")]

use rustix::fs::statfs;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::fd::AsRawFd as _;
use std::path::Path;
use std::ptr;

/// <linux/magic.h>
const TMPFS_MAGIC: i64 = 0x0102_1994;

/// <asm-generic/mman-common.h>; since Linux 6.1.
const MADV_COLLAPSE: libc::c_int = 25;

/// In bytes, on both processors where pages have 4 KiB.
const LARGE: usize = 2 << 20;

/// In bytes: what is larger, such as the libraries of rustc, would take longer than a build of some crates gains by it.
const MOST: u64 = 128 << 20;

/// Takes the pages of a tree's large programs and shared libraries together, if it lies in a tmpfs; those of other file systems are read
/// in large pieces. It takes 1.5 ms a MB, once. Where the kernel does not do it, everything stays as it is.
pub fn take_together(tree: &Path) {
    if statfs(tree).is_ok_and(|system| system.f_type == TMPFS_MAGIC) {
        walk(tree).ok(); // whatever there is to complain of is somebody else's
    }
}

fn walk(path: &Path) -> io::Result<()> {
    let metadata = fs::symlink_metadata(path)?;
    if metadata.is_dir() {
        for entry in fs::read_dir(path)? {
            walk(&entry?.path())?;
        }
    } else if metadata.is_file() && (LARGE as u64..=MOST).contains(&metadata.len()) {
        let mut file = File::open(path)?;
        if is_elf(&mut file)? {
            collapse(&file, metadata.len() as usize / LARGE * LARGE);
        }
    }
    Ok(())
}

fn is_elf(file: &mut File) -> io::Result<bool> {
    let mut magic = [0; 4];
    file.read_exact(&mut magic)?;
    Ok(magic == *b"\x7fELF")
}

/// Of the first `size` bytes, a multiple of [`LARGE`].
fn collapse(file: &File, size: usize) {
    let nowhere = ptr::null_mut();
    // SAFETY: the file is mapped within a range that was just reserved for it, nothing reads there, and it is let go whole.
    unsafe {
        let reserved = size + LARGE;
        let range = libc::mmap(nowhere, reserved, libc::PROT_NONE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0);
        if range == libc::MAP_FAILED {
            return;
        }
        let at = range.byte_add(range.addr().next_multiple_of(LARGE) - range.addr());
        let flags = libc::MAP_SHARED | libc::MAP_FIXED;
        if libc::mmap(at, size, libc::PROT_READ, flags, file.as_raw_fd(), 0) != libc::MAP_FAILED {
            libc::madvise(at, size, MADV_COLLAPSE);
        }
        libc::munmap(range, reserved);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_whose_pages_are_taken_together_hold_what_they_held() {
        for place in [Path::new("/dev/shm"), &std::env::temp_dir()] {
            let Ok(directory) = tempfile::tempdir_in(place) else { continue };
            let texts = [0, 1, LARGE - 1, LARGE, 2 * LARGE + 1].map(|size| {
                let text: Vec<u8> = b"\x7fELF".iter().copied().chain((0..size).map(|at| (at % 251) as u8)).collect();
                fs::create_dir_all(directory.path().join("below")).expect("it is ours");
                let file = directory.path().join("below").join(size.to_string());
                fs::write(&file, &text).expect("there is room");
                (file, text)
            });
            std::os::unix::fs::symlink("nowhere", directory.path().join("link")).expect("it is ours");
            take_together(directory.path());
            for (file, text) in &texts {
                assert!(fs::read(file).expect("it is there") == *text, "{}", file.display());
            }
        }
    }
}
