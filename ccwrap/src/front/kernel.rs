//! The kernel, without a library between: the [start], the system calls, and the [functions of memory](memory) that every
//! program needs. What is given to the kernel is checked here, so that all else is safe.
//!
//! Numbers and layouts are those of Linux (`asm/unistd.h`, `linux/stat.h`), the same on both processors but for the numbers.
#![expect(unsafe_code, reason = "there is no library that would do it")]

mod memory;
pub mod start;

use ccwrap_format::entry::Numbers;
use core::arch::asm;
use core::cell::UnsafeCell;
use core::ffi::CStr;
use core::ptr;
use core::sync::atomic::{AtomicBool, Ordering};
use start::Start;

/// The numbers of the calls.
#[cfg(target_arch = "x86_64")]
mod number {
    pub const READ: usize = 0;
    pub const WRITE: usize = 1;
    pub const IOCTL: usize = 16;
    pub const GETPID: usize = 39;
    pub const EXECVE: usize = 59;
    pub const GETCWD: usize = 79;
    pub const FCHMOD: usize = 91;
    pub const CLOCK_GETTIME: usize = 228;
    pub const EXIT_GROUP: usize = 231;
    pub const OPENAT: usize = 257;
    pub const UNLINKAT: usize = 263;
    pub const READLINKAT: usize = 267;
    pub const UTIMENSAT: usize = 280;
    pub const RENAMEAT2: usize = 316;
    pub const COPY_FILE_RANGE: usize = 326;
    pub const STATX: usize = 332;
}

#[cfg(target_arch = "aarch64")]
mod number {
    pub const GETCWD: usize = 17;
    pub const IOCTL: usize = 29;
    pub const UNLINKAT: usize = 35;
    pub const FCHMOD: usize = 52;
    pub const OPENAT: usize = 56;
    pub const READ: usize = 63;
    pub const WRITE: usize = 64;
    pub const READLINKAT: usize = 78;
    pub const UTIMENSAT: usize = 88;
    pub const EXIT_GROUP: usize = 94;
    pub const CLOCK_GETTIME: usize = 113;
    pub const GETPID: usize = 172;
    pub const EXECVE: usize = 221;
    pub const RENAMEAT2: usize = 276;
    pub const COPY_FILE_RANGE: usize = 285;
    pub const STATX: usize = 291;
}

/// How large [`memory`] is.
const MEMORY: usize = 1 << 20;

/// Paths begin at the working directory (`AT_FDCWD`).
const HERE: usize = -100_isize as usize;

/// A system call; none where it gives an error.
///
/// # Safety
/// The kernel must be allowed to do with the memory what the call does.
unsafe fn call(number: usize, arguments: [usize; 6]) -> Option<usize> {
    let [a, b, c, d, e, f] = arguments;
    let gave: usize;
    #[cfg(target_arch = "x86_64")]
    // SAFETY: as promised; the kernel keeps all registers but these.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number => gave,
            in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e, in("r9") f,
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: as promised; the kernel keeps all registers but this.
    unsafe {
        asm!(
            "svc 0",
            in("x8") number,
            inlateout("x0") a => gave,
            in("x1") b, in("x2") c, in("x3") d, in("x4") e, in("x5") f,
            options(nostack),
        );
    }
    // Errors are -4095 to -1.
    (gave <= -4096_isize as usize).then_some(gave)
}

fn pointer(path: &CStr) -> usize {
    path.as_ptr() as usize
}

/// An open file. It stays open until the process ends.
#[derive(Clone, Copy)]
pub struct File(usize);

/// Standard error.
pub const ERRORS: File = File(2);

/// How a file is opened.
#[derive(Clone, Copy)]
pub enum Open {
    /// For reading; it has to be there.
    Read,
    /// For writing; it must not be there.
    New,
    /// For writing at its end, wherever that is.
    Append,
}

/// Opens a file; a new one may be read and written by all whom the file mode creation mask allows. The full program inherits
/// none.
pub fn open(path: &CStr, how: Open) -> Option<File> {
    const WRITE: usize = 0o1;
    const CREATE: usize = 0o100;
    const EXCLUSIVE: usize = 0o200;
    const APPEND: usize = 0o2000;
    /// What is no file, such as a pipe that nobody reads, is not waited for.
    const NO_WAIT: usize = 0o4000;
    const CLOSE_ON_EXEC: usize = 0o2_000_000;
    let flags = match how {
        Open::Read => 0,
        Open::New => WRITE | CREATE | EXCLUSIVE,
        Open::Append => WRITE | CREATE | APPEND,
    };
    // SAFETY: the path ends with a NUL.
    let file = unsafe { call(number::OPENAT, [HERE, pointer(path), flags | NO_WAIT | CLOSE_ON_EXEC, 0o666, 0, 0]) }?;
    // A lower one stands for a standard stream that is closed: nothing may be written to that by mistake.
    (file > 2).then_some(File(file))
}

/// What is known of a file.
pub struct Status {
    /// By which it is known again.
    pub identity: Numbers,
    /// In bytes.
    pub size: u64,
    /// Type and permissions.
    pub mode: u32,
    /// Of the last change of its content, in seconds of the Unix epoch.
    pub modified: u64,
}

/// `S_IFREG`, `S_IFLNK` and `S_IFDIR`, see inode(7).
pub const FILE: u32 = 0o100_000;
pub const LINK: u32 = 0o120_000;
pub const DIRECTORY: u32 = 0o040_000;

impl Status {
    /// Which of the types it is of.
    pub fn kind(&self) -> u32 {
        kind(self.mode)
    }
}

/// `S_IFMT`, see there.
fn kind(mode: u32) -> u32 {
    mode & 0o170_000
}

/// Which file's status is asked for.
#[derive(Clone, Copy)]
pub enum Of<'a> {
    /// What lies at a path, also if it is a link.
    Path(&'a CStr),
    /// What a path leads to.
    Target(&'a CStr),
    /// An open file.
    File(File),
}

/// The status of a file; none if there is nothing.
pub fn status(of: Of<'_>) -> Option<Status> {
    const NO_FOLLOW: usize = 0x100;
    const EMPTY_PATH: usize = 0x1000;
    const BASIC: usize = 0x7ff;
    /// `struct statx_timestamp`.
    #[repr(C)]
    #[derive(Default)]
    struct Time {
        seconds: i64,
        nanoseconds: u32,
        reserved: i32,
    }
    /// `struct statx`.
    #[repr(C)]
    #[derive(Default)]
    struct Statx {
        mask: u32,
        block_size: u32,
        attributes: u64,
        links: u32,
        user: u32,
        group: u32,
        mode: u16,
        padding: u16,
        inode: u64,
        size: u64,
        blocks: u64,
        attributes_mask: u64,
        accessed: Time,
        born: Time,
        changed: Time,
        modified: Time,
        special_device: [u32; 2],
        device: [u32; 2],
        spare: [u64; 14],
    }
    let (at, path, flags) = match of {
        Of::Path(path) => (HERE, path, NO_FOLLOW),
        Of::Target(path) => (HERE, path, 0),
        Of::File(File(file)) => (file, c"", EMPTY_PATH),
    };
    let mut statx = Statx::default();
    let to = ptr::from_mut(&mut statx) as usize;
    // SAFETY: the path ends with a NUL, and the kernel writes a `struct statx`.
    unsafe { call(number::STATX, [at, pointer(path), flags, BASIC, to, 0]) }?;
    let [major, minor] = statx.device.map(u64::from);
    // As makedev(3) of the GNU library, by which the standard library does it.
    let device = (major & 0xffff_f000) << 32 | (major & 0xfff) << 8 | (minor & 0xffff_ff00) << 12 | minor & 0xff;
    let is_directory = kind(statx.mode.into()) == DIRECTORY;
    let Statx { inode, size, modified, changed, mode, .. } = statx;
    let size = if is_directory { 0 } else { size };
    let [modified, changed] = [modified, changed].map(|time| (time.seconds as u64, u64::from(time.nanoseconds)));
    let identity = [device, inode, size, modified.0, modified.1, changed.0, changed.1];
    Some(Status { identity, size, mode: mode.into(), modified: modified.0 })
}

/// Reads up to the length of `to`; gives how much.
pub fn read(File(file): File, to: &mut [u8]) -> Option<usize> {
    // SAFETY: the kernel writes no more than that.
    unsafe { call(number::READ, [file, to.as_mut_ptr() as usize, to.len(), 0, 0, 0]) }
}

/// Writes all of it.
pub fn write(File(file): File, mut bytes: &[u8]) -> Option<()> {
    while !bytes.is_empty() {
        // SAFETY: the kernel only reads.
        let written = unsafe { call(number::WRITE, [file, bytes.as_ptr() as usize, bytes.len(), 0, 0, 0]) }?;
        bytes = bytes.get(written..).filter(|_| written > 0)?;
    }
    Some(())
}

/// Copies some of a file behind what was copied before, within the kernel; gives how much: nothing at the end of the file.
pub fn copy(File(from): File, File(to): File) -> Option<usize> {
    const MOST: usize = 1 << 30;
    // SAFETY: no memory is named.
    unsafe { call(number::COPY_FILE_RANGE, [from, 0, to, 0, MOST, 0]) }
}

/// Sets the permissions of a file.
pub fn set_mode(File(file): File, mode: u32) -> Option<()> {
    // SAFETY: no memory is named.
    unsafe { call(number::FCHMOD, [file, mode as usize, 0, 0, 0, 0]) }.map(drop)
}

/// Gives a file the time that it is now.
pub fn touch(File(file): File) -> Option<()> {
    // SAFETY: no memory is named.
    unsafe { call(number::UTIMENSAT, [file, 0, 0, 0, 0, 0]) }.map(drop)
}

/// Renames a file, in the place of another one that is there.
pub fn rename(from: &CStr, to: &CStr) -> Option<()> {
    // SAFETY: the paths end with a NUL.
    unsafe { call(number::RENAMEAT2, [HERE, pointer(from), HERE, pointer(to), 0, 0]) }.map(drop)
}

/// Removes a file.
pub fn remove(path: &CStr) -> Option<()> {
    // SAFETY: the path ends with a NUL.
    unsafe { call(number::UNLINKAT, [HERE, pointer(path), 0, 0, 0, 0]) }.map(drop)
}

/// Where a link leads, written to `to`, which has to be longer.
pub fn link<'a>(path: &CStr, to: &'a mut [u8]) -> Option<&'a [u8]> {
    // SAFETY: the path ends with a NUL, and the kernel writes no more than that.
    let length = unsafe { call(number::READLINKAT, [HERE, pointer(path), to.as_mut_ptr() as usize, to.len(), 0, 0]) }?;
    (length < to.len()).then(|| to.get(..length)).flatten()
}

/// The working directory, written to `to`; none where it has no absolute path.
pub fn working_directory(to: &mut [u8]) -> Option<&[u8]> {
    // SAFETY: the kernel writes no more than that.
    let length = unsafe { call(number::GETCWD, [to.as_mut_ptr() as usize, to.len(), 0, 0, 0, 0]) }?;
    to.get(..length.checked_sub(1)?).filter(|path| path.starts_with(b"/"))
}

/// Whether an open file is a terminal: whether it has the settings of one.
pub fn is_terminal(File(file): File) -> bool {
    const GET_SETTINGS: usize = 0x5401;
    // `struct termios` of the kernel is smaller.
    let mut settings = [0_u8; 128];
    // SAFETY: the kernel writes a `struct termios`.
    unsafe { call(number::IOCTL, [file, GET_SETTINGS, settings.as_mut_ptr() as usize, 0, 0, 0]) }.is_some()
}

/// The number of this process.
pub fn process() -> Option<usize> {
    // SAFETY: no memory is named.
    unsafe { call(number::GETPID, [0; 6]) }
}

/// Seconds and nanoseconds of the Unix epoch.
pub fn now() -> Option<[u64; 2]> {
    let mut time = [0_u64; 2];
    // SAFETY: the kernel writes a `struct timespec`, which is as large on processors of 64 bits.
    unsafe { call(number::CLOCK_GETTIME, [0, time.as_mut_ptr() as usize, 0, 0, 0, 0]) }?;
    Some(time)
}

/// Memory for whoever asks first. What is not touched costs nothing.
pub fn memory() -> Option<&'static mut [u8; MEMORY]> {
    struct Memory(UnsafeCell<[u8; MEMORY]>);
    // SAFETY: it is given away once.
    unsafe impl Sync for Memory {}
    static MEMORY_OF_ALL: Memory = Memory(UnsafeCell::new([0; MEMORY]));
    static IS_TAKEN: AtomicBool = AtomicBool::new(false);
    // SAFETY: nobody else has it, nor will have it.
    (!IS_TAKEN.swap(true, Ordering::Relaxed)).then(|| unsafe { &mut *MEMORY_OF_ALL.0.get() })
}

/// Puts another program in the place of this one, called as this one was. Comes back only where that is not possible.
pub fn become_program(program: &CStr, start: Start) {
    let (words, env) = start.pointers();
    // SAFETY: the path ends with a NUL; the lists are as the kernel made them.
    let _ = unsafe { call(number::EXECVE, [pointer(program), words as usize, env as usize, 0, 0, 0]) };
}

/// Puts another program in the place of this one, called with the words from that at `from` on, which becomes its path: by that GCC
/// finds its parts. Comes back only where that is not possible.
pub fn become_other(program: &CStr, start: Start, from: usize) {
    let (words, env) = start.pointers();
    let Some(left) = start.words().skip(from).map(CStr::as_ptr).next() else { return };
    let words = words.wrapping_add(from);
    // SAFETY: there is such a word, on the stack of this process, and nobody else looks at the list; as before, then.
    unsafe {
        words.cast_mut().write(program.as_ptr());
        let _ = call(number::EXECVE, [pointer(program), words as usize, env as usize, 0, 0, 0]);
        words.cast_mut().write(left);
    }
}

/// Ends.
pub fn exit(code: u8) -> ! {
    loop {
        // SAFETY: no memory is named.
        let _ = unsafe { call(number::EXIT_GROUP, [code.into(), 0, 0, 0, 0, 0]) };
    }
}
