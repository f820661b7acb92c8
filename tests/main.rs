//! All integration tests in one binary: each further binary would link the whole crate again.

mod end_to_end;
