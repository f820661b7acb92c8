//! What standards demand, by the shared wire vectors, by an independent implementation and by datagrams.

mod blockwise_rfc7959;
mod bootstrap_core;
mod bootstrap_credentials;
mod bootstrap_fields;
mod coap_differential;
mod coap_rfc7252;
mod coap_tcp_rfc8323;
mod coap_tls_core;
mod coap_vectors;
mod composite_core;
mod ets;
mod ets_bootstrap;
mod ets_management;
mod ets_objects;
mod ets_registration;
mod ets_reporting;
mod ets_security;
pub(crate) mod gateway;
mod gateway_objects;
mod lwm2m_vectors;
mod observe_rfc7641;
mod queue_mode_core;
mod registration_core;
pub(crate) mod stream;
mod tcp_vectors;
mod vector_table;
mod vectors;
