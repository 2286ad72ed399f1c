//! The start of the process, where there is a stack and nothing else.

use core::ffi::{CStr, c_char};

/// What the kernel has put on the stack: the number of words, the words, the environment, each list with a null at its end.
#[derive(Clone, Copy)]
pub struct Start {
    words: *const *const c_char,
    env: *const *const c_char,
}

impl Start {
    /// The words of the command.
    pub fn words(&self) -> impl Iterator<Item = &'static CStr> + use<> {
        Strings(self.words)
    }

    /// The strings of the environment.
    pub fn env(&self) -> impl Iterator<Item = &'static CStr> + use<> {
        Strings(self.env)
    }

    /// Both, as the kernel takes them.
    pub fn pointers(&self) -> (*const *const c_char, *const *const c_char) {
        (self.words, self.env)
    }
}

/// What is left of a list of strings.
struct Strings(*const *const c_char);

impl Iterator for Strings {
    type Item = &'static CStr;

    fn next(&mut self) -> Option<&'static CStr> {
        // SAFETY: it points into a list that the kernel made, not behind its null.
        let string = unsafe { *self.0 };
        if string.is_null() {
            return None;
        }
        // SAFETY: there is at least the null behind.
        self.0 = unsafe { self.0.add(1) };
        // SAFETY: strings of the kernel end with a NUL, and nobody writes to them.
        Some(unsafe { CStr::from_ptr(string) })
    }
}

/// Where the kernel begins: gives the stack, as it is, to a function.
#[unsafe(naked)]
#[unsafe(no_mangle)]
extern "C" fn _start() -> ! {
    #[cfg(target_arch = "x86_64")]
    core::arch::naked_asm!("xor ebp, ebp", "mov rdi, rsp", "and rsp, -16", "call {}", "ud2", sym begin);
    #[cfg(target_arch = "aarch64")]
    core::arch::naked_asm!("mov x29, xzr", "mov x30, xzr", "mov x0, sp", "b {}", sym begin);
}

extern "C-unwind" fn begin(stack: *const usize) -> ! {
    // SAFETY: the number of words is on top of the stack; then the words follow, a null, the environment.
    let start = unsafe {
        let words = stack.add(1).cast::<*const c_char>();
        Start { words, env: words.add(*stack).add(1) }
    };
    crate::main(start)
}
