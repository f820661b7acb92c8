//! What standards demand, by the shared wire vectors and by an independent implementation.

mod coap_differential;
mod coap_vectors;
mod lwm2m_vectors;
mod vector_table;
mod vectors;
