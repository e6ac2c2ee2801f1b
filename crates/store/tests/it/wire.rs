//! What goes over the wire and what its failures mean, against the client crate's own test server.

use clickhouse::test::{Mock, handlers};
use store::{Endpoint, Fault, Store};

use crate::support::{batch, edge};

#[tokio::test]
async fn a_busy_server_is_retryable_and_a_missing_table_is_not() {
    let mock = Mock::new();
    let store = Store::connect(Endpoint::at(mock.url()));
    mock.add(handlers::exception(159));
    let error = store.insert(&batch([edge(1)]), [1; 16], "a").await.unwrap_err();
    assert!(error.retryable() && error.table == "ids", "{error}");
    mock.add(handlers::exception(60));
    let error = store.insert(&batch([edge(1)]), [1; 16], "a").await.unwrap_err();
    assert_eq!(error.fault, Fault::Setup);
    mock.add(handlers::failure(http::StatusCode::BAD_GATEWAY));
    assert!(store.ping().await.unwrap_err().retryable());
}

#[tokio::test]
async fn a_server_that_is_not_there_is_retryable() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let store = Store::connect(Endpoint::at(url));
    assert!(store.ping().await.unwrap_err().retryable());
    assert!(store.insert(&batch([edge(1)]), [1; 16], "a").await.unwrap_err().retryable());
}

#[test]
fn a_password_is_not_printed() {
    let mut endpoint = Endpoint::at("http://127.0.0.1:1");
    endpoint.password = "hidden words".into();
    assert!(!format!("{endpoint:?} {:?}", Store::connect(endpoint.clone())).contains("hidden"));
}
