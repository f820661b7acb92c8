//! From text to component configurations, with all problems at once.
