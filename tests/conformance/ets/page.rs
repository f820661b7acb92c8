//! `docs/conformance.md`: one row for each case, made by running it.

use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{ALL, Run, take_runs};
use crate::conformance::{ets_bootstrap, ets_management, ets_objects, ets_registration, ets_reporting, ets_security};
use crate::written_page::check_page;

/// What is done about a case.
#[derive(Clone, Copy)]
pub(crate) enum Judged {
    /// A test runs it.
    By {
        /// The test.
        test: fn(),
        /// Its name.
        name: &'static str,
    },
    /// Nothing does, and why.
    Not(&'static str),
}

/// A case of the test specification.
#[derive(Clone, Copy)]
pub(crate) struct Case {
    /// The id without `LightweightM2M-`.
    pub(crate) id: &'static str,
    /// What it is about, in words of our own.
    pub(crate) title: &'static str,
    /// What is done about it.
    pub(crate) judged: Judged,
}

/// A row of the table: a case that a test of the module runs.
macro_rules! case {
    ($id:literal, $title:literal, $test:ident) => {
        crate::conformance::ets::page::Case {
            id: $id,
            title: $title,
            judged: crate::conformance::ets::page::Judged::By { test: $test, name: stringify!($test) },
        }
    };
    ($id:literal, $title:literal, not $reason:literal) => {
        crate::conformance::ets::page::Case {
            id: $id,
            title: $title,
            judged: crate::conformance::ets::page::Judged::Not($reason),
        }
    };
}
pub(crate) use case;

const CHAPTERS: [(&str, &[&[Case]]); 6] = [
    ("Bootstrap (0 to 99)", ets_bootstrap::CHAPTER),
    ("Registration (100 to 199)", ets_registration::CHAPTER),
    ("Device management (200 to 299)", ets_management::CHAPTER),
    ("Information reporting (300 to 399)", ets_reporting::CHAPTER),
    ("Security (400 to 499)", ets_security::CHAPTER),
    ("Core and further objects (500 to 1999), as far as the client here has them", ets_objects::CHAPTER),
];

/// The files that hold cases.
const SOURCES: &[&str] = &[
    include_str!("../ets_bootstrap.rs"),
    include_str!("../ets_registration.rs"),
    include_str!("../ets_management.rs"),
    include_str!("../ets_management/reading.rs"),
    include_str!("../ets_management/writing.rs"),
    include_str!("../ets_management/composites.rs"),
    include_str!("../ets_management/discovering.rs"),
    include_str!("../ets_objects.rs"),
    include_str!("../ets_reporting.rs"),
    include_str!("../ets_reporting/composites.rs"),
    include_str!("../ets_security.rs"),
];

const HEAD: &str = "# Conformance

The OMA Enabler Test Specification for LwM2M (releases 1.0.2, 1.1 and 1.2) lists cases for servers. Those below are
played by tests: the gateway's core against a scripted client in virtual time, command by command as an operator would
give them, each once for every release that it is for. The cases of security are played over real sockets, between the
program and clients of OpenSSL and Mbed TLS. The table is written by the run, not by hand.

What it cannot say: it is our reading of the cases, not a certificate; the LwM2M client is our own. Clients of others
are met by the end-to-end tests. Where the specification contradicts the standard (success of Delete, the method of a
write, the value of Observe), the standard holds.

A cell is empty where the case is not for that release.
";

fn cells(case: &Case, runs: &[Run]) -> String {
    ALL.iter().fold(String::new(), |mut cells, version| {
        let run = runs.iter().find(|run| run.id == case.id && run.version == *version);
        let cell = match run {
            Some(Run { passed: true, .. }) => "passed",
            Some(Run { passed: false, .. }) => "**failed**",
            None => "",
        };
        let _ = write!(cells, " {cell} |");
        cells
    })
}

fn page() -> String {
    let mut page = HEAD.to_owned();
    for (chapter, parts) in CHAPTERS {
        let mut cases: Vec<&Case> = parts.iter().copied().flatten().collect();
        cases.sort_by_key(|case| number(case.id));
        let _ = write!(page, "\n## {chapter}\n\n| case | about | 1.0 | 1.1 | 1.2 |\n|---|---|---|---|---|\n");
        for case in cases {
            match case.judged {
                Judged::By { test, .. } => {
                    take_runs();
                    let _ = catch_unwind(AssertUnwindSafe(test));
                    let runs = take_runs();
                    assert!(runs.iter().all(|run| run.id == case.id), "{} runs another case: {runs:?}", case.id);
                    assert!(!runs.is_empty(), "{} runs nothing", case.id);
                    let _ = writeln!(page, "| {} | {} |{}", case.id, case.title, cells(case, &runs));
                }
                Judged::Not(reason) => {
                    let _ = writeln!(page, "| {} | {} | not run: {reason} | | |", case.id, case.title);
                }
            }
        }
    }
    page
}

/// The number of an id such as `1.1-int-201`.
fn number(id: &str) -> u32 {
    id.rsplit('-').next().and_then(|number| number.parse().ok()).expect("an id ends with its number")
}

#[test]
fn the_page_says_what_the_cases_say() {
    check_page("docs/conformance.md", &page(), "conformance::ets::page::");
}

#[test]
fn every_case_that_is_written_stands_in_the_table_under_its_id() {
    let cases = || CHAPTERS.iter().flat_map(|(_, parts)| parts.iter().copied().flatten());
    let mut ids: Vec<&str> = cases().map(|case| case.id).collect();
    let all = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), all, "an id stands twice");
    let listed: Vec<&str> = cases()
        .filter_map(|case| match case.judged {
            Judged::By { name, .. } => {
                let words = format!("ets_{}_", case.id.replace(['.', '-'], "_"));
                assert!(name.starts_with(&words), "{name} is not named after {}", case.id);
                Some(name)
            }
            Judged::Not(_) => None,
        })
        .collect();
    let written: Vec<&str> = SOURCES
        .iter()
        .flat_map(|source| source.lines())
        .filter_map(|line| line.strip_prefix("pub(crate) fn ")?.split('(').next())
        .filter(|name| name.starts_with("ets_"))
        .collect();
    assert!(written.len() > 50, "{}", written.len());
    for name in &written {
        assert!(listed.contains(name), "{name} is in no table");
    }
    assert_eq!(written.len(), listed.len());
}
