//! Every key of a mapping file: the one table behind the check for unknown keys and the JSON schema.

/// What may stand under a key.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::mapping) enum Shape {
    /// A string.
    Text,
    /// A string, one of these.
    OneOf(&'static [&'static str]),
    /// A string or an array of strings.
    Texts,
    /// The same, each one of these.
    TextsOf(&'static [&'static str]),
    /// An integer.
    Integer,
    /// An array of integers.
    Integers,
    /// A number.
    Number,
    /// true or false.
    Boolean,
    /// A string such as `30s`.
    Duration,
    /// A path pattern.
    Pattern,
    /// A table with any keys and string values.
    TextTable,
    /// A table with any keys and values.
    AnyTable,
    /// Anything.
    Any,
    /// A table of notification attributes, or false.
    Observe,
    /// `on_register`, `on_wake` or `{ every = DURATION }`.
    Read,
    /// `on_receive`, `on_change`, `{ every = DURATION }` or `{ on_change_or_every = DURATION }`.
    Report,
    /// A content format by name or number.
    Format,
    /// A table with the keys of a section.
    Table(&'static SectionKeys),
    /// One such table or an array of them.
    Tables(&'static SectionKeys),
}

/// One key.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::mapping) struct Key {
    pub(in crate::mapping) name: &'static str,
    pub(in crate::mapping) shape: Shape,
    pub(in crate::mapping) required: bool,
    /// For the schema.
    pub(in crate::mapping) about: &'static str,
}

/// The keys of one table.
#[derive(Debug, PartialEq)]
pub(in crate::mapping) struct SectionKeys {
    /// As it is written in messages.
    pub(in crate::mapping) name: &'static str,
    pub(in crate::mapping) keys: &'static [Key],
}

const fn key(name: &'static str, shape: Shape, about: &'static str) -> Key {
    Key { name, shape, required: false, about }
}

const fn required(name: &'static str, shape: Shape, about: &'static str) -> Key {
    Key { name, shape, required: true, about }
}

/// `[match]`.
pub(in crate::mapping) static MATCH: SectionKeys = SectionKeys {
    name: "[match]",
    keys: &[
        key("endpoint", Shape::Text, "Glob over the endpoint name."),
        key("objects", Shape::Integers, "Objects that the device must have registered, all of them."),
        key("tags", Shape::Texts, "Tags that the operator must have given the device, all of them."),
        key("manufacturer", Shape::Text, "Glob over resource /3/0/0; does not fit before it was read."),
        key("model", Shape::Text, "Glob over resource /3/0/1; does not fit before it was read."),
        key("firmware", Shape::Text, "Glob over resource /3/0/3; does not fit before it was read."),
        key(
            "lwm2m_version",
            Shape::Text,
            "Glob over the enabler version of the registration, such as \"1.1\" or \"1.*\".",
        ),
        key("identity", Shape::Text, "Glob over the authenticated identity."),
    ],
};

/// `[settings]`.
pub(in crate::mapping) static SETTINGS: SectionKeys = SectionKeys {
    name: "[settings]",
    keys: &[
        key("queue_mode", Shape::OneOf(&["auto", "force", "never"]), "When queue mode applies."),
        key("awake_window", Shape::Duration, "Queue mode: how long the device counts as awake after its last message."),
        key("ack_timeout", Shape::Duration, "CoAP acknowledgement timeout (RFC 7252 section 4.8)."),
        key("write_format", Shape::Format, "Content format of writes, by name or number."),
    ],
};

/// `[defaults]`.
pub(in crate::mapping) static DEFAULTS: SectionKeys = SectionKeys {
    name: "[defaults]",
    keys: &[
        key("observe", Shape::Observe, "Notification attributes for the rules of this file; a rule's own go first."),
        key(
            "observe_strategy",
            Shape::OneOf(&["single", "composite_all", "composite_by_object", "auto"]),
            "Whether a device is observed path by path or several paths as one (LwM2M 1.1 and later).",
        ),
    ],
};

/// A table of notification attributes.
pub(in crate::mapping) static OBSERVE: SectionKeys = SectionKeys {
    name: "observe",
    keys: &[
        key("pmin", Shape::Duration, "Least time between notifications, whole seconds."),
        key("pmax", Shape::Duration, "Most time between notifications, whole seconds."),
        key("gt", Shape::Number, "Notify when this is crossed (upper)."),
        key("lt", Shape::Number, "Notify when this is crossed (lower)."),
        key("st", Shape::Number, "Notify on a change of at least this."),
        key("epmin", Shape::Duration, "Least time between evaluations (LwM2M 1.1)."),
        key("epmax", Shape::Duration, "Most time between evaluations (LwM2M 1.1)."),
        key("edge", Shape::Integer, "Notify on the falling (0) or rising (1) edge (LwM2M 1.2)."),
        key("con", Shape::Integer, "1: confirmable notifications (LwM2M 1.2)."),
        key("hqmax", Shape::Integer, "Entries kept while the device cannot notify (LwM2M 1.2)."),
    ],
};

/// `[[telemetry]]` and `[[attribute]]`.
const VALUE_KEYS: &[Key] = &[
    required("path", Shape::Pattern, "Which resources, such as \"/3303/*/5700\"; * is any instance or resource."),
    key(
        "key",
        Shape::Text,
        "Name of the value; {instance} {resource_instance} {object} {resource} {endpoint} {device}.",
    ),
    key("extract", Shape::TextTable, "Several keys from one value: key = JSON pointer. Instead of key."),
    key("decode", Shape::Text, "How a string or opaque value is read: json, cbor, hex, utf8 or struct:FORMAT."),
    key("scale", Shape::Number, "Numbers are multiplied by this, then offset is added."),
    key("offset", Shape::Number, "Added after scale."),
    key("round", Shape::Integer, "Decimals to keep, 0 to 15."),
    key("names", Shape::TextTable, "Names for numbers."),
    key("as", Shape::OneOf(&["integer", "float", "boolean", "string", "rfc3339"]), "JSON type of the result."),
    key("unit", Shape::Text, "Unit of the result."),
    key("observe", Shape::Observe, "Notification attributes, or false for no observation."),
    key("read", Shape::Read, "When to read: \"on_register\", \"on_wake\" or { every = \"1h\" }; default never."),
    key(
        "report",
        Shape::Report,
        "When the value leaves: \"on_receive\" (default of telemetry), \"on_change\" (of attributes) or periodically.",
    ),
    key("sinks", Shape::Texts, "Sinks it goes to; default all."),
    key("also", Shape::Boolean, "true: the search for a rule goes on after this one."),
];

/// `[[telemetry]]`.
pub(in crate::mapping) static TELEMETRY: SectionKeys = SectionKeys { name: "[[telemetry]]", keys: VALUE_KEYS };

/// `[[attribute]]`.
pub(in crate::mapping) static ATTRIBUTE: SectionKeys = SectionKeys { name: "[[attribute]]", keys: VALUE_KEYS };

/// `[[ignore]]`.
pub(in crate::mapping) static IGNORE: SectionKeys = SectionKeys {
    name: "[[ignore]]",
    keys: &[required("path", Shape::Pattern, "What is neither sent nor observed; a short path takes all below it.")],
};

/// `[[desired]]`.
pub(in crate::mapping) static DESIRED: SectionKeys = SectionKeys {
    name: "[[desired]]",
    keys: &[
        required("key", Shape::Text, "The key that the cloud may set."),
        required("path", Shape::Pattern, "The resource to write; * for the instance needs {instance} in the key."),
        key("min", Shape::Number, "Least value, in the unit of the key."),
        key("max", Shape::Number, "Greatest value, in the unit of the key."),
        key("scale", Shape::Number, "As in [[telemetry]], applied backwards."),
        key("offset", Shape::Number, "As in [[telemetry]], applied backwards."),
        key("round", Shape::Integer, "Decimals of the written number, 0 to 15."),
        key("names", Shape::TextTable, "As in [[telemetry]], applied backwards."),
        key("unit", Shape::Text, "Unit of the key."),
    ],
};

/// `[[command]]`.
pub(in crate::mapping) static COMMAND: SectionKeys = SectionKeys {
    name: "[[command]]",
    keys: &[
        required("name", Shape::Text, "Name of the command."),
        required("path", Shape::Text, "What it acts on; a part may be a {param}."),
        key(
            "operation",
            Shape::OneOf(&["execute", "write", "write_update", "read", "discover", "delete", "create"]),
            "What to do; default execute, or write when there is a value.",
        ),
        key("arguments", Shape::Text, "Arguments of execute; {param} from the call."),
        key("value", Shape::Any, "Value of a write to a resource; \"{param}\" keeps the JSON type of the parameter."),
        key("values", Shape::AnyTable, "Values of a write to an instance or of create, by resource."),
    ],
};

/// `[[publish]]`.
pub(in crate::mapping) static PUBLISH: SectionKeys = SectionKeys {
    name: "[[publish]]",
    keys: &[
        required("sink", Shape::Text, "Name of the sink."),
        required("on", Shape::OneOf(&["telemetry", "attribute", "state", "event", "response"]), "What is published."),
        key("path", Shape::Pattern, "Only values and responses of these paths."),
        key("topic", Shape::Text, "MQTT topic; placeholders such as {device}, {key}."),
        key("url", Shape::Text, "Address of a request; not served yet."),
        key("method", Shape::OneOf(&["POST", "PUT", "PATCH", "GET", "DELETE"]), "Method of a request; not served yet."),
        key("headers", Shape::TextTable, "Headers of a request; not served yet."),
        key("payload", Shape::Any, "The body; a value that is one placeholder keeps its JSON type."),
        key("exclusive", Shape::Boolean, "true: the layout's own message is not sent."),
        key("qos", Shape::Integer, "0 or 1; default 1."),
        key("retain", Shape::Boolean, "Whether the broker keeps the message."),
    ],
};

/// `[[subscribe]]`.
pub(in crate::mapping) static SUBSCRIBE: SectionKeys = SectionKeys {
    name: "[[subscribe]]",
    keys: &[
        required("sink", Shape::Text, "Name of the sink."),
        required("topic", Shape::Text, "MQTT topic with placeholders."),
        required("as", Shape::Text, "set, command or an operation."),
        key("key", Shape::Text, "The desired key of set."),
        key("path", Shape::Text, "The path of an operation."),
        key("value", Shape::Any, "The value of an operation."),
        key("arguments", Shape::Text, "The arguments of execute."),
    ],
};

/// `[[http]]`.
pub(in crate::mapping) static HTTP: SectionKeys = SectionKeys {
    name: "[[http]]",
    keys: &[
        required(
            "route",
            Shape::Text,
            "Path of the endpoint, such as \"/plant/{device}/setpoint\"; {instance} for a *.",
        ),
        required(
            "path",
            Shape::Pattern,
            "What it reads, writes or executes; each * needs its placeholder in the route.",
        ),
        key("methods", Shape::TextsOf(&["GET", "PUT", "POST"]), "GET reads (default), PUT writes, POST executes."),
        key(
            "role",
            Shape::OneOf(&["viewer", "operator", "admin"]),
            "Least role of the caller; default viewer for GET, operator for the others.",
        ),
        key("cached", Shape::Duration, "GET answers with the last known value if it is younger."),
    ],
};

/// `report` of `[[example]]`.
pub(in crate::mapping) static REPORT: SectionKeys = SectionKeys {
    name: "report",
    keys: &[
        required("path", Shape::Text, "Path of the sample."),
        required("value", Shape::Any, "Its value; opaque as base64, a multiple-instance resource as a table."),
        key("type", Shape::Text, "Type where no object model knows the resource: integer, float, opaque, ..."),
        key("ts", Shape::Integer, "Its time in milliseconds since 1970."),
    ],
};

/// `messages` of `expect`.
pub(in crate::mapping) static MESSAGE: SectionKeys = SectionKeys {
    name: "messages",
    keys: &[required("topic", Shape::Text, "Topic of the message."), key("payload", Shape::Any, "Its body as JSON.")],
};

/// `expect` of `[[example]]`.
pub(in crate::mapping) static EXPECT: SectionKeys = SectionKeys {
    name: "expect",
    keys: &[
        key("telemetry", Shape::AnyTable, "Telemetry that leaves, exactly."),
        key("attributes", Shape::AnyTable, "Attributes that leave, exactly."),
        key("messages", Shape::Tables(&MESSAGE), "Messages of a reference sink, exactly."),
    ],
};

/// `[[example]]`.
pub(in crate::mapping) static EXAMPLE: SectionKeys = SectionKeys {
    name: "[[example]]",
    keys: &[
        key("endpoint", Shape::Text, "Endpoint name of the device."),
        key("device", Shape::Text, "Name of the device; default the endpoint."),
        key("tags", Shape::Texts, "Its tags."),
        key("manufacturer", Shape::Text, "Its manufacturer."),
        key("model", Shape::Text, "Its model."),
        key("firmware", Shape::Text, "Its firmware."),
        key("lwm2m_version", Shape::Text, "Its enabler version."),
        key("identity", Shape::Text, "Its identity."),
        required("report", Shape::Tables(&REPORT), "What the device reports."),
        required("expect", Shape::Table(&EXPECT), "What leaves; {} = nothing."),
    ],
};

/// The file itself.
pub(in crate::mapping) static ROOT: SectionKeys = SectionKeys {
    name: "the file",
    keys: &[
        required("version", Shape::Integer, "Version of the file format: 1."),
        key(
            "match",
            Shape::Table(&MATCH),
            "Which devices this file is for; all given must hold, absent: every device.",
        ),
        key("settings", Shape::Table(&SETTINGS), "How to treat these devices."),
        key("defaults", Shape::Table(&DEFAULTS), "Defaults for the rules of this file."),
        key("telemetry", Shape::Tables(&TELEMETRY), "Paths that become time series."),
        key("attribute", Shape::Tables(&ATTRIBUTE), "Paths that become properties: retained, sent when changed."),
        key("ignore", Shape::Tables(&IGNORE), "Paths that are left out."),
        key("desired", Shape::Tables(&DESIRED), "Keys that the cloud may set."),
        key("command", Shape::Tables(&COMMAND), "Named commands."),
        key("publish", Shape::Tables(&PUBLISH), "Topics of the mapping's own."),
        key("subscribe", Shape::Tables(&SUBSCRIBE), "Own topics down; not served yet."),
        key("http", Shape::Tables(&HTTP), "Own HTTP endpoints."),
        key("example", Shape::Tables(&EXAMPLE), "Checked examples."),
    ],
};
