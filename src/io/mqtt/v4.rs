//! MQTT 3.1.1.

use rumqttc::{
    AsyncClient, ConnectionError, Event, EventLoop, LastWill, MqttOptions, NetworkOptions, Outgoing, Packet, Publish,
    QoS, StateError, SubscribeFilter, SubscribeReasonCode, TlsConfiguration, Transport,
};

use super::MqttConfiguration;
use super::protocol::{Attempt, CONNECTION_TIMEOUT, Failure, Happening, Inbound, NoRoom, Protocol, Ticket};
use crate::model::message::{Message, QualityOfService};

pub(super) enum Version4 {}

/// The event loop with the packet bound, which this version does not negotiate.
pub(super) struct Events {
    event_loop: EventLoop,
    /// The connection failed, but events from before that are left.
    failure: Option<Failure>,
    max_packet_bytes: usize,
}

fn qos(qos: QualityOfService) -> QoS {
    match qos {
        QualityOfService::AtMostOnce => QoS::AtMostOnce,
        QualityOfService::AtLeastOnce => QoS::AtLeastOnce,
    }
}

impl Protocol for Version4 {
    type Client = AsyncClient;
    type Events = Events;

    fn build(attempt: &Attempt<'_>) -> (AsyncClient, Events) {
        let configuration = attempt.configuration;
        let host = configuration.address.bracketed_host();
        let mut options = MqttOptions::new(&configuration.client_id, host, configuration.address.port);
        options
            .set_keep_alive(configuration.keep_alive)
            .set_clean_session(attempt.forget_session || configuration.session_expiry.is_zero())
            .set_max_packet_size(attempt.max_incoming_bytes, configuration.max_packet_bytes)
            .set_inflight(attempt.packet_ids)
            .set_manual_acks(true);
        if let Some(username) = &configuration.username {
            options.set_credentials(username, configuration.password.as_deref().unwrap_or_default());
        }
        if let Some(will) = &configuration.will {
            options.set_last_will(LastWill::new(&will.topic, will.payload.to_vec(), qos(will.qos), will.retain));
        }
        if let Some(tls) = attempt.tls {
            options.set_transport(Transport::tls_with_config(TlsConfiguration::NativeConnector(tls.clone())));
        }
        let (client, mut event_loop) = AsyncClient::new(options, attempt.request_capacity);
        let mut network = NetworkOptions::new();
        network.set_tcp_nodelay(true);
        network.set_connection_timeout(CONNECTION_TIMEOUT.as_secs());
        event_loop.set_network_options(network);
        (client, Events { event_loop, failure: None, max_packet_bytes: configuration.max_packet_bytes })
    }

    fn publish(client: &AsyncClient, message: &Message) -> Result<(), NoRoom> {
        client
            .try_publish(message.topic.as_str(), qos(message.qos), message.retain, message.payload.clone())
            .map_err(|_| NoRoom)
    }

    fn subscribe(client: &AsyncClient, configuration: &MqttConfiguration) -> Result<(), NoRoom> {
        let filters =
            configuration.subscriptions.iter().map(|filter| SubscribeFilter::new(filter.clone(), QoS::AtLeastOnce));
        client.try_subscribe_many(filters).map_err(|_| NoRoom)
    }

    fn acknowledge(client: &AsyncClient, ticket: Ticket) -> Result<(), NoRoom> {
        let qos = if ticket.exactly_once { QoS::ExactlyOnce } else { QoS::AtLeastOnce };
        let mut publish = Publish::new("", qos, Vec::new());
        publish.pkid = ticket.packet_id;
        client.try_ack(&publish).map_err(|_| NoRoom)
    }

    fn disconnect(client: &AsyncClient) -> Result<(), NoRoom> {
        client.try_disconnect().map_err(|_| NoRoom)
    }

    async fn poll(events: &mut Events) -> Result<Happening, Failure> {
        if events.failure.is_none() {
            match events.event_loop.poll().await {
                Ok(event) => return Ok(happening(event, events)),
                Err(error) => events.failure = Some(failure(&error)),
            }
        }
        // What was read in one go with the error stands before it, such as the refusal of a message by a broker that
        // then hangs up.
        match (events.event_loop.state.events.pop_front(), events.failure.take()) {
            (Some(event), failure) => {
                events.failure = failure;
                Ok(happening(event, events))
            }
            (None, Some(failure)) => Err(failure),
            (None, None) => Ok(Happening::Other),
        }
    }
}

fn happening(event: Event, events: &Events) -> Happening {
    match event {
        Event::Incoming(packet) => incoming(packet, events),
        Event::Outgoing(Outgoing::Publish(packet_id)) => Happening::Written(packet_id),
        Event::Outgoing(Outgoing::Disconnect) => Happening::Goodbye,
        Event::Outgoing(_) => Happening::Other,
    }
}

fn incoming(packet: Packet, events: &Events) -> Happening {
    match packet {
        Packet::ConnAck(_) => Happening::Connected {
            max_packet_bytes: events.max_packet_bytes,
            receive_maximum: u16::MAX,
            keep_alive: events.event_loop.mqtt_options.keep_alive(),
        },
        Packet::SubAck(answer) => {
            let refused = |code: &SubscribeReasonCode| matches!(code, SubscribeReasonCode::Failure);
            let codes = answer.return_codes.iter().enumerate();
            Happening::Subscribed(
                codes.filter(|(_, code)| refused(code)).map(|(at, _)| (at, "no reason given".to_owned())).collect(),
            )
        }
        Packet::PubAck(answer) => Happening::Acknowledged(answer.pkid),
        Packet::Publish(publish) => Happening::Inbound(Inbound {
            ticket: Ticket { packet_id: publish.pkid, exactly_once: publish.qos == QoS::ExactlyOnce },
            topic: Some(publish.topic),
            payload: publish.payload,
            retain: publish.retain,
            response_topic: None,
            correlation: None,
        }),
        _ => Happening::Other,
    }
}

fn failure(error: &ConnectionError) -> Failure {
    let oversized_bytes = match error {
        ConnectionError::MqttState(StateError::Deserialization(
            rumqttc::mqttbytes::Error::PayloadSizeLimitExceeded(bytes),
        )) => Some(*bytes),
        _ => None,
    };
    Failure { reason: error.to_string(), oversized_bytes }
}
