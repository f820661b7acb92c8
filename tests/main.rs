//! All integration tests in one program: each further program would link everything again.

mod config;
