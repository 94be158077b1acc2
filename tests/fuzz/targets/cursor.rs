#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| mana_sync_fuzz::checks::cursor(bytes));
