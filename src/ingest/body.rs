//! A request body, whole, unpacked, within its caps, within the byte budget, and not slower than [`Pace`] allows.

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::http::{HeaderMap, header};
use bytes::Bytes;
use decode::compression::{Codec, CompressionError, decompress_within, reserve_in_steps};
use event::Counter;
use futures_util::StreamExt as _;
use tokio::runtime::Handle;

use super::Intake;
use super::auth::Admitted;
use super::pace::Pace;
use crate::accept::{Hold, Refusal};
use crate::api::Problem;
use crate::config::Source;

/// What a delivery costs before its first byte: its headers (16 KiB at most over HTTP/2) and its task. Without it a
/// flood of empty requests would cost nothing of the budget.
pub(super) const REQUEST_BYTES: usize = 16 << 10;
/// What a sender is told whose body came too slowly; not 408, which Fastly takes for "never again".
const SLOW_RETRY: Duration = Duration::from_secs(5);
/// How much of a refused body is read, and for how long: what most deliveries have, and no invitation to send more.
const LINGER_BYTES: usize = 16 << 20;
const LINGER_FOR: Duration = Duration::from_secs(2);

/// A body as the decoder wants it, with the budget it holds.
pub(crate) struct Unpacked {
    pub(crate) bytes: Bytes,
    pub(crate) hold: Hold,
}

/// Reads and unpacks a body. Every failure is answered as a problem that says whose fault it is.
///
/// What cannot be unpacked is kept as one reject before it is refused: the sender will not send it again.
pub(crate) async fn read(
    intake: &Intake,
    source: &Admitted,
    headers: &HeaderMap,
    body: Body,
) -> Result<Unpacked, Problem> {
    // What can never fit is told so; told to come back, its sender would come for ever.
    let (limit, fits) = (intake.limits.body_bytes, source.most_bytes().saturating_sub(REQUEST_BYTES));
    let (cap, key) = if limit <= fits { (limit, "limits.body") } else { (fits, "limits.in_flight") };
    let too_large = || {
        intake.acceptor.unread(source, Counter::TooLarge);
        Problem::too_large(&format!("the body is larger than {cap} bytes (`{key}`): send smaller batches"))
    };
    let claimed =
        headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if claimed.is_some_and(|claimed| claimed > cap) {
        return Err(too_large());
    }
    source.check_rate().map_err(|refusal| refuse(intake, source, refusal))?;
    let refused = |refusal| refuse(intake, source, refusal);
    let mut hold = source.hold();
    let mut chunks = body.into_data_stream();
    if let Err(refusal) = hold.grow(REQUEST_BYTES).await {
        // Who waits to be told to go on has sent nothing yet.
        if !headers.contains_key(header::EXPECT) {
            linger(&mut chunks).await;
        }
        return Err(refused(refusal));
    }
    let mut packed = Vec::new();
    let mut pace = Pace::new(intake.limits.patience);
    loop {
        let next = pace.wait(chunks.next()).await;
        let Some(chunk) = next.map_err(|_| refused(Refusal::Slow(SLOW_RETRY)))? else { break };
        let chunk = chunk.map_err(|_| {
            intake.acceptor.unread(source, Counter::BrokenOff);
            Problem::bad_request("the connection broke in the middle of the body")
        })?;
        if packed.len() + chunk.len() > cap {
            return Err(too_large());
        }
        pace.came(chunk.len());
        if let Err(refusal) = hold.grow(chunk.len()).await {
            drop((hold, packed));
            linger(&mut chunks).await;
            return Err(refused(refusal));
        }
        source.sent(chunk.len());
        reserve_in_steps(&mut packed, chunk.len());
        packed.extend_from_slice(&chunk);
    }
    unpack(intake, source, headers, packed.into(), hold).await
}

/// Reads on for a while and keeps nothing: whoever is still sending when the connection closes sees a broken connection
/// and not the answer that says when to come back.
async fn linger(chunks: &mut BodyDataStream) {
    let rest = async {
        let mut passed = 0;
        while let Some(Ok(chunk)) = chunks.next().await {
            passed += chunk.len();
            if passed > LINGER_BYTES {
                break;
            }
        }
    };
    // Out of time is as good as read.
    let _ = tokio::time::timeout(LINGER_FOR, rest).await;
}

/// A refusal before anything was decoded, counted.
fn refuse(intake: &Intake, source: &Source, refusal: Refusal) -> Problem {
    Problem::from(&intake.acceptor.refuse(source, refusal))
}

async fn unpack(
    intake: &Intake,
    source: &Admitted,
    headers: &HeaderMap,
    packed: Bytes,
    mut hold: Hold,
) -> Result<Unpacked, Problem> {
    let encoding =
        headers.get(header::CONTENT_ENCODING).and_then(|value| value.to_str().ok()).map(str::to_owned);
    if encoding.is_none() && Codec::of_magic(&packed).is_none() {
        return Ok(Unpacked { bytes: packed, hold });
    }
    // One byte past the cap is asked for to see that there is more.
    let fits = source.most_bytes().saturating_sub(REQUEST_BYTES + packed.len() + 1);
    let (cap, original) = (intake.limits.unpacked_bytes.min(fits), packed.clone());
    // As many at once as are decoded at once: each may grow to hundreds of megabytes, and a codec has its window.
    let slot = intake.acceptor.slot().await.map_err(|refusal| refuse(intake, source, refusal))?;
    // Off the runtime. What grows is held as it grows: a thousandfold bomb must not be noticed afterwards.
    let runtime = Handle::current();
    let unpacking = tokio::task::spawn_blocking(move || {
        let mut room = |more: usize| runtime.block_on(hold.grow(more)).is_ok();
        let unpacked = decompress_within(packed, encoding.as_deref(), cap, &mut room);
        drop(slot);
        (unpacked, hold)
    });
    let (unpacked, mut hold) = unpacking.await.map_err(|_| refuse(intake, source, Refusal::Stopped))?;
    match unpacked {
        Ok(bytes) => {
            source.sent(bytes.len().saturating_sub(original.len()));
            drop(original);
            hold.shrink_to(REQUEST_BYTES + bytes.len());
            Ok(Unpacked { bytes, hold })
        }
        Err(CompressionError::NoRoom) => Err(refuse(intake, source, Refusal::Busy(Duration::from_secs(1)))),
        Err(error) => {
            let detail = format!("cannot unpack the body: {error}");
            hold.shrink_to(REQUEST_BYTES + original.len());
            let problem = Problem::bad_request(&detail);
            let kept = intake.acceptor.accept(source, hold, original.len(), move |delivery, rules, sink| {
                delivery.refuse_packed(rules, &detail, &original, sink);
            });
            // Not kept means that it may come again, as for any other delivery.
            kept.await.map_err(|refusal| Problem::from(&refusal))?;
            Err(problem)
        }
    }
}
