//! The blocking side: one thread for each running statement, fed and drained through bounded channels.

use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::timeout;

use crate::connection::{EngineError, Parameters, Written};
use crate::http::answer::Piece;
use crate::http::formats::{self, Prefix};
use crate::http::frames::{FrameReader, frames};
use crate::http::gate;
use crate::pool::{Engine, Key, Lease, Stopper};
use crate::statement::leaves_the_answer;
use std::sync::Arc;

/// Pieces between a client and a statement's thread, in either direction.
pub(crate) const PIECES_WAITING: usize = 4;
/// Answers are handed over in slices: a chunk is up to 65,409 rows, which can be 65 MB and more.
const SLICE_BYTES: usize = 256 << 10;
/// A client that takes nothing for so long loses its answer, so that it cannot hold a place for ever.
const SEND_PATIENCE: Duration = Duration::from_secs(60);

/// A statement ready to run.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) engine: Arc<Engine>,
    pub(crate) key: Key,
    pub(crate) parameters: Parameters,
    /// Its place among the statements that may run; given back when the thread ends.
    pub(crate) permit: OwnedSemaphorePermit,
    /// Refuse what changes anything, as `GET` does.
    pub(crate) must_read: bool,
    /// Refuse what reads outside the engine.
    pub(crate) public: bool,
}

/// What an insert's thread is sent.
#[derive(Debug)]
pub(crate) enum Part {
    Data(Bytes),
    /// The body is whole. A channel that closes without this aborts the insert.
    End,
}

impl Job {
    /// Runs a query or other statement. The first message says how to stop it.
    pub(crate) fn read(
        self,
        sql: &[u8],
        format: &str,
        streamed: Option<Prefix>,
        compress: bool,
        started: oneshot::Sender<Stopper>,
        pieces: &mpsc::Sender<Piece>,
    ) {
        let send = |piece: Piece| -> bool {
            Handle::current()
                .block_on(async { matches!(timeout(SEND_PATIENCE, pieces.send(piece)).await, Ok(Ok(()))) })
        };
        let hand_over = |mut chunk: Bytes| -> bool {
            while !chunk.is_empty() {
                let slice = chunk.split_to(chunk.len().min(SLICE_BYTES));
                if !send(Piece::Chunk(if compress { frames(&slice) } else { slice })) {
                    return false;
                }
            }
            true
        };
        let outcome = self.engine.lease(self.key.clone()).and_then(|mut lease| {
            if started.send(lease.stopper()).is_err() {
                return Ok(false);
            }
            let reusable = self.admit(&mut lease, sql)?;
            let whole = match streamed {
                Some(prefix) => {
                    let mut rows = lease.connection()?.stream(sql, format, &self.parameters)?;
                    let mut first = true;
                    while let Some(chunk) = rows.next()? {
                        let cut = if first { Some(chunk) } else { prefix.cut(chunk) };
                        first = false;
                        let cut = cut.ok_or_else(|| {
                            EngineError::new(
                                1002,
                                "UNKNOWN_EXCEPTION",
                                "the engine sent a chunk whose header is not whole",
                            )
                        })?;
                        if !hand_over(cut) {
                            return Ok(false);
                        }
                    }
                    Bytes::new()
                }
                None => lease.connection()?.execute(sql, format, &self.parameters)?,
            };
            if !hand_over(whole) {
                return Ok(false);
            }
            if reusable {
                lease.keep();
            }
            Ok(true)
        });
        // The place goes back before the client can ask for the next thing.
        drop(self.permit);
        match outcome {
            Ok(true) => drop(send(Piece::End)),
            Ok(false) => {}
            Err(error) => drop(send(Piece::Failed(error))),
        }
    }

    /// Decides whether the statement may run; says whether its connection may be used again.
    fn admit(&self, lease: &mut Lease, sql: &[u8]) -> Result<bool, EngineError> {
        if leaves_the_answer(sql) {
            return Err(gate::refused(
                "INTO OUTFILE and tables named by a parameter are not available over HTTP",
            ));
        }
        let analysis = lease.connection()?.classify(sql);
        if analysis.statements > 1 {
            return Err(EngineError::new(
                62,
                "SYNTAX_ERROR",
                "several statements in one request are not allowed; send them one by one",
            ));
        }
        if self.public {
            gate::check(&self.engine, lease.connection()?, analysis, sql, &self.parameters)?;
        } else if self.must_read && analysis.statements == 1 && !analysis.is_read_only() {
            return Err(gate::refused("a GET request can only read; send what changes anything by POST"));
        }
        Ok(analysis.keeps_session())
    }

    /// Runs an insert fed from `parts`.
    pub(crate) fn insert(
        self,
        sql: &[u8],
        format: &str,
        decompress: bool,
        parts: &mut mpsc::Receiver<Part>,
    ) -> Result<Written, EngineError> {
        let mut lease = self.engine.lease(self.key.clone())?;
        let mut insert = lease.connection()?.insert(sql, format, &self.parameters)?;
        let mut reader = FrameReader::default();
        loop {
            match parts.blocking_recv() {
                Some(Part::Data(bytes)) if decompress => {
                    reader.push(&bytes);
                    while let Some(content) = reader.next()? {
                        insert.append(&content)?;
                    }
                }
                Some(Part::Data(bytes)) => insert.append(&bytes)?,
                Some(Part::End) => break,
                None => {
                    return Err(EngineError::new(
                        394,
                        "QUERY_WAS_CANCELLED",
                        "the request ended before its body did; nothing of its last block was inserted",
                    ));
                }
            }
        }
        reader.finish()?;
        let written = insert.finish()?;
        lease.keep();
        Ok(written)
    }
}

/// The way a format's answer is made: streamed where it can be.
pub(crate) fn way(format: &str, whole: bool) -> Option<Prefix> {
    if whole { None } else { formats::streamed(format) }
}
