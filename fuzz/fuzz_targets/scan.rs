#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| splitter_fuzz::scan(bytes));
