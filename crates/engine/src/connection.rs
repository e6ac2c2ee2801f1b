//! One connection to the engine, and what runs on it.
//!
//! A connection runs one statement at a time; `&mut` says so. A stream borrows its connection and is cancelled when it
//! is dropped unfinished. After any error the connection must be thrown away, never reused: the engine can glue the
//! failed statement's bytes in front of the next answer. [`crate::pool`] sees to that.
#![allow(unsafe_code)]

use std::ffi::{CString, c_char};
use std::ptr::NonNull;

use bytes::Bytes;

use crate::ffi::{Library, RawAnalysis, RawConnection, RawInsert, RawResult, borrowed_text};

/// An error in the engine's own words, with its code where the words carry one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct EngineError {
    /// ClickHouse's error code; 1001 (`STD_EXCEPTION`) where the text names none.
    pub code: i32,
    /// The whole text, such as `Code: 60. DB::Exception: … (UNKNOWN_TABLE)`.
    pub message: String,
}

impl EngineError {
    pub(crate) fn new(code: i32, name: &str, what: &str) -> Self {
        Self { code, message: format!("Code: {code}. DB::Exception: {what} ({name})") }
    }

    fn told(message: String) -> Self {
        let code = message.strip_prefix("Code: ").and_then(|rest| rest.split('.').next());
        Self { code: code.and_then(|digits| digits.parse().ok()).unwrap_or(1001), message }
    }
}

/// Named values for `{name:Type}` in a statement, as the HTTP interface receives them.
pub(crate) type Parameters = Vec<(String, String)>;

/// What a statement would do, by the engine's own parser.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Analysis {
    /// Executable statements; 0 where the text does not parse.
    pub(crate) statements: u32,
    /// 0 read only, 1 changes a database, 2 changes global state, 3 session or control, 4 unknown.
    class: u32,
}

impl Analysis {
    pub(crate) fn is_read_only(self) -> bool {
        self.statements == 1 && self.class == 0
    }

    pub(crate) fn keeps_session(self) -> bool {
        self.class <= 2
    }
}

/// What a finished insert wrote, rows of cascaded materialized views included.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Written {
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
}

#[derive(Debug)]
pub(crate) struct Connection {
    library: &'static Library,
    handle: NonNull<RawConnection>,
}

// SAFETY: chDB allows a connection to be used from any thread so long as calls on it are serialized, and every call
// here takes `&mut self` or a stream that borrows it mutably.
unsafe impl Send for Connection {}

impl Connection {
    /// Opens a connection; `None` where the engine refuses, having said why on stderr only.
    pub(crate) fn open(library: &'static Library, arguments: &[String]) -> Option<Self> {
        let owned: Vec<CString> = std::iter::once("clickhouse")
            .chain(arguments.iter().map(String::as_str))
            .map(CString::new)
            .collect::<Result<_, _>>()
            .ok()?;
        let pointers: Vec<*const c_char> = owned.iter().map(|argument| argument.as_ptr()).collect();
        let count = i32::try_from(pointers.len()).ok()?;
        // SAFETY: `pointers` holds `count` NUL-terminated strings that live until after the call, which copies them.
        let handle = unsafe { (library.connect)(count, pointers.as_ptr()) };
        Some(Self { library, handle: NonNull::new(handle)? })
    }

    fn raw(&self) -> RawConnection {
        // SAFETY: `chdb_connect` returned this pointer to a connection, and it is freed only in `drop`.
        unsafe { *self.handle.as_ptr() }
    }

    /// Runs a statement and keeps its whole answer in memory.
    pub(crate) fn execute(
        &mut self,
        sql: &[u8],
        format: &str,
        parameters: &Parameters,
    ) -> Result<Bytes, EngineError> {
        let named = Named::new(parameters);
        // SAFETY: every pointer comes with its length and outlives the call.
        let result = unsafe {
            (self.library.query)(
                self.raw(),
                sql.as_ptr().cast(),
                sql.len(),
                format.as_ptr().cast(),
                format.len(),
                named.names.as_ptr(),
                named.name_lengths.as_ptr(),
                named.values.as_ptr(),
                named.value_lengths.as_ptr(),
                parameters.len(),
            )
        };
        Answer { library: self.library, result }.into_bytes()
    }

    /// Starts a `SELECT`; rows come by [`Rows::next`].
    pub(crate) fn stream(
        &mut self,
        sql: &[u8],
        format: &str,
        parameters: &Parameters,
    ) -> Result<Rows<'_>, EngineError> {
        let named = Named::new(parameters);
        // SAFETY: every pointer comes with its length and outlives the call.
        let result = unsafe {
            (self.library.stream)(
                self.raw(),
                sql.as_ptr().cast(),
                sql.len(),
                format.as_ptr().cast(),
                format.len(),
                named.names.as_ptr(),
                named.name_lengths.as_ptr(),
                named.values.as_ptr(),
                named.value_lengths.as_ptr(),
                parameters.len(),
            )
        };
        let answer = Answer { library: self.library, result };
        answer.check()?;
        Ok(Rows { connection: self, answer, ended: false })
    }

    /// Starts an `INSERT` whose SQL carries neither `FORMAT` nor data.
    pub(crate) fn insert(
        &mut self,
        sql: &[u8],
        format: &str,
        parameters: &Parameters,
    ) -> Result<Insert<'_>, EngineError> {
        let (text, text_len) = (sql.as_ptr().cast(), sql.len());
        let (kind, kind_len) = (format.as_ptr().cast(), format.len());
        let handle = if parameters.is_empty() {
            // SAFETY: every pointer comes with its length and outlives the call.
            unsafe { (self.library.insert)(self.raw(), text, text_len, kind, kind_len) }
        } else {
            let named = Named::new(parameters);
            // SAFETY: as above.
            unsafe {
                (self.library.insert_with_params)(
                    self.raw(),
                    text,
                    text_len,
                    kind,
                    kind_len,
                    named.names.as_ptr(),
                    named.name_lengths.as_ptr(),
                    named.values.as_ptr(),
                    named.value_lengths.as_ptr(),
                    parameters.len(),
                )
            }
        };
        let insert = Insert { connection: self, handle };
        match insert.error() {
            Some(error) => Err(error),
            None => Ok(insert),
        }
    }

    /// Asks the engine's parser what a statement would do; runs nothing.
    pub(crate) fn classify(&mut self, sql: &[u8]) -> Analysis {
        let mut analysis =
            RawAnalysis { struct_size: size_of::<RawAnalysis>() as u32, ..RawAnalysis::default() };
        // SAFETY: `sql` comes with its length, no target database is named, and `analysis` states its own size.
        let state = unsafe {
            (self.library.classify)(
                self.raw(),
                sql.as_ptr().cast(),
                sql.len(),
                std::ptr::null(),
                0,
                &raw mut analysis,
            )
        };
        match state {
            0 => Analysis { statements: analysis.statement_count, class: analysis.query_class },
            _ => Analysis { statements: 0, class: 4 },
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // SAFETY: opened by `chdb_connect`, closed once, and no stream can outlive the borrow of `self`.
        unsafe { (self.library.close)(self.handle.as_ptr()) };
    }
}

/// Parameter arrays in the C interface's shape; borrows the strings they were made from.
struct Named {
    names: Vec<*const c_char>,
    name_lengths: Vec<usize>,
    values: Vec<*const c_char>,
    value_lengths: Vec<usize>,
}

impl Named {
    fn new(parameters: &Parameters) -> Self {
        Self {
            names: parameters.iter().map(|(name, _)| name.as_ptr().cast()).collect(),
            name_lengths: parameters.iter().map(|(name, _)| name.len()).collect(),
            values: parameters.iter().map(|(_, value)| value.as_ptr().cast()).collect(),
            value_lengths: parameters.iter().map(|(_, value)| value.len()).collect(),
        }
    }
}

/// A result handle, destroyed once.
#[derive(Debug)]
struct Answer {
    library: &'static Library,
    result: RawResult,
}

impl Answer {
    fn check(&self) -> Result<(), EngineError> {
        if self.result.is_null() {
            return Err(EngineError::new(1002, "UNKNOWN_EXCEPTION", "the engine returned no result"));
        }
        // SAFETY: a live result; the text it returns lives as long as the result and is copied at once.
        let error = unsafe { borrowed_text((self.library.result_error)(self.result)) };
        match error.filter(|text| !text.is_empty()) {
            Some(message) => Err(EngineError::told(message)),
            None => Ok(()),
        }
    }

    /// The bytes, copied: the engine's buffer must not outlive its connection.
    fn into_bytes(self) -> Result<Bytes, EngineError> {
        self.check()?;
        // SAFETY: a live, checked result.
        let (buffer, length) =
            unsafe { ((self.library.result_buffer)(self.result), (self.library.result_length)(self.result)) };
        if buffer.is_null() || length == 0 {
            return Ok(Bytes::new());
        }
        // SAFETY: the result owns `length` bytes at `buffer` until it is destroyed, after this copy.
        Ok(Bytes::copy_from_slice(unsafe { std::slice::from_raw_parts(buffer.cast::<u8>(), length) }))
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if !self.result.is_null() {
            // SAFETY: destroyed once.
            unsafe { (self.library.destroy_result)(self.result) };
        }
    }
}

/// The rows of one `SELECT`, a block's worth of formatted bytes at a time.
#[derive(Debug)]
pub(crate) struct Rows<'c> {
    connection: &'c mut Connection,
    answer: Answer,
    ended: bool,
}

impl Rows<'_> {
    /// The next chunk, each a whole document of its format; `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Bytes>, EngineError> {
        if self.ended {
            return Ok(None);
        }
        let library = self.connection.library;
        // SAFETY: the stream is live and calls on its connection are serialized by the borrow.
        let result = unsafe { (library.fetch)(self.connection.raw(), self.answer.result) };
        let chunk = Answer { library, result }.into_bytes().inspect_err(|_| self.ended = true)?;
        self.ended = chunk.is_empty();
        Ok(if self.ended { None } else { Some(chunk) })
    }
}

impl Drop for Rows<'_> {
    fn drop(&mut self) {
        if !self.ended {
            // SAFETY: as in `next`; the handle itself is freed by `Answer`.
            unsafe { (self.connection.library.cancel)(self.connection.raw(), self.answer.result) };
        }
    }
}

/// An open `INSERT`. Dropping it before [`Insert::finish`] aborts it; blocks already written stay.
#[derive(Debug)]
pub(crate) struct Insert<'c> {
    connection: &'c mut Connection,
    handle: RawInsert,
}

impl Insert<'_> {
    fn error(&self) -> Option<EngineError> {
        // SAFETY: a live handle, never null by the interface's promise; the text is copied at once.
        let text = unsafe { borrowed_text((self.connection.library.insert_error)(self.handle)) };
        text.filter(|text| !text.is_empty()).map(EngineError::told)
    }

    /// Adds bytes in the statement's format; may block while the engine is behind.
    pub(crate) fn append(&mut self, data: &[u8]) -> Result<(), EngineError> {
        // SAFETY: the data comes with its length and is copied by the call.
        let state =
            unsafe { (self.connection.library.append)(self.handle, data.as_ptr().cast(), data.len()) };
        if state == 0 {
            return Ok(());
        }
        Err(self
            .error()
            .unwrap_or_else(|| EngineError::new(1002, "UNKNOWN_EXCEPTION", "the insert was refused")))
    }

    /// Commits what was appended.
    pub(crate) fn finish(self) -> Result<Written, EngineError> {
        let library = self.connection.library;
        // SAFETY: a live handle, finished once because `self` is consumed; `drop` then only frees it.
        let answer = Answer { library, result: unsafe { (library.done)(self.handle) } };
        answer.check()?;
        // SAFETY: a live, checked result.
        let (rows, bytes) = unsafe {
            ((library.result_rows_written)(answer.result), (library.result_bytes_written)(answer.result))
        };
        Ok(Written { rows, bytes })
    }
}

impl Drop for Insert<'_> {
    fn drop(&mut self) {
        // SAFETY: freed once; destroying a handle that was not finished cancels it first.
        unsafe { (self.connection.library.destroy_insert)(self.handle) };
    }
}
