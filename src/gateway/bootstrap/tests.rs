//! Sessions of scripted devices against the whole core.
