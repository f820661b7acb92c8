//! The `lwm2mqtt` command.

fn main() {}
