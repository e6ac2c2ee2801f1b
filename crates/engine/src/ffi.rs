//! The C interface of `libchdb.so`, found at run time.
//!
//! The library's package carries no header; the signatures below are those of chDB 26.7 and are held to it by the tests,
//! which run every one of them. Nothing here owns anything: [`crate::connection`] gives these calls lifetimes.
#![allow(unsafe_code)]

use std::ffi::{CStr, OsString, c_char, c_int, c_void};
use std::path::{Path, PathBuf};

/// What `chdb_connect` hands out is a pointer to this.
pub(crate) type RawConnection = *mut c_void;
pub(crate) type RawResult = *mut c_void;
pub(crate) type RawInsert = *mut c_void;
type Texts = *const *const c_char;
type Lengths = *const usize;

/// `chdb_query_analysis_v1`: versioned by its own size, filled by `chdb_classify_query_n`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct RawAnalysis {
    pub(crate) struct_size: u32,
    pub(crate) statement_count: u32,
    pub(crate) flags: u32,
    pub(crate) query_class: u32,
}

/// Why the library could not be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The dynamic loader refused the file.
    #[error("cannot load the engine library {path}: {source}; fetch it with scripts/engine-lib")]
    Open {
        /// The file that was asked for.
        path: PathBuf,
        /// The loader's own words.
        source: libloading::Error,
    },
    /// The file loads and is another version, or something else.
    #[error(
        "{path} has no {symbol}: it is not the chDB 26.7 this program was built for; fetch it with scripts/engine-lib"
    )]
    Symbol {
        /// The file that was asked for.
        path: PathBuf,
        /// The first function that was missed.
        symbol: &'static str,
    },
}

macro_rules! symbols {
    ($($field:ident: $symbol:literal => fn($($argument:ty),*) $(-> $answer:ty)?;)*) => {
        /// Every function used, resolved once.
        #[derive(Debug)]
        pub(crate) struct Library {
            $(pub(crate) $field: unsafe extern "C" fn($($argument),*) $(-> $answer)?,)*
        }

        impl Library {
            fn resolve(path: &Path, library: &libloading::os::unix::Library) -> Result<Self, LoadError> {
                let missing = |symbol| LoadError::Symbol { path: path.to_owned(), symbol };
                $(
                    // SAFETY: the type is the one chdb.h of 26.7 declares for this name; the pointer stays valid
                    // because the library is never unloaded.
                    let $field = unsafe {
                        library.get::<unsafe extern "C" fn($($argument),*) $(-> $answer)?>($symbol)
                    };
                    let $field = *$field.map_err(|_| missing($symbol))?;
                )*
                Ok(Self { $($field),* })
            }
        }
    };
}

symbols! {
    version: "chdb_version" => fn() -> *const c_char;
    set_signal_handlers_enabled: "chdb_set_signal_handlers_enabled" => fn(c_int);
    connect: "chdb_connect" => fn(c_int, *const *const c_char) -> *mut RawConnection;
    close: "chdb_close_conn" => fn(*mut RawConnection);
    query: "chdb_query_with_params_n" => fn(RawConnection, *const c_char, usize, *const c_char, usize, Texts, Lengths, Texts, Lengths, usize) -> RawResult;
    stream: "chdb_stream_query_with_params_n" => fn(RawConnection, *const c_char, usize, *const c_char, usize, Texts, Lengths, Texts, Lengths, usize) -> RawResult;
    fetch: "chdb_stream_fetch_result" => fn(RawConnection, RawResult) -> RawResult;
    cancel: "chdb_stream_cancel_query" => fn(RawConnection, RawResult);
    destroy_result: "chdb_destroy_query_result" => fn(RawResult);
    result_buffer: "chdb_result_buffer" => fn(RawResult) -> *const c_char;
    result_length: "chdb_result_length" => fn(RawResult) -> usize;
    result_rows_written: "chdb_result_rows_written" => fn(RawResult) -> u64;
    result_bytes_written: "chdb_result_bytes_written" => fn(RawResult) -> u64;
    result_error: "chdb_result_error" => fn(RawResult) -> *const c_char;
    insert: "chdb_stream_insert_n" => fn(RawConnection, *const c_char, usize, *const c_char, usize) -> RawInsert;
    insert_with_params: "chdb_stream_insert_with_params_n" => fn(RawConnection, *const c_char, usize, *const c_char, usize, Texts, Lengths, Texts, Lengths, usize) -> RawInsert;
    append: "chdb_stream_append" => fn(RawInsert, *const c_void, usize) -> c_int;
    done: "chdb_stream_done" => fn(RawInsert) -> RawResult;
    insert_error: "chdb_stream_insert_error" => fn(RawInsert) -> *const c_char;
    destroy_insert: "chdb_destroy_insert_stream" => fn(RawInsert);
    classify: "chdb_classify_query_n" => fn(RawConnection, *const c_char, usize, *const c_char, usize, *mut RawAnalysis) -> c_int;
}

impl Library {
    /// Loads the library and switches its signal handlers off, so that the host's own keep working.
    ///
    /// It is never unloaded: its threads outlive every handle.
    pub(crate) fn load(path: &Path) -> Result<&'static Self, LoadError> {
        use libloading::os::unix::{Library as Dynamic, RTLD_LOCAL, RTLD_NOW};
        // SAFETY: runs the library's static initializers. chDB's need nothing from the host; it exports no allocator
        // and takes no static TLS, so loading it beside Rust's runtime changes nothing for the rest of the process.
        let dynamic = unsafe { Dynamic::open(Some(OsString::from(path)), RTLD_NOW | RTLD_LOCAL) }
            .map_err(|source| LoadError::Open { path: path.to_owned(), source })?;
        let library = Self::resolve(path, &dynamic)?;
        std::mem::forget(dynamic);
        // SAFETY: sets a flag; it must come before the first connection, which only this value can open.
        unsafe { (library.set_signal_handlers_enabled)(0) };
        Ok(Box::leak(Box::new(library)))
    }

    /// The library's version, such as `26.7.3`.
    pub(crate) fn version(&self) -> String {
        // SAFETY: takes nothing and returns a pointer to a constant, or null.
        let text = unsafe { (self.version)() };
        // SAFETY: what the call just returned is null or NUL-terminated and constant.
        unsafe { borrowed_text(text) }.unwrap_or_default()
    }
}

/// Copies a C string; `None` for null. Bytes that are not UTF-8 are replaced.
///
/// # Safety
/// `text` must be null or point to a NUL-terminated string that stays valid during the call.
pub(crate) unsafe fn borrowed_text(text: *const c_char) -> Option<String> {
    if text.is_null() {
        return None;
    }
    // SAFETY: the caller vouches for the pointer.
    Some(unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
}

/// Ends the process without running exit handlers.
///
/// Leaving through `exit` with the library loaded runs its destructors against its own live threads, which crashed 7
/// times in 8 when measured; `_exit` never did.
pub(crate) fn exit_now(code: c_int) -> ! {
    // SAFETY: `_exit` takes any status and never returns.
    unsafe { libc::_exit(code) }
}
