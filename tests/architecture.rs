//! The border of the architecture, checked: which module may name which, what pure modules must not touch, how large
//! files may be and what they may not be called.
//!
//! Each rule is proven by a source text that has to break it.

mod source;

use std::path::Path;

use source::Source;

/// Whether a module is free of sockets, files, clocks, threads, locks and asynchrony.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purity {
    Pure,
    Impure,
}
use Purity::{Impure, Pure};

/// Module, what it may name besides itself, purity. A folder below `src` or `src/protocol` that is not here is refused.
const MODULES: [(&str, &[&str], Purity); 15] = [
    ("model", &[], Pure),
    ("instrumentation", &["model"], Pure),
    ("mapping", &["model"], Pure),
    ("northbound", &["model"], Pure),
    ("protocol", &[], Pure),
    ("protocol::coap", &["model"], Pure),
    ("protocol::content", &["model"], Pure),
    ("protocol::dtls", &["model"], Pure),
    ("protocol::lwm2m", &["model", "protocol::coap", "protocol::content"], Pure),
    ("gateway", &["protocol", "mapping", "northbound", "model", "instrumentation"], Pure),
    ("simulator", &["gateway", "protocol", "mapping", "northbound", "model", "instrumentation"], Pure),
    // The host of simulated devices is an adapter too.
    ("io", &["simulator", "gateway", "protocol", "mapping", "northbound", "model", "instrumentation"], Impure),
    ("config", &["gateway", "mapping", "northbound", "model", "io"], Pure),
    ("daemon", EVERYTHING, Impure),
    ("cli", EVERYTHING, Impure),
];

const EVERYTHING: &[&str] = &[
    "model",
    "instrumentation",
    "mapping",
    "northbound",
    "protocol",
    "gateway",
    "simulator",
    "io",
    "config",
    "daemon",
    "cli",
];

/// What the two files at the root may name: `main.rs` starts the command line, `lib.rs` only declares.
const ROOT_MAY_NAME: &[&str] = &["cli"];

/// Paths into the operating system, and crates that live from it.
const BANNED_IN_PURE_MODULES: [&str; 24] = [
    "std::fs",
    "std::thread",
    "std::net::UdpSocket",
    "std::net::TcpStream",
    "std::net::TcpListener",
    "std::os",
    "std::process",
    "std::time::Instant",
    "std::time::SystemTime",
    "std::sync::Mutex",
    "std::sync::RwLock",
    "std::sync::Condvar",
    "std::sync::mpsc",
    "tokio",
    "axum",
    "rumqttc",
    "rumqttd",
    "rusqlite",
    "openssl",
    "quinn_udp",
    "socket2",
    "getrandom",
    "gethostname",
    "sd_notify",
];

const MAX_LINES: usize = 700;

/// Words that say nothing about what a file holds.
const BANNED_NAMES: [&str; 9] =
    ["util", "utils", "helper", "helpers", "common", "manager", "managers", "handler", "handlers"];

/// The only file that may hold `unsafe`: what the TLS library offers no safe call for.
const UNSAFE_FILE: &str = "src/io/dtls_handshake.rs";

/// The row of the table for a module path without `crate`, the most specific one.
fn row(module: &[String]) -> Option<&'static (&'static str, &'static [&'static str], Purity)> {
    let named = |parts: usize| module.get(..parts).map(|parts| parts.join("::"));
    [named(2), named(1)].into_iter().flatten().find_map(|name| MODULES.iter().find(|(module, ..)| *module == name))
}

/// Whether a file below `src` holds tests alone: they read fixtures, and look at layers from outside.
fn is_test_only(path: &str) -> bool {
    path.contains("/tests/") || ["/tests.rs", "_tests.rs", "_test.rs"].iter().any(|end| path.ends_with(end))
}

/// Whether `name` is `module` or lies inside it.
fn lies_in(name: &str, module: &str) -> bool {
    name.strip_prefix(module).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

fn problems(files: &[Source]) -> Vec<String> {
    let mut problems = Vec::new();
    for file in files {
        let mut report = |problem: String| problems.push(format!("{}: {problem}", file.path));
        if file.text.lines().count() > MAX_LINES {
            report(format!("more than {MAX_LINES} lines"));
        }
        for word in file.path.trim_end_matches(".rs").split(['/', '_']) {
            if BANNED_NAMES.contains(&word) {
                report(format!("'{word}' names nothing"));
            }
        }
        if !file.path.starts_with("src/") {
            continue;
        }
        if file.has_word("unsafe") && file.path != UNSAFE_FILE {
            report("unsafe".to_owned());
        }
        if is_test_only(&file.path) {
            continue;
        }
        let module = file.module();
        let is_root = module.is_empty();
        let own = row(&module);
        // A folder inside protocol is a layer of its own and needs its own row.
        let is_new_layer = file.path.starts_with("src/protocol/") && own.is_none_or(|(name, ..)| *name == "protocol");
        if !is_root && (own.is_none() || (is_new_layer && file.path != "src/protocol/mod.rs")) {
            report("its folder is not in the table of modules".to_owned());
            continue;
        }
        let (name, may_name, purity) = own.copied().unwrap_or(("", ROOT_MAY_NAME, Impure));
        check_paths(file, name, may_name, purity, &mut report);
    }
    problems
}

fn check_paths(file: &Source, name: &str, may_name: &[&str], purity: Purity, report: &mut impl FnMut(String)) {
    for path in file.paths() {
        if path.first().map(String::as_str) == Some("crate") {
            let target = path.get(1..).unwrap_or_default();
            match row(target) {
                Some((target, ..)) => {
                    let is_own = !name.is_empty() && lies_in(target, name);
                    if !is_own && !may_name.iter().any(|allowed| lies_in(target, allowed)) {
                        report(format!("{name} may not name {target}"));
                    }
                }
                None => report(format!("names {}, which is in no module of the table", path.join("::"))),
            }
        }
        let path = path.join("::");
        if purity == Pure
            && let Some(banned) = BANNED_IN_PURE_MODULES.iter().find(|banned| lies_in(&path, banned))
        {
            report(format!("{banned} in a pure module"));
        }
    }
    if purity == Pure && file.has_word("async") {
        report("async in a pure module".to_owned());
    }
}

/// All Rust files below a folder of the repository.
fn read(folder: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    let mut folders = vec![root.join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("the folder exists") {
            let path = entry.expect("the folder can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root).expect("below the root").to_string_lossy().replace('\\', "/");
                files.push(Source { path: name, text: std::fs::read_to_string(&path).expect("a text") });
            }
        }
    }
    files
}

#[test]
fn the_source_tree_keeps_its_borders() {
    let mut files = read("src");
    assert!(files.len() > 20, "only {} files were found", files.len());
    files.extend(read("tests"));
    let problems = problems(&files);
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
}

#[test]
fn each_row_names_only_modules_of_the_table() {
    for (module, may_name, _) in MODULES {
        for name in may_name {
            assert!(MODULES.iter().any(|(known, ..)| known == name), "{module} may name {name}, which is nowhere");
        }
    }
}

/// The problems of one file.
fn broken(path: &str, text: &str) -> Vec<String> {
    let prefix = format!("{path}: ");
    let file = Source { path: path.to_owned(), text: text.to_owned() };
    problems(&[file]).into_iter().map(|problem| problem.trim_start_matches(&prefix).to_owned()).collect()
}

#[test]
fn upward_and_sideward_names_are_found() {
    for (path, text, problem) in [
        ("src/model/path.rs", "use crate::gateway::store::Record;", "model may not name gateway"),
        ("src/model/path.rs", "fn f() -> crate::protocol::coap::message::Code;", "model may not name protocol::coap"),
        ("src/model/path.rs", "use super::super::mapping::Plan;", "model may not name mapping"),
        (
            "src/mapping/mod.rs",
            "use crate::{model::path::Path, protocol::content};",
            "mapping may not name protocol::content",
        ),
        ("src/northbound/mod.rs", "use crate::mapping::Plan;", "northbound may not name mapping"),
        (
            "src/protocol/coap/block.rs",
            "use crate::protocol::lwm2m::registration;",
            "protocol::coap may not name protocol::lwm2m",
        ),
        ("src/protocol/content/tlv.rs", "use super::super::lwm2m;", "protocol::content may not name protocol::lwm2m"),
        (
            "src/protocol/content/mod.rs",
            "use super::coap::message::Code;",
            "protocol::content may not name protocol::coap",
        ),
        ("src/protocol/lwm2m/send.rs", "use crate::mapping::Plan;", "protocol::lwm2m may not name mapping"),
        ("src/gateway/core.rs", "use crate::io::udp::Socket;", "gateway may not name io"),
        ("src/io/udp.rs", "use crate::config::File;", "io may not name config"),
        ("src/io/udp.rs", "use crate::daemon::host::Host;", "io may not name daemon"),
        ("src/simulator/mod.rs", "use crate::io::udp::Socket;", "simulator may not name io"),
        ("src/config/mod.rs", "use crate::daemon::Run;", "config may not name daemon"),
        ("src/lib.rs", "pub use crate::model::path::Path;", " may not name model"),
        (
            "src/model/path.rs",
            "use crate::speed::Fast;",
            "names crate::speed::Fast, which is in no module of the table",
        ),
    ] {
        assert_eq!(broken(path, text), [problem], "{path}: {text}");
    }
}

#[test]
fn downward_names_are_allowed() {
    for (path, text) in [
        ("src/gateway/core.rs", "use crate::{mapping::Plan, protocol::{coap, lwm2m::registration}};"),
        ("src/protocol/lwm2m/send.rs", "use crate::protocol::content; use super::link_format::Link;"),
        ("src/protocol/mod.rs", "pub use self::coap::message; pub use crate::protocol::lwm2m::x::Y;"),
        ("src/io/udp.rs", "use crate::gateway::core::Core; use tokio::net::UdpSocket; async fn f() {}"),
        ("src/cli/mod.rs", "use crate::daemon::Run; use std::fs;"),
        ("src/main.rs", "fn main() { lwm2mqtt::cli::main(); }"),
        ("src/model/path.rs", "//! crate::gateway and tokio::spawn\nuse std::net::SocketAddr; // std::fs::read"),
    ] {
        assert_eq!(broken(path, text), [""; 0], "{path}: {text}");
    }
}

#[test]
fn the_operating_system_in_a_pure_module_is_found() {
    for (text, banned) in [
        ("use std::fs;", "std::fs"),
        ("use std::{fmt, fs::File};", "std::fs"),
        ("fn f() { std::fs::read(x); }", "std::fs"),
        ("use std::net::{IpAddr, UdpSocket};", "std::net::UdpSocket"),
        ("fn f() { std::thread::spawn(g); }", "std::thread"),
        ("use std::time::{Duration, Instant};", "std::time::Instant"),
        ("use std::sync::{Arc, Mutex};", "std::sync::Mutex"),
        ("fn f() { tokio::spawn(g()); }", "tokio"),
        ("use rusqlite::Connection;", "rusqlite"),
    ] {
        assert_eq!(broken("src/gateway/core.rs", text), [format!("{banned} in a pure module")], "{text}");
    }
    assert_eq!(broken("src/mapping/mod.rs", "async fn f() {}"), ["async in a pure module"]);
    assert_eq!(broken("src/mapping/mod.rs", "fn f() { async move {} }"), ["async in a pure module"]);
}

#[test]
fn folders_that_the_table_does_not_know_are_found() {
    let missing = ["its folder is not in the table of modules"];
    assert_eq!(broken("src/speed/mod.rs", ""), missing);
    assert_eq!(broken("src/speed.rs", ""), missing);
    assert_eq!(broken("src/protocol/mqtt/packet.rs", ""), missing);
    assert_eq!(broken("src/protocol/stray.rs", ""), missing);
}

#[test]
fn long_files_empty_names_and_unsafe_code_are_found() {
    assert_eq!(broken("src/model/path.rs", &"\n".repeat(MAX_LINES)), [""; 0]);
    assert_eq!(broken("tests/long.rs", &"\n".repeat(MAX_LINES + 1)), ["more than 700 lines"]);
    for word in BANNED_NAMES {
        assert_eq!(broken(&format!("src/io/{word}.rs"), ""), [format!("'{word}' names nothing")]);
    }
    assert_eq!(broken("src/io/http_handlers/mod.rs", ""), ["'handlers' names nothing"]);
    assert_eq!(broken("src/io/udp.rs", "fn f() { unsafe { g() } }"), ["unsafe"]);
    assert_eq!(broken(UNSAFE_FILE, "fn f() { unsafe { g() } }"), [""; 0]);
    assert_eq!(broken("src/io/udp.rs", "// unsafe\n#![deny(unsafe_code)]"), [""; 0]);
}
