//! Bootstrap sessions on the event stream of the bootstrap server, in Leshan's words.

use crate::gateway::bootstrap::news::{News, SessionNews};
use crate::io::http::events::StreamEvent;
use crate::northbound::leshan::{Event, status_of};

impl StreamEvent {
    /// Something that happened in a bootstrap session. What was written is not told, since it holds secrets.
    #[must_use]
    pub fn of_bootstrap(news: &SessionNews) -> Self {
        let (name, message) = told(&news.what);
        Self::Leshan(Box::new(Event::bootstrap_session(name, news.endpoint.as_str(), news.ts, &message)))
    }
}

fn told(news: &News) -> (&'static str, String) {
    match news {
        News::New => ("new session", "Bootstrap Request".to_owned()),
        News::Authorized => ("authorized", "The client is allowed to connect.".to_owned()),
        News::Unauthorized => ("unauthorized", "The client is not allowed to connect.".to_owned()),
        News::NoConfiguration => ("no config", "No config to apply to this client.".to_owned()),
        News::Sent { operation, path } => {
            let name = match *operation {
                "discover" => "send discover",
                "delete" => "send delete",
                "write" => "send write",
                _ => "send request",
            };
            (name, format!("Send {}", request(operation, path)))
        }
        News::Answered { operation, path, code, success } => {
            let name = if *success { "receive success response" } else { "receive error response" };
            (name, format!("Receive {} for {}", status_of(code), request(operation, path)))
        }
        News::NotAnswered { operation, path } => {
            ("request failure", format!("The client did not answer {}", request(operation, path)))
        }
        News::Finished => ("finished", "Bootstrap session finished with success".to_owned()),
        News::Failed { reason } => ("failed", format!("Bootstrap session failed : {reason}")),
    }
}

fn request(operation: &str, path: &str) -> String {
    let operation = operation.to_uppercase();
    if path.is_empty() { format!("{operation} request") } else { format!("{operation} request on {path}") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::endpoint::Endpoint;
    use crate::model::time::WallTime;

    #[test]
    fn each_step_has_leshans_name() {
        let request = |operation, path: &str| (operation, path.to_owned());
        let sent = |(operation, path)| News::Sent { operation, path };
        let answered =
            |(operation, path), code: &str, success| News::Answered { operation, path, code: code.to_owned(), success };
        for (news, name, message) in [
            (News::New, "new session", "Bootstrap Request"),
            (News::Authorized, "authorized", "The client is allowed to connect."),
            (News::Unauthorized, "unauthorized", "The client is not allowed to connect."),
            (News::NoConfiguration, "no config", "No config to apply to this client."),
            (sent(request("discover", "/")), "send discover", "Send DISCOVER request on /"),
            (sent(request("delete", "/0")), "send delete", "Send DELETE request on /0"),
            (sent(request("write", "/0/1")), "send write", "Send WRITE request on /0/1"),
            (sent(request("finish", "")), "send request", "Send FINISH request"),
            (
                answered(request("write", "/0/1"), "2.04", true),
                "receive success response",
                "Receive CHANGED(204) for WRITE request on /0/1",
            ),
            (
                answered(request("finish", ""), "4.06", false),
                "receive error response",
                "Receive NOT_ACCEPTABLE(406) for FINISH request",
            ),
            (
                News::NotAnswered { operation: "read", path: "/0".to_owned() },
                "request failure",
                "The client did not answer READ request on /0",
            ),
            (News::Finished, "finished", "Bootstrap session finished with success"),
            (News::Failed { reason: "gone".to_owned() }, "failed", "Bootstrap session failed : gone"),
        ] {
            let news = SessionNews {
                session: "1".to_owned(),
                endpoint: Endpoint::new("ep").unwrap(),
                ts: WallTime::from_secs(1),
                what: news,
            };
            let event = StreamEvent::of_bootstrap(&news);
            assert_eq!(event.kind(), "BSSESSION");
            assert_eq!(event.data(), json!({ "name": name, "endpoint": "ep", "time": 1_000, "message": message }));
        }
    }
}
