//! One test per life that a handle can have.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use crate::connection::{Connection, Parameters};
use crate::ffi::{Library, LoadError};

/// Compiled once a run. `cc` is there wherever Rust links.
fn stub() -> &'static PathBuf {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let path = std::env::temp_dir().join(format!("chdb-stub-{}.so", std::process::id()));
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/stub.c");
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"]).arg(&path).arg(source);
        let built = cc.status().expect("run cc");
        assert!(built.success(), "cc cannot build {source}");
        path
    })
}

/// Kept reachable, so that the one leak that is meant (the library is never unloaded) is not reported.
fn library() -> &'static Library {
    static LIBRARY: OnceLock<&'static Library> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let library = Library::load(stub()).expect("the stub has every function");
        std::fs::remove_file(stub()).expect("the stub is loaded, its file can go");
        library
    })
}

fn connection() -> Connection {
    Connection::open(library(), &["--path=x".to_owned()]).expect("a connection")
}

fn parameters() -> Parameters {
    vec![("tenant".to_owned(), "shop".to_owned()), ("empty".to_owned(), String::new())]
}

#[test]
fn a_library_is_found_out_for_what_it_is() {
    assert_eq!(library().version(), "26.7.0-stub");
    let absent = Library::load("/nowhere/libchdb.so".as_ref());
    assert!(matches!(absent, Err(LoadError::Open { .. })));
}

#[test]
fn a_connection_opens_closes_and_may_be_refused() {
    drop(connection());
    assert!(Connection::open(library(), &["--refuse".to_owned()]).is_none());
    assert!(Connection::open(library(), &["nul\0inside".to_owned()]).is_none());
    let moved = connection();
    std::thread::spawn(move || drop(moved)).join().unwrap();
}

#[test]
fn an_answer_is_copied_before_its_result_goes() {
    let mut connection = connection();
    let answer = connection.execute(b"select 1", "TSV", &parameters()).unwrap();
    assert!(connection.execute(b"empty", "TSV", &Vec::new()).unwrap().is_empty());
    drop(connection);
    assert_eq!(&*answer, b"select 1");
}

#[test]
fn an_error_is_copied_and_no_result_at_all_is_one() {
    let mut connection = connection();
    let told = connection.execute(b"fail", "TSV", &Vec::new()).unwrap_err();
    assert_eq!(told.code, 60);
    assert!(told.message.contains('\u{fffd}'), "bytes that are no text are replaced: {told}");
    assert_eq!(connection.execute(b"null", "TSV", &Vec::new()).unwrap_err().code, 1002);
    assert_eq!(connection.stream(b"null", "TSV", &Vec::new()).unwrap_err().code, 1002);
    assert_eq!(connection.stream(b"fail", "TSV", &Vec::new()).unwrap_err().code, 60);
}

#[test]
fn a_stream_is_read_to_its_end_and_further() {
    let mut connection = connection();
    let mut rows = connection.stream(b"stream 3", "TSV", &parameters()).unwrap();
    let mut chunks = Vec::new();
    while let Some(chunk) = rows.next().unwrap() {
        chunks.push(chunk);
    }
    assert!(rows.next().unwrap().is_none());
    drop(rows);
    drop(connection);
    assert_eq!(chunks, ["a chunk\n"; 3]);
}

#[test]
fn a_stream_may_be_left_at_any_point() {
    let mut connection = connection();
    for taken in 0..4 {
        let mut rows = connection.stream(b"stream 3", "TSV", &Vec::new()).unwrap();
        for _ in 0..taken {
            rows.next().unwrap();
        }
    }
    assert!(connection.execute(b"select 1", "TSV", &Vec::new()).is_ok());
}

#[test]
fn a_stream_that_fails_is_neither_read_nor_cancelled_again() {
    let mut connection = connection();
    let mut rows = connection.stream(b"stream 1 then fail", "TSV", &Vec::new()).unwrap();
    assert!(rows.next().unwrap().is_some());
    assert_eq!(rows.next().unwrap_err().code, 241);
    assert!(rows.next().unwrap().is_none());
}

#[test]
fn an_insert_counts_what_it_wrote() {
    let mut connection = connection();
    for parameters in [Vec::new(), parameters()] {
        let mut insert = connection.insert(b"insert", "Native", &parameters).unwrap();
        insert.append(b"abc").unwrap();
        insert.append(b"").unwrap();
        let written = insert.finish().unwrap();
        assert_eq!((written.rows, written.bytes), (2, 3));
    }
}

#[test]
fn an_insert_may_be_left_refused_or_fail_at_its_end() {
    let mut connection = connection();
    assert_eq!(connection.insert(b"fail", "Native", &Vec::new()).unwrap_err().code, 62);
    let mut left = connection.insert(b"insert", "Native", &Vec::new()).unwrap();
    left.append(b"abc").unwrap();
    drop(left);
    let mut refused = connection.insert(b"full", "Native", &Vec::new()).unwrap();
    assert_eq!(refused.append(b"abc").unwrap_err().code, 243);
    assert_eq!(refused.append(b"abc").unwrap_err().code, 1002, "refused without words");
    drop(refused);
    let late = connection.insert(b"late", "Native", &Vec::new()).unwrap();
    assert_eq!(late.finish().unwrap_err().code, 252);
}

#[test]
fn a_statement_is_judged_without_being_run() {
    let mut connection = connection();
    assert!(connection.classify(b"select 1").is_read_only());
    assert!(!connection.classify(b"insert").is_read_only());
    assert!(!connection.classify(b"fail").is_read_only());
}

/// Names a misuse to the process that is to commit it.
const MISUSE: &str = "SANITIZER_MISUSE";

/// Each misuse in a process of its own, which must not survive it.
#[test]
fn the_sanitizer_sees() {
    if let Ok(misuse) = std::env::var(MISUSE) {
        return commit(&misuse);
    }
    for (misuse, told) in [
        ("read after free", "AddressSanitizer: heap-use-after-free"),
        ("wrong length", "AddressSanitizer: heap-buffer-overflow"),
        ("destroy twice", "the wrapper misuses the library: a result is destroyed twice"),
        ("leak", "LeakSanitizer: detected memory leaks"),
    ] {
        let mut run = Command::new(std::env::current_exe().unwrap());
        let run = run.args(["tests::the_sanitizer_sees", "--exact"]).env(MISUSE, misuse).output().unwrap();
        let said = [run.stdout, run.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(!run.status.success() && said.contains(told), "{misuse} goes unseen:\n{said}");
    }
}

fn commit(misuse: &str) {
    let library = library();
    let (none, tsv) = (std::ptr::null(), b"TSV".as_ptr().cast());
    // SAFETY: none, on purpose: each of these is wrong in one way.
    unsafe {
        let connection = *(library.connect)(0, none);
        let query = |sql: &[u8], length| {
            let sql = sql.as_ptr().cast();
            (library.query)(connection, sql, length, tsv, 3, none, none.cast(), none, none.cast(), 0)
        };
        let result = query(b"select 1", 8);
        match misuse {
            "read after free" => {
                let text: *const u8 = (library.result_buffer)(result).cast();
                (library.destroy_result)(result);
                assert_ne!(std::ptr::read_volatile(text), 7);
            }
            "wrong length" => {
                let text: Box<[u8]> = b"select".as_slice().into();
                query(&text, text.len() + 1);
            }
            "destroy twice" => {
                (library.destroy_result)(result);
                (library.destroy_result)(result);
            }
            "leak" => std::mem::forget(std::hint::black_box(vec![7_u8; 4096])),
            other => panic!("no such misuse: {other}"),
        }
    }
}
