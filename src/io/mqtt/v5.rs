//! MQTT 5.

use std::time::Duration;

use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{
    ConnectProperties, Filter, LastWill, Packet, PubAckReason, Publish, PublishProperties, SubscribeReasonCode,
};
use rumqttc::v5::{AsyncClient, ConnectionError, Event, EventLoop, MqttOptions, StateError};
use rumqttc::{NetworkOptions, Outgoing, TlsConfiguration, Transport};

use super::MqttConfiguration;
use super::protocol::{Attempt, CONNECTION_TIMEOUT, Failure, Happening, Inbound, NoRoom, Protocol, Ticket};
use crate::model::message::{Message, QualityOfService};

/// Messages that the broker may send before we acknowledged any.
const RECEIVE_MAXIMUM: u16 = 256;

pub(super) enum Version5 {}

pub(super) struct Events {
    event_loop: EventLoop,
    /// The connection failed, but events from before that are left.
    failure: Option<Failure>,
    max_packet_bytes: usize,
    keep_alive: Duration,
}

fn qos(qos: QualityOfService) -> QoS {
    match qos {
        QualityOfService::AtMostOnce => QoS::AtMostOnce,
        QualityOfService::AtLeastOnce => QoS::AtLeastOnce,
    }
}

impl Protocol for Version5 {
    type Client = AsyncClient;
    type Events = Events;

    fn build(attempt: &Attempt<'_>) -> (AsyncClient, Events) {
        let configuration = attempt.configuration;
        let host = configuration.address.bracketed_host();
        let mut options = MqttOptions::new(&configuration.client_id, host, configuration.address.port);
        let mut properties = ConnectProperties::new();
        properties.session_expiry_interval =
            Some(u32::try_from(configuration.session_expiry.as_secs()).unwrap_or(u32::MAX));
        properties.receive_maximum = Some(RECEIVE_MAXIMUM);
        properties.max_packet_size = Some(u32::try_from(attempt.max_incoming_bytes).unwrap_or(u32::MAX));
        let mut network = NetworkOptions::new();
        network.set_tcp_nodelay(true);
        options
            .set_keep_alive(configuration.keep_alive)
            .set_connection_timeout(CONNECTION_TIMEOUT.as_secs())
            .set_network_options(network)
            .set_clean_start(attempt.forget_session || configuration.session_expiry.is_zero())
            .set_connect_properties(properties)
            .set_outgoing_inflight_upper_limit(attempt.packet_ids)
            .set_manual_acks(true);
        if let Some(username) = &configuration.username {
            options.set_credentials(username, configuration.password.as_deref().unwrap_or_default());
        }
        if let Some(will) = &configuration.will {
            let will = LastWill::new(&will.topic, will.payload.to_vec(), qos(will.qos), will.retain, None);
            options.set_last_will(will);
        }
        if let Some(tls) = attempt.tls {
            options.set_transport(Transport::tls_with_config(TlsConfiguration::NativeConnector(tls.clone())));
        }
        let (client, event_loop) = AsyncClient::new(options, attempt.request_capacity);
        let events = Events {
            event_loop,
            failure: None,
            max_packet_bytes: configuration.max_packet_bytes,
            keep_alive: configuration.keep_alive,
        };
        (client, events)
    }

    fn publish(client: &AsyncClient, message: &Message) -> Result<(), NoRoom> {
        let (topic, payload) = (message.topic.as_str(), message.payload.clone());
        match &message.correlation {
            None => client.try_publish(topic, qos(message.qos), message.retain, payload),
            Some(correlation) => {
                let properties =
                    PublishProperties { correlation_data: Some(correlation.clone()), ..PublishProperties::default() };
                client.try_publish_with_properties(topic, qos(message.qos), message.retain, payload, properties)
            }
        }
        .map_err(|_| NoRoom)
    }

    fn subscribe(client: &AsyncClient, configuration: &MqttConfiguration) -> Result<(), NoRoom> {
        let filters = configuration.subscriptions.iter().map(|filter| Filter {
            preserve_retain: configuration.retain_told.contains(filter),
            ..Filter::new(filter.clone(), QoS::AtLeastOnce)
        });
        client.try_subscribe_many(filters).map_err(|_| NoRoom)
    }

    fn acknowledge(client: &AsyncClient, ticket: Ticket) -> Result<(), NoRoom> {
        let qos = if ticket.exactly_once { QoS::ExactlyOnce } else { QoS::AtLeastOnce };
        let publish = Publish { pkid: ticket.packet_id, qos, ..Publish::default() };
        client.try_ack(&publish).map_err(|_| NoRoom)
    }

    fn disconnect(client: &AsyncClient) -> Result<(), NoRoom> {
        client.try_disconnect().map_err(|_| NoRoom)
    }

    async fn poll(events: &mut Events) -> Result<Happening, Failure> {
        if events.failure.is_none() {
            match events.event_loop.poll().await {
                Ok(event) => return happening(event, events),
                Err(error) => events.failure = Some(failure(&error)),
            }
        }
        // What was read in one go with the error stands before it, such as the refusal of a message by a broker that
        // then hangs up.
        match (events.event_loop.state.events.pop_front(), events.failure.take()) {
            (Some(event), failure) => {
                events.failure = failure;
                happening(event, events)
            }
            (None, Some(failure)) => Err(failure),
            (None, None) => Ok(Happening::Other),
        }
    }
}

fn happening(event: Event, events: &Events) -> Result<Happening, Failure> {
    match event {
        Event::Incoming(packet) => incoming(packet, events),
        Event::Outgoing(Outgoing::Publish(packet_id)) => Ok(Happening::Written(packet_id)),
        Event::Outgoing(Outgoing::Disconnect) => Ok(Happening::Goodbye),
        Event::Outgoing(_) => Ok(Happening::Other),
    }
}

fn incoming(packet: Packet, events: &Events) -> Result<Happening, Failure> {
    Ok(match packet {
        Packet::ConnAck(answer) => {
            let properties = answer.properties.as_ref();
            let broker_bytes = properties.and_then(|properties| properties.max_packet_size);
            let broker_bytes = broker_bytes.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(usize::MAX);
            let imposed = properties.and_then(|properties| properties.server_keep_alive);
            Happening::Connected {
                max_packet_bytes: events.max_packet_bytes.min(broker_bytes),
                receive_maximum: properties.and_then(|properties| properties.receive_max).unwrap_or(u16::MAX),
                keep_alive: imposed.map_or(events.keep_alive, |secs| Duration::from_secs(u64::from(secs))),
            }
        }
        Packet::SubAck(answer) => {
            let refused = |code: &SubscribeReasonCode| !matches!(code, SubscribeReasonCode::Success(_));
            let codes = answer.return_codes.iter().enumerate();
            Happening::Subscribed(
                codes.filter(|(_, code)| refused(code)).map(|(at, code)| (at, format!("{code:?}"))).collect(),
            )
        }
        Packet::PubAck(answer) => match answer.reason {
            PubAckReason::Success | PubAckReason::NoMatchingSubscribers => Happening::Acknowledged(answer.pkid),
            // Not the fault of the message: both sides disagree about the session.
            PubAckReason::PacketIdentifierInUse => {
                return Err(Failure {
                    reason: "the broker holds a packet id for used that is not".to_owned(),
                    oversized_bytes: None,
                });
            }
            reason => {
                let said = answer.properties.and_then(|properties| properties.reason_string);
                let text = match said {
                    Some(said) => format!("the broker refused it: {reason:?}, {said}"),
                    None => format!("the broker refused it: {reason:?}"),
                };
                Happening::Rejected(answer.pkid, text)
            }
        },
        Packet::Publish(publish) => {
            let properties = publish.properties.unwrap_or_default();
            Happening::Inbound(Inbound {
                ticket: Ticket { packet_id: publish.pkid, exactly_once: publish.qos == QoS::ExactlyOnce },
                topic: String::from_utf8(publish.topic.into()).ok(),
                payload: publish.payload,
                retain: publish.retain,
                response_topic: properties.response_topic,
                correlation: properties.correlation_data,
            })
        }
        _ => Happening::Other,
    })
}

fn failure(error: &ConnectionError) -> Failure {
    let oversized_bytes = match error {
        ConnectionError::MqttState(StateError::Deserialization(
            rumqttc::v5::mqttbytes::Error::PayloadSizeLimitExceeded { pkt_size, .. },
        )) => Some(*pkt_size),
        ConnectionError::MqttState(StateError::IncomingPacketTooLarge { pkt_size, .. }) => Some(*pkt_size),
        _ => None,
    };
    Failure { reason: error.to_string(), oversized_bytes }
}
