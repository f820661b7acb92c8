//! Layouts: reports become messages, messages become commands.
