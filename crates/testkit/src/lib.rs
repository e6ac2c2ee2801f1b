//! Synthetic requests as consistent log lines of every sender, with the true trace.
//!
//! [`Mix`] makes requests from a seed: the same seed and number always give the same [`Request`], in any order. A
//! request is the truth (who saw it, when, for how long, with what outcome); the rooms below write it down as each
//! sender would, so whatever decodes and joins those lines can be held against it.
//!
//! | room | writes |
//! |---|---|
//! | [`fastly`] | VCL log lines, our own format and Fastly's default one |
//! | [`istio`] | JSON and TEXT lines of Istio's proxies |
//! | [`als`] | gRPC access log messages |
//! | [`otlp`] | OTLP log requests in Istio's two shapes |
//! | [`events`] | hop events, for benches that skip decoding |
//!
//! [`truth`] makes requests of every shape with their true trees, for proving the join.
//!
//! [`drive`] goes the other way: any bytes into any decoder, with checks, for fuzzing.
//!
//! The sample mix: 6 records a request, three random 128-bit ids an event, 10,000 paths and 5,000 user agents by
//! Zipf's law, a million client addresses, 300 pods, lines of about 700 bytes.

pub mod als;
pub mod drive;
pub mod events;
pub mod fastly;
pub mod istio;
mod mix;
pub mod otlp;
mod population;
mod protobuf;
mod request;
mod rng;
mod story;
mod text;
pub mod truth;

pub use mix::{DEFAULT_START_MS, Mix};
pub use population::{Pod, Population};
pub use request::{Request, Server, TrueHop};
pub use rng::Rng;
pub use story::Story;
