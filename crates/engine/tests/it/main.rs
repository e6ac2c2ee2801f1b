//! The engine as a process, with the real library and the official client. One binary; every test uses its own table.

mod inserts;
mod life;
mod public;
mod reads;
mod support;
