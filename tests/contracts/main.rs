//! The contracts for machines, `/api/openapi.json` and `/api/asyncapi.yaml`: compared with the running server, and read
//! by common tools.
//!
//! Needs the tools of `scripts/install-test-tools`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test ends with what is wrong")]

mod harness;
mod routes;
mod tools;
