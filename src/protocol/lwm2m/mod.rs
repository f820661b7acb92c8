//! LwM2M on top of CoAP: registration, operations and observations as data (Core and Transport TS 1.2.2).

pub mod attributes;
pub mod binding;
pub mod bootstrap;
pub mod execute_arguments;
pub mod link_format;
pub mod object_list;
pub mod profile_id;
pub mod registration;
