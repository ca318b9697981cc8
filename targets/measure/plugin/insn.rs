//! A plugin for QEMU that counts the instructions a guest executes between two addresses.
//!
//! `qemu-system-arm … -plugin libinsn.so,begin=0x1234,end=0x5678` prints `section N` on stderr each
//! time the instruction at `end` is reached, N being the number executed since the one at `begin`
//! (that one included, the one at `end` not). The count is of the guest's instructions alone and
//! the same in every run. An instruction that an IT block skips counts as executed.
//!
//! Only what versions 1 (QEMU before 9) and 2 (QEMU 9 and later) of the plugin interface share is
//! used: <https://www.qemu.org/docs/master/devel/tcg-plugins.html>. The board has one processor,
//! so one thread runs all callbacks.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The version of the interface that QEMU must offer.
#[unsafe(no_mangle)]
pub static qemu_plugin_version: c_int = if cfg!(qemu_api = "1") { 1 } else { 2 };

static BEGIN: AtomicU64 = AtomicU64::new(u64::MAX);
static END: AtomicU64 = AtomicU64::new(u64::MAX);
static COUNT: AtomicU64 = AtomicU64::new(0);

/// Called by QEMU when it loads the plugin; not 0 refuses the arguments.
///
/// # Safety
/// `argv` must point to `argc` C strings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qemu_plugin_install(
    id: u64,
    _info: *const c_void,
    argc: c_int,
    argv: *const *const c_char,
) -> c_int {
    for i in 0..usize::try_from(argc).unwrap_or(0) {
        let argument = unsafe { CStr::from_ptr(*argv.add(i)) }.to_string_lossy();
        let parsed = argument
            .split_once("=0x")
            .and_then(|(name, hex)| Some((name, u64::from_str_radix(hex, 16).ok()?)));
        match parsed {
            // Bit 0 of a symbol's value says Thumb; it is no part of the address.
            Some(("begin", address)) => BEGIN.store(address & !1, Relaxed),
            Some(("end", address)) => END.store(address & !1, Relaxed),
            _ => {
                eprintln!("libinsn: {argument}: give begin=0xADDRESS,end=0xADDRESS");
                return -1;
            }
        }
    }
    unsafe { qemu_plugin_register_vcpu_tb_trans_cb(id, translated) };
    0
}

/// QEMU has translated a block of instructions: hooks each of them.
extern "C" fn translated(_id: u64, block: *mut c_void) {
    for i in 0..unsafe { qemu_plugin_tb_n_insns(block) } {
        let (instruction, address) = unsafe {
            let instruction = qemu_plugin_tb_get_insn(block, i);
            (instruction, qemu_plugin_insn_vaddr(instruction))
        };
        let callback = if address == BEGIN.load(Relaxed) {
            begin
        } else if address == END.load(Relaxed) {
            end
        } else {
            step
        };
        unsafe {
            qemu_plugin_register_vcpu_insn_exec_cb(
                instruction,
                callback,
                NO_REGISTERS,
                ptr::null_mut(),
            );
        }
    }
}

extern "C" fn begin(_cpu: c_uint, _data: *mut c_void) {
    COUNT.store(1, Relaxed);
}

extern "C" fn step(_cpu: c_uint, _data: *mut c_void) {
    COUNT.store(COUNT.load(Relaxed) + 1, Relaxed);
}

extern "C" fn end(_cpu: c_uint, _data: *mut c_void) {
    eprintln!("section {}", COUNT.load(Relaxed));
}

const NO_REGISTERS: c_int = 0;

type Callback = extern "C" fn(c_uint, *mut c_void);

// Resolved by QEMU's own executable when it loads the plugin.
unsafe extern "C" {
    fn qemu_plugin_register_vcpu_tb_trans_cb(id: u64, callback: extern "C" fn(u64, *mut c_void));
    fn qemu_plugin_tb_n_insns(block: *const c_void) -> usize;
    fn qemu_plugin_tb_get_insn(block: *const c_void, index: usize) -> *mut c_void;
    fn qemu_plugin_insn_vaddr(instruction: *const c_void) -> u64;
    fn qemu_plugin_register_vcpu_insn_exec_cb(
        instruction: *mut c_void,
        callback: Callback,
        registers: c_int,
        data: *mut c_void,
    );
}
