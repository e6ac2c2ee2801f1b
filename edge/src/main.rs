//! The verification service as Fastly Compute runs it: one process for each request, one decision, one answer, one log line.
//!
//! Everything that decides lives in the library, which knows no platform and is tested natively. On any other machine than
//! wasm32 this binary is empty, because the platform's calls do not link there.

#[cfg(target_arch = "wasm32")]
mod platform;

#[cfg(target_arch = "wasm32")]
fn main() {
    platform::serve();
}

#[cfg(not(target_arch = "wasm32"))]
fn main() {}
