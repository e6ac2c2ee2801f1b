//! Events found again by id, by place and by what they are.

use std::borrow::Cow;

use correlation::{Id, IdKind};
use event::{Direction, Hop, HopEvent, Reject, RejectReason};
use store::query::{Columns, Cursor, IdRow, MAX_ROWS_PER_ID, Mark, RejectFilter, SearchFilter, SearchOrder};
use store::{Batch, Locator, Store};

use crate::support::{REQUEST_ID, batch, edge, gateway, now_ns, number, store};

async fn found(store: &Store, ids: &[u128]) -> Vec<HopEvent<'static>> {
    let rows = store.ids_of("default", ids).await.unwrap();
    let places: Vec<Locator> = rows.iter().map(|row| row.locator).collect();
    let mut events = store.events_at("default", &places, Columns::All).await.unwrap();
    events.sort_by_key(|event| event.event_key);
    events
}

#[tokio::test]
async fn every_id_in_every_form_leads_to_the_request() {
    let store = store().await;
    let events = [edge(1), gateway(1), edge(2), gateway(2)];
    store.insert(&batch(events), [1; 16], "test").await.unwrap();
    let whole = [edge(1), gateway(1)];
    for event in
        whole.iter().flat_map(|it| [it.correlation_id, it.request_id, it.edge_request_id, it.trace_id])
    {
        if event != 0 {
            assert_eq!(found(&store, &[event]).await, whole, "{event:032x}");
        }
    }
    for text in ["42322d1a-c026-4a05-84a7-b6ce5d11d001", "42322D1A-C026-9A05-84A7-B6CE5D11D001"] {
        assert_eq!(found(&store, &Id::candidates(text)).await, whole, "{text}");
    }
    assert_eq!(
        Id::parse(IdKind::Request, "42322d1a-c026-aa05-84a7-b6ce5d11d001").unwrap().value,
        REQUEST_ID + 1
    );
    assert!(found(&store, &[77]).await.is_empty());
    assert!(store.ids_of("another tenant", &[edge(1).trace_id]).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_row_of_an_id_carries_the_other_ids_and_the_place() {
    let store = store().await;
    store.insert(&batch([edge(1), edge(1), gateway(1)]), [1; 16], "test").await.unwrap();
    let ids = |event: &HopEvent<'_>| {
        [event.correlation_id, event.request_id, event.edge_request_id, event.trace_id]
    };
    let (edge, gateway) = (edge(1), gateway(1));
    let mut rows = store.ids_of("default", &[edge.trace_id]).await.unwrap();
    rows.sort_by_key(|row| row.ids[1]);
    let of = |event: &HopEvent<'_>| (IdKind::Trace, event.trace_id, Locator::of(event), ids(event));
    let found: Vec<_> = rows.iter().map(|row| (row.kind, row.id, row.locator, row.ids)).collect();
    assert_eq!(found, [of(&edge), of(&gateway)]);
    // What the table computes for people is the place that the program computes.
    let places = number(&store, "SELECT uniqExact(locator) FROM ids").await;
    let place = number(&store, "SELECT any(locator) FROM ids").await;
    assert_eq!((places, place), (1, Locator::of(&edge).key));
}

#[tokio::test]
async fn an_id_of_everybody_gives_its_newest_rows_and_hides_no_other() {
    let store = store().await;
    let shared = 0x7a;
    let at = |n: u128| HopEvent {
        trace_id: shared,
        received_ns: now_ns() - n as i64 * 600_000_000_000,
        ..edge(n)
    };
    store.insert(&batch((0..1_200).map(at)), [1; 16], "test").await.unwrap();
    let rows = store.ids_of("default", &[shared, edge(1_199).correlation_id]).await.unwrap();
    let (of_all, own): (Vec<IdRow>, Vec<IdRow>) = rows.iter().copied().partition(|row| row.id == shared);
    assert_eq!((of_all.len(), own.len()), (MAX_ROWS_PER_ID, 1));
    assert!(of_all.iter().all(|row| row.locator.bucket_s >= Locator::of(&at(1_000)).bucket_s));
}

#[tokio::test]
async fn every_delivery_of_an_event_is_found_first_received_first() {
    let store = store().await;
    let later = HopEvent { received_ns: now_ns() + 3_600_000_000_000, ..edge(1) };
    store.insert(&batch([edge(1)]), [1; 16], "test").await.unwrap();
    store.insert(&batch([later.clone()]), [2; 16], "test").await.unwrap();
    let deliveries = found(&store, &[edge(1).correlation_id]).await;
    let received: Vec<i64> = deliveries.iter().map(|event| event.received_ns).collect();
    assert_eq!(received, [edge(1).received_ns, later.received_ns]);
}

#[tokio::test]
async fn an_event_without_any_id_is_stored_and_found_by_search() {
    let store = store().await;
    let event =
        HopEvent { tenant: "default".into(), event_key: 5, received_ns: now_ns(), ..HopEvent::default() };
    store.insert(&batch([event.clone()]), [1; 16], "test").await.unwrap();
    let rows = store.search("default", &SearchFilter::default()).await.unwrap();
    assert_eq!(rows, [event]);
}

#[tokio::test]
async fn each_filter_tells_the_two_apart() {
    let store = store().await;
    let (edge, gateway) = (edge(1), gateway(1));
    store.insert(&batch([edge.clone(), gateway.clone()]), [1; 16], "test").await.unwrap();
    let text = |text: &str| Some(text.to_owned());
    let any = SearchFilter::default;
    for (filter, key) in [
        (SearchFilter { status_class: Some(5), ..any() }, gateway.event_key),
        (SearchFilter { hop: Some(Hop::Edge), ..any() }, edge.event_key),
        (SearchFilter { direction: Some(Direction::Inbound), ..any() }, gateway.event_key),
        (SearchFilter { service: text("cart"), ..any() }, gateway.event_key),
        (SearchFilter { host: text("www.example.com"), ..any() }, edge.event_key),
        (SearchFilter { path_prefix: text("/cart"), ..any() }, edge.event_key),
        (SearchFilter { pop: text("FRA"), ..any() }, edge.event_key),
        (SearchFilter { country: text("de"), ..any() }, edge.event_key),
        (SearchFilter { client_address: Some(edge.client_address), ..any() }, edge.event_key),
        (SearchFilter { client_address: Some(gateway.client_address), ..any() }, gateway.event_key),
        (SearchFilter { subject: text("s-1"), ..any() }, gateway.event_key),
        (SearchFilter { verdict: text("deny"), ..any() }, gateway.event_key),
        (SearchFilter { verdict_reason: text("expired"), ..any() }, gateway.event_key),
        (SearchFilter { response_flag: text("URX"), ..any() }, gateway.event_key),
        (SearchFilter { least_duration_ns: Some(1_000_000_000), ..any() }, gateway.event_key),
    ] {
        let rows = store.search("default", &filter).await.unwrap();
        assert_eq!(rows.iter().map(|row| row.event_key).collect::<Vec<_>>(), [key], "{filter:?}");
    }
    let start = edge.start_ns;
    let within = |from, to| SearchFilter { from_ns: Some(from), to_ns: Some(to), ..any() };
    assert_eq!(store.search("default", &within(start, start + 2_000_000_000)).await.unwrap().len(), 2);
    assert_eq!(store.search("default", &within(start - 9, start - 5)).await.unwrap().len(), 0);
    let quote = SearchFilter { host: text("' OR 1=1 --"), ..any() };
    assert_eq!(
        store.search("default", &quote).await.unwrap().len(),
        0,
        "a value is never part of a statement"
    );
    assert_eq!(store.search("other", &any()).await.unwrap().len(), 0);
}

#[tokio::test]
async fn pages_meet_without_gap_or_overlap_over_days_of_receipt() {
    let store = store().await;
    let at = |n: u128| HopEvent { received_ns: now_ns() - n as i64 * 7_000_000_000_000, ..edge(n) };
    let events: Vec<_> = (0..40).map(at).collect();
    store.insert(&batch(events), [1; 16], "test").await.unwrap();
    let mut filter = SearchFilter { limit: 7, ..SearchFilter::default() };
    let mut keys = Vec::new();
    loop {
        let page = store.search("default", &filter).await.unwrap();
        keys.extend(page.iter().map(|event| event.event_key));
        let Some(last) = page.last() else { break };
        filter.before = Some(Cursor::after(last));
    }
    assert_eq!(keys, (1000..1040).collect::<Vec<u64>>());
}

#[tokio::test]
async fn tail_rejects_sources_and_shipped_tell_what_came_in() {
    let store = store().await;
    let mut batch = Batch::new();
    batch.push_event(&edge(1));
    let reject = Reject {
        received_ns: now_ns(),
        tenant: "default".into(),
        source: "fastly".into(),
        format: "json".into(),
        reason: RejectReason::BadJson,
        detail: "ends in a string".into(),
        offset: 3,
        length: 5,
        bytes: Cow::Borrowed(b"{\"a\xff"),
    };
    batch.push_reject(&reject);
    store.insert(&batch, [9; 16], "one").await.unwrap();

    let after = store.search("default", &oldest(None)).await.unwrap();
    assert_eq!(after.len(), 1);
    assert!(store.search("default", &oldest(after.last().map(Cursor::after))).await.unwrap().is_empty());

    let rejects = store.rejects("default", &RejectFilter::default()).await.unwrap();
    assert_eq!(rejects, [reject]);
    let other = RejectFilter { reason: Some(RejectReason::TooDeep), ..RejectFilter::default() };
    assert!(store.rejects("default", &other).await.unwrap().is_empty());

    let sources = store.sources("default").await.unwrap();
    assert_eq!((sources.len(), sources[0].events), (1, 1));
    assert_eq!(sources[0].rejects, [("bad_json".to_owned(), 1)]);

    let shipped = store.shipped_after(Mark::default(), 10).await.unwrap();
    assert_eq!(
        (shipped.len(), shipped[0].segment, shipped[0].events, shipped[0].rejects),
        (1, [9; 16], 1, 1)
    );
    let mark = Mark { shipped_at_us: shipped[0].shipped_at_us, segment: shipped[0].segment };
    assert!(store.shipped_after(mark, 10).await.unwrap().is_empty());
    let (through, now) = store.shipped_through().await.unwrap();
    assert!(through == shipped[0].shipped_at_us && now >= through);
    assert!(store.was_shipped([9; 16]).await.unwrap() && !store.was_shipped([8; 16]).await.unwrap());
    assert!(store.parts().await.unwrap().iter().any(|table| table.table == "events" && table.rows == 1));
}

/// A tail that goes on after `before`.
fn oldest(before: Option<Cursor>) -> SearchFilter {
    SearchFilter { order: SearchOrder::Oldest, before, ..SearchFilter::default() }
}
