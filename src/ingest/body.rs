//! A request body, whole, unpacked, within its caps and within the byte budget.

use axum::body::Body;
use axum::http::{HeaderMap, header};
use bytes::{Bytes, BytesMut};
use decode::compression::decompress;
use event::Counter;
use futures_util::StreamExt as _;

use super::Intake;
use super::auth::Admitted;
use crate::accept::{Hold, Refusal};
use crate::api::Problem;
use crate::config::Source;

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
    let cap = intake.limits.body_bytes;
    let too_large = || {
        intake.acceptor.unread(source, Counter::TooLarge);
        Problem::too_large(&format!(
            "the body is larger than {cap} bytes (`limits.body`): send smaller batches"
        ))
    };
    let claimed =
        headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if claimed.is_some_and(|claimed| claimed > cap) {
        return Err(too_large());
    }
    source.check_rate().map_err(|refusal| refuse(intake, source, refusal))?;
    let mut hold = intake.acceptor.gate().hold();
    let mut packed = BytesMut::new();
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| {
            intake.acceptor.unread(source, Counter::BrokenOff);
            Problem::bad_request("the connection broke in the middle of the body")
        })?;
        if packed.len() + chunk.len() > cap {
            return Err(too_large());
        }
        hold.grow(chunk.len()).map_err(|refusal| refuse(intake, source, refusal))?;
        source.sent(chunk.len());
        packed.extend_from_slice(&chunk);
    }
    unpack(intake, source, headers, packed.freeze(), hold).await
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
    let (cap, original) = (intake.limits.unpacked_bytes, packed.clone());
    // Off the runtime: a body may unpack to hundreds of megabytes.
    let unpacked = tokio::task::spawn_blocking(move || decompress(packed, encoding.as_deref(), cap))
        .await
        .map_err(|_| refuse(intake, source, Refusal::Stopped))?;
    match unpacked {
        Ok(bytes) => {
            // The packed bytes are gone; what is unpacked is held instead. Encoded, a few batches at a time exist.
            source.sent(bytes.len().saturating_sub(original.len()));
            hold.grow(bytes.len().saturating_sub(original.len()))
                .map_err(|refusal| refuse(intake, source, refusal))?;
            Ok(Unpacked { bytes, hold })
        }
        Err(error) => {
            let detail = format!("cannot unpack the body: {error}");
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
