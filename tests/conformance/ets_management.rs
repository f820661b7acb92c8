//! Cases 200 to 299: reading, writing, composites, attributes, Discover.

mod composites;
mod discovering;
mod reading;
mod writing;

use super::ets::page::{Case, case};

pub(crate) const CHAPTER: &[&[Case]] =
    &[reading::CASES, writing::CASES, composites::CASES, discovering::CASES, NOT_RUN];

const NOT_RUN: &[Case] = &[
    case!("1.1-int-202", "Reading opaque values", not "the specification gives no procedure"),
    case!("1.1-int-210", "Writing opaque values", not "the specification gives no procedure"),
    case!("1.1-int-270", "Create an instance", not "the specification refers to case 1630"),
    case!("1.1-int-271", "Create several resource instances", not "the specification gives no procedure"),
    case!("1.1-int-290", "Delete an instance", not "the specification refers to case 1635"),
];
