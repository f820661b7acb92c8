//! Which test runs which kind of vector: a kind that nobody runs, or a vector that got lost, fails here.

use std::collections::BTreeMap;

use super::vectors::{self, Vector};
use super::{coap_vectors, lwm2m_vectors, tcp_vectors};

/// Checks one vector; the error says what is wrong.
type Check = fn(&Vector) -> Result<(), String>;

#[derive(Clone, Copy)]
enum RunBy {
    /// This check, in the tests below.
    Check(Check),
    /// The unit tests of this source file.
    UnitTests(&'static str),
    /// Nothing yet: the program has no such part.
    PartStillToCome,
}

const CONTENT: RunBy = RunBy::UnitTests("src/protocol/content/vectors_test.rs");

/// Kind, number of vectors, who runs them.
const TABLE: [(&str, usize, RunBy); 22] = [
    ("block-option", 8, RunBy::Check(coap_vectors::block_option)),
    ("cbor", 22, CONTENT),
    ("cipher-suite", 3, RunBy::PartStillToCome),
    ("coap", 92, RunBy::Check(coap_vectors::message)),
    ("coap-tcp", 17, RunBy::Check(tcp_vectors::frame)),
    ("coap-tcp-header", 2, RunBy::Check(tcp_vectors::header)),
    ("coap-tcp-stream", 2, RunBy::Check(tcp_vectors::stream)),
    ("endpoint-name", 9, RunBy::Check(lwm2m_vectors::endpoint_name)),
    ("execute-args", 15, RunBy::Check(lwm2m_vectors::execute_arguments)),
    ("link-format", 57, RunBy::Check(lwm2m_vectors::links)),
    ("lwm2m-cbor", 29, CONTENT),
    ("mqtt-cbor", 4, RunBy::PartStillToCome),
    ("observe-order", 5, RunBy::Check(coap_vectors::observe_order)),
    ("oma-json", 10, CONTENT),
    ("profile-id", 8, RunBy::Check(lwm2m_vectors::profile_id)),
    ("registration", 34, RunBy::Check(lwm2m_vectors::registration)),
    ("request-line", 3, RunBy::Check(coap_vectors::request_line)),
    ("senml-cbor", 36, CONTENT),
    ("senml-json", 43, CONTENT),
    ("text-plain", 20, CONTENT),
    ("tlv", 61, CONTENT),
    ("uri-query-attributes", 25, RunBy::Check(lwm2m_vectors::attributes)),
];

#[test]
fn every_kind_of_vector_has_its_test_and_none_got_lost() {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for vector in vectors::all() {
        *counts.entry(vector.kind).or_default() += 1;
    }
    let table: BTreeMap<String, usize> = TABLE.iter().map(|(kind, count, _)| ((*kind).to_owned(), *count)).collect();
    assert_eq!(counts, table);
    for (kind, _, run_by) in TABLE {
        if let RunBy::UnitTests(file) = run_by {
            assert!(file.starts_with("src/") && file.ends_with("_test.rs"), "{kind} is run by no file of unit tests");
        }
    }
}

#[test]
fn every_identifier_of_a_vector_is_unique() {
    let mut ids: Vec<String> = vectors::all().into_iter().map(|vector| vector.id).collect();
    ids.sort_unstable();
    let count = ids.len();
    ids.dedup();
    assert_eq!(ids.len(), count);
}

/// Runs all vectors of a kind and names those that fail.
fn run(kind: &str) {
    let row = TABLE.iter().find(|(candidate, _, _)| *candidate == kind);
    let Some((_, count, RunBy::Check(check))) = row else { panic!("{kind} is not checked here") };
    let vectors: Vec<Vector> = vectors::all().into_iter().filter(|vector| vector.kind == kind).collect();
    assert_eq!(vectors.len(), *count);
    let failed: Vec<String> =
        vectors.iter().filter_map(|vector| Some(format!("{}: {}", vector.id, check(vector).err()?))).collect();
    assert!(failed.is_empty(), "{} of {count} failed:\n{}", failed.len(), failed.join("\n"));
}

#[test]
fn rfc7252_3_vectors_of_messages() {
    run("coap");
}

#[test]
fn rfc8323_3_2_vectors_of_frames() {
    run("coap-tcp");
}

#[test]
fn rfc8323_3_2_vectors_of_first_bytes() {
    run("coap-tcp-header");
}

#[test]
fn rfc8323_3_3_vectors_of_streams() {
    run("coap-tcp-stream");
}

#[test]
fn rfc7959_2_2_vectors_of_block_options() {
    run("block-option");
}

#[test]
fn rfc7641_3_4_vectors_of_notification_order() {
    run("observe-order");
}

#[test]
fn rfc7252_6_4_vectors_of_request_lines() {
    run("request-line");
}

#[test]
fn rfc6690_2_vectors_of_links() {
    run("link-format");
}

#[test]
fn core_6_2_1_vectors_of_registrations() {
    run("registration");
}

#[test]
fn core_6_2_1_vectors_of_profile_ids() {
    run("profile-id");
}

#[test]
fn core_6_2_1_vectors_of_endpoint_names() {
    run("endpoint-name");
}

#[test]
fn core_5_1_2_vectors_of_attributes() {
    run("uri-query-attributes");
}

#[test]
fn core_6_3_5_vectors_of_execute_arguments() {
    run("execute-args");
}
