//! The `lwm2mqtt` command.

fn main() -> std::process::ExitCode {
    lwm2mqtt::cli::run()
}
