//! What standards demand, by the shared wire vectors, by an independent implementation and by datagrams.

mod blockwise_rfc7959;
mod coap_differential;
mod coap_rfc7252;
mod coap_vectors;
mod composite_core;
pub(crate) mod gateway;
mod lwm2m_vectors;
mod observe_rfc7641;
mod registration_core;
mod vector_table;
mod vectors;
